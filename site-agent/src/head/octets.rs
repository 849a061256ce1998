//! Which octets may stand where (RFC 9110 §5.6.2, RFC 9112 §2).

use super::refusal::Refusal;

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut octet = 0;
    while octet < 128 {
        let letter = octet as u8;
        table[octet] = letter.is_ascii_alphanumeric()
            || matches!(
                letter,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        octet += 1;
    }
    table
};

pub fn is_tchar(octet: u8) -> bool {
    TOKEN[usize::from(octet)]
}

pub fn is_token(octets: &[u8]) -> bool {
    !octets.is_empty() && octets.iter().all(|octet| is_tchar(*octet))
}

/// Whether a field's value may have these octets: text, spaces and tabs, and what is not ASCII.
pub fn is_text(octets: &[u8]) -> bool {
    // Without a branch, so that it is done many octets at a time.
    !octets
        .iter()
        .fold(false, |bad, octet| bad | ((*octet < 0x20) & (*octet != b'\t')) | (*octet == 0x7f))
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
