//! What virtual routers watch beside themselves.

use common::config::read::{At, List};
use common::config::settle::{or, within};

use super::Judge;
use super::health::{Look, look};
use super::virtual_router::interface;
use crate::config::{MOST_TRACKS, file};
use crate::site::{HttpVersion, Track, Watched};
use crate::vrrp::machine::settings::Weight;

/// More than there is between the lowest priority and the highest that is no owner's.
const MOST_WEIGHT: i64 = 253;

pub fn tracks(written: At<List<At<file::Track>>>, judge: &mut Judge<'_>) -> Option<Vec<Track>> {
    let At { value: items, spot } = written;
    if !(1..=MOST_TRACKS).contains(&items.len()) {
        let count = items.len();
        return judge.wrong(&spot, format!("{count} tracks, expected 1 to {MOST_TRACKS}"));
    }
    let all: Vec<_> = items.into_iter().map(|item| track(item?, judge)).collect();
    all.into_iter().collect()
}

fn track(raw: At<file::Track>, judge: &mut Judge<'_>) -> Option<Track> {
    let At { value: file::Track { name, interface: on, address, check, weight }, spot } = raw;
    let name = name.and_then(|name| judge.name(&name).then(|| name.value.as_str().into()));
    let weight = or(weight, Weight::Fault, |at| self::weight(&at, judge));
    let check = or(check, None, |raw| look(raw, HttpVersion::V1, judge).map(Some));
    let (on, address, check) = (on?, address?, check?);
    let watched = match (on, address, check) {
        (Some(on), None, None) => judge.one(interface(on)).map(Watched::Interface),
        (None, Some(at), Some(look)) => checked(&at, &look, judge),
        _ => judge.wrong(&spot, "expected either interface, or address and check"),
    };
    Some(Track { name: name?, watched: watched?, weight: weight? })
}

fn checked(at: &At<std::net::IpAddr>, look: &Look, judge: &mut Judge<'_>) -> Option<Watched> {
    match look.of_address(at.value) {
        Some(check) => Some(Watched::Check(Box::new(check))),
        None => judge.wrong(&at.spot, "its check needs a port: add port = 80, say"),
    }
}

fn weight(at: &At<i64>, judge: &mut Judge<'_>) -> Option<Weight> {
    let weight: i64 = judge.one(within(at, -MOST_WEIGHT..=MOST_WEIGHT))?;
    let size = u8::try_from(weight.unsigned_abs()).ok()?;
    match weight {
        0 => judge.wrong(
            &at.spot,
            "0 does nothing: leave weight out, and the virtual router is in fault while this fails",
        ),
        1.. => Some(Weight::Adds(size)),
        _ => Some(Weight::Takes(size)),
    }
}
