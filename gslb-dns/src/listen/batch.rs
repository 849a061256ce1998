//! Datagrams in batches: `recvmmsg(2)` and `sendmmsg(2)` over buffers allocated once.
//!
//! The only room with `unsafe`. It owns every buffer the kernel is given; a received datagram is
//! borrowed from it, and a reply is written into it. It never reads a datagram's contents.

#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

/// Octets kept of a received datagram: what Ethernet carries in one frame. A longer query arrives cut
/// short and fails to parse. Not a power of two, so that the buffers' first lines, which every query
/// uses, do not all fall into one set of the cache.
pub const RECEIVE_ROOM: usize = 1472;
/// Octets a reply may have: what RFC 9715 §3.2 and DNS flag day 2020 let through unfragmented.
pub const SEND_ROOM: usize = 1232;
/// Octets of ancillary data: one `in6_pktinfo`, the largest we ask for, with its header and padding.
const CONTROL_WORDS: usize = 6;
/// Octets of an `in_pktinfo`, with its header and padding.
// SAFETY: computes a length, and touches nothing.
const SOURCE_ROOM: usize =
    unsafe { libc::CMSG_SPACE(mem::size_of::<libc::in_pktinfo>() as u32) } as usize;

const _: () = assert!(SOURCE_ROOM <= CONTROL_WORDS * mem::size_of::<u64>(), "the block holds it");

/// Which local address a reply leaves from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReplyFrom {
    /// The socket is bound to one address, so the kernel can choose no other.
    Socket,
    /// The socket is bound to the wildcard: reply from the address that was asked (`IP_PKTINFO`).
    Asked,
}

/// One received datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'b> {
    pub bytes: &'b [u8],
    pub peer: SocketAddr,
}

/// What became of the queued replies.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Flushed {
    pub sent: usize,
    /// Refused by the kernel: a full send buffer, a firewall, no route.
    pub refused: usize,
}

/// A batch of datagrams received and the replies to them.
pub struct Exchange {
    reply_from: ReplyFrom,
    received: Lane,
    replies: Lane,
    /// Whom each queued reply goes to.
    queued: Vec<Recipient>,
}

/// Whom a queued datagram goes to.
#[derive(Clone, Copy)]
enum Recipient {
    /// The sender of this received datagram.
    Sender(usize),
    /// The peer that the socket is connected to.
    Connected,
    /// Whom the slot itself names, and from where it is to come.
    Given,
}

/// One direction: headers, and the buffers they point to. The pointers are set anew for each call, from
/// the buffers as they are then, and mean nothing between calls.
struct Lane {
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    peers: Box<[libc::sockaddr_storage]>,
    controls: Box<[[u64; CONTROL_WORDS]]>,
    bytes: Box<[u8]>,
    room: usize,
}

// SAFETY: raw pointers stand in the headers, and are set before every use from buffers that the exchange
// owns; whichever thread has the exchange has them all.
unsafe impl Send for Exchange {}

impl Exchange {
    /// Buffers for `width` datagrams each way.
    pub fn new(width: usize, reply_from: ReplyFrom) -> Exchange {
        Exchange {
            reply_from,
            received: Lane::new(width, RECEIVE_ROOM),
            replies: Lane::new(width, SEND_ROOM),
            queued: Vec::with_capacity(width),
        }
    }

    /// Waits for at least one datagram, as long as the socket's read time-out allows, and takes all
    /// that have come, up to the width.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.receive_with(socket, libc::MSG_WAITFORONE)
    }

    /// Takes what has come already; `WouldBlock` if nothing has.
    pub fn receive_ready(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.receive_with(socket, libc::MSG_DONTWAIT)
    }

    fn receive_with(&mut self, socket: &UdpSocket, flags: libc::c_int) -> io::Result<usize> {
        let control_room = match self.reply_from {
            ReplyFrom::Socket => 0,
            ReplyFrom::Asked => CONTROL_WORDS * mem::size_of::<u64>(),
        };
        let lane = &mut self.received;
        lane.aim(lane.headers.len());
        // The kernel overwrites all three lengths with what it used.
        for (header, vector) in lane.headers.iter_mut().zip(&mut lane.vectors) {
            vector.iov_len = lane.room;
            header.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as u32;
            header.msg_hdr.msg_controllen = control_room;
        }
        // SAFETY: every header points to a vector, a peer and a control block of this lane, aimed just now.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                lane.headers.as_mut_ptr(),
                lane.headers.len() as u32,
                flags,
                ptr::null_mut(),
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// The `index`th datagram of the last batch received.
    pub fn datagram(&self, index: usize) -> Datagram<'_> {
        self.received.datagram(index)
    }

    /// Queues the reply to the `index`th datagram: `write` fills the buffer and says how much of it
    /// it used; nothing is sent for 0.
    pub fn reply(&mut self, index: usize, write: impl FnOnce(Datagram<'_>, &mut [u8]) -> usize) {
        let slot = self.queued.len();
        let length = write(self.received.datagram(index), self.replies.buffer(slot));
        if length > 0 {
            self.replies.vectors[slot].iov_len = length;
            self.queued.push(Recipient::Sender(index));
        }
    }

    /// Queues a datagram to the peer that the socket is connected to.
    pub fn queue(&mut self, write: impl FnOnce(&mut [u8]) -> usize) {
        let slot = self.queued.len();
        self.replies.vectors[slot].iov_len = write(self.replies.buffer(slot));
        self.queued.push(Recipient::Connected);
    }

    /// Queues a datagram to `to`, which is to come from `source`: an address of this host, while the socket is bound to
    /// the wildcard. For who has to ask as many do.
    pub fn queue_from(
        &mut self,
        source: Ipv4Addr,
        to: SocketAddrV4,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) {
        let slot = self.queued.len();
        self.replies.vectors[slot].iov_len = write(self.replies.buffer(slot));
        name_peer(&mut self.replies.peers[slot], to);
        name_source(&mut self.replies.controls[slot], source);
        self.queued.push(Recipient::Given);
    }

    /// Sends what is queued. Never waits: a peer that cannot be reached costs the others nothing.
    pub fn flush(&mut self, socket: &UdpSocket) -> Flushed {
        self.address();
        let mut flushed = Flushed::default();
        let mut at = 0;
        while at < self.queued.len() {
            let waiting = &mut self.replies.headers[at..self.queued.len()];
            // SAFETY: `address` aimed the headers at buffers of `received` and `replies`, which nothing
            // has touched since.
            let count = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    waiting.as_mut_ptr(),
                    waiting.len() as u32,
                    libc::MSG_DONTWAIT,
                )
            };
            match usize::try_from(count) {
                Ok(count) => {
                    flushed.sent += count;
                    at += count;
                }
                Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                // The error is the first waiting datagram's own: pass over it.
                Err(_) => {
                    flushed.refused += 1;
                    at += 1;
                }
            }
        }
        self.queued.clear();
        flushed
    }

    /// Aims the queued replies at their contents and at whom they go to.
    fn address(&mut self) {
        self.replies.aim(self.queued.len());
        let received = &mut self.received;
        for (header, recipient) in self.replies.headers.iter_mut().zip(&self.queued) {
            let header = &mut header.msg_hdr;
            let index = match *recipient {
                Recipient::Sender(index) => index,
                // The slot's own, at which it has been aimed.
                Recipient::Given => {
                    header.msg_namelen = mem::size_of::<libc::sockaddr_in>() as u32;
                    header.msg_controllen = SOURCE_ROOM;
                    continue;
                }
                Recipient::Connected => {
                    header.msg_name = ptr::null_mut();
                    header.msg_namelen = 0;
                    header.msg_control = ptr::null_mut();
                    header.msg_controllen = 0;
                    continue;
                }
            };
            header.msg_control = ptr::null_mut();
            header.msg_controllen = 0;
            let from = &received.headers[index].msg_hdr;
            header.msg_name = (&raw mut received.peers[index]).cast();
            header.msg_namelen = from.msg_namelen;
            if self.reply_from == ReplyFrom::Asked {
                forget_interface(&mut received.controls[index]);
                header.msg_control = (&raw mut received.controls[index]).cast();
                header.msg_controllen = from.msg_controllen;
            }
        }
    }
}

impl Lane {
    fn new(width: usize, room: usize) -> Lane {
        // SAFETY: all-zero is a valid value of these plain C structures.
        let (headers, peers) = unsafe {
            (
                vec![mem::zeroed::<libc::mmsghdr>(); width].into_boxed_slice(),
                vec![mem::zeroed::<libc::sockaddr_storage>(); width].into_boxed_slice(),
            )
        };
        let controls = vec![[0; CONTROL_WORDS]; width].into_boxed_slice();
        let bytes = vec![0; width * room].into_boxed_slice();
        let vector = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        let vectors = vec![vector; width].into_boxed_slice();
        Lane { headers, vectors, peers, controls, bytes, room }
    }

    /// Points the first `count` headers at this lane's own buffers.
    fn aim(&mut self, count: usize) {
        let bytes = self.bytes.chunks_mut(self.room);
        let buffers =
            self.vectors.iter_mut().zip(bytes).zip(&mut self.peers).zip(&mut self.controls);
        let headers = self.headers[..count].iter_mut();
        for (header, (((vector, bytes), peer), control)) in headers.zip(buffers) {
            vector.iov_base = bytes.as_mut_ptr().cast();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = ptr::from_mut(peer).cast();
            header.msg_hdr.msg_control = ptr::from_mut(control).cast();
        }
    }

    fn datagram(&self, index: usize) -> Datagram<'_> {
        let length = (self.headers[index].msg_len as usize).min(self.room);
        let start = index * self.room;
        Datagram { bytes: &self.bytes[start..start + length], peer: peer(&self.peers[index]) }
    }

    fn buffer(&mut self, index: usize) -> &mut [u8] {
        &mut self.bytes[index * self.room..(index + 1) * self.room]
    }
}

/// Asks the kernel to tell with each datagram which address it was sent to.
pub fn ask_for_destination(socket: &UdpSocket, version: IpVersion) -> io::Result<()> {
    match version {
        IpVersion::V4 => set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
        IpVersion::V6 => set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
    }
}

/// Ignores path MTU news from the network, which anybody can forge (RFC 9715 §3.1).
pub fn ignore_path_mtu(socket: &UdpSocket, version: IpVersion) -> io::Result<()> {
    match version {
        IpVersion::V4 => {
            set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT)
        }
        IpVersion::V6 => {
            set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_OMIT)
        }
    }
}

/// Of a socket: its options have other names in each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IpVersion {
    V4,
    V6,
}

fn set(socket: &UdpSocket, level: i32, option: i32, value: libc::c_int) -> io::Result<()> {
    // SAFETY: `value` outlives the call and its length is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            mem::size_of_val(&value) as u32,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn peer(storage: &libc::sockaddr_storage) -> SocketAddr {
    let storage: *const libc::sockaddr_storage = storage;
    // SAFETY: the family tells which structure the kernel wrote; both fit the storage.
    unsafe {
        match i32::from((*storage).ss_family) {
            libc::AF_INET => {
                let inet = &*storage.cast::<libc::sockaddr_in>();
                let address = Ipv4Addr::from_bits(u32::from_be(inet.sin_addr.s_addr));
                SocketAddrV4::new(address, u16::from_be(inet.sin_port)).into()
            }
            libc::AF_INET6 => {
                let inet = &*storage.cast::<libc::sockaddr_in6>();
                let address = Ipv6Addr::from(inet.sin6_addr.s6_addr);
                let port = u16::from_be(inet.sin6_port);
                SocketAddrV6::new(address, port, inet.sin6_flowinfo, inet.sin6_scope_id).into()
            }
            // A connected socket's peer is not written.
            _ => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        }
    }
}

fn name_peer(storage: &mut libc::sockaddr_storage, peer: SocketAddrV4) {
    let storage: *mut libc::sockaddr_storage = storage;
    // SAFETY: the storage is aligned for and longer than the structure, and ours alone.
    let inet = unsafe { &mut *storage.cast::<libc::sockaddr_in>() };
    inet.sin_family = libc::AF_INET as u16;
    inet.sin_port = peer.port().to_be();
    inet.sin_addr.s_addr = peer.ip().to_bits().to_be();
}

fn name_source(control: &mut [u64; CONTROL_WORDS], source: Ipv4Addr) {
    let header: *mut libc::cmsghdr = control.as_mut_ptr().cast();
    // SAFETY: the block is aligned, longer than both structures together, and ours alone.
    unsafe {
        (*header).cmsg_len = libc::CMSG_LEN(mem::size_of::<libc::in_pktinfo>() as u32) as usize;
        (*header).cmsg_level = libc::IPPROTO_IP;
        (*header).cmsg_type = libc::IP_PKTINFO;
        let info = &mut *libc::CMSG_DATA(header).cast::<libc::in_pktinfo>();
        info.ipi_ifindex = 0;
        info.ipi_spec_dst.s_addr = source.to_bits().to_be();
        info.ipi_addr.s_addr = 0;
    }
}

/// Lets routing choose the interface of a reply, except for a link-local address, which means
/// nothing without its interface.
fn forget_interface(control: &mut [u64; CONTROL_WORDS]) {
    let header: *mut libc::cmsghdr = control.as_mut_ptr().cast();
    // SAFETY: the block is aligned, longer than any of these structures, and ours alone.
    unsafe {
        let data = libc::CMSG_DATA(header);
        match ((*header).cmsg_level, (*header).cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                (*data.cast::<libc::in_pktinfo>()).ipi_ifindex = 0;
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let info = &mut *data.cast::<libc::in6_pktinfo>();
                if !Ipv6Addr::from(info.ipi6_addr.s6_addr).is_unicast_link_local() {
                    info.ipi6_ifindex = 0;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Sends three datagrams to `bind` at `ask` and checks that each comes back from there.
    fn check(bind: &str, ask: &str, version: IpVersion, reply_from: ReplyFrom) {
        let server = UdpSocket::bind(bind).unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        ignore_path_mtu(&server, version).unwrap();
        if reply_from == ReplyFrom::Asked {
            ask_for_destination(&server, version).unwrap();
        }
        let port = server.local_addr().unwrap().port();
        let asked = SocketAddr::new(ask.parse().unwrap(), port);
        let client = UdpSocket::bind(if asked.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        for text in ["one", "two", "three"] {
            client.send_to(text.as_bytes(), asked).unwrap();
        }
        let mut exchange = Exchange::new(8, reply_from);
        let mut answered = 0;
        while answered < 3 {
            let count = exchange.receive(&server).unwrap();
            for index in 0..count {
                exchange.reply(index, |datagram, buffer| {
                    buffer[..datagram.bytes.len()].copy_from_slice(datagram.bytes);
                    datagram.bytes.len()
                });
            }
            answered += exchange.flush(&server).sent;
        }
        for text in ["one", "two", "three"] {
            let mut buffer = [0; 16];
            let (length, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from), (text.as_bytes(), asked));
        }
    }

    #[test]
    fn a_reply_leaves_from_the_address_that_was_asked() {
        check("127.0.0.1:0", "127.0.0.1", IpVersion::V4, ReplyFrom::Socket);
        check("0.0.0.0:0", "127.0.0.77", IpVersion::V4, ReplyFrom::Asked);
        check("[::]:0", "::1", IpVersion::V6, ReplyFrom::Asked);
    }

    #[test]
    fn one_socket_asks_from_as_many_addresses_as_it_is_told() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let SocketAddr::V4(to) = server.local_addr().unwrap() else { panic!("an IPv4 socket") };
        let client = UdpSocket::bind("0.0.0.0:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut exchange = Exchange::new(4, ReplyFrom::Socket);
        let sources: [Ipv4Addr; 3] =
            [[127, 1, 2, 3], [127, 200, 0, 9], [127, 0, 0, 1]].map(Ipv4Addr::from);
        for source in sources {
            exchange.queue_from(source, to, |buffer| {
                buffer[..4].copy_from_slice(&source.octets());
                4
            });
        }
        assert_eq!(exchange.flush(&client), Flushed { sent: 3, refused: 0 });
        for source in sources {
            let mut buffer = [0; 16];
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from.ip()), (&source.octets()[..], source.into()));
            // And what is answered comes back to it.
            server.send_to(&buffer[..length], from).unwrap();
            assert_eq!(client.recv(&mut buffer).unwrap(), 4);
        }
    }

    #[test]
    fn a_reply_of_no_octets_is_not_sent() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"x", server.local_addr().unwrap()).unwrap();
        let mut exchange = Exchange::new(1, ReplyFrom::Socket);
        assert_eq!(exchange.receive(&server).unwrap(), 1);
        exchange.reply(0, |_, _| 0);
        assert_eq!(exchange.flush(&server), Flushed::default());
    }
}
