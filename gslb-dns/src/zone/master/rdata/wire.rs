//! Takes record data apart, octets in order.
//!
//! For the fields that present themselves; never reads beyond the data it was given.

use crate::name;

/// Why data is not as its type has it.
#[derive(Debug)]
pub struct Malformed(pub String);

impl From<&str> for Malformed {
    fn from(why: &str) -> Malformed {
        Malformed(why.to_owned())
    }
}

pub struct Wire<'w> {
    whole: &'w [u8],
    at: usize,
}

impl<'w> Wire<'w> {
    pub fn new(whole: &'w [u8]) -> Wire<'w> {
        Wire { whole, at: 0 }
    }

    /// Octets not taken yet.
    pub fn left(&self) -> usize {
        self.whole.len() - self.at
    }

    /// What was taken already.
    pub fn taken(&self) -> &'w [u8] {
        &self.whole[..self.at]
    }

    pub fn take(&mut self, octets: usize) -> Result<&'w [u8], Malformed> {
        let rest = &self.whole[self.at..];
        let taken = rest.get(..octets).ok_or_else(|| {
            Malformed(format!("{octets} octets are expected, and {} are left", rest.len()))
        })?;
        self.at += octets;
        Ok(taken)
    }

    pub fn array<const OCTETS: usize>(&mut self) -> Result<[u8; OCTETS], Malformed> {
        let taken = self.take(OCTETS)?;
        Ok(taken.try_into().expect("as many octets were taken"))
    }

    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// Octets behind a length of one octet.
    pub fn counted(&mut self) -> Result<&'w [u8], Malformed> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// An uncompressed name, in wire form.
    pub fn name(&mut self) -> Result<&'w [u8], Malformed> {
        let length = name::wire_length(&self.whole[self.at..])
            .ok_or("no uncompressed domain name of up to 255 octets stands there")?;
        self.take(length)
    }

    pub fn rest(&mut self) -> &'w [u8] {
        let rest = &self.whole[self.at..];
        self.at = self.whole.len();
        rest
    }
}
