//! What name servers of one cluster tell each other, and when somebody has to be told that they differ.
//!
//! keeper ─▶ page (each half second) ─▶ control ─▶ (a peer) ─▶ pull ─▶ page ─▶ Peers ─▶ what is met, alarms
//!
//! Pure: told the time. A peer's word turns up what we hold without evidence, and does nothing else to any site: what
//! evidence decides here no peer can change. What operators ordered there holds here too.

pub mod page;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use self::page::{Face, Orders, Page, Remembered};

/// Between two questions to a peer.
pub const PAUSE: Duration = Duration::from_secs(1);
/// How long peers may differ, or one may be silent, before somebody is told. Reports come at most two seconds apart
/// and hold for ten: what one of two has not heard by then, it will not hear of itself. And a peer that has just
/// started takes nobody out for ten seconds, until which it may rightly differ.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// All peers, and what answered here of late.
#[derive(Debug)]
pub struct Peers {
    began: Duration,
    /// What answered here within `PATIENCE`, each with its end; the last answers still.
    ours: VecDeque<(Face, Option<Duration>)>,
    peers: Vec<Peer>,
}

#[derive(Debug)]
struct Peer {
    name: Box<str>,
    heard: Option<Heard>,
    /// Why it did not answer last; `None` if it did.
    failure: Option<String>,
    /// Of which somebody was told.
    alarm: Option<Alarm>,
}

#[derive(Debug)]
struct Heard {
    at: Duration,
    face: Face,
    remembered: Remembered,
    orders: Orders,
    differs: Option<Differs>,
    /// Whether it has the evidence that we have, or had of late.
    hears_the_same: bool,
}

#[derive(Clone, Copy, Debug)]
struct Differs {
    how: Difference,
    since: Duration,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Difference {
    Epoch,
    Board,
}

/// How it stands with a peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It answers from the same world and the same board, or did of late.
    Agrees,
    /// It answers from another world or board, and not for long.
    Differs,
    NeverHeard,
    Silent,
    OtherEpoch,
    /// The same world, and another board for longer than reports are under way.
    BoardDivergence,
}

/// What somebody has to look at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Alarm {
    Silent,
    OtherEpoch,
    BoardDivergence,
}

/// An alarm that begins or, with `None`, one that is over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    pub peer: Box<str>,
    pub alarm: Option<Alarm>,
    /// What it is, for people.
    pub why: String,
}

impl Standing {
    pub const ALL: [Standing; 6] = [
        Standing::Agrees,
        Standing::Differs,
        Standing::NeverHeard,
        Standing::Silent,
        Standing::OtherEpoch,
        Standing::BoardDivergence,
    ];

    /// As metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Agrees => "agrees",
            Standing::Differs => "differs",
            Standing::NeverHeard => "never_heard",
            Standing::Silent => "silent",
            Standing::OtherEpoch => "other_epoch",
            Standing::BoardDivergence => "board_divergence",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Peers {
    /// `now` is the start.
    pub fn new(names: impl IntoIterator<Item = Box<str>>, now: Duration) -> Peers {
        let peer = |name| Peer { name, heard: None, failure: None, alarm: None };
        Peers { began: now, ours: VecDeque::new(), peers: names.into_iter().map(peer).collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// What answers here from now on.
    pub fn answer_from(&mut self, now: Duration, face: Face) {
        match self.ours.back_mut() {
            Some((last, _)) if *last == face => {}
            last => {
                if let Some((_, end)) = last {
                    *end = Some(now);
                }
                self.ours.push_back((face, None));
            }
        }
        // However long nothing else has answered here.
        let is_old = |end: &Option<Duration>| end.is_some_and(|end| end + PATIENCE < now);
        while self.ours.front().is_some_and(|(_, end)| is_old(end)) {
            self.ours.pop_front();
        }
    }

    /// A peer has answered. What it remembers is to be met at each answer, be it the same as before: we may have
    /// come to hold what it held already. What it was ordered is to be merged likewise: there may have been no room.
    pub fn hear(
        &mut self,
        now: Duration,
        peer: usize,
        page: Page,
    ) -> Option<(&Remembered, &Orders)> {
        let Peers { ours, peers, .. } = self;
        let peer = peers.get_mut(peer)?;
        let Page { face, held, orders, .. } = page;
        let (before, told, ordered) = match peer.heard.take() {
            Some(Heard { differs, remembered, orders, .. }) => (differs, remembered, orders),
            None => Default::default(),
        };
        let how = difference(ours, &face);
        let differs = how.map(|how| match before {
            Some(Differs { how: before, since }) if before == how => Differs { how, since },
            Some(_) | None => Differs { how, since: now },
        });
        let hears_the_same = ours.iter().any(|(ours, _)| ours.evidence == face.evidence);
        let (remembered, orders) = (held.unwrap_or(told), orders.unwrap_or(ordered));
        peer.failure = None;
        let heard = Heard { at: now, face, remembered, orders, differs, hears_the_same };
        let Heard { remembered, orders, .. } = peer.heard.insert(heard);
        Some((remembered, orders))
    }

    /// A peer did not answer, or what it did is no page.
    pub fn miss(&mut self, peer: usize, why: String) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.failure = Some(why);
        }
    }

    /// The alarms that begin or end now.
    pub fn turn(&mut self, now: Duration) -> Vec<Change> {
        let Peers { began, ours, peers } = self;
        let turned = peers.iter_mut().filter_map(|peer| {
            let alarm = peer.alarm(now, *began);
            let before = std::mem::replace(&mut peer.alarm, alarm);
            (alarm != before).then(|| Change {
                peer: peer.name.clone(),
                alarm,
                why: peer.why(now, ours.back().map(|(face, _)| face)),
            })
        });
        turned.collect()
    }

    /// Each peer, how it stands with it, and what that is, for people.
    pub fn standings(
        &self,
        now: Duration,
    ) -> impl Iterator<Item = (&str, Standing, String)> + use<'_> {
        let ours = self.ours.back().map(|(face, _)| face);
        self.peers.iter().map(move |peer| (&*peer.name, peer.standing(now), peer.why(now, ours)))
    }

    /// Whether somebody was told of an alarm of that peer.
    pub fn is_alarmed(&self, peer: &str) -> bool {
        self.peers.iter().any(|one| *one.name == *peer && one.alarm.is_some())
    }
}

/// How a peer differs from what answers here and answered of late: it may be behind us, or we behind it.
fn difference(ours: &VecDeque<(Face, Option<Duration>)>, theirs: &Face) -> Option<Difference> {
    let (now, _) = ours.back()?;
    if theirs.epoch != now.epoch {
        return Some(Difference::Epoch);
    }
    let is_like = |ours: &Face| (&ours.epoch, &ours.digest) == (&theirs.epoch, &theirs.digest);
    (!ours.iter().any(|(ours, _)| is_like(ours))).then_some(Difference::Board)
}

impl Peer {
    fn standing(&self, now: Duration) -> Standing {
        let Some(heard) = &self.heard else { return Standing::NeverHeard };
        if heard.at + PATIENCE <= now {
            return Standing::Silent;
        }
        match heard.differs {
            Some(Differs { how, since }) if since + PATIENCE <= now => match how {
                Difference::Epoch => Standing::OtherEpoch,
                Difference::Board => Standing::BoardDivergence,
            },
            Some(_) => Standing::Differs,
            None => Standing::Agrees,
        }
    }

    fn alarm(&self, now: Duration, began: Duration) -> Option<Alarm> {
        match self.standing(now) {
            // While a change is on its way they may.
            Standing::Agrees | Standing::Differs => None,
            // It may start later than we do.
            Standing::NeverHeard => (began + PATIENCE <= now).then_some(Alarm::Silent),
            Standing::Silent => Some(Alarm::Silent),
            Standing::OtherEpoch => Some(Alarm::OtherEpoch),
            Standing::BoardDivergence => Some(Alarm::BoardDivergence),
        }
    }

    fn why(&self, now: Duration, ours: Option<&Face>) -> String {
        let Peer { heard, failure, .. } = self;
        let missed = || failure.as_ref().map_or(String::new(), |why| format!(": {why}"));
        let Some(Heard { at, face, differs, hears_the_same, .. }) = heard else {
            return format!("it has never answered{}", missed());
        };
        let other_world = || {
            let ours = ours.map_or("none", |ours| &ours.epoch);
            format!("its world is {}, ours {ours}", face.epoch)
        };
        let other_board = || {
            let ours = ours.map_or("none", |ours| &ours.digest);
            let heard = match hears_the_same {
                true => "vantages tell both the same",
                false => "vantages do not tell both the same",
            };
            format!("its board is {}, ours {ours}; {heard}", face.digest)
        };
        match self.standing(now) {
            Standing::NeverHeard | Standing::Silent => {
                format!(
                    "it has not answered for {} s{}",
                    now.saturating_sub(*at).as_secs(),
                    missed()
                )
            }
            Standing::Agrees | Standing::Differs => match differs {
                None => format!("board {} {}", face.board, face.digest),
                Some(Differs { how, since }) => {
                    let lasts = now.saturating_sub(*since).as_secs();
                    let what = match how {
                        Difference::Epoch => other_world(),
                        Difference::Board => other_board(),
                    };
                    format!("for {lasts} s {what}")
                }
            },
            Standing::OtherEpoch => other_world(),
            Standing::BoardDivergence => other_board(),
        }
    }
}

#[cfg(test)]
mod tests;
