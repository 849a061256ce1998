//! Addresses that clients are sent to.

use std::net::IpAddr;

use crate::config::problems::{Problem, Problems};
use crate::config::read::{At, List};
use crate::world::Vips;

/// Addresses by family, each once and each one that a client can connect to.
pub fn vips(written: &At<List<At<IpAddr>>>, problems: &mut Problems) -> Option<Vips> {
    if written.value.is_empty() {
        problems.add(written.spot.problem("is empty; list an address, or leave the key out"));
        return None;
    }
    let mut vips = Vips::default();
    let mut is_sound = true;
    for address in &written.value {
        let sound = address.as_ref().and_then(|address| problems.one(vip(address, &vips)));
        match sound {
            Some(IpAddr::V4(v4)) => vips.v4.push(v4),
            Some(IpAddr::V6(v6)) => vips.v6.push(v6),
            None => is_sound = false,
        }
    }
    is_sound.then_some(vips)
}

fn vip(address: &At<IpAddr>, before: &Vips) -> Result<IpAddr, Problem> {
    let At { value: ip, spot } = address;
    if ip.is_unspecified() {
        return Err(spot.problem(format!("{ip} is no address that a client can connect to")));
    }
    if ip.is_multicast() || matches!(ip, IpAddr::V4(v4) if v4.is_broadcast()) {
        return Err(spot.problem(format!("{ip} is not the address of one host (expected unicast)")));
    }
    if let IpAddr::V6(v6) = ip
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        return Err(spot.problem(format!("{ip} is IPv4 written as IPv6; write \"{v4}\"")));
    }
    let is_known = match ip {
        IpAddr::V4(v4) => before.v4.contains(v4),
        IpAddr::V6(v6) => before.v6.contains(v6),
    };
    if is_known {
        return Err(spot.problem(format!("{ip} is listed twice; remove one")));
    }
    Ok(*ip)
}
