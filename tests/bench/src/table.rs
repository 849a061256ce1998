//! What is printed, and whether the budgets hold.

use std::time::Duration;

use crate::rounds::{Record, Round};
use crate::stats::Summary;
use crate::work::{Budget, Outcome, Stakes};

/// Two ways to read a process's CPU time that differ by more than this are both shown.
const SAME_COST: f64 = 0.02;
/// Fewer rounds say nothing: chance alone would hold or lose a budget.
const LEAST_ROUNDS: usize = 11;
/// A server kept off its core for more than this had company: caches and batches were not its own.
const ALONE: f64 = 0.02;

/// A work's table, and whether nothing in it is lost: budgets, and answers that were wrong.
pub struct Verdict {
    pub text: String,
    pub passed: bool,
}

/// CPU per answer and its ratios, for a closed loop.
pub fn costs(outcome: &Outcome, seed: u64) -> Verdict {
    let references: Vec<&Record> =
        outcome.subject.references.iter().filter_map(|name| outcome.record(name)).collect();
    let mut passed = true;
    let mut rows = vec![heading(outcome, &references)];
    for record in &outcome.records {
        let mut row = vec![
            outcome.subject.name.to_owned(),
            record.name.to_owned(),
            format!("{:.3}", record.cost(seed).median),
        ];
        for reference in &references {
            row.push(if record.name == reference.name {
                "1".to_owned()
            } else {
                ratio(record.ratio_to(reference, seed))
            });
        }
        row.extend(conditions(record, seed));
        if record.name == outcome.subject.judged {
            for budget in outcome.subject.budgets {
                let (text, holds) = judge(budget, record, outcome, seed);
                row.push(text);
                passed &= holds;
            }
        }
        rows.push(row);
    }
    let mut text = aligned(&rows);
    for note in notes(outcome, seed) {
        text += &note;
        text.push('\n');
    }
    passed &= outcome.records.iter().all(|record| record.first_wrong.is_none());
    Verdict { text, passed }
}

/// How long answers took, for an open loop.
pub fn waits(outcome: &Outcome, seed: u64) -> Verdict {
    let mut rows = vec![
        [
            "work",
            "server",
            "p50 µs",
            "p90 µs",
            "p99 µs",
            "p99.9 µs",
            "max µs",
            &format!("µs/{}", outcome.subject.unit),
            "answers",
            "lost",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for record in &outcome.records {
        let mut row = vec![outcome.subject.name.to_owned(), record.name.to_owned()];
        for share in [0.5, 0.9, 0.99, 0.999] {
            row.push(micros(record.latency.percentile(share)));
        }
        row.push(micros(record.latency.longest()));
        row.push(format!("{:.3}", record.cost(seed).median));
        row.push(record.total(|round| round.answers).to_string());
        row.push(record.total(|round| round.lost).to_string());
        rows.push(row);
    }
    let mut text = aligned(&rows);
    for note in notes(outcome, seed) {
        text += &note;
        text.push('\n');
    }
    let passed = outcome.records.iter().all(|record| record.first_wrong.is_none());
    Verdict { text, passed }
}

fn heading(outcome: &Outcome, references: &[&Record]) -> Vec<String> {
    let mut row =
        vec!["work".to_owned(), "server".to_owned(), format!("µs/{}", outcome.subject.unit)];
    for reference in references {
        row.push(format!("vs {} [95 %] min..max", reference.name));
    }
    row.extend(["k/s", "busy", "octets", "sampled", "wrong", "lost"].map(str::to_owned));
    if outcome.record(outcome.subject.judged).is_some() {
        row.push("budget".to_owned());
    }
    row
}

/// What tells whether the cost beside it can be believed.
fn conditions(record: &Record, seed: u64) -> [String; 6] {
    let rate = record.over_rounds(seed, Round::rate).median;
    let busy = record.over_rounds(seed, Round::busy).median;
    [
        format!("{:.*}", if rate < 1e4 { 2 } else { 0 }, rate / 1e3),
        format!("{:.0} %", busy * 100.0),
        record.reply_size.to_string(),
        record.total(|round| round.sampled).to_string(),
        record.total(|round| round.wrong).to_string(),
        record.total(|round| round.lost).to_string(),
    ]
}

fn judge(budget: &Budget, record: &Record, outcome: &Outcome, seed: u64) -> (String, bool) {
    let mut text = format!("<= {:.2}x {}", budget.median, budget.peer);
    if let Some(upper) = budget.upper {
        text += &format!(" (bound <= {upper:.2})");
    }
    let Some(peer) = outcome.record(budget.peer) else {
        return (text + " not measured", false);
    };
    if record.rounds.len() < LEAST_ROUNDS {
        return (text + " not judged: too few rounds", true);
    }
    match (budget.holds(record.ratio_to(peer, seed)), budget.stakes) {
        (true, Stakes::Gate) => (text + " pass", true),
        (false, Stakes::Gate) => (text + " FAIL", false),
        (true, Stakes::Goal) => (text + " goal reached", true),
        (false, Stakes::Goal) => (text + " goal missed", true),
    }
}

fn notes(outcome: &Outcome, seed: u64) -> Vec<String> {
    let mut notes = outcome.notes.clone();
    for record in &outcome.records {
        let scheduled = record.mean_cost(|spent| spent.scheduled);
        let ticks = record.mean_cost(|spent| spent.ticks);
        if (ticks / scheduled - 1.0).abs() > SAME_COST {
            notes.push(format!(
                "{}: {scheduled:.3} µs by schedstat, {ticks:.3} µs by the ticks of /proc/PID/stat",
                record.name
            ));
        }
        let kept_waiting = record.over_rounds(seed, Round::kept_waiting).median;
        if kept_waiting > ALONE {
            notes.push(format!(
                "{}: other processes had its core for {:.0} % of the time; measure on a quiet machine",
                record.name,
                kept_waiting * 100.0
            ));
        }
        if let Some(wrong) = &record.first_wrong {
            notes.push(format!("{}: FAIL, wrong answer: {wrong}", record.name));
        }
    }
    notes
}

fn ratio(summary: Summary) -> String {
    let Summary { median, lower, upper, min, max } = summary;
    format!("{median:.3} [{lower:.3} {upper:.3}] {min:.2}..{max:.2}")
}

fn micros(duration: Duration) -> String {
    format!("{:.0}", duration.as_secs_f64() * 1e6)
}

/// Columns as wide as their widest cell: the first two to the left, numbers to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let cell = match index {
                0 | 1 => format!("{cell:<width$}  "),
                _ => format!("{cell:>width$}  "),
            };
            line += &cell;
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["work".to_owned(), "server".to_owned(), "µs".to_owned()],
            vec!["a".to_owned(), "echo".to_owned(), "1.25".to_owned()],
        ];
        assert_eq!(aligned(&rows), "work  server    µs\na     echo    1.25\n");
    }

    fn check(budget: &Budget, median: f64, upper: f64, holds: bool) {
        let ratio = Summary { median, lower: median, upper, min: median, max: upper };
        assert_eq!(budget.holds(ratio), holds, "{median} {upper}");
    }

    #[test]
    fn a_budget_is_held_by_the_median_and_by_the_bound_it_sets() {
        let bounded =
            Budget { peer: "gdnsd", median: 1.0, upper: Some(1.03), stakes: Stakes::Gate };
        check(&bounded, 1.0, 1.03, true);
        check(&bounded, 1.01, 1.01, false);
        check(&bounded, 0.99, 1.04, false);
        let unbounded = Budget { upper: None, ..bounded };
        check(&unbounded, 0.99, 1.4, true);
    }
}
