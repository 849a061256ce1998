//! Whole packets, octet by octet: read, and written again.

use super::super::read::Password;
use super::super::{Authentication, Form, Message, Unwritable, Vips, write};
use super::*;
use crate::vrrp::advert::{Claim, Priority};

const V2: &str = "21336401 0001b865 c0000264 00000000 00000000";
const V2_PASS: &str = "21336401 010152ff c0000264 31323334 00000000";
const V3_MESSAGE: &str = "31336401 0064a802 c0000264";
const V3_PSEUDO: &str = "31336401 00640569 c0000264";
const V3_UNICAST: &str = "31336401 00642370 c0000264";
const V3_IPV6: &str =
    "31336402 00643ed7 fe8000000000000000000000005e0064 20010db8000000000000000000000064";

/// Of VRID 51, priority 100, an advert each second.
fn check(hex: &str, ends: &Ends, version: Version, form: Form, vips: &[&str]) {
    let octets = octets(hex);
    let advert = read(ends, &octets).unwrap();
    assert_eq!((advert.version, advert.vrid, advert.form), (version, vrid(51), form));
    assert_eq!(advert.claim, Claim::Leads(Priority::new(100).unwrap()));
    assert_eq!(advert.interval, interval(100));
    let vips: Vec<IpAddr> = vips.iter().map(|vip| address(vip)).collect();
    assert_eq!(advert.addresses().collect::<Vec<_>>(), vips);
    assert!(!advert.is_signed());

    let (mut four, mut six) = (vec![], vec![]);
    for vip in vips {
        match vip {
            IpAddr::V4(vip) => four.push(vip),
            IpAddr::V6(vip) => six.push(vip),
        }
    }
    let message = Message {
        version,
        vrid: advert.vrid,
        claim: advert.claim,
        interval: advert.interval,
        vips: if six.is_empty() { Vips::V4(&four) } else { Vips::V6(&six) },
        authentication: match advert.password {
            Password::None => Authentication::None,
            password => Authentication::Password(password),
        },
        form,
    };
    let mut out = [0xaa; 100];
    let length = write(&message, ends, &mut out).unwrap();
    assert_eq!(out[..length], octets);
    assert!(out[length..].iter().all(|octet| *octet == 0xaa), "more was written than is told");
    let short = write(&message, ends, &mut out[..length - 1]);
    assert_eq!(short, Err(Unwritable::Buffer { got: length - 1, expected: length }));
}

#[test]
fn golden_v2() {
    let ends = ends("192.0.2.10", "224.0.0.18");
    check(V2, &ends, Version::V2, Form::Message, &["192.0.2.100"]);
    check(V2_PASS, &ends, Version::V2, Form::Message, &["192.0.2.100"]);
    let with_password = octets(V2_PASS);
    assert!(read(&ends, &with_password).unwrap().password == Password::cut("1234"));
}

#[test]
fn golden_v3_4a() {
    let ends = ends("192.0.2.10", "224.0.0.18");
    check(V3_MESSAGE, &ends, Version::V3, Form::Message, &["192.0.2.100"]);
}

#[test]
fn golden_v3_4b() {
    let multicast = ends("192.0.2.10", "224.0.0.18");
    check(V3_PSEUDO, &multicast, Version::V3, Form::PseudoHeader, &["192.0.2.100"]);
    let unicast = ends("192.0.2.10", "192.0.2.11");
    check(V3_UNICAST, &unicast, Version::V3, Form::PseudoHeader, &["192.0.2.100"]);
    // Between other ends it is another sum.
    assert_eq!(
        read(&multicast, &octets(V3_UNICAST)).map(|_| ()),
        Err(Refusal::Checksum { got: 0x2370 })
    );
}

#[test]
fn golden_v3_6() {
    let ends = ends("fe80::1", "ff02::12");
    check(V3_IPV6, &ends, Version::V3, Form::PseudoHeader, &["fe80::5e:64", "2001:db8::64"]);
}

#[test]
fn what_no_advert_can_say_is_not_written() {
    let four = ends("192.0.2.10", "224.0.0.18");
    let six = ends("fe80::1", "ff02::12");
    let vip = ["192.0.2.100".parse().unwrap()];
    let first = "2001:db8::64".parse().unwrap();
    let good = Message {
        version: Version::V3,
        vrid: vrid(51),
        claim: Claim::Resigns,
        interval: interval(40),
        vips: Vips::V4(&vip),
        authentication: Authentication::None,
        form: Form::Message,
    };
    let check = |message: Message<'_>, ends: &Ends, expected: Result<usize, Unwritable>| {
        assert_eq!(write(&message, ends, &mut [0; 2000]), expected, "{message:?}");
    };
    check(good, &four, Ok(12));
    check(Message { vips: Vips::V4(&[]), ..good }, &four, Err(Unwritable::NoAddresses));
    check(good, &six, Err(Unwritable::Family));
    check(Message { vips: Vips::V6(&[first]), ..good }, &four, Err(Unwritable::Family));
    let in_v2 = Message { version: Version::V2, ..good };
    check(in_v2, &four, Err(Unwritable::IntervalNotWhole { centiseconds: 40 }));
    check(Message { interval: interval(300), ..in_v2 }, &four, Ok(20));
    let six_in_v2 = Message { vips: Vips::V6(&[first]), ..in_v2 };
    check(six_in_v2, &six, Err(Unwritable::V2OverIpv6));
    let global = Message { vips: Vips::V6(&[first]), ..good };
    check(global, &six, Err(Unwritable::FirstNotLinkLocal { got: first }));
    let slow = Message { interval: interval(4096), ..good };
    check(slow, &four, Err(Unwritable::IntervalTooLong { centiseconds: 4096 }));
    check(Message { interval: interval(4095), ..good }, &four, Ok(12));
    let password = Authentication::Password(Password::cut("1234"));
    check(Message { authentication: password, ..good }, &four, Err(Unwritable::PasswordInV3));
    let many = vec![vip[0]; 256];
    let got = many.len();
    check(
        Message { vips: Vips::V4(&many), ..good },
        &four,
        Err(Unwritable::TooManyAddresses { got }),
    );
    check(Message { vips: Vips::V4(&many[1..]), ..good }, &four, Ok(8 + 255 * 4));
}

#[test]
fn words_have_their_ranges() {
    assert_eq!((Vrid::new(0), Priority::new(0)), (None, None));
    assert_eq!(Interval::of_centiseconds(0), None);
    assert_eq!(Interval::of_centiseconds(25_501), None);
    assert_eq!(Interval::of_seconds(0), None);
    assert_eq!(Interval::of_seconds(255), Some(Interval::LONGEST));
    assert_eq!(interval(40).whole_seconds(), None);
    assert_eq!(interval(40).duration(), Duration::from_millis(400));
    assert_eq!(interval(25_500).whole_seconds(), Some(255));
}
