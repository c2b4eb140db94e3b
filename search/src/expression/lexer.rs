//! From characters to tokens.

use super::{ExpressionFault, MAX_EXPRESSION_CHARS};
use crate::fault::shown;

/// A piece of the text, with where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind<'a>,
    /// In characters from 0.
    pub(super) position: usize,
    /// In bytes.
    pub(super) start: usize,
    /// In bytes; one past the last.
    pub(super) end: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind<'a> {
    Number(f64),
    Text(String),
    /// A name or a word of the grammar.
    Word(&'a str),
    Symbol(&'static str),
    /// Behind the last one.
    End,
}

/// Longer ones first.
const SYMBOLS: [&str; 15] = [
    "<=", ">=", "==", "!=", "<", ">", "+", "-", "*", "/", "(", ")", "[", "]", ",",
];

/// The tokens, the last of them `End`, or every character that is out of place.
pub(super) fn tokens(text: &str) -> (Vec<Token<'_>>, Vec<ExpressionFault>) {
    let mut lexer = Lexer {
        text,
        start: 0,
        position: 0,
        faults: Vec::new(),
    };
    let mut tokens = Vec::new();
    loop {
        lexer.skip(char::is_whitespace);
        let (position, start) = (lexer.position, lexer.start);
        let kind = match lexer.rest().chars().next() {
            None => Some(TokenKind::End),
            Some(first) => lexer.token(first),
        };
        let Some(kind) = kind else { continue };
        let last = kind == TokenKind::End;
        tokens.push(Token {
            kind,
            position,
            start,
            end: lexer.start,
        });
        if last {
            return (tokens, lexer.faults);
        }
    }
}

/// A text above the bound; the position is that of the first character too many.
pub(super) fn too_long(text: &str) -> Option<ExpressionFault> {
    text.chars().nth(MAX_EXPRESSION_CHARS)?;
    let count = text.chars().count();
    Some(ExpressionFault {
        code: "too_long",
        position: MAX_EXPRESSION_CHARS,
        value: shown(text),
        allowed: Vec::new(),
        detail: format!(
            "the expression has {count} characters and may have {MAX_EXPRESSION_CHARS}; split it \
             into several"
        ),
    })
}

struct Lexer<'a> {
    text: &'a str,
    /// In bytes.
    start: usize,
    /// In characters.
    position: usize,
    faults: Vec<ExpressionFault>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.start..]
    }

    /// Passes over the characters that `belongs` takes, and returns them.
    fn skip(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.pass(length)
    }

    /// Passes over `length` bytes, a whole number of characters, and returns them.
    fn pass(&mut self, length: usize) -> &'a str {
        let passed = &self.rest()[..length];
        self.start += length;
        self.position += passed.chars().count();
        passed
    }

    /// The next token, or `None` beside a fault.
    fn token(&mut self, first: char) -> Option<TokenKind<'a>> {
        let second = self.rest().chars().nth(1);
        if first.is_ascii_alphabetic() || first == '_' {
            return Some(TokenKind::Word(self.skip(is_word)));
        }
        if first.is_ascii_digit() || (first == '.' && second.is_some_and(|c| c.is_ascii_digit())) {
            return self.number();
        }
        if first == '\'' || first == '"' {
            return self.quoted(first);
        }
        let rest = self.rest();
        if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            self.pass(symbol.len());
            return Some(TokenKind::Symbol(symbol));
        }
        self.unexpected();
        None
    }

    /// Digits, a fraction, an exponent. A word that follows at once (`3x`) is part of the fault.
    fn number(&mut self) -> Option<TokenKind<'a>> {
        let (position, start) = (self.position, self.start);
        self.skip(|c| c.is_ascii_digit() || c == '.');
        if self.rest().starts_with(['e', 'E']) {
            self.pass(1);
            if self.rest().starts_with(['+', '-']) {
                self.pass(1);
            }
        }
        self.skip(is_word);
        let written = &self.text[start..self.start];
        match written.parse::<f64>() {
            Ok(number) if number.is_finite() => Some(TokenKind::Number(number)),
            _ => {
                self.faults.push(ExpressionFault {
                    code: "bad_number",
                    position,
                    value: shown(written),
                    allowed: Vec::new(),
                    detail: format!(
                        "{} is not a finite number such as 3, 0.5 or 1e-3",
                        shown(written)
                    ),
                });
                None
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Option<TokenKind<'a>> {
        let (position, start) = (self.position, self.start);
        let mut text = String::new();
        let mut escaped = false;
        for (at, c) in self.rest().char_indices().skip(1) {
            if escaped {
                text.push(c);
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == quote {
                self.pass(at + c.len_utf8());
                return Some(TokenKind::Text(text));
            } else {
                text.push(c);
            }
        }
        self.pass(self.rest().len());
        self.faults.push(ExpressionFault {
            code: "unclosed_text",
            position,
            value: shown(&self.text[start..]),
            allowed: vec![quote.to_string()],
            detail: format!("the text that begins here has no closing {quote}; add one"),
        });
        None
    }

    /// A run of characters that no token begins with.
    fn unexpected(&mut self) {
        let position = self.position;
        let begins = |c: char| {
            is_word(c)
                || c.is_whitespace()
                || c == '\''
                || c == '"'
                || SYMBOLS.iter().any(|symbol| symbol.starts_with(c))
        };
        let found = self.skip(|c| !begins(c));
        // `=` and `!` begin a symbol of two characters, and stand here without the second.
        let found = if found.is_empty() {
            self.pass(1)
        } else {
            found
        };
        let advice = match found {
            "=" => "use == to compare",
            "!" => "use not or !=",
            "&" | "&&" => "use and",
            "|" | "||" => "use or",
            "。" | "，" | "（" | "）" | "‘" | "’" | "“" | "”" | "≤" | "≥" => {
                "use the plain ASCII sign"
            }
            _ => "remove it, or put quotes around text",
        };
        self.faults.push(ExpressionFault {
            code: "unexpected_character",
            position,
            value: shown(found),
            allowed: Vec::new(),
            detail: format!("{} has no meaning here; {advice}", shown(found)),
        });
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
