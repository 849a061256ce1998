//! `show servers state`: HAProxy's file of states, version 1; and a server's state in its numbers.

use std::fmt::Write as _;

use common::check::{Kind, Tcp};
use common::report::Reason;
use common::seen::Seen;

use super::{Refusal, View};
use crate::backends::{Administrative, Origin, Server, Status};
use crate::rounds::Shown;
use crate::site;
use crate::upstream::Told;

const HEADER: &str = "\
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state \
bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr \
srv_agent_addr srv_agent_port";

pub fn state(view: &View<'_>, of: Option<&str>) -> Result<String, Refusal> {
    if of.is_some_and(|of| view.pool(of).is_none()) {
        return Err(Refusal::NotFound);
    }
    let mut text = format!("1\n{HEADER}\n");
    let asked =
        |(_, pool): &(usize, &super::PoolView)| of.is_none_or(|of| *pool.config.name == *of);
    for (number, pool) in view.numbered().filter(asked) {
        for ((told, seen), server_number) in pool.servers.iter().zip(1..) {
            let Told { server, known, .. } = told;
            let config = &server.config;
            let throttle = known.throttle(view.now, pool.config.slow_start.unwrap_or_default());
            let since = view.now.saturating_sub(told.since()).as_secs();
            let look = Look::of(config, known, seen.as_ref());
            let health = known.health().unwrap_or_default();
            let agent_port = pool.config.agent_check.as_ref().map_or(0, |agent| agent.port.get());
            // The fields that are names or fixed stand here as HAProxy writes them where nothing is set.
            let _ = writeln!(
                text,
                "{number} {} {server_number} {} {} {} {} {} {} {since} {} {} {health} {} {} 0 0 - {} - {} {} - - {agent_port}",
                pool.config.name,
                server.name,
                config.address.ip(),
                operational(known, throttle),
                administrative(known),
                known.whole_weight(),
                known.configured().weight.get(),
                look.status.number(),
                look.result,
                checking(config.check.is_some(), known.is_maint()),
                if agent_port == 0 { 0 } else { ENABLED | AGENT },
                config.address.port(),
                u8::from(config.tls.is_some()),
                check_port(config),
            );
        }
    }
    Ok(text)
}

/// Configured and enabled; paused; of an agent.
const ENABLED: u8 = 0x06;
const PAUSED: u8 = 0x08;
const AGENT: u8 = 0x10;

fn checking(has_check: bool, is_maint: bool) -> u8 {
    let enabled = if has_check { ENABLED } else { 0 };
    if is_maint { enabled | PAUSED } else { enabled }
}

fn check_port(config: &site::Server) -> u16 {
    let port = config.check.as_ref().map(|check| check.target.port);
    port.filter(|port| *port != config.address.port()).unwrap_or_default()
}

/// HAProxy's `srv_op_state`: stopped, starting, running or stopping.
fn operational(server: &Server, throttle: u32) -> u8 {
    match server.status() {
        Status::Maint
        | Status::DownByAgent
        | Status::Down
        | Status::Rising { .. }
        | Status::Ejected => 0,
        Status::NoLb | Status::NoLbFalling { .. } => 3,
        Status::DrainByAgent
        | Status::Drain
        | Status::DrainFalling { .. }
        | Status::Up
        | Status::Falling { .. }
        | Status::NoCheck => {
            if throttle < 100 {
                1
            } else {
                2
            }
        }
    }
}

/// HAProxy's `srv_admin_state`. What an agent orders stands there as what a command does.
fn administrative(server: &Server) -> u8 {
    const FORCED_MAINT: u8 = 0x01;
    const CONFIG_MAINT: u8 = 0x04;
    const FORCED_DRAIN: u8 = 0x08;
    match server.ordered() {
        None | Some((Administrative::Ready, _)) => 0,
        Some((Administrative::Maint, Origin::Config)) => FORCED_MAINT | CONFIG_MAINT,
        Some((Administrative::Maint, Origin::Command | Origin::Agent)) => FORCED_MAINT,
        Some((Administrative::Drain, Origin::Config | Origin::Command | Origin::Agent)) => {
            FORCED_DRAIN
        }
    }
}

/// How the last look ended, as HAProxy calls it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LookStatus {
    Unknown,
    Initializing,
    SocketError,
    L4Ok,
    L4Timeout,
    L4Connection,
    L6Ok,
    L6Timeout,
    L6Response,
    L7Timeout,
    L7Response,
    L7Ok,
    L7Status,
}

pub struct Look {
    pub status: LookStatus,
    /// 0 for nothing yet, 2 for failed, 3 for passed.
    pub result: u8,
}

impl Look {
    pub fn of(config: &site::Server, known: &Server, seen: Option<&Shown>) -> Look {
        let last = seen.and_then(|seen| seen.check.as_ref()?.last.as_ref());
        let kind = config.check.as_ref().map(|check| &check.target.check.kind);
        match (kind, last) {
            // One that is not looked at has come to nothing since.
            (Some(kind), Some(looked)) if !known.is_maint() => Look {
                status: LookStatus::of(kind, &looked.seen),
                result: if looked.seen.outcome.is_ok() { 3 } else { 2 },
            },
            (Some(_) | None, Some(_) | None) => {
                Look { status: LookStatus::Initializing, result: 0 }
            }
        }
    }
}

impl LookStatus {
    fn of(kind: &Kind, seen: &Seen) -> LookStatus {
        let is_plain = matches!(kind, Kind::Tcp(Tcp { send: None, expect: None }));
        let is_tls = matches!(kind, Kind::Tls(_));
        let speaks_tls = is_tls || matches!(kind, Kind::Https(_) | Kind::Grpcs(_));
        match seen.reason() {
            None if matches!(kind, Kind::Icmp | Kind::External(_)) => LookStatus::Unknown,
            None if is_plain => LookStatus::L4Ok,
            None if is_tls => LookStatus::L6Ok,
            None => LookStatus::L7Ok,
            Some(Reason::Refused | Reason::Unreachable | Reason::Unresolved) => {
                LookStatus::L4Connection
            }
            Some(Reason::Timeout) if seen.phases.connect.is_none() => LookStatus::L4Timeout,
            Some(Reason::Timeout) if speaks_tls && seen.phases.tls.is_none() => {
                LookStatus::L6Timeout
            }
            Some(Reason::Timeout) => LookStatus::L7Timeout,
            Some(Reason::Handshake | Reason::Certificate) => LookStatus::L6Response,
            Some(Reason::Closed | Reason::Malformed) if is_tls => LookStatus::L6Response,
            Some(
                Reason::Closed | Reason::Malformed | Reason::Header | Reason::Body | Reason::Answer,
            ) => LookStatus::L7Response,
            Some(Reason::Status) => LookStatus::L7Status,
            Some(Reason::Probe) => LookStatus::SocketError,
            Some(Reason::Program | Reason::Other) => LookStatus::Unknown,
        }
    }

    /// In `show servers state`.
    fn number(self) -> u8 {
        match self {
            LookStatus::Unknown => 0,
            LookStatus::Initializing => 1,
            LookStatus::SocketError => 5,
            LookStatus::L4Ok => 6,
            LookStatus::L4Timeout => 7,
            LookStatus::L4Connection => 8,
            LookStatus::L6Ok => 9,
            LookStatus::L6Timeout => 10,
            LookStatus::L6Response => 11,
            LookStatus::L7Timeout => 12,
            LookStatus::L7Response => 13,
            LookStatus::L7Ok => 15,
            LookStatus::L7Status => 17,
        }
    }

    /// In `show stat`: `check_status`, and `check_desc`.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            LookStatus::Unknown => ("UNK", "Unknown"),
            LookStatus::Initializing => ("INI", "Initializing"),
            LookStatus::SocketError => ("SOCKERR", "Socket error"),
            LookStatus::L4Ok => ("L4OK", "Layer4 check passed"),
            LookStatus::L4Timeout => ("L4TOUT", "Layer4 timeout"),
            LookStatus::L4Connection => ("L4CON", "Layer4 connection problem"),
            LookStatus::L6Ok => ("L6OK", "Layer6 check passed"),
            LookStatus::L6Timeout => ("L6TOUT", "Layer6 timeout"),
            LookStatus::L6Response => ("L6RSP", "Layer6 invalid response"),
            LookStatus::L7Timeout => ("L7TOUT", "Layer7 timeout"),
            LookStatus::L7Response => ("L7RSP", "Layer7 invalid response"),
            LookStatus::L7Ok => ("L7OK", "Layer7 check passed"),
            LookStatus::L7Status => ("L7STS", "Layer7 wrong status"),
        }
    }
}
