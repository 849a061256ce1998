//! What vantages and agents have told, what is made of it, and the file from which a restart knows both.

use std::io;
use std::path::Path;
use std::time::Duration;

use common::report::{Entry, Head};
use common::target::TargetId;
use common::{bounded, durable};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tracing::{info, warn};

use super::PAUSE;
use super::alarms::Alarms;
use super::insiders::Insiders;
use crate::health::board::Board;
use crate::health::view::Views;
use crate::inbox::stream::{Change, Reception};
use crate::inbox::{Inbox, Marks};
use crate::inside::Drained;
use crate::judge::{Held, Judge, News, Now, Standing};
use crate::sight::SightOf;
use crate::world::World;

/// In the state directory: what was believed of each target, which VIPs agents had drained, and how far each producer
/// had come.
pub const VERDICTS_FILE: &str = "verdicts.json";
/// Octets of it: with 20,000 targets of a service each it takes a twentieth.
const LONGEST_VERDICTS: u64 = 64 << 20;
const VERSION: u32 = 1;
/// Marks move with every report. One that is replayed after a restart must be newer than this at least.
const MARKS_PAUSE: Duration = Duration::from_secs(30);

pub struct Evidence {
    inbox: Inbox,
    judge: Judge,
    pub insiders: Insiders,
    alarms: Alarms,
    /// What stands in the file.
    written: Option<Written>,
    /// When it was written, or was found to be as it should be.
    written_at: Option<Duration>,
}

/// What a file was made of: verdicts by the judge's revision.
#[derive(Clone, PartialEq)]
struct Written {
    revision: u64,
    marks: Marks,
    agents: Marks,
    drained: Drained,
}

#[derive(Deserialize, Serialize)]
struct Kept {
    version: u32,
    marks: Marks,
    verdicts: Held,
    #[serde(default)]
    agents: Marks,
    #[serde(default)]
    drained: Drained,
}

impl Evidence {
    /// Reads what there is. A file that cannot be read is told, and the probes soon tell the same again.
    pub fn read(state_dir: &Path, world: &World, now: Now) -> Evidence {
        let path = state_dir.join(VERDICTS_FILE);
        let kept = read(&path).unwrap_or_else(|why| {
            warn!(why, file = %path.display(), "what was believed of sites could not be read: starting without");
            None
        });
        let (marks, held, agents, drained) = match kept {
            Some(Kept { version: _, marks, verdicts, agents, drained }) => {
                (marks, verdicts, agents, drained)
            }
            None => Default::default(),
        };
        let insiders = Insiders::restored(agents, drained, world, now.monotonic);
        let (inbox, judge) = (Inbox::restored(marks), Judge::new(held, now.monotonic));
        let alarms = Alarms::default();
        let mut evidence =
            Evidence { inbox, judge, insiders, alarms, written: None, written_at: None };
        evidence.judge(world, now);
        evidence
    }

    pub fn views(&self) -> &Views {
        &self.judge.judgement().views
    }

    /// By vantage of the world.
    pub fn standings(&self) -> &[Standing] {
        &self.judge.judgement().vantages
    }

    /// Vantages whose word does not count, and why, for people.
    pub fn unheard(&self, world: &World) -> Vec<String> {
        let vantages = world.vantages.iter().zip(&self.judge.judgement().vantages);
        let told = vantages.filter_map(|(vantage, standing)| {
            let vantage = &vantage.name;
            match standing {
                Standing::Trusted => None,
                Standing::NeverHeard => Some(format!("vantage {vantage} was never heard")),
                Standing::Silent => Some(format!("vantage {vantage} is silent")),
                Standing::Distrusted(why) => {
                    Some(format!("vantage {vantage} is not believed: {why}"))
                }
            }
        });
        told.collect()
    }

    /// Takes a report; what becomes of it, and whether it says anything new.
    pub fn hear(
        &mut self,
        vantage: &str,
        head: &Head,
        changes: Vec<(TargetId, Change<Entry>)>,
        now: Now,
    ) -> (Reception, bool) {
        let heard = |inbox: &Inbox| {
            let stream = inbox.vantage(vantage)?;
            let is_blind = stream.own().is_some_and(|own| own.blind.is_some());
            Some((stream.is_fresh(now.monotonic), is_blind))
        };
        // A whole report takes the place of all that was said before.
        let says_something = !changes.is_empty() || head.base.is_none();
        let before = heard(&self.inbox);
        let reception = self.inbox.on_report(now.monotonic, vantage, head, changes);
        let is_taken = matches!(reception, Reception::Taken(_));
        (reception, is_taken && (says_something || before != heard(&self.inbox)))
    }

    /// In another world, who is named no more is forgotten.
    pub fn adopt(&mut self, world: &World, now: Now) {
        self.inbox.keep(|name| world.vantages.iter().any(|vantage| *vantage.name == *name));
        self.insiders.adopt(world, now.monotonic);
        self.judge(world, now);
    }

    /// Judges again.
    pub fn judge(&mut self, world: &World, now: Now) -> News {
        let before = self.judge.judgement().vantages.clone();
        let news = self.judge.judge(now, world, &self.inbox, self.insiders.said());
        self.tell_vantages(world, &before);
        self.alarms.follow(now.monotonic, world, self.judge.judgement());
        news
    }

    /// What we believe though no evidence decides it.
    pub fn undecided(&self) -> Held {
        self.judge.undecided()
    }

    /// Takes what a peer believes so; how much that changes. It counts from the next judgement on.
    pub fn meet(&mut self, peer: &Held) -> usize {
        self.judge.meet(peer)
    }

    /// The same for all who hear the same of the same vantages.
    pub fn digest(&self, world: &World, now: Duration) -> String {
        let mut hash = Sha256::new();
        for vantage in &world.vantages {
            hash.update(vantage.name.as_bytes());
            let stream = self.inbox.vantage(&vantage.name).filter(|stream| stream.is_fresh(now));
            let Some(stream) = stream else {
                hash.update([0]);
                continue;
            };
            let is_blind = stream.own().is_some_and(|own| own.blind.is_some());
            hash.update([1, u8::from(is_blind)]);
            hash.update(stream.digest().unwrap_or_default().to_string());
        }
        self.insiders.digest(world, now, &mut hash);
        HEXLOWER.encode(&hash.finalize()[..16])
    }

    /// What is seen and made of it, beside the board that follows from it.
    pub fn sight_of<'a>(&'a self, world: &'a World, board: &'a Board, now: Now) -> SightOf<'a> {
        let Evidence { inbox, judge, insiders, .. } = self;
        let judgement = judge.judgement();
        let (voices, views) = (insiders.voices(world), insiders.said().views);
        SightOf { world, board, inbox, judge, judgement, voices, views, now }
    }

    /// Whether time alone may have changed something, or agents have said what is not judged yet.
    pub fn is_due(&self, now: Duration) -> bool {
        let is_said_anew = self.judge.has_heard() != Some(self.insiders.said().number);
        let changes = [self.judge.next_change(), self.alarms.next_change()];
        is_said_anew || changes.into_iter().flatten().any(|next| next <= now)
    }

    /// Where somebody should look at how the words from within and from outside fit together.
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    fn tell_vantages(&self, world: &World, before: &[Standing]) {
        if before.len() != world.vantages.len() {
            return;
        }
        let after = self.judge.judgement().vantages.iter();
        for ((vantage, before), after) in world.vantages.iter().zip(before).zip(after) {
            let vantage = &*vantage.name;
            match after {
                _ if before.is_like(after) => {}
                Standing::Trusted => info!(vantage, "a vantage is heard"),
                Standing::Silent | Standing::NeverHeard => {
                    warn!(vantage, "a vantage is silent: what it saw counts no more");
                }
                Standing::Distrusted(why) => {
                    warn!(
                        vantage,
                        why = why.to_string(),
                        "a vantage is not believed: what it sees counts no more"
                    );
                }
            }
        }
    }

    /// Writes what a restart will want to know, if it is something else and time for that: verdicts soon, marks alone
    /// later.
    pub fn persist(&mut self, state_dir: &Path, now: Duration) -> io::Result<()> {
        let drained = self.insiders.drained();
        let is_same = |written: &Written| {
            written.revision == self.judge.revision() && written.drained == drained
        };
        let pause = if self.written.as_ref().is_some_and(is_same) { MARKS_PAUSE } else { PAUSE };
        if self.written_at.is_some_and(|at| now < at + pause) {
            return Ok(());
        }
        self.write(state_dir, now)
    }

    /// The same, however lately something was written.
    pub fn write(&mut self, state_dir: &Path, now: Duration) -> io::Result<()> {
        let next = Written {
            revision: self.judge.revision(),
            marks: self.inbox.marks(),
            agents: self.insiders.marks(),
            drained: self.insiders.drained(),
        };
        if self.written.as_ref() != Some(&next) {
            let verdicts = self.judge.held();
            let Written { marks, agents, drained, revision: _ } = next.clone();
            let kept = Kept { version: VERSION, marks, verdicts, agents, drained };
            durable::write(&state_dir.join(VERDICTS_FILE), &serde_json::to_vec(&kept)?)?;
            self.written = Some(next);
        }
        self.written_at = Some(now);
        Ok(())
    }
}

fn read(path: &Path) -> Result<Option<Kept>, String> {
    let octets = match bounded::read_file(path, LONGEST_VERDICTS) {
        Ok(octets) => octets,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let kept: Kept = serde_json::from_slice(&octets).map_err(|error| error.to_string())?;
    if kept.version != VERSION {
        return Err(format!("found version {}, expected {VERSION}", kept.version));
    }
    Ok(Some(kept))
}
