//! Where a part of a string stands in the file, by the octets of what the string says: with its quotes and escapes,
//! TOML's text is longer than what it means.

use std::ops::Range;

/// Its place in `raw`, the string as it is written. `None` if it is no string, or has no such part.
pub fn place(raw: &str, part: Range<usize>) -> Option<Range<usize>> {
    let quotes = ["\"\"\"", "'''", "\"", "'"];
    let quote = quotes.into_iter().find(|quote| raw.starts_with(quote) && raw.ends_with(quote))?;
    let body = raw.get(quote.len()..raw.len().checked_sub(quote.len())?)?;
    let is_literal = quote.starts_with('\'');
    // The line end behind three quotes is no part of what is said.
    let line_end = ["\r\n", "\n"].into_iter().find(|end| quote.len() == 3 && body.starts_with(end));
    let (mut said, mut at) = (0, line_end.map_or(0, str::len));
    let mut start = None;
    loop {
        if said <= part.start {
            start = Some(quote.len() + at);
        }
        if said >= part.end {
            return Some(start?..quote.len() + at);
        }
        let rest = &body[at..];
        let first = rest.chars().next()?;
        let (written, says) = match first {
            '\\' if !is_literal => escape(rest)?,
            letter => (letter.len_utf8(), letter.len_utf8()),
        };
        at += written;
        said += says;
    }
}

/// Octets of an escape, and of what it says.
fn escape(rest: &str) -> Option<(usize, usize)> {
    let code = |digits: usize| {
        let code = u32::from_str_radix(rest.get(2..2 + digits)?, 16).ok()?;
        Some((2 + digits, char::from_u32(code)?.len_utf8()))
    };
    match rest.chars().nth(1)? {
        'x' => code(2),
        'u' => code(4),
        'U' => code(8),
        // Before a line end: that, and all space behind it, says nothing.
        space if space.is_ascii_whitespace() => {
            let left = rest[1..].trim_start_matches([' ', '\t', '\r', '\n']);
            Some((rest.len() - left.len(), 0))
        }
        letter => Some((1 + letter.len_utf8(), 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every letter of what a string says is found where it is written.
    fn check(raw: &str, said: &str, written: &[&str]) {
        let found: Vec<&str> = said
            .char_indices()
            .map(|(at, letter)| &raw[place(raw, at..at + letter.len_utf8()).unwrap()])
            .collect();
        assert_eq!(found, written, "{raw}");
        assert_eq!(place(raw, 0..said.len() + 1), None, "{raw}");
    }

    #[test]
    fn a_part_is_found_behind_quotes_and_escapes() {
        check("\"aüb\"", "aüb", &["a", "ü", "b"]);
        check("'a\\b'", "a\\b", &["a", "\\", "b"]);
        check(
            r#""a\"\\\u00fc\U0001F600b""#,
            "a\"\\ü😀b",
            &["a", "\\\"", "\\\\", "\\u00fc", "\\U0001F600", "b"],
        );
        check("'''\na'b'''", "a'b", &["a", "'", "b"]);
        check("\"\"\"\r\na\"b\"\"\"", "a\"b", &["a", "\"", "b"]);
        check("\"\"\"a\\\n   b\"\"\"", "ab", &["a", "b"]);
        check("\"\"", "", &[]);
        assert_eq!(place("\"abcd\"", 1..3), Some(2..4));
        assert_eq!(place("\"ab\"", 2..2), Some(3..3));
        for raw in ["", "\"", "17", "\"\\", "\"\\u12\""] {
            assert_eq!(place(raw, 0..1), None, "{raw}");
        }
    }
}
