//! Those who speak on the link: whether they are partners, and whether what they say will do.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Findings;
use super::facts::{Facts, Interface, Judged};
use crate::site::VirtualRouter;
use crate::vrrp::advert::Claim;
use crate::vrrp::packet::{Agreement, Heard, Refusal};
use crate::vrrp::sightings::told::SenderTold;

pub fn judge(
    router: &VirtualRouter,
    judged: &Judged,
    interface: &Interface,
    facts: &Facts,
    findings: &mut Findings<'_>,
) {
    if !interface.is_up {
        return;
    }
    let ours: Vec<IpAddr> = router.advertised().collect();
    let is_on_link = |sender: &&SenderTold| {
        sender.interface == interface.name && sender.family == router.family.number()
    };
    let on_link: Vec<&SenderTold> = facts.told.senders.iter().filter(is_on_link).collect();
    let (same, others): (Vec<&SenderTold>, Vec<&SenderTold>) =
        on_link.into_iter().partition(|sender| sender.vrid == router.vrid.get());
    let has_ours = |sender: &&&SenderTold| sender.vips.iter().any(|vip| ours.contains(vip));

    for sender in others.iter().filter(has_ours) {
        let (source, vrid) = (sender.source, sender.vrid);
        findings.problem(
            format!("{source} advertises some of these vips under VRID {vrid}"),
            format!("one address is one virtual router's: {} here, {vrid} there", router.vrid),
        );
    }
    for sender in same.iter().filter(|sender| !has_ours(sender)) {
        let source = sender.source;
        findings.problem(
            format!(
                "VRID {} is another's on this link: {source} has none of these vips, but {}",
                router.vrid,
                listed(&sender.vips)
            ),
            format!("choose another VRID{}", free(router, facts)),
        );
    }
    let partners: Vec<&&SenderTold> = same.iter().filter(has_ours).collect();
    for sender in &partners {
        match judged.get(&sender.source) {
            Some(Ok(heard)) => taken(router, heard, findings),
            Some(Err(refusal)) => refused(router, sender.source, refusal, findings),
            // Without an address of ours nothing is judged, and that has been said.
            None => {}
        }
    }
    if !partners.iter().any(|sender| sender.is_active) {
        findings.fine(format!(
            "nobody else is heard to be Active for VRID {} in {} ms",
            router.vrid, facts.told.listened_ms
        ));
    }
    let contested = partners.iter().filter(|sender| sender.is_contested);
    let contested: BTreeSet<IpAddr> = contested.map(|sender| sender.source).collect();
    if !contested.is_empty() {
        findings.problem(
            format!("{} are Active at the same time", listed(&contested)),
            "have them hear each other: compare their versions, intervals, passwords and keys",
        );
    }
    for refused in facts.told.refused.iter().filter(|of| of.interface == interface.name) {
        let from = refused.source.map_or("somebody".to_owned(), |from| from.to_string());
        let is_judged = refused.source.is_some_and(|from| judged.contains_key(&from));
        if !is_judged {
            findings.warning(
                format!("{} packets of {from} are no adverts: {}", refused.packets, refused.why),
                "find who that is, and what it means to say",
            );
        }
    }
}

/// What is odd about an advert that the service takes.
fn taken(router: &VirtualRouter, heard: &Heard, findings: &mut Findings<'_>) {
    let from = heard.from;
    match heard.claim {
        Claim::Leads(priority) if priority == router.priority => findings.warning(
            format!("{from} has our priority, {priority}: of equals the higher address is Active"),
            "give the boxes priorities at least 10 apart",
        ),
        Claim::Leads(priority) => {
            findings.fine(format!("{from} is Active with priority {priority}, and is heard"));
        }
        Claim::Resigns => findings.fine(format!("{from} has resigned, and is heard")),
    }
    if heard.vips == Agreement::Differs {
        findings.warning(
            format!("{from} has other vips than we have: after a take-over some of them are gone"),
            "give both boxes the same vips",
        );
    }
    if heard.timing == Agreement::Differs {
        let (theirs, ours) = (heard.interval.duration(), router.interval.duration());
        findings.warning(
            format!(
                "{from} has an interval of {} ms, and we have one of {} ms",
                theirs.as_millis(),
                ours.as_millis()
            ),
            "give both boxes the same interval",
        );
    }
}

fn refused(router: &VirtualRouter, from: IpAddr, why: &Refusal, findings: &mut Findings<'_>) {
    let remedy = match why.word() {
        "own" => {
            return findings.problem(
                format!("somebody else speaks from our own address, {from}"),
                "give one of the two boxes another address, or look for a loop in the network",
            );
        }
        "stranger" => {
            "if it is a box of this pair add it to peers; if not, have one of the two choose another VRID"
        }
        "destination" => "adverts go by multicast on both boxes, or to peers on both",
        "hop_limit" => {
            "keepalived: unicast_ttl 255; through a router: max_hops, and a signature that is enforced"
        }
        "other_version" => "give both boxes the same version",
        "interval" => "give both boxes the same interval: version 2 takes no other",
        "auth_type" | "password" => "give both boxes the same password, or none",
        "unsigned" | "signature_malformed" | "unknown_key" | "signature" => {
            "give both boxes the same keys; while they change, mode = \"permissive\""
        }
        "stale" | "early" => "set the clocks of both boxes right (NTP), or window = \"never\"",
        "replay" => {
            "look who sends recorded adverts; a box whose clock went back is heard again after the window"
        }
        _ => "compare the configs of both boxes",
    };
    findings.problem(
        format!(
            "what {from} says for VRID {} is refused: {why}. Both boxes would be Active",
            router.vrid
        ),
        remedy,
    );
}

fn free(router: &VirtualRouter, facts: &Facts) -> String {
    let mut of_link = facts.told.vrids.iter().filter(|vrids| {
        vrids.interface == *router.interface && vrids.family == router.family.number()
    });
    let free = of_link.next().map(|vrids| listed(&vrids.not_heard));
    free.map_or(String::new(), |free| format!(", such as one of {free}, which are not heard"))
}

fn listed<'e, T: ToString + 'e>(each: impl IntoIterator<Item = &'e T>) -> String {
    each.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
