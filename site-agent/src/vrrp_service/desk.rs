//! Where people ask the service how it is, and give it orders: a line to a Unix socket, and lines back.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::info;

use crate::local_socket;

/// Octets of a line: a word and a name.
const LONGEST_LINE: u64 = 256;
/// In which somebody who has connected says what it is about, and takes the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Those who wait for an answer at a time; more are turned away.
const WAITING: usize = 16;

/// What is asked.
#[derive(Debug, Eq, PartialEq)]
pub enum Asked {
    /// All of it, as JSON.
    Status,
    HandOver(String),
    TakeBack(String),
}

/// What is asked, and whom to answer: the answer is what is written back.
pub type Request = (Asked, oneshot::Sender<String>);

impl Asked {
    /// The error is the whole answer.
    pub fn read(line: &str) -> Result<Asked, String> {
        let mut words = line.split_ascii_whitespace();
        let asked = match (words.next(), words.next()) {
            (Some("status"), None) => Asked::Status,
            (Some("hand-over"), Some(router)) => Asked::HandOver(router.to_owned()),
            (Some("take-back"), Some(router)) => Asked::TakeBack(router.to_owned()),
            _ => {
                return Err(
                    "error: known are status, hand-over ROUTER and take-back ROUTER\n".to_owned()
                );
            }
        };
        match words.next() {
            None => Ok(asked),
            Some(word) => Err(format!("error: {word:?} is one word too many\n")),
        }
    }
}

/// Serves until it is dropped.
pub async fn serve(listener: UnixListener, to: mpsc::Sender<Request>) {
    let visit = |stream| {
        let to = to.clone();
        async move {
            // Whoever has gone misses nothing.
            let _ = timeout(PATIENCE, visit(stream, to)).await;
        }
    };
    local_socket::serve(listener, WAITING, visit, |_| {}).await;
}

async fn visit(stream: UnixStream, to: mpsc::Sender<Request>) -> io::Result<()> {
    let who = stream.peer_cred()?;
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(LONGEST_LINE)).read_line(&mut line).await?;
    let answer = match Asked::read(&line) {
        Ok(asked) => {
            if asked != Asked::Status {
                let (command, uid) = (line.trim_end(), who.uid());
                info!(command, uid, pid = who.pid(), "an operator orders");
            }
            let (done, answer) = oneshot::channel();
            // Both are there for as long as the service is.
            let _ = to.send((asked, done)).await;
            answer.await.unwrap_or_else(|_| "error: the service ends\n".to_owned())
        }
        Err(answer) => answer,
    };
    write.write_all(answer.as_bytes()).await?;
    write.shutdown().await
}

/// Asks a service that runs. Lines that begin with `error: ` are its errors.
pub async fn ask(socket: &Path, line: &str) -> io::Result<String> {
    let asked = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("{line}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        // A service that ended meanwhile has done nothing that it would have said.
        if answer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
    };
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_order_or_is_told_what_would_be() {
        assert_eq!(Asked::read("status\n"), Ok(Asked::Status));
        assert_eq!(Asked::read("hand-over web\r\n"), Ok(Asked::HandOver("web".to_owned())));
        assert_eq!(Asked::read("take-back  web"), Ok(Asked::TakeBack("web".to_owned())));
        for line in ["", "\n", "hand-over", "status web", "stop", "STATUS"] {
            let told = Asked::read(line).unwrap_err();
            assert!(told.starts_with("error: known are status, "), "{line:?}: {told}");
        }
        assert!(
            Asked::read("hand-over web now").unwrap_err().contains("\"now\" is one word too many")
        );
    }

    #[tokio::test]
    async fn a_service_that_ends_before_it_answers_has_done_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let leaves = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut line = [0; 64];
            stream.read(&mut line).await.unwrap()
        });
        let error = ask(&path, "hand-over web").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(leaves.await.unwrap() > 0);
    }
}
