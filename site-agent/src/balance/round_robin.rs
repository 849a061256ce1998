//! Smooth weighted round robin, as nginx has it (`ngx_http_upstream_round_robin.c`).
//!
//! At each pick every server gains its weight; the one that has gained most is picked, and gives back what all gained.

use super::table::{Entry, Table};
use crate::ids::ServerId;

/// What each server has gained and not yet given back, by its id; `None` of one that is not in the table.
#[derive(Clone, Debug, Default)]
pub struct RoundRobin {
    gained: Vec<Option<i64>>,
}

impl RoundRobin {
    /// Goes over to another table. Who stays keeps what was gained, so that a table made anew each second does not
    /// begin with the same servers each time; a newcomer has what they have on average, and none more than one round.
    pub fn follow(&mut self, table: &Table) {
        let before = |entry: &Entry| self.gained.get(entry.id.0).copied().flatten();
        let stay = table.entries.iter().filter_map(before);
        let (sum, count) = stay.fold((0, 0), |(sum, count), gained| (sum + gained, count + 1));
        let mean = if count == 0 { 0 } else { sum / count };
        let round = table.total_share() as i64;
        let length = table.entries.iter().map(|entry| entry.id.0 + 1).max().unwrap_or(0);
        let mut gained = vec![None; length];
        for entry in &table.entries {
            let keeps = before(entry).map_or(0, |gained| gained - mean);
            gained[entry.id.0] = Some(keeps.clamp(-round, round));
        }
        self.gained = gained;
    }

    /// Whose turn it is of those that fit.
    pub fn next(&mut self, table: &Table, fits: impl Fn(&Entry) -> bool) -> Option<ServerId> {
        let mut round = 0;
        let mut most: Option<(ServerId, i64)> = None;
        for entry in table.entries.iter().filter(|entry| fits(entry)) {
            let share = i64::from(entry.share.get());
            let gained = self.gained[entry.id.0].get_or_insert(0);
            *gained += share;
            round += share;
            if most.is_none_or(|(_, most)| *gained > most) {
                most = Some((entry.id, *gained));
            }
        }
        let (id, gained) = most?;
        self.gained[id.0] = Some(gained - round);
        Some(id)
    }
}
