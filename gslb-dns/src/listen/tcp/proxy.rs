//! The PROXY protocol, version 2: a proxy tells whose connection it passes on, before everything else.
//!
//! Only connections from listed proxies begin so, and all of them do: to guess would be to believe whoever
//! sends such octets. Version 1 is not spoken.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Begins every header, and nothing that DNS or TLS would begin with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length of the rest.
const FIXED: usize = 16;
/// Octets of the rest: addresses take at most 216, what else proxies tell some hundred.
const LONGEST_REST: usize = 2048;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    Client(IpAddr),
    /// The proxy speaks for itself, as it does to see whether we are well, or does not know.
    Proxy,
}

/// Reads one header, and not an octet more.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Origin> {
    let mut fixed = [0; FIXED];
    stream.read_exact(&mut fixed).await?;
    let length = rest_length(&fixed).ok_or(io::ErrorKind::InvalidData)?;
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    origin(&fixed, &rest).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Octets that follow; `None` if this is no header, or too long a one.
fn rest_length(fixed: &[u8; FIXED]) -> Option<usize> {
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    (fixed.starts_with(SIGNATURE) && length <= LONGEST_REST).then_some(length)
}

fn origin(fixed: &[u8; FIXED], rest: &[u8]) -> Option<Origin> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    match (fixed[12], fixed[13]) {
        (LOCAL, _) | (PROXY, 0x00) => Some(Origin::Proxy),
        // Whatever transport brought it to the proxy. The source comes first, then the destination and
        // both ports, and then what else the proxy has to say, which we pass over.
        (PROXY, 0x11 | 0x12) => {
            let (source, _) = rest.first_chunk::<12>()?.split_first_chunk::<4>()?;
            Some(Origin::Client(Ipv4Addr::from(*source).into()))
        }
        (PROXY, 0x21 | 0x22) => {
            let (source, _) = rest.first_chunk::<36>()?.split_first_chunk::<16>()?;
            Some(Origin::Client(IpAddr::from(Ipv6Addr::from(*source)).to_canonical()))
        }
        _ => None,
    }
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

    fn read_all(octets: &[u8]) -> (Option<Origin>, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut left = octets;
        let origin = runtime.block_on(read(&mut left)).ok();
        (origin, left.len())
    }

    #[test]
    fn a_header_tells_the_client() {
        let check = |octets: &[u8], expected: Option<Origin>| {
            let after = [octets, b"query"].concat();
            let (origin, left) = read_all(&after);
            assert_eq!(origin, expected, "{octets:02x?}");
            if expected.is_some() {
                assert_eq!(left, 5, "{octets:02x?}");
            }
        };
        let v4 = Some(Origin::Client([1, 2, 3, 4].into()));
        let v6 = Some(Origin::Client("102:304:506:708:90a:b0c:d0e:f10".parse().unwrap()));
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
        check(&mapped, Some(Origin::Client([192, 0, 2, 1].into())));
    }

    #[test]
    fn a_header_cut_short_tells_nothing() {
        let whole = header(0x21, 0x21, 40);
        for length in 0..whole.len() {
            assert_eq!(read_all(&whole[..length]).0, None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_are_a_panic(command: u8, family: u8, rest in prop::collection::vec(any::<u8>(), 0..300)) {
            let length = (rest.len() as u16).to_be_bytes();
            let octets = [&SIGNATURE[..], &[command, family], &length, &rest].concat();
            let _ = read_all(&octets);
        }
    }
}
