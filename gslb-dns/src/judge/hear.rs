//! Whose word counts, and what those say of each target: followed, so that what is said anew is all that is looked at.

use std::collections::HashMap;
use std::time::Duration;

use common::report::{Entry, Reason, State};
use common::target::{Target, TargetId};
use geoip::Continent;

use super::Standing;
use crate::inbox::Inbox;
use crate::inbox::stream::{Place, Said, Stream};
use crate::verdict::Evidence;
use crate::verdict::row::{Rows, Voice};
use crate::world::World;

/// One vantage's word on one target.
#[derive(Clone, Copy, Debug)]
pub struct Vote {
    pub domain: usize,
    pub region: Option<Continent>,
    pub evidence: Evidence,
    /// When that began, on our clock; `None` for what was always so.
    pub since: Option<Duration>,
    pub is_refused: bool,
    pub flaps: u32,
    /// Of what is up and fails now: when it can be down, if looks go on to fail.
    pub down_in: Option<Duration>,
}

/// What vantages have said as far as it was judged, and how their words counted.
#[derive(Debug)]
pub struct Hearing {
    /// By target: a site that it belongs to.
    sites: Vec<usize>,
    /// By vantage; empty before anything was heard.
    columns: Vec<Column>,
    /// By target, then by vantage: what it says while its report holds. Side by side, for whoever judges a target reads
    /// them all: looked up in every vantage's stream, most of the time would go by waiting for memory.
    words: Vec<Option<Vote>>,
    rows: Rows,
    standings: Vec<Standing>,
}

/// One vantage, as far as it was followed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Column {
    /// Of a vantage that never said anything, the beginning.
    place: Place,
    is_fresh: bool,
    is_blind: bool,
}

/// A target, and the vantage that has told of it.
type Told = (usize, usize);

impl Hearing {
    pub fn new(world: &World) -> Hearing {
        let sites = sites_of(world);
        let rows = Rows::new(vec![], &sites);
        Hearing { sites, columns: vec![], words: vec![], rows, standings: vec![] }
    }

    /// How each vantage's word counts, by vantage.
    pub fn standings(&self) -> &[Standing] {
        &self.standings
    }

    /// Forgets what was followed: everything is heard anew.
    pub fn forget(&mut self) {
        self.columns.clear();
    }

    /// The words on one target that count, in the order of their vantages.
    pub fn votes(&self, target: usize) -> Vec<Vote> {
        let words = self.words_on(target).iter().zip(&self.standings);
        let counts = |(word, standing): (&Option<Vote>, &Standing)| {
            word.filter(|_| *standing == Standing::Trusted)
        };
        words.filter_map(counts).collect()
    }

    /// Hears what was said since the last time; `numbers` are those of targets in this world. Returns the targets on
    /// which some word that counts may be another than before.
    pub fn hear(
        &mut self,
        now: Duration,
        world: &World,
        inbox: &Inbox,
        numbers: &HashMap<TargetId, usize>,
    ) -> Vec<usize> {
        let streams: Vec<_> =
            world.vantages.iter().map(|vantage| inbox.vantage(&vantage.name)).collect();
        let columns: Vec<Column> = streams.iter().map(|stream| Column::of(now, *stream)).collect();
        let everything = || 0..self.sites.len();
        let mut told = match self.told_since(&columns, &streams, numbers) {
            Some(told) => told,
            None => {
                let voices = world.vantages.iter().zip(&columns).map(|(vantage, column)| Voice {
                    domain: vantage.domain,
                    is_blind: column.is_blind,
                });
                self.rows = Rows::new(voices.collect(), &self.sites);
                self.words = vec![None; self.sites.len() * streams.len()];
                let by_all = |target| (0..streams.len()).map(move |vantage| (target, vantage));
                everything().flat_map(by_all).collect()
            }
        };
        for (target, vantage) in told.iter().copied() {
            let stream = streams[vantage].filter(|_| columns[vantage].is_fresh);
            let said = stream.and_then(|stream| stream.said(world.targets[target].0));
            self.words[target * streams.len() + vantage] =
                said.map(|said| vote(world, target, vantage, said));
        }
        told.sort_unstable();
        told.dedup_by_key(|(target, _)| *target);
        let mut targets: Vec<usize> = told.into_iter().map(|(target, _)| target).collect();
        for target in &targets {
            let said = self.words_on(*target).iter();
            let said: Vec<Evidence> =
                said.map(|word| word.map_or(Evidence::None, |word| word.evidence)).collect();
            self.rows.say(*target, &said);
        }
        let distrust = self.rows.distrusted();
        let standings: Vec<Standing> = (0..streams.len())
            .map(|vantage| match (streams[vantage], columns[vantage].is_fresh, distrust[vantage]) {
                (_, true, Some(why)) => Standing::Distrusted(why),
                (_, true, None) => Standing::Trusted,
                (Some(stream), false, _) if stream.lease_ends().is_some() => Standing::Silent,
                (_, false, _) => Standing::NeverHeard,
            })
            .collect();
        let counts = |standings: &[Standing]| -> Vec<bool> {
            standings.iter().map(|standing| *standing == Standing::Trusted).collect()
        };
        if counts(&standings) != counts(&self.standings) {
            targets = everything().collect();
        }
        (self.columns, self.standings) = (columns, standings);
        targets
    }

    /// What every vantage says of a target, if its last report still holds.
    fn words_on(&self, target: usize) -> &[Option<Vote>] {
        let vantages = self.words.len() / self.sites.len().max(1);
        self.words.get(target * vantages..(target + 1) * vantages).unwrap_or_default()
    }

    /// What was told of since the last time, some of it more than once; `None` if anything may be something else.
    fn told_since(
        &self,
        columns: &[Column],
        streams: &[Option<&Stream<TargetId, Entry>>],
        numbers: &HashMap<TargetId, usize>,
    ) -> Option<Vec<Told>> {
        if self.columns.len() != columns.len() {
            return None;
        }
        let mut all = Vec::new();
        let vantages = self.columns.iter().zip(columns).zip(streams).enumerate();
        for (vantage, ((before, after), stream)) in vantages {
            if (before.is_fresh, before.is_blind) != (after.is_fresh, after.is_blind) {
                return None;
            }
            // What somebody says who is not heard is nothing.
            if let Some(stream) = stream.filter(|_| after.is_fresh) {
                let told = stream.told_since(before.place)?.iter();
                all.extend(told.filter_map(|id| Some((*numbers.get(id)?, vantage))));
            }
        }
        Some(all)
    }
}

impl Column {
    fn of(now: Duration, stream: Option<&Stream<TargetId, Entry>>) -> Column {
        let fresh = stream.filter(|stream| stream.is_fresh(now));
        let own = fresh.and_then(|stream| stream.own());
        Column {
            place: stream.map(|stream| stream.place()).unwrap_or_default(),
            is_fresh: fresh.is_some(),
            is_blind: own.is_some_and(|own| own.blind.is_some()),
        }
    }
}

/// One vantage's word on one target.
fn vote(world: &World, target: usize, vantage: usize, said: Said<'_, Entry>) -> Vote {
    let entry = said.entry;
    let since = said.on_our_clock(Duration::from_millis(entry.since));
    Vote {
        domain: world.vantages[vantage].domain,
        region: world.vantages[vantage].place.continent,
        evidence: Evidence::of(entry),
        // Who has seen no other state has seen this one always.
        since: (entry.flaps > 0 || entry.state == State::Down).then_some(since),
        is_refused: entry.reason == Some(Reason::Refused),
        flaps: entry.flaps,
        down_in: down_in(entry, &world.targets[target].1),
    }
}

/// By target, a site that it belongs to.
fn sites_of(world: &World) -> Vec<usize> {
    let mut sites = vec![0; world.targets.len()];
    for service in &world.services {
        let Some(watch) = &service.watch else { continue };
        for (candidate, vips) in service.candidates.iter().zip(&watch.candidates) {
            for target in vips.iter().flat_map(|vip| &vip.targets) {
                sites[*target] = candidate.site.index();
            }
        }
    }
    sites
}

/// As gdnsd counts it: the interval for each look that is still needed.
pub(super) fn down_in(entry: &Entry, target: &Target) -> Option<Duration> {
    let fails = matches!(entry.state, State::Up | State::Slow) && entry.streak > 0;
    let looks = entry.need.saturating_sub(entry.streak).max(1);
    fails.then(|| target.check.timing.interval() * u32::from(looks))
}

impl Evidence {
    fn of(entry: &Entry) -> Evidence {
        match entry.state {
            State::Up => Evidence::Up,
            State::Slow => Evidence::Slow,
            State::Down => Evidence::Down,
            State::None | State::Gone => Evidence::None,
        }
    }

    /// What a vantage saw before it saw this.
    pub(super) fn opposite(self) -> Evidence {
        match self {
            Evidence::Up | Evidence::Slow => Evidence::Down,
            Evidence::Down => Evidence::Up,
            Evidence::None => Evidence::None,
        }
    }

    pub(super) fn is_up(self) -> bool {
        matches!(self, Evidence::Up | Evidence::Slow)
    }
}
