//! Signatures: the draft's vector and two of our own reckoning (Python's hmac), what is refused, clocks that are set,
//! keys that change.

use super::super::auth::{BadKeys, Mode, Proof, TRAILER};
use super::super::replay::{Freshness, Stamp};
use super::super::{Authentication, Form, Message, Vips, write};
use super::*;
use crate::vrrp::advert::{Claim, Priority};

/// VRID 51, priority 200, from 198.51.100.10, with the key of octets 0 to 31.
const DRAFT: &str =
    "3133c80100644402c0000264 010100006800000080000000 1b84bc4e8e43892dc6d98448f8ee2265";
const V2: &str = "213364010001b865c00002640000000000000000 010100006800000080000000 b64e7f477a034f8eb0ca84592552b57f";
const V6: &str = "31336402006422fbfe8000000000000000000000005e006420010db8000000000000000000000064 010100006800000080000000 402135baa6b26d5006c7c572b0182c8d";
const WINDOW: Freshness = Freshness::Within { seconds: 5 };

fn asking(keys: &Keys, mode: Mode, freshness: Freshness) -> Expected<'_> {
    Expected { asked: Asked::Signature { keys, mode, freshness }, ..expected() }
}

/// Judged as the draft's receiver would.
fn judged(octets: &[u8]) -> Result<Heard, Refusal> {
    let keys = keys();
    take(&asking(&keys, Mode::Enforce, WINDOW), &from("198.51.100.10"), octets)
}

#[test]
fn draft_vector_v4() {
    let heard = judged(&octets(DRAFT)).unwrap();
    assert_eq!(heard.proof, Proof::Signature { key: key_id(1), behind: 0 });
    assert_eq!(heard.form, Form::Message);
}

#[test]
fn vectors_of_version_2_and_ipv6() {
    let keys = keys();
    let v2 =
        Expected { accepted: Accepted::Only(Version::V2), ..asking(&keys, Mode::Enforce, WINDOW) };
    take(&v2, &from("192.0.2.10"), &octets(V2)).unwrap();
    let v6 = Expected { address: address("fe80::2"), ..asking(&keys, Mode::Enforce, WINDOW) };
    take(&v6, &from("fe80::1"), &octets(V6)).unwrap();
}

/// An advert of priority 200 for 192.0.2.100, as a router there would send it.
fn signed(keys: &Keys, stamp: Stamp, form: Form, ends: &Ends) -> Vec<u8> {
    let message = Message {
        version: Version::V3,
        vrid: vrid(51),
        claim: Claim::Leads(Priority::new(200).unwrap()),
        interval: interval(100),
        vips: Vips::V4(&["192.0.2.100".parse().unwrap()]),
        authentication: Authentication::Signature { keys, stamp },
        form,
    };
    let mut out = [0; 100];
    let length = write(&message, ends, &mut out).unwrap();
    out[..length].to_vec()
}

#[test]
fn the_draft_vector_is_written_too() {
    let stamp = Stamp::of_utc(UTC + Duration::from_millis(500));
    let ends = from("198.51.100.10").ends;
    assert_eq!(signed(&keys(), stamp, Form::Message, &ends), octets(DRAFT));
    // The checksum is not signed, so its form changes nothing.
    let other = signed(&keys(), stamp, Form::PseudoHeader, &ends);
    assert_eq!(other[12..], octets(DRAFT)[12..]);
    assert_eq!(judged(&other).unwrap().form, Form::PseudoHeader);
}

#[test]
fn each_flipped_field() {
    let good = octets(DRAFT);
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let refusal = judged(&bad).expect_err(&format!("bit {bit} of octet {}", bit / 8));
        // The trailer has no checksum, so here it is the signature that is looked at, or what stands in front of it.
        let expected: &[&str] = match bit / 8 {
            12 => &["signature_malformed"],
            13 => &["unknown_key"],
            14 | 15 => &["signature_malformed"],
            16..20 => &["stale", "early", "signature"],
            20.. => &["signature"],
            _ => continue,
        };
        assert!(expected.contains(&refusal.word()), "octet {}: {refusal:?}", bit / 8);
    }
}

#[test]
fn a_signature_is_of_one_sender_and_one_router() {
    let keys = keys();
    let expected = asking(&keys, Mode::Enforce, WINDOW);
    let elsewhere = take(&expected, &from("198.51.100.11"), &octets(DRAFT));
    assert_eq!(elsewhere, Err(Refusal::Signature));
    // Another VRID and a checksum that suits it: what remains is the signature.
    let mut other = octets(DRAFT);
    other[1] = 50;
    other[7] += 1;
    let expected = Expected { vrid: vrid(50), ..expected };
    let refusal = take(&expected, &from("198.51.100.10"), &other);
    assert_eq!(refusal, Err(Refusal::Signature));
}

#[test]
fn unknown_key() {
    let mut bad = octets(DRAFT);
    bad[13] = 7;
    assert_eq!(judged(&bad), Err(Refusal::UnknownKey { got: 7 }));
    bad[13] = 0;
    assert_eq!(judged(&bad), Err(Refusal::UnknownKey { got: 0 }));
}

#[test]
fn reserved_not_0() {
    let mut bad = octets(DRAFT);
    bad[15] = 1;
    assert_eq!(judged(&bad), Err(Refusal::SignatureReserved { got: 1 }));
    let mut bad = octets(DRAFT);
    bad[12] = 2;
    assert_eq!(judged(&bad), Err(Refusal::SignatureType { got: 2 }));
}

/// One receiver over time: what it says of a stamp of so many seconds, at so many.
struct Receiver {
    keys: Keys,
    freshness: Freshness,
    marks: Marks,
}

impl Receiver {
    fn new(freshness: Freshness) -> Receiver {
        Receiver { keys: keys(), freshness, marks: Marks::default() }
    }

    fn hears(&mut self, stamp: Stamp, now: Duration, sender: &str) -> Result<Proof, Refusal> {
        let envelope = from(sender);
        let packet = signed(&self.keys, stamp, Form::Message, &envelope.ends);
        let expected = asking(&self.keys, Mode::Enforce, self.freshness);
        let advert = read(&envelope.ends, &packet).unwrap();
        judge(&expected, &envelope, &advert, now, &mut self.marks).map(|heard| heard.proof)
    }
}

const A: &str = "192.0.2.10";
const B: &str = "192.0.2.11";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn stale() {
    let mut receiver = Receiver::new(WINDOW);
    let stamp = Stamp::of_utc(UTC);
    let late = receiver.hears(stamp, UTC + seconds(6), A);
    assert_eq!(late, Err(Refusal::Stale { seconds: 6, window: 5 }));
    let behind = receiver.hears(stamp, UTC + seconds(5), A);
    assert_eq!(behind, Ok(Proof::Signature { key: key_id(1), behind: 5 }));
    // Who knows no clock does not ask.
    Receiver::new(Freshness::Growing).hears(stamp, UTC + seconds(6000), A).unwrap();
}

#[test]
fn future() {
    let mut receiver = Receiver::new(WINDOW);
    let stamp = Stamp::of_utc(UTC);
    let early = receiver.hears(stamp, UTC - seconds(6), A);
    assert_eq!(early, Err(Refusal::Early { seconds: 6, window: 5 }));
    let ahead = receiver.hears(stamp, UTC - seconds(5), A);
    assert_eq!(ahead, Ok(Proof::Signature { key: key_id(1), behind: -5 }));
}

#[test]
fn replay() {
    for freshness in [WINDOW, Freshness::Growing] {
        let mut receiver = Receiver::new(freshness);
        let first = Stamp::of_utc(UTC);
        let second = Stamp::next(first, UTC, freshness);
        receiver.hears(first, UTC, A).unwrap();
        assert_eq!(receiver.hears(first, UTC, A), Err(Refusal::Replay));
        receiver.hears(second, UTC, A).unwrap();
        assert_eq!(receiver.hears(first, UTC, A), Err(Refusal::Replay));
        assert_eq!(receiver.hears(second, UTC, A), Err(Refusal::Replay));
        // Another sender has a mark of its own.
        receiver.hears(first, UTC, B).unwrap();
    }
}

#[test]
fn a_forged_advert_moves_no_mark() {
    let mut receiver = Receiver::new(WINDOW);
    let envelope = from(A);
    let other = Keys::new((key_id(1), &[9; 32]), &[]).unwrap();
    let late = Stamp::of_utc(UTC + seconds(4));
    let forged = signed(&other, late, Form::Message, &envelope.ends);
    let advert = read(&envelope.ends, &forged).unwrap();
    let expected = asking(&receiver.keys, Mode::Enforce, WINDOW);
    let refusal = judge(&expected, &envelope, &advert, UTC, &mut receiver.marks);
    assert_eq!(refusal, Err(Refusal::Signature));
    assert_eq!(receiver.marks, Marks::default());
    receiver.hears(Stamp::of_utc(UTC), UTC, A).unwrap();
}

#[test]
fn who_is_refused_for_something_else_leaves_no_mark() {
    let keys = keys();
    let expected = Expected {
        accepted: Accepted::Only(Version::V2),
        interval: interval(200),
        ..asking(&keys, Mode::Enforce, WINDOW)
    };
    let (envelope, packet) = (from("192.0.2.10"), octets(V2));
    let advert = read(&envelope.ends, &packet).unwrap();
    let mut marks = Marks::default();
    let refusal = judge(&expected, &envelope, &advert, UTC, &mut marks);
    assert_eq!(refusal, Err(Refusal::Interval { got: 1, expected: 200 }));
    assert_eq!(marks, Marks::default());
}

#[test]
fn same_seq_to_two_unicast_peers_ok() {
    let stamp = Stamp::of_utc(UTC);
    Receiver::new(WINDOW).hears(stamp, UTC, A).unwrap();
    Receiver::new(WINDOW).hears(stamp, UTC, A).unwrap();
}

#[test]
fn wrap_at_2_to_the_32_s() {
    let last = seconds((1 << 32) - 1);
    let mut receiver = Receiver::new(WINDOW);
    let before = Stamp::of_utc(last);
    let after = Stamp::next(before, last + seconds(1), WINDOW);
    assert_eq!(after, Stamp::of_octets([0; 8]));
    receiver.hears(before, last, A).unwrap();
    let proof = receiver.hears(after, last + seconds(2), A);
    assert_eq!(proof, Ok(Proof::Signature { key: key_id(1), behind: 1 }));
    assert_eq!(receiver.hears(before, last + seconds(2), A), Err(Refusal::Replay));
}

#[test]
fn stamps_grow_while_the_clock_does_not() {
    let mut stamp = Stamp::default();
    let mut receiver = Receiver::new(WINDOW);
    for _ in 0..70_000_u32 {
        let next = Stamp::next(stamp, UTC, WINDOW);
        assert_ne!(next, stamp);
        stamp = next;
    }
    receiver.hears(stamp, UTC, A).unwrap();
    // 70,000 in one instant carry into its fraction.
    let expected = (0x6800_0000_u64 << 32) + 69_999;
    assert_eq!(stamp, Stamp::of_octets(expected.to_be_bytes()));
}

/// Two routers whose clocks are an hour off, in the end, for a while: each hears the other again within its window.
#[test]
fn clock_step_of_an_hour_recovers_within_window() {
    const HOUR: Duration = Duration::from_secs(3600);
    for is_forward in [true, false] {
        let mut receiver = Receiver::new(WINDOW);
        let mut stamp = Stamp::default();
        let step = |utc: Duration| if is_forward { utc + HOUR } else { utc - HOUR };
        let mut send = |utc: Duration| {
            stamp = Stamp::next(stamp, utc, WINDOW);
            stamp
        };
        receiver.hears(send(UTC), UTC, A).unwrap();
        // The sender's clock alone is set: nobody hears it.
        receiver.hears(send(step(UTC)), UTC, A).unwrap_err();
        // So is the receiver's: all is well.
        receiver.hears(send(step(UTC + seconds(1))), step(UTC + seconds(1)), A).unwrap();
        // Both are set right again, which leaves a mark an hour off: it holds nobody off.
        receiver.hears(send(UTC + seconds(2)), UTC + seconds(2), A).unwrap();
        // A small step back is no reason to say the same twice.
        receiver.hears(send(UTC), UTC + seconds(3), A).unwrap();
    }
}

#[test]
fn rotation_under_traffic_loses_zero_adverts() {
    let (old, new) = ([1; 32], [2; 64]);
    let steps = [
        Keys::new((key_id(1), &old), &[]),
        Keys::new((key_id(1), &old), &[(key_id(2), &new)]),
        Keys::new((key_id(2), &new), &[(key_id(1), &old)]),
        Keys::new((key_id(2), &new), &[]),
    ]
    .map(Result::unwrap);
    let envelope = from(A);
    let hears = |sender: &Keys, receiver: &Keys| {
        let packet = signed(sender, Stamp::of_utc(UTC), Form::Message, &envelope.ends);
        take(&asking(receiver, Mode::Enforce, WINDOW), &envelope, &packet)
    };
    // One router is a step ahead of the other.
    for pair in steps.windows(2) {
        hears(&pair[0], &pair[1]).unwrap();
        hears(&pair[1], &pair[0]).unwrap();
    }
    // A step left out is heard of.
    assert_eq!(hears(&steps[2], &steps[0]), Err(Refusal::UnknownKey { got: 2 }));
}

#[test]
fn modes_lead_from_nobody_signing_to_nobody_else_believed() {
    let plain = octets("31336401 0064a802 c0000264");
    let keys = keys();
    let envelope = from("192.0.2.10");
    let good = signed(&keys, Stamp::of_utc(UTC), Form::Message, &envelope.ends);
    let bad = signed(
        &Keys::new((key_id(1), &[7; 32]), &[]).unwrap(),
        Stamp::of_utc(UTC),
        Form::Message,
        &envelope.ends,
    );
    let proof = Proof::Signature { key: key_id(1), behind: 0 };
    for (mode, of_plain, signs) in [
        (Mode::ReceiveOnly, Ok(Proof::Nothing), false),
        (Mode::Permissive, Ok(Proof::Nothing), true),
        (Mode::Enforce, Err(Refusal::Unsigned), true),
    ] {
        let expected = asking(&keys, mode, WINDOW);
        let judged = |octets: &[u8]| take(&expected, &envelope, octets).map(|heard| heard.proof);
        assert_eq!((judged(&plain), mode.signs()), (of_plain, signs), "{mode:?}");
        assert_eq!(judged(&good), Ok(proof), "{mode:?}");
        // A wrong signature is worse than none.
        assert_eq!(judged(&bad), Err(Refusal::Signature), "{mode:?}");
    }
    // Who has no keys yet goes on with those who have.
    assert_eq!(take(&expected(), &envelope, &bad).unwrap().proof, Proof::Unknown);
}

#[test]
fn a_signature_of_version_2_goes_without_password() {
    let keys = keys();
    let mut both = octets(V2);
    // Auth type 1, and a checksum that suits it.
    both[4] = 1;
    both[6] -= 1;
    let expected = Expected {
        accepted: Accepted::Only(Version::V2),
        ..asking(&keys, Mode::Permissive, WINDOW)
    };
    let refusal = take(&expected, &from("192.0.2.10"), &both);
    assert_eq!(refusal, Err(Refusal::AuthType { got: 1, expected: 0 }));
}

#[test]
fn keys_are_long_enough_and_named_once() {
    let new = |length: usize, other: u8| {
        let others = [(key_id(other), &[0; 32][..])];
        Keys::new((key_id(1), &vec![1; length]), &others).map(|_| ())
    };
    assert_eq!(new(31, 2), Err(BadKeys::Length { id: 1, octets: 31 }));
    assert_eq!(new(32, 2), Ok(()));
    assert_eq!(new(64, 2), Ok(()));
    assert_eq!(new(65, 2), Err(BadKeys::Length { id: 1, octets: 65 }));
    assert_eq!(new(32, 1), Err(BadKeys::Twice { id: 1 }));
    assert_eq!(KeyId::new(0), None);
    // Neither is shown.
    let shown = format!("{:?}", Keys::new((key_id(1), &[0xab; 32]), &[]).unwrap());
    assert!(!shown.contains("171") && !shown.contains("ab, "), "{shown}");
}

#[test]
fn the_ninth_sender_takes_the_place_of_who_was_silent_longest() {
    let mut receiver = Receiver::new(WINDOW);
    let stamp = Stamp::of_utc(UTC);
    let names: Vec<String> = (1..=9).map(|last| format!("192.0.2.{last}")).collect();
    // The router is 192.0.2.1 itself, so its own comes last and is refused.
    for name in &names[1..9] {
        receiver.hears(stamp, UTC, name).unwrap();
    }
    let next = Stamp::next(stamp, UTC, WINDOW);
    receiver.hears(next, UTC, &names[1]).unwrap();
    receiver.hears(stamp, UTC, "192.0.2.20").unwrap();
    // 192.0.2.3 had to go, 192.0.2.2 had spoken since.
    assert_eq!(receiver.hears(next, UTC, &names[1]), Err(Refusal::Replay));
    receiver.hears(stamp, UTC, &names[2]).unwrap();
}

#[test]
fn the_usual_window_is_three_adverts_or_five_seconds() {
    assert_eq!(Freshness::usual(Duration::from_millis(400)), Freshness::Within { seconds: 5 });
    assert_eq!(Freshness::usual(seconds(40)), Freshness::Within { seconds: 120 });
    assert_eq!(octets(DRAFT).len() - 12, TRAILER);
}
