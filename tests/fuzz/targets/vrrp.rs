//! `vrrp`: what comes to a raw socket of VRRP, read, judged by virtual routers that ask for different things, and
//! written again.
//!
//! Input: an octet whose lowest bit is the family; then the octets.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use site_agent::vrrp::advert::{Interval, Version, Vrid};
use site_agent::vrrp::packet::auth::{Asked, KeyId, Keys, Mode, Proof};
use site_agent::vrrp::packet::replay::{Freshness, Marks};
use site_agent::vrrp::packet::{
    Accepted, Advert, Authentication, Ends, Envelope, Expected, Form, GROUP_V4, GROUP_V6,
    HOP_LIMIT, Heard, Message, Reach, Refusal, Vips, judge, open_ipv4, read, write,
};

/// The clock of whoever judges: that of the signed seeds.
const UTC: Duration = Duration::from_secs(0x6800_0000);

fuzz_target!(|octets: &[u8]| {
    if let Ok((envelope, message)) = open_ipv4(octets) {
        assert!(octets.len() >= message.len() + 20);
        assert!(matches!(envelope.ends, Ends::V4 { .. }));
        let _ = read(&envelope.ends, message);
    }
    let Some((family, octets)) = octets.split_first() else { return };
    let ends = match family & 1 {
        0 => Ends::V4 { from: Ipv4Addr::new(198, 51, 100, 10), to: GROUP_V4 },
        _ => Ends::V6 { from: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), to: GROUP_V6 },
    };
    let read = read(&ends, octets);
    if let Err(refusal) = &read {
        assert!(!refusal.word().is_empty() && !refusal.to_string().is_empty());
    }
    let Ok(advert) = read else { return };
    assert_eq!(advert.addresses().count(), usize::from(octets[3]));
    assert!(advert.addresses().all(|address| address.is_ipv4() == ends.from().is_ipv4()));
    written_again(&ends, &advert, octets);
    judged(&ends, &advert, octets);
});

/// What was understood is written so that it is understood again, and but for what is reserved and not ours to
/// repeat it has the same octets.
fn written_again(ends: &Ends, advert: &Advert<'_>, octets: &[u8]) {
    let (mut four, mut six) = (vec![], vec![]);
    for address in advert.addresses() {
        match address {
            IpAddr::V4(address) => four.push(address),
            IpAddr::V6(address) => six.push(address),
        }
    }
    let message = Message {
        version: advert.version,
        vrid: advert.vrid,
        claim: advert.claim,
        interval: advert.interval,
        vips: if six.is_empty() { Vips::V4(&four) } else { Vips::V6(&six) },
        authentication: Authentication::None,
        form: advert.form,
    };
    let mut out = [0; 5000];
    let length = write(&message, ends, &mut out).expect("what was read can be written");
    let again = read(ends, &out[..length]).expect("what was written can be read");
    assert_eq!(
        (again.version, again.vrid, again.claim),
        (advert.version, advert.vrid, advert.claim)
    );
    assert_eq!((again.interval, again.form), (advert.interval, advert.form));
    assert!(again.addresses().eq(advert.addresses()));
    let end = 8 + four.len() * 4 + six.len() * 16;
    assert_eq!(out[..4], octets[..4]);
    assert_eq!((out[5], &out[8..end]), (octets[5], &octets[8..end]));
}

/// Nobody passes by a check that is asked for.
fn judged(ends: &Ends, advert: &Advert<'_>, octets: &[u8]) {
    let key: Vec<u8> = (0..32).collect();
    let id = KeyId::new(1).expect("it is not 0");
    let keys = Keys::new((id, &key), &[]).expect("a key of 32 octets");
    let vips: Vec<IpAddr> = advert.addresses().collect();
    let own = match ends {
        Ends::V4 { .. } => Ipv4Addr::new(198, 51, 100, 11).into(),
        Ends::V6 { .. } => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2).into(),
    };
    let asking = |accepted: Accepted, asked| Expected {
        vrid: Vrid::new(51).expect("it is not 0"),
        address: own,
        accepted,
        interval: Interval::of_seconds(1).expect("it is not 0"),
        vips: &vips,
        reach: Reach::Multicast,
        asked,
    };
    let envelope = Envelope { ends: *ends, hop_limit: HOP_LIMIT };
    let judge =
        |expected: &Expected<'_>, hop_limit: u8, marks: &mut Marks| -> Result<Heard, Refusal> {
            judge(expected, &Envelope { hop_limit, ..envelope }, advert, UTC, marks)
        };
    let freshness = Freshness::Within { seconds: 5 };
    let nothing = asking(Accepted::Either, Asked::Nothing);
    let enforce = Asked::Signature { keys: &keys, mode: Mode::Enforce, freshness };
    let enforce = asking(Accepted::Either, enforce);
    for expected in [&nothing, &enforce] {
        let mut marks = Marks::default();
        assert!(judge(expected, HOP_LIMIT - 1, &mut marks).is_err());
        let judged = judge(expected, HOP_LIMIT, &mut marks);
        let Ok(heard) = judged else {
            assert_eq!(marks, Marks::default(), "who is refused leaves nothing behind");
            continue;
        };
        assert_eq!((heard.from, heard.claim), (ends.from(), advert.claim));
        assert!(advert.vrid.get() == 51 && octets[1] == 51);
        assert!(heard.version == Version::V3 || heard.form == Form::Message);
        if std::ptr::eq(expected, &enforce) {
            assert!(matches!(heard.proof, Proof::Signature { .. }) && advert.is_signed());
            assert_eq!(judge(expected, HOP_LIMIT, &mut marks), Err(Refusal::Replay));
        }
    }
}
