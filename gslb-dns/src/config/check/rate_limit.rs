//! `[dns.rate_limit]`: how many answers over UDP a client prefix may have.

use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::{or, within};
use crate::config::file;
use crate::config::problems::Problems;
use crate::config::read::{At, List};
use crate::world::RateLimits;

/// At the upper end an answer is 10 microseconds, in which the limiter counts.
const RATE: RangeInclusive<i64> = 1..=100_000;
const IPV4_PREFIX: RangeInclusive<i64> = 8..=32;
const IPV6_PREFIX: RangeInclusive<i64> = 16..=128;
const SLIP: RangeInclusive<i64> = 0..=10;
/// 8 octets each: 8 KiB to 128 MiB.
const SLOTS: RangeInclusive<i64> = 1024..=16_777_216;
/// Looked through for every answer.
const MOST_NETWORKS: usize = 64;

const DEFAULT_IPV4_PREFIX: u8 = 24;
const DEFAULT_IPV6_PREFIX: u8 = 56;
const DEFAULT_SLIP: u8 = 2;
/// 1 MiB.
const DEFAULT_SLOTS: usize = 131_072;

pub(super) fn rate_limits(raw: file::RateLimit, problems: &mut Problems) -> Option<RateLimits> {
    let file::RateLimit {
        answers_per_second,
        errors_per_second,
        ipv4_prefix,
        ipv6_prefix,
        slip,
        slots,
        exempt,
    } = raw;
    let answers_per_second = answers_per_second.and_then(|rate| problems.one(within(&rate, RATE)));
    let errors_per_second = match errors_per_second {
        Some(None) => answers_per_second,
        Some(Some(rate)) => problems.one(within(&rate, RATE)),
        None => None,
    };
    let ipv4_prefix =
        or(ipv4_prefix, DEFAULT_IPV4_PREFIX, |bits| problems.one(within(&bits, IPV4_PREFIX)));
    let ipv6_prefix =
        or(ipv6_prefix, DEFAULT_IPV6_PREFIX, |bits| problems.one(within(&bits, IPV6_PREFIX)));
    let slip = or(slip, DEFAULT_SLIP, |slip| problems.one(within(&slip, SLIP)));
    let slots = or(slots, DEFAULT_SLOTS, |slots| problems.one(within(&slots, SLOTS)));
    let exempt = or(exempt, vec![], |exempt| networks(&exempt, problems));
    Some(RateLimits {
        answers_per_second: answers_per_second?,
        errors_per_second: errors_per_second?,
        ipv4_prefix: ipv4_prefix?,
        ipv6_prefix: ipv6_prefix?,
        slip: slip?,
        slots: slots?,
        exempt: exempt?,
    })
}

/// Each once, and not too many.
pub(super) fn networks(
    written: &At<List<At<IpNet>>>,
    problems: &mut Problems,
) -> Option<Vec<IpNet>> {
    let found = written.value.len();
    if found > MOST_NETWORKS {
        let message = format!("lists {found} networks, and {MOST_NETWORKS} is the most");
        problems.add(written.spot.problem(message));
        return None;
    }
    let mut networks = Vec::new();
    for network in written.value.iter().flatten() {
        if networks.contains(&network.value) {
            let message = format!("{} is listed twice; remove one", network.value);
            problems.add(network.spot.problem(message));
        }
        networks.push(network.value);
    }
    (networks.len() == found).then_some(networks)
}
