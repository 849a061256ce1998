//! What a name server asks of a probe: which targets to look at, and how. The answer to `GET /v1/assignment`.
//!
//! A probe looks at the union of what its name servers ask for. What one of them asks in words of some later version
//! is told to that one as not looked at, and the rest is looked at all the same.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::check::Check;
use crate::report::MOST_TARGETS;
use crate::target::{Address, Target, TargetId};

/// Octets of an assignment.
pub const LARGEST: usize = 8 << 20;
/// Ways of looking in one assignment.
pub const MOST_CHECKS: usize = 4096;

/// As it is sent: each way of looking stands once, because thousands of targets share it.
#[derive(Serialize)]
struct Sent<'a> {
    /// Of the world that it is made of.
    epoch: &'a str,
    checks: Vec<&'a Check>,
    targets: Vec<SentTarget<'a>>,
}

#[derive(Serialize)]
struct SentTarget<'a> {
    id: TargetId,
    address: &'a Address,
    port: u16,
    host: &'a str,
    /// Index into `checks`.
    check: usize,
}

/// As it is received: what cannot be understood costs one target, not all.
#[derive(Deserialize)]
struct Received<'a> {
    epoch: String,
    #[serde(borrow)]
    checks: Vec<&'a RawValue>,
    #[serde(borrow)]
    targets: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct ReceivedId {
    id: TargetId,
}

#[derive(Deserialize)]
struct ReceivedTarget {
    address: Address,
    port: u16,
    host: String,
    check: usize,
}

/// As a probe has it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Assignment {
    pub epoch: String,
    /// In the order of their ids, each once.
    pub targets: Vec<(TargetId, Result<Target, Unlookable>)>,
}

/// Why a probe does not look at a target.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Unlookable(String);

/// Why an assignment is not read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unreadable {
    #[error("{0} octets, expected at most {LARGEST}")]
    TooLarge(usize),
    #[error("{0} targets, expected at most {MOST_TARGETS}")]
    TooManyTargets(usize),
    #[error("{0} checks, expected at most {MOST_CHECKS}")]
    TooManyChecks(usize),
    #[error("not an assignment: {0}")]
    Malformed(String),
}

/// The octets of an assignment of these targets.
pub fn write<'t>(epoch: &str, targets: impl IntoIterator<Item = &'t Target>) -> Vec<u8> {
    let (mut checks, mut indices) = (Vec::new(), HashMap::new());
    let targets = targets.into_iter().map(|target| {
        let index = indices.entry(&target.check).or_insert_with(|| {
            checks.push(&target.check);
            checks.len() - 1
        });
        let Target { address, port, host, check: _ } = target;
        SentTarget { id: target.id(), address, port: *port, host, check: *index }
    });
    let targets = targets.collect();
    serde_json::to_vec(&Sent { epoch, checks, targets })
        .expect("numbers, strings and lists are JSON")
}

impl Assignment {
    /// Reads an assignment; what it takes is bounded by its octets, which are bounded first.
    pub fn read(octets: &[u8]) -> Result<Assignment, Unreadable> {
        if octets.len() > LARGEST {
            return Err(Unreadable::TooLarge(octets.len()));
        }
        let malformed = |error: serde_json::Error| Unreadable::Malformed(error.to_string());
        let received: Received<'_> = serde_json::from_slice(octets).map_err(malformed)?;
        let Received { epoch, checks, targets } = received;
        if targets.len() > MOST_TARGETS {
            return Err(Unreadable::TooManyTargets(targets.len()));
        }
        if checks.len() > MOST_CHECKS {
            return Err(Unreadable::TooManyChecks(checks.len()));
        }
        let unknown =
            |error: serde_json::Error| Unlookable(format!("this probe does not know it: {error}"));
        let checks: Vec<Result<Check, Unlookable>> =
            checks.iter().map(|check| serde_json::from_str(check.get()).map_err(unknown)).collect();
        let mut read = BTreeMap::new();
        for octets in targets {
            let ReceivedId { id } = serde_json::from_str(octets.get()).map_err(malformed)?;
            let target = serde_json::from_str(octets.get())
                .map_err(unknown)
                .and_then(|target| sound(id, target, &checks));
            read.insert(id, target);
        }
        Ok(Assignment { epoch, targets: read.into_iter().collect() })
    }
}

/// The target, if it can be looked at and is what its id says.
fn sound(
    id: TargetId,
    received: ReceivedTarget,
    checks: &[Result<Check, Unlookable>],
) -> Result<Target, Unlookable> {
    let ReceivedTarget { address, port, host, check: index } = received;
    let missing = || Err(Unlookable(format!("there is no check {index}")));
    let check = checks.get(index).cloned().unwrap_or_else(missing)?;
    let target = Target { address, port, host, check };
    if let Some(fault) = target.faults().first() {
        return Err(Unlookable(fault.to_string()));
    }
    // A key that this version does not know would be left out of what is looked at.
    if target.id() != id {
        return Err(Unlookable("it asks for more than this probe knows".to_owned()));
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TARGET: &str = r#"{"address":"192.0.2.1","port":443,"host":"www.example.com","check":
        {"kind":"https","path":"/","interval_ms":5000,"timeout_ms":2000,"rise":2,"fall":3,"ok":2}}"#;

    fn targets() -> Vec<Target> {
        let target: Target = serde_json::from_str(TARGET).unwrap();
        let mut second = target.clone();
        second.port = 8443;
        let mut third = target.clone();
        third.check.kind = crate::check::Kind::Icmp;
        vec![target, second, third]
    }

    #[test]
    fn what_is_written_is_read() {
        let targets = targets();
        let octets = write("e1", &targets);
        let assignment = Assignment::read(&octets).unwrap();
        let mut expected: Vec<_> =
            targets.into_iter().map(|target| (target.id(), Ok(target))).collect();
        expected.sort_by_key(|(id, _)| *id);
        assert_eq!(assignment, Assignment { epoch: "e1".into(), targets: expected });
        let text = String::from_utf8(octets).unwrap();
        assert_eq!(text.matches("kind").count(), 2, "{text}");
    }

    /// How many are looked at, and why the others are not.
    fn check(change: (&str, &str), looked_at: usize, why: &str) {
        let text = String::from_utf8(write("e1", &targets())).unwrap();
        let changed = text.replacen(change.0, change.1, 1);
        assert_ne!(text, changed);
        let assignment = Assignment::read(changed.as_bytes()).unwrap();
        assert_eq!(assignment.targets.len(), 3);
        let told: Vec<String> = assignment
            .targets
            .iter()
            .filter_map(|(_, target)| target.as_ref().err().map(Unlookable::to_string))
            .collect();
        assert_eq!(3 - told.len(), looked_at, "{told:?}");
        assert!(told.iter().all(|told| told.contains(why)), "{told:?}");
    }

    #[test]
    fn what_is_not_understood_costs_itself_alone() {
        check(("icmp", "quic"), 2, "does not know it");
        check((r#""path""#, r#""body":"a","path""#), 3, "");
        check((r#""port":8443"#, r#""port":8444"#), 2, "more than this probe knows");
        check((r#""port":8443"#, r#""port":0"#), 2, "no port");
        check((r#""port":8443"#, r#""port":"x""#), 2, "does not know it");
        check((r#""check":1"#, r#""check":9"#), 2, "no check 9");
        check((r#""interval_ms":5000"#, r#""interval_ms":1"#), 1, "interval");
    }

    #[test]
    fn assignments_are_bounded() {
        let of = |checks: usize, targets: usize| {
            let id = |number: usize| format!(r#"{{"id":"{number:032x}"}}"#);
            let targets: Vec<String> = (0..targets).map(id).collect();
            let checks = vec!["0"; checks].join(",");
            let text =
                format!(r#"{{"epoch":"e","checks":[{checks}],"targets":[{}]}}"#, targets.join(","));
            Assignment::read(text.as_bytes()).map(|assignment| assignment.targets.len())
        };
        assert_eq!(of(MOST_CHECKS, MOST_TARGETS), Ok(MOST_TARGETS));
        assert_eq!(of(0, MOST_TARGETS + 1), Err(Unreadable::TooManyTargets(MOST_TARGETS + 1)));
        assert_eq!(of(MOST_CHECKS + 1, 0), Err(Unreadable::TooManyChecks(MOST_CHECKS + 1)));
        let blank = vec![b' '; LARGEST + 1];
        assert_eq!(Assignment::read(&blank), Err(Unreadable::TooLarge(LARGEST + 1)));
        assert!(matches!(Assignment::read(&blank[1..]), Err(Unreadable::Malformed(_))));
        assert!(matches!(
            Assignment::read(br#"{"epoch":"e","checks":[],"targets":[{"id":"x"}]}"#),
            Err(Unreadable::Malformed(_))
        ));
    }

    proptest! {
        #[test]
        fn no_octets_are_a_panic(octets in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = Assignment::read(&octets);
        }

        #[test]
        fn no_slip_is_a_panic(at in 0..600_usize, octet: u8) {
            let mut whole = write("e1", &targets());
            let at = at % whole.len();
            whole[at] = octet;
            let _ = Assignment::read(&whole);
        }
    }
}
