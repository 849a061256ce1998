//! Servers of a pool: which of them are believed, and what they are asked for.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::{env, fs};

use super::*;

const NAME: &str = "app.site.internal";
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const POOL: PoolId = PoolId(0);

/// A site with a pool of servers that have these keys in their `tls`.
fn pool(folder: &Folder, keys: &[&str]) -> Site {
    let servers: String = keys
        .iter()
        .zip(('a'..).zip(443..))
        .map(|(keys, (name, port))| {
            format!("{{ name = \"{name}\", address = \"127.0.0.1:{port}\", tls = {{ {keys} }} }}, ")
        })
        .collect();
    let text = format!(
        "[frontend.web]\nbind = [\"127.0.0.1:80\"]\npool = \"web\"\n[pool.web]\nservers = [{servers}]\n"
    );
    read(folder, &text)
}

/// A server with a certificate of that CA.
fn server(ca: &Ca, leaf: Leaf<'_>, alpn: &str) -> Arc<ServerConfig> {
    let folder = Folder::new();
    folder.certify(ca, "server", leaf);
    let keys = format!("certificates = \"server.pem\", alpn = [{alpn}]");
    adopt(&mut tls(), &frontend(&folder, &keys))
}

fn dial(tls: &mut Tls, site: &Site, id: usize) -> Dial {
    let adopted = tls.adopt(site).unwrap();
    assert_eq!(adopted.stale, []);
    adopted.handshakes.server(POOL, ServerId(id)).unwrap().clone()
}

fn reach(server: &Arc<ServerConfig>, dial: &Dial) -> Result<Shaken, String> {
    shake_hands(server, &dial.config, dial.name.clone())
}

#[test]
fn a_server_is_believed_by_its_ca_and_its_name() {
    let (folder, ca, others) = (Folder::new(), Ca::new("ca"), Ca::new("others"));
    folder.write("ca.pem", &ca.pem);
    let check = |keys: &str, ca: &Ca, leaf: Leaf<'_>, expected: Result<Option<&str>, &str>| {
        let dial = dial(&mut tls(), &pool(&folder, &[keys]), 0);
        match (reach(&server(ca, leaf, "\"http/1.1\""), &dial), expected) {
            (Ok(shaken), Ok(sni)) => {
                assert_eq!(
                    (shaken.sni.as_deref(), shaken.alpn.as_deref()),
                    (sni, Some("http/1.1"))
                );
            }
            (Err(told), Err(expected)) => assert!(told.contains(expected), "{told}"),
            (told, _) => panic!("{keys}: {told:?}"),
        }
    };
    let named = Leaf { names: &[NAME], ..LEAF };
    let addressed = Leaf { address: Some(ADDRESS), ..LEAF };
    let (by_name, by_address) = (format!("ca = \"ca.pem\", sni = \"{NAME}\""), "ca = \"ca.pem\"");
    check(&by_name, &ca, named, Ok(Some(NAME)));
    check(&by_name, &ca, Leaf { names: &["*.site.internal"], ..LEAF }, Ok(Some(NAME)));
    check(&by_name, &ca, Leaf { names: &["other.internal"], ..LEAF }, Err("not valid for name"));
    check(&by_name, &ca, addressed, Err("not valid for name"));
    check(&by_name, &ca, Leaf { until: 2021, ..named }, Err("expired"));
    check(&by_name, &others, named, Err("UnknownIssuer"));
    // Nobody's name is sent, and the certificate has to be for the address.
    check(by_address, &ca, addressed, Ok(None));
    check(by_address, &ca, named, Err("not valid for name"));
    // Nothing is asked.
    check("verify = \"nothing\"", &others, Leaf { until: 2021, ..named }, Ok(None));
    let nothing = format!("verify = \"nothing\", sni = \"{NAME}\"");
    check(&nothing, &others, Leaf { names: &["other.internal"], ..LEAF }, Ok(Some(NAME)));
}

#[test]
fn the_protocols_offered_are_the_configs() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    folder.write("ca.pem", &ca.pem);
    let check = |alpn: &str, speaks: &str, expected: Option<&str>| {
        let keys = format!("ca = \"ca.pem\", sni = \"{NAME}\"{alpn}");
        let dial = dial(&mut tls(), &pool(&folder, &[&keys]), 0);
        let server = server(&ca, Leaf { names: &[NAME], ..LEAF }, speaks);
        assert_eq!(reach(&server, &dial).ok().and_then(|shaken| shaken.alpn).as_deref(), expected);
    };
    check("", "\"h2\", \"http/1.1\"", Some("http/1.1"));
    check(", alpn = [\"h2\", \"http/1.1\"]", "\"h2\", \"http/1.1\"", Some("h2"));
    check("", "\"h2\"", None);
}

#[test]
fn sessions_resume_and_each_server_has_its_own() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    folder.write("ca.pem", &ca.pem);
    let keys = format!("ca = \"ca.pem\", sni = \"{NAME}\"");
    let site = pool(&folder, &[&keys, &keys]);
    let mut tls = tls();
    let first = dial(&mut tls, &site, 0);
    let server = server(&ca, Leaf { names: &[NAME], ..LEAF }, "\"http/1.1\"");
    assert!(!reach(&server, &first).unwrap().is_resumed);
    assert!(reach(&server, &first).unwrap().is_resumed);
    let other = dial(&mut tls, &site, 1);
    assert!(!reach(&server, &other).unwrap().is_resumed);
    // A reload takes nothing from those that are as they were.
    let again = dial(&mut tls, &site, 0);
    assert!(
        Arc::ptr_eq(&first.config, &again.config) && reach(&server, &again).unwrap().is_resumed
    );
    // Who else is believed is asked anew.
    folder.write("ca.pem", &(ca.pem.clone() + &Ca::new("next").pem));
    let changed = dial(&mut tls, &site, 0);
    assert!(!reach(&server, &changed).unwrap().is_resumed);
    let renamed = pool(&folder, &["ca = \"ca.pem\", sni = \"www.internal\"", &keys]);
    let (renamed, kept) = (dial(&mut tls, &renamed, 0), dial(&mut tls, &renamed, 1));
    assert!(!Arc::ptr_eq(&changed.config, &renamed.config));
    assert!(Arc::ptr_eq(&dial(&mut tls, &site, 1).config, &kept.config));
}

#[test]
fn a_broken_ca_leaves_the_last_good_one_and_is_told_once() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let path = folder.write("ca.pem", &ca.pem);
    let keys = format!("ca = \"ca.pem\", sni = \"{NAME}\"");
    let site = pool(&folder, &[&keys, &keys]);
    let (mut tls, mut fresh) = (tls(), super::tls());
    let first = dial(&mut tls, &site, 0);
    folder.write("ca.pem", "no PEM");
    let path = path.display();
    let expected = format!(
        "pool.web.servers.a.tls.ca: {path} holds no certificate (expected PEM: -----BEGIN CERTIFICATE-----)"
    );
    let adopted = tls.adopt(&site).unwrap();
    assert_eq!(adopted.stale.iter().map(ToString::to_string).collect::<Vec<_>>(), [&*expected]);
    let kept = adopted.handshakes.server(POOL, ServerId(0)).unwrap();
    assert!(Arc::ptr_eq(&first.config, &kept.config));
    let faults = fresh.adopt(&site).unwrap_err();
    assert_eq!(faults.iter().map(ToString::to_string).collect::<Vec<_>>(), [&*expected]);
}

/// What the system believes is where a variable says, so this runs once more with it.
#[test]
fn without_a_ca_the_systems_are_believed() {
    const FOLDER: &str = "SITE_AGENT_TEST_ROOTS";
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let keys = format!("sni = \"{NAME}\"");
    let site = pool(&folder, &[&keys]);
    let Some(pem) = env::var_os(FOLDER) else {
        let (certificate, key) = ca.issue(Leaf { names: &[NAME], ..LEAF });
        folder.write("server.pem", &(certificate + &key));
        let roots = folder.write("roots.pem", &ca.pem);
        for (roots, expected) in [(roots, true), (folder.write("none.pem", ""), false)] {
            let test = "tls::tests::servers::without_a_ca_the_systems_are_believed";
            let child = Command::new(env::current_exe().unwrap())
                .args(["--exact", test, "--nocapture"])
                .env(FOLDER, folder.path())
                .env("SSL_CERT_FILE", roots)
                .env_remove("SSL_CERT_DIR")
                .output()
                .unwrap();
            let told = String::from_utf8_lossy(&child.stdout);
            let why = String::from_utf8_lossy(&child.stderr);
            assert!(child.status.success(), "{told}{why}");
            let words =
                if expected { "believed" } else { "the certificates that this system believes" };
            assert!(told.contains(words), "{told}");
        }
        return;
    };
    match tls().adopt(&site) {
        Ok(adopted) => {
            let dial = adopted.handshakes.server(POOL, ServerId(0)).unwrap();
            let made = Folder::new();
            let pem = fs::read_to_string(std::path::Path::new(&pem).join("server.pem")).unwrap();
            made.write("server.pem", &pem);
            let server = adopt(&mut tls(), &frontend(&made, "certificates = \"server.pem\""));
            assert_eq!(reach(&server, dial).err(), None);
            let stranger =
                super::servers::server(&ca, Leaf { names: &[NAME], ..LEAF }, "\"http/1.1\"");
            assert!(reach(&stranger, dial).unwrap_err().contains("BadSignature"));
            println!("believed");
        }
        Err(faults) => println!("{}", faults[0]),
    }
}
