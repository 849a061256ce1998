//! A server's status in the words of HAProxy's statistics (`srv_hlt_st` in its `src/stats-proxy.c`), which operators
//! and their tools read.

use std::fmt;

/// What `show stat` has in its column `status`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    Maint,
    DownByAgent,
    Down,
    /// Down, with so many of the passes in a row that bring it up.
    Rising {
        streak: u16,
        rise: u16,
    },
    /// Taken out for its answers. HAProxy has no such word: what `observe` takes out is `DOWN` there.
    Ejected,
    NoLb,
    /// What is left of `fall` failures; so with the others that fall.
    NoLbFalling {
        left: u16,
        fall: u16,
    },
    DrainByAgent,
    Drain,
    DrainFalling {
        left: u16,
        fall: u16,
    },
    Up,
    Falling {
        left: u16,
        fall: u16,
    },
    NoCheck,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Maint => f.write_str("MAINT"),
            Status::DownByAgent => f.write_str("DOWN (agent)"),
            Status::Down => f.write_str("DOWN"),
            Status::Rising { streak, rise } => write!(f, "DOWN {streak}/{rise}"),
            Status::Ejected => f.write_str("DOWN (ejected)"),
            Status::NoLb => f.write_str("NOLB"),
            Status::NoLbFalling { left, fall } => write!(f, "NOLB {left}/{fall}"),
            Status::DrainByAgent => f.write_str("DRAIN (agent)"),
            Status::Drain => f.write_str("DRAIN"),
            Status::DrainFalling { left, fall } => write!(f, "DRAIN {left}/{fall}"),
            Status::Up => f.write_str("UP"),
            Status::Falling { left, fall } => write!(f, "UP {left}/{fall}"),
            Status::NoCheck => f.write_str("no check"),
        }
    }
}
