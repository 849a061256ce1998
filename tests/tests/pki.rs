//! A CA made by `gslb-dns pki`, as an operator makes it, and as OpenSSL judges what it issues.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;

use common::mtls::{ALPN, Credentials, Files, principal_of};
use gslb_tests::peers;
use gslb_tests::process::Process;
use gslb_tests::server::{Finished, run};
use gslb_tests::wait::PATIENCE;
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use serde_json::Value;
use tempfile::TempDir;

struct Pki(TempDir);

impl Pki {
    fn init() -> Pki {
        let pki = Pki(tempfile::tempdir().unwrap());
        let made = pki.say("init --cluster test");
        assert!(made.stdout.starts_with("made a CA for cluster test, until 20"), "{}", made.stdout);
        pki
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join("pki").join(file)
    }

    /// `gslb-dns pki` with these words.
    fn ask(&self, words: &str) -> Finished {
        let dir = self.path("").display().to_string();
        run(["pki", "--dir", &dir].into_iter().chain(words.split(' '))).unwrap()
    }

    fn say(&self, words: &str) -> Finished {
        let finished = self.ask(words);
        assert_eq!(finished.code, Some(0), "pki {words}: {}", finished.stderr);
        finished
    }

    fn credentials(&self, name: &str) -> Credentials {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        Credentials::read(&Files {
            ca: self.path("ca.pem"),
            certificate: self.path(&certificate),
            key: self.path(&key),
            crl: Some(self.path("crl.pem")),
        })
        .unwrap()
    }

    fn openssl(&self, words: &str) -> Command {
        let mut command = Command::new("openssl");
        command.args(words.split(' ')).current_dir(self.path(""));
        command
    }

    /// What OpenSSL says of a leaf, as a client or a server shows it.
    fn judged(&self, purpose: &str, file: &str) -> Result<String, String> {
        let words = format!(
            "verify -x509_strict -check_ss_sig -CAfile ca.pem -crl_check -CRLfile crl.pem -purpose {purpose} {file}"
        );
        let Output { status, stdout, stderr } = self.openssl(&words).output().unwrap();
        let told = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        if status.success() { Ok(told) } else { Err(told) }
    }
}

fn has_no_openssl() -> Option<&'static str> {
    let version = Command::new("openssl").arg("version").stdout(Stdio::null()).status();
    (!version.is_ok_and(|status| status.success())).then_some("openssl is not installed")
}

#[test]
fn a_ca_is_made_and_used_by_command() {
    let pki = Pki::init();
    pki.say("issue dns dns1 --dns-name ns1.example.net");
    pki.say("issue probe ams --days 2");
    let issued = pki.say("issue agent fra").stdout;
    assert!(issued.starts_with("issued gslb://test/agent/fra, until "), "{issued}");
    for name in ["dns1", "ams", "fra"] {
        assert_eq!(&*pki.credentials(name).principal().name, name);
    }
    // What is of the CA is given to nobody.
    let told = pki.ask("issue ca pki");
    assert_eq!(told.code, Some(2), "{}", told.stderr);
    let told = pki.ask("init --cluster test");
    assert_eq!(told.code, Some(1));
    assert!(told.stderr.contains("a CA is not overwritten"), "{}", told.stderr);

    let revoked = pki.say("revoke fra --why sold").stdout;
    assert!(revoked.starts_with("revoked ") && revoked.contains("crl.pem"), "{revoked}");
    let list: Value = serde_json::from_str(&pki.say("list --json").stdout).unwrap();
    let states = list["issued"].as_array().unwrap().iter().map(|issued| {
        format!("{} {}", issued["state"].as_str().unwrap(), issued["principal"].as_str().unwrap())
    });
    let expected = [
        "soon gslb://test/probe/ams",
        "good gslb://test/dns/dns1",
        "revoked gslb://test/agent/fra",
    ];
    assert_eq!(states.collect::<Vec<_>>(), expected);
    assert_eq!(list["list"]["number"], 2);
    pki.say("crl");
    let text = pki.say("list").stdout;
    assert!(text.starts_with("cluster test, CA until 20"), "{text}");
    assert!(text.contains(", revocation list 3 until 20") && text.contains(": sold)"), "{text}");
}

#[test]
fn openssl_believes_what_is_issued_until_it_is_revoked() {
    if peers::missing(has_no_openssl()) {
        return;
    }
    let pki = Pki::init();
    pki.say("issue dns dns1");
    pki.say("issue probe ams");
    let good = |purpose: &str, file: &str| pki.judged(purpose, file).unwrap();
    good("sslserver", "dns1.pem");
    good("sslclient", "dns1.pem");
    good("sslclient", "ams.pem");
    // A probe is never dialed.
    let told = pki.judged("sslserver", "ams.pem").unwrap_err();
    assert!(told.contains("unsuitable certificate purpose"), "{told}");
    pki.say("revoke ams --why stolen");
    let told = pki.judged("sslclient", "ams.pem").unwrap_err();
    assert!(told.contains("certificate revoked"), "{told}");
    good("sslclient", "dns1.pem");

    let text = |words: &str| {
        let output = pki.openssl(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let leaf = text("x509 -in dns1.pem -noout -text");
    for part in [
        "URI:gslb://test/dns/dns1, DNS:dns1",
        "ASN1 OID: prime256v1",
        "Digital Signature\n",
        "TLS Web Client Authentication, TLS Web Server Authentication",
        "CA:FALSE",
    ] {
        assert!(leaf.contains(part), "{part} is not in\n{leaf}");
    }
    let ca = text("x509 -in ca.pem -noout -text");
    assert!(ca.contains("CA:TRUE, pathlen:0") && ca.contains("Certificate Sign, CRL Sign"), "{ca}");
    let listed: Value = serde_json::from_str(&pki.say("list --json").stdout).unwrap();
    let crl = text("crl -in crl.pem -noout -text");
    let serial = listed["issued"][1]["serial"].as_str().unwrap().to_uppercase();
    assert!(crl.contains(&format!("Serial Number: {serial}")), "{serial} is not in\n{crl}");
}

/// `openssl s_client` shows our server a certificate, and what became of it there.
fn dialed_by_openssl(pki: &Pki, name: &str) -> Result<String, String> {
    let server = pki.credentials("dns1").server();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut tls = StreamOwned::new(ServerConnection::new(server).unwrap(), stream);
        let mut heard = [0; 5];
        tls.read_exact(&mut heard).map_err(|error| error.to_string())?;
        assert_eq!(&heard, b"hello");
        assert_eq!(tls.conn.alpn_protocol(), Some(ALPN));
        let shown = tls.conn.peer_certificates().unwrap();
        Ok(principal_of(&shown[0]).unwrap().to_string())
    });
    let words = format!(
        "s_client -connect 127.0.0.1:{port} -servername dns1 -verify_hostname dns1 -verify_return_error -CAfile \
         ca.pem -cert {name}.pem -key {name}.key -alpn h2 -tls1_3 -quiet"
    );
    let mut client = pki.openssl(&words);
    client.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut client = Process::spawn(&mut client).unwrap();
    // The one who is refused may be gone already.
    let _ = client.child().stdin.take().unwrap().write_all(b"hello");
    heard.join().unwrap()
}

#[test]
fn openssl_shows_us_its_certificate_and_is_known_by_it() {
    if peers::missing(has_no_openssl()) {
        return;
    }
    let (pki, other) = (Pki::init(), Pki::init());
    pki.say("issue dns dns1");
    pki.say("issue probe ams");
    assert_eq!(dialed_by_openssl(&pki, "ams"), Ok("gslb://test/probe/ams".to_owned()));
    pki.say("revoke ams --why stolen");
    let told = dialed_by_openssl(&pki, "ams").unwrap_err();
    assert!(told.contains("Revoked"), "{told}");
    other.say("issue probe iad");
    for file in ["iad.pem", "iad.key"] {
        fs::copy(other.path(file), pki.path(file)).unwrap();
    }
    let told = dialed_by_openssl(&pki, "iad").unwrap_err();
    assert!(told.contains("UnknownIssuer"), "{told}");
}

/// We dial `openssl s_server`: what it tells of us, or why we would not speak to it.
fn dials_openssl(pki: &Pki, name: &str) -> Result<String, String> {
    let client = pki.credentials("ams").client();
    let words = format!(
        "s_server -accept 127.0.0.1:0 -cert {name}.pem -key {name}.key -CAfile ca.pem -crl_check -CRL crl.pem -Verify \
         1 -verify_return_error -alpn h2 -tls1_3"
    );
    let mut server = pki.openssl(&words);
    server.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut server = Process::spawn(&mut server).unwrap();
    let (said, says) = mpsc::channel();
    let out = server.child().stdout.take().unwrap();
    let err = server.child().stderr.take().unwrap();
    let also = said.clone();
    thread::spawn(move || {
        BufReader::new(out).lines().try_for_each(|line| said.send(line.unwrap()))
    });
    thread::spawn(move || {
        BufReader::new(err).lines().try_for_each(|line| also.send(line.unwrap()))
    });
    let heard = |wanted: &str| loop {
        let line = says.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {wanted}"));
        if line.contains(wanted) {
            return line;
        }
    };
    let accepts = heard("ACCEPT 127.0.0.1:");
    let port: u16 = accepts.rsplit(':').next().unwrap().trim().parse().unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let connection = ClientConnection::new(client, "dns1".try_into().unwrap()).unwrap();
    let mut tls = StreamOwned::new(connection, stream);
    let told = tls.write_all(b"hello from ams\n").map_err(|error| error.to_string());
    told.map(|()| heard("hello from ams"))
}

#[test]
fn we_show_openssl_our_certificate_and_believe_its_own() {
    if peers::missing(has_no_openssl()) {
        return;
    }
    let pki = Pki::init();
    pki.say("issue dns dns1");
    pki.say("issue dns dns2");
    pki.say("issue probe ams");
    dials_openssl(&pki, "dns1").unwrap();
    let told = dials_openssl(&pki, "dns2").unwrap_err();
    assert!(told.contains("not valid for name \"dns1\""), "{told}");
    pki.say("revoke dns1 --why stolen");
    let told = dials_openssl(&pki, "dns1").unwrap_err();
    assert!(told.contains("Revoked"), "{told}");
}
