//! What the fresh words on one VIP and port come to: an owner's, a standby's, a sum.

use std::net::SocketAddr;
use std::time::Duration;

use common::report::agent::{self, Rate, Role, Vip};

use super::{Decision, Ground, SETTLING, Standing, State, View, Voice, sum};
use crate::inbox::stream::Said;

/// All that is said of one VIP and port.
pub struct Words<'a> {
    pub now: Duration,
    /// Fresh ones, by the agents' names.
    fresh: Vec<Word<'a>>,
    /// Whether somebody who may have it is not heard, or cannot say.
    is_somebody_silent: bool,
    /// When the last of the leases ended that are over.
    silent_since: Option<Duration>,
}

/// One agent's, its times on our clock.
#[derive(Clone, Copy)]
struct Word<'a> {
    agent: &'a str,
    vip: &'a Vip,
    heard: Duration,
    since: Duration,
    /// When its router became active, if it is.
    active_since: Option<Duration>,
}

impl<'a> Words<'a> {
    pub fn of(now: Duration, voices: &[Voice<'a>], at: SocketAddr) -> Words<'a> {
        let mut words = Words { now, fresh: vec![], is_somebody_silent: false, silent_since: None };
        for voice in voices {
            match (voice.standing(now), voice.stream) {
                (Standing::Heard, Some(stream)) => match stream.said(at) {
                    // It has no such VIP, and never mind who has.
                    None => {}
                    Some(said) if said.entry.state == agent::State::None => {
                        words.is_somebody_silent = true;
                    }
                    Some(said) => words.fresh.extend(Word::of(voice.agent, stream.arrived(), said)),
                },
                (Standing::Silent, Some(stream)) => {
                    words.is_somebody_silent = true;
                    words.silent_since = words.silent_since.max(stream.lease_ends());
                }
                (Standing::NeverHeard | Standing::Silent | Standing::Heard, _) => {
                    words.is_somebody_silent = true;
                }
            }
        }
        words.fresh.sort_by_key(|word| word.agent);
        words
    }
}

impl<'a> Word<'a> {
    fn of(agent: &'a str, heard: Option<Duration>, said: Said<'a, Vip>) -> Option<Word<'a>> {
        let on_our_clock = |instant| said.on_our_clock(Duration::from_millis(instant));
        let vip = said.entry;
        let active = vip.vrrp.filter(|vrrp| vrrp.role == Role::Active);
        Some(Word {
            agent,
            vip,
            heard: heard?,
            since: on_our_clock(vip.since),
            active_since: active.map(|vrrp| on_our_clock(vrrp.since)),
        })
    }

    fn view(&self, ground: Ground) -> View {
        let Vip { capacity, load, offer, backends_up, backends, flaps, .. } = *self.vip;
        let per_second = |rate: Option<Rate>| rate.map(Rate::per_second);
        View {
            state: self.state(),
            ground,
            since: Some(self.since),
            heard: Some(self.heard),
            owner: None,
            capacity: per_second(capacity),
            load: per_second(load),
            offer: per_second(offer),
            backends_up,
            backends,
            flaps,
            is_dual_active: false,
        }
    }

    fn state(&self) -> State {
        match self.vip.state {
            agent::State::Serving => State::Serving,
            agent::State::Empty => State::Empty,
            agent::State::Drained => State::Drained,
            // Not among the fresh words: no evidence.
            agent::State::None => State::Stale,
        }
    }
}

pub fn decide(words: &Words<'_>) -> Decision {
    let Words { fresh, is_somebody_silent, silent_since, .. } = words;
    let unsaid = Decision::Unsaid { since: *silent_since };
    let Some(first) = fresh.first() else {
        return if *is_somebody_silent { unsaid } else { Decision::Gone };
    };
    if fresh.iter().any(|word| word.vip.vrrp.is_some()) {
        return match owned(fresh) {
            Some(view) => Decision::Said(view),
            // Who has it may be who is not heard: what it is asked and can take is not known of the other.
            None if *is_somebody_silent => {
                let standby = first.view(Ground::Standby);
                Decision::Said(View { capacity: None, load: None, offer: None, ..standby })
            }
            None => Decision::Unowned,
        };
    }
    match summed(fresh) {
        Some(view) => Decision::Said(view),
        // Who is not heard may serve.
        None if *is_somebody_silent => unsaid,
        None => Decision::Said(unserved(fresh, first)),
    }
}

/// Of the routers that have it the one that took it last owns it.
fn owned(fresh: &[Word<'_>]) -> Option<View> {
    let active = || fresh.iter().filter_map(|word| Some((word.active_since?, word)));
    // Of two that took it at once the first by name: the other is not later.
    let (took, owner) =
        active().reduce(|first, next| if next.0 > first.0 { next } else { first })?;
    let mut view = View { owner: Some(owner.agent.into()), ..owner.view(Ground::Owner) };
    if active().count() > 1 {
        let offers = active().filter_map(|(_, word)| word.vip.offer).map(Rate::per_second);
        view.offer = offers.reduce(f64::min);
        // Both have to have said so since: of a box that died the last word is still fresh when the other takes over.
        let both_said = active().map(|(_, word)| word.heard).min();
        view.is_dual_active = both_said.is_some_and(|both_said| both_said >= took + SETTLING);
    }
    Some(view)
}

/// Those that serve, together.
fn summed(fresh: &[Word<'_>]) -> Option<View> {
    let serving = || fresh.iter().filter(|word| word.state() == State::Serving);
    let all = |of: fn(&Vip) -> Option<Rate>| sum(serving().map(|word| of(word.vip)));
    let count =
        |of: fn(&Vip) -> u32| serving().fold(0, |all: u32, word| all.saturating_add(of(word.vip)));
    Some(View {
        // It serves for as long as the first of them does.
        since: serving().map(|word| word.since).min(),
        heard: serving().map(|word| word.heard).min(),
        capacity: all(|vip| vip.capacity),
        load: all(|vip| vip.load),
        offer: all(|vip| vip.offer),
        backends_up: count(|vip| vip.backends_up),
        backends: count(|vip| vip.backends),
        flaps: count(|vip| vip.flaps),
        ..serving().next()?.view(Ground::Sum)
    })
}

/// All are heard and none serves: empty only if all are, for what was drained is out on purpose.
fn unserved(fresh: &[Word<'_>], first: &Word<'_>) -> View {
    let is_empty = fresh.iter().all(|word| word.state() == State::Empty);
    let count = |of: fn(&Vip) -> u32| {
        fresh.iter().fold(0, |all: u32, word| all.saturating_add(of(word.vip)))
    };
    View {
        state: if is_empty { State::Empty } else { State::Drained },
        // Not before the last of them had stopped.
        since: fresh.iter().map(|word| word.since).max(),
        heard: fresh.iter().map(|word| word.heard).min(),
        capacity: sum(fresh.iter().map(|word| word.vip.capacity)),
        load: sum(fresh.iter().map(|word| word.vip.load)),
        offer: sum(fresh.iter().map(|word| word.vip.offer)),
        backends_up: count(|vip| vip.backends_up),
        backends: count(|vip| vip.backends),
        flaps: count(|vip| vip.flaps),
        ..first.view(Ground::Sum)
    }
}
