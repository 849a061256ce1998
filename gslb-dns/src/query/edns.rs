//! The OPT record of a query (RFC 6891) and the options in it that we act on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an OPT record was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extended<'p> {
    Edns(Edns<'p>),
    /// A version above 0: answered BADVERS, its options not even read (RFC 6891 §6.1.3).
    Unsupported,
    Malformed,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Edns<'p> {
    /// Octets that the asker can take over UDP, as it says.
    pub udp_size: u16,
    pub dnssec_ok: bool,
    /// RFC 5001: which of the name servers is this?
    pub nsid: bool,
    /// RFC 7830: it was padded, and so should the answer be.
    pub padded: bool,
    /// RFC 7828: it speaks of a TCP connection, and over QUIC must not.
    pub keepalive: bool,
    pub subnet: Option<ClientSubnet>,
    pub cookie: Option<Cookie<'p>>,
}

/// RFC 7873 §4: the client's half, and the server's if the client has had one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cookie<'p>(&'p [u8]);

/// EDNS Client Subnet (RFC 7871 §6). Octets past the prefix are zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientSubnet {
    pub family: SubnetFamily,
    pub source: u8,
    octets: [u8; 16],
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SubnetFamily {
    /// 0, only ever with a source of 0: «say nothing of the client», as some stubs write it.
    None,
    V4,
    V6,
}

/// RFC 5001 §2.3.
pub const OPTION_NSID: u16 = 3;
/// RFC 7871 §6.
pub const OPTION_SUBNET: u16 = 8;
/// RFC 7873 §4.
pub const OPTION_COOKIE: u16 = 10;
/// RFC 7828 §3.1.
pub const OPTION_KEEPALIVE: u16 = 11;
/// RFC 8914 §2.
pub const OPTION_EDE: u16 = 15;
/// RFC 7830 §3.
pub const OPTION_PADDING: u16 = 12;
/// In the upper octet of the flags (RFC 3225 §3).
pub const DNSSEC_OK: u8 = 0x80;

impl<'p> Extended<'p> {
    /// `fixed` is type, class, TTL and length of the record.
    pub(super) fn read(fixed: &[u8; 10], options: &'p [u8]) -> Extended<'p> {
        let [_, _, size_high, size_low, _extended_rcode, version, flags, _, _, _] = *fixed;
        if version != 0 {
            return Extended::Unsupported;
        }
        let mut edns = Edns {
            udp_size: u16::from_be_bytes([size_high, size_low]),
            dnssec_ok: flags & DNSSEC_OK != 0,
            nsid: false,
            padded: false,
            keepalive: false,
            subnet: None,
            cookie: None,
        };
        match edns.read_options(options) {
            Some(()) => Extended::Edns(edns),
            None => Extended::Malformed,
        }
    }
}

impl<'p> Edns<'p> {
    /// `None` where an option is cut short, or a client subnet or a cookie is malformed. Options we do
    /// not know are passed over (RFC 6891 §6.1.2).
    fn read_options(&mut self, mut rest: &'p [u8]) -> Option<()> {
        while !rest.is_empty() {
            let (head, tail) = rest.split_first_chunk::<4>()?;
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let (value, tail) = tail.split_at_checked(length)?;
            match u16::from_be_bytes([head[0], head[1]]) {
                OPTION_NSID => self.nsid = true,
                OPTION_PADDING => self.padded = true,
                OPTION_KEEPALIVE => self.keepalive = true,
                OPTION_SUBNET => {
                    // Two subnets say two things of one client.
                    if self.subnet.is_some() {
                        return None;
                    }
                    self.subnet = Some(ClientSubnet::read(value)?);
                }
                // Only the first counts, whatever the others are (RFC 7873 §5.2).
                OPTION_COOKIE if self.cookie.is_none() => {
                    self.cookie = Some(Cookie::read(value)?);
                }
                _ => {}
            }
            rest = tail;
        }
        Some(())
    }
}

impl<'p> Cookie<'p> {
    /// `None` for every malformed length (RFC 7873 §5.2.2).
    fn read(value: &'p [u8]) -> Option<Cookie<'p>> {
        matches!(value.len(), 8 | 16..=40).then_some(Cookie(value))
    }

    pub fn client(&self) -> &'p [u8; 8] {
        self.0.first_chunk().expect("the shortest is a client cookie")
    }

    /// Empty, or 8 to 32 octets.
    pub fn server(&self) -> &'p [u8] {
        &self.0[8..]
    }
}

impl ClientSubnet {
    /// «Say nothing of the client».
    pub const NOBODY: ClientSubnet =
        ClientSubnet { family: SubnetFamily::None, source: 0, octets: [0; 16] };

    /// A subnet as a query would carry it: the address is cut to `source` bits.
    pub fn new(address: IpAddr, source: u8) -> ClientSubnet {
        let (family, octets) = match address {
            IpAddr::V4(v4) => {
                let mut octets = [0; 16];
                octets[..4].copy_from_slice(&v4.octets());
                (SubnetFamily::V4, octets)
            }
            IpAddr::V6(v6) => (SubnetFamily::V6, v6.octets()),
        };
        let source = source.min(family.bits());
        let mask = !u128::MAX.checked_shr(source.into()).unwrap_or(0);
        let octets = (u128::from_be_bytes(octets) & mask).to_be_bytes();
        ClientSubnet { family, source, octets }
    }

    /// Bits that resolvers tell of an address (RFC 7871 §11.1).
    pub fn usual_source(address: IpAddr) -> u8 {
        if address.is_ipv4() { 24 } else { 56 }
    }

    /// `None` for every malformed form (RFC 7871 §7.1.2, §7.2.1): unknown family, source longer
    /// than the family, a scope in a query, too few or too many octets, bits beyond the prefix.
    fn read(value: &[u8]) -> Option<ClientSubnet> {
        let (&[family_high, family_low, source, scope], address) =
            value.split_first_chunk::<4>()?;
        let family = match u16::from_be_bytes([family_high, family_low]) {
            0 => SubnetFamily::None,
            1 => SubnetFamily::V4,
            2 => SubnetFamily::V6,
            _ => return None,
        };
        let wanted = usize::from(source.div_ceil(8));
        if source > family.bits() || scope != 0 || address.len() != wanted {
            return None;
        }
        let mut octets = [0; 16];
        octets[..wanted].copy_from_slice(address);
        let beyond = u128::MAX.checked_shr(source.into()).unwrap_or(0);
        if u128::from_be_bytes(octets) & beyond != 0 {
            return None;
        }
        Some(ClientSubnet { family, source, octets })
    }

    /// The prefix's first address; `None` if the option says nothing of the client.
    pub fn address(&self) -> Option<IpAddr> {
        let [a, b, c, d, ..] = self.octets;
        match self.family {
            SubnetFamily::None => None,
            SubnetFamily::V4 => Some(Ipv4Addr::new(a, b, c, d).into()),
            SubnetFamily::V6 => Some(Ipv6Addr::from(self.octets).into()),
        }
    }

    /// The octets that stand on the wire: as many as the source needs.
    pub fn wire_address(&self) -> &[u8] {
        &self.octets[..usize::from(self.source.div_ceil(8))]
    }
}

impl SubnetFamily {
    /// IANA's address family number.
    pub fn number(self) -> u16 {
        match self {
            SubnetFamily::None => 0,
            SubnetFamily::V4 => 1,
            SubnetFamily::V6 => 2,
        }
    }

    fn bits(self) -> u8 {
        match self {
            SubnetFamily::None => 0,
            SubnetFamily::V4 => 32,
            SubnetFamily::V6 => 128,
        }
    }
}
