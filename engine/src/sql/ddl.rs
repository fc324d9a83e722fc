//! `CREATE STREAM`, `CREATE VIEW` and `CREATE TABLE`: what `streams/*.sql` say. One bad statement hides no other.

mod columns;
mod options;
mod stream;
mod table;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::tokens::{Cursor, place_of, tokenize};
use crate::catalog::{Catalog, Relation, Stream, Table, View};
use crate::error::{Diagnostic, Place, Span, codes, nearest};
use crate::late_events;

/// Reads all `CREATE` statements of all files into one catalog.
///
/// What is wrong with one statement is told and leaves it out; the others are read. The text of a view's `SELECT` is
/// kept as it is and judged when it is compiled.
#[must_use]
pub fn parse_catalog(files: &[(String, String)]) -> (Catalog, Vec<Diagnostic>) {
    parse_catalog_beside(&[], files)
}

/// As [`parse_catalog`], where Weir makes further streams itself: their names are taken.
#[must_use]
pub fn parse_catalog_beside(own: &[Stream], files: &[(String, String)]) -> (Catalog, Vec<Diagnostic>) {
    let mut catalog = Catalog::default();
    for stream in own.iter().cloned().chain([late_events::stream()]) {
        // Of two streams of one name the first is there.
        drop(catalog.add_own(stream));
    }
    let mut diagnostics = Vec::new();
    let mut homes = Homes::default();
    for (file, text) in files {
        let mut found = Vec::new();
        let (tokens, broken) = tokenize(text, Place::START);
        let mut statements: Vec<_> = tokens.split(|token| token.token == Token::SemiColon).collect();
        if broken.is_some() {
            // The last statement runs into the mistake; what is wrong with it is already known.
            if let Some(last) = statements.pop() {
                note_broken(&mut catalog, last);
            }
        }
        for statement in statements.into_iter().filter(|statement| !statement.is_empty()) {
            match parse_statement(statement, text, &mut found) {
                Ok(Some((relation, name))) => homes.settle(&mut catalog, relation, file, name, &mut found),
                Ok(None) => note_broken(&mut catalog, statement),
                Err(diagnostic) => {
                    note_broken(&mut catalog, statement);
                    found.push(diagnostic);
                }
            }
        }
        found.extend(broken);
        found.sort_by_key(|diagnostic| diagnostic.span);
        diagnostics.extend(found.into_iter().map(|diagnostic| diagnostic.in_file(file)));
    }
    (catalog, diagnostics)
}

/// Remembers the name that a refused statement gives, where it can be read.
fn note_broken(catalog: &mut Catalog, statement: &[TokenWithSpan]) {
    let mut cursor = Cursor::new(statement);
    if !cursor.eat_word("CREATE") {
        return;
    }
    if cursor.peek_words(&["OR", "REPLACE"]) {
        cursor.eat_words(&["OR", "REPLACE"]);
    }
    if ["STREAM", "VIEW", "TABLE"].into_iter().any(|word| cursor.eat_word(word))
        && let Ok((name, _)) = relation_name(&mut cursor)
    {
        catalog.add_broken(&name);
    }
}

/// Where every name was first given.
#[derive(Default)]
struct Homes<'a>(HashMap<String, (&'a str, Option<Span>)>);

impl<'a> Homes<'a> {
    fn settle(
        &mut self,
        catalog: &mut Catalog,
        relation: Relation,
        file: &'a str,
        span: Option<Span>,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let key = relation.name().to_lowercase();
        let relation = match relation {
            Relation::View(view) => Relation::View(Arc::new(View { file: file.to_owned(), ..view.as_ref().clone() })),
            Relation::Table(table) => {
                Relation::Table(Arc::new(Table { file: file.to_owned(), ..table.as_ref().clone() }))
            }
            stream => stream,
        };
        match catalog.add(relation) {
            Ok(()) => drop(self.0.insert(key, (file, span))),
            Err(existing) => {
                let kind = kind_of(&existing);
                let mut message = format!("there is already a {kind} `{}`", existing.name());
                if let Some((file, Some(Span { start, .. }))) = self.0.get(&key) {
                    message.push_str(&format!(", created at {file}:{}:{}", start.line, start.column));
                }
                let hint = match catalog.is_own(&key) {
                    true => "Weir makes this stream itself; choose another name",
                    false => "streams, views and tables share one set of names, compared without case",
                };
                diagnostics.push(Diagnostic::error(codes::DUPLICATE_NAME, message).at(span).hint(hint));
            }
        }
    }
}

fn kind_of(relation: &Relation) -> &'static str {
    match relation {
        Relation::Stream(_) => "stream",
        Relation::View(_) => "view",
        Relation::Table(_) => "table",
    }
}

/// One statement: the relation it creates and where its name stands, or nothing if it was refused in full.
type Created = Option<(Relation, Option<Span>)>;

fn parse_statement(
    statement: &[TokenWithSpan],
    text: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Created, Diagnostic> {
    let mut cursor = Cursor::new(statement);
    if !cursor.eat_word("CREATE") {
        let found = cursor.peek_word().unwrap_or_default();
        let message = match cursor.peek_word() {
            Some(word) => format!("only CREATE STREAM, CREATE VIEW and CREATE TABLE belong here, not `{word}`"),
            None => return Err(cursor.expected("CREATE STREAM, CREATE VIEW or CREATE TABLE")),
        };
        return Err(Diagnostic::error(codes::NOT_ONE_SELECT, message)
            .at(cursor.span())
            .maybe_hint(nearest(found, ["CREATE"])));
    }
    if cursor.peek_words(&["OR", "REPLACE"]) {
        return Err(Diagnostic::error(codes::UNSUPPORTED, "CREATE OR REPLACE has nothing to replace here")
            .at(cursor.span())
            .hint("write CREATE; the files are read anew every time"));
    }
    if cursor.eat_word("STREAM") {
        let (name, span) = relation_name(&mut cursor)?;
        let stream = stream::parse(&mut cursor, name, span, diagnostics)?;
        return Ok(stream.map(|stream| (Relation::Stream(Arc::new(stream)), span)));
    }
    if cursor.eat_word("TABLE") {
        let (name, span) = relation_name(&mut cursor)?;
        let table = table::parse(&mut cursor, name, span, diagnostics)?;
        return Ok(table.map(|table| (Relation::Table(Arc::new(table)), span)));
    }
    if cursor.eat_word("VIEW") {
        let (name, span) = relation_name(&mut cursor)?;
        let view = parse_view(&mut cursor, statement, text, name)?;
        return Ok(Some((Relation::View(Arc::new(view)), span)));
    }
    let word = cursor.peek_word().unwrap_or_default();
    Err(cursor.expected("STREAM, VIEW or TABLE after CREATE").maybe_hint(nearest(word, ["STREAM", "VIEW", "TABLE"])))
}

/// The name after `CREATE STREAM` and its like.
fn relation_name(cursor: &mut Cursor<'_>) -> Result<(String, Option<Span>), Diagnostic> {
    if cursor.peek_words(&["IF", "NOT", "EXISTS"]) {
        return Err(Diagnostic::error(codes::UNSUPPORTED, "IF NOT EXISTS has no meaning here")
            .at(cursor.span())
            .hint("remove it; a second object of one name is an error that `check` shows"));
    }
    let span = cursor.span();
    let reserved =
        matches!(cursor.peek(), Some(Token::Word(Word { quote_style: None, value, .. })) if is_reserved(value));
    if reserved {
        return Err(cursor.expected("a name").hint("to use a word of SQL as a name, put it in double quotes"));
    }
    let name = cursor.identifier("a name")?;
    if cursor.peek() == Some(&Token::Period) {
        return Err(cursor.error("a name has one part here, without a schema in front"));
    }
    if name.starts_with('_') {
        return Err(Diagnostic::error(
            codes::BAD_COLUMN,
            format!("`{name}` is reserved; names may not begin with `_`"),
        )
        .at(span));
    }
    Ok((name, span))
}

/// Words that would make `FROM name` unreadable.
fn is_reserved(word: &str) -> bool {
    const WORDS: &[&str] =
        &["AS", "FROM", "SELECT", "WITH", "WHERE", "GROUP", "ORDER", "HAVING", "JOIN", "ON", "UNION", "LIMIT", "TABLE"];
    WORDS.iter().any(|reserved| word.eq_ignore_ascii_case(reserved))
}

fn parse_view(
    cursor: &mut Cursor<'_>,
    statement: &[TokenWithSpan],
    text: &str,
    name: String,
) -> Result<View, Diagnostic> {
    if cursor.peek() == Some(&Token::LParen) {
        return Err(Diagnostic::error(codes::UNSUPPORTED, "a view has no list of columns")
            .at(cursor.span())
            .hint("name the columns in its SELECT: SELECT a AS x, ..."));
    }
    if cursor.peek_words(&["WITH"]) {
        return Err(Diagnostic::error(codes::BAD_OPTION, "a view has no options").at(cursor.span()));
    }
    if !cursor.eat_word("AS") {
        return Err(cursor.expected("AS and a SELECT"));
    }
    let (Some(first), Some(last)) = (statement.get(cursor.position()), statement.last()) else {
        return Err(cursor.expected("the SELECT of the view"));
    };
    let start = place_of(first.span.start);
    let range = byte_offset(text, start)..byte_offset(text, place_of(last.span.end));
    let sql = text.get(range).unwrap_or_default().to_owned();
    Ok(View { name, sql, file: String::new(), start })
}

/// The byte at which a place of a text begins; the end of the text for a place beyond it.
fn byte_offset(text: &str, place: Place) -> usize {
    let mut line_start = 0;
    for _ in 1..place.line {
        match text[line_start..].find('\n') {
            Some(length) => line_start += length + 1,
            None => return text.len(),
        }
    }
    text[line_start..]
        .char_indices()
        .nth(place.column as usize - 1)
        .map_or(text.len(), |(offset, _)| line_start + offset)
}

/// Refuses what stands behind a complete statement.
fn expect_end(cursor: &Cursor<'_>) -> Result<(), Diagnostic> {
    match cursor.peek() {
        None => Ok(()),
        Some(_) => Err(cursor.expected("`;` or the end of the file")),
    }
}
