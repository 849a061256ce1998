//! An operator at the socket of the runtime API.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{LONG, World, config};

pub const RUNTIME: &str = "[runtime]\nsocket = \"admin.sock\"\n";

pub fn with_socket(pool: &str, servers: &[(&str, std::net::SocketAddr)]) -> String {
    format!("{RUNTIME}{}", config("access_log = { format = \"off\" }", pool, servers))
}

pub fn socket(world: &World) -> PathBuf {
    world.dir.path().join("admin.sock")
}

/// A connection of an operator.
pub struct Operator(pub UnixStream);

impl Operator {
    pub async fn connect(to: &Path) -> Operator {
        Operator(UnixStream::connect(to).await.unwrap())
    }

    pub async fn say(&mut self, octets: impl AsRef<[u8]>) {
        self.0.write_all(octets.as_ref()).await.unwrap();
    }

    /// All that comes until this does, or until the end.
    pub async fn hears(&mut self, end: &str) -> String {
        let mut heard = vec![];
        let hear = async {
            while !heard.ends_with(end.as_bytes()) || end.is_empty() {
                if self.0.read_buf(&mut heard).await.unwrap_or(0) == 0 {
                    break;
                }
            }
        };
        timeout(LONG, hear).await.expect("something comes");
        String::from_utf8(heard).unwrap()
    }
}

/// One line, and all of its answer.
pub async fn ask(to: &Path, line: &str) -> String {
    let mut operator = Operator::connect(to).await;
    operator.say(format!("{line}\n")).await;
    operator.hears("").await
}

#[track_caller]
pub fn is_done(answer: &str) {
    assert_eq!(answer.trim_end_matches('\n'), "");
}

/// A field of a server in `show stat`.
pub async fn stat(to: &Path, server: &str, column: &str) -> String {
    let text = ask(to, "show stat").await;
    let mut rows = text.lines().map(|line| line.trim_start_matches("# ").split(','));
    let place = rows.next().unwrap().position(|known| known == column).unwrap();
    let mut row = rows.find(|row| row.clone().nth(1) == Some(server)).unwrap();
    row.nth(place).unwrap().to_owned()
}

pub async fn until_stat(to: &Path, server: &str, column: &str, value: &str) {
    let wait = async {
        while stat(to, server, column).await != value {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, wait).await.unwrap_or_else(|_| panic!("{column} of {server} is never {value}"));
}
