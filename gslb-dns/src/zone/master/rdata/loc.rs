//! A place on or near the earth (RFC 1876): degrees, minutes and seconds, and metres.

use std::fmt::Write;

use super::super::words::{Fault, Words};
use super::wire::{Malformed, Wire};

/// Thousandths of a second of arc in a degree.
const DEGREE: u64 = 3_600_000;
/// The equator and the prime meridian (§2).
const ZERO_ANGLE: u32 = 1 << 31;
/// Centimetres from the reference of altitudes, 100 km down, to sea level (§2).
const SEA_LEVEL: u64 = 10_000_000;
/// Centimetres a size may be: 9e9, as a digit and an exponent hold.
const LARGEST: u64 = 9_000_000_000;

/// Centimetres taken for what is not written (§3).
const DEFAULT_SIZE: u64 = 100;
const DEFAULT_HORIZONTAL: u64 = 1_000_000;
const DEFAULT_VERTICAL: u64 = 1_000;

/// One of the two angles.
struct Axis {
    positive: u8,
    negative: u8,
    degrees: u64,
    expected: &'static str,
}

const LATITUDE: Axis = Axis {
    positive: b'N',
    negative: b'S',
    degrees: 90,
    expected: "a latitude such as 52 14 05.25 N, up to 90 degrees",
};

const LONGITUDE: Axis = Axis {
    positive: b'E',
    negative: b'W',
    degrees: 180,
    expected: "a longitude such as 0 08 50 E, up to 180 degrees",
};

const ALTITUDE: &str = "an altitude in metres from -100000.00m to 42849672.95m";
const SIZE: &str = "a size in metres from 0.00m to 90000000.00m";

pub fn read(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let latitude = LATITUDE.read(words)?;
    let longitude = LONGITUDE.read(words)?;
    let token = words.bare(ALTITUDE)?;
    let altitude = altitude(token.text).ok_or_else(|| token.is_not(ALTITUDE))?;
    let mut sizes = [DEFAULT_SIZE, DEFAULT_HORIZONTAL, DEFAULT_VERTICAL];
    for size in &mut sizes {
        if words.peek().is_some() {
            let token = words.bare(SIZE)?;
            let metres = token.text.strip_suffix(b"m").unwrap_or(token.text);
            *size = fixed(metres, 2)
                .filter(|&size| size <= LARGEST)
                .ok_or_else(|| token.is_not(SIZE))?;
        }
    }
    out.push(0); // The version.
    out.extend(sizes.map(digit_and_exponent));
    for part in [latitude, longitude, altitude] {
        out.extend(part.to_be_bytes());
    }
    Ok(())
}

pub fn present(wire: &mut Wire<'_>, out: &mut String) -> Result<(), Malformed> {
    if wire.u8()? != 0 {
        return Err("the version is not 0".into());
    }
    let sizes = wire.array::<3>()?;
    LATITUDE.present(wire.u32()?, out)?;
    out.push(' ');
    LONGITUDE.present(wire.u32()?, out)?;
    let altitude = i64::from(wire.u32()?) - SEA_LEVEL as i64;
    let sign = if altitude < 0 { "-" } else { "" };
    let metres = altitude.unsigned_abs();
    // Writing to a String does not fail, here and below.
    let _ = write!(out, " {sign}{}.{:02}m", metres / 100, metres % 100);
    for size in sizes {
        let (digit, exponent) = (u64::from(size >> 4), u32::from(size & 0xf));
        if digit > 9 || exponent > 9 {
            return Err("a size has a digit or an exponent above 9".into());
        }
        let size = digit * 10u64.pow(exponent);
        let _ = write!(out, " {}.{:02}m", size / 100, size % 100);
    }
    Ok(())
}

impl Axis {
    /// `degrees [minutes [seconds]]` and the hemisphere.
    fn read(&self, words: &mut Words<'_>) -> Result<u32, Fault> {
        let mut angle = 0;
        // What a number counts for, and what it stays below; a degree's bound is checked whole.
        let units = [(DEGREE, 0, self.degrees + 1), (60_000, 0, 60), (1, 3, 60_000)];
        let mut written = 0;
        loop {
            let token = words.bare(self.expected)?;
            let wrong = || token.is_not(self.expected);
            let hemisphere = match token.text {
                [letter] => letter.to_ascii_uppercase(),
                _ => 0,
            };
            if written > 0 && (hemisphere == self.positive || hemisphere == self.negative) {
                if angle > self.degrees * DEGREE {
                    return Err(wrong());
                }
                let angle = angle as u32;
                return Ok(match hemisphere == self.positive {
                    true => ZERO_ANGLE + angle,
                    false => ZERO_ANGLE - angle,
                });
            }
            let &(unit, places, bound) = units.get(written).ok_or_else(wrong)?;
            let number =
                fixed(token.text, places).filter(|&number| number < bound).ok_or_else(wrong)?;
            angle += number * unit;
            written += 1;
        }
    }

    fn present(&self, wire: u32, out: &mut String) -> Result<(), Malformed> {
        let angle = u64::from(wire.abs_diff(ZERO_ANGLE));
        if angle > self.degrees * DEGREE {
            return Err(Malformed(format!("an angle is more than {} degrees", self.degrees)));
        }
        let hemisphere = if wire >= ZERO_ANGLE { self.positive } else { self.negative };
        let (degrees, minutes) = (angle / DEGREE, angle % DEGREE / 60_000);
        let (seconds, thousandths) = (angle % 60_000 / 1_000, angle % 1_000);
        let hemisphere = char::from(hemisphere);
        let _ = write!(out, "{degrees} {minutes} {seconds}.{thousandths:03} {hemisphere}");
        Ok(())
    }
}

fn altitude(text: &[u8]) -> Option<u32> {
    let metres = text.strip_suffix(b"m").unwrap_or(text);
    let altitude = match metres {
        [b'-', depth @ ..] => SEA_LEVEL.checked_sub(fixed(depth, 2)?)?,
        height => SEA_LEVEL.checked_add(fixed(height, 2)?)?,
    };
    u32::try_from(altitude).ok()
}

/// A decimal with up to `places` digits behind the point, in units of the last of them.
fn fixed(text: &[u8], places: u32) -> Option<u64> {
    let mut value = 0u64;
    let mut digits = 0;
    let mut behind = None;
    for &byte in text {
        match byte {
            b'0'..=b'9' if behind != Some(places) => {
                value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
                digits += 1;
                behind = behind.map(|behind| behind + 1);
            }
            b'.' if behind.is_none() && digits > 0 => behind = Some(0),
            _ => return None,
        }
    }
    match (digits, behind) {
        (0, _) | (_, Some(0)) => None,
        (_, behind) => value.checked_mul(10u64.pow(places - behind.unwrap_or(0))),
    }
}

/// The largest such value that is no more than `size` (§2, and the code in its appendix A).
fn digit_and_exponent(size: u64) -> u8 {
    let (mut digit, mut exponent) = (size, 0);
    while digit > 9 {
        digit /= 10;
        exponent += 1;
    }
    (digit as u8) << 4 | exponent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_keeps_one_digit_and_its_exponent() {
        let sizes = [(0, 0x00), (9, 0x90), (10, 0x11), (100, 0x12), (1_999, 0x13), (LARGEST, 0x99)];
        for (size, expected) in sizes {
            assert_eq!(digit_and_exponent(size), expected, "{size}");
        }
    }

    #[test]
    fn a_decimal_has_digits_on_both_sides_of_its_point() {
        let check =
            |text: &str, expected| assert_eq!(fixed(text.as_bytes(), 2), expected, "{text:?}");
        check("5", Some(500));
        check("5.1", Some(510));
        check("005.12", Some(512));
        for bad in ["", ".", "5.", ".5", "5.123", "5.1.2", "-5", "184467440737095517"] {
            check(bad, None);
        }
    }
}
