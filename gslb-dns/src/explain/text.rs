//! An explanation as people read it.

use std::fmt::Write;

use super::story::{Steering, StepTold};
use super::{BoardStamp, ClientTold, Evidence, Explanation, KnownFrom, MomentTold, StampTold};

/// Columns of the first word on a line.
const MARGIN: usize = 11;

pub fn text(explanation: &Explanation) -> String {
    let mut page = Page(String::new());
    let Explanation {
        name,
        qtype,
        node,
        epoch,
        board,
        at,
        stamp,
        moment,
        supposed,
        client,
        steering,
        evidence,
        answer,
    } = explanation;
    page.title(&format!("{name} {qtype} for {}", client.prefix));
    page.line("node", &format!("{node}, world {}", &epoch[..12]));
    board_line(&mut page, board);
    page.line("time", &at.to_string());
    if let Some(moment) = moment {
        moment_lines(&mut page, moment);
    }
    if let Some(stamp) = stamp {
        stamp_lines(&mut page, stamp);
    }
    if !supposed.is_empty() {
        page.line("supposed", &supposed.join(", "));
    }
    client_lines(&mut page, client);
    for service in steering {
        page.blank();
        service_lines(&mut page, service);
    }
    if !steering.is_empty() {
        page.blank();
        evidence_lines(&mut page, evidence);
    }
    page.blank();
    if steering.is_empty() {
        let why = match answer.rcode.as_str() {
            "REFUSED" => "no zone of this server answers for this name",
            _ => "no service decides this name and type: what the zone itself says",
        };
        page.line("static", why);
    }
    let aa = if answer.authoritative { "" } else { ", not authoritative" };
    page.line("answer", &format!("{}{aa}", answer.rcode));
    for record in &answer.records {
        page.line("", record);
    }
    if let Some(ttl) = answer.ttl {
        page.line("ttl", &format!("{ttl} s"));
    }
    if let Some(scope) = answer.scope {
        page.line("scope", &format!("/{scope}"));
    }
    if let Some(error) = &answer.extended_error {
        let name = match error.code {
            0 => "Other Error",
            20 => "Not Authoritative",
            21 => "Not Supported",
            _ => "extended error",
        };
        let told = format!("{} ({name}): {}", error.code, error.text);
        page.line("ede", told.trim_end_matches(": "));
    }
    page.0
}

fn board_line(page: &mut Page, board: &BoardStamp) {
    let BoardStamp { number, digest, override_stamp } = board;
    let number = match number {
        0 => "of that time".to_owned(),
        number => number.to_string(),
    };
    let orders = match override_stamp {
        0 => "no orders".to_owned(),
        highest => format!("orders up to {highest}"),
    };
    page.line("board", &format!("{number}, {digest}, {orders}"));
}

fn moment_lines(page: &mut Page, moment: &MomentTold) {
    let MomentTold { known_from, since, doubts } = moment;
    let known = match known_from {
        KnownFrom::History => "what was believed then, from history",
        KnownFrom::Orders => "what was ordered then",
        KnownFrom::Today => "what will be ordered then, and what is seen now",
    };
    let since = since.map_or(String::new(), |since| format!(", since {since:.0}"));
    page.line("believed", &format!("{known}{since}"));
    for doubt in doubts {
        page.line("DIFFERS", doubt);
    }
}

fn evidence_lines(page: &mut Page, evidence: &Evidence) {
    match evidence {
        Evidence::None(why) => page.line("evidence", &format!("none: {why}")),
        Evidence::Seen(services) => {
            for seen in services {
                page.line("evidence", &seen.service);
                for line in seen.lines() {
                    page.line("", &line);
                }
            }
        }
    }
}

fn stamp_lines(page: &mut Page, stamp: &StampTold) {
    let StampTold { epoch, board, override_stamp, board_at, at, client, differs } = stamp;
    page.line("stamp", &format!("of an answer to {client} at {at}"));
    let orders = format!("orders up to {override_stamp}");
    page.line("", &format!("from world {epoch}, board {board} of {board_at}, {orders}"));
    if differs.is_empty() {
        page.line("", "world and board are the same here");
    }
    for one in differs {
        page.line("DIFFERS", one);
    }
}

fn client_lines(page: &mut Page, client: &ClientTold) {
    let ClientTold { prefix, told_by, disbelieved, place, place_prefix, place_source } = client;
    page.line("client", &format!("{prefix}, told by its {told_by}"));
    if let Some(why) = disbelieved {
        page.line("", why);
    }
    page.line("place", &format!("{place} ({place_prefix}, {place_source})"));
}

fn service_lines(page: &mut Page, steering: &Steering) {
    let Steering { service, family, hint_of, candidates, steps, walk, sites, failing, ttl, scope } =
        steering;
    let hint = hint_of.as_ref().map_or(String::new(), |qtype| format!(", the hint of {qtype}"));
    page.line("service", &format!("{service} {family}{hint}"));
    for one in candidates {
        let mut line = format!("{}: {}", one.site, one.health);
        if let Some(since) = one.since {
            let _ = write!(line, " since {since}");
        }
        let _ = write!(line, " ({})", one.why);
        if let Some(why) = &one.drained {
            let _ = write!(line, ", drained ({why})");
        }
        if let Some(why) = &one.draining {
            let _ = write!(line, ", draining ({why})");
        }
        let whose = one.weight_why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
        if one.weight != 1 || !whose.is_empty() {
            let _ = write!(line, ", weight {}{whose}", one.weight);
        }
        if one.admit < 1.0 {
            let _ = write!(line, ", admit {}", one.admit);
        }
        if let Some(km) = one.km {
            let _ = write!(line, ", {km} km");
        }
        page.line("", &line);
    }
    for (number, step) in steps.iter().enumerate() {
        step_lines(page, if number == 0 { "steps" } else { "" }, step);
    }
    if let Some(hashed) = &walk.hashed {
        let slice = walk.slice.map_or(String::new(), |slice| format!(", time slice {slice}"));
        page.line("hash", &format!("of {hashed}{slice}"));
    }
    for aside in &walk.stood_aside {
        page.line("", &format!("{} stood aside: admit {}", aside.site, aside.admit));
    }
    for contest in &walk.contests {
        let lots = contest.iter().map(|one| {
            format!(
                "{} {:.4} (drew {:.4}, weight {})",
                one.site, one.arrival, one.drawn, one.weight
            )
        });
        page.line("", &format!("the lowest first: {}", lots.collect::<Vec<_>>().join(", ")));
    }
    if let Some(failing) = failing {
        page.line("alarm", failing);
    }
    if !sites.is_empty() {
        page.line("sites", &sites.join(", "));
    }
    page.line("ttl", &format!("{} s: {}", ttl.seconds, ttl.why));
    page.line("scope", &format!("/{}: {}", scope.bits, scope.why));
}

fn step_lines(page: &mut Page, word: &str, step: &StepTold) {
    let StepTold { step, struck, note, tiers } = step;
    let tiers: Vec<String> = tiers.iter().map(|tier| format!("[{}]", tier.join(" "))).collect();
    let note = note.as_ref().map_or(String::new(), |note| format!("  {note}"));
    page.line(word, &format!("{step:<18} {}{note}", tiers.join(" ")));
    for out in struck {
        page.line("", &format!("{:<18} {} is out: {}", "", out.site, out.why));
    }
}

struct Page(String);

impl Page {
    fn title(&mut self, text: &str) {
        let _ = writeln!(self.0, "{text}");
    }

    fn line(&mut self, word: &str, text: &str) {
        let _ = writeln!(self.0, "  {word:<MARGIN$}{text}");
    }

    fn blank(&mut self) {
        self.0.push('\n');
    }
}
