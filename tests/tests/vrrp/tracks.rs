//! What is watched besides: it moves a priority, or keeps a box from having the addresses.

use std::net::TcpListener;

use super::boxes::ground;

const LINES: &str = "vips = [\"192.0.2.100/24\"]\npreempt = \"0s\"";

#[test]
fn a_watched_interface_that_goes_down_takes_its_weight() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b) = (ground.place("a"), ground.place("b"));
    a.machine.change("link add eth1 type veth peer name far1").unwrap();
    a.machine.change("link set eth1 up").unwrap();
    a.machine.change("link set far1 up").unwrap();
    let track = "tracks = [{ name = \"uplink\", interface = \"eth1\", weight = -150 }]";
    let mut one = a.start(&format!("{LINES}\npriority = 200\n{track}"));
    one.until_role("active");
    let other = b.start(&format!("{LINES}\npriority = 100"));
    other.stays("backup", 5);
    a.machine.change("link set far1 down").unwrap();
    other.until_role("active");
    one.until_role("backup");
    assert_eq!(one.is("priority"), 50);
    a.machine.change("link set far1 up").unwrap();
    one.until_role("active");
    assert_eq!(one.is("priority"), 200);
    // By another config nothing is watched, and what was taken is given back.
    a.machine.change("link del eth1").unwrap();
    one.until_role("backup");
    a.write(&format!("[vrrp.web]\ninterface = \"eth0\"\nvrid = 51\n{LINES}\npriority = 200\n"));
    one.reload();
    one.until_role("active");
}

#[test]
fn who_fails_a_check_without_a_weight_is_in_fault() {
    let Some(ground) = ground(&[]) else { return };
    let (a, c) = (ground.place("a"), ground.place("c"));
    let listen = || c.machine.within(|| TcpListener::bind("192.0.2.12:8080").unwrap());
    let check = "{ kind = \"tcp\", port = 8080, interval = \"100ms\", timeout = \"90ms\", rise = 1, fall = 2 }";
    let one = a.start(&format!(
        "{LINES}\ntracks = [{{ name = \"database\", address = \"192.0.2.12\", check = {check} }}]"
    ));
    one.until_role("fault");
    let listener = listen();
    one.until_role("active");
    drop(listener);
    one.until_role("fault");
    a.until_has("192.0.2.100", false);
    let events = one.status()["events"].to_string();
    assert!(events.contains("tracks[0] does not pass"), "{events}");
    assert!(a.log().contains("a track fails"), "{}", a.log());
    let _listener = listen();
    one.until_role("active");
}
