//! $GENERATE: a range of numbers, and templates each of them is put into.
//!
//! For `entry`, which reads what comes out as if it stood in the file. The syntax is BIND's.

use std::fmt::Write;

use super::lexer::{Form, Token};
use super::words::{Fault, decimal};

pub const RANGE: &str = "a range such as 1-254 or 0-100/2";

/// The numbers to generate for.
#[derive(Debug)]
pub struct Range {
    start: u32,
    stop: u32,
    step: u32,
}

/// Text with places for the number.
#[derive(Debug, Eq, PartialEq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Eq, PartialEq)]
enum Piece {
    Text(Vec<u8>),
    /// `$`, or `${offset,width,radix}`.
    Number {
        offset: i64,
        width: usize,
        radix: Radix,
    },
}

#[derive(Debug, Eq, PartialEq)]
enum Radix {
    Decimal,
    Octal,
    Hex(Case),
    /// Hexadecimal digits as labels, the last first, as names below ip6.arpa have them.
    Nibbles(Case),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Case {
    Lower,
    Upper,
}

/// Characters one number may be padded to: more than the longest name has.
const WIDEST: u64 = 255;
/// The largest number that may come of a range and an offset.
const LARGEST: u64 = i32::MAX as u64;

impl Range {
    /// Reads `start-stop` or `start-stop/step`, of at most `most` numbers.
    pub fn read(token: Token<'_>, most: u64) -> Result<Range, Fault> {
        let range = Range::parse(token.text).ok_or_else(|| token.is_not(RANGE))?;
        let Range { start, stop, step } = range;
        if start > stop {
            return Err(
                token.fault(format!("{} starts above its end; expected {RANGE}", token.shown()))
            );
        }
        let count = u64::from((stop - start) / step) + 1;
        match count > most {
            true => Err(token.fault(format!(
                "{} makes {count} records; expected at most {most}",
                token.shown()
            ))),
            false => Ok(range),
        }
    }

    fn parse(text: &[u8]) -> Option<Range> {
        let number = |digits| {
            decimal(digits).filter(|&number| number <= LARGEST).map(|number| number as u32)
        };
        let (ends, step) = match cut(text, b'/') {
            Some((ends, step)) => (ends, number(step).filter(|&step| step > 0)?),
            None => (text, 1),
        };
        let (start, stop) = cut(ends, b'-')?;
        Some(Range { start: number(start)?, stop: number(stop)?, step })
    }

    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        (self.start..=self.stop).step_by(self.step as usize)
    }
}

impl Template {
    pub fn parse(text: &[u8]) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut plain = Vec::new();
        let mut rest = text;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match (byte, after.first()) {
                // Escapes stay for whoever reads the outcome, `\$` among them.
                (b'\\', Some(&escaped)) => {
                    plain.extend([b'\\', escaped]);
                    rest = &after[1..];
                }
                // An older way to write a dollar sign.
                (b'$', Some(b'$')) => {
                    plain.push(b'$');
                    rest = &after[1..];
                }
                (b'$', next) => {
                    let number = match next {
                        Some(b'{') => {
                            let (modifier, behind) = cut(&after[1..], b'}').ok_or(UNCLOSED)?;
                            rest = behind;
                            Piece::modified(modifier)?
                        }
                        _ => Piece::Number { offset: 0, width: 0, radix: Radix::Decimal },
                    };
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(number);
                }
                (other, _) => plain.push(other),
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Template(pieces))
    }

    /// Appends the text with `number` in its places.
    pub fn expand(&self, number: u32, out: &mut Vec<u8>) -> Result<(), String> {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Number { offset, width, radix } => {
                    let sum = i64::from(number) + offset;
                    let value = u64::try_from(sum)
                        .ok()
                        .filter(|&value| value <= LARGEST)
                        .ok_or_else(|| {
                            format!(
                                "{number} with offset {offset} is not a number from 0 to {LARGEST}"
                            )
                        })?;
                    out.extend_from_slice(radix.digits(value, *width).as_bytes());
                }
            }
        }
        Ok(())
    }
}

/// The template for what follows the type. One string in quotes is taken for what stands in it,
/// which is how BIND has data of several words; several words are taken as they are.
pub fn right_side(words: &[Token<'_>]) -> Vec<u8> {
    let mut text = Vec::new();
    if let [Token { text: quoted, form: Form::Quoted, .. }] = words {
        let mut rest = quoted.iter().copied();
        while let Some(byte) = rest.next() {
            match (byte, rest.clone().next()) {
                // The backslash that kept a quote from ending the string has done its work.
                (b'\\', Some(b'"')) => {}
                (b'\\', Some(escaped)) => {
                    rest.next();
                    text.extend([b'\\', escaped]);
                }
                (plain, _) => text.push(plain),
            }
        }
        return text;
    }
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            text.push(b' ');
        }
        let quote: &[u8] = if word.form == Form::Quoted { b"\"" } else { b"" };
        text.extend_from_slice(&[quote, word.text, quote].concat());
    }
    text
}

const UNCLOSED: &str = "${ is never closed; expected ${offset,width,radix}";

impl Piece {
    /// Reads `offset`, `offset,width` or `offset,width,radix`.
    fn modified(text: &[u8]) -> Result<Piece, String> {
        let parse = || {
            let mut parts = text.split(|&byte| byte == b',');
            let offset = match parts.next()? {
                [b'-', digits @ ..] => -(small(digits)?),
                [b'+', digits @ ..] | digits => small(digits)?,
            };
            let width = match parts.next() {
                Some(digits) => decimal(digits).filter(|&width| width <= WIDEST)? as usize,
                None => 0,
            };
            let radix = match parts.next() {
                None | Some(b"d") => Radix::Decimal,
                Some(b"o") => Radix::Octal,
                Some(b"x") => Radix::Hex(Case::Lower),
                Some(b"X") => Radix::Hex(Case::Upper),
                Some(b"n") => Radix::Nibbles(Case::Lower),
                Some(b"N") => Radix::Nibbles(Case::Upper),
                Some(_) => return None,
            };
            parts.next().is_none().then_some(Piece::Number { offset, width, radix })
        };
        parse().ok_or_else(|| {
            format!(
                "\"${{{}}}\" is not a modifier; expected ${{offset,width,radix}} with a width up to {WIDEST} \
                 and a radix of d, o, x, X, n or N",
                String::from_utf8_lossy(text)
            )
        })
    }
}

fn small(digits: &[u8]) -> Option<i64> {
    decimal(digits).filter(|&number| number <= LARGEST).map(|number| number as i64)
}

impl Radix {
    fn digits(&self, value: u64, width: usize) -> String {
        match self {
            Radix::Decimal => format!("{value:0width$}"),
            Radix::Octal => format!("{value:0width$o}"),
            Radix::Hex(Case::Lower) => format!("{value:0width$x}"),
            Radix::Hex(Case::Upper) => format!("{value:0width$X}"),
            Radix::Nibbles(case) => nibbles(value, width, *case),
        }
    }
}

/// `width` counts digits and dots alike, so an even one ends in a dot, as in BIND.
fn nibbles(mut value: u64, width: usize, case: Case) -> String {
    let mut out = String::new();
    loop {
        let nibble = value & 0xf;
        value >>= 4;
        // Writing to a String does not fail.
        let _ = match case {
            Case::Lower => write!(out, "{nibble:x}"),
            Case::Upper => write!(out, "{nibble:X}"),
        };
        if value == 0 && out.len() >= width {
            return out;
        }
        out.push('.');
        if value == 0 && out.len() >= width {
            return out;
        }
    }
}

/// Splits at the first `mark`, which goes.
fn cut(text: &[u8], mark: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == mark)?;
    Some((&text[..at], &text[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, number: u32, expected: Result<&str, &str>) {
        let mut out = Vec::new();
        let got = Template::parse(template.as_bytes())
            .and_then(|template| template.expand(number, &mut out))
            .map(|()| String::from_utf8(out).unwrap());
        assert_eq!(got, expected.map(str::to_owned).map_err(str::to_owned), "{template:?}");
    }

    #[test]
    fn a_number_takes_the_place_of_each_dollar() {
        check("host$", 7, Ok("host7"));
        check("$.$.in-addr.arpa.", 7, Ok("7.7.in-addr.arpa."));
        check("a", 7, Ok("a"));
        check("", 7, Ok(""));
        check(r"\$$$", 7, Ok(r"\$$"));
        check(r"\\$", 7, Ok(r"\\7"));
    }

    #[test]
    fn modifiers_shift_pad_and_recode() {
        check("${0}", 7, Ok("7"));
        check("${-7}${+1}${3}", 7, Ok("0810"));
        check("${0,3}", 7, Ok("007"));
        check("${0,3,d}", 1234, Ok("1234"));
        check("${0,0,o}", 8, Ok("10"));
        check("${0,2,x}${0,4,X}", 171, Ok("ab00AB"));
        check("${0,3,n}", 0x1a, Ok("a.1"));
        check("${0,7,N}", 0x1a, Ok("A.1.0.0"));
        check("${0,1,n}", 0x1a, Ok("a.1"));
        check("${0,2,n}", 1, Ok("1."));
        check("${-8}", 7, Err("7 with offset -8 is not a number from 0 to 2147483647"));
        check("${2147483647}", 0, Ok("2147483647"));
        check(
            "${2147483647}",
            1,
            Err("1 with offset 2147483647 is not a number from 0 to 2147483647"),
        );
        check("${0", 7, Err(UNCLOSED));
        for bad in ["", "x", "0,x", "0,1,q", "0,1,d,", "0,256", "2147483648", "--1"] {
            let message = format!(
                "\"${{{bad}}}\" is not a modifier; expected ${{offset,width,radix}} with a width up to 255 \
                 and a radix of d, o, x, X, n or N"
            );
            check(&format!("${{{bad}}}"), 7, Err(&message));
        }
    }

    fn check_range(text: &str, expected: Result<&[u32], &str>) {
        let token = Token { text: text.as_bytes(), form: Form::Bare, line: 1 };
        let got = Range::read(token, 4).map(|range| range.numbers().collect::<Vec<_>>());
        assert_eq!(
            got.map_err(|fault| fault.message),
            expected.map(<[u32]>::to_vec).map_err(str::to_owned)
        );
    }

    #[test]
    fn a_range_is_bounded_and_runs_upward() {
        check_range("1-3", Ok(&[1, 2, 3]));
        check_range("0-10/5", Ok(&[0, 5, 10]));
        check_range("0-9/5", Ok(&[0, 5]));
        check_range("2147483647-2147483647", Ok(&[2_147_483_647]));
        check_range("1-4", Ok(&[1, 2, 3, 4]));
        check_range("1-5", Err("\"1-5\" makes 5 records; expected at most 4"));
        check_range(
            "3-1",
            Err("\"3-1\" starts above its end; expected a range such as 1-254 or 0-100/2"),
        );
        for bad in ["", "1", "1-", "-1", "1-2/0", "1-2/", "1-2/-1", "a-b", "1-2147483648"] {
            check_range(bad, Err(&format!("\"{bad}\" is not a range such as 1-254 or 0-100/2")));
        }
    }
}
