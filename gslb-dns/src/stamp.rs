//! What an answer was made from, in an EDNS option for those who may know: so that a pasted `dig` can be
//! explained long after.
//!
//! `answer` writes it, `explain` reads it back from what dig or kdig made of it. Fixed in size, so that it costs
//! no allocation. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use jiff::Timestamp;

/// The option's code, of those for local and experimental use (RFC 6891 §9). Lower ones of them are taken by
/// forwarders that tell of their clients.
pub const OPTION_STAMP: u16 = 65_300;
/// Octets of the option's value.
pub const LENGTH: usize = 60;
/// The first octet. Whatever else changes, it stays the first.
const VERSION: u8 = 1;
/// Octets of an epoch or a digest: enough to tell one's own apart, and nobody else is to be fooled.
const SHORT: usize = 8;

/// The version, who told the client, and its family and length; epoch, board, orders, the board's moment and
/// the answer's second; the client's address, an IPv4 one inside IPv6. All in network order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    /// The first octets of the world's epoch.
    pub epoch: Short,
    /// The first octets of the board's digest.
    pub board: Short,
    /// The highest number that an order had been given when the board was made.
    pub orders: u64,
    /// The moment for which the board was made, before the answer or in its second.
    pub board_at: Timestamp,
    /// The second of the answer.
    pub at: Timestamp,
    pub client: Client,
}

/// The beginning of an epoch or a digest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Short(pub [u8; SHORT]);

/// Whom the answer was for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Client {
    /// A client subnet that was believed, as it was sent.
    Subnet(IpNet),
    /// Who sent the query, as the server saw it: behind a NAT nobody else knows the address.
    Resolver(IpAddr),
}

/// Why something is no stamp.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StampError {
    #[error(
        "no stamp in {0:?}; expected {octets} hexadecimal digits, or the line of dig or kdig that tells of option \
         {OPTION_STAMP}, such as \"; OPT={OPTION_STAMP}: 01 00 …\"",
        octets = 2 * LENGTH
    )]
    Nowhere(String),
    #[error("the stamp has {0} octets, expected {LENGTH}; is it pasted whole?")]
    Length(usize),
    #[error("the stamp is of version {0}, and this program knows version {VERSION}")]
    Version(u8),
    #[error("the stamp's {0} cannot be; is it pasted as it was?")]
    Impossible(&'static str),
}

const BY_RESOLVER: u8 = 0;
const BY_SUBNET: u8 = 1;
/// IANA's address family numbers.
const IPV4: u8 = 1;
const IPV6: u8 = 2;

impl Short {
    /// `whole` has as many octets, or more.
    pub fn of<const N: usize>(whole: &[u8; N]) -> Short {
        const { assert!(N >= SHORT, "it is the beginning") };
        Short(*whole.first_chunk().expect("it is no shorter"))
    }
}

impl Stamp {
    /// As it stands in the option.
    pub fn octets(&self) -> [u8; LENGTH] {
        let Stamp { epoch, board, orders, board_at, at, client } = self;
        let (told_by, address, length) = match client {
            Client::Subnet(net) => (BY_SUBNET, net.addr(), net.prefix_len()),
            Client::Resolver(address) => (BY_RESOLVER, *address, bits(address)),
        };
        let (family, address) = match address {
            IpAddr::V4(v4) => (IPV4, v4.to_ipv6_mapped()),
            IpAddr::V6(v6) => (IPV6, v6),
        };
        // Before 1970, and after 2554, no answer is explained.
        let board_at = u64::try_from(board_at.as_nanosecond()).unwrap_or(0);
        let at = u64::try_from(at.as_second()).unwrap_or(0);
        let mut octets = [0; LENGTH];
        octets[..4].copy_from_slice(&[VERSION, told_by, family, length]);
        octets[4..12].copy_from_slice(&epoch.0);
        octets[12..20].copy_from_slice(&board.0);
        octets[20..28].copy_from_slice(&orders.to_be_bytes());
        octets[28..36].copy_from_slice(&board_at.to_be_bytes());
        octets[36..44].copy_from_slice(&at.to_be_bytes());
        octets[44..].copy_from_slice(&address.octets());
        octets
    }

    /// Reads the option's value. What `octets` never writes is refused.
    pub fn read(value: &[u8]) -> Result<Stamp, StampError> {
        match value.first() {
            Some(&VERSION) | None => {}
            Some(&version) => return Err(StampError::Version(version)),
        }
        let whole: &[u8; LENGTH] = value.try_into().map_err(|_| StampError::Length(value.len()))?;
        let [_, told_by, family, length, rest @ ..] = whole;
        let number = |at: usize| u64::from_be_bytes(chunk(rest, at));
        let address = Ipv6Addr::from(chunk::<16>(rest, 40));
        let address = match *family {
            IPV4 => address.to_ipv4_mapped().map(IpAddr::V4),
            IPV6 => Some(IpAddr::V6(address)),
            _ => None,
        };
        let address = address.ok_or(StampError::Impossible("client"))?;
        let client = match *told_by {
            BY_SUBNET => IpNet::new(address, *length).ok().map(Client::Subnet),
            BY_RESOLVER if *length == bits(&address) => Some(Client::Resolver(address)),
            _ => None,
        };
        let board_at = Timestamp::from_nanosecond(number(24).into());
        let at = i64::try_from(number(32)).ok().map(Timestamp::from_second);
        Ok(Stamp {
            epoch: Short(chunk(rest, 0)),
            board: Short(chunk(rest, 8)),
            orders: number(16),
            board_at: board_at.map_err(|_| StampError::Impossible("board's moment"))?,
            at: at.and_then(Result::ok).ok_or(StampError::Impossible("instant"))?,
            client: client.ok_or(StampError::Impossible("client"))?,
        })
    }
}

/// `rest` is long enough: its length is fixed, and so is every `at`.
fn chunk<const N: usize>(rest: &[u8; LENGTH - 4], at: usize) -> [u8; N] {
    *rest[at..].first_chunk().expect("the parts make up the whole")
}

fn bits(address: &IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl FromStr for Stamp {
    type Err = StampError;

    /// Digits alone, or what a tool printed, be it the line or all of it: `; OPT=65300: 01 00 … ("…")` (dig),
    /// `;; Option (65300): 0100…` (kdig), `OPT65300: 01 00 …`.
    fn from_str(text: &str) -> Result<Stamp, StampError> {
        let nowhere = || StampError::Nowhere(text.chars().take(LENGTH).collect());
        let is_alone = text.chars().all(|one| one.is_ascii_hexdigit() || one.is_whitespace());
        let written = if is_alone { text } else { behind_code(text).ok_or_else(nowhere)? };
        let written = written.trim_start_matches([' ', '\t', '"']);
        // A terminal may have broken the line. dig ends with the octets as characters, in brackets.
        let digits: Vec<u8> = written
            .chars()
            .take_while(|one| one.is_ascii_hexdigit() || one.is_whitespace())
            .filter_map(|one| one.to_digit(16))
            .map(|digit| digit as u8)
            .collect();
        if digits.is_empty() {
            return Err(nowhere());
        }
        let (pairs, half) = digits.as_chunks::<2>();
        let octets: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        match half {
            [] => Stamp::read(&octets),
            [..] => Err(StampError::Length(octets.len())),
        }
    }
}

/// What follows the option's code, its sign and a colon or the like.
fn behind_code(text: &str) -> Option<&str> {
    let code = OPTION_STAMP.to_string();
    let labels = [format!("OPT={code}"), format!("Option ({code})"), format!("OPT{code}")];
    let found = labels.iter().find_map(|label| text.split_once(label.as_str()))?;
    found.1.trim_start_matches([' ', '"']).strip_prefix([':', '='])
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Client::Subnet(net) => write!(f, "client subnet {net}"),
            Client::Resolver(address) => write!(f, "resolver {address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamp() -> Stamp {
        Stamp {
            epoch: Short([0x1a, 0x2b, 0x3c, 0x4d, 0x5e, 0x6f, 0x70, 0x81]),
            board: Short([0x91, 0xa2, 0xb3, 0xc4, 0xd5, 0xe6, 0xf7, 0x08]),
            orders: 7,
            board_at: "2026-11-21T09:29:59.123456789Z".parse().unwrap(),
            at: "2026-11-21T09:30:00Z".parse().unwrap(),
            client: Client::Subnet("81.2.69.0/24".parse().unwrap()),
        }
    }

    /// Of the stamp above: an answer of this version must be explained by every later program.
    const GOLDEN: &str = "01010118\
        1a2b3c4d5e6f7081\
        91a2b3c4d5e6f708\
        0000000000000007\
        18ea05747090f315\
        000000006b016498\
        00000000000000000000ffff51024500";

    fn read(text: &str) -> Result<Stamp, StampError> {
        text.parse()
    }

    #[test]
    fn a_stamp_stands_in_the_option_like_this() {
        let hex: String = stamp().octets().iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(hex, GOLDEN);
        assert_eq!(read(GOLDEN), Ok(stamp()));
    }

    #[test]
    fn what_tools_print_is_read() {
        let spaced: Vec<&str> =
            GOLDEN.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap()).collect();
        let spaced = spaced.join(" ");
        for text in [
            GOLDEN.to_uppercase(),
            spaced.clone(),
            format!("; OPT=65300: {spaced} (\".....dead beef\")"),
            format!("; OPT=65300: {}\n{} (\"..\")", &spaced[..60], &spaced[60..]),
            format!(";; Option (65300): {GOLDEN}\n;; QUESTION SECTION:\n;; a. IN A\n"),
            format!(
                "; EDNS: version: 0, flags:; udp: 1232\n; OPT=65300: {spaced} (\"..\")\n;; abc"
            ),
            format!("OPT65300: \"{GOLDEN}\""),
            format!("\"OPT65300\": \"{GOLDEN}\""),
        ] {
            assert_eq!(read(&text), Ok(stamp()), "{text}");
        }
        for text in
            ["", " ", "; OPT=65301: 01", "; COOKIE: 0101", "OPT=65300 01", "OPT=65300: (", "www"]
        {
            assert!(matches!(read(text), Err(StampError::Nowhere(_))), "{text}");
        }
    }

    #[test]
    fn a_stamp_cut_short_or_too_long_is_none() {
        let octets = stamp().octets();
        for length in 0..LENGTH {
            assert_eq!(Stamp::read(&octets[..length]), Err(StampError::Length(length)));
        }
        let longer = [&octets[..], &[0]].concat();
        assert_eq!(Stamp::read(&longer), Err(StampError::Length(LENGTH + 1)));
        // Half an octet too.
        assert_eq!(read(&GOLDEN[..2 * LENGTH - 1]), Err(StampError::Length(LENGTH - 1)));
    }

    #[test]
    fn another_version_is_said_to_be_one() {
        let mut octets = stamp().octets();
        for version in [0, 2, 255] {
            octets[0] = version;
            assert_eq!(Stamp::read(&octets), Err(StampError::Version(version)));
            assert_eq!(Stamp::read(&octets[..3]), Err(StampError::Version(version)));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let check = |at: usize, octet: u8, what| {
            let mut octets = stamp().octets();
            octets[at] = octet;
            assert_eq!(Stamp::read(&octets), Err(StampError::Impossible(what)), "{at}");
        };
        check(1, 2, "client"); // Told by nobody known,
        check(1, 0, "client"); // or by a resolver that is a network;
        check(2, 0, "client"); // of no family,
        check(2, 3, "client");
        check(3, 33, "client"); // longer than an address,
        check(44, 1, "client"); // and IPv4 that is not.
        check(36, 1, "instant");
        check(36, 0xff, "instant");
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(octets: [u8; LENGTH], v4: bool) {
            let mut octets = octets;
            octets[0] = VERSION;
            octets[1] &= 1;
            octets[2] = if v4 { IPV4 } else { IPV6 };
            octets[36..40].fill(0);
            if v4 {
                octets[44..56].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
            }
            let longest = if v4 { 32 } else { 128 };
            octets[3] = if octets[1] == BY_RESOLVER { longest } else { octets[3] % (longest + 1) };
            let stamp = Stamp::read(&octets).unwrap();
            prop_assert_eq!(stamp.octets(), octets);
        }

        #[test]
        fn whatever_is_pasted_is_read_or_refused(text: String, octets: Vec<u8>) {
            let _ = read(&text);
            let _ = read(&format!("OPT=65300: {text}"));
            let _ = Stamp::read(&octets);
        }
    }
}
