//! What people and programs are shown of the talkers: rates, how far they may be off, and what became of the queries.

use std::fmt::{Display, Write as _};

use serde::Serialize;

use super::history::{Heard, History, Sum, Sums};
use super::{SAMPLED, TALKERS, WINDOW};

/// Talkers of a kind that are shown: a screen of them.
const SHOWN: usize = 20;

/// Rates are queries a second over UDP.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// One query of so many was counted.
    pub sampled: u32,
    /// Seconds that the rates are of: the last minute, or as much of it as there was.
    pub seconds: u64,
    pub queries_per_second: f64,
    /// Networks; none for whoever may not see addresses.
    pub clients: Option<Span>,
    pub names: Span,
    /// Windows of some thread that were lost because nobody fetched them in time.
    pub lost_windows: u64,
}

/// One minute's talkers of a kind, those that certainly asked most first.
#[derive(Clone, Debug, Serialize)]
pub struct Span {
    pub talkers: Vec<Talker>,
    /// Who is not listed asked at most so much.
    pub unlisted_at_most: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Talker {
    pub who: String,
    pub queries_per_second: f64,
    /// The table's own error, which is certain, and with it that of the sample, at two standard deviations.
    pub at_least: f64,
    pub at_most: f64,
    /// Of all queries counted.
    pub share: f64,
    /// Queries a second in the minute before; 0 for those who were not heard.
    pub before: f64,
    /// Shares of its queries: answered with an error, and over the limit.
    pub errors: f64,
    pub limited: f64,
}

impl History {
    /// At `now`, in seconds since 1970.
    pub fn report(&self, now: u64) -> Report {
        let [(last, seconds), (before, seconds_before)] = self.minutes(now);
        let rates = Rates { seconds, seconds_before };
        let Heard { clients, names, lost } = &last;
        Report {
            sampled: SAMPLED,
            seconds,
            queries_per_second: rate(clients.total as f64, seconds),
            clients: Some(rates.span(clients, &before.clients)),
            names: rates.span(names, &before.names),
            lost_windows: lost + before.lost,
        }
    }
}

impl Report {
    /// Without addresses.
    pub fn nameless(self) -> Report {
        Report { clients: None, ..self }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let Report { sampled, seconds, queries_per_second, clients, names, lost_windows } = self;
        if *seconds == 0 {
            return format!("nothing to tell yet: queries are counted for {WINDOW} s at a time\n");
        }
        let _ = writeln!(
            text,
            "{queries_per_second:.0} queries/s over UDP in the last {seconds} s; one of {sampled} counted"
        );
        if *lost_windows > 0 {
            let _ = writeln!(
                text,
                "ATTENTION  {lost_windows} times what a thread had counted was lost: the machine is too busy"
            );
        }
        match clients {
            Some(clients) => clients.write("client", &mut text),
            None => text.push_str(
                "\nclients are shown at the admin socket, to those who may give orders\n",
            ),
        }
        names.write("name", &mut text);
        text
    }
}

impl Span {
    fn write(&self, kind: &str, text: &mut String) {
        let headings = ["q/s", "at least", "at most", "share", "before", "errors", "limited"];
        let width = self.talkers.iter().map(|talker| talker.who.chars().count()).max();
        let width = width.unwrap_or(0).max(kind.len());
        let _ = write!(text, "\n{kind:<width$}");
        for heading in headings {
            let _ = write!(text, "  {heading:>8}");
        }
        text.push('\n');
        for talker in &self.talkers {
            let Talker { who, queries_per_second, at_least, at_most, share, before, .. } = talker;
            let [share, errors, limited] = [*share, talker.errors, talker.limited]
                .map(|share| format!("{:.1} %", share * 100.0));
            let _ = write!(text, "{who:<width$}  {queries_per_second:>8.0}  {at_least:>8.0}");
            let _ = write!(text, "  {at_most:>8.0}  {share:>8}  {before:>8.0}");
            let _ = writeln!(text, "  {errors:>8}  {limited:>8}");
        }
        let _ = writeln!(text, "no other {kind} asks more than {:.0} q/s", self.unlisted_at_most);
    }
}

/// Counts of the sample to rates.
struct Rates {
    seconds: u64,
    seconds_before: u64,
}

impl Rates {
    fn span<K: Copy + Eq + std::hash::Hash + Display>(
        &self,
        last: &Sums<K>,
        before: &Sums<K>,
    ) -> Span {
        let mut talkers: Vec<(&K, &Sum)> = last.all.iter().collect();
        let certain = |(who, sum): &(&K, &Sum)| {
            (std::cmp::Reverse((sum.at_least, sum.at_most)), who.to_string())
        };
        talkers.sort_by_cached_key(certain);
        // Who may have asked nothing is not a talker, only in somebody's place.
        let told = talkers.iter().take_while(|(_, sum)| sum.at_least > 1).count().min(SHOWN);
        let unlisted = talkers[told..].iter().map(|(_, sum)| sum.at_most).max().unwrap_or(0);
        let talker = |(who, sum): &(&K, &Sum)| {
            let earlier = before.all.get(who).map_or(0.0, Sum::middle);
            let known = sum.known.max(1) as f64;
            Talker {
                who: who.to_string(),
                queries_per_second: rate(sum.middle(), self.seconds),
                at_least: rate(fewest(sum.at_least), self.seconds),
                at_most: rate(most(sum.at_most), self.seconds),
                share: sum.middle() / last.total.max(1) as f64,
                before: rate(earlier, self.seconds_before),
                errors: sum.errors as f64 / known,
                limited: sum.limited as f64 / known,
            }
        };
        Span {
            talkers: talkers[..told].iter().map(talker).collect(),
            unlisted_at_most: rate(most(unlisted.max(last.floor)), self.seconds),
        }
    }
}

impl Sum {
    fn middle(&self) -> f64 {
        (self.at_least + self.at_most) as f64 / 2.0
    }
}

fn rate(count: f64, seconds: u64) -> f64 {
    if seconds == 0 { 0.0 } else { count * f64::from(SAMPLED) / seconds as f64 }
}

/// How few of a sample's mean would bring `count` of them: roots of counts lie within 1 of the root of their mean, in 95
/// of 100 samples.
fn fewest(count: u64) -> f64 {
    ((count as f64).sqrt() - 1.0).max(0.0).powi(2)
}

/// How many would.
fn most(count: u64) -> f64 {
    ((count as f64).sqrt() + 1.0).powi(2)
}

const _: () = assert!(TALKERS > SHOWN, "what is shown is among what is held");
