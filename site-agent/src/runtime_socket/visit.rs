//! One connection: a line and its answer, or a prompt for as long as somebody is there.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::UCred;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};

use super::Desk;
use crate::runtime::{Command, Lines, Refusal, TooLong, commands};
use crate::site::Level;

/// For so long a line may take to come, and an answer to be taken (HAProxy's `stats timeout`).
pub const PATIENCE: Duration = Duration::from_secs(10);
/// And for so long at a prompt, where somebody types.
pub const PROMPT_PATIENCE: Duration = Duration::from_secs(300);
const OCTETS: usize = 4096;

struct Visit<'d> {
    desk: &'d Desk,
    level: Level,
    /// Who the kernel says it is.
    by: Option<UCred>,
    has_prompt: bool,
    is_over: bool,
}

/// Ends with the connection.
pub async fn visit(stream: UnixStream, desk: &Desk, level: Level) {
    let by = stream.peer_cred().ok();
    let visit = Visit { desk, level, by, has_prompt: false, is_over: false };
    // Who has gone away, or says nothing, hears nothing more.
    let _ = visit.run(stream).await;
}

impl Visit<'_> {
    async fn run(mut self, mut stream: UnixStream) -> io::Result<()> {
        let mut lines = Lines::default();
        loop {
            let patience = if self.has_prompt { PROMPT_PATIENCE } else { PATIENCE };
            let line = timeout_at(Instant::now() + patience, next(&mut stream, &mut lines));
            let Some(line) = line.await?? else { return Ok(()) };
            self.answer(&mut stream, line).await?;
            if self.is_over || !self.has_prompt && !lines.has_more() {
                return Ok(());
            }
        }
    }

    /// Each answer is taken before the next command is carried out, so that what a line asks for is never all in
    /// memory at once. What it orders is done to the end, though nobody reads any more: it was meant as a whole.
    async fn answer(
        &mut self,
        stream: &mut UnixStream,
        line: Result<String, TooLong>,
    ) -> io::Result<()> {
        let commands = line.map(|line| commands(&line));
        let Ok(commands) = commands else {
            return self.write(stream, Err(Refusal::TooLong)).await;
        };
        let mut heard = Ok(());
        for words in commands {
            let done = match Command::parse(&words, self.level) {
                Ok(Command::Quit) => {
                    self.is_over = true;
                    break;
                }
                Ok(Command::Prompt) => {
                    self.has_prompt = !self.has_prompt;
                    Ok(String::new())
                }
                Ok(Command::Order(order)) => {
                    self.desk.order(&order, self.by.as_ref()).map(|()| String::new())
                }
                Ok(Command::Help(_) | Command::Question(_)) if heard.is_err() => continue,
                Ok(Command::Help(text)) => Ok(text),
                Ok(Command::Question(question)) => self.desk.answer(&question),
                Err(refusal) => Err(refusal),
            };
            match heard {
                Ok(()) => heard = self.write(stream, done).await,
                Err(_) => yield_now().await,
            }
        }
        heard
    }

    /// An empty line ends each answer, and then there is the prompt.
    async fn write(
        &self,
        stream: &mut UnixStream,
        done: Result<String, Refusal>,
    ) -> io::Result<()> {
        let mut answer = done.unwrap_or_else(|refusal| format!("{refusal}\n"));
        answer.push('\n');
        if self.has_prompt {
            answer.push_str("> ");
        }
        timeout(PATIENCE, stream.write_all(answer.as_bytes())).await?
    }
}

/// The next line that is whole; `None` at the end, whatever has come before it.
async fn next(
    stream: &mut UnixStream,
    lines: &mut Lines,
) -> io::Result<Option<Result<String, TooLong>>> {
    let mut octets = [0; OCTETS];
    loop {
        if let Some(line) = lines.line() {
            return Ok(Some(line));
        }
        let count = stream.read(&mut octets).await?;
        if count == 0 {
            return Ok(None);
        }
        lines.push(&octets[..count]);
    }
}
