//! `report_to`: the name servers that a producer tells.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::problems::{Problems, Spot};
use super::read::{At, List, table};
use crate::principal::{self, Principal};
use crate::telling::NameServer;

/// Name servers of one producer: more than anybody runs for one zone.
pub const MOST_NAME_SERVERS: usize = 32;

table! {
    /// A name server: its name is never asked of the zone that it serves.
    ReportTo {
        address: At<SocketAddr>,
        name: At<String>,
    }
}

/// One or more, no two of them alike. `principal` is the producer's own, as far as that is known.
pub fn name_servers(
    report_to: &At<List<At<ReportTo>>>,
    principal: Option<&Principal>,
    problems: &mut Problems,
) -> Option<Vec<NameServer>> {
    let At { value: list, spot } = report_to;
    if list.is_empty() || list.len() > MOST_NAME_SERVERS {
        problems.add(spot.problem(format!(
            "found {} name servers, expected 1 to {MOST_NAME_SERVERS}, each as {{ address = \"192.0.2.1:8453\", \
             name = \"dns1\" }}",
            list.len()
        )));
        return None;
    }
    let mut names: BTreeMap<&str, &Spot> = BTreeMap::new();
    let mut addresses: BTreeMap<SocketAddr, &Spot> = BTreeMap::new();
    let mut servers = Vec::new();
    for At { value: ReportTo { address, name }, spot: _ } in list.iter().flatten() {
        let (Some(address), Some(name)) = (address, name) else { continue };
        // Of whichever cluster: the name is at fault.
        let cluster = principal.map_or("any", |principal| &principal.cluster);
        if let Err(error) = Principal::new(cluster, principal::Kind::Dns, &name.value) {
            problems.add(name.spot.problem(error.to_string()));
        }
        if let Some(first) = names.insert(&name.value, &name.spot) {
            problems.add(name.spot.twice(first, format!("{:?}", name.value)));
        }
        if let Some(first) = addresses.insert(address.value, &address.spot) {
            problems.add(address.spot.twice(first, address.value));
        }
        servers.push(NameServer { address: address.value, name: name.value.as_str().into() });
    }
    (servers.len() == list.len()).then_some(servers)
}
