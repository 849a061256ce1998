//! `unicast_peer`: whom adverts go to and come from.

use std::net::IpAddr;

use super::blocks::Statement;
use super::router::entries;
use super::{Fate, Remarks};
use crate::config::MOST_PEERS;
use crate::vrrp::packet::{Family, HOP_LIMIT};

/// Whom adverts go to, and how many routers may be in between. Nobody is by multicast.
pub fn peers(
    blocks: &[&Statement],
    family: Family,
    source: Option<IpAddr>,
    is_enforced: bool,
    remarks: &mut Remarks,
) -> Result<(Vec<IpAddr>, Option<u8>), String> {
    let mut peers: Vec<IpAddr> = vec![];
    let (mut lines, mut max_hops) = (0, None);
    for block in blocks {
        for line in entries(block, remarks) {
            lines += 1;
            let why = match line.name().parse::<IpAddr>().ok() {
                Some(peer) if Family::of(peer) != family => {
                    "it is of another family than the addresses"
                }
                Some(peer) if Some(peer) == source => {
                    "it is what this box sends from, and peers are others"
                }
                Some(peer) if peers.contains(&peer) => {
                    remarks.needless(line, "it is there already");
                    continue;
                }
                Some(_) if peers.len() == MOST_PEERS => {
                    "there are as many as a virtual router can have"
                }
                Some(peer) => {
                    peers.push(peer);
                    max_hops = max_hops.max(hops(line, is_enforced, remarks));
                    continue;
                }
                None => "expected an address",
            };
            remarks.lost(line, why);
        }
    }
    match (peers.first(), blocks.first()) {
        (None, Some(block)) if lines == 0 => {
            remarks.changed(block, "it names nobody: adverts go by multicast");
        }
        (None, Some(_)) => {
            return Err("none of its unicast_peer can be carried over, and without one adverts would go by multicast".to_owned());
        }
        (Some(IpAddr::V6(_)), Some(block)) => {
            let why = "adverts have hop limit 255 here or are refused; keepalived sends 64 over IPv6 unless it is told \
                       unicast_ttl 255";
            remarks.changed(block, why);
        }
        (Some(IpAddr::V4(_)) | None, _) | (Some(IpAddr::V6(_)), None) => {}
    }
    Ok((peers, max_hops))
}

/// `max_hops` of a peer with `min_ttl`.
fn hops(line: &Statement, is_enforced: bool, remarks: &mut Remarks) -> Option<u8> {
    let mut max_hops = None;
    let mut words = line.rest().iter().map(String::as_str);
    while let Some(word) = words.next() {
        let takes_one = ["min_ttl", "max_ttl"].contains(&word);
        let value: Option<u8> =
            if takes_one { words.next().and_then(|value| value.parse().ok()) } else { None };
        let why = match (word, value) {
            ("min_ttl" | "max_ttl", Some(HOP_LIMIT)) => continue,
            ("min_ttl", Some(lowest)) if is_enforced => {
                max_hops = Some((HOP_LIMIT - lowest).min(254));
                continue;
            }
            ("min_ttl", Some(_)) => {
                "its adverts have to come with hop limit 255: what comes through routers needs max_hops, and that a signature \
                 that is enforced (auth_hmac)"
            }
            ("max_ttl", Some(_)) => "there is no upper limit of a hop limit here",
            ("min_ttl" | "max_ttl", None) => "expected 0 to 255 behind it",
            _ => "no word that is known here",
        };
        remarks.add(&line.place, Fate::Lost, &format!("{} {word}", line.name()), why);
    }
    max_hops
}
