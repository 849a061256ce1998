//! What an evaluation tells while it runs: nothing on the query path, everything to `explain`.

use geoip::Continent;

use super::pick::Contender;
use crate::ids::MapId;
use crate::site_set::SiteSet;
use crate::world::Area;

/// Hears each decision as it is made. The query path's listener is `Silent`, which compiles away.
pub trait Trace {
    /// A step has refined the tiers into these.
    fn step(&mut self, step: StepName, tiers: &[SiteSet]);

    /// A step would have left nothing, or had nothing to go by: the tiers stay as they were.
    fn skipped(&mut self, step: StepName, why: Skipped);

    /// A candidate is out.
    fn struck(&mut self, candidate: usize, why: Struck);

    /// The fail mode decided: nobody is fit.
    fn fail_mode(&mut self, what: &'static str);

    /// A candidate stood aside: its share of this class does not include this client.
    fn stood_aside(&mut self, candidate: usize, admit: f64, drawn: f64);

    /// Candidates of one tier, in the order that rendezvous hashing gave them.
    fn ranked(&mut self, contenders: &[Contender]);
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StepName {
    Start,
    StrictFence(Area),
    Healthy,
    Region(Continent),
    Fence(Area),
    Map(MapId),
    Nearest,
    Failover,
}

/// Why a step did nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Skipped {
    NotFenced,
    NoPlace,
    NoEntry,
    NobodyLeft,
    Observed,
}

impl Skipped {
    /// As `explain` tells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Skipped::NotFenced => "no site is inside the client's area, or its place is not known",
            Skipped::NoPlace => "the client's place is not known",
            Skipped::NoEntry => "the map has no entry for the client and no default",
            Skipped::Observed => "act = \"observe\": what is down is shown, and struck by nobody",
            Skipped::NobodyLeft => "it would have left nobody",
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Struck {
    NoAddressOfFamily,
    OutsideStrictFence(Area),
    Down,
    Drained,
    LostTo(Continent),
    NotOnMap(MapId),
}

/// Hears nothing.
pub struct Silent;

impl Trace for Silent {
    fn step(&mut self, _: StepName, _: &[SiteSet]) {}
    fn skipped(&mut self, _: StepName, _: Skipped) {}
    fn struck(&mut self, _: usize, _: Struck) {}
    fn fail_mode(&mut self, _: &'static str) {}
    fn stood_aside(&mut self, _: usize, _: f64, _: f64) {}
    fn ranked(&mut self, _: &[Contender]) {}
}
