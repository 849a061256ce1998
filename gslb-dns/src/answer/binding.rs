//! HTTPS and SVCB records of services: what was rendered with the world, and the hints of this client.
//!
//! Hints are the addresses of the very decisions that A and AAAA are answered by, so they cannot differ.
//! Decides nothing.

use super::MAX_UDP;
use super::opt::MOST as OPT;
use super::writer::{Full, Owner, Section, Writer};
use crate::binding::{Binding, MAX_PARAMS, OWNER, Params, Targets};
use crate::name::MAX_NAME;
use crate::query::HEADER;
use crate::record::RecordType;
use crate::snapshot::{Chosen, Decision, Live};
use crate::world::{FailMode, Vips};

/// Priority of the record to be tried first. 0 would make it an alias (RFC 9460 §2.4.1).
const FIRST: u16 = 1;

const _: () = assert!(
    HEADER + MAX_NAME + 4 + 12 + 2 + MAX_NAME + MAX_PARAMS + OPT < MAX_UDP,
    "a record with the longest target and parameters fits a datagram beside the longest question"
);

/// Whose records, and of which type.
#[derive(Clone, Copy)]
pub struct Heading<'n> {
    pub owner: Owner<'n>,
    pub rtype: RecordType,
}

/// The record that leads to the service's own name, with the addresses that A and AAAA are answered with.
/// False if those have none, and nothing was written.
pub fn write_own(
    live: Live<'_>,
    params: &Params,
    [v4, v6]: [&Decision; 2],
    heading: Heading<'_>,
    writer: &mut Writer<'_>,
) -> Result<bool, Full> {
    let ipv4hint = vips(live, &v4.chosen).flat_map(|vips| vips.v4.iter().copied());
    let ipv6hint = vips(live, &v6.chosen).flat_map(|vips| vips.v6.iter().copied());
    if ipv4hint.clone().next().is_none() && ipv6hint.clone().next().is_none() {
        return Ok(false);
    }
    let Heading { owner, rtype } = heading;
    let ttl = v4.ttl.min(v6.ttl);
    writer.record_in_pieces(Section::Answer, owner, rtype, ttl, |put| {
        put(&FIRST.to_be_bytes())?;
        params.write(OWNER, ipv4hint, ipv6hint, &mut |octets: &[u8]| put(octets))
    })?;
    Ok(true)
}

/// One record for each site chosen, the first of them to be tried first. False if nothing was written.
pub fn write_sites(
    live: Live<'_>,
    binding: &Binding,
    targets: &Targets,
    decision: &Decision,
    heading: Heading<'_>,
    writer: &mut Writer<'_>,
) -> Result<bool, Full> {
    let choice = match &decision.chosen {
        Chosen::Sites(choice) => choice,
        // The fail mode's addresses are no site's: they are what the service's own name leads to.
        Chosen::Static | Chosen::NoData => {
            return write_own(live, &binding.params, [decision, decision], heading, writer);
        }
    };
    let Heading { owner, rtype } = heading;
    for (priority, &candidate) in (FIRST..).zip(&choice.taken) {
        let data = &targets.data[usize::from(candidate)];
        writer.record_in_pieces(Section::Answer, owner, rtype, decision.ttl, |put| {
            put(&priority.to_be_bytes())?;
            put(data)
        })?;
    }
    Ok(true)
}

/// The addresses that a decision comes to, site by site.
fn vips<'a>(live: Live<'a>, chosen: &'a Chosen) -> impl Iterator<Item = &'a Vips> + Clone {
    let (taken, fallback) = match (chosen, &live.service.fail_mode) {
        (Chosen::Sites(choice), _) => (&choice.taken[..], None),
        (Chosen::Static, FailMode::Static(vips)) => (&[][..], Some(vips)),
        (Chosen::Static | Chosen::NoData, _) => (&[][..], None),
    };
    taken.iter().filter_map(move |&candidate| live.vips(candidate)).chain(fallback)
}
