//! Whom an answer is for: the client subnet the query names, if it can be believed, or the resolver.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use geoip::{Addr, RangeTable};
use ipnet::IpNet;

use crate::query::ClientSubnet;

/// Whom an answer is for. An IPv4 address inside an IPv6 one has been taken out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Client {
    pub address: IpAddr,
    /// Bits of `address` that are known.
    pub prefix: u8,
    /// Bits that stood before the IPv4 address inside an IPv6 one; 0 where nothing was taken out.
    pub offset: u8,
    pub told_by: ToldBy,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ToldBy {
    /// EDNS Client Subnet.
    Subnet,
    /// The query's source address.
    Resolver,
}

/// The prefix that the hashes see.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HashedPrefix {
    pub address: IpAddr,
    pub length: u8,
}

impl ToldBy {
    pub fn as_str(self) -> &'static str {
        match self {
            ToldBy::Subnet => "subnet",
            ToldBy::Resolver => "resolver",
        }
    }
}

impl Client {
    pub fn resolver(address: IpAddr) -> Client {
        let whole = if address.is_ipv4() { 32 } else { 128 };
        Client::read(address, whole, ToldBy::Resolver)
    }

    /// The client that the query's subnet names, if `trust` believes it.
    pub fn subnet(subnet: &ClientSubnet, trust: &Trust) -> Option<Client> {
        let client = Client::read(subnet.address()?, subnet.source, ToldBy::Subnet);
        (subnet.source > 0 && trust.believes(&client)).then_some(client)
    }

    fn read(address: IpAddr, prefix: u8, told_by: ToldBy) -> Client {
        if let IpAddr::V6(v6) = address
            && let Some(inside) = geoip::embedded(v6)
        {
            let prefix = prefix.saturating_sub(inside.offset);
            // Bits of the inner address beyond the subnet's are not known: Teredo inverts their zeros.
            let mask = !u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
            let address = (inside.v4.to_bits() & mask).into();
            return Client { address: IpAddr::V4(address), prefix, offset: inside.offset, told_by };
        }
        Client { address, prefix, offset: 0, told_by }
    }

    /// The first 24 or 48 bits at most: clients of one network stay together.
    pub fn hashed(&self) -> HashedPrefix {
        let most = match self.address {
            IpAddr::V4(_) => 24,
            IpAddr::V6(_) => 48,
        };
        self.cut(self.prefix.min(most))
    }

    /// Every bit that is known.
    pub fn whole(&self) -> HashedPrefix {
        self.cut(self.prefix)
    }

    fn cut(&self, length: u8) -> HashedPrefix {
        let address = match self.address {
            IpAddr::V4(v4) => {
                let mask = !u32::MAX.checked_shr(length.into()).unwrap_or(0);
                IpAddr::V4((v4.to_bits() & mask).into())
            }
            IpAddr::V6(v6) => {
                let mask = !u128::MAX.checked_shr(length.into()).unwrap_or(0);
                IpAddr::V6((v6.to_bits() & mask).into())
            }
        };
        HashedPrefix { address, length }
    }
}

/// Which client subnets are believed: public ones, and those that an operator has named.
#[derive(Debug)]
pub struct Trust {
    v4: RangeTable<u32, bool>,
    v6: RangeTable<u128, bool>,
    /// By an IPv4 address's first octet: what holds for all addresses that begin so, if one thing does.
    by_octet: Box<[Option<bool>; 256]>,
}

impl Trust {
    /// `named` are the prefixes of place overrides and of maps' `net` entries.
    pub fn new(named: impl IntoIterator<Item = IpNet>) -> Trust {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in named {
            match net {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.prefix_len(), true)),
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.prefix_len(), true)),
            }
        }
        Trust::of(public_or_named(NOT_PUBLIC_V4, v4), public_or_named(NOT_PUBLIC_V6, v6))
    }

    /// Believes every client subnet.
    pub fn everyone() -> Trust {
        Trust::of(RangeTable::uniform(true), RangeTable::uniform(true))
    }

    fn of(v4: RangeTable<u32, bool>, v6: RangeTable<u128, bool>) -> Trust {
        let whole = |octet: usize| {
            let found = v4.find((octet as u32) << 24);
            (found.depth <= 8).then_some(found.value)
        };
        Trust { by_octet: Box::new(std::array::from_fn(whole)), v4, v6 }
    }

    /// Why a subnet is not believed; `None` if it is.
    pub fn disbelief(&self, subnet: &ClientSubnet) -> Option<String> {
        let Some(address) = subnet.address() else {
            return Some("the client subnet says nothing of the client".into());
        };
        if Client::subnet(subnet, self).is_some() {
            return None;
        }
        let source = subnet.source;
        if source == 0 {
            return Some("the client subnet has no bits: the resolver speaks for itself".into());
        }
        Some(format!(
            "the client subnet {address}/{source} is not believed: it is not public, and neither an \
             override, a map's net nor ecs_private covers it"
        ))
    }

    /// The first address of each run that is believed or not, of both families.
    pub fn run_starts(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.runs().map(|(first, ..)| Ipv4Addr::from_bits(first).into());
        let v6 = self.v6.runs().map(|(first, ..)| Ipv6Addr::from_bits(first).into());
        v4.chain(v6)
    }

    fn believes(&self, client: &Client) -> bool {
        match client.address {
            IpAddr::V4(v4) => self.by_octet[usize::from(v4.octets()[0])]
                .unwrap_or_else(|| self.v4.get(v4.to_bits())),
            IpAddr::V6(v6) => self.v6.get(v6.to_bits()),
        }
    }
}

fn public_or_named<A: Addr>(
    not_public: &[(A, u8)],
    named: Vec<(A, u8, bool)>,
) -> RangeTable<A, bool> {
    let not_public = not_public.iter().map(|&(net, length)| (net, length, false));
    RangeTable::from_prefixes(true, not_public)
        .overlay(&RangeTable::from_prefixes(false, named), |public, named| public || named)
}

/// Whether resolvers tell such an address of their clients, and anybody may believe it.
pub fn is_public(address: IpAddr) -> bool {
    fn within<A: Addr>(address: A, nets: &[(A, u8)]) -> bool {
        nets.iter().any(|&(net, length)| address.first_of(length) == net)
    }
    match address {
        IpAddr::V4(v4) => !within(v4.to_bits(), NOT_PUBLIC_V4),
        IpAddr::V6(v6) => !within(v6.to_bits(), NOT_PUBLIC_V6),
    }
}

/// IANA's IPv4 special-purpose registry, what is not globally reachable, and multicast and above.
const NOT_PUBLIC_V4: &[(u32, u8)] = &[
    (0x0000_0000, 8),  // 0.0.0.0/8, RFC 791
    (0x0a00_0000, 8),  // 10.0.0.0/8, RFC 1918
    (0x6440_0000, 10), // 100.64.0.0/10, RFC 6598
    (0x7f00_0000, 8),  // 127.0.0.0/8, RFC 1122
    (0xa9fe_0000, 16), // 169.254.0.0/16, RFC 3927
    (0xac10_0000, 12), // 172.16.0.0/12, RFC 1918
    (0xc000_0000, 24), // 192.0.0.0/24, RFC 6890
    (0xc000_0200, 24), // 192.0.2.0/24, RFC 5737
    (0xc0a8_0000, 16), // 192.168.0.0/16, RFC 1918
    (0xc612_0000, 15), // 198.18.0.0/15, RFC 2544
    (0xc633_6400, 24), // 198.51.100.0/24, RFC 5737
    (0xcb00_7100, 24), // 203.0.113.0/24, RFC 5737
    (0xe000_0000, 3),  // 224.0.0.0/3, RFC 5771 and RFC 1112
];

/// IANA's IPv6 special-purpose registry: outside 2000::/3 nothing is global unicast.
const NOT_PUBLIC_V6: &[(u128, u8)] = &[
    (0x0000 << 112, 3),      // ::/3
    (0x4000 << 112, 2),      // 4000::/2
    (0x8000 << 112, 1),      // 8000::/1
    (0x2001 << 112, 23),     // 2001::/23, RFC 2928
    (0x2001_0db8 << 96, 32), // 2001:db8::/32, RFC 3849
    (0x3fff << 112, 20),     // 3fff::/20, RFC 9637
];

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> ClientSubnet {
        let net: IpNet = text.parse().unwrap();
        ClientSubnet::new(net.addr(), net.prefix_len())
    }

    fn check(text: &str, expected: Option<(&str, u8)>) {
        let named = ["10.20.0.0/16".parse().unwrap(), "2001:db8:7::/48".parse().unwrap()];
        let client = Client::subnet(&subnet(text), &Trust::new(named));
        let expected = expected.map(|(text, offset)| {
            let net: IpNet = text.parse().unwrap();
            (net.addr(), net.prefix_len(), offset)
        });
        assert_eq!(client.map(|c| (c.address, c.prefix, c.offset)), expected, "{text}");
    }

    #[test]
    fn a_subnet_is_believed_if_it_is_public_or_named() {
        check("81.2.69.0/24", Some(("81.2.69.0/24", 0)));
        check("2a02:d300::/32", Some(("2a02:d300::/32", 0)));
        check("10.1.0.0/16", None);
        check("10.20.30.0/24", Some(("10.20.30.0/24", 0)));
        check("2001:db8:7:1::/64", Some(("2001:db8:7:1::/64", 0)));
        check("2001:db8:8::/48", None);
        check("fe80::/64", None);
        check("81.2.69.0/0", None);
    }

    #[test]
    fn what_is_public_is_believed_by_whom_nobody_told_anything() {
        let trust = Trust::new([]);
        for start in trust.run_starts() {
            let whole = IpNet::from(start);
            let subnet = ClientSubnet::new(start, whole.prefix_len());
            assert_eq!(Client::subnet(&subnet, &trust).is_some(), is_public(start), "{start}");
        }
    }

    #[test]
    fn an_ipv4_address_inside_an_ipv6_one_is_the_client() {
        check("::ffff:81.2.69.0/120", Some(("81.2.69.0/24", 96)));
        check("64:ff9b::5102:4500/120", Some(("81.2.69.0/24", 96)));
        check("2002:5102:4500::/40", Some(("81.2.69.0/24", 16)));
        check("2001:0:0:0:0:0:aefd:baff/128", Some(("81.2.69.0/32", 96)));
        check("2001::/32", None); // None of the inner address is known.
        check("2002:a01:200::/48", None); // A private address inside.
    }

    #[test]
    fn the_hash_sees_a_network_and_never_more_than_was_told() {
        let hashed = |text: &str| {
            let hashed = Client::subnet(&subnet(text), &Trust::everyone()).unwrap().hashed();
            (hashed.address.to_string(), hashed.length)
        };
        assert_eq!(hashed("81.2.69.160/32"), ("81.2.69.0".into(), 24));
        assert_eq!(hashed("81.2.0.0/16"), ("81.2.0.0".into(), 16));
        assert_eq!(hashed("2a02:d300:1:2::/64"), ("2a02:d300:1::".into(), 48));
        let resolver = Client::resolver("81.2.69.160".parse().unwrap());
        assert_eq!(resolver.hashed().address.to_string(), "81.2.69.0");
        assert_eq!(resolver.whole().address.to_string(), "81.2.69.160");
    }
}
