//! Headers as the specification has them, cut anywhere, and as they are not.

use proptest::prelude::*;

use super::*;

fn told(octets: &[u8]) -> String {
    match read(octets) {
        Ok(Progress::More) => "more".to_owned(),
        Ok(Progress::Whole(length, Origin::Proxy)) => format!("{length} proxy"),
        Ok(Progress::Whole(length, Origin::Client { source, destination })) => {
            format!("{length} {source} {destination}")
        }
        Err(refusal) => format!("{refusal:?}"),
    }
}

fn block(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, rest].concat()
}

const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 4, 1, 187];

#[test]
fn a_line_is_read_as_the_specification_has_it() {
    let check =
        |line: &str, expected: &str| assert_eq!(told(line.as_bytes()), expected, "{line:?}");
    // The examples of the specification, section 2.1.
    check(
        "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        "56 255.255.255.255:65535 255.255.255.255:65535",
    );
    let all = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    check(
        &format!("PROXY TCP6 {all} {all} 65535 65535\r\n"),
        &format!("104 [{all}]:65535 [{all}]:65535"),
    );
    check("PROXY UNKNOWN\r\n", "15 proxy");
    let longest = format!("PROXY UNKNOWN {all} {all} 65535 65535\r\n");
    assert_eq!(longest.len(), 107);
    check(&longest, "107 proxy");
    check(
        "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\nHost: 192.168.0.11\r\n\r\n",
        "47 192.168.0.1:56324 192.168.0.11:443",
    );
    check("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 0\r\n", "45 192.0.2.1:1 [2001:db8::1]:0");
    check("PROXY UNKNOWN whatever \0\r\n", "26 proxy");
    for wrong in [
        "PROXY\r\n",
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY tcp4 1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY TCP4 1.2.3.4\t1.2.3.4 1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4  1\r\n",
        "PROXY TCP4 1.2.3.04 1.2.3.4 1 1\r\n",
        "PROXY TCP4 ::1 ::1 1 1\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\r\n",
        "PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n",
    ] {
        let expected = if wrong == "PROXY\r\n" { "NoHeader" } else { "Malformed" };
        check(wrong, expected);
    }
    check("PUT / HTTP/1.1\r\n", "NoHeader");
    check("GET / HTTP/1.1\r\n", "NoHeader");
    check(&format!("PROXY UNKNOWN {}", "x".repeat(92)), "more");
    check(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(92)), "TooLong");
    check(&format!("PROXY UNKNOWN {}", "x".repeat(93)), "TooLong");
}

#[test]
fn a_block_is_read_as_the_specification_has_it() {
    let check = |octets: &[u8], expected: &str| {
        assert_eq!(told(octets), expected, "{octets:02x?}");
        assert_eq!(told(&[octets, b"GET / HTTP/1.1\r\n"].concat()), expected, "{octets:02x?}");
    };
    let v4 = "192.0.2.1:56324 198.51.100.2:443";
    check(&block(PROXY, 0x11, &V4), &format!("28 {v4}"));
    check(&block(PROXY, 0x12, &V4), &format!("28 {v4}"));
    // What follows the addresses is passed over: a TLV of an authority, and one that is cut.
    check(&block(PROXY, 0x11, &[&V4[..], b"\x02\0\x01a\x04\0\xff"].concat()), &format!("35 {v4}"));
    let mut v6 = vec![];
    for address in ["2001:db8::1", "::ffff:192.0.2.9"] {
        v6.extend_from_slice(&address.parse::<Ipv6Addr>().unwrap().octets());
    }
    v6.extend_from_slice(&[0, 80, 1, 187]);
    check(&block(PROXY, 0x21, &v6), "52 [2001:db8::1]:80 192.0.2.9:443");
    check(&block(PROXY, 0x22, &v6), "52 [2001:db8::1]:80 192.0.2.9:443");
    check(&block(PROXY, 0x21, &v6[..35]), "Malformed");
    check(&block(PROXY, 0x11, &V4[..11]), "Malformed");
    check(&block(PROXY, 0x31, &[b'/'; 216]), "232 proxy");
    check(&block(PROXY, 0x32, &[b'/'; 215]), "Malformed");
    check(&block(LOCAL, 0, b""), "16 proxy");
    check(&block(LOCAL, 0x11, &V4), "28 proxy");
    check(&block(LOCAL, 0xff, b"x"), "17 proxy");
    check(&block(PROXY, 0, b"abc"), "19 proxy");
    for (command, family) in [
        (0x22, 0x11),
        (0x11, 0x11),
        (0x31, 0x11),
        (0x01, 0x11),
        (PROXY, 0x10),
        (PROXY, 0x13),
        (PROXY, 0x41),
        (PROXY, 0x01),
    ] {
        check(&block(command, family, &[0; 216]), "Unknown");
    }
    check(&block(PROXY, 0x11, &[&V4[..], &[0; 4096 - 12]].concat()), &format!("4112 {v4}"));
    check(&block(PROXY, 0x11, &[&V4[..], &[0; 4097 - 12]].concat()), "TooLong");
    check(b"\r\n\r\nGET / HTTP/1.1\r\n", "NoHeader");
}

#[test]
fn a_header_cut_short_asks_for_more() {
    for whole in [
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        block(PROXY, 0x11, &V4),
        block(LOCAL, 0, b""),
    ] {
        for length in 0..whole.len() {
            assert_eq!(told(&whole[..length]), "more", "{length} of {whole:02x?}");
        }
        assert_ne!(told(&whole), "more");
    }
}

#[test]
fn a_header_is_written_as_it_is_read() {
    let check = |source: &str, destination: &str, line: &str, octets: usize| {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        let origin = Origin::Client { source, destination };
        let (mut v1, mut v2) = (vec![], vec![]);
        write_v1(origin, &mut v1);
        assert_eq!(v1, line.as_bytes());
        write_v2(origin, &mut v2);
        assert_eq!(read(&v2), Ok(Progress::Whole(octets, origin)));
        let from_line = if line.starts_with("PROXY UNKNOWN") { Origin::Proxy } else { origin };
        assert_eq!(read(&v1), Ok(Progress::Whole(line.len(), from_line)));
    };
    check(
        "192.0.2.1:56324",
        "198.51.100.2:443",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
        28,
    );
    check("[2001:db8::1]:1", "[2001:db8::2]:0", "PROXY TCP6 2001:db8::1 2001:db8::2 1 0\r\n", 52);
    check("[2001:db8::1]:1", "192.0.2.1:2", "PROXY UNKNOWN\r\n", 52);
    let (mut v1, mut v2) = (vec![], vec![]);
    write_v1(Origin::Proxy, &mut v1);
    write_v2(Origin::Proxy, &mut v2);
    assert_eq!((v1, v2), (b"PROXY UNKNOWN\r\n".to_vec(), block(LOCAL, 0, b"")));
}

proptest! {
    #[test]
    fn what_is_written_is_read(source: (std::net::IpAddr, u16), destination: (std::net::IpAddr, u16)) {
        let origin = client(source, destination);
        let mut octets = vec![];
        write_v2(origin, &mut octets);
        let length = octets.len();
        octets.extend_from_slice(b"GET");
        prop_assert_eq!(read(&octets), Ok(Progress::Whole(length, origin)));
        octets.clear();
        write_v1(origin, &mut octets);
        prop_assert!(octets.len() <= LONGEST_LINE);
        prop_assert!(matches!(read(&octets), Ok(Progress::Whole(length, _)) if length == octets.len()));
    }

    #[test]
    fn no_octets_are_a_panic(command: u8, family: u8, rest in prop::collection::vec(any::<u8>(), 0..300), cut in 0..400_usize) {
        let mut octets = block(command, family, &rest);
        octets.truncate(cut);
        let _ = read(&octets);
        let line = [b"PROXY ", &rest[..]].concat();
        let _ = read(&line);
    }
}
