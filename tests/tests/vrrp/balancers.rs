//! Two boxes that balance: the addresses are where a balancer serves.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use gslb_tests::netns::Namespace;
use gslb_tests::process::Process;
use gslb_tests::wait::until;
use rustix::process::Signal;

use super::boxes::{Ours, Place, ground};

const VIP: &str = "192.0.2.100";
const LONG: Duration = Duration::from_secs(20);

/// One that answers all its clients by this status, at an address that its box may not have yet.
fn start(place: &Place, priority: u8, status: u16) -> Ours<'_> {
    place.start_all(&format!(
        "[frontend.web]\nbind = [\"{VIP}:80\", \"[2001:db8::64]:80\"]\nrules = [{{ when = \"true\", deny = {status} }}]\n\
         [vrrp.web]\ninterface = \"eth0\"\nvrid = 51\npriority = {priority}\n\
         vips = [\"{VIP}/24\", \"2001:db8::64/64\"]\n"
    ))
}

/// What a client is answered, as soon as it is answered anything by it.
fn until_answered(client: &Namespace, by: u16) {
    let begins = format!("HTTP/1.1 {by} ");
    let ask = || {
        client.within(|| {
            let mut stream =
                TcpStream::connect_timeout(&format!("{VIP}:80").parse().unwrap(), LONG).ok()?;
            stream.set_read_timeout(Some(LONG)).ok()?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            answer.starts_with(&begins).then_some(())
        })
    };
    until(&format!("{VIP} answers {by}"), || Ok(ask())).unwrap();
}

fn end(mut balancer: Process, by: Signal) {
    balancer.signal(by).unwrap();
    balancer.wait().unwrap();
}

fn has_told(of: &Ours<'_>, what: &str) -> bool {
    of.status()["events"].to_string().contains(what)
}

#[test]
fn the_addresses_are_where_a_balancer_serves() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b, c) = (ground.place("a"), ground.place("b"), ground.place("c"));
    let (one, other) = (start(&a, 200, 403), start(&b, 100, 429));
    one.until_role("fault");
    other.until_role("fault");
    let on_a = a.balancer();
    one.until_role("active");
    until_answered(&c.machine, 403);
    let on_b = b.balancer();
    other.until_role("backup");
    other.stays("backup", 5);
    assert_eq!(one.status()["balancers"], 1);

    // Killed: the box says that it resigns, and nobody waits for adverts to be missed.
    end(on_a, Signal::KILL);
    one.until_role("fault");
    other.until_role("active");
    assert!(has_told(&one, "no balancer of this box serves"), "{}", one.status());
    assert!(has_told(&other, "192.0.2.10 resigned"), "{}", other.status());
    assert!(!a.has(VIP) && b.has(VIP));
    until_answered(&c.machine, 429);

    // Back, it stands by.
    let on_a = a.balancer();
    one.until_role("backup");
    one.stays("backup", 5);

    // Stopped: it says nothing any more.
    let mut on_b = on_b;
    on_b.signal(Signal::STOP).unwrap();
    one.until_role("active");
    until_answered(&c.machine, 403);
    on_b.signal(Signal::CONT).unwrap();
    other.until_role("backup");

    // Asked to end, it serves no more before it waits for anybody.
    let mut on_a = on_a;
    on_a.signal(Signal::TERM).unwrap();
    other.until_role("active");
    until_answered(&c.machine, 429);
    on_a.wait().unwrap();

    // The virtual routers are restarted beside it: it is heard again.
    other.stop();
    b.until_has(VIP, false);
    let other = start(&b, 100, 429);
    other.until_role("active");
    until_answered(&c.machine, 429);
    end(on_b, Signal::TERM);
    other.until_role("fault");
    b.until_has(VIP, false);
}

#[test]
fn who_needs_no_balancer_has_its_addresses_without_one() {
    let Some(ground) = ground(&[]) else { return };
    let a = ground.place("a");
    let lines = "[frontend.web]\nbind = [\"192.0.2.100:80\"]\nrules = [{ when = \"true\", deny = 403 }]\n\
         [vrrp.web]\ninterface = \"eth0\"\nvrid = 51\nprofile = \"fast\"\nvips = [\"192.0.2.100/24\"]\n";
    let mut ours = a.start_all(&format!("{lines}needs_balancer = false\n"));
    ours.until_role("active");
    // By another config it needs one, and there is none.
    a.write(lines);
    ours.reload();
    ours.until_role("fault");
    a.until_has(VIP, false);
}
