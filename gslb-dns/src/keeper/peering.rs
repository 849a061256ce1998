//! What peers are shown of this name server, and what becomes of what they tell.
//!
//! `peers` decides; here it is brought together with evidence, beliefs, the log and metrics.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info, warn};

use super::Keeper;
use crate::control::Heard;
use crate::health::last_known::LastKnown;
use crate::judge::Now;
use crate::peers::page::{Face, MOST_HELD, Part, Remembered, Shown};
use crate::peers::{Alarm, Change, Peers, Standing};
use crate::status::PeerTold;
use crate::world::Peer;

pub struct Peering {
    peers: Peers,
    listed: Vec<Peer>,
    /// Where the control listener sees what to tell them.
    shown: Option<watch::Sender<Arc<Shown>>>,
    /// Of the last turn.
    turned: Duration,
}

impl Peering {
    pub fn new(listed: &[Peer], now: Duration) -> Peering {
        Peering {
            peers: Peers::new(listed.iter().map(|peer| peer.name.clone()), now),
            listed: listed.to_vec(),
            shown: None,
            turned: now,
        }
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
        let Some(remembered) = self.peering.peers.hear(clocks.monotonic, peer, *page) else {
            return;
        };
        let world = &self.ground.world;
        let board = &self.published.load().board;
        let verdicts = self.evidence.meet(&remembered.verdicts);
        let sites = self.beliefs.meet(world, board, &remembered.last_known);
        if verdicts + sites == 0 {
            return;
        }
        self.metrics.peer_met.inc_by((verdicts + sites) as u64);
        let peer = self.peering.listed.get(peer).map(|peer| &*peer.name);
        info!(
            peer,
            verdicts,
            last_known = sites,
            "a peer held otherwise what no evidence decides: up on both"
        );
        self.evidence.judge(&self.ground.world, clocks);
        self.rebuild(clocks.wall);
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
            match self.remembered() {
                Ok(held) => drop(shown.send_replace(Arc::new(Shown::new(face, held)))),
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
}
