//! What operators order: judged, kept on disk, put in force, written into the audit log.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::{error, info};

use super::Keeper;
use crate::audit::{Line, Outcome};
use crate::health::entries::{Entries, Entry, Full, Merged};
use crate::health::overrides::{Order, Override, outranked};
use crate::history::Because;
use crate::orders::{self, OrderError, OrderWords};
use crate::status::{OverrideTold, Status, StatusOf, to_second};

/// Instants looked at before an order is taken, the first of all that matter: each costs two boards.
const MOST_INSTANTS: usize = 64;

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
    /// What is to be known of it; `None` of most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Whether a restart will know of it. If not, it is in force all the same, and tried again.
    pub on_disk: bool,
}

/// What became of a reload that was not refused.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reloaded {
    /// Whether another world answers since.
    pub changed: bool,
    pub epoch: String,
    pub board: u64,
    /// What is to be known: keys that wait for a restart, orders that touch nothing, what `check` warns of.
    pub attention: Vec<String>,
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
        let Receipt { id, order, since, until, touches, board, digest, note, on_disk: _ } = self;
        let until = until.map_or(String::new(), |until| format!(" until {}", to_second(until)));
        let since = to_second(*since);
        let mut text = format!("{id}  {order} from {since}{until}\n");
        for one in touches {
            text += &format!("  {one}\n");
        }
        if let Some(note) = note {
            text += &format!("{note}\n");
        }
        text + &format!("board {board} {digest}\n")
    }
}

impl Reloaded {
    /// For people.
    pub fn text(&self) -> String {
        let Reloaded { changed, epoch, board, attention } = self;
        let what = if *changed { "the world has changed" } else { "the world is the same" };
        let mut text = format!("reloaded: {what}\nepoch {epoch}, board {board}\n");
        for one in attention {
            text += &format!("ATTENTION  {one}\n");
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
        let moment = self.moment(now);
        let said = words.read(&by.who, moment)?;
        let touches = match orders::touched(&said, &self.ground.world) {
            // What was said of a site that is gone can still be ended: it might come back.
            Err(_) if said.order.only_ends() && self.is_about_an_entry(&said) => vec![],
            touched => touched?,
        };
        let note = (!touches.is_empty() && self.ends_nothing(&said, moment))
            .then(|| in_vain(said.order).to_owned());
        let (entries, stamp) = self.beliefs.entries.with(said.clone(), &self.node.name, moment)?;
        if !words.anyway {
            let dark = self.left_with_nobody(&entries, &said);
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
        let order = order.to_string();
        info!(id = %stamp, order, %site, %service, who, why, %since, until = until.map(tracing::field::display), "ordered");
        self.phases = self.beliefs.phases(self.moment(now));
        self.rebuild(Because::Orders, now);
        let board = &self.published.load().board;
        Ok(Receipt {
            id: stamp.to_string(),
            order: order.to_string(),
            since,
            until,
            touches,
            board: board.number,
            digest: board.digest.to_string(),
            note,
            on_disk: written.is_ok(),
        })
    }

    /// Whether an order was given before with the same patterns.
    fn is_about_an_entry(&self, said: &Override) -> bool {
        let mut entries = self.beliefs.entries.iter();
        entries.any(|entry| (&entry.said.site, &entry.said.service) == (&said.site, &said.service))
    }

    fn ends_nothing(&self, said: &Override, now: Timestamp) -> bool {
        let board = &self.published.load().board;
        orders::ends_nothing(said, self.beliefs.said(), board, &self.ground.world, now)
    }

    /// The overrides that have a say, or will have one, and touch nothing.
    pub(super) fn untouching(&self, now: Timestamp) -> Vec<String> {
        let all = self.overrides(now).into_iter().zip(self.beliefs.said());
        let idle = all.filter(|(told, said)| {
            told.state.matters()
                && !said.order.only_ends()
                && said.unmatched_in(&self.ground.world).is_some()
        });
        idle.map(|(told, said)| {
            let id = told.id.unwrap_or_else(|| "the file".to_owned());
            format!(
                "{} {} of {id} touches nothing: no such site of such a service",
                said.order, said.site
            )
        })
        .collect()
    }

    /// The services that an order leaves with nobody to serve them, at some time while it holds, and that would
    /// have somebody then without it. Looked at are the instants at which any order begins, ends or has all
    /// its force.
    fn left_with_nobody(&self, entries: &Entries, said: &Override) -> Vec<String> {
        let holds =
            |at: &Timestamp| *at >= said.since && said.until.is_none_or(|until| *at < until);
        let of_file = self.beliefs.overrides.iter();
        let all = of_file.chain(entries.iter().map(|entry| &entry.said));
        let mut instants: Vec<Timestamp> = all.flat_map(edges).filter(holds).collect();
        instants.extend([said.since, full_force(said)]);
        instants.sort_unstable();
        instants.dedup();
        let mut dark = Vec::new();
        for at in instants.into_iter().take(MOST_INSTANTS) {
            let before = self.beliefs.board(self.number, &self.ground, self.evidence.views(), at);
            let after = self.beliefs.board_with(
                entries,
                self.number,
                &self.ground,
                self.evidence.views(),
                at,
            );
            for service in orders::left_with_nobody(&self.ground.world, &before, &after) {
                if !dark.contains(&service) {
                    dark.push(service);
                }
            }
        }
        dark
    }

    /// What is in force, and what has been and will be.
    pub fn overrides(&self, now: Timestamp) -> Vec<OverrideTold> {
        let moment = self.moment(now);
        let all: Vec<&Override> = self.beliefs.said().collect();
        let file = self.beliefs.overrides.iter().map(|_| None);
        let entries = self.beliefs.entries.iter().map(|entry| Some(entry.stamp.to_string()));
        let ids: Vec<Option<String>> = file.chain(entries).collect();
        let name = |by: usize| ids[by].clone().unwrap_or_else(|| "the file".to_owned());
        let outranked = outranked(&all, moment);
        let told = all.iter().zip(&ids).zip(outranked);
        told.map(|((said, id), by)| OverrideTold::new(id.clone(), said, by.map(name), moment))
            .collect()
    }

    pub fn status(&self, now: Timestamp) -> Status {
        let snapshot = self.published.load();
        Status::new(&StatusOf {
            node: &self.node,
            snapshot: &snapshot,
            started: self.started,
            board_since: self.since,
            overrides_ok: self.overrides_ok(),
            clock_behind: self.clock_behind(now),
            is_persisted: self.is_persisted,
            last_reload: self.last_reload.as_ref(),
            restart_needed: &self.restart_needed,
            untouching: self.untouching(now),
            unheard: [
                self.evidence.unheard(&self.ground.world),
                self.evidence.insiders.attention(),
                self.evidence.alarms().attention(),
            ]
            .concat(),
            lost: self.lost.as_deref(),
            peers: self.peering.told(),
            unmerged: self.peering.unmerged(),
            overrides_in_force: self.overrides_in_force(now),
            now,
        })
    }

    /// How many say something that is not as it would be without them: outranked ones, and those that only end
    /// what was said before, do not count.
    pub(super) fn overrides_in_force(&self, now: Timestamp) -> usize {
        let moment = self.moment(now);
        let all: Vec<&Override> = self.beliefs.said().collect();
        let outranked = outranked(&all, moment);
        let decides = |(said, by): &(&&Override, &Option<usize>)| {
            by.is_none() && said.is_in_force(moment) && !said.order.only_ends()
        };
        all.iter().zip(&outranked).filter(decides).count()
    }

    /// Somebody who may only read asked for a change.
    pub fn turn_away(&self, by: &By, action: &str, now: Timestamp) {
        let why = json!({ "refused": "may only read" });
        self.record(by, action, Outcome::Refused, why, now);
    }

    /// Puts in force what a peer's orders come to with ours. What is in force is on disk first, if the disk takes it.
    pub(super) fn learn(&mut self, merged: Merged, peer: &str, now: Timestamp) {
        let Merged { entries, learned } = merged;
        if let Err(error) = self.beliefs.set_entries(entries) {
            self.is_persisted = false;
            error!(%error, dir = %self.beliefs.state_dir.display(), "an order is in force and could not be written: a restart would not know it; trying again");
        }
        if learned.is_empty() {
            return;
        }
        info!(peer, orders = learned.len(), "orders of a peer are in force here too");
        self.phases = self.beliefs.phases(self.moment(now));
        self.rebuild(Because::Orders, now);
        let epoch = self.ground.world.epoch.to_string();
        let lines = learned.iter().map(|entry| {
            let Entry { stamp, given, said } = entry;
            let Override { site, service, order, who, why, since, until } = said;
            Line {
                at: now,
                node: &self.node.name,
                who,
                uid: None,
                pid: None,
                action: "learn",
                outcome: Outcome::Done,
                detail: json!({
                    "id": stamp.to_string(),
                    "from": peer,
                    "given": given,
                    "order": order.to_string(),
                    "site": site,
                    "service": service,
                    "why": why,
                    "since": since,
                    "until": until,
                }),
                board: self.number,
                epoch: epoch.clone(),
            }
        });
        self.note(&lines.collect::<Vec<_>>());
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
        self.note(&[Line {
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
        }]);
    }

    fn note(&self, lines: &[Line<'_>]) {
        if let Err(error) = self.audit.append(lines) {
            self.metrics.audit_lost.inc_by(lines.len() as u64);
            let Line { who, action, .. } = lines[0];
            error!(%error, file = %self.audit.path().display(), who, action, "the audit log could not be written");
        }
    }
}

/// What is said of an order that ended nothing: it has been taken, and does something all the same.
fn in_vain(order: Order) -> &'static str {
    match order {
        Order::Unforce => {
            "nothing was forced there; while this order holds, what overrides.toml forces there is in vain"
        }
        Order::Unweight => {
            "no weight was ordered there; while this order holds, a weight in overrides.toml is in vain there"
        }
        Order::Undrain | Order::Force(_) | Order::Drain { .. } | Order::Weight(_) => {
            "nothing was drained there; while this order holds, a drain in overrides.toml is in vain there"
        }
    }
}

/// The instants at which an override begins, has all its force, or ends.
fn edges(said: &Override) -> impl Iterator<Item = Timestamp> + use<> {
    [Some(said.since), Some(full_force(said)), said.until].into_iter().flatten()
}

/// The instant from which on it does all that it says.
fn full_force(said: &Override) -> Timestamp {
    let over = match said.order {
        Order::Drain { over } => over,
        Order::Force(_) | Order::Unforce | Order::Undrain | Order::Weight(_) | Order::Unweight => 0,
    };
    said.since.saturating_add(SignedDuration::from_secs(over.into())).unwrap_or(said.since)
}
