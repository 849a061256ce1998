//! Hellos of OpenSSL and of rustls, cut anywhere, in other records, and as they must not be.

use std::sync::Arc;

use common::identity::provider;
use proptest::prelude::*;
use rustls::pki_types::ServerName;
use rustls::server::Acceptor;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use super::*;

/// What OpenSSL 3.0's `s_client` has sent. The fuzzer begins with the same.
macro_rules! openssl {
    ($file:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/fuzz/seeds/hello/openssl-",
            $file
        ))
    };
}

/// `-servername WWW.Example.com -alpn h2,http/1.1`
const OPENSSL: &[u8] = openssl!("1.3");

fn told(octets: &[u8]) -> String {
    match read(octets) {
        Ok(Progress::More) => "more".to_owned(),
        Ok(Progress::Whole(hello)) => {
            let alpn: Vec<_> = hello.alpn().map(|name| name.escape_ascii().to_string()).collect();
            format!("{} [{}]", hello.server_name().unwrap_or("-"), alpn.join(" "))
        }
        Err(refusal) => format!("{refusal:?}"),
    }
}

fn rustls(version: &'static SupportedProtocolVersion, name: &str, alpn: &[&str]) -> Vec<u8> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut octets = vec![];
    client.write_tls(&mut octets).unwrap();
    octets
}

/// The same message in records of so many octets.
fn in_records(octets: &[u8], of: usize) -> Vec<u8> {
    let message = octets[RECORD_HEAD..].chunks(of);
    message.flat_map(|part| [&record_head(part.len())[..], part].concat()).collect()
}

fn record_head(length: usize) -> [u8; RECORD_HEAD] {
    let [a, b] = u16::try_from(length).unwrap().to_be_bytes();
    [HANDSHAKE, MAJOR, 1, a, b]
}

fn long(content: &[u8]) -> Vec<u8> {
    [&u16::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
}

/// A hello with these extensions, each with its length.
fn with(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let of_one =
        |(kind, content): &(u16, Vec<u8>)| [&kind.to_be_bytes()[..], &long(content)].concat();
    let extensions: Vec<u8> = extensions.iter().flat_map(of_one).collect();
    message(&[&[3, 3], &[7; 32][..], &[0, 0, 2, 0x13, 1, 1, 0], &long(&extensions)].concat())
}

fn message(content: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(content.len()).unwrap().to_be_bytes();
    let message = [&[1], &length[..], content].concat();
    message
        .chunks(LONGEST_RECORD)
        .flat_map(|part| [&record_head(part.len())[..], part].concat())
        .collect()
}

/// The extension that asks for this name.
fn asks(name: &[u8]) -> (u16, Vec<u8>) {
    (0, long(&[&[0], &long(name)[..]].concat()))
}

#[test]
fn hellos_of_openssl_and_rustls_are_read() {
    let check = |octets: &[u8], expected: &str| {
        assert_eq!(told(octets), expected);
        // What comes behind is for later.
        assert_eq!(told(&[octets, b"\x14\x03\x03\0\x01\x01"].concat()), expected);
    };
    check(OPENSSL, "www.example.com [h2 http/1.1]");
    check(openssl!("1.2"), "api.example.com []");
    check(openssl!("1.0"), "old.example.com []");
    check(openssl!("nameless"), "- []");
    check(&rustls(&TLS13, "www.example.com", &["h2", "http/1.1"]), "www.example.com [h2 http/1.1]");
    check(&rustls(&TLS12, "www.example.com", &["acme-tls/1"]), "www.example.com [acme-tls/1]");
    check(&rustls(&TLS13, "192.0.2.1", &[]), "- []");
}

#[test]
fn a_hello_cut_short_asks_for_more() {
    let large = with(&[(21, vec![0; 9000]), asks(b"www.example.com")]);
    for whole in [OPENSSL.to_vec(), in_records(OPENSSL, 1), in_records(OPENSSL, 100), large] {
        for length in 0..whole.len() {
            assert_eq!(told(&whole[..length]), "more", "{length} of {}", whole.len());
        }
        assert_ne!(told(&whole), "more");
    }
}

#[test]
fn a_hello_is_the_same_in_other_records() {
    for of in 1..OPENSSL.len() {
        assert_eq!(told(&in_records(OPENSSL, of)), "www.example.com [h2 http/1.1]", "{of}");
    }
}

#[test]
fn what_is_no_tls_is_told_at_its_first_octets() {
    let check = |octets: &[u8], expected: &str| assert_eq!(told(octets), expected, "{octets:02x?}");
    check(b"", "more");
    check(b"G", "NotTls");
    check(b"SSH-2.0-OpenSSH_9.2\r\n", "NotTls");
    check(b"\x80\x2e\x01\x03\x01", "NotTls");
    check(b"\x16", "more");
    check(b"\x16\x02", "NotTls");
    check(b"\x16\x03\x09", "more");
    // An alert, data, and a hello of a server.
    check(b"\x15\x03\x01\0\x02\x02\x28", "NotTls");
    check(b"\x17\x03\x03\0\x01x", "NotTls");
    check(b"\x16\x03\x03\0\x01\x02", "Malformed");
    check(b"\x16\x03\x01\0\0", "Malformed");
    check(b"\x16\x03\x01\x40\x01", "Malformed");
    check(b"\x16\x03\x01\x40\0", "more");
    // Something between two parts, and something in the record behind it.
    let parts = in_records(OPENSSL, 200);
    let between = [&parts[..205], b"\x15\x03\x01\0\x02\x01\0", &parts[205..]].concat();
    check(&between, "Malformed");
    let mut behind = [OPENSSL, b"\x01"].concat();
    behind[4] += 1;
    check(&behind, "Malformed");
}

#[test]
fn a_hello_has_so_many_octets() {
    let with_padding = |octets| with(&[asks(b"www.example.com"), (21, vec![0; octets])]);
    let (empty, name) = (with_padding(0).len(), "www.example.com []");
    let most = LONGEST - empty;
    assert_eq!(with_padding(most).len(), LONGEST);
    assert_eq!(told(&with_padding(most)), name);
    assert_eq!(told(&with_padding(most + 1)), "TooLong");
    // It is told as soon as the length is known.
    assert_eq!(told(&with_padding(most + 1)[..9]), "TooLong");
    assert_eq!(told(b"\x16\x03\x01\x40\0\x01\xff\xff\xff"), "TooLong");
    // The heads of records count.
    let small = in_records(&with_padding(2700), 1);
    assert!(small.len() > LONGEST);
    assert_eq!(told(&small[..LONGEST - 1]), "more");
    assert_eq!(told(&small[..LONGEST]), "TooLong");
    assert_eq!(told(&small), "TooLong");
}

#[test]
fn a_name_is_one_of_a_server() {
    let check = |name: &[u8], expected: &str| {
        assert_eq!(told(&with(&[asks(name)])), expected, "{}", name.escape_ascii());
    };
    check(b"www.example.com", "www.example.com []");
    check(b"WWW.EXAMPLE.COM", "www.example.com []");
    check(b"www.example.com.", "www.example.com []");
    check(b"xn--bcher-kva.example", "xn--bcher-kva.example []");
    check(b"_dns.example", "_dns.example []");
    check(b"localhost", "localhost []");
    check(b"192.0.2.1", "- []");
    check(b"2001:db8::1", "- []");
    let label = "x".repeat(63);
    check(format!("{label}.example").as_bytes(), &format!("{label}.example []"));
    let longest = [&*label, &*label, &*label, &label[..61]].join(".");
    check(longest.as_bytes(), &format!("{longest} []"));
    let too_long = [format!("x{label}.example"), format!("{longest}x")];
    let wrong = [
        "",
        ".",
        "a..b",
        ".a",
        "a b",
        "a\0.example",
        "a/b",
        "b\u{fc}cher.example",
        "*.example.com",
        "a:443",
    ];
    for name in wrong.into_iter().chain(too_long.iter().map(|name| &**name)) {
        check(name.as_bytes(), "Malformed");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let check = |extensions: &[(u16, Vec<u8>)], expected: &str| {
        assert_eq!(told(&with(extensions)), expected, "{extensions:02x?}");
    };
    let alpn = |list: &[u8]| (16, long(list));
    let (a, b) = (asks(b"a.example"), asks(b"b.example"));
    check(&[], "- []");
    check(&[a.clone(), alpn(b"\x02h2")], "a.example [h2]");
    check(&[alpn(b"\x01\xff\x02h2"), a.clone()], "a.example [\\xff h2]");
    check(&[a.clone(), b], "Malformed");
    check(&[asks(b"192.0.2.1"), a.clone()], "Malformed");
    check(&[alpn(b"\x02h2"), a.clone(), alpn(b"\x02h2")], "Malformed");
    // Two names in one list, a name of another kind, and lists that do not end where they say.
    let one = [&[0], &long(b"a.example")[..]].concat();
    check(&[(0, long(&[&one[..], &one].concat()))], "Malformed");
    check(&[(0, long(&[&[1], &one[1..]].concat()))], "Malformed");
    check(&[(0, long(b""))], "Malformed");
    check(&[(0, vec![])], "Malformed");
    check(&[(0, [&a.1[..], b"x"].concat())], "Malformed");
    check(&[(0, a.1[..5].to_vec())], "Malformed");
    for list in [&b""[..], b"\0", b"\x03h2", b"\x02h2\0"] {
        check(&[alpn(list)], "Malformed");
    }
    check(&[(16, [&alpn(b"\x02h2").1[..], b"x"].concat())], "Malformed");
    // The parts before the extensions.
    let head = |version: [u8; 2], rest: &[u8]| message(&[&version, &[7; 32][..], rest].concat());
    let check =
        |octets: Vec<u8>, expected: &str| assert_eq!(told(&octets), expected, "{octets:02x?}");
    check(head([3, 3], &[0, 0, 2, 0x13, 1, 1, 0]), "- []");
    check(head([2, 0], &[0, 0, 2, 0x13, 1, 1, 0]), "Malformed");
    check(head([3, 3], &[0, 0, 0, 1, 0]), "Malformed");
    check(head([3, 3], &[0, 0, 3, 0x13, 1, 1, 1, 0]), "Malformed");
    check(head([3, 3], &[0, 0, 2, 0x13, 1, 0]), "Malformed");
    check(head([3, 3], &[0, 0, 2, 0x13, 1, 1, 0, 0]), "Malformed");
    check(head([3, 3], &[0, 0, 2, 0x13, 1, 1, 0, 0, 0, 0]), "Malformed");
    check(head([3, 3], &[0, 0, 2, 0x13, 1, 1, 0, 0, 1, 0]), "Malformed");
    let session =
        |length: u8| [&[length], &vec![9; length.into()][..], &[0, 2, 0x13, 1, 1, 0]].concat();
    check(head([3, 3], &session(32)), "- []");
    check(head([3, 3], &session(33)), "Malformed");
}

/// What rustls reads of a hello that it takes.
fn rustls_reads(mut octets: &[u8]) -> Option<(Option<String>, Vec<Vec<u8>>)> {
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut octets).ok()?;
    let accepted = acceptor.accept().ok()??;
    let hello = accepted.client_hello();
    let alpn = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
    Some((hello.server_name().map(str::to_owned), alpn))
}

proptest! {
    #[test]
    fn a_slip_is_no_panic_and_no_other_hello_than_rustls_reads(at in 0..OPENSSL.len(), octet: u8, of in 1..400_usize) {
        let mut octets = OPENSSL.to_vec();
        octets[at] = octet;
        let outcome = told(&octets);
        if octets[..RECORD_HEAD] == OPENSSL[..RECORD_HEAD] {
            prop_assert_eq!(told(&in_records(&octets, of)), &*outcome);
        }
        if let (Ok(Progress::Whole(hello)), Some((name, alpn))) = (read(&octets), rustls_reads(&octets)) {
            prop_assert_eq!(hello.server_name(), name.as_deref());
            prop_assert_eq!(hello.alpn().map(<[u8]>::to_vec).collect::<Vec<_>>(), alpn);
        }
    }

    #[test]
    fn no_octets_are_a_panic(octets in prop::collection::vec(any::<u8>(), 0..300), extension in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = read(&octets);
        let _ = read(&message(&octets));
        for kind in [0, 16] {
            let _ = read(&with(&[(kind, extension.clone()), asks(b"a.example")]));
        }
    }
}
