//! The overrides file: what an operator says of sites while the server runs.
//!
//! Feeds `health::overrides`. Read again whenever it changes, so nothing here looks at the world.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::check::within;
use super::file::{self, State};
use super::problems::{Problem, Problems, Source, Spot};
use super::read::{At, Document};
use crate::health::board::Health;
use crate::health::overrides::{Glob, Order, Override};

const MOST_WEIGHT: i64 = 1 << 20;

/// Reads an overrides file's text, in the file's order. `file` stands for it in problems.
pub fn overrides(file: &Path, text: &str) -> Result<Vec<Override>, Problems> {
    let source = Arc::new(Source::new(file, text.to_owned()));
    let mut problems = Problems::default();
    let document = Document::parse(&source, &mut problems);
    let list = document.read(&mut problems).and_then(|file::Overrides { r#override }| {
        let list = r#override?.unwrap_or_default();
        let count = list.len();
        let sound = list.into_iter().filter_map(|raw| entry(raw?, &mut problems));
        let sound: Vec<Override> = sound.collect();
        (sound.len() == count).then_some(sound)
    });
    problems.sort();
    problems.or(list)
}

fn entry(raw: At<file::Override>, problems: &mut Problems) -> Option<Override> {
    let At { value: raw, spot } = raw;
    let file::Override { site, service, state, drain, weight, why, who, since, until } = raw;
    let site = site.and_then(|site| problems.one(site_glob(&site)));
    let service = service.and_then(|service| match service {
        Some(service) => problems.one(service_glob(&service)),
        None => Some(Glob::any()),
    });
    let order = order(&spot, state, drain, weight, problems);
    let why = why.and_then(|why| problems.one(said(why)));
    let who = who.and_then(|who| problems.one(said(who)));
    let (since, until) = (since?, until?);
    if let (Some(since), Some(until)) = (&since, &until)
        && until.value <= since.value
    {
        problems.add(until.spot.problem("is not later than since, so it would never be in force"));
    }
    Some(Override {
        site: site?,
        service: service?,
        order: order?,
        who: who?,
        why: why?,
        since: since.map_or(Timestamp::UNIX_EPOCH, |since| since.value),
        until: until.map(|until| until.value),
    })
}

fn order(
    spot: &Spot,
    state: Option<Option<At<State>>>,
    drain: Option<Option<At<bool>>>,
    weight: Option<Option<At<i64>>>,
    problems: &mut Problems,
) -> Option<Order> {
    match (state?, drain?, weight?) {
        (Some(state), None, None) => Some(Order::Force(match state.value {
            State::Up => Health::Up,
            State::Down => Health::Down,
            State::Unknown => Health::Unknown,
        })),
        (None, Some(drain), None) => {
            Some(if drain.value { Order::Drain { over: 0 } } else { Order::Undrain })
        }
        (None, None, Some(weight)) => {
            problems.one(within(&weight, 0..=MOST_WEIGHT)).map(Order::Weight)
        }
        (None, None, None) => {
            problems.add(spot.problem("says nothing to do (expected state, drain or weight)"));
            None
        }
        (Some(_), _, _) | (_, Some(_), _) => {
            let message = "says more than one thing to do (expected one of state, drain and \
                           weight); write an override for each";
            problems.add(spot.problem(message));
            None
        }
    }
}

/// Over the names that `check` lets sites have, so what is in none of them is a slip.
fn site_glob(written: &At<String>) -> Result<Glob, Problem> {
    let At { value, spot } = written;
    let can_match =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'*' | b'?');
    if value.is_empty() || !value.bytes().all(can_match) {
        return Err(spot.problem(format!(
            "{value:?} matches no site; * stands for any run of characters, ? for any one"
        )));
    }
    Ok(Glob::new(value))
}

fn service_glob(written: &At<String>) -> Result<Glob, Problem> {
    // Services are matched without the final dot, which may be written all the same.
    let pattern = written.value.strip_suffix('.').unwrap_or(&written.value);
    if pattern.is_empty() {
        let message = "matches no service; leave it out for every service";
        return Err(written.spot.problem(message));
    }
    Ok(Glob::new(pattern))
}

fn said(written: At<String>) -> Result<Box<str>, Problem> {
    match written.value.trim() {
        "" => Err(written.spot.problem("is empty; whoever finds this override will want to know")),
        text => Ok(text.into()),
    }
}
