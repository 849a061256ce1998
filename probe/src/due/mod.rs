//! Which target is looked at when.
//!
//! Each target has a place of its own within its interval, a hash of its id and the probe's name, so that neither all
//! targets of a probe nor all probes of a target are looked at in step. A look that puts the state in doubt is
//! followed by another within a second. Only so many looks run at a time: beyond that looks are late, which is counted
//! and told, and never made up for. Takes the time and the dice as arguments.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use common::target::TargetId;
use sha2::{Digest as _, Sha256};

/// After a result that puts the state in doubt, unless the interval is shorter.
const RECHECK: Duration = Duration::from_secs(1);
/// A look begins up to a tenth of its interval after its place, by dice.
const JITTER: u32 = 10;
/// Later than this a look is late.
pub const LATE: Duration = Duration::from_millis(250);
/// The shell turns at least once a second. After a longer pause nothing ran: the process was stopped, or the machine.
const STOPPED: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub struct Due {
    /// Keeps this probe's places apart from those of others.
    probe: Box<str>,
    /// Looks at a time.
    most: usize,
    targets: HashMap<TargetId, Planned>,
    /// By when they are to be looked at. None of them is under way.
    queue: BTreeSet<(Duration, TargetId)>,
    /// Looks under way, those at targets that are gone included.
    running: HashMap<TargetId, Running>,
    turned: Duration,
}

#[derive(Debug)]
struct Planned {
    interval: Duration,
    phase: Duration,
    /// `None` while it is looked at.
    at: Option<Duration>,
}

#[derive(Debug)]
struct Running {
    began: Duration,
    /// The process stood still meanwhile: what the look comes to says nothing.
    is_void: bool,
}

/// A look to begin now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Begun {
    pub target: TargetId,
    /// How long after its time.
    pub late: Duration,
}

/// What to do with what a look came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Result {
    Counts,
    /// The process stood still while it looked.
    Void,
    /// Nobody asks for the target any more.
    Gone,
}

impl Due {
    pub fn new(probe: &str, most: usize, now: Duration) -> Due {
        Due {
            probe: probe.into(),
            most,
            targets: HashMap::new(),
            queue: BTreeSet::new(),
            running: HashMap::new(),
            turned: now,
        }
    }

    /// Has a target looked at from now on, first within its interval.
    pub fn add(&mut self, now: Duration, target: TargetId, interval: Duration) {
        if self.targets.contains_key(&target) {
            return;
        }
        let phase = place(target, &self.probe, interval);
        let at = match self.running.get(&target) {
            // It was asked for before, and that look still runs.
            Some(_) => None,
            None => Some(slot(phase, interval, now)),
        };
        self.queue.extend(at.map(|at| (at, target)));
        self.targets.insert(target, Planned { interval, phase, at });
    }

    /// Looks at it no more. A look under way ends by itself.
    pub fn remove(&mut self, target: TargetId) {
        if let Some(Planned { at: Some(at), .. }) = self.targets.remove(&target) {
            self.queue.remove(&(at, target));
        }
    }

    pub fn limit(&mut self, most: usize) {
        self.most = most;
    }

    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// When something is to be done; `None` while there is nothing, or as many looks run as may.
    pub fn next_wakeup(&self) -> Option<Duration> {
        let (at, _) = self.queue.first()?;
        (self.running.len() < self.most).then_some(*at)
    }

    /// How long the look that waits longest is late, if that is more than two of its intervals: what this probe says
    /// is then older than anybody takes it for.
    pub fn behind(&self, now: Duration) -> Option<Duration> {
        let (at, target) = self.queue.first()?;
        let late = now.saturating_sub(*at);
        let interval = self.targets.get(target)?.interval;
        (late > 2 * interval).then_some(late)
    }

    /// To be called at least once a second, and before `begin`. After a standstill what was missed is left out,
    /// instead of being looked at all at once; how many looks that are.
    pub fn turn(&mut self, now: Duration) -> usize {
        let paused = now.saturating_sub(self.turned);
        self.turned = self.turned.max(now);
        if paused <= STOPPED {
            return 0;
        }
        for running in self.running.values_mut() {
            running.is_void = true;
        }
        let mut missed = 0;
        while let Some((at, target)) = self.queue.first().copied()
            && at < now
        {
            self.queue.pop_first();
            missed += 1;
            if let Some(planned) = self.targets.get_mut(&target) {
                planned.plan(target, slot(planned.phase, planned.interval, now), &mut self.queue);
            }
        }
        missed
    }

    /// The next look that is to begin, if one is and may.
    pub fn begin(&mut self, now: Duration) -> Option<Begun> {
        if self.running.len() >= self.most {
            return None;
        }
        let (at, target) = self.queue.first().copied()?;
        if at > now {
            return None;
        }
        self.queue.pop_first();
        if let Some(planned) = self.targets.get_mut(&target) {
            planned.at = None;
        }
        self.running.insert(target, Running { began: now, is_void: false });
        Some(Begun { target, late: now - at })
    }

    /// Whether the result of a look counts. `plan` has to follow.
    pub fn end(&mut self, target: TargetId) -> Result {
        match (self.running.get(&target), self.targets.get(&target)) {
            (None, _) | (_, None) => Result::Gone,
            (Some(Running { is_void: true, .. }), Some(_)) => Result::Void,
            (Some(Running { is_void: false, .. }), Some(_)) => Result::Counts,
        }
    }

    /// Plans the look after one that has ended. `chance` is anything from 0 to 1.
    pub fn plan(&mut self, now: Duration, target: TargetId, is_in_doubt: bool, chance: f64) {
        let Some(Running { began, is_void }) = self.running.remove(&target) else { return };
        let Some(planned) = self.targets.get_mut(&target) else { return };
        let Planned { interval, phase, .. } = *planned;
        let jitter = (interval / JITTER).mul_f64(chance.clamp(0.0, 1.0));
        // Half an interval after the last look at least, so that none follows on the heels of a second look.
        let from = if is_void { now } else { began + interval / 2 };
        let regular = slot(phase, interval, from) + jitter;
        let at = if is_in_doubt { regular.min(now + RECHECK.min(interval)) } else { regular };
        planned.plan(target, at, &mut self.queue);
    }
}

impl Planned {
    fn plan(&mut self, target: TargetId, at: Duration, queue: &mut BTreeSet<(Duration, TargetId)>) {
        self.at = Some(at);
        queue.insert((at, target));
    }
}

/// Where in its interval a probe looks at a target.
fn place(target: TargetId, probe: &str, interval: Duration) -> Duration {
    let hash: [u8; 32] = Sha256::new().chain_update(target.0).chain_update(probe).finalize().into();
    let share = u64::from_be_bytes(*hash.first_chunk().expect("8 octets stand in 32"));
    let nanoseconds = (interval.as_nanos() * u128::from(share)) >> 64;
    // Less than the interval, which has an hour at most.
    Duration::from_nanos(nanoseconds as u64)
}

/// The first instant from `from` on that is `phase` after a whole number of intervals.
fn slot(phase: Duration, interval: Duration, from: Duration) -> Duration {
    let (interval, phase) = (interval.as_nanos().max(1), phase.as_nanos());
    let behind = from.as_nanos().saturating_sub(phase).div_ceil(interval);
    Duration::from_nanos((phase + behind * interval) as u64)
}

#[cfg(test)]
mod tests;
