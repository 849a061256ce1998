//! Two of ours, and what is done to them.

use std::fs;
use std::time::Duration;

use gslb_tests::wait::until;
use rustix::process::Signal;

use super::boxes::{Ground, Ours, Place, ground, takes, until_one_leads};

const VIP: &str = "192.0.2.100";
const VIP6: &str = "2001:db8::64";
/// An advert each 400 ms: the lesser one takes over 1,444 ms after the last. Machines that build and test stand still for some
/// hundred milliseconds, which would be a take-over where adverts are faster.
const LINES: &str = "vips = [\"192.0.2.100/24\", \"2001:db8::64/64\"]";

fn pair(ground: &Ground) -> (Place, Place) {
    (ground.place("a"), ground.place("b"))
}

fn first(place: &Place) -> Ours<'_> {
    let ours = place.start(&format!("{LINES}\npriority = 200"));
    ours.until_role("active");
    ours
}

fn second(place: &Place) -> Ours<'_> {
    let ours = place.start(&format!("{LINES}\npriority = 100"));
    ours.stays("backup", 5);
    ours
}

#[test]
fn a_killed_process_loses_its_addresses() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b) = pair(&ground);
    let (one, other) = (first(&a), second(&b));
    one.kill();
    let took = takes(|| {
        other.until_role("active");
        b.until_has(VIP, true);
        b.until_has(VIP6, true);
    });
    assert!(took < Duration::from_secs(5), "{took:?}");
    let took = takes(|| {
        a.until_has(VIP, false);
        a.until_has(VIP6, false);
    });
    // Two seconds since it was last asked for, and the kernel's own slowness.
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[test]
fn a_clean_stop_is_taken_over_from_at_once() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b) = pair(&ground);
    let (one, other) = (first(&a), second(&b));
    one.stop();
    assert!(!a.has(VIP) && !a.has(VIP6), "{}", a.log());
    other.until_role("active");
    assert!(other.status()["events"].to_string().contains("192.0.2.10 resigned"));
    b.until_has(VIP, true);
}

/// Who stood still for seconds gives its addresses up before it says a word.
#[test]
fn who_stood_still_listens() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b) = pair(&ground);
    let (mut one, other) = (first(&a), second(&b));
    one.signal(Signal::STOP);
    other.until_role("active");
    // The kernel takes the addresses of who does not ask for them.
    a.until_has(VIP, false);
    let before = other.is("adverts_heard");
    one.signal(Signal::CONT);
    one.until_role("backup");
    one.stays("backup", 5);
    assert!(one.status()["events"].to_string().contains("stood still for"), "{}", one.status());
    assert_eq!(other.is("adverts_heard"), before, "it has sent something");
    assert!(!a.has(VIP) && b.has(VIP));
}

#[test]
fn a_split_link_heals_with_one_that_is_active() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b) = pair(&ground);
    let (one, other) = (first(&a), second(&b));
    ground.segment.cut("b").unwrap();
    other.until_role("active");
    assert_eq!(one.is("role"), "active");
    ground.segment.heal("b").unwrap();
    until_one_leads((&one, &a), (&other, &b), &[VIP, VIP6]);
}

#[test]
fn a_pulled_cable_is_a_fault_and_over_when_it_is_back() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b) = pair(&ground);
    let (one, other) = (first(&a), second(&b));
    ground.segment.unplug("a").unwrap();
    one.until_role("fault");
    a.until_has(VIP, false);
    other.until_role("active");
    ground.segment.plug_in("a").unwrap();
    one.until_role("backup");
    // It does not preempt, so whoever leads goes on.
    one.stays("backup", 8);
    assert_eq!(other.is("role"), "active");
}

#[test]
fn an_address_that_somebody_takes_is_put_back_once_and_then_given_up() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b) = pair(&ground);
    let (one, other) = (first(&a), second(&b));
    a.machine.change("address del 192.0.2.100/24 dev eth0").unwrap();
    a.until_has(VIP, true);
    assert_eq!(one.is("role"), "active");
    until("it is told of", || {
        let events = one.status()["events"].to_string();
        Ok(events.contains("was taken from us and put back").then_some(()))
    })
    .unwrap();
    // The other family is watched too, and a second time is a fight that nobody wins.
    a.machine.change("address del 2001:db8::64/64 dev eth0").unwrap();
    one.until_role("fault");
    a.until_has(VIP, false);
    other.until_role("active");
    b.until_has(VIP6, true);
}

/// Whoever puts a VIP on a box that does not lead has it taken away again: it would be there twice.
#[test]
fn an_address_that_is_not_ours_to_have_goes() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b) = pair(&ground);
    // What others have left, by two prefixes.
    b.machine.change("address add 192.0.2.100/24 dev eth0").unwrap();
    b.machine.change("address add 192.0.2.100/32 dev eth0").unwrap();
    let (_one, other) = (first(&a), second(&b));
    b.until_has(VIP, false);
    b.machine.change("address add 2001:db8::64/64 dev eth0 nodad").unwrap();
    b.until_has(VIP6, false);
    // By another prefix than in the config.
    b.machine.change("address add 2001:db8::64/128 dev eth0 nodad").unwrap();
    b.until_has(VIP6, false);
    assert_eq!(other.is("role"), "backup");
    other.until_told("an address was there that is not ours now, and taken off");
}

#[test]
fn a_hand_over_holds_until_it_is_taken_back() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b) = pair(&ground);
    let one = a.start(&format!("{LINES}\npriority = 200\npreempt = \"0s\""));
    one.until_role("active");
    let other = second(&b);
    assert!(one.asks(&["hand-over", "web"]).status.success());
    other.until_role("active");
    b.until_has(VIP, true);
    a.until_has(VIP, false);
    // It would preempt, and does not.
    one.stays("backup", 8);
    assert_eq!(one.is("yields"), true);
    assert!(one.asks(&["take-back", "web"]).status.success());
    one.until_role("active");
    b.until_has(VIP, false);
    let unknown = one.asks(&["hand-over", "wob"]);
    assert!(!unknown.status.success());
    let told = String::from_utf8(unknown.stderr).unwrap();
    assert!(told.contains("there is no virtual router \"wob\""), "{told}");
}

/// The box alone on its link keeps quiet, and the one that the witness answers leads.
#[test]
fn who_sees_no_witness_does_not_lead() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b) = pair(&ground);
    let gateway = ground.place("c");
    let witness = "witnesses = [\"192.0.2.12\"]";
    let one = a.start(&format!("{LINES}\npriority = 200\n{witness}"));
    one.until_role("active");
    let other = b.start(&format!("{LINES}\npriority = 100\n{witness}"));
    other.stays("backup", 5);
    ground.segment.cut("b").unwrap();
    until("it is told of", || {
        let events = other.status()["events"].to_string();
        Ok(events.contains("no witness answers").then_some(()))
    })
    .unwrap();
    assert_eq!(other.is("role"), "backup");
    assert!(!b.has(VIP) && a.has(VIP));
    ground.segment.heal("b").unwrap();
    other.stays("backup", 5);
    // With the first one gone it is answered, and leads.
    one.kill();
    other.until_role("active");
    drop(gateway);
}

/// On a machine with many containers interfaces come and go by the hundred; ours has nothing to do with them.
#[test]
fn many_other_interfaces_are_no_fault() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b) = pair(&ground);
    let (one, other) = (first(&a), second(&b));
    let lines = |line: fn(usize) -> String| (0..300).map(line).collect::<String>();
    let events = one.status()["events"].as_array().unwrap().len();
    for _ in 0..2 {
        let add = |number| format!("link add name d{number} type veth peer name e{number}\n");
        a.machine.change(&lines(add)).unwrap();
        a.machine.change(&lines(|number| format!("link del d{number}\n"))).unwrap();
    }
    other.stays("backup", 3);
    assert_eq!(one.status()["events"].as_array().unwrap().len(), events, "{}", one.status());
    assert!(a.has(VIP) && a.has(VIP6));
}

#[test]
fn an_interface_may_come_later_and_go() {
    let Some(ground) = ground(&[]) else { return };
    let a = ground.place("a");
    a.machine.change("link set eth0 down").unwrap();
    a.machine.change("link set eth0 name eth9").unwrap();
    let ours = a.start(LINES);
    assert_eq!(ours.is("role"), "fault");
    a.machine.change("link set eth9 name eth0").unwrap();
    a.machine.change("link set eth0 up").unwrap();
    ours.until_role("active");
    a.until_has(VIP, true);
    a.machine.change("link del eth0").unwrap();
    ours.until_role("fault");
}

/// Keys are the same on both; a new one is brought to both before either signs with it, and nothing is refused
/// on the way.
#[test]
fn a_signed_pair_changes_its_key() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b) = pair(&ground);
    for place in [&a, &b] {
        fs::write(place.folder().join("1.key"), "11".repeat(32)).unwrap();
        fs::write(place.folder().join("2.key"), "22".repeat(32)).unwrap();
    }
    let config = |priority: u8, keys: &[u8], with: u8| {
        let key = |id: &u8| format!("{{ id = {id}, file = \"{id}.key\" }}");
        let keys = keys.iter().map(key).collect::<Vec<_>>().join(", ");
        format!(
            "[vrrp.web]\ninterface = \"eth0\"\nvrid = 51\n{LINES}\npriority = {priority}\n\
             signature = {{ keys = [{keys}], sign_with = {with} }}\n"
        )
    };
    let mut one = a.start_all(&config(200, &[1], 1));
    one.until_role("active");
    let mut other = b.start_all(&config(100, &[1], 1));
    other.stays("backup", 5);
    for (keys, with) in [(&[1, 2][..], 1), (&[1, 2], 2), (&[2], 2)] {
        for (place, ours, priority) in [(&b, &mut other, 100), (&a, &mut one, 200)] {
            place.write(&config(priority, keys, with));
            ours.reload();
        }
        other.stays("backup", 3);
    }
    assert_eq!((other.is("adverts_refused"), one.is("role")), (0.into(), "active".into()));
    // A third box that signs with the old one is heard by nobody.
    let third = ground.place("c");
    fs::write(third.folder().join("1.key"), "11".repeat(32)).unwrap();
    let stranger = third.start_all(&config(254, &[1], 1));
    stranger.until_role("active");
    until("it is refused", || Ok((other.is("adverts_refused") != 0).then_some(()))).unwrap();
    other.stays("backup", 5);
    assert_eq!(one.is("role"), "active");
    drop(stranger);
    one.stop();
    other.until_role("active");
}
