//! Adverts of one family on one interface: heard on a raw socket, sent on another with a header of our own.
//!
//! All virtual routers of the interface share them, by multicast and by unicast: whom an advert is for, its VRID says.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use nix::errno::Errno;
use nix::libc::in6_pktinfo;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrIn6, cmsg_space, recv, recvmsg, setsockopt, sockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use crate::netlink::Index;
use crate::vrrp::packet::{
    Ends, Envelope, Family, GROUP_V4, GROUP_V6, PROTOCOL, Refusal, ipv4_header, ipv6_header,
    open_ipv4,
};

/// The longest that is read: of IPv4 with options, of both with 255 addresses and a signature.
pub const LONGEST: usize = 8 << 10;
/// That of network control: such packets are sent in front of others.
const PRIORITY: i32 = 7;
/// Some hundred adverts that come while nobody reads.
const RECEIVED: usize = 256 << 10;
const CONTROL: usize = cmsg_space::<i32>() + cmsg_space::<in6_pktinfo>();

pub struct Adverts {
    at: Index,
    heard: Hearing,
    sent: Socket,
}

/// Hears adverts of others and sends none, whoever they are for.
pub struct Hearing {
    family: Family,
    socket: Socket,
}

impl Hearing {
    pub fn open(family: Family, interface: &str, at: Index) -> io::Result<Hearing> {
        let socket = raw(family, interface, i32::from(PROTOCOL))?;
        socket.set_recv_buffer_size(RECEIVED)?;
        let index = at.0.get();
        match family {
            Family::V4 => {
                socket.set_multicast_all_v4(false)?;
                socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))?;
            }
            Family::V6 => {
                socket.set_multicast_all_v6(false)?;
                socket.join_multicast_v6(&GROUP_V6, index)?;
                socket.set_recv_hoplimit_v6(true)?;
                setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            }
        }
        Ok(Hearing { family, socket })
    }

    /// The next packet that lies there, without its header; or why it is none.
    pub fn receive<'b>(
        &self,
        buffer: &'b mut [u8],
    ) -> Option<Result<(Envelope, &'b [u8]), Refusal>> {
        match self.family {
            Family::V4 => {
                let length =
                    unless_empty(|| recv(self.socket.as_raw_fd(), buffer, MsgFlags::empty()))?;
                Some(open_ipv4(&buffer[..length]))
            }
            Family::V6 => {
                let (envelope, length) = unless_empty(|| self.receive_v6(buffer))?;
                Some(Ok((envelope, &buffer[..length])))
            }
        }
    }

    fn receive_v6(&self, buffer: &mut [u8]) -> Result<(Envelope, usize), Errno> {
        let mut control = [0; CONTROL];
        let mut parts = [IoSliceMut::new(buffer)];
        let message = recvmsg::<SockaddrIn6>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::empty(),
        )?;
        let from = message.address.map_or(Ipv6Addr::UNSPECIFIED, |from| from.ip());
        // What the kernel does not say is refused by whoever judges: 0 hops, to nobody.
        let (mut to, mut hop_limit) = (Ipv6Addr::UNSPECIFIED, 0);
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::Ipv6PacketInfo(info) => to = info.ipi6_addr.s6_addr.into(),
                ControlMessageOwned::Ipv6HopLimit(limit) => {
                    hop_limit = u8::try_from(limit).unwrap_or(0);
                }
                _ => {}
            }
        }
        Ok((Envelope { ends: Ends::V6 { from, to }, hop_limit }, message.bytes))
    }
}

impl AsFd for Hearing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Adverts {
    pub fn open(family: Family, interface: &str, at: Index) -> io::Result<Adverts> {
        let heard = Hearing::open(family, interface, at)?;
        // This one hears nothing, and its packets have the header that we write.
        let sent = raw(family, interface, nix::libc::IPPROTO_RAW)?;
        setsockopt(&sent, sockopt::Priority, &PRIORITY)?;
        match family {
            Family::V4 => sent.set_multicast_loop_v4(false)?,
            Family::V6 => sent.set_multicast_loop_v6(false)?,
        }
        Ok(Adverts { at, heard, sent })
    }

    /// As [`Hearing::receive`].
    pub fn receive<'b>(
        &self,
        buffer: &'b mut [u8],
    ) -> Option<Result<(Envelope, &'b [u8]), Refusal>> {
        self.heard.receive(buffer)
    }

    /// Sends what `write` makes of a message for these ends. `packet` is where it is made.
    pub fn send<E>(
        &self,
        ends: &Ends,
        packet: &mut [u8],
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<io::Result<()>, E> {
        let length = match *ends {
            Ends::V4 { from, to } => {
                let (header, message) = packet.split_at_mut(20);
                let length = write(message)?;
                header.copy_from_slice(&ipv4_header(from, to, length));
                20 + length
            }
            Ends::V6 { from, to } => {
                let (header, message) = packet.split_at_mut(40);
                let length = write(message)?;
                header.copy_from_slice(&ipv6_header(from, to, PROTOCOL, length));
                40 + length
            }
        };
        let to = match ends.to() {
            IpAddr::V4(to) => SocketAddr::from((to, 0)),
            IpAddr::V6(to) => SocketAddrV6::new(to, 0, 0, self.at.0.get()).into(),
        };
        Ok(self.sent.send_to(&packet[..length], &to.into()).map(drop))
    }
}

impl AsFd for Adverts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.heard.as_fd()
    }
}

/// Bound before it has joined anything: of other interfaces nothing is heard.
fn raw(family: Family, interface: &str, protocol: i32) -> io::Result<Socket> {
    let domain = match family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    };
    let kind = Type::RAW.nonblocking().cloexec();
    let socket = Socket::new_raw(domain, kind, Some(Protocol::from(protocol)))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    Ok(socket)
}

/// `None` when nothing lies there; an interface that is gone is told of by the kernel otherwise.
fn unless_empty<T>(mut receive: impl FnMut() -> Result<T, Errno>) -> Option<T> {
    loop {
        match receive() {
            Err(Errno::EINTR) => {}
            // The interface is down, and once told so that is over.
            Err(Errno::ENETDOWN) => {}
            received => return received.ok(),
        }
    }
}
