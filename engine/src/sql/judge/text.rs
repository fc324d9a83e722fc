//! An author's text by places: which words stand there, and how far an expression goes.

use datafusion::sql::sqlparser::ast::{Expr, Function, Spanned};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Diagnostic, Place, Span};
use crate::sql::tokens::{is_word, place_of, span_of, tokenize};

/// What is quoted in a message is not longer than this, in characters.
const QUOTED_MAX: usize = 60;

/// The text of one `SELECT`.
pub(crate) struct Text<'a> {
    sql: &'a str,
    start: Place,
    tokens: Vec<TokenWithSpan>,
}

impl<'a> Text<'a> {
    /// A text that begins at `start` of its file.
    pub(crate) fn new(sql: &'a str, start: Place) -> Self {
        let (tokens, _) = tokenize(sql, start);
        Self { sql, start, tokens }
    }

    /// Where it begins.
    pub(crate) const fn start(&self) -> Place {
        self.start
    }

    /// An expression as its author wrote it, on one line, and cut off where it is long.
    pub(crate) fn quoted(&self, expr: &Expr) -> String {
        let Some(Span { start, end }) = self.whole(expr) else { return expr.to_string() };
        let words = self.sql.get(self.offset(start)..self.offset(end)).unwrap_or_default();
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        match words.char_indices().nth(QUOTED_MAX) {
            Some((cut, _)) => format!("{} ...", &words[..cut]),
            None => words,
        }
    }

    fn offset(&self, place: Place) -> usize {
        let line = place.line.saturating_sub(self.start.line);
        let before: usize = self.sql.split_inclusive('\n').take(line as usize).map(str::len).sum();
        let cut = if line == 0 { self.start.column - 1 } else { 0 };
        let column = place.column.saturating_sub(cut + 1) as usize;
        let rest = &self.sql[before.min(self.sql.len())..];
        before + rest.char_indices().nth(column).map_or(rest.len(), |(offset, _)| offset)
    }

    /// The whole place of an expression. The syntax tree keeps places of names and constants, not of signs, brackets and
    /// some words around them.
    pub(crate) fn whole(&self, expr: &Expr) -> Option<Span> {
        let span = span_of(expr.span())?;
        let first = self.tokens.iter().position(|token| place_of(token.span.start) >= span.start)?;
        let last = self.tokens.iter().rposition(|token| place_of(token.span.end) <= span.end)?;
        let first = self.first_word(expr, first);
        if last < first {
            return Some(span);
        }
        let (first, last) = self.balanced(first, self.last_word(expr, last));
        Some(Span {
            start: place_of(self.tokens.get(first)?.span.start),
            end: place_of(self.tokens.get(last)?.span.end),
        })
    }

    /// The first token of an expression whose first name or constant is the one at `at`.
    fn first_word(&self, expr: &Expr, at: usize) -> usize {
        let is = |distance: usize, wanted: &dyn Fn(&Token) -> bool| {
            at.checked_sub(distance).is_some_and(|index| wanted(&self.tokens[index].token))
        };
        let is_bracket = |token: &Token| *token == Token::LParen;
        match expr {
            Expr::BinaryOp { left, .. } => self.first_word(left, at),
            Expr::UnaryOp { expr, .. } => self.first_word(expr, at).saturating_sub(1),
            Expr::Nested(inner) => self.first_word(inner, at).saturating_sub(1),
            Expr::Interval(_) if is(1, &|token| is_word(token, "INTERVAL")) => at - 1,
            Expr::Exists { .. } => {
                let exists = self.tokens[..at].iter().rposition(|token| is_word(&token.token, "EXISTS"));
                exists.unwrap_or(at)
            }
            Expr::Subquery(_) if is(1, &is_bracket) => at - 1,
            Expr::Substring { .. }
            | Expr::Cast { .. }
            | Expr::Trim { .. }
            | Expr::Ceil { .. }
            | Expr::Floor { .. }
            | Expr::Position { .. }
            | Expr::Overlay { .. }
                if is(1, &is_bracket) && is(2, &|token| matches!(token, Token::Word(_))) =>
            {
                at - 2
            }
            _ => at,
        }
    }

    /// The last token of an expression whose last name or constant is the one at `at`, but for closing brackets.
    fn last_word(&self, expr: &Expr, at: usize) -> usize {
        let next = |distance: usize| self.tokens.get(at + distance).map(|token| &token.token);
        match expr {
            Expr::BinaryOp { right, .. } => self.last_word(right, at),
            Expr::UnaryOp { expr, .. } => self.last_word(expr, at),
            Expr::Function(Function { over: Some(_), .. }) => {
                let over = self.tokens[at..].iter().position(|token| is_word(&token.token, "OVER"));
                over.map_or(at, |over| (at + over + 1).min(self.tokens.len() - 1))
            }
            Expr::Function(_) if next(1) == Some(&Token::LParen) => at + 1,
            Expr::Cast { .. } if next(1) == Some(&Token::DoubleColon) && next(2).is_some() => at + 2,
            _ => at,
        }
    }

    /// The same stretch of tokens with every bracket closed.
    fn balanced(&self, mut first: usize, mut last: usize) -> (usize, usize) {
        let depth_of = |token: &Token| match token {
            Token::LParen | Token::LBracket => 1,
            Token::RParen | Token::RBracket => -1,
            _ => 0_i32,
        };
        let (mut depth, mut least) = (0, 0);
        for token in &self.tokens[first..=last] {
            depth += depth_of(&token.token);
            least = least.min(depth);
        }
        let mut open = depth - least;
        while open > 0 && last + 1 < self.tokens.len() {
            last += 1;
            open += depth_of(&self.tokens[last].token);
        }
        while least < 0 && first > 0 {
            first -= 1;
            least += depth_of(&self.tokens[first].token);
        }
        (first, last)
    }

    /// The first place of a constant text, with its quotes.
    pub(crate) fn place_of_constant(&self, constant: &str) -> Option<Span> {
        let found = self.tokens.iter().find(|token| token.token == Token::SingleQuotedString(constant.to_owned()))?;
        span_of(found.span)
    }

    /// Puts what is said of the name of a type under that name, which has no place in the syntax tree.
    pub(crate) fn move_to_type(&self, diagnostic: &mut Diagnostic) {
        let Some(name) = diagnostic.message.strip_prefix("there is no type `").and_then(|rest| rest.strip_suffix('`'))
        else {
            return;
        };
        let is_behind = |token: &TokenWithSpan| {
            diagnostic.span.is_none_or(|span| place_of(token.span.start) >= span.start) && is_word(&token.token, name)
        };
        // A column may be called like the type.
        let is_of_cast = |before: &Token| is_word(before, "AS") || *before == Token::DoubleColon;
        let of_cast = self.tokens.windows(2).find(|pair| is_of_cast(&pair[0].token) && is_behind(&pair[1]));
        let found = of_cast.map(|pair| &pair[1]).or_else(|| self.tokens.iter().find(|token| is_behind(token)));
        let found = found.and_then(|token| span_of(token.span));
        diagnostic.span = found.or(diagnostic.span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse::parse_condition;

    #[test]
    fn an_expression_goes_from_its_first_sign_to_its_last_bracket() {
        let whole = [
            "lower()",
            "lower(a) = upper(b)",
            "count(*) > 3",
            "3 < count(*)",
            "NOT (a = 1)",
            "(a OR b) AND (c OR d)",
            "-n",
            "a IN (1, (2))",
            "substr(a)",
            "CAST(a AS INT) = 1",
            "a::INT",
            "lag(a) OVER (PARTITION BY (b) ORDER BY c) = 'x'",
            "CASE WHEN a THEN 1 END",
            "EXISTS (SELECT 1 FROM s)",
            "a LIKE 'ö' OR \"Ä\" = 'ß'",
        ];
        for text in whole {
            let expr = parse_condition(text, Place::START).unwrap();
            assert_eq!(Text::new(text, Place::START).quoted(&expr), text);
        }
    }

    #[test]
    fn places_are_those_of_the_file() {
        let (text, start) = ("a =\n  lower(b)", Place { line: 7, column: 5 });
        let expr = parse_condition(text, start).unwrap();
        let text = Text::new(text, start);
        assert_eq!(text.whole(&expr), Some(Span { start, end: Place { line: 8, column: 11 } }));
        assert_eq!(text.quoted(&expr), "a = lower(b)");
    }

    #[test]
    fn a_long_expression_is_cut_off() {
        let text = format!("a = '{}'", "ö".repeat(80));
        let expr = parse_condition(&text, Place::START).unwrap();
        assert_eq!(Text::new(&text, Place::START).quoted(&expr), format!("a = '{} ...", "ö".repeat(55)));
    }
}
