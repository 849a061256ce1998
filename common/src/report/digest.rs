//! Whether two sides have the same entries: a sum of their hashes, so that one changed costs one hash.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

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
        f.write_str(&HEXLOWER.encode(&self.0.to_be_bytes()))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let octets =
            HEXLOWER.decode(text.as_bytes()).ok().and_then(|octets| octets.try_into().ok());
        octets
            .map(|octets| Digest(u128::from_be_bytes(octets)))
            .ok_or_else(|| D::Error::custom("a digest is 32 hexadecimal digits"))
    }
}
