//! A command from its words.

use std::fmt;
use std::num::NonZeroU32;

use super::order::{Asked, Order};
use super::view::{Question, StatFilter};
use super::{Refusal, help};
use crate::backends::{Administrative, Limit, Weight, WeightOrder};
use crate::rounds::Belief;
use crate::site::Level;

/// As much as `max_connections` may be.
pub const MOST_LIMIT: u32 = 10_000_000;

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// What is listed.
    Help(String),
    /// Turns the prompt on, or off.
    Prompt,
    Quit,
    Question(Question),
    Order(Order),
}

/// A server by its names. Whether there is one is known where it is looked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Whom {
    pub pool: String,
    pub server: String,
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pool, self.server)
    }
}

impl Command {
    /// Of one command's words, given at a socket of that level.
    pub fn parse(words: &[String], level: Level) -> Result<Command, Refusal> {
        let texts: Vec<&str> = words.iter().map(String::as_str).collect();
        // What stands behind a command as a remark is none of it. HAProxy has no remarks, and hears what is more than it
        // takes for nothing.
        let texts = match texts.iter().skip(1).position(|word| word.starts_with('#')) {
            Some(before) => &texts[..=before],
            None => &texts[..],
        };
        let (command, rest) = match texts {
            ["help", ..] => return Ok(Command::Help(help::help(&words[1..], level))),
            ["prompt", rest @ ..] => (Command::Prompt, rest),
            ["quit", rest @ ..] => (Command::Quit, rest),
            ["show", "version", rest @ ..] => (Command::Question(Question::Version), rest),
            ["show", "info", rest @ ..] => (Command::Question(Question::Info), rest),
            ["show", "backend", rest @ ..] => (Command::Question(Question::Backends), rest),
            ["show", "servers", "state", rest @ ..] => {
                let (pool, rest) = match rest {
                    [pool, rest @ ..] => (Some((*pool).to_owned()), rest),
                    [] => (None, rest),
                };
                (Command::Question(Question::ServersState(pool)), rest)
            }
            ["show", "stat", rest @ ..] => {
                let (filter, rest) = filter(rest)?;
                (Command::Question(Question::Stat(filter)), rest)
            }
            ["get", "weight", rest @ ..] => {
                let (whom, rest) = whom(rest)?;
                (Command::Question(Question::Weight(whom)), rest)
            }
            ["set", "server", rest @ ..] => order(level, || set_server(rest))?,
            ["set", "weight", rest @ ..] => order(level, || {
                let (whom, rest) = whom(rest)?;
                let (to, rest) = weight(rest)?;
                Ok((whom, Asked::Weight(to), rest))
            })?,
            ["set", "maxconn", "server", rest @ ..] => order(level, || {
                let (whom, rest) = whom(rest)?;
                let (to, rest) = limit(rest)?;
                Ok((whom, Asked::Limit(to), rest))
            })?,
            ["enable", "server", rest @ ..] => order(level, || {
                let (whom, rest) = whom(rest)?;
                Ok((whom, Asked::State(Administrative::Ready), rest))
            })?,
            ["disable", "server", rest @ ..] => order(level, || {
                let (whom, rest) = whom(rest)?;
                Ok((whom, Asked::State(Administrative::Maint), rest))
            })?,
            _ => return Err(Refusal::Unknown(help::unknown(words, level).trim_end().to_owned())),
        };
        match rest {
            [] => Ok(command),
            [format @ ("typed" | "json" | "desc" | "float"), ..]
                if matches!(command, Command::Question(Question::Info | Question::Stat(_))) =>
            {
                Err(Refusal::Format((*format).to_owned()))
            }
            [more, ..] => Err(Refusal::More((*more).to_owned())),
        }
    }
}

type Rest<'w> = &'w [&'w str];

fn order<'w>(
    level: Level,
    read: impl FnOnce() -> Result<(Whom, Asked, Rest<'w>), Refusal>,
) -> Result<(Command, Rest<'w>), Refusal> {
    if level < Level::Admin {
        return Err(Refusal::Denied);
    }
    let (whom, asked, rest) = read()?;
    Ok((Command::Order(Order { whom, asked }), rest))
}

fn whom<'w>(words: Rest<'w>) -> Result<(Whom, Rest<'w>), Refusal> {
    let [first, rest @ ..] = words else { return Err(Refusal::NoWhom) };
    let (pool, server) = first.split_once('/').ok_or(Refusal::NoWhom)?;
    Ok((Whom { pool: pool.to_owned(), server: server.to_owned() }, rest))
}

fn set_server<'w>(words: Rest<'w>) -> Result<(Whom, Asked, Rest<'w>), Refusal> {
    let (whom, rest) = whom(words)?;
    let (asked, rest) = match rest {
        ["state", rest @ ..] => {
            let (to, rest) = word(
                rest,
                &[
                    ("ready", Administrative::Ready),
                    ("drain", Administrative::Drain),
                    ("maint", Administrative::Maint),
                ],
                Refusal::State,
            )?;
            (Asked::State(to), rest)
        }
        ["health", rest @ ..] => {
            let beliefs = [("up", Belief::Up), ("stopping", Belief::NoLb), ("down", Belief::Down)];
            let (to, rest) = word(rest, &beliefs, Refusal::Health)?;
            (Asked::Health(to), rest)
        }
        ["agent", rest @ ..] => {
            let words = [("up", Asked::AgentUp), ("down", Asked::AgentDown)];
            word(rest, &words, Refusal::Agent)?
        }
        ["weight", rest @ ..] => {
            let (to, rest) = weight(rest)?;
            (Asked::Weight(to), rest)
        }
        _ => return Err(Refusal::SetServer),
    };
    Ok((whom, asked, rest))
}

fn word<'w, T: Copy>(
    words: Rest<'w>,
    known: &[(&str, T)],
    refusal: Refusal,
) -> Result<(T, Rest<'w>), Refusal> {
    let [first, rest @ ..] = words else { return Err(refusal) };
    let found = known.iter().find(|(word, _)| word == first);
    found.map(|(_, meant)| (*meant, rest)).ok_or(refusal)
}

/// A number as HAProxy reads it: below 0 is one too, which no command takes. `None` for one too large to mean anything.
fn number(
    text: &str,
    negative: Refusal,
    garbage: Refusal,
    trailing: Refusal,
) -> Result<Option<u32>, Refusal> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.starts_with(|letter: char| letter.is_ascii_digit()) {
        return Err(garbage);
    }
    if !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(trailing);
    }
    if digits.len() < text.len() {
        return Err(negative);
    }
    Ok(digits.parse().ok())
}

fn weight<'w>(words: Rest<'w>) -> Result<(WeightOrder, Rest<'w>), Refusal> {
    let [first, rest @ ..] = words else { return Err(Refusal::NoWeight) };
    let of =
        |text, negative| number(text, negative, Refusal::WeightGarbage, Refusal::WeightTrailing);
    let to = match first.strip_suffix('%') {
        // What comes of it is 256 at most, so that the largest is as good as any that is too large.
        Some(percent) => {
            WeightOrder::Percent(of(percent, Refusal::RelativeWeight)?.unwrap_or(u32::MAX))
        }
        None => {
            let weight = of(first, Refusal::Weight)?.and_then(|weight| weight.try_into().ok());
            WeightOrder::Absolute(weight.and_then(Weight::new).ok_or(Refusal::Weight)?)
        }
    };
    Ok((to, rest))
}

fn limit<'w>(words: Rest<'w>) -> Result<(Limit, Rest<'w>), Refusal> {
    let [first, rest @ ..] = words else { return Err(Refusal::NoLimit) };
    let to = number(first, Refusal::Limit, Refusal::LimitGarbage, Refusal::LimitTrailing)?;
    let to = to.filter(|to| *to <= MOST_LIMIT).ok_or(Refusal::Limit)?;
    Ok((NonZeroU32::new(to), rest))
}

/// Which lines `show stat` is to have.
fn filter<'w>(words: Rest<'w>) -> Result<(StatFilter, Rest<'w>), Refusal> {
    let (mut filter, mut rest) = bounds(words)?;
    loop {
        rest = match rest {
            ["no-maint", rest @ ..] => {
                filter.hides_maint = true;
                rest
            }
            ["up", rest @ ..] => {
                filter.hides_down = true;
                rest
            }
            _ => return Ok((filter, rest)),
        };
    }
}

/// Three words: of which proxy, of which of frontends (1), backends (2) and servers (4), of which server.
fn bounds<'w>(words: Rest<'w>) -> Result<(StatFilter, Rest<'w>), Refusal> {
    let whole = |text: &str| text.parse::<i64>().map_err(|_| Refusal::Stat);
    let some = |number: i64| usize::try_from(number).ok();
    let (proxy, kinds, server, rest) = match words {
        [proxy, kinds, server, rest @ ..] if whole(kinds).is_ok() => (proxy, kinds, server, rest),
        [] | ["typed" | "json" | "desc" | "up" | "no-maint", ..] => {
            return Ok((StatFilter::ALL, words));
        }
        _ => return Err(Refusal::Stat),
    };
    let filter = StatFilter {
        proxy: match proxy.parse::<i64>() {
            Ok(number) => some(number).map(|id| id.to_string()),
            Err(_) => Some((*proxy).to_owned()),
        },
        kinds: whole(kinds)?,
        server: some(whole(server)?),
        ..StatFilter::ALL
    };
    Ok((filter, rest))
}
