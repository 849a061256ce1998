//! From when until when a certificate holds (RFC 5280 §4.1.2.5), read from its DER without the rest.

use jiff::civil::DateTime;

/// Unix time, in seconds; both ends included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    pub not_before: i64,
    pub not_after: i64,
}

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0] EXPLICIT Version`, which the first version leaves out.
const VERSION: u8 = 0xa0;

impl Validity {
    /// `None` if this is no certificate. What stands behind the validity is not looked at.
    pub fn of(certificate: &[u8]) -> Option<Validity> {
        let (whole, _) = expect(SEQUENCE, certificate)?;
        let (to_be_signed, _) = expect(SEQUENCE, whole)?;
        let (tag, _, after) = element(to_be_signed)?;
        let numbered = if tag == VERSION { after } else { to_be_signed };
        // Serial number, signature algorithm, issuer.
        let (_, _, rest) = element(numbered)?;
        let (_, _, rest) = element(rest)?;
        let (_, _, rest) = element(rest)?;
        let (validity, _) = expect(SEQUENCE, rest)?;
        let (tag, not_before, rest) = element(validity)?;
        let not_before = seconds(tag, not_before)?;
        let (tag, not_after, _) = element(rest)?;
        Some(Validity { not_before, not_after: seconds(tag, not_after)? })
    }
}

fn expect(wanted: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (tag, value, rest) = element(der)?;
    (tag == wanted).then_some((value, rest))
}

/// Tag, value and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = der.split_first_chunk()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        // The length's own length: certificates of more than 16 MiB are none.
        0x81..=0x83 => {
            let (octets, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((tag, value, rest))
}

/// `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` from 2050.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(from: (i32, u8, u8), until: (i32, u8, u8)) -> Vec<u8> {
        let mut params = CertificateParams::new(["dns1.example.com".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn both_ways_to_write_a_time_are_read() {
        let check = |from, until, not_before, not_after| {
            let expected = Some(Validity { not_before, not_after });
            assert_eq!(Validity::of(&certificate(from, until)), expected, "{from:?} {until:?}");
        };
        check((2026, 11, 21), (2027, 2, 19), 1_795_219_200, 1_802_995_200);
        check((1999, 12, 31), (2050, 1, 1), 946_598_400, 2_524_608_000);
        check((1975, 1, 1), (9999, 12, 31), 157_766_400, 253_402_214_400);
    }

    #[test]
    fn no_cut_is_a_panic() {
        let whole = certificate((2026, 11, 21), (2027, 2, 19));
        for length in 0..whole.len() {
            assert_eq!(Validity::of(&whole[..length]), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_are_a_panic(octets in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Validity::of(&octets);
        }

        #[test]
        fn no_slip_is_a_panic(at in 0..200_usize, octet: u8) {
            let mut whole = certificate((2026, 11, 21), (2027, 2, 19));
            whole[at] = octet;
            let _ = Validity::of(&whole);
        }
    }
}
