//! From verdicts on targets to what the board is told of each candidate of a service.
//!
//! Addresses of each kind are judged apart, as clients ask for one kind: what probes alone may take out is a share of
//! the sites that have such addresses.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::address::{Address, Fate, Kind};
use super::target::{Counts, Judged};
use crate::health::board::{Admit, Health, Lost, View};
use crate::verdict::Verdict;
use crate::verdict::cap::{Condemned, Room, held_in};
use crate::verdict::quorum::Ground;
use crate::watch::Watch;
use crate::world::{Service, Ttl, World};

/// What the board is told of each candidate.
pub fn views(
    now: Duration,
    world: &World,
    service: &Service,
    watch: &Watch,
    judged: &HashMap<usize, Judged>,
    is_grace: bool,
) -> Vec<View> {
    let candidates = service.candidates.iter().zip(world.capacities_of(service));
    let mut members: Vec<Member<'_>> = candidates
        .zip(&watch.candidates)
        .map(|((candidate, capacity), vips)| Member {
            name: &world.site(candidate.site).name,
            capacity,
            addresses: vips.iter().filter_map(|vip| Address::of(watch, vip, judged)).collect(),
        })
        .collect();
    for kind in Kind::ALL {
        settle(now, kind, service.ttl.max, watch, &mut members);
    }
    let lost = lost(watch, &members);
    let is_up = |address: &Address| address.is_up() && address.fate != Fate::Out;
    let some_is_up = members.iter().flat_map(|member| &member.addresses).any(is_up);
    members
        .iter()
        .zip(lost)
        .map(|(member, lost)| {
            let mut view = view(now, &member.addresses, service.ttl);
            if view.health == Health::Unknown && some_is_up && !is_grace {
                view.health = Health::Down;
                view.why = format!("{}, and another site is up", view.why).into();
            }
            if view.health != Health::Down && !view.is_held_in && !is_grace {
                view.lost = lost.into();
            }
            view
        })
        .collect()
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
        Condemned {
            name: self.name,
            capacity: self.capacity,
            up_share: addresses.iter().map(|it| it.judged.up_share).fold(0.0, f64::max),
            is_certain: addresses.iter().all(|address| address.is_certain()),
        }
    }
}

/// Which addresses of a kind are answered: who is down is not, nor who flapped and waits while another stands; but no more
/// than probes alone may take out. What is left of that, the way back of others may take.
fn settle(now: Duration, kind: Kind, step: Duration, watch: &Watch, members: &mut [Member<'_>]) {
    let stands = |address: &Address| address.is_up() && !address.waits(now);
    let some_stands = members.iter().flat_map(|member| member.of(kind)).any(stands);
    for member in &mut *members {
        member.set(kind, |address| match (address.judged.verdict, address.waits(now)) {
            (Verdict::Down, _) => Fate::Out,
            (_, true) if some_stands => Fate::Out,
            (_, true) => Fate::Whole,
            (_, false) => Fate::In,
        });
    }
    let having: Vec<usize> =
        (0..members.len()).filter(|index| !members[*index].of(kind).is_empty()).collect();
    let is_out = |index: &usize| members[*index].of(kind).iter().all(|it| it.fate == Fate::Out);
    let (out, others): (Vec<usize>, Vec<usize>) = having.iter().partition(|index| is_out(index));
    let condemn = |index: &usize| members[*index].condemned(&members[*index].of(kind));
    let condemned: Vec<Condemned<'_>> = out.iter().map(condemn).collect();
    let whole = having.iter().map(|index| members[*index].capacity).sum();
    let room = Room { capacity: watch.max_removed.of(whole), has_gone: false };
    let held = held_in(&condemned, room);
    let gone = (0..out.len()).filter(|place| !held.contains(place)).map(|place| &condemned[place]);
    let taken: f64 = gone.filter(|one| !one.is_certain).map(|one| one.capacity).sum();
    for place in held {
        members[out[place]].set(kind, |_| Fate::HeldIn);
    }
    if taken == 0.0 {
        return; // Those that come back come back alike, and share as they would without.
    }
    let mut left = room.capacity - taken;
    for index in others {
        let member = &mut members[index];
        let missing = |address: &Address| match address.fate {
            Fate::In if address.judged.returned.is_some() => 1.0 - address.share(now, step),
            Fate::In | Fate::Whole | Fate::HeldIn | Fate::Out => 0.0,
        };
        let most = member.of(kind).into_iter().map(missing).fold(0.0, f64::max) * member.capacity;
        if most <= left {
            left -= most;
        } else {
            member.set(kind, |address| match address.fate {
                Fate::In => Fate::Whole,
                fate @ (Fate::Whole | Fate::HeldIn | Fate::Out) => fate,
            });
        }
    }
}

/// By candidate, what regions have lost of it by themselves. What a region may lose of all that is not down is capped as
/// what the world may.
fn lost(watch: &Watch, members: &[Member<'_>]) -> Vec<Vec<Lost>> {
    let is_out = |address: &&Address| address.fate == Fate::Out;
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
fn view(now: Duration, addresses: &[Address], ttl: Ttl) -> View {
    let first = |is: &dyn Fn(&Address) -> bool| addresses.iter().find(|address| is(address));
    let answered = |address: &Address| address.fate != Fate::Out;
    let lead = first(&|address| address.is_up() && answered(address))
        .or_else(|| first(&|address| address.judged.verdict == Verdict::Unknown))
        .or_else(|| first(&answered))
        .or_else(|| first(&Address::is_up))
        .or_else(|| addresses.first());
    let Some(lead) = lead else {
        return View::default();
    };
    let health = match (lead.fate, lead.judged.verdict) {
        (Fate::Out, _) => Health::Down,
        (Fate::HeldIn, _) | (Fate::In | Fate::Whole, Verdict::Up | Verdict::Slow) => Health::Up,
        (Fate::In | Fate::Whole, Verdict::Unknown | Verdict::Down) => Health::Unknown,
    };
    let struck: Vec<IpAddr> = match health {
        Health::Down => vec![],
        Health::Up | Health::Unknown => {
            let out = addresses.iter().filter(|address| !answered(address));
            out.filter_map(|address| address.at).collect()
        }
    };
    let is_held_in = addresses.iter().any(|address| address.fate == Fate::HeldIn);
    let held = if is_held_in { ", held in by max_removed" } else { "" };
    // An address that goes changes the answer; one that is held in does not go.
    let going = addresses.iter().filter(|it| matches!(it.fate, Fate::In | Fate::Whole));
    let down_in = going.filter_map(|address| address.judged.down_in).min();
    View {
        health,
        since: lead.judged.since.map(|since| since.wall),
        why: (told(now, &lead.judged, struck.len()) + held).into(),
        struck: struck.into(),
        lost: [].into(),
        // Who is down takes nobody by being struck. Where everybody is and is answered all the same, the policy decides
        // as if they were up.
        admit: match health {
            Health::Down => Admit::ALL,
            Health::Up | Health::Unknown => admit(now, addresses, ttl.max),
        },
        halvings: down_in.map_or(0, |within| ttl.halvings(within)),
        is_held_in,
    }
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

/// Why, for people: what the vantages see, and what was made of it.
fn told(now: Duration, judged: &Judged, struck: usize) -> String {
    let Counts { up, slow, down, domains, votes } = judged.counts;
    let all = up + slow + down;
    // A quorum's shares are of domains: where that is another count than of vantages, both are told.
    let of = |count: usize, votes: f64| match domains {
        _ if domains == all => format!("{count} of {all} vantages"),
        1 => format!("{count} of {all} vantages ({} of 1 domain)", short(votes)),
        many => format!("{count} of {all} vantages ({} of {many} domains)", short(votes)),
    };
    let seen = match judged.verdict {
        _ if all == 0 => "no vantage says anything of it".to_owned(),
        Verdict::Down => format!("{} see it down", of(down, votes.down)),
        Verdict::Slow => format!("{} see it slow", of(slow, votes.slow)),
        Verdict::Up | Verdict::Unknown => {
            format!("{} see it up", of(up + slow, votes.up + votes.slow))
        }
    };
    let held = match judged.ground {
        Ground::Decided => String::new(),
        ground => format!("; what was believed before holds: {}", ground.as_str()),
    };
    let back = match judged.returned {
        Some(back) if back.is_held_down(now) => {
            "; it came back lately, as it did before, and waits".to_owned()
        }
        _ => String::new(),
    };
    let others = match struck {
        0 => String::new(),
        _ if judged.verdict == Verdict::Down => String::new(),
        count => format!("; {count} of its addresses are struck"),
    };
    seen + &held + &back + &others
}

/// To two places, without zeros at the end: `2`, `1.5`, `0.67`.
fn short(votes: f64) -> String {
    let text = format!("{votes:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
