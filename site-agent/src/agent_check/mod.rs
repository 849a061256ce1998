//! HAProxy's agent-check: a line in which a server says how much it wants to be given.
//!
//! shell (connects, sends, reads until CR or LF) ─▶ `read` ─▶ `Line` ─▶ backends
//!
//! The words are those of HAProxy's manual («agent-check») and of its `src/tcpcheck.c`: separated by spaces, tabs and
//! commas, in any case and order, the last of each kind wins, what is not said is not changed, and what is not
//! understood is told while the rest applies. That an agent cannot be reached says nothing of its server.

#[cfg(test)]
mod tests;

use std::num::NonZeroU32;

use crate::backends::{Administrative, AgentDown, By, Event, Limit, WeightOrder};

/// Octets of a line. What has not ended by then is not read on.
pub const LONGEST: usize = 1024;

/// What one line says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Line {
    pub administrative: Option<Administrative>,
    pub weight: Option<WeightOrder>,
    pub limit: Option<Limit>,
    pub health: Option<Health>,
    /// What is said for people after `#`, where the line speaks of health.
    pub text: Option<Box<str>>,
    pub problems: Vec<Problem>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Health {
    Up,
    Down(AgentDown),
}

/// A word that was not understood.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Problem {
    #[error(
        "\"{0}\" is no word of an agent (75%, weight:N, maxconn:N, ready, drain, maint, up, down, fail, stopped)"
    )]
    Unknown(Box<str>),
    #[error("\"{0}\" is no weight; expected 0 to 256, or a percentage of the configured weight")]
    Weight(Box<str>),
    #[error("\"{0}\" is no limit; expected a number of connections, 0 for any")]
    Limit(Box<str>),
}

/// Why there is no line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoLine {
    /// More may come; where the connection has ended, the line is ignored.
    #[error("the line has not ended: expected CR or LF behind it")]
    Unfinished,
    #[error("the line is longer than {LONGEST} octets")]
    TooLong,
}

/// Reads the first line of what an agent has sent so far.
pub fn read(octets: &[u8]) -> Result<Line, NoLine> {
    match octets.iter().position(|octet| matches!(octet, b'\r' | b'\n')) {
        Some(end) if end <= LONGEST => Ok(Line::of(&octets[..end])),
        None if octets.len() <= LONGEST => Err(NoLine::Unfinished),
        Some(_) | None => Err(NoLine::TooLong),
    }
}

impl Line {
    fn of(octets: &[u8]) -> Line {
        // HAProxy wants a separator before the sharp; that it may stand at the word itself is how it is often read.
        let sharp = octets.iter().position(|octet| *octet == b'#');
        let (words, text) = octets.split_at(sharp.unwrap_or(octets.len()));
        let mut line = Line::default();
        for word in words.split(|octet| matches!(octet, b' ' | b'\t' | b',')) {
            if !word.is_empty() {
                line.take(&printable(word));
            }
        }
        let text = printable(text.strip_prefix(b"#").unwrap_or(text));
        let text = text.trim_matches([' ', '\t']);
        if line.health.is_some() && !text.is_empty() {
            line.text = Some(text.into());
        }
        line
    }

    fn take(&mut self, word: &str) {
        let lower = word.to_ascii_lowercase();
        match &*lower {
            "ready" => self.administrative = Some(Administrative::Ready),
            "drain" => self.administrative = Some(Administrative::Drain),
            "maint" => self.administrative = Some(Administrative::Maint),
            "up" => self.health = Some(Health::Up),
            "down" => self.health = Some(Health::Down(AgentDown::Down)),
            "fail" => self.health = Some(Health::Down(AgentDown::Fail)),
            "stopped" => self.health = Some(Health::Down(AgentDown::Stopped)),
            other => self.take_number(word, other),
        }
    }

    fn take_number(&mut self, word: &str, lower: &str) {
        let is_percentage =
            lower.starts_with(|letter: char| letter.is_ascii_digit()) && lower.contains('%');
        if let Some(limit) = lower.strip_prefix("maxconn:") {
            match limit_of(limit) {
                Some(limit) => self.limit = Some(limit),
                None => self.problems.push(Problem::Limit(word.into())),
            }
        } else if let Some(weight) =
            lower.strip_prefix("weight:").or(is_percentage.then_some(lower))
        {
            match weight.parse() {
                Ok(weight) => self.weight = Some(weight),
                Err(_) => self.problems.push(Problem::Weight(word.into())),
            }
        } else {
            self.problems.push(Problem::Unknown(word.into()));
        }
    }

    /// What it changes, in HAProxy's order: whether it may serve, how much, whether it is well.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        let by = By::Agent;
        let order = self.administrative.map(|to| Event::Order { by, to });
        let weight = self.weight.map(|to| Event::Weigh { by, to });
        let limit = self.limit.map(|to| Event::Limit { by, to });
        let health = self.health.map(|health| match health {
            Health::Up => Event::AgentUp,
            Health::Down(word) => Event::AgentDown(word),
        });
        [order, weight, limit, health].into_iter().flatten()
    }
}

fn limit_of(digits: &str) -> Option<Limit> {
    let is_plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let limit: u32 = is_plain.then(|| digits.parse().ok()).flatten()?;
    Some(NonZeroU32::new(limit))
}

/// What may be shown to people: no controls, and no octets that are no text.
fn printable(octets: &[u8]) -> String {
    let text = String::from_utf8_lossy(octets);
    text.chars()
        .map(|letter| if letter.is_control() && letter != '\t' { '\u{fffd}' } else { letter })
        .collect()
}
