//! `vrrp scan`: who speaks on a link, seen from a box that does not.

use std::fs;
use std::process::Command;
use std::thread;

use gslb_tests::server::built;
use gslb_tests::wait::until;
use serde_json::Value;

use super::boxes::{Place, ground};

fn scan(place: &Place, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(built("site-agent").unwrap());
    command.args(["vrrp", "scan"]).args(arguments);
    place.machine.within(|| command.output().unwrap())
}

fn told(place: &Place, arguments: &[&str]) -> Value {
    let output = scan(place, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Who is at that address, of all that were heard.
fn at<'t>(told: &'t Value, source: &str) -> &'t Value {
    let mut senders = told["senders"].as_array().unwrap().iter();
    senders.find(|sender| sender["source"] == source).unwrap_or_else(|| panic!("{told}"))
}

#[test]
fn a_link_is_told_of_without_a_config_or_a_service() {
    let Some(ground) = ground(&["keepalived"]) else { return };
    let (a, b, c) = (ground.place("a"), ground.place("b"), ground.place("c"));
    let output = scan(&c, &["--for", "300ms"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("no advert was heard in 3"), "{text}");
    assert!(text.contains("at eth0"), "{text}");

    // keepalived as it comes, by version 3; ours over both families under other numbers.
    let keepalived =
        b.keepalived(3, " priority 120\n advert_int 0.2\n virtual_ipaddress { 192.0.2.100/32 }");
    b.until_has("192.0.2.100", true);
    let ours = a.start_all(
        "[vrrp.four]\ninterface = \"eth0\"\nvrid = 7\nvips = [\"192.0.2.101/24\"]\nprofile = \"fast\"\n\
         checksum = \"rfc9568\"\n[vrrp.six]\ninterface = \"eth0\"\nvrid = 7\nvips = [\"fe80::5e:7\"]\n\
         profile = \"fast\"\n[vrrp.direct]\ninterface = \"eth0\"\nvrid = 8\nvips = [\"192.0.2.103\"]\n\
         version = 2\npassword = \"1234\"\npeers = [\"192.0.2.12\"]\n",
    );
    a.until_has("192.0.2.101", true);
    a.until_has("fe80::5e:7", true);
    a.until_has("192.0.2.103", true);

    let told = told(&c, &["--interface", "eth0", "--for", "4s", "--json"]);
    let theirs = at(&told, "192.0.2.11");
    let expected: [(&str, Value); 9] = [
        ("vrid", 51.into()),
        ("family", 4.into()),
        ("version", 3.into()),
        ("priority", 120.into()),
        ("interval_ms", 200.into()),
        ("is_active", true.into()),
        ("way", "multicast".into()),
        ("authentication", "none".into()),
        ("checksum", "pseudo_header".into()),
    ];
    for (key, value) in expected {
        assert_eq!(theirs[key], value, "{key}: {told}");
    }
    assert_eq!(theirs["vips"], serde_json::json!(["192.0.2.100"]));
    assert!(theirs["adverts"].as_u64().unwrap() >= 3, "{told}");
    let six = at(&told, "fe80::a");
    assert_eq!((&six["vrid"], &six["family"]), (&7.into(), &6.into()), "{told}");
    let senders = told["senders"].as_array().unwrap();
    let of =
        |vrid: u8| senders.iter().find(|sender| sender["vrid"] == vrid && sender["family"] == 4);
    assert_eq!(of(7).unwrap()["checksum"], "message", "{told}");
    let direct = of(8).unwrap();
    assert_eq!(
        (&direct["way"], &direct["authentication"], &direct["version"]),
        (&"unicast".into(), &"password".into(), &2.into()),
        "{told}"
    );
    assert_eq!(senders.len(), 4, "{told}");
    let remarks = told["remarks"].as_array().unwrap();
    assert_eq!(remarks.len(), 1, "{told}");
    assert!(remarks[0].as_str().unwrap().contains("can read the password of 192.0.2.10"), "{told}");
    assert_eq!(told["vrids"][0]["heard"], serde_json::json!([7, 8, 51]), "{told}");
    drop((keepalived, ours));
}

/// Each has a key of its own, so each refuses the other, and both have the address.
#[test]
fn two_that_are_active_are_seen() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b, c) = (ground.place("a"), ground.place("b"), ground.place("c"));
    let mut running = vec![];
    for (place, digit) in [(&a, "a"), (&b, "b")] {
        fs::write(place.folder().join("key"), digit.repeat(64)).unwrap();
        let lines = "vips = [\"192.0.2.100\"]\n\
                     signature = { keys = [{ id = 1, file = \"key\" }] }";
        let ours = place.start(lines);
        ours.until_role("active");
        running.push(ours);
    }
    let told = told(&c, &["--for", "4s", "--json"]);
    let remarks = told["remarks"].to_string();
    assert!(remarks.contains("192.0.2.10 and 192.0.2.11 are Active at the same time"), "{told}");
    for source in ["192.0.2.10", "192.0.2.11"] {
        let sender = at(&told, source);
        assert_eq!(
            (&sender["is_contested"], &sender["authentication"]),
            (&true.into(), &"signature".into()),
            "{told}"
        );
    }
    // One is told to end, and says so.
    let ours = running.pop().unwrap();
    let text = thread::scope(|scope| {
        let heard = scope.spawn(|| scan(&c, &["--for", "8s"]));
        let begin = running[0].is("adverts_sent").as_u64().unwrap();
        until("it listens", || {
            Ok((running[0].is("adverts_sent").as_u64().unwrap() > begin + 6).then_some(()))
        })
        .unwrap();
        ours.stop();
        String::from_utf8(heard.join().unwrap().stdout).unwrap()
    });
    assert!(text.contains("192.0.2.11 resigned "), "{text}");
    assert!(text.contains("192.0.2.10 Active with priority 100"), "{text}");
    assert!(!text.contains("remark"), "{text}");
}

#[test]
fn what_cannot_be_listened_to_is_told() {
    let Some(ground) = ground(&[]) else { return };
    let a = ground.place("a");
    let error = |arguments: &[&str]| {
        let output = scan(&a, arguments);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let told = error(&["--interface", "eth7"]);
    assert!(told.contains("no interface \"eth7\" (interfaces: lo, eth0)"), "{told}");
    assert!(error(&["--for", "5"]).contains("--for: \"5\" has no unit"));
    a.machine.change("link set eth0 down").unwrap();
    assert!(error(&[]).contains("no Ethernet interface is up"));
}
