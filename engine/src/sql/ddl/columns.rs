//! The list of columns of a stream or table.

use arrow::datatypes::{DataType, Field};
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::catalog::system;
use crate::error::{Diagnostic, Span, codes, nearest};
use crate::sql::tokens::{Cursor, shown};
use crate::sql::types::{parse_duration_us, parse_type};

/// Names that a column may not have. Others that begin with `_` are free, because logs have them (`_path` of Zeek).
const SYSTEM: &[&str] = &[
    system::TIME,
    system::RAW,
    system::ARRIVAL,
    system::PARTITION,
    system::OFFSET,
    system::TOPIC,
    system::KEY,
    system::TIMESTAMP,
    system::HEADERS,
];

/// What stands between the parentheses.
#[derive(Default)]
pub(super) struct Columns {
    pub(super) fields: Vec<Field>,
    pub(super) watermark: Option<Watermark>,
    pub(super) refused: Refused,
}

/// The columns that were refused, so that what names them is not told that they do not exist.
#[derive(Default)]
pub(super) struct Refused {
    names: Vec<String>,
    /// One of them has a name that cannot be read: it may be any.
    has_nameless: bool,
}

impl Refused {
    /// Whether a name may mean a refused column, or a field inside one.
    pub(super) fn may_hold(&self, name: &str) -> bool {
        let first = name.split('.').next().unwrap_or(name);
        let is_meant = |column: &String| column.eq_ignore_ascii_case(name) || column.eq_ignore_ascii_case(first);
        self.has_nameless || self.names.iter().any(is_meant)
    }
}

/// `WATERMARK FOR column AS column - INTERVAL '...'`, as in Flink.
pub(super) struct Watermark {
    pub(super) column: String,
    pub(super) lateness_us: i64,
    pub(super) span: Option<Span>,
}

/// Reads `(name TYPE, ..., [WATERMARK FOR ...])`. A wrong column is told and left out; the rest is read.
pub(super) fn parse(cursor: &mut Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Result<Columns, Diagnostic> {
    cursor.expect(&Token::LParen, "`(` and the columns")?;
    let mut columns = Columns::default();
    loop {
        let outcome = if cursor.peek_words(&["WATERMARK", "FOR"]) {
            parse_watermark(cursor, &mut columns)
        } else {
            parse_column(cursor, &mut columns)
        };
        if let Err(diagnostic) = outcome {
            diagnostics.push(diagnostic);
            skip_item(cursor);
        }
        if cursor.eat(&Token::Comma) {
            if cursor.peek() == Some(&Token::RParen) {
                diagnostics.push(cursor.error("the list of columns ends with a comma").hint("remove the comma"));
                cursor.advance();
                return Ok(columns);
            }
            continue;
        }
        if cursor.eat(&Token::RParen) {
            return Ok(columns);
        }
        let wrong = cursor.expected("`,` or `)` in the list of columns").maybe_hint(missing_comma(cursor));
        skip_item(cursor);
        let closed = cursor.eat(&Token::RParen);
        if !closed && !cursor.eat(&Token::Comma) {
            return Err(wrong);
        }
        diagnostics.push(wrong);
        if closed {
            return Ok(columns);
        }
    }
}

fn missing_comma(cursor: &Cursor<'_>) -> Option<String> {
    if cursor.peek_words(&["WITH"]) {
        return Some("close the list of columns with `)`".to_owned());
    }
    matches!(cursor.peek(), Some(Token::Word(_)))
        .then(|| format!("is a comma missing before {}?", shown(cursor.peek())))
}

/// Goes on to the comma or parenthesis that ends this item.
fn skip_item(cursor: &mut Cursor<'_>) {
    let mut depth = 0_usize;
    while let Some(token) = cursor.peek() {
        match token {
            Token::Comma | Token::RParen if depth == 0 => return,
            Token::LParen | Token::Lt => depth += 1,
            Token::RParen | Token::Gt => depth = depth.saturating_sub(1),
            Token::ShiftRight => depth = depth.saturating_sub(2),
            _ => {}
        }
        cursor.advance();
    }
}

fn parse_column(cursor: &mut Cursor<'_>, columns: &mut Columns) -> Result<(), Diagnostic> {
    let span = cursor.span();
    let name = cursor.identifier("the name of a column").inspect_err(|_| columns.refused.has_nameless = true)?;
    if cursor.peek() == Some(&Token::Period) {
        columns.refused.names.push(name.clone());
        return Err(Diagnostic::error(
            codes::BAD_COLUMN,
            format!("a column's name has no dot unless it is quoted, after `{name}`"),
        )
        .at(span)
        .hint("put the whole name in double quotes, as in \"event.code\", or declare a STRUCT"));
    }
    let typed = parse_type(cursor).and_then(|data_type| parse_attributes(cursor).map(|()| data_type));
    let checked = typed.and_then(|data_type| {
        check_name(&name, columns).map_err(|diagnostic| diagnostic.at(span))?;
        Ok(data_type)
    });
    match checked {
        Ok(data_type) => {
            columns.fields.push(Field::new(name, data_type, true));
            Ok(())
        }
        Err(diagnostic) => {
            columns.refused.names.push(name);
            Err(diagnostic)
        }
    }
}

/// What other systems allow behind a type.
fn parse_attributes(cursor: &mut Cursor<'_>) -> Result<(), Diagnostic> {
    loop {
        let span = cursor.span();
        if cursor.eat_word("COMMENT") {
            if !matches!(cursor.peek(), Some(Token::SingleQuotedString(_))) {
                return Err(cursor.expected("a text in single quotes after COMMENT"));
            }
            cursor.advance();
        } else if cursor.peek_words(&["NOT", "NULL"]) {
            return Err(Diagnostic::error(codes::UNSUPPORTED, "a column of a log can always be NULL")
                .at(span)
                .hint("remove NOT NULL; filter with `IS NOT NULL` where it matters"));
        } else if cursor.peek_words(&["PRIMARY", "KEY"])
            || cursor.peek_words(&["DEFAULT"])
            || cursor.peek_words(&["METADATA"])
        {
            let what = cursor.peek_word().unwrap_or_default().to_uppercase();
            return Err(Diagnostic::error(codes::UNSUPPORTED, format!("{what} is not supported on a column")).at(span));
        } else {
            return Ok(());
        }
    }
}

fn check_name(name: &str, columns: &Columns) -> Result<(), Diagnostic> {
    if SYSTEM.contains(&name) {
        let message = format!("`{name}` is reserved; every stream has a column of that name");
        return Err(Diagnostic::error(codes::BAD_COLUMN, message));
    }
    if name == system::UNMAPPED {
        let message = format!("`{name}` is reserved; it holds the fields that are not declared");
        return Err(Diagnostic::error(codes::BAD_COLUMN, message));
    }
    if columns.fields.iter().any(|field| field.name() == name) {
        return Err(Diagnostic::error(codes::BAD_COLUMN, format!("there are two columns `{name}`")));
    }
    Ok(())
}

fn parse_watermark(cursor: &mut Cursor<'_>, columns: &mut Columns) -> Result<(), Diagnostic> {
    let form = "WATERMARK FOR time AS time - INTERVAL '30 seconds'";
    let span = cursor.span();
    cursor.eat_words(&["WATERMARK", "FOR"]);
    let column = path(cursor)?;
    if !cursor.eat_word("AS") {
        return Err(cursor.expected("AS").hint(form));
    }
    let same = cursor.span();
    if !path(cursor)?.eq_ignore_ascii_case(&column) {
        return Err(Diagnostic::error(codes::BAD_OPTION, format!("the watermark follows `{column}` itself"))
            .at(same)
            .hint(form));
    }
    let lateness_us = if cursor.eat(&Token::Minus) { interval(cursor)? } else { 0 };
    if columns.watermark.is_some() {
        return Err(Diagnostic::error(codes::BAD_OPTION, "a stream has one WATERMARK").at(span));
    }
    columns.watermark = Some(Watermark { column, lateness_us, span });
    Ok(())
}

/// `time` or `metadata.time`.
fn path(cursor: &mut Cursor<'_>) -> Result<String, Diagnostic> {
    let mut path = cursor.identifier("the name of the time column")?;
    while cursor.eat(&Token::Period) {
        path.push('.');
        path.push_str(&cursor.identifier("the name of a field")?);
    }
    Ok(path)
}

/// `INTERVAL '30 seconds'` or `INTERVAL '30' SECOND`.
fn interval(cursor: &mut Cursor<'_>) -> Result<i64, Diagnostic> {
    if !cursor.eat_word("INTERVAL") {
        return Err(cursor.expected("INTERVAL '30 seconds'"));
    }
    let span = cursor.span();
    let Some(Token::SingleQuotedString(text) | Token::Number(text, _)) = cursor.peek() else {
        return Err(cursor.expected("a duration such as '30 seconds'"));
    };
    cursor.advance();
    let mut text = text.clone();
    if let Some(unit) = cursor.peek_word() {
        text.push(' ');
        text.push_str(unit);
        cursor.advance();
    }
    parse_duration_us(&text).map_err(|error| Diagnostic::error(codes::BAD_OPTION, error.to_string()).at(span))
}

/// The declared column, or the field inside one, that `name` means: its exact path and its type.
///
/// An exact name wins over a path, and exact spelling over another case.
pub(super) fn find(columns: &[Field], name: &str) -> Option<(String, DataType)> {
    let whole = columns
        .iter()
        .find(|field| field.name() == name)
        .or_else(|| columns.iter().find(|field| field.name().eq_ignore_ascii_case(name)));
    if let Some(field) = whole {
        return Some((field.name().clone(), field.data_type().clone()));
    }
    let (first, rest) = name.split_once('.')?;
    let (path, data_type) = find(columns, first)?;
    let DataType::Struct(fields) = data_type else {
        return None;
    };
    let fields: Vec<Field> = fields.iter().map(|field| field.as_ref().clone()).collect();
    let (inner, data_type) = find(&fields, rest)?;
    Some((format!("{path}.{inner}"), data_type))
}

/// The declared column that `name` was probably meant to be.
pub(super) fn nearest_column(columns: &[Field], name: &str) -> Option<String> {
    nearest(name, columns.iter().map(|field| field.name().as_str()))
}
