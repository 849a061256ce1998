//! Which name a query counts for: always one that stands in our zones, so that a flood of invented names is one name.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::name::{MAX_NAME, Name, NameKey};
use crate::zone::{Match, Zones};

/// A name of our zones, and what of it was asked.
#[derive(Clone, Copy)]
pub struct Asked {
    part: Part,
    length: u8,
    octets: [u8; MAX_NAME],
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Part {
    /// The name itself; of a wildcard, what it covers.
    Itself,
    /// Names right below it or deeper that do not exist: it is their closest encloser.
    Invented,
    /// A delegation, with what is below it.
    Delegated,
    /// What is below a DNAME.
    Renamed,
    /// Nothing of ours.
    Elsewhere,
}

impl Asked {
    pub const ELSEWHERE: Asked = Asked { part: Part::Elsewhere, length: 1, octets: [0; MAX_NAME] };

    pub fn of(zones: &Zones, key: &NameKey) -> Asked {
        let Some(zone) = zones.find(key) else { return Asked::ELSEWHERE };
        let (part, node) = match zone.search(key) {
            Match::Node(node) | Match::Wildcard(node) => (Part::Itself, node),
            Match::Delegation(node) | Match::DelegationExactly(node) => (Part::Delegated, node),
            Match::Rename(node) => (Part::Renamed, node),
            Match::Nothing => (Part::Invented, zone.closest_encloser(key)),
        };
        Asked::new(part, zone.owner(node))
    }

    fn new(part: Part, name: &[u8]) -> Asked {
        let mut octets = [0; MAX_NAME];
        octets[..name.len()].copy_from_slice(name);
        Asked { part, length: name.len() as u8, octets }
    }

    fn wire(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }
}

impl PartialEq for Asked {
    fn eq(&self, other: &Asked) -> bool {
        self.part == other.part && self.wire() == other.wire()
    }
}

impl Eq for Asked {}

impl Hash for Asked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(self.part as u8);
        state.write(self.wire());
    }
}

/// As people read it.
impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Name::from_wire(self.wire()).unwrap_or_else(Name::root);
        match self.part {
            Part::Itself => write!(f, "{name}"),
            Part::Invented => write!(f, "(no such name) below {name}"),
            Part::Delegated => write!(f, "(delegated) {name}"),
            Part::Renamed => write!(f, "(by DNAME) below {name}"),
            Part::Elsewhere => write!(f, "(outside of our zones)"),
        }
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
