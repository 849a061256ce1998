//! Whose word is believed, and what servers are told.

use crate::head::{Limits, Progress, RequestHead};

use super::*;

fn trust(believed: Convention, told: Told) -> Trust {
    let proxies = ["10.0.0.0/8", "2001:db8:1::/48"];
    Trust { proxies: proxies.iter().map(|net| net.parse().unwrap()).collect(), believed, told }
}

fn head(fields: &[&str]) -> RequestHead {
    let octets = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        fields.iter().map(|f| format!("{f}\r\n")).collect::<String>()
    );
    let mut head = RequestHead::new();
    let read = head.read(octets.as_bytes(), &Limits::default());
    assert_eq!(read, Ok(Progress::Whole(octets.len())), "{fields:?}");
    head
}

/// Who the client is, and by which scheme, of a request that came over HTTPS.
fn client(believed: Convention, peer: &str, fields: &[&str]) -> String {
    let trust = trust(believed, Told::Both);
    let client = trust.client(peer.parse().unwrap(), Scheme::Https, head(fields).fields());
    format!("{} {}", client.address, client.scheme.text())
}

/// The fields that a server gets, but Host.
fn told(believed: Convention, told: Told, peer: &str, fields: &[&str]) -> String {
    let trust = trust(believed, told);
    let mut head = head(fields);
    let peer = peer.parse().unwrap();
    let client = trust.client(peer, Scheme::Https, head.fields());
    trust.tell(peer, Scheme::Https, client, head.fields_mut());
    let lines = head.fields().iter().skip(1).map(|(name, value)| {
        format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    });
    lines.collect::<Vec<_>>().join(" | ")
}

#[test]
fn the_right_most_hop_that_is_not_trusted_is_the_client() {
    let check = |peer: &str, fields: &[&str], expected: &str| {
        assert_eq!(client(Convention::XForwarded, peer, fields), expected, "{peer} {fields:?}");
    };
    check("192.0.2.1", &[], "192.0.2.1 https");
    check(
        "192.0.2.1",
        &["X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: http"],
        "192.0.2.1 https",
    );
    check("10.0.0.1", &[], "10.0.0.1 https");
    check("10.0.0.1", &["X-Forwarded-For: 192.0.2.1"], "192.0.2.1 https");
    check("10.0.0.1", &["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: HTTP"], "192.0.2.1 http");
    check(
        "10.0.0.1",
        &["X-Forwarded-For: 198.51.100.1, 192.0.2.1,10.0.0.2 , 10.0.0.3"],
        "192.0.2.1 https",
    );
    check(
        "10.0.0.1",
        &[
            "X-Forwarded-For: 198.51.100.1",
            "x-forwarded-for: 192.0.2.1",
            "X-Forwarded-For: 10.0.0.2",
        ],
        "192.0.2.1 https",
    );
    check("10.0.0.1", &["X-Forwarded-For: 10.0.0.3, 10.0.0.2"], "10.0.0.3 https");
    // What makes no sense ends the chain: who told it is the last that is known.
    check("10.0.0.1", &["X-Forwarded-For: 192.0.2.1, unknown, 10.0.0.2"], "10.0.0.2 https");
    check("10.0.0.1", &["X-Forwarded-For: unknown"], "10.0.0.1 https");
    check("10.0.0.1", &["X-Forwarded-For: ,192.0.2.1, ,"], "192.0.2.1 https");
    check("10.0.0.1", &["X-Forwarded-For: 192.0.2.1:8080"], "192.0.2.1 https");
    check("10.0.0.1", &["X-Forwarded-For: [2001:db8::1]:8080"], "2001:db8::1 https");
    check("10.0.0.1", &["X-Forwarded-For: 2001:db8::1"], "2001:db8::1 https");
    check("10.0.0.1", &["X-Forwarded-For: ::ffff:192.0.2.1"], "192.0.2.1 https");
    for wrong in [
        "192.0.2.1:",
        "192.0.2.1:65536",
        "192.0.2.1:x",
        "[192.0.2.1]",
        "[2001:db8::1",
        "[2001:db8::1]x",
        "192.0.2.01",
        "1",
        "a",
    ] {
        check("10.0.0.1", &[&format!("X-Forwarded-For: {wrong}")], "10.0.0.1 https");
    }
    check("::ffff:10.0.0.1", &["X-Forwarded-For: 192.0.2.1"], "192.0.2.1 https");
    check("2001:db8:1::9", &["X-Forwarded-For: 192.0.2.1"], "192.0.2.1 https");
    check("2001:db8:2::9", &["X-Forwarded-For: 192.0.2.1"], "2001:db8:2::9 https");
    // Only what is configured is believed.
    check("10.0.0.1", &["Forwarded: for=192.0.2.1;proto=http"], "10.0.0.1 https");
    check("10.0.0.1", &["X_Forwarded_For: 192.0.2.1"], "10.0.0.1 https");
    check("10.0.0.1", &["X-Forwarded-Proto: https", "X-Forwarded-Proto: http"], "10.0.0.1 https");
    check("10.0.0.1", &["X-Forwarded-Proto: http, https"], "10.0.0.1 https");
}

#[test]
fn a_chain_is_followed_so_far_and_no_further() {
    let chain = |hops: usize| format!("X-Forwarded-For: 192.0.2.1{}", ", 10.0.0.2".repeat(hops));
    assert_eq!(client(Convention::XForwarded, "10.0.0.1", &[&chain(31)]), "192.0.2.1 https");
    assert_eq!(client(Convention::XForwarded, "10.0.0.1", &[&chain(32)]), "10.0.0.2 https");
}

#[test]
fn forwarded_is_read_as_its_rfc_has_it() {
    let check = |value: &str, expected: &str| {
        let field = format!("Forwarded: {value}");
        assert_eq!(client(Convention::Forwarded, "10.0.0.1", &[&field]), expected, "{value:?}");
    };
    check("for=192.0.2.1", "192.0.2.1 https");
    check("For=192.0.2.1;Proto=HTTP;by=203.0.113.43;host=\"a:80\"", "192.0.2.1 http");
    check("proto=http ; for=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17 http");
    check("for=\"[2001:db8::1]\"", "2001:db8::1 https");
    check("for=\"192.0.2.1:_port\"", "192.0.2.1 https");
    check("for=198.51.100.1, for=192.0.2.1;proto=http, for=10.0.0.2;proto=https", "192.0.2.1 http");
    // A comma in quotes does not part elements.
    check("for=198.51.100.1;ext=\"a, for=192.0.2.1\"", "198.51.100.1 https");
    check("for=198.51.100.1;ext=\"a\\\", for=192.0.2.1\"", "198.51.100.1 https");
    check("for=_hidden, for=10.0.0.2", "10.0.0.2 https");
    check("for=unknown", "10.0.0.1 https");
    check(",for=192.0.2.1,,", "192.0.2.1 https");
    check("for=192.0.2.1;", "192.0.2.1 https");
    // What is malformed says nothing at all.
    for wrong in [
        "for",
        "for=",
        "for=\"192.0.2.1",
        "for=192.0.2.1 x",
        "for=192.0.2.1;for=192.0.2.2",
        "=192.0.2.1",
        "for =192.0.2.1",
        "for=2001:db8::1",
        "for=192.0.2.1, \"",
    ] {
        check(wrong, "10.0.0.1 https");
    }
    let both = ["Forwarded: for=192.0.2.1, for=10.0.0.3", "Forwarded: for=10.0.0.2"];
    assert_eq!(client(Convention::Forwarded, "10.0.0.1", &both), "192.0.2.1 https");
    assert_eq!(client(Convention::Forwarded, "192.0.2.9", &both), "192.0.2.9 https");
    assert_eq!(
        client(Convention::Forwarded, "10.0.0.1", &["X-Forwarded-For: 192.0.2.1"]),
        "10.0.0.1 https"
    );
}

#[test]
fn servers_are_told_nothing_that_an_untrusted_peer_says() {
    let said = [
        "X-Forwarded-For: 198.51.100.1",
        "x-forwarded-for: 198.51.100.2",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: evil",
        "X-Forwarded-Port: 1",
        "X-Real-IP: 198.51.100.1",
        "Forwarded: for=198.51.100.1",
        "X_Forwarded_For: 198.51.100.1",
        "x-real_ip: 198.51.100.1",
        "X-Forwarder: stays",
    ];
    let check = |what: Told, peer: &str, expected: &str| {
        assert_eq!(told(Convention::XForwarded, what, peer, &said), expected);
    };
    check(
        Told::Both,
        "192.0.2.1",
        "X-Forwarded-Proto: https | X-Forwarder: stays | X-Forwarded-For: 192.0.2.1 | Forwarded: for=192.0.2.1;proto=https",
    );
    check(
        Told::XForwarded,
        "192.0.2.1",
        "X-Forwarded-Proto: https | X-Forwarder: stays | X-Forwarded-For: 192.0.2.1",
    );
    check(
        Told::Forwarded,
        "2001:db8::1",
        "X-Forwarder: stays | Forwarded: for=\"[2001:db8::1]\";proto=https",
    );
    check(
        Told::Forwarded,
        "::ffff:192.0.2.1",
        "X-Forwarder: stays | Forwarded: for=192.0.2.1;proto=https",
    );
}

#[test]
fn a_trusted_proxys_chain_goes_on() {
    let check = |believed: Convention, what: Told, fields: &[&str], expected: &str| {
        assert_eq!(told(believed, what, "10.0.0.1", fields), expected, "{fields:?}");
    };
    let x = [
        "X-Forwarded-For: 198.51.100.1, 192.0.2.1",
        "A: b",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: h",
        "X_Real_IP: c",
    ];
    check(
        Convention::XForwarded,
        Told::XForwarded,
        &x,
        "X-Forwarded-For: 198.51.100.1, 192.0.2.1, 10.0.0.1 | A: b | X-Forwarded-Proto: http | X-Forwarded-Host: h",
    );
    check(
        Convention::XForwarded,
        Told::Both,
        &x,
        "X-Forwarded-For: 198.51.100.1, 192.0.2.1, 10.0.0.1 | A: b | X-Forwarded-Proto: http | X-Forwarded-Host: h | \
         Forwarded: for=192.0.2.1;proto=http, for=10.0.0.1;proto=https",
    );
    check(
        Convention::XForwarded,
        Told::XForwarded,
        &[
            "X-Forwarded-For: a",
            "X-Forwarded-For: b",
            "Forwarded: for=c",
            "X-Forwarded-Proto: gopher",
        ],
        "X-Forwarded-For: a | X-Forwarded-For: b, 10.0.0.1 | X-Forwarded-Proto: https",
    );
    check(
        Convention::Forwarded,
        Told::Both,
        &["Forwarded: for=192.0.2.1;proto=http", "X-Forwarded-For: 198.51.100.1"],
        "Forwarded: for=192.0.2.1;proto=http, for=10.0.0.1;proto=https | X-Forwarded-For: 192.0.2.1, 10.0.0.1 | \
         X-Forwarded-Proto: http",
    );
    // A chain that nobody can read is not gone on with.
    check(
        Convention::Forwarded,
        Told::Forwarded,
        &["Forwarded: for=\"192.0.2.1"],
        "Forwarded: for=10.0.0.1;proto=https",
    );
    check(Convention::Forwarded, Told::Forwarded, &[], "Forwarded: for=10.0.0.1;proto=https");
}

#[test]
fn nobody_is_trusted_unless_listed() {
    let nobody = Trust::default();
    for peer in ["127.0.0.1", "10.0.0.1", "::1"] {
        assert!(!nobody.trusts(peer.parse().unwrap()), "{peer}");
    }
}

proptest::proptest! {
    #[test]
    fn no_field_is_a_panic_and_what_is_told_can_be_read(
        forwarded in "(for|proto|=|;|,|\"|\\\\| |192\\.0\\.2\\.1|10\\.0\\.0\\.2|\\[::1\\]|:80|_x){0,12}",
        x in "(,| |192\\.0\\.2\\.1|10\\.0\\.0\\.2|\\[::1\\]|:80|x){0,12}",
        peer: u32,
    ) {
        let fields = [format!("Forwarded: {forwarded}"), format!("X-Forwarded-For: {x}")];
        let head = head(&[&fields[0], &fields[1]]);
        for peer in [Ipv4Addr::from(peer), Ipv4Addr::new(10, 0, 0, 1)] {
            for believed in [Convention::XForwarded, Convention::Forwarded] {
                let (trust, peer) = (trust(believed, Told::Both), IpAddr::V4(peer));
                let client = trust.client(peer, Scheme::Http, head.fields());
                let mut sent = head.clone();
                trust.tell(peer, Scheme::Http, client, sent.fields_mut());
                // Whoever trusts us and the proxies finds the same client, in either convention.
                let next = Trust { proxies: [trust.proxies.clone(), vec!["192.168.0.1/32".parse().unwrap()]].concat(), ..trust };
                let peers = if next.trusts(peer) { vec![peer] } else { vec![] };
                for believed in [Convention::XForwarded, Convention::Forwarded] {
                    let next = Trust { believed, ..next.clone() };
                    let found = next.client("192.168.0.1".parse().unwrap(), Scheme::Https, sent.fields());
                    let expected = if peers.is_empty() { peer } else { client.address };
                    proptest::prop_assert_eq!(found.address, expected);
                }
            }
        }
    }
}
