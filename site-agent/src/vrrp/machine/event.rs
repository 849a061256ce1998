//! What happens to a virtual router.

use std::net::IpAddr;
use std::time::Duration;

use super::super::advert::{Claim, Interval};
use super::settings::TrackId;

/// Something that happened. Whoever brings events brings those of sockets before a [`Event::Tick`], so that no router
/// is thought dead whose adverts lie unread.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// Begin, and listen for an Active_Down_Interval that begins when the link has settled: a bond or a switch port may
    /// drop everything for some seconds after boot.
    Startup {
        settle: Duration,
    },
    Shutdown,
    /// An advert for this virtual router that nothing speaks against, over any path.
    Heard {
        from: IpAddr,
        claim: Claim,
        interval: Interval,
    },
    /// It is [`Machine::next_wakeup`](super::Machine::next_wakeup), or later.
    Tick,
    /// A track was looked at.
    Tracked {
        track: TrackId,
        result: TrackResult,
    },
    /// The balancer's lease was renewed, or has run out.
    Lease(Lease),
    /// The interface is there and can be led on, or why not.
    Link(Link),
    /// An advert was sent, after some that could not be.
    Sent,
    /// An advert could be sent to nobody.
    Unsent,
    /// One of our addresses is gone from the interface, or could not be put there, and it was not us.
    AddressLost,
    /// One of our addresses is on the interface.
    AddressFound,
    /// A witness answered.
    Witnessed,
    /// An operator wants another router to be Active, and it to stay so.
    HandOver,
    /// An operator takes that back: configured rules hold again.
    TakeBack,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TrackResult {
    Passes,
    Fails,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lease {
    Held,
    Lost,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Link {
    Up,
    Down(Cause),
}

/// Why nobody can lead there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    NoInterface,
    NoCarrier,
    /// To send adverts from.
    NoAddress,
    NoSockets,
}
