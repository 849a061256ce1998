//! What one virtual router makes of an advert: taken, with what is odd about it, or refused.

use std::net::IpAddr;
use std::time::Duration;

use super::auth::{Asked, Proof, prove};
use super::checksum::Form;
use super::replay::Marks;
use super::{Advert, Envelope, Family, Refusal};
use crate::vrrp::advert::{Claim, Interval, Version, Vrid};

/// What a virtual router expects of adverts, from its configuration.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'c> {
    pub vrid: Vrid,
    /// What our own adverts are sent from. Its family is the virtual router's.
    pub address: IpAddr,
    pub accepted: Accepted,
    pub interval: Interval,
    /// Those that are advertised, in any order.
    pub vips: &'c [IpAddr],
    pub reach: Reach<'c>,
    pub asked: Asked<'c>,
}

/// Which versions are listened to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Accepted {
    Only(Version),
    /// For the time in which routers change from one to the other (RFC 9568 §8.4).
    Either,
}

/// How adverts come.
#[derive(Clone, Copy, Debug)]
pub enum Reach<'c> {
    /// To the group of the family, from whoever is on the link.
    Multicast,
    /// To us, from these, through routers or not. Beyond a link anybody can send anything, so `lowest_hop_limit` under
    /// 255 is for adverts that have to be signed.
    Unicast { peers: &'c [IpAddr], lowest_hop_limit: u8 },
}

/// An advert that is taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Heard {
    pub from: IpAddr,
    pub version: Version,
    pub claim: Claim,
    pub interval: Interval,
    pub form: Form,
    pub proof: Proof,
    /// Whether its addresses are ours. Nobody is refused for that: a VIP is added on one router first.
    pub vips: Agreement,
    /// Whether its interval is ours: that of an Active router is adopted (RFC 9568 §6.4.2).
    pub timing: Agreement,
}

/// Whether two routers were told the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Agreement {
    Same,
    Differs,
}

impl Agreement {
    fn of(is_same: bool) -> Agreement {
        if is_same { Agreement::Same } else { Agreement::Differs }
    }
}

/// Judges an advert for a virtual router. `utc` is the time since 1970, by which signatures are fresh; `marks` are the
/// virtual router's own, and change only if the advert was signed.
pub fn judge(
    expected: &Expected<'_>,
    envelope: &Envelope,
    advert: &Advert<'_>,
    utc: Duration,
    marks: &mut Marks,
) -> Result<Heard, Refusal> {
    let from = envelope.ends.from();
    if from == expected.address {
        return Err(Refusal::Own);
    }
    let (got, family) = (envelope.ends.family(), Family::of(expected.address));
    if got != family {
        return Err(Refusal::Family { got: got.number(), expected: family.number() });
    }
    came_by(expected, envelope)?;
    if advert.vrid != expected.vrid {
        return Err(Refusal::Vrid { got: advert.vrid.get() });
    }
    let is_spoken = match expected.accepted {
        Accepted::Only(version) => advert.version == version,
        Accepted::Either => true,
    };
    if !is_spoken {
        return Err(Refusal::OtherVersion { got: advert.version.number() });
    }
    let timing = Agreement::of(advert.interval == expected.interval);
    if advert.version == Version::V2 && timing == Agreement::Differs {
        let (got, expected) = (advert.interval.centiseconds(), expected.interval.centiseconds());
        return Err(Refusal::Interval { got: got / 100, expected });
    }
    // Last, as who is refused leaves no mark.
    let proof = prove(&expected.asked, envelope, advert, utc, marks)?;
    Ok(Heard {
        from,
        version: advert.version,
        claim: advert.claim,
        interval: advert.interval,
        form: advert.form,
        proof,
        vips: vips(expected, advert),
        timing,
    })
}

fn came_by(expected: &Expected<'_>, envelope: &Envelope) -> Result<(), Refusal> {
    let (from, to) = (envelope.ends.from(), envelope.ends.to());
    let (expected_to, lowest) = match expected.reach {
        Reach::Multicast => (envelope.ends.family().group(), super::HOP_LIMIT),
        Reach::Unicast { lowest_hop_limit, .. } => (expected.address, lowest_hop_limit),
    };
    if envelope.hop_limit < lowest {
        return Err(Refusal::HopLimit { got: envelope.hop_limit, expected: lowest });
    }
    if to != expected_to {
        return Err(Refusal::Destination { got: to, expected: expected_to });
    }
    match expected.reach {
        Reach::Unicast { peers, .. } if !peers.contains(&from) => {
            Err(Refusal::Stranger { got: from })
        }
        Reach::Unicast { .. } | Reach::Multicast => Ok(()),
    }
}

/// Order says nothing (RFC 9568 §7.1). Neither list names an address twice: ours by its check, theirs or it differs.
fn vips(expected: &Expected<'_>, advert: &Advert<'_>) -> Agreement {
    let is_as_long = advert.addresses().count() == expected.vips.len();
    let has = |vip: &IpAddr| advert.addresses().any(|address| address == *vip);
    Agreement::of(is_as_long && expected.vips.iter().all(has))
}
