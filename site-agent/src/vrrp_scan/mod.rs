//! `site-agent vrrp scan`: listens to a link for a while, and tells who speaks VRRP there. The shell around `sightings`.
//!
//! (netlink) ─▶ interfaces ─▶ listen: (adverts) ─▶ vrrp: sightings ─▶ (people)
//!
//! It sends nothing but what joining the groups takes (IGMP, MLD). What this box sends itself it does not hear.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use common::clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::netlink::{Index, Kernel, Link, Request, Told as Heard};
use crate::routers::adverts::{Hearing, LONGEST};
use crate::vrrp::packet::{Envelope, Family, Refusal};
use crate::vrrp::sightings::Sightings;
use crate::vrrp::sightings::told::Told;

/// Packets of a socket that are read in one go: under a flood the others are heard, and the time ends.
const MOST_AT_ONCE: usize = 1024;

#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    #[error("cannot ask the kernel for its interfaces")]
    Kernel(#[source] io::Error),
    #[error("no interface {name:?} (interfaces: {known})")]
    Unknown { name: String, known: String },
    #[error("no Ethernet interface is up: name one with --interface")]
    None,
    #[error("cannot listen at {interface}: that needs CAP_NET_RAW, which root has")]
    Denied { interface: Arc<str> },
    #[error("cannot listen at {interface}")]
    Listen { interface: Arc<str>, source: io::Error },
    #[error("cannot wait for packets")]
    Wait(#[source] io::Error),
}

/// A name, and what the kernel calls it now.
pub type Interface = (Arc<str>, Index);

/// Listens at these interfaces; at all of Ethernet that are up, where there are none.
pub fn scan(names: &[String], time: Duration) -> Result<Told, ScanError> {
    let interfaces = interfaces(names)?;
    let mut sightings = Sightings::default();
    let begin = clock::monotonic();
    listen(&interfaces, time, |now, interface, packet| sightings.hear(now, interface, packet))?;
    let names = interfaces.iter().map(|(name, _)| &**name);
    Ok(sightings.told(begin, clock::monotonic(), names))
}

fn interfaces(names: &[String]) -> Result<Vec<Interface>, ScanError> {
    let mut there: Vec<(Interface, bool)> = vec![];
    let each = |told: Heard<'_>| {
        if let Heard::Link(Link { index, name, mac, is_up, .. }) = told {
            let name = Arc::from(&*String::from_utf8_lossy(name));
            there.push(((name, index), is_up && mac.is_some()));
        }
    };
    let listed = Kernel::open().and_then(|mut kernel| kernel.list(&mut Request::links(), each));
    listed.map_err(ScanError::Kernel)?;
    if names.is_empty() {
        let usual = there.into_iter().filter(|(_, is_usual)| *is_usual);
        let usual: Vec<Interface> = usual.map(|(interface, _)| interface).collect();
        return if usual.is_empty() { Err(ScanError::None) } else { Ok(usual) };
    }
    let find = |name: &String| {
        let found = there.iter().find(|((known, _), _)| **known == **name);
        found.map(|(interface, _)| interface.clone()).ok_or_else(|| {
            let known: Vec<&str> = there.iter().map(|((known, _), _)| &**known).collect();
            ScanError::Unknown { name: name.clone(), known: known.join(", ") }
        })
    };
    names.iter().map(find).collect()
}

/// Tells of each packet of protocol 112 that comes within that time, and when it came.
pub fn listen(
    interfaces: &[Interface],
    time: Duration,
    mut each: impl FnMut(Duration, &Arc<str>, Result<(Envelope, &[u8]), Refusal>),
) -> Result<(), ScanError> {
    let begin = clock::monotonic();
    let mut sockets = vec![];
    for (name, index) in interfaces {
        for family in [Family::V4, Family::V6] {
            match Hearing::open(family, name, *index) {
                Ok(socket) => sockets.push((name, socket)),
                // Without IPv6 there is nothing to be heard of it.
                Err(_) if family == Family::V6 && has_no_ipv6(name) => {}
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(ScanError::Denied { interface: Arc::clone(name) });
                }
                Err(source) => {
                    return Err(ScanError::Listen { interface: Arc::clone(name), source });
                }
            }
        }
    }
    let mut buffer = vec![0; LONGEST];
    loop {
        let left = time.saturating_sub(clock::monotonic().saturating_sub(begin));
        if left.is_zero() {
            return Ok(());
        }
        let mut waiting: Vec<PollFd<'_>> =
            sockets.iter().map(|(_, socket)| PollFd::new(socket, PollFlags::IN)).collect();
        let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        match poll(&mut waiting, Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(ScanError::Wait(error.into())),
        }
        for (interface, socket) in &sockets {
            for _ in 0..MOST_AT_ONCE {
                let Some(packet) = socket.receive(&mut buffer) else { break };
                each(clock::monotonic(), interface, packet);
            }
        }
    }
}

fn has_no_ipv6(interface: &str) -> bool {
    let disabled = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
    std::fs::read(disabled).map_or(true, |found| !found.starts_with(b"0"))
}
