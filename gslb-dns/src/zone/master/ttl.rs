//! Spans of time as master files write them: seconds, or numbers with units.

use super::lexer::Token;
use super::words::Fault;

/// The largest TTL (RFC 2181 §8).
pub const MAX_TTL: u32 = i32::MAX as u32;

/// Seconds from `3600` or `1w2d3h4m5s`, in any case and any order of units.
pub fn seconds(token: Token<'_>, max: u32) -> Result<u32, Fault> {
    let total = total(token.text).ok_or_else(|| token.is_not(EXPECTED))?;
    u32::try_from(total).ok().filter(|&total| total <= max).ok_or_else(|| {
        token.fault(format!("{} is more than {max} seconds, the most there may be", token.shown()))
    })
}

pub const EXPECTED: &str = "a span of time, in seconds or in units such as 1h30m";

/// Saturates: what 64 bits do not hold is above every limit.
fn total(text: &[u8]) -> Option<u64> {
    let mut total = 0u64;
    let mut number: Option<u64> = None;
    let mut units = false;
    for &byte in text {
        let unit = match byte {
            b'0'..=b'9' => {
                let digit = u64::from(byte - b'0');
                number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(digit));
                continue;
            }
            b's' | b'S' => 1,
            b'm' | b'M' => 60,
            b'h' | b'H' => 3_600,
            b'd' | b'D' => 86_400,
            b'w' | b'W' => 604_800,
            _ => return None,
        };
        units = true;
        total = total.saturating_add(number.take()?.saturating_mul(unit));
    }
    // A bare number is seconds only when it stands alone: 1h30 is not to be guessed at.
    match (number, units) {
        (Some(seconds), false) => Some(seconds),
        (None, true) => Some(total),
        (Some(_), true) | (None, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::lexer::Form;
    use super::*;

    fn check(text: &str, expected: Result<u32, &str>) {
        let token = Token { text: text.as_bytes(), form: Form::Bare, line: 1 };
        let got = seconds(token, MAX_TTL).map_err(|fault| fault.message);
        assert_eq!(got, expected.map_err(|ending| format!("\"{text}\" {ending}")));
    }

    #[test]
    fn a_span_is_seconds_or_units() {
        check("0", Ok(0));
        check("3600", Ok(3600));
        check("1w2d3h4m5s", Ok(788_645));
        check("1H30M", Ok(5400));
        check("30m1h", Ok(5400));
        check("2147483647", Ok(MAX_TTL));
        let too_long = Err("is more than 2147483647 seconds, the most there may be");
        check("2147483648", too_long);
        check("3551w", too_long);
        check("99999999999999999999999999w", too_long);
        let unclear = Err("is not a span of time, in seconds or in units such as 1h30m");
        for text in ["", "h", "1h30", "1y", "-1", "1hh", "1.5h"] {
            check(text, unclear);
        }
    }
}
