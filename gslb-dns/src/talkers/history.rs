//! What all threads counted in the last two minutes, window by window, each in as much memory as one thread's.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use super::{Asked, Network, Outlet, SpaceSaving, WINDOW, Window};

/// Windows of the last minute, and as many before them.
pub(super) const MINUTE: u64 = 60 / WINDOW;
const KEPT: u64 = 2 * MINUTE;

pub struct History {
    outlets: Vec<Outlet>,
    /// By their number.
    windows: BTreeMap<u64, Heard>,
    /// The window in which this began.
    since: u64,
}

/// One window of all threads.
#[derive(Default)]
pub(super) struct Heard {
    pub clients: Sums<Network>,
    pub names: Sums<Asked>,
    pub lost: u64,
}

/// Tables of several streams together, with the bound of one: n keys in all, m places, nobody off by more than n/m.
pub(super) struct Sums<K> {
    pub all: HashMap<K, Sum>,
    /// How often whoever is not among them may have been met.
    pub floor: u64,
    pub total: u64,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Sum {
    pub at_least: u64,
    pub at_most: u64,
    pub errors: u64,
    pub limited: u64,
    /// Of those whose outcome is known.
    pub known: u64,
}

impl History {
    pub fn new(outlets: Vec<Outlet>, now: u64) -> History {
        History { outlets, windows: BTreeMap::new(), since: now / WINDOW }
    }

    /// Fetches what the threads have handed over, and gives them their room back.
    pub fn gather(&mut self) {
        for outlet in &mut self.outlets {
            while let Ok(mut window) = outlet.full.pop() {
                take(&mut self.windows, &window);
                window.clear();
                // There is room for all.
                let _ = outlet.empty.push(window);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn windows(&self) -> usize {
        self.windows.len()
    }

    /// What was heard in the minute before `now`, in seconds since 1970, and in the minute before that; with the seconds
    /// that each lasted.
    pub(super) fn minutes(&self, now: u64) -> [(Heard, u64); 2] {
        // The window that has just ended may still be with its threads.
        let last = (now / WINDOW).saturating_sub(1);
        let end = last + u64::from(self.windows.contains_key(&last));
        [(end.saturating_sub(MINUTE), end), (end.saturating_sub(KEPT), end.saturating_sub(MINUTE))]
            .map(|(from, to)| {
                let mut sum = Heard::default();
                self.windows.range(from..to).for_each(|(_, heard)| sum.add(heard));
                (sum, to.saturating_sub(from.max(self.since)) * WINDOW)
            })
    }
}

fn take(windows: &mut BTreeMap<u64, Heard>, window: &Window) {
    let number = window.number;
    // What lies far ahead is of a clock that was wrong.
    windows.retain(|other, _| *other < number + KEPT);
    let heard = windows.entry(number).or_default();
    let Window { clients, names, lost, .. } = window;
    heard.clients.add(&Sums::of(clients));
    heard.clients.cut(clients.capacity());
    heard.names.add(&Sums::of(names));
    heard.names.cut(names.capacity());
    heard.lost += u64::from(*lost);
    while windows.len() as u64 > KEPT {
        windows.pop_first();
    }
}

impl Heard {
    fn add(&mut self, other: &Heard) {
        self.clients.add(&other.clients);
        self.names.add(&other.names);
        self.lost += other.lost;
    }
}

impl<K> Default for Sums<K> {
    fn default() -> Sums<K> {
        Sums { all: HashMap::new(), floor: 0, total: 0 }
    }
}

impl<K: Copy + Eq + Hash> Sums<K> {
    pub fn of(table: &SpaceSaving<K>) -> Sums<K> {
        let sum = |held: &super::Held<K>| Sum {
            at_least: (held.count - held.inherited).into(),
            at_most: held.count.into(),
            errors: held.errors.into(),
            limited: held.limited.into(),
            known: (held.count - held.inherited).into(),
        };
        Sums {
            all: table.held().iter().map(|held| (held.key, sum(held))).collect(),
            floor: table.floor().into(),
            total: table.total().into(),
        }
    }

    /// Whoever is in one alone may have been met in the other as often as its floor says.
    pub fn add(&mut self, other: &Sums<K>) {
        for (key, sum) in &mut self.all {
            if !other.all.contains_key(key) {
                sum.at_most += other.floor;
            }
        }
        for (key, more) in &other.all {
            let unheard = Sum { at_most: self.floor, ..Sum::default() };
            let sum = self.all.entry(*key).or_insert(unheard);
            sum.at_least += more.at_least;
            sum.at_most += more.at_most;
            sum.errors += more.errors;
            sum.limited += more.limited;
            sum.known += more.known;
        }
        self.floor += other.floor;
        self.total += other.total;
    }

    /// Keeps those that may have been met most. With the floor raised to what the first of the others may have had, the
    /// bound of the sum is that of one table (Agarwal et al., Mergeable Summaries, 2012, §3).
    pub fn cut(&mut self, capacity: usize) {
        if self.all.len() <= capacity {
            return;
        }
        let mut most: Vec<(K, Sum)> = self.all.drain().collect();
        let (kept, first, _) =
            most.select_nth_unstable_by_key(capacity, |(_, sum)| std::cmp::Reverse(sum.at_most));
        self.floor = self.floor.max(first.1.at_most);
        self.all.extend(kept.iter().copied());
    }
}
