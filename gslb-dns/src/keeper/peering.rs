//! What peers are shown of this name server, and what becomes of what they tell.
//!
//! `peers` decides; here it is brought together with evidence, beliefs, the log and metrics.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::Keeper;
use crate::control::Heard;
use crate::health::entries::{Entries, Merged};
use crate::health::last_known::LastKnown;
use crate::history::Because;
use crate::judge::Now;
use crate::orders;
use crate::peers::page::{Face, MOST_HELD, Orders, Part, Remembered, Shown};
use crate::peers::{Alarm, Change, Peers, Standing};
use crate::status::PeerTold;
use crate::world::Peer;

pub struct Peering {
    peers: Peers,
    listed: Vec<Peer>,
    /// Where the control listener sees what to tell them.
    shown: Option<watch::Sender<Arc<Shown>>>,
    /// By peer: why what was ordered there is not taken.
    refused: Vec<Option<String>>,
    /// Of the last turn.
    turned: Duration,
}

impl Peering {
    pub fn new(listed: &[Peer], now: Duration) -> Peering {
        Peering {
            peers: Peers::new(listed.iter().map(|peer| peer.name.clone()), now),
            listed: listed.to_vec(),
            shown: None,
            refused: vec![None; listed.len()],
            turned: now,
        }
    }

    /// Peers of which orders are not taken, each told.
    pub fn unmerged(&self) -> Vec<String> {
        let peers = self.listed.iter().zip(&self.refused);
        let told = peers.filter_map(|(peer, why)| Some((&peer.name, why.as_ref()?)));
        told.map(|(peer, why)| format!("orders of peer {peer} are not in force here: {why}"))
            .collect()
    }

    /// How it stands with each peer.
    pub fn told(&self) -> Vec<PeerTold> {
        let standings = self.peers.standings(self.turned).zip(&self.listed);
        let told = standings.map(|((peer, standing, why), listed)| PeerTold {
            peer: peer.to_owned(),
            address: listed.address.to_string(),
            standing: standing.as_str(),
            is_alarming: self.peers.is_alarmed(peer),
            why,
        });
        told.collect()
    }
}

impl Keeper {
    /// From the next turn on, what peers are to be told is put here.
    pub fn show_at(&mut self, shown: watch::Sender<Arc<Shown>>) {
        self.peering.shown = Some(shown);
    }

    /// Takes what came of asking a peer, and answers from what it comes to.
    pub fn hear_peer(&mut self, heard: Heard, clocks: Now) {
        let Heard { peer, page } = heard;
        let page = match page {
            Ok(page) => page,
            Err(why) => return self.peering.peers.miss(peer, why),
        };
        let moment = self.moment(clocks.wall);
        let Some((remembered, orders)) = self.peering.peers.hear(clocks.monotonic, peer, *page)
        else {
            return;
        };
        let world = &self.ground.world;
        let board = &self.published.load().board;
        let verdicts = self.evidence.meet(&remembered.verdicts);
        let sites = self.beliefs.meet(world, board, &remembered.last_known);
        let merged = merged(&self.beliefs.entries, orders, moment);
        let name = self.peering.listed[peer].name.clone();
        if verdicts + sites > 0 {
            self.metrics.peer_met.inc_by((verdicts + sites) as u64);
            info!(
                peer = &*name,
                verdicts,
                last_known = sites,
                "a peer held otherwise what no evidence decides: up on both"
            );
            self.evidence.judge(&self.ground.world, clocks);
            self.rebuild(Because::Evidence, clocks.wall);
        }
        let before = self.peering.refused[peer].take();
        match merged {
            Ok(None) => {}
            Ok(Some(merged)) => self.learn(merged, &name, clocks.wall),
            Err(why) => {
                if before.as_ref() != Some(&why) {
                    warn!(peer = &*name, why, "the orders of a peer are not taken");
                }
                self.peering.refused[peer] = Some(why);
            }
        }
    }

    /// Shows peers what is so now, and tells of those that differ or are silent.
    pub(super) fn turn_peers(&mut self, clocks: Now) {
        if self.peering.peers.is_empty() {
            return;
        }
        let face = self.face(clocks);
        self.peering.turned = clocks.monotonic;
        self.peering.peers.answer_from(clocks.monotonic, face.clone());
        if let Some(shown) = &self.peering.shown {
            match self.remembered().and_then(|held| Ok((held, self.ordered()?))) {
                Ok((held, orders)) => {
                    shown.send_replace(Arc::new(Shown::new(face, held, orders)));
                }
                Err(error) => error!(%error, "what peers are told could not be written"),
            }
        }
        for Change { peer, alarm, why } in self.peering.peers.turn(clocks.monotonic) {
            let peer = &*peer;
            match alarm {
                None => info!(peer, "a peer answers, and agrees"),
                Some(Alarm::Silent) => {
                    warn!(
                        peer,
                        why, "a peer is silent: what it holds and was ordered is not known"
                    );
                }
                Some(Alarm::OtherEpoch) => {
                    warn!(peer, why, "a peer answers from another world");
                }
                Some(Alarm::BoardDivergence) => {
                    warn!(peer, why, "board_divergence: a peer answers from another board");
                }
            }
        }
        for (peer, standing, _) in self.peering.peers.standings(clocks.monotonic) {
            for one in Standing::ALL {
                let gauge = self.metrics.peers.with_label_values(&[peer, one.as_str()]);
                gauge.set(i64::from(standing == one));
            }
        }
    }

    fn face(&self, clocks: Now) -> Face {
        let board = &self.published.load().board;
        let world = &self.ground.world;
        Face {
            node: self.node.name.clone(),
            epoch: world.epoch.to_string().into(),
            board: board.number,
            digest: board.digest.to_string().into(),
            evidence: self.evidence.digest(world, clocks.monotonic).into(),
        }
    }

    fn remembered(&self) -> serde_json::Result<Part> {
        let verdicts = self.evidence.undecided().first(MOST_HELD);
        let last_known = LastKnown::of_failing(&self.ground.world, &self.published.load().board);
        Part::of(&Remembered { verdicts, last_known })
    }

    fn ordered(&self) -> serde_json::Result<Part> {
        let entries = &self.beliefs.entries;
        let all = entries.iter().cloned().collect();
        Part::of(&Orders { highest: entries.highest(), entries: all })
    }
}

/// What our orders and a peer's come to; the error says why they come to nothing.
fn merged(ours: &Entries, theirs: &Orders, now: Timestamp) -> Result<Option<Merged>, String> {
    let Orders { highest, entries } = theirs;
    if let Some(entry) = entries.iter().find(|entry| !orders::is_sound(entry)) {
        return Err(format!("nobody could have given {}; have both on one release", entry.stamp));
    }
    // Nor is there a number that no stamp can have.
    let highest = (*highest).min(orders::MOST_NUMBER);
    ours.merged(highest, entries, now).map_err(|full| full.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::health::entries::Entry;

    /// What comes of an order that a peer was given, all of which is sound but for one key.
    fn check(key: &str, value: serde_json::Value, expected: Result<usize, &str>) {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let mut entry = json!({
            "stamp": "7@b", "given": now, "site": "fra", "service": "*", "order": "undrain",
            "who": "alice", "why": "test", "since": now,
        });
        entry[key] = value;
        let entry: Entry = serde_json::from_value(entry).unwrap();
        let found = merged(&Entries::default(), &Orders { highest: 7, entries: vec![entry] }, now);
        let learned = found.map(|merged| merged.map_or(0, |merged| merged.learned.len()));
        match expected {
            Ok(count) => assert_eq!(learned, Ok(count), "{key}"),
            Err(why) => assert!(learned.is_err_and(|told| told.starts_with(why)), "{key}"),
        }
    }

    #[test]
    fn what_nobody_could_have_ordered_is_not_taken_of_a_peer() {
        check("why", json!("test"), Ok(1));
        for (key, value) in [
            ("why", json!("")),
            ("who", json!("alice\nroot")),
            ("stamp", json!("0@b")),
            ("order", json!({ "drain": { "over_seconds": u32::MAX } })),
        ] {
            check(key, value, Err("nobody could have given "));
        }
    }

    #[test]
    fn the_highest_number_that_a_peer_knows_is_one_that_a_stamp_can_have() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        for (highest, expected) in [(7, 7), (u64::MAX, orders::MOST_NUMBER)] {
            let theirs = Orders { highest, entries: vec![] };
            let merged = merged(&Entries::default(), &theirs, now).unwrap().unwrap();
            assert_eq!(merged.entries.highest(), expected);
        }
    }
}
