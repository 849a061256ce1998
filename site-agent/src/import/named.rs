//! Statements that no key of ours comes of: what becomes of each, and what to do instead.

use super::blocks::Statement;
use super::router::{argument, entries};
use super::{Fate, Remarks};

/// Names of statements, and what is to be said of them.
type Named = (&'static [&'static str], Fate, &'static str);

const NO_PROGRAMS: &str = "one program is told of all changes of role, with the arguments of `notify` here: name it in \
                           [vrrp_service] notify";
const NO_MAILS: &str = "no mails are sent: have alerts on its metrics ([vrrp_service] listen)";
const TRACK: &str = "no programs are run to see whether something is well: have tracks look at it by a check, or leave it out if it \
                     looks whether the balancer lives, which `needs_balancer` does";
const UNIT: &str =
    "is the unit's to say (systemd.exec(5)); the thread runs in real time where it may";
const RULES: &str = "no rules of a firewall are made";
const STRICT: &str = "addresses are always answered at, which it turns off; to do without peers, passwords and delays is yours";
const IPVS: &str = "IPVS is not used: clients are taken on by frontends";
const ANNOUNCED: &str = "addresses are announced at once, after 1 s and after 5 s, and whenever a lesser router was heard";
const LINK: &str = "what the kernel tells of a link is heeded at once";
const OWN_NETWORK: &str = "is for whatever configures this box's network";
const SHOWN: &str = "status and metrics are read at [vrrp_service] socket and listen";
const NO_INTERFACES: &str =
    "no interfaces are made, and addresses have the MAC of the interface that they are on";

const GLOBAL: &[Named] = &[
    (&["router_id"], Fate::Needless, "it only names the box in mails and SNMP"),
    (
        &[
            "notification_email",
            "notification_email_from",
            "smtp_server",
            "smtp_helo_name",
            "smtp_connect_timeout",
            "smtp_alert",
            "smtp_alert_vrrp",
            "email_faults",
        ],
        Fate::Lost,
        NO_MAILS,
    ),
    (&["no_email_faults", "smtp_alert_checker", "no_checker_emails"], Fate::Needless, NO_MAILS),
    (
        &[
            "vrrp_garp_master_delay",
            "vrrp_garp_master_repeat",
            "vrrp_garp_master_refresh_repeat",
            "vrrp_garp_lower_prio_delay",
            "vrrp_garp_lower_prio_repeat",
            "vrrp_garp_lower_prio_rep",
            "vrrp_min_garp",
            "vrrp_garp_interval",
            "vrrp_gna_interval",
        ],
        Fate::Needless,
        ANNOUNCED,
    ),
    (
        &["vrrp_garp_extra_if"],
        Fate::Lost,
        "addresses are announced on the interface of their virtual router alone",
    ),
    (
        &["vrrp_lower_prio_no_advert"],
        Fate::Needless,
        "a lesser Active router is always answered with an advert",
    ),
    (&["vrrp_higher_prio_send_advert"], Fate::Needless, "who loses always sends one more advert"),
    (
        &["vrrp_skip_check_adv_addr"],
        Fate::Needless,
        "nobody is refused for the addresses in his adverts",
    ),
    (&["vrrp_check_unicast_src"], Fate::Needless, "only peers are heard"),
    (&["vrrp_strict"], Fate::Lost, STRICT),
    (&["dynamic_interfaces"], Fate::Needless, "an interface may always come later, and go"),
    (
        &[
            "vrrp_iptables",
            "vrrp_ipsets",
            "nftables",
            "nftables_priority",
            "nftables_counters",
            "nftables_ifindex",
        ],
        Fate::Lost,
        RULES,
    ),
    (
        &["vrrp_startup_delay", "vrrp_delay_after_boot"],
        Fate::Needless,
        "a link has some seconds to settle after boot, and every box listens first",
    ),
    (
        &[
            "vrrp_priority",
            "vrrp_no_swap",
            "vrrp_cpu_affinity",
            "vrrp_rt_priority",
            "vrrp_rlimit_rttime",
            "vrrp_rlimit_rtime",
            "max_auto_priority",
            "min_auto_priority_delay",
            "checker_priority",
            "checker_no_swap",
            "checker_cpu_affinity",
            "checker_rt_priority",
            "checker_rlimit_rttime",
            "bfd_priority",
            "bfd_no_swap",
            "bfd_cpu_affinity",
            "bfd_rt_priority",
            "bfd_rlimit_rttime",
            "umask",
            "child_wait_time",
        ],
        Fate::Needless,
        UNIT,
    ),
    (&["net_namespace", "net_namespace_ipvs"], Fate::Lost, UNIT),
    (
        &[
            "instance",
            "use_pid_dir",
            "process_names",
            "process_name",
            "vrrp_process_name",
            "checker_process_name",
            "bfd_process_name",
            "tmp_config_directory",
            "config_save_dir",
            "data_use_instance",
            "random_seed",
            "namespace_with_ipsets",
        ],
        Fate::Needless,
        "says nothing here",
    ),
    (
        &[
            "notify_fifo",
            "notify_fifo_script",
            "vrrp_notify_fifo",
            "vrrp_notify_fifo_script",
            "lvs_notify_fifo",
            "lvs_notify_fifo_script",
            "startup_script",
            "shutdown_script",
        ],
        Fate::Lost,
        NO_PROGRAMS,
    ),
    (
        &[
            "script_user",
            "enable_script_security",
            "use_symlink_paths",
            "set_supplementary_groups",
            "startup_script_timeout",
            "shutdown_script_timeout",
            "vrrp_notify_priority_changes",
            "fifo_write_vrrp_states_on_reload",
        ],
        Fate::Needless,
        "programs run as the service's user, without any capability",
    ),
    (
        &[
            "enable_snmp_keepalived",
            "enable_snmp_vrrp",
            "enable_snmp_checker",
            "enable_snmp_rfc",
            "enable_snmp_rfcv2",
            "enable_snmp_rfcv3",
            "enable_traps",
            "snmp_socket",
            "enable_dbus",
            "dbus_service_name",
            "dbus_no_interface_name",
            "json_version",
        ],
        Fate::Lost,
        SHOWN,
    ),
    (
        &[
            "vrrp_netlink_cmd_rcv_bufs",
            "vrrp_netlink_cmd_rcv_bufs_force",
            "vrrp_netlink_monitor_rcv_bufs",
            "vrrp_netlink_monitor_rcv_bufs_force",
            "lvs_netlink_cmd_rcv_bufs",
            "lvs_netlink_cmd_rcv_bufs_force",
            "lvs_netlink_monitor_rcv_bufs",
            "lvs_netlink_monitor_rcv_bufs_force",
            "process_monitor_rcv_bufs",
            "process_monitor_rcv_bufs_force",
            "vrrp_rx_bufs_policy",
            "vrrp_rx_bufs_multiplier",
        ],
        Fate::Needless,
        "news that was too much for a buffer is asked for again",
    ),
    (&["log_unknown_vrids"], Fate::Needless, "adverts that are refused are counted by reason"),
    (
        &["vmac_prefix", "vmac_addr_prefix", "default_interface", "disable_local_igmp"],
        Fate::Needless,
        NO_INTERFACES,
    ),
    (&["linkbeat_use_polling"], Fate::Lost, LINK),
    (
        &[
            "reload_check_config",
            "reload_time_file",
            "reload_repeat",
            "reload_file",
            "include_check",
        ],
        Fate::Needless,
        "a config is checked before it is taken, and a bad one is told and left alone",
    ),
    (
        &[
            "lvs_flush",
            "lvs_flush_on_stop",
            "lvs_timeouts",
            "lvs_flush_onstop",
            "nftables_ipvs",
            "nftables_ipvs_priority",
            "nftables_ipvs_start_fwmark",
            "checker_log_all_failures",
            "rs_init_notifies",
        ],
        Fate::Needless,
        IPVS,
    ),
    (
        &["lvs_sync_daemon"],
        Fate::Lost,
        "connections are not taken along when an address moves: clients connect again",
    ),
];

const TOP: &[Named] = &[
    (
        &["vrrp_script", "track_file", "vrrp_track_file", "vrrp_track_process", "bfd_instance"],
        Fate::Lost,
        TRACK,
    ),
    (
        &["static_ipaddress", "static_routes", "static_rules", "track_group"],
        Fate::Lost,
        OWN_NETWORK,
    ),
    (&["garp_group"], Fate::Needless, ANNOUNCED),
    (&["linkbeat_interfaces", "interface_up_down_delays"], Fate::Lost, LINK),
    (&["virtual_server_group"], Fate::Lost, "write its addresses into bind of a [frontend.NAME]"),
    (&["SSL"], Fate::Lost, "write it into check of the [pool.NAME] that it is for"),
];

const INSTANCE: &[Named] = &[
    (&["accept"], Fate::Needless, "addresses are always answered at"),
    (&["no_accept"], Fate::Lost, RULES),
    (&["strict_mode"], Fate::Lost, STRICT),
    (
        &["lower_prio_no_advert"],
        Fate::Needless,
        "a lesser Active router is always answered with an advert",
    ),
    (&["higher_prio_send_advert"], Fate::Needless, "who loses always sends one more advert"),
    (
        &["skip_check_adv_addr"],
        Fate::Needless,
        "nobody is refused for the addresses in his adverts",
    ),
    (&["check_unicast_src", "unicast_fault_no_peer"], Fate::Needless, "only peers are heard"),
    (&["native_ipv6"], Fate::Needless, "adverts go in the family of the first address"),
    (&["debug", "kernel_rx_buf_size", "promote_secondaries"], Fate::Needless, "says nothing here"),
    (
        &[
            "garp_master_delay",
            "garp_master_repeat",
            "garp_master_refresh_repeat",
            "garp_lower_prio_delay",
            "garp_lower_prio_repeat",
        ],
        Fate::Needless,
        ANNOUNCED,
    ),
    (
        &["garp_extra_if", "garp_extra_if_vmac"],
        Fate::Lost,
        "addresses are announced on the interface of their virtual router alone",
    ),
    (&["old_unicast_checksum"], Fate::Lost, "checksums are those since keepalived 1.3.7"),
    (
        &[
            "use_vmac",
            "use_vmac_addr",
            "vmac_xmit_base",
            "use_ipvlan",
            "vrf",
            "lvs_sync_daemon_interface",
        ],
        Fate::Lost,
        NO_INTERFACES,
    ),
    (&["dont_track_primary", "linkbeat_use_polling"], Fate::Lost, LINK),
    (&["track_src_ip"], Fate::Lost, "the source is what adverts are sent from, and is not watched"),
    (
        &["timer_expired_backup", "thread_timer_expired"],
        Fate::Needless,
        "who stood still for so long that others may be Active always listens first",
    ),
    (
        &["virtual_routes", "virtual_rules"],
        Fate::Lost,
        "no routes are put on: a route with `src` of the address, and rules, may be there all the time",
    ),
    (&["notify_master_rx_lower_pri"], Fate::Lost, NO_PROGRAMS),
];

/// Whom an instance, or a group of them, tells of itself.
const NOTIFIED: &[Named] = &[
    (
        &[
            "notify",
            "notify_master",
            "notify_backup",
            "notify_fault",
            "notify_stop",
            "notify_deleted",
        ],
        Fate::Lost,
        NO_PROGRAMS,
    ),
    (&["notify_priority_changes"], Fate::Needless, "a program is told of roles alone"),
    (&["smtp_alert"], Fate::Lost, NO_MAILS),
];

const GROUP: &[Named] = &[(&["global_tracking", "sync_group_tracking_weight"], Fate::Lost, TRACK)];

pub fn of_global_defs(said: &Statement, remarks: &mut Remarks) {
    match said.name() {
        "vrrp_mcast_group4" => multicast_group(said, remarks),
        "vrrp_mcast_group6" => multicast_group(said, remarks),
        "vrrp_down_timer_adverts" => down_timer(said, remarks),
        _ => of(&[GLOBAL], said, remarks),
    }
}

pub fn of_instance(said: &Statement, interface: &str, remarks: &mut Remarks) {
    match said.name() {
        "mcast_dst_ip" => multicast_group(said, remarks),
        "down_timer_adverts" => down_timer(said, remarks),
        "unicast_ttl" => match argument(said, remarks) {
            Some("255") => remarks.needless(said, "it always is"),
            Some(_) => remarks.lost(said, "adverts always have hop limit 255"),
            None => {}
        },
        "track_interface" => tracked_interfaces(said, interface, remarks),
        name if is_track(name) => tracks(said, remarks),
        _ => of(&[INSTANCE, NOTIFIED], said, remarks),
    }
}

pub fn of_group(said: &Statement, remarks: &mut Remarks) {
    match said.name() {
        name if is_track(name) || name == "track_interface" => tracks(said, remarks),
        _ => of(&[GROUP, NOTIFIED], said, remarks),
    }
}

pub fn at_top(said: &Statement, remarks: &mut Remarks) {
    if said.name() == "virtual_server" {
        return virtual_server(said, remarks);
    }
    // Some may stand within global_defs or by themselves.
    of(&[TOP, GLOBAL], said, remarks)
}

fn of(tables: &[&[Named]], said: &Statement, remarks: &mut Remarks) {
    if said.name().starts_with('$') {
        return remarks.lost(
            said,
            "there is no definition of one line of that name: write out what it stands for",
        );
    }
    let mut named = tables.iter().copied().flatten();
    match named.find(|(names, ..)| names.contains(&said.name())) {
        Some((_, Fate::Lost, why)) => remarks.lost(said, *why),
        Some((_, Fate::Changed, why)) => remarks.changed(said, *why),
        Some((_, Fate::Needless, why)) => remarks.needless(said, *why),
        None => remarks.lost(said, "no statement that is known here"),
    }
}

fn is_track(name: &str) -> bool {
    ["track_script", "track_file", "track_process", "track_bfd"].contains(&name)
}

/// Each of what is tracked.
fn tracks(block: &Statement, remarks: &mut Remarks) {
    for line in entries(block, remarks) {
        remarks.add(&line.place, Fate::Lost, &format!("{} {}", block.name(), line.shown()), TRACK);
    }
}

fn tracked_interfaces(block: &Statement, own: &str, remarks: &mut Remarks) {
    for line in entries(block, remarks) {
        let shown = format!("{} {}", block.name(), line.shown());
        let name = line.name();
        let (fate, why) = match (name == own, line.rest()) {
            (true, []) => (
                Fate::Needless,
                "a virtual router always watches the link that it is on".to_owned(),
            ),
            (true, _) => (
                Fate::Lost,
                "without the link that it is on a virtual router is unfit, whatever its priority"
                    .to_owned(),
            ),
            (false, rest) => {
                let weight = match rest {
                    [word, weight, ..] if word == "weight" && weight.parse() != Ok(0) => {
                        format!(", weight = {weight}")
                    }
                    _ => String::new(),
                };
                let track =
                    format!("tracks = [{{ name = \"{name}\", interface = \"{name}\"{weight} }}]");
                (Fate::Lost, format!("add to the virtual router: {track}"))
            }
        };
        remarks.add(&line.place, fate, &shown, &why);
    }
}

fn multicast_group(said: &Statement, remarks: &mut Remarks) {
    match argument(said, remarks) {
        Some("224.0.0.18" | "ff02::12") => remarks.needless(said, "it always is"),
        Some(_) => {
            let why = "adverts go to 224.0.0.18 and ff02::12: a keepalived with another group does not hear us; use \
                       unicast_peer there and peers here";
            remarks.lost(said, why);
        }
        None => {}
    }
}

fn down_timer(said: &Statement, remarks: &mut Remarks) {
    match argument(said, remarks) {
        Some("3") => remarks.needless(said, "it always is"),
        Some(_) => remarks
            .lost(said, "a Backup waits for three adverts (RFC 9568 §6.1), and all boxes have to"),
        None => {}
    }
}

/// What keepalived has the kernel do, a proxy does here.
fn virtual_server(said: &Statement, remarks: &mut Remarks) {
    let bind = match said.rest() {
        [address, port] if address.contains(':') => format!("bind = [\"[{address}]:{port}\"]"),
        [address, port] if address != "fwmark" && address != "group" => {
            format!("bind = [\"{address}:{port}\"]")
        }
        _ => "bind".to_owned(),
    };
    let block = said.block.as_deref().unwrap_or_default();
    let servers = block.iter().filter(|said| said.name() == "real_server").count();
    let why = format!(
        "a proxy does that here, not IPVS: write [frontend.NAME] with {bind}, mode = \"tcp\" and pool, and [pool.NAME] with \
         its {servers} real_server as servers, and what looks at them as check"
    );
    remarks.lost(said, why);
}
