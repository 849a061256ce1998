//! Signed adverts: a trailer of 28 octets behind the message, as keepalived has it since 2.4.2
//! (draft-cassen-vrrp-auth-hmac).
//!
//! ```text
//! type 1 | key id | reserved 0 (16 bits) | seconds (32) | 1/65536 s (16) | counter (16) | HMAC (128)
//! ```
//!
//! HMAC-SHA-256, cut to 128 bits, of: family, version, VRID, 0, the source address padded to 16 octets; the message
//! with zeros for its checksum; the trailer with zeros for the HMAC. The IP header is not signed.

use std::net::IpAddr;
use std::num::NonZeroU8;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{self, HMAC_SHA256};

use super::read::Password;
use super::replay::{Freshness, Marks, Stamp};
use super::{CHECKSUM, Envelope, Family, Refusal};
use crate::vrrp::advert::{Version, Vrid};

/// Octets of a trailer.
pub const TRAILER: usize = TRAILER_HEAD + HMAC;
/// Those that are signed.
const TRAILER_HEAD: usize = 12;
/// Of a SHA-256.
const HMAC: usize = 16;
/// HMAC-SHA-256 cut to 128 bits; there is no other.
const SCHEME: u8 = 1;
/// In front of what is signed.
const PSEUDO_HEADER: usize = 20;

/// Octets that a key may have: fewer can be guessed one day, more would be hashed down by HMAC itself.
pub const KEY_LENGTH: std::ops::RangeInclusive<usize> = 32..=64;

/// By which a trailer names its key: 1 to 255.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct KeyId(NonZeroU8);

impl KeyId {
    pub fn new(id: u8) -> Option<KeyId> {
        NonZeroU8::new(id).map(KeyId)
    }

    pub fn get(self) -> u8 {
        self.0.get()
    }
}

/// The keys of one virtual router: one that it signs with, and all that it believes.
///
/// So a new key is everywhere before anybody signs with it, and an old one until nobody does.
#[derive(Debug)]
pub struct Keys {
    signing: (KeyId, hmac::Key),
    others: Box<[(KeyId, hmac::Key)]>,
}

/// Why keys cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadKeys {
    #[error("key {id} has {octets} octets, expected 32 to 64")]
    Length { id: u8, octets: usize },
    #[error("key {id} is there twice")]
    Twice { id: u8 },
}

impl Keys {
    /// `signing` signs; `others` are believed as well.
    pub fn new(signing: (KeyId, &[u8]), others: &[(KeyId, &[u8])]) -> Result<Keys, BadKeys> {
        let mut seen = [false; 256];
        let mut key = |(id, octets): (KeyId, &[u8])| {
            if !KEY_LENGTH.contains(&octets.len()) {
                return Err(BadKeys::Length { id: id.get(), octets: octets.len() });
            }
            if std::mem::replace(&mut seen[usize::from(id.get())], true) {
                return Err(BadKeys::Twice { id: id.get() });
            }
            Ok((id, hmac::Key::new(HMAC_SHA256, octets)))
        };
        let signing = key(signing)?;
        let others: Result<_, _> = others.iter().map(|other| key(*other)).collect();
        Ok(Keys { signing, others: others? })
    }

    fn find(&self, id: u8) -> Option<(KeyId, &hmac::Key)> {
        let mut all = std::iter::once(&self.signing).chain(&self.others);
        all.find(|(known, _)| known.get() == id).map(|(id, key)| (*id, key))
    }
}

/// What a virtual router asks of adverts.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'c> {
    /// Nothing. A trailer that comes all the same cannot be judged and is no reason to refuse: whoever gets keys first
    /// must not be alone with them.
    Nothing,
    /// The password of version 2; `Password::None` is the same as `Nothing`.
    Password(Password),
    Signature {
        keys: &'c Keys,
        mode: Mode,
        freshness: Freshness,
    },
}

/// How far the way to signed adverts has been gone. Each step is taken by all routers before the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Believes signatures, and who has none; signs nothing.
    ReceiveOnly,
    /// Signs too.
    Permissive,
    /// Believes nobody without.
    Enforce,
}

impl Mode {
    pub fn signs(self) -> bool {
        match self {
            Mode::ReceiveOnly => false,
            Mode::Permissive | Mode::Enforce => true,
        }
    }
}

/// What stands for an advert's origin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Proof {
    Nothing,
    Password,
    /// `behind`: by how many seconds our clock is ahead of the signer's, its packet's way included. Half the window is
    /// a reason to look at clocks.
    Signature {
        key: KeyId,
        behind: i32,
    },
    /// It is signed, and there are no keys here to tell by.
    Unknown,
}

/// What is signed beside the message.
#[derive(Clone, Copy)]
pub(super) struct Context {
    pub(super) version: Version,
    pub(super) vrid: Vrid,
    pub(super) from: IpAddr,
}

impl Context {
    fn octets(self) -> [u8; PSEUDO_HEADER] {
        let mut octets = [0; PSEUDO_HEADER];
        octets[0] = Family::of(self.from).number();
        octets[1] = self.version.number();
        octets[2] = self.vrid.get();
        match self.from {
            IpAddr::V4(from) => octets[4..8].copy_from_slice(&from.octets()),
            IpAddr::V6(from) => octets[4..].copy_from_slice(&from.octets()),
        }
        octets
    }

    /// `message` without its trailer.
    fn sign(self, key: &hmac::Key, message: &[u8], head: &[u8; TRAILER_HEAD]) -> [u8; HMAC] {
        let mut signing = hmac::Context::with_key(key);
        signing.update(&self.octets());
        signing.update(&message[..CHECKSUM.start]);
        signing.update(&[0; CHECKSUM.end - CHECKSUM.start]);
        signing.update(&message[CHECKSUM.end..]);
        signing.update(head);
        signing.update(&[0; HMAC]);
        let tag = signing.sign();
        *tag.as_ref().first_chunk().expect("SHA-256 has 32 octets")
    }
}

/// The trailer of a message that is to be sent.
pub(super) fn trailer(
    context: Context,
    keys: &Keys,
    stamp: Stamp,
    message: &[u8],
) -> [u8; TRAILER] {
    let (id, key) = &keys.signing;
    let mut head = [0; TRAILER_HEAD];
    (head[0], head[1]) = (SCHEME, id.get());
    head[4..].copy_from_slice(&stamp.octets());
    let signature = context.sign(key, message, &head);
    let mut trailer = [0; TRAILER];
    trailer[..TRAILER_HEAD].copy_from_slice(&head);
    trailer[TRAILER_HEAD..].copy_from_slice(&signature);
    trailer
}

/// A trailer that came, of which nothing is believed yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trailer<'p> {
    head: &'p [u8; TRAILER_HEAD],
    signature: &'p [u8; HMAC],
}

impl<'p> Trailer<'p> {
    /// `None` where the octets are not those of a trailer.
    pub(super) fn read(octets: &'p [u8]) -> Option<Trailer<'p>> {
        let (head, rest) = octets.split_first_chunk()?;
        let (signature, rest) = rest.split_first_chunk()?;
        rest.is_empty().then_some(Trailer { head, signature })
    }

    fn stamp(&self) -> Stamp {
        Stamp::of_octets(*self.head.last_chunk().expect("a stamp is the end of a head"))
    }
}

/// Judges the origin of an advert. `marks` change only by what was signed with a key of ours.
pub(super) fn prove(
    asked: &Asked<'_>,
    envelope: &Envelope,
    advert: &super::Advert<'_>,
    utc: std::time::Duration,
    marks: &mut Marks,
) -> Result<Proof, Refusal> {
    let unsigned = match (asked, advert.trailer) {
        (Asked::Nothing | Asked::Password(_), None) => Proof::Nothing,
        (Asked::Nothing | Asked::Password(_), Some(_)) => Proof::Unknown,
        (Asked::Signature { mode: Mode::Enforce, .. }, None) => return Err(Refusal::Unsigned),
        (Asked::Signature { mode: Mode::ReceiveOnly | Mode::Permissive, .. }, None) => {
            Proof::Nothing
        }
        (Asked::Signature { keys, freshness, mode: _ }, Some(trailer)) => {
            password(Password::None, advert)?;
            let from = envelope.ends.from();
            let context = Context { version: advert.version, vrid: advert.vrid, from };
            return verify(keys, *freshness, context, advert.message, trailer, utc, marks);
        }
    };
    let expected = match asked {
        Asked::Password(password) => *password,
        Asked::Nothing | Asked::Signature { .. } => Password::None,
    };
    password(expected, advert).map(|proof| if proof == Proof::Nothing { unsigned } else { proof })
}

/// Of version 2; version 3 has none, and so nothing to be refused for.
fn password(expected: Password, advert: &super::Advert<'_>) -> Result<Proof, Refusal> {
    match (expected, advert.password) {
        _ if advert.version == Version::V3 => Ok(Proof::Nothing),
        (Password::None, Password::None) => Ok(Proof::Nothing),
        (Password::Text(expected), Password::Text(got)) => {
            verify_slices_are_equal(&expected, &got).map_err(|_| Refusal::Password)?;
            Ok(Proof::Password)
        }
        (expected, got) => {
            Err(Refusal::AuthType { got: got.number(), expected: expected.number() })
        }
    }
}

fn verify(
    keys: &Keys,
    freshness: Freshness,
    context: Context,
    message: &[u8],
    trailer: Trailer<'_>,
    utc: std::time::Duration,
    marks: &mut Marks,
) -> Result<Proof, Refusal> {
    let head = trailer.head;
    if head[0] != SCHEME {
        return Err(Refusal::SignatureType { got: head[0] });
    }
    let reserved = u16::from_be_bytes([head[2], head[3]]);
    if reserved != 0 {
        return Err(Refusal::SignatureReserved { got: reserved });
    }
    // In front of the HMAC, which is dear: old packets sent again in numbers cost a comparison each. It is not signed
    // yet, so it can only refuse.
    let stamp = trailer.stamp();
    let behind = freshness.judge(stamp, utc)?;
    let (id, key) = keys.find(head[1]).ok_or(Refusal::UnknownKey { got: head[1] })?;
    let signature = context.sign(key, message, head);
    verify_slices_are_equal(&signature, trailer.signature).map_err(|_| Refusal::Signature)?;
    marks.take(context.from, stamp, utc, freshness)?;
    Ok(Proof::Signature { key: id, behind })
}
