//! One connection: a line and its answer, or a prompt for as long as somebody is there.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::UCred;
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
            let answer = self.answer(line);
            timeout(PATIENCE, stream.write_all(answer.as_bytes())).await??;
            if self.is_over || !self.has_prompt && !lines.has_more() {
                return Ok(());
            }
        }
    }

    fn answer(&mut self, line: Result<String, TooLong>) -> String {
        let mut answer = String::new();
        let commands = line.map(|line| commands(&line));
        let Ok(commands) = commands else {
            self.add(&mut answer, Err(Refusal::TooLong));
            return answer;
        };
        for words in commands {
            let done = match Command::parse(&words, self.level) {
                Ok(Command::Quit) => {
                    self.is_over = true;
                    return answer;
                }
                Ok(Command::Prompt) => {
                    self.has_prompt = !self.has_prompt;
                    Ok(String::new())
                }
                Ok(Command::Help(text)) => Ok(text),
                Ok(Command::Question(question)) => self.desk.answer(&question),
                Ok(Command::Order(order)) => {
                    self.desk.order(&order, self.by.as_ref()).map(|()| String::new())
                }
                Err(refusal) => Err(refusal),
            };
            self.add(&mut answer, done);
        }
        answer
    }

    /// An empty line ends each answer, and then there is the prompt.
    fn add(&self, answer: &mut String, done: Result<String, Refusal>) {
        match done {
            Ok(text) => *answer += &text,
            Err(refusal) => answer.extend([refusal.to_string().as_str(), "\n"]),
        }
        answer.push('\n');
        if self.has_prompt {
            answer.push_str("> ");
        }
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
