//! Every check of RFC 9568 §7.1 and RFC 3768 §7.1, and ours: what is dropped, why, and what is not.

use super::super::auth::Proof;
use super::super::read::Password;
use super::super::{Agreement, Form, open_ipv4};
use super::*;
use crate::vrrp::advert::{Claim, Priority};

/// Of VRID 51, priority 100, an advert each second, for 192.0.2.100.
const V3: &str = "31336401 0064a802 c0000264";
const V3_PSEUDO: &str = "31336401 00640569 c0000264";
const V2: &str = "21336401 0001b865 c0000264 00000000 00000000";
const V2_PASS: &str = "21336401 010152ff c0000264 31323334 00000000";
const V3_IPV6: &str =
    "31336402 00643ed7 fe8000000000000000000000005e0064 20010db8000000000000000000000064";

/// The octets with a checksum that is right for the message alone.
fn summed(mut octets: Vec<u8>) -> Vec<u8> {
    octets[6..8].fill(0);
    let pairs = octets.chunks(2);
    let mut sum: u32 = pairs
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    octets[6..8].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    octets
}

/// The octets with another at one place, and a right checksum.
fn with(hex: &str, at: usize, octet: u8) -> Vec<u8> {
    let mut octets = octets(hex);
    octets[at] = octet;
    summed(octets)
}

fn refused(octets: &[u8]) -> Refusal {
    take(&expected(), &from("192.0.2.10"), octets).unwrap_err()
}

fn taken(octets: &[u8]) -> Heard {
    take(&expected(), &from("192.0.2.10"), octets).unwrap()
}

#[test]
fn a_good_advert_is_told_whole() {
    let heard = Heard {
        from: address("192.0.2.10"),
        version: Version::V3,
        claim: Claim::Leads(Priority::new(100).unwrap()),
        interval: interval(100),
        form: Form::Message,
        proof: Proof::Nothing,
        vips: Agreement::Same,
        timing: Agreement::Same,
    };
    assert_eq!(taken(&octets(V3)), heard);
    assert_eq!(taken(&with(V3, 2, 0)), Heard { claim: Claim::Resigns, ..heard });
    assert_eq!(taken(&with(V3, 2, 255)), Heard { claim: Claim::Leads(Priority::OWNER), ..heard });
}

#[test]
fn ttl_254_drop() {
    let envelope = Envelope { hop_limit: 254, ..from("192.0.2.10") };
    let refusal = take(&expected(), &envelope, &octets(V3)).unwrap_err();
    assert_eq!(refusal, Refusal::HopLimit { got: 254, expected: 255 });
    let said = "TTL or hop limit 254, expected 255 or more: it came through a router";
    assert_eq!((refusal.to_string().as_str(), refusal.word()), (said, "hop_limit"));
}

#[test]
fn ttl_255_ok() {
    taken(&octets(V3));
}

#[test]
fn hl_64_drop_v6() {
    let vips = [address("fe80::5e:64"), address("2001:db8::64")];
    let expected = Expected { address: address("fe80::2"), vips: &vips, ..expected() };
    let heard = take(&expected, &from("fe80::1"), &octets(V3_IPV6)).unwrap();
    assert_eq!(heard.vips, Agreement::Same);
    let envelope = Envelope { hop_limit: 64, ..from("fe80::1") };
    let refusal = take(&expected, &envelope, &octets(V3_IPV6));
    assert_eq!(refusal, Err(Refusal::HopLimit { got: 64, expected: 255 }));
}

#[test]
fn version_1_drop() {
    assert_eq!(refused(&with(V3, 0, 0x11)), Refusal::Version { got: 1 });
}

#[test]
fn version_4_drop() {
    assert_eq!(refused(&with(V3, 0, 0x41)), Refusal::Version { got: 4 });
}

#[test]
fn version_2_is_not_version_3() {
    assert_eq!(refused(&octets(V2)), Refusal::OtherVersion { got: 2 });
    let either = Expected { accepted: Accepted::Either, ..expected() };
    let heard = take(&either, &from("192.0.2.10"), &octets(V2)).unwrap();
    assert_eq!((heard.version, heard.timing), (Version::V2, Agreement::Same));
    take(&either, &from("192.0.2.10"), &octets(V3)).unwrap();
    let packet = octets(V2);
    let over_ipv6 = read(&ends("fe80::1", "ff02::12"), &packet).unwrap_err();
    assert_eq!(over_ipv6, Refusal::V2OverIpv6);
}

#[test]
fn type_2_drop() {
    assert_eq!(refused(&with(V3, 0, 0x32)), Refusal::Type { got: 2 });
    assert_eq!(refused(&with(V2, 0, 0x20)), Refusal::Type { got: 0 });
}

#[test]
fn truncated_at_each_byte() {
    for hex in [V3, V2] {
        let whole = octets(hex);
        for end in 0..whole.len() {
            let refusal = refused(&whole[..end]);
            let expected = match end {
                ..8 => Refusal::Short { octets: end },
                _ => Refusal::Length { octets: end, expected: whole.len() },
            };
            assert_eq!(refusal, expected);
        }
    }
}

#[test]
fn trailing_garbage_drop() {
    for more in (1..=40).filter(|more| *more != 28) {
        let octets = [octets(V3), vec![0; more]].concat();
        assert_eq!(refused(&octets), Refusal::Length { octets: 12 + more, expected: 12 });
    }
}

/// An IPv4 header of so many words, in front of so much of an advert, and what comes behind the packet.
fn in_ip(words: u8, advert: &[u8], behind: &[u8]) -> Vec<u8> {
    let mut header = vec![0; usize::from(words) * 4];
    let length = u16::try_from(header.len() + advert.len()).unwrap();
    header[0] = 0x40 | words;
    header[1] = 0xc0;
    header[2..4].copy_from_slice(&length.to_be_bytes());
    (header[8], header[9]) = (255, 112);
    header[12..16].copy_from_slice(&[192, 0, 2, 10]);
    header[16..20].copy_from_slice(&[224, 0, 0, 18]);
    [&header, advert, behind].concat()
}

#[test]
fn eth_padding_46_ok() {
    let frame = in_ip(5, &octets(V3), &[0; 14]);
    assert_eq!(frame.len(), 46);
    let (envelope, message) = open_ipv4(&frame).unwrap();
    assert_eq!((envelope, message), (from("192.0.2.10"), &octets(V3)[..]));
    take(&expected(), &envelope, message).unwrap();
}

#[test]
fn ip_options_ihl6_ok() {
    let packet = in_ip(6, &octets(V3), &[]);
    let (envelope, message) = open_ipv4(&packet).unwrap();
    assert_eq!((envelope, message), (from("192.0.2.10"), &octets(V3)[..]));
}

#[test]
fn an_ip_header_that_is_none_is_refused() {
    let good = in_ip(5, &octets(V3), &[]);
    let changed = |at: usize, octet: u8| {
        let mut packet = good.clone();
        packet[at] = octet;
        open_ipv4(&packet).map(|_| ())
    };
    assert_eq!(changed(0, 0x65), Err(Refusal::IpVersion { got: 6 }));
    assert_eq!(changed(0, 0x44), Err(Refusal::NoIpHeader { octets: 32 }));
    assert_eq!(changed(0, 0x4f), Err(Refusal::IpLength { says: 32, octets: 32 }));
    assert_eq!(changed(3, 33), Err(Refusal::IpLength { says: 33, octets: 32 }));
    assert_eq!(changed(3, 19), Err(Refusal::IpLength { says: 19, octets: 32 }));
    assert_eq!(changed(9, 17), Err(Refusal::IpProtocol { got: 17 }));
    for end in 0..20 {
        assert_eq!(open_ipv4(&good[..end]), Err(Refusal::NoIpHeader { octets: end }));
    }
}

#[test]
fn fragment_drop() {
    for (at, octet) in [(6, 0x20), (6, 0x01), (7, 0x01)] {
        let mut packet = in_ip(5, &octets(V3), &[]);
        packet[at] = octet;
        assert_eq!(open_ipv4(&packet), Err(Refusal::Fragment));
    }
    // Not to be taken apart is no fragment.
    let mut packet = in_ip(5, &octets(V3), &[]);
    packet[6] = 0x40;
    open_ipv4(&packet).unwrap();
}

#[test]
fn count_0_drop() {
    assert_eq!(refused(&summed(octets("31336400 00640000"))), Refusal::NoAddresses);
}

#[test]
fn count_vs_len_mismatch() {
    assert_eq!(refused(&with(V3, 3, 2)), Refusal::Length { octets: 12, expected: 16 });
    let two = summed([octets(V3), vec![192, 0, 2, 101]].concat());
    assert_eq!(refused(&two), Refusal::Length { octets: 16, expected: 12 });
}

#[test]
fn count_255_ok_no_alloc_blowup() {
    let mut many = octets("313364ff 00640000");
    many.extend((0..255).flat_map(|last| [192, 0, 2, last]));
    let many = summed(many);
    let heard = taken(&many);
    assert_eq!(heard.vips, Agreement::Differs);
    let ends = ends("192.0.2.10", "224.0.0.18");
    assert_eq!(read(&ends, &many).unwrap().addresses().count(), 255);
    // A count alone is worth nothing.
    assert_eq!(refused(&many[..12]), Refusal::Length { octets: 12, expected: 1028 });
}

#[test]
fn vrid_0_drop() {
    assert_eq!(refused(&with(V3, 1, 0)), Refusal::VridZero);
}

#[test]
fn vrid_unknown_drop_no_state() {
    let packet = with(V3, 1, 52);
    let envelope = from("192.0.2.10");
    let advert = read(&envelope.ends, &packet).unwrap();
    let mut marks = Marks::default();
    let refusal = judge(&expected(), &envelope, &advert, UTC, &mut marks);
    assert_eq!(refusal, Err(Refusal::Vrid { got: 52 }));
    assert_eq!(marks, Marks::default());
}

#[test]
fn reserve_bits_nonzero_ok() {
    assert_eq!(taken(&with(V3, 4, 0xf0)).interval, interval(100));
}

#[test]
fn maxadv_0_drop() {
    assert_eq!(refused(&with(V3, 5, 0)), Refusal::IntervalZero);
    let in_v2 = with(V2, 5, 0);
    assert_eq!(refused(&in_v2), Refusal::IntervalZero);
    // The reserved bits are no part of it.
    let mut reserved = octets(V3);
    (reserved[4], reserved[5]) = (0xf0, 0);
    assert_eq!(refused(&summed(reserved)), Refusal::IntervalZero);
}

#[test]
fn maxadv_4095_ok() {
    let mut slow = octets(V3);
    (slow[4], slow[5]) = (0x0f, 0xff);
    assert_eq!(taken(&summed(slow)).interval, interval(4095));
}

#[test]
fn checksum_bad_drop() {
    let mut bad = octets(V3);
    bad[7] ^= 1;
    assert_eq!(refused(&bad), Refusal::Checksum { got: 0xa803 });
    bad[6..8].fill(0);
    assert_eq!(refused(&bad), Refusal::Checksum { got: 0 });
    let mut bad = octets(V2);
    bad[19] ^= 1;
    assert_eq!(refused(&bad), Refusal::Checksum { got: 0xb865 });
}

#[test]
fn checksum_both_forms_ok() {
    assert_eq!(taken(&octets(V3)).form, Form::Message);
    assert_eq!(taken(&octets(V3_PSEUDO)).form, Form::PseudoHeader);
    // Version 2 has one form: 4 + 4 octets of addresses, 112 and the length are no part of it.
    let mut other = octets(V2);
    other[6..8].copy_from_slice(&0x15c4_u16.to_be_bytes());
    assert!(matches!(refused(&other), Refusal::Checksum { .. }));
    // Nor has IPv6, which is never without a pseudo-header.
    let alone = summed(octets(V3_IPV6));
    let refusal = read(&ends("fe80::1", "ff02::12"), &alone).unwrap_err();
    assert!(matches!(refusal, Refusal::Checksum { .. }));
}

#[test]
fn v2_adv_mismatch_drop() {
    let expected =
        Expected { accepted: Accepted::Only(Version::V2), interval: interval(200), ..expected() };
    let refusal = take(&expected, &from("192.0.2.10"), &octets(V2));
    assert_eq!(refusal, Err(Refusal::Interval { got: 1, expected: 200 }));
}

#[test]
fn v3_adv_mismatch_adopt() {
    let expected = Expected { interval: interval(40), ..expected() };
    let heard = take(&expected, &from("192.0.2.10"), &octets(V3)).unwrap();
    assert_eq!((heard.interval, heard.timing), (interval(100), Agreement::Differs));
}

/// A router of version 2 that asks for this.
fn v2(asked: Asked<'_>) -> Expected<'_> {
    Expected { accepted: Accepted::Only(Version::V2), asked, ..expected() }
}

#[test]
fn v2_auth_type_mismatch() {
    let envelope = from("192.0.2.10");
    let asked = Asked::Password(Password::cut("1234"));
    let refusal = take(&v2(asked), &envelope, &octets(V2));
    assert_eq!(refusal, Err(Refusal::AuthType { got: 0, expected: 1 }));
    let refusal = take(&v2(Asked::Nothing), &envelope, &octets(V2_PASS));
    assert_eq!(refusal, Err(Refusal::AuthType { got: 1, expected: 0 }));
    let refusal = take(&v2(asked), &envelope, &with(V2_PASS, 4, 2));
    assert_eq!(refusal, Err(Refusal::AuthType { got: 2, expected: 1 }));
    take(&v2(Asked::Nothing), &envelope, &octets(V2)).unwrap();
}

/// That it takes the same time for every wrong password is aws-lc's word: no test could tell.
#[test]
fn v2_pass_wrong_constant_time() {
    let envelope = from("192.0.2.10");
    let taken = |password: &str| {
        take(&v2(Asked::Password(Password::cut(password))), &envelope, &octets(V2_PASS))
    };
    assert_eq!(taken("1234").unwrap().proof, Proof::Password);
    for wrong in ["", "1", "123", "1235", "2234", "12345", "1234    "] {
        assert_eq!(taken(wrong), Err(Refusal::Password), "{wrong:?}");
    }
    // Eight octets are all that there is room for.
    assert!(Password::cut("infraRunB00k!") == Password::cut("infraRun"));
    assert_eq!(format!("{:?}", Password::cut("1234")), "Text");
}

#[test]
fn family_mismatch() {
    let vips = [address("fe80::5e:64")];
    let six = Expected { address: address("fe80::2"), vips: &vips, ..expected() };
    let refusal = take(&six, &from("192.0.2.10"), &octets(V3));
    assert_eq!(refusal, Err(Refusal::Family { got: 4, expected: 6 }));
    let refusal = take(&expected(), &from("fe80::1"), &octets(V3_IPV6));
    assert_eq!(refusal, Err(Refusal::Family { got: 6, expected: 4 }));
    // Addresses of IPv4 within IPv6 are too few octets.
    let refusal = read(&ends("fe80::1", "ff02::12"), &octets(V3)).unwrap_err();
    assert_eq!(refusal, Refusal::Length { octets: 12, expected: 24 });
}

#[test]
fn v6_first_not_linklocal_drop() {
    // The two addresses change places, which no checksum sees.
    let mut turned = octets(V3_IPV6);
    turned[8..].rotate_left(16);
    let refusal = read(&ends("fe80::1", "ff02::12"), &turned).unwrap_err();
    assert_eq!(refusal, Refusal::FirstNotLinkLocal { got: "2001:db8::64".parse().unwrap() });
}

#[test]
fn addr_list_differs_log_only() {
    let packet = summed(octets("31336402 00640000 c0000264 c0000265"));
    let agreement = |vips: &[&str]| {
        let vips: Vec<IpAddr> = vips.iter().map(|vip| address(vip)).collect();
        let expected = Expected { vips: &vips, ..expected() };
        take(&expected, &from("192.0.2.10"), &packet).unwrap().vips
    };
    assert_eq!(agreement(&["192.0.2.100", "192.0.2.101"]), Agreement::Same);
    assert_eq!(agreement(&["192.0.2.101", "192.0.2.100"]), Agreement::Same);
    assert_eq!(agreement(&["192.0.2.100"]), Agreement::Differs);
    assert_eq!(agreement(&["192.0.2.100", "192.0.2.102"]), Agreement::Differs);
    assert_eq!(agreement(&["192.0.2.100", "192.0.2.101", "192.0.2.102"]), Agreement::Differs);
}

#[test]
fn own_source_ignored() {
    let expected = Expected { address: address("192.0.2.10"), ..expected() };
    assert_eq!(take(&expected, &from("192.0.2.10"), &octets(V3)), Err(Refusal::Own));
}

#[test]
fn unicast_comes_from_peers_to_us_and_multicast_to_the_group() {
    let us = address("192.0.2.11");
    let peers = [address("192.0.2.10")];
    let reach = Reach::Unicast { peers: &peers, lowest_hop_limit: 255 };
    let unicast = Expected { address: us, reach, ..expected() };
    let envelope = |from: &str, to: &str| Envelope { ends: ends(from, to), hop_limit: 255 };
    let good = envelope("192.0.2.10", "192.0.2.11");
    take(&unicast, &good, &octets(V3)).unwrap();
    let stranger = take(&unicast, &envelope("192.0.2.12", "192.0.2.11"), &octets(V3));
    assert_eq!(stranger, Err(Refusal::Stranger { got: address("192.0.2.12") }));
    let group = address("224.0.0.18");
    let to_group = take(&unicast, &from("192.0.2.10"), &octets(V3));
    assert_eq!(to_group, Err(Refusal::Destination { got: group, expected: us }));
    let multicast = Expected { address: us, ..expected() };
    let to_us = take(&multicast, &good, &octets(V3));
    assert_eq!(to_us, Err(Refusal::Destination { got: us, expected: group }));

    let far = Envelope { hop_limit: 252, ..good };
    let refusal = take(&unicast, &far, &octets(V3));
    assert_eq!(refusal, Err(Refusal::HopLimit { got: 252, expected: 255 }));
    let reach = Reach::Unicast { peers: &peers, lowest_hop_limit: 252 };
    let routed = Expected { reach, ..unicast };
    take(&routed, &far, &octets(V3)).unwrap();
    let farther = Envelope { hop_limit: 251, ..good };
    let refusal = take(&routed, &farther, &octets(V3));
    assert_eq!(refusal, Err(Refusal::HopLimit { got: 251, expected: 252 }));
}
