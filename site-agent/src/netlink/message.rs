//! Octets of rtnetlink(7): what is asked of the kernel about addresses, and what it tells of them and of interfaces.
//!
//! Framing and attributes are netlink-packet-core's; of the messages only a few fields matter here. Nothing allocates
//! but a request, which is written once and sent many times.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use netlink_packet_core::{
    DefaultNla, Emitable, NLA_HEADER_SIZE, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR,
    NLM_F_MULTIPART, NLM_F_REPLACE, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NlasIterator,
};

use crate::site::Vip;
use crate::vrrp::neighbour::Mac;

/// By which our addresses are known for ours (`ip address show proto 112`): the protocol's number.
pub const ADDRESS_PROTOCOL: u8 = 112;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_PROTO: u16 = 11;
const IFA_F_NODAD: u32 = 2;
const IFA_F_DADFAILED: u32 = 8;
const IFA_F_TENTATIVE: u32 = 0x40;
const IFF_UP: u32 = 1;
const IFF_RUNNING: u32 = 1 << 6;
const ARPHRD_ETHER: u16 = 1;
const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Octets of a netlink header, of one of addresses (ifaddrmsg), of one of interfaces (ifinfomsg).
const HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const LINK_HEADER: usize = 16;

/// Which interface of this box. It may be another one tomorrow, under the same name.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Index(pub NonZeroU32);

/// A message to the kernel, whole but for its number.
#[derive(Clone, Debug)]
pub struct Request(Vec<u8>);

impl Request {
    /// Put an address on an interface, for so long (whole seconds); if it is there, keep it for so long.
    ///
    /// Without DAD, which would keep an IPv6 address from use for a second or more; and preferred for no time, so that
    /// nobody on this box chooses it to connect from.
    pub fn put(vip: Vip, on: Index, lifetime: Duration) -> Request {
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        let cache: Vec<u8> =
            [0, seconds, 0, 0].iter().flat_map(|number: &u32| number.to_ne_bytes()).collect();
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        let attributes = [
            DefaultNla::new(IFA_FLAGS, IFA_F_NODAD.to_ne_bytes().to_vec()),
            DefaultNla::new(IFA_CACHEINFO, cache),
            DefaultNla::new(IFA_PROTO, vec![ADDRESS_PROTOCOL]),
        ];
        Request::of_address(RTM_NEWADDR, flags, vip, on, &attributes)
    }

    /// Take it away: of IPv6 if it is there with that prefix, of IPv4 the first, whatever its prefix.
    pub fn remove(vip: Vip, on: Index) -> Request {
        Request::of_address(RTM_DELADDR, NLM_F_REQUEST | NLM_F_ACK, vip, on, &[])
    }

    /// Tell of all interfaces.
    pub fn links() -> Request {
        Request::new(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, &[0; LINK_HEADER])
    }

    /// Tell of all addresses.
    pub fn addresses() -> Request {
        Request::new(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, &[AF_UNSPEC; ADDRESS_HEADER])
    }

    fn of_address(kind: u16, flags: u16, vip: Vip, on: Index, more: &[DefaultNla]) -> Request {
        let (family, octets) = match vip.address {
            IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
            IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
        };
        let mut attributes = vec![DefaultNla::new(IFA_LOCAL, octets.clone())];
        // By it the kernel compares prefixes.
        if kind == RTM_NEWADDR || family == AF_INET6 {
            attributes.push(DefaultNla::new(IFA_ADDRESS, octets));
        }
        attributes.extend_from_slice(more);
        let mut body = vec![0; ADDRESS_HEADER + attributes.as_slice().buffer_len()];
        (body[0], body[1]) = (family, vip.prefix);
        body[4..ADDRESS_HEADER].copy_from_slice(&on.0.get().to_ne_bytes());
        attributes.as_slice().emit(&mut body[ADDRESS_HEADER..]);
        Request::new(kind, flags, &body)
    }

    fn new(kind: u16, flags: u16, body: &[u8]) -> Request {
        let mut octets = vec![0; HEADER + body.len()];
        octets[HEADER..].copy_from_slice(body);
        let length = u32::try_from(octets.len()).expect("it is short");
        let mut message = NetlinkBuffer::new(&mut octets);
        message.set_length(length);
        message.set_message_type(kind);
        message.set_flags(flags);
        Request(octets)
    }

    /// Its octets under that number, by which the answer is known.
    pub fn numbered(&mut self, number: u32) -> &[u8] {
        NetlinkBuffer::new(&mut self.0).set_sequence_number(number);
        &self.0
    }
}

/// What the kernel says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Told<'m> {
    Link(Link<'m>),
    LinkGone(Index),
    Address(Address),
    AddressGone(Address),
    /// To the request of that number: done, or why not, as an errno.
    Done {
        number: u32,
        error: i32,
    },
}

/// An interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Link<'m> {
    pub index: Index,
    pub name: &'m [u8],
    /// Of Ethernet alone.
    pub mac: Option<Mac>,
    /// Switched on, and with a carrier.
    pub is_up: bool,
    /// The longest packet, in octets.
    pub mtu: u32,
}

/// An address on an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Address {
    pub on: Index,
    pub address: IpAddr,
    pub prefix: u8,
    /// Who has put it there, if they said so: ours have [`ADDRESS_PROTOCOL`], and 0 is nobody.
    pub protocol: u8,
    pub use_of: Use,
}

/// Whether an address can be used (RFC 4862 §5.4), of IPv6.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Use {
    Now,
    /// Once it is known that nobody else has it.
    Later,
    /// Somebody else has it.
    Never,
}

impl Use {
    fn of(flags: u32) -> Use {
        match (flags & IFA_F_DADFAILED != 0, flags & IFA_F_TENTATIVE != 0) {
            (true, _) => Use::Never,
            (false, true) => Use::Later,
            (false, false) => Use::Now,
        }
    }
}

/// All that stands in one datagram of the kernel's. What is of no use here, or is not understood, is left out.
pub fn read(mut datagram: &[u8]) -> impl Iterator<Item = Told<'_>> {
    std::iter::from_fn(move || {
        loop {
            let header = NetlinkBuffer::new_checked(datagram).ok()?;
            let (length, kind) = (header.length() as usize, header.message_type());
            let number = header.sequence_number();
            let body = datagram.get(HEADER..length)?;
            // To four octets, but for the last.
            datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
            if let Some(told) = message(kind, number, body) {
                return Some(told);
            }
        }
    })
}

/// Whether some of a list changed while it was told, so that something may be missing in it.
pub fn is_interrupted(mut datagram: &[u8]) -> bool {
    while let Ok(header) = NetlinkBuffer::new_checked(datagram) {
        if header.flags() & NLM_F_MULTIPART != 0 && header.flags() & NLM_F_DUMP_INTR != 0 {
            return true;
        }
        let length = header.length() as usize;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    false
}

fn message(kind: u16, number: u32, body: &[u8]) -> Option<Told<'_>> {
    match kind {
        RTM_NEWLINK => link(body).map(Told::Link),
        RTM_DELLINK => Some(Told::LinkGone(index(body.get(4..)?)?)),
        RTM_NEWADDR => address(body).map(Told::Address),
        RTM_DELADDR => address(body).map(Told::AddressGone),
        // Both begin with an errno, turned around; the end of a dump may be without.
        NLMSG_ERROR | NLMSG_DONE => {
            let error = body.first_chunk().map_or(0, |errno| i32::from_ne_bytes(*errno));
            Some(Told::Done { number, error: error.saturating_neg() })
        }
        _ => None,
    }
}

fn index(octets: &[u8]) -> Option<Index> {
    NonZeroU32::new(u32::from_ne_bytes(*octets.first_chunk()?)).map(Index)
}

/// Of messages that bridges send in our name of their ports there is no use: they are of another family.
fn link(body: &[u8]) -> Option<Link<'_>> {
    let header: &[u8; LINK_HEADER] = body.first_chunk()?;
    if header[0] != AF_UNSPEC {
        return None;
    }
    let kind = u16::from_ne_bytes(*header[2..].first_chunk()?);
    let flags = u32::from_ne_bytes(*header[8..].first_chunk()?);
    let (mut name, mut mac, mut mtu) = (None, None, 0);
    for attribute in NlasIterator::new(&body[LINK_HEADER..]).flatten() {
        match attribute.kind() {
            IFLA_IFNAME => {
                let end = usize::from(attribute.length());
                let value = attribute.into_inner().get(NLA_HEADER_SIZE..end)?;
                name = value.split(|octet| *octet == 0).next();
            }
            IFLA_ADDRESS if kind == ARPHRD_ETHER => {
                mac = attribute.value().try_into().ok().map(Mac)
            }
            IFLA_MTU => mtu = number(attribute.value())?,
            _ => {}
        }
    }
    let is_up = flags & IFF_UP != 0 && flags & IFF_RUNNING != 0;
    Some(Link { index: index(&header[4..])?, name: name?, mac, is_up, mtu })
}

fn number(octets: &[u8]) -> Option<u32> {
    octets.first_chunk().map(|octets| u32::from_ne_bytes(*octets))
}

fn address(body: &[u8]) -> Option<Address> {
    let header: &[u8; ADDRESS_HEADER] = body.first_chunk()?;
    let on = index(&header[4..])?;
    // Of flags the header has those of 8 bits.
    let (mut local, mut other, mut protocol, mut flags) = (None, None, 0, u32::from(header[2]));
    for attribute in NlasIterator::new(&body[ADDRESS_HEADER..]).flatten() {
        let read = || match header[0] {
            AF_INET => Some(IpAddr::from(*attribute.value().first_chunk::<4>()?)),
            AF_INET6 => Some(IpAddr::from(*attribute.value().first_chunk::<16>()?)),
            _ => None,
        };
        match attribute.kind() {
            IFA_LOCAL => local = read(),
            // With a peer at the other end of a line this is the peer's.
            IFA_ADDRESS => other = read(),
            IFA_PROTO => protocol = attribute.value().first().copied()?,
            IFA_FLAGS => flags = number(attribute.value())?,
            _ => {}
        }
    }
    let (prefix, use_of) = (header[1], Use::of(flags));
    Some(Address { on, address: local.or(other)?, prefix, protocol, use_of })
}

/// What an advert can be sent from: of IPv4 any address but a loopback one, of IPv6 one of the link.
pub fn can_speak(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_of_a_box(address),
        IpAddr::V6(address) => Ipv6Addr::is_unicast_link_local(&address),
    }
}

fn is_of_a_box(address: Ipv4Addr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETH: Index = Index(NonZeroU32::new(7).expect("it is not 0"));

    fn vip(text: &str) -> Vip {
        let (address, prefix) = text.split_once('/').unwrap();
        Vip { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
    }

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    /// As `strace -e trace=network -xx ip address replace …` shows those of iproute2, where it has the same.
    #[test]
    #[cfg(target_endian = "little")]
    fn requests_are_what_the_kernel_reads() {
        let two = Duration::from_secs(2);
        assert_eq!(
            hex(Request::put(vip("192.0.2.100/24"), ETH, two).numbered(0x0a0b)),
            concat!(
                "4c000000", "1400", "0505", "0b0a0000",
                "00000000", // length, kind, flags, number, port
                "02180000", "07000000", // family, prefix, flags, scope, index
                "08000200", "c0000264", "08000100", "c0000264", // local, address
                "08000800", "02000000", // no DAD
                "14000600", "00000000", "02000000", "00000000",
                "00000000", // preferred, valid
                "05000b00", "70000000", // whose it is
            )
        );
        assert_eq!(
            hex(Request::remove(vip("2001:db8::64/128"), ETH).numbered(1)),
            concat!(
                "40000000",
                "1500",
                "0500",
                "01000000",
                "00000000",
                "0a800000",
                "07000000",
                "14000200",
                "20010db8000000000000000000000064",
                "14000100",
                "20010db8000000000000000000000064",
            )
        );
    }

    /// What was asked for is what is told of it afterwards, but for the kind of message.
    #[test]
    fn addresses_are_read_as_they_are_written() {
        for text in ["192.0.2.100/24", "2001:db8::64/64"] {
            let vip = vip(text);
            let mut put = Request::put(vip, ETH, Duration::from_secs(2));
            let Vip { address, prefix } = vip;
            let of = |protocol| Address { on: ETH, address, prefix, protocol, use_of: Use::Now };
            let there = Told::Address(of(ADDRESS_PROTOCOL));
            assert_eq!(read(put.numbered(1)).collect::<Vec<_>>(), [there]);
            let mut remove = Request::remove(vip, ETH);
            let mut both = put.numbered(1).to_vec();
            both.extend_from_slice(remove.numbered(2));
            let expected = [there, Told::AddressGone(of(0))];
            assert_eq!(read(&both).collect::<Vec<_>>(), expected);
            // Whatever is cut off, nothing else is read for it.
            for end in 0..both.len() {
                let told: Vec<_> = read(&both[..end]).collect();
                assert!(told.is_empty() || told == expected[..1], "{end}: {told:?}");
            }
        }
    }

    #[test]
    fn an_address_that_somebody_else_has_cannot_be_used() {
        assert_eq!(Use::of(IFA_F_NODAD), Use::Now);
        assert_eq!(Use::of(IFA_F_TENTATIVE), Use::Later);
        assert_eq!(Use::of(IFA_F_TENTATIVE | IFA_F_DADFAILED), Use::Never);
    }

    fn link_message(family: u8, kind: u16, flags: u32) -> Vec<u8> {
        let mut body = vec![0; LINK_HEADER];
        body[0] = family;
        body[2..4].copy_from_slice(&kind.to_ne_bytes());
        body[4..8].copy_from_slice(&ETH.0.get().to_ne_bytes());
        body[8..12].copy_from_slice(&flags.to_ne_bytes());
        let attributes = [
            DefaultNla::new(IFLA_IFNAME, b"eth0\0".to_vec()),
            DefaultNla::new(IFLA_ADDRESS, vec![2, 0, 0, 0, 0, 1]),
            DefaultNla::new(IFLA_MTU, 1500_u32.to_ne_bytes().to_vec()),
        ];
        let mut octets = vec![0; attributes.as_slice().buffer_len()];
        attributes.as_slice().emit(&mut octets);
        body.extend(octets);
        Request::new(RTM_NEWLINK, 0, &body).0
    }

    #[test]
    fn an_interface_is_up_with_a_carrier_and_has_a_mac_where_it_is_ethernet() {
        let of = |octets: &[u8]| match read(octets).next() {
            Some(Told::Link(link)) => {
                assert_eq!((link.index, link.name, link.mtu), (ETH, &b"eth0"[..], 1500));
                Some((link.is_up, link.mac.is_some()))
            }
            other => {
                assert_eq!(other, None);
                None
            }
        };
        assert_eq!(of(&link_message(0, ARPHRD_ETHER, IFF_UP | IFF_RUNNING)), Some((true, true)));
        assert_eq!(of(&link_message(0, ARPHRD_ETHER, IFF_UP)), Some((false, true)));
        assert_eq!(of(&link_message(0, ARPHRD_ETHER, IFF_RUNNING)), Some((false, true)));
        assert_eq!(of(&link_message(0, 65534, IFF_UP | IFF_RUNNING)), Some((true, false)));
        const AF_BRIDGE: u8 = 7;
        assert_eq!(of(&link_message(AF_BRIDGE, ARPHRD_ETHER, IFF_UP)), None);
    }

    #[test]
    fn answers_have_their_number_and_their_error() {
        let done = |kind, body: &[u8]| {
            let mut message = Request::new(kind, 0, body);
            read(message.numbered(9)).collect::<Vec<_>>() == [Told::Done { number: 9, error: 99 }]
        };
        assert!(done(NLMSG_ERROR, &(-99_i32).to_ne_bytes()));
        let mut end = Request::new(NLMSG_DONE, 0, &[]);
        let told: Vec<_> = read(end.numbered(3)).collect();
        assert_eq!(told, [Told::Done { number: 3, error: 0 }]);
    }

    #[test]
    fn a_list_that_changed_meanwhile_says_so() {
        let message = |flags| Request::new(RTM_NEWADDR, flags, &[0; ADDRESS_HEADER]).0;
        let whole = [message(NLM_F_MULTIPART), message(NLM_F_MULTIPART)].concat();
        assert!(!is_interrupted(&whole));
        let changed = [message(NLM_F_MULTIPART), message(NLM_F_MULTIPART | NLM_F_DUMP_INTR)];
        assert!(is_interrupted(&changed.concat()));
        // Of a request the same bit says something else.
        assert!(!is_interrupted(&message(NLM_F_DUMP_INTR)));
    }
}
