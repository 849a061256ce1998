//! From the text of a file back to what it tells, as far as it is whole; and to what was believed at a moment.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::diff::{Diff, Group, Moved};
use super::{Change, Head, LastKnownLine, Line, Past, State, VERSION};

/// What a file tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Scanned {
    pub groups: Vec<Group>,
    /// Octets up to the end of the last group that is whole.
    pub good: usize,
    pub end: End,
}

/// How the text ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    Clean,
    /// The power went, or it is being written: so many octets are of no whole group.
    Torn(usize),
    /// The line of this number cannot be read, and nothing after it is believed.
    Damaged(usize, String),
}

/// The moment that somebody asks about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sought {
    pub at: Timestamp,
    /// How epoch and digest begin of the board that is meant, if that is known: several may be of one moment, while a
    /// clock stands behind the last order.
    pub exact: Option<(String, String)>,
}

/// What a history has of a moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    Then(Box<Past>),
    /// It begins later.
    Before(Timestamp),
    Nothing,
}

pub fn scan(text: &[u8]) -> Scanned {
    let mut scanned = Scanned { groups: vec![], good: 0, end: End::Clean };
    let (mut open, mut number, mut offset) = (None::<Group>, 0, 0);
    for line in text.split_inclusive(|octet| *octet == b'\n') {
        number += 1;
        offset += line.len();
        let Some(line) = line.strip_suffix(b"\n") else { break };
        let taken = serde_json::from_slice(line)
            .map_err(|error| error.to_string())
            .and_then(|line| take(&mut open, line, scanned.groups.is_empty()));
        if let Err(why) = taken {
            scanned.end = End::Damaged(number, why);
            return scanned;
        }
        if let Some(group) = open.take_if(|group| group.diff.lines() == group.head.lines) {
            scanned.groups.push(group);
            scanned.good = offset;
        }
    }
    if scanned.good < text.len() {
        scanned.end = End::Torn(text.len() - scanned.good);
    }
    scanned
}

fn take(open: &mut Option<Group>, line: Line, is_first: bool) -> Result<(), String> {
    let is_open = open.is_some();
    match (line, open.as_mut()) {
        (Line::Whole(head) | Line::Board(head), _) if head.v != VERSION => {
            Err(format!("found version {}, expected {VERSION}", head.v))
        }
        (Line::Board(_), None) if is_first => Err("a file begins with all that is believed".into()),
        (Line::Whole(head), None) => {
            *open = Some(Group { head, is_whole: true, diff: Diff::default() });
            Ok(())
        }
        (Line::Board(head), None) => {
            *open = Some(Group { head, is_whole: false, diff: Diff::default() });
            Ok(())
        }
        (Line::State(State { service, site, is }), Some(group)) if group.is_whole => {
            let moved = Moved { from: None, to: Some(is) };
            once(group.diff.moved.insert((service, site), moved))
        }
        (Line::Change(change), Some(group)) if !group.is_whole => {
            let Change { service, site, from, to, .. } = *change;
            once(group.diff.moved.insert((service, site), Moved { from, to }))
        }
        (Line::LastKnown(LastKnownLine { service, sites }), Some(group)) => {
            once(group.diff.last_known.insert(service, sites.into_iter().collect::<BTreeSet<_>>()))
        }
        _ if is_open => Err("lines of a board are missing before it".into()),
        _ => Err("it belongs to no board".into()),
    }
}

fn once<T>(before: Option<T>) -> Result<(), String> {
    before.map_or(Ok(()), |_| Err("it says the same twice".into()))
}

/// What was believed at a moment, by groups that begin with a whole one; `None` if they begin later, or if a certain
/// board is meant that is not among them.
pub fn found_in(groups: &[Group], sought: &Sought) -> Option<Past> {
    let is_before = |head: &Head| head.at <= sought.at;
    let is_meant = |head: &Head| {
        sought.exact.as_ref().is_none_or(|(epoch, digest)| {
            head.epoch.starts_with(&**epoch) && head.digest.starts_with(&**digest)
        })
    };
    let last = groups.iter().rposition(|group| is_before(&group.head) && is_meant(&group.head))?;
    let mut groups = groups[..=last].iter();
    let mut past = Past::begin(groups.next()?);
    groups.for_each(|group| past.apply(group));
    Some(past)
}
