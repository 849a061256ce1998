//! Skew_Time and Active_Down_Interval (RFC 9568 §6.1, RFC 3768 §6.1).

use std::num::NonZeroU8;
use std::time::Duration;

use super::super::advert::{Interval, Priority, Version};

/// By which adverts a Backup waits: the Active router's interval, once it has been heard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timing {
    pub version: Version,
    pub interval: Interval,
    pub down_adverts: NonZeroU8,
}

impl Timing {
    /// What makes the best of several Backups speak first: up to one interval, in version 2 up to one second.
    pub fn skew(&self, priority: Priority) -> Duration {
        let of = match self.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => self.interval.duration(),
        };
        of * (256 - u32::from(priority.get())) / 256
    }

    /// After how long without an advert a router of this priority takes over.
    pub fn down(&self, priority: Priority) -> Duration {
        self.interval.duration() * u32::from(self.down_adverts.get()) + self.skew(priority)
    }

    /// After how long without an advert of ours another router may be Active.
    pub fn rival(&self) -> Duration {
        self.down(Priority::OWNER)
    }
}
