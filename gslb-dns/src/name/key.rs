//! A name made ready for look-ups: lower case, and where each of its labels begins.

use super::{MAX_LABEL, MAX_NAME};

/// Labels a name can have: 127 of one octet each, and the root.
const MAX_LABELS: usize = 128;

#[derive(Clone)]
pub struct NameKey {
    octets: [u8; MAX_NAME],
    length: u8,
    starts: [u8; MAX_LABELS],
    /// Labels before the root's.
    labels: u8,
}

impl NameKey {
    /// The root; what a key is before a name is read into it.
    pub const ROOT: NameKey =
        NameKey { octets: [0; MAX_NAME], length: 1, starts: [0; MAX_LABELS], labels: 0 };

    /// A key of the uncompressed name at the front of `wire`; `None` as for `read`.
    pub fn of(wire: &[u8]) -> Option<NameKey> {
        let mut key = NameKey::ROOT;
        key.read(wire).then_some(key)
    }

    /// Takes the uncompressed name at the front of `wire`, in place: a key is too large to be moved
    /// about for every query. False, and a key of no use, if the name is cut short, too long or holds
    /// a pointer or an unknown kind of label.
    #[must_use]
    pub fn read(&mut self, wire: &[u8]) -> bool {
        let (mut at, mut labels) = (0, 0);
        loop {
            let Some(&length) = wire.get(at) else {
                return false;
            };
            let length = usize::from(length);
            if length == 0 {
                break;
            }
            // The label, and at least the root's octet after it.
            if length > MAX_LABEL || at + length + 2 > MAX_NAME {
                return false;
            }
            self.starts[labels] = at as u8;
            labels += 1;
            at += 1 + length;
        }
        let Some(name) = wire.get(..=at) else {
            return false;
        };
        // Length octets are below `A`, so lower-casing the whole leaves them alone.
        for (lower, octet) in self.octets[..=at].iter_mut().zip(name) {
            *lower = octet.to_ascii_lowercase();
        }
        self.length = (at + 1) as u8;
        self.labels = labels as u8;
        true
    }

    /// The whole name on the wire, in lower case.
    pub fn wire(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }

    /// Labels before the root's.
    pub fn labels(&self) -> usize {
        usize::from(self.labels)
    }

    /// The name made of the last `labels` labels.
    pub fn suffix(&self, labels: usize) -> &[u8] {
        let skipped = self.labels() - labels;
        let start = if labels == 0 { self.wire().len() - 1 } else { self.starts[skipped].into() };
        &self.wire()[start..]
    }
}

impl Default for NameKey {
    fn default() -> NameKey {
        NameKey::ROOT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    #[test]
    fn a_key_knows_its_suffixes_in_lower_case() {
        let name: Name = "WWW.Example.com".parse().unwrap();
        let key = NameKey::of(name.wire()).unwrap();
        assert_eq!(key.labels(), 3);
        assert_eq!(key.wire(), b"\x03www\x07example\x03com\0");
        assert_eq!(key.suffix(2), b"\x07example\x03com\0");
        assert_eq!(key.suffix(0), b"\0");
    }

    #[test]
    fn a_key_is_read_only_from_a_whole_uncompressed_name() {
        let longest =
            [[&[63][..], &[b'x'; 63]].concat().repeat(3), [&[61][..], &[b'y'; 61], &[0]].concat()]
                .concat();
        assert_eq!(NameKey::of(&longest).unwrap().wire().len(), MAX_NAME);
        let too_long =
            [[&[63][..], &[b'x'; 63]].concat().repeat(3), [&[62][..], &[b'y'; 62], &[0]].concat()]
                .concat();
        for wire in [&b""[..], b"\x03www", b"\xc0\x0c", b"\x40aa\0", &too_long] {
            assert!(NameKey::of(wire).is_none(), "{wire:?}");
        }
        let most_labels = [&b"\x01a".repeat(127)[..], b"\0"].concat();
        assert_eq!(NameKey::of(&most_labels).unwrap().labels(), 127);
    }
}
