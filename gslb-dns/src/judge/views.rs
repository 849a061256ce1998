//! From verdicts on targets to what the board is told of each candidate of a service.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::target::{Counts, Judged};
use crate::health::board::{Admit, Health, Lost, View};
use crate::verdict::Verdict;
use crate::verdict::cap::{Condemned, Room, held_in};
use crate::verdict::quorum::Ground;
use crate::watch::{Combine, Regions, Watch, WatchedVip};
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
    let vips: Vec<Vec<(Option<IpAddr>, Judged)>> = watch
        .candidates
        .iter()
        .map(|vips| {
            let of = |vip: &WatchedVip| Some((vip.address, of_vip(watch, vip, judged)?));
            vips.iter().filter_map(of).collect()
        })
        .collect();
    let is_down = |vips: &[(Option<IpAddr>, Judged)]| {
        !vips.is_empty() && vips.iter().all(|(_, judged)| judged.verdict == Verdict::Down)
    };
    let down: Vec<usize> = (0..vips.len()).filter(|index| is_down(&vips[*index])).collect();
    let capacities = world.capacities_of(service);
    let condemn = |index: usize| condemned(world, service, capacities[index], index, &vips[index]);
    let of_down: Vec<Condemned<'_>> = down.iter().copied().map(condemn).collect();
    let all = Room { capacity: watch.max_removed.of(capacities.iter().sum()), has_gone: false };
    let held: Vec<usize> = held_in(&of_down, all).iter().map(|index| down[*index]).collect();
    let gone: Vec<usize> = down.iter().copied().filter(|index| !held.contains(index)).collect();
    let taken = gone.iter().map(|index| condemn(*index)).filter(|one| !one.is_certain);
    let left = Room {
        capacity: all.capacity - taken.map(|one| one.capacity).sum::<f64>(),
        has_gone: !gone.is_empty(),
    };
    let mut lost = lost(watch, &vips, left, condemn);
    let is_up = |index: usize| {
        vips[index].iter().any(|(_, judged)| matches!(judged.verdict, Verdict::Up | Verdict::Slow))
    };
    let back: Vec<bool> = vips.iter().map(|vips| is_back(now, vips)).collect();
    let some_is_up = (0..vips.len()).any(|index| is_up(index) && back[index]);
    vips.iter()
        .enumerate()
        .map(|(index, vips)| {
            let is_held_in = held.contains(&index);
            let lost = std::mem::take(&mut lost[index]);
            let mut view = view(now, vips, service.ttl);
            if is_held_in {
                view.health = Health::Up;
                view.admit = Admit::ALL;
                view.why = format!("{}, held in by max_removed", view.why).into();
                view.struck = [].into();
                view.halvings = 0;
            } else if is_up(index) && !back[index] {
                if some_is_up {
                    view.health = Health::Down;
                } else {
                    view.admit = Admit::ALL;
                }
            } else if view.health == Health::Unknown && some_is_up && !is_grace {
                view.health = Health::Down;
                view.why = format!("{}, and another site is up", view.why).into();
            }
            if view.health != Health::Down && !is_held_in && !is_grace {
                view.lost = lost.into();
            }
            view
        })
        .collect()
}

/// A candidate as the cap weighs it.
fn condemned<'w>(
    world: &'w World,
    service: &Service,
    capacity: f64,
    index: usize,
    vips: &[(Option<IpAddr>, Judged)],
) -> Condemned<'w> {
    Condemned {
        name: &world.site(service.candidates[index].site).name,
        capacity,
        up_share: vips.iter().map(|(_, judged)| judged.up_share).fold(0.0, f64::max),
        is_certain: vips.iter().all(|(_, judged)| judged.is_certain),
    }
}

/// By candidate, what regions have lost of it by themselves. What a region may lose of all that is not down is capped as
/// what the world may.
fn lost<'w>(
    watch: &Watch,
    vips: &[Vec<(Option<IpAddr>, Judged)>],
    room: Room,
    condemn: impl Fn(usize) -> Condemned<'w>,
) -> Vec<Vec<Lost>> {
    let mut all = vec![vec![]; vips.len()];
    for region in watch.regions.iter() {
        let is_lost = |judged: &Judged| judged.lost.contains(region);
        let has_lost_all = |vips: &[(Option<IpAddr>, Judged)]| {
            let is_out = |judged: &Judged| judged.verdict == Verdict::Down || is_lost(judged);
            vips.iter().any(|(_, judged)| is_lost(judged))
                && vips.iter().all(|(_, judged)| is_out(judged))
        };
        let whole: Vec<usize> =
            (0..vips.len()).filter(|index| has_lost_all(&vips[*index])).collect();
        // That a host refuses one region is not its own word on itself.
        let of_whole: Vec<Condemned<'_>> =
            whole.iter().map(|index| Condemned { is_certain: false, ..condemn(*index) }).collect();
        let held: Vec<usize> =
            held_in(&of_whole, room).into_iter().map(|index| whole[index]).collect();
        for (index, vips) in vips.iter().enumerate().filter(|(index, _)| !held.contains(index)) {
            let mut addresses = vips.iter().filter(|(_, judged)| is_lost(judged)).peekable();
            if addresses.peek().is_none() {
                continue;
            }
            let addresses: Option<Box<[IpAddr]>> = addresses.map(|(address, _)| *address).collect();
            let why = format!("the vantages of {} have it down, others have not", region.name());
            all[index].push(Lost { region, addresses, why: why.into() });
        }
    }
    all
}

/// What the targets of one address come to.
fn of_vip(watch: &Watch, vip: &WatchedVip, judged_of: &HashMap<usize, Judged>) -> Option<Judged> {
    let rank = |verdict| match verdict {
        Verdict::Down => 0,
        Verdict::Unknown => 1,
        Verdict::Slow => 2,
        Verdict::Up => 3,
    };
    let of = vip.targets.iter().filter_map(|target| judged_of.get(target)).copied();
    let (judged, lost) = match watch.combine {
        Combine::All => (
            of.clone().min_by_key(|judged| rank(judged.verdict))?,
            of.fold(Regions::NONE, |lost, judged| lost.or(judged.lost)),
        ),
        Combine::Any => (
            of.clone().max_by_key(|judged| rank(judged.verdict))?,
            // Where one is down for all, the others decide.
            of.filter(|judged| judged.verdict != Verdict::Down)
                .fold(watch.regions, |lost, judged| lost.and(judged.lost)),
        ),
    };
    let lost = if judged.verdict == Verdict::Down { Regions::NONE } else { lost };
    let of_vip = vip.targets.iter().filter_map(|target| judged_of.get(target));
    let down_in = match watch.combine {
        Combine::All => of_vip.filter_map(|judged| judged.down_in).min(),
        // The last of them decides, and one whose looks succeed keeps it.
        Combine::Any => of_vip
            .filter(|judged| judged.verdict != Verdict::Down)
            .map(|judged| judged.down_in)
            .collect::<Option<Vec<Duration>>>()
            .and_then(|all| all.into_iter().max()),
    };
    Some(Judged { lost, down_in, ..judged })
}

/// Whether an address that came back has been up for long enough.
fn is_back(now: Duration, vips: &[(Option<IpAddr>, Judged)]) -> bool {
    let waits = |judged: &Judged| judged.returned.is_some_and(|back| back.is_held_down(now));
    vips.iter().any(|(_, judged)| judged.verdict != Verdict::Down && !waits(judged))
}

/// One candidate, as far as its own addresses tell.
fn view(now: Duration, vips: &[(Option<IpAddr>, Judged)], ttl: Ttl) -> View {
    let of = |is: fn(Verdict) -> bool| vips.iter().filter(move |(_, judged)| is(judged.verdict));
    let struck: Vec<IpAddr> =
        of(|verdict| verdict == Verdict::Down).filter_map(|(address, _)| *address).collect();
    let lead = of(|verdict| matches!(verdict, Verdict::Up | Verdict::Slow))
        .next()
        .or_else(|| of(|verdict| verdict == Verdict::Unknown).next())
        .or_else(|| vips.first());
    let Some((_, lead)) = lead else {
        return View::default();
    };
    // An address that goes changes the answer.
    let down_in = vips.iter().filter_map(|(_, judged)| judged.down_in).min();
    let health = match lead.verdict {
        Verdict::Up | Verdict::Slow => Health::Up,
        Verdict::Unknown => Health::Unknown,
        Verdict::Down => Health::Down,
    };
    View {
        health,
        since: lead.since.map(|since| since.wall),
        why: told(now, lead, struck.len()).into(),
        struck: if health == Health::Down { [].into() } else { struck.into() },
        lost: [].into(),
        admit: admit(now, vips, ttl.max),
        halvings: down_in.map_or(0, |within| ttl.halvings(within)),
    }
}

/// The mean over the addresses of a family; of two families the greater, as each leads to the whole site.
fn admit(now: Duration, vips: &[(Option<IpAddr>, Judged)], step: Duration) -> Admit {
    let of_one = |judged: &Judged| match judged.verdict {
        Verdict::Down => 0.0,
        Verdict::Unknown => 1.0,
        Verdict::Up => judged.returned.map_or(1.0, |back| back.admit(now, step)),
        Verdict::Slow => judged.returned.map_or(1.0, |back| back.admit(now, step)).min(0.5),
    };
    let mean = |is: fn(&Option<IpAddr>) -> bool| {
        let of: Vec<f64> =
            vips.iter().filter(|(at, _)| is(at)).map(|(_, judged)| of_one(judged)).collect();
        if of.is_empty() { 0.0 } else { of.iter().sum::<f64>() / of.len() as f64 }
    };
    let families = [
        mean(|at| matches!(at, Some(IpAddr::V4(_)))),
        mean(|at| matches!(at, Some(IpAddr::V6(_)))),
        mean(Option::is_none),
    ];
    Admit::new(families.into_iter().fold(0.0, f64::max)).unwrap_or(Admit::ALL)
}

/// Why, for people: what the vantages see, and what was made of it.
fn told(now: Duration, judged: &Judged, struck: usize) -> String {
    let Counts { up, slow, down } = judged.counts;
    let all = up + slow + down;
    let seen = match judged.verdict {
        _ if all == 0 => "no vantage says anything of it".to_owned(),
        Verdict::Down => format!("{down} of {all} vantages see it down"),
        Verdict::Slow => format!("{slow} of {all} vantages see it slow"),
        Verdict::Up | Verdict::Unknown => format!("{} of {all} vantages see it up", up + slow),
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
        count => format!("; {count} of its addresses are down"),
    };
    seen + &held + &back + &others
}
