//! `WITH (name = value, ...)`: options by name, each read once, each mistake told at its place.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::error::{Diagnostic, Span, codes, nearest};
use crate::sql::tokens::Cursor;
use crate::sql::types::parse_duration_us;

/// One option as it is written.
struct Written {
    name: String,
    value: String,
    name_span: Option<Span>,
    value_span: Option<Span>,
}

/// The options of one statement. Reading takes an option; what is left at the end is unknown.
pub(super) struct Options {
    written: Vec<Written>,
    asked: Vec<&'static str>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// The value of an option and where it stands.
pub(super) struct OptionValue {
    pub(super) text: String,
    pub(super) span: Option<Span>,
}

impl Options {
    /// Reads the clause; without one there are no options.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Diagnostic> {
        let mut options = Self { written: Vec::new(), asked: Vec::new(), diagnostics: Vec::new() };
        if !cursor.eat_word("WITH") {
            return Ok(options);
        }
        cursor.expect(&Token::LParen, "`(` after WITH")?;
        if cursor.eat(&Token::RParen) {
            return Ok(options);
        }
        loop {
            options.parse_one(cursor)?;
            if cursor.eat(&Token::RParen) {
                return Ok(options);
            }
            cursor.expect(&Token::Comma, "`,` or `)` in the list of options")?;
        }
    }

    fn parse_one(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Diagnostic> {
        let name_span = cursor.span();
        let name = match cursor.peek() {
            Some(Token::Word(word)) => word.value.to_lowercase(),
            Some(Token::SingleQuotedString(text)) => text.to_lowercase(),
            _ => return Err(cursor.expected("the name of an option")),
        };
        cursor.advance();
        cursor.expect(&Token::Eq, &format!("`=` after `{name}`"))?;
        let value_span = cursor.span();
        let value = match cursor.peek() {
            Some(Token::SingleQuotedString(text) | Token::Number(text, _)) => text.clone(),
            Some(Token::Word(word)) => word.value.clone(),
            _ => return Err(cursor.expected(&format!("a value in single quotes for `{name}`"))),
        };
        cursor.advance();
        if self.written.iter().any(|option| option.name == name) {
            self.error(name_span, format!("the option `{name}` is given twice"), None);
            return Ok(());
        }
        self.written.push(Written { name, value, name_span, value_span });
        Ok(())
    }

    pub(super) fn error(&mut self, span: Option<Span>, message: impl Into<String>, hint: Option<String>) {
        self.diagnostics.push(Diagnostic::error(codes::BAD_OPTION, message).at(span).maybe_hint(hint));
    }

    /// Takes an option.
    pub(super) fn take(&mut self, name: &'static str) -> Option<OptionValue> {
        self.asked.push(name);
        let at = self.written.iter().position(|option| option.name == name)?;
        let option = self.written.remove(at);
        if option.value.trim().is_empty() {
            self.error(option.value_span, format!("the option `{name}` is empty"), None);
            return None;
        }
        Some(OptionValue { text: option.value, span: option.value_span })
    }

    /// Takes an option that is one of a few words; the first of them stands for its absence.
    pub(super) fn take_word(&mut self, name: &'static str, words: &[&'static str]) -> &'static str {
        let default = words.first().copied().unwrap_or_default();
        let Some(OptionValue { text, span }) = self.take(name) else {
            return default;
        };
        let found = words.iter().find(|word| text.eq_ignore_ascii_case(word));
        if found.is_none() {
            let known: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
            let hint = nearest(&text, known.iter().copied()).unwrap_or_else(|| format!("write {}", known.join(" or ")));
            self.error(span, format!("`{text}` is not a value of `{name}`"), Some(hint));
        }
        found.copied().unwrap_or(default)
    }

    /// Takes an option that is a duration.
    pub(super) fn take_duration_us(&mut self, name: &'static str) -> Option<i64> {
        let OptionValue { text, span } = self.take(name)?;
        match parse_duration_us(&text) {
            Ok(duration) => Some(duration),
            Err(error) => {
                self.error(span, format!("{name}: {error}"), None);
                None
            }
        }
    }

    /// Everything that was wrong; an option that nobody asked for is unknown.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        for option in std::mem::take(&mut self.written) {
            let hint = nearest(&option.name, self.asked.iter().copied())
                .unwrap_or_else(|| format!("the options are {}", self.asked.join(", ")));
            self.error(option.name_span, format!("there is no option `{}`", option.name), Some(hint));
        }
        self.diagnostics
    }
}
