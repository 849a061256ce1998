//! Each algorithm against what its doc promises, over many picks.

mod hashed;
mod turns;

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::*;

/// Numbers that look random: splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Servers `a`, `b`, … with these weights; one of weight 0 is not among the candidates.
fn table(algorithm: Algorithm, weights: &[u32]) -> Arc<Table> {
    limited(algorithm, weights, &[])
}

/// The same with limits, of which 0 and what is not said is none.
fn limited(algorithm: Algorithm, weights: &[u32], limits: &[u32]) -> Arc<Table> {
    let names: Vec<String> = (0..weights.len()).map(name).collect();
    let candidate = |place: usize| {
        Some(Candidate {
            id: ServerId(place),
            name: &names[place],
            share: Share::new(weights[place] * Share::UNIT)?,
            limit: limits.get(place).copied().and_then(NonZeroU32::new),
        })
    };
    let candidates: Vec<_> = (0..weights.len()).filter_map(candidate).collect();
    let all = weights.iter().map(|weight| u64::from((*weight).max(1))).sum();
    Arc::new(Table::new(algorithm, &candidates, all))
}

fn name(place: usize) -> String {
    match place {
        0..26 => char::from(b'a' + place as u8).to_string(),
        _ => format!("server{place}"),
    }
}

/// A pool with its loads, and one thread that picks.
struct Pool {
    picker: Picker,
    loads: RefCell<Vec<u32>>,
    dice: Dice,
}

impl Pool {
    fn new(table: &Arc<Table>, servers: usize) -> Pool {
        let loads = RefCell::new(vec![0; servers]);
        Pool { picker: Picker::new(Arc::clone(table), 0), loads, dice: Dice(1) }
    }

    fn choose(&mut self, key: Option<Key>, tried: &[ServerId]) -> Choice {
        let ask = Ask { key, tried, dice: self.dice.roll() };
        let loads = self.loads.borrow();
        self.picker.pick(&ask, |id| loads[id.0])
    }

    /// Who is picked, and has one more in flight from then on.
    fn send(&mut self, key: Option<Key>) -> usize {
        match self.choose(key, &[]) {
            Choice::Free(id) | Choice::Bound(id) => {
                self.loads.borrow_mut()[id.0] += 1;
                id.0
            }
            nobody @ (Choice::Full | Choice::Nobody) => panic!("{nobody:?}"),
        }
    }

    /// How often each was picked while nothing is in flight.
    fn shares(&mut self, picks: usize, servers: usize) -> Vec<usize> {
        let mut counts = vec![0; servers];
        for _ in 0..picks {
            counts[self.send(None)] += 1;
            self.loads.borrow_mut().fill(0);
        }
        counts
    }
}

/// Within a hundredth of all picks of what the weights say.
fn check_shares(algorithm: Algorithm, weights: &[u32]) {
    const PICKS: usize = 100_000;
    let mut pool = Pool::new(&table(algorithm, weights), weights.len());
    let counts = pool.shares(PICKS, weights.len());
    let total: u32 = weights.iter().sum();
    for (place, count) in counts.iter().enumerate() {
        let expected = PICKS as f64 * f64::from(weights[place]) / f64::from(total);
        let off = (*count as f64 - expected).abs();
        assert!(off <= PICKS as f64 / 100.0, "{algorithm:?} {weights:?}: {counts:?}");
    }
}

#[test]
fn idle_servers_have_their_shares() {
    for weights in [&[1, 1, 1][..], &[5, 1, 1], &[256, 128, 1], &[0, 3, 7], &[9], &[1; 40]] {
        check_shares(Algorithm::RoundRobin, weights);
        check_shares(Algorithm::RandomTwo, weights);
        check_shares(Algorithm::Hash { bound: None }, weights);
    }
}

/// Servers with these limits and loads, whom the request has tried; `!` before the algorithm is without weights.
fn check(algorithm: Algorithm, limits: &[u32], loads: &[u32], tried: &[usize], expected: Choice) {
    let key = Key::header(b"somebody");
    let tried: Vec<ServerId> = tried.iter().map(|place| ServerId(*place)).collect();
    let weights = vec![1; loads.len()];
    for phase in 0..7 {
        let mut pool = Pool::new(&limited(algorithm, &weights, limits), loads.len());
        *pool.loads.borrow_mut() = loads.to_vec();
        pool.dice = Dice(phase);
        let choice = pool.choose(key, &tried);
        assert_eq!(choice, expected, "{algorithm:?} {limits:?} {loads:?} {tried:?} {phase}");
    }
}

#[test]
fn whom_a_request_has_tried_comes_last_and_who_is_full_not_at_all() {
    use Algorithm::*;
    let free = |place| Choice::Free(ServerId(place));
    for algorithm in [RandomTwo, RoundRobin, LeastConnections, First] {
        check(algorithm, &[], &[9, 0], &[1], free(0));
        check(algorithm, &[], &[0, 9], &[0], free(1));
        // Everybody was tried: better one of them again than nobody.
        check(algorithm, &[1, 0], &[1, 5], &[0, 1], free(1));
        check(algorithm, &[], &[5], &[0], free(0));
        // At the limit and one below.
        check(algorithm, &[3, 3], &[3, 2], &[], free(1));
        check(algorithm, &[3, 3], &[3, 3], &[], Choice::Full);
        // Who was not tried is full: wait for them rather than ask the same again.
        check(algorithm, &[3, 3], &[0, 3], &[0], Choice::Full);
        check(algorithm, &[], &[], &[], Choice::Nobody);
    }
    // A key stays with its server, full or not: the queue decides.
    let hash = Hash { bound: None };
    check(hash, &[1], &[1], &[], Choice::Bound(ServerId(0)));
    check(hash, &[1, 1], &[1, 1], &[0], Choice::Bound(ServerId(1)));
    check(hash, &[1, 1], &[1, 1], &[1], Choice::Bound(ServerId(0)));
    check(hash, &[], &[], &[], Choice::Nobody);
    let bounded = Hash { bound: Factor::new(150) };
    check(bounded, &[], &[], &[], Choice::Nobody);
    check(bounded, &[], &[0, 9], &[0], Choice::Bound(ServerId(1)));
    check(bounded, &[], &[0, 9], &[1], Choice::Bound(ServerId(0)));
    check(bounded, &[], &[3], &[0], Choice::Bound(ServerId(0)));
}

#[test]
fn the_first_with_room_is_taken_and_the_others_sleep() {
    let free = |place| Choice::Free(ServerId(place));
    check(Algorithm::First, &[2, 2, 2], &[0, 0, 0], &[], free(0));
    check(Algorithm::First, &[2, 2, 2], &[2, 1, 0], &[], free(1));
    check(Algorithm::First, &[2, 2, 2], &[2, 2, 0], &[], free(2));
    check(Algorithm::First, &[0, 2, 2], &[99, 0, 0], &[], free(0));
    // In the order of ids, however the candidates came.
    let share = Share::new(1).unwrap();
    let candidate = |id| Candidate { id: ServerId(id), name: "", share, limit: None };
    let table = Table::new(Algorithm::First, &[candidate(2), candidate(0), candidate(1)], 3);
    assert_eq!(Pool::new(&Arc::new(table), 3).send(None), 0);
}

#[test]
fn least_connections_keeps_equal_servers_within_one() {
    let mut pool = Pool::new(&table(Algorithm::LeastConnections, &[1; 7]), 7);
    for _ in 0..10_000 {
        pool.send(None);
        let loads = pool.loads.borrow();
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        assert!(most - least <= 1, "{loads:?}");
    }
}

#[test]
fn least_connections_fills_servers_by_weight() {
    let mut pool = Pool::new(&table(Algorithm::LeastConnections, &[1, 2, 5]), 3);
    for _ in 0..8000 {
        pool.send(None);
    }
    for (load, expected) in pool.loads.borrow().iter().zip([1000u32, 2000, 5000]) {
        assert!(load.abs_diff(expected) <= 3, "{:?}", pool.loads);
    }
}

#[test]
fn idle_servers_take_turns_under_least_connections() {
    let mut pool = Pool::new(&table(Algorithm::LeastConnections, &[1, 9, 1]), 3);
    // HAProxy's key of an idle server is 0, whatever its weight.
    assert_eq!(pool.shares(300, 3), [100, 100, 100]);
}

#[test]
fn of_two_drawn_the_less_loaded_is_taken() {
    const PICKS: usize = 100_000;
    let mut pool = Pool::new(&table(Algorithm::RandomTwo, &[1; 5]), 5);
    let mut busy = 0;
    for _ in 0..PICKS {
        *pool.loads.borrow_mut() = vec![0, 0, 50, 0, 0];
        busy += usize::from(pool.send(None) == 2);
    }
    // Only where both draws are the busy one: one time in twenty-five.
    assert!(busy.abs_diff(PICKS / 25) < PICKS / 200, "{busy}");
}

#[test]
fn the_smallest_shares_are_drawn_as_often_as_they_should() {
    let share = Share::new(1).unwrap();
    let candidate = |id| Candidate { id: ServerId(id), name: "", share, limit: None };
    let table = Table::new(Algorithm::RandomTwo, &[candidate(0), candidate(1)], 2);
    let mut pool = Pool::new(&Arc::new(table), 2);
    let counts = pool.shares(10_000, 2);
    assert!(counts[0].abs_diff(5000) < 300, "{counts:?}");
}

#[test]
fn two_drawn_are_compared_by_their_weights() {
    // 4 in flight of weight 4 are as many as 1 of weight 1: fewer than 2 of weight 1, more than none.
    let picks = |loads: [u32; 2]| {
        let mut pool = Pool::new(&table(Algorithm::RandomTwo, &[4, 1]), 2);
        let mut counts = [0u32; 2];
        for _ in 0..10_000 {
            *pool.loads.borrow_mut() = loads.to_vec();
            counts[pool.send(None)] += 1;
        }
        counts
    };
    // Both draws the small one: 1 in 25. Either: 9 in 25. The first of two equals: 1 in 5.
    let near =
        |count: u32, expected: u32| assert!(count.abs_diff(expected) < 200, "{count} {expected}");
    near(picks([4, 2])[1], 400);
    near(picks([4, 0])[1], 3600);
    near(picks([4, 1])[1], 2000);
}

#[test]
fn many_requests_at_once_end_up_by_weight() {
    // Requests that end at random: loads follow weights, as shares alone would not make them.
    let weights = [1, 2, 4];
    let mut pool = Pool::new(&table(Algorithm::RandomTwo, &weights), 3);
    let mut dice = Dice(7);
    for _ in 0..700 {
        pool.send(None);
    }
    for _ in 0..20_000 {
        let mut out = dice.roll() as u32 % 700;
        let place = pool.loads.borrow().iter().position(|load| {
            let is_here = out < *load;
            out = out.saturating_sub(*load);
            is_here
        });
        pool.loads.borrow_mut()[place.unwrap()] -= 1;
        pool.send(None);
        for (load, weight) in pool.loads.borrow().iter().zip(weights) {
            assert!(load.abs_diff(weight * 100) <= 25, "{:?}", pool.loads);
        }
    }
}
