//! One client's walk through the tiers: who stands aside, who competes, who is taken.
//!
//! On the query path. Allocates nothing; chance is `hash`.

use arrayvec::ArrayVec;

use super::hash::{self, Purpose};
use super::trace::Trace;
use crate::health::board::Beliefs;
use crate::ids::DomainId;
use crate::locate::{Client, ToldBy};
use crate::site_set::{MAX_CANDIDATES, SiteSet};
use crate::world::{MAX_TAKE, Pace, Service, Take, World};

/// What a pick needs to know of each candidate, worked out once per board.
#[derive(Clone, Debug)]
pub struct Shares {
    candidates: Vec<Share>,
    /// Those that take every client.
    open: SiteSet,
    take: Take,
}

#[derive(Clone, Copy, Debug)]
struct Share {
    weight: u32,
    admit: f64,
    site: u64,
    domain: Option<DomainId>,
}

/// A client's lots with one service at one time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seed {
    pick: u64,
    admit: u64,
    /// The number of the time slice; `None` under `sticky`.
    pub slice: Option<u64>,
    /// The prefix that was hashed for the pick, in bits of the client's own family.
    pub hashed: u8,
}

/// Whom the answer names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Choice {
    /// Candidate indices, in the order they stand in the answer.
    pub taken: ArrayVec<u8, MAX_TAKE>,
    /// Whether the client's hash had a say: then the answer holds for the hashed prefix only.
    pub hash_decided: bool,
}

/// A candidate in competition with others of its tier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contender {
    pub candidate: u8,
    /// Its lot: a fraction of 1 that the client's prefix and the site's name decide.
    pub drawn: f64,
    pub weight: f64,
    /// The lowest wins.
    pub arrival: f64,
}

type Contenders = ArrayVec<Contender, MAX_CANDIDATES>;

impl Shares {
    pub fn new(world: &World, service: &Service, beliefs: &Beliefs) -> Shares {
        let candidates = service.candidates.iter().zip(&beliefs.standings);
        let candidates: Vec<Share> = candidates
            .map(|(candidate, standing)| {
                let site = world.site(candidate.site);
                Share {
                    weight: standing.weight,
                    admit: standing.admit().share(),
                    site: hash::site_hash(&site.name),
                    domain: site.domain,
                }
            })
            .collect();
        let open = (0..candidates.len()).filter(|&one| candidates[one].admit >= 1.0).collect();
        Shares { candidates, open, take: service.take }
    }
}

/// Everybody whom some client's hash could have an answer name. `tiers` hold at least one candidate.
pub fn reach(shares: &Shares, tiers: &[SiteSet]) -> SiteSet {
    let all = tiers.iter().fold(SiteSet::EMPTY, |all, &tier| all.or(tier));
    let having = |is: &dyn Fn(&Share) -> bool| -> SiteSet {
        all.iter().filter(|&candidate| is(&shares.candidates[candidate])).collect()
    };
    let takers = having(&|share| share.admit > 0.0);
    if takers.is_empty() {
        let weighted = having(&|share| share.weight > 0);
        return if weighted.is_empty() { all } else { weighted };
    }
    takers.iter().filter(|&candidate| shares.could_take(candidate, tiers)).collect()
}

impl Shares {
    /// Whether a walk takes the candidate if chance is all on its side: first of its tier, and whoever may
    /// stand aside does.
    fn could_take(&self, candidate: usize, tiers: &[SiteSet]) -> bool {
        let mut walk = Walk { shares: self, hash_decided: false, line: ArrayVec::new() };
        for &tier in tiers {
            let itself = tier.and(SiteSet::one(candidate));
            let others = tier.and(self.open).without(itself);
            walk.line.extend(itself.iter().chain(others.iter()).map(|one| one as u8));
            if walk.is_long_enough() {
                break;
            }
        }
        walk.take().contains(&(candidate as u8))
    }
}

impl Seed {
    /// `now` is in whole seconds of Unix time.
    pub fn new(service: &Service, client: &Client, now: u64) -> Seed {
        let network = client.hashed();
        let admit = hash::client_hash(Purpose::Admit, &service.name, network, 0);
        let (hashed, slice) = match service.pace {
            Pace::Sticky => (network, None),
            Pace::Weighted => {
                // Without a subnet a resolver stands for all behind it: its whole address spreads best.
                let hashed = match client.told_by {
                    ToldBy::Subnet => network,
                    ToldBy::Resolver => client.whole(),
                };
                let length = service.ttl.max.as_secs().max(1);
                let phase = hash::client_hash(Purpose::Phase, &service.name, hashed, 0) % length;
                (hashed, Some((now + phase) / length))
            }
        };
        let pick = hash::client_hash(Purpose::Pick, &service.name, hashed, slice.unwrap_or(0));
        Seed { pick, admit, slice, hashed: hashed.length }
    }
}

/// Walks `tiers`, which hold at least one candidate, for one client. `seed` is asked for only if
/// chance has a say.
pub fn pick(
    shares: &Shares,
    tiers: &[SiteSet],
    seed: &mut impl FnMut() -> Seed,
    trace: &mut impl Trace,
) -> Choice {
    let mut walk = Walk { shares, hash_decided: false, line: ArrayVec::new() };
    walk.go(tiers, seed, trace);
    Choice { taken: walk.take(), hash_decided: walk.hash_decided }
}

/// The same choice, and behind it others until there are `most`: the walk goes on through later tiers,
/// unseen failure domains first. Who stands aside is no alternative.
pub fn pick_alternatives(
    shares: &Shares,
    tiers: &[SiteSet],
    most: u8,
    seed: &mut impl FnMut() -> Seed,
    trace: &mut impl Trace,
) -> Choice {
    let mut walk = Walk { shares, hash_decided: false, line: ArrayVec::new() };
    let left = walk.go(tiers, seed, trace);
    let mut taken = walk.take();
    let most = usize::from(most).min(MAX_TAKE);
    for &tier in left {
        if taken.len() >= most || walk.domains_seen() >= most {
            break;
        }
        let standing = walk.standing(tier, seed, trace);
        walk.line_up(standing, Share::full_weight, seed, trace);
    }
    walk.fill(&mut taken, most.min(walk.line.len()));
    Choice { taken, hash_decided: walk.hash_decided }
}

struct Walk<'s> {
    shares: &'s Shares,
    hash_decided: bool,
    /// Candidates found, best first.
    line: ArrayVec<u8, MAX_CANDIDATES>,
}

impl Walk<'_> {
    /// Through the tiers until the line is long enough; returns those not come to.
    fn go<'t>(
        &mut self,
        tiers: &'t [SiteSet],
        seed: &mut impl FnMut() -> Seed,
        trace: &mut impl Trace,
    ) -> &'t [SiteSet] {
        let mut left = tiers;
        while let Some((&tier, rest)) = left.split_first() {
            left = rest;
            let standing = self.standing(tier, seed, trace);
            self.line_up(standing, Share::full_weight, seed, trace);
            if self.is_long_enough() {
                break;
            }
        }
        if self.line.is_empty() {
            let all = tiers.iter().fold(SiteSet::EMPTY, |all, &tier| all.or(tier));
            self.line_up_reluctant(all, seed, trace);
        }
        left
    }

    /// Whether later tiers have nothing to add.
    fn is_long_enough(&self) -> bool {
        match self.shares.take.across_tiers {
            false => !self.line.is_empty(),
            // They may still bring a domain that is not seen yet.
            true => self.domains_seen() >= usize::from(self.shares.take.sites),
        }
    }

    /// Those of a tier that take this client.
    fn standing(
        &mut self,
        tier: SiteSet,
        seed: &mut impl FnMut() -> Seed,
        trace: &mut impl Trace,
    ) -> SiteSet {
        let mut standing = tier.and(self.shares.open);
        for candidate in tier.without(self.shares.open).iter() {
            let share = &self.shares.candidates[candidate];
            if share.admit <= 0.0 {
                trace.stood_aside(candidate, share.admit, 0.0);
                continue;
            }
            self.hash_decided = true;
            let drawn = hash::draw(Purpose::Admit, seed().admit, share.site);
            if drawn >= share.admit {
                trace.stood_aside(candidate, share.admit, drawn);
            } else {
                standing = standing.or(SiteSet::one(candidate));
            }
        }
        standing
    }

    /// Puts a tier's candidates behind those already found, by rendezvous hashing.
    fn line_up(
        &mut self,
        tier: SiteSet,
        weight: impl Fn(&Share) -> f64,
        seed: &mut impl FnMut() -> Seed,
        trace: &mut impl Trace,
    ) {
        match tier.len() {
            0 => {}
            1 => self.line.extend(tier.first().map(|only| only as u8)),
            _ => {
                self.hash_decided = true;
                let pick = seed().pick;
                let mut contenders: Contenders = tier
                    .iter()
                    .map(|candidate| {
                        let share = &self.shares.candidates[candidate];
                        let (weight, drawn) =
                            (weight(share), hash::draw(Purpose::Pick, pick, share.site));
                        let arrival = hash::arrival(drawn, weight);
                        Contender { candidate: candidate as u8, drawn, weight, arrival }
                    })
                    .collect();
                contenders.sort_unstable_by(|a, b| {
                    a.arrival.total_cmp(&b.arrival).then(a.candidate.cmp(&b.candidate))
                });
                trace.ranked(&contenders);
                self.line.extend(contenders.iter().map(|contender| contender.candidate));
            }
        }
    }

    /// Nobody takes this client, yet an answer there must be: all that are left form one tier, by
    /// weight and admit together, or by weight alone if every share is 0.
    fn line_up_reluctant(
        &mut self,
        all: SiteSet,
        seed: &mut impl FnMut() -> Seed,
        trace: &mut impl Trace,
    ) {
        let shares = &self.shares.candidates;
        let having = |is: &dyn Fn(&Share) -> bool| -> SiteSet {
            all.iter().filter(|&candidate| is(&shares[candidate])).collect()
        };
        let some = having(&|share| share.admit > 0.0);
        let weighted = having(&|share| share.weight > 0);
        if !some.is_empty() {
            self.line_up(some, |share| share.full_weight() * share.admit, seed, trace);
        } else if !weighted.is_empty() {
            self.line_up(weighted, Share::full_weight, seed, trace);
        } else {
            self.line_up(all, |_| 1.0, seed, trace);
        }
    }

    fn domains_seen(&self) -> usize {
        let mut seen: ArrayVec<DomainId, MAX_CANDIDATES> = ArrayVec::new();
        let mut alone = 0;
        for &candidate in &self.line {
            match self.shares.candidates[usize::from(candidate)].domain {
                None => alone += 1,
                Some(domain) if seen.contains(&domain) => {}
                Some(domain) => seen.push(domain),
            }
        }
        seen.len() + alone
    }

    /// The first of the line: unseen failure domains first, then whoever is next.
    fn take(&self) -> ArrayVec<u8, MAX_TAKE> {
        let want = usize::from(self.shares.take.sites).min(MAX_TAKE).min(self.line.len());
        let mut taken: ArrayVec<u8, MAX_TAKE> = ArrayVec::new();
        if want <= 1 {
            taken.extend(self.line.iter().copied().take(want));
            return taken;
        }
        self.fill(&mut taken, want);
        taken
    }

    /// Adds from the line until there are `want`: those of unseen failure domains, then whoever is next.
    fn fill(&self, taken: &mut ArrayVec<u8, MAX_TAKE>, want: usize) {
        let domain = |candidate: u8| self.shares.candidates[usize::from(candidate)].domain;
        for &candidate in &self.line {
            let seen = domain(candidate)
                .is_some_and(|of| taken.iter().any(|&other| domain(other) == Some(of)));
            if taken.len() < want && !seen && !taken.contains(&candidate) {
                taken.push(candidate);
            }
        }
        for &candidate in &self.line {
            if taken.len() < want && !taken.contains(&candidate) {
                taken.push(candidate);
            }
        }
    }
}

impl Share {
    fn full_weight(&self) -> f64 {
        f64::from(self.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Silent;
    use super::*;

    struct Dice(u64);

    impl Dice {
        /// splitmix64.
        fn bits(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ mixed >> 31
        }

        fn below(&mut self, end: usize) -> usize {
            (self.bits() % end as u64) as usize
        }
    }

    /// Up to five candidates in up to three tiers, some of which stand aside always or sometimes.
    fn a_service(dice: &mut Dice) -> (Shares, Vec<SiteSet>) {
        let candidates: Vec<Share> = (0..1 + dice.below(5))
            .map(|_| Share {
                weight: 1 + dice.below(3) as u32,
                admit: [0.0, 0.5, 1.0, 1.0][dice.below(4)],
                site: dice.bits(),
                domain: (dice.below(2) == 1).then(|| DomainId(dice.below(2) as u16)),
            })
            .collect();
        let mut tiers = vec![SiteSet::EMPTY; 1 + dice.below(3)];
        for candidate in 0..candidates.len() {
            let tier = dice.below(tiers.len());
            tiers[tier] = tiers[tier].or(SiteSet::one(candidate));
        }
        tiers.retain(|tier| !tier.is_empty());
        let open = (0..candidates.len()).filter(|&one| candidates[one].admit >= 1.0).collect();
        let take = Take { sites: 1 + dice.below(3) as u8, across_tiers: dice.below(2) == 1 };
        (Shares { candidates, open, take }, tiers)
    }

    #[test]
    fn alternatives_come_behind_the_choice_and_never_twice() {
        let mut dice = Dice(2);
        let mut longer = 0;
        for _ in 0..20_000 {
            let (shares, tiers) = a_service(&mut dice);
            let most = shares.take.sites + dice.below(4) as u8;
            let seed = Seed { pick: dice.bits(), admit: dice.bits(), slice: None, hashed: 24 };
            let choice = pick(&shares, &tiers, &mut || seed, &mut Silent);
            let more = pick_alternatives(&shares, &tiers, most, &mut || seed, &mut Silent);
            assert!(more.taken.starts_with(&choice.taken), "{more:?} {choice:?} {tiers:?}");
            assert!(more.taken.len() <= usize::from(most).max(choice.taken.len()));
            assert!(more.hash_decided || !choice.hash_decided);
            let distinct: SiteSet = more.taken.iter().map(|&one| usize::from(one)).collect();
            assert_eq!(distinct.len(), more.taken.len());
            // An alternative that takes nobody would lead clients where they are not wanted.
            let takes = |one: &u8| shares.candidates[usize::from(*one)].admit > 0.0;
            let may_all = choice.taken.iter().all(takes);
            assert!(!may_all || more.taken.iter().all(takes), "{more:?} {shares:?}");
            longer += usize::from(more.taken.len() > choice.taken.len());
        }
        assert!(longer > 2_000, "{longer}");
    }

    #[test]
    fn reach_is_whom_picks_name_and_nobody_else() {
        let mut dice = Dice(1);
        for service in 0..60 {
            let (shares, tiers) = a_service(&mut dice);
            let mut named = SiteSet::EMPTY;
            for _ in 0..20_000 {
                let (pick_bits, admit) = (dice.bits(), dice.bits());
                let seed = Seed { pick: pick_bits, admit, slice: None, hashed: 24 };
                let choice = pick(&shares, &tiers, &mut || seed, &mut Silent);
                named =
                    choice.taken.iter().fold(named, |all, &one| all.or(SiteSet::one(one.into())));
            }
            assert_eq!(reach(&shares, &tiers), named, "service {service}: {shares:?} {tiers:?}");
        }
    }
}
