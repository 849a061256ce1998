//! What the balancer and the virtual routers of one box tell each other: it that it serves, again and again, they which role
//! they have.
//!
//! balancer: keep ─▶ `Word` ─▶ (a socket) ─▶ virtual routers ─▶ `Told` ─▶ (the socket) ─▶ keep: roles
//!
//! Packets of a Unix socket (SOCK_SEQPACKET) at which the virtual routers listen, each a JSON object. Keys that nobody knows
//! are passed over: of the two one is newer while a box is upgraded.

pub mod keep;

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use common::report::agent::Role;
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixStream;

/// So often a balancer says that it serves.
pub const BEAT: Duration = Duration::from_millis(250);
/// Whoever has said nothing for so long serves nobody. One that was killed is seen at once: its socket closes.
pub const LEASE: Duration = Duration::from_secs(1);
/// Octets of a packet: the longest names 64 addresses.
pub const LONGEST: usize = 8192;

/// A balancer's word.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Word {
    /// Whether it takes connections, and all of it goes on. Whether there are servers behind it is another question: the
    /// other box has the same ones.
    pub serves: bool,
}

/// What has become of one virtual router.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Told {
    pub router: String,
    pub vrid: u8,
    pub role: Role,
    /// When the role began, in milliseconds since boot.
    pub since: u64,
    pub vips: Vec<IpAddr>,
}

/// As a packet.
pub fn written(what: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(what).expect("numbers, strings and lists are JSON")
}

/// A socket at a path, connected. The kernel keeps what was written at once together, as a stream would not; else it is used
/// as one is.
pub fn connected(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    UnixStream::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_word_fits_and_what_is_new_is_passed_over() {
        let vip =
            |last: u16| IpAddr::from([0x2001, 0xdb8, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, last]);
        let told = Told {
            router: "x".repeat(64),
            vrid: 255,
            role: Role::Initialize,
            since: u64::MAX,
            vips: (0..crate::config::MOST_VIPS_OF_A_ROUTER as u16)
                .map(|last| vip(u16::MAX - last))
                .collect(),
        };
        let packet = written(&told);
        assert!(packet.len() <= LONGEST, "{}", packet.len());
        assert_eq!(serde_json::from_slice::<Told>(&packet).unwrap(), told);
        let word: Word = serde_json::from_slice(br#"{"serves":true,"since":4}"#).unwrap();
        assert!(word.serves);
        assert!(serde_json::from_slice::<Word>(b"{}").is_err());
    }
}
