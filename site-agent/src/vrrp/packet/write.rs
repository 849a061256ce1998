//! An advert to octets, behind an IP header that others write.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::auth::{Context, Keys, TRAILER, trailer};
use super::checksum::{Form, Sum};
use super::read::Password;
use super::replay::Stamp;
use super::{CHECKSUM, Ends, Family, HEADER, LEGACY, Unwritable, V2_ADVERT, V3_ADVERT};
use crate::vrrp::advert::{Claim, Interval, Version, Vrid};

/// An advert to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub version: Version,
    pub vrid: Vrid,
    pub claim: Claim,
    pub interval: Interval,
    pub vips: Vips<'a>,
    pub authentication: Authentication<'a>,
    /// Of version 3 over IPv4; all else has one form.
    pub form: Form,
}

/// Addresses that are advertised: of one family.
#[derive(Clone, Copy, Debug)]
pub enum Vips<'a> {
    V4(&'a [Ipv4Addr]),
    /// The first one is link-local (RFC 9568 §5.2.9).
    V6(&'a [Ipv6Addr]),
}

/// What shows whose an advert is.
#[derive(Clone, Copy, Debug)]
pub enum Authentication<'a> {
    None,
    /// Of version 2 alone.
    Password(Password),
    Signature {
        keys: &'a Keys,
        stamp: Stamp,
    },
}

/// Writes an advert, and says how many octets it has. It is for these two ends alone: a unicast advert is written once
/// for each peer.
pub fn write(message: &Message<'_>, ends: &Ends, out: &mut [u8]) -> Result<usize, Unwritable> {
    let family = ends.family();
    let (count, summed, length) = measure(message, family)?;
    let expected = length;
    let got = out.len();
    let out = out.get_mut(..length).ok_or(Unwritable::Buffer { got, expected })?;

    let mut header = [0; HEADER];
    header[1] = message.vrid.get();
    header[2] = message.claim.octet();
    header[3] = count;
    let centiseconds = message.interval.centiseconds();
    match message.version {
        Version::V2 => {
            let whole = message.interval.whole_seconds();
            header[0] = V2_ADVERT;
            header[5] = whole.ok_or(Unwritable::IntervalNotWhole { centiseconds })?;
        }
        Version::V3 if message.interval > Interval::LONGEST_OF_V3 => {
            return Err(Unwritable::IntervalTooLong { centiseconds });
        }
        Version::V3 => {
            header[0] = V3_ADVERT;
            header[4..6].copy_from_slice(&centiseconds.to_be_bytes());
        }
    }

    let mut legacy = [0; LEGACY];
    match (message.version, message.authentication) {
        (Version::V2, Authentication::Password(password)) => {
            header[4] = password.number();
            if let Password::Text(text) = password {
                legacy = text;
            }
        }
        (Version::V3, Authentication::Password(Password::Text(_) | Password::Other(_))) => {
            return Err(Unwritable::PasswordInV3);
        }
        (Version::V3, Authentication::Password(Password::None))
        | (_, Authentication::None | Authentication::Signature { .. }) => {}
    }

    let (body, rest) = out.split_at_mut(summed);
    body[..HEADER].copy_from_slice(&header);
    let addresses = &mut body[HEADER..HEADER + usize::from(count) * family.size()];
    match message.vips {
        Vips::V4(vips) => {
            for (place, vip) in addresses.as_chunks_mut::<4>().0.iter_mut().zip(vips) {
                *place = vip.octets();
            }
        }
        Vips::V6(vips) => {
            for (place, vip) in addresses.as_chunks_mut::<16>().0.iter_mut().zip(vips) {
                *place = vip.octets();
            }
        }
    }
    if message.version == Version::V2 {
        body[summed - LEGACY..].copy_from_slice(&legacy);
    }
    if let Authentication::Signature { keys, stamp } = message.authentication {
        let context = Context { version: message.version, vrid: message.vrid, from: ends.from() };
        rest.copy_from_slice(&trailer(context, keys, stamp, body));
    }

    let sum = match (message.version, family, message.form) {
        (Version::V3, Family::V6, _) => Sum::of(out).with_pseudo_header(ends, length),
        (Version::V3, Family::V4, Form::PseudoHeader) => {
            Sum::of(&out[..summed]).with_pseudo_header(ends, summed)
        }
        (Version::V3, Family::V4, Form::Message) | (Version::V2, _, _) => Sum::of(&out[..summed]),
    };
    out[CHECKSUM].copy_from_slice(&sum.checksum().to_be_bytes());
    Ok(length)
}

/// The count of addresses, and octets without and with a trailer.
fn measure(message: &Message<'_>, family: Family) -> Result<(u8, usize, usize), Unwritable> {
    let (count, first) = match message.vips {
        Vips::V4(vips) => (vips.len(), vips.first().copied().map(IpAddr::from)),
        Vips::V6(vips) => (vips.len(), vips.first().copied().map(IpAddr::from)),
    };
    let first = first.ok_or(Unwritable::NoAddresses)?;
    if Family::of(first) != family {
        return Err(Unwritable::Family);
    }
    match first {
        IpAddr::V6(_) if message.version == Version::V2 => return Err(Unwritable::V2OverIpv6),
        IpAddr::V6(got) if !got.is_unicast_link_local() => {
            return Err(Unwritable::FirstNotLinkLocal { got });
        }
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    let octet = u8::try_from(count).map_err(|_| Unwritable::TooManyAddresses { got: count })?;
    let legacy = if message.version == Version::V2 { LEGACY } else { 0 };
    let summed = HEADER + count * family.size() + legacy;
    let length = match message.authentication {
        Authentication::Signature { .. } => summed + TRAILER,
        Authentication::None | Authentication::Password(_) => summed,
    };
    Ok((octet, summed, length))
}
