//! Many stories, one after the other on each thread, and what came of them.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::name_server::metrics;
use crate::run::{Outcome, run};
use crate::story::Story;
use crate::watch::{Asked, Finding, Promise};

/// Of all stories.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub seeds: u64,
    pub lasted: Duration,
    pub events: u64,
    pub boards: u64,
    pub looks: u64,
    pub asked: Asked,
    /// By promise: in which stories it was broken, with the first finding of each.
    pub broken: BTreeMap<Promise, Vec<(u64, Finding)>>,
}

/// A story, whatever becomes of it; told up to where it breaks off.
pub fn one(seed: u64, story: &mut Story) -> Outcome {
    let metrics = metrics();
    let done = catch_unwind(AssertUnwindSafe(|| run(seed, &metrics, story)));
    done.unwrap_or_else(|why| {
        let text = why.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| why.downcast_ref::<&str>().copied()).unwrap_or("no reason");
        let what = text.to_owned();
        let finding = Finding { promise: Promise::NoPanic, at: Duration::ZERO, what };
        Outcome { seed, findings: vec![finding], ..Outcome::default() }
    })
}

/// Runs so many stories from `first` on, on so many threads.
pub fn many(first: u64, count: u64, threads: usize) -> Summary {
    let next = AtomicU64::new(first);
    let work = || {
        let mut summary = Summary::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return summary;
            }
            summary.add(one(seed, &mut Story::default()));
        }
    };
    let mut all = Summary::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            all.join(worker.join().expect("what a story does wrong is a finding"));
        }
    });
    all.broken.values_mut().for_each(|stories| stories.sort_by_key(|(seed, _)| *seed));
    all
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        let Outcome { seed, lasted, events, boards, looks, findings, asked } = outcome;
        self.asked.join(&asked);
        self.seeds += 1;
        self.lasted += lasted;
        (self.events, self.boards, self.looks) =
            (self.events + events, self.boards + boards, self.looks + looks);
        for finding in findings {
            let stories = self.broken.entry(finding.promise).or_default();
            if stories.last().is_none_or(|(last, _)| *last != seed) {
                stories.push((seed, finding));
            }
        }
    }

    fn join(&mut self, other: Summary) {
        let Summary { seeds, lasted, events, boards, looks, asked, broken } = other;
        self.asked.join(&asked);
        self.seeds += seeds;
        self.lasted += lasted;
        (self.events, self.boards, self.looks) =
            (self.events + events, self.boards + boards, self.looks + looks);
        for (promise, stories) in broken {
            self.broken.entry(promise).or_default().extend(stories);
        }
    }

    pub fn text(&self) -> String {
        let Summary { seeds, lasted, events, boards, looks, asked, broken } = self;
        let hours = lasted.as_secs_f64() / 3600.0;
        let mut text = format!(
            "{seeds} seeds, {hours:.1} virtual hours, {events} events, {looks} looks, {boards} boards\n"
        );
        for promise in Promise::ALL {
            let stories = broken.get(&promise).map_or(&[][..], Vec::as_slice);
            let (name, asked) = (promise.as_str(), asked.of(promise));
            text += &format!("{name:<22} {:>5}   asked {asked}\n", stories.len());
            for (seed, finding) in stories.iter().take(3) {
                let at = finding.at.saturating_sub(crate::clock::BEGINNING).as_secs_f64();
                text += &format!("  seed {seed}, {at:.3} s: {}\n", finding.what);
            }
        }
        text
    }
}
