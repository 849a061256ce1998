//! What the stamp of an answer says, beside what is so here: whether an explanation is of that answer.

use jiff::Timestamp;
use serde::Serialize;

use super::{OnBehalf, Request};
use crate::snapshot::Snapshot;
use crate::stamp::{Short, Stamp};

/// What stands in the stamp, and what of it is otherwise here.
#[derive(Debug, Serialize)]
pub struct StampTold {
    /// The first 16 digits of the epoch and of the digest.
    pub epoch: String,
    pub board: String,
    pub override_stamp: u64,
    pub board_at: Timestamp,
    pub at: Timestamp,
    /// Whom the answer was for.
    pub client: String,
    /// Why what is explained may not be what was answered; empty if it is.
    pub differs: Vec<String>,
}

impl StampTold {
    /// `snapshot` is of the moment that the stamp tells, as far as it can be known.
    pub fn judge(stamp: &Stamp, request: &Request, snapshot: &Snapshot) -> StampTold {
        let &Stamp { epoch, board, orders, board_at, at, client } = stamp;
        let here = (Short::of(&snapshot.world().epoch.0), Short::of(&snapshot.board.digest.0));
        let mut differs = Vec::new();
        if epoch != here.0 {
            differs.push(format!(
                "this answer came from another world: epoch {epoch}…, the config here is {}…; told is what \
                 this world would have answered",
                here.0
            ));
        }
        if orders > snapshot.board.orders {
            differs.push(format!(
                "orders up to {orders} were in the board of this answer, and {} is the highest known here: ask \
                 the server that answered",
                snapshot.board.orders
            ));
        }
        if board != here.1 {
            differs.push(match epoch == here.0 {
                true => format!(
                    "this answer came from another board: digest {board}…, here it is {}…; history does not go \
                     back so far, or another server answered",
                    here.1
                ),
                false => format!("boards of two worlds differ: digest {board}…, here {}…", here.1),
            });
        }
        if !is_of(request, stamp) {
            differs.push(format!("the answer was for {client}, and somebody else is asked about"));
        }
        if !request.suppose.is_empty() {
            differs.push("something is supposed that was not so".into());
        }
        StampTold {
            epoch: epoch.to_string(),
            board: board.to_string(),
            override_stamp: orders,
            board_at,
            at,
            client: client.to_string(),
            differs,
        }
    }
}

/// Whether it is asked about the client of the stamp. The resolver of a subnet that is believed plays no part.
fn is_of(request: &Request, stamp: &Stamp) -> bool {
    match (request.on_behalf, OnBehalf::from(stamp.client)) {
        (OnBehalf::Subnet(asked, _), OnBehalf::Subnet(stamped, _)) => asked == stamped,
        (asked, stamped) => asked == stamped,
    }
}
