//! A CA made by `gslb-dns pki`, as an operator makes it, and as OpenSSL judges what it issues.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;

use common::clock::now;
use common::mtls::{ALPN, Credentials, Files, principal_of};
use common::renewal::{LONGEST_REQUEST, Renewing};
use data_encoding::BASE64;
use gslb_dns::parked::desk::LONGEST_SAYING;
use gslb_tests::control::Client;
use gslb_tests::loopback;
use gslb_tests::peers;
use gslb_tests::process::Process;
use gslb_tests::server::{Finished, Server, run};
use gslb_tests::wait::PATIENCE;
use gslb_tests::world::{EVERY_STEP, NODE_NAME, World};
use jiff::SignedDuration;
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;

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

    fn files(&self, name: &str) -> Files {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        Files {
            ca: self.path("ca.pem"),
            certificate: self.path(&certificate),
            key: self.path(&key),
            crl: Some(self.path("crl.pem")),
        }
    }

    fn credentials(&self, name: &str) -> Credentials {
        Credentials::read(&self.files(name)).unwrap()
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
    // By hand again, when its files may go.
    let told = pki.ask("issue probe ams --days 2");
    assert_eq!(told.code, Some(1));
    assert!(
        told.stderr.contains("ams.pem is there already") && told.stderr.contains("--replace"),
        "{}",
        told.stderr
    );
    // What is of the CA is given to nobody.
    let told = pki.ask("issue ca pki");
    assert_eq!(told.code, Some(2), "{}", told.stderr);
    let told = pki.ask("init --cluster test");
    assert_eq!(told.code, Some(1));
    assert!(told.stderr.contains("a CA is not overwritten"), "{}", told.stderr);

    pki.say("issue agent fra --replace");
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

#[test]
fn openssl_reads_what_a_daemon_asks_for() {
    if peers::missing(has_no_openssl()) {
        return;
    }
    let pki = Pki::init();
    pki.say("issue probe ams");
    let renewing = Renewing::of(&pki.files("ams"));
    let asked = renewing.request(&pki.credentials("ams")).unwrap();
    let asked: Value = serde_json::from_slice(&asked).unwrap();
    let request = BASE64.decode(asked["request"].as_str().unwrap().as_bytes()).unwrap();
    fs::write(pki.path("ams.csr"), request).unwrap();
    let output = pki.openssl("req -inform der -in ams.csr -verify -noout -text").output().unwrap();
    let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && told.contains("verify OK"), "{told}");
    assert!(told.contains("URI:gslb://test/probe/ams"), "{told}");
    // Nobody is there to be visited: that is told, and is no success.
    let nobody = loopback::address().unwrap();
    let told = pki.ask(&format!("renew --server dns1={nobody}"));
    assert_eq!((told.code, &*told.stdout), (Some(1), ""));
    assert!(told.stderr.contains(&format!("dns1={nobody}: Connection refused")), "{}", told.stderr);
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

impl Pki {
    /// As if the daemon's certificate had been issued 29 days ago, for 30: so the CA sees that it is due.
    fn age(&self, name: &str) {
        let path = self.path("index.json");
        let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let ends = format!("/{name}");
        let issued = index["issued"].as_array_mut().unwrap();
        let one = issued.iter_mut().find(|one| one["principal"].as_str().unwrap().ends_with(&ends));
        let (one, day) = (one.unwrap(), SignedDuration::from_hours(24));
        one["from"] = (now() - day * 29).to_string().into();
        one["until"] = (now() + day).to_string().into();
        fs::write(path, index.to_string()).unwrap();
    }

    /// A connection to a name server's control listener, as whoever has those files.
    async fn dial(&self, server: &Server, files: &Files) -> Client {
        let stream = tokio::net::TcpStream::connect(server.control().unwrap()).await.unwrap();
        let connector = TlsConnector::from(Credentials::read(files).unwrap().client());
        Client::over(connector.connect(NODE_NAME.try_into().unwrap(), stream).await.unwrap()).await
    }
}

/// From a daemon that asks, by the real listener, to the CA on its host and back.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_is_renewed_by_way_of_a_name_server() {
    let pki = Pki::init();
    pki.say(&format!("issue dns {NODE_NAME}"));
    pki.say("issue probe ams --days 2");
    pki.say("issue agent fra");
    pki.age("ams");
    let world = World::write(&EVERY_STEP).unwrap();
    let Files { ca, certificate, key, crl } = pki.files(NODE_NAME);
    let control = format!(
        "\n[control]\nlisten = \"127.0.0.1:0\"\nca = {ca:?}\ncertificate = {certificate:?}\nkey = {key:?}\ncrl = {:?}\n",
        crl.unwrap()
    );
    fs::write(world.node(), fs::read_to_string(world.node()).unwrap() + &control).unwrap();
    let server = Server::start(&world.node()).unwrap();
    let waiting = || server.metric("gslb_dns_control_renewals_waiting").unwrap();
    let renew = format!("renew --server {NODE_NAME}={}", server.control().unwrap());

    let files = [pki.files("ams"), pki.files("fra")];
    let renewing = [0, 1].map(|at| Renewing::of(&files[at]));
    let before = [0, 1].map(|at| Credentials::read(&files[at]).unwrap());
    let requests = [0, 1].map(|at| renewing[at].request(&before[at]).unwrap());
    let ams = pki.dial(&server, &files[0]).await;
    let fra = pki.dial(&server, &files[1]).await;
    let ask =
        async |client: &Client, at: usize| client.ask("POST /v1/renew", requests[at].clone()).await;
    for _ in 0..2 {
        assert_eq!(ask(&ams, 0).await.status, 202);
        assert_eq!(ask(&fra, 1).await.status, 202);
        assert_eq!(waiting(), 2.0);
    }

    // Nobody asks for another, sees what waits, or brings it something.
    assert_eq!(ask(&ams, 1).await.status, 403);
    assert_eq!(ams.ask("GET /v1/renewals", "").await.status, 403);
    assert_eq!(ams.ask("POST /v1/renewals", "{}").await.status, 403);
    let refused = ams.ask("DELETE /v1/renewals", "").await;
    assert_eq!((refused.status, refused.header("allow")), (405, "GET, POST"));
    let most = " ".repeat(LONGEST_REQUEST);
    assert_eq!(ams.ask("POST /v1/renew", most.clone()).await.status, 422);
    assert_eq!(ams.ask("POST /v1/renew", most + " ").await.status, 413);

    let told = pki.say(&renew).stdout;
    assert!(told.contains("renewed gslb://test/probe/ams, until "), "{told}");
    assert!(told.contains("refused gslb://test/agent/fra: its certificate holds until"), "{told}");
    assert_eq!(waiting(), 0.0);
    let answered = ask(&ams, 0).await;
    assert_eq!(answered.status, 200, "{answered:?}");
    assert_eq!(answered.header("content-type"), "application/pem-certificate-chain");
    renewing[0].take(&before[0], answered.body.as_bytes()).unwrap();
    let after = Credentials::read(&files[0]).unwrap();
    assert!(after.not_after() > before[0].not_after());
    let refused = ask(&fra, 1).await;
    assert_eq!(refused.status, 409);
    assert!(refused.body.starts_with("the CA refuses: its certificate holds"), "{refused:?}");
    // The next certificate is let in as the old one was.
    let ams = pki.dial(&server, &files[0]).await;
    assert_eq!(ams.ask("GET /v1/assignment", "").await.status, 403); // A world without vantages.
    let told = pki.say(&renew).stdout;
    assert!(told.contains("nobody waits"), "{told}");

    // What the CA shows is good for its errand alone.
    let visitor = Files {
        certificate: pki.path(".visitor.pem"),
        key: pki.path(".visitor.key"),
        ..pki.files("ams")
    };
    let visitor = pki.dial(&server, &visitor).await;
    assert_eq!(visitor.ask("GET /v1/renewals", "").await.json(), json!({ "waiting": [] }));
    assert_eq!(visitor.ask("POST /v1/renewals", " ".repeat(LONGEST_SAYING + 1)).await.status, 413);
    for line in ["POST /v1/renew", "POST /v1/report", "GET /v1/assignment"] {
        assert_eq!(visitor.ask(line, "{}").await.status, 403, "{line}");
    }
    // One for what was brought to whom waits, one for the other.
    let count = |outcome| {
        let name = format!("gslb_dns_control_renewals_total{{outcome=\"{outcome}\"}}");
        server.metric(&name).unwrap()
    };
    assert_eq!((count("parked"), count("brought"), count("answered")), (4.0, 2.0, 1.0));
    assert_eq!((count("refused"), count("too_large"), count("forbidden")), (1.0, 2.0, 4.0));
    assert!(server.stop().unwrap().success());
}
