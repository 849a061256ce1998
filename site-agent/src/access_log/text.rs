//! Numbers, times and octets as text, at the end of a buffer.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// What digits an octet is written with.
const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

pub fn number(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Whole milliseconds.
pub fn milliseconds(time: Duration, out: &mut Vec<u8>) {
    number(time.as_millis(), out);
}

/// Two digits of hexadecimal.
pub fn hexadecimal(octet: u8, out: &mut Vec<u8>) {
    let digit = |nibble: u8| DIGITS[usize::from(nibble)];
    out.extend_from_slice(&[digit(octet >> 4), digit(octet & 15)]);
}

/// An IPv4 address is one in whatever socket it came.
pub fn address(client: SocketAddr, out: &mut Vec<u8>) {
    write!(out, "{}", client.ip().to_canonical()).expect("a vector takes all");
}

/// `22/Nov/2026:09:00:32.434`, of UTC.
pub fn date(at: Timestamp, out: &mut Vec<u8>) {
    let at = Offset::UTC.to_datetime(at);
    digits(at.day().into(), 2, out);
    out.push(b'/');
    out.extend_from_slice(MONTHS[usize::from(at.month().unsigned_abs()) - 1].as_bytes());
    out.push(b'/');
    digits(at.year(), 4, out);
    out.push(b':');
    clock(at, out);
}

/// `2026-11-22T09:00:32.434Z` (RFC 3339).
pub fn time(at: Timestamp, out: &mut Vec<u8>) {
    let at = Offset::UTC.to_datetime(at);
    digits(at.year(), 4, out);
    out.push(b'-');
    digits(at.month().into(), 2, out);
    out.push(b'-');
    digits(at.day().into(), 2, out);
    out.push(b'T');
    clock(at, out);
    out.push(b'Z');
}

fn clock(at: DateTime, out: &mut Vec<u8>) {
    digits(at.hour().into(), 2, out);
    out.push(b':');
    digits(at.minute().into(), 2, out);
    out.push(b':');
    digits(at.second().into(), 2, out);
    out.push(b'.');
    digits(at.millisecond(), 3, out);
}

/// With zeros in front; what would be more digits is cut.
fn digits(number: i16, count: usize, out: &mut Vec<u8>) {
    let begin = out.len();
    let mut rest = number.unsigned_abs();
    for _ in 0..count {
        out.push(DIGITS[usize::from(rest % 10)]);
        rest /= 10;
    }
    out[begin..].reverse();
}
