//! Text of libconfig, read into values.
//!
//! All of the format but `@include`: groups, lists, arrays, texts with escapes that stand beside one another,
//! numbers, booleans, the three kinds of comments. Texts are UTF-8 and without zeros.

mod scanner;

use super::DescriptionError;
use crate::limits::{DEPTH_MAX, DESCRIPTION_BYTES_MAX, VALUES_MAX};
use scanner::{Scanner, Token};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number, decimal or hexadecimal.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
    /// `[ ... ]`: scalars of one type.
    Array(Vec<Value>),
    /// `( ... )`: anything.
    List(Vec<Value>),
    /// `{ ... }`.
    Group(Group),
}

/// Settings in order. No two have one name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Group {
    /// Names and values.
    pub settings: Vec<(String, Value)>,
}

impl Group {
    /// The value of a setting.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.settings.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }
}

impl Value {
    /// The elements of an array or a list.
    pub fn elements(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) | Self::List(elements) => Some(elements),
            _ => None,
        }
    }
}

/// Reads a text.
///
/// # Errors
/// What is wrong, with its line, and texts past their limits.
pub fn parse(bytes: &[u8]) -> Result<Group, DescriptionError> {
    if bytes.len() > DESCRIPTION_BYTES_MAX {
        return Err(DescriptionError::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| DescriptionError::Encoding)?;
    if text.contains('\0') {
        return Err(DescriptionError::Encoding);
    }
    let mut parser = Parser { scanner: Scanner::new(text), token: Token::End, values: 0 };
    parser.step()?;
    let group = parser.settings(0, &Token::End)?;
    Ok(group)
}

struct Parser<'a> {
    scanner: Scanner<'a>,
    /// What was read last and is not used yet.
    token: Token<'a>,
    values: usize,
}

impl<'a> Parser<'a> {
    fn step(&mut self) -> Result<Token<'a>, DescriptionError> {
        let next = self.scanner.next()?;
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn error<T>(&self, expected: &'static str) -> Result<T, DescriptionError> {
        Err(DescriptionError::Syntax { line: self.scanner.token_line(), expected })
    }

    fn is_at(&self, sign: char) -> bool {
        self.token == Token::Sign(sign)
    }

    /// Settings up to a token, which is used too.
    fn settings(&mut self, depth: usize, end: &Token<'_>) -> Result<Group, DescriptionError> {
        let mut group = Group::default();
        let mut names = std::collections::HashSet::new();
        while self.token != *end {
            let line = self.scanner.token_line();
            let Token::Name(name) = self.token else { return self.error("the name of a setting") };
            if !names.insert(name) {
                return Err(DescriptionError::Duplicate { line, name: name.to_owned() });
            }
            self.step()?;
            if !self.is_at('=') && !self.is_at(':') {
                return self.error("= or :");
            }
            self.step()?;
            let value = self.value(depth)?;
            group.settings.push((name.to_owned(), value));
            if self.is_at(';') || self.is_at(',') {
                self.step()?;
            }
        }
        if *end != Token::End {
            self.step()?;
        }
        Ok(group)
    }

    fn value(&mut self, depth: usize) -> Result<Value, DescriptionError> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(DescriptionError::TooMany);
        }
        if depth == DEPTH_MAX {
            return Err(DescriptionError::TooDeep { line: self.scanner.token_line() });
        }
        match self.token {
            Token::Sign('{') => {
                self.step()?;
                self.settings(depth + 1, &Token::Sign('}')).map(Value::Group)
            }
            Token::Sign('(') => self.elements(depth, ')').map(Value::List),
            Token::Sign('[') => {
                let elements = self.elements(depth, ']')?;
                let is_scalar =
                    |value: &Value| value.elements().is_none() && !matches!(value, Value::Group(_));
                let kind = |value: &Value| std::mem::discriminant(value);
                let is_like_first = |value: &Value| elements.first().map(kind) == Some(kind(value));
                if elements.iter().all(|value| is_scalar(value) && is_like_first(value)) {
                    Ok(Value::Array(elements))
                } else {
                    self.error("scalars of one type in an array")
                }
            }
            _ => self.scalar(),
        }
    }

    /// Elements up to a bracket, which is used too.
    fn elements(&mut self, depth: usize, end: char) -> Result<Vec<Value>, DescriptionError> {
        self.step()?;
        let mut elements = Vec::new();
        while !self.is_at(end) {
            elements.push(self.value(depth + 1)?);
            if self.is_at(',') {
                self.step()?;
            } else if !self.is_at(end) {
                return self.error(", or the end of the list");
            }
        }
        self.step()?;
        Ok(elements)
    }

    fn scalar(&mut self) -> Result<Value, DescriptionError> {
        match self.step()? {
            Token::Text(mut text) => {
                while let Token::Text(_) = &self.token {
                    if let Token::Text(more) = self.step()? {
                        text.push_str(&more);
                    }
                }
                Ok(Value::Text(text))
            }
            Token::Name(name) if name.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
            Token::Name(name) if name.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
            Token::Integer(number) => Ok(Value::Integer(number)),
            Token::Float(number) => Ok(Value::Float(number)),
            _ => self.error("a value"),
        }
    }
}

#[cfg(test)]
mod tests;
