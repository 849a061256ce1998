//! DER (ITU-T X.690), as far as certificates and revocation lists are read here: elements one behind the other,
//! and times (RFC 5280 §4.1.2.5).

use jiff::civil::DateTime;

pub const SEQUENCE: u8 = 0x30;
pub const BIT_STRING: u8 = 0x03;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The value of the first element, if it has that tag, and what follows.
pub fn expect(wanted: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (tag, value, rest) = element(der)?;
    (tag == wanted).then_some((value, rest))
}

/// Tag, value and what follows.
pub fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = der.split_first_chunk()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        // The length's own length: what has more than 16 MiB is nothing that we read.
        0x81..=0x83 => {
            let (octets, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((tag, value, rest))
}

/// Unix time in seconds, and what follows. `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` from 2050.
pub fn time(der: &[u8]) -> Option<(i64, &[u8])> {
    let (tag, text, rest) = element(der)?;
    Some((seconds(tag, text)?, rest))
}

fn seconds(tag: u8, text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    let pair = |at: usize| -> Option<i8> {
        let pair = digits.get(at..at + 2)?;
        pair.iter()
            .all(u8::is_ascii_digit)
            .then(|| ((pair[0] - b'0') * 10 + (pair[1] - b'0')) as i8)
    };
    let (year, at) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = i16::from(pair(0)?);
            (if year < 50 { 2000 + year } else { 1900 + year }, 2)
        }
        (GENERALIZED_TIME, 14) => (i16::from(pair(0)?) * 100 + i16::from(pair(2)?), 4),
        _ => return None,
    };
    let [month, day, hour] = [pair(at)?, pair(at + 2)?, pair(at + 4)?];
    let [minute, second] = [pair(at + 6)?, pair(at + 8)?];
    let time = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    let epoch = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    Some(time.duration_since(epoch).as_secs())
}
