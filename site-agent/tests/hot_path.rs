//! The promise of a pick: it allocates nothing, whatever the algorithm, with limits, keys and servers tried.

mod allocations;

use std::num::NonZeroU32;
use std::sync::Arc;

use allocations::allocations;
use site_agent::balance::{Algorithm, Ask, Candidate, Choice, Factor, Key, Picker, Share, Table};
use site_agent::ids::ServerId;

#[test]
fn a_pick_allocates_nothing() {
    const ALGORITHMS: [Algorithm; 5] = [
        Algorithm::RandomTwo,
        Algorithm::RoundRobin,
        Algorithm::LeastConnections,
        Algorithm::First,
        Algorithm::Hash { bound: None },
    ];
    let bounded = Algorithm::Hash { bound: Factor::new(125) };
    let names: Vec<String> = (0..50).map(|number| format!("web{number}")).collect();
    let candidate = |(place, name): (usize, &'static str)| Candidate {
        id: ServerId(place),
        name,
        share: Share::new(Share::UNIT * (1 + place as u32 % 3)).unwrap(),
        limit: NonZeroU32::new(place as u32 % 20),
    };
    let names: Vec<&'static str> = names.into_iter().map(|name| &*name.leak()).collect();
    let candidates: Vec<Candidate<'_>> = names.into_iter().enumerate().map(candidate).collect();
    let mut loads = [0u32; 50];
    let tried = [ServerId(3), ServerId(7), ServerId(11)];
    for algorithm in ALGORITHMS.into_iter().chain([bounded]) {
        let mut picker = Picker::new(Arc::new(Table::new(algorithm, &candidates, 100)), 3);
        let asked = allocations(|| {
            for number in 0..100_000u64 {
                let octets = number.to_be_bytes();
                let key = Key::uri(&octets[(number % 9) as usize..]);
                let tried = &tried[..(number % 4) as usize];
                let dice = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                match picker.pick(&Ask { key, tried, dice }, |id| loads[id.0]) {
                    Choice::Free(id) | Choice::Bound(id) => loads[id.0] += 1,
                    Choice::Full | Choice::Nobody => loads.fill(0),
                }
            }
        });
        assert_eq!(asked, 0, "{algorithm:?}");
        loads.fill(0);
    }
}
