//! Packets as they come, and what each is taken for.

use super::*;

/// Header with the given opcode and counts, question `www.example.com IN A`, then `rest`.
fn packet(flags: u8, counts: [u8; 4], rest: &[u8]) -> Vec<u8> {
    let [qd, an, ns, ar] = counts;
    let mut packet = vec![0xab, 0xcd, flags, 0, 0, qd, 0, an, 0, ns, 0, ar];
    packet.extend_from_slice(b"\x03WWW\x07example\x03com\0\0\x01\0\x01");
    packet.extend_from_slice(rest);
    packet
}

fn opt(options: &[u8]) -> Vec<u8> {
    [&[0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, options.len() as u8][..], options].concat()
}

fn subnet(value: &[u8]) -> Vec<u8> {
    packet(0, [1, 0, 0, 1], &opt(&[&[0, 8, 0, value.len() as u8][..], value].concat()))
}

/// `query`, `silence`, or the rcode with `edns` if the error answer keeps its OPT.
fn verdict(packet: &[u8]) -> String {
    match Query::parse(packet, &mut NameKey::default()) {
        Ok(_) => "query".into(),
        Err(Rejection::Silence) => "silence".into(),
        Err(Rejection::CookieOnly { .. }) => "cookie only".into(),
        Err(Rejection::Error { rcode, edns, .. }) => {
            format!("{}{}", rcode.mnemonic(), if edns { " edns" } else { "" })
        }
    }
}

fn edns(packet: &[u8]) -> Option<Edns<'_>> {
    // Lives as long as any packet: what is read borrows both.
    Query::parse(packet, Box::leak(Box::default())).ok()?.edns
}

fn check(packet: &[u8], expected: &str) {
    assert_eq!(verdict(packet), expected, "{packet:02x?}");
}

#[test]
fn only_a_query_with_one_question_is_one() {
    check(&packet(0, [1, 0, 0, 0], b""), "query");
    check(&packet(0x80, [1, 0, 0, 0], b""), "silence"); // A response.
    check(&packet(0xa8, [1, 0, 0, 0], b""), "silence"); // A response with an opcode of its own.
    check(b"\xab\xcd\0\0\0\x01\0\0\0\0\0", "silence"); // One octet short of a header.
    check(&packet(0x08, [1, 0, 0, 0], b""), "NOTIMP"); // IQUERY
    check(&packet(0x20, [1, 0, 0, 0], b""), "NOTIMP"); // NOTIFY
    check(&packet(0x28, [1, 0, 0, 0], b""), "NOTIMP"); // UPDATE
    check(&packet(0x78, [1, 0, 0, 0], b""), "NOTIMP");
    check(&packet(0, [0, 0, 0, 0], b""), "FORMERR");
    check(&packet(0, [2, 0, 0, 0], b""), "FORMERR");
    check(&packet(0, [1, 0, 0, 0], b"trailing"), "FORMERR");
    check(&packet(0, [1, 0, 0, 1], b""), "FORMERR");
    let whole = packet(0, [1, 0, 0, 0], b"");
    for length in HEADER..whole.len() {
        check(&whole[..length], "FORMERR");
    }
}

#[test]
fn a_question_name_is_uncompressed_and_within_limits() {
    let question =
        |name: &[u8]| [&[0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], name, &[0, 1, 0, 1]].concat();
    check(&question(b"\0"), "query");
    check(&question(b"\xc0\x0c"), "FORMERR");
    check(&question(b"\x03www\xc0\x0c"), "FORMERR");
    check(&question(&[&[64][..], &[b'a'; 64], &[0]].concat()), "FORMERR");
    check(&question(&[&[0x80][..], &[b'a'; 64], &[0]].concat()), "FORMERR");
    let label = [&[63][..], &[b'a'; 63]].concat();
    check(&question(&[label.repeat(3), [&[61][..], &[b'a'; 61], &[0]].concat()].concat()), "query");
    check(&question(&[label.repeat(4), vec![0]].concat()), "FORMERR");
}

#[test]
fn other_records_are_passed_over_if_they_are_whole() {
    let a = b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\x01\x02\x03\x04";
    check(&packet(0, [1, 1, 1, 0], &a.repeat(2)), "query");
    check(&packet(0, [1, 1, 0, 0], &a[..a.len() - 1]), "FORMERR");
    check(&packet(0, [1, 1, 0, 0], &a[..1]), "FORMERR");
    check(&packet(0, [1, 255, 0, 0], a), "FORMERR");
}

#[test]
fn edns_is_read_as_rfc_6891_asks() {
    let with = |opt: &[u8]| packet(0, [1, 0, 0, 1], opt);
    check(&with(&opt(b"")), "query");
    check(&with(&opt(b"\xff\xfe\0\x02hi")), "query"); // An option nobody knows.
    check(&with(&opt(b"\xff\xfe\0\x03hi")), "FORMERR edns"); // Cut short.
    check(&with(&opt(b"\0")), "FORMERR edns");
    let mut version = opt(b"\xff\xfe\0\x03hi");
    version[6] = 1;
    check(&with(&version), "BADVERS edns"); // Options of another version are not read.
    let mut owned = opt(b"");
    owned.splice(..1, *b"\x01a\0");
    check(&with(&owned), "FORMERR");
    check(&packet(0, [1, 0, 0, 2], &opt(b"").repeat(2)), "FORMERR edns");
    check(&packet(0, [1, 1, 0, 0], &opt(b"")), "FORMERR");
    let nsid = with(&opt(b"\0\x03\0\0"));
    let edns = edns(&nsid).unwrap();
    assert_eq!((edns.udp_size, edns.dnssec_ok, edns.nsid), (1232, true, true));
}

#[test]
fn what_is_no_query_is_told_so_with_an_opt_if_it_had_one() {
    for opcode in [0x08, 0x20, 0x28, 0x78] {
        check(&packet(opcode, [1, 0, 0, 1], &opt(b"")), "NOTIMP edns");
        check(&packet(opcode, [1, 0, 0, 0], b""), "NOTIMP");
        // The question is not there, or more is behind it than it says.
        check(&packet(opcode, [2, 0, 0, 1], &opt(b"")), "NOTIMP");
        check(&packet(opcode, [0, 0, 0, 1], &opt(b"")), "NOTIMP");
    }
    let question = b"\x01a\0\0\x01\0\x01";
    let two = [&question[..], &opt(b"")].concat();
    check(&packet(0, [2, 0, 0, 1], &two), "FORMERR edns");
    check(&packet(0, [3, 0, 0, 1], &two), "FORMERR");
    check(&packet(0, [0xff, 0, 0, 1], &two), "FORMERR");
    // Behind a name that may not be one.
    let pointed = [&[0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1][..], b"\xc0\x0c\0\x01\0\x01", &opt(b"")];
    check(&pointed.concat(), "FORMERR edns");
    // Before what is no record, and not behind it.
    check(&packet(0, [1, 0, 0, 1], &[opt(b""), vec![0]].concat()), "FORMERR edns");
    check(&packet(0, [1, 0, 0, 2], &[opt(b""), vec![0]].concat()), "FORMERR edns");
    check(&packet(0, [1, 0, 0, 2], &[b"\0\0", &opt(b"")[..]].concat()), "FORMERR");
}

#[test]
fn every_malformed_client_subnet_is_a_formerr() {
    check(&subnet(&[0, 1, 24, 0, 192, 0, 2]), "query");
    check(&subnet(&[0, 1, 0, 0]), "query");
    check(&subnet(&[0, 1, 32, 0, 192, 0, 2, 1]), "query");
    check(&subnet(&[0, 2, 48, 0, 0x20, 1, 0xd, 0xb8, 0, 1]), "query");
    check(&subnet(&[0, 2, 128, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6]), "query");
    check(&subnet(&[0, 0, 0, 0]), "query");
    check(&subnet(&[0, 0, 8, 0, 1]), "FORMERR edns"); // No family, yet a prefix.
    check(&subnet(&[0, 3, 8, 0, 1]), "FORMERR edns"); // Unknown family.
    check(&subnet(&[0, 1, 24, 24, 192, 0, 2]), "FORMERR edns"); // A scope in a query.
    check(&subnet(&[0, 1, 24, 0, 192, 0]), "FORMERR edns"); // Too few octets.
    check(&subnet(&[0, 1, 24, 0, 192, 0, 2, 0]), "FORMERR edns"); // Too many.
    check(&subnet(&[0, 1, 23, 0, 192, 0, 3]), "FORMERR edns"); // A bit beyond the prefix.
    check(&subnet(&[0, 1, 33, 0, 192, 0, 2, 1, 0]), "FORMERR edns");
    check(
        &subnet(&[0, 2, 129, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 0]),
        "FORMERR edns",
    );
    check(&subnet(&[0, 1, 24]), "FORMERR edns");
    check(&subnet(&[]), "FORMERR edns");
    let one = [&[0, 8, 0, 7][..], &[0, 1, 24, 0, 192, 0, 2]].concat();
    check(&packet(0, [1, 0, 0, 1], &opt(&one.repeat(2))), "FORMERR edns");
}

fn cookie(octets: u8) -> Vec<u8> {
    [&[0, 10, 0, octets][..], &(1..=octets).collect::<Vec<_>>()].concat()
}

#[test]
fn a_cookie_has_8_octets_or_16_to_40() {
    for octets in 0..=60 {
        let query = packet(0, [1, 0, 0, 1], &opt(&cookie(octets)));
        let is_sound = octets == 8 || (16..=40).contains(&octets);
        check(&query, if is_sound { "query" } else { "FORMERR edns" });
        if is_sound {
            let read = edns(&query).and_then(|edns| edns.cookie).unwrap();
            let whole: Vec<u8> = (1..=octets).collect();
            assert_eq!([&read.client()[..], read.server()].concat(), whole);
        }
    }
    // Only the first counts (RFC 7873 §5.2).
    let two = [cookie(8), cookie(3)].concat();
    let query = packet(0, [1, 0, 0, 1], &opt(&two));
    check(&query, "query");
    assert!(edns(&query).and_then(|edns| edns.cookie).unwrap().server().is_empty());
    check(&packet(0, [1, 0, 0, 1], &opt(&[cookie(3), cookie(8)].concat())), "FORMERR edns");
}

#[test]
fn a_query_without_a_question_may_ask_for_a_cookie() {
    let lone = |counts: [u8; 3], rest: &[u8]| {
        let [an, ns, ar] = counts;
        [&[0xab, 0xcd, 1, 0, 0, 0, 0, an, 0, ns, 0, ar][..], rest].concat()
    };
    check(&lone([0, 0, 1], &opt(&cookie(8))), "cookie only");
    check(&lone([0, 0, 1], &opt(&cookie(24))), "cookie only");
    check(&lone([0, 0, 1], &opt(&cookie(9))), "FORMERR edns");
    check(&lone([0, 0, 1], &opt(b"")), "FORMERR edns");
    check(&lone([0, 0, 0], b""), "FORMERR");
    check(&lone([0, 0, 1], &[opt(&cookie(8)), vec![0]].concat()), "FORMERR edns");
    // A question behind the counts is no question.
    check(&packet(0, [0, 0, 0, 1], &opt(&cookie(8))), "FORMERR");
}

#[test]
fn a_subnet_made_is_the_subnet_read() {
    for (address, source) in [("192.0.2.77", 24), ("192.0.2.77", 0), ("2001:db8:1:2::", 56)] {
        let made = ClientSubnet::new(address.parse().unwrap(), source);
        let wire =
            [&made.family.number().to_be_bytes()[..], &[made.source, 0], made.wire_address()]
                .concat();
        let query = subnet(&wire);
        let read = edns(&query).and_then(|edns| edns.subnet);
        assert_eq!(read, Some(made));
    }
}

#[test]
fn a_glance_sees_the_client_that_a_reader_finds() {
    for (address, source) in [
        ("192.0.2.77", 24),
        ("192.0.2.77", 32),
        ("81.0.0.0", 8),
        ("192.0.2.77", 0),
        ("2001:db8::", 56),
    ] {
        let made = ClientSubnet::new(address.parse().unwrap(), source);
        let wire =
            [&made.family.number().to_be_bytes()[..], &[made.source, 0], made.wire_address()]
                .concat();
        let v4 = match made.address() {
            Some(std::net::IpAddr::V4(v4)) => Some(v4.to_bits()),
            Some(std::net::IpAddr::V6(_)) | None => None,
        };
        let v4 = v4.filter(|_| source > 0); // Else the resolver is asked for.
        assert_eq!(peek_client(&subnet(&wire)), v4, "{address}/{source}");
        // Behind another option as well.
        let other = [&b"\xff\xfe\0\x02hi\0\x08\0"[..], &[wire.len() as u8], &wire].concat();
        assert_eq!(peek_client(&packet(0, [1, 0, 0, 1], &opt(&other))), v4, "{address}/{source}");
    }
    assert_eq!(peek_client(&packet(0, [1, 0, 0, 0], b"")), None);
    assert_eq!(peek_client(&packet(0, [1, 0, 0, 1], &opt(b""))), None);
    // Whatever else comes, it is only a guess, and no panic.
    let whole = subnet(&[0, 1, 24, 0, 192, 0, 2]);
    for length in 0..whole.len() {
        assert_eq!(peek_client(&whole[..length]), None);
    }
}
