//! What somebody should look at, in plain words.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::IpAddr;
use std::time::Duration;

use super::told::near;
use super::{Identity, Refused, Seen, Sender, Shown, Sightings};
use crate::vrrp::advert::Version;

pub(super) fn of(sightings: &Sightings, now: Duration) -> Vec<String> {
    let mut remarks = vec![];
    for (identity, seen) in &sightings.routers {
        let on_link = |known: &&Identity| {
            known.interface == identity.interface && known.family == identity.family
        };
        let heard: BTreeSet<u8> =
            sightings.routers.keys().filter(on_link).map(|known| known.vrid.get()).collect();
        remarks.extend(strangers(identity, seen, &heard).or_else(|| several(identity, seen, now)));
        remarks.extend(differing(identity, seen));
        remarks.extend(seen.senders.iter().filter_map(|sender| in_clear(identity, sender)));
    }
    remarks.extend(sightings.refused.iter().map(refused));
    if sightings.left_out > 0 {
        let packets = sightings.left_out;
        remarks.push(format!("{packets} packets were of more senders than are shown here"));
    }
    remarks
}

/// Two that have nothing in common but a number.
fn strangers(identity: &Identity, seen: &Seen, heard: &BTreeSet<u8>) -> Option<String> {
    let [one, rest @ ..] = &seen.senders[..] else { return None };
    let has_nothing_of = |other: &&Sender| !other.vips.iter().any(|vip| one.vips.contains(vip));
    let other = rest.iter().find(has_nothing_of)?;
    let free: Vec<String> = near(heard).iter().map(u8::to_string).collect();
    Some(format!(
        "{identity}: {} and {} have no address in common, so these are two virtual routers under one number: give one \
         of them another VRID; not heard here are {}",
        one.from,
        other.from,
        free.join(", ")
    ))
}

fn several(identity: &Identity, seen: &Seen, now: Duration) -> Option<String> {
    let active = seen.active(now);
    if active.len() < 2 {
        return None;
    }
    let active = listed(active.iter());
    Some(if seen.is_contested(now) {
        format!(
            "{identity}: {active} are Active at the same time: they do not hear each other, or refuse what they hear"
        )
    } else {
        format!(
            "{identity}: {active} have said that they are Active: one took over just now, or both are. Listen for longer"
        )
    })
}

fn differing(identity: &Identity, seen: &Seen) -> Vec<String> {
    let senders = &seen.senders;
    let is_v2 = senders.iter().any(|sender| sender.version == Version::V2);
    let froms: BTreeSet<IpAddr> = senders.iter().map(|sender| sender.from).collect();
    let speaks_both = froms.len() < senders.len();
    let versions = "each refuses the other's, unless it was told to hear both";
    let intervals = match is_v2 {
        true => "version 2 refuses what comes in another one, and then both are Active",
        false => "a Backup goes by the Active one's, and by its own once it is Active itself",
    };
    let shown = "who asks for a password or a signature refuses whoever has none, or another one";
    let vips = "after a take-over some of them are gone";
    let version = |sender: &Sender| sender.version.number().to_string();
    let interval = |sender: &Sender| format!("{} ms", sender.interval.duration().as_millis());
    let authentication = |sender: &Sender| sender.authentication.word().to_owned();
    let addresses = |sender: &Sender| {
        let sorted: BTreeSet<IpAddr> = sender.vips.iter().copied().collect();
        sorted.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")
    };
    let all = [
        (!speaks_both).then(|| differs(identity, "versions", versions, senders, version)),
        Some(differs(identity, "intervals", intervals, senders, interval)),
        Some(differs(identity, "authentications", shown, senders, authentication)),
        Some(differs(identity, "addresses", vips, senders, addresses)),
    ];
    all.into_iter().flatten().flatten().collect()
}

/// Something that all boxes of a virtual router should say alike.
fn differs(
    identity: &Identity,
    what: &str,
    so: &str,
    senders: &[Sender],
    of: impl Fn(&Sender) -> String,
) -> Option<String> {
    let said: BTreeSet<String> = senders.iter().map(&of).collect();
    if said.len() < 2 {
        return None;
    }
    let each = senders.iter().map(|sender| format!("{} from {}", of(sender), sender.from));
    let each: Vec<String> = each.collect();
    Some(format!("{identity}: {what} differ, {}: {so}", each.join(", ")))
}

fn in_clear(identity: &Identity, sender: &Sender) -> Option<String> {
    let is_clear = sender.authentication == Shown::Password;
    is_clear.then(|| {
        let from = sender.from;
        format!("{identity}: everybody on the link can read the password of {from}")
    })
}

fn refused(refused: &Refused) -> String {
    let Refused { interface, from, why, packets } = refused;
    let from = from.map_or("somebody".to_owned(), |from| from.to_string());
    format!("{from} on {interface}: {packets} packets that standard routers refuse: {why}")
}

fn listed(each: impl Iterator<Item = impl Display>) -> String {
    each.map(|one| one.to_string()).collect::<Vec<_>>().join(" and ")
}
