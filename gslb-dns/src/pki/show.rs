//! What a CA has issued, for people and for programs. Pure.

use std::fmt::Write as _;

use jiff::{Timestamp, Unit};
use serde_json::{Value, json};

use super::index::{Index, Issued};

/// Days before its end at which a certificate that nobody renews is alarming.
const SOON: i64 = 7;

/// A line each, what ends first at the top.
pub fn text(index: &Index, now: Timestamp) -> String {
    let Index { cluster, ca_until, list, .. } = index;
    let mut text = format!(
        "cluster {cluster}, CA until {ca_until}, revocation list {} until {}\n",
        list.number, list.until
    );
    for issued in in_order(index) {
        let Issued { serial, principal, until, .. } = issued;
        let state = state(issued, now);
        let _ = write!(text, "{:<8} {until}  {serial}  {principal}", state.word());
        let _ = match (&state, &issued.revoked) {
            (State::Soon(days), _) => write!(text, "  ({days} days left)"),
            (_, Some(revoked)) => write!(text, "  ({}: {})", revoked.at, revoked.why),
            _ => Ok(()),
        };
        text.push('\n');
    }
    text
}

/// One object.
pub fn json(index: &Index, now: Timestamp) -> String {
    let issued: Vec<Value> = in_order(index)
        .map(|issued| {
            let mut object = json!(issued);
            object["state"] = state(issued, now).word().into();
            object
        })
        .collect();
    let Index { cluster, ca, ca_until, list, .. } = index;
    let object = json!({
        "cluster": cluster, "ca": ca, "ca_until": ca_until,
        "list": { "number": list.number, "until": list.until }, "issued": issued,
    });
    format!("{object}\n")
}

fn in_order(index: &Index) -> impl Iterator<Item = &Issued> {
    let mut issued: Vec<&Issued> = index.issued.iter().collect();
    issued.sort_by(|one, other| {
        (one.until, &one.principal, one.serial).cmp(&(other.until, &other.principal, other.serial))
    });
    issued.into_iter()
}

enum State {
    Good,
    Soon(i64),
    Expired,
    Revoked,
}

fn state(issued: &Issued, now: Timestamp) -> State {
    let left = now.until((Unit::Hour, issued.until)).map_or(0, |left| left.get_hours());
    let days = i64::from(left) / 24;
    match () {
        () if issued.revoked.is_some() => State::Revoked,
        () if issued.until < now => State::Expired,
        () if days < SOON => State::Soon(days),
        () => State::Good,
    }
}

impl State {
    fn word(&self) -> &'static str {
        match self {
            State::Good => "good",
            State::Soon(_) => "soon",
            State::Expired => "expired",
            State::Revoked => "revoked",
        }
    }
}
