//! The shape of the source: sizes, headers, names, arrows between rooms, and metrics and logs written up.

mod arrows;
mod promises;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use arrows::{AGENT_ARROWS, AGENT_PURE, ARROWS, PROBE_ARROWS, PROBE_PURE, PURE};

/// A file past this asks whether it is two things.
const LONGEST: usize = 600;
/// Longer files, each with the reason why it is one thing all the same.
const LONG_FILES: &[(&str, &str)] = &[];
/// Names under which anything could be hidden.
const NAMELESS: [&str; 7] = ["util", "utils", "helpers", "misc", "types", "manager", "handler"];

const IMPURE: [&str; 11] = [
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
    "UdpSocket",
    "TcpStream",
    "clock::",
    "entropy::",
    "lock::",
    "thread_local!",
    "static mut",
];

/// A source file and its path from the top.
struct Source {
    path: String,
    text: String,
}

fn top() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("this package is in a folder").to_path_buf()
}

fn sources() -> Vec<Source> {
    let mut sources = vec![];
    for package in ["common", "geoip", "gslb-dns", "probe", "site-agent", "deploy", "tests"] {
        collect(&top().join(package), &mut sources);
    }
    assert!(sources.len() > 100, "{} files: is this the right place?", sources.len());
    sources
}

fn collect(folder: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder of this repository") {
        let path = entry.expect("an entry of that folder").path();
        let is_built =
            path.ends_with("target") || path.ends_with("corpus") || path.ends_with("artifacts");
        if path.is_dir() && !is_built {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            let path = path.strip_prefix(top()).expect("it was found there");
            sources.push(Source { path: path.to_string_lossy().into_owned(), text });
        }
    }
}

fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A daemon's rooms.
struct Rooms {
    /// Where they are.
    folder: &'static str,
    arrows: &'static [(&'static str, &'static str)],
    pure: &'static [&'static str],
}

const DAEMONS: [Rooms; 3] = [
    Rooms { folder: "gslb-dns/src/", arrows: ARROWS, pure: PURE },
    Rooms { folder: "probe/src/", arrows: PROBE_ARROWS, pure: PROBE_PURE },
    Rooms { folder: "site-agent/src/", arrows: AGENT_ARROWS, pure: AGENT_PURE },
];

/// The rooms' files, each with its room's name.
fn in_rooms<'s>(
    folder: &'static str,
    sources: &'s [Source],
) -> impl Iterator<Item = (&'s str, &'s Source)> {
    sources.iter().filter_map(move |source| {
        let inside = source.path.strip_prefix(folder)?;
        let room = inside.split('/').next()?;
        Some((room.strip_suffix(".rs").unwrap_or(room), source))
    })
}

/// Code without comments and without the tests at the end.
fn code(source: &Source) -> String {
    let is_test = source.path.ends_with("/tests.rs") || source.path.contains("/tests/");
    let text = if is_test { "" } else { &source.text };
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn files_are_of_a_size_to_read() {
    let mut wrong = vec![];
    for Source { path, text } in sources() {
        let lines = text.lines().count();
        let is_excused = LONG_FILES.iter().any(|(excused, _)| *excused == path);
        if lines > LONGEST && !is_excused {
            wrong.push(format!("{path}: {lines} lines; expected at most {LONGEST}, or two files"));
        }
        if lines <= LONGEST && is_excused {
            wrong.push(format!("{path}: {lines} lines, so it needs no excuse"));
        }
    }
    report(&wrong);
}

#[test]
fn files_say_what_they_are() {
    let mut wrong = vec![];
    for Source { path, text } in sources() {
        // A fuzz target's `no_main` may stand below, never above.
        if !text.starts_with("//! ") {
            wrong.push(format!("{path}: does not begin with //! and its purpose"));
        }
        let words = Path::new(&path).iter().map(|part| part.to_string_lossy());
        for word in words {
            let word = word.strip_suffix(".rs").unwrap_or(&word).to_owned();
            if NAMELESS.contains(&word.as_str()) {
                wrong.push(format!("{path}: {word} says nothing; name it after what it is"));
            }
        }
    }
    report(&wrong);
}

/// Where a peer is required, no test may be left out in a way that nobody counts.
#[test]
fn tests_are_left_out_in_one_way() {
    let mut wrong = vec![];
    for Source { path, text } in sources() {
        // geoip comes before this package, so it asks for the variable itself.
        let asks = path == "tests/src/peers.rs" || text.contains("GSLB_REQUIRE_PEERS");
        if text.contains(concat!("eprintln!(\"", "skipped")) && !asks {
            wrong.push(format!(
                "{path}: leaves a test out by itself; use gslb_tests::peers::missing"
            ));
        }
    }
    report(&wrong);
}

#[test]
fn rooms_name_only_the_rooms_before_them() {
    let sources = sources();
    let mut wrong = vec![];
    for daemon in DAEMONS {
        wrong.extend(wrong_arrows(&daemon, &sources));
    }
    report(&wrong);
}

fn wrong_arrows(daemon: &Rooms, sources: &[Source]) -> Vec<String> {
    let Rooms { folder, arrows, .. } = *daemon;
    let (mut wrong, mut used) = (vec![], BTreeSet::new());
    for (room, source) in in_rooms(folder, sources) {
        if ["lib", "main"].contains(&room) {
            continue;
        }
        let Some((_, allowed)) = arrows.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: the room {room} has no arrows in this test", source.path));
            continue;
        };
        let code = code(source);
        for named in rooms_named(&code) {
            if named == room {
                continue;
            }
            if !allowed.split(' ').any(|allowed| allowed == named) {
                wrong.push(format!(
                    "{}: {room} names {named} (it may name: {allowed})",
                    source.path
                ));
            }
            used.insert((room, named));
        }
    }
    let rooms: BTreeSet<&str> = in_rooms(folder, sources).map(|(room, _)| room).collect();
    for (index, (room, allowed)) in arrows.iter().enumerate() {
        if !rooms.contains(room) {
            wrong.push(format!("{folder}: there is no room {room}: take it out of this test"));
        }
        for arrow in allowed.split_whitespace() {
            if !arrows[..index].iter().any(|(above, _)| *above == arrow) {
                wrong.push(format!("{room} may name {arrow}, which does not stand above it"));
            }
            if !used.contains(&(*room, arrow.to_owned())) {
                wrong
                    .push(format!("{room} does not name {arrow}: take the arrow out of this test"));
            }
        }
    }
    wrong
}

/// Every `crate::room`, those of a `use crate::{..}` included.
fn rooms_named(code: &str) -> Vec<String> {
    let mut named = vec![];
    for (_, after) in
        code.match_indices("crate::").map(|(at, found)| (at, &code[at + found.len()..]))
    {
        match after.strip_prefix('{') {
            None => named.push(room_at(after)),
            Some(list) => {
                let mut depth = 0;
                let mut starts = true;
                for (at, letter) in list.char_indices() {
                    match letter {
                        '}' if depth == 0 => break,
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => starts = true,
                        _ if starts && letter.is_alphabetic() => {
                            named.push(room_at(&list[at..]));
                            starts = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    named
}

fn room_at(path: &str) -> String {
    path.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

#[test]
fn rooms_that_decide_ask_nobody() {
    let sources = sources();
    let mut wrong = vec![];
    for Rooms { folder, pure, .. } in DAEMONS {
        let is_there = |pure: &str| in_rooms(folder, &sources).any(|(room, _)| room == pure);
        for pure in pure.iter().filter(|pure| !is_there(pure)) {
            wrong.push(format!("{folder}: there is no room {pure}: take it out of this test"));
        }
        for (room, source) in in_rooms(folder, &sources).filter(|(room, _)| pure.contains(room)) {
            let code = code(source);
            for impure in IMPURE.iter().filter(|impure| code.contains(**impure)) {
                wrong.push(format!("{}: {room} is pure and names {impure}", source.path));
            }
        }
    }
    report(&wrong);
}

#[test]
fn every_metric_is_written_up() {
    let read = |path: &str| {
        fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let page = read("docs/metrics.md");
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut wrong = vec![];
    for (folder, prefix) in
        [("gslb-dns/src", "gslb_dns_"), ("probe/src", "probe_"), ("site-agent/src", "site_agent_")]
    {
        let files = ["metrics.rs", "metrics/mod.rs"].map(|file| format!("{folder}/{file}"));
        let path = files.iter().find(|path| top().join(path).exists()).expect("it has metrics");
        let code = read(path);
        let is_name = |text: &&str| text.starts_with(prefix) && !text.contains(' ');
        let names: Vec<&str> = code.split('"').filter(is_name).collect();
        assert!(names.len() >= 10, "{names:?}");
        let written: Vec<&str> =
            page.split(|letter| !is_word(letter)).filter(|word| word.starts_with(prefix)).collect();
        for name in names.iter().filter(|name| !written.contains(name)) {
            wrong.push(format!("docs/metrics.md: does not say what {name} is"));
        }
        for name in written.iter().filter(|name| !names.contains(name)) {
            wrong.push(format!("docs/metrics.md: {name} is no metric of {path}"));
        }
    }
    report(&wrong);
}

/// What an alert selects can be there: the row of its metric names each label and value that it asks for.
#[test]
fn alert_rules_select_what_there_is() {
    let read = |path: &str| fs::read_to_string(top().join(path)).expect("it can be read");
    let (tables, rules) = (read("docs/metrics.md"), read("deploy/prometheus/alerts.yml"));
    let mut wrong = vec![];
    let prefixes = ["gslb_dns_", "probe_", "site_agent_"];
    let is_metric = |word: &&str| prefixes.iter().any(|prefix| word.starts_with(prefix));
    let words = rules.split(|letter: char| letter != '_' && !letter.is_alphanumeric());
    for metric in words.filter(is_metric).filter(|word| !tables.contains(&format!("`{word}`"))) {
        wrong.push(format!("alerts.yml: {metric} is no metric of docs/metrics.md"));
    }
    let is_selector = |text: &str| {
        let word = text.rsplit(|letter: char| letter != '_' && !letter.is_alphanumeric()).next();
        word.is_some_and(|word| is_metric(&word))
    };
    let selectors = rules.match_indices('{').map(|(at, _)| rules.split_at(at));
    for (before, selector) in selectors.filter(|(before, _)| is_selector(before)) {
        let metric = before.rsplit(|letter: char| letter != '_' && !letter.is_alphanumeric());
        let metric = format!("| `{}` |", metric.map(str::trim).next().unwrap_or_default());
        let row = tables.lines().find(|line| line.contains(metric.trim_matches(['|', ' '])));
        let row = row.unwrap_or_default();
        let asked = selector.split('}').next().unwrap_or_default();
        let words = asked.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        for word in words.filter(|word| !word.is_empty() && !row.contains(&format!("`{word}`"))) {
            wrong.push(format!(
                "alerts.yml: an alert asks {metric} for {word}, not in its row of docs/metrics.md"
            ));
        }
    }
    report(&wrong);
}

/// Whoever is woken by an alert finds it in the guide, and none that there is not; and it has a test that fires it.
#[test]
fn every_alert_is_written_up() {
    let read = |path: &str| fs::read_to_string(top().join(path)).expect("it can be read");
    let (rules, tests) =
        (read("deploy/prometheus/alerts.yml"), read("deploy/prometheus/alerts.test.yml"));
    let named = |text: &str, key: &str| -> BTreeSet<String> {
        let name = |line: &str| line.trim().strip_prefix(key).map(str::to_owned);
        text.lines().filter_map(name).collect()
    };
    let alerts = named(&rules, "- alert: ");
    assert!(alerts.len() > 30, "{alerts:?}");
    assert_eq!(named(&tests, "alertname: "), alerts);
    let guide = read("docs/operators-guide.md");
    let (_, section) = guide.split_once("\n### Alerts\n").expect("a section");
    let (section, _) = section.split_once("\n##").expect("a section behind it");
    let first = |line: &str| {
        line.strip_prefix("| `").and_then(|line| line.split(" | ").next().map(str::to_owned))
    };
    let written: BTreeSet<String> = section
        .lines()
        .filter_map(first)
        .flat_map(|cell| {
            cell.split('`')
                .map(str::to_owned)
                .filter(|word| word.chars().all(char::is_alphabetic))
                .collect::<Vec<_>>()
        })
        .filter(|word| !word.is_empty())
        .collect();
    assert_eq!(written, alerts);
}

/// Each alert that stories fire is named by `docs/worlds.md`, and so are those that none fires.
#[test]
fn alerts_that_stories_fire_are_told() {
    let read = |path: &str| fs::read_to_string(top().join(path)).expect("it can be read");
    let rules = read("deploy/prometheus/alerts.yml");
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let stories =
        ["faults", "mishaps"].map(|name| read(&format!("tests/src/whole/stories/{name}.rs")));
    let (fired, others): (BTreeSet<&str>, BTreeSet<&str>) =
        alerts.partition(|name| stories.iter().any(|text| text.contains(&format!("\"{name}\""))));
    let told = read("docs/worlds.md");
    let words = |text: &str| -> BTreeSet<String> {
        text.split(|letter: char| !letter.is_alphabetic()).map(str::to_owned).collect()
    };
    let (table, rest) = told.split_once("no story fires are").expect("it says so");
    let (table, rest) = (words(table), words(rest.split('.').next().unwrap_or_default()));
    let missing: Vec<&&str> = fired.iter().filter(|name| !table.contains(**name)).collect();
    assert!(missing.is_empty(), "docs/worlds.md: stories fire {missing:?}");
    let (known, of) =
        (format!("{} of the {} alerts", fired.len(), fired.len() + others.len()), &told);
    assert!(of.contains(&known), "docs/worlds.md: they fire {known}");
    let missing: Vec<&&str> = others.iter().filter(|name| !rest.contains(**name)).collect();
    assert!(missing.is_empty(), "docs/worlds.md: no story fires {missing:?}");
}

/// Whoever is woken by a line of the log finds it in the guide, word for word, and none that is not logged.
#[test]
fn every_warning_of_the_log_is_written_up() {
    let guide = fs::read_to_string(top().join("docs/operators-guide.md")).unwrap();
    let (_, logs) = guide.split_once("\n## Logs\n").expect("a section");
    let (logs, _) = logs.split_once("\n##").expect("a section behind it");
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let (level, messages) = (cells.next()?.to_owned(), cells.next()?.to_owned());
        Some((level, messages))
    };
    let quoted = |text: &str| -> Vec<String> {
        text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let written: BTreeSet<(String, String)> = logs
        .lines()
        .filter_map(row)
        .flat_map(|(level, messages)| {
            quoted(&messages).into_iter().map(move |message| (level.clone(), message))
        })
        .collect();
    let mut logged = BTreeSet::new();
    let mut wrong = vec![];
    let logs = |path: &str| {
        ["common/src", "gslb-dns/src", "probe/src", "site-agent/src"]
            .iter()
            .any(|part| path.starts_with(part))
    };
    for source in sources().iter().filter(|source| logs(&source.path)) {
        for level in ["info", "warn", "error"] {
            for message in logged_in(&code(source), level) {
                if message.contains('{') {
                    wrong.push(format!("{}: {message:?} is no constant message", source.path));
                }
                let told = (level.to_owned(), message);
                if level != "info" && !written.contains(&told) {
                    let (level, message) = &told;
                    wrong.push(format!(
                        "docs/operators-guide.md: does not say what {level} `{message}` means ({})",
                        source.path
                    ));
                }
                logged.insert(told);
            }
        }
    }
    assert!(logged.len() > 30, "{logged:?}");
    for (level, message) in written.difference(&logged) {
        wrong.push(format!("docs/operators-guide.md: no {level} `{message}` is logged"));
    }
    report(&wrong);
}

/// The messages of a level: the last string within each of its macros' parentheses.
fn logged_in(code: &str, level: &str) -> Vec<String> {
    let start = format!("{level}!(");
    let macros = code.match_indices(&start).filter(|(at, _)| {
        !code[..*at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
    });
    macros.filter_map(|(at, _)| last_string(&code[at + start.len()..])).collect()
}

/// The last string before the parenthesis that closes, as it is meant.
fn last_string(code: &str) -> Option<String> {
    let mut letters = code.chars();
    let (mut depth, mut last) = (1, None);
    while depth > 0 {
        match letters.next()? {
            '(' => depth += 1,
            ')' => depth -= 1,
            '"' => last = Some(string(&mut letters)?),
            _ => {}
        }
    }
    last
}

fn string(letters: &mut std::str::Chars<'_>) -> Option<String> {
    let mut text = String::new();
    loop {
        match letters.next()? {
            '"' => return Some(text),
            '\\' => match letters.next()? {
                // The line goes on where the next one has its first letter.
                '\n' => *letters = letters.as_str().trim_start().chars(),
                escaped => text.push(escaped),
            },
            letter => text.push(letter),
        }
    }
}
