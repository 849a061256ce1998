//! Which ports the world has: its own, or others where somebody has those.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::thread::park_timeout;
use std::time::Duration;

use anyhow::{Context as _, bail};
use common::clock::monotonic;
use rustix::process::geteuid;

use crate::say;
use crate::world::{NAME_SERVERS, REFERENCE, SERVERS, SITES, server};

/// Free ports of one address that are tried on the others.
const TRIES: usize = 32;

/// Another demo has its ports in less.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at that.
const PAUSE: Duration = Duration::from_millis(20);

/// At every address of those who have it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ports {
    pub dns: u16,
    pub control: u16,
    pub admin: u16,
    /// Of the sites, and of their servers.
    pub web: u16,
}

pub const USUAL: Ports = Ports { dns: 5300, control: 8453, admin: 8053, web: 5380 };

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Transport {
    Tcp,
    Both,
}

/// While one is held, no other demo of this user chooses ports here: between choosing and having them there is a moment,
/// in which they can be shared by whoever has the same user.
pub struct Turn {
    _holding: Option<UnixListener>,
}

impl Turn {
    /// Whoever holds it for too long holds nobody up.
    pub fn wait() -> io::Result<Turn> {
        // A name that is gone with whoever has it.
        let name = format!("gslb-demo of {} chooses its ports", geteuid().as_raw());
        let name = SocketAddr::from_abstract_name(name)?;
        let deadline = monotonic() + PATIENCE;
        loop {
            match UnixListener::bind_addr(&name) {
                Ok(holding) => return Ok(Turn { _holding: Some(holding) }),
                Err(error) if error.kind() != ErrorKind::AddrInUse => return Err(error),
                Err(_) if monotonic() < deadline => park_timeout(PAUSE),
                Err(_) => return Ok(Turn { _holding: None }),
            }
        }
    }
}

impl Ports {
    /// Says which are others than the usual ones.
    pub fn find() -> anyhow::Result<Ports> {
        let nodes = NAME_SERVERS.map(|(_, address)| address);
        reach(REFERENCE).context(
            "loopback does not carry what is sent to 127.0.0.0/8, which is all that the demo has; is it up? \
             (ip link set lo up)",
        )?;
        let web = web_addresses();
        Ok(Ports {
            dns: find("DNS", USUAL.dns, &nodes, Transport::Both)?,
            control: find("probes and agents", USUAL.control, &nodes, Transport::Tcp)?,
            admin: find("admin pages", USUAL.admin, &nodes, Transport::Tcp)?,
            web: find("the sites", USUAL.web, &web, Transport::Tcp)?,
        })
    }
}

fn web_addresses() -> Vec<Ipv4Addr> {
    let of_site = |(_, vip)| SERVERS.map(|name| server(vip, name)).into_iter().chain([vip]);
    SITES.into_iter().flat_map(of_site).chain([REFERENCE]).collect()
}

fn find(whose: &str, usual: u16, at: &[Ipv4Addr], transport: Transport) -> anyhow::Result<u16> {
    let Some(first) = at.first() else { bail!("nobody listens for {whose}") };
    let mut port = usual;
    for _ in 0..TRIES {
        match taken(port, at, transport)? {
            None => {
                if port != usual {
                    say(&format!("port {usual} of {whose} is taken: {port} instead\n"));
                }
                return Ok(port);
            }
            Some(_) => port = TcpListener::bind((*first, 0))?.local_addr()?.port(),
        }
    }
    bail!("no port for {whose} is free at all of {at:?}");
}

/// Where the interface is down an address can be had, and nobody be reached at it.
fn reach(address: Ipv4Addr) -> io::Result<()> {
    let listener = TcpListener::bind((address, 0))?;
    TcpStream::connect_timeout(&listener.local_addr()?, PATIENCE).map(drop)
}

/// By whom of those addresses the port cannot be had, because somebody has it.
fn taken(port: u16, at: &[Ipv4Addr], transport: Transport) -> anyhow::Result<Option<Ipv4Addr>> {
    for &address in at {
        match is_free(address, port, transport) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AddrInUse => return Ok(Some(address)),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot listen on {address}:{port}"));
            }
        }
    }
    Ok(None)
}

/// Who listens there may share it with others of the same user: whether anybody does is asked alone.
fn is_free(address: Ipv4Addr, port: u16, transport: Transport) -> io::Result<()> {
    TcpListener::bind((address, port))?;
    match transport {
        Transport::Tcp => Ok(()),
        Transport::Both => UdpSocket::bind((address, port)).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_somebody_has_is_left_to_them() {
        let [one, two] = NAME_SERVERS.map(|(_, address)| address);
        let holder = UdpSocket::bind((two, 0)).unwrap();
        let usual = holder.local_addr().unwrap().port();
        let found = find("a test", usual, &[one, two], Transport::Both).unwrap();
        assert_ne!(found, usual);
        drop(holder);
        assert_eq!(find("a test", usual, &[one, two], Transport::Both).unwrap(), usual);
    }

    #[test]
    fn an_address_that_is_not_here_is_told() {
        let elsewhere = Ipv4Addr::new(192, 0, 2, 1);
        assert!(reach(elsewhere).is_err());
        let why = find("a test", 0, &[elsewhere], Transport::Tcp).unwrap_err().to_string();
        assert_eq!(why, "cannot listen on 192.0.2.1:0");
    }
}
