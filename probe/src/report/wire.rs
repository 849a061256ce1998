//! What a probe asks of a name server, over a connection to it.

use std::net::SocketAddr;

use bytes::Bytes;
use common::assignment::LARGEST;
use common::mtls::Credentials;
pub use common::wire::WireError;
use hyper::{Method, StatusCode};

/// Octets of an answer to a report.
const LARGEST_ANSWER: usize = 64 << 10;

#[derive(Debug)]
pub struct Wire(common::wire::Wire);

impl Wire {
    /// Dials a name server, and sees that it is the one that was meant.
    pub async fn dial(
        address: SocketAddr,
        name: &str,
        credentials: &Credentials,
    ) -> Result<Wire, WireError> {
        Ok(Wire(common::wire::Wire::dial(address, name, credentials).await?))
    }

    pub fn is_over(&self) -> bool {
        self.0.is_over()
    }

    pub async fn report(&mut self, octets: Vec<u8>) -> Result<(StatusCode, Bytes), WireError> {
        self.0.exchange(Method::POST, "/v1/report", octets.into(), LARGEST_ANSWER).await
    }

    /// `known` is the epoch of the assignment that we have.
    pub async fn assignment(
        &mut self,
        known: Option<&str>,
    ) -> Result<(StatusCode, Bytes), WireError> {
        let path = match known {
            Some(epoch) => format!("/v1/assignment?epoch={}", encoded(epoch)),
            None => "/v1/assignment".to_owned(),
        };
        self.0.exchange(Method::GET, &path, Bytes::new(), LARGEST).await
    }

    /// Asks for our next certificate.
    pub async fn renew(&mut self, request: Vec<u8>) -> Result<(StatusCode, Bytes), WireError> {
        self.0.exchange(Method::POST, "/v1/renew", Bytes::from(request), LARGEST_ANSWER).await
    }
}

/// For a query (RFC 3986 §3.4); an epoch is hexadecimal, and whoever sends another one gets it back.
fn encoded(text: &str) -> String {
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
    text.bytes()
        .map(|octet| match is_plain(octet) {
            true => char::from(octet).to_string(),
            false => format!("%{octet:02X}"),
        })
        .collect()
}
