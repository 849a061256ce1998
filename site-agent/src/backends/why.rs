//! Why a server is in another state, for the log: who says so, by which word, and what was seen.

use std::fmt;
use std::time::Duration;

use super::{Administrative, AgentDown, By, Event};

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Why {
    pub by: Source,
    /// A word of a closed set: of a look why it failed or `passed`, of others what they say.
    pub reason: &'static str,
    /// For people: what was found, or what an agent adds. Empty where the word says all.
    pub detail: String,
    /// How long a look took.
    pub took: Option<Duration>,
}

/// What a look says that did not fail.
const PASSED: &str = "passed";

/// Who can say something of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    Check,
    /// The agent-check.
    Agent,
    /// An operator.
    Command,
    /// What was seen of its answers to clients.
    Breaker,
}

impl Why {
    /// What a look has seen: why it failed, and what was found, if it did.
    pub fn of_look(failed: Option<(&'static str, &str)>, took: Duration) -> Why {
        let (reason, detail) = failed.unwrap_or((PASSED, ""));
        Why { by: Source::Check, reason, detail: detail.to_owned(), took: Some(took) }
    }

    pub fn is_failed_look(&self) -> bool {
        self.by == Source::Check && self.reason != PASSED
    }

    /// What an event says by itself.
    pub fn of(event: Event) -> Why {
        let order = |to| match to {
            Administrative::Ready => "ready",
            Administrative::Drain => "drain",
            Administrative::Maint => "maint",
        };
        let (by, reason) = match event {
            Event::Order { by, to } => (by.into(), order(to)),
            Event::Weigh { by, .. } => (by.into(), "weight"),
            Event::Limit { by, .. } => (by.into(), "limit"),
            Event::Check { .. } => (Source::Check, "check"),
            Event::AgentUp => (Source::Agent, "up"),
            Event::AgentDown(AgentDown::Down) => (Source::Agent, "down"),
            Event::AgentDown(AgentDown::Fail) => (Source::Agent, "fail"),
            Event::AgentDown(AgentDown::Stopped) => (Source::Agent, "stopped"),
            Event::Eject => (Source::Breaker, "errors"),
            Event::Return => (Source::Breaker, "over"),
        };
        Why { by, reason, detail: String::new(), took: None }
    }

    /// The same, and what there is to say for people.
    pub fn because(self, detail: impl Into<String>) -> Why {
        Why { detail: detail.into(), ..self }
    }
}

impl From<By> for Source {
    fn from(by: By) -> Source {
        match by {
            By::Command => Source::Command,
            By::Agent => Source::Agent,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Check => "check",
            Source::Agent => "agent",
            Source::Command => "command",
            Source::Breaker => "breaker",
        })
    }
}
