//! Octets as text: base16, base32hex and base64 (RFC 4648), strictly.
//!
//! For `rdata`, which joins the words first: these see one unbroken run of digits.

/// Why a text is not in an encoding.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadEncoding {
    #[error("'{}' is not a digit of {encoding}", char::from(*digit).escape_default())]
    Digit { digit: u8, encoding: &'static str },
    #[error("the {encoding} text is cut short or too long by some digits")]
    Length { encoding: &'static str },
    #[error("the last digit of the {encoding} text has bits beyond the last octet")]
    LooseBits { encoding: &'static str },
}

pub struct Encoding {
    pub name: &'static str,
    bits: u32,
    digits: &'static [u8],
    case: Case,
    padding: Padding,
}

#[derive(Eq, PartialEq)]
enum Case {
    Matters,
    Ignored,
}

#[derive(Eq, PartialEq)]
enum Padding {
    Required,
    Absent,
}

pub const HEX: Encoding = Encoding {
    name: "hexadecimal",
    bits: 4,
    digits: b"0123456789abcdef",
    case: Case::Ignored,
    padding: Padding::Absent,
};

/// Without padding, as NSEC3 writes it (RFC 5155 §3.3).
pub const BASE32HEX: Encoding = Encoding {
    name: "base32hex",
    bits: 5,
    digits: b"0123456789abcdefghijklmnopqrstuv",
    case: Case::Ignored,
    padding: Padding::Absent,
};

pub const BASE64: Encoding = Encoding {
    name: "base64",
    bits: 6,
    digits: b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    case: Case::Matters,
    padding: Padding::Required,
};

impl Encoding {
    /// Appends the octets `text` stands for.
    pub fn decode(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadEncoding> {
        let encoding = self.name;
        let digits = match self.padding {
            Padding::Absent => text,
            Padding::Required if !text.len().is_multiple_of(4) => {
                // A digit that is none is the better thing to say, if there is one.
                text.iter().try_for_each(|&digit| match digit {
                    b'=' => Ok(()),
                    _ => self.value(digit).map(|_| ()),
                })?;
                return Err(BadEncoding::Length { encoding });
            }
            Padding::Required => {
                let unpadded = text.strip_suffix(b"=").unwrap_or(text);
                unpadded.strip_suffix(b"=").unwrap_or(unpadded)
            }
        };
        let (mut held, mut bits) = (0u32, 0);
        for &digit in digits {
            held = held << self.bits | self.value(digit)?;
            bits += self.bits;
            if bits >= 8 {
                bits -= 8;
                out.push((held >> bits) as u8);
                held &= (1 << bits) - 1;
            }
        }
        match (bits, held) {
            (left, _) if left >= self.bits => Err(BadEncoding::Length { encoding }),
            (_, 0) => Ok(()),
            (_, _) => Err(BadEncoding::LooseBits { encoding }),
        }
    }

    /// Appends the text for `octets`.
    pub fn encode(&self, octets: &[u8], out: &mut String) {
        let (mut held, mut bits) = (0u32, 0);
        let mask = (1 << self.bits) - 1;
        let mut put = |value: u32| out.push(char::from(self.digits[(value & mask) as usize]));
        for &octet in octets {
            held = (held << 8 | u32::from(octet)) & 0xffff;
            bits += 8;
            while bits >= self.bits {
                bits -= self.bits;
                put(held >> bits);
            }
        }
        if bits > 0 {
            put(held << (self.bits - bits));
        }
        if self.padding == Padding::Required {
            out.push_str(["", "==", "="][octets.len() % 3]);
        }
    }

    fn value(&self, digit: u8) -> Result<u32, BadEncoding> {
        let value = match (&self.case, digit) {
            (Case::Ignored, b'0'..=b'9') => Some(digit - b'0'),
            (Case::Ignored, b'a'..=b'z') => Some(digit - b'a' + 10),
            (Case::Ignored, b'A'..=b'Z') => Some(digit - b'A' + 10),
            (Case::Matters, b'A'..=b'Z') => Some(digit - b'A'),
            (Case::Matters, b'a'..=b'z') => Some(digit - b'a' + 26),
            (Case::Matters, b'0'..=b'9') => Some(digit - b'0' + 52),
            (Case::Matters, b'+') => Some(62),
            (Case::Matters, b'/') => Some(63),
            _ => None,
        };
        value
            .map(u32::from)
            .filter(|&value| value < 1 << self.bits)
            .ok_or(BadEncoding::Digit { digit, encoding: self.name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(encoding: &Encoding, octets: &str, text: &str) {
        let mut encoded = String::new();
        encoding.encode(octets.as_bytes(), &mut encoded);
        assert_eq!(encoded, text);
        let mut decoded = Vec::new();
        assert_eq!(encoding.decode(text.as_bytes(), &mut decoded), Ok(()));
        assert_eq!(decoded, octets.as_bytes());
    }

    fn check_bad(encoding: &Encoding, text: &str, message: &str) {
        let error = encoding.decode(text.as_bytes(), &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), message, "{text:?}");
    }

    /// RFC 4648 §10.
    #[test]
    fn the_vectors_of_the_rfc_go_both_ways() {
        let vectors = [
            ("", "", "", ""),
            ("f", "66", "co", "Zg=="),
            ("fo", "666f", "cpng", "Zm8="),
            ("foo", "666f6f", "cpnmu", "Zm9v"),
            ("foob", "666f6f62", "cpnmuog", "Zm9vYg=="),
            ("fooba", "666f6f6261", "cpnmuoj1", "Zm9vYmE="),
            ("foobar", "666f6f626172", "cpnmuoj1e8", "Zm9vYmFy"),
        ];
        for (octets, hex, base32, base64) in vectors {
            check(&HEX, octets, hex);
            check(&BASE32HEX, octets, base32);
            check(&BASE64, octets, base64);
        }
    }

    #[test]
    fn what_is_not_encoded_so_is_refused() {
        check_bad(&HEX, "6g", "'g' is not a digit of hexadecimal");
        check_bad(&HEX, "666", "the hexadecimal text is cut short or too long by some digits");
        check_bad(&BASE32HEX, "c", "the base32hex text is cut short or too long by some digits");
        check_bad(
            &BASE32HEX,
            "cp",
            "the last digit of the base32hex text has bits beyond the last octet",
        );
        check_bad(&BASE32HEX, "w0", "'w' is not a digit of base32hex");
        check_bad(&BASE64, "Zg", "the base64 text is cut short or too long by some digits");
        check_bad(&BASE64, "Zg=", "the base64 text is cut short or too long by some digits");
        check_bad(
            &BASE64,
            "Zh==",
            "the last digit of the base64 text has bits beyond the last octet",
        );
        check_bad(&BASE64, "Z===", "'=' is not a digit of base64");
        check_bad(&BASE64, "Zg-_", "'-' is not a digit of base64");
        check_bad(&BASE64, "Z-", "'-' is not a digit of base64");
    }
}
