//! What a name server was told, in the producers' own words at the time: not as reports carry it, nor as it is kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use common::report::agent::{State as Inside, Vip};
use common::report::{Entry, Mark, Reason, State};
use common::target::TargetId;
use common::telling::VALID;
use gslb_dns::health::board::Health;
use gslb_dns::inbox::stream::Reception;
use gslb_dns::judge::Return;

use crate::earth::{Shape, site_of};
use crate::name_server::NameServer;
use crate::producer::{Uttered, Words};
use crate::run::World;

/// What a vantage said of a site.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    pub state: State,
    pub is_refused: bool,
    pub flaps: u32,
    /// On the virtual clock.
    pub since: Duration,
}

#[derive(Clone, Debug)]
pub struct OfVantage {
    pub arrived: Duration,
    pub is_blind: bool,
    pub words: Words,
    /// By site, with the octets that it was read from.
    pub sites: Vec<Option<(Arc<str>, Word)>>,
}

#[derive(Clone, Debug)]
pub struct OfAgent {
    pub arrived: Duration,
    pub vips: Arc<[Vip]>,
}

/// What is remembered of a site, since it was last seen up by two failure domains and down by none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Two failure domains had it down at one time, or its agents nothing to serve.
    pub is_accused: bool,
    /// Somebody was refused there, or its agents had nothing to serve.
    pub is_certain: bool,
    /// Somebody has seen it in some state.
    pub is_seen: bool,
}

#[derive(Debug)]
pub struct Ear {
    domains: Vec<usize>,
    targets: HashMap<TargetId, usize>,
    read: usize,
    /// By producer: the last report that was taken in this run.
    last: HashMap<usize, Mark>,
    /// One that was taken though it is not newer than that.
    pub older: Option<String>,
    pub vantages: Vec<Option<OfVantage>>,
    /// Two of each site.
    pub agents: Vec<Option<OfAgent>>,
    pub memory: Vec<Memory>,
    /// By service and site, as last looked at in this run.
    pub health: Option<Vec<Vec<Health>>>,
    pub board: Option<u64>,
}

impl Ear {
    pub fn new(shape: &Shape) -> Ear {
        Ear {
            domains: shape.domains.clone(),
            targets: HashMap::new(),
            read: 0,
            last: HashMap::new(),
            older: None,
            vantages: vec![None; shape.vantages()],
            agents: vec![None; 2 * shape.sites],
            memory: vec![Memory::default(); shape.sites],
            health: None,
            board: None,
        }
    }

    pub fn stopped(&mut self) {
        self.vantages.fill(None);
        self.agents.fill(None);
        self.last.clear();
        (self.health, self.board) = (None, None);
    }

    pub fn started(&mut self, forgets: bool) {
        if forgets {
            self.memory.fill(Memory::default());
        }
    }

    /// Whether the name server was told something that was not looked at.
    pub fn is_told(&self, server: &NameServer) -> bool {
        self.read < server.took.len()
    }

    pub fn hear(&mut self, now: Duration, world: &World, server: &NameServer) {
        if self.targets.is_empty() {
            let Some(snapshot) = server.snapshot() else { return };
            let targets = snapshot.world().targets.iter();
            self.targets = targets.filter_map(|(id, of)| Some((*id, site_of(of)?))).collect();
        }
        for took in &server.took[self.read..] {
            if let Reception::Taken(_) = took.reception {
                let mark = took.utterance.1;
                if let Some(last) = self.last.insert(took.producer, mark).filter(|it| *it >= mark) {
                    let number = took.producer;
                    self.older = Some(format!("producer {number}'s {mark} was taken after {last}"));
                }
                self.take(world, server.number, took.producer, took.utterance, took.at);
            }
        }
        self.read = server.took.len();
        for site in 0..self.memory.len() {
            let (up, down, refused) = self.domains_of(now, site);
            let is_empty = self.is_empty(now, site);
            let memory = &mut self.memory[site];
            if up >= 2 && down == 0 && !is_empty {
                *memory = Memory { is_seen: true, ..Memory::default() };
            }
            memory.is_accused |= down >= 2 || is_empty;
            memory.is_certain |= refused > 0 || is_empty;
            memory.is_seen |= up + down > 0;
        }
    }

    fn take(
        &mut self,
        world: &World,
        server: usize,
        producer: usize,
        utterance: crate::producer::Utterance,
        arrived: Duration,
    ) {
        let vantages = self.vantages.len();
        if let Some(at) = producer.checked_sub(vantages) {
            let uttered = world.boxes[at].producer.uttered[server].get(&utterance);
            if let Some(Uttered::Agent { vips }) = uttered {
                self.agents[at] = Some(OfAgent { arrived, vips: Arc::clone(vips) });
            }
            return;
        }
        let one = &world.vantages[producer];
        let Some(Uttered::Probe { words, is_blind }) = one.producer.uttered[server].get(&utterance)
        else {
            return;
        };
        let before = self.vantages[producer].take();
        let mut sites = before.map_or_else(|| vec![None; self.memory.len()], |told| told.sites);
        let mut is_told = vec![false; sites.len()];
        for (target, octets) in &**words {
            let Some(site) = self.targets.get(target).copied() else { continue };
            is_told[site] = true;
            let known = sites[site].as_ref().is_some_and(|(known, _)| Arc::ptr_eq(known, octets));
            if !known {
                let entry: Entry = serde_json::from_str(octets).expect("a probe writes entries");
                let word = Word {
                    state: entry.state,
                    is_refused: entry.reason == Some(Reason::Refused),
                    flaps: entry.flaps,
                    since: Duration::from_millis(entry.since) + one.behind,
                };
                sites[site] = Some((Arc::clone(octets), word));
            }
        }
        for (site, is_told) in sites.iter_mut().zip(is_told) {
            if !is_told {
                *site = None;
            }
        }
        let (words, is_blind) = (Arc::clone(words), *is_blind);
        self.vantages[producer] = Some(OfVantage { arrived, is_blind, words, sites });
    }

    /// What a vantage said, if it still holds.
    pub fn fresh(&self, now: Duration, vantage: usize) -> Option<&OfVantage> {
        self.vantages[vantage].as_ref().filter(|told| now < told.arrived + VALID)
    }

    fn words(&self, now: Duration, site: usize) -> impl Iterator<Item = (usize, Word)> {
        (0..self.vantages.len()).filter_map(move |vantage| {
            let told = self.fresh(now, vantage).filter(|told| !told.is_blind)?;
            Some((self.domains[vantage], told.sites[site].as_ref()?.1))
        })
    }

    /// Failure domains of which somebody sees it up, down, and was refused.
    pub fn domains_of(&self, now: Duration, site: usize) -> (u32, u32, u32) {
        let (mut up, mut down, mut refused) = (0_u64, 0_u64, 0_u64);
        for (domain, word) in self.words(now, site) {
            match word.state {
                State::Up | State::Slow => up |= 1 << domain,
                State::Down => down |= 1 << domain,
                State::None | State::Gone => {}
            }
            refused |= u64::from(word.is_refused) << domain;
        }
        (up.count_ones(), down.count_ones(), refused.count_ones())
    }

    fn said_inside(&self, now: Duration, site: usize) -> impl Iterator<Item = &Vip> {
        let agents = self.agents[2 * site..2 * site + 2].iter().flatten();
        let fresh = agents.filter(move |told| now < told.arrived + VALID);
        fresh.flat_map(|told| told.vips.iter())
    }

    /// Whether one of its agents says that it has nothing to serve.
    pub fn is_empty(&self, now: Duration, site: usize) -> bool {
        self.said_inside(now, site).any(|vip| vip.state == Inside::Empty)
    }

    /// Whether it has come back so often that it may wait.
    pub fn may_wait(&self, now: Duration, world: &World, site: usize) -> bool {
        let held = |since, flaps| Return { since, flaps }.is_held_down(now);
        self.words(now, site).any(|(_, word)| held(word.since, word.flaps))
            || world.boxes[2 * site..2 * site + 2].iter().any(|one| {
                self.said_inside(now, site)
                    .any(|vip| held(Duration::from_millis(vip.since) + one.behind, vip.flaps))
            })
    }

    /// Whether anybody holds.
    pub fn hears_anybody(&self, now: Duration) -> bool {
        let agents = self.agents.iter().flatten().any(|told| now < told.arrived + VALID);
        agents || (0..self.vantages.len()).any(|vantage| self.fresh(now, vantage).is_some())
    }

    pub fn has_flapped(&self, site: usize) -> bool {
        let told = self.vantages.iter().flatten().filter_map(|told| told.sites[site].as_ref());
        let inside = self.agents[2 * site..2 * site + 2].iter().flatten();
        told.clone().any(|(_, word)| word.flaps >= 3)
            || inside.flat_map(|told| told.vips.iter()).any(|vip| vip.flaps >= 3)
    }
}
