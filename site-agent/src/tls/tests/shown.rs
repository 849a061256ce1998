//! Which certificate, version and protocol a client gets.

use super::*;

#[test]
fn a_name_has_its_own_certificate_then_a_wildcards_then_the_first() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let leaf = |serial, names| Leaf { serial, names, ..LEAF };
    folder.certify(&ca, "first", leaf(1, &["first.example", "also.first.example"]));
    folder.certify(&ca, "exact", leaf(2, &["www.example.com"]));
    folder.certify(&ca, "wildcard", leaf(3, &["*.example.com", "example.com"]));
    folder.certify(&ca, "later", leaf(4, &["www.example.com", "LATER.example.org"]));
    let keys = r#"certificates = ["first.pem", "exact.pem", "wildcard.pem", "later.pem"]"#;
    let server = adopt(&mut tls(), &frontend(&folder, keys));
    let client = client(&ca, ALL);
    let check = |name: &str, serial: u64| {
        let shaken = ask(&server, &client, name);
        assert_eq!(shaken.map(|shaken| shaken.serial), Ok(serial), "{name}");
    };
    check("first.example", 1);
    check("also.first.example", 1);
    check("www.example.com", 2);
    check("WWW.EXAMPLE.com", 2);
    check("api.example.com", 3);
    check("example.com", 3);
    check("later.example.org", 4);
    // What has no certificate is shown the first, which is not for it.
    for name in ["a.b.example.com", "com", "www.example.net"] {
        let refusal = ask(&server, &client, name).unwrap_err();
        assert!(
            refusal.contains("not valid for name") && refusal.contains("first.example"),
            "{refusal}"
        );
    }
    // An address is no server name, so nobody is asked for.
    let refusal = ask(&server, &client, "192.0.2.1").unwrap_err();
    assert!(
        refusal.contains("not valid for name") && refusal.contains("first.example"),
        "{refusal}"
    );
}

#[test]
fn a_name_with_two_kinds_of_key_shows_what_the_client_can_check() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let names = &["www.example.com"][..];
    folder.certify(&ca, "rsa", Leaf { names, key: Key::Rsa, serial: 1, ..LEAF });
    folder.certify(&ca, "ecdsa", Leaf { names, serial: 2, ..LEAF });
    let names = &["*.example.org"][..];
    folder.certify(&ca, "wildcard", Leaf { names, key: Key::Rsa, serial: 3, ..LEAF });
    folder.certify(&ca, "org", Leaf { names: &["www.example.org"], serial: 4, ..LEAF });
    let keys = r#"certificates = ["rsa.pem", "ecdsa.pem", "org.pem", "wildcard.pem"]"#;
    let server = adopt(&mut tls(), &frontend(&folder, keys));
    for version in [&TLS13, &TLS12] {
        let versions = &[version][..];
        let check = |signatures, name: &str, serial: u64| {
            let client = client(&ca, Can { versions, signatures, ..ALL });
            let shaken = ask(&server, &client, name).map(|shaken| shaken.serial);
            assert_eq!(shaken, Ok(serial), "{signatures} {name} {version:?}");
        };
        check("RSA", "www.example.com", 1);
        check("ECDSA", "www.example.com", 2);
        // Who can check both is shown what costs us less.
        check("", "www.example.com", 2);
        check("", "www.example.org", 4);
        // The wildcard's serves it too.
        check("RSA", "www.example.org", 3);
        // The first for nobody's name is of two kinds as well.
        for (signatures, name) in [("RSA", "192.0.2.1"), ("ECDSA", "192.0.2.1")] {
            let client = client(&ca, Can { versions, signatures, ..ALL });
            let refusal = ask(&server, &client, name).unwrap_err();
            assert!(
                refusal.starts_with("client: invalid peer certificate: certificate not valid"),
                "{refusal}"
            );
        }
    }
}

#[test]
fn who_can_check_no_key_is_refused() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let names = &["www.example.com"][..];
    folder.certify(&ca, "rsa", Leaf { names, key: Key::Rsa, ..LEAF });
    let server = adopt(&mut tls(), &frontend(&folder, r#"certificates = "rsa.pem""#));
    let refusal = ask(&server, &client(&ca, Can { signatures: "ECDSA", ..ALL }), "www.example.com");
    let refusal = refusal.unwrap_err();
    assert!(refusal.starts_with("server: peer is incompatible"), "{refusal}");
}

#[test]
fn the_least_version_is_as_configured() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    folder.certify(&ca, "www", Leaf { names: &["www.example.com"], ..LEAF });
    let check = |min: &str, version, expected: Result<ProtocolVersion, &str>| {
        let keys = format!("certificates = \"www.pem\"{min}");
        let server = adopt(&mut tls(), &frontend(&folder, &keys));
        let client = client(&ca, Can { versions: &[version], ..ALL });
        match (ask(&server, &client, "www.example.com"), expected) {
            (Ok(shaken), Ok(expected)) => assert_eq!(shaken.version, expected),
            (Err(told), Err(expected)) => assert!(told.contains(expected), "{told}"),
            (told, _) => panic!("{min} {version:?}: {told:?}"),
        }
    };
    check("", &TLS12, Ok(ProtocolVersion::TLSv1_2));
    check("", &TLS13, Ok(ProtocolVersion::TLSv1_3));
    check(r#", min = "1.2""#, &TLS12, Ok(ProtocolVersion::TLSv1_2));
    check(r#", min = "1.3""#, &TLS12, Err("server: peer is incompatible"));
    check(r#", min = "1.3""#, &TLS13, Ok(ProtocolVersion::TLSv1_3));
}

#[test]
fn the_dearest_protocol_of_the_config_is_spoken() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    folder.certify(&ca, "www", Leaf { names: &["www.example.com"], ..LEAF });
    let check = |keys: &str, alpn: &[&str], expected: Result<Option<&str>, &str>| {
        let keys = format!("certificates = \"www.pem\"{keys}");
        let server = adopt(&mut tls(), &frontend(&folder, &keys));
        match (ask(&server, &client(&ca, Can { alpn, ..ALL }), "www.example.com"), expected) {
            (Ok(shaken), Ok(expected)) => assert_eq!(shaken.alpn.as_deref(), expected),
            (Err(told), Err(expected)) => assert!(told.contains(expected), "{told}"),
            (told, _) => panic!("{keys} {alpn:?}: {told:?}"),
        }
    };
    check("", &["http/1.1", "h2"], Ok(Some("h2")));
    check(r#", alpn = ["http/1.1", "h2"]"#, &["h2", "http/1.1"], Ok(Some("http/1.1")));
    check(
        r#", alpn = ["http/1.1"]"#,
        &["h2"],
        Err("server: peer doesn't support any known protocol"),
    );
    check("", &[], Ok(None));
    check("", &["h3"], Err("server: peer doesn't support any known protocol"));
}
