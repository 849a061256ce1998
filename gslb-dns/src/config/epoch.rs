//! The epoch: one number for a world and for every file it names.
//!
//! Two name servers of one epoch were told the same. Comments, white space and the order of tables
//! say nothing, so they do not count; the order within lists does.

use std::fmt;

use sha2::{Digest as _, Sha256};
use toml::de::{DeTable, DeValue};

use crate::world::Epoch;

/// Gathers what an epoch is made of.
pub struct Digest(Sha256);

/// What a file is to the world that names it.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    Database,
    /// A master file or one that it includes.
    Zone,
}

impl Digest {
    pub fn of(world: &DeTable<'_>) -> Digest {
        let mut digest = Digest(Sha256::new());
        digest.bytes(b"gslb world 1");
        digest.table(world);
        digest
    }

    /// Counts a file in by the hash of its contents. Whoever calls does so in an order that follows from the
    /// world alone.
    pub fn hashed_file(&mut self, role: Role, key: &str, hash: &[u8; 32]) {
        self.bytes(match role {
            Role::Database => b"database",
            Role::Zone => b"zone",
        });
        self.bytes(key.as_bytes());
        self.0.update(hash);
    }

    pub fn epoch(self) -> Epoch {
        Epoch(self.0.finalize().into())
    }

    /// Lengths go before contents, so that no two worlds read alike.
    fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.0.update(bytes);
    }

    fn length(&mut self, length: usize) {
        self.0.update((length as u64).to_be_bytes());
    }

    /// By key, as tables hold their entries.
    fn table(&mut self, table: &DeTable<'_>) {
        self.length(table.len());
        for (key, value) in table {
            self.bytes(key.get_ref().as_bytes());
            self.value(value.get_ref());
        }
    }

    fn value(&mut self, value: &DeValue<'_>) {
        match value {
            DeValue::String(text) => {
                self.0.update(b"s");
                self.bytes(text.as_bytes());
            }
            DeValue::Integer(digits) => {
                self.0.update(b"i");
                // What does not fit was refused by whoever read it.
                let number = i64::from_str_radix(digits.as_str(), digits.radix()).unwrap_or(0);
                self.0.update(number.to_be_bytes());
            }
            DeValue::Float(digits) => {
                self.0.update(b"f");
                let number: f64 = digits.as_str().parse().unwrap_or(f64::NAN);
                self.0.update(number.to_bits().to_be_bytes());
            }
            DeValue::Boolean(is) => self.0.update(if *is { b"t" } else { b"n" }),
            DeValue::Datetime(time) => {
                self.0.update(b"d");
                self.bytes(time.to_string().as_bytes());
            }
            DeValue::Array(items) => {
                self.0.update(b"a");
                self.length(items.len());
                items.iter().for_each(|item| self.value(item.get_ref()));
            }
            DeValue::Table(entries) => {
                self.0.update(b"m");
                self.table(entries);
            }
        }
    }
}

/// What a file is known by.
pub fn content_hash(contents: &[u8]) -> [u8; 32] {
    Sha256::digest(contents).into()
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
