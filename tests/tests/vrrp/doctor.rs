//! `vrrp doctor`: boxes and links with something wrong, and what it says of them.

use std::fs;
use std::process::Command;

use gslb_tests::server::built;
use serde_json::Value;

use super::boxes::{Place, ground};

const LINES: &str = "vips = [\"192.0.2.100/24\", \"2001:db8::64/64\"]\nprofile = \"fast\"";

/// What is found there, as JSON and as its exit code says.
fn found(place: &Place) -> (Vec<Value>, i32) {
    let mut command = Command::new(built("site-agent").unwrap());
    command.args(["vrrp", "doctor", "--json", "--config"]).arg(place.folder().join("site.toml"));
    let output = place.machine.within(|| command.output().unwrap());
    let error = String::from_utf8_lossy(&output.stderr);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{error}"));
    assert_eq!(error, "");
    (report["findings"].as_array().unwrap().clone(), output.status.code().unwrap())
}

/// What is not fine, of a virtual router `web` with these lines, which does not run.
fn wrong(place: &Place, lines: &str) -> Vec<String> {
    place.write(&format!("[vrrp.web]\ninterface = \"eth0\"\nvrid = 51\n{lines}\n"));
    let (findings, code) = found(place);
    let has_problem = findings.iter().any(|finding| finding["severity"] == "problem");
    assert_eq!(code, i32::from(has_problem), "{findings:?}");
    let wrong = findings.iter().filter(|finding| {
        finding["severity"] != "fine"
            && !finding["what"].to_string().contains("does not answer, so")
    });
    wrong
        .map(|finding| {
            let text = |key: &str| finding[key].as_str().unwrap();
            format!("{} {}: {}", text("severity"), text("about"), text("what"))
        })
        .collect()
}

#[track_caller]
fn check(wrong: &[String], expected: &[&str]) {
    let is_so = wrong.len() == expected.len()
        && wrong.iter().zip(expected).all(|(wrong, expected)| wrong.contains(expected));
    assert!(is_so, "{wrong:#?}\n{expected:#?}");
}

#[test]
fn a_box_that_is_fit_has_nothing_wrong() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b) = (ground.place("a"), ground.place("b"));
    check(&wrong(&a, LINES), &[]);
    // The same while a pair runs, on both of them.
    let one = a.start(&format!("{LINES}\npriority = 200"));
    one.until_role("active");
    let other = b.start(LINES);
    other.stays("backup", 5);
    for (place, said) in [(&a, "192.0.2.100 is on this box: it is Active"), (&b, "is heard")] {
        let (findings, code) = found(place);
        let problems = findings.iter().filter(|finding| finding["about"] == "web");
        let problems: Vec<_> = problems.filter(|finding| finding["severity"] != "fine").collect();
        assert_eq!((code, problems), (0, vec![]), "{findings:?}");
        assert!(
            findings.iter().any(|finding| finding["what"].to_string().contains(said)),
            "{findings:?}"
        );
        let of_service = findings.iter().filter(|finding| finding["about"] == "service");
        assert_eq!(of_service.count(), 2, "{findings:?}");
    }
    // The Active one's addresses are where it is, and are asked for in both families.
    let (findings, _) = found(&b);
    for vip in ["192.0.2.100", "2001:db8::64"] {
        let said = format!(" answers for {vip}");
        assert!(
            findings.iter().any(|finding| finding["what"].to_string().contains(&said)),
            "{findings:?}"
        );
    }
}

#[test]
fn an_address_that_somebody_has_outside_of_vrrp_is_found() {
    let Some(ground) = ground(&[]) else { return };
    let (a, c) = (ground.place("a"), ground.place("c"));
    c.machine.change("address add 192.0.2.100/24 dev eth0").unwrap();
    c.machine.change("address add 2001:db8::64/64 dev eth0 nodad").unwrap();
    check(
        &wrong(&a, LINES),
        &[
            "answers for 192.0.2.100, and no advert of VRID 51 is heard",
            "answers for 2001:db8::64, and no advert of VRID 51 is heard",
        ],
    );
    c.machine.change("address del 192.0.2.100/24 dev eth0").unwrap();
    c.machine.change("address del 2001:db8::64/64 dev eth0").unwrap();
    // Here, by hand.
    a.machine.change("address add 192.0.2.100/24 dev eth0").unwrap();
    check(&wrong(&a, LINES), &["192.0.2.100 is on eth0 and was not put there by the service"]);
}

#[test]
fn a_partner_who_was_told_something_else_is_found() {
    let Some(ground) = ground(&["keepalived"]) else { return };
    let (a, b) = (ground.place("a"), ground.place("b"));
    let keepalived = b.keepalived(
        2,
        " priority 120\n advert_int 1\n authentication {\n auth_type PASS\n auth_pass 1234\n }\n \
         virtual_ipaddress { 192.0.2.100/32 }",
    );
    b.until_has("192.0.2.100", true);
    let v2 = "vips = [\"192.0.2.100\"]\nversion = 2";
    check(
        &wrong(&a, v2),
        &["what 192.0.2.11 says for VRID 51 is refused: authentication type 1, expected 0"],
    );
    // A password is always warned of by the config itself.
    let of = |lines: &str| wrong(&a, &format!("{v2}\n{lines}"));
    check(
        &of("peers = [\"192.0.2.11\"]"),
        &["is refused: sent to 224.0.0.18, expected 192.0.2.10"],
    );
    check(&of("interval = \"2s\""), &["is refused: interval 1 s, expected 200 cs"]);
    check(
        &wrong(&a, "vips = [\"192.0.2.100\"]"),
        &["is refused: VRRP version 2, which is not spoken here"],
    );
    check(
        &wrong(&a, "vips = [\"192.0.2.101\"]\nversion = 2"),
        &["VRID 51 is another's on this link: 192.0.2.11 has none of these vips, but 192.0.2.100"],
    );
    drop(keepalived);
}

#[test]
fn a_box_that_is_not_fit_is_found() {
    let Some(ground) = ground(&[]) else { return };
    let a = ground.place("a");
    let set = |key: &str, value: &str| {
        let file = format!("/proc/sys/net/{key}");
        a.machine.within(|| fs::write(file, value).unwrap());
    };
    set("ipv4/conf/all/arp_ignore", "8");
    set("ipv4/conf/all/promote_secondaries", "0");
    set("ipv4/conf/eth0/promote_secondaries", "0");
    check(
        &wrong(&a, "vips = [\"198.51.100.1/24\", \"198.51.100.2/24\"]\nprofile = \"fast\""),
        &[
            "problem web: nobody would be told by ARP where 198.51.100.1/24 is: arp_ignore is 8 at eth0",
            "warning web: 198.51.100.1/24 is or will be the first of several addresses of its network",
        ],
    );
    set("ipv4/conf/all/arp_ignore", "0");
    set("ipv6/conf/eth0/disable_ipv6", "1");
    check(
        &wrong(&a, "vips = [\"192.0.2.100\", \"2001:db8::64\"]\nprofile = \"fast\""),
        &["problem web: IPv6 is switched off at eth0"],
    );
    a.machine.change("address flush dev eth0").unwrap();
    let lines = "vips = [\"192.0.2.100\"]\nprofile = \"fast\"";
    check(
        &wrong(&a, lines),
        &["problem web: eth0 has no IPv4 address that adverts could come from"],
    );
    a.machine.change("link set eth0 down").unwrap();
    check(
        &wrong(&a, &format!("{lines}\nsource = \"192.0.2.10\"")),
        &[
            "problem web: eth0 is down, or has no carrier",
            "problem web: source 192.0.2.10 is not on eth0",
        ],
    );
    a.machine.change("link set eth0 name eth5").unwrap();
    check(&wrong(&a, lines), &["problem web: there is no interface eth0 (interfaces: lo, eth5)"]);
}
