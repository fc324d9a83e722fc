//! Words with places: text to tokens of the author's file, and a cursor to read them by hand.

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::tokenizer::{Location, Span as SqlSpan, Token, TokenWithSpan, Tokenizer, Word};

use super::dialect::WeirDialect;
use crate::error::{Diagnostic, Place, Span, codes};

/// Cuts a text into tokens without white space and comments, in places of the file in which `text` begins at `start`.
///
/// The tokens before a mistake come back together with it, so that what stands before can still be judged.
pub(super) fn tokenize(text: &str, start: Place) -> (Vec<TokenWithSpan>, Option<Diagnostic>) {
    let mut tokens = Vec::new();
    let outcome = Tokenizer::new(&WeirDialect, text).tokenize_with_location_into_buf(&mut tokens);
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    for token in &mut tokens {
        token.span = SqlSpan::new(shifted(token.span.start, start), shifted(token.span.end, start));
    }
    let error = outcome.err().map(|error| {
        let place = place_of(shifted(error.location, start));
        let (message, hint) = unended(&error.message);
        Diagnostic::error(codes::SYNTAX, message).at(Span::at(place)).maybe_hint(hint.map(str::to_owned))
    });
    (tokens, error)
}

/// What does not end, in our words, and how it would.
fn unended(message: &str) -> (String, Option<&'static str>) {
    if message.starts_with("Unterminated string literal") {
        return (
            lower_first(message),
            Some("a text ends with a single quote; one that is part of it is written twice: 'it''s'"),
        );
    }
    if message.starts_with("Expected close delimiter") {
        return ("a quoted name does not end".to_owned(), Some("a name is quoted as \"name\", a text as 'text'"));
    }
    if message.contains("multi-line comment") {
        return ("a comment does not end".to_owned(), Some("what begins with /* ends with */"));
    }
    (lower_first(message), None)
}

fn shifted(location: Location, start: Place) -> Location {
    let column = if location.line <= 1 { location.column + u64::from(start.column) - 1 } else { location.column };
    Location { line: location.line + u64::from(start.line) - 1, column }
}

/// A place of sqlparser in our words. It says nothing with line 0.
pub(crate) fn place_of(location: Location) -> Place {
    Place { line: location.line as u32, column: location.column as u32 }
}

/// A span of sqlparser in our words; `None` where it knows none.
pub(crate) fn span_of(span: SqlSpan) -> Option<Span> {
    (span.start.line != 0).then(|| Span { start: place_of(span.start), end: place_of(span.end) })
}

/// The same sentence with a small first letter, to stand after a code and a colon.
pub(super) fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// Whether a token is this word, unquoted and in whatever case.
pub(super) fn is_word(token: &Token, text: &str) -> bool {
    matches!(token, Token::Word(Word { value, quote_style: None, .. }) if value.eq_ignore_ascii_case(text))
}

/// The span of the last token of that word that begins before `place`, for a clause whose syntax tree keeps no place.
pub(super) fn word_before(tokens: &[TokenWithSpan], word: &str, place: Option<Place>) -> Option<Span> {
    tokens
        .iter()
        .rev()
        .filter(|token| place.is_none_or(|place| place_of(token.span.start) < place))
        .find(|token| is_word(&token.token, word))
        .and_then(|token| span_of(token.span))
}

/// How a token looks in a message.
pub(super) fn shown(token: Option<&Token>) -> String {
    token.map_or_else(|| "the end".to_owned(), |token| format!("`{token}`"))
}

/// A reading position in a list of tokens.
pub(super) struct Cursor<'a> {
    tokens: &'a [TokenWithSpan],
    at: usize,
    /// `>>` is one token and closes two types; the first half may be used up.
    half_closed: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(tokens: &'a [TokenWithSpan]) -> Self {
        Self { tokens, at: 0, half_closed: false }
    }

    pub(super) fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at).map(|token| &token.token)
    }

    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    /// How many tokens are used up.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Where the next token is, or where the last one ends.
    pub(super) fn span(&self) -> Option<Span> {
        match self.tokens.get(self.at) {
            Some(token) => span_of(token.span),
            None => self.tokens.last().map(|token| Span::at(place_of(token.span.end))),
        }
    }

    /// The next token if it is an unquoted word.
    pub(super) fn peek_word(&self) -> Option<&'a str> {
        match self.peek() {
            Some(Token::Word(Word { value, quote_style: None, .. })) => Some(value),
            _ => None,
        }
    }

    pub(super) fn peek_words(&self, words: &[&str]) -> bool {
        words
            .iter()
            .enumerate()
            .all(|(index, word)| self.tokens.get(self.at + index).is_some_and(|token| is_word(&token.token, word)))
    }

    pub(super) fn eat_words(&mut self, words: &[&str]) -> bool {
        let matches = self.peek_words(words);
        if matches {
            self.at += words.len();
        }
        matches
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        self.eat_words(&[word])
    }

    pub(super) fn eat(&mut self, token: &Token) -> bool {
        let matches = self.peek() == Some(token);
        if matches {
            self.advance();
        }
        matches
    }

    pub(super) fn expect(&mut self, token: &Token, what: &str) -> Result<(), Diagnostic> {
        if self.eat(token) { Ok(()) } else { Err(self.expected(what)) }
    }

    /// Closes an angle bracket, taking half of a `>>` where types end together.
    pub(super) fn expect_closing_angle(&mut self) -> Result<(), Diagnostic> {
        match self.peek() {
            Some(Token::Gt) => self.advance(),
            Some(Token::ShiftRight) => {
                if self.half_closed {
                    self.advance();
                }
                self.half_closed = !self.half_closed;
            }
            _ => return Err(self.expected("`,` or `>`")),
        }
        Ok(())
    }

    /// A name: a word of any kind, or a quoted one.
    pub(super) fn identifier(&mut self, what: &str) -> Result<String, Diagnostic> {
        match self.peek() {
            Some(Token::Word(word)) if !word.value.is_empty() => {
                self.advance();
                Ok(word.value.clone())
            }
            Some(Token::SingleQuotedString(text)) => {
                let hint = format!("single quotes make a text; a name is quoted as \"{text}\"");
                Err(self.expected(what).hint(hint))
            }
            _ => Err(self.expected(what)),
        }
    }

    pub(super) fn expected(&self, what: &str) -> Diagnostic {
        self.error(format!("expected {what}, found {}", shown(self.peek())))
    }

    pub(super) fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(codes::SYNTAX, message).at(self.span())
    }
}

/// A name as it is meant: exact, quoted, still at its place.
pub(crate) fn exact(name: impl Into<String>, span: SqlSpan) -> Ident {
    Ident::with_quote_and_span('"', span, name)
}

/// The span of the first token of that word in a text that begins at `start` of its file.
pub(crate) fn place_of_word(text: &str, start: Place, word: &str) -> Option<Span> {
    let (tokens, _) = tokenize(text, start);
    tokens.iter().find(|token| is_word(&token.token, word)).and_then(|token| span_of(token.span))
}
