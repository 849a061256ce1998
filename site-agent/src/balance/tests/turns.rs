//! Round robin: whose turn it is, and that turns stand apart.

use proptest::prelude::*;

use super::*;

/// The picks of one round with these weights, from the start.
fn check(weights: &[u32], expected: &str) {
    let mut pool = Pool::new(&table(Algorithm::RoundRobin, weights), weights.len());
    let picks = expected.split(' ').map(|_| name(pool.send(None))).collect::<Vec<_>>();
    assert_eq!(picks.join(" "), expected, "{weights:?}");
}

#[test]
fn turns_are_nginx_s() {
    // The example of nginx's commit that brought it, and what follows from its rule by hand.
    check(&[5, 1, 1], "a a b a c a a a a b a c a a");
    check(&[1, 1, 1], "a b c a b c");
    check(&[2, 1, 1], "a b c a a b c a");
    check(&[1, 0, 2], "c a c c a c");
    check(&[256], "a a a");
}

#[test]
fn threads_begin_with_different_servers() {
    let table = table(Algorithm::RoundRobin, &[1, 1, 1]);
    let first = |phase| Picker::new(Arc::clone(&table), phase).pick(&ANY, |_| 0);
    let free = |place| Choice::Free(ServerId(place));
    assert_eq!([0, 1, 2, 3].map(first), [free(0), free(1), free(2), free(0)]);
    let table = super::table(Algorithm::LeastConnections, &[1, 1, 1]);
    let first = |phase| Picker::new(Arc::clone(&table), phase).pick(&ANY, |_| 0);
    assert_eq!([0, 1, 2, 3].map(first), [free(1), free(2), free(0), free(1)]);
}

const ANY: Ask<'_> = Ask { key: None, tried: &[], dice: 0 };

#[test]
fn a_table_made_anew_at_each_pick_starves_nobody() {
    let mut pool = Pool::new(&table(Algorithm::RoundRobin, &[3; 5]), 5);
    let mut counts = [0; 5];
    for _ in 0..500 {
        pool.picker.follow(&table(Algorithm::RoundRobin, &[3; 5]));
        counts[pool.send(None)] += 1;
    }
    assert_eq!(counts, [100; 5]);
}

#[test]
fn a_newcomer_has_no_more_than_its_turns() {
    let mut pool = Pool::new(&table(Algorithm::RoundRobin, &[5, 5, 0]), 3);
    for _ in 0..101 {
        pool.send(None);
    }
    pool.picker.follow(&table(Algorithm::RoundRobin, &[5, 5, 5]));
    let mut counts = [0; 3];
    for _ in 0..30 {
        counts[pool.send(None)] += 1;
    }
    assert_eq!(counts, [10; 3]);
    // And it leaves as quietly.
    pool.picker.follow(&table(Algorithm::RoundRobin, &[5, 0, 5]));
    let mut counts = [0; 3];
    for _ in 0..30 {
        counts[pool.send(None)] += 1;
    }
    assert_eq!(counts, [15, 0, 15]);
}

/// What was gained under great weights is worth no more than a round under small ones.
#[test]
fn weights_that_shrink_leave_no_debts() {
    for picks in 0..40 {
        let mut pool = Pool::new(&table(Algorithm::RoundRobin, &[256, 255, 1]), 3);
        for _ in 0..picks {
            pool.send(None);
        }
        pool.picker.follow(&table(Algorithm::RoundRobin, &[1, 1, 1]));
        let mut counts = [0u32; 3];
        for _ in 0..30 {
            counts[pool.send(None)] += 1;
        }
        assert!(counts.iter().all(|count| count.abs_diff(10) <= 2), "{picks}: {counts:?}");
    }
}

proptest! {
    /// Any window of picks has a server's share of it, give or take less than one for each server, so that no run of
    /// one server is longer than that lets it be; with equal weights there are no runs, and of two servers the smaller
    /// one has none and the larger no longer ones than it must.
    #[test]
    fn turns_are_fair_and_stand_apart(
        weights in proptest::collection::vec(1..=20u32, 1..9), from in 0..50usize, length in 1..200usize,
    ) {
        let servers = weights.len();
        let mut pool = Pool::new(&table(Algorithm::RoundRobin, &weights), servers);
        for _ in 0..from {
            pool.send(None);
        }
        let total: u32 = weights.iter().sum();
        let (mut counts, mut run, mut last) = (vec![0u32; servers], 0, usize::MAX);
        for picked in (0..length).map(|_| pool.send(None)) {
            counts[picked] += 1;
            run = if picked == last { run + 1 } else { 1 };
            last = picked;
            let (weight, others) = (weights[picked], total - weights[picked]);
            prop_assert!(others == 0 || run * others < servers as u32 * total, "{weights:?}: {run}");
            prop_assert!(servers != 2 || run <= weight.div_ceil(others), "{weights:?}: {run}");
            let are_equal = weights.iter().all(|weight| *weight == weights[0]);
            prop_assert!(!are_equal || servers == 1 || run == 1, "{weights:?}: {run}");
        }
        for (count, weight) in counts.iter().zip(&weights) {
            let off = (i64::from(*count) * i64::from(total)).abs_diff(length as i64 * i64::from(*weight));
            prop_assert!(off < servers as u64 * u64::from(total), "{weights:?}: {counts:?}");
        }
    }

    /// Least connections against its definition: the picked one's key is nobody's greater.
    #[test]
    fn nobody_has_a_smaller_key_than_the_picked(
        servers in proptest::collection::vec((1..=256u32, 0..50u32), 1..9), phase in 0..9usize,
    ) {
        let weights: Vec<u32> = servers.iter().map(|(weight, _)| *weight).collect();
        let loads: Vec<u32> = servers.iter().map(|(_, load)| *load).collect();
        let mut picker = Picker::new(table(Algorithm::LeastConnections, &weights), phase);
        let Choice::Free(picked) = picker.pick(&ANY, |id| loads[id.0]) else {
            return Err(TestCaseError::fail("somebody is there"));
        };
        // HAProxy's integers: a weight of 1 is 16 of 4096.
        let key = |place: usize| match loads[place] {
            0 => 0,
            load => (load + 1) * 4096 / (weights[place] * 16),
        };
        for place in 0..servers.len() {
            prop_assert!(key(picked.0) <= key(place), "{servers:?} {picked:?} {place}");
        }
    }

    /// What is full or tried is never picked while somebody else is there.
    #[test]
    fn the_full_and_the_tried_are_passed_over(
        servers in proptest::collection::vec((1..=3u32, 0..4u32, 0..4u32, any::<bool>()), 1..9),
        dice: u64, phase in 0..9usize,
    ) {
        let weights: Vec<u32> = servers.iter().map(|server| server.0).collect();
        let limits: Vec<u32> = servers.iter().map(|server| server.1).collect();
        let tried: Vec<ServerId> =
            (0..servers.len()).filter(|place| servers[*place].3).map(ServerId).collect();
        use Algorithm::*;
        for algorithm in [RandomTwo, RoundRobin, LeastConnections, First] {
            let mut picker = Picker::new(limited(algorithm, &weights, &limits), phase);
            let ask = Ask { key: None, tried: &tried, dice };
            let is_full = |place: usize| servers[place].1 > 0 && servers[place].2 >= servers[place].1;
            let all_tried = tried.len() == servers.len();
            let fits = |place: &usize| {
                !is_full(*place) && (all_tried || !tried.contains(&ServerId(*place)))
            };
            match picker.pick(&ask, |id| servers[id.0].2) {
                Choice::Free(id) => prop_assert!(fits(&id.0), "{algorithm:?} {id}"),
                Choice::Full => prop_assert_eq!((0..servers.len()).find(fits), None),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
