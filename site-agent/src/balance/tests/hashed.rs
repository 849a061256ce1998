//! The ring: golden vectors, who moves when somebody goes, and the bound.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

const HASH: Algorithm = Algorithm::Hash { bound: None };

fn source(number: u32) -> Key {
    Key::source(IpAddr::from(number.to_be_bytes()))
}

fn homes(table: &Table, keys: u32) -> Vec<usize> {
    (0..keys).map(|number| table.home(source(number), &[]).unwrap().0).collect()
}

/// These may never change: an upgrade would move clients.
#[test]
fn hashes_have_golden_vectors() {
    let key = |address: &str| Key::source(address.parse().unwrap()).0;
    assert_eq!(key("192.0.2.1"), 5860855677700592438);
    assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    assert_eq!(key("2001:db8::1"), 6034567727287295045);
    assert_eq!(Key::uri(b"/a/b?c=d").map(|key| key.0), Some(16678397861715758136));
    assert_eq!(Key::uri(b"/a/b"), Key::uri(b"/a/b?"));
    assert_eq!(Key::uri(b"?c"), None);
    assert_eq!(Key::header(b"somebody").map(|key| key.0), Some(17214910531721149999));
    assert_eq!(Key::header(b""), None);
    assert_eq!(hash::name("web01"), 14241040613785836445);
    assert_eq!(hash::point(hash::name("web01"), 0), 9610783034520624400);
    assert_eq!(hash::point(hash::name("web01"), 159), 8371120179656000872);
    let picks: String = homes(&table(HASH, &[1, 2, 3, 4]), 40).into_iter().map(name).collect();
    assert_eq!(picks, "baabddbdcaaacaccdcdbdbdddbddcddcdddddddb");
}

#[test]
fn the_order_of_the_config_has_no_say() {
    let names = ["web01", "web02", "web03", "spare"];
    let homes = |order: [usize; 4]| {
        let candidate = |(id, place): (usize, &usize)| Candidate {
            id: ServerId(id),
            name: names[*place],
            share: Share::new(Share::UNIT).unwrap(),
            limit: None,
        };
        let candidates: Vec<_> = order.iter().enumerate().map(candidate).collect();
        let table = Table::new(HASH, &candidates, 4);
        let home = |number| names[order[table.home(source(number), &[]).unwrap().0]];
        (0..1000).map(home).collect::<Vec<_>>()
    };
    assert_eq!(homes([0, 1, 2, 3]), homes([3, 1, 0, 2]));
}

#[test]
fn shares_of_keys_follow_weights() {
    const KEYS: u32 = 100_000;
    for weights in [&[1; 10][..], &[10; 4], &[1, 2, 4, 8], &[100, 100, 200]] {
        let total: u32 = weights.iter().sum();
        let homes = homes(&table(HASH, weights), KEYS);
        for (place, weight) in weights.iter().enumerate() {
            let count = homes.iter().filter(|home| **home == place).count() as f64;
            let expected = f64::from(KEYS) * f64::from(*weight) / f64::from(total);
            // 160 points for a unit of weight: a standard deviation of 8 %, and we look at three.
            let off = (count / expected - 1.0).abs();
            assert!(off < 0.24 / f64::from(*weight).sqrt(), "{weights:?} {place}: {off}");
        }
    }
}

#[test]
fn a_weight_that_grows_takes_keys_and_gives_none() {
    let (before, after) =
        (homes(&table(HASH, &[2, 2, 2]), 20_000), homes(&table(HASH, &[2, 3, 2]), 20_000));
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
    let moved: Vec<_> = moved.collect();
    assert!(moved.iter().all(|(_, after)| **after == 1), "{moved:?}");
    // From a third to three sevenths.
    assert!(moved.len().abs_diff(20_000 * 2 / 21) < 400, "{}", moved.len());
}

#[test]
fn a_factor_is_more_than_the_mean() {
    assert_eq!(Factor::new(0), None);
    assert_eq!(Factor::new(100), None);
    assert_eq!(Factor::new(101).map(Factor::percent), Some(101));
}

#[test]
fn one_key_for_all_is_spread_by_the_bound() {
    let bound = Factor::new(125);
    let mut pool = Pool::new(&table(Algorithm::Hash { bound }, &[1; 8]), 8);
    for _ in 0..800 {
        pool.send(Key::uri(b"/everybody/wants/this"));
    }
    let mut loads = pool.loads.into_inner();
    loads.sort_unstable();
    // 125 each for the first in the ring's order, and what is left for the last of them.
    assert_eq!(loads.iter().sum::<u32>(), 800);
    assert_eq!(loads[7], 125);
    assert!(loads[2] > 0, "{loads:?}");
}

proptest! {
    /// Who goes takes only its own keys with it, and a return brings everything back.
    #[test]
    fn only_the_keys_of_the_lost_move(weights in proptest::collection::vec(1..5u32, 2..9), lost in 0..9usize) {
        let lost = lost % weights.len();
        let whole = table(HASH, &weights);
        // The pool's weights are as configured, whoever is down.
        let rest: Vec<_> = (0..weights.len()).filter(|place| *place != lost).collect();
        let names: Vec<String> = (0..weights.len()).map(name).collect();
        let candidates: Vec<_> = rest.iter().map(|place| Candidate {
            id: ServerId(*place), name: &names[*place],
            share: Share::new(weights[*place] * Share::UNIT).unwrap(), limit: None,
        }).collect();
        let less = Table::new(HASH, &candidates, weights.iter().map(|weight| u64::from(*weight)).sum());
        for number in 0..500 {
            let (before, after) = (whole.home(source(number), &[]).unwrap(), less.home(source(number), &[]).unwrap());
            prop_assert!(before == after || before.0 == lost);
            // Whom a request has tried is, for it, as if gone.
            prop_assert_eq!(whole.home(source(number), &[ServerId(lost)]), Some(after));
        }
    }

    /// The ring against a walk over all points.
    #[test]
    fn a_key_is_of_the_next_point(weights in proptest::collection::vec(1..4u32, 1..5), keys: [u64; 32]) {
        let table = table(HASH, &weights);
        let points: Vec<(u64, usize)> = (0..weights.len())
            .flat_map(|place| {
                let name = hash::name(&name(place));
                (0..160 * weights[place]).map(move |number| (hash::point(name, number), place))
            })
            .collect();
        // A point is its own server's.
        for (point, place) in &points {
            prop_assert_eq!(table.home(Key(*point), &[]), Some(ServerId(*place)));
        }
        for key in keys {
            let next = points.iter().min_by_key(|(point, _)| point.wrapping_sub(key)).unwrap();
            prop_assert_eq!(table.home(Key(key), &[]), Some(ServerId(next.1)));
        }
    }

    /// No server is given more than its part of the factor times the mean, rounded up, and one at least; keys go home
    /// where home has room.
    #[test]
    fn the_bound_holds(
        weights in proptest::collection::vec(1..=4u32, 1..9), percent in 101..300u16,
        // A small number is a request with that key, a large one the end of some request.
        events in proptest::collection::vec(0..30u32, 1..300),
    ) {
        let servers = weights.len();
        let table = table(Algorithm::Hash { bound: Factor::new(percent) }, &weights);
        let mut pool = Pool::new(&table, servers);
        let mut flying = vec![];
        let total: u32 = weights.iter().sum();
        for event in events {
            if event >= 20 && !flying.is_empty() {
                let ended: usize = flying.swap_remove(event as usize % flying.len());
                pool.loads.borrow_mut()[ended] -= 1;
                continue;
            }
            // Half of all requests are for one key.
            let key = source(event.saturating_sub(10));
            let in_all = flying.len() as u32 + 1;
            let cap = |place: usize| {
                let (top, bottom) = (in_all * u32::from(percent) * weights[place], 100 * total);
                (f64::from(top) / f64::from(bottom)).ceil().max(1.0) as u32
            };
            let home = table.home(key, &[]).unwrap().0;
            let before = pool.loads.borrow()[home];
            let picked = pool.send(Some(key));
            flying.push(picked);
            let after = pool.loads.borrow()[picked];
            // Whole slots are handed out after the total was rounded up: with unequal weights that is one more at most.
            let spare = u32::from(weights.iter().any(|weight| *weight != weights[0]));
            prop_assert!(after <= cap(picked) + spare, "{weights:?} {after} {}", cap(picked));
            prop_assert!(picked == home || before > 0, "an idle home takes its keys");
            prop_assert!(picked == home || before + 1 >= cap(home), "{weights:?} {before} {}", cap(home));
        }
    }
}
