//! A probe whose certificate is about to end: it asks, the CA comes by, and nobody notices but who counts.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::fs;
use std::path::{Path, PathBuf};

use common::clock::now;
use common::mtls::{Credentials, Files};
use common::principal::Kind;
use gslb_dns::pki::{Directory, Wanted};
use gslb_tests::backend::Backend;
use gslb_tests::loopback;
use gslb_tests::probe::Probe;
use gslb_tests::server::{Server, run};
use gslb_tests::wait::until;
use gslb_tests::world::{Files as WorldFiles, NODE_NAME, World};
use jiff::SignedDuration;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

const ZONE: &str = "@ 60 SOA ns1 h 1 2 3 4 5\n@ 60 NS ns1\nns1 60 A 198.51.100.53\n";

/// A CA with its directory, a name server and one site.
struct Story {
    pki: TempDir,
    server: Server,
    _world: World,
    _site: Backend,
}

impl Story {
    fn begin() -> Story {
        let pki = tempfile::tempdir().unwrap();
        say(pki.path(), "init --cluster test");
        say(pki.path(), &format!("issue dns {NODE_NAME}"));
        let site = Backend::start("127.0.0.1:0".parse().unwrap()).unwrap();
        let text = format!(
            "[zone.\"example.com\"]\nfile = \"example.com.zone\"\n[site.fra]\nvips = [\"127.0.0.1\"]\n\
             [vantage.ams]\nplace = {{ country = \"NL\" }}\n[check.web]\nkind = \"http\"\nport = {}\n\
             interval = \"500ms\"\ntimeout = \"400ms\"\n[service.\"www.example.com\"]\nsites = [\"fra\"]\n\
             check = [\"web\"]\nquorum = {{ down = 0.6, up = 0.6, vantages = 1, domains = 1, max_removed = 1 }}\n\
             when_all_down = \"open\"\nttl = {{ max = \"1s\" }}\n",
            site.address().port()
        );
        let world = World::write(&WorldFiles { world: &text, zone: ZONE, places: "" }).unwrap();
        let Files { ca, certificate, key, crl } = files(pki.path(), NODE_NAME);
        let control = format!(
            "\n[control]\nlisten = \"127.0.0.1:0\"\nca = {ca:?}\ncertificate = {certificate:?}\nkey = {key:?}\n\
             crl = {:?}\n",
            crl.unwrap()
        );
        let node = fs::read_to_string(world.node()).unwrap() + &control;
        fs::write(world.node(), node).unwrap();
        let server = Server::start(&world.node()).unwrap();
        Story { pki, server, _world: world, _site: site }
    }

    /// A probe's files, issued so many days ago for thirty.
    fn issued_ago(&self, name: &str, days: i64) -> Files {
        let pki = self.pki.path().join("pki");
        let then = now() - SignedDuration::from_hours(24 * days);
        // A process that another test starts just now may hold our lock for a moment.
        let open = || Ok(Directory::open(&pki, now()).ok());
        let mut directory = until("the directory is free", open).unwrap();
        let wanted =
            Wanted { kind: Kind::Probe, name: name.to_owned(), dns_names: vec![], days: 30 };
        directory.issue(&wanted, &pki, then).unwrap();
        files(self.pki.path(), name)
    }

    /// Starts as `ams`, with a name server beside ours that is away.
    fn probe(&self, files: &Files) -> Probe {
        let away = loopback::address().unwrap();
        let servers = [(away, "away"), (self.server.control().unwrap(), NODE_NAME)];
        Probe::start_as("ams", files, &servers, &[]).unwrap()
    }

    /// As an operator's timer does it.
    fn ca_comes_by(&self) -> String {
        let visit = format!("renew --server {NODE_NAME}={}", self.server.control().unwrap());
        say(self.pki.path(), &visit)
    }

    /// Waits for something, while the name server hears this probe all the time.
    fn until(&self, probe: &Probe, what: &str, is: impl Fn() -> anyhow::Result<bool>) {
        until(what, || {
            let told: Value = serde_json::from_str(&self.server.get("/v1/vantages")?.body)?;
            assert_ne!(told[0]["standing"], "silent", "{}", probe.log());
            Ok(is()?.then_some(()))
        })
        .unwrap_or_else(|why| panic!("{why}\n{}", probe.log()));
    }

    fn taken(&self) -> f64 {
        self.server.metric("gslb_dns_control_reports_total{outcome=\"taken\"}").unwrap()
    }
}

fn say(dir: &Path, words: &str) -> String {
    let pki = dir.join("pki").display().to_string();
    let finished = run(["pki", "--dir", &pki].into_iter().chain(words.split(' '))).unwrap();
    assert_eq!(finished.code, Some(0), "pki {words}: {}", finished.stderr);
    finished.stdout
}

fn files(dir: &Path, name: &str) -> Files {
    let path = |file: String| -> PathBuf { dir.join("pki").join(file) };
    Files {
        ca: path("ca.pem".to_owned()),
        certificate: path(format!("{name}.pem")),
        key: path(format!("{name}.key")),
        crl: Some(path("crl.pem".to_owned())),
    }
}

fn is_renewal(probe: &Probe, state: &str) -> anyhow::Result<bool> {
    Ok(probe.metric(&format!("probe_certificate_renewal{{state=\"{state}\"}}"))? == 1.0)
}

#[test]
fn a_probe_is_renewed_while_it_reports() {
    let story = Story::begin();
    let files = story.issued_ago("ams", 25);
    let old = Credentials::read(&files).unwrap().not_after();
    let mut probe = story.probe(&files);
    // The first name server is away: the second has the request.
    story.until(&probe, "it is parked", || is_renewal(&probe, "parked"));
    assert_eq!(story.server.metric("gslb_dns_control_renewals_waiting").unwrap(), 1.0);
    story.until(&probe, "it reports", || Ok(story.taken() > 2.0));
    let log = probe.log();
    assert!(log.contains("our next certificate is asked for"), "{log}");
    // Five days are left.
    assert!(log.contains("our certificate ends soon"), "{log}");
    assert_eq!(probe.metric("probe_certificate_expiry_timestamp_seconds").unwrap(), old as f64);

    let told = story.ca_comes_by();
    assert!(told.contains("renewed gslb://test/probe/ams, until "), "{told}");
    // It would ask within a minute by itself.
    probe.signal(Signal::HUP).unwrap();
    let expiry =
        || -> anyhow::Result<f64> { probe.metric("probe_certificate_expiry_timestamp_seconds") };
    story.until(&probe, "it shows the next one", || Ok(expiry()? > old as f64));
    story.until(&probe, "nothing more is asked", || is_renewal(&probe, "early"));
    let next = Credentials::read(&files).unwrap().not_after();
    assert!(next - old > 20 * 86_400);
    assert!(!files.next().key.exists() && !files.next().certificate.exists());
    // Connections from then on are by the new one, and the reports go on where they were.
    let shown = "gslb_dns_control_probe_certificate_expiry_timestamp_seconds{vantage=\"ams\"}";
    story.until(&probe, "the name server sees it", || {
        Ok(story.server.metric(shown)? == next as f64)
    });
    let taken = story.taken();
    story.until(&probe, "it reports on", || Ok(story.taken() > taken + 2.0));
    let count = |outcome| {
        story.server.metric(&format!("gslb_dns_control_reports_total{{outcome=\"{outcome}\"}}"))
    };
    assert_eq!(count("send_whole").unwrap(), 0.0, "{}", probe.log());
    assert_eq!(count("behind").unwrap(), 0.0, "{}", probe.log());
    // What the CA has brought once, it brings no more.
    assert!(story.ca_comes_by().contains("nobody waits"));
}

#[test]
fn a_renewal_that_a_power_cut_has_cut_in_two_is_brought_to_its_end() {
    let story = Story::begin();
    let files = story.issued_ago("ams", 25);
    let next = files.next();
    fs::rename(&files.certificate, &next.certificate).unwrap();
    // The key is in its place already, the certificate is not: that of the old key still lies there.
    let kept = fs::read(&files.key).unwrap();
    fs::remove_file(&files.key).unwrap();
    story.issued_ago("ams", 26);
    fs::write(&files.key, kept).unwrap();
    let new = fs::read(&next.certificate).unwrap();
    let probe = story.probe(&files);
    story.until(&probe, "the certificate is in its place", || {
        Ok(!next.certificate.exists() && fs::read(&files.certificate)? == new)
    });
    story.until(&probe, "it reports", || Ok(story.taken() > 2.0));
}

#[test]
fn what_the_ca_refuses_is_told_when_time_is_short() {
    let story = Story::begin();
    let files = story.issued_ago("ams", 25);
    let mut probe = story.probe(&files);
    story.until(&probe, "it is parked", || is_renewal(&probe, "parked"));
    // As if the CA had another copy of its index.
    let index = story.pki.path().join("pki/index.json");
    let text = fs::read_to_string(&index).unwrap();
    fs::write(&index, text.replace("gslb://test/probe/ams", "gslb://test/probe/fra")).unwrap();
    let told = story.ca_comes_by();
    assert!(told.contains("refused gslb://test/probe/ams: its certificate is not in"), "{told}");
    probe.signal(Signal::HUP).unwrap();
    story.until(&probe, "it knows", || is_renewal(&probe, "refused"));
    story.until(&probe, "it is told", || {
        Ok(probe.log().contains("our certificate could not be renewed"))
    });
    assert!(probe.log().contains("the CA refuses: its certificate is not in the index"));
    let taken = story.taken();
    story.until(&probe, "it reports on", || Ok(story.taken() > taken + 2.0));
}
