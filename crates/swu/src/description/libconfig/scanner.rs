//! Tokens of libconfig's text (`lib/scanner.l` of libconfig 1.7).

use crate::description::DescriptionError;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'a> {
    /// A name, or a boolean.
    Name(&'a str),
    Text(String),
    Integer(i64),
    Float(f64),
    /// A bracket or a mark.
    Sign(char),
    End,
}

pub(super) struct Scanner<'a> {
    rest: &'a str,
    line: usize,
    token_line: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { rest: text, line: 1, token_line: 1 }
    }

    /// The line where the last token begins.
    pub fn token_line(&self) -> usize {
        self.token_line
    }

    pub fn next(&mut self) -> Result<Token<'a>, DescriptionError> {
        self.pass_comments()?;
        self.token_line = self.line;
        let Some(first) = self.rest.chars().next() else { return Ok(Token::End) };
        match first {
            '"' => self.text().map(Token::Text),
            '=' | ':' | ';' | ',' | '{' | '}' | '(' | ')' | '[' | ']' => {
                self.take(1);
                Ok(Token::Sign(first))
            }
            '@' => Err(DescriptionError::Include { line: self.line }),
            'a'..='z' | 'A'..='Z' | '*' => {
                let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_*".contains(&byte);
                Ok(Token::Name(self.take_while(is_part)))
            }
            '0'..='9' | '+' | '-' | '.' => self.number(),
            _ => self.error("a setting or a value"),
        }
    }

    fn error<T>(&self, expected: &'static str) -> Result<T, DescriptionError> {
        Err(DescriptionError::Syntax { line: self.line, expected })
    }

    /// Takes bytes that end with a character.
    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        self.line += taken.bytes().filter(|&byte| byte == b'\n').count();
        self.rest = rest;
        taken
    }

    /// Takes ASCII.
    fn take_while(&mut self, is_part: impl Fn(u8) -> bool) -> &'a str {
        let len = self.rest.bytes().position(|byte| !is_part(byte)).unwrap_or(self.rest.len());
        self.take(len)
    }

    /// Passes over spaces and comments.
    fn pass_comments(&mut self) -> Result<(), DescriptionError> {
        loop {
            self.take_while(|byte| b" \t\r\n\x0c\x0b".contains(&byte));
            if self.rest.starts_with('#') || self.rest.starts_with("//") {
                let len = self.rest.find('\n').unwrap_or(self.rest.len());
                self.take(len);
            } else if self.rest.starts_with("/*") {
                let Some(end) = self.rest[2..].find("*/") else { return self.error("*/") };
                self.take(end + 4);
            } else {
                return Ok(());
            }
        }
    }

    fn text(&mut self) -> Result<String, DescriptionError> {
        self.take(1);
        let mut text = String::new();
        loop {
            let Some(len) = self.rest.find(['"', '\\']) else {
                return self.error("\" at the end of a text");
            };
            text.push_str(self.take(len));
            if self.take(1) == "\"" {
                break;
            }
            text.push(self.escaped()?);
        }
        // An escape could have made one.
        if text.contains('\0') { Err(DescriptionError::Encoding) } else { Ok(text) }
    }

    /// What stands behind a backslash. One that escapes nothing stands for itself.
    fn escaped(&mut self) -> Result<char, DescriptionError> {
        let known = match self.rest.bytes().next() {
            Some(b'a') => '\x07',
            Some(b'b') => '\x08',
            Some(b'f') => '\x0c',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'v') => '\x0b',
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'x') => return self.escaped_byte(),
            _ => return Ok('\\'),
        };
        self.take(1);
        Ok(known)
    }

    fn escaped_byte(&mut self) -> Result<char, DescriptionError> {
        let digits = self.rest.get(1..3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return Ok('\\');
        };
        self.take(3);
        // Half of a character would be no text.
        if byte.is_ascii() { Ok(char::from(byte)) } else { Err(DescriptionError::Encoding) }
    }

    fn number(&mut self) -> Result<Token<'a>, DescriptionError> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        let line = self.line;
        let text = self.take_while(is_part);
        let digits = text.trim_end_matches('L');
        let is_hex = digits.starts_with("0x") || digits.starts_with("0X");
        let token = if is_hex && digits.as_bytes().get(2).is_some_and(u8::is_ascii_hexdigit) {
            u64::from_str_radix(&digits[2..], 16).ok().map(|number| Token::Integer(number.cast_signed()))
        } else if digits.contains(['.', 'e', 'E']) && !text.ends_with('L') {
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
            digits.parse().ok().filter(|number: &f64| is_number && number.is_finite()).map(Token::Float)
        } else {
            // A zero in front is octal for some.
            let is_octal = digits.trim_start_matches(['+', '-']).len() > 1
                && digits.trim_start_matches(['+', '-']).starts_with('0');
            digits.parse().ok().filter(|_| !is_octal && text.len() - digits.len() <= 2).map(Token::Integer)
        };
        token.ok_or(DescriptionError::Syntax { line, expected: "a number" })
    }
}
