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

use crate::clock::{ms, s};
use crate::earth::{SHARE, Shape, site_of};
use crate::name_server::NameServer;
use crate::producer::{Uttered, Words};
use crate::run::Stage;

/// What a name server that is killed may have forgotten: it writes what a restart wants to know each 5 s, at a turn.
const UNWRITTEN: Duration = ms(5500);
/// Who came back the second time within the hour waits so long; twice as long with each time more, five times at most.
const WAIT: Duration = s(10);
const MOST_DOUBLINGS: u32 = 5;
/// A producer's clock is known here as well as its last report was fast: 0.4 s in fair weather. What began is left where it
/// was by a name server, if that is less than 1 s away.
const CLOCKS: Duration = ms(1400);
/// The same in any weather.
const CLOCKS_IN_STORM: Duration = s(10);

/// What a vantage said of a site.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    pub state: State,
    pub reason: Option<Reason>,
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
    /// By so much its clock is behind.
    pub behind: Duration,
}

/// What those who are heard say of a site, as the quorum is stated: each failure domain has one vote, which those of its
/// vantages share that say something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Votes {
    pub vantages: usize,
    pub domains: usize,
    /// Shares of the domains.
    pub up: f64,
    pub down: f64,
    /// Domains of which somebody has it down, and of which somebody was refused.
    pub having_down: u32,
    pub refused: u32,
}

/// What is remembered of a site over all reports: what a quorum said last holds until one says the opposite.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// A quorum has had it down, and none up since.
    pub is_accused: bool,
    /// And vantages of two failure domains were refused there.
    pub is_certain: bool,
    /// A quorum has said something, since then.
    pub judged: Option<Duration>,
    /// When the first two were last so.
    accused: Option<Duration>,
    certain: Option<Duration>,
}

impl Memory {
    fn hear(&mut self, now: Duration, votes: &Votes) {
        if votes.up >= SHARE {
            (self.is_accused, self.is_certain) = (false, false);
        }
        if votes.down >= SHARE {
            self.is_accused = true;
        }
        self.is_certain |= self.is_accused && votes.refused >= 2;
        self.judged = self.judged.or(Some(now));
    }

    fn note(&mut self, now: Duration) {
        self.accused = if self.is_accused { Some(now) } else { self.accused };
        self.certain = if self.is_certain { Some(now) } else { self.certain };
    }

    /// As it may be on the disk of who was killed.
    fn as_written(&self, now: Duration) -> Memory {
        let is_late = |at: Option<Duration>| at.is_some_and(|at| at + UNWRITTEN > now);
        Memory {
            is_accused: self.is_accused || is_late(self.accused),
            is_certain: self.is_certain || is_late(self.certain),
            judged: self.judged.filter(|at| *at + UNWRITTEN <= now),
            ..*self
        }
    }
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
    /// By service and site: whether it was up or down when it was last known to be either, and since when.
    pub stood: Vec<Vec<Option<(Health, Duration)>>>,
    pub board: Option<u64>,
    /// Vantages that a quorum takes.
    quorum: usize,
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
            stood: vec![],
            board: None,
            quorum: shape.vantages,
        }
    }

    pub fn stopped(&mut self, now: Duration, is_told: bool) {
        self.vantages.fill(None);
        self.agents.fill(None);
        self.last.clear();
        self.board = None;
        if is_told {
            return;
        }
        for memory in &mut self.memory {
            *memory = memory.as_written(now);
        }
        for stood in self.stood.iter_mut().flatten() {
            *stood = stood.filter(|(_, since)| *since + UNWRITTEN <= now);
        }
    }

    pub fn started(&mut self, forgets: bool) {
        if forgets {
            self.memory.fill(Memory::default());
            self.stood.clear();
        }
    }

    /// Whether the name server was told something that was not looked at.
    pub fn is_told(&self, server: &NameServer) -> bool {
        self.read < server.took.len()
    }

    pub fn hear(&mut self, stage: &Stage, server: &NameServer) {
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
                self.take(stage, server.number, took.producer, took.utterance, took.at);
            }
        }
        self.read = server.took.len();
    }

    /// What was heard is judged, when a name server may have judged it.
    pub fn remember(&mut self, now: Duration) {
        for site in 0..self.memory.len() {
            let votes = self.votes(now, site);
            let is_quorum = votes.vantages >= self.quorum && votes.domains >= 2;
            let memory = &mut self.memory[site];
            if is_quorum {
                memory.hear(now, &votes);
            }
            memory.note(now);
        }
    }

    fn take(
        &mut self,
        stage: &Stage,
        server: usize,
        producer: usize,
        utterance: crate::producer::Utterance,
        arrived: Duration,
    ) {
        let vantages = self.vantages.len();
        if let Some(at) = producer.checked_sub(vantages) {
            let uttered = stage.boxes[at].producer.uttered[server].get(&utterance);
            if let Some(Uttered::Agent { vips }) = uttered {
                let (vips, behind) = (Arc::clone(vips), stage.boxes[at].behind);
                self.agents[at] = Some(OfAgent { arrived, vips, behind });
            }
            return;
        }
        let one = &stage.vantages[producer];
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
                    reason: entry.reason,
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

    pub fn votes(&self, now: Duration, site: usize) -> Votes {
        let mut votes = Votes::default();
        for domain in 0..=self.domains.iter().copied().max().unwrap_or(0) {
            let (mut up, mut down, mut is_refused) = (0_u32, 0_u32, false);
            for (_, word) in self.words(now, site).filter(|(of, _)| *of == domain) {
                match word.state {
                    State::Up | State::Slow => up += 1,
                    State::Down => down += 1,
                    State::None | State::Gone => {}
                }
                is_refused |= word.state == State::Down && word.reason == Some(Reason::Refused);
            }
            if up + down > 0 {
                votes.vantages += (up + down) as usize;
                votes.domains += 1;
                votes.up += f64::from(up) / f64::from(up + down);
                votes.down += f64::from(down) / f64::from(up + down);
                votes.having_down += u32::from(down > 0);
                votes.refused += u32::from(is_refused);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "at most four")]
        let all = votes.domains.max(1) as f64;
        (votes.up, votes.down) = (votes.up / all, votes.down / all);
        votes
    }

    fn of_agents(&self, site: usize) -> impl Iterator<Item = &OfAgent> {
        self.agents[2 * site..2 * site + 2].iter().flatten()
    }

    fn fresh_agents(&self, now: Duration, site: usize) -> impl Iterator<Item = &OfAgent> {
        self.of_agents(site).filter(move |told| now < told.arrived + VALID)
    }

    /// Whether one of its agents says that it has nothing to serve.
    pub fn is_empty(&self, now: Duration, site: usize) -> bool {
        let said = self.fresh_agents(now, site).flat_map(|told| &*told.vips);
        said.into_iter().any(|vip| vip.state == Inside::Empty)
    }

    /// Whether it may wait by what is said now: it came back lately, as it did before.
    pub fn may_wait(&self, now: Duration, site: usize) -> bool {
        let words = self.words(now, site).map(|(_, word)| (word.since, word.flaps));
        let said = self.fresh_agents(now, site).flat_map(OfAgent::states);
        waits(now, CLOCKS, words) || waits(now, CLOCKS, said)
    }

    /// The same by all that is known: who is on its way back stays so though nobody says it any more; in any weather.
    pub fn may_wait_by_all(&self, now: Duration, site: usize) -> bool {
        let told = self.vantages.iter().flatten().filter_map(|told| told.sites[site].as_ref());
        let words = told.map(|(_, word)| (word.since, word.flaps));
        let said = self.of_agents(site).flat_map(OfAgent::states);
        waits(now, CLOCKS_IN_STORM, words) || waits(now, CLOCKS_IN_STORM, said)
    }

    /// Whether anybody holds.
    pub fn hears_anybody(&self, now: Duration) -> bool {
        let agents = self.agents.iter().flatten().any(|told| now < told.arrived + VALID);
        agents || (0..self.vantages.len()).any(|vantage| self.fresh(now, vantage).is_some())
    }
}

impl OfAgent {
    /// Since when each VIP is as it is, on the virtual clock, and how often that has changed.
    fn states(&self) -> impl Iterator<Item = (Duration, u32)> {
        self.vips.iter().map(|vip| (Duration::from_millis(vip.since) + self.behind, vip.flaps))
    }
}

/// Whether what began then, the last of so many changes, may make it wait; whose word is taken for which is another's to say.
fn waits(now: Duration, late: Duration, said: impl Iterator<Item = (Duration, u32)>) -> bool {
    let (since, flaps) = said.fold((Duration::ZERO, 0), |(since, flaps), (other, more)| {
        (since.max(other), flaps.max(more))
    });
    let wait = match flaps.div_ceil(2) {
        0 | 1 => Duration::ZERO,
        returns => WAIT * 2_u32.pow((returns - 2).min(MOST_DOUBLINGS)),
    };
    wait > Duration::ZERO && now < since + wait + late
}
