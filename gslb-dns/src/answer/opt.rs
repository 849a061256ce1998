//! The OPT record of an answer (RFC 6891 §6.1.2), as bytes.

use super::ede::{self, Ede};
use super::{MAX_UDP, PLAIN_UDP};
use crate::cookie::COOKIE;
use crate::name::MAX_NAME;
use crate::query::{
    ClientSubnet, DNSSEC_OK, HEADER, OPTION_COOKIE, OPTION_EDE, OPTION_NSID, OPTION_PADDING,
    OPTION_SUBNET, Rcode,
};
use crate::record::RecordType;
use crate::stamp::{self, OPTION_STAMP};
use crate::world::MAX_NODE_NAME;

/// Owner, type, size, code, version, flags and the length of the options.
const HEAD: usize = 11;
/// An option's code and length.
const OPTION_HEAD: usize = 4;
/// A padded answer's length is a multiple of this (RFC 8467 §4.1).
const BLOCK: usize = 468;
/// The largest record but for a stamp and padding, which take only what is left: every option, an IPv6
/// address whole.
pub const MOST: usize = HEAD + 4 * OPTION_HEAD + MAX_NODE_NAME + 4 + 16 + COOKIE + ede::LONGEST;
const _: () = assert!(
    HEADER + MAX_NAME + 4 + MOST <= PLAIN_UDP,
    "the longest question and the largest OPT record fit the smallest answer"
);

/// What the OPT record of an answer will say, but for what is known only once the answer is written.
#[derive(Clone, Copy)]
pub struct Opt<'q> {
    /// DO is echoed (RFC 3225 §3); the other flags are ours to leave at 0.
    pub dnssec_ok: bool,
    pub nsid: Option<&'q str>,
    /// The query's, to be sent back word for word (RFC 7871 §7.2.1).
    pub subnet: Option<&'q ClientSubnet>,
    /// The client's, and a server cookie that is good.
    pub cookie: Option<&'q [u8; COOKIE]>,
    /// Why the answer is no ordinary one.
    pub ede: Option<Ede>,
    /// What the answer was made from.
    pub stamp: Option<&'q [u8; stamp::LENGTH]>,
    /// Octets of padding, its own head not counted.
    pub padding: Option<u16>,
}

impl<'q> Opt<'q> {
    /// Says no more than that EDNS is spoken.
    pub const PLAIN: Opt<'static> = Opt {
        dnssec_ok: false,
        nsid: None,
        subnet: None,
        cookie: None,
        ede: None,
        stamp: None,
        padding: None,
    };

    /// Padded so that the message ends at a multiple of `BLOCK`, or at `room` if that is nearer. `before`
    /// octets of the message stand before this record, which has no padding yet.
    pub fn padded(self, before: usize, room: usize) -> Self {
        let least = before + self.length() + OPTION_HEAD;
        let whole = least.next_multiple_of(BLOCK).min(room);
        // With less room than an empty option takes, it stays without.
        Opt { padding: whole.checked_sub(least).map(|octets| octets as u16), ..self }
    }

    /// With an extended error, if that fits a message of `room` octets of which `before` stand before this
    /// record: nothing gives way to it.
    pub fn explained(self, ede: Option<Ede>, before: usize, room: usize) -> Self {
        let explained = Opt { ede, ..self };
        if before + explained.length() <= room { explained } else { self }
    }

    /// With a stamp, on the same terms.
    pub fn stamped(
        self,
        stamp: Option<&'q [u8; stamp::LENGTH]>,
        before: usize,
        room: usize,
    ) -> Self {
        let stamped = Opt { stamp, ..self };
        if before + stamped.length() <= room { stamped } else { self }
    }

    /// Octets that `write` will need.
    pub fn length(&self) -> usize {
        let nsid = self.nsid.map_or(0, |name| OPTION_HEAD + nsid(name).len());
        let subnet = self.subnet.map_or(0, |subnet| OPTION_HEAD + subnet_length(subnet));
        let cookie = self.cookie.map_or(0, |cookie| OPTION_HEAD + cookie.len());
        let ede = self.ede.map_or(0, |ede| OPTION_HEAD + ede.length());
        let padding = self.padding.map_or(0, |octets| OPTION_HEAD + usize::from(octets));
        let stamp = self.stamp.map_or(0, |stamp| OPTION_HEAD + stamp.len());
        HEAD + nsid + subnet + cookie + ede + stamp + padding
    }

    /// Writes the record into `out`, which has `length` octets.
    pub fn write(&self, rcode: Rcode, scope: u8, out: &mut [u8]) {
        let [type_high, type_low] = RecordType::OPT.0.to_be_bytes();
        let [size_high, size_low] = (MAX_UDP as u16).to_be_bytes();
        let [options_high, options_low] = ((out.len() - HEAD) as u16).to_be_bytes();
        let extended_rcode = (rcode as u16 >> 4) as u8;
        let flags = if self.dnssec_ok { DNSSEC_OK } else { 0 };
        let (head, mut rest) = out.split_at_mut(HEAD);
        head.copy_from_slice(&[
            0,
            type_high,
            type_low,
            size_high,
            size_low,
            extended_rcode,
            0,
            flags,
            0,
            options_high,
            options_low,
        ]);
        if let Some(name) = self.nsid {
            let value;
            (value, rest) = option(OPTION_NSID, nsid(name).len(), rest);
            value.copy_from_slice(nsid(name));
        }
        if let Some(subnet) = self.subnet {
            let value;
            (value, rest) = option(OPTION_SUBNET, subnet_length(subnet), rest);
            value[..2].copy_from_slice(&subnet.family.number().to_be_bytes());
            value[2] = subnet.source;
            value[3] = scope;
            value[4..].copy_from_slice(subnet.wire_address());
        }
        if let Some(cookie) = self.cookie {
            let (value, tail) = option(OPTION_COOKIE, cookie.len(), rest);
            value.copy_from_slice(cookie);
            rest = tail;
        }
        if let Some(ede) = self.ede {
            let (value, tail) = option(OPTION_EDE, ede.length(), rest);
            ede.write(value);
            rest = tail;
        }
        if let Some(stamp) = self.stamp {
            let (value, tail) = option(OPTION_STAMP, stamp.len(), rest);
            value.copy_from_slice(stamp);
            rest = tail;
        }
        // What stood in the room before must not show (RFC 7830 §3).
        if let Some(octets) = self.padding {
            let (value, _) = option(OPTION_PADDING, octets.into(), rest);
            value.fill(0);
        }
    }
}

/// Config refuses longer names; a server that got one all the same must not fall over it.
fn nsid(name: &str) -> &[u8] {
    &name.as_bytes()[..name.len().min(MAX_NODE_NAME)]
}

/// Family, source, scope and the address as far as the source goes.
fn subnet_length(subnet: &ClientSubnet) -> usize {
    4 + subnet.wire_address().len()
}

/// Writes an option's head; returns the room for its value, and what is left.
fn option(code: u16, length: usize, out: &mut [u8]) -> (&mut [u8], &mut [u8]) {
    let (head, rest) = out.split_at_mut(OPTION_HEAD);
    head[..2].copy_from_slice(&code.to_be_bytes());
    head[2..].copy_from_slice(&(length as u16).to_be_bytes());
    rest.split_at_mut(length)
}
