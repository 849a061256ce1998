//! Stories from their seeds: nothing that was promised is broken, and a seed tells the same story each time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gslb_sim::seeds;
use gslb_sim::story::Story;
use gslb_sim::watch::Promise;

/// In a build that is not optimised each takes some 0.4 s; the gate runs a thousand beside the tests.
const SEEDS: u64 = 100;

#[test]
fn what_was_promised_is_kept_whatever_goes_wrong() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let summary = seeds::many(0, SEEDS, threads);
    assert!(summary.broken.is_empty(), "{}", summary.text());
    // Something happened at all, and each promise could have been broken.
    assert!(summary.boards > 20 * SEEDS && summary.looks > 100 * SEEDS, "{}", summary.text());
    for promise in Promise::ALL {
        assert!(summary.asked.of(promise) > 0, "{promise:?}: {}", summary.text());
    }
}

#[test]
fn a_seed_tells_the_same_story_each_time() {
    for seed in [3, 7, 11] {
        let [first, second] = [0, 1].map(|_| {
            let mut story = Story::told();
            seeds::one(seed, &mut story);
            story.text()
        });
        assert!(first.lines().count() > 50, "{first}");
        assert!(first == second, "seed {seed}");
    }
}

/// What breaks a rule on purpose still does: `broken/run` is not run by anybody every day.
#[test]
fn broken_rules_can_still_be_broken() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let top = package.join("../..");
    let folder = fs::read_dir(package.join("broken")).expect("a folder of this repository");
    let all = folder.map(|entry| entry.expect("an entry of that folder").path());
    let patches: Vec<PathBuf> =
        all.filter(|path| path.extension().is_some_and(|it| it == "patch")).collect();
    assert!(patches.len() >= 5, "{patches:?}");
    for patch in patches {
        let mut git = Command::new("git");
        // In a lower folder git would pass over what is not below it, and be content.
        git.args(["apply", "--check"]).arg(&patch).current_dir(&top);
        let told = git.output().expect("git is there: this is a repository");
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        let text = fs::read_to_string(&patch).expect("a file of this repository");
        let promise = text.lines().nth(1).and_then(|line| line.strip_prefix("found as: "));
        let promise = promise.and_then(|words| words.split(' ').next());
        assert!(Promise::ALL.iter().any(|one| Some(one.as_str()) == promise), "{patch:?}");
    }
}
