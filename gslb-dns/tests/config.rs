//! What configurations say: good ones become what was meant, bad ones name every problem.
//!
//! Each bad file has what is said of it beside it; `UPDATE_GOLDEN=1 cargo test` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use gslb_dns::config::{self, Colour, Problems};
use gslb_dns::cookie::{Secret, Secrets};
use gslb_dns::health::board::Health;
use gslb_dns::health::overrides::{Glob, Order, Override};
use gslb_dns::world::{Answers, Area, Destination, FailMode, Pace, RateLimits, Step, World};
use proptest::prelude::*;

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}

/// Compares what is said of every file in a folder with what is written beside it.
fn check_all(folder: &str, problems: impl Fn(&Path) -> Problems) {
    let folder = files().join(folder);
    let mut failed = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        count += 1;
        let said = shown(&problems(&path).to_string()) + "\n";
        let golden = path.with_extension("expected");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &said).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if said != expected {
            failed.push(format!("{}\nsays\n{said}\nnot\n{expected}", path.display()));
        }
    }
    assert!(count > 0, "no files in {}", folder.display());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Paths as seen from the folder of the tests.
fn shown(text: &str) -> String {
    text.replace(&format!("{}/", files().display()), "")
}

fn good() -> String {
    fs::read_to_string(files().join("good/world.toml")).unwrap()
}

fn world(text: &str) -> Result<World, Problems> {
    config::world_from_str(text, &files().join("good"))
}

fn check_epoch(changed: &str, is_same: bool) {
    let before = world(&good()).unwrap().epoch;
    let after = world(changed).unwrap_or_else(|problems| panic!("{problems}")).epoch;
    assert_eq!(before == after, is_same, "{changed}");
}

#[test]
fn bad_worlds_are_told_every_problem() {
    check_all("bad/world", |path| config::load_world(path).unwrap_err());
}

#[test]
fn bad_nodes_are_told_every_problem_of_their_world_too() {
    check_all("bad/node", |path| config::load(path).unwrap_err());
}

#[test]
fn bad_overrides_are_told_every_problem() {
    check_all("bad/overrides", |path| {
        let text = fs::read_to_string(path).unwrap();
        config::overrides::overrides(path, &text).unwrap_err()
    });
}

#[test]
fn a_problem_is_shown_with_its_line() {
    let text = "[zone.\"example.com\"]\nfile = \"example.com.zone\"\n\n[site.fra1]\nvips = [\n  \
                \"192.0.2.1\",\n  \"192.0.2.300\",\n]\nbios = 1\n";
    let problems = world(text).unwrap_err();
    let expected = "\
error: \"192.0.2.300\" is not an IP address such as \"192.0.2.1\" or \"2001:db8::1\"
 --> good/world.toml:7:3
  |
7 |   \"192.0.2.300\",
  |   ^^^^^^^^^^^^^ site.fra1.vips[1]

error: unknown key; did you mean bias? (known keys: place, vips, domain, agents, capacity, bias)
 --> good/world.toml:9:1
  |
9 | bios = 1
  | ^^^^ site.fra1.bios

2 problems";
    assert_eq!(shown(&problems.render(Colour::Never)), expected);
    assert!(problems.render(Colour::Always).contains("\u{1b}["));
}

#[test]
fn a_problem_of_a_zone_file_is_shown_with_its_line() {
    let problems = config::load_world(&files().join("bad/world/zone_files.toml")).unwrap_err();
    let shown = shown(&problems.render(Colour::Never));
    assert!(shown.contains("--> bad/world/zones/broken.zone:3"), "{shown}");
    assert!(shown.contains("3 | www A   192.0.2.300\n"), "{shown}");
}

#[test]
fn a_good_configuration_is_what_was_meant() {
    let config::Config { node, world, .. } = config::load(&files().join("good/node.toml"))
        .unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((&*node.name, &*node.cluster), ("dns1", "example"));
    assert_eq!(node.world, files().join("good/world.toml"));
    assert_eq!(node.state_dir, Path::new("/var/lib/gslb-dns"));
    assert_eq!(node.dns.listen.len(), 2);
    assert_eq!(node.dns.threads, Some(4));
    assert_eq!(node.dns.tcp.connections, 1000);
    assert_eq!(node.dns.tcp.connections_per_client, 64);
    let trusted: [ipnet::IpNet; 2] =
        ["192.0.2.0/24", "2001:db8:7::/48"].map(|net| net.parse().unwrap());
    assert_eq!(*node.dns.trusted, trusted);
    assert_eq!(node.dns.tcp.idle.as_secs(), 5);
    let cookies = node.dns.cookies.unwrap();
    assert_eq!(cookies.path, files().join("good/cookie.key"));
    let secret = |hex: u128| Secret::new(hex.to_be_bytes());
    let expected =
        [0x4455_36bc_d251_3298_075a_5d37_9663_c962, 0xdd3b_df93_44b6_78b1_85a6_f5cb_60fc_a715];
    assert_eq!(cookies.secrets, Secrets::new(expected.map(secret)));
    let limits = RateLimits {
        answers_per_second: 200,
        errors_per_second: 20,
        ipv4_prefix: 24,
        ipv6_prefix: 48,
        slip: 2,
        slots: 131_072,
        exempt: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
    };
    assert_eq!(node.dns.rate_limit, Some(limits));
    let tls = node.dns.tls.unwrap();
    assert_eq!(tls.listen, ["[::]:853".parse().unwrap()]);
    assert_eq!(tls.credentials.certificate, files().join("good/dns.pem"));
    assert_eq!(tls.credentials.key, files().join("good/dns.key"));
    let https = node.dns.https.unwrap();
    assert_eq!(https.listen, ["[::]:443".parse().unwrap()]);
    assert_eq!(&*https.path, "/dns-query");
    // The port that TLS has, for that is TCP.
    assert_eq!(node.dns.quic.unwrap().listen, ["[::]:853".parse().unwrap()]);
    assert_eq!(node.dns.proxies.len(), 2);
    assert!(!node.dns.talkers);
    let control = node.control.unwrap();
    assert_eq!(control.listen, "0.0.0.0:8453".parse().unwrap());
    assert_eq!(control.files.certificate, files().join("good/control.pem"));
    assert_eq!(control.files.crl, Some(files().join("good/crl.pem")));
    let peers: Vec<_> = control.peers.iter().map(|peer| (peer.address, &*peer.name)).collect();
    assert_eq!(peers, [("192.0.2.2:8453".parse().unwrap(), "dns2")]);
    assert_eq!(node.admin.listen.map(|admin| admin.to_string()), Some("127.0.0.1:8080".to_owned()));

    let sites: Vec<String> = world
        .sites
        .iter()
        .map(|site| format!("{} | {} | {:?} | {}", site.name, site.place, site.domain, site.bias.0))
        .collect();
    assert_eq!(
        sites,
        [
            "ams | Europe, NL, 52.09 5.21 | Some(DomainId(0)) | 20",
            "fra | Europe, DE, 50.11 8.68 | Some(DomainId(1)) | 0",
            "iad | North America, US, US-VA, 39.00 -77.50 | Some(DomainId(1)) | 0",
            "nrt | Asia, JP, Tokyo, 35.57 137.20 | None | 0",
        ]
    );
    let agents = |name: &str| {
        let site = world.sites.iter().find(|site| &*site.name == name).unwrap();
        site.agents.iter().map(|agent| &**agent).collect::<Vec<_>>()
    };
    assert_eq!((agents("fra"), agents("ams")), (vec!["fra-a", "fra-b"], vec![]));
    assert!(world.ecs_private);
    assert_eq!(world.overrides.len(), 2);

    let service = |name: &str| {
        let name = name.parse().unwrap();
        world.services.iter().find(|service| service.name == name).unwrap()
    };
    let www = service("www.example.com");
    assert_eq!(www.answers, Answers::Addresses);
    assert_eq!(www.strict_fence, Some(Area::Continent));
    assert_eq!((www.steps.as_slice(), www.pace), (&[Step::Nearest][..], Pace::Weighted));
    assert_eq!((www.take.sites, www.take.across_tiers), (2, false));
    assert_eq!(www.ttl.max.as_secs(), 30);
    let weights: Vec<u32> = www.candidates.iter().map(|candidate| candidate.weight).collect();
    assert_eq!(weights, [1, 1, 10]);
    let vips = |index: usize| match &www.candidates[index].target {
        Destination::Vips(vips) => (vips.v4.len(), vips.v6.len()),
        Destination::Cname(name) => panic!("{name}"),
    };
    assert_eq!((vips(0), vips(2)), ((1, 1), (2, 0)));

    let api = service("*.api.example.com");
    assert!(matches!(
        api.steps.as_slice(),
        [Step::Fence(Area::Country), Step::Map(_), Step::Failover]
    ));
    assert!(matches!(&api.fail_mode, FailMode::Static(vips) if vips.v6.len() == 1));
    assert_eq!(api.ttl.max.as_secs(), 300);

    let live = service("live.example.com");
    assert_eq!(live.fail_mode, FailMode::Empty);

    assert!(www.https.as_ref().is_some_and(|https| https.targets.is_none()));
    assert_eq!(www.https.as_ref().map(|https| https.params.length()), Some(6 + 10));
    let dns = service("_dns.example.com");
    let targets = dns.svcb.as_ref().and_then(|svcb| svcb.targets.as_ref()).unwrap();
    assert_eq!((targets.alternatives, targets.data.len()), (2, 2));
    assert!(dns.https.is_none());

    let cdn = service("cdn.example.com");
    assert_eq!((cdn.answers, cdn.fail_mode.clone()), (Answers::Cname, FailMode::LastKnown));
    let zones: Vec<String> = world.zones.iter().map(|zone| zone.apex().to_string()).collect();
    assert_eq!(zones, ["example.com.", "live.example.com."]);
}

#[test]
fn a_secret_that_everybody_can_read_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = |file: &str| dir.path().join(file);
    fs::write(path("cookie.key"), "445536bcd2513298075a5d379663c962").unwrap();
    let world = files().join("good/world.toml");
    let node = format!(
        "name = \"a\"\ncluster = \"b\"\nworld = {world:?}\nstate_dir = \"state\"\n\
         [dns]\nlisten = [\"127.0.0.1:0\"]\ncookie_secret = \"cookie.key\"\n\
         rate_limit = {{ answers_per_second = 7 }}\n"
    );
    fs::write(path("node.toml"), node).unwrap();
    for (mode, is_open) in [(0o600, false), (0o640, false), (0o644, true)] {
        fs::set_permissions(path("cookie.key"), fs::Permissions::from_mode(mode)).unwrap();
        let config = config::load(&path("node.toml")).unwrap_or_else(|all| panic!("{all}"));
        assert_eq!(config.node.dns.cookies.unwrap().is_open, is_open, "{mode:o}");
        assert!(config.node.dns.talkers, "it is counted who asks most, unless the file says no");
        // What is not said of errors holds for answers.
        assert_eq!(config.node.dns.rate_limit.unwrap().errors_per_second, 7);
    }
}

#[test]
fn a_service_has_as_many_sites_as_a_tier_has_bits() {
    let text = |count: usize| {
        let sites: String =
            (0..count).map(|n| format!("[site.s{n}]\nvips = [\"192.0.2.{n}\"]\n")).collect();
        let names: Vec<String> = (0..count).map(|n| format!("\"s{n}\"")).collect();
        format!(
            "[zone.\"example.com\"]\nfile = \"example.com.zone\"\n{sites}\
             [service.\"www.example.com\"]\nsites = [{}]\nwhen_all_down = \"open\"\n",
            names.join(", ")
        )
    };
    assert!(world(&text(128)).is_ok());
    let problems = world(&text(129)).unwrap_err().to_string();
    assert!(problems.ends_with("sites: lists 129 sites, and 128 is the most"), "{problems}");
}

#[test]
fn there_are_no_more_services_than_ids() {
    let text: String = (0..65_536)
        .map(|n| format!("[service.\"s{n}.example.com\"]\nsites = []\nwhen_all_down = \"open\"\n"))
        .collect();
    let problems = world(&text).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems}");
    assert!(problems.to_string().ends_with("one of 65536, where 65535 is the most"), "{problems}");
}

#[test]
fn files_that_are_no_text_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("world.toml");
    fs::write(&path, b"# fine\nname = \"\xff\"\n").unwrap();
    let said = |path: &Path| config::load_world(path).unwrap_err().to_string();
    assert!(
        said(&path).ends_with("world.toml: is not UTF-8: line 2 holds an octet that is no text")
    );
    assert!(said(dir.path()).ends_with(": cannot be read: not a regular file"));
    assert!(said(&dir.path().join("none")).contains("none: cannot be read: No such file"));
}

#[test]
fn an_epoch_sees_what_is_said_and_not_how() {
    let good = good();
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "the good world has no {from}");
        good.replace(from, to)
    };
    check_epoch(&good, true);
    check_epoch(&with("\n", "\r\n"), true);
    check_epoch(&with(" = ", "="), true);
    check_epoch(&with("bias   = 20", "bias = 0x14 # more\n"), true);
    let (geoip, rest) = good.split_once("[zone.\"example.com\"]").unwrap();
    check_epoch(&format!("[zone.\"example.com\"]{rest}{geoip}"), true);

    check_epoch(&with("bias   = 20", "bias = 21"), false);
    check_epoch(&with("[\"fra\", \"ams\", \"iad\"]", "[\"ams\", \"fra\", \"iad\"]"), false);
    check_epoch(&good.replace("site.nrt", "site.tyo").replace("\"nrt\"", "\"tyo\""), false);
}

#[test]
fn an_epoch_sees_every_file_but_not_where_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let database = "GeoIP2-Country-Test.mmdb";
    for entry in fs::read_dir(files().join("good")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/maxmind/test-data");
    fs::copy(tests.join(database), dir.path().join(database)).unwrap();
    let epoch = |text: &str| config::world_from_str(text, dir.path()).unwrap().epoch;
    let good = good();
    assert_eq!(epoch(&good), world(&good).unwrap().epoch);

    let with_database = good.replace("[geoip]", &format!("[geoip]\ndatabases = [\"{database}\"]"));
    let before = epoch(&with_database);
    let included = dir.path().join("mail.zone");
    fs::write(&included, "@ MX 20 mail\nmail A 192.0.2.25\n").unwrap();
    let after = epoch(&with_database);
    assert_ne!(before, after);
    fs::copy(tests.join("GeoLite2-Country-Test.mmdb"), dir.path().join(database)).unwrap();
    assert_ne!(epoch(&with_database), after);
    assert_eq!(after.to_string().len(), 64);
}

#[test]
fn every_override_is_read() {
    let text = "
        [[override]]
        site    = \"FRA*\"
        service = \"www.*.\"
        state   = \"down\"
        why     = \"fibre cut\"
        who     = \"ana\"
        since   = 2026-11-21T09:30:00Z
        until   = 2026-11-21T13:00:00+01:00

        [[override]]
        site = \"ams\"
        drain = false
        why = \"back\"
        who = \"bo\"
    ";
    let read = config::overrides::overrides(Path::new("overrides.toml"), text).unwrap();
    let force = Override {
        site: Glob::new("fra*"),
        service: Glob::new("www.*"),
        order: Order::Force(Health::Down),
        who: "ana".into(),
        why: "fibre cut".into(),
        since: "2026-11-21T09:30:00Z".parse().unwrap(),
        until: Some("2026-11-21T12:00:00Z".parse().unwrap()),
    };
    let undrain = Override {
        site: Glob::new("ams"),
        service: Glob::any(),
        order: Order::Undrain,
        who: "bo".into(),
        why: "back".into(),
        since: jiff::Timestamp::UNIX_EPOCH,
        until: None,
    };
    assert_eq!(read, [force, undrain]);
    assert!(config::overrides::overrides(Path::new("overrides.toml"), "").unwrap().is_empty());
}

/// One slip of the hand.
#[derive(Clone, Debug)]
enum Slip {
    Cut(usize, usize),
    Put(usize, String),
    Copy(usize, usize, usize),
    Swap(usize, usize),
}

fn slips() -> impl Strategy<Value = Vec<Slip>> {
    let at = 0..4000usize;
    let bits = prop_oneof![
        "[\\[\\]{}\"=.,#\n a-z0-9:/-]{1,4}",
        prop::sample::select(vec![
            "[service.\"www.example.com\"]\n",
            "{ fence = \"country\" }, ",
            "\"failover\", ",
            "0",
            "-",
            "99999999999999999999",
            "nan",
            "inf",
            "\"\"",
            "[]",
            "{}",
            "é",
            "\u{0}",
            "2026-11-21",
            "\"192.0.2.0/0\"",
            "\"::/0\"",
            "0x1f",
            "'''",
            "\"\"\"",
        ])
        .prop_map(str::to_owned),
    ];
    let slip = prop_oneof![
        (at.clone(), 1..40usize).prop_map(|(at, length)| Slip::Cut(at, length)),
        (at.clone(), bits).prop_map(|(at, text)| Slip::Put(at, text)),
        (at.clone(), 1..200usize, at.clone())
            .prop_map(|(from, length, to)| Slip::Copy(from, length, to)),
        (0..120usize, 0..120usize).prop_map(|(one, other)| Slip::Swap(one, other)),
    ];
    prop::collection::vec(slip, 1..6)
}

fn slipped(text: &str, slips: &[Slip]) -> String {
    let mut text = text.to_owned();
    let near = |text: &str, at: usize| text.floor_char_boundary(at % (text.len() + 1));
    for slip in slips {
        match slip {
            Slip::Cut(at, length) => {
                let start = near(&text, *at);
                let end = text.floor_char_boundary((start + length).min(text.len()));
                text.replace_range(start..end.max(start), "");
            }
            Slip::Put(at, put) => {
                let at = near(&text, *at);
                text.insert_str(at, put);
            }
            Slip::Copy(from, length, to) => {
                let start = near(&text, *from);
                let end = text.floor_char_boundary((start + length).min(text.len())).max(start);
                let copied = text[start..end].to_owned();
                let to = near(&text, *to);
                text.insert_str(to, &copied);
            }
            Slip::Swap(one, other) => {
                let mut lines: Vec<&str> = text.lines().collect();
                if !lines.is_empty() {
                    let count = lines.len();
                    lines.swap(one % count, other % count);
                }
                text = lines.join("\n");
            }
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// A slip is told, or it is a world; whatever is told can be shown.
    #[test]
    fn no_slip_is_a_panic(slips in slips()) {
        if let Err(problems) = world(&slipped(&good(), &slips)) {
            prop_assert!(!problems.is_empty());
            for line in problems.to_string().lines() {
                prop_assert!(line.starts_with(&*files().join("good").to_string_lossy()), "{line}");
            }
            problems.render(Colour::Never);
        }
    }

    #[test]
    fn no_slip_in_overrides_is_a_panic(slips in slips()) {
        let text = fs::read_to_string(files().join("bad/overrides/entries.toml")).unwrap();
        if let Err(problems) = config::overrides::overrides(Path::new("o.toml"), &slipped(&text, &slips)) {
            problems.render(Colour::Never);
        }
    }
}
