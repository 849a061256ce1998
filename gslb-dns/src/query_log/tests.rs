//! A query that is always the same, for the tests of both logs; and samples.

use std::path::Path;
use std::sync::LazyLock;

use super::*;
use crate::config;
use crate::health::board::Board;
use crate::query::Rcode;
use crate::snapshot::Groundwork;

pub static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let zone = "[zone.\"example.com\"]\nfile = \"steer.zone\"\n";
    let world = config::world_from_str(zone, Path::new("tests/steer")).unwrap();
    let ground = Groundwork::new(world);
    let board = Board::blank(&ground.world);
    Snapshot::new(ground.into(), board)
});

pub const ANSWER: Answer = Answer {
    length: 0,
    rcode: Rcode::NoError,
    truncated: false,
    steered: None,
    limited: None,
    cookie: None,
};

/// A query of a client that is always the same, for a tap that is given to what this returns.
pub fn heard(at: Duration, query: &[u8], octets: &[u8]) -> impl Fn(&mut dyn FnMut(&Heard<'_>)) {
    move |tell| {
        let resolved = Resolved { rcode: Some(Rcode::NoError), ..Resolved::default() };
        tell(&Heard {
            client: [192, 0, 2, 1].into(),
            client_port: Some(53),
            at,
            query,
            answer: &ANSWER,
            octets,
            resolved: Some(&resolved),
            snapshot: &SNAPSHOT,
        });
    }
}

#[test]
fn a_sample_is_as_large_as_it_is_said_to_be() {
    for (share, least, most) in [(0.1, 900, 1100), (0.5, 4800, 5200), (0.01, 60, 140)] {
        let (sample, mut dice) = (Sample::of(share).unwrap(), Dice(7));
        let told = (0..10_000).filter(|_| sample.holds(dice.roll())).count();
        assert!((least..=most).contains(&told), "{share}: {told}");
    }
}
