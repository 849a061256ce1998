//! What holds of any octets and of any advert.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::super::auth::{Mode, Proof};
use super::super::read::Password;
use super::super::replay::{Freshness, Stamp};
use super::super::{Authentication, Form, Message, Vips, open_ipv4, write};
use super::*;
use crate::vrrp::advert::Claim;

/// What shows whose it is, as words that own what they have.
#[derive(Clone, Copy, Debug)]
enum By {
    Nobody,
    Password,
    Key,
}

#[derive(Clone, Debug)]
struct Written {
    version: Version,
    vrid: u8,
    priority: u8,
    interval: u16,
    is_ipv6: bool,
    vips: Vec<u128>,
    by: By,
    is_pseudo: bool,
}

fn written() -> impl Strategy<Value = Written> {
    let vips = prop::collection::vec(any::<u128>(), 1..6);
    let by = prop_oneof![Just(By::Nobody), Just(By::Password), Just(By::Key)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (1..=255_u8, any::<u8>(), 1..=255_u16, vips, by, flags).prop_map(
        |(vrid, priority, interval, vips, by, (is_v2, is_ipv6, is_pseudo))| {
            let is_v2 = is_v2 && !is_ipv6;
            Written {
                version: if is_v2 { Version::V2 } else { Version::V3 },
                vrid,
                priority,
                interval: if is_v2 { interval * 100 } else { interval * 16 },
                is_ipv6,
                vips,
                by: if matches!(by, By::Password) && !is_v2 { By::Nobody } else { by },
                is_pseudo: is_pseudo && !is_v2,
            }
        },
    )
}

impl Written {
    fn four(&self) -> Vec<Ipv4Addr> {
        self.vips.iter().map(|vip| Ipv4Addr::from_bits(*vip as u32)).collect()
    }

    fn six(&self) -> Vec<Ipv6Addr> {
        let mut vips: Vec<_> = self.vips.iter().map(|vip| Ipv6Addr::from_bits(*vip)).collect();
        vips[0] = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x5e, 0x64);
        vips
    }

    fn vips(&self) -> Vec<IpAddr> {
        if self.is_ipv6 {
            self.six().into_iter().map(IpAddr::from).collect()
        } else {
            self.four().into_iter().map(IpAddr::from).collect()
        }
    }

    fn envelope(&self) -> Envelope {
        from(if self.is_ipv6 { "fe80::1" } else { "192.0.2.10" })
    }

    fn form(&self) -> Form {
        if self.is_pseudo || self.is_ipv6 { Form::PseudoHeader } else { Form::Message }
    }

    fn octets(&self, keys: &Keys) -> Vec<u8> {
        let (four, six) = (self.four(), self.six());
        let message = Message {
            version: self.version,
            vrid: vrid(self.vrid),
            claim: Claim::of_octet(self.priority),
            interval: interval(self.interval),
            vips: if self.is_ipv6 { Vips::V6(&six) } else { Vips::V4(&four) },
            authentication: match self.by {
                By::Nobody => Authentication::None,
                By::Password => Authentication::Password(Password::cut("1234")),
                By::Key => Authentication::Signature { keys, stamp: Stamp::of_utc(UTC) },
            },
            form: self.form(),
        };
        let mut out = [0; 200];
        let length = write(&message, &self.envelope().ends, &mut out).unwrap();
        out[..length].to_vec()
    }

    fn expected<'c>(&self, vips: &'c [IpAddr], keys: &'c Keys) -> Expected<'c> {
        let freshness = Freshness::Within { seconds: 5 };
        Expected {
            vrid: vrid(self.vrid),
            address: address(if self.is_ipv6 { "fe80::2" } else { "192.0.2.1" }),
            accepted: Accepted::Only(self.version),
            interval: interval(self.interval),
            vips,
            reach: Reach::Multicast,
            asked: match self.by {
                By::Nobody => Asked::Nothing,
                By::Password => Asked::Password(Password::cut("1234")),
                By::Key => Asked::Signature { keys, mode: Mode::Enforce, freshness },
            },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_as_it_was_meant(written in written()) {
        let (keys, vips) = (keys(), written.vips());
        let expected = written.expected(&vips, &keys);
        let heard = take(&expected, &written.envelope(), &written.octets(&keys)).unwrap();
        prop_assert_eq!(heard, Heard {
            from: written.envelope().ends.from(),
            version: written.version,
            claim: Claim::of_octet(written.priority),
            interval: interval(written.interval),
            form: written.form(),
            proof: match written.by {
                By::Nobody => Proof::Nothing,
                By::Password => Proof::Password,
                By::Key => Proof::Signature { key: key_id(1), behind: 0 },
            },
            vips: super::super::Agreement::Same,
            timing: super::super::Agreement::Same,
        });
    }

    /// Wherever it is, in the message or behind it. Of these ends the pseudo-header's sum is no power of two, so no
    /// bit makes one form of the other.
    #[test]
    fn one_flipped_bit_is_refused(written in written(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let (keys, vips) = (keys(), written.vips());
        let mut octets = written.octets(&keys);
        let at = at.index(octets.len());
        octets[at] ^= 1_u8 << bit;
        let expected = written.expected(&vips, &keys);
        let judged = take(&expected, &written.envelope(), &octets);
        prop_assert!(judged.is_err(), "octet {at}, bit {bit}: {judged:?}");
    }

    #[test]
    fn no_octets_make_it_panic(octets in prop::collection::vec(any::<u8>(), 0..120), kind in 0..4_u8, is_ipv6 in any::<bool>()) {
        let mut octets = octets;
        // Most would fall at the first octet.
        if let (Some(first), 1..) = (octets.first_mut(), kind) {
            *first = [0x21, 0x31, 0x45][usize::from(kind) - 1];
        }
        let _ = open_ipv4(&octets);
        let envelope = from(if is_ipv6 { "fe80::1" } else { "192.0.2.10" });
        let _ = read(&envelope.ends, &octets);
    }

    /// With a right checksum and length, so that what is behind those checks is reached.
    #[test]
    fn what_is_read_says_what_its_octets_say(written in written(), changes in prop::collection::vec((0..8_usize, any::<u8>()), 0..4)) {
        let keys = keys();
        let mut octets = written.octets(&keys);
        for (at, octet) in changes {
            octets[at] = octet;
        }
        if let Ok(advert) = read(&written.envelope().ends, &octets) {
            prop_assert_eq!(advert.version.number(), octets[0] >> 4);
            prop_assert_eq!(advert.vrid.get(), octets[1]);
            prop_assert_eq!(advert.claim.octet(), octets[2]);
            prop_assert_eq!(advert.addresses().count(), usize::from(octets[3]));
        }
    }

    #[test]
    fn a_stamp_is_after_the_one_before(last in any::<u64>(), utc in 0..u64::from(u32::MAX) * 2, window in 1..300_u16) {
        let last = Stamp::of_octets(last.to_be_bytes());
        let freshness = Freshness::Within { seconds: window };
        let utc = Duration::from_secs(utc);
        let next = Stamp::next(last, utc, freshness);
        // Whoever has heard the last one takes the next: it is later, or the last is out of the window.
        let mut marks = Marks::default();
        let sender = address("192.0.2.10");
        let _ = marks.take(sender, last, utc, freshness);
        prop_assert_eq!(marks.take(sender, next, utc, freshness), Ok(()));
    }
}
