//! A CA from its making to its list, as daemons read what it issues.

mod renewal;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use common::identity::certificates;
use common::mtls::{Credentials, Doubt, Files, principal_of};
use common::principal::Kind;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use crate::pki::PkiError;
use crate::pki::directory::{
    CA_FILE, DAYS, Directory, INDEX_FILE, KEY_FILE, LIST_FILE, MOST_DAYS, Wanted,
};
use crate::pki::index::{Index, Issued, LONGEST_WHY, List, MOST_ISSUED, Serial, VERSION};
use crate::pki::show;

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn start() -> Timestamp {
    "2026-11-21T22:00:00Z".parse().unwrap()
}

fn wanted(kind: Kind, name: &str) -> Wanted {
    Wanted { kind, name: name.to_owned(), dns_names: vec![], days: DAYS }
}

/// A folder with a CA, open again for each command.
struct Story(TempDir);

impl Story {
    fn begin() -> Story {
        let story = Story(tempfile::tempdir().unwrap());
        Directory::init(&story.dir(), "test", start()).unwrap();
        story
    }

    fn dir(&self) -> std::path::PathBuf {
        self.0.path().join("pki")
    }

    fn open(&self, now: Timestamp) -> Directory {
        Directory::open(&self.dir(), now).unwrap()
    }

    fn issue(&self, kind: Kind, name: &str, now: Timestamp) -> Issued {
        self.open(now).reissue(&wanted(kind, name), &self.dir(), now).unwrap().0
    }

    fn credentials(&self, name: &str) -> Credentials {
        let file = |file: &str| self.dir().join(file);
        Credentials::read(&Files {
            ca: file(CA_FILE),
            certificate: file(&format!("{name}.pem")),
            key: file(&format!("{name}.key")),
            crl: Some(file(LIST_FILE)),
        })
        .unwrap()
    }

    fn mode(&self, file: &str) -> u32 {
        fs::metadata(self.dir().join(file)).unwrap().permissions().mode() & 0o777
    }
}

fn refusal<T>(outcome: Result<T, PkiError>) -> String {
    match outcome {
        Ok(_) => "done".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_issued_is_believed_until_its_end() {
    let story = Story::begin();
    for (kind, name) in [(Kind::Dns, "dns1"), (Kind::Probe, "ams"), (Kind::Agent, "fra_a")] {
        let issued = story.issue(kind, name, start());
        let credentials = story.credentials(name);
        assert_eq!(credentials.principal(), &issued.principal);
        assert_eq!(credentials.principal().to_string(), format!("gslb://test/{kind}/{name}"));
        assert_eq!(credentials.not_after(), (start() + DAY * 30).as_second());
        let doubts = |at: Timestamp| credentials.doubts(at.as_second());
        let second = SignedDuration::from_secs(1);
        assert_eq!(doubts(start() - SignedDuration::from_hours(1)), []);
        assert_eq!(doubts(start() - SignedDuration::from_hours(1) - second), [Doubt::NotYet]);
        assert_eq!(doubts(start() + DAY * 23), []);
        assert_eq!(doubts(start() + DAY * 23 + second), [Doubt::EndsSoon]);
        assert_eq!(doubts(start() + DAY * 30), [Doubt::EndsSoon]);
        let late = doubts(start() + DAY * 30 + second);
        assert_eq!(late, [Doubt::Expired, Doubt::ListOutOfDate]);
        assert_eq!(story.mode(&format!("{name}.key")), 0o600);
    }
    assert_eq!(story.mode(KEY_FILE), 0o600);
    assert_eq!(story.mode(""), 0o700);
}

#[test]
fn a_ca_is_not_overwritten_and_not_used_twice_at_once() {
    let story = Story::begin();
    let before = fs::read(story.dir().join(KEY_FILE)).unwrap();
    let again = || refusal(Directory::init(&story.dir(), "test", start()));
    assert!(again().contains("ca.pem is there already: a CA is not overwritten"), "{}", again());
    fs::remove_file(story.dir().join(INDEX_FILE)).unwrap();
    assert!(again().contains("is there already"), "{}", again());
    assert_eq!(fs::read(story.dir().join(KEY_FILE)).unwrap(), before);

    let other = Story::begin();
    let open = other.open(start());
    let told = refusal(Directory::open(&other.dir(), start()));
    assert!(told.contains("is in use by another gslb-dns pki"), "{told}");
    drop(open);
    other.open(start());

    let nowhere = refusal(Directory::open(&other.dir().join("no"), start()));
    assert!(nowhere.contains("there is no CA in") && nowhere.contains("pki init"), "{nowhere}");
    let cluster = refusal(Directory::init(&other.dir().join("no"), "Test", start()));
    assert!(cluster.contains("\"Test\" is no name here"), "{cluster}");
}

#[test]
fn files_of_others_are_not_replaced() {
    let story = Story::begin();
    let mut directory = story.open(start());
    let mut issue =
        |kind, name: &str, to: &Path| refusal(directory.reissue(&wanted(kind, name), to, start()));
    let dir = story.dir();
    assert_eq!(issue(Kind::Probe, "ams", &dir), "done");
    // The same daemon's are: so a certificate is renewed by hand.
    assert_eq!(issue(Kind::Probe, "ams", &dir), "done");
    let told = issue(Kind::Agent, "ams", &dir);
    assert!(told.contains("ams.pem is there already, and is of gslb://test/probe/ams"), "{told}");
    for name in ["ca", "crl"] {
        let before = fs::read(dir.join(format!("{name}.pem"))).unwrap();
        let told = issue(Kind::Probe, name, &dir);
        assert!(told.contains("is there already, and is of nobody"), "{told}");
        assert_eq!(fs::read(dir.join(format!("{name}.pem"))).unwrap(), before);
    }
    fs::write(dir.join("fra.key"), "somebody else's").unwrap();
    let told = issue(Kind::Probe, "fra", &dir);
    assert!(told.contains("fra.key is there already: take another --out"), "{told}");
    let elsewhere = dir.join("agents");
    fs::create_dir(&elsewhere).unwrap();
    assert_eq!(issue(Kind::Agent, "ams", &elsewhere), "done");
}

#[test]
fn files_of_the_same_daemon_are_replaced_when_that_is_meant() {
    let story = Story::begin();
    let ams = wanted(Kind::Probe, "ams");
    let issue = || refusal(story.open(start()).issue(&ams, &story.dir(), start()));
    let text = || ["ams.pem", "ams.key"].map(|file| fs::read(story.dir().join(file)).unwrap());
    assert_eq!(issue(), "done");
    let before = text();
    let told = issue();
    assert!(told.contains("ams.pem is there already, of the same daemon"), "{told}");
    assert!(
        told.contains("pki renew") && told.contains("--out") && told.contains("--replace"),
        "{told}"
    );
    // Nothing was written, and the index knows of no certificate that nobody has.
    assert_eq!(text(), before);
    assert_eq!(story.open(start()).index().issued.len(), 1);
    assert_eq!(refusal(story.open(start()).reissue(&ams, &story.dir(), start())), "done");
    assert_ne!(text(), before);
}

#[test]
fn who_was_revoked_is_not_told_to_renew() {
    let story = Story::begin();
    let ams = wanted(Kind::Probe, "ams");
    let issue = || refusal(story.open(start()).issue(&ams, &story.dir(), start()));
    assert_eq!(issue(), "done");
    assert!(issue().contains("pki renew"), "{}", issue());
    story.open(start()).revoke("ams", "disk sold", start()).unwrap();
    let told = issue();
    let expected = "ams.pem is there already, of the same daemon, and was revoked at 2026-11-21T22:00:00Z (disk sold): \
                    --replace issues it anew";
    assert!(told.ends_with(expected), "{told}");
    assert_eq!(refusal(story.open(start()).reissue(&ams, &story.dir(), start())), "done");
    // The new one is not revoked.
    assert!(issue().contains("pki renew"), "{}", issue());
}

#[test]
fn what_cannot_be_issued_is_told() {
    let story = Story::begin();
    let mut directory = story.open(start());
    let mut check = |wanted: Wanted, expected: &str| {
        let told = refusal(directory.issue(&wanted, &story.dir(), start()));
        assert!(told.contains(expected), "{told}\nexpected {expected}");
    };
    let days = |days, name: &str| Wanted { days, ..wanted(Kind::Dns, name) };
    let named = |kind, names: &[&str]| {
        let dns_names = names.iter().map(|name| (*name).to_owned()).collect();
        Wanted { dns_names, ..wanted(kind, "dns1") }
    };
    check(wanted(Kind::Dns, "Dns1"), "\"Dns1\" is no name here");
    check(wanted(Kind::Dns, "dns1..net"), "\"dns1..net\" is no DNS name");
    check(days(0, "a"), "--days is 1 to 825, found 0");
    check(days(1, "a"), "done");
    check(days(MOST_DAYS, "b"), "done");
    check(days(MOST_DAYS + 1, "c"), "--days is 1 to 825, found 826");
    check(named(Kind::Probe, &["ns1.example.net"]), "--dns-name is for a name server");
    check(named(Kind::Dns, &["not a name"]), "\"not a name\" is no DNS name");
    let names: Vec<String> = (0..33).map(|number| format!("ns{number}.example.net")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    check(named(Kind::Dns, &names), "--dns-name can be given 32 times, found 33");
    check(named(Kind::Dns, &names[..32]), "done");
    // Nothing outlives its CA.
    let late = start() + DAY * 3640;
    drop(directory);
    let mut directory = story.open(late);
    let told = refusal(directory.issue(&wanted(Kind::Probe, "late"), &story.dir(), late));
    assert!(told.contains("the CA itself ends at 2036-11-18T22:00:00Z"), "{told}");
    let short = Wanted { days: 10, ..wanted(Kind::Probe, "late") };
    assert_eq!(refusal(directory.issue(&short, &story.dir(), late)), "done");
}

#[test]
fn a_name_server_has_the_names_by_which_it_is_dialed() {
    let story = Story::begin();
    let names = ["ns1.example.net".to_owned(), "dns1".to_owned()].to_vec();
    let wanted = Wanted { dns_names: names, ..wanted(Kind::Dns, "dns1") };
    let (issued, certificate, _) =
        story.open(start()).issue(&wanted, &story.dir(), start()).unwrap();
    assert_eq!(issued.dns_names, ["dns1".into(), "ns1.example.net".into()]);
    let chain = certificates(&fs::read(certificate).unwrap()).unwrap();
    let leaf = webpki::EndEntityCert::try_from(&chain[0]).unwrap();
    assert_eq!(leaf.valid_dns_names().collect::<Vec<_>>(), ["dns1", "ns1.example.net"]);
    assert_eq!(leaf.serial(), issued.serial.0);
    let probe = story.issue(Kind::Probe, "ams", start());
    assert!(probe.dns_names.is_empty());
}

#[test]
fn what_is_revoked_is_on_the_list_and_stays_until_it_has_long_expired() {
    let story = Story::begin();
    let now = start() + DAY;
    let first = story.issue(Kind::Probe, "ams", start());
    let second = story.issue(Kind::Probe, "ams", now);
    let of_agent = story.open(now).issue(&wanted(Kind::Agent, "fra"), &story.dir(), now).unwrap().0;
    let is_revoked = |name| {
        let doubts = story.credentials(name).doubts(now.as_second());
        assert!(doubts.is_empty() || doubts == [Doubt::Revoked], "{doubts:?}");
        !doubts.is_empty()
    };
    assert!(!is_revoked("ams") && !is_revoked("fra"));
    let revoke = |which: &str, why: &str| story.open(now).revoke(which, why, now);
    // All that a daemon has, or one.
    assert_eq!(revoke("ams", "stolen").unwrap(), [first.serial, second.serial]);
    assert!(is_revoked("ams") && !is_revoked("fra"));
    let as_openssl = of_agent.serial.to_string().to_uppercase();
    assert_eq!(revoke(&as_openssl, "moved").unwrap(), [of_agent.serial]);
    assert!(is_revoked("fra"));

    let check = |which: &str, why: &str, expected: &str| {
        let told = refusal(revoke(which, why));
        assert!(told.contains(expected), "{told}\nexpected {expected}");
    };
    check("ams", "stolen", "every certificate of ams has expired or is revoked already");
    check("nobody", "stolen", "no certificate of nobody was issued here");
    check("ams", " ", "--why is 1 to 1024 octets");
    check("ams", &"w".repeat(LONGEST_WHY + 1), "--why is 1 to 1024 octets");

    // Others of these names.
    let elsewhere = story.dir().join("agents");
    fs::create_dir(&elsewhere).unwrap();
    let mut directory = story.open(now);
    let both = directory.issue(&wanted(Kind::Agent, "ams"), &elsewhere, now).unwrap().0;
    drop(directory);
    check("ams", "stolen", "several daemons are named ams: say probe/ams or agent/ams");
    assert_eq!(revoke("agent/ams", "stolen").unwrap(), [both.serial]);

    // A list has what may still be shown, by a clock that is behind, and no more.
    let listed = |at: Timestamp| story.open(at).index().listed(at).count();
    assert_eq!(listed(now), 4);
    assert_eq!(listed(start() + DAY * 37), 4);
    assert_eq!(listed(start() + DAY * 37 + SignedDuration::from_secs(1)), 3);
    assert_eq!(listed(start() + DAY * 39), 0);
}

#[test]
fn a_list_is_made_anew_half_way_and_after_a_crash() {
    let story = Story::begin();
    let list = |at: Timestamp| story.open(at).index().list.clone();
    let text = || fs::read(story.dir().join(LIST_FILE)).unwrap();
    let first = text();
    assert_eq!(list(start() + DAY * 15).number, 1);
    assert_eq!(text(), first);
    let later = start() + DAY * 15 + SignedDuration::from_secs(1);
    assert_eq!(list(later), List { number: 2, until: later + DAY * 30, is_written: true });
    assert_ne!(text(), first);
    assert_eq!(list(later).number, 2);

    // The index says that something is revoked, and the list was not written.
    story.issue(Kind::Probe, "ams", later);
    let mut index: Index =
        serde_json::from_slice(&fs::read(story.dir().join(INDEX_FILE)).unwrap()).unwrap();
    index.revoke("ams", "stolen", later).unwrap();
    fs::write(story.dir().join(INDEX_FILE), serde_json::to_vec(&index).unwrap()).unwrap();
    assert_eq!(story.credentials("ams").doubts(later.as_second()), []);
    story.open(later);
    assert_eq!(story.credentials("ams").doubts(later.as_second()), [Doubt::Revoked]);
}

#[test]
fn a_directory_of_which_parts_are_of_another_is_told() {
    let (story, other) = (Story::begin(), Story::begin());
    let issue = |story: &Story| {
        let mut directory = Directory::open(&story.dir(), start())?;
        directory.issue(&wanted(Kind::Probe, "ams"), &story.dir(), start())
    };
    let copy = |file: &str| {
        fs::copy(other.dir().join(file), story.dir().join(file)).unwrap();
    };
    copy(KEY_FILE);
    let told = refusal(issue(&story));
    assert!(told.contains("ca.key is not the key of the certificate"), "{told}");
    copy(CA_FILE);
    let told = refusal(issue(&story));
    assert!(told.contains("ca.pem and index.json are not of the same CA"), "{told}");
    assert!(!story.dir().join("ams.pem").exists());
    copy(INDEX_FILE);
    assert_eq!(refusal(issue(&story)), "done");
    fs::write(story.dir().join(INDEX_FILE), "{").unwrap();
    let told = refusal(issue(&story));
    assert!(told.contains("index.json: EOF") && told.contains("bring it back"), "{told}");
}

#[test]
fn an_index_has_a_bound_and_forgets() {
    let issued = |number: usize, until| Issued {
        serial: Serial::of((number as u128).to_be_bytes()),
        principal: "gslb://test/probe/ams".parse().unwrap(),
        dns_names: vec![],
        from: start(),
        until,
        revoked: None,
    };
    let list = List { number: 1, until: start(), is_written: true };
    let (cluster, ca) = ("test".into(), "ca".into());
    let none = vec![];
    let mut index = Index { version: VERSION, cluster, ca, ca_until: start(), list, issued: none };
    for number in 0..MOST_ISSUED - 1 {
        index.issued.push(issued(number, start() + DAY));
    }
    index.add(issued(0, start()), start()).unwrap();
    let told = refusal(index.add(issued(1, start()), start()));
    assert!(told.contains("there are 100000 certificates already"), "{told}");
    // One that has ended a year ago makes place.
    let year = start() + DAY * 365;
    assert!(refusal(index.add(issued(1, start()), year)).contains("already"));
    index.add(issued(1, start()), year + SignedDuration::from_secs(1)).unwrap();
}

#[test]
fn serial_numbers_are_positive_and_read_as_others_write_them() {
    for chance in [[0; 16], [255; 16]] {
        let serial = Serial::of(chance);
        assert!((0x40..0x80).contains(&serial.0[0]));
        let text = serial.to_string();
        assert_eq!(text.parse(), Ok(serial));
        let pairs: Vec<&str> = (0..16).map(|at| &text[at * 2..at * 2 + 2]).collect();
        assert_eq!(pairs.join(":").to_uppercase().parse(), Ok(serial));
    }
    for text in ["", "7f", "ams", &"g".repeat(32), &"0".repeat(34)] {
        assert!(text.parse::<Serial>().is_err(), "{text}");
    }
}

#[test]
fn what_ends_at_once_is_listed_by_name() {
    let story = Story::begin();
    let names = ["ams", "fra", "iad", "lhr", "nrt", "syd"];
    for name in names.iter().rev() {
        story.issue(Kind::Probe, name, start());
    }
    let text = show::text(story.open(start()).index(), start());
    let listed: Vec<&str> = text.lines().skip(1).map(|line| &line[line.len() - 3..]).collect();
    assert_eq!(listed, names);
}

#[test]
fn everything_issued_is_shown() {
    let story = Story::begin();
    story.issue(Kind::Dns, "dns1", start());
    story.issue(Kind::Probe, "ams", start() + DAY);
    story.open(start()).revoke("ams", "stolen", start() + DAY).unwrap();
    let at = |days: i32| {
        let now = start() + DAY * days;
        let directory = story.open(now);
        let (text, json) = (show::text(directory.index(), now), show::json(directory.index(), now));
        let object: serde_json::Value = serde_json::from_str(&json).unwrap();
        let states: Vec<&str> = object["issued"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["state"].as_str().unwrap())
            .collect();
        for (state, line) in states.iter().zip(text.lines().skip(1)) {
            assert!(line.starts_with(state), "{line}\nexpected {state}");
        }
        (states.join(" "), text)
    };
    assert_eq!(at(1).0, "good revoked");
    assert_eq!(at(23).0, "good revoked");
    let (states, text) = at(24);
    assert_eq!(states, "soon revoked");
    assert!(text.contains("gslb://test/dns/dns1  (6 days left)"), "{text}");
    assert!(text.contains("gslb://test/probe/ams  (2026-11-22T22:00:00Z: stolen)"), "{text}");
    assert_eq!(at(31).0, "expired revoked");
    let chain = certificates(&fs::read(story.dir().join("ams.pem")).unwrap()).unwrap();
    assert_eq!(principal_of(&chain[0]).unwrap().to_string(), "gslb://test/probe/ams");
}
