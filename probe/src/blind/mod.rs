//! Whether this probe sees at all, so that it does not take its own darkness for that of the world.
//!
//! Blind is who loses most of what it saw at once (more than half, at least three targets on two addresses, within the
//! longest interval), whose reference targets are mostly down, or whose looks are so late that they tell of the past.
//! Where most reference targets have answered since the loss, who looks at them sees, and what was lost at once is
//! really gone. A loss without references is believed after some minutes: if it were ours, the name servers would see
//! that we alone have it. What was only lost sight of was never down: it is `was_dark` then. Who sees again
//! stays blind until all that it lost sight of is seen again, or must have been looked at: what was seen in the dark says
//! nothing. Takes the time as an argument.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use common::report::State;
use common::streak::Outcome;
use common::target::{Address, TargetId};

/// Targets lost at once, and addresses that they are on, at least.
const LEAST_TARGETS: usize = 3;
const LEAST_ADDRESSES: usize = 2;
/// Looks end some time after they are due, and are repeated.
const SLACK: Duration = Duration::from_secs(5);
/// With longer intervals than this, a loss takes too long to be one.
const LONGEST_WINDOW: Duration = Duration::from_secs(60);
/// For so long a loss is taken for our own, unless references say otherwise.
const DOUBT: Duration = Duration::from_secs(300);
/// Looks must have been in time for so long to be believed again.
const IN_TIME: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub struct Blind {
    targets: HashMap<TargetId, Known>,
    /// How many of them have each interval.
    intervals: BTreeMap<Duration, usize>,
    references: HashMap<TargetId, Reference>,
    /// Targets whose last look succeeded.
    up: usize,
    /// Those that were up and then failed, in the order in which they did.
    lost: VecDeque<(Duration, TargetId)>,
    /// How many of `lost` are still, and on which addresses.
    lost_now: usize,
    addresses: HashMap<Address, usize>,
    /// Why it is blind, if it is.
    why: Option<Why>,
    /// When it last was, unless what was lost then was believed after all.
    darkness: Option<Darkness>,
}

/// A time in which nothing was seen.
#[derive(Clone, Copy, Debug)]
struct Darkness {
    began: Duration,
    /// `None` while it lasts.
    ended: Option<Duration>,
}

#[derive(Debug)]
struct Known {
    address: Address,
    interval: Duration,
    last: Last,
    /// When it was up no more, however long ago.
    gone: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Reference {
    state: State,
    /// When a look at it last succeeded.
    answered: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Last {
    /// Not seen up yet, or down for longer than anything could be lost at once.
    NotUp,
    Up,
    /// Was up, and has failed since.
    Lost {
        at: Duration,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Why {
    /// It is over when at most a quarter of them are still lost.
    Loss {
        at: Duration,
        lost: usize,
        of: usize,
    },
    References {
        down: usize,
        of: usize,
    },
    /// It sees again since then, and what it saw in the dark is not looked at again yet.
    Returning {
        at: Duration,
    },
    /// Looks are so late, or were not long ago.
    Behind {
        at: Duration,
        late: Duration,
    },
}

/// How many references answer, of all that were looked at.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct References {
    pub up: usize,
    pub down: usize,
    /// Not looked at yet included.
    pub all: usize,
}

impl Blind {
    pub fn add(&mut self, target: TargetId, address: Address, interval: Duration) {
        if self.targets.contains_key(&target) {
            return;
        }
        *self.intervals.entry(interval).or_default() += 1;
        self.targets.insert(target, Known { address, interval, last: Last::NotUp, gone: None });
    }

    pub fn remove(&mut self, target: TargetId) {
        self.put(target, Last::NotUp);
        let Some(known) = self.targets.remove(&target) else { return };
        if let Some(count) = self.intervals.get_mut(&known.interval) {
            *count -= 1;
            if *count == 0 {
                self.intervals.remove(&known.interval);
            }
        }
    }

    /// All targets that are looked at to find out whether we see.
    pub fn refer_to(&mut self, references: impl IntoIterator<Item = TargetId>) {
        let before = std::mem::take(&mut self.references);
        let unseen = Reference { state: State::None, answered: None };
        let kept = |target| before.get(&target).copied().unwrap_or(unseen);
        self.references = references.into_iter().map(|target| (target, kept(target))).collect();
    }

    /// Takes what a look at a target, or a reference, came to, and the state that it now has.
    pub fn on_result(&mut self, now: Duration, target: TargetId, outcome: Outcome, state: State) {
        if let Some(reference) = self.references.get_mut(&target) {
            reference.state = state;
            if outcome == Outcome::Success {
                reference.answered = Some(now);
            }
        }
        let Some(known) = self.targets.get(&target) else { return };
        let next = match (known.last, outcome) {
            (Last::NotUp | Last::Up | Last::Lost { .. }, Outcome::Success) => Last::Up,
            (Last::Up, Outcome::Failure) => Last::Lost { at: now },
            (stays @ (Last::NotUp | Last::Lost { .. }), Outcome::Failure) => stays,
        };
        self.put(target, next);
    }

    fn put(&mut self, target: TargetId, next: Last) {
        let Some(known) = self.targets.get_mut(&target) else { return };
        let before = std::mem::replace(&mut known.last, next);
        if before == next {
            return;
        }
        match before {
            Last::NotUp => {}
            Last::Up => self.up -= 1,
            Last::Lost { .. } => {
                self.lost_now -= 1;
                if let Some(count) = self.addresses.get_mut(&known.address) {
                    *count -= 1;
                    if *count == 0 {
                        self.addresses.remove(&known.address);
                    }
                }
            }
        }
        match next {
            Last::NotUp => {}
            Last::Up => self.up += 1,
            Last::Lost { at } => {
                known.gone = Some(at);
                self.lost_now += 1;
                *self.addresses.entry(known.address.clone()).or_default() += 1;
                self.lost.push_back((at, target));
            }
        }
    }

    pub fn references(&self) -> References {
        let (mut up, mut down) = (0, 0);
        for reference in self.references.values() {
            match reference.state {
                State::Up | State::Slow => up += 1,
                State::Down => down += 1,
                State::None | State::Gone => {}
            }
        }
        References { up, down, all: self.references.len() }
    }

    /// Why nothing of what this probe sees is to be believed now; `late` is how late looks are, if too late.
    pub fn judge(&mut self, now: Duration, late: Option<Duration>) -> Option<String> {
        let was_blind = self.why.is_some();
        let is_believed = self.judge_loss(now, late);
        self.darkness = match (was_blind, self.why.is_some(), self.darkness) {
            (false, true, _) => Some(Darkness { began: now, ended: None }),
            (true, false, Some(_)) if is_believed => None,
            (true, false, Some(Darkness { began, .. })) => {
                Some(Darkness { began, ended: Some(now) })
            }
            (_, _, before) => before,
        };
        self.why.map(|why| why.to_string())
    }

    /// Whether what is up again was down only as far as this probe could see: it went down in a time of darkness, or
    /// as that began, and came up before all is seen again.
    pub fn was_dark(&self, now: Duration, down: Duration) -> bool {
        self.darkness.is_some_and(|Darkness { began, ended }| {
            let window = self.window();
            let is_within = ended.is_none_or(|ended| down <= ended && now <= ended + window);
            is_within && down + window >= began
        })
    }

    /// Whether a loss has turned out to be real.
    fn judge_loss(&mut self, now: Duration, late: Option<Duration>) -> bool {
        let is_doubted = |at| now < at + DOUBT;
        let mut is_believed = matches!(self.why, Some(Why::Loss { at, .. }) if !is_doubted(at));
        self.forget(now);
        let references = self.references();
        let References { up: _, down, all } = references;
        self.why = match (self.why, late) {
            (_, Some(late)) => Some(Why::Behind { at: now, late }),
            (Some(Why::Behind { at, late }), None) if now < at + IN_TIME => {
                Some(Why::Behind { at, late })
            }
            _ if references.are_down() => Some(Why::References { down, of: all }),
            // As many must be up again: it is not enough that they are no longer down.
            (Some(Why::References { .. }), None) if all > 0 && !references.are_up() => {
                Some(Why::References { down, of: all })
            }
            (Some(Why::Loss { at, .. }), None) if self.have_answered_since(at) => {
                self.believe();
                is_believed = true;
                None
            }
            (Some(Why::Loss { at, lost, of }), None) if self.lost_now * 4 > lost => {
                let (lost, of) = (lost.max(self.lost_now), of.max(self.lost_now + self.up));
                Some(Why::Loss { at, lost, of })
            }
            (Some(Why::References { .. } | Why::Loss { .. }), None)
                if !is_believed && self.has_dark() =>
            {
                Some(Why::Returning { at: now })
            }
            (Some(Why::Returning { at }), None) if now < at + self.window() && self.has_dark() => {
                Some(Why::Returning { at })
            }
            (
                None
                | Some(
                    Why::Behind { .. }
                    | Why::References { .. }
                    | Why::Returning { .. }
                    | Why::Loss { .. },
                ),
                None,
            ) => self.loss(now),
        };
        is_believed
    }

    /// Whether something that was lost in this darkness, or as it began, has not been seen since.
    fn has_dark(&self) -> bool {
        let Some(Darkness { began, .. }) = self.darkness else { return false };
        let window = self.window();
        let is_dark = |known: &Known| {
            known.last != Last::Up && known.gone.is_some_and(|gone| gone + window >= began)
        };
        self.targets.values().any(is_dark)
    }

    fn have_answered_since(&self, at: Duration) -> bool {
        let has = |reference: &&Reference| reference.answered.is_some_and(|answered| answered > at);
        let answered = self.references.values().filter(has).count();
        answered * 2 > self.references.len()
    }

    /// What is lost is really gone.
    fn believe(&mut self) {
        while let Some((at, target)) = self.lost.pop_front() {
            if self.targets.get(&target).is_some_and(|known| known.last == Last::Lost { at }) {
                self.put(target, Last::NotUp);
            }
        }
    }

    /// That more than half are lost.
    fn loss(&self, now: Duration) -> Option<Why> {
        let (lost, of) = (self.lost_now, self.lost_now + self.up);
        let is_loss =
            lost * 2 > of && lost >= LEAST_TARGETS && self.addresses.len() >= LEAST_ADDRESSES;
        is_loss.then_some(Why::Loss { at: now, lost, of })
    }

    /// Within which everything has been looked at.
    fn window(&self) -> Duration {
        let longest =
            self.intervals.last_key_value().map_or(Duration::ZERO, |(longest, _)| *longest);
        longest.min(LONGEST_WINDOW) + SLACK
    }

    /// What was lost longer ago than the window was not lost with the rest; while a loss lasts it all belongs to it.
    fn forget(&mut self, now: Duration) {
        let began = match self.why {
            Some(Why::Loss { at, .. }) if now < at + DOUBT => at,
            Some(
                Why::Loss { .. }
                | Why::References { .. }
                | Why::Returning { .. }
                | Why::Behind { .. },
            )
            | None => now,
        };
        let window = self.window();
        while let Some((at, target)) = self.lost.front().copied() {
            let is_lost = self.targets.get(&target).is_some_and(|k| k.last == Last::Lost { at });
            if is_lost && at + window >= began {
                break;
            }
            self.lost.pop_front();
            if is_lost {
                self.put(target, Last::NotUp);
            }
        }
    }
}

impl References {
    fn are_down(self) -> bool {
        self.down * 2 > self.all
    }

    fn are_up(self) -> bool {
        self.up * 2 > self.all
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Loss { lost, of, at: _ } => {
                write!(f, "lost {lost} of {of} targets at once")
            }
            Why::References { down, of } => write!(f, "{down} of {of} reference targets are down"),
            Why::Returning { at: _ } => {
                f.write_str("sees again, and has not looked again at all that it lost sight of")
            }
            Why::Behind { late, at: _ } => {
                write!(
                    f,
                    "looks are {} s late: more targets than this probe can look at",
                    late.as_secs()
                )
            }
        }
    }
}

#[cfg(test)]
mod tests;
