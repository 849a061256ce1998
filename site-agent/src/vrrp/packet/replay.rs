//! When a signed advert is news: its stamp is near our clock, and later than its sender's last.
//!
//! Stamps are compared as serial numbers (RFC 1982), so they outlive the year 2106. A mark that is itself out of the
//! window holds nobody off: after a clock was set, two routers would otherwise refuse each other until it was that
//! late again, and both be Active.

use std::net::IpAddr;
use std::time::Duration;

use super::Refusal;

/// Routers of which the last stamp is kept. More than two or three speak only while it is decided who is Active.
const SENDERS: usize = 8;

/// When an advert was signed: seconds since 1970 in UTC, 1/65536 s, and a counter, as one number of 64 bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp(u64);

impl Stamp {
    /// What a clock says, with the counter at 0.
    pub fn of_utc(utc: Duration) -> Stamp {
        let parts = (u64::from(utc.subsec_nanos()) << 16) / 1_000_000_000;
        // Of the seconds, the lower 32 bits.
        Stamp(utc.as_secs() << 32 | parts << 16)
    }

    /// For the next advert: the clock's, or one more than the last if the clock has not gone on since.
    ///
    /// A clock that was set back by more than the window is followed, as nobody takes stamps of the old time any more.
    pub fn next(last: Stamp, utc: Duration, freshness: Freshness) -> Stamp {
        let clock = Stamp::of_utc(utc);
        if clock.is_after(last) || freshness.judge(last, utc).is_err() {
            return clock;
        }
        Stamp(last.0.wrapping_add(1))
    }

    pub fn octets(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    pub fn of_octets(octets: [u8; 8]) -> Stamp {
        Stamp(u64::from_be_bytes(octets))
    }

    /// RFC 1982 §3.2.
    fn is_after(self, other: Stamp) -> bool {
        (self.0.wrapping_sub(other.0) as i64) > 0
    }

    fn seconds(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// What makes a stamp fresh.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Freshness {
    /// It is so many seconds from our clock at most, and later than the last. Clocks have to agree that well.
    Within { seconds: u16 },
    /// It is later than the last: for routers whose clocks nobody sets. A packet that was held back is news as well.
    Growing,
}

impl Freshness {
    /// By how many seconds our clock is ahead.
    pub(super) fn judge(self, stamp: Stamp, utc: Duration) -> Result<i32, Refusal> {
        let behind = (utc.as_secs() as u32).wrapping_sub(stamp.seconds()) as i32;
        match self {
            Freshness::Growing => Ok(behind),
            Freshness::Within { seconds: window } => {
                let (seconds, window) = (behind.unsigned_abs(), u32::from(window));
                match behind {
                    _ if seconds <= window => Ok(behind),
                    1.. => Err(Refusal::Stale { seconds, window }),
                    _ => Err(Refusal::Early { seconds, window }),
                }
            }
        }
    }
}

/// The last stamp of each sender. A value of whoever owns the virtual router; it starts empty.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Marks {
    /// The one heard last in front.
    of: [Option<(IpAddr, Stamp)>; SENDERS],
}

impl Marks {
    /// Takes a stamp that was proven to be the sender's, or refuses it, and then nothing has changed.
    pub(super) fn take(
        &mut self,
        from: IpAddr,
        stamp: Stamp,
        utc: Duration,
        freshness: Freshness,
    ) -> Result<(), Refusal> {
        let place = self.of.iter().position(|mark| mark.is_some_and(|(of, _)| of == from));
        let last = place.and_then(|place| self.of[place]).map(|(_, last)| last);
        let holds = |last: &Stamp| freshness.judge(*last, utc).is_ok();
        if last.filter(holds).is_some_and(|last| !stamp.is_after(last)) {
            return Err(Refusal::Replay);
        }
        // Who was silent longest makes room.
        let place = place.unwrap_or(SENDERS - 1);
        self.of[..=place].rotate_right(1);
        self.of[0] = Some((from, stamp));
        Ok(())
    }
}

impl Freshness {
    /// As keepalived has it where nothing is configured: three adverts, five seconds at least.
    pub fn usual(interval: Duration) -> Freshness {
        let seconds = (interval * 3).as_secs().max(5);
        Freshness::Within { seconds: u16::try_from(seconds).unwrap_or(u16::MAX) }
    }
}

impl Default for Stamp {
    /// Before all others, for a router that has sent nothing yet.
    fn default() -> Stamp {
        Stamp(0)
    }
}
