//! Clients with certificates, and without.

use super::*;

const NAME: &str = "www.example.com";

/// A frontend's folder, whose clients are of one CA: number 7 is revoked, 8 is not, 9 has expired.
struct Doors {
    folder: Folder,
    servers: Ca,
    people: Ca,
}

impl Doors {
    fn new() -> Doors {
        let (folder, servers, people) = (Folder::new(), Ca::new("servers"), Ca::new("people"));
        folder.certify(&servers, "www", Leaf { names: &[NAME], ..LEAF });
        folder.write("people-ca.pem", &people.pem);
        folder.write("people.crl", &people.revoke(&[7]));
        Doors { folder, servers, people }
    }

    fn site(&self, keys: &str) -> Site {
        frontend(&self.folder, &format!("certificates = \"www.pem\", {keys}"))
    }

    fn shows(&self, ca: &Ca, leaf: Leaf<'_>) -> Arc<ClientConfig> {
        let (certificate, key) = ca.issue(leaf);
        client(&self.servers, Can { shows: Some((&certificate, &key)), ..ALL })
    }
}

fn outcome(told: Result<Shaken, String>) -> String {
    told.map_or_else(|why| why, |_| "welcome".to_owned())
}

#[test]
fn who_shows_a_certificate_is_judged_by_it() {
    let doors = Doors::new();
    let check = |keys: &str, expected: [&str; 5]| {
        let server = adopt(&mut tls(), &doors.site(keys));
        let leaf = |serial| Leaf { serial, ..LEAF };
        let others = Ca::new("people");
        let clients = [
            ("nothing", client(&doors.servers, ALL)),
            ("good", doors.shows(&doors.people, leaf(8))),
            ("revoked", doors.shows(&doors.people, leaf(7))),
            ("expired", doors.shows(&doors.people, Leaf { until: 2021, ..leaf(9) })),
            ("another CA's", doors.shows(&others, leaf(8))),
        ];
        for ((what, client), expected) in clients.iter().zip(expected) {
            let told = outcome(ask(&server, client, NAME));
            assert!(told.contains(expected), "{keys}: {what}: {told}, expected {expected}");
        }
    };
    let (required, optional) = ("client_ca = \"people-ca.pem\"", "client_verify = \"optional\"");
    let crl = "crl = \"people.crl\"";
    check(
        &format!("{required}, {crl}"),
        ["sent no certificates", "welcome", "Revoked", "expired", "BadSignature"],
    );
    check(required, ["sent no certificates", "welcome", "welcome", "expired", "BadSignature"]);
    check(
        &format!("{required}, {optional}, {crl}"),
        ["welcome", "welcome", "Revoked", "expired", "BadSignature"],
    );
    check("min = \"1.2\"", ["welcome"; 5]);
}

#[test]
fn nobody_who_shows_a_certificate_resumes() {
    let doors = Doors::new();
    for keys in [
        "client_ca = \"people-ca.pem\"",
        "client_ca = \"people-ca.pem\", client_verify = \"optional\"",
    ] {
        for version in [&TLS13, &TLS12] {
            let server = adopt(&mut tls(), &doors.site(keys));
            let (certificate, key) = doors.people.issue(LEAF);
            let shows = Some((&*certificate, &*key));
            let client = client(&doors.servers, Can { shows, versions: &[version], ..ALL });
            for _ in 0..2 {
                assert_eq!(ask(&server, &client, NAME).map(|shaken| shaken.is_resumed), Ok(false));
            }
        }
    }
}

#[test]
fn who_is_revoked_is_refused_from_the_next_reload_on() {
    let doors = Doors::new();
    let site = doors.site("client_ca = \"people-ca.pem\", crl = \"people.crl\"");
    let mut tls = tls();
    let client = doors.shows(&doors.people, Leaf { serial: 8, ..LEAF });
    let server = adopt(&mut tls, &site);
    assert_eq!(outcome(ask(&server, &client, NAME)), "welcome");
    assert!(Arc::ptr_eq(&server, &adopt(&mut tls, &site)), "nothing has changed");
    doors.folder.write("people.crl", &doors.people.revoke(&[7, 8]));
    let server = adopt(&mut tls, &site);
    assert!(outcome(ask(&server, &client, NAME)).contains("Revoked"));

    // A list that is cut leaves the last good one.
    doors.folder.write("people.crl", "-----BEGIN X509 CRL-----\nMII");
    let adopted = tls.adopt(&site).unwrap();
    let told = adopted.stale[0].to_string();
    assert!(
        told.starts_with("frontend.web.tls.client_ca: ") && told.contains("people.crl is damaged"),
        "{told}"
    );
    let server = adopted.handshakes.frontend(FrontendId(0)).unwrap();
    assert!(outcome(ask(server, &client, NAME)).contains("Revoked"));

    // So does one of somebody else, which would revoke nobody.
    doors.folder.write("people.crl", &Ca::new("people").revoke(&[]));
    let adopted = tls.adopt(&site).unwrap();
    assert!(adopted.stale[0].to_string().contains("is not signed by it"), "{:?}", adopted.stale);
}
