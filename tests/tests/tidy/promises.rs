//! Promises and invariants name tests, and each that they name is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::{report, sources, top};

/// The promises, in the words of SPECIFICATION.md's headings.
const PROMISES: [&str; 10] = [
    "### 1. It always answers",
    "### 2. One evaluator",
    "### 3. One snapshot for each query",
    "### 4. Same inputs, same answers",
    "### 5. A minority cannot move traffic",
    "### 6. Load steering does not oscillate",
    "### 7. A bad change does not land",
    "### 8. The VIP is on one router",
    "### 9. Nothing is lost",
    "### 10. Nobody gets in",
];

/// The test functions of each file, by its path from the top.
fn tests() -> BTreeMap<String, BTreeSet<String>> {
    let functions = |text: &str| {
        // Behind the attribute, and within `proptest!`; a macro that makes tests is given their names.
        let named = text.match_indices("#[test]").chain(text.match_indices("#[tokio::test"));
        let functions = named.filter_map(|(at, _)| {
            let (_, behind) = text[at..].split_once("fn ")?;
            let end = behind.find(|letter: char| !letter.is_alphanumeric() && letter != '_')?;
            Some(behind[..end].to_owned())
        });
        functions.collect()
    };
    sources().iter().map(|source| (source.path.clone(), functions(&source.text))).collect()
}

/// What stands between backticks in the rows of tables, row by row.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let rows = text.lines().filter(|line| line.starts_with("| "));
    rows.map(|row| row.split('`').skip(1).step_by(2).collect()).collect()
}

/// A file as the page names it: by the end of its path, or as a module of tests.
fn is_file(path: &str, named: &str) -> bool {
    let module = format!("{named}.rs");
    let named = if named.ends_with(".rs") { named } else { &module };
    path == named || path.ends_with(&format!("/{named}"))
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
}

/// What is wrong with the tests that a page names.
fn missing(page: &str, text: &str, tests: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut wrong = vec![];
    let mut named = 0;
    for row in rows(text) {
        let mut file = None;
        for token in row {
            let (before, test) = match token.split_once("::") {
                Some((before, test)) if is_word(test) => (before, Some(test)),
                _ if token.ends_with(".rs") => (token, None),
                _ => continue,
            };
            if !before.is_empty() {
                file = Some(before);
            }
            let Some(file) = file else {
                wrong.push(format!("{page}: {token} is in no file"));
                continue;
            };
            let mut files = tests.iter().filter(|(path, _)| is_file(path, file)).peekable();
            if files.peek().is_none() {
                wrong.push(format!("{page}: there is no {file}"));
            } else if let Some(test) = test {
                named += 1;
                if !files.any(|(_, tests)| tests.contains(test)) {
                    wrong.push(format!("{page}: {file} has no test {test}"));
                }
            }
        }
    }
    assert!(named > 15, "{page} names {named} tests: is it read right?");
    wrong
}

#[test]
fn every_test_that_a_promise_names_is_there() {
    let tests = tests();
    let read = |path: &str| fs::read_to_string(top().join(path)).unwrap();
    let specification = read("docs/SPECIFICATION.md");
    let architecture = read("docs/ARCHITECTURE.md");
    let (_, invariants) = architecture.split_once("\n## Invariants\n").expect("a section");
    let (invariants, _) = invariants.split_once("\n## ").expect("a section behind it");
    let mut wrong = missing("docs/SPECIFICATION.md", &specification, &tests);
    wrong.extend(missing("docs/ARCHITECTURE.md", invariants, &tests));
    for heading in PROMISES {
        let Some((_, section)) = specification.split_once(&format!("{heading}\n")) else {
            wrong.push(format!("docs/SPECIFICATION.md: has no section {heading:?}"));
            continue;
        };
        let section = section.split("\n##").next().unwrap_or_default();
        let is_there = section.contains(".rs::") || section.contains("\nNot built: ");
        if !is_there {
            wrong.push(format!("docs/SPECIFICATION.md: {heading:?} has no test"));
        }
    }
    report(&wrong);
}
