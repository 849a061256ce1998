//! One query or answer as a dnstap message (<https://dnstap.info>), in the frame that carries it.
//!
//! Reads what `listen` saw, feeds `query_log`. The few fields of dnstap.proto that a name server fills in are
//! written by hand, each in its smallest form. Pure; never touches a ring or a socket.

pub mod stream;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use arrayvec::ArrayVec;

use crate::answer::{MAX_STREAM, Transport};

/// What we call ourselves.
const VERSION: &str = concat!("gslb-dns ", env!("CARGO_PKG_VERSION"));
/// Octets of a message's fields before the DNS message: 66 with two IPv6 addresses and the latest time.
const MAX_HEAD: usize = 80;
/// Octets of a frame beside the DNS message: length, identity, version, type, head, tags and lengths.
const MAX_BESIDE: usize = 256;
/// Octets of the largest frame.
pub const MAX_FRAME: usize = MAX_STREAM + MAX_BESIDE;

/// Fields of `Dnstap`.
const IDENTITY: u32 = 1;
const PROGRAM_VERSION: u32 = 2;
const MESSAGE: u32 = 14;
const TYPE: u32 = 15;
/// `Dnstap.Type.MESSAGE`.
const TYPE_IS_MESSAGE: u64 = 1;

/// Which of the two a frame tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    AuthQuery,
    AuthResponse,
}

/// Who asked whom, how and when.
#[derive(Clone, Copy, Debug)]
pub struct Meeting {
    pub transport: Transport,
    pub client: IpAddr,
    /// Unknown where a connection was taken apart before.
    pub client_port: Option<u16>,
    /// Where we listen: an unspecified address is left out.
    pub server: SocketAddr,
    /// Since 1970.
    pub at: Duration,
}

/// Writes frames of one server.
pub struct Encoder {
    /// The fields that are the same in all of them.
    same: Vec<u8>,
}

impl Encoder {
    /// `identity` is the server's name (as NSID has it).
    pub fn new(identity: &str) -> Encoder {
        let mut same = Vec::new();
        put_octets(&mut same, IDENTITY, identity.as_bytes());
        put_octets(&mut same, PROGRAM_VERSION, VERSION.as_bytes());
        put_number(&mut same, TYPE, TYPE_IS_MESSAGE);
        Encoder { same }
    }

    /// Replaces what is in `frame`, which never grows beyond `MAX_FRAME`.
    pub fn write(&self, kind: Kind, meeting: &Meeting, dns: &[u8], frame: &mut Vec<u8>) {
        let (head, field) = head(kind, meeting);
        let inner = head.len() + octets_field(field, dns.len());
        let length = self.same.len() + octets_field(MESSAGE, inner);
        frame.clear();
        frame.extend_from_slice(&(length as u32).to_be_bytes());
        frame.extend_from_slice(&self.same);
        put_varint(frame, tag(MESSAGE, Wire::Octets));
        put_varint(frame, inner as u64);
        frame.extend_from_slice(&head);
        put_octets(frame, field, dns);
    }
}

/// The fields of `Message` before the DNS message, and that one's number.
fn head(kind: Kind, meeting: &Meeting) -> (ArrayVec<u8, MAX_HEAD>, u32) {
    let Meeting { transport, client, client_port, server, at } = *meeting;
    // Of each kind: its number, and those of its time and its DNS message.
    let (number, seconds, nanoseconds, dns) = match kind {
        Kind::AuthQuery => (1, 8, 9, 10),
        Kind::AuthResponse => (2, 12, 13, 14),
    };
    let mut head = ArrayVec::new();
    put_number(&mut head, 1, number);
    put_number(&mut head, 2, if client.is_ipv4() { 1 } else { 2 });
    put_number(&mut head, 3, protocol(transport));
    put_address(&mut head, 4, client);
    if !server.ip().is_unspecified() {
        put_address(&mut head, 5, server.ip());
    }
    if let Some(port) = client_port {
        put_number(&mut head, 6, port.into());
    }
    put_number(&mut head, 7, server.port().into());
    put_number(&mut head, seconds, at.as_secs());
    put_varint(&mut head, tag(nanoseconds, Wire::Fixed32));
    head.extend(at.subsec_nanos().to_le_bytes());
    (head, dns)
}

/// `SocketProtocol`.
fn protocol(transport: Transport) -> u64 {
    match transport {
        Transport::Udp => 1,
        Transport::Tcp => 2,
        Transport::Tls => 3,
        Transport::Https => 4,
        // 5 and 6 are DNSCrypt's.
        Transport::Quic => 7,
    }
}

/// How protobuf carries a field.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Octets = 2,
    Fixed32 = 5,
}

fn tag(field: u32, wire: Wire) -> u64 {
    u64::from(field) << 3 | wire as u64
}

fn put_number(out: &mut impl Extend<u8>, field: u32, number: u64) {
    put_varint(out, tag(field, Wire::Varint));
    put_varint(out, number);
}

fn put_octets(out: &mut Vec<u8>, field: u32, octets: &[u8]) {
    put_varint(out, tag(field, Wire::Octets));
    put_varint(out, octets.len() as u64);
    out.extend_from_slice(octets);
}

fn put_address(head: &mut ArrayVec<u8, MAX_HEAD>, field: u32, address: IpAddr) {
    put_varint(head, tag(field, Wire::Octets));
    match address {
        IpAddr::V4(v4) => {
            head.push(4);
            head.extend(v4.octets());
        }
        IpAddr::V6(v6) => {
            head.push(16);
            head.extend(v6.octets());
        }
    }
}

fn put_varint(out: &mut impl Extend<u8>, mut number: u64) {
    while number > 0x7f {
        out.extend([number as u8 | 0x80]);
        number >>= 7;
    }
    out.extend([number as u8]);
}

/// Octets of a field that holds so many.
fn octets_field(field: u32, octets: usize) -> usize {
    varint_length(tag(field, Wire::Octets)) + varint_length(octets as u64) + octets
}

fn varint_length(number: u64) -> usize {
    let bits = u64::BITS - (number | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meeting() -> Meeting {
        Meeting {
            transport: Transport::Udp,
            client: "192.0.2.7".parse().unwrap(),
            client_port: Some(300),
            server: "198.51.100.53:53".parse().unwrap(),
            at: Duration::new(1, 2),
        }
    }

    #[test]
    fn a_frame_is_what_dnstap_proto_says() {
        let mut frame = vec![1, 2, 3];
        Encoder::new("n").write(Kind::AuthQuery, &meeting(), &[0xaa; 3], &mut frame);
        let same = [&[0x0a, 1, b'n', 0x12, VERSION.len() as u8], VERSION.as_bytes(), &[0x78, 1]];
        let message = [
            &[0x08, 1, 0x10, 1, 0x18, 1][..],
            &[0x22, 4, 192, 0, 2, 7, 0x2a, 4, 198, 51, 100, 53],
            &[0x30, 0xac, 2, 0x38, 53, 0x40, 1, 0x4d, 2, 0, 0, 0],
            &[0x52, 3, 0xaa, 0xaa, 0xaa],
        ]
        .concat();
        let dnstap = [&same.concat(), &[0x72, message.len() as u8][..], &message].concat();
        assert_eq!(frame[..4], (dnstap.len() as u32).to_be_bytes());
        assert_eq!(frame[4..], dnstap);

        Encoder::new("n").write(Kind::AuthResponse, &meeting(), &[0xbb], &mut frame);
        assert!(frame.ends_with(&[0x60, 1, 0x6d, 2, 0, 0, 0, 0x72, 1, 0xbb]), "{frame:02x?}");
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        let mut frame = vec![];
        let server = "[::]:53".parse().unwrap();
        let meeting = Meeting { client_port: None, server, ..meeting() };
        Encoder::new("n").write(Kind::AuthQuery, &meeting, &[], &mut frame);
        let message = [0x22, 4, 192, 0, 2, 7, 0x38, 53, 0x40, 1];
        assert!(frame.windows(message.len()).any(|part| part == message), "{frame:02x?}");
    }

    #[test]
    fn the_largest_frame_has_room() {
        let longest = "x".repeat(crate::world::MAX_NODE_NAME);
        let meeting = Meeting {
            transport: Transport::Https,
            client: "ffff::1".parse().unwrap(),
            client_port: Some(u16::MAX),
            server: "[ffff::2]:65535".parse().unwrap(),
            at: Duration::MAX,
        };
        for kind in [Kind::AuthQuery, Kind::AuthResponse] {
            let mut frame = Vec::with_capacity(MAX_FRAME);
            Encoder::new(&longest).write(kind, &meeting, &[0; MAX_STREAM], &mut frame);
            assert_eq!(frame.capacity(), MAX_FRAME);
            assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
        }
        assert_eq!(head(Kind::AuthQuery, &meeting).0.len(), 66);
    }

    #[test]
    fn a_varint_is_as_long_as_it_is_said_to_be() {
        for number in (0..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit]).chain([u64::MAX]) {
            let mut written = Vec::new();
            put_varint(&mut written, number);
            assert_eq!(written.len(), varint_length(number), "{number}");
        }
    }
}
