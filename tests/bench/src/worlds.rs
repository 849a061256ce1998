//! What clients of a whole world see of each fault, told again and again: how many, for how long, and who was lost.

use std::process::ExitCode;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use anyhow::bail;
use clap::{Args, value_parser};
use common::lock::Mutex;
use gslb_tests::whole::stories::{ALL, Story};
use gslb_tests::whole::{self, Seen};

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
    /// A run that told something else, and what.
    lost: Vec<String>,
}

/// 1 if a client was lost in any of them.
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
    let mut is_lost = false;
    println!(
        "| what happens | runs | sent | failed, as explained | seconds until the last: median | worst | lost |"
    );
    println!("|---|---|---|---|---|---|---|");
    for story in stories {
        let row = Row::of(story, options, &interrupt);
        interrupt.check()?;
        println!("{}", row.line());
        for why in &row.lost {
            eprintln!("{}: {why}", story.name);
        }
        is_lost |= !row.lost.is_empty();
    }
    Ok(ExitCode::from(u8::from(is_lost)))
}

impl<'s> Row<'s> {
    fn of(story: &'s Story, options: &Worlds, interrupt: &Interrupt) -> Row<'s> {
        let (next, runs) = (AtomicUsize::new(0), usize::from(options.runs));
        let row = Mutex::new(Row { story, seen: vec![], lost: vec![] });
        let work = || {
            while next.fetch_add(1, Relaxed) < runs && interrupt.check().is_ok() {
                let told = story.tell();
                let mut row = row.lock();
                match told {
                    Ok(seen) => row.seen.push(seen),
                    Err(why) => row.lost.push(format!("{why:#}")),
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..options.side_by_side {
                scope.spawn(work);
            }
        });
        let mut row = row.lock();
        Row { story, seen: std::mem::take(&mut row.seen), lost: std::mem::take(&mut row.lost) }
    }

    /// Of a table.
    fn line(&self) -> String {
        let runs = self.seen.len() + self.lost.len();
        let sent: usize = self.seen.iter().map(|seen| seen.sent).sum();
        let explained: usize = self.seen.iter().map(|seen| seen.explained).sum();
        let mut lasted: Vec<f64> = self.seen.iter().map(|seen| seen.lasted.as_secs_f64()).collect();
        lasted.sort_by(f64::total_cmp);
        let (median, worst) = match lasted[..] {
            [] => (f64::NAN, f64::NAN),
            [.., worst] => {
                ((lasted[(lasted.len() - 1) / 2] + lasted[lasted.len() / 2]) / 2.0, worst)
            }
        };
        let name = self.story.name;
        let kinds = self.kinds();
        let lost = self.lost.len();
        format!(
            "| {name} | {runs} | {sent} | {explained}{kinds} | {median:.1} | {worst:.1} | {lost} |"
        )
    }

    /// Failures of all runs by what they were, most first.
    fn kinds(&self) -> String {
        let mut all: Vec<(&str, usize)> = vec![];
        for (kind, count) in self.seen.iter().flat_map(|seen| &seen.kinds) {
            match all.iter_mut().find(|(known, _)| known == kind) {
                Some((_, sum)) => *sum += count,
                None => all.push((kind, *count)),
            }
        }
        if all.is_empty() {
            return String::new();
        }
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let all: Vec<String> = all.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        format!(" ({})", all.join(", "))
    }
}
