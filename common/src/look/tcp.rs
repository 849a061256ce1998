//! A connection, and a word and its answer where any is asked for.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use super::{Failure, MOST_READ, Notes, connect, failed, since};
use crate::check::{Tcp, Text};
use crate::clock;
use crate::report::Reason;

pub async fn look(at: SocketAddr, check: &Tcp, notes: &mut Notes) -> Result<(), Failure> {
    let mut stream = connect(at, notes).await?;
    if let Some(word) = &check.send {
        stream.write_all(word.as_bytes()).await.map_err(|error| failed("sending", &error))?;
    }
    match &check.expect {
        Some(text) => read_until(&mut stream, text, notes).await,
        None => Ok(()),
    }
}

/// Reads until what is expected stands in what came.
async fn read_until(
    stream: &mut (impl AsyncRead + Unpin),
    text: &Text,
    notes: &mut Notes,
) -> Result<(), Failure> {
    let search = text.search().map_err(|fault| Failure::new(Reason::Probe, fault))?;
    let began = clock::monotonic();
    let mut read = Vec::new();
    loop {
        let room = MOST_READ - read.len();
        if room == 0 {
            let detail = format!("{MOST_READ} octets came without {text}");
            return Err(Failure::new(Reason::Answer, detail));
        }
        let count = (&mut *stream)
            .take(room as u64)
            .read_buf(&mut read)
            .await
            .map_err(|error| failed("reading", &error))?;
        notes.phases.first_byte = notes.phases.first_byte.or(since(began));
        if search.is_in(&read) {
            return Ok(());
        }
        if count == 0 {
            let detail = format!("ended after {} octets without {text}", read.len());
            return Err(Failure::new(Reason::Answer, detail));
        }
    }
}
