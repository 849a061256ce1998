//! Changes of role that a program is yet to be told of: in order, bounded, and none without a trace.
//!
//! Pure. Of one virtual router so many wait at most; what comes on top is told with the last of them as one, from where
//! that began to where it came, and with how many it stands for. So the last word on each is always told.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use crate::vrrp::machine::action::Role;

/// Of one virtual router: more than it has when nothing is wrong with its link, while a program takes all its time.
const OF_EACH: usize = 16;

/// From one role to another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    pub router: Arc<str>,
    /// That of the event, in the log.
    pub number: u64,
    pub from: Role,
    pub to: Role,
    pub why: String,
    pub priority: u8,
    pub interface: Arc<str>,
    pub vrid: u8,
    pub vips: Vec<IpAddr>,
    /// Changes before it that are told with it.
    pub skipped: u64,
}

#[derive(Debug, Default)]
pub struct Queue(VecDeque<Change>);

/// What became of a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Added {
    /// It waits for itself.
    Alone,
    /// It is told with one before it.
    Merged,
}

impl Queue {
    pub fn add(&mut self, change: Change) -> Added {
        let is_its = |waiting: &Change| waiting.router == change.router;
        if self.0.iter().filter(|waiting| is_its(waiting)).count() < OF_EACH {
            self.0.push_back(change);
            return Added::Alone;
        }
        let last = self.0.iter().rposition(is_its).and_then(|place| self.0.remove(place));
        let last = last.expect("as many wait as may");
        let (from, skipped) = (last.from, last.skipped + 1);
        self.0.push_back(Change { from, skipped, ..change });
        Added::Merged
    }

    pub fn next(&mut self) -> Option<Change> {
        self.0.pop_front()
    }

    /// Those that will not be told.
    pub fn give_up(&mut self) -> usize {
        std::mem::take(&mut self.0).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(router: &str, number: u64, from: Role, to: Role) -> Change {
        Change {
            router: Arc::from(router),
            number,
            from,
            to,
            why: String::new(),
            priority: 100,
            interface: Arc::from("eth0"),
            vrid: 51,
            vips: vec![],
            skipped: 0,
        }
    }

    fn told(queue: &mut Queue) -> Vec<(String, u64, Role, Role, u64)> {
        let all = std::iter::from_fn(|| queue.next());
        all.map(|told| (told.router.to_string(), told.number, told.from, told.to, told.skipped))
            .collect()
    }

    #[test]
    fn changes_are_told_in_order_and_each_for_itself() {
        let mut queue = Queue::default();
        for (router, number) in [("web", 1), ("mail", 1), ("web", 2)] {
            let added = queue.add(change(router, number, Role::Backup, Role::Active));
            assert_eq!(added, Added::Alone);
        }
        let told: Vec<_> =
            told(&mut queue).into_iter().map(|(router, number, ..)| (router, number)).collect();
        assert_eq!(told, [("web".into(), 1), ("mail".into(), 1), ("web".into(), 2)]);
    }

    /// It flaps while a program hangs: Backup to Active, Active to Backup, and so on; another one does not suffer.
    #[test]
    fn the_last_word_is_told_whatever_came_before() {
        let mut queue = Queue::default();
        let roles = |number: u64| match number % 2 {
            1 => (Role::Backup, Role::Active),
            _ => (Role::Active, Role::Backup),
        };
        for number in 1..=99 {
            let (from, to) = roles(number);
            let added = queue.add(change("web", number, from, to));
            assert_eq!(added, if number <= 16 { Added::Alone } else { Added::Merged });
        }
        assert_eq!(queue.add(change("mail", 1, Role::Backup, Role::Active)), Added::Alone);
        let told = told(&mut queue);
        assert_eq!(told.len(), 17);
        for (index, (_, number, from, to, skipped)) in told[..15].iter().enumerate() {
            assert_eq!((*number, (*from, *to), *skipped), (index as u64 + 1, roles(*number), 0));
        }
        // From where the sixteenth began to where the last came.
        assert_eq!(told[15], ("web".to_owned(), 99, Role::Active, Role::Active, 83));
        assert_eq!(told[16].0, "mail");
    }

    #[test]
    fn what_is_given_up_is_counted() {
        let mut queue = Queue::default();
        queue.add(change("web", 1, Role::Backup, Role::Active));
        queue.add(change("web", 2, Role::Active, Role::Backup));
        assert_eq!((queue.give_up(), queue.next()), (2, None));
    }
}
