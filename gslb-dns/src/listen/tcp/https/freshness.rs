//! For how long a cache may keep an answer (RFC 8484 §5.1): the smallest TTL in it. Pure.

use crate::query::{HEADER, Rcode};

/// Seconds. 0 for what says nothing of a name: an error is asked about again.
pub fn freshness(rcode: Rcode, message: &[u8]) -> u32 {
    match rcode {
        // With the TTL of the SOA, which is what an absence is believed for (RFC 2308 §5).
        Rcode::NoError | Rcode::NxDomain => smallest_ttl(message).unwrap_or(0),
        Rcode::FormErr
        | Rcode::ServFail
        | Rcode::NotImp
        | Rcode::Refused
        | Rcode::YxDomain
        | Rcode::BadVers
        | Rcode::BadCookie => 0,
    }
}

/// Of the answer and authority sections; `None` if there is no record in them.
fn smallest_ttl(message: &[u8]) -> Option<u32> {
    let count = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    let (questions, records) = (count(4)?, u32::from(count(6)?) + u32::from(count(8)?));
    let mut rest = message.get(HEADER..)?;
    for _ in 0..questions {
        rest = rest.get(name(rest)? + 4..)?;
    }
    let mut smallest = None;
    for _ in 0..records {
        let (fixed, tail) = rest.get(name(rest)?..)?.split_first_chunk::<10>()?;
        let ttl = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        smallest = Some(smallest.map_or(ttl, |smallest: u32| smallest.min(ttl)));
        rest = tail.get(usize::from(u16::from_be_bytes([fixed[8], fixed[9]]))..)?;
    }
    smallest
}

/// Octets of the name at the front, which may end in a pointer.
fn name(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *wire.get(at)? {
            0 => return Some(at + 1),
            0xc0.. => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A question, then records of these TTLs in the answer, authority and additional sections.
    fn message(sections: [&[u32]; 3]) -> Vec<u8> {
        let [an, ns, ar] = sections.map(|ttls| ttls.len() as u8);
        let mut message = vec![0, 0, 0x80, 0, 0, 1, 0, an, 0, ns, 0, ar];
        message.extend_from_slice(b"\x03www\x07example\0\0\x01\0\x01");
        for ttl in sections.concat() {
            let owner: &[u8] = if ttl % 2 == 0 { b"\xc0\x0c" } else { b"\x01a\xc0\x10" };
            message.extend_from_slice(owner);
            message.extend_from_slice(b"\0\x01\0\x01");
            message.extend_from_slice(&ttl.to_be_bytes());
            message.extend_from_slice(b"\0\x04\x01\x02\x03\x04");
        }
        message
    }

    #[test]
    fn the_smallest_ttl_counts() {
        let check = |rcode, sections, expected| {
            assert_eq!(freshness(rcode, &message(sections)), expected, "{rcode:?} {sections:?}");
        };
        check(Rcode::NoError, [&[300, 61, 60, 3601], &[], &[]], 60);
        check(Rcode::NoError, [&[0, 61], &[], &[]], 0);
        check(Rcode::NoError, [&[300], &[30], &[5]], 30);
        check(Rcode::NxDomain, [&[], &[15], &[]], 15);
        check(Rcode::NoError, [&[], &[], &[5]], 0);
        check(Rcode::Refused, [&[300], &[], &[]], 0);
        check(Rcode::YxDomain, [&[300], &[], &[]], 0);
        check(Rcode::NoError, [&[u32::MAX], &[], &[]], u32::MAX);
    }

    #[test]
    fn no_cut_is_a_panic() {
        let whole = message([&[300, 61], &[15], &[]]);
        for length in 0..whole.len() {
            assert_eq!(freshness(Rcode::NoError, &whole[..length]), 0, "{length}");
        }
    }
}
