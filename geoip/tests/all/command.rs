//! The tool as people run it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::worlds::maxmind;

fn geoip(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_geoip")).args(arguments).output().unwrap()
}

/// Runs the tool and compares what it prints and whether it succeeds; `says` begins standard error.
#[track_caller]
fn check(arguments: &[&str], prints: &str, says: &str, succeeds: bool) {
    let output = geoip(arguments);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), prints, "{arguments:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with(says) && said.is_empty() == says.is_empty(), "{arguments:?}: {said}");
    assert_eq!(output.status.code(), Some(if succeeds { 0 } else { 1 }), "{arguments:?}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn lookup_prints_place_prefix_and_source() {
    let city = maxmind("test-data/GeoIP2-City-Test.mmdb");
    let city = ["--database", text(&city)];
    let lookup = |rest: &[&'static str]| [&["lookup"], &city[..], rest].concat();
    check(
        &lookup(&["81.2.69.142", "2002:5102:458e::", "192.0.2.1"]),
        "81.2.69.142: Europe, GB, GB-ENG, London, 51.51 -0.09 (81.2.69.142/31, GeoIP2-City-Test.mmdb)\n\
         2002:5102:458e::: Europe, GB, GB-ENG, London, 51.51 -0.09 (81.2.69.142/31, GeoIP2-City-Test.mmdb)\n\
         192.0.2.1: unknown place (192.0.0.0/5, in no database)\n",
        "",
        true,
    );
    check(
        &lookup(&[
            "--json",
            "--override",
            "81.2.69.0/24=country:FR,lat:48.5,lon:2.5,asn:64500",
            "81.2.69.142",
        ]),
        "{\"address\":\"81.2.69.142\",\"place\":{\"continent\":\"EU\",\"country\":\"FR\",\"subdivision\":null,\"city\":null,\
         \"location\":{\"lat\":48.5,\"lon\":2.5},\"asn\":64500},\"network\":\"81.2.69.0/24\",\
         \"source\":{\"override\":\"81.2.69.0/24\"}}\n",
        "",
        true,
    );
    check(
        &lookup(&["--override", "::ffff:10.0.0.0/104=country:FR", "10.0.0.1"]),
        "10.0.0.1: unknown place (8.0.0.0/5, in no database)\n",
        "geoip: --override ::ffff:10.0.0.0/104: has no effect; these addresses carry IPv4, give the IPv4 prefix\n",
        true,
    );
    check(
        &["lookup", "--database", "none.mmdb", "192.0.2.1"],
        "",
        "geoip: none.mmdb: cannot be read; check that it exists and that we may read it: No such file",
        false,
    );
}

#[test]
fn verify_checks_every_file_and_fails_if_one_is_refused() {
    let asn = maxmind("test-data/GeoLite2-ASN-Test.mmdb");
    let bad = maxmind("bad-data/maxminddb-golang/invalid-data-record-offset.mmdb");
    let output = geoip(&["verify", text(&asn)]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(printed.starts_with(&format!("{}: GeoLite2-ASN of 20", text(&asn))), "{printed}");
    assert!(printed.ends_with(": 412 networks, 95 places, 1341 nodes\n"), "{printed}");
    let refusal = format!(
        "geoip: {}: not a sound mmdb file; fetch it again or go back to the copy before: ",
        text(&bad)
    );
    check(&["verify", text(&bad), text(&asn)], &printed, &refusal, false);
}

#[test]
fn build_writes_a_database_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (v4, v6, out) = (path("geoip"), path("geoip6"), path("country.mmdb"));
    fs::write(
        &v4,
        "# IPv4\n167772160,184549375,DE\n184549376,184549631,??\n184549632,184549887,OS\n",
    )
    .unwrap();
    fs::write(&v6, "2001:db8::,2001:db8:ffff:ffff:ffff:ffff:ffff:ffff,FR\n2002::,2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff,JP\n").unwrap();
    let arguments = [
        "build",
        "--v4",
        text(&v4),
        "--v6",
        text(&v6),
        "--output",
        text(&out),
        "--build-epoch",
        "1700000000",
    ];
    let warnings = "geoip: left out 1 lines whose country nobody knows\n\
                    geoip: left out 1 lines of addresses that are read as the IPv4 inside\n\
                    geoip: left out 1 lines of \"OS\", which is no country's code\n";
    let output = geoip(&arguments);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), warnings);
    let first = fs::read(&out).unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("{}: 2 ranges, {} bytes\n", text(&out), first.len())
    );
    check(
        &["verify", text(&out)],
        &format!("{}: Ranges-Country of 2023-11-14: 2 networks, 2 places, 160 nodes\n", text(&out)),
        "",
        true,
    );

    // Again gives the same bytes; a list that cannot be read leaves the database as it is.
    assert!(geoip(&arguments).status.success());
    assert_eq!(fs::read(&out).unwrap(), first);
    fs::write(&v4, "167772160,184549375\n").unwrap();
    check(
        &arguments,
        "",
        &format!("geoip: {}:1: \"167772160,184549375\" is not START,END,CC", text(&v4)),
        false,
    );
    assert_eq!(fs::read(&out).unwrap(), first);
    let mut left: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["country.mmdb", "geoip", "geoip6"]);
}
