//! An explanation of a moment that is not now: what was believed then, and how that is known.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::{Explanation, Request, explain};
use crate::health::board::Board;
use crate::health::entries::Moment;
use crate::history::{Found, Head, Sought};
use crate::snapshot::{Groundwork, Snapshot};
use crate::stamp::Stamp;

/// How it is known what was believed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct MomentTold {
    pub known_from: KnownFrom,
    /// Since when that was believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Why what is explained may not be what was answered then; empty if it is.
    pub doubts: Vec<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KnownFrom {
    /// All of it was kept.
    History,
    /// Orders are, and what vantages saw is not.
    Orders,
    /// The moment is to come: orders of then, and what is seen today.
    Today,
}

impl Request {
    /// What is to be looked up in history; `None` of a moment that is now or to come.
    pub fn sought(&self, now: Timestamp) -> Option<Sought> {
        let Moment { at, ordered: _ } = self.moment?;
        let exact =
            self.stamp.map(|Stamp { epoch, board, .. }| (epoch.to_string(), board.to_string()));
        (at <= now).then_some(Sought { at, exact })
    }
}

/// Explains a moment by what history has found of it, if it was asked, in the present world. `by_orders` is what
/// orders make of that moment, and `flaws` are what history could not read.
pub fn explain_then(
    ground: Arc<Groundwork>,
    by_orders: Board,
    found: Option<(Found, Vec<String>)>,
    node_name: &str,
    request: &Request,
) -> Explanation {
    let (board, told) = match found {
        None => (by_orders, MomentTold::of(KnownFrom::Today, vec![])),
        Some((found, flaws)) => {
            let unknown = |why: String| {
                let doubt =
                    format!("{why}: what vantages saw then is not known, only what was ordered");
                let told = MomentTold::of(KnownFrom::Orders, vec![doubt]);
                let is_watched =
                    ground.world.services.iter().any(|service| service.watch.is_some());
                // Where nobody looks, nobody saw anything.
                if is_watched { told } else { MomentTold { doubts: vec![], ..told } }
            };
            let (board, mut told) = match found {
                Found::Then(past) => {
                    let board = past.board(&ground.world);
                    let doubts = doubts(&past.head, &ground, &board).into_iter().collect();
                    let told = MomentTold::of(KnownFrom::History, doubts);
                    (board, MomentTold { since: Some(past.head.at), ..told })
                }
                Found::Before(begins) => {
                    (by_orders, unknown(format!("history begins at {begins:.0}")))
                }
                Found::Nothing => (by_orders, unknown("no history is kept".to_owned())),
            };
            told.doubts.extend(flaws);
            (board, told)
        }
    };
    let snapshot = Snapshot::new(ground, board);
    Explanation { moment: Some(told), ..explain(&snapshot, node_name, request) }
}

impl MomentTold {
    fn of(known_from: KnownFrom, doubts: Vec<String>) -> MomentTold {
        MomentTold { known_from, since: None, doubts }
    }
}

fn doubts(then: &Head, ground: &Groundwork, board: &Board) -> Option<String> {
    let (epoch, digest) = (ground.world.epoch.to_string(), board.digest.to_string());
    let short = |text: &str| text.get(..12).unwrap_or_default().to_owned();
    if *then.epoch != *epoch {
        return Some(format!(
            "another world answered then, epoch {}: told is what the world of today, {}, makes of what was \
             believed",
            short(&then.epoch),
            short(&epoch)
        ));
    }
    (*then.digest != *digest).then(|| {
        format!("the digest of then was {}, and what is kept of it makes {digest}", then.digest)
    })
}
