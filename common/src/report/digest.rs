//! Whether two sides have the same entries: a sum of their hashes, so that one changed costs one hash.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::hex;

/// The first 128 bits of the SHA-256 of an entry's octets as they were sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EntryHash(u128);

/// The sum of all entries' hashes, modulo 2^128. It finds faults, not forgers: those stand outside of TLS.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Digest(u128);

impl EntryHash {
    pub fn of(octets: &str) -> EntryHash {
        let whole: [u8; 32] = Sha256::digest(octets).into();
        EntryHash(u128::from_be_bytes(*whole.first_chunk().expect("16 octets stand in 32")))
    }
}

impl Digest {
    pub fn add(&mut self, entry: EntryHash) {
        self.0 = self.0.wrapping_add(entry.0);
    }

    pub fn remove(&mut self, entry: EntryHash) {
        self.0 = self.0.wrapping_sub(entry.0);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0.to_be_bytes(), f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        hex::serialize(&self.0.to_be_bytes(), serializer)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        hex::deserialize(deserializer).map(|octets| Digest(u128::from_be_bytes(octets)))
    }
}
