//! The message within the records (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2), and of its extensions the two that are asked
//! for. What is doubled or does not end where it says is refused: a server might read it in another way than we do.

use rustls::pki_types::ServerName;

use super::{Hello, Refusal};

/// The type and the length.
pub const HEADER: usize = 4;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const HOST_NAME: u8 = 0;
const LONGEST_SESSION_ID: usize = 32;

/// Octets of the message with its head; `None` as long as too few are known.
pub fn length(message: &[u8]) -> Result<Option<usize>, Refusal> {
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(Refusal::Malformed);
    }
    let Some([_, a, b, c]) = message.first_chunk::<HEADER>() else { return Ok(None) };
    Ok(Some(HEADER + u32::from_be_bytes([0, *a, *b, *c]) as usize))
}

/// What stands behind the head. `None` if it makes no sense.
pub fn hello(message: &[u8]) -> Option<Hello> {
    let mut rest = Rest(message);
    let [major, _minor] = rest.array::<2>()?;
    let _random = rest.array::<32>()?;
    let session_id = rest.short()?;
    let (suites, compressions) = (rest.long()?, rest.short()?);
    let is_sound = major == super::MAJOR
        && session_id.len() <= LONGEST_SESSION_ID
        && !suites.is_empty()
        && suites.len() % 2 == 0
        && !compressions.is_empty();
    if !is_sound {
        return None;
    }
    let (mut server_name, mut alpn) = (None, None);
    // Clients older than extensions send none.
    if !rest.is_empty() {
        let mut extensions = Rest(rest.long()?);
        while !extensions.is_empty() {
            let (kind, content) = (u16::from_be_bytes(extensions.array()?), extensions.long()?);
            let is_second = match kind {
                SERVER_NAME => server_name.replace(name(content)?).is_some(),
                ALPN => alpn.replace(protocols(content)?).is_some(),
                _ => false,
            };
            if is_second {
                return None;
            }
        }
    }
    let hello = Hello { server_name: server_name.flatten(), alpn: alpn.unwrap_or_default().into() };
    rest.is_empty().then_some(hello)
}

/// The name of a list with one (RFC 6066 §3), if it is no address; `None` if it is none of a server.
fn name(content: &[u8]) -> Option<Option<Box<str>>> {
    let mut content = Rest(content);
    let mut list = Rest(content.long()?);
    let ([kind], name) = (list.array()?, list.long()?);
    if kind != HOST_NAME || !list.is_empty() || !content.is_empty() {
        return None;
    }
    match ServerName::try_from(name).ok()? {
        ServerName::DnsName(name) => {
            let name = name.as_ref();
            let name = name.strip_suffix('.').unwrap_or(name);
            Some(Some(name.to_ascii_lowercase().into()))
        }
        _ => Some(None),
    }
}

/// The list, as it came (RFC 7301 §3.1).
fn protocols(content: &[u8]) -> Option<&[u8]> {
    let mut content = Rest(content);
    let list = content.long()?;
    let mut rest = Rest(list);
    while !rest.is_empty() {
        if rest.short()?.is_empty() {
            return None;
        }
    }
    (!list.is_empty() && content.is_empty()).then_some(list)
}

/// What is still to be read.
struct Rest<'o>(&'o [u8]);

impl<'o> Rest<'o> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn take(&mut self, count: usize) -> Option<&'o [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// What stands behind its length of one octet.
    fn short(&mut self) -> Option<&'o [u8]> {
        let [length] = self.array()?;
        self.take(length.into())
    }

    /// What stands behind its length of two octets.
    fn long(&mut self) -> Option<&'o [u8]> {
        let length = u16::from_be_bytes(self.array()?);
        self.take(length.into())
    }
}
