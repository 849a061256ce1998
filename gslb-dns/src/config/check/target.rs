//! The sites' own names: whether those in our zones lead where the service sends clients.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::binding::Target;
use super::service::Draft;
use crate::config::problems::{Problem, Problems};
use crate::config::read::At;
use crate::name::NameKey;
use crate::record::RecordType;
use crate::zone::{Match, NodeId, Zone, Zones};

/// Looks up every target of every service. What lies in nobody's zone, or below a delegation, is others'
/// to keep right.
pub fn check(drafts: &[Draft], zones: &[Arc<Zone>], problems: &mut Problems) {
    let zones = Zones::new(zones.to_vec());
    for target in drafts.iter().flat_map(|draft| &draft.targets) {
        problems.one(leads_there(target, drafts, &zones));
    }
}

fn leads_there(target: &Target, drafts: &[Draft], zones: &Zones) -> Result<(), Problem> {
    let At { value: name, spot } = &target.name;
    let hosted =
        NameKey::of(name.wire()).and_then(|key| Some((zones.find(&key)?.search(&key), key)));
    let Some((found, key)) = hosted else { return Ok(()) };
    let Some(zone) = zones.find(&key) else { return Ok(()) };
    let addresses = match found {
        Match::Delegation(_) | Match::DelegationExactly(_) => return Ok(()),
        Match::Rename(_) | Match::Nothing => vec![],
        Match::Node(node) | Match::Wildcard(node) => {
            if let Some(service) = zone.service(node) {
                return Err(spot.problem(format!(
                    "{name} is steered by {}, so it does not lead to this site alone; give a name \
                     whose A and AAAA records stand in a zone file",
                    drafts[service.index()].name.spot
                )));
            }
            addresses(zone, node)
        }
    };
    let expected = target.addresses();
    if addresses == expected {
        return Ok(());
    }
    Err(spot.problem(format!(
        "{name} has {} in zone {}, and the site has {}; make its A and AAAA records there those of \
         the site",
        shown(&addresses),
        zone.apex(),
        shown(&expected),
    )))
}

fn addresses(zone: &Zone, node: NodeId) -> Vec<IpAddr> {
    let set = |rtype| zone.set(node, rtype).into_iter().flat_map(|set| set.records());
    let v4 = set(RecordType::A).filter_map(|rdata| <[u8; 4]>::try_from(rdata).ok());
    let v6 = set(RecordType::AAAA).filter_map(|rdata| <[u8; 16]>::try_from(rdata).ok());
    let v4 = v4.map(|octets| IpAddr::from(Ipv4Addr::from(octets)));
    let mut all: Vec<IpAddr> =
        v4.chain(v6.map(|octets| IpAddr::from(Ipv6Addr::from(octets)))).collect();
    all.sort();
    all
}

fn shown(addresses: &[IpAddr]) -> String {
    match addresses {
        [] => "no address".to_owned(),
        some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}
