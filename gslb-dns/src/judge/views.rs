//! From verdicts on targets to what the board is told of each candidate of a service.
//!
//! Addresses of each kind are judged apart, as clients ask for one kind: what probes alone may take out is a share of
//! the sites that have such addresses.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use super::address::{Address, Fate, Kind};
use super::case::Of;
use super::target::{Counts, Judged};
use super::within::Within;
use super::{Now, Since};
use crate::health::board::{Admit, Health, Lost};
use crate::health::view::{Alert, Drain, View};
use crate::verdict::Verdict;
use crate::verdict::cap::{Condemned, Room, held_in};
use crate::verdict::quorum::Ground;
use crate::watch::Watch;
use crate::world::Ttl;

/// Addresses that are answered in the grace of a start, by the name of their site: it outlives a reload.
pub type Answered = HashSet<(Box<str>, Option<IpAddr>)>;

/// What the board is told of each candidate, and when that changes next though nobody says anything.
pub fn views(
    of: Of<'_>,
    judged: &HashMap<usize, Judged>,
    within: &[Vec<Option<Within>>],
    answered: &mut Answered,
) -> (Vec<View>, Option<Duration>) {
    let Of { now: both, world, service, watch, is_grace, inside: _, addresses: _ } = of;
    let now = both.monotonic;
    let addresses = |index: usize| {
        let within = |vip: usize| *within.get(index)?.get(vip)?;
        let vips = watch.candidates[index].iter().enumerate();
        let address = |(number, vip)| {
            let outside = Address::of(watch, vip, judged)?;
            Some(match within(number) {
                Some(within) => outside.joined(both, within),
                None => outside,
            })
        };
        vips.filter_map(address).collect()
    };
    let candidates = service.candidates.iter().zip(world.capacities_of(service)).enumerate();
    let mut members: Vec<Member<'_>> = candidates
        .map(|(index, (candidate, capacity))| Member {
            name: &world.site(candidate.site).name,
            capacity,
            addresses: addresses(index),
        })
        .collect();
    for kind in Kind::ALL {
        settle(now, kind, service.ttl.max, watch, &mut members);
    }
    if is_grace {
        stay(&mut members, answered);
    } else {
        answered.clear();
    }
    let lost = lost(watch, &members);
    let is_up = |address: &Address| address.is_up() && address.is_answered();
    let some_is_up = members.iter().flat_map(|member| &member.addresses).any(is_up);
    let views = members.iter().zip(lost).map(|(member, lost)| {
        let mut view = view(both, &member.addresses, service.ttl);
        // Whoever was served from within lately stays, whoever never was has not begun.
        let is_new = view.health == Health::Unknown && view.alert != Some(Alert::Blind);
        if is_new && some_is_up && !is_grace {
            view.health = Health::Down;
            view.why = format!("{}, and another site is up", view.why).into();
        }
        if view.health != Health::Down && !view.is_held_in && !is_grace {
            view.lost = lost.into();
        }
        view
    });
    let steps =
        judged.values().filter_map(|judged| judged.returned?.next_step(now, service.ttl.max));
    let addresses = members.iter().flat_map(|member| &member.addresses);
    let joined = addresses.filter_map(|address| address.next_step(now, service.ttl.max));
    (views.collect(), steps.chain(joined).min())
}

/// A candidate as it is judged.
struct Member<'w> {
    name: &'w str,
    /// Requests per second, or one of equal shares.
    capacity: f64,
    addresses: Vec<Address>,
}

impl Member<'_> {
    fn of(&self, kind: Kind) -> Vec<&Address> {
        self.addresses.iter().filter(|address| address.kind() == kind).collect()
    }

    fn set(&mut self, kind: Kind, fate: impl Fn(&Address) -> Fate) {
        for address in self.addresses.iter_mut().filter(|address| address.kind() == kind) {
            address.fate = fate(address);
        }
    }

    /// As the cap weighs it where these addresses are concerned.
    fn condemned(&self, addresses: &[&Address]) -> Condemned<'_> {
        // What was drained goes whatever is seen of it.
        let seen = || addresses.iter().filter(|address| !address.is_drained());
        Condemned {
            name: self.name,
            capacity: self.capacity,
            up_share: seen().map(|it| it.judged.up_share).fold(0.0, f64::max),
            is_certain: addresses.iter().all(|address| address.is_certain()),
        }
    }
}

/// In the grace of a start nobody who was answered is taken out by no more than what was believed before the start: where
/// another comes back there would be room for that again. Who came back, as it did before, and waits goes, and so does
/// whose own agents say that there is nothing to serve, or drain it.
fn stay(members: &mut [Member<'_>], answered: &mut Answered) {
    for member in members {
        for address in &mut member.addresses {
            let takes_out = address.within.is_some_and(|within| within.takes_out());
            let is_believed_down = address.judged.verdict == Verdict::Down && !takes_out;
            let key = (member.name.into(), address.at);
            if address.is_answered() {
                answered.insert(key);
            } else if is_believed_down && answered.contains(&key) {
                address.fate = Fate::Stays;
            }
        }
    }
}

/// Which addresses of a kind are answered: who is down is not, nor who flapped and waits while another stands; but no more
/// than probes alone may take out. What is left of that, the way back of others may take.
fn settle(now: Duration, kind: Kind, step: Duration, watch: &Watch, members: &mut [Member<'_>]) {
    let stands =
        |address: &Address| address.is_up() && !address.waits(now) && !address.is_drained();
    let some_stands = members.iter().flat_map(|member| member.of(kind)).any(stands);
    for member in &mut *members {
        member.set(kind, |address| match (address.judged.verdict, address.waits(now)) {
            _ if address.is_drained() => Fate::Drained,
            (Verdict::Down, _) => Fate::Out,
            (_, true) if some_stands => Fate::Out,
            (_, true) => Fate::Whole,
            (_, false) => Fate::In,
        });
    }
    let having: Vec<usize> =
        (0..members.len()).filter(|index| !members[*index].of(kind).is_empty()).collect();
    // What operators drained is no work of probes: it neither stays in nor takes the room of others.
    let undrained = having
        .iter()
        .copied()
        .filter(|index| members[*index].of(kind).iter().any(|address| !address.is_drained()));
    let is_out = |index: &usize| !members[*index].of(kind).iter().any(|it| it.is_answered());
    let (out, others): (Vec<usize>, Vec<usize>) = undrained.partition(is_out);
    let condemn = |index: &usize| members[*index].condemned(&members[*index].of(kind));
    let condemned: Vec<Condemned<'_>> = out.iter().map(condemn).collect();
    let whole = having.iter().map(|index| members[*index].capacity).sum();
    let room = Room { capacity: watch.max_removed.of(whole), has_gone: false };
    let held = held_in(&condemned, room);
    let gone = (0..out.len()).filter(|place| !held.contains(place)).map(|place| &condemned[place]);
    let taken: f64 = gone.filter(|one| !one.is_certain).map(|one| one.capacity).sum();
    for place in held {
        members[out[place]].set(kind, |address| match address.fate {
            Fate::Drained => Fate::Drained,
            Fate::In | Fate::Whole | Fate::HeldIn | Fate::Stays | Fate::Out => Fate::HeldIn,
        });
    }
    if taken == 0.0 {
        return; // Those that come back come back alike, and share as they would without.
    }
    let mut left = room.capacity - taken;
    for index in others {
        let member = &mut members[index];
        let missing = |address: &Address| match address.fate {
            Fate::In if address.judged.returned.is_some() => 1.0 - address.way_back(now, step),
            Fate::In | Fate::Whole | Fate::HeldIn | Fate::Stays | Fate::Out | Fate::Drained => 0.0,
        };
        let most = member.of(kind).into_iter().map(missing).fold(0.0, f64::max) * member.capacity;
        if most <= left {
            left -= most;
        } else {
            member.set(kind, |address| match address.fate {
                Fate::In => Fate::Whole,
                fate @ (Fate::Whole | Fate::HeldIn | Fate::Stays | Fate::Out | Fate::Drained) => {
                    fate
                }
            });
        }
    }
}

/// By candidate, what regions have lost of it by themselves. What a region may lose of all that is not down is capped as
/// what the world may.
fn lost(watch: &Watch, members: &[Member<'_>]) -> Vec<Vec<Lost>> {
    let is_out = |address: &&Address| !address.is_answered();
    let all = |member: &&Member<'_>| {
        !member.addresses.is_empty() && member.addresses.iter().all(|it| is_out(&it))
    };
    let gone: Vec<&Member<'_>> = members.iter().filter(all).collect();
    let is_uncertain = |member: &&&Member<'_>| !member.addresses.iter().all(Address::is_certain);
    let taken: f64 = gone.iter().filter(is_uncertain).map(|member| member.capacity).sum();
    let whole = members.iter().map(|member| member.capacity).sum();
    let room = Room { capacity: watch.max_removed.of(whole) - taken, has_gone: !gone.is_empty() };
    let mut told = vec![vec![]; members.len()];
    for region in watch.regions.iter() {
        let is_lost = |address: &&Address| address.judged.lost.contains(region);
        let has_lost_all = |member: &Member<'_>| {
            member.addresses.iter().any(|it| is_lost(&it))
                && member.addresses.iter().all(|it| is_out(&it) || is_lost(&it))
        };
        let whole: Vec<usize> =
            (0..members.len()).filter(|index| has_lost_all(&members[*index])).collect();
        let condemn = |index: &usize| {
            let member = &members[*index];
            // That a host refuses one region is not its own word on itself.
            let addresses: Vec<&Address> = member.addresses.iter().collect();
            Condemned { is_certain: false, ..member.condemned(&addresses) }
        };
        let of_whole: Vec<Condemned<'_>> = whole.iter().map(condemn).collect();
        let held: Vec<usize> =
            held_in(&of_whole, room).into_iter().map(|place| whole[place]).collect();
        let members = members.iter().enumerate().filter(|(index, _)| !held.contains(index));
        for (index, member) in members {
            let mut addresses = member.addresses.iter().filter(is_lost).peekable();
            if addresses.peek().is_none() {
                continue;
            }
            let addresses: Option<Box<[IpAddr]>> = addresses.map(|address| address.at).collect();
            let why = format!("the vantages of {} have it down, others have not", region.name());
            told[index].push(Lost { region, addresses, why: why.into() });
        }
    }
    told
}

/// One candidate, as far as its own addresses tell.
fn view(both: Now, addresses: &[Address], ttl: Ttl) -> View {
    let now = both.monotonic;
    let is_drained = !addresses.is_empty() && addresses.iter().all(Address::is_drained);
    // Of what is drained in part, the rest decides.
    let first = |is: &dyn Fn(&Address) -> bool| {
        let mut counting = addresses.iter().filter(|one| is_drained || !one.is_drained());
        counting.find(|address| is(address))
    };
    let answered = Address::is_answered;
    let lead = first(&|address| address.is_up() && answered(address))
        .or_else(|| first(&|address| address.judged.verdict == Verdict::Unknown))
        .or_else(|| first(&answered))
        .or_else(|| first(&Address::is_up))
        .or_else(|| first(&|_| true));
    let Some(lead) = lead else {
        return View::default();
    };
    let health = match (lead.fate, lead.judged.verdict) {
        (Fate::Out, _) => Health::Down,
        (Fate::HeldIn | Fate::Stays, _) | (Fate::In | Fate::Whole, Verdict::Up | Verdict::Slow) => {
            Health::Up
        }
        (Fate::In | Fate::Whole, Verdict::Unknown | Verdict::Down) => Health::Unknown,
        // As it is seen: if every site is drained, all are answered as if none were.
        (Fate::Drained, Verdict::Up | Verdict::Slow) => Health::Up,
        (Fate::Drained, Verdict::Down) => Health::Down,
        (Fate::Drained, Verdict::Unknown) => Health::Unknown,
    };
    let struck: Vec<IpAddr> = match health {
        _ if is_drained => vec![],
        // Where all are down and are answered all the same, what is drained is not.
        Health::Down => {
            addresses.iter().filter(|one| one.is_drained()).filter_map(|one| one.at).collect()
        }
        Health::Up | Health::Unknown => {
            let out = addresses.iter().filter(|address| !answered(address));
            out.filter_map(|address| address.at).collect()
        }
    };
    let gone: Vec<&Address> =
        addresses.iter().filter(|one| one.at.is_some_and(|at| struck.contains(&at))).collect();
    let is_any = |fate: Fate| addresses.iter().any(|address| address.fate == fate);
    let is_held_in = is_any(Fate::HeldIn);
    let held = match is_held_in {
        true => ", held in by max_removed",
        false if is_any(Fate::Stays) => {
            "; it was answered since the start, within the grace of which nobody is taken out"
        }
        false => "",
    };
    // An address that goes changes the answer; one that is held in does not go.
    let going = addresses.iter().filter(|it| matches!(it.fate, Fate::In | Fate::Whole));
    let down_in = going.filter_map(|address| address.judged.down_in).min();
    View {
        health,
        since: lead.judged.since.map(|since| since.wall),
        why: (told(now, lead, &gone) + held).into(),
        struck: struck.into(),
        lost: [].into(),
        // Who is down takes nobody by being struck. Where everybody is and is answered all the same, the policy decides
        // as if they were up.
        admit: match health {
            Health::Down => Admit::ALL,
            Health::Up | Health::Unknown if is_drained => Admit::ALL,
            Health::Up | Health::Unknown => admit(now, addresses, ttl.max),
        },
        halvings: down_in.map_or(0, |within| ttl.halvings(within)),
        is_held_in,
        drain: is_drained.then(|| drain(both, addresses)),
        alert: addresses.iter().find_map(Address::alert),
    }
}

/// Since the last of them is.
fn drain(both: Now, addresses: &[Address]) -> Drain {
    let since = addresses.iter().map(|address| address.within?.since(both));
    let since: Option<Vec<Since>> = since.collect();
    let last = since.and_then(|all| all.into_iter().max_by_key(|since| since.monotonic));
    Drain { since: last.map(|since| since.wall), why: "its agents have it drained".into() }
}

/// The mean over the addresses of a kind; of several kinds the greatest, as each leads to the whole site.
fn admit(now: Duration, addresses: &[Address], step: Duration) -> Admit {
    let mean = |kind: Kind| {
        let of = addresses.iter().filter(|address| address.kind() == kind);
        let shares: Vec<f64> = of.map(|address| address.share(now, step)).collect();
        shares.iter().sum::<f64>() / shares.len().max(1) as f64
    };
    let most = Kind::ALL.into_iter().map(mean).fold(0.0, f64::max);
    Admit::new(most).unwrap_or(Admit::ALL)
}

/// Why, for people: what the vantages see and the agents say, and what was made of it.
fn told(now: Duration, address: &Address, struck: &[&Address]) -> String {
    let Address { judged, outside, .. } = address;
    let Counts { up, slow, down, domains, votes } = outside.counts;
    let all = up + slow + down;
    // A quorum's shares are of domains: where that is another count than of vantages, both are told.
    let of = |count: usize, votes: f64| match domains {
        _ if domains == all => format!("{count} of {all} vantages"),
        1 => format!("{count} of {all} vantages ({} of 1 domain)", short(votes)),
        many => format!("{count} of {all} vantages ({} of {many} domains)", short(votes)),
    };
    let seen = match outside.verdict {
        _ if all == 0 => "no vantage says anything of it".to_owned(),
        Verdict::Down => format!("{} see it down", of(down, votes.down)),
        Verdict::Slow => format!("{} see it slow", of(slow, votes.slow)),
        Verdict::Up | Verdict::Unknown => {
            format!("{} see it up", of(up + slow, votes.up + votes.slow))
        }
    };
    let held = match outside.ground {
        Ground::Decided => String::new(),
        _ if address.within.is_some_and(|within| within.decides()) => String::new(),
        ground => format!("; what was believed before holds: {}", ground.as_str()),
    };
    let within = address.within.map_or(String::new(), |within| within.words(now));
    let back = match judged.returned {
        Some(back) if back.is_held_down(now) => {
            "; it came back lately, as it did before, and waits".to_owned()
        }
        _ => String::new(),
    };
    let word = || struck.iter().filter_map(|one| one.within).find(Within::takes_out);
    let others = match struck.len() {
        0 => String::new(),
        _ if judged.verdict == Verdict::Down => String::new(),
        count => {
            let word = word().map_or(String::new(), |within| within.words(now));
            format!("; {count} of its addresses are struck{word}")
        }
    };
    seen + &held + &within + &back + &others
}

/// To two places, without zeros at the end: `2`, `1.5`, `0.67`.
fn short(votes: f64) -> String {
    let text = format!("{votes:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
