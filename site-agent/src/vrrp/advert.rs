//! What an advert says, in the words of RFC 9568 §5.2, apart from its octets.

use std::fmt;
use std::num::{NonZeroU8, NonZeroU16};
use std::time::Duration;

/// Of the protocol: 2 is RFC 3768, 3 is RFC 9568 and RFC 5798 before it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Version {
    V2,
    V3,
}

impl Version {
    /// As it stands in a packet.
    pub fn number(self) -> u8 {
        match self {
            Version::V2 => 2,
            Version::V3 => 3,
        }
    }
}

/// Which virtual router of a link and address family (RFC 9568 §5.2.3): 1 to 255.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Vrid(NonZeroU8);

impl Vrid {
    pub fn new(vrid: u8) -> Option<Vrid> {
        NonZeroU8::new(vrid).map(Vrid)
    }

    pub fn get(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// How much a router wants to be Active (RFC 9568 §5.2.4): 1 to 254, and 255 for the owner of the addresses.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Priority(NonZeroU8);

impl Priority {
    pub const LOWEST: Priority = Priority(NonZeroU8::MIN);
    /// Of a router that does not own the addresses.
    pub const HIGHEST: Priority = Priority(NonZeroU8::new(254).expect("it is not 0"));
    pub const OWNER: Priority = Priority(NonZeroU8::MAX);

    pub fn new(priority: u8) -> Option<Priority> {
        NonZeroU8::new(priority).map(Priority)
    }

    pub fn get(self) -> u8 {
        self.0.get()
    }

    /// This and what tracks add or take. An owner's stays; nobody becomes one, or resigns, by tracks.
    pub fn tracked(self, change: i32) -> Priority {
        if self == Priority::OWNER {
            return self;
        }
        let range = i32::from(Priority::LOWEST.get())..=i32::from(Priority::HIGHEST.get());
        let sum = i32::from(self.get()).saturating_add(change).clamp(*range.start(), *range.end());
        u8::try_from(sum).ok().and_then(Priority::new).expect("it is from 1 to 254")
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// What an advert says of its sender.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Claim {
    /// It was Active and is no more: priority 0.
    Resigns,
    /// It is Active.
    Leads(Priority),
}

impl Claim {
    pub fn of_octet(octet: u8) -> Claim {
        Priority::new(octet).map_or(Claim::Resigns, Claim::Leads)
    }

    pub fn octet(self) -> u8 {
        match self {
            Claim::Resigns => 0,
            Claim::Leads(priority) => priority.get(),
        }
    }
}

/// Time between adverts, in whole centiseconds: 10 ms to 255 s, of which each version can say a part.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Interval(NonZeroU16);

impl Interval {
    /// The most that version 3 has bits for.
    pub const LONGEST_OF_V3: Interval = Interval(NonZeroU16::new(4095).expect("it is not 0"));
    /// The most that version 2 has: 255 s.
    pub const LONGEST: Interval = Interval(NonZeroU16::new(25_500).expect("it is not 0"));

    /// `None` for 0, which would have every Backup take over at once, and for more than [`Interval::LONGEST`].
    pub fn of_centiseconds(centiseconds: u16) -> Option<Interval> {
        NonZeroU16::new(centiseconds).map(Interval).filter(|interval| *interval <= Self::LONGEST)
    }

    pub fn of_seconds(seconds: u8) -> Option<Interval> {
        Interval::of_centiseconds(u16::from(seconds) * 100)
    }

    pub fn centiseconds(self) -> u16 {
        self.0.get()
    }

    /// `None` where it is not whole: a part of a second would become another interval, or 0.
    pub fn whole_seconds(self) -> Option<u8> {
        let is_whole = self.centiseconds().is_multiple_of(100);
        is_whole.then(|| u8::try_from(self.centiseconds() / 100).ok()).flatten()
    }

    pub fn duration(self) -> Duration {
        Duration::from_millis(u64::from(self.centiseconds()) * 10)
    }
}
