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

    pub fn vantage(&self, name: &str) -> Option<&Stream<TargetId, Entry>> {
        self.vantages.get(name)
    }

    /// When the first lease ends that holds now: then silence says something new.
    pub fn next_silence(&self, now: Duration) -> Option<Duration> {
        self.vantages.values().filter_map(Stream::lease_ends).filter(|end| *end > now).min()
    }
}
