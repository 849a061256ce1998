//! What came of a replay, and recorded queries one by one, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::run::Request;
use super::{Example, Move, Tally, Words, outcome_told};
use crate::explain::Format;
use crate::query::Rcode;
use crate::recording::{Asked, Edns, Header};
use crate::world::{Clients, Epoch};

#[derive(Debug, Serialize)]
pub struct Report {
    pub files: Vec<FileTold>,
    /// Of the world by which the queries were replayed.
    pub epoch: String,
    /// What was believed of sites.
    pub beliefs: String,
    pub supposed: Vec<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    pub queries: u64,
    /// Recorded by the world and under the beliefs of the replay.
    pub by_this_world: u64,
    pub under_these_beliefs: u64,
    pub as_recorded: u64,
    pub otherwise: u64,
    pub services: Vec<ServiceTold>,
    /// Answers that are others though no service is part of it, or its sites are the same.
    pub answers: Vec<MoveTold>,
    /// Moves beyond those that are told one by one.
    pub other_moves: u64,
    pub examples: Vec<ExampleTold>,
}

#[derive(Debug, Serialize)]
pub struct FileTold {
    pub file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<f64>,
    /// `whole` or `networks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<&'static str>,
    pub queries: u64,
    /// Octets at the end that are no whole block.
    pub cut: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct ServiceTold {
    pub service: String,
    pub queries: u64,
    pub moved: u64,
    pub moves: Vec<MoveTold>,
}

#[derive(Debug, Serialize)]
pub struct MoveTold {
    pub from: String,
    pub to: String,
    pub queries: u64,
}

#[derive(Debug, Serialize)]
pub struct ExampleTold {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    pub from: String,
    pub to: String,
    pub at: Timestamp,
    pub name: String,
    #[serde(rename = "type")]
    pub qtype: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    pub resolver: String,
    pub explain: String,
}

impl FileTold {
    pub fn of(path: &Path) -> FileTold {
        let file = path.display().to_string();
        FileTold { file, node: None, sample: None, clients: None, queries: 0, cut: 0, error: None }
    }

    pub fn begin(&mut self, header: &Header) {
        self.node = Some(header.node.to_string());
        self.sample = Some(header.sample.share());
        self.clients = Some(match header.clients {
            Clients::Whole => "whole",
            Clients::Networks => "networks",
        });
    }
}

impl Report {
    pub fn new(files: Vec<FileTold>, epoch: Epoch, request: &Request<'_>, tally: Tally) -> Report {
        let Tally { same, otherwise, same_beliefs, same_world, between, services, answers, .. } =
            tally;
        let supposed: Vec<String> = request.suppose.iter().map(ToString::to_string).collect();
        let explained = |example| ExampleTold::of(example, request.config, &supposed);
        let examples = tally.examples.into_iter().map(explained).collect();
        let services = services.into_iter().map(|(service, tally)| ServiceTold {
            service: service.into(),
            queries: tally.queries,
            moved: tally.moved,
            moves: rows(tally.moves),
        });
        let mut services: Vec<ServiceTold> = services.collect();
        services.sort_by_key(|service| std::cmp::Reverse(service.moved));
        Report {
            files,
            epoch: epoch.to_string(),
            beliefs: match request.beliefs {
                Some(_) => "the overrides of the state directory, at the time of each query".into(),
                None => "nothing known of any site, and no overrides".into(),
            },
            supposed,
            from: between.map(|(from, _)| instant(from)),
            to: between.map(|(_, to)| instant(to)),
            queries: same + otherwise,
            by_this_world: same_world,
            under_these_beliefs: same_beliefs,
            as_recorded: same,
            otherwise,
            services,
            answers: rows(answers),
            other_moves: tally.others,
            examples,
        }
    }

    /// Whether all files were read to their end.
    pub fn is_complete(&self) -> bool {
        self.files.iter().all(|file| file.error.is_none())
    }

    pub fn render(&self, format: Format) -> serde_json::Result<String> {
        match format {
            Format::Text => Ok(self.text()),
            Format::Json => serde_json::to_string_pretty(self).map(|text| text + "\n"),
        }
    }

    fn text(&self) -> String {
        let mut page = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut page);
        page
    }

    fn write(&self, page: &mut String) -> std::fmt::Result {
        for file in &self.files {
            write!(page, "{}: {} queries", file.file, file.queries)?;
            if let Some(node) = &file.node {
                write!(page, " of {node}")?;
            }
            if let Some(sample) = file.sample.filter(|sample| *sample < 1.0) {
                write!(page, ", a sample of {sample}")?;
            }
            if file.clients == Some("networks") {
                write!(page, ", of clients their networks only")?;
            }
            if file.cut > 0 {
                write!(page, "; {} octets at its end are cut short", file.cut)?;
            }
            if let Some(error) = &file.error {
                write!(page, "; NOT READ TO ITS END: {error}")?;
            }
            writeln!(page)?;
        }
        writeln!(page, "replayed by epoch {}", self.epoch)?;
        writeln!(page, "beliefs: {}", self.beliefs)?;
        if !self.supposed.is_empty() {
            writeln!(page, "supposed: {}", self.supposed.join(", "))?;
        }
        if let (Some(from), Some(to)) = (self.from, self.to) {
            writeln!(page, "asked from {from} to {to}")?;
        }
        writeln!(page)?;
        let Report { queries, as_recorded, otherwise, by_this_world, under_these_beliefs, .. } =
            self;
        writeln!(
            page,
            "{queries} queries: {as_recorded} answered as recorded, {otherwise} otherwise"
        )?;
        if by_this_world < queries {
            writeln!(page, "{} were answered by another world", queries - by_this_world)?;
        }
        if under_these_beliefs < queries {
            writeln!(page, "{} were answered under other beliefs", queries - under_these_beliefs)?;
        }
        for service in self.services.iter().filter(|service| service.moved > 0) {
            let ServiceTold { service, queries, moved, moves } = service;
            writeln!(page, "\n{service} {moved} of {queries} moved")?;
            write_rows(page, moves)?;
        }
        if !self.answers.is_empty() {
            writeln!(page, "\nother answers, by the same sites or by none")?;
            write_rows(page, &self.answers)?;
        }
        if self.other_moves > 0 {
            writeln!(page, "\n{} further moves are not told one by one", self.other_moves)?;
        }
        if !self.examples.is_empty() {
            writeln!(page, "\nthe first of each")?;
        }
        for one in &self.examples {
            writeln!(page, "  {} {} {}: {} -> {}", one.at, one.name, one.qtype, one.from, one.to)?;
            writeln!(page, "    {}", one.explain)?;
        }
        Ok(())
    }
}

fn write_rows(page: &mut String, rows: &[MoveTold]) -> std::fmt::Result {
    let width = rows.iter().map(|row| row.from.len()).max().unwrap_or(0);
    for MoveTold { from, to, queries } in rows {
        writeln!(page, "{queries:>10}  {from:<width$} -> {to}")?;
    }
    Ok(())
}

/// Most queries first.
fn rows(moves: BTreeMap<Move, u64>) -> Vec<MoveTold> {
    let row = |(Move { from, to }, queries)| MoveTold { from: from.into(), to: to.into(), queries };
    let mut rows: Vec<MoveTold> = moves.into_iter().map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.queries));
    rows
}

impl ExampleTold {
    fn of(example: Example, config: &Path, supposed: &[String]) -> ExampleTold {
        let Example { service, moved: Move { from, to }, query } = example;
        let explain = explain_command(&query, config, supposed);
        let Words { at, name, qtype, client, resolver } = query;
        ExampleTold {
            service: service.map(Into::into),
            from: from.into(),
            to: to.into(),
            at: instant(at),
            name,
            qtype,
            client,
            resolver,
            explain,
        }
    }
}

/// The command that shows how a query is answered by this config.
fn explain_command(query: &Words, config: &Path, supposed: &[String]) -> String {
    let Words { at, name, qtype, client, resolver } = query;
    let at = instant(at / 1000 * 1000).to_string();
    let config = config.display().to_string();
    let mut words =
        vec!["gslb-dns", "explain", "--config", &config, "--resolver", resolver, "--at", &at];
    if let Some(client) = client {
        words.extend(["--client", client]);
    }
    supposed.iter().for_each(|one| words.extend(["--suppose", one]));
    words.extend(["--", name, qtype]);
    words.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// As a shell takes it for one word. Names are strangers' octets.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,@+%".contains(letter);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// In milliseconds of Unix time; recordings have none beyond the year 9999.
fn instant(at: u64) -> Timestamp {
    i64::try_from(at).ok().and_then(|at| Timestamp::from_millisecond(at).ok()).unwrap_or_default()
}

pub fn rcode_told(rcode: u16) -> String {
    const ALL: [Rcode; 9] = [
        Rcode::NoError,
        Rcode::FormErr,
        Rcode::ServFail,
        Rcode::NxDomain,
        Rcode::NotImp,
        Rcode::Refused,
        Rcode::YxDomain,
        Rcode::BadVers,
        Rcode::BadCookie,
    ];
    let known = ALL.into_iter().find(|known| *known as u16 == rcode);
    known.map_or_else(|| format!("RCODE{rcode}"), |known| known.mnemonic().to_owned())
}

/// One recorded query, for people.
pub fn queries_line(asked: &Asked<'_>) -> String {
    let Words { at, name, qtype, client, resolver } = Words::of(asked);
    let client = client.map_or(String::new(), |client| format!(" for {client}"));
    let (transport, sent) = (asked.query.transport.as_str(), asked.query.sent.as_str());
    let rcode = rcode_told(asked.outcome.rcode);
    let mut line =
        format!("{} {transport} {name} {qtype} from {resolver}{client}: {rcode}", instant(at));
    if sent != "whole" {
        let _ = write!(line, " ({sent})");
    }
    for (service, sites) in outcome_told(asked.outcome) {
        let _ = write!(line, "; {service} {sites}");
    }
    line + "\n"
}

/// The same for programs: one object.
pub fn queries_object(asked: &Asked<'_>) -> Value {
    let Words { at, name, qtype, client, resolver } = Words::of(asked);
    let services = asked.outcome.services.iter().map(|part| {
        json!({ "service": *part.service, "failing": part.failing.as_str(), "sites": part.sites.iter().map(|site| &**site).collect::<Vec<_>>() })
    });
    json!({
        "at": instant(at),
        "transport": asked.query.transport.as_str(),
        "name": name,
        "type": qtype,
        "client": client,
        "resolver": resolver,
        "edns": asked.query.edns != Edns::None,
        "dnssec_ok": asked.query.edns == Edns::WantsDnssec,
        "sent": asked.query.sent.as_str(),
        "rcode": rcode_told(asked.outcome.rcode),
        "records": asked.outcome.records,
        "services": services.collect::<Vec<_>>(),
        "epoch": asked.state.epoch.to_string(),
        "board": asked.state.board.to_string(),
    })
}
