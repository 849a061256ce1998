//! `virtual_ipaddress` and `virtual_ipaddress_excluded`: addresses, and what is said of each.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::blocks::Statement;
use super::router::entries;
use super::{Fate, Remarks};
use crate::config::MOST_VIPS_OF_A_ROUTER;
use crate::site::Vip;
use crate::vrrp::advert::Vrid;
use crate::vrrp::packet::Family;

/// At least one, the first of the family in which adverts go. An error is why there can be no virtual router.
pub fn vips(
    instance: &Statement,
    advertised: &[&Statement],
    excluded: &[&Statement],
    interface: &str,
    vrid: Vrid,
    taken: &BTreeMap<IpAddr, String>,
    remarks: &mut Remarks,
) -> Result<Vec<Vip>, String> {
    let mut all: Vec<(&Statement, Vip)> = vec![];
    let mut lines: BTreeMap<IpAddr, usize> = BTreeMap::new();
    let blocks = advertised.iter().map(|block| (block, true));
    for (block, is_advertised) in blocks.chain(excluded.iter().map(|block| (block, false))) {
        for said in entries(block, remarks) {
            let Some(vip) = vip(said, interface, remarks) else { continue };
            let family = Family::of(all.first().map_or(vip, |(_, first)| *first).address);
            let is_of_family = Family::of(vip.address) == family;
            if let Some(line) = lines.get(&vip.address) {
                remarks.needless(said, format!("it is there already, of line {line}"));
            } else if let Some(other) = taken.get(&vip.address) {
                let why = format!("it is one of vrrp.{other}: an address has one virtual router");
                remarks.lost(said, why);
            } else if is_advertised && !is_of_family {
                let why = "it is of another family than the first one, and so keepalived leaves it out; write it into vips if \
                           it is meant to be there";
                remarks.lost(said, why);
            } else {
                if !is_advertised && is_of_family {
                    let why = "it stands in adverts here, which keepalived refuses while it does not know the address as one \
                               of virtual_ipaddress: move it there first, or both boxes at once";
                    remarks.changed(said, why);
                }
                lines.insert(vip.address, said.place.line);
                all.push((said, vip));
            }
        }
    }
    if all.is_empty() {
        return Err("none of its addresses can be carried over, and it needs one".to_owned());
    }
    link_local_first(instance, &mut all, vrid, taken, remarks);
    for (line, _) in all.iter().skip(MOST_VIPS_OF_A_ROUTER) {
        let why = format!(
            "a virtual router has {MOST_VIPS_OF_A_ROUTER} addresses at most: make another one, with a VRID of its own"
        );
        remarks.lost(line, why);
    }
    Ok(all.into_iter().map(|(_, vip)| vip).take(MOST_VIPS_OF_A_ROUTER).collect())
}

/// RFC 9568 §5.2.9, of which keepalived only warns.
fn link_local_first<'s>(
    instance: &'s Statement,
    all: &mut Vec<(&'s Statement, Vip)>,
    vrid: Vrid,
    taken: &BTreeMap<IpAddr, String>,
    remarks: &mut Remarks,
) {
    let is_link_local =
        |vip: &Vip| matches!(vip.address, IpAddr::V6(address) if address.is_unicast_link_local());
    if all[0].1.address.is_ipv4() || is_link_local(&all[0].1) {
        return;
    }
    if let Some(place) = all.iter().position(|(_, vip)| is_link_local(vip)) {
        let first = all.remove(place);
        remarks.needless(first.0, "it stands first here: RFC 9568 §5.2.9");
        all.insert(0, first);
        return;
    }
    // Of this VRID, and of the link if others have that one.
    let made = |number: u16| {
        let vrid = u16::from(vrid.get());
        IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, number, 0x5e, vrid))
    };
    let is_free = |address: &IpAddr| {
        !taken.contains_key(address) && !all.iter().any(|(_, vip)| vip.address == *address)
    };
    // More numbers than there are virtual routers and addresses of one.
    let Some(address) = (0..=u16::MAX).map(made).find(is_free) else { return };
    let why = format!(
        "{address} is put before its addresses, as adverts over IPv6 name a link-local one first (RFC 9568 §5.2.9): both \
         boxes need it, and a keepalived that does not have it may refuse our adverts"
    );
    remarks.add(&instance.place, Fate::Changed, &instance.shown_words(), why);
    all.insert(0, (instance, Vip { address, prefix: 128 }));
}

/// `None` where it could not be carried over, which is told.
fn vip(said: &Statement, interface: &str, remarks: &mut Remarks) -> Option<Vip> {
    let Some(vip) = address(said.name()) else {
        remarks.lost(said, "expected an address that one box can have, such as 192.0.2.10/24");
        return None;
    };
    let mut words = said.rest().iter().map(String::as_str);
    let mut told = vec![];
    while let Some(word) = words.next() {
        let takes_one =
            ["dev", "brd", "broadcast", "scope", "label", "peer", "preferred_lft", "track_group"];
        let value = if takes_one.contains(&word) { words.next() } else { None };
        let (fate, why) = match (word, value) {
            ("dev", Some(dev)) if dev == interface => continue,
            ("dev", _) => {
                let why = format!(
                    "addresses are on the interface of their virtual router, which is {interface}: make a [vrrp.NAME] of \
                     that interface"
                );
                remarks.lost(said, why);
                return None;
            }
            ("scope", Some("global")) => continue,
            ("preferred_lft", Some("0")) => {
                (Fate::Needless, "no address of a virtual router is preferred as a source")
            }
            ("preferred_lft", _) => {
                (Fate::Lost, "no address of a virtual router is preferred as a source")
            }
            ("label", _) => (
                Fate::Lost,
                "addresses have no labels here; `ip address show proto 112` finds them",
            ),
            ("no_track", _) => {
                (Fate::Lost, "an address that somebody takes off is always put back")
            }
            ("brd" | "broadcast" | "scope" | "peer" | "track_group", _) => {
                (Fate::Lost, "an address has a prefix and nothing else here")
            }
            (
                "home" | "-nodad" | "nodad" | "mngtmpaddr" | "noprefixroute" | "autojoin"
                | "use_vmac",
                _,
            ) => (Fate::Lost, "an address has a prefix and nothing else here"),
            _ => (Fate::Lost, "no word that is known here"),
        };
        let value = value.map(|value| format!(" {value}")).unwrap_or_default();
        told.push((fate, format!("{} {word}{value}", said.name()), why));
    }
    for (fate, statement, why) in told {
        remarks.add(&said.place, fate, &statement, why);
    }
    if said.block.is_some() {
        remarks.lost(said, "a block where none belongs");
    }
    Some(vip)
}

/// With the length of its prefix, which is that of a host where none is said.
fn address(text: &str) -> Option<Vip> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Some(longest), |prefix| prefix.parse().ok())?;
    let is_of_nobody = address.is_unspecified()
        || address.is_multicast()
        || address.is_loopback()
        || address == IpAddr::V4(Ipv4Addr::BROADCAST);
    let vip = Vip { address, prefix };
    (!is_of_nobody && (1..=longest).contains(&prefix) && !vip.is_of_many()).then_some(vip)
}
