//! Clients of every kind: where the world's prefixes are and where they are not, of both families, with
//! IPv4 inside IPv6, private ones, and those that say nothing of themselves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gslb_tests::dice::Dice;
use ipnet::IpNet;

/// A client subnet as a query carries it; `None` for a query without one.
pub fn draw(prefixes: &[IpNet], dice: &mut Dice) -> Option<IpNet> {
    if dice.once_in(12) {
        return None;
    }
    let known = inside(*dice.pick(prefixes), dice);
    let address = match dice.below(16) {
        0..8 => known,
        8 | 9 => beside(known, dice),
        10 => Ipv4Addr::from_bits(dice.bits() as u32).into(),
        11 => Ipv6Addr::from_bits(0x2000 << 112 | dice.wide_bits() >> 3).into(),
        12 => private(dice),
        _ => around(known, dice),
    };
    let length = match (address, dice.below(8)) {
        (IpAddr::V4(_), 0..4) => 24,
        (IpAddr::V6(_), 0..2) => 56,
        (IpAddr::V6(_), 2..4) => 48,
        (IpAddr::V4(_), 4) => 32,
        (IpAddr::V6(_), 4) => 128,
        (IpAddr::V4(_), _) => dice.between(0, 32) as u8,
        (IpAddr::V6(_), _) => dice.between(0, 128) as u8,
    };
    Some(IpNet::new(address, length).expect("a length of the family").trunc())
}

/// Any address of a prefix.
pub fn inside(prefix: IpNet, dice: &mut Dice) -> IpAddr {
    match prefix {
        IpNet::V4(net) => {
            let host = !u32::MAX.checked_shl(32 - u32::from(net.prefix_len())).unwrap_or(0);
            Ipv4Addr::from_bits(net.network().to_bits() | dice.bits() as u32 & host).into()
        }
        IpNet::V6(net) => {
            let host = !u128::MAX.checked_shl(128 - u32::from(net.prefix_len())).unwrap_or(0);
            Ipv6Addr::from_bits(net.network().to_bits() | dice.wide_bits() & host).into()
        }
    }
}

/// One bit off: just outside what an address is in, or just beside it.
fn beside(address: IpAddr, dice: &mut Dice) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() ^ 1 << dice.below(32)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() ^ 1 << dice.between(60, 127)).into(),
    }
}

fn private(dice: &mut Dice) -> IpAddr {
    let prefixes = ["10.0.0.0/8", "192.168.0.0/16", "100.64.0.0/10", "fd00::/8", "2001:db8::/32"];
    inside(dice.pick(&prefixes).parse().expect("a prefix"), dice)
}

/// An IPv6 address that carries the IPv4 one; another IPv6 one where there is none.
fn around(address: IpAddr, dice: &mut Dice) -> IpAddr {
    let IpAddr::V4(v4) = address else {
        return address;
    };
    let v4 = u128::from(v4.to_bits());
    let below = dice.wide_bits() >> 48;
    let bits = match dice.below(4) {
        0 | 1 => 0x2002 << 112 | v4 << 80 | below, // 6to4
        2 => 0x64_ff9b << 96 | v4,                 // NAT64
        _ => 0x2001 << 112 | below << 32 | (v4 ^ 0xffff_ffff), // Teredo
    };
    Ipv6Addr::from_bits(bits).into()
}
