//! Who speaks on a link, whatever is configured here: what `site-agent vrrp scan` shows.
//!
//! (packets) ─▶ Sightings ─▶ told ─▶ (people, tools)
//!
//! It believes nobody: a signature is seen and not judged, and what a standard router would refuse is counted beside
//! the others, with the reason. Whoever sends packets of any content costs a bounded amount of memory.

mod remarks;
#[cfg(test)]
mod tests;
pub mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::advert::{Claim, Interval, Priority, Version, Vrid};
use super::packet::{Advert, Envelope, Form, HOP_LIMIT, Refusal, read};

/// Senders that are kept, and reasons of refusals: a link has two of each, and a forger as many as it likes.
const MOST: usize = 256;
/// An Active router that is silent for longer has gone: Active_Down_Interval, with the longest skew (RFC 9568 §6.1).
const DOWN_ADVERTS: u32 = 4;
/// So often two that take turns have to change for both to be Active: a take-over is one, and its loser's last advert
/// makes it three with the winner's answer.
const TURNS: u32 = 4;

/// What was heard so far. Time is since any moment, the same for all calls.
#[derive(Debug, Default)]
pub struct Sightings {
    routers: BTreeMap<Identity, Seen>,
    refused: Vec<Refused>,
    /// Packets of senders for which there was no room.
    left_out: u64,
}

/// Which virtual router: by what all its boxes have in common.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Identity {
    pub interface: Arc<str>,
    /// Of addresses: 4 or 6.
    pub family: u8,
    pub vrid: Vrid,
}

impl fmt::Display for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "VRID {} on {} over IPv{}", self.vrid, self.interface, self.family)
    }
}

/// A virtual router, as it is heard.
#[derive(Debug, Default)]
struct Seen {
    senders: Vec<Sender>,
    /// Who said last that it is Active, and has not resigned since.
    leader: Option<IpAddr>,
    /// How often another one said so than the last time.
    turns: u32,
}

/// A box of a virtual router, in one version: one may speak both for a while (RFC 9568 §8.4).
#[derive(Debug)]
struct Sender {
    from: IpAddr,
    version: Version,
    adverts: u64,
    last: Duration,
    claim: Claim,
    /// The last that was not a resignation's.
    priority: Option<Priority>,
    interval: Interval,
    vips: Vec<IpAddr>,
    way: Way,
    authentication: Shown,
    form: Form,
}

/// How adverts come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Multicast,
    Unicast,
}

/// What an advert has to show for itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shown {
    Nothing,
    Password,
    Signature,
    Other,
}

impl Shown {
    fn of(advert: &Advert<'_>) -> Shown {
        match advert.auth_type() {
            _ if advert.is_signed() => Shown::Signature,
            0 => Shown::Nothing,
            1 => Shown::Password,
            _ => Shown::Other,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Shown::Nothing => "none",
            Shown::Password => "password",
            Shown::Signature => "signature",
            Shown::Other => "other",
        }
    }
}

/// Packets that no standard router takes.
#[derive(Debug)]
struct Refused {
    interface: Arc<str>,
    /// Where the IP header could be read.
    from: Option<IpAddr>,
    why: Refusal,
    packets: u64,
}

impl Sightings {
    /// A packet of protocol 112, as [`open_ipv4`](super::packet::open_ipv4) has it.
    pub fn hear(
        &mut self,
        now: Duration,
        interface: &Arc<str>,
        packet: Result<(Envelope, &[u8]), Refusal>,
    ) {
        let (envelope, octets) = match packet {
            Ok(packet) => packet,
            Err(why) => return self.refuse(interface, None, why),
        };
        let from = envelope.ends.from();
        let advert = match read(&envelope.ends, octets) {
            Ok(advert) => advert,
            Err(why) => return self.refuse(interface, Some(from), why),
        };
        if envelope.hop_limit != HOP_LIMIT {
            let why = Refusal::HopLimit { got: envelope.hop_limit, expected: HOP_LIMIT };
            self.refuse(interface, Some(from), why);
        }
        let family = envelope.ends.family().number();
        let identity = Identity { interface: Arc::clone(interface), family, vrid: advert.vrid };
        let count: usize = self.routers.values().map(|seen| seen.senders.len()).sum();
        let known = self.routers.get(&identity).and_then(|seen| seen.find(from, advert.version));
        if known.is_none() && count >= MOST {
            self.left_out += 1;
            return;
        }
        self.routers.entry(identity).or_default().hear(now, &envelope, &advert);
    }

    fn refuse(&mut self, interface: &Arc<str>, from: Option<IpAddr>, why: Refusal) {
        let is_same = |refused: &&mut Refused| {
            refused.interface == *interface
                && refused.from == from
                && refused.why.word() == why.word()
        };
        if let Some(refused) = self.refused.iter_mut().find(is_same) {
            refused.why = why;
            refused.packets += 1;
        } else if self.refused.len() < MOST {
            let interface = Arc::clone(interface);
            self.refused.push(Refused { interface, from, why, packets: 1 });
        } else {
            self.left_out += 1;
        }
    }
}

impl Seen {
    fn find(&self, from: IpAddr, version: Version) -> Option<usize> {
        self.senders.iter().position(|sender| sender.from == from && sender.version == version)
    }

    fn hear(&mut self, now: Duration, envelope: &Envelope, advert: &Advert<'_>) {
        let from = envelope.ends.from();
        let heard = Sender {
            from,
            version: advert.version,
            adverts: 1,
            last: now,
            claim: advert.claim,
            priority: match advert.claim {
                Claim::Leads(priority) => Some(priority),
                Claim::Resigns => None,
            },
            interval: advert.interval,
            vips: advert.addresses().collect(),
            way: match envelope.ends.to().is_multicast() {
                true => Way::Multicast,
                false => Way::Unicast,
            },
            authentication: Shown::of(advert),
            form: advert.form,
        };
        match self.find(from, advert.version) {
            None => self.senders.push(heard),
            Some(place) => {
                let known = &mut self.senders[place];
                let adverts = known.adverts + 1;
                let priority = heard.priority.or(known.priority);
                *known = Sender { adverts, priority, ..heard };
            }
        }
        match (advert.claim, self.leader) {
            (Claim::Leads(_), last) => {
                if last.is_some_and(|last| last != from) {
                    self.turns += 1;
                }
                self.leader = Some(from);
            }
            (Claim::Resigns, Some(last)) if last == from => self.leader = None,
            (Claim::Resigns, Some(_) | None) => {}
        }
    }
}

impl Seen {
    fn active(&self, now: Duration) -> BTreeSet<IpAddr> {
        let active = self.senders.iter().filter(|sender| sender.leads(now));
        active.map(|sender| sender.from).collect()
    }

    /// Whether more than one is Active, and not only because one has just taken over.
    fn is_contested(&self, now: Duration) -> bool {
        self.turns >= TURNS && self.active(now).len() > 1
    }
}

impl Sender {
    /// Whether it is Active, as far as one can tell.
    fn leads(&self, now: Duration) -> bool {
        let silent = now.saturating_sub(self.last);
        let is_there = silent <= self.interval.duration() * DOWN_ADVERTS;
        is_there && matches!(self.claim, Claim::Leads(_))
    }
}
