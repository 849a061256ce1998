//! This box: whether its interface, its kernel and its addresses are fit for a virtual router.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Findings;
use super::facts::{Facts, Interface, Manager};
use crate::netlink::{ADDRESS_PROTOCOL, Address, Use, can_speak};
use crate::site::{Authentication, Vip, VirtualRouter};
use crate::vrrp::advert::Version;
use crate::vrrp::packet::Family;

/// The virtual router's interface, if there is one.
pub fn judge<'f>(
    router: &VirtualRouter,
    all: &[VirtualRouter],
    facts: &'f Facts,
    findings: &mut Findings<'_>,
) -> Option<&'f Interface> {
    let name = &*router.interface;
    let Some(interface) = facts.interfaces.iter().find(|known| known.name == name) else {
        let known: Vec<&str> = facts.interfaces.iter().map(|known| &*known.name).collect();
        findings.problem(
            format!("there is no interface {name} (interfaces: {})", known.join(", ")),
            "name one that is there; if it comes later, ask again then",
        );
        return None;
    };
    if interface.is_up {
        findings.fine(format!("{name} is up"));
    } else {
        findings.problem(
            format!("{name} is down, or has no carrier: this router is in fault"),
            format!("ip link set {name} up; look at its cable"),
        );
    }
    if interface.mac.is_none() {
        findings.warning(
            format!("{name} is no Ethernet: after a take-over nobody is told where addresses are"),
            "use an interface of Ethernet",
        );
    }
    let (longest, mtu) = (longest(router), interface.mtu);
    if longest > mtu {
        findings.problem(
            format!("an advert of {longest} octets does not fit {name}, which takes {mtu}"),
            "name fewer vips, in two virtual routers, or raise the MTU of the link",
        );
    }
    source(router, all, interface, findings);
    families(router, interface, findings);
    answering(router, interface, findings);
    secondaries(router, all, interface, findings);
    manager(interface, findings);
    addresses(router, interface, facts, findings);
    Some(interface)
}

/// Octets of an advert with its IP header.
fn longest(router: &VirtualRouter) -> u32 {
    let (header, size) = match router.family {
        Family::V4 => (20, 4),
        Family::V6 => (40, 16),
    };
    let count = u32::try_from(router.advertised().count()).expect("config has a bound");
    let password = if router.version == Version::V2 { 8 } else { 0 };
    let signature =
        if matches!(router.authentication, Authentication::Signature(_)) { 28 } else { 0 };
    header + 8 + count * size + password + signature
}

/// What adverts of a virtual router go out from: as the service chooses when it starts. `all` are those of the config.
pub fn speaks_from<'i>(
    router: &VirtualRouter,
    all: &[VirtualRouter],
    interface: &'i Interface,
) -> Option<&'i Address> {
    let is_vip =
        |address| all.iter().flat_map(|router| &router.vips).any(|vip| vip.address == address);
    interface.addresses.iter().find(|there| match router.source {
        Some(configured) => there.address == configured,
        None => {
            let is_of_family = Family::of(there.address) == router.family;
            is_of_family && can_speak(there.address) && !is_vip(there.address)
        }
    })
}

fn source(
    router: &VirtualRouter,
    all: &[VirtualRouter],
    interface: &Interface,
    findings: &mut Findings<'_>,
) {
    let name = &interface.name;
    let Some(there) = speaks_from(router, all, interface) else {
        return match (router.source, router.family) {
            (Some(source), _) => findings.problem(
                format!("source {source} is not on {name}: this router is in fault"),
                "put it there, or take source out of the config",
            ),
            (None, Family::V4) => findings.problem(
                format!("{name} has no IPv4 address that adverts could come from: this router is in fault"),
                "give it an address of its own, beside the vips",
            ),
            (None, Family::V6) => findings.problem(
                format!("{name} has no link-local address that adverts could come from: this router is in fault"),
                format!("have one made: ip link set {name} addrgenmode eui64"),
            ),
        };
    };
    let from = there.address;
    match there.use_of {
        Use::Now => findings.fine(format!("adverts go out from {from}")),
        Use::Later => findings.warning(
            format!("{from}, from which adverts go out, is yet to be found to be nobody else's"),
            "ask again in some seconds",
        ),
        Use::Never => findings.problem(
            format!("{from}, from which adverts go out, is somebody else's too (dadfailed)"),
            "find who else has it, or give this box another",
        ),
    }
}

fn families(router: &VirtualRouter, interface: &Interface, findings: &mut Findings<'_>) {
    let needs_ipv6 = router.vips.iter().any(|vip| vip.address.is_ipv6());
    let name = &interface.name;
    if needs_ipv6 && !interface.kernel.has_ipv6 {
        findings.problem(
            format!("IPv6 is switched off at {name}, and some of vips are IPv6"),
            format!("sysctl net.ipv6.conf.{name}.disable_ipv6=0"),
        );
    }
}

/// Whether this box would answer ARP for its VIPs.
fn answering(router: &VirtualRouter, interface: &Interface, findings: &mut Findings<'_>) {
    let (name, ignore) = (&interface.name, interface.kernel.arp_ignore);
    let is_alone = |vip: &&Vip| vip.address.is_ipv4() && vip.prefix == 32;
    let silent = match ignore {
        0 | 1 | 3 => return,
        // Whoever asks has to be in the address's network, and nobody else is in one of a single address.
        2 => router.vips.iter().find(is_alone),
        _ => router.vips.iter().find(|vip| vip.address.is_ipv4()),
    };
    if let Some(vip) = silent {
        findings.problem(
            format!("nobody would be told by ARP where {vip} is: arp_ignore is {ignore} at {name}"),
            format!("sysctl net.ipv4.conf.{name}.arp_ignore=1, and no more than that of conf.all"),
        );
    }
}

/// When the first address of a network goes, the kernel takes the others of it along, unless it is told otherwise. Behind
/// one of the box's own, which stays, a VIP comes and goes alone.
fn secondaries(
    router: &VirtualRouter,
    all: &[VirtualRouter],
    interface: &Interface,
    findings: &mut Findings<'_>,
) {
    if interface.kernel.promotes_secondaries {
        return;
    }
    let on_interface = all.iter().filter(|other| other.interface == router.interface);
    let vips: Vec<Vip> = on_interface.flat_map(|other| &other.vips).copied().collect();
    let network = |address, prefix| IpNet::new(address, prefix).map(|network| network.trunc()).ok();
    let is_followed = |vip: &&Vip| {
        let its = network(vip.address, vip.prefix);
        let there = interface.addresses.iter();
        let mut there = there.filter(|there| network(there.address, there.prefix) == its);
        let is_vip = |there: &Address| vips.iter().any(|vip| vip.address == there.address);
        let is_first = there.next().is_none_or(is_vip);
        let mut others = vips.iter().filter(|other| other.address != vip.address);
        let has_others = there.next().is_some()
            || others.any(|other| network(other.address, other.prefix) == its);
        vip.address.is_ipv4() && vip.prefix < 32 && is_first && has_others
    };
    if let Some(vip) = router.vips.iter().find(is_followed) {
        let name = &interface.name;
        findings.warning(
            format!(
                "{vip} is or will be the first of several addresses of its network on {name}: when the first goes the \
                 kernel takes the others along, as promote_secondaries is off"
            ),
            format!(
                "sysctl net.ipv4.conf.{name}.promote_secondaries=1, or write the VIP as {}/32",
                vip.address
            ),
        );
    }
}

fn manager(interface: &Interface, findings: &mut Findings<'_>) {
    let name = &interface.name;
    match interface.manager {
        None => {}
        Some(Manager::Networkd) => findings.warning(
            format!("networkd has {name} in hand, and takes off what it has not put on when it is restarted"),
            "KeepConfiguration=yes in [Network] of its file for the interface",
        ),
        Some(Manager::NetworkManager) => findings.warning(
            format!("NetworkManager has {name} in hand, and takes off what it has not put on when it sets it up anew"),
            format!("nmcli device set {name} managed no, and configure it elsewhere; or leave it alone from now on"),
        ),
    }
}

/// The VIPs, on this box and elsewhere.
fn addresses(
    router: &VirtualRouter,
    interface: &Interface,
    facts: &Facts,
    findings: &mut Findings<'_>,
) {
    for vip in router.vips.iter().map(|vip| vip.address) {
        let there = facts.interfaces.iter().flat_map(|interface| {
            interface.addresses.iter().map(move |address| (&*interface.name, address))
        });
        let mut is_here = false;
        for (name, address) in there.filter(|(_, there)| there.address == vip) {
            is_here = true;
            on_this_box(router, name, address, facts, findings);
        }
        // Why else nobody could be asked has been said.
        let can_ask = interface.is_up
            && interface.mac.is_some()
            && (vip.is_ipv4() || interface.kernel.has_ipv6);
        if is_here || !can_ask {
            continue;
        }
        if facts.asked.contains(&vip) {
            elsewhere(router, vip, facts, findings);
        } else {
            findings.warning(
                format!("the link cannot be asked who has {vip}"),
                "look whether this box has an address of that family there",
            );
        }
    }
}

fn on_this_box(
    router: &VirtualRouter,
    name: &str,
    there: &Address,
    facts: &Facts,
    findings: &mut Findings<'_>,
) {
    let Address { address: vip, protocol, prefix, .. } = *there;
    let remove =
        format!("ip address del {vip}/{prefix} dev {name}, and take it out of what puts it there");
    let is_ours = protocol == ADDRESS_PROTOCOL && name == &*router.interface;
    match (is_ours, facts.service) {
        (true, super::Service::Running { .. } | super::Service::Hidden) => {
            findings.fine(format!("{vip} is on this box: it is Active"));
        }
        (true, super::Service::Silent) => findings.warning(
            format!("{vip} is on this box by a virtual router, and no service of this config runs"),
            "if no other one runs either it goes within two seconds: ask again",
        ),
        (false, _) if protocol == ADDRESS_PROTOCOL => findings.problem(
            format!("{vip} is on {name} by a virtual router, and is to be on {}", router.interface),
            "end the service that has put it there; one address is one virtual router's",
        ),
        (false, _) => findings.problem(
            format!(
                "{vip} is on {name} and was not put there by the service (protocol {protocol}, expected \
                 {ADDRESS_PROTOCOL}): both boxes of a pair would have it"
            ),
            remove,
        ),
    }
}

fn elsewhere(router: &VirtualRouter, vip: IpAddr, facts: &Facts, findings: &mut Findings<'_>) {
    let macs: Vec<String> = facts
        .answers
        .iter()
        .filter(|answer| answer.vip == vip)
        .map(|answer| answer.mac.to_string())
        .collect();
    let is_led = facts.told.senders.iter().any(|sender| {
        sender.is_active
            && router.advertised().any(|ours| sender.vips.contains(&ours))
            && sender.interface == *router.interface
            && sender.vrid == router.vrid.get()
            && sender.family == router.family.number()
    });
    match (&macs[..], is_led) {
        ([], false) => findings.fine(format!("nobody answers for {vip}")),
        ([], true) => findings.warning(
            format!("somebody is Active, and nobody answers for {vip}"),
            "look whether the Active box has it, and answers ARP or Neighbor Solicitations",
        ),
        ([mac], true) => findings.fine(format!("{mac} answers for {vip}")),
        ([mac], false) => findings.problem(
            format!(
                "{mac} answers for {vip}, and no advert of VRID {} is heard: somebody has it outside of VRRP, or adverts \
                 do not get here",
                router.vrid
            ),
            "find who that is (a router with proxy ARP answers for others, too); look what drops protocol 112 or its \
             group: a firewall, or snooping without a querier",
        ),
        (macs, _) => findings.problem(
            format!("{} answer for {vip}: more than one box has it", macs.join(" and ")),
            "compare `ip address` on all boxes; find whose the others are",
        ),
    }
}
