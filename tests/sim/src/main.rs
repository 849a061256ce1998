//! Runs stories by their seeds: `--seeds N` many, summed up; `--seed N --story` one, told line by line.

use std::process::ExitCode;

use clap::Parser;
use gslb_sim::seeds;
use gslb_sim::story::Story;

#[derive(Parser)]
#[command(about)]
struct Cli {
    /// So many stories.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// One story alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Tells that one.
    #[arg(long, requires = "seed")]
    story: bool,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

fn main() -> ExitCode {
    let Cli { seeds: count, from, seed, story, threads } = Cli::parse();
    let (text, is_clean) = match seed {
        Some(seed) => {
            let mut story = if story { Story::told() } else { Story::default() };
            let outcome = seeds::one(seed, &mut story);
            let mut text = story.text();
            for finding in &outcome.findings {
                text += &format!("{}: {}\n", finding.promise.as_str(), finding.what);
            }
            text += &format!("seed {seed}: {} findings\n", outcome.findings.len());
            (text, outcome.findings.is_empty())
        }
        None => {
            let summary = seeds::many(from, count, threads);
            (summary.text(), summary.broken.is_empty())
        }
    };
    print!("{text}");
    ExitCode::from(u8::from(!is_clean))
}
