//! What changed, as people and their tools ask for it: `/v1/history` and `gslb-dns history`.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::IpAddr;

use common::duration;
use jiff::Timestamp;
use serde::Serialize;

use super::diff::{Group, Moved};
use super::{Belief, Cause, Change, Head, Kept, Line};
use crate::health::board::{Duty, Health, Lost};
use crate::health::overrides::{Glob, NoMatch};
use crate::world::World;

/// Entries of one listing, the newest: more are counted and not told.
pub const MOST_TOLD: usize = 1000;
/// Columns for names and for what changed; what is longer pushes the rest of its line.
const WIDEST: usize = 40;

/// Which changes somebody wants to see.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    service: Option<Glob>,
    site: Option<Glob>,
    since: Option<Timestamp>,
    /// Also each step of a ramp or a slow drain.
    steps: bool,
}

/// The same as it was typed.
#[derive(Clone, Debug, Default)]
pub struct Words {
    pub service: Option<String>,
    pub site: Option<String>,
    /// An instant, or a time before now.
    pub since: Option<String>,
    pub steps: bool,
}

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "\"{0}\" is neither an instant, such as 2026-11-21T09:30:00Z, nor a time before now, such as 90m or 12h"
)]
pub struct AskedError(String);

#[derive(Clone, Debug, Default, Serialize)]
pub struct Listing {
    /// From when on everything is kept; `None` if nothing is.
    pub begins: Option<Timestamp>,
    /// Earlier ones that were asked for too.
    pub left_off: usize,
    /// Steps of ramps and drains, where they were not asked for.
    pub steps: usize,
    /// What of it could not be read.
    pub unreadable: Vec<String>,
    /// The newest last: changes, and boards with which a server began or took another world.
    pub entries: VecDeque<Line>,
    #[serde(skip)]
    asked: Asked,
    /// Whether a site that was asked for is told of anywhere in it, of whatever service.
    #[serde(skip)]
    has_site: bool,
    /// The same of a service.
    #[serde(skip)]
    has_service: bool,
    /// The last that was heard, so that nothing is told twice.
    #[serde(skip)]
    serial: Option<u64>,
}

impl Asked {
    pub fn read(words: &Words, now: Timestamp) -> Result<Asked, AskedError> {
        let instant = |text: &String| {
            let refused = || AskedError(text.clone());
            text.parse().or_else(|_| {
                let ago = duration::parse(text).map_err(|_| refused())?;
                now.checked_sub(ago).map_err(|_| refused())
            })
        };
        let glob = |pattern: &String| Glob::new(pattern.trim_end_matches('.'));
        Ok(Asked {
            service: words.service.as_ref().map(glob),
            site: words.site.as_ref().map(glob),
            since: words.since.as_ref().map(instant).transpose()?,
            steps: words.steps,
        })
    }

    fn is_recent(&self, at: Timestamp) -> bool {
        self.since.is_none_or(|since| since <= at)
    }

    fn is_about(&self, service: &str, site: &str) -> bool {
        self.is_about_service(service) && self.is_about_site(site)
    }

    fn is_about_service(&self, service: &str) -> bool {
        self.service.as_ref().is_none_or(|glob| glob.matches(service))
    }

    fn is_about_site(&self, site: &str) -> bool {
        self.site.as_ref().is_none_or(|glob| glob.matches(site))
    }
}

impl Listing {
    pub fn new(asked: Asked) -> Listing {
        Listing { asked, ..Listing::default() }
    }

    /// Whether nothing is wanted of what is kept from `begins` to `next`.
    pub fn passes_over(&mut self, begins: Timestamp, next: Timestamp) -> bool {
        let is_before = self.asked.since.is_some_and(|since| next < since);
        if is_before {
            self.begins.get_or_insert(begins);
        }
        is_before
    }

    /// The next that is kept, in the order in which it was kept.
    pub fn hear(&mut self, group: Group) {
        let Group { head, is_whole, diff } = group;
        if self.serial.is_some_and(|heard| head.serial <= heard) {
            return;
        }
        self.serial = Some(head.serial);
        self.begins.get_or_insert(head.at);
        if !self.asked.is_recent(head.at) {
            return;
        }
        if matches!(head.cause, Cause::Start | Cause::Reload) {
            self.tell(Line::Board(head.clone()));
        }
        self.has_site |= diff.moved.keys().any(|(_, site)| self.asked.is_about_site(site));
        self.has_service |=
            diff.moved.keys().any(|(service, _)| self.asked.is_about_service(service));
        if is_whole {
            return;
        }
        for ((service, site), Moved { from, to }) in diff.moved {
            if !self.asked.is_about(&service, &site) {
                continue;
            }
            let change = Change::of(&head, &service, &site, from, to);
            if change.is_step() && !self.asked.steps {
                self.steps += 1;
            } else {
                self.tell(Line::Change(Box::new(change)));
            }
        }
    }

    /// Refuses a site, or a service, that neither this world has nor what was asked of history. One that was taken out of the
    /// world is told of.
    pub fn fits(&self, world: &World) -> Result<(), NoMatch> {
        if let Some(glob) = self.asked.site.as_ref().filter(|_| !self.has_site) {
            glob.is_of_some_site(world)?;
        }
        if let Some(glob) = self.asked.service.as_ref().filter(|_| !self.has_service) {
            glob.is_of_some_service(world)?;
        }
        Ok(())
    }

    fn tell(&mut self, line: Line) {
        if self.entries.len() == MOST_TOLD {
            self.entries.pop_front();
            self.left_off += 1;
        }
        self.entries.push_back(line);
    }

    /// A line for each change; services for which a site changed alike in one second share one.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for why in &self.unreadable {
            let _ = writeln!(text, "UNREADABLE  {why}");
        }
        let Some(begins) = self.begins else {
            text.push_str("no history is kept yet\n");
            return text;
        };
        let _ = writeln!(text, "kept since {begins:.0}");
        if self.left_off > 0 {
            let count = self.left_off;
            let _ = writeln!(
                text,
                "{count} earlier changes are not shown; narrow it by --since, --site or --service"
            );
        }
        let rows = self.rows();
        let width = |of: fn(&Row) -> &str| {
            let widths = rows.iter().map(|row| of(row).chars().count());
            widths.max().unwrap_or(0).min(WIDEST)
        };
        let (sites, services) = (width(|row| &row.site), width(|row| &row.service));
        let whats = width(|row| &row.what);
        for Row { at, site, service, what, why, .. } in &rows {
            let line =
                format!("{at:.0}  {site:<sites$}  {service:<services$}  {what:<whats$}  {why}");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        if rows.is_empty() {
            text.push_str("nothing of what was asked for has changed\n");
        }
        if self.steps > 0 {
            let _ =
                writeln!(text, "{} steps between are not shown; --steps shows them", self.steps);
        }
        text
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for line in &self.entries {
            let row = match line {
                Line::Board(head) => Row::of_head(head),
                Line::Change(change) => Row::of(change),
                Line::Whole(_) | Line::State(_) | Line::LastKnown(_) => continue,
            };
            let second = row.at.as_second();
            // Not past another line of its own: what became of it last is to be read last.
            let mut lately = rows
                .iter_mut()
                .rev()
                .take_while(|other| other.at.as_second() == second && !other.is_before(&row));
            if let Some(first) = lately.find(|other| other.is_like(&row)) {
                first.alike.push(row.service);
                first.why = row.why;
                continue;
            }
            rows.push(row);
        }
        for row in rows.iter_mut().filter(|row| !row.alike.is_empty()) {
            let _ = write!(row.service, " and {} more", row.alike.len());
        }
        rows
    }
}

/// A line for people.
struct Row {
    at: Timestamp,
    site: String,
    service: String,
    what: String,
    why: String,
    /// Whether vantages saw it: of each service so many, as they come to it one after the other.
    is_seen: bool,
    /// Further services for which the same is so.
    alike: Vec<String>,
}

impl Row {
    /// Whether the other, later one tells of the same site of the same service, or this of everything.
    fn is_before(&self, other: &Row) -> bool {
        let is_of_service = self.service == other.service || self.alike.contains(&other.service);
        self.site.is_empty() || self.site == other.site && is_of_service
    }

    /// Whether a site changed in the same way, for the same reason as far as people care.
    fn is_like(&self, other: &Row) -> bool {
        let is_same_reason = self.is_seen && other.is_seen || self.why == other.why;
        !self.site.is_empty()
            && self.site == other.site
            && self.what == other.what
            && is_same_reason
    }

    fn of(change: &Change) -> Row {
        Row {
            at: change.at,
            site: change.site.to_string(),
            service: change.service.to_string(),
            what: change.what(),
            why: change.reason(),
            is_seen: change.is_of_health(),
            alike: vec![],
        }
    }

    fn of_head(head: &Head) -> Row {
        let what = match head.cause {
            Cause::Start => "server started",
            Cause::Reload => "another world",
            Cause::Change => "",
        };
        Row {
            at: head.at,
            site: String::new(),
            service: String::new(),
            what: what.to_owned(),
            why: format!(
                "board {}, epoch {}",
                head.board,
                head.epoch.get(..12).unwrap_or_default()
            ),
            is_seen: false,
            alike: vec![],
        }
    }
}

impl Change {
    /// One of many on the way of a ramp or a slow drain: nothing but the share has changed, and neither all nor none
    /// is taken before and after.
    pub fn is_step(&self) -> bool {
        let (Some(from), Some(Kept { belief: to, .. })) = (&self.from, &self.to) else {
            return false;
        };
        let is_between = |share: f64| share > 0.0 && share < 1.0;
        let is_the_same = Belief { admit: to.admit, ..from.clone() } == *to;
        is_the_same && from.admit != to.admit && is_between(from.admit) && is_between(to.admit)
    }

    /// Health is otherwise, and nothing that operators decide.
    fn is_of_health(&self) -> bool {
        let (Some(from), Some(Kept { belief: to, .. })) = (&self.from, &self.to) else {
            return false;
        };
        from.health != to.health && (from.duty, from.weight) == (to.duty, to.weight)
    }

    /// What is otherwise, for people.
    pub fn what(&self) -> String {
        let (from, to) = match (&self.from, &self.to) {
            (None, None) => return String::new(),
            (Some(from), None) => return format!("{}, no longer in the world", from.health),
            (None, Some(Kept { belief, .. })) => {
                let drained = if belief.duty == Duty::Drained { ", drained" } else { "" };
                return format!("new: {}{drained}", belief.health);
            }
            (Some(from), Some(Kept { belief, .. })) => (from, belief),
        };
        let mut parts = Vec::new();
        if from.health != to.health {
            parts.push(format!("{} -> {}", from.health, to.health));
        }
        match (from.duty, to.duty) {
            (Duty::Serving, Duty::Drained) => parts.push("drained".to_owned()),
            (Duty::Drained, Duty::Serving) => parts.push("undrained".to_owned()),
            (Duty::Serving, Duty::Serving) | (Duty::Drained, Duty::Drained) => {}
        }
        if from.weight != to.weight {
            parts.push(format!("weight {} -> {}", from.weight, to.weight));
        }
        let without = |all: &[IpAddr], others: &[IpAddr]| -> Vec<String> {
            let left = all.iter().filter(|one| !others.contains(one));
            left.map(ToString::to_string).collect()
        };
        let struck = without(&to.struck, &from.struck);
        if !struck.is_empty() {
            parts.push(format!("{} left out", struck.join(", ")));
        }
        let back = without(&from.struck, &to.struck);
        if !back.is_empty() && to.health != Health::Down {
            parts.push(format!("{} answered again", back.join(", ")));
        }
        let regions = |all: &[Lost], others: &[Lost]| -> Vec<String> {
            let left = all.iter().filter(|one| !others.iter().any(|other| other == *one));
            left.map(|lost| lost.region.to_string()).collect()
        };
        let lost = regions(&to.lost, &from.lost);
        if !lost.is_empty() {
            parts.push(format!("lost to {}", lost.join(", ")));
        }
        let found =
            from.lost.iter().filter(|one| to.lost.iter().all(|now| now.region != one.region));
        let found: Vec<String> = found.map(|lost| lost.region.to_string()).collect();
        if !found.is_empty() && to.health != Health::Down {
            parts.push(format!("{} has it again", found.join(", ")));
        }
        if from.halvings != to.halvings && to.is_fit() && parts.is_empty() {
            parts.push(match to.halvings {
                0 => "its answers live as long as ever".to_owned(),
                times => format!("its answers live less long: TTL halved {times}x"),
            });
        }
        // Of a site that is out the share says nothing.
        if from.admit != to.admit && to.is_fit() {
            parts.push(if to.admit < 1.0 {
                format!("takes {:.0} %", to.admit * 100.0)
            } else if from.is_fit() {
                "takes all again".to_owned()
            } else {
                "takes all".to_owned()
            });
        }
        match (parts.is_empty(), to.duty) {
            (false, _) => parts.join(", "),
            (true, _) if from.admit != to.admit => format!("share {} -> {}", from.admit, to.admit),
            (true, Duty::Drained) => "still drained".to_owned(),
            (true, Duty::Serving) => format!("still {}", to.health),
        }
    }

    /// Why, for people: whose order it was, or what the vantages saw.
    pub fn reason(&self) -> String {
        let Some(Kept { belief: to, why, duty_why, weight_why, .. }) = &self.to else {
            return String::new();
        };
        let Some(from) = &self.from else { return why.to_string() };
        if from == to {
            let ordered = [&**duty_why, &**weight_why].into_iter();
            let ordered: Vec<&str> = ordered.filter(|why| !why.is_empty()).collect();
            return if ordered.is_empty() { why.to_string() } else { ordered.join("; ") };
        }
        let mut reasons: Vec<&str> = Vec::new();
        let is_leaving = !duty_why.is_empty();
        if from.duty != to.duty || from.admit != to.admit {
            match (is_leaving, from.duty) {
                (true, _) => reasons.push(duty_why),
                (false, Duty::Drained) => reasons.push("no drain holds any more"),
                (false, Duty::Serving) => {}
            }
        }
        if from.weight != to.weight {
            reasons.push(if weight_why.is_empty() { "as configured" } else { weight_why });
        }
        let is_seen = from.health != to.health
            || from.struck != to.struck
            || from.admit != to.admit && !is_leaving;
        if is_seen {
            reasons.push(why);
        }
        let lost = to.lost.iter().filter(|one| !from.lost.contains(one));
        reasons.extend(lost.map(|lost| &*lost.why));
        reasons.join("; ")
    }
}
