//! One entry's words, taken one after another, and what is said when one is not as expected.
//!
//! Between `lexer`, which cuts the words, and `entry` and `rdata`, which give them meaning.

use std::fmt::{self, Write};

use super::lexer::{Form, Token};
use crate::name::{self, Name, NameError};

/// Why an entry was refused. The message begins with what was found wrong; callers put the
/// owner, the type and the field before it.
#[derive(Debug)]
pub struct Fault {
    pub line: u32,
    pub message: String,
}

impl Fault {
    pub fn within(mut self, context: impl fmt::Display) -> Fault {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

/// The words of one entry not yet taken.
#[derive(Clone)]
pub struct Words<'a> {
    rest: &'a [Token<'a>],
    /// Where the last word taken stood: what is missing is missing there.
    line: u32,
}

impl<'a> Words<'a> {
    pub fn new(tokens: &'a [Token<'a>]) -> Words<'a> {
        Words { rest: tokens, line: tokens.first().map_or(0, |token| token.line) }
    }

    pub fn line(&self) -> u32 {
        self.line
    }

    pub fn peek(&self) -> Option<Token<'a>> {
        self.rest.first().copied()
    }

    /// The next word if there is one, in whatever form.
    pub fn next(&mut self) -> Option<Token<'a>> {
        let (&token, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.line = token.line;
        Some(token)
    }

    /// Every word left.
    pub fn rest(&mut self) -> &'a [Token<'a>] {
        self.line = self.rest.last().map_or(self.line, |token| token.line);
        std::mem::take(&mut self.rest)
    }

    /// A word in any form.
    pub fn any(&mut self, expected: impl fmt::Display) -> Result<Token<'a>, Fault> {
        self.next().ok_or_else(|| self.missing(expected))
    }

    /// A word without quotes: they make a string of what would be a name or a number.
    pub fn bare(&mut self, expected: impl fmt::Display) -> Result<Token<'a>, Fault> {
        match self.peek() {
            Some(token) if token.form != Form::Bare => Err(token
                .fault(format!("{} is quoted; expected {expected} without quotes", token.shown()))),
            _ => self.any(expected),
        }
    }

    pub fn name(&mut self, origin: &Name, expected: impl fmt::Display) -> Result<Name, Fault> {
        let token = self.bare(expected)?;
        Name::parse(token.text, Some(origin)).map_err(|error| token.not_a_name(error))
    }

    /// A decimal number from 0 to `max`.
    pub fn number(&mut self, max: u64) -> Result<u64, Fault> {
        let expected = format_args!("a number from 0 to {max}");
        let token = self.bare(expected)?;
        decimal(token.text).filter(|&number| number <= max).ok_or_else(|| token.is_not(expected))
    }

    /// Refuses what is left over.
    pub fn end(&self) -> Result<(), Fault> {
        match self.peek() {
            None => Ok(()),
            Some(extra) => Err(extra.fault(format!(
                "{} is too much; expected the entry to end before it",
                extra.shown()
            ))),
        }
    }

    pub fn missing(&self, expected: impl fmt::Display) -> Fault {
        let message = format!("the entry ends too soon; expected {expected}");
        Fault { line: self.line, message }
    }
}

impl<'a> Token<'a> {
    pub fn fault(&self, message: String) -> Fault {
        Fault { line: self.line, message }
    }

    pub fn is_not(&self, expected: impl fmt::Display) -> Fault {
        self.fault(format!("{} is not {expected}", self.shown()))
    }

    pub fn not_a_name(&self, error: NameError) -> Fault {
        self.fault(format!("{} is not a domain name: {error}", self.shown()))
    }

    /// The word as errors show it.
    pub fn shown(&self) -> Shown<'a> {
        Shown(self.text)
    }

    /// Appends the octets meant: escapes resolved.
    pub fn unescape(&self, out: &mut Vec<u8>) -> Result<(), Fault> {
        unescape(self.text, out).map_err(|error| self.fault(format!("{}: {error}", self.shown())))
    }
}

/// Appends the octets that `text` with its escapes means.
pub fn unescape(text: &[u8], out: &mut Vec<u8>) -> Result<(), NameError> {
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'\\' => name::unescape(&mut rest)?,
            plain => plain,
        });
    }
    Ok(())
}

/// The value of decimal digits; `None` for anything else and for what 64 bits do not hold.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, &byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// Text from a file in quotes, cut to a length that fits a line, harmless to a terminal.
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 60;
        let cut = &self.0[..self.0.len().min(LONGEST)];
        f.write_char('"')?;
        for letter in String::from_utf8_lossy(cut).chars() {
            match letter.is_control() {
                true => write!(f, "{}", letter.escape_default())?,
                false => f.write_char(letter)?,
            }
        }
        f.write_str(if cut.len() < self.0.len() { "...\"" } else { "\"" })
    }
}
