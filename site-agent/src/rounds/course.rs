//! All looks, or all lines: whose they are, and when.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::timetable::{Timetable, UnderWay};
use super::{FIRST_WITHIN, Name, STOPPED, Series, Wanted, Which};

/// What is done again and again at one server.
pub trait Task {
    /// Whether the same is done in the same way, so that what is known stays.
    fn is_same(&self, other: &Self) -> bool;

    /// From the beginning of the last one to that of the next.
    fn interval(&self) -> Duration;
}

#[derive(Debug)]
pub struct Course<T> {
    timetable: Timetable,
    all: HashMap<Series, Owned<T>>,
    at: HashMap<Which, Series>,
    named: HashMap<Name, Series>,
}

#[derive(Debug)]
struct Owned<T> {
    which: Which,
    address: SocketAddr,
    task: T,
}

impl<T: Task> Course<T> {
    pub fn new(most: usize, now: Duration) -> Course<T> {
        let timetable = Timetable::new(most, now);
        let (all, at, named) = (HashMap::new(), HashMap::new(), HashMap::new());
        Course { timetable, all, at, named }
    }

    /// Takes what is wanted from now on; which series under way have ended by it.
    pub fn adopt(
        &mut self,
        now: Duration,
        wanted: Vec<(&Wanted, T)>,
        chance: f64,
        next: &mut u64,
    ) -> Vec<Series> {
        let mut known = std::mem::take(&mut self.all);
        let named = std::mem::take(&mut self.named);
        let mut begun = vec![];
        self.at.clear();
        for (server, task) in wanted {
            let Wanted { which, name, address, .. } = server;
            let is_same = |owned: &Owned<T>| owned.address == *address && owned.task.is_same(&task);
            let before = named.get(name).copied();
            let before = before.filter(|series| known.get(series).is_some_and(is_same));
            let kept = before.and_then(|series| Some((series, known.remove(&series)?)));
            let (series, owned) = match kept {
                Some((series, owned)) => (series, Owned { which: *which, ..owned }),
                None => {
                    let series = Series(*next);
                    *next += 1;
                    begun.push(series);
                    (series, Owned { which: *which, address: *address, task })
                }
            };
            self.at.insert(*which, series);
            self.named.insert(name.clone(), series);
            self.all.insert(series, owned);
        }
        self.spread(now, &begun, chance);
        known.into_keys().filter(|series| self.timetable.remove(*series)).collect()
    }

    pub fn turn(&mut self, now: Duration, chance: f64) {
        let missed = self.timetable.turn(now, STOPPED);
        self.spread(now, &missed, chance);
    }

    /// Each at its own time within its interval, or within the first second.
    fn spread(&mut self, now: Duration, all: &[Series], chance: f64) {
        for (index, series) in all.iter().enumerate() {
            let Some(owned) = self.all.get(series) else { continue };
            let within = owned.task.interval().min(FIRST_WITHIN);
            let share = (index as f64 + chance.clamp(0.0, 1.0)) / all.len() as f64;
            self.timetable.put(*series, now + within.mul_f64(share));
        }
    }

    pub fn next_wakeup(&self) -> Option<Duration> {
        self.timetable.next_wakeup()
    }

    pub fn begin(&mut self, now: Duration) -> Option<(Series, Which, &mut T)> {
        let series = self.timetable.begin(now)?;
        let owned = self.all.get_mut(&series)?;
        Some((series, owned.which, &mut owned.task))
    }

    /// One that has ended, unless it is nobody's any more. `plan` has to follow.
    pub fn end(&mut self, series: Series) -> Option<(Which, UnderWay, &mut T)> {
        let under_way = self.timetable.end(series)?;
        let owned = self.all.get_mut(&series)?;
        Some((owned.which, under_way, &mut owned.task))
    }

    pub fn plan(&mut self, series: Series, at: Duration) {
        self.timetable.put(series, at);
    }

    pub fn hasten(&mut self, now: Duration, series: Series) {
        self.timetable.hasten(now, series);
    }

    pub fn known_mut(&mut self, which: Which) -> Option<(Series, &mut T)> {
        let series = *self.at.get(&which)?;
        Some((series, &mut self.all.get_mut(&series)?.task))
    }

    pub fn known(&self, which: Which) -> Option<&T> {
        Some(&self.all.get(self.at.get(&which)?)?.task)
    }
}
