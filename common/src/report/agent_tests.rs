//! The body of an agent's report: what is read, what is passed over, what is refused, and every bound at its limit.

use super::super::{Body, Report};
use super::*;

const VIP: &str = r#"{"addr":"198.51.100.10","port":443,"state":"serving"}"#;

fn report(body: &str) -> String {
    format!(
        r#"{{"v":1,"cluster":"example","producer":"fra-a","kind":"agent",
           "boot":"000102030405060708090a0b0c0d0e0f","inc":3,"seq":7,"base":null,"now":12345,
           "digest":"00000000000000000000000000000001","valid_ms":10000,"self":{{}},"body":{body}}}"#
    )
}

fn body(vips: &str, demand: &str) -> String {
    format!(r#"{{"site":"fra","vips":[{vips}],"demand":[{demand}]}}"#)
}

fn vip(keys: &str) -> String {
    body(&VIP.replace('}', &format!(",{keys}}}")), "")
}

fn share(vip: &str, group: &str, rps: &str) -> String {
    format!(r#"{{"vip":"{vip}","group":"{group}","rps":{rps}}}"#)
}

fn read(octets: &str) -> Result<SiteSaid<'_>, Unreadable> {
    match Report::read(octets.as_bytes())?.body {
        Body::Agent(said) => Ok(said),
        Body::Probe(_) => panic!("of an agent"),
    }
}

fn check_refused(body: &str, says: &str) {
    let refused = read(&report(body)).unwrap_err().to_string();
    assert!(refused.contains(says), "{refused} / {says}");
}

fn check_read(body: &str) {
    assert!(read(&report(body)).is_ok(), "{:?}", read(&report(body)));
}

#[test]
fn a_body_is_read() {
    let first = r#"{"addr":"198.51.100.10","port":443,"state":"serving","since":5,"flaps":2,"capacity":14000,
        "load":8123.5,"offer":11800,"backends_up":11,"backends":12,"vrrp":{"vrid":51,"role":"active","since":4}}"#;
    let second = r#"{"addr":"2001:db8:f::10","port":443,"state":"empty"}"#;
    let octets =
        report(&body(&format!("{first},{second}"), &share("198.51.100.10", "eu-de", "3100")));
    let said = read(&octets).unwrap();
    assert_eq!(said.site, "fra");
    let octets: Vec<&str> = said.vips.iter().map(|said| said.octets).collect();
    assert_eq!(octets, [first, second]);
    let rate = |per_second| Rate::new(per_second).unwrap();
    let expected = Vip {
        addr: "198.51.100.10".parse().unwrap(),
        port: 443,
        state: State::Serving,
        since: 5,
        flaps: 2,
        capacity: Some(rate(14_000.0)),
        load: Some(rate(8123.5)),
        offer: Some(rate(11_800.0)),
        backends_up: 11,
        backends: 12,
        vrrp: Some(Vrrp { vrid: 51, role: Role::Active, since: 4 }),
    };
    assert_eq!(said.vips[0].vip, expected);
    let Vip { state, capacity, load, offer, vrrp, .. } = &said.vips[1].vip;
    assert_eq!((*state, *capacity, *load, *offer, *vrrp), (State::Empty, None, None, None, None));
    assert_eq!(said.vips[1].vip.at(), "[2001:db8:f::10]:443".parse().unwrap());
    assert_eq!(said.demand[0].rps, rate(3100.0));
}

#[test]
fn what_is_written_is_read() {
    let octets = report(&vip(r#""capacity":14000.25,"load":0,"vrrp":{"vrid":1,"role":"backup"}"#));
    let SiteSaid { site, vips, .. } = read(&octets).unwrap();
    let vips: Vec<Vip> = vips.into_iter().map(|said| said.vip).collect();
    let demand = Demand {
        vip: "198.51.100.10".parse().unwrap(),
        group: "eu-de".into(),
        rps: Rate::new(1.5).unwrap(),
    };
    let (body, digest) = write(&site, &vips, std::slice::from_ref(&demand));
    let octets = report(body.get());
    let again = read(&octets).unwrap();
    assert_eq!((again.site, again.demand), (site, vec![demand]));
    let mut of_entries = Digest::default();
    for (said, vip) in again.vips.iter().zip(&vips) {
        assert_eq!(said.vip, *vip);
        of_entries.add(EntryHash::of(said.octets));
    }
    assert_eq!(of_entries, digest);
}

#[test]
fn what_is_not_known_is_passed_over() {
    let later = r#"{"addr":"198.51.100.10","port":443,"state":"melting","later":{"a":[1]},
        "vrrp":{"vrid":1,"role":"observer","later":1}}"#;
    let octets = report(&format!(r#"{{"site":"fra","later":[1],"vips":[{later}]}}"#));
    let said = read(&octets).unwrap();
    assert_eq!(said.vips[0].vip.state, State::None);
    assert_eq!(said.vips[0].vip.vrrp.map(|vrrp| vrrp.role), Some(Role::Other));
    assert!(said.demand.is_empty());
}

#[test]
fn numbers_are_finite_and_not_negative() {
    for key in ["capacity", "load", "offer"] {
        for good in ["0", "-0.0", "0.5", "1e12", "null"] {
            check_read(&vip(&format!(r#""{key}":{good}"#)));
        }
        for bad in ["-1", "-1e-300", "1.0000001e12", "1e308"] {
            check_refused(
                &vip(&format!(r#""{key}":{bad}"#)),
                "expected 0 to 1e12 requests a second",
            );
        }
        for bad in ["1e999", "-1e999", "NaN", "Infinity", "\"5\"", "[]"] {
            check_refused(&vip(&format!(r#""{key}":{bad}"#)), "not a report");
        }
    }
    check_refused(&body("", &share("198.51.100.10", "eu", "-3")), "expected 0 to 1e12");
    assert_eq!(Rate::new(f64::NAN), None);
    assert_eq!(Rate::new(f64::INFINITY), None);
    assert_eq!(Rate::new(-0.0).map(|rate| rate.per_second().is_sign_positive()), Some(true));
    // Sums of all that can be told are numbers still.
    assert!((MOST_PER_SECOND * MOST_VIPS as f64).is_finite());
    for (key, bad) in [("flaps", "-1"), ("backends", "4294967296"), ("since", "1.5")] {
        check_refused(&vip(&format!(r#""{key}":{bad}"#)), "not a report");
    }
    check_refused(&vip(r#""vrrp":{"vrid":256,"role":"active"}"#), "not a report");
}

#[test]
fn every_bound_is_held() {
    let vips = |count: usize| {
        let one = |port: usize| VIP.replace("443", &(port + 1).to_string());
        body(&(0..count).map(one).collect::<Vec<_>>().join(","), "")
    };
    check_read(&vips(MOST_VIPS));
    check_refused(&vips(MOST_VIPS + 1), "1025 VIPs, expected at most 1024");
    let demands = |count: usize| {
        let one = |group: usize| share("198.51.100.10", &format!("g{group}"), "1");
        body("", &(0..count).map(one).collect::<Vec<_>>().join(","))
    };
    check_read(&demands(MOST_DEMANDS));
    check_refused(&demands(MOST_DEMANDS + 1), "20001 shares of demand, expected at most 20000");
    let group = |name: &str| body("", &share("198.51.100.10", name, "1"));
    check_read(&group(&"g".repeat(LONGEST_GROUP)));
    for name in [&*"g".repeat(LONGEST_GROUP + 1), "", r"a\nb"] {
        check_refused(&group(name), "a name of 1 to 63 octets");
    }
}

#[test]
fn nothing_is_said_twice() {
    check_read(&body(&format!("{VIP},{}", VIP.replace("443", "80")), ""));
    check_refused(
        &body(&format!("{VIP},{}", VIP.replace("serving", "empty")), ""),
        "VIP 198.51.100.10:443 stands in it twice",
    );
    let shares = |second: &str| format!("{},{second}", share("198.51.100.10", "eu", "1"));
    check_read(&body("", &shares(&share("198.51.100.11", "eu", "1"))));
    check_read(&body("", &shares(&share("198.51.100.10", "us", "1"))));
    check_refused(&body("", &shares(&share("198.51.100.10", "eu", "2"))), "stands in it twice");
}

#[test]
fn what_is_no_body_is_refused() {
    check_read(&body("", ""));
    for (body, says) in [
        ("[]".to_owned(), "not a report"),
        (r#"{"vips":[]}"#.to_owned(), "missing field `site`"),
        (r#"{"site":"fra"}"#.to_owned(), "missing field `vips`"),
        (r#"{"site":"fra","vips":[],"vips":[]}"#.to_owned(), "duplicate field `vips`"),
        (body(r#"{"port":443,"state":"serving"}"#, ""), "missing field `addr`"),
        (body(r#"{"addr":"198.51.100.10","state":"serving"}"#, ""), "missing field `port`"),
        (body(r#"{"addr":"198.51.100.10","port":443}"#, ""), "missing field `state`"),
        (body(&VIP.replace("443", "65536"), ""), "not a report"),
        (body(&VIP.replace("198.51.100.10", "fra"), ""), "not a report"),
    ] {
        check_refused(&body, says);
    }
    let more = report(&body("", "")).replace("null", r#"{"inc":3,"seq":6}"#);
    assert_eq!(read(&more).unwrap_err(), Unreadable::NotWhole);
}
