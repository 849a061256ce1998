//! The board: for every service and candidate what is believed, since when and why.
//!
//! Built whole from the world, the operator's overrides and what was last known; published inside
//! the snapshot; never changed afterwards. Pure.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use geoip::Continent;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::last_known::LastKnown;
use super::overrides::{Order, Override, Phase, SLOPE};
use super::supposition::Supposition;
use super::view::{Drain, View, Views};
use crate::ids::ServiceId;
use crate::site_set::SiteSet;
use crate::world::{Act, Destination, Service, Site, Vips, World};

/// Evidence has three values: silence is `Unknown`, never `Down`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    Up,
    Down,
    Unknown,
}

/// Whether an operator lets a site serve.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Duty {
    Serving,
    Drained,
}

/// What is believed of one candidate of one service.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub health: Health,
    /// Since when, if anybody knows.
    pub since: Option<Timestamp>,
    pub why: Box<str>,
    pub duty: Duty,
    /// Why it is drained, or on the way there; empty if it is neither.
    pub duty_why: Box<str>,
    /// The configured weight, or the operator's.
    pub weight: u32,
    /// Why it is an operator's; empty if it is not.
    pub weight_why: Box<str>,
    /// The share of clients that it takes now, before a weight of 0 makes it none.
    pub admit: Admit,
    /// Addresses that are down while others of the candidate are not.
    pub struck: Box<[IpAddr]>,
    /// What regions have lost of it, each for itself.
    pub lost: Box<[Lost]>,
    /// How often the TTL of answers with it is halved: it may be down before they are forgotten.
    pub halvings: u8,
}

/// What the vantages of one region cannot reach while others can: its clients are not answered with it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Lost {
    pub region: Continent,
    /// `None` for a CNAME.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Box<[IpAddr]>>,
    pub why: Box<str>,
}

/// 0 to 1, the share of a class of clients that a site takes now.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Admit(f64);

/// Everything that is believed, at one moment.
#[derive(Debug)]
pub struct Board {
    /// Counts the boards of this process; two servers' numbers say nothing to each other.
    pub number: u64,
    /// The same for the same beliefs, on every server.
    pub digest: BoardDigest,
    /// The moment that it is of.
    pub at: Timestamp,
    /// The highest number that an order had been given by then, or 0.
    pub orders: u64,
    services: Vec<Part>,
}

/// One service's part, and what it was made of: a part of which that is the same is the same.
#[derive(Clone, Debug)]
struct Part {
    beliefs: Arc<Beliefs>,
    /// Of the beliefs, for the board's.
    digest: [u8; 32],
    views: Option<Arc<[View]>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BoardDigest(pub [u8; 16]);

/// One service's part of the board.
#[derive(Debug, PartialEq)]
pub struct Beliefs {
    /// In the order of the service's candidates.
    pub standings: Vec<Standing>,
    /// The candidates that were not down when one was last up, for `last-known`.
    pub last_known: SiteSet,
}

impl Admit {
    pub const NONE: Admit = Admit(0.0);
    pub const ALL: Admit = Admit(1.0);

    /// `None` outside 0 to 1.
    pub fn new(share: f64) -> Option<Admit> {
        (0.0..=1.0).contains(&share).then_some(Admit(share))
    }

    pub fn share(self) -> f64 {
        self.0
    }
}

impl Board {
    /// The board of `world` at `now`, as far as it follows from what operators said.
    pub fn build(
        number: u64,
        world: &World,
        overrides: &[&Override],
        last_known: &LastKnown,
        now: Timestamp,
    ) -> Board {
        Board::of_views(number, world, &Views::default(), overrides, last_known, now)
    }

    /// The same with what watching has found out.
    pub fn of_views(
        number: u64,
        world: &World,
        views: &Views,
        overrides: &[&Override],
        last_known: &LastKnown,
        now: Timestamp,
    ) -> Board {
        Board::made(number, world, views, overrides, last_known, now, |_, _| None)
    }

    /// The board that comes after this one in the same world, with the same orders as far as they have come, and the same
    /// memory of who was fit: where watching has found out nothing else, what is believed is the same.
    pub fn next(
        &self,
        number: u64,
        world: &World,
        views: &Views,
        overrides: &[&Override],
        last_known: &LastKnown,
        now: Timestamp,
    ) -> Board {
        let same = |index: usize, views: Option<&Arc<[View]>>| {
            let part: &Part = self.services.get(index)?;
            let is_same = match (&part.views, views) {
                (Some(before), Some(now)) => Arc::ptr_eq(before, now),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            is_same.then(|| part.clone())
        };
        let mut board = Board::made(number, world, views, overrides, last_known, now, same);
        // What is believed may be the same though something else was seen.
        for (part, before) in board.services.iter_mut().zip(&self.services) {
            if !Arc::ptr_eq(&part.beliefs, &before.beliefs) && part.beliefs == before.beliefs {
                part.beliefs = Arc::clone(&before.beliefs);
            }
        }
        board
    }

    fn made(
        number: u64,
        world: &World,
        views: &Views,
        overrides: &[&Override],
        last_known: &LastKnown,
        now: Timestamp,
        same: impl Fn(usize, Option<&Arc<[View]>>) -> Option<Part>,
    ) -> Board {
        let parts = world.services.iter().enumerate().map(|(index, service)| {
            let views = views.0.get(index).and_then(Option::as_ref);
            if let Some(same) = same(index, views) {
                return same;
            }
            let name = service.name.to_host();
            let about = |said: &&Override| said.is_in_force(now) && said.service.matches(&name);
            let overrides: Vec<&Override> = overrides.iter().copied().filter(about).collect();
            let candidates = service.candidates.iter().enumerate();
            let standings = candidates.map(|(index, candidate)| {
                let site = world.site(candidate.site);
                let view = views.and_then(|views| views.get(index));
                let before = watched(view, service.act, candidate.weight);
                let drain = view.and_then(|view| view.drain.as_ref());
                standing(site, before, drain, &overrides, now)
            });
            let beliefs = Beliefs::new(standings.collect(), last_known.of(world, service));
            Part { views: views.cloned(), ..Part::of(beliefs) }
        });
        Board::of_parts(number, parts.collect()).at(now)
    }

    /// This board, made of orders up to this number.
    #[must_use]
    pub fn ordered_up_to(self, orders: u64) -> Board {
        Board { orders, ..self }
    }

    /// This board, as one of that moment.
    #[must_use]
    pub fn at(self, at: Timestamp) -> Board {
        Board { at, ..self }
    }

    /// A board of the beliefs given, of no moment.
    pub fn of(number: u64, services: Vec<Beliefs>) -> Board {
        Board::of_parts(number, services.into_iter().map(Part::of).collect())
    }

    fn of_parts(number: u64, services: Vec<Part>) -> Board {
        let digests: Vec<[u8; 32]> = services.iter().map(|part| part.digest).collect();
        let whole: [u8; 32] = Sha256::digest(digests.as_flattened()).into();
        let digest = *whole.first_chunk().expect("16 octets stand in 32");
        let (digest, at) = (BoardDigest(digest), Timestamp::UNIX_EPOCH);
        Board { number, digest, at, orders: 0, services }
    }

    /// Nothing is known of any site, and no operator has said a word.
    pub fn blank(world: &World) -> Board {
        Board::build(0, world, &[], &LastKnown::default(), Timestamp::UNIX_EPOCH)
    }

    pub fn of_service(&self, service: ServiceId) -> &Beliefs {
        &self.services[service.index()].beliefs
    }

    /// Whether what is believed of a service is the very same as in the other board, which one of them took over.
    pub fn shares(&self, other: &Board, service: ServiceId) -> bool {
        let of = |board: &Board| {
            board.services.get(service.index()).map(|part| Arc::as_ptr(&part.beliefs))
        };
        of(self).is_some() && of(self) == of(other)
    }

    /// Whether the other board believes the same for the same reasons.
    pub fn agrees_with(&self, other: &Board) -> bool {
        let is_same = |(one, other): (&Part, &Part)| {
            Arc::ptr_eq(&one.beliefs, &other.beliefs) || one.beliefs == other.beliefs
        };
        self.services.len() == other.services.len()
            && self.services.iter().zip(&other.services).all(is_same)
    }

    /// This board as it would be if what is supposed were so.
    #[must_use]
    pub fn supposing(&self, world: &World, suppositions: &[Supposition]) -> Board {
        let services = world.services.iter().zip(&self.services);
        let supposed =
            services.map(|(service, part)| part.beliefs.supposing(world, service, suppositions));
        let &Board { number, at, orders, .. } = self;
        Board { at, orders, ..Board::of(number, supposed.collect()) }
    }
}

impl Part {
    fn of(beliefs: Beliefs) -> Part {
        let mut hash = Sha256::new();
        beliefs.digest(&mut hash);
        Part { beliefs: Arc::new(beliefs), digest: hash.finalize().into(), views: None }
    }
}

impl Beliefs {
    /// `last_known` is what was known before; it holds only while nobody is fit to serve now.
    pub fn new(standings: Vec<Standing>, last_known: SiteSet) -> Beliefs {
        let fit: SiteSet = standings
            .iter()
            .enumerate()
            .filter(|(_, standing)| standing.is_fit())
            .map(|(candidate, _)| candidate)
            .collect();
        Beliefs { standings, last_known: if fit.is_empty() { last_known } else { fit } }
    }

    /// What would be believed of `service`, whose beliefs these are, if what is supposed were so.
    #[must_use]
    pub fn supposing(
        &self,
        world: &World,
        service: &Service,
        suppositions: &[Supposition],
    ) -> Beliefs {
        let supposed = service.candidates.iter().zip(&self.standings);
        let standings = supposed.map(|(candidate, standing)| {
            let mut standing = standing.clone();
            for supposition in suppositions {
                supposition.apply(&world.site(candidate.site).name, &mut standing);
            }
            standing
        });
        Beliefs::new(standings.collect(), self.last_known)
    }

    /// Whether anybody is fit to serve.
    pub fn has_fit(&self) -> bool {
        self.standings.iter().any(Standing::is_fit)
    }

    fn digest(&self, hash: &mut Sha256) {
        for standing in &self.standings {
            let health = match standing.health {
                Health::Up => 1,
                Health::Down => 2,
                Health::Unknown => 3,
            };
            let duty = match standing.duty {
                Duty::Serving => 1,
                Duty::Drained => 2,
            };
            hash.update([health, duty]);
            hash.update(standing.weight.to_be_bytes());
            hash.update(standing.admit.0.to_bits().to_be_bytes());
            for struck in &standing.struck {
                hash.update(b"-");
                hash.update(struck.to_string());
            }
            if standing.halvings > 0 {
                hash.update([b't', standing.halvings]);
            }
            for Lost { region, addresses, why: _ } in &standing.lost {
                hash.update(b"~");
                hash.update(region.code());
                for address in addresses.iter().flatten() {
                    hash.update(b"-");
                    hash.update(address.to_string());
                }
            }
        }
        hash.update([0]);
        for candidate in self.last_known.iter() {
            hash.update([candidate as u8]);
        }
        hash.update([0xff]);
    }
}

impl Standing {
    /// Neither down nor drained.
    pub fn is_fit(&self) -> bool {
        self.health != Health::Down && self.duty == Duty::Serving
    }

    /// Whether answers are the same by both, whatever the reasons: so far as digests go.
    pub fn answers_like(&self, other: &Standing) -> bool {
        let all = |one: &Standing| (one.health, one.duty, one.weight, one.admit, one.halvings);
        all(self) == all(other) && self.struck == other.struck && self.lost == other.lost
    }

    /// The addresses that are left for clients of a region where some are down or lost. Of a family of which all are,
    /// all: who is answered with them is answered so because nobody else is left.
    pub fn live(&self, target: &Destination, region: Option<Continent>) -> Option<Vips> {
        let Destination::Vips(Vips { v4, v6 }) = target else { return None };
        let lost = region.and_then(|region| self.lost_to(region));
        let lost = lost.and_then(|lost| lost.addresses.as_deref()).unwrap_or_default();
        if self.struck.is_empty() && lost.is_empty() {
            return None;
        }
        let is_out = |vip: &IpAddr| self.struck.contains(vip) || lost.contains(vip);
        fn left<A: Copy + Into<IpAddr>>(all: &[A], is_out: impl Fn(&IpAddr) -> bool) -> Vec<A> {
            let left: Vec<A> = all.iter().copied().filter(|&vip| !is_out(&vip.into())).collect();
            if left.is_empty() { all.to_vec() } else { left }
        }
        Some(Vips { v4: left(v4, is_out), v6: left(v6, is_out) })
    }

    /// What a region has lost of it.
    pub fn lost_to(&self, region: Continent) -> Option<&Lost> {
        self.lost.iter().find(|lost| lost.region == region)
    }

    /// The share of clients taken now: a weight of 0 takes none.
    pub fn admit(&self) -> Admit {
        if self.weight == 0 { Admit::NONE } else { self.admit }
    }
}

/// What is believed of one candidate, after what operators said of its service; `drain` is its agents' word.
fn standing(
    site: &Site,
    before: Standing,
    drain: Option<&Drain>,
    overrides: &[&Override],
    now: Timestamp,
) -> Standing {
    let about = || overrides.iter().filter(|said| said.site.matches(&site.name));
    let last_word = about().rev().find_map(|said| match said.order {
        Order::Force(_) => Some(true),
        Order::Unforce => Some(false),
        Order::Drain { .. } | Order::Undrain | Order::Weight(_) | Order::Unweight => None,
    });
    // Whoever is forced takes its clients whatever is seen of it; a drain still takes them away.
    let admit = if last_word == Some(true) { Admit::ALL } else { before.admit };
    let before = Standing { admit, ..before };
    let mut standing = before.clone();
    for said in about() {
        match said.order {
            Order::Force(health) => {
                standing.health = health;
                standing.since = (said.since > Timestamp::UNIX_EPOCH).then_some(said.since);
                standing.why = reason(said);
                (standing.struck, standing.lost) = ([].into(), [].into());
                standing.halvings = 0;
            }
            Order::Unforce => {
                let Standing { health, since, why, struck, lost, halvings, .. } = before.clone();
                standing.health = health;
                standing.since = since;
                standing.why = why;
                (standing.struck, standing.lost) = (struck, lost);
                standing.halvings = halvings;
            }
            Order::Drain { .. } => match said.phase(now) {
                Phase::Idle => {}
                Phase::Draining { steps } => {
                    // A drain never brings anybody back: what another has taken stays taken.
                    let left = Admit(f64::from(SLOPE - steps) / f64::from(SLOPE));
                    if standing.duty == Duty::Serving && left < standing.admit {
                        standing.admit = left;
                        standing.duty_why = reason(said);
                    }
                }
                Phase::Full => {
                    standing.duty = Duty::Drained;
                    standing.duty_why = reason(said);
                }
            },
            Order::Undrain => {
                standing.admit = before.admit;
                // What its own site was told later is the last word.
                let is_over = drain.is_none_or(|drain| drain.began_by(said.since));
                (standing.duty, standing.duty_why) = match is_over {
                    true => (Duty::Serving, "".into()),
                    false => (before.duty, before.duty_why.clone()),
                };
            }
            Order::Weight(weight) => {
                (standing.weight, standing.weight_why) = (weight, reason(said));
            }
            Order::Unweight => {
                (standing.weight, standing.weight_why) = (before.weight, "".into());
            }
        }
    }
    standing
}

/// A site of which no operator has said a word.
fn watched(view: Option<&View>, act: Act, weight: u32) -> Standing {
    let Some(view) = view else { return unwatched(weight) };
    let View { health, since, why, struck, lost, admit, halvings, drain, .. } = view;
    let (duty, duty_why) = match drain {
        Some(drain) => (Duty::Drained, drain.why.clone()),
        None => (Duty::Serving, "".into()),
    };
    Standing {
        duty,
        duty_why,
        health: *health,
        since: *since,
        why: why.clone(),
        struck: struck.clone(),
        lost: lost.clone(),
        // What is only observed takes its clients whatever is seen of it.
        admit: if act == Act::Serve { *admit } else { Admit::ALL },
        halvings: if act == Act::Serve { *halvings } else { 0 },
        ..unwatched(weight)
    }
}

/// A site that nobody watches and of which no operator has said a word.
fn unwatched(weight: u32) -> Standing {
    Standing {
        health: Health::Unknown,
        since: None,
        why: "nothing watches it".into(),
        duty: Duty::Serving,
        duty_why: "".into(),
        weight,
        weight_why: "".into(),
        admit: Admit::ALL,
        struck: [].into(),
        lost: [].into(),
        halvings: 0,
    }
}

fn reason(said: &Override) -> Box<str> {
    format!("{}, says {}", said.why, said.who).into()
}

impl Health {
    pub const ALL: [Health; 3] = [Health::Up, Health::Down, Health::Unknown];

    pub fn as_str(self) -> &'static str {
        match self {
            Health::Up => "up",
            Health::Down => "down",
            Health::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for BoardDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256, cut to 128 bits, of each service's, in the world's order; that is SHA-256 of health, duty, weight (u32)
    /// and admit (f64) of each site, a zero, who was fit, and 0xff. Servers of several versions must agree on it.
    #[test]
    fn a_digest_is_the_same_everywhere() {
        let standing = |health, duty, weight, admit| {
            let admit = Admit::new(admit).unwrap();
            Standing {
                health,
                duty,
                admit,
                since: Some(Timestamp::UNIX_EPOCH),
                ..unwatched(weight)
            }
        };
        let standings = vec![
            standing(Health::Up, Duty::Serving, 5, 1.0),
            standing(Health::Down, Duty::Drained, 1, 0.5),
        ];
        let board = |number| {
            let beliefs = Beliefs::new(standings.clone(), SiteSet::EMPTY);
            Board::of(number, vec![beliefs])
        };
        assert_eq!(board(1).digest.to_string(), "9c2c015c056aa83ed8e01a664715f928");
        // What each server counts for itself, and when it looked, is no part of what is believed.
        let later = Board { at: Timestamp::MAX, ..board(2).ordered_up_to(9) };
        assert_eq!(later.digest, board(1).digest);
    }
}
