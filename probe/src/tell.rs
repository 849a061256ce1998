//! What was seen, for people and for their tools.

use common::clock;
use common::report::Phases;
use common::seen::{Failure, Seen};
use serde::Serialize;

#[derive(Serialize)]
struct Told<'s> {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'s str>,
    phases_ms: Phases,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_days: Option<i64>,
}

/// One JSON object and the end of its line.
pub fn json(seen: &Seen) -> String {
    let failure = seen.outcome.as_ref().err();
    let told = Told {
        state: state(seen),
        reason: failure.map(|failure| failure.reason.as_str()),
        detail: failure.map(|failure| &*failure.detail),
        phases_ms: seen.phases,
        cert_days: seen.cert_days(now()),
    };
    serde_json::to_string(&told).expect("numbers and strings are JSON") + "\n"
}

/// `up`, or `down` and why; then where the time went, and for how long the certificate is good.
pub fn text(seen: &Seen) -> String {
    let mut text = state(seen).to_owned();
    if let Err(Failure { reason, detail }) = &seen.outcome {
        text += &format!(" ({reason}): {detail}");
    }
    text.push('\n');
    let Phases { resolve, connect, tls, first_byte } = seen.phases;
    for (phase, took) in
        [("resolve", resolve), ("connect", connect), ("TLS", tls), ("first octet", first_byte)]
    {
        if let Some(took) = took {
            text += &format!("  {phase:<12} {took} ms\n");
        }
    }
    match seen.cert_days(now()) {
        Some(days) if days >= 0 => text += &format!("  certificate  {days} days left\n"),
        Some(days) => text += &format!("  certificate  ended {} days ago\n", -days),
        None => {}
    }
    text
}

fn state(seen: &Seen) -> &'static str {
    if seen.outcome.is_ok() { "up" } else { "down" }
}

fn now() -> i64 {
    i64::try_from(clock::unix_seconds()).unwrap_or(i64::MAX)
}
