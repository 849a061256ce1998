//! `[dns.query_log]`: who is told what is asked and answered.

use std::path::Path;

use super::node::socket_path;
use super::or;
use crate::config::file;
use crate::config::problems::{Problem, Problems};
use crate::config::read::At;
use crate::world::{Messages, QueryLog, Sample};

pub(super) fn query_log(
    raw: file::QueryLog,
    dir: &Path,
    problems: &mut Problems,
) -> Option<QueryLog> {
    let file::QueryLog { dnstap, sample, messages } = raw;
    let socket = dnstap.and_then(|path| problems.one(socket_path(&path, dir)));
    let sample = or(sample, Sample::ALL, |share| problems.one(share_of(&share)));
    let messages = or(messages, Messages::Both, Some);
    Some(QueryLog { socket: socket?, sample: sample?, messages: messages? })
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
