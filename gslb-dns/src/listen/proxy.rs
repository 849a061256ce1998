//! The PROXY protocol, version 2: a proxy tells whose connection or datagram it passes on, before all else.
//!
//! Pure; `tcp` reads a header from a stream, `udp` finds one before each message. Only what comes from listed
//! proxies begins so, and all of it does: to guess would be to believe whoever sends such octets. Version 1 is
//! not spoken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Begins every header, and nothing that DNS or TLS would begin with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length of the rest.
pub const FIXED: usize = 16;
/// Octets of the rest: addresses take at most 216, what else proxies tell some hundred.
const LONGEST_REST: usize = 2048;

/// Whose connection or datagram it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    Client(SocketAddr),
    /// The proxy speaks for itself, as it does to see whether we are well, or does not know.
    Proxy,
}

/// Octets that follow; `None` if this is no header, or too long a one.
pub fn rest_length(fixed: &[u8; FIXED]) -> Option<usize> {
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    (fixed.starts_with(SIGNATURE) && length <= LONGEST_REST).then_some(length)
}

/// What a header says of whom; `None` if it makes no sense. `rest` is as long as the header tells.
pub fn origin(fixed: &[u8; FIXED], rest: &[u8]) -> Option<Origin> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    match (fixed[12], fixed[13]) {
        (LOCAL, _) | (PROXY, 0x00) => Some(Origin::Proxy),
        // Whatever transport brought it to the proxy: dnsdist asks over UDP for who came by TCP or HTTPS. The
        // source comes first, then the destination and both ports, and then what else the proxy has to say,
        // which we pass over.
        (PROXY, 0x11 | 0x12) => {
            let (addresses, _) = rest.split_first_chunk::<12>()?;
            let (source, _) = addresses.split_first_chunk::<4>()?;
            let port = u16::from_be_bytes([addresses[8], addresses[9]]);
            Some(Origin::Client((Ipv4Addr::from(*source), port).into()))
        }
        (PROXY, 0x21 | 0x22) => {
            let (addresses, _) = rest.split_first_chunk::<36>()?;
            let (source, _) = addresses.split_first_chunk::<16>()?;
            let port = u16::from_be_bytes([addresses[32], addresses[33]]);
            let source = IpAddr::from(Ipv6Addr::from(*source)).to_canonical();
            Some(Origin::Client((source, port).into()))
        }
        _ => None,
    }
}

/// Takes the header off a datagram: whose it is, and the message behind it. `None` if there is no header, or
/// not a whole one.
pub fn unwrap_datagram(octets: &[u8]) -> Option<(Origin, &[u8])> {
    let (fixed, after) = octets.split_first_chunk::<FIXED>()?;
    let (rest, message) = after.split_at_checked(rest_length(fixed)?)?;
    Some((origin(fixed, rest)?, message))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header of this command and family, of addresses 1, 2, 3 ..., cut or lengthened to `length`.
    fn header(command: u8, family: u8, length: u16) -> Vec<u8> {
        let rest = (1..=u8::MAX).cycle().take(length.into());
        let head = [&SIGNATURE[..], &[command, family], &length.to_be_bytes()].concat();
        head.into_iter().chain(rest).collect()
    }

    fn client(address: &str) -> Option<Origin> {
        Some(Origin::Client(address.parse().unwrap()))
    }

    #[test]
    fn a_header_tells_the_client() {
        let check = |octets: &[u8], expected: Option<Origin>| {
            let after = [octets, b"query"].concat();
            let expected = expected.map(|origin| (origin, &b"query"[..]));
            assert_eq!(unwrap_datagram(&after), expected, "{octets:02x?}");
        };
        let v4 = client("1.2.3.4:2314");
        let v6 = client("[102:304:506:708:90a:b0c:d0e:f10]:8482");
        check(&header(0x21, 0x11, 12), v4);
        check(&header(0x21, 0x12, 12), v4);
        check(&header(0x21, 0x21, 36), v6);
        check(&header(0x21, 0x22, 36 + 200), v6);
        check(&header(0x21, 0x11, 2048), v4);
        check(&header(0x21, 0x11, 2049), None);
        check(&header(0x21, 0x11, 65_535), None);
        check(&header(0x21, 0x11, 11), None);
        check(&header(0x21, 0x21, 35), None);
        check(&header(0x20, 0x00, 0), Some(Origin::Proxy));
        check(&header(0x20, 0x11, 12), Some(Origin::Proxy));
        check(&header(0x21, 0x00, 0), Some(Origin::Proxy));
        check(&header(0x21, 0x31, 216), None); // A path is no client of DNS.
        check(&header(0x22, 0x11, 12), None);
        check(&header(0x11, 0x11, 12), None);
        check(&header(0x31, 0x11, 12), None);
        check(b"PROXY TCP4 192.0.2.1 192.0.2.2 1024 53\r\n", None);
        check(b"\0\x1d\xab\xcd\0\0\0\x01\0\0\0\0\0\0\x03www\x07example\0\0\x01\0\x01", None);
        let mut mapped = header(0x21, 0x21, 36);
        mapped[16..32].copy_from_slice(b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01");
        check(&mapped, client("192.0.2.1:8482"));
    }

    #[test]
    fn a_header_cut_short_tells_nothing() {
        let whole = header(0x21, 0x21, 40);
        for length in 0..whole.len() {
            assert_eq!(unwrap_datagram(&whole[..length]), None, "{length}");
        }
        assert!(unwrap_datagram(&whole).is_some_and(|(_, message)| message.is_empty()));
    }

    proptest! {
        #[test]
        fn no_octets_are_a_panic(command: u8, family: u8, rest in prop::collection::vec(any::<u8>(), 0..300)) {
            let length = (rest.len() as u16).to_be_bytes();
            let octets = [&SIGNATURE[..], &[command, family], &length, &rest].concat();
            let _ = unwrap_datagram(&octets);
        }
    }
}
