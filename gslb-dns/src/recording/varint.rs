//! Numbers in as many octets as they need: seven bits in each, the lowest first, the top bit set in all but the last.

pub fn put(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes one from the front; `None` if it is cut or has more than 64 bits.
pub fn take(octets: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&octet, rest) = octets.split_first()?;
        *octets = rest;
        let bits = u64::from(octet & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if octet & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Differences of either sign: 0, -1, 1, -2 become 0, 1, 2, 3.
pub fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

pub fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_taken() {
        for number in (0..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit]).chain([u64::MAX]) {
            let mut out = vec![];
            put(&mut out, number);
            let mut rest = &out[..];
            assert_eq!((take(&mut rest), rest), (Some(number), &[][..]));
            assert_eq!(take(&mut &out[..out.len() - 1]), None);
            assert_eq!(zigzag(unzigzag(number)), number);
        }
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
        let most = [&[0xff; 9][..], &[1]].concat();
        assert_eq!(take(&mut &most[..]), Some(u64::MAX));
        let too_large = [&[0xff; 9][..], &[2]].concat();
        assert_eq!(take(&mut &too_large[..]), None);
        assert_eq!(take(&mut &[0x80; 11][..]), None);
    }
}
