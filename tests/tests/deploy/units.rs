//! The units, as systemd itself reads and judges them. That the daemons work within them is seen by `fleet`.

use std::path::Path;
use std::process::Command;

use gslb_tests::machine::checkout;
use gslb_tests::peers;
use gslb_tests::server::built;

use super::read;

const ANALYZE: &str = "/usr/bin/systemd-analyze";
/// Whose scores the guide has.
const VERSION: &str = "252";
const SERVICES: [&str; 4] = ["gslb-dns", "probe", "site-agent", "site-agent-vrrp"];

fn left_out() -> bool {
    peers::missing((!Path::new(ANALYZE).exists()).then_some("systemd is not installed"))
}

fn analyze(arguments: &[&str]) -> String {
    let done = Command::new(ANALYZE).arg("--no-pager").args(arguments).output().unwrap();
    let text = |octets| String::from_utf8(octets).unwrap();
    text(done.stdout) + &text(done.stderr)
}

#[test]
fn the_guide_has_their_scores() {
    if left_out() {
        return;
    }
    let is_ours = analyze(&["--version"]).starts_with(&format!("systemd {VERSION} "));
    let guide = read("docs/operators-guide.md");
    assert!(guide.contains(&format!("systemd {VERSION}")));
    for service in SERVICES {
        let path = checkout().join(format!("deploy/{service}.service"));
        let told = analyze(&["security", "--offline=true", path.to_str().unwrap()]);
        let score = told.split("Overall exposure level for ").nth(1).unwrap();
        let score: f64 = score.split(' ').nth(1).unwrap().parse().unwrap();
        let row = guide.lines().find(|line| line.starts_with(&format!("| `{service}.service` |")));
        let row = row.unwrap_or_else(|| panic!("the guide has no score of {service}"));
        let written: f64 = row.split('|').nth(2).unwrap().trim().parse().unwrap();
        // Other versions look at other things.
        let most = if is_ours { 0.01 } else { 0.5 };
        assert!(
            (score - written).abs() < most,
            "{service}: {score}, the guide says {written}\n{told}"
        );
    }
}

#[test]
fn systemd_understands_every_line() {
    if left_out() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let programs = built("gslb-dns").unwrap();
    let programs = programs.parent().unwrap().to_str().unwrap();
    let units = SERVICES.map(|service| format!("{service}.service")).into_iter();
    for unit in units.chain(["gslb-dns.socket".to_owned()]) {
        // It looks whether the program is there.
        let text = read(&format!("deploy/{unit}")).replace("/usr/local/bin", programs);
        std::fs::write(dir.path().join(unit), text).unwrap();
    }
    let verify = |unit: &Path| {
        analyze(&["verify", "--man=no", "--recursive-errors=no", unit.to_str().unwrap()])
    };
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let told = verify(&path);
        let ours: Vec<&str> = told
            .lines()
            .filter(|line| {
                line.contains("gslb-dns") || line.contains("probe") || line.contains("site-agent")
            })
            .collect();
        assert!(ours.is_empty(), "{}:\n{told}", path.display());
    }
    // It would say so.
    let bad = dir.path().join("gslb-dns.service");
    let text = std::fs::read_to_string(&bad).unwrap();
    std::fs::write(&bad, text.replace("ProtectHome=yes", "ProtectHouse=yes")).unwrap();
    assert!(verify(&bad).contains("ProtectHouse"), "{}", verify(&bad));
}
