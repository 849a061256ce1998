//! The evidence as lines for people.

use std::fmt::Write as _;

use super::{
    Counted, LostSeen, QuorumTold, Returning, ServiceSeen, Sight, SiteSeen, TargetSeen,
    VantageSeen, VoteSeen,
};
use crate::health::board::Health;

impl Sight {
    pub fn text(&self) -> String {
        let Sight { now, board, digest, services, inside } = self;
        let mut text = format!("board {board} ({digest}) at {now:.0}\n");
        for seen in services {
            let _ = write!(text, "\n{}\n", seen.service);
            for line in seen.lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
        inside.iter().for_each(|site| site.tell(&mut text));
        text
    }
}

impl ServiceSeen {
    /// The evidence for people: what it takes to believe something, then each site and what is said of it.
    pub fn lines(&self) -> Vec<String> {
        let ServiceSeen { service: _, quorum, sites } = self;
        let mut lines = Vec::new();
        lines.push(match quorum {
            None => "nobody watches it".to_owned(),
            Some(told) => {
                let QuorumTold { down, up, vantages, domains, max_removed, checks } = told;
                format!(
                    "quorum: down at {down}, up at {up}, of {vantages} vantages in {domains} domains at least; \
                     probes alone remove {max_removed} at most; {checks} checks"
                )
            }
        });
        sites.iter().for_each(|site| site.tell(&mut lines));
        lines
    }
}

impl SiteSeen {
    fn tell(&self, lines: &mut Vec<String>) {
        let SiteSeen { site, health, since, why, admit, struck, lost, targets, .. } = self;
        let SiteSeen { inside, alert, .. } = self;
        let mut line = format!("{site:<12} {health:<8}");
        if (0.0..1.0).contains(admit) && *health != Health::Down.as_str() {
            let _ = write!(line, " takes {:.0} %,", admit * 100.0);
        }
        let _ = write!(line, " {why}");
        if let Some(since) = since {
            let _ = write!(line, ", since {since:.0}");
        }
        if !struck.is_empty() {
            let _ = write!(line, "; not answered: {}", struck.join(", "));
        }
        for LostSeen { region, addresses, why } in lost {
            let _ = write!(line, "; not answered to {region}");
            if !addresses.is_empty() {
                let _ = write!(line, ": {}", addresses.join(", "));
            }
            let _ = write!(line, " ({why})");
        }
        if let Some(alert) = alert {
            let _ = write!(line, " ({})", alert.as_str());
        }
        lines.push(line);
        lines.extend(inside.iter().map(|vip| format!("  from within: {}", vip.line())));
        targets.iter().for_each(|target| target.tell(lines));
    }
}

impl TargetSeen {
    fn tell(&self, lines: &mut Vec<String>) {
        let TargetSeen { address, port, kind, verdict, ground, counted, returning, votes, .. } =
            self;
        let Counted { up, slow, down, domains } = counted;
        let mut line = format!("  {kind} {address} port {port}: {verdict}, {ground}");
        let _ = write!(line, "; heard {} in {domains} domains: {up} up", counted.vantages());
        for (count, word) in [(slow, "slow"), (down, "down")] {
            if *count > 0 {
                let _ = write!(line, ", {count} {word}");
            }
        }
        if let Some(Returning { flaps, waits_until, share, next_step }) = returning {
            let _ = match waits_until {
                Some(until) => write!(line, "; {flaps} flaps, so it waits until {until:.0}"),
                None => write!(line, "; on its way back, at {:.0} %", share * 100.0),
            };
            if let (None, Some(next)) = (waits_until, next_step) {
                let _ = write!(line, ", more at {next:.0}");
            }
        }
        lines.push(line);
        // Who says the same for the same reason says it in one line.
        let mut told: Vec<&VoteSeen> = Vec::new();
        for vote in votes {
            if !told.iter().any(|other| other.is_like(vote)) {
                lines.push(vote.line(votes));
                told.push(vote);
            }
        }
    }
}

impl VoteSeen {
    /// Whether one line is enough for both.
    fn is_like(&self, other: &VoteSeen) -> bool {
        let said =
            |vote: &VoteSeen| (vote.state, vote.reason, vote.streak > 0, vote.why_not.clone());
        said(self) == said(other) && self.detail == other.detail
    }

    /// What this one says, and everybody who says so.
    fn line(&self, all: &[VoteSeen]) -> String {
        let VoteSeen { state, reason, detail, why_not, .. } = self;
        let alike: Vec<&VoteSeen> = all.iter().filter(|vote| vote.is_like(self)).collect();
        let names: Vec<&str> = alike.iter().map(|vote| &*vote.vantage).collect();
        let mut line = format!("    {state:<5} {}", names.join(", "));
        let since = alike.iter().filter_map(|vote| vote.since);
        if let (Some(first), Some(last)) = (since.clone().min(), since.max()) {
            let _ = write!(line, ", since {first:.0}");
            if first.as_second() != last.as_second() {
                let _ = write!(line, " to {last:.0}");
            }
        }
        if let Some(reason) = reason {
            let _ = write!(line, " ({reason}");
            let _ = if detail.is_empty() { write!(line, ")") } else { write!(line, ": {detail})") };
        }
        if let Some(most) =
            alike.iter().filter(|vote| vote.streak > 0).max_by_key(|vote| vote.streak)
        {
            let _ = write!(line, ", {} of {} looks say otherwise", most.streak, most.need);
        }
        if let Some(why) = why_not {
            let _ = write!(line, ", does not count: {why}");
        }
        line
    }
}

/// A line for each.
pub fn vantages_text(vantages: &[VantageSeen]) -> String {
    if vantages.is_empty() {
        return "this world has no vantages\n".to_owned();
    }
    let mut text = format!(
        "{:<16}{:<13}{:>6}{:>6}{:>6}{:>6}  {:<12}{}\n",
        "vantage", "standing", "up", "slow", "down", "none", "references", "why"
    );
    for seen in vantages {
        let references = format!("{}/{}", seen.references_up, seen.references);
        let _ = writeln!(
            text,
            "{:<16}{:<13}{:>6}{:>6}{:>6}{:>6}  {references:<12}{}",
            seen.vantage, seen.standing, seen.up, seen.slow, seen.down, seen.none, seen.why
        );
    }
    text
}
