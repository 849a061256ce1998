//! What was configured of one virtual router, as its machine needs it.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use super::super::advert::{Interval, Priority, Version};

/// How long after a loss of its addresses a router that loses them again gives up, and how long it stays away then.
pub const FOUGHT: Duration = Duration::from_secs(10);
/// For how long a router stays away that could not send adverts while another one led: each try is two who lead.
pub const MUTE: Duration = Duration::from_secs(60);

/// One virtual router on this box.
#[derive(Clone, Debug)]
pub struct Settings {
    pub version: Version,
    /// What our adverts are sent from: of two equals the higher address is Active. On a second path other addresses are
    /// compared, so routers with one have priorities of their own, which config sees to.
    pub address: IpAddr,
    pub priority: Priority,
    pub interval: Interval,
    /// Adverts that are missed before the Active router is thought dead: 3 by RFC 9568 §6.1. All routers of a virtual
    /// router have the same.
    pub down_adverts: NonZeroU8,
    pub preempt: Preempt,
    /// What each track does to the priority. Their places are their ids.
    pub tracks: Box<[Weight]>,
    pub balancer: Balancer,
    pub witness: Witness,
    /// For how long the kernel keeps our addresses after we last asked for them.
    pub lifetime: Duration,
    pub refresh: Refresh,
}

/// Whether a Backup takes over from an Active router of lower priority (RFC 9568 §6.1). An owner always does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Preempt {
    Never,
    /// So long after it has first heard one.
    After(Duration),
}

/// Which of a router's tracks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TrackId(pub usize);

/// What a track does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Weight {
    /// While it does not pass, this router is in fault.
    Fault,
    /// Adds this while it passes.
    Adds(u8),
    /// Takes this while it fails.
    Takes(u8),
}

/// Whether the VIPs are nothing without the balancer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Balancer {
    /// It says again and again that it serves.
    Leased,
    NotAsked,
}

/// Whether somebody else on the link (a gateway, say) has to be seen before this router becomes Active.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Witness {
    /// No longer ago than this.
    Seen(Duration),
    NotAsked,
}

/// How often an Active router says where its addresses are, unasked and without a reason.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refresh {
    Every(Duration),
    Never,
}
