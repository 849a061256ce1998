//! Which fields the data of each type has, in order.
//!
//! The one table behind reading, presenting and checking: a type is known here when it has a row.

use super::field::Field::{self, *};
use super::svcb;
use crate::record::RecordType;

/// Fields with the names their RFC gives them.
pub type Shape = &'static [(&'static str, Field)];

/// `None` for types whose data is opaque here (RFC 3597).
pub fn of(rtype: RecordType) -> Option<Shape> {
    Some(match rtype {
        RecordType::A => &[("address", Ipv4)],
        RecordType::AAAA => &[("address", Ipv6)],
        RecordType::NS | RecordType::CNAME | RecordType::PTR | RecordType::DNAME => {
            &[("target", Name)]
        }
        RecordType::SOA => &[
            ("mname", Name),
            ("rname", Name),
            ("serial", U32),
            ("refresh", Seconds),
            ("retry", Seconds),
            ("expire", Seconds),
            ("minimum", Seconds),
        ],
        RecordType::HINFO => &[("cpu", Text), ("os", Text)],
        RecordType::TXT | RecordType::SPF => &[("text", Texts)],
        RecordType::MX => &[("preference", U16), ("exchange", Name)],
        RecordType::KX => &[("preference", U16), ("exchanger", Name)],
        RecordType::AFSDB => &[("subtype", U16), ("hostname", Name)],
        RecordType::RP => &[("mbox", Name), ("txt", Name)],
        RecordType::SRV => &[("priority", U16), ("weight", U16), ("port", U16), ("target", Name)],
        RecordType::NAPTR => &[
            ("order", U16),
            ("preference", U16),
            ("flags", Text),
            ("services", Text),
            ("regexp", Text),
            ("replacement", Name),
        ],
        RecordType::URI => &[("priority", U16), ("weight", U16), ("target", Target)],
        RecordType::CAA => &[("flags", U8), ("tag", Tag), ("value", Value)],
        RecordType::LOC => &[("location", Location)],
        RecordType::APL => &[("prefixes", Prefixes)],
        RecordType::EUI48 => &[("address", Eui48)],
        RecordType::EUI64 => &[("address", Eui64)],
        RecordType::SVCB | RecordType::HTTPS => {
            &[("priority", U16), ("target", Name), ("params", SvcParams)]
        }
        RecordType::CERT => &[
            ("type", CertType),
            ("key tag", U16),
            ("algorithm", Algorithm),
            ("certificate", Base64),
        ],
        RecordType::SSHFP => &[("algorithm", U8), ("fingerprint type", U8), ("fingerprint", Hex)],
        RecordType::TLSA | RecordType::SMIMEA => {
            &[("usage", U8), ("selector", U8), ("matching type", U8), ("association data", Hex)]
        }
        RecordType::OPENPGPKEY => &[("key", Base64)],
        RecordType::DHCID => &[("digest", Base64)],
        RecordType::IPSECKEY => &[
            ("precedence", U8),
            ("gateway type", U8),
            ("algorithm", U8),
            ("gateway", Gateway),
            ("public key", Base64OrNothing),
        ],
        RecordType::HIP => {
            &[("algorithm, hit and key", HostIdentity), ("rendezvous servers", Names)]
        }
        RecordType::KEY => {
            &[("flags", U16), ("protocol", U8), ("algorithm", Algorithm), ("key", Base64OrNothing)]
        }
        RecordType::DNSKEY | RecordType::CDNSKEY => {
            &[("flags", U16), ("protocol", U8), ("algorithm", Algorithm), ("key", Base64)]
        }
        RecordType::DS | RecordType::CDS => {
            &[("key tag", U16), ("algorithm", Algorithm), ("digest type", U8), ("digest", Hex)]
        }
        RecordType::RRSIG => &[
            ("type covered", Type),
            ("algorithm", Algorithm),
            ("labels", U8),
            ("original ttl", Seconds),
            ("expiration", Time),
            ("inception", Time),
            ("key tag", U16),
            ("signer", Name),
            ("signature", Base64),
        ],
        RecordType::NSEC => &[("next name", Name), ("types", Types)],
        RecordType::NSEC3 => &[
            ("hash algorithm", U8),
            ("flags", U8),
            ("iterations", U16),
            ("salt", Salt),
            ("next hash", Hash),
            ("types", Types),
        ],
        RecordType::NSEC3PARAM => {
            &[("hash algorithm", U8), ("flags", U8), ("iterations", U16), ("salt", Salt)]
        }
        RecordType::CSYNC => &[("serial", U32), ("flags", U16), ("types", Types)],
        RecordType::ZONEMD => {
            &[("serial", U32), ("scheme", U8), ("hash algorithm", U8), ("digest", Hex)]
        }
        _ => return None,
    })
}

/// What must hold between the fields of data that has its shape.
pub fn consistent(rtype: RecordType, rdata: &[u8]) -> Result<(), String> {
    match rtype {
        RecordType::SVCB | RecordType::HTTPS => svcb::consistent(rdata),
        RecordType::DS | RecordType::CDS => {
            // RFC 4509 §2.1, RFC 5933 §4, RFC 6605 §2.
            digest(rdata, 3, "digest type", &[(1, 20), (2, 32), (3, 32), (4, 48)])
        }
        // RFC 4255 §3.1.2, RFC 6594 §4.
        RecordType::SSHFP => digest(rdata, 1, "fingerprint type", &[(1, 20), (2, 32)]),
        // RFC 6698 §2.1.3.
        RecordType::TLSA | RecordType::SMIMEA => {
            digest(rdata, 2, "matching type", &[(1, 32), (2, 64)])
        }
        RecordType::ZONEMD => {
            digest(rdata, 5, "hash algorithm", &[(1, 48), (2, 64)])?;
            match rdata.len() - 6 {
                // RFC 8976 §2.2.4.
                short @ ..12 => Err(format!("the digest is {short} octets; expected 12 or more")),
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// A digest cut short is found here and not by whoever tries to verify with it. The octet at
/// `kind_at` says what kind it is; the digest follows and ends the data.
fn digest(
    rdata: &[u8],
    kind_at: usize,
    label: &str,
    lengths: &[(u8, usize)],
) -> Result<(), String> {
    let kind = rdata[kind_at];
    let found = rdata.len() - kind_at - 1;
    match lengths.iter().find(|&&(known, _)| known == kind) {
        Some(&(_, expected)) if expected != found => {
            Err(format!("the digest is {found} octets; expected {expected}, as {label} {kind} has"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::super::lexer::Lexer;
    use super::super::super::words::Words;
    use super::super::{check, display_rdata, read};
    use super::*;

    fn known() -> Vec<RecordType> {
        (0..=u16::MAX).map(RecordType).filter(|&rtype| of(rtype).is_some()).collect()
    }

    #[test]
    fn every_type_with_a_mnemonic_has_a_shape_or_never_stands_in_a_zone() {
        for rtype in (0..=u16::MAX).map(RecordType) {
            let expected = rtype.mnemonic().is_some() && !rtype.is_meta();
            assert_eq!(of(rtype).is_some(), expected, "{rtype}");
        }
    }

    fn bytes(octets: impl Into<prop::collection::SizeRange>) -> BoxedStrategy<Vec<u8>> {
        vec(any::<u8>(), octets).boxed()
    }

    /// Octets behind their count.
    fn counted(octets: impl Into<prop::collection::SizeRange>) -> BoxedStrategy<Vec<u8>> {
        bytes(octets).prop_map(|octets| [vec![octets.len() as u8], octets].concat()).boxed()
    }

    /// Several of the same in a row.
    fn several(
        one: BoxedStrategy<Vec<u8>>,
        times: impl Into<prop::collection::SizeRange>,
    ) -> BoxedStrategy<Vec<u8>> {
        vec(one, times).prop_map(|parts| parts.concat()).boxed()
    }

    fn name() -> BoxedStrategy<Vec<u8>> {
        several(counted(1..20), 0..5).prop_map(|labels| [labels, vec![0]].concat()).boxed()
    }

    fn bitmap() -> BoxedStrategy<Vec<u8>> {
        let window = (bytes(0..32), 1..=u8::MAX);
        let windows = prop::collection::btree_map(any::<u8>(), window, 0..4);
        let flat = |(window, (bits, last)): (u8, (Vec<u8>, u8))| {
            [vec![window, bits.len() as u8 + 1], bits, vec![last]].concat()
        };
        windows.prop_map(move |windows| windows.into_iter().flat_map(flat).collect()).boxed()
    }

    fn location() -> BoxedStrategy<Vec<u8>> {
        let size = prop_oneof![
            Just(0),
            (1..=9u8, 0..=9u8).prop_map(|(digit, exponent)| digit << 4 | exponent)
        ];
        let angle = |degrees: u32| {
            let most = degrees * 3_600_000;
            (1 << 31) - most..=(1 << 31) + most
        };
        (vec(size, 3), angle(90), angle(180), any::<u32>())
            .prop_map(|(sizes, latitude, longitude, altitude)| {
                let angles = [latitude, longitude, altitude].map(u32::to_be_bytes);
                [vec![0], sizes, angles.concat()].concat()
            })
            .boxed()
    }

    fn prefix() -> BoxedStrategy<Vec<u8>> {
        let family = prop_oneof![Just((1u8, 32u8, 4usize)), Just((2, 128, 16))];
        let part = |(family, bits, octets): (u8, u8, usize)| {
            (Just(family), 0..=bits, any::<bool>(), bytes(0..=octets))
        };
        family
            .prop_flat_map(part)
            .prop_map(|(family, length, negated, mut address)| {
                if let Some(last) = address.last_mut() {
                    *last |= 1;
                }
                let flagged = u8::from(negated) << 7 | address.len() as u8;
                [vec![0, family, length, flagged], address].concat()
            })
            .boxed()
    }

    fn gateway() -> BoxedStrategy<(u8, Vec<u8>)> {
        prop_oneof![
            Just((0, vec![])),
            bytes(4).prop_map(|gateway| (1, gateway)),
            bytes(16).prop_map(|gateway| (2, gateway)),
            name().prop_map(|gateway| (3, gateway)),
        ]
        .boxed()
    }

    fn params() -> BoxedStrategy<Vec<u8>> {
        let value = |key: u16| match key {
            1 => several(counted(1..6), 1..4),
            2 | 8 => Just(vec![]).boxed(),
            3 => bytes(2),
            4 => several(bytes(4), 1..4),
            5 => bytes(1..20).prop_map(|list| [vec![0, list.len() as u8], list].concat()).boxed(),
            6 => several(bytes(16), 1..4),
            7 => "/[a-z]{0,5}\\{\\?dns\\}".prop_map(String::into_bytes).boxed(),
            _ => bytes(0..20),
        };
        let keys = prop::collection::btree_set(prop_oneof![1..9u16, 9..u16::MAX], 0..6);
        keys.prop_flat_map(move |keys| {
            keys.into_iter().map(|key| (Just(key), value(key))).collect::<Vec<_>>()
        })
        .prop_map(|mut params| {
            // All the others are mandatory, unless there are none.
            let named = params.iter().flat_map(|(key, _)| key.to_be_bytes()).collect::<Vec<_>>();
            if !named.is_empty() {
                params.insert(0, (0, named));
            }
            let flat = |(key, value): (u16, Vec<u8>)| {
                [key.to_be_bytes().to_vec(), (value.len() as u16).to_be_bytes().to_vec(), value]
                    .concat()
            };
            params.into_iter().flat_map(flat).collect()
        })
        .boxed()
    }

    fn octets_of(field: Field) -> BoxedStrategy<Vec<u8>> {
        match field {
            U8 | Algorithm => bytes(1),
            U16 | CertType | Type => bytes(2),
            U32 | Seconds | Time | Ipv4 => bytes(4),
            Ipv6 => bytes(16),
            Eui48 => bytes(6),
            Eui64 => bytes(8),
            Name => name(),
            Names => several(name(), 0..3),
            Text => counted(0..=255),
            Texts => several(counted(0..=255), 1..4),
            Target => bytes(1..300),
            Value | Base64OrNothing => bytes(0..300),
            Tag => "[a-zA-Z0-9]{1,255}"
                .prop_map(|tag| [vec![tag.len() as u8], tag.into_bytes()].concat())
                .boxed(),
            Hex | Base64 => bytes(1..100),
            Salt => counted(0..=255),
            Hash => counted(1..=255),
            Types => bitmap(),
            HostIdentity => (any::<u8>(), bytes(1..256), bytes(1..300))
                .prop_map(|(algorithm, hit, key)| {
                    let lengths = [
                        vec![hit.len() as u8, algorithm],
                        (key.len() as u16).to_be_bytes().to_vec(),
                    ];
                    [lengths.concat(), hit, key].concat()
                })
                .boxed(),
            Prefixes => several(prefix(), 0..4),
            Location => location(),
            SvcParams => params(),
            Gateway => unreachable!("data_of makes it together with its type"),
        }
    }

    fn data_of(rtype: RecordType) -> BoxedStrategy<Vec<u8>> {
        match rtype {
            RecordType::IPSECKEY => (any::<u8>(), gateway(), any::<u8>(), bytes(0..100))
                .prop_map(|(precedence, (kind, gateway), algorithm, key)| {
                    [vec![precedence, kind, algorithm], gateway, key].concat()
                })
                .boxed(),
            _ => {
                let shape = of(rtype).unwrap_or_default();
                let fields: Vec<_> = shape.iter().map(|&(_, field)| octets_of(field)).collect();
                fields.prop_map(|fields| fields.concat()).boxed()
            }
        }
    }

    fn read_back(rtype: RecordType, text: &str) -> Result<Vec<u8>, String> {
        let mut tokens = Vec::new();
        if let Some(cut) = Lexer::new(text.as_bytes(), 1, 1 << 20).entry(&mut tokens) {
            cut.map_err(|fault| fault.message)?;
        }
        let mut out = Vec::new();
        let outcome = read(rtype, &mut Words::new(&tokens), &crate::name::Name::root(), &mut out);
        outcome.map(|()| out).map_err(|fault| fault.message)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3_000) })]

        #[test]
        fn data_shown_reads_back_as_the_same(
            (rtype, rdata) in prop::sample::select(known()).prop_flat_map(|rtype| (Just(rtype), data_of(rtype)))
        ) {
            // Rules between fields hold for most of it; the rest is refused on both ways.
            let text = display_rdata(rtype, &rdata).to_string();
            let back = read_back(rtype, &text);
            match check(rtype, &rdata) {
                Ok(()) => {
                    prop_assert!(!text.starts_with(r"\#"), "{rtype} {text}");
                    prop_assert_eq!(back, Ok(rdata), "{} {}", rtype, text);
                }
                Err(why) => {
                    prop_assert!(why.starts_with("the digest is") || why.starts_with("no-default-alpn stands") || why.starts_with("priority 0"), "{rtype}: {why}");
                    prop_assert!(back.is_err());
                }
            }
        }

        /// Octets that may or may not be data of the type: cut short, too long, or noise.
        #[test]
        fn damaged_data_is_shown_and_never_misread(
            (rtype, rdata) in prop::sample::select(known()).prop_flat_map(|rtype| (Just(rtype), data_of(rtype))),
            noise in bytes(0..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let damaged = [&rdata[..cut.index(rdata.len() + 1)], &noise].concat();
            let text = display_rdata(rtype, &damaged).to_string();
            match check(rtype, &damaged) {
                Ok(()) => {
                    let back = read_back(rtype, &text);
                    // A size of nothing has one text and ten wire forms.
                    prop_assert!(back.as_ref() == Ok(&damaged) || rtype == RecordType::LOC, "{rtype} {text}: {back:?}");
                }
                Err(_) => {
                    prop_assert!(text.starts_with(r"\#"));
                    prop_assert!(read_back(rtype, &text).is_err());
                }
            }
        }
    }
}
