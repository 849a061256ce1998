//! Takes the text of a condition apart into words, strings, numbers and signs.

use std::ops::Range;
use std::time::Duration;

use common::duration;

use super::Mistake;
use super::tree::Comparison;

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Name(String),
    Text(String),
    Int(i64),
    Duration(Duration),
    Open,
    Close,
    Comma,
    Not,
    And,
    Or,
    In,
    Compare(Comparison),
}

/// A token and where it stands.
pub type Placed = (Token, Range<usize>);

const SIGNS: [(&str, Token); 12] = [
    ("&&", Token::And),
    ("||", Token::Or),
    ("==", Token::Compare(Comparison::Equal)),
    ("!=", Token::Compare(Comparison::NotEqual)),
    ("<=", Token::Compare(Comparison::LessOrEqual)),
    (">=", Token::Compare(Comparison::MoreOrEqual)),
    ("<", Token::Compare(Comparison::Less)),
    (">", Token::Compare(Comparison::More)),
    ("!", Token::Not),
    ("(", Token::Open),
    (")", Token::Close),
    (",", Token::Comma),
];

/// Every token, or everything that is none.
pub fn lex(text: &str) -> Result<Vec<Placed>, Vec<Mistake>> {
    let (mut tokens, mut mistakes) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        if first.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let (length, token) = next(&text[at..], first);
        let span = at..at + length;
        at += length;
        match token {
            Ok(token) => tokens.push((token, span)),
            Err(message) => mistakes.push(Mistake::new(span, message)),
        }
    }
    if mistakes.is_empty() { Ok(tokens) } else { Err(mistakes) }
}

/// What the rest of the text begins with, and of how many octets that is.
fn next(rest: &str, first: char) -> (usize, Result<Token, String>) {
    if let '\'' | '"' = first {
        return string(rest, first);
    }
    if first.is_ascii_digit() {
        return number(rest);
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let length = rest.bytes().take_while(|octet| is_of_name(*octet)).count();
        let name = &rest[..length];
        let token = if name == "in" { Token::In } else { Token::Name(name.to_owned()) };
        return (length, Ok(token));
    }
    if let Some((sign, token)) = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign)) {
        return (sign.len(), Ok(token.clone()));
    }
    let message = match first {
        '&' => "found &, expected &&".to_owned(),
        '|' => "found |, expected ||".to_owned(),
        '=' => "found =, expected ==".to_owned(),
        '-' => "found -, and there are no numbers below 0".to_owned(),
        '/' => "found /, which stands only in strings: quote it, such as '/admin'".to_owned(),
        '[' | ']' => format!("found {first}, expected parentheses: in ('a', 'b')"),
        other => format!("found {other:?}, which means nothing here"),
    };
    (first.len_utf8(), Err(message))
}

fn is_of_name(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet == b'_'
}

/// A string ends at the quote that began it; where that is meant itself, it stands twice.
fn string(rest: &str, quote: char) -> (usize, Result<Token, String>) {
    let mut text = String::new();
    let mut letters = rest.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter != quote {
            text.push(letter);
        } else if letters.next_if(|(_, after)| *after == quote).is_some() {
            text.push(quote);
        } else {
            let control = text.chars().find(|letter| letter.is_control());
            let token = match control {
                None => Ok(Token::Text(text)),
                Some(control) => Err(format!("holds {control:?}, which nothing here can have")),
            };
            return (at + 1, token);
        }
    }
    (rest.len(), Err(format!("does not end: a {quote} is missing")))
}

/// `443`, or `10s`.
fn number(rest: &str) -> (usize, Result<Token, String>) {
    let length = rest.bytes().take_while(|octet| is_of_name(*octet)).count();
    let text = &rest[..length];
    let is_of_address = |octet: &u8| octet.is_ascii_hexdigit() || b".:/".contains(octet);
    let address = rest.bytes().take_while(|octet| is_of_address(octet)).count();
    if address > length {
        let message = format!("an address is a string: quote it, '{}'", &rest[..address]);
        return (address, Err(message));
    }
    let token = if text.bytes().all(|octet| octet.is_ascii_digit()) {
        text.parse().map(Token::Int).map_err(|_| format!("{text} is more than can be counted"))
    } else {
        duration::parse(text).map(Token::Duration).map_err(|_| {
            format!("{text} is neither a number such as 443 nor {}", duration::EXPECTED)
                .replace('"', "")
        })
    };
    (length, token)
}
