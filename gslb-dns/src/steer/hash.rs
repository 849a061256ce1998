//! The hashes that stand in for chance (DESIGN §4.2): fixed for ever, so that every name server
//! answers a client alike and an upgrade moves nobody.
//!
//! SipHash-2-4 with keys that name the purpose, over a length-prefixed encoding. The golden vectors
//! below hold all of it in place.

use std::net::IpAddr;

use arrayvec::ArrayVec;
use siphasher::sip::SipHasher24;

use crate::locate::HashedPrefix;
use crate::name::{MAX_NAME, Name};

/// What a hash is for: each purpose has its own key, so that one tells nothing of another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// The order of the candidates in a tier.
    Pick,
    /// Whether a candidate takes this client.
    Admit,
    /// Where in a time slice a client stands under `weighted`.
    Phase,
    /// A site's part in the two above.
    Site,
}

impl Purpose {
    fn hash(self, octets: &[u8]) -> u64 {
        let key = match self {
            Purpose::Pick => b"gslb pick hash 1",
            Purpose::Admit => b"gslb admit hash1",
            Purpose::Phase => b"gslb phase hash1",
            Purpose::Site => b"gslb site hash 1",
        };
        SipHasher24::new_with_key(key).hash(octets)
    }
}

/// A client as one service sees it, for one purpose.
pub fn client_hash(purpose: Purpose, service: &Name, client: HashedPrefix, slice: u64) -> u64 {
    /// The name, the address with its family before and its length behind it, the slice.
    const MOST: usize = MAX_NAME + 1 + 16 + 1 + 8;
    let mut octets: ArrayVec<u8, MOST> = ArrayVec::new();
    let mut push = |part: &[u8]| {
        octets.try_extend_from_slice(part).expect("MOST has room for the longest of each part");
    };
    // The name's own length octets and final zero delimit it.
    push(service.wire());
    match client.address {
        IpAddr::V4(v4) => {
            push(&[4]);
            push(&v4.octets());
        }
        IpAddr::V6(v6) => {
            push(&[6]);
            push(&v6.octets());
        }
    }
    push(&[client.length]);
    push(&slice.to_be_bytes());
    purpose.hash(&octets)
}

/// A site's name as a number, worked out once.
pub fn site_hash(name: &str) -> u64 {
    Purpose::Site.hash(name.as_bytes())
}

/// A client and a site together, as a fraction of 1: above 0, below 1.
pub fn draw(purpose: Purpose, client: u64, site: u64) -> f64 {
    let mut octets = [0; 16];
    octets[..8].copy_from_slice(&client.to_be_bytes());
    octets[8..].copy_from_slice(&site.to_be_bytes());
    // The top 53 bits fill a double's mantissa; the half keeps 0 out, whose logarithm is not finite.
    ((purpose.hash(&octets) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// The arrival time of a site's lot, which is exponential with the weight as its rate: the lowest
/// wins, each with a chance in proportion to its weight (weighted rendezvous hashing).
///
/// `weight` must be above 0. `libm` gives the same bits on every machine.
pub fn arrival(draw: f64, weight: f64) -> f64 {
    -libm::log(draw) / weight
}
