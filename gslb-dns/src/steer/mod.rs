//! Which sites an answer names: candidates refined step by step into tiers, then a pick from them.
//!
//! `arrange` turns what is believed of the candidates and what a class of clients is into tiers, once
//! per class; `pick` walks the tiers for one client. Together they are the one evaluator: what answers
//! a query, and what `explain` tells, only with a trace that listens. Pure: time comes in, and chance
//! is a hash of the client.

mod arrange;
pub mod hash;
mod pick;
mod trace;

pub use self::arrange::{Arrangement, Failing, Outcome, arrange};
pub use self::pick::{Choice, Contender, Seed, Shares, pick, pick_alternatives, reach};
pub use self::trace::{Silent, Skipped, StepName, Struck, Trace};

use crate::record::RecordType;
use crate::site_set::SiteSet;
use crate::world::{Destination, Service};

/// What an answer is made of.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Family {
    V4,
    V6,
    /// The candidates' CNAME targets, for whatever type is asked.
    Cname,
}

impl Family {
    /// The type of the records that it is answered with.
    pub fn record_type(self) -> RecordType {
        match self {
            Family::V4 => RecordType::A,
            Family::V6 => RecordType::AAAA,
            Family::Cname => RecordType::CNAME,
        }
    }
}

/// The family by which a service is decided where all its sites have the same ones: IPv4 if they have it.
pub fn common_family(service: &Service) -> Family {
    match service.candidates.first().map(|candidate| &candidate.target) {
        Some(Destination::Vips(vips)) if vips.v4.is_empty() => Family::V6,
        Some(Destination::Vips(_)) | None => Family::V4,
        Some(Destination::Cname(_)) => Family::Cname,
    }
}

/// The candidates that have something to answer in this family.
pub fn able(service: &Service, family: Family) -> SiteSet {
    let is_able = |target: &Destination| match (family, target) {
        (Family::V4, Destination::Vips(vips)) => !vips.v4.is_empty(),
        (Family::V6, Destination::Vips(vips)) => !vips.v6.is_empty(),
        (Family::Cname, Destination::Cname(_)) => true,
        (Family::V4 | Family::V6, Destination::Cname(_))
        | (Family::Cname, Destination::Vips(_)) => false,
    };
    let candidates = service.candidates.iter().enumerate();
    candidates.filter(|(_, candidate)| is_able(&candidate.target)).map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests;
