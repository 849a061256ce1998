//! `[dns.query_log]`: who is told what is asked and answered, and where it is recorded.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use common::duration;

use super::node::socket_path;
use super::{or, path, within};
use crate::config::file;
use crate::config::problems::{Problem, Problems};
use crate::config::read::At;
use crate::world::{Clients, Dnstap, Messages, QueryLog, Recording, Sample};

/// At most 64 GiB, which is hours of a busy server.
const FILE_MIB: RangeInclusive<i64> = 1..=65_536;
/// Those that one look into a folder finds at once.
const FILES: RangeInclusive<i64> = 2..=10_000;
const SHORTEST_AGE: Duration = Duration::from_secs(60);
const LONGEST_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

const FILE_OCTETS: u64 = 64 << 20;
const FILE_AGE: Duration = Duration::from_secs(24 * 3600);
const KEPT: usize = 16;

pub(super) fn query_log(
    raw: At<file::QueryLog>,
    dir: &Path,
    problems: &mut Problems,
) -> Option<QueryLog> {
    let At { value: file::QueryLog { dnstap, recording, sample, messages }, spot } = raw;
    let recording = or(recording, None, |files| self::recording(files, dir, problems).map(Some));
    let sample = or(sample, Sample::ALL, |share| problems.one(share_of(&share)));
    if let (Some(None), Some(Some(messages))) = (&dnstap, &messages) {
        problems.add(messages.spot.problem("is said of dnstap, which is not there; remove it"));
    }
    if let (Some(None), Some(None)) = (&dnstap, &recording) {
        problems.add(spot.problem(
            "tells nobody; give dnstap = \"/run/dnstap.sock\" for a reader, recording = { dir = \"queries\" } \
             for replay, or remove the table",
        ));
    }
    let messages = or(messages, Messages::Both, |messages| Some(messages.value));
    let dnstap = or(dnstap, None, |socket| {
        let socket = problems.one(socket_path(&socket, dir))?;
        Some(Some(Dnstap { socket, messages: messages? }))
    });
    Some(QueryLog { sample: sample?, dnstap: dnstap?, recording: recording? })
}

fn recording(raw: file::Recording, above: &Path, problems: &mut Problems) -> Option<Recording> {
    let file::Recording { dir, file_mib, file_age, files, clients } = raw;
    let dir = dir.and_then(|dir| problems.one(path(&dir, above)));
    let file_octets = or(file_mib, FILE_OCTETS, |mib| {
        problems.one(within::<u64>(&mib, FILE_MIB)).map(|mib| mib << 20)
    });
    let file_age = or(file_age, FILE_AGE, |age| problems.one(age_of(&age)));
    let files = or(files, KEPT, |files| problems.one(within(&files, FILES)));
    let clients = or(clients, Clients::Whole, Some);
    Some(Recording {
        dir: dir?,
        file_octets: file_octets?,
        file_age: file_age?,
        files: files?,
        clients: clients?,
    })
}

fn age_of(age: &At<Duration>) -> Result<Duration, Problem> {
    let At { value, spot } = age;
    match (SHORTEST_AGE..=LONGEST_AGE).contains(value) {
        true => Ok(*value),
        false => Err(spot.problem(format!(
            "found {}, expected {} to {}",
            duration::shown(*value),
            duration::shown(SHORTEST_AGE),
            duration::shown(LONGEST_AGE)
        ))),
    }
}

fn share_of(share: &At<f64>) -> Result<Sample, Problem> {
    let At { value, spot } = share;
    Sample::of(*value).ok_or_else(|| {
        let least = Sample::LEAST;
        spot.problem(format!(
            "found {value}, expected a share from {least} to 1.0; to log nothing, remove the table"
        ))
    })
}
