//! What operators order: judged, kept on disk, put in force, written into the audit log.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::{error, info};

use super::Keeper;
use crate::audit::{Line, Outcome};
use crate::health::entries::Full;
use crate::health::overrides::{Order, Override, Phase};
use crate::orders::{self, OrderError, OrderWords};
use crate::status::{OverrideTold, Status, StatusOf};

/// Who asks for a change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct By {
    /// A user's name, as overrides and the audit log show it.
    pub who: Box<str>,
    /// Of the process that asked; `None` where this process itself did.
    pub uid: Option<u32>,
    pub pid: Option<i32>,
}

/// What became of an order that was taken.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Receipt {
    /// The entry's stamp.
    pub id: String,
    pub order: String,
    pub since: Timestamp,
    pub until: Option<Timestamp>,
    /// Each service with those of its sites that the order is about.
    pub touches: Vec<String>,
    /// The board that answers now, and the same for the same beliefs on every server.
    pub board: u64,
    pub digest: String,
    /// Whether a restart will know of it. If not, it is in force all the same, and tried again.
    pub on_disk: bool,
}

/// Why an order was not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error(transparent)]
    Full(#[from] Full),
}

impl Receipt {
    /// For people.
    pub fn text(&self) -> String {
        let Receipt { id, order, since, until, touches, board, digest, on_disk } = self;
        let until = until.map_or(String::new(), |until| format!(" until {until}"));
        let mut text = format!("{id}  {order} from {since}{until}\n");
        for one in touches {
            text += &format!("  {one}\n");
        }
        text += &format!("board {board} {digest}\n");
        if !on_disk {
            text +=
                "NOT ON DISK: it is in force, and a restart would not know of it; see the log\n";
        }
        text
    }
}

impl By {
    /// A signal, or a start: nobody is known to have asked.
    pub fn itself() -> By {
        By { who: "gslb-dns".into(), uid: None, pid: None }
    }

    pub fn signal() -> By {
        By { who: "SIGHUP".into(), uid: None, pid: None }
    }
}

impl Keeper {
    /// Puts an order in force, or says why not. What is in force is on disk first, if the disk takes it.
    pub fn order(
        &mut self,
        words: &OrderWords,
        by: &By,
        now: Timestamp,
    ) -> Result<Receipt, Refused> {
        let now = self.beliefs.entries.not_before(now);
        let given = self.give(words, by, now);
        let (outcome, mut detail) = match &given {
            Ok(receipt) => (Outcome::Done, json!({ "id": receipt.id })),
            Err(refused) => (Outcome::Refused, json!({ "refused": refused.to_string() })),
        };
        if let (Value::Object(detail), Ok(words)) = (&mut detail, serde_json::to_value(words)) {
            detail.insert("words".into(), words);
        }
        self.record(by, &words.order, outcome, detail, now);
        given
    }

    fn give(&mut self, words: &OrderWords, by: &By, now: Timestamp) -> Result<Receipt, Refused> {
        let said = words.read(&by.who, now)?;
        let touches = orders::touched(&said, &self.ground.world)?;
        let (entries, stamp) = self.beliefs.entries.with(said.clone(), &self.node.name, now)?;
        if removes(said.order) && !words.anyway {
            let before = &self.published.load().board;
            let at = full_force(&said);
            let after = self.beliefs.board_with(&entries, self.number, &self.ground, at);
            let dark = orders::left_with_nobody(&self.ground.world, before, &after);
            if !dark.is_empty() {
                return Err(OrderError::LeavesNobody(dark).into());
            }
        }
        let written = self.beliefs.set_entries(entries);
        if let Err(error) = &written {
            self.is_persisted = false;
            error!(%error, dir = %self.beliefs.state_dir.display(), "an order is in force and could not be written: a restart would not know it; trying again");
        }
        let Override { site, service, order, who, why, since, until } = said;
        info!(id = %stamp, %order, %site, %service, %who, %why, %since, until = until.map(tracing::field::display), "ordered");
        self.phases = self.beliefs.phases(now);
        self.rebuild(now);
        let board = &self.published.load().board;
        Ok(Receipt {
            id: stamp.to_string(),
            order: order.to_string(),
            since,
            until,
            touches,
            board: board.number,
            digest: board.digest.to_string(),
            on_disk: written.is_ok(),
        })
    }

    /// What is in force, and what has been and will be.
    pub fn overrides(&self, now: Timestamp) -> Vec<OverrideTold> {
        let now = self.beliefs.entries.not_before(now);
        let file = self.beliefs.overrides.iter().map(|said| OverrideTold::new(None, said, now));
        let entries = self.beliefs.entries.iter();
        let by_command =
            entries.map(|entry| OverrideTold::new(Some(entry.stamp.to_string()), &entry.said, now));
        file.chain(by_command).collect()
    }

    pub fn status(&self, now: Timestamp) -> Status {
        let snapshot = self.published.load();
        Status::new(&StatusOf {
            node: &self.node,
            snapshot: &snapshot,
            started: self.started,
            board_since: self.since,
            config_ok: self.metrics.reloads.config_ok.get() == 1,
            overrides_ok: self.metrics.overrides_ok.get() == 1,
            is_persisted: self.is_persisted,
            last_reload: self.last_reload.as_ref(),
            restart_needed: &self.restart_needed,
            overrides_in_force: self.overrides_in_force(),
            now,
        })
    }

    pub(super) fn overrides_in_force(&self) -> usize {
        self.phases.iter().filter(|phase| **phase != Phase::Idle).count()
    }

    pub(super) fn record(
        &self,
        by: &By,
        action: &str,
        outcome: Outcome,
        detail: Value,
        now: Timestamp,
    ) {
        let By { who, uid, pid } = by;
        let line = Line {
            at: now,
            node: &self.node.name,
            who,
            uid: *uid,
            pid: *pid,
            action,
            outcome,
            detail,
            board: self.number,
            epoch: self.ground.world.epoch.to_string(),
        };
        if let Err(error) = self.audit.append(&line) {
            self.metrics.audit_lost.inc();
            error!(%error, file = %self.audit.path().display(), who = &**who, action, "the audit log could not be written");
        }
    }
}

/// Whether it can leave a service with fewer sites.
fn removes(order: Order) -> bool {
    use crate::health::board::Health;
    match order {
        Order::Drain { .. } | Order::Force(Health::Down) | Order::Weight(0) => true,
        Order::Force(Health::Up | Health::Unknown)
        | Order::Unforce
        | Order::Undrain
        | Order::Weight(_)
        | Order::Unweight => false,
    }
}

/// The instant from which on it does all that it says.
fn full_force(said: &Override) -> Timestamp {
    let over = match said.order {
        Order::Drain { over } => over,
        _ => 0,
    };
    said.since.saturating_add(SignedDuration::from_secs(over.into())).unwrap_or(said.since)
}
