//! What operators say of sites that are watched: it outranks what is seen of them, in their share of clients too.

use super::*;
use crate::health::board::{Board, Duty};
use crate::health::last_known::LastKnown;
use crate::health::overrides::{Glob, Order, Override};
use crate::ids::ServiceId;

/// Of fra: health, share and duty, after `words` and these orders.
fn check(words: &str, orders: &[&str], expected: &str) {
    let mut story = Story::new(SITES, Held::default());
    story.run(WELL);
    story.run(words);
    let orders: Vec<Override> = orders
        .iter()
        .map(|word| Override {
            site: Glob::new("fra"),
            service: Glob::new("*"),
            order: match *word {
                "up" => Order::Force(crate::health::board::Health::Up),
                "unforce" => Order::Unforce,
                "drain" => Order::Drain { over: 0 },
                "draining" => Order::Drain { over: 1000 },
                _ => Order::Undrain,
            },
            who: "alice".into(),
            why: "test".into(),
            since: Timestamp::UNIX_EPOCH,
            until: None,
        })
        .collect();
    let orders: Vec<&Override> = orders.iter().collect();
    let views = story.judgement().views;
    let now = Timestamp::from_second(500).unwrap();
    let board = Board::of_views(1, &story.world, &views, &orders, &LastKnown::default(), now);
    let fra = &board.of_service(ServiceId(0)).standings[0];
    let duty = if fra.duty == Duty::Drained { " drained" } else { "" };
    assert_eq!(format!("{}*{}{duty}", fra.health, fra.admit().share()), expected, "{words}");
}

#[test]
fn who_is_forced_up_takes_its_clients_whatever_is_seen_of_it() {
    check("abc:fra!", &[], "down*1");
    check("abc:fra!", &["up"], "up*1");
    check("abc:fra!", &["up", "unforce"], "down*1");
    // On its way back, and after it has flapped.
    check("abc:fra! 5s abc:fra+", &[], "up*0.25");
    check("abc:fra! 5s abc:fra+", &["up"], "up*1");
    check("abc:fra! 5s abc:fra+ 5s abc:fra! 5s abc:fra+", &["up"], "up*1");
    // A drain takes them away all the same, whichever was said first.
    check("abc:fra!", &["up", "draining"], "up*0.45");
    check("abc:fra!", &["draining", "up"], "up*0.45");
    check("abc:fra!", &["draining", "up", "undrain"], "up*1");
    check("abc:fra!", &["up", "drain"], "up*1 drained");
}
