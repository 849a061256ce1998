//! Which alerts would wake people, had a world gone on as it is: its metrics, by Prometheus' own tool.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::json;

/// One target of Prometheus, and what it showed; `None` if nobody is there.
pub struct Scrape {
    pub job: &'static str,
    pub instance: String,
    pub site: Option<&'static str>,
    pub page: Option<String>,
}

/// A series and its value.
type Samples = BTreeMap<String, Sample>;

#[derive(Clone, Copy)]
struct Sample {
    value: f64,
    is_counter: bool,
}

/// Two readings of everything, so far apart.
pub struct Look {
    pub first: Vec<Scrape>,
    pub last: Vec<Scrape>,
    pub apart: Duration,
    /// When it was.
    pub unix_now: i64,
}

/// Minutes for which it was as calm as in the one look, and then as it is in the other: longer than any alert waits but
/// `NoVantageToSpare`.
const CALM: u64 = 10;
const LASTS: u64 = 40;

/// An error unless exactly these fire at any time of both. Counters go on as fast as in each look.
pub fn ensure_fire(expected: &[&str], calm: &Look, now: &Look) -> anyhow::Result<()> {
    let (calm, now) = (calm.courses()?, now.courses()?);
    let all: BTreeSet<&String> = calm.keys().chain(now.keys()).collect();
    let series: Vec<_> = all
        .into_iter()
        .map(|series| {
            let before = calm.get(series).map_or_else(|| format!("_x{}", CALM + 1), Course::before);
            let after = now.get(series).map_or_else(|| "stale".to_owned(), Course::after);
            json!({ "series": series, "values": format!("{before} {after}") })
        })
        .collect();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    let firing: Vec<_> = expected
        .iter()
        .map(|name| json!({ "labels": format!("{{alertname=\"{name}\"}}"), "value": 1 }))
        .collect();
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus/alerts.yml");
    let minutes = CALM + 1 + LASTS;
    let fires = format!("max_over_time(ALERTS{{alertstate=\"firing\"}}[{minutes}m])");
    let asked = json!({
        "expr": format!("group by (alertname) ({fires})"),
        "eval_time": format!("{minutes}m"),
        "exp_samples": firing,
    });
    // What is JSON is YAML.
    let test = json!({
        "rule_files": [rules.canonicalize()?],
        "evaluation_interval": "1m",
        "tests": [{ "interval": "1m", "input_series": series, "promql_expr_test": [asked] }],
    });
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("test.yml");
    fs::write(&file, test.to_string())?;
    let done = Command::new("promtool").args(["test", "rules"]).arg(&file).output()?;
    let said =
        String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{expected:?} were to fire:\n{said}");
    Ok(())
}

/// A value, and by how much it grows in a minute.
struct Course {
    value: f64,
    growth: f64,
}

impl Look {
    fn courses(&self) -> anyhow::Result<BTreeMap<String, Course>> {
        let (first, last) = (samples(&self.first)?, samples(&self.last)?);
        let course = |(series, now): (String, Sample)| {
            let began = first.get(&series).map_or(now.value, |first| first.value);
            let growth = (now.value - began).max(0.0) * 60.0 / self.apart.as_secs_f64();
            // The tool's clock begins at 0.
            let is_instant = series.contains("_timestamp_seconds");
            let value = if is_instant { now.value - self.unix_now as f64 } else { now.value };
            (series, Course { value, growth: if now.is_counter { growth } else { 0.0 } })
        };
        Ok(last.into_iter().map(course).collect())
    }
}

impl Course {
    /// For minutes that end with it.
    fn before(&self) -> String {
        let began = (self.value - self.growth * CALM as f64).max(0.0_f64.min(self.value));
        let growth = (self.value - began) / CALM as f64;
        format!("{began}+{growth}x{CALM}")
    }

    /// For minutes that begin with it.
    fn after(&self) -> String {
        format!("{}+{}x{LASTS}", self.value, self.growth)
    }
}

fn samples(scrapes: &[Scrape]) -> anyhow::Result<Samples> {
    let mut all = Samples::new();
    for Scrape { job, instance, site, page } in scrapes {
        let mut labels = format!("job=\"{job}\",instance=\"{instance}\"");
        if let Some(site) = site {
            write!(labels, ",site=\"{site}\"")?;
        }
        let up = Sample { value: f64::from(u8::from(page.is_some())), is_counter: false };
        all.insert(format!("up{{{labels}}}"), up);
        let mut is_counter = false;
        for line in page.iter().flat_map(|page| page.lines()) {
            if let Some(told) = line.strip_prefix("# TYPE ") {
                is_counter = !told.ends_with(" gauge");
            }
            if line.starts_with('#') || line.is_empty() {
                continue;
            }
            let (series, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
            let value: f64 = value.parse().with_context(|| line.to_owned())?;
            let series = match series.split_once('{') {
                Some((name, own)) => format!("{name}{{{labels},{own}"),
                None => format!("{series}{{{labels}}}"),
            };
            if value.is_finite() {
                all.insert(series, Sample { value, is_counter });
            }
        }
    }
    Ok(all)
}
