//! Cuts a master file into entries, and entries into words (RFC 1035 §5.1).
//!
//! The first step of `master`: knows blanks, comments, quotes, escapes and parentheses. What words
//! mean, and what the octets behind their escapes are, is not for here.

use super::words::Fault;

/// One word, as written: escapes still in it.
#[derive(Clone, Copy, Debug)]
pub struct Token<'t> {
    pub text: &'t [u8],
    pub form: Form,
    pub line: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    Bare,
    /// The text is what stood between the quotes.
    Quoted,
    /// `key="value"` (RFC 9460 §2.1); the text is all of it.
    Pair,
}

/// How an entry's first line begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Margin {
    /// With its first word: an owner name or a directive.
    Word,
    /// With a blank: the owner is that of the record before.
    Blank,
}

pub struct Lexer<'t> {
    text: &'t [u8],
    at: usize,
    line: u32,
    /// The longest entry accepted, in octets.
    longest: usize,
}

impl<'t> Lexer<'t> {
    /// `line` is the number of the text's first line.
    pub fn new(text: &'t [u8], line: u32, longest: usize) -> Lexer<'t> {
        // A byte order mark says only what is so: that the text is UTF-8.
        let at = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        Lexer { text, at, line, longest }
    }

    /// Cuts the next entry that holds a word; `None` at the end of the text. After a fault the
    /// next call goes on behind the faulty entry.
    pub fn entry(&mut self, tokens: &mut Vec<Token<'t>>) -> Option<Result<Margin, Fault>> {
        loop {
            tokens.clear();
            let margin = match self.peek()? {
                b' ' | b'\t' => Margin::Blank,
                _ => Margin::Word,
            };
            match self.logical_line(tokens) {
                Err(fault) => return Some(Err(fault)),
                Ok(()) if tokens.is_empty() => {} // A blank line, or a comment alone.
                Ok(()) => return Some(Ok(margin)),
            }
        }
    }

    /// Cuts up to the line end that no parenthesis holds open; reports the first fault on the way.
    fn logical_line(&mut self, tokens: &mut Vec<Token<'t>>) -> Result<(), Fault> {
        let (start, first_line) = (self.at, self.line);
        let mut outcome = Ok(());
        let mut depth = 0usize;
        let mut opened_on = self.line;
        while let Some(byte) = self.peek() {
            let step = match byte {
                b' ' | b'\t' => self.skip(1),
                b'\r' if self.text.get(self.at + 1) == Some(&b'\n') => self.skip(1),
                b'\n' => {
                    self.at += 1;
                    self.line += 1;
                    if depth == 0 {
                        return outcome;
                    }
                    Ok(())
                }
                b';' => self.comment(),
                b'(' => {
                    if depth == 0 {
                        opened_on = self.line;
                    }
                    depth += 1;
                    self.skip(1)
                }
                b')' if depth > 0 => {
                    depth -= 1;
                    self.skip(1)
                }
                b')' => {
                    self.at += 1;
                    self.fault("a closing parenthesis stands here without an opening one")
                }
                b'"' => self.quoted().map(|token| tokens.push(token)),
                control if is_control(control) => self.control(),
                _ => self.bare().map(|token| tokens.push(token)),
            };
            outcome = outcome.and(step);
            if outcome.is_err() {
                tokens.clear();
            }
            if self.at - start > self.longest {
                // Some parenthesis is never closed, or this is no text: no entry would be found again.
                self.at = self.text.len();
                let longest = self.longest;
                let message = format!(
                    "the entry is longer than {longest} octets; the rest of the file is not read"
                );
                return outcome.and(Err(Fault { line: first_line, message }));
            }
        }
        if depth > 0 {
            let message = "the parenthesis opened here is never closed".to_owned();
            outcome = outcome.and(Err(Fault { line: opened_on, message }));
        }
        outcome
    }

    /// A word up to a blank; `key="value"` goes on through its quotes.
    fn bare(&mut self) -> Result<Token<'t>, Fault> {
        let (start, line) = (self.at, self.line);
        let mut form = Form::Bare;
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')' => break,
                b'\\' => self.escape()?,
                b'"' if self.text[start..self.at].ends_with(b"=") => {
                    self.quoted()?;
                    form = Form::Pair;
                    break;
                }
                b'"' => {
                    // The quotes are read to their end, so that what they hold is not misread.
                    self.quoted()?;
                    return self.fault(
                        "a quote stands within a word; expected a blank before it, or \\\" to mean the quote itself",
                    );
                }
                control if is_control(control) => break,
                _ => self.at += 1,
            }
        }
        Ok(Token { text: &self.text[start..self.at], form, line })
    }

    /// A string in quotes, which end on the line they began on.
    fn quoted(&mut self) -> Result<Token<'t>, Fault> {
        self.at += 1;
        let start = self.at;
        let mut outcome = Ok(());
        let text = loop {
            let step = match self.peek() {
                None | Some(b'\n') => {
                    return self.fault("the quoted string is not closed on its line; expected \"");
                }
                Some(b'"') => break &self.text[start..self.at],
                Some(b'\\') => self.escape(),
                Some(byte) if is_control(byte) && byte != b'\t' && outcome.is_ok() => {
                    self.control()
                }
                Some(_) => self.skip(1),
            };
            outcome = outcome.and(step);
        };
        self.at += 1;
        outcome?;
        match self.peek() {
            None | Some(b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')' | b'"') => {
                Ok(Token { text, form: Form::Quoted, line: self.line })
            }
            Some(_) => {
                self.fault("a word follows a closing quote at once; expected a blank between them")
            }
        }
    }

    /// A backslash and the octet it protects.
    fn escape(&mut self) -> Result<(), Fault> {
        self.at += 1;
        match self.peek() {
            None | Some(b'\r' | b'\n') => self
                .fault("a backslash ends the line; expected a character or three digits after it"),
            Some(control) if is_control(control) && control != b'\t' => self.control(),
            Some(_) => self.skip(1),
        }
    }

    fn comment(&mut self) -> Result<(), Fault> {
        let mut outcome = Ok(());
        while let Some(byte) = self.peek() {
            let step = match byte {
                b'\n' => break,
                b'\r' if self.text.get(self.at + 1) == Some(&b'\n') => break,
                _ if is_control(byte) && byte != b'\t' && outcome.is_ok() => self.control(),
                _ => self.skip(1),
            };
            outcome = outcome.and(step);
        }
        outcome
    }

    /// Passes a control octet. None belongs in a master file: it is binary, or UTF-16, or damaged.
    fn control(&mut self) -> Result<(), Fault> {
        let byte = self.text[self.at];
        self.at += 1;
        let hint = match byte {
            b'\r' => {
                "a carriage return stands without a line feed; expected lines to end in LF or CR LF"
                    .to_owned()
            }
            _ => format!(
                "control octet 0x{byte:02x}; expected text, with such octets written \\{byte:03}"
            ),
        };
        self.fault(&hint)
    }

    fn fault<T>(&self, message: &str) -> Result<T, Fault> {
        Err(Fault { line: self.line, message: message.to_owned() })
    }

    fn skip(&mut self, octets: usize) -> Result<(), Fault> {
        self.at += octets;
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}

fn is_control(byte: u8) -> bool {
    byte < b' ' || byte == 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries are shown one a line: `_` for a blank margin, then each word in its form.
    fn check(text: &str, expected: &str) {
        let mut lexer = Lexer::new(text.as_bytes(), 1, 64);
        let mut tokens = Vec::new();
        let mut shown = Vec::new();
        while let Some(entry) = lexer.entry(&mut tokens) {
            shown.push(match entry {
                Err(fault) => format!("{}: {}", fault.line, fault.message),
                Ok(margin) => {
                    let words = tokens.iter().map(|token| {
                        let text = String::from_utf8_lossy(token.text);
                        match token.form {
                            Form::Bare => format!("{}:{text}", token.line),
                            Form::Quoted => format!("{}:<{text}>", token.line),
                            Form::Pair => format!("{}:[{text}]", token.line),
                        }
                    });
                    let margin = (margin == Margin::Blank).then(|| "_".to_owned());
                    margin.into_iter().chain(words).collect::<Vec<_>>().join(" ")
                }
            });
        }
        assert_eq!(shown.join("\n"), expected, "{text:?}");
    }

    #[test]
    fn words_are_cut_at_blanks_and_entries_at_lines() {
        check("a b\n\tc  d", "1:a 1:b\n_ 2:c 2:d");
        check("\u{feff}a b\r\n\r\n   \r\nc\r\n", "1:a 1:b\n4:c");
        check("; all comment\n  ; too\na;b\n", "3:a");
        check("", "");
    }

    #[test]
    fn parentheses_join_lines() {
        check("a (b ; c\n d)\ne", "1:a 1:b 2:d\n3:e");
        check("a(b\n(c\n)d\n)e\nf", "1:a 1:b 2:c 3:d 4:e\n5:f");
        check("a )\nb", "1: a closing parenthesis stands here without an opening one\n2:b");
        check("a\nb (\nc (\nd )", "1:a\n2: the parenthesis opened here is never closed");
    }

    #[test]
    fn quotes_and_escapes_hold_a_word_together() {
        check(r#"a "b ; (c" "" "d\"e""f""#, r#"1:a 1:<b ; (c> 1:<> 1:<d\"e> 1:<f>"#);
        check(
            r"a\ b\;c \(\092 \",
            "1: a backslash ends the line; expected a character or three digits after it",
        );
        check(r"a\ b\;c \(\092", r"1:a\ b\;c 1:\(\092");
        check(r#"k="a b" l=c"#, r#"1:[k="a b"] 1:l=c"#);
        check("\"a\nb", "1: the quoted string is not closed on its line; expected \"\n2:b");
        check("a \"b\\\"\nc", "1: the quoted string is not closed on its line; expected \"\n2:c");
        check(
            "a\"b (\" c\nd",
            "1: a quote stands within a word; expected a blank before it, or \\\" to mean the quote itself\n2:d",
        );
        check(
            "\"a\"b\nc",
            "1: a word follows a closing quote at once; expected a blank between them\n2:c",
        );
    }

    #[test]
    fn control_octets_are_refused_everywhere() {
        let at_line_1 = "1: control octet 0x00; expected text, with such octets written \\000\n2:b";
        check("a\0\nb", at_line_1);
        check("a ;\0\nb", at_line_1);
        check("a \"\0\"\nb", at_line_1);
        check("a \\\0\nb", at_line_1);
        check("a\x7f", "1: control octet 0x7f; expected text, with such octets written \\127");
        check(
            "a\rb\nc",
            "1: a carriage return stands without a line feed; expected lines to end in LF or CR LF\n2:c",
        );
        check("a \"b\tc\" ;\t", "1:a 1:<b\tc>");
    }

    #[test]
    fn an_entry_is_bounded() {
        check(&format!("{}\nb", "a".repeat(64)), &format!("1:{}\n2:b", "a".repeat(64)));
        let too_long = "the entry is longer than 64 octets; the rest of the file is not read";
        check(&format!("b\n{}\nb", "a".repeat(65)), &format!("1:b\n2: {too_long}"));
        check(&format!("b\n({})\nb", "\n".repeat(64)), &format!("1:b\n2: {too_long}"));
    }
}
