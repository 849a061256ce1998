//! Where a message's body ends, and whether another may follow: read in one way, or refused (RFC 9112 §6, §9.3).
//!
//! Stricter than the RFC lets us be where readers are known to differ: a repeated Content-Length is refused even
//! if all say the same (nginx refuses what HAProxy merges), and so is Content-Length beside Transfer-Encoding,
//! which RFC 9112 §6.1 lets a server read as chunked.

use super::fields::{Fields, has_element};
use super::name::Known;
use super::octets::{decimal, elements, is_token, trim};
use super::refusal::Refusal;
use super::{Limits, Version};

/// Elements of Connection, at most: each is looked for among the fields.
pub const MOST_OPTIONS: usize = 32;

/// Where a body ends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Body {
    /// There is none.
    #[default]
    None,
    /// After so many octets, as Content-Length says.
    Length(u64),
    Chunked,
    /// With the connection. Only a response's.
    UntilClose,
}

impl Body {
    /// As it goes to a client of this version: what has no length is chunked if that is known there.
    pub fn towards(self, version: Version) -> Self {
        match (self, version) {
            (Self::Chunked | Self::UntilClose, Version::Http11) => Self::Chunked,
            (Self::Chunked | Self::UntilClose, Version::Http10) => Self::UntilClose,
            (Self::None | Self::Length(_), _) => self,
        }
    }

    /// Whether another message can follow on the same connection.
    pub fn has_end(self) -> bool {
        self != Self::UntilClose
    }
}

/// Whether a connection stays open after a message and its answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Persistence {
    KeepAlive,
    #[default]
    Close,
}

/// What the fields of any message say of its body and its connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Framing {
    pub length: Option<u64>,
    pub is_chunked: bool,
    pub persistence: Persistence,
    /// Connection has `upgrade`, and there is an Upgrade that we would let through.
    pub is_upgrade: bool,
}

impl Framing {
    /// Judges the fields. A length with zeros in front is made one without: some read those as octal.
    pub fn of(version: Version, fields: &mut Fields, limits: &Limits) -> Result<Self, Refusal> {
        if fields.may_have(Known::LookAlike) {
            return Err(Refusal::FramingLookAlike);
        }
        let (mut length, mut coding) = (None, None);
        let (mut close, mut keep_alive, mut upgrade, mut options) = (false, false, false, 0);
        for (known, value) in fields.known() {
            match known {
                Known::ContentLength if length.is_some() => {
                    return Err(Refusal::ManyContentLengths);
                }
                Known::ContentLength => length = Some(content_length(value)?),
                Known::TransferEncoding if coding.is_some() => {
                    return Err(Refusal::ManyTransferEncodings);
                }
                Known::TransferEncoding => coding = Some(only_chunked(value)?),
                Known::Connection => {
                    for option in elements(value) {
                        options += 1;
                        close |= option.eq_ignore_ascii_case(b"close");
                        keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                        upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                    }
                }
                _ => {}
            }
        }
        if options > MOST_OPTIONS {
            return Err(Refusal::TooManyOptions);
        }
        if coding.is_some() && version == Version::Http10 {
            return Err(Refusal::CodingInHttp10);
        }
        if coding.is_some() && length.is_some() {
            return Err(Refusal::LengthAndCoding);
        }
        if length > Some(limits.body) {
            return Err(Refusal::BodyTooLong);
        }
        if let Some(length) = length
            && fields
                .first_known(Known::ContentLength)
                .is_some_and(|digits| digits.starts_with(b"0"))
        {
            fields.set_length(length);
        }
        let keeps = !close && (keep_alive || version == Version::Http11);
        let persistence = if keeps { Persistence::KeepAlive } else { Persistence::Close };
        // HTTP/1.0 has no upgrade (RFC 9110 §7.8). Nor has h2c, which would be a tunnel past every rule: it is
        // spoken with prior knowledge or not at all.
        let is_upgrade = upgrade
            && version == Version::Http11
            && fields.has(Known::Upgrade)
            && !has_element(values_of(fields, Known::Upgrade), b"h2c");
        Ok(Self { length, is_chunked: coding.is_some(), persistence, is_upgrade })
    }
}

pub fn values_of(fields: &Fields, wanted: Known) -> impl Iterator<Item = &[u8]> {
    let may_have = fields.may_have(wanted);
    let all = fields.known().take(if may_have { fields.len() } else { 0 });
    all.filter_map(move |(known, value)| (known == wanted).then_some(value))
}

pub fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::ContentLength);
    }
    decimal(value).ok_or(Refusal::ContentLengthTooBig)
}

fn only_chunked(value: &[u8]) -> Result<(), Refusal> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let codings = || value.split(|octet| *octet == b',').map(trim);
    let chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let before_the_last = codings().count() - 1;
    if !codings().all(is_token) || codings().take(before_the_last).any(chunked) {
        return Err(Refusal::TransferEncoding);
    }
    Err(Refusal::UnknownCoding)
}
