//! What a virtual router expects of adverts, made of its config: for whoever judges them.

use std::net::IpAddr;

use crate::site::{Authentication, Reach, VirtualRouter};
use crate::vrrp::packet::auth::{Asked, Keys};
use crate::vrrp::packet::{self, Expected};

/// `advertised` are those of its VIPs that stand in adverts, `address` is what its own adverts are sent from.
pub fn of<'c>(
    config: &'c VirtualRouter,
    advertised: &'c [IpAddr],
    keys: Option<&'c Keys>,
    address: IpAddr,
) -> Expected<'c> {
    Expected {
        vrid: config.vrid,
        address,
        accepted: config.accepted,
        interval: config.interval,
        vips: advertised,
        reach: match &config.reach {
            Reach::Multicast => packet::Reach::Multicast,
            Reach::Unicast { peers, lowest_hop_limit } => {
                packet::Reach::Unicast { peers, lowest_hop_limit: *lowest_hop_limit }
            }
        },
        asked: match (&config.authentication, keys) {
            (Authentication::Password(password), _) => Asked::Password(*password),
            (Authentication::Signature(signature), Some(keys)) => {
                Asked::Signature { keys, mode: signature.mode, freshness: signature.freshness }
            }
            (Authentication::None | Authentication::Signature(_), _) => Asked::Nothing,
        },
    }
}

/// Those that it signs with, and believes.
pub fn keys(config: &VirtualRouter) -> Option<Keys> {
    let Authentication::Signature(signature) = &config.authentication else { return None };
    let (id, secret) = &signature.signing;
    let others: Vec<_> = signature.others.iter().map(|(id, secret)| (*id, &*secret.0)).collect();
    Some(Keys::new((*id, &secret.0), &others).expect("config has seen to their lengths and ids"))
}
