//! Frames of Ethernet, sent and heard on one interface (packet(7)).
//!
//! One of two rooms with `unsafe`: no safe library has the address of an interface to bind to.

#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::netlink::Index;
use crate::vrrp::neighbour::{ARP, Mac, arp_sender};

/// Of an Ethernet header.
const HEADER: usize = 14;
/// Frames read in one go: others have things to do as well.
const MOST_AT_ONCE: usize = 256;

/// What is heard on an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Heeds {
    Nothing,
    Arp,
}

/// A socket at one interface.
pub struct Frames(Socket);

impl Frames {
    pub fn open(at: Index, heeds: Heeds) -> io::Result<Frames> {
        // Protocol 0 hears nothing: not before it is bound either.
        let kind = Type::RAW.nonblocking().cloexec();
        let socket = Socket::new_raw(Domain::from(libc::AF_PACKET), kind, Some(Protocol::from(0)))?;
        let protocol = match heeds {
            Heeds::Nothing => 0,
            Heeds::Arp => ARP.to_be(),
        };
        // SAFETY: the storage is zeroed and has room for every address; we write one of its family and say its length.
        let ((), address) = unsafe {
            SockAddr::try_init(|storage, length| {
                let there = storage.cast::<libc::sockaddr_ll>();
                (*there).sll_family = libc::AF_PACKET as libc::sa_family_t;
                (*there).sll_protocol = protocol;
                (*there).sll_ifindex = at.0.get() as libc::c_int;
                *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
                Ok(())
            })
        }?;
        socket.bind(&address)?;
        Ok(Frames(socket))
    }

    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        send(self.0.as_raw_fd(), frame, MsgFlags::empty())?;
        Ok(())
    }

    /// Tells who has sent ARP packets meanwhile, and from where.
    pub fn senders(&self, buffer: &mut [u8], mut each: impl FnMut(Ipv4Addr, Mac)) {
        for _ in 0..MOST_AT_ONCE {
            match recv(self.0.as_raw_fd(), buffer, MsgFlags::empty()) {
                Ok(length) => {
                    let sender = buffer.get(HEADER..length).and_then(arp_sender);
                    sender.into_iter().for_each(|(sender, mac)| each(sender, mac));
                }
                Err(Errno::EINTR) => {}
                // Nothing more, or an interface that is gone: of that the kernel tells.
                Err(_) => return,
            }
        }
    }
}

impl AsFd for Frames {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
