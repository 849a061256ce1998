//! Whether this box is fit to be Active, and how much: what was last heard of its link, its balancer and its tracks.

use std::fmt;
use std::time::Duration;

use super::event::{Cause, Lease, Link, TrackResult};
use super::settings::{Balancer, FOUGHT, MUTE, Settings, TrackId, Weight};

/// Why a router is unfit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    Link(Cause),
    LeaseLost,
    Track(TrackId),
    /// Somebody took our addresses from the interface twice within [`FOUGHT`].
    AddressesFought,
    /// No advert of ours could be sent, and another router leads.
    Mute,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Link(Cause::NoInterface) => out.write_str("there is no such interface"),
            Fault::Link(Cause::NoCarrier) => out.write_str("link down"),
            Fault::Link(Cause::NoAddress) => {
                out.write_str("the interface has no address to send adverts from")
            }
            Fault::Link(Cause::NoSockets) => {
                out.write_str("the interface cannot be used for adverts")
            }
            Fault::LeaseLost => out.write_str("no balancer of this box serves"),
            Fault::Track(TrackId(track)) => write!(out, "tracks[{track}] does not pass"),
            Fault::AddressesFought => out.write_str("somebody takes our addresses away"),
            Fault::Mute => out.write_str("adverts cannot be sent, and another box leads"),
        }
    }
}

/// What was last heard. Nothing is taken for granted: a link that nobody spoke of is down.
#[derive(Clone, Debug)]
pub(super) struct Conditions {
    link: Link,
    lease: Lease,
    tracks: Box<[Option<TrackResult>]>,
    fought_until: Option<Duration>,
    muted_until: Option<Duration>,
}

impl Conditions {
    pub(super) fn new(settings: &Settings) -> Conditions {
        let tracks = vec![None; settings.tracks.len()].into();
        let link = Link::Down(Cause::NoInterface);
        Conditions { link, lease: Lease::Lost, tracks, fought_until: None, muted_until: None }
    }

    /// Other tracks: of each its place before, if it had one. Who is fit is so until a new one was looked at.
    pub(super) fn adopt(
        &mut self,
        settings: &Settings,
        kept: &[Option<TrackId>],
        is_fit: bool,
        now: Duration,
    ) {
        // It may be what keeps adverts from being sent that is another: that is tried at once.
        self.muted_until = self.muted_until.map(|until| until.min(now));
        let result = |(place, weight): (usize, &Weight)| match kept.get(place).copied().flatten() {
            Some(TrackId(before)) => self.tracks.get(before).copied().flatten(),
            None if is_fit && *weight == Weight::Fault => Some(TrackResult::Passes),
            None => None,
        };
        self.tracks = settings.tracks.iter().enumerate().map(result).collect();
    }

    pub(super) fn link(&mut self, link: Link) {
        self.link = link;
    }

    pub(super) fn lease(&mut self, lease: Lease) {
        self.lease = lease;
    }

    /// Of a track that was configured; of others nothing is kept.
    pub(super) fn track(&mut self, TrackId(track): TrackId, result: TrackResult) {
        if let Some(known) = self.tracks.get_mut(track) {
            *known = Some(result);
        }
    }

    pub(super) fn fought(&mut self, now: Duration) {
        self.fought_until = Some(now + FOUGHT);
    }

    pub(super) fn mute(&mut self, now: Duration) {
        self.muted_until = Some(now + MUTE);
    }

    /// When a fault ends by itself.
    pub(super) fn ends_at(&self) -> Option<Duration> {
        self.fought_until.into_iter().chain(self.muted_until).min()
    }

    /// The first of them.
    pub(super) fn fault(&mut self, settings: &Settings, now: Duration) -> Option<Fault> {
        self.fought_until = self.fought_until.filter(|until| now < *until);
        self.muted_until = self.muted_until.filter(|until| now < *until);
        if let Link::Down(cause) = self.link {
            return Some(Fault::Link(cause));
        }
        if settings.balancer == Balancer::Leased && self.lease == Lease::Lost {
            return Some(Fault::LeaseLost);
        }
        let passes = |result: &Option<TrackResult>| *result == Some(TrackResult::Passes);
        let mut tracks = settings.tracks.iter().zip(&self.tracks);
        let failing =
            tracks.position(|(weight, result)| *weight == Weight::Fault && !passes(result));
        if let Some(track) = failing {
            return Some(Fault::Track(TrackId(track)));
        }
        let fought = self.fought_until.map(|_| Fault::AddressesFought);
        fought.or(self.muted_until.map(|_| Fault::Mute))
    }

    /// What tracks add to the priority, or take from it.
    pub(super) fn change(&self, settings: &Settings) -> i32 {
        let of = |(weight, result): (&Weight, &Option<TrackResult>)| match (weight, result) {
            (Weight::Adds(weight), Some(TrackResult::Passes)) => i32::from(*weight),
            (Weight::Takes(weight), Some(TrackResult::Fails)) => -i32::from(*weight),
            (Weight::Adds(_), None | Some(TrackResult::Fails))
            | (Weight::Takes(_), None | Some(TrackResult::Passes))
            | (Weight::Fault, _) => 0,
        };
        settings.tracks.iter().zip(&self.tracks).map(of).sum()
    }
}
