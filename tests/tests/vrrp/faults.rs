//! What a link does to a pair, and strangers on it.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use gslb_tests::wait::until;
use gslb_tests::{faketime, peers};
use rustix::net::sockopt::{set_ip_multicast_if, set_ip_multicast_ttl};
use site_agent::vrrp::advert::{Claim, Interval, Priority, Version, Vrid};
use site_agent::vrrp::packet::{Authentication, Ends, Form, GROUP_V4, Message, Vips, write};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::boxes::{Ours, Place, ground, until_one_leads};

const VIP: &str = "192.0.2.100";
const VIP6: &str = "2001:db8::64";
const LINES: &str = "vips = [\"192.0.2.100/24\", \"2001:db8::64/64\"]";

/// Adverts that somebody on the link makes up, unsigned, with this hop limit.
fn spoof(from: &Place, claim: Claim, hop_limit: u8, count: u32) {
    let message = Message {
        version: Version::V3,
        vrid: Vrid::new(51).unwrap(),
        claim,
        interval: Interval::of_centiseconds(10).unwrap(),
        vips: Vips::V4(&[Ipv4Addr::new(192, 0, 2, 100)]),
        authentication: Authentication::None,
        form: Form::Message,
    };
    let own = Ipv4Addr::new(192, 0, 2, 12);
    let mut packet = [0; 64];
    let length = write(&message, &Ends::V4 { from: own, to: GROUP_V4 }, &mut packet).unwrap();
    from.machine.within(|| {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).unwrap();
        set_ip_multicast_if(&socket, &own).unwrap();
        set_ip_multicast_ttl(&socket, hop_limit.into()).unwrap();
        let to = SockAddr::from(std::net::SocketAddr::from((GROUP_V4, 0)));
        for _ in 0..count {
            // What does not fit is not sent: it is a flood all the same.
            let _ = socket.send_to(&packet[..length], &to);
        }
    });
}

fn refused(of: &Ours<'_>) -> u64 {
    of.is("adverts_refused").as_u64().unwrap()
}

/// One that hears nothing takes over, as nobody leads for all that it knows; the other says that it is not alone.
#[test]
fn a_link_that_passes_one_way_alone_is_told_of_and_heals() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b) = (ground.place("a"), ground.place("b"));
    let one = a.start(&format!("{LINES}\npriority = 200"));
    one.until_role("active");
    let other = b.start(&format!("{LINES}\npriority = 100"));
    other.stays("backup", 5);
    ground.segment.deafen("b").unwrap();
    other.until_role("active");
    one.until_told("192.0.2.11 leads too, with 100");
    assert_eq!(one.is("role"), "active");
    ground.segment.undeafen("b").unwrap();
    until_one_leads((&one, &a), (&other, &b), &[VIP, VIP6]);
}

/// Neither who says that he leads with 255 nor who says that the leader resigns is believed, where adverts are signed.
#[test]
fn a_flood_of_adverts_that_nobody_signed_changes_nothing() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b, c) = (ground.place("a"), ground.place("b"), ground.place("c"));
    let signed = |priority: u8| {
        format!(
            "{LINES}\npriority = {priority}\nsignature = {{ keys = [{{ id = 1, file = \"1.key\" }}] }}"
        )
    };
    for place in [&a, &b] {
        fs::write(place.folder().join("1.key"), "11".repeat(32)).unwrap();
    }
    let one = a.start(&signed(200));
    one.until_role("active");
    let other = b.start(&signed(100));
    other.stays("backup", 5);
    let events = |of: &Ours<'_>| of.status()["events"].clone();
    let (before_one, before_other) = (events(&one), events(&other));
    for claim in [Claim::Leads(Priority::OWNER), Claim::Resigns] {
        let begin = (refused(&one), refused(&other));
        spoof(&c, claim, 255, 20_000);
        until("they are refused", || {
            let grown = refused(&one) > begin.0 + 100 && refused(&other) > begin.1 + 100;
            Ok(grown.then_some(()))
        })
        .unwrap();
        other.stays("backup", 5);
    }
    assert_eq!(one.is("role"), "active");
    let what = |events: &serde_json::Value| {
        events.as_array().unwrap().iter().map(|event| event["what"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(what(&events(&one)), what(&before_one));
    assert_eq!(what(&events(&other)), what(&before_other));
    assert!(a.has(VIP) && !b.has(VIP));
}

/// From beyond a router a packet has another hop limit, whatever it says.
#[test]
fn an_advert_that_came_through_a_router_is_none() {
    let Some(ground) = ground(&[]) else { return };
    let (a, c) = (ground.place("a"), ground.place("c"));
    let one = a.start(&format!("{LINES}\npriority = 100"));
    one.until_role("active");
    spoof(&c, Claim::Leads(Priority::OWNER), 254, 10);
    until("it is refused", || Ok((refused(&one) >= 10).then_some(()))).unwrap();
    assert_eq!(one.is("role"), "active");
    // One of the link would be believed, as nobody signs here.
    spoof(&c, Claim::Leads(Priority::OWNER), 255, 1);
    one.until_told("192.0.2.12 leads with 255");
    one.until_role("active");
}

/// A list of addresses is changed on one box after the other: nobody moves for it.
#[test]
fn boxes_with_other_addresses_go_on() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b) = (ground.place("a"), ground.place("b"));
    let more = LINES.replace("/24\",", "/24\", \"192.0.2.101/24\",");
    let one = a.start(&format!("{LINES}\npriority = 200"));
    one.until_role("active");
    let other = b.start(&format!("{more}\npriority = 100"));
    other.stays("backup", 10);
    assert_eq!((one.is("role"), refused(&other)), ("active".into(), 0));
    one.stop();
    other.until_role("active");
    b.until_has("192.0.2.101", true);
}

/// Somebody has the address and does not know that it is another's now: it is put on all the same, at once.
#[test]
fn a_stale_duplicate_keeps_no_address_of_ipv6_from_its_box() {
    let Some(ground) = ground(&[]) else { return };
    let (a, c) = (ground.place("a"), ground.place("c"));
    c.machine.change("address add 2001:db8::64/64 dev eth0 nodad").unwrap();
    let one = a.start(LINES);
    one.until_role("active");
    a.until_has(VIP6, true);
    let shown = a.machine.shown(VIP6).unwrap();
    assert!(!shown.contains("tentative") && !shown.contains("dadfailed"), "{shown}");
}

/// A virtual router that is left alone is so however often the config is read, and whatever others become.
#[test]
fn reloads_without_end_move_nobody() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b) = (ground.place("a"), ground.place("b"));
    let router = |priority: u8| {
        format!("[vrrp.web]\ninterface = \"eth0\"\nvrid = 51\n{LINES}\npriority = {priority}\n")
    };
    let mut one = a.start_all(&router(200));
    one.until_role("active");
    let other = b.start_all(&router(100));
    other.stays("backup", 5);
    let of_web = |of: &Ours<'_>| {
        let status = of.status();
        let events = status["events"].as_array().unwrap().iter();
        events.filter(|event| event["router"] == "web").count()
    };
    let before = (of_web(&one), of_web(&other));
    for turn in 0..100 {
        // Another one comes, changes and goes beside it.
        let beside = match turn % 4 {
            0 | 1 => format!(
                "[vrrp.beside]\ninterface = \"eth0\"\nvrid = {}\nvips = [\"192.0.2.{}\"]\nprofile = \"fast\"\n",
                60 + turn % 2,
                120 + turn % 3
            ),
            _ => String::new(),
        };
        a.write(&(router(200) + &beside));
        one.reload();
    }
    other.stays("backup", 3);
    assert_eq!((of_web(&one), of_web(&other)), before);
    assert!(a.has(VIP) && a.has(VIP6));
}

/// The one that others hear leads; the one that nobody hears does not go on beside it, be it the higher.
#[test]
fn who_cannot_send_does_not_lead() {
    let Some(ground) = ground(&["nft"]) else { return };
    let (a, b) = (ground.place("a"), ground.place("b"));
    let one = a.start(&format!("{LINES}\npriority = 200\npeers = [\"192.0.2.11\"]"));
    one.until_role("active");
    let other = b.start(&format!("{LINES}\npriority = 100\npeers = [\"192.0.2.10\"]"));
    other.stays("backup", 5);
    let rules = "add table inet t; add chain inet t c { type filter hook output priority 0; }; \
         add rule inet t c meta l4proto 112 drop";
    let done = a.machine.within(|| Command::new("nft").arg(rules).output()).unwrap();
    assert!(done.status.success(), "{done:?}");
    other.until_role("active");
    one.until_role("fault");
    one.until_told("adverts cannot be sent, and another box leads");
    a.until_has(VIP, false);
    assert!(b.has(VIP) && b.has(VIP6));
}

/// A clock that jumps by an hour, either way, splits a pair that signs for as long as it is wrong, and that is told; it is
/// one again as soon as the clock is right, though the other one has seen stamps of another time.
#[test]
fn a_clock_that_is_set_wrong_and_right_again_splits_nobody_for_good() {
    if peers::missing(faketime::missing()) {
        return;
    }
    let Some(ground) = ground(&[]) else { return };
    let (a, b) = (ground.place("a"), ground.place("b"));
    let config = |place: &Place, priority: u8| {
        fs::write(place.folder().join("1.key"), "11".repeat(32)).unwrap();
        place.write(&format!(
            "[vrrp.web]\ninterface = \"eth0\"\nvrid = 51\n{LINES}\npriority = {priority}\n\
             signature = {{ keys = [{{ id = 1, file = \"1.key\" }}] }}\n"
        ));
    };
    config(&a, 200);
    config(&b, 100);
    let one = a.run_by_clock();
    one.until_role("active");
    let other = b.run();
    other.stays("backup", 5);
    for ahead in [3600, -3600] {
        let refused = other.is("adverts_refused").as_u64().unwrap();
        a.set_clock(ahead);
        other.until_role("active");
        assert!(other.is("adverts_refused").as_u64().unwrap() > refused);
        a.set_clock(0);
        other.until_role("backup");
        assert_eq!(one.is("role"), "active");
        other.stays("backup", 10);
        b.until_has(VIP, false);
    }
}

/// A box without IPv6 has the other family's addresses all the same, and this one's as soon as it can.
#[test]
fn an_address_that_the_kernel_does_not_take_costs_no_other() {
    let Some(ground) = ground(&[]) else { return };
    let a = ground.place("a");
    let disable = |is: &str| {
        let file = "/proc/sys/net/ipv6/conf/eth0/disable_ipv6";
        a.machine.within(|| fs::write(file, is)).unwrap();
    };
    disable("1");
    let one = a.start(LINES);
    one.until_role("active");
    a.until_has(VIP, true);
    until("it is told of", || Ok(a.log().contains("addresses cannot be changed").then_some(())))
        .unwrap();
    // Adverts go on as if nothing were.
    let sent = one.is("adverts_sent").as_u64().unwrap();
    until("it goes on", || Ok((one.is("adverts_sent").as_u64().unwrap() > sent + 5).then_some(())))
        .unwrap();
    assert!(a.has(VIP) && !a.has(VIP6));
    assert_eq!(one.is("vips_not_taken"), 1);
    disable("0");
    a.until_has(VIP6, true);
    assert_eq!((one.is("role"), one.is("vips_not_taken")), ("active".into(), 0.into()));
}
