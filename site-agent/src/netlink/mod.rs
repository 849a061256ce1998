//! The kernel's interfaces and addresses (rtnetlink(7)): asked, changed, and heard of when they change.
//!
//! message: octets ─▶ Told (pure) · Kernel: two sockets, one for what we ask and one for news
//!
//! Decides nothing. A request is answered before anything else is done: what was asked first has happened first, and
//! that addresses are gone before it is said so is what the caller relies on.

pub mod message;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

pub use self::message::{ADDRESS_PROTOCOL, Address, Index, Link, Request, Told, Use, can_speak};

/// For news: a machine with many containers has thousands of them at once. What does not fit is an overrun, and told.
const NEWS_BUFFER: usize = 16 << 20;
/// The kernel answers within the call that asks it.
const PATIENCE: Duration = Duration::from_secs(1);
/// The kernel's messages have 32 KiB at most, where a buffer has room for that.
const BUFFER: usize = 64 << 10;
/// A list that changed while it was told is asked for again.
const TRIES: usize = 4;

const RTMGRP_LINK: u32 = 1;
const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;

/// Both sockets.
pub struct Kernel {
    requests: OwnedFd,
    news: OwnedFd,
    number: u32,
    buffer: Box<[u8]>,
}

/// How the reading of news ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Heard {
    All,
    /// Some of it did not fit the socket's buffer and is lost.
    Overrun,
}

/// What was told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum List {
    Whole,
    /// It changed meanwhile.
    Interrupted,
}

impl Kernel {
    pub fn open() -> io::Result<Kernel> {
        let requests = route(SockFlag::empty())?;
        setsockopt(
            &requests,
            sockopt::ReceiveTimeout,
            &TimeVal::new(PATIENCE.as_secs() as i64, 0),
        )?;
        let news = route(SockFlag::SOCK_NONBLOCK)?;
        // Beyond the limit with CAP_NET_ADMIN, else up to it.
        let forced = setsockopt(&news, sockopt::RcvBufForce, &NEWS_BUFFER);
        forced.or_else(|_| setsockopt(&news, sockopt::RcvBuf, &NEWS_BUFFER))?;
        let groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
        bind(news.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Kernel { requests, news, number: 0, buffer: vec![0; BUFFER].into() })
    }

    /// Readable when there is news.
    pub fn news(&self) -> BorrowedFd<'_> {
        self.news.as_fd()
    }

    /// Has the kernel do something.
    pub fn ask(&mut self, request: &mut Request) -> io::Result<()> {
        self.list(request, |_| {})
    }

    /// The same, of a request for a list: `each` hears what is in it.
    pub fn list(
        &mut self,
        request: &mut Request,
        mut each: impl FnMut(Told<'_>),
    ) -> io::Result<()> {
        for _ in 0..TRIES {
            if self.exchange(request, &mut each)? == List::Whole {
                break;
            }
        }
        // What is still amiss the news will tell, which is heard after this.
        Ok(())
    }

    fn exchange(
        &mut self,
        request: &mut Request,
        each: &mut impl FnMut(Told<'_>),
    ) -> io::Result<List> {
        self.number = self.number.wrapping_add(1);
        let asked = self.number;
        send(self.requests.as_raw_fd(), request.numbered(asked), MsgFlags::empty())?;
        let (mut end, mut list) = (None, List::Whole);
        while end.is_none() {
            let length = recv(self.requests.as_raw_fd(), &mut self.buffer, MsgFlags::empty())?;
            if message::is_interrupted(&self.buffer[..length]) {
                list = List::Interrupted;
            }
            for told in message::read(&self.buffer[..length]) {
                match told {
                    Told::Done { number, error } if number == asked => end = Some(error),
                    // Of a request that was given up.
                    Told::Done { .. } => {}
                    told => each(told),
                }
            }
        }
        match end {
            None | Some(0) => Ok(list),
            Some(error) => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// All news that there is.
    pub fn hear(&mut self, mut each: impl FnMut(Told<'_>)) -> io::Result<Heard> {
        let mut heard = Heard::All;
        loop {
            match recv(self.news.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(length) => message::read(&self.buffer[..length]).for_each(&mut each),
                Err(Errno::EAGAIN) => return Ok(heard),
                Err(Errno::ENOBUFS) => heard = Heard::Overrun,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn route(flags: SockFlag) -> io::Result<OwnedFd> {
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    Ok(socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?)
}
