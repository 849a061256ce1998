//! Tables of what is sent again, the waits, and the budget against its definition.

use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;

const ONE: NonZeroU32 = NonZeroU32::MIN;

fn plenty() -> Budget {
    Budget::new(20, 1000, ONE)
}

fn first() -> Now {
    Now { now: Duration::ZERO, retries: 0, has_other: true, dice: 0 }
}

/// What HAProxy calls `all-retryable-errors`.
const ALL: &str = "conn-failure empty-response junk-response response-timeout 500 502 503 504";

/// In HAProxy's words.
fn causes(words: &str) -> RetryOn {
    let cause = |word| match word {
        "none" => None,
        "conn-failure" => Some(Cause::NotConnected),
        "empty-response" => Some(Cause::EmptyResponse),
        "junk-response" => Some(Cause::JunkResponse),
        "response-timeout" => Some(Cause::ResponseTimeout),
        status => Some(Cause::Status(status.parse().unwrap())),
    };
    words.split(' ').filter_map(cause).collect()
}

/// A request (`GET`, `POST`, …, then `kept` or `gone` of its body, then `unsent` or `idle` of the connection) and what
/// came of it, under these words.
fn check(on: &str, request: &str, cause: Cause, expected: Verdict) {
    let mut words = request.split(' ');
    let method = Method::of(words.next().unwrap().as_bytes());
    let (mut written, mut body) = (Written::OnNew, Body::None);
    for word in words {
        match word {
            "kept" => body = Body::Kept,
            "gone" => body = Body::Gone,
            "unsent" => written = Written::Nothing,
            "idle" => written = Written::OnIdle,
            other => panic!("{other}"),
        }
    }
    let policy = Policy { on: causes(on), ..Policy::default() };
    let verdict = policy.judge(first(), Sent { written, method, body }, cause, &mut plenty());
    assert_eq!(verdict, expected, "{on}: {request}: {cause:?}");
}

const AGAIN: Verdict = Verdict::Again { wait: Duration::ZERO };

fn no(why: Why) -> Verdict {
    Verdict::No(why)
}

#[test]
fn what_was_not_sent_is_sent_whatever_it_is() {
    for request in ["GET unsent", "POST unsent", "POST kept unsent", "BREW unsent"] {
        check("conn-failure", request, Cause::NotConnected, AGAIN);
        // However it is called that it was not sent.
        check("conn-failure", request, Cause::EmptyResponse, AGAIN);
        check("none", request, Cause::NotConnected, no(Why::NotWorthIt));
    }
    check("conn-failure", "POST gone unsent", Cause::NotConnected, no(Why::BodyGone));
}

#[test]
fn what_was_sent_is_sent_again_only_if_that_is_safe() {
    let all = ALL;
    for cause in
        [Cause::EmptyResponse, Cause::JunkResponse, Cause::ResponseTimeout, Cause::Status(503)]
    {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT kept", "DELETE", "GET idle"] {
            check(all, method, cause, AGAIN);
        }
        for method in ["POST", "POST kept", "PATCH", "CONNECT", "get", "POST idle"] {
            check(all, method, cause, no(Why::Unsafe));
        }
        check(all, "PUT gone", cause, no(Why::BodyGone));
        check("conn-failure", "GET", cause, no(Why::NotWorthIt));
    }
    // The server says that it has done nothing: REFUSED_STREAM and GOAWAY are of the connection, whatever was written.
    for request in ["GET", "POST kept", "POST kept idle", "POST"] {
        check("conn-failure", request, Cause::Unprocessed, AGAIN);
        check("empty-response", request, Cause::Unprocessed, no(Why::NotWorthIt));
    }
    check("conn-failure", "POST gone", Cause::Unprocessed, no(Why::BodyGone));
    check("421 425", "POST kept", Cause::Status(421), AGAIN);
    check("421 425", "POST", Cause::Status(425), AGAIN);
    check("421 425", "POST gone", Cause::Status(425), no(Why::BodyGone));
    check("429", "POST", Cause::Status(429), no(Why::Unsafe));
    check(all, "GET", Cause::Status(501), no(Why::NotWorthIt));
    check(all, "GET", Cause::Status(200), no(Why::NotWorthIt));
}

#[test]
fn an_idle_connection_that_was_closed_is_a_failure_to_connect() {
    check("conn-failure", "GET idle", Cause::EmptyResponse, AGAIN);
    check("conn-failure", "GET", Cause::EmptyResponse, no(Why::NotWorthIt));
    check("conn-failure", "GET idle", Cause::JunkResponse, no(Why::NotWorthIt));
    // It may have been read before the connection was closed.
    check("conn-failure", "POST idle", Cause::EmptyResponse, no(Why::NotWorthIt));
    check("conn-failure", "GET gone idle", Cause::EmptyResponse, no(Why::BodyGone));
}

/// The verdict on a GET without an answer, or without a connection.
fn judge(now: Now, cause: Cause, budget: &mut Budget) -> Verdict {
    let policy = Policy { on: causes(ALL), ..Policy::default() };
    let sent = Sent { written: Written::OnNew, method: Method::Idempotent, body: Body::None };
    policy.judge(now, sent, cause, budget)
}

#[test]
fn waits_grow_and_are_full_jitter() {
    let wait = |retries, dice, has_other, cause| {
        let policy = Policy { attempts: u8::MAX, ..Policy::default() };
        let policy = Policy { on: causes(ALL), ..policy };
        let sent = Sent { written: Written::OnNew, method: Method::Idempotent, body: Body::None };
        let now = Now { now: Duration::ZERO, retries, has_other, dice };
        match policy.judge(now, sent, cause, &mut plenty()) {
            Verdict::Again { wait } => wait.as_micros(),
            Verdict::No(why) => panic!("{why:?}"),
        }
    };
    let after = |retries, dice| wait(retries, dice, true, Cause::EmptyResponse);
    let (half, whole) = (1 << 63, u64::MAX);
    assert_eq!([0, half, whole].map(|dice| after(0, dice)), [0, 12_500, 24_999]);
    assert_eq!([0, half, whole].map(|dice| after(1, dice)), [0, 37_500, 74_999]);
    assert_eq!([0, half, whole].map(|dice| after(2, dice)), [0, 87_500, 174_999]);
    // Ten times the back-off is the most.
    assert_eq!([3, 31, 254].map(|retries| after(retries, half)), [125_000; 3]);
    // Without a connection: another server at once, the same after a while.
    assert_eq!(wait(0, whole, true, Cause::NotConnected), 0);
    assert_eq!(wait(0, half, false, Cause::NotConnected), 1_012_500);
    assert_eq!(wait(0, half, false, Cause::EmptyResponse), 12_500);
    // It is there, and takes another.
    assert_eq!(wait(0, half, false, Cause::Unprocessed), 12_500);
}

#[test]
fn it_is_tried_as_often_as_it_may() {
    let after = |retries| judge(Now { retries, ..first() }, Cause::NotConnected, &mut plenty());
    assert_eq!([0, 2, 3, 255].map(after), [AGAIN, AGAIN, no(Why::Attempts), no(Why::Attempts)]);
}

#[test]
fn what_is_not_retried_costs_nothing() {
    let mut budget = Budget::new(0, 1, NonZeroU32::new(10).unwrap());
    for _ in 0..100 {
        assert_eq!(judge(first(), Cause::Status(200), &mut budget), no(Why::NotWorthIt));
        assert_eq!(
            judge(Now { retries: 3, ..first() }, Cause::NotConnected, &mut budget),
            no(Why::Attempts)
        );
    }
    assert_eq!(judge(first(), Cause::NotConnected, &mut budget), AGAIN);
    assert_eq!(judge(first(), Cause::NotConnected, &mut budget), no(Why::Budget));
}

#[test]
fn a_pool_that_fails_is_sent_a_fifth_more() {
    // A thousand requests a second for a minute, all of which fail at once.
    let mut budget = Budget::new(20, 10, ONE);
    let mut retries = 0;
    for number in 0..60_000u64 {
        let now = Duration::from_millis(number);
        budget.deposit(now);
        for _ in 0..3 {
            retries += u64::from(budget.withdraw(now));
        }
    }
    // A fifth of all, and ten a second beside.
    assert_eq!(retries, 12_000 + 600);
}

#[test]
fn some_are_free_and_come_back() {
    let mut budget = Budget::new(20, 10, NonZeroU32::new(2).unwrap());
    let mut all =
        |second| (0..1000).filter(|_| budget.withdraw(Duration::from_secs(second))).count();
    // Half of a hundred for ten seconds, for two threads.
    assert_eq!(all(5), 50);
    assert_eq!(all(14), 0);
    assert_eq!(all(15), 50);
    assert_eq!(all(1000), 50);
    // Whatever second it was, it is forgotten.
    assert_eq!(all(2009), 50);
    // A clock that another thread read before is no harm.
    assert_eq!(all(2008), 0);
}

proptest! {
    /// Against the definition: what was put down and taken within ten seconds, looked through each time.
    #[test]
    fn a_retry_is_paid_for(
        percent in 0..=200u16, free in 0..3u32, events in proptest::collection::vec((any::<bool>(), 0..1500u64), 0..300),
    ) {
        let mut budget = Budget::new(percent, free, ONE);
        let (mut now, mut past) = (Duration::ZERO, vec![]);
        for (is_request, wait) in events {
            now += Duration::from_millis(wait);
            let put = i64::from(percent) * 10;
            if is_request {
                budget.deposit(now);
                past.push((now.as_secs(), put));
                continue;
            }
            let recent = past.iter().filter(|(second, _)| *second + 10 > now.as_secs());
            let left = i64::from(free) * 10_000 + recent.map(|(_, amount)| amount).sum::<i64>();
            prop_assert_eq!(budget.withdraw(now), left >= 1000);
            if left >= 1000 {
                past.push((now.as_secs(), -1000));
            }
        }
    }
}
