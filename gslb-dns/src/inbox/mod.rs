//! What producers tell this name server, as far as it still holds.

pub mod agents;
pub mod stream;

use std::collections::BTreeMap;
use std::time::Duration;

use common::report::{Entry, Head, Mark};
use common::target::TargetId;

use self::stream::{Change, Reception, Stream};

/// A stream for each vantage that was ever heard.
#[derive(Clone, Debug, Default)]
pub struct Inbox {
    vantages: BTreeMap<Box<str>, Stream<TargetId, Entry>>,
}

/// The marks of producers, by name: what a restart needs to know so that nothing old is replayed to it.
pub type Marks = BTreeMap<Box<str>, Mark>;

impl Inbox {
    /// Nothing is known but how far each producer had come.
    pub fn restored(marks: Marks) -> Inbox {
        let streams = marks.into_iter().map(|(name, mark)| (name, Stream::new(mark)));
        Inbox { vantages: streams.collect() }
    }

    pub fn marks(&self) -> Marks {
        self.vantages.iter().map(|(name, stream)| (name.clone(), stream.mark())).collect()
    }

    /// Takes a report of a vantage of the world, or says why not.
    pub fn on_report(
        &mut self,
        now: Duration,
        vantage: &str,
        head: &Head,
        changes: impl IntoIterator<Item = (TargetId, Change<Entry>)>,
    ) -> Reception {
        let stream =
            self.vantages.entry(vantage.into()).or_insert_with(|| Stream::new(Mark::default()));
        stream.on_report(now, head, changes)
    }

    /// Forgets what vantages said that the world does not name any more, but not how far they had come: what is forgotten
    /// is not replayed.
    pub fn keep(&mut self, is_named: impl Fn(&str) -> bool) {
        for (name, stream) in &mut self.vantages {
            if !is_named(name) {
                *stream = Stream::new(stream.mark());
            }
        }
    }

    pub fn vantage(&self, name: &str) -> Option<&Stream<TargetId, Entry>> {
        self.vantages.get(name)
    }

    /// When the first lease ends that holds now: then silence says something new.
    pub fn next_silence(&self, now: Duration) -> Option<Duration> {
        self.vantages.values().filter_map(Stream::lease_ends).filter(|end| *end > now).min()
    }
}

#[cfg(test)]
mod tests {
    use common::principal::Kind;
    use common::report::{Boot, Digest, Own};

    use super::stream::Oddity;
    use super::*;

    fn tell(inbox: &mut Inbox, vantage: &str, seq: u64) -> Reception {
        let head = Head {
            cluster: "test".into(),
            producer: vantage.into(),
            kind: Kind::Probe,
            boot: Boot([1; 16]),
            mark: Mark { inc: 1, seq },
            base: None,
            now: Duration::ZERO,
            digest: Digest::default(),
            valid: Duration::from_secs(10),
            own: Own::default(),
        };
        inbox.on_report(Duration::ZERO, vantage, &head, [])
    }

    #[test]
    fn who_left_the_world_is_forgotten_but_not_how_far_it_had_come() {
        let mut inbox = Inbox::default();
        for vantage in ["ams", "nyc"] {
            assert_eq!(tell(&mut inbox, vantage, 5), Reception::Taken(Oddity::None));
        }
        inbox.keep(|name| name == "ams");
        assert!(inbox.vantage("ams").unwrap().is_fresh(Duration::ZERO));
        assert!(!inbox.vantage("nyc").unwrap().is_fresh(Duration::ZERO));
        assert_eq!(inbox.marks()["nyc"], Mark { inc: 1, seq: 5 });
        assert_eq!(tell(&mut inbox, "nyc", 5), Reception::Behind(Mark { inc: 1, seq: 5 }));
        inbox.keep(|_| false);
        assert_eq!(inbox.next_silence(Duration::ZERO), None);
        assert_eq!(tell(&mut inbox, "nyc", 6), Reception::Taken(Oddity::None));
    }
}
