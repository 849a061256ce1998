//! What was believed when, and why it changed: the lines that are kept of it, and what follows from them.
//!
//! board ─▶ diff ─▶ lines ─▶ (archive: files) ─▶ scan ─▶ past ─▶ the board of a moment gone
//!           │                                     └──▶ listing, for people
//!           └▶ turned: for the log
//!
//! A board is worth lines when something differs on which answers depend: health, duty, weight, the share taken, the
//! addresses struck of some site, what regions have lost of it, how short its answers live, or the world; or what was
//! ordered, and by whom. Other counts of vantages that come to the same are not. So every digest that was ever answered from can be made again from what is kept. Pure.

mod diff;
mod listing;
mod past;
mod scan;
mod turned;

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::diff::{Because, Diff, Group, Moved};
pub use self::listing::{Asked, AskedError, Listing, MOST_TOLD, Words};
pub use self::past::Past;
pub use self::scan::{End, Found, Scanned, Sought, found_in, scan};
pub use self::turned::Turned;

use crate::health::board::{Board, Duty, Health, Lost};
use crate::world::World;

/// Of the lines, in every head.
pub const VERSION: u32 = 1;

/// One line of the log.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Line {
    /// So many lines follow, with all that was believed: what stood before does not matter.
    Whole(Head),
    /// So many lines follow, with what changed.
    Board(Head),
    State(State),
    Change(Box<Change>),
    LastKnown(LastKnownLine),
}

/// A board that answered.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Head {
    pub v: u32,
    /// Counts what this history was told, over restarts.
    pub serial: u64,
    /// The moment that the board is of.
    pub at: Timestamp,
    pub cause: Cause,
    pub board: u64,
    pub digest: Box<str>,
    pub epoch: Box<str>,
    /// The highest number that an order had been given by then.
    pub orders: u64,
    /// Of boards in one turn there were more than are told apart: so many are told as one.
    pub boards: usize,
    /// Lines about it that follow.
    pub lines: usize,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The server began.
    Start,
    /// Another world.
    Reload,
    /// Evidence, an order, or time.
    Change,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct State {
    pub service: Box<str>,
    pub site: Box<str>,
    pub is: Kept,
}

/// One change of one site of one service. What its head says stands here again: a line is read by itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Change {
    pub at: Timestamp,
    pub board: u64,
    pub digest: Box<str>,
    pub epoch: Box<str>,
    pub service: Box<str>,
    pub site: Box<str>,
    /// `None` for what was not there before.
    pub from: Option<Belief>,
    /// `None` for what is gone.
    pub to: Option<Kept>,
}

/// The sites that were fit when one last was, of a service that has none now.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LastKnownLine {
    pub service: Box<str>,
    pub sites: Vec<Box<str>>,
}

/// What is believed of one site of one service, as far as answers depend on it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Belief {
    pub health: Health,
    pub duty: Duty,
    pub weight: u32,
    pub admit: f64,
    /// Addresses that are not answered though the site is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub struck: Vec<IpAddr>,
    /// What regions have lost of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Lost>,
    /// How often the TTL of answers with it is halved.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub halvings: u8,
}

/// The same with its reasons, as they were when it came to that.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Kept {
    #[serde(flatten)]
    pub belief: Belief,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    pub why: Box<str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub duty_why: Box<str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub weight_why: Box<str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

impl Head {
    pub fn of(cause: Cause, serial: u64, world: &World, board: &Board) -> Head {
        Head {
            v: VERSION,
            serial,
            at: board.at,
            cause,
            board: board.number,
            digest: board.digest.to_string().into(),
            epoch: world.epoch.to_string().into(),
            orders: board.orders,
            boards: 1,
            lines: 0,
        }
    }
}

#[cfg(test)]
mod tests;
