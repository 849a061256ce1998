//! What the kernel says of this box's interfaces, and who else has them in hand.

use std::fs;
use std::io;

use crate::netlink::{Index, Kernel, Link, Request, Told};
use crate::vrrp_findings::facts::{
    Interface, Manager, Settings, is_managed, keeps_addresses, networkd_files,
};

pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut all: Vec<Interface> = vec![];
    let mut kernel = Kernel::open()?;
    kernel.list(&mut Request::links(), |told| {
        if let Told::Link(Link { index, name, mac, is_up, mtu }) = told {
            let name = String::from_utf8_lossy(name).into_owned();
            // A list that changed while it was told comes again.
            all.retain(|known| known.index != index);
            all.push(Interface {
                kernel: settings(&name),
                manager: manager(index),
                name,
                index,
                is_up,
                mac,
                mtu,
                addresses: vec![],
            });
        }
    })?;
    kernel.list(&mut Request::addresses(), |told| {
        if let Told::Address(address) = told
            && let Some(interface) = all.iter_mut().find(|known| known.index == address.on)
            && !interface.addresses.contains(&address)
        {
            interface.addresses.push(address);
        }
    })?;
    Ok(all)
}

/// Those of IPv4 hold as `conf.all` has them or the interface, whichever is more (ip-sysctl of the kernel).
fn settings(name: &str) -> Settings {
    let read = |family: &str, name: &str, key: &str| -> Option<u32> {
        let path = format!("/proc/sys/net/{family}/conf/{name}/{key}");
        fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    let both = |key: &str| {
        let of = |name: &str| read("ipv4", name, key).unwrap_or(0);
        of("all").max(of(name))
    };
    Settings {
        promotes_secondaries: both("promote_secondaries") > 0,
        arp_ignore: both("arp_ignore"),
        // A kernel without IPv6 has no such file.
        has_ipv6: read("ipv6", name, "disable_ipv6") == Some(0),
    }
}

fn manager(index: Index) -> Option<Manager> {
    let index = index.0;
    let state = fs::read_to_string(format!("/run/systemd/netif/links/{index}")).unwrap_or_default();
    if let Some(files) = networkd_files(&state) {
        let keeps = |file: &&str| fs::read_to_string(file).is_ok_and(|text| keeps_addresses(&text));
        return (!files.iter().any(keeps)).then_some(Manager::Networkd);
    }
    let state = fs::read_to_string(format!("/run/NetworkManager/devices/{index}"));
    state.is_ok_and(|state| is_managed(&state)).then_some(Manager::NetworkManager)
}
