//! The balancer's TLS as OpenSSL meets it: its client at our frontends, its server behind our pools.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

#[path = "../../site-agent/src/tls/tests/made.rs"]
mod made;

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;

use common::config::Colour;
use gslb_tests::peers;
use gslb_tests::process::Process;
use gslb_tests::wait::PATIENCE;
use rustls::{ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use site_agent::config;
use site_agent::site::{FrontendId, PoolId, ServerId, Site};
use site_agent::tls::{Dial, Tls};

use self::made::{Ca, Folder, Key, LEAF, Leaf};

const NAME: &str = "www.example.com";

fn has_no_openssl() -> Option<&'static str> {
    let version = Command::new("openssl").arg("version").stdout(Stdio::null()).status();
    (!version.is_ok_and(|status| status.success())).then_some("openssl is not installed")
}

/// A frontend and a server, whose tables `tls` have these keys.
fn site(folder: &Folder, frontend: &str, server: &str) -> Site {
    let text = format!(
        "[frontend.web]\nbind = [\"127.0.0.1:443\"]\ntls = {{ {frontend} }}\npool = \"web\"\n\
         [pool.web]\nservers = [{{ name = \"a\", address = \"127.0.0.1:444\", tls = {{ {server} }} }}]\n"
    );
    config::from_str(&text, folder.path())
        .unwrap_or_else(|problems| panic!("{}", problems.render(Colour::Never)))
        .site
}

const SERVER: &str = "ca = \"ca.pem\", sni = \"www.example.com\"";

fn adopt(tls: &mut Tls, site: &Site) -> (Arc<ServerConfig>, Dial) {
    let adopted = tls.adopt(site).unwrap();
    assert_eq!(adopted.stale, []);
    let server = Arc::clone(adopted.handshakes.frontend(FrontendId(0)).unwrap());
    (server, adopted.handshakes.server(PoolId(0), ServerId(0)).unwrap().clone())
}

/// A folder with `ca.pem`, and the CA.
fn folder() -> (Folder, Ca) {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    folder.write("ca.pem", &ca.pem);
    (folder, ca)
}

/// `openssl s_client` says hello to our server: what it tells, and what our server thinks of it.
fn dialed(
    server: &Arc<ServerConfig>,
    folder: &Folder,
    words: &str,
) -> (String, Result<(), String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let connection = ServerConnection::new(Arc::clone(server)).unwrap();
    let heard = thread::spawn(move || {
        let (stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut tls = StreamOwned::new(connection, stream);
        let mut hello = [0; 6];
        tls.read_exact(&mut hello)?;
        assert_eq!(&hello, b"hello\n");
        tls.write_all(b"welcome\n")?;
        tls.conn.send_close_notify();
        tls.flush()
    });
    let begin = format!("s_client -connect 127.0.0.1:{port} -CAfile ca.pem -ign_eof");
    let mut client = Command::new("openssl");
    client.args(begin.split(' ').chain(words.split_whitespace())).current_dir(folder.path());
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = client.spawn().unwrap();
    // One who is refused may be gone already.
    let _ = client.stdin.take().unwrap().write_all(b"hello\n");
    let Output { stdout, stderr, .. } = client.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    // One who never came must not be waited for.
    drop(TcpStream::connect(("127.0.0.1", port)));
    let heard: io::Result<()> = heard.join().unwrap();
    (told, heard.map_err(|error| error.to_string()))
}

#[track_caller]
fn tells(told: &str, lines: &[&str]) {
    for line in lines {
        assert!(told.contains(line), "no {line:?} in:\n{told}");
    }
}

#[test]
fn s_client_is_shown_the_certificate_of_the_name_and_of_its_signatures() {
    if peers::missing(has_no_openssl()) {
        return;
    }
    let (folder, ca) = folder();
    let leaf = |serial, names, key| Leaf { serial, names, key, ..LEAF };
    folder.certify(&ca, "first", leaf(1, &["first.example"], Key::Ecdsa));
    folder.certify(&ca, "ecdsa", leaf(2, &[NAME], Key::Ecdsa));
    folder.certify(&ca, "rsa", leaf(3, &[NAME], Key::Rsa));
    folder.certify(&ca, "wildcard", leaf(4, &["*.example.com"], Key::Ecdsa));
    let keys = r#"certificates = ["first.pem", "ecdsa.pem", "rsa.pem", "wildcard.pem"]"#;
    let (server, _) = adopt(&mut Tls::new().unwrap(), &site(&folder, keys, SERVER));
    let check = |words: &str, serial: u64, more: &[&str]| {
        let (told, heard) = dialed(&server, &folder, words);
        assert_eq!(heard, Ok(()), "{words}:\n{told}");
        tells(&told, &[&format!("subject=CN = number {serial}\n"), "welcome\n"]);
        tells(&told, more);
    };
    check(
        "-servername www.example.com",
        2,
        &["Verification: OK", "TLSv1.3", "Peer signature type: ECDSA"],
    );
    check("-servername WWW.Example.COM", 2, &["Verification: OK"]);
    check("-servername api.example.com", 4, &["Verification: OK"]);
    check("-servername a.b.example.com", 1, &[]);
    check("-noservername", 1, &[]);
    // By the signatures of TLS 1.3, of 1.2, and by 1.2's cipher suites.
    check(
        "-servername www.example.com -sigalgs RSA-PSS+SHA256",
        3,
        &["Peer signature type: RSA-PSS"],
    );
    check(
        "-servername www.example.com -tls1_2 -sigalgs RSA+SHA256",
        3,
        &["Peer signature type: RSA", "TLSv1.2"],
    );
    check("-servername www.example.com -tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256", 3, &[]);
    check("-servername www.example.com -tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", 2, &[]);
    check("-servername www.example.com -alpn http/1.1,h2", 2, &["ALPN protocol: h2"]);
}

#[test]
fn s_client_resumes_after_a_reload() {
    if peers::missing(has_no_openssl()) {
        return;
    }
    let (folder, ca) = folder();
    let site = |certificates| site(&folder, &format!("certificates = {certificates}"), SERVER);
    folder.certify(&ca, "one", Leaf { names: &[NAME], serial: 1, ..LEAF });
    folder.certify(&ca, "two", Leaf { names: &[NAME], serial: 2, ..LEAF });
    for version in ["TLSv1.2", "TLSv1.3"] {
        let option = version.to_lowercase().replace("tlsv1.", "-tls1_");
        let words = |more| format!("-servername {NAME} {option} {more}");
        let mut tls = Tls::new().unwrap();
        let (before, _) = adopt(&mut tls, &site(r#""one.pem""#));
        let (told, _) = dialed(&before, &folder, &words("-sess_out session"));
        tells(&told, &[&format!("New, {version}"), "welcome"]);
        let (after, _) = adopt(&mut tls, &site(r#"["two.pem", "one.pem"]"#));
        assert!(!Arc::ptr_eq(&before, &after));
        let (told, _) = dialed(&after, &folder, &words("-sess_in session"));
        tells(&told, &[&format!("Reused, {version}"), "welcome"]);
        // Whoever has no session, and a process of its own keys.
        let (told, _) = dialed(&after, &folder, &words(""));
        tells(&told, &[&format!("New, {version}"), "number 2"]);
        let (other, _) = adopt(&mut Tls::new().unwrap(), &site(r#""one.pem""#));
        let (told, _) = dialed(&other, &folder, &words("-sess_in session"));
        tells(&told, &[&format!("New, {version}"), "welcome"]);
    }
}

#[test]
fn s_client_is_refused_below_the_least_version() {
    if peers::missing(has_no_openssl()) {
        return;
    }
    let (folder, ca) = folder();
    folder.certify(&ca, "www", Leaf { names: &[NAME], ..LEAF });
    let check = |min: &str, option: &str, expected: &str| {
        let keys = format!("certificates = \"www.pem\", min = \"{min}\"");
        let (server, _) = adopt(&mut Tls::new().unwrap(), &site(&folder, &keys, SERVER));
        let (told, heard) = dialed(&server, &folder, &format!("-servername {NAME} {option}"));
        assert_eq!(heard.is_ok(), expected == "welcome", "{min} {option}:\n{told}");
        tells(&told, &[expected]);
    };
    check("1.2", "-tls1_1 -cipher ALL:@SECLEVEL=0", "alert handshake failure");
    check("1.2", "-tls1_2", "welcome");
    check("1.2", "-tls1_3", "welcome");
    check("1.3", "-tls1_2", "alert protocol version");
    check("1.3", "-tls1_3", "welcome");
}

#[test]
fn s_client_is_judged_by_the_certificate_that_it_shows() {
    if peers::missing(has_no_openssl()) {
        return;
    }
    let (folder, ca) = folder();
    folder.certify(&ca, "www", Leaf { names: &[NAME], ..LEAF });
    folder.certify(&ca, "good", Leaf { serial: 5, ..LEAF });
    folder.certify(&ca, "revoked", Leaf { serial: 6, ..LEAF });
    folder.certify(&ca, "expired", Leaf { serial: 7, until: 2021, ..LEAF });
    folder.certify(&Ca::new("others"), "stranger", LEAF);
    folder.write("ca.crl", &ca.revoke(&[6]));
    let keys = "certificates = \"www.pem\", client_ca = \"ca.pem\", crl = \"ca.crl\"";
    let check = |more: &str, shows: &str, option: &str, expected: Result<(), &str>| {
        let keys = format!("{keys}{more}");
        let (server, _) = adopt(&mut Tls::new().unwrap(), &site(&folder, &keys, SERVER));
        let shown = if shows.is_empty() {
            String::new()
        } else {
            format!(" -cert {shows}.pem -key {shows}.pem")
        };
        let (told, heard) =
            dialed(&server, &folder, &format!("-servername {NAME} {option}{shown}"));
        match (heard, expected) {
            (Ok(()), Ok(())) => tells(&told, &["welcome"]),
            (Err(why), Err(expected)) => {
                assert!(why.contains(expected), "{shows}: {why}\n{told}");
                assert!(!told.contains("welcome"), "{told}");
            }
            (heard, _) => panic!("{more} {shows} {option}: {heard:?}\n{told}"),
        }
    };
    for option in ["-tls1_2", "-tls1_3"] {
        check("", "good", option, Ok(()));
        check("", "revoked", option, Err("Revoked"));
        check("", "expired", option, Err("expired"));
        check("", "stranger", option, Err("UnknownIssuer"));
        check("", "", option, Err("peer sent no certificates"));
        check(", client_verify = \"optional\"", "", option, Ok(()));
        check(", client_verify = \"optional\"", "revoked", option, Err("Revoked"));
    }
}

/// We ask `openssl s_server` twice: what it tells of both connections, or why we would not speak to it.
fn dials(folder: &Folder, dial: &Dial, words: &str) -> Result<[String; 2], String> {
    let mut server = Command::new("openssl");
    let begin = "s_server -accept 127.0.0.1:0 -www -alpn http/1.1";
    server.args(begin.split(' ').chain(words.split_whitespace())).current_dir(folder.path());
    server.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = Process::spawn(&mut server).unwrap();
    let (said, says) = mpsc::channel();
    let out = server.child().stdout.take().unwrap();
    thread::spawn(move || {
        BufReader::new(out).lines().try_for_each(|line| said.send(line.unwrap()))
    });
    let accepts = loop {
        let line = says.recv_timeout(PATIENCE).unwrap();
        if line.contains("ACCEPT 127.0.0.1:") {
            break line;
        }
    };
    let port: u16 = accepts.rsplit(':').next().unwrap().trim().parse().unwrap();
    let ask = || -> io::Result<String> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let connection =
            ClientConnection::new(Arc::clone(&dial.config), dial.name.clone()).unwrap();
        let mut tls = StreamOwned::new(connection, stream);
        tls.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut page = vec![];
        // It does not always say that it has said all.
        match tls.read_to_end(&mut page) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
            Ok(_) | Err(_) => Ok(String::from_utf8_lossy(&page).into_owned()),
        }
    };
    let ask = || ask().map_err(|error| error.to_string());
    Ok([ask()?, ask()?])
}

#[test]
fn s_server_is_believed_by_its_ca_and_name_and_resumed() {
    if peers::missing(has_no_openssl()) {
        return;
    }
    let (folder, ca) = folder();
    let addressed = Leaf { address: Some("127.0.0.1".parse().unwrap()), ..LEAF };
    folder.certify(&ca, "www", Leaf { names: &[NAME], ..LEAF });
    folder.certify(&ca, "api", Leaf { names: &["api.example.com"], ..LEAF });
    folder.certify(&ca, "address", addressed);
    folder.certify(&ca, "expired", Leaf { names: &[NAME], until: 2021, ..LEAF });
    folder.certify(&Ca::new("others"), "stranger", Leaf { names: &[NAME], ..LEAF });
    let check = |server: &str, shows: &str, option: &str, expected: Result<&str, &str>| {
        let site = site(&folder, "certificates = \"www.pem\"", server);
        let (_, dial) = adopt(&mut Tls::new().unwrap(), &site);
        let words = format!("-cert {shows}.pem -key {shows}.pem {option}");
        match (dials(&folder, &dial, &words), expected) {
            (Ok([first, second]), Ok(version)) => {
                tells(&first, &[&format!("New, {version}")]);
                tells(&second, &[&format!("Reused, {version}")]);
            }
            (Err(why), Err(expected)) => assert!(why.contains(expected), "{shows}: {why}"),
            (told, _) => panic!("{server} {shows} {option}: {told:?}"),
        }
    };
    for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        check(SERVER, "www", option, Ok(version));
        check("ca = \"ca.pem\"", "address", option, Ok(version));
        check("verify = \"nothing\"", "stranger", option, Ok(version));
        check(SERVER, "api", option, Err("not valid for name"));
        check(SERVER, "expired", option, Err("expired"));
        check(SERVER, "stranger", option, Err("UnknownIssuer"));
    }
}
