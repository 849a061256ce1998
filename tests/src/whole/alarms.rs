//! Which alerts would wake people, had a world gone on as it is: its metrics, by Prometheus' own tool.

use std::collections::BTreeMap;
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

/// Minutes that the last look is taken to last: longer than what any alert waits for, but that one which waits for an hour.
const LASTS: u64 = 40;

/// An error unless exactly these fire. `first` and `last` are so far apart: counters go on as fast as between them.
pub fn ensure_fire(
    expected: &[&str],
    [first, last]: [&[Scrape]; 2],
    apart: Duration,
    unix_now: i64,
) -> anyhow::Result<()> {
    let (first, last) = (samples(first)?, samples(last)?);
    let series: Vec<_> = last
        .iter()
        .map(|(series, now)| {
            let is_instant = series.contains("_timestamp_seconds");
            let before = first.get(series).map_or(now.value, |before| before.value);
            let growth = (now.value - before).max(0.0) * 60.0 / apart.as_secs_f64();
            // The tool's clock begins at 0.
            let value = if is_instant { now.value - unix_now as f64 } else { now.value };
            let growth = if now.is_counter { growth } else { 0.0 };
            json!({ "series": series, "values": format!("{value}+{growth}x{LASTS}") })
        })
        .collect();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    let firing: Vec<_> = expected
        .iter()
        .map(|name| json!({ "labels": format!("{{alertname=\"{name}\"}}"), "value": 1 }))
        .collect();
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus/alerts.yml");
    let asked = json!({
        "expr": "group by (alertname) (ALERTS{alertstate=\"firing\"})",
        "eval_time": format!("{LASTS}m"),
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
