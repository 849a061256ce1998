//! Whose word counts, and what those say of each target.

use std::time::Duration;

use common::report::{Entry, Reason, State};
use geoip::Continent;

use super::Standing;
use crate::inbox::Inbox;
use crate::verdict::Evidence;
use crate::verdict::row::{Row, Voice, distrusted};
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
}

/// How each vantage's word counts, and by target what those say whose word does.
pub fn hear(now: Duration, world: &World, inbox: &Inbox) -> (Vec<Standing>, Vec<Vec<Vote>>) {
    let streams: Vec<_> =
        world.vantages.iter().map(|vantage| inbox.vantage(&vantage.name)).collect();
    let fresh = streams.iter().map(|stream| stream.filter(|stream| stream.is_fresh(now)));
    let fresh: Vec<_> = fresh.collect();
    let said = |vantage: usize, target: usize| {
        fresh[vantage].and_then(|stream| stream.entry(world.targets[target].0))
    };
    let sites = sites_of(world);
    let rows: Vec<Row> = (0..world.targets.len())
        .map(|target| {
            let say = |vantage| said(vantage, target).map_or(Evidence::None, Evidence::of);
            Row { site: sites[target], said: (0..streams.len()).map(say).collect() }
        })
        .collect();
    let voices: Vec<Voice> = world
        .vantages
        .iter()
        .zip(&fresh)
        .map(|(vantage, stream)| {
            let own = stream.and_then(|stream| stream.own());
            Voice { domain: vantage.domain, is_blind: own.is_some_and(|own| own.blind.is_some()) }
        })
        .collect();
    let distrust = distrusted(&voices, &rows);
    let standings: Vec<Standing> = (0..streams.len())
        .map(|vantage| match (streams[vantage], fresh[vantage], distrust[vantage]) {
            (_, Some(_), Some(why)) => Standing::Distrusted(why),
            (_, Some(_), None) => Standing::Trusted,
            (Some(stream), None, _) if stream.lease_ends().is_some() => Standing::Silent,
            (_, None, _) => Standing::NeverHeard,
        })
        .collect();
    let votes = rows.iter().enumerate().map(|(target, row)| {
        let of = |vantage: usize| {
            let is_trusted = standings[vantage] == Standing::Trusted;
            let (stream, entry) =
                fresh[vantage].zip(said(vantage, target)).filter(|_| is_trusted)?;
            let since = stream.on_our_clock(Duration::from_millis(entry.since));
            Some(Vote {
                domain: voices[vantage].domain,
                region: world.vantages[vantage].place.continent,
                evidence: row.said[vantage],
                // Who has seen no other state has seen this one always.
                since: since.filter(|_| entry.flaps > 0 || entry.state == State::Down),
                is_refused: entry.reason == Some(Reason::Refused),
                flaps: entry.flaps,
            })
        };
        (0..streams.len()).filter_map(of).collect()
    });
    let votes = votes.collect();
    (standings, votes)
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
