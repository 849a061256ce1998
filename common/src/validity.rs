//! From when until when a certificate holds (RFC 5280 §4.1.2.5), read from its DER without the rest.

use crate::der::{SEQUENCE, element, expect, time};

/// Unix time, in seconds; both ends included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    pub not_before: i64,
    pub not_after: i64,
}

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
        let (not_before, rest) = time(validity)?;
        let (not_after, _) = time(rest)?;
        Some(Validity { not_before, not_after })
    }
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
