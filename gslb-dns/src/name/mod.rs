//! Domain names in wire form (RFC 1035 §3.1), as zones, configs and rules hold them.
//!
//! Names keep the case they were written in and compare without it (RFC 4343). The query path
//! does not build these, which would allocate: it reads a `NameKey`.

mod key;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

pub use self::key::NameKey;

/// Octets of a whole name on the wire, the root's zero included (RFC 1035 §2.3.4).
pub const MAX_NAME: usize = 255;
/// Octets of one label (RFC 1035 §2.3.4).
pub const MAX_LABEL: usize = 63;

/// An absolute domain name, uncompressed, ending in the root label.
#[derive(Clone)]
pub struct Name(Box<[u8]>);

/// Why a text is not a domain name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    #[error("the name is empty; the root is written \".\"")]
    Empty,
    #[error("a label is empty: two dots stand together, or one at the start")]
    EmptyLabel,
    #[error("a label is longer than 63 octets")]
    LongLabel,
    #[error("the name is longer than 255 octets")]
    LongName,
    #[error("a backslash must be followed by one character or by three digits up to 255")]
    BadEscape,
    #[error("the name does not end in a dot and there is no origin to complete it with")]
    NoOrigin,
}

impl Name {
    pub fn root() -> Name {
        Name(Box::new([0]))
    }

    /// Reads presentation form (RFC 1035 §5.1): `\.` and `\DDD` escapes; a name without a final
    /// dot is relative to `origin`.
    pub fn parse(text: &[u8], origin: Option<&Name>) -> Result<Name, NameError> {
        match text {
            b"" => return Err(NameError::Empty),
            b"." => return Ok(Name::root()),
            b"@" => return origin.cloned().ok_or(NameError::NoOrigin),
            _ => {}
        }
        let mut wire = Vec::with_capacity(text.len() + 2);
        let mut label_at = 0;
        wire.push(0);
        let mut rest = text.iter().copied();
        let mut absolute = false;
        while let Some(byte) = rest.next() {
            absolute = byte == b'.';
            match byte {
                b'.' => {
                    close_label(&mut wire, label_at)?;
                    label_at = wire.len();
                    wire.push(0);
                }
                b'\\' => wire.push(unescape(&mut rest)?),
                other => wire.push(other),
            }
        }
        // After a final dot, the octet opened for a next label is the root's.
        if !absolute {
            close_label(&mut wire, label_at)?;
            wire.extend_from_slice(&origin.ok_or(NameError::NoOrigin)?.0);
        }
        if wire.len() > MAX_NAME {
            return Err(NameError::LongName);
        }
        Ok(Name(wire.into()))
    }

    /// Takes one uncompressed name from the front of `wire`; `None` if it is cut short or too long.
    pub fn from_wire(wire: &[u8]) -> Option<Name> {
        let length = wire_length(wire)?;
        Some(Name(wire[..length].into()))
    }

    /// The octets on the wire, in the case they were written in.
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// The same name with ASCII letters in lower case, as keys and hashes want it.
    pub fn to_lower(&self) -> Name {
        Name(self.0.to_ascii_lowercase().into())
    }

    /// As people write a host, and patterns see it: without the final dot.
    pub fn to_host(&self) -> String {
        let mut text = self.to_string();
        text.truncate(text.trim_end_matches('.').len());
        text
    }

    /// Labels from the left, without the root's.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        Labels(&self.0)
    }

    /// How many labels stand before the root.
    pub fn depth(&self) -> usize {
        self.labels().count()
    }

    /// The name without its leftmost label; `None` for the root.
    pub fn parent(&self) -> Option<Name> {
        let skip = 1 + usize::from(*self.0.first()?);
        (skip > 1).then(|| Name(self.0[skip..].into()))
    }

    /// Whether this is `ancestor` or lies below it.
    pub fn is_within(&self, ancestor: &Name) -> bool {
        let mut rest = &*self.0;
        loop {
            if rest.eq_ignore_ascii_case(&ancestor.0) {
                return true;
            }
            match rest.first() {
                None | Some(0) => return false,
                Some(&length) => rest = &rest[1 + usize::from(length)..],
            }
        }
    }
}

/// Octets of the uncompressed name at the front of `wire`, the root's included.
pub fn wire_length(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match usize::from(*wire.get(at)?) {
            0 => return (at < MAX_NAME).then_some(at + 1),
            length if length > MAX_LABEL => return None,
            length => at += 1 + length,
        }
    }
}

/// Takes what follows a backslash (RFC 1035 §5.1): `\DDD` is an octet, `\X` is X itself.
pub fn unescape(rest: &mut impl Iterator<Item = u8>) -> Result<u8, NameError> {
    let digit = |byte: Option<u8>| match byte {
        Some(byte @ b'0'..=b'9') => Ok(u16::from(byte - b'0')),
        _ => Err(NameError::BadEscape),
    };
    match rest.next() {
        None => Err(NameError::BadEscape),
        Some(first @ b'0'..=b'9') => {
            let value =
                u16::from(first - b'0') * 100 + digit(rest.next())? * 10 + digit(rest.next())?;
            u8::try_from(value).map_err(|_| NameError::BadEscape)
        }
        Some(other) => Ok(other),
    }
}

/// Writes the length of the label that began at `label_at`.
fn close_label(wire: &mut [u8], label_at: usize) -> Result<(), NameError> {
    match wire.len() - label_at - 1 {
        0 => Err(NameError::EmptyLabel),
        length if length > MAX_LABEL => Err(NameError::LongLabel),
        length => {
            wire[label_at] = length as u8;
            Ok(())
        }
    }
}

struct Labels<'n>(&'n [u8]);

impl<'n> Iterator for Labels<'n> {
    type Item = &'n [u8];

    fn next(&mut self) -> Option<&'n [u8]> {
        let (&length, rest) = self.0.split_first()?;
        if length == 0 {
            return None;
        }
        let (label, rest) = rest.split_at(usize::from(length));
        self.0 = rest;
        Some(label)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in &self.0 {
            state.write_u8(byte.to_ascii_lowercase());
        }
    }
}

/// Canonical order (RFC 4034 §6.1): by labels from the right, each as lower-cased octets.
impl Ord for Name {
    fn cmp(&self, other: &Name) -> Ordering {
        let reversed = |name: &Name| {
            let mut labels: Vec<_> = name.labels().map(<[u8]>::to_ascii_lowercase).collect();
            labels.reverse();
            labels
        };
        reversed(self).cmp(&reversed(other))
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Names in config are absolute whether or not they end in a dot.
impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Name, NameError> {
        Name::parse(text.as_bytes(), Some(&Name::root()))
    }
}

/// Presentation form with the final dot.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_wire(f, &self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Prints the uncompressed name at the front of `wire`.
pub fn write_wire(f: &mut impl fmt::Write, wire: &[u8]) -> fmt::Result {
    if wire.first() == Some(&0) {
        return f.write_char('.');
    }
    for label in Labels(wire) {
        for &byte in label {
            match byte {
                b'.' | b'\\' | b'"' | b';' | b'@' | b'$' | b'(' | b')' => {
                    write!(f, "\\{}", char::from(byte))?;
                }
                0x21..=0x7e => f.write_char(char::from(byte))?,
                other => write!(f, "\\{other:03}")?,
            }
        }
        f.write_char('.')?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, NameError>) {
        let origin: Name = "example.com".parse().unwrap();
        let got = Name::parse(text.as_bytes(), Some(&origin)).map(|name| name.to_string());
        assert_eq!(got, expected.map(str::to_owned), "{text:?}");
    }

    #[test]
    fn a_name_is_read_as_master_files_write_it() {
        check("www", Ok("www.example.com."));
        check("www.", Ok("www."));
        check("@", Ok("example.com."));
        check(".", Ok("."));
        check("a\\.b", Ok("a\\.b.example.com."));
        check("a\\046b", Ok("a\\.b.example.com."));
        check("\\000.", Ok("\\000."));
        check("*.WWW", Ok("*.WWW.example.com."));
        check("", Err(NameError::Empty));
        check("a..b", Err(NameError::EmptyLabel));
        check(".a", Err(NameError::EmptyLabel));
        check("a\\", Err(NameError::BadEscape));
        check("a\\25", Err(NameError::BadEscape));
        check("a\\256", Err(NameError::BadEscape));
    }

    #[test]
    fn a_label_holds_63_octets_and_a_name_255() {
        let label = "x".repeat(MAX_LABEL);
        check(&format!("{label}."), Ok(&format!("{label}.")));
        check(&format!("{label}x."), Err(NameError::LongLabel));
        let longest = format!("{label}.{label}.{label}.{}.", "y".repeat(61));
        assert_eq!(Name::parse(longest.as_bytes(), None).unwrap().wire().len(), MAX_NAME);
        check(&format!("y{longest}"), Err(NameError::LongLabel));
        check(&format!("{label}.{label}.{label}.{}.", "y".repeat(62)), Err(NameError::LongName));
    }

    #[test]
    fn names_compare_without_case_and_sort_from_the_right() {
        let name = |text: &str| -> Name { text.parse().unwrap() };
        assert_eq!(name("WWW.Example.com"), name("www.example.COM."));
        assert!(name("a.www.example.com").is_within(&name("Example.Com")));
        assert!(!name("wwwexample.com").is_within(&name("example.com")));
        assert!(name("example.com") < name("a.example.com"));
        assert!(name("z.a.example") < name("a.b.example"));
    }
}
