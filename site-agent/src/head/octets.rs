//! Which octets may stand where (RFC 9110 §5.6.2, RFC 9112 §2).

use super::refusal::Refusal;

const TCHAR: u8 = 1;
const HOST: u8 = 2;

/// What each octet may stand in.
const CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 128 {
        let letter = octet as u8;
        if letter.is_ascii_alphanumeric() {
            table[octet] = TCHAR | HOST;
        }
        octet += 1;
    }
    table = with(table, b"!#$%&'*+-.^_`|~", TCHAR);
    with(table, b"!$&'()*+-.;=_~", HOST)
};

const fn with(mut table: [u8; 256], octets: &[u8], class: u8) -> [u8; 256] {
    let mut at = 0;
    while at < octets.len() {
        table[octets[at] as usize] |= class;
        at += 1;
    }
    table
}

pub fn is_tchar(octet: u8) -> bool {
    CLASSES[usize::from(octet)] & TCHAR != 0
}

/// Whether it may stand in a name of a host as it is (RFC 3986 §3.2.2). The comma may not: two Hosts joined by
/// one must not pass for a name.
pub fn is_host(octet: u8) -> bool {
    CLASSES[usize::from(octet)] & HOST != 0
}

pub fn is_token(octets: &[u8]) -> bool {
    !octets.is_empty() && octets.iter().all(|octet| is_tchar(*octet))
}

/// Whether a field's value may have these octets: text, spaces and tabs, and what is not ASCII.
pub fn is_text(octets: &[u8]) -> bool {
    let (eights, rest) = octets.as_chunks::<8>();
    let is_plain = eights.iter().all(|eight| !has_control(u64::from_ne_bytes(*eight)))
        && rest.iter().all(|octet| !is_control(*octet));
    // A tab is a control octet that may be.
    is_plain || octets.iter().all(|octet| !is_control(*octet) || *octet == b'\t')
}

fn is_control(octet: u8) -> bool {
    octet < 0x20 || octet == 0x7f
}

/// Whether one of eight octets is a control octet: one below 0x20 borrows from its highest bit, and so does one
/// that is nothing once 0x7f is taken out of it.
fn has_control(eight: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    let below = eight.wrapping_sub(ONES * 0x20) & !eight;
    let delete = eight ^ (ONES * 0x7f);
    let is_delete = delete.wrapping_sub(ONES) & !delete;
    (below | is_delete) & (ONES * 0x80) != 0
}

/// Whether a target may have these octets: what can be seen, but no fragment.
pub fn is_target(octets: &[u8]) -> bool {
    // Without a branch, so that it is done many octets at a time.
    !octets
        .iter()
        .fold(false, |bad, octet| bad | (*octet < 0x21) | (*octet > 0x7e) | (*octet == b'#'))
}

/// What is wrong with a line that is no text.
pub fn fault(octets: &[u8]) -> Refusal {
    let control = octets.iter().find(|octet| !is_text(&[**octet]));
    match control {
        Some(b'\r') => Refusal::BareCr,
        Some(0) => Refusal::Nul,
        _ => Refusal::Control,
    }
}

fn is_space(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// Without the optional whitespace around. `trim_ascii` would take more than that.
pub fn trim(mut octets: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = octets
        && is_space(*first)
    {
        octets = rest;
    }
    while let [rest @ .., last] = octets
        && is_space(*last)
    {
        octets = rest;
    }
    octets
}

/// The elements of a comma-separated list that has no quoted strings; empty ones are none (RFC 9110 §5.6.1.2).
pub fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|octet| *octet == b',').map(trim).filter(|element| !element.is_empty())
}

/// A decimal number of digits alone. `None` beyond what an `i64` holds: who reads it behind us may use one.
pub fn decimal(digits: &[u8]) -> Option<u64> {
    let mut number = 0_i64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(digit.into())?;
    }
    Some(number.unsigned_abs())
}

/// Room for a number in digits: decimal ones take 20, hexadecimal ones 16.
pub type Digits = [u8; 20];

/// A number in decimal digits.
pub fn decimal_digits(mut number: u64, room: &mut Digits) -> &[u8] {
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &room[at..];
        }
    }
}
