//! Ours beside keepalived: versions, families, multicast and unicast, passwords. Each cell has its faults.

use gslb_tests::wait::until;

use super::boxes::{Keepalived, Ours, Place, ground};

/// Adverts of ours in which one that did not hear them would have taken over: three, and a skew of less than one.
const ITS_SILENCE: u64 = 4;

/// What both are told, each in its words.
#[derive(Clone, Copy)]
struct Cell {
    version: u8,
    vip: &'static str,
    ours: &'static str,
    keepalived: &'static str,
    /// Addresses of the other, with what stands around them.
    unicast: bool,
}

const V2: Cell = Cell {
    version: 2,
    vip: "192.0.2.100",
    ours: "vips = [\"192.0.2.100\"]\nversion = 2",
    keepalived: " advert_int 1\n virtual_ipaddress { 192.0.2.100/32 }",
    unicast: false,
};
const V2_PASS: Cell = Cell {
    ours: "vips = [\"192.0.2.100\"]\nversion = 2\npassword = \"1234\"",
    keepalived: " advert_int 1\n authentication {\n auth_type PASS\n auth_pass 1234\n }\n virtual_ipaddress { 192.0.2.100/32 }",
    ..V2
};
const V3: Cell = Cell {
    version: 3,
    ours: "vips = [\"192.0.2.100\"]\ninterval = \"200ms\"",
    keepalived: " advert_int 0.2\n virtual_ipaddress { 192.0.2.100/32 }",
    ..V2
};
const V3_V6: Cell = Cell {
    version: 3,
    vip: "2001:db8::64",
    ours: "vips = [\"fe80::5e:51\", \"2001:db8::64\"]\ninterval = \"200ms\"",
    keepalived: " advert_int 0.2\n virtual_ipaddress {\n fe80::5e:51/128\n 2001:db8::64/128\n }",
    unicast: false,
};

impl Cell {
    fn over_unicast(self) -> Cell {
        Cell { unicast: true, ..self }
    }

    fn addresses(&self) -> (&'static str, &'static str) {
        if self.vip.contains(':') { ("fe80::a", "fe80::b") } else { ("192.0.2.10", "192.0.2.11") }
    }

    fn ours<'p>(&self, place: &'p Place, priority: u8, more: &str) -> Ours<'p> {
        let (_, peer) = self.addresses();
        let peers = if self.unicast { format!("peers = [\"{peer}\"]\n") } else { String::new() };
        place.start(&format!("{}\npriority = {priority}\n{peers}{more}", self.ours))
    }

    fn keepalived<'p>(&self, place: &'p Place, priority: u8) -> Keepalived<'p> {
        let (peer, us) = self.addresses();
        let peers = match self.unicast {
            // Of IPv6 it sends 64, unless it is told what RFC 9568 asks for.
            true => format!(" unicast_src_ip {us}\n unicast_ttl 255\n unicast_peer {{ {peer} }}\n"),
            false => String::new(),
        };
        place.keepalived(self.version, &format!(" priority {priority}\n{peers}{}", self.keepalived))
    }

    /// All of it, beside one keepalived after the other.
    fn tell(self) {
        let Some(ground) = ground(&["keepalived"]) else { return };
        let (a, b) = (ground.place("a"), ground.place("b"));
        let vip = self.vip;

        // It leads, and we come later and are less.
        let peer = self.keepalived(&b, 200);
        b.until_has(vip, true);
        let us = self.ours(&a, 100, "");
        us.stays("backup", 5);
        assert!(!a.has(vip));
        // It stops, and says so.
        peer.stop();
        us.until_role("active");
        a.until_has(vip, true);
        assert!(us.status()["events"].to_string().contains("resigned"), "{}", us.status());
        // It comes back and is more: it takes the address, as it preempts.
        let peer = self.keepalived(&b, 200);
        us.until_role("backup");
        b.until_has(vip, true);
        a.until_has(vip, false);
        // It is gone without a word, and leaves the address where it was.
        peer.kill();
        us.until_role("active");
        a.until_has(vip, true);
        let prefix = if vip.contains(':') { 128 } else { 32 };
        b.machine.change(&format!("address del {vip}/{prefix} dev eth0")).unwrap();
        // It hears us and is less.
        let peer = self.keepalived(&b, 50);
        let sent = us.is("adverts_sent").as_u64().unwrap();
        until("it would have taken over by now", || {
            assert_eq!(us.is("role"), "active");
            Ok((us.is("adverts_sent").as_u64().unwrap() > sent + ITS_SILENCE).then_some(()))
        })
        .unwrap();
        assert!(a.has(vip) && !b.has(vip));
        // Each is alone, and then not any more.
        ground.segment.cut("b").unwrap();
        b.until_has(vip, true);
        assert!(a.has(vip));
        ground.segment.heal("b").unwrap();
        b.until_has(vip, false);
        assert_eq!(us.is("role"), "active");
        assert!(a.has(vip));
        // We stop, and say so.
        us.stop();
        assert!(!a.has(vip));
        b.until_has(vip, true);
        // We are more, and take over, as we are told to.
        let us = self.ours(&a, 200, "preempt = \"0s\"");
        us.until_role("active");
        b.until_has(vip, false);
        // Our process is killed: the address goes by itself.
        us.kill();
        b.until_has(vip, true);
        a.until_has(vip, false);
        // Cut off as the lesser of two, and back.
        let us = self.ours(&a, 40, "");
        us.stays("backup", 3);
        ground.segment.cut("a").unwrap();
        us.until_role("active");
        ground.segment.heal("a").unwrap();
        us.until_role("backup");
        a.until_has(vip, false);
        assert!(b.has(vip));
        // Nothing of all that was refused.
        assert_eq!(us.is("adverts_refused"), 0, "{}", us.status());
        drop(peer);
    }
}

#[test]
fn version_2_by_multicast() {
    V2.tell();
}

#[test]
fn version_2_by_unicast() {
    V2.over_unicast().tell();
}

#[test]
fn version_2_with_a_password_by_multicast() {
    V2_PASS.tell();
}

#[test]
fn version_2_with_a_password_by_unicast() {
    V2_PASS.over_unicast().tell();
}

#[test]
fn version_3_over_ipv4_by_multicast() {
    V3.tell();
}

#[test]
fn version_3_over_ipv4_by_unicast() {
    V3.over_unicast().tell();
}

#[test]
fn version_3_over_ipv6_by_multicast() {
    V3_V6.tell();
}

#[test]
fn version_3_over_ipv6_by_unicast() {
    V3_V6.over_unicast().tell();
}

/// Keepalived that is told to sum as RFC 9568 has it hears us once we have heard it: we answer in its form.
#[test]
fn the_form_of_a_checksum_is_the_peers() {
    let Some(ground) = ground(&["keepalived"]) else { return };
    let (a, b) = (ground.place("a"), ground.place("b"));
    let cell = Cell {
        keepalived: " advert_int 0.2\n v3_checksum_as_v2\n virtual_ipaddress { 192.0.2.100/32 }",
        ..V3
    };
    let peer = cell.keepalived(&b, 100);
    b.until_has(cell.vip, true);
    let us = cell.ours(&a, 200, "preempt = \"0s\"");
    us.until_role("active");
    b.until_has(cell.vip, false);
    assert_eq!(us.is("adverts_refused"), 0);
    us.stop();
    b.until_has(cell.vip, true);
    drop(peer);
}
