//! Who is answered when, over prefixes, threads and full sets. The clock is an argument.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::thread;

use proptest::prelude::*;

use super::*;

const LIMITS: RateLimits = RateLimits {
    answers_per_second: 10,
    errors_per_second: 2,
    ipv4_prefix: 24,
    ipv6_prefix: 56,
    slip: 2,
    slots: 1024,
    exempt: vec![],
};
const KEY: [u8; super::KEY] = *b"key of the tests";

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn judged(limiter: &RateLimiter, client: IpAddr, class: Class, now: Duration) -> Verdict {
    limiter.place(client).map_or(Verdict::Within, |place| limiter.judge(place, class, now))
}

/// What comes of `count` answers to each of these clients in turn, as letters: `.` within, `s`lipped,
/// `d`ropped.
fn told(limiter: &RateLimiter, clients: &str, class: Class, count: usize, now: Duration) -> String {
    let clients: Vec<IpAddr> = clients.split(' ').map(|text| text.parse().unwrap()).collect();
    let turns = clients.iter().cycle().take(count * clients.len());
    let letter = |client: &IpAddr| match judged(limiter, *client, class, now) {
        Verdict::Within => '.',
        Verdict::Slip => 's',
        Verdict::Drop => 'd',
    };
    turns.map(letter).collect()
}

fn answers(limiter: &RateLimiter, clients: &str, count: usize, at: u64) -> String {
    told(limiter, clients, Class::Answer, count, ms(at))
}

#[test]
fn a_quiet_prefix_has_a_seconds_worth_at_once_and_then_its_rate() {
    let limiter = RateLimiter::new(LIMITS, KEY);
    assert_eq!(answers(&limiter, "192.0.2.1", 12, 5000), "..........sd");
    // Those over the limit count as well.
    assert_eq!(answers(&limiter, "192.0.2.1", 2, 5100), "sd");
    assert_eq!(answers(&limiter, "192.0.2.1", 1, 5600), ".");
    // At its rate it is never limited.
    for turn in 0..100 {
        assert_eq!(answers(&limiter, "192.0.2.1", 1, 10_000 + 100 * turn), ".");
    }
}

#[test]
fn a_flood_that_stays_over_the_limit_gets_no_whole_answer() {
    let limiter = RateLimiter::new(LIMITS, KEY);
    let mut told = String::new();
    // Half as much again as is allowed, for a minute.
    for turn in 0..900 {
        told += &answers(&limiter, "192.0.2.1", 1, 1000 + 67 * turn);
    }
    let first = told.find('s').unwrap();
    assert!((10..=31).contains(&first), "{first}");
    assert_eq!(told[first..].matches('.').count(), 0, "{told}");
    // And it is free again when it has been quiet for two seconds at most, for a little after one.
    assert_eq!(answers(&limiter, "192.0.2.1", 1, 61_300 + 1100), ".");
    assert_eq!(answers(&limiter, "192.0.2.1", 10, 61_300 + 3000), "..........");
}

#[test]
fn every_slip_of_the_limited_is_sent() {
    let with = |slip| RateLimiter::new(RateLimits { slip, ..LIMITS }, KEY);
    let told = |slip| answers(&with(slip), "192.0.2.1", 20, 0)[10..].to_owned();
    assert_eq!(told(0), "dddddddddd");
    assert_eq!(told(1), "ssssssssss");
    assert_eq!(told(2), "sdsdsdsdsd");
    assert_eq!(told(3), "sddsddsdds");
    assert_eq!(told(10), "sddddddddd");
}

#[test]
fn a_prefix_is_one_client_and_its_neighbours_are_others() {
    let limiter = RateLimiter::new(LIMITS, KEY);
    let told = answers(&limiter, "192.0.2.1 192.0.2.77 192.0.2.254", 4, 0);
    assert_eq!(told, "..........sd");
    assert_eq!(answers(&limiter, "192.0.3.1", 10, 0), "..........");
    let told = answers(&limiter, "2001:db8:0:1::1 2001:db8:0:ff::2", 6, 0);
    assert_eq!(told, "..........sd");
    assert_eq!(answers(&limiter, "2001:db8:0:100::1", 10, 0), "..........");
    // An IPv6 prefix is no IPv4 one that begins with the same octets.
    assert_eq!(answers(&limiter, "c000:200::", 10, 0), "..........");

    let whole = RateLimits { ipv4_prefix: 32, ipv6_prefix: 128, ..LIMITS };
    let limiter = RateLimiter::new(whole, KEY);
    let told = answers(&limiter, "192.0.2.1 192.0.2.2 2001:db8::1 2001:db8::2", 10, 0);
    assert_eq!(told.matches('.').count(), 40, "{told}");
}

#[test]
fn errors_have_a_limit_of_their_own() {
    let limiter = RateLimiter::new(LIMITS, KEY);
    assert_eq!(told(&limiter, "192.0.2.1", Class::Error, 4, ms(0)), "..sd");
    assert_eq!(answers(&limiter, "192.0.2.1", 10, 0), "..........");
    assert_eq!(told(&limiter, "192.0.2.1", Class::Error, 1, ms(500)), "s");
}

#[test]
fn the_exempt_are_not_even_counted() {
    let exempt = vec!["192.0.2.0/25".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    let limiter = RateLimiter::new(RateLimits { exempt, ..LIMITS }, KEY);
    assert_eq!(answers(&limiter, "192.0.2.1 2001:db8:5::", 50, 0), ".".repeat(100));
    assert_eq!(answers(&limiter, "192.0.2.200", 11, 0), "..........s");
}

#[test]
fn a_full_set_keeps_every_limit_and_shares_its_loss() {
    let one_set = RateLimits { slots: WAYS, ..LIMITS };
    let limiter = RateLimiter::new(one_set.clone(), KEY);
    assert_eq!(limiter.octets(), WAYS * SLOT);
    // As many prefixes as there are slots know nothing of each other.
    for prefix in 0..WAYS {
        assert_eq!(answers(&limiter, &format!("10.0.{prefix}.1"), 11, 0), "..........s");
    }
    // One more than slots, and all of them over the limit: it takes over what the least of them has used.
    assert_eq!(answers(&limiter, "10.1.0.1", 1, 0), "s");
    // Two seconds later they are idle, and it is free.
    assert_eq!(answers(&limiter, "10.1.0.1", 10, 2500), "..........");

    // One slot is enough for any number of others that together keep the rate.
    let limiter = RateLimiter::new(one_set, KEY);
    for prefix in 0..WAYS - 1 {
        answers(&limiter, &format!("10.0.{prefix}.1"), 30, 0);
    }
    for turn in 0..200 {
        let told = answers(&limiter, &format!("10.1.{turn}.1"), 1, 100 * turn);
        assert_eq!(told, ".", "{turn}");
        (0..WAYS - 1).for_each(|prefix| {
            answers(&limiter, &format!("10.0.{prefix}.1"), 3, 100 * turn);
        });
    }
}

#[test]
fn nobody_can_tell_who_shares_a_set_without_the_key() {
    let client: IpAddr = [192, 0, 2, 1].into();
    let hash = |key: [u8; super::KEY]| RateLimiter::new(LIMITS, key).place(client);
    let hashes = [0, 1, 2, 3].map(|first| hash([first; super::KEY]));
    for (index, one) in hashes.iter().enumerate() {
        assert!(!hashes[index + 1..].contains(one));
    }
}

#[test]
fn prefixes_spread_over_the_whole_table() {
    let limits = RateLimits { answers_per_second: 1, slots: 4096, ..LIMITS };
    let limiter = RateLimiter::new(limits, KEY);
    for prefix in 0..2048_u32 {
        let client = Ipv4Addr::from_bits(0x0a00_0000 | prefix << 8).into();
        judged(&limiter, client, Class::Answer, ms(1));
    }
    let used = limiter.sets.iter().flat_map(|set| &set.0).filter(|slot| slot.load(Relaxed) != 0);
    // Sets of 8 at half their load: less than one prefix in twenty finds its own full.
    assert!(used.count() > 1945);
}

#[test]
fn a_limit_is_one_for_all_threads() {
    let limits = RateLimits { answers_per_second: 10_000, slip: 0, ..LIMITS };
    let limiter = RateLimiter::new(limits, KEY);
    let client = [192, 0, 2, 1].into();
    let within = |_: usize| {
        (0..20_000)
            .filter(|_| judged(&limiter, client, Class::Answer, ms(7)) == Verdict::Within)
            .count()
    };
    let total: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|index| scope.spawn(move || within(index))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(total, 10_000);
}

#[test]
fn threads_whose_clocks_differ_forgive_nothing() {
    let limiter = RateLimiter::new(LIMITS, KEY);
    assert_eq!(answers(&limiter, "192.0.2.1", 30, 10_000)[10..].matches('.').count(), 0);
    // One that was not run for five seconds still believes in the time before.
    assert_eq!(answers(&limiter, "192.0.2.1", 4, 5000).matches('.').count(), 0);
    assert_eq!(answers(&limiter, "192.0.2.1", 4, 10_001).matches('.').count(), 0);
}

#[test]
fn time_goes_round_its_ring_and_old_slots_are_idle() {
    let ring = 1 << TIME_BITS;
    let limiter = RateLimiter::new(LIMITS, KEY);
    let judge = |micros: u64| {
        judged(&limiter, [192, 0, 2, 1].into(), Class::Answer, Duration::from_micros(micros))
    };
    // Across the end of the ring.
    let told = (0..12).map(|_| judge(ring - 100)).filter(|told| *told == Verdict::Within).count();
    assert_eq!(told, 10);
    assert_ne!(judge(ring + 100), Verdict::Within);
    // Whoever was over the limit and came back after months.
    for later in [CEILING + 1, ring / 4, ring / 2, ring / 2 + 1, ring - LAG - 2 * CEILING] {
        let limiter = RateLimiter::new(LIMITS, KEY);
        let at = |micros| {
            judged(&limiter, [192, 0, 2, 1].into(), Class::Answer, Duration::from_micros(micros))
        };
        assert!((0..40).any(|_| at(5) == Verdict::Drop));
        assert_ne!(at(5), Verdict::Within);
        assert_eq!(at(5 + later), Verdict::Within, "{later}");
    }
}

/// One prefix by itself, with numbers that never wrap.
#[derive(Default)]
struct Model {
    paid_at: u64,
    answered: Vec<u64>,
}

proptest! {
    /// Few prefixes in many sets are each limited as if they were alone; many in one set may be limited
    /// sooner, and are never answered more than their rate and a second's worth.
    #[test]
    fn limits_hold_whatever_comes(
        events in prop::collection::vec((0..40_000_u64, 0..24_u8), 1..600),
        crowded in any::<bool>(),
        rate in 1..50_u32,
    ) {
        let slots = if crowded { WAYS } else { 1 << 16 };
        let limits = RateLimits { answers_per_second: rate, slots, ..LIMITS };
        let limiter = RateLimiter::new(limits, KEY);
        let cost = CREDIT / u64::from(rate);
        let mut now = 0;
        let mut models: HashMap<u8, Model> = HashMap::new();
        for (later, prefix) in events {
            now += later;
            let client = Ipv4Addr::new(10, 0, prefix, 1).into();
            let verdict = judged(&limiter, client, Class::Answer, Duration::from_micros(now));
            let model = models.entry(prefix).or_default();
            let before = model.paid_at.saturating_sub(now);
            let is_within = before + cost <= CREDIT;
            model.paid_at = now + (before + cost).min(CEILING);
            if verdict == Verdict::Within {
                model.answered.push(now);
            }
            if !crowded {
                prop_assert_eq!(verdict == Verdict::Within, is_within);
            }
        }
        for model in models.values() {
            for (first, &from) in model.answered.iter().enumerate() {
                for (count, &until) in model.answered[first..].iter().enumerate() {
                    let most = (until - from + CREDIT) / cost + 1;
                    prop_assert!(count as u64 <= most, "{count} after {} us", until - from);
                }
            }
        }
    }
}
