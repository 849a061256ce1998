//! The hashes that place servers and keys on the ring: fixed for ever, so that balancers agree and an upgrade moves
//! nobody.
//!
//! SipHash-2-4 with keys that name the purpose, as `gslb-dns` has it in `steer/hash.rs`: it is specified, the same on
//! every machine and in every release. `foldhash`, which is in the tree too and is faster, promises neither. The keys
//! are no secret, so whoever may choose a URI may choose its server; what keeps that from hurting is the bound. The
//! golden vectors in the tests hold all of it in place.

use std::net::IpAddr;

use siphasher::sip::SipHasher24;

/// What a request is hashed by, as a place on the ring.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Key(pub(super) u64);

impl Key {
    /// The client's address. One that is mapped (`::ffff:192.0.2.1`) is the IPv4 address that it stands for.
    pub fn source(client: IpAddr) -> Key {
        match client.to_canonical() {
            IpAddr::V4(v4) => Key(hash(b"site source hash", &v4.octets())),
            IpAddr::V6(v6) => Key(hash(b"site source hash", &v6.octets())),
        }
    }

    /// The path up to `?`, of a target in origin form (`/a/b?c`): HAProxy's `uri path-only`, so that HTTP/1 and
    /// HTTP/2 agree. `None` for an empty one.
    pub fn uri(target: &[u8]) -> Option<Key> {
        let path = target.split(|octet| *octet == b'?').next().unwrap_or_default();
        (!path.is_empty()).then(|| Key(hash(b"site uri hash 1.", path)))
    }

    /// A header's value, as sent. `None` for an empty one.
    pub fn header(value: &[u8]) -> Option<Key> {
        (!value.is_empty()).then(|| Key(hash(b"site header hash", value)))
    }
}

/// A server's name as a number, which its points follow from.
pub fn name(name: &str) -> u64 {
    hash(b"site server name", name.as_bytes())
}

/// Where on the ring the point of that number of a server stands.
pub fn point(name: u64, number: u32) -> u64 {
    let mut octets = [0; 12];
    octets[..8].copy_from_slice(&name.to_be_bytes());
    octets[8..].copy_from_slice(&number.to_be_bytes());
    hash(b"site ring point ", &octets)
}

fn hash(purpose: &[u8; 16], octets: &[u8]) -> u64 {
    SipHasher24::new_with_key(purpose).hash(octets)
}
