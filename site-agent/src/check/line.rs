//! Asks a server's agent for its line: connects, sends what is to be sent, reads to the end of a line.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::agent_check::{LONGEST, Line, NoLine, read};
use crate::rounds::Inquiry;

/// The line, or why there is none, for people.
pub async fn ask(inquiry: &Inquiry) -> Result<Line, String> {
    let limit = inquiry.agent.timeout;
    match timeout(limit, converse(inquiry)).await {
        Ok(line) => line,
        Err(_) => Err(format!("no line within {limit:?}")),
    }
}

async fn converse(inquiry: &Inquiry) -> Result<Line, String> {
    let failed = |doing: &'static str| move |error: io::Error| format!("{doing}: {error}");
    let mut stream = TcpStream::connect(inquiry.at).await.map_err(failed("connecting"))?;
    if let Some(text) = &inquiry.agent.send {
        stream.write_all(text.as_bytes()).await.map_err(failed("sending"))?;
    }
    // A line at its longest, and what ends it.
    let mut octets = Vec::with_capacity(LONGEST + 1);
    let mut stream = stream.take(LONGEST as u64 + 1);
    loop {
        let count = stream.read_buf(&mut octets).await.map_err(failed("reading"))?;
        match read(&octets) {
            Err(NoLine::Unfinished) if count > 0 => {}
            Ok(line) => return Ok(line),
            Err(why @ (NoLine::Unfinished | NoLine::TooLong)) => return Err(why.to_string()),
        }
    }
}
