//! `site-agent vrrp doctor`: looks at this box, listens to its link, and asks who has the VIPs. The shell around
//! `vrrp_findings`.
//!
//! config ─▶ kernel, service ─▶ (vrrp_scan) listen ─▶ neighbours ─▶ vrrp_findings ─▶ (people)
//!
//! It changes nothing. It sends questions where VIPs are (ARP probes, Neighbor Solicitations) and no adverts: one of ours
//! could move an address.

mod kernel;
mod neighbours;
mod service;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use common::clock;

use crate::routers::expects;
use crate::site::{Redundancy, VirtualRouter};
use crate::vrrp::packet::auth::Keys;
use crate::vrrp::packet::replay::Marks;
use crate::vrrp::packet::{Envelope, Family, Refusal, judge, read};
use crate::vrrp::sightings::Sightings;
use crate::vrrp_findings::facts::{Facts, Interface, Judged, Standing};
use crate::vrrp_findings::{self, Report, speaks_from};
use crate::vrrp_scan::{self, ScanError};

/// Intervals for which it is listened: in three and a skew somebody else would take over.
const INTERVALS: u32 = 5;
/// However long intervals are.
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    #[error("cannot ask the kernel for interfaces and addresses")]
    Kernel(#[source] std::io::Error),
    #[error(transparent)]
    Scan(#[from] ScanError),
}

/// Takes some intervals of the slowest virtual router. `standings` is what a running service says of itself.
pub fn examine(redundancy: &Redundancy, standings: Vec<Standing>) -> Result<Report, DoctorError> {
    let Redundancy { service, routers } = redundancy;
    let interfaces = kernel::interfaces().map_err(DoctorError::Kernel)?;
    let used: BTreeSet<&str> = routers.iter().map(|router| &*router.interface).collect();
    let used: Vec<&Interface> = interfaces
        .iter()
        .filter(|interface| interface.is_up && used.contains(&*interface.name))
        .collect();

    let mut ears: Vec<Ear<'_>> =
        routers.iter().map(|router| Ear::of(router, routers, &used)).collect();
    let mut sightings = Sightings::default();
    let slowest = routers.iter().map(|router| router.interval.duration()).max().unwrap_or_default();
    let places: Vec<vrrp_scan::Interface> =
        used.iter().map(|interface| (Arc::from(&*interface.name), interface.index)).collect();
    let begin = clock::monotonic();
    vrrp_scan::listen(&places, (slowest * INTERVALS).min(LONGEST), |now, at, packet| {
        sightings.hear(now, at, packet);
        ears.iter_mut().for_each(|ear| ear.hear(at, &packet));
    })?;
    let told = sightings.told(begin, clock::monotonic(), used.iter().map(|used| &*used.name));

    let is_here = |vip: &IpAddr| {
        let mut all = interfaces.iter().flat_map(|interface| &interface.addresses);
        all.any(|there| there.address == *vip)
    };
    let (mut asked, mut answers) = (vec![], vec![]);
    for interface in &used {
        let on_it = routers.iter().filter(|router| *router.interface == *interface.name);
        let vips = on_it.flat_map(|router| router.vips.iter().map(|vip| vip.address));
        let missing: Vec<IpAddr> = vips.filter(|vip| !is_here(vip)).collect();
        let (those, of_them) = neighbours::ask(interface, &missing);
        asked.extend(those);
        answers.extend(of_them);
    }
    let judged = ears.into_iter().map(|ear| ear.judged).collect();
    let service = service::look(&service.socket);
    let facts = Facts { interfaces, told, judged, asked, answers, service, standings };
    Ok(Report { listened_ms: facts.told.listened_ms, findings: vrrp_findings::of(routers, &facts) })
}

/// Hears what a virtual router would, and makes of it what that would.
struct Ear<'r> {
    router: &'r VirtualRouter,
    address: Option<IpAddr>,
    advertised: Vec<IpAddr>,
    keys: Option<Keys>,
    marks: Marks,
    judged: Judged,
}

impl<'r> Ear<'r> {
    fn of(router: &'r VirtualRouter, all: &[VirtualRouter], used: &[&Interface]) -> Ear<'r> {
        let interface = used.iter().find(|interface| *interface.name == *router.interface);
        let address = interface.and_then(|interface| speaks_from(router, all, interface));
        Ear {
            router,
            address: address.map(|address| address.address),
            advertised: router.advertised().collect(),
            keys: expects::keys(router),
            marks: Marks::default(),
            judged: Judged::new(),
        }
    }

    /// Of its own VRID.
    fn hear(&mut self, at: &str, packet: &Result<(Envelope, &[u8]), Refusal>) {
        let (Some(address), Ok((envelope, octets))) = (self.address, packet) else { return };
        let Ok(advert) = read(&envelope.ends, octets) else { return };
        let is_its = *self.router.interface == *at
            && advert.vrid == self.router.vrid
            && envelope.ends.family() == Family::of(address);
        if is_its {
            let expected = expects::of(self.router, &self.advertised, self.keys.as_ref(), address);
            let heard = judge(&expected, envelope, &advert, clock::unix_time(), &mut self.marks);
            self.judged.insert(envelope.ends.from(), heard);
        }
    }
}
