//! Pools as they run: what a reload keeps, who waits, who is ejected.

use std::num::NonZeroU32;
use std::path::Path;

use tokio::time::timeout;

use super::*;
use crate::backends::{Administrative, By};
use crate::balance::Choice;
use crate::config;

const START: Duration = Duration::from_secs(100);
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// A pool of the text of one.
fn pool(text: &str) -> Arc<site::Pool> {
    let text =
        format!("[frontend.web]\nbind = [\"127.0.0.1:1\"]\npool = \"app\"\n[pool.app]\n{text}\n");
    let read = config::from_str(&text, Path::new("/"));
    let config =
        read.unwrap_or_else(|problems| panic!("{}", problems.render(config::Colour::Never)));
    Arc::new(config.site.pools.into_iter().next().unwrap())
}

/// `a:1` is a server and its limit.
fn servers(of: &str) -> String {
    let server = |(port, text): (usize, &str)| {
        let (name, limit) = text.split_once(':').unwrap_or((text, ""));
        let limit =
            if limit.is_empty() { String::new() } else { format!(", max_connections = {limit}") };
        format!("{{ name = \"{name}\", address = \"127.0.0.1:{}\"{limit} }}", port + 1)
    };
    let servers: Vec<_> = of.split(' ').enumerate().map(server).collect();
    format!("servers = [{}]", servers.join(", "))
}

fn go(upstream: &Upstream, id: usize) -> Lease {
    match upstream.ask(Choice::Free(ServerId(id))) {
        Asked::Go(lease) => lease,
        other => panic!("{other:?}"),
    }
}

fn wait(upstream: &Upstream, choice: Choice) -> Waiting {
    match upstream.ask(choice) {
        Asked::Wait(waiting) => waiting,
        other => panic!("{other:?}"),
    }
}

fn in_flight(upstream: &Upstream) -> Vec<u32> {
    upstream.servers().iter().map(|server| server.in_flight()).collect()
}

#[test]
fn a_place_is_had_until_it_is_dropped() {
    let upstream = Upstream::new(pool(&servers("a b")), START);
    let leases: Vec<_> = (0..3).map(|_| go(&upstream, 1)).collect();
    assert_eq!(in_flight(&upstream), [0, 3]);
    drop(leases);
    assert_eq!(in_flight(&upstream), [0, 0]);
    assert_eq!(
        upstream.server(ServerId(1)).counts.requests.load(std::sync::atomic::Ordering::Relaxed),
        3
    );
}

#[tokio::test]
async fn who_waits_is_given_the_place_that_somebody_gives_back() {
    let upstream = Upstream::new(pool(&servers("a:1 b:1")), START);
    let (a, b) = (go(&upstream, 0), go(&upstream, 1));
    // Any will do, to this one no other will.
    let mut any = wait(&upstream, Choice::Full);
    let mut bound = wait(&upstream, Choice::Bound(ServerId(1)));
    assert_eq!((upstream.waiting(), upstream.server(ServerId(1)).load()), (2, 2));
    drop(b);
    // Whoever has waited longest.
    assert_eq!(&*any.lease().await.server().name, "b");
    drop(a);
    assert_eq!(in_flight(&upstream), [0, 1]);
    drop(any);
    let lease = bound.lease().await;
    assert_eq!(&*lease.server().name, "b");
    drop((lease, bound));
    assert_eq!((in_flight(&upstream), upstream.waiting()), (vec![0, 0], 0));
    assert_eq!(upstream.server(ServerId(1)).load(), 0);
}

#[tokio::test]
async fn who_goes_away_while_it_waits_takes_no_place_with_it() {
    let upstream = Upstream::new(pool(&servers("a:1")), START);
    let a = go(&upstream, 0);
    let (first, second) = (wait(&upstream, Choice::Full), wait(&upstream, Choice::Full));
    drop(first);
    assert_eq!(upstream.waiting(), 1);
    // This one was given the place, and never knew.
    drop(a);
    assert_eq!((upstream.waiting(), in_flight(&upstream)), (0, vec![1]));
    drop(second);
    assert_eq!(in_flight(&upstream), [0]);
    drop(go(&upstream, 0));
}

#[tokio::test]
async fn a_reload_keeps_servers_and_whoever_is_with_them() {
    let before = Upstream::new(pool(&servers("a:1 b:1")), START);
    let (a, b) = (go(&before, 0), go(&before, 1));
    let mut bound = wait(&before, Choice::Bound(ServerId(1)));
    // `b` goes: who waited for it waits for any.
    let after = before.reloaded(pool(&servers("a:1")), START);
    assert!(Arc::ptr_eq(&before.servers()[0], &after.servers()[0]));
    assert_eq!((after.servers().len(), in_flight(&after)), (1, vec![1]));
    drop(b);
    assert_eq!(after.waiting(), 1);
    drop(a);
    assert_eq!(&*bound.lease().await.server().name, "a");
    // It comes back as somebody who is not known, beside one more.
    let again = after.reloaded(pool(&servers("a:1 b:1 c")), START);
    assert!(!Arc::ptr_eq(&before.servers()[1], &again.servers()[1]));
    assert_eq!(in_flight(&again), [0, 0, 0]);
    // A lower limit is of those who come.
    let (first, second) = (go(&again, 2), go(&again, 2));
    let limited = again.reloaded(pool(&servers("a:1 b:1 c:1")), START);
    assert!(!Arc::ptr_eq(&again.servers()[2], &limited.servers()[2]));
    drop((first, second, bound));
    assert_eq!(in_flight(&limited), [0, 0, 0]);
}

#[test]
fn errors_eject_and_time_brings_back() {
    let text = format!(
        "{}\nbreaker = {{ consecutive_errors = 3, eject = \"10s\", max_ejected = 0.5 }}",
        servers("a b")
    );
    let upstream = Upstream::new(pool(&text), START);
    let server = Arc::clone(upstream.server(ServerId(0)));
    let takers = |upstream: &Upstream| {
        upstream.shown().standing.takers.iter().map(|taker| taker.id.0).collect::<Vec<_>>()
    };
    for outcome in
        [Outcome::Closed, Outcome::Answered(200), Outcome::Answered(503), Outcome::TimedOut]
    {
        upstream.on_outcome(START, &server, outcome);
        assert_eq!(takers(&upstream), [0, 1]);
    }
    upstream.on_outcome(START, &server, Outcome::NotConnected);
    assert_eq!(takers(&upstream), [1]);
    // The last one stays, whatever it does.
    let other = Arc::clone(upstream.server(ServerId(1)));
    for _ in 0..10 {
        upstream.on_outcome(START, &other, Outcome::Closed);
    }
    assert_eq!(takers(&upstream), [1]);
    // A reload does not end it, and time does.
    let same = upstream.reloaded(pool(&format!("{text}\nbalance = \"first\"")), START);
    assert_eq!(takers(&same), [1]);
    same.turn(START + Duration::from_secs(9));
    assert_eq!(takers(&same), [1]);
    same.turn(START + Duration::from_secs(10));
    assert_eq!(takers(&same), [0, 1]);
    // What comes to one that is past changes nothing.
    upstream.turn(START + Duration::from_secs(10));
    upstream.on_outcome(START, &server, Outcome::Closed);
    assert_eq!(takers(&upstream), [1]);
    // One without a breaker ends it too.
    (0..3).for_each(|_| same.on_outcome(START + Duration::from_secs(20), &server, Outcome::Closed));
    assert_eq!(takers(&same), [1]);
    assert_eq!(takers(&same.reloaded(pool(&servers("a b")), START)), [0, 1]);
}

#[tokio::test]
async fn a_limit_that_is_ordered_holds_while_only_those_bound_to_it_pass() {
    let bound = Choice::Bound(ServerId(0));
    let order = |to| Event::Order { by: By::Command, to };
    let limit = |to| Event::Limit { by: By::Command, to: NonZeroU32::new(to) };
    for ordered_first in [true, false] {
        let upstream = Upstream::new(pool(&servers("a:1 b:1")), START);
        let events = match ordered_first {
            true => [limit(2), order(Administrative::Drain)],
            false => [order(Administrative::Drain), limit(2)],
        };
        events.into_iter().for_each(|event| upstream.on_event(START, ServerId(0), event));
        let go = |upstream: &Upstream| match upstream.ask(bound) {
            Asked::Go(lease) => lease,
            other => panic!("{other:?}"),
        };
        let _two = (go(&upstream), go(&upstream));
        assert!(matches!(upstream.ask(bound), Asked::Wait(_)));
    }
    // Out of service after a drain, nobody waits for it any more: whoever did is sent to another.
    let upstream = Upstream::new(pool(&servers("a:1 b:1")), START);
    upstream.on_event(START, ServerId(0), order(Administrative::Drain));
    let _one = match upstream.ask(bound) {
        Asked::Go(lease) => lease,
        other => panic!("{other:?}"),
    };
    let mut waiting = wait(&upstream, bound);
    upstream.on_event(START, ServerId(0), order(Administrative::Maint));
    assert_eq!(&*timeout(LONG, waiting.lease()).await.unwrap().server().name, "b");
}
