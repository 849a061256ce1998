//! What is for one connection alone is taken out before a head goes on (RFC 9110 §7.6.1).

use super::Version;
use super::fields::{Fields, has_element};
use super::framing::{Body, values_of};
use super::name::{Known, is_end_to_end};
use super::octets::elements;
use super::request::RequestHead;
use super::response::ResponseHead;

/// Whether a client may change the protocol on its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Upgrades {
    Passed,
    Refused,
}

impl RequestHead {
    /// Takes out what was for our connection with the client, and leaves Transfer-Encoding as one `chunked`.
    ///
    /// An upgrade that may pass stays, and then the head is written with a Connection that says so. Of TE only
    /// `trailers` stays.
    pub fn strip(&mut self, upgrades: Upgrades) {
        self.is_upgrade &= upgrades == Upgrades::Passed;
        let wants_trailers = has_element(values_of(&self.fields, Known::Te), b"trailers");
        self.fields.strip(self.is_upgrade);
        if self.version == Version::Http10 {
            // It expects nothing there (RFC 9110 §10.1.1), but would in the HTTP/1.1 that we speak on.
            self.fields.remove_known(Known::Expect);
        }
        if wants_trailers && !self.is_upgrade {
            self.fields.push(b"TE", b"trailers");
        }
        self.fields.frame(self.body);
    }
}

impl ResponseHead {
    /// Takes out what was for our connection with the server. Upgrade stays where it says what the protocol
    /// becomes (101), or would have to be (426).
    pub fn strip(&mut self) {
        self.is_upgrade = self.framing.is_upgrade && matches!(self.status, 101 | 426);
        self.fields.strip(self.is_upgrade);
    }
}

impl Fields {
    fn strip(&mut self, keeps_upgrade: bool) {
        const OF_ONE_CONNECTION: [Known; 6] = [
            Known::Connection,
            Known::KeepAlive,
            Known::ProxyConnection,
            Known::Te,
            Known::Http2Settings,
            Known::Upgrade,
        ];
        if !OF_ONE_CONNECTION.iter().any(|known| self.may_have(*known)) {
            return;
        }
        // Most messages name nothing but what is known anyway, and then there is nothing to look for.
        let is_usual = |option: &[u8]| {
            [&b"close"[..], b"keep-alive", b"upgrade", b"te"]
                .iter()
                .any(|usual| option.eq_ignore_ascii_case(usual))
        };
        let named: Vec<Vec<u8>> = values_of(self, Known::Connection)
            .flat_map(elements)
            .filter(|option| !is_usual(option) && !is_end_to_end(option))
            .map(<[u8]>::to_vec)
            .collect();
        self.retain_known(|known, name| match known {
            Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::Te
            | Known::Http2Settings => false,
            Known::Upgrade => keeps_upgrade,
            _ => !named.iter().any(|named| name.eq_ignore_ascii_case(named)),
        });
    }

    /// Says how the body is framed, where that stood before.
    pub(super) fn frame(&mut self, body: Body) {
        match body {
            Body::None | Body::UntilClose => {
                self.remove_known(Known::TransferEncoding);
                self.remove_known(Known::ContentLength);
            }
            Body::Length(length) => {
                self.remove_known(Known::TransferEncoding);
                self.set_length(length);
            }
            Body::Chunked => {
                self.remove_known(Known::ContentLength);
                self.set_known(Known::TransferEncoding, b"Transfer-Encoding", b"chunked");
            }
        }
    }
}
