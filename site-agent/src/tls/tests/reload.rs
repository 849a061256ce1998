//! What goes on over a reload, and what a broken file does to it.

use super::*;

const NAME: &str = "www.example.com";
const KEYS: &str = r#"certificates = ["www.pem"]"#;

fn two_frontends(folder: &Folder) -> Site {
    let text = "[frontend.a]\nbind = [\"127.0.0.1:443\"]\ntls = { certificates = \"www.pem\" }\npool = \"web\"\n\
                [frontend.b]\nbind = [\"127.0.0.1:444\"]\ntls = { certificates = \"www.pem\" }\npool = \"web\"\n\
                [frontend.c]\nbind = [\"127.0.0.1:80\"]\npool = \"web\"\n\
                [pool.web]\nservers = [{ name = \"a\", address = \"127.0.0.1:80\" }]\n";
    read(folder, text)
}

#[test]
fn a_session_goes_on_after_a_reload_and_a_new_certificate() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    for version in [&TLS13, &TLS12] {
        let mut tls = tls();
        folder.certify(&ca, "www", Leaf { names: &[NAME], serial: 1, ..LEAF });
        let client = client(&ca, Can { versions: &[version], ..ALL });
        let server = adopt(&mut tls, &frontend(&folder, KEYS));
        let first = ask(&server, &client, NAME).unwrap();
        assert_eq!((first.is_resumed, first.serial), (false, 1));
        assert!(ask(&server, &client, NAME).unwrap().is_resumed);

        folder.certify(&ca, "www", Leaf { names: &[NAME], serial: 2, ..LEAF });
        let next = adopt(&mut tls, &frontend(&folder, KEYS));
        assert!(!Arc::ptr_eq(&server, &next));
        assert!(ask(&next, &client, NAME).unwrap().is_resumed, "{version:?}");
        // Who begins anew is shown the new one.
        let newcomer = super::client(&ca, ALL);
        assert_eq!(ask(&next, &newcomer, NAME).unwrap().serial, 2);

        // Another process has other keys.
        let other = adopt(&mut super::tls(), &frontend(&folder, KEYS));
        assert!(!ask(&other, &client, NAME).unwrap().is_resumed);
    }
}

#[test]
fn a_session_goes_on_at_its_own_frontend_alone() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    folder.certify(&ca, "www", Leaf { names: &[NAME], ..LEAF });
    for version in [&TLS13, &TLS12] {
        let adopted = tls().adopt(&two_frontends(&folder)).unwrap();
        let server = |id| adopted.handshakes.frontend(FrontendId(id)).unwrap();
        assert!(adopted.handshakes.frontend(FrontendId(2)).is_none());
        let client = client(&ca, Can { versions: &[version], ..ALL });
        assert!(!ask(server(0), &client, NAME).unwrap().is_resumed);
        assert!(!ask(server(1), &client, NAME).unwrap().is_resumed, "{version:?}");
        assert!(ask(server(1), &client, NAME).unwrap().is_resumed, "{version:?}");
    }
}

#[test]
fn what_has_not_changed_is_the_very_same() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    folder.certify(&ca, "www", Leaf { names: &[NAME], ..LEAF });
    folder.certify(&ca, "other", Leaf { names: &[NAME], ..LEAF });
    let mut tls = tls();
    let first = adopt(&mut tls, &frontend(&folder, KEYS));
    assert!(Arc::ptr_eq(&first, &adopt(&mut tls, &frontend(&folder, KEYS))));
    let changes = [
        r#"certificates = ["www.pem", "other.pem"]"#,
        r#"certificates = ["www.pem"], min = "1.3""#,
    ];
    for keys in changes {
        let next = adopt(&mut tls, &frontend(&folder, keys));
        assert!(!Arc::ptr_eq(&first, &next), "{keys}");
    }
}

#[test]
fn a_broken_certificate_leaves_the_last_good_one() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let leaf = |serial, names| Leaf { serial, names, ..LEAF };
    let path = folder.certify(&ca, "www", leaf(1, &[NAME]));
    folder.certify(&ca, "api", leaf(2, &["api.example.com"]));
    let site = frontend(&folder, r#"certificates = ["www.pem", "api.pem"]"#);
    let mut tls = tls();
    let first = adopt(&mut tls, &site);
    let client = client(&ca, ALL);

    // One is broken, another renewed: each has its way.
    let (certificate, _) = ca.issue(leaf(3, &[NAME]));
    folder.write("www.pem", &certificate);
    folder.certify(&ca, "api", leaf(4, &["api.example.com"]));
    let adopted = tls.adopt(&site).unwrap();
    let path = path.display();
    let told: Vec<String> = adopted.stale.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [format!(
            "frontend.web.tls.certificates: {path} holds no private key (expected PEM: -----BEGIN PRIVATE KEY-----)"
        )]
    );
    let next = adopted.handshakes.frontend(FrontendId(0)).unwrap();
    assert_eq!(ask(next, &client, NAME).unwrap().serial, 1);
    assert_eq!(ask(next, &super::client(&ca, ALL), "api.example.com").unwrap().serial, 4);
    assert!(!Arc::ptr_eq(&first, next));

    // As long as it is so, it is told, and nothing else changes.
    let again = tls.adopt(&site).unwrap();
    assert_eq!(again.stale.len(), 1);
    assert!(Arc::ptr_eq(next, again.handshakes.frontend(FrontendId(0)).unwrap()));
    folder.certify(&ca, "www", leaf(5, &[NAME]));
    let mended = adopt(&mut tls, &site);
    assert_eq!(ask(&mended, &super::client(&ca, ALL), NAME).unwrap().serial, 5);
}

#[test]
fn what_was_never_good_changes_nothing() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    folder.certify(&ca, "www", Leaf { names: &[NAME], ..LEAF });
    folder.certify(&ca, "new", Leaf { names: &[NAME], ..LEAF });
    let mut tls = tls();
    let (site, next) =
        (frontend(&folder, KEYS), frontend(&folder, r#"certificates = ["www.pem", "new.pem"]"#));
    let first = adopt(&mut tls, &site);
    let path = folder.write("new.pem", "");
    let faults = tls.adopt(&next).unwrap_err();
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let path = path.display();
    assert_eq!(
        told,
        [format!(
            "frontend.web.tls.certificates: {path} holds no certificate (expected PEM: -----BEGIN CERTIFICATE-----)"
        )]
    );
    assert!(Arc::ptr_eq(&first, &adopt(&mut tls, &site)));
}
