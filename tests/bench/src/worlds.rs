//! What clients of a whole world see of each fault, told again and again: how many fail, and for how long.

use std::process::ExitCode;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, value_parser};
use common::lock::Mutex;
use gslb_tests::whole::stories::{ALL, Story};
use gslb_tests::whole::{self, Kinds, Seen};

use crate::interrupt::Interrupt;

#[derive(Args)]
pub struct Worlds {
    /// Of each story.
    #[arg(long, default_value_t = 20, value_parser = value_parser!(u16).range(1..1000))]
    runs: u16,
    /// Worlds side by side: each takes a quarter of a core while it starts, and little later.
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u16).range(1..16))]
    side_by_side: u16,
    /// Only stories whose names hold this.
    #[arg(long, value_name = "WORDS")]
    story: Option<String>,
}

/// What came of one story.
struct Row<'s> {
    story: &'s Story,
    seen: Vec<Seen>,
    /// Runs that told something else, and what; they are not in the sums.
    failed: Vec<String>,
}

/// 1 if any run failed: a request that nothing explains was lost, or anything else was not as the story has it.
pub fn tell(options: &Worlds) -> anyhow::Result<ExitCode> {
    if let Some(why) = whole::missing() {
        bail!("{why}");
    }
    let wanted = |story: &&Story| match &options.story {
        None => true,
        Some(words) => story.name.contains(&**words),
    };
    let stories: Vec<&Story> = ALL.iter().filter(wanted).collect();
    if stories.is_empty() {
        let names: Vec<&str> = ALL.iter().map(|story| story.name).collect();
        bail!("no story is called so; there are: {}", names.join(", "));
    }
    let interrupt = Interrupt::watch()?;
    let mut is_any_failed = false;
    println!(
        "| what happens | runs | sent | failed, as explained | seconds until the last: median | worst | slowest answer: median | worst | runs that failed |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for story in stories {
        let row = Row::of(story, options, &interrupt);
        interrupt.check()?;
        println!("{}", row.line());
        for why in &row.failed {
            eprintln!("{}: {why}", story.name);
        }
        is_any_failed |= !row.failed.is_empty();
    }
    Ok(ExitCode::from(u8::from(is_any_failed)))
}

impl<'s> Row<'s> {
    fn of(story: &'s Story, options: &Worlds, interrupt: &Interrupt) -> Row<'s> {
        let (next, runs) = (AtomicUsize::new(0), usize::from(options.runs));
        let row = Mutex::new(Row { story, seen: vec![], failed: vec![] });
        let work = || {
            while next.fetch_add(1, Relaxed) < runs && interrupt.check().is_ok() {
                let told = story.tell();
                let mut row = row.lock();
                match told {
                    Ok(seen) => row.seen.push(seen),
                    Err(why) => row.failed.push(format!("{why:#}")),
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..options.side_by_side {
                scope.spawn(work);
            }
        });
        let mut row = row.lock();
        Row { story, seen: std::mem::take(&mut row.seen), failed: std::mem::take(&mut row.failed) }
    }

    /// Of a table.
    fn line(&self) -> String {
        let runs = self.seen.len() + self.failed.len();
        let sent: usize = self.seen.iter().map(|seen| seen.sent).sum();
        let explained: usize = self.seen.iter().map(|seen| seen.explained).sum();
        let lasted = median_and_worst(self.seen.iter().map(|seen| seen.lasted));
        let slowest = median_and_worst(self.seen.iter().map(|seen| seen.slowest));
        let name = self.story.name;
        let kinds = self.seen.iter().flat_map(|seen| seen.kinds.0.iter().cloned());
        let kinds = match explained {
            0 => String::new(),
            _ => format!(" ({})", Kinds::of(kinds)),
        };
        let failed = self.failed.len();
        format!(
            "| {name} | {runs} | {sent} | {explained}{kinds} | {lasted} | {slowest} | {failed} |"
        )
    }
}

/// In seconds, as cells of a table.
fn median_and_worst(all: impl Iterator<Item = Duration>) -> String {
    let mut all: Vec<f64> = all.map(|one| one.as_secs_f64()).collect();
    all.sort_by(f64::total_cmp);
    let (median, worst) = match all[..] {
        [] => (f64::NAN, f64::NAN),
        [.., worst] => ((all[(all.len() - 1) / 2] + all[all.len() / 2]) / 2.0, worst),
    };
    format!("{median:.1} | {worst:.1}")
}
