//! What was seen: of this box, its interfaces, its link and the service. Types, and how to read a few files of the kernel.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::netlink::{Address, Index};
use crate::vrrp::neighbour::Mac;
use crate::vrrp::packet::{Heard, Refusal};
use crate::vrrp::sightings::told::Told;

/// All of it.
#[derive(Debug)]
pub struct Facts {
    /// Every one of this box, of whatever kind.
    pub interfaces: Vec<Interface>,
    /// Who speaks on the link, whatever is configured.
    pub told: Told,
    /// For each virtual router of the config, in its order.
    pub judged: Vec<Judged>,
    /// VIPs for which the link was asked: those that are not on this box.
    pub asked: Vec<IpAddr>,
    /// Who says that it has one.
    pub answers: Vec<Answer>,
    pub service: Service,
    /// Of the virtual routers that it runs, as it says.
    pub standings: Vec<Standing>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    pub name: String,
    /// Why it is unfit, if it is.
    pub fault: Option<String>,
    pub yields: bool,
}

/// What a virtual router made of adverts of its VRID: of each sender, the last one.
pub type Judged = BTreeMap<IpAddr, Result<Heard, Refusal>>;

#[derive(Debug)]
pub struct Interface {
    pub name: String,
    pub index: Index,
    /// Switched on, and with a carrier.
    pub is_up: bool,
    /// Of Ethernet alone.
    pub mac: Option<Mac>,
    pub mtu: u32,
    /// In the kernel's order.
    pub addresses: Vec<Address>,
    pub kernel: Settings,
    /// Who else on this box puts addresses on it and takes them off.
    pub manager: Option<Manager>,
}

/// The kernel's, as they hold for one interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Other addresses of a network stay when its first goes.
    pub promotes_secondaries: bool,
    /// Of which questions ARP answers.
    pub arp_ignore: u32,
    pub has_ipv6: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Manager {
    Networkd,
    NetworkManager,
}

/// To ARP or a Neighbor Solicitation.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Answer {
    pub vip: IpAddr,
    pub mac: Mac,
}

/// `site-agent vrrp run`, by this config.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Service {
    /// Nobody answers at its socket.
    Silent,
    /// It is another user's.
    Hidden,
    Running {
        is_real_time: bool,
        is_locked: bool,
    },
}

/// Of `/proc/PID/task/TID/stat`: whether that is a thread of the virtual routers that runs in real time.
pub fn is_real_time(stat: &str) -> bool {
    // A name may hold anything, so the last parenthesis is what ends it.
    let Some((front, rest)) = stat.rsplit_once(')') else { return false };
    let is_ours = front.ends_with("(vrrp");
    // Field 41, where the state behind the name is field 3 (proc_pid_stat(5)): SCHED_FIFO is 1, SCHED_RR is 2.
    is_ours && matches!(rest.split_whitespace().nth(38), Some("1" | "2"))
}

/// Of `/proc/PID/status`: whether any of its memory is locked.
pub fn is_locked(status: &str) -> bool {
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
    locked.is_some_and(|locked| locked.split_whitespace().next() != Some("0"))
}

/// Of `/run/systemd/netif/links/INDEX`: the files of networkd by which it configures an interface, if it does.
pub fn networkd_files(state: &str) -> Option<Vec<&str>> {
    let value =
        |key: &str| state.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let is_managed = value("ADMIN_STATE").is_some_and(|state| state != "unmanaged");
    let files = ["NETWORK_FILE", "NETWORK_FILE_DROPINS"].into_iter().filter_map(value);
    is_managed.then(|| files.flat_map(str::split_whitespace).collect())
}

/// Of such a file: whether addresses that networkd has not put on an interface may stay there.
pub fn keeps_addresses(network: &str) -> bool {
    let value = |line: &str| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "KeepConfiguration").then(|| value.trim().to_owned())
    };
    let last = network.lines().filter_map(value).next_back();
    last.is_some_and(|value| ["yes", "true", "1", "on", "static"].contains(&&*value))
}

/// Of `/run/NetworkManager/devices/INDEX`: whether it has an interface in hand.
pub fn is_managed(state: &str) -> bool {
    state.lines().any(|line| line.trim() == "managed=true")
}
