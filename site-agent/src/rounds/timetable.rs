//! When each is due. Never the same twice at once, and never more at once than may be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Series;

#[derive(Debug)]
pub struct Timetable {
    /// Under way at once.
    most: usize,
    all: BTreeMap<Series, State>,
    /// Those that wait, by when they are due.
    queue: BTreeSet<(Duration, Series)>,
    turned: Duration,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Waits { at: Duration },
    UnderWay(UnderWay),
}

#[derive(Clone, Copy, Debug)]
pub struct UnderWay {
    pub began: Duration,
    /// The process stood still meanwhile: what it comes to says nothing.
    pub is_void: bool,
}

impl Timetable {
    pub fn new(most: usize, now: Duration) -> Timetable {
        Timetable { most, all: BTreeMap::new(), queue: BTreeSet::new(), turned: now }
    }

    /// Whether it was under way.
    pub fn remove(&mut self, series: Series) -> bool {
        match self.all.remove(&series) {
            Some(State::Waits { at }) => {
                self.queue.remove(&(at, series));
                false
            }
            Some(State::UnderWay(_)) => true,
            None => false,
        }
    }

    pub fn next_wakeup(&self) -> Option<Duration> {
        let (at, _) = self.queue.first()?;
        (self.under_way() < self.most).then_some(*at)
    }

    fn under_way(&self) -> usize {
        self.all.len() - self.queue.len()
    }

    /// To be called more often than `longest` has it. After a longer pause nothing ran, so those under way are void;
    /// told are those that were missed, which are to be planned anew instead of all at once.
    pub fn turn(&mut self, now: Duration, longest: Duration) -> Vec<Series> {
        let paused = now.saturating_sub(self.turned);
        self.turned = self.turned.max(now);
        if paused <= longest {
            return vec![];
        }
        for state in self.all.values_mut() {
            match state {
                State::Waits { .. } => {}
                State::UnderWay(under_way) => under_way.is_void = true,
            }
        }
        let missed = self.queue.iter().take_while(|(at, _)| *at < now);
        missed.map(|(_, series)| *series).collect()
    }

    /// Who is due first, if anybody is and may begin.
    pub fn begin(&mut self, now: Duration) -> Option<Series> {
        let (_, series) = self.queue.first().copied().filter(|(at, _)| *at <= now)?;
        if self.under_way() >= self.most {
            return None;
        }
        self.queue.pop_first();
        self.all.insert(series, State::UnderWay(UnderWay { began: now, is_void: false }));
        Some(series)
    }

    /// One that has ended, unless it is nobody's any more. `put` has to follow.
    pub fn end(&self, series: Series) -> Option<UnderWay> {
        match self.all.get(&series)? {
            State::Waits { .. } => None,
            State::UnderWay(under_way) => Some(*under_way),
        }
    }

    /// Has it begin at that time, in place of any other.
    pub fn put(&mut self, series: Series, at: Duration) {
        if let Some(State::Waits { at: before }) = self.all.insert(series, State::Waits { at }) {
            self.queue.remove(&(before, series));
        }
        self.queue.insert((at, series));
    }

    /// Has it begin now, unless it was due before. One under way stays so.
    pub fn hasten(&mut self, now: Duration, series: Series) {
        if let Some(State::Waits { at }) = self.all.get(&series).copied() {
            self.put(series, at.min(now));
        }
    }
}
