//! What is ordered of a server, and what it comes to there.

use std::fmt;

use super::{Refusal, Whom};
use crate::backends::{Administrative, AgentDown, By, Event, Limit, Server, Weight, WeightOrder};
use crate::rounds::Belief;

/// Somebody's order. Its text is a command that says the same, for the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Order {
    pub whom: Whom,
    pub asked: Asked,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Asked {
    State(Administrative),
    Weight(WeightOrder),
    Limit(Limit),
    /// A word in place of what checks have come to, which go on from there.
    Health(Belief),
    /// A word in the agent's place, until its next.
    AgentUp,
    AgentDown,
}

/// Who has to be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tell {
    Backends(Event),
    /// Checks, from which backends hear.
    Rounds(Belief),
}

impl Asked {
    /// `Err` where this server has nothing that the order could be about.
    pub fn of(self, server: &Server) -> Result<Tell, Refusal> {
        let by = By::Command;
        let has_agent = server.configured().has_agent;
        match self {
            Asked::State(to) => Ok(Tell::Backends(Event::Order { by, to })),
            Asked::Weight(to) => Ok(Tell::Backends(Event::Weigh { by, to })),
            Asked::Limit(to) => Ok(Tell::Backends(Event::Limit { by, to })),
            Asked::Health(_) if server.configured().check.is_none() => Err(Refusal::NoCheck),
            Asked::Health(to) => Ok(Tell::Rounds(to)),
            Asked::AgentUp | Asked::AgentDown if !has_agent => Err(Refusal::NoAgent),
            Asked::AgentUp => Ok(Tell::Backends(Event::AgentUp)),
            Asked::AgentDown => Ok(Tell::Backends(Event::AgentDown(AgentDown::Down))),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Order { whom, asked } = self;
        match asked {
            Asked::State(Administrative::Ready) => write!(f, "set server {whom} state ready"),
            Asked::State(Administrative::Drain) => write!(f, "set server {whom} state drain"),
            Asked::State(Administrative::Maint) => write!(f, "set server {whom} state maint"),
            Asked::Weight(WeightOrder::Absolute(weight)) => {
                write!(f, "set server {whom} weight {}", Weight::get(*weight))
            }
            Asked::Weight(WeightOrder::Percent(percent)) => {
                write!(f, "set server {whom} weight {percent}%")
            }
            Asked::Limit(limit) => {
                let limit = limit.map_or(0, |limit| limit.get());
                write!(f, "set maxconn server {whom} {limit}")
            }
            Asked::Health(Belief::Up) => write!(f, "set server {whom} health up"),
            Asked::Health(Belief::NoLb) => write!(f, "set server {whom} health stopping"),
            Asked::Health(Belief::Down) => write!(f, "set server {whom} health down"),
            Asked::AgentUp => write!(f, "set server {whom} agent up"),
            Asked::AgentDown => write!(f, "set server {whom} agent down"),
        }
    }
}
