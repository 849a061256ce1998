//! A `vrrp_instance` becomes a virtual router, in our words and within our bounds.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::blocks::Statement;
use super::signature::{self, Authentication};
use super::{Place, Remarks, named, peers, vip};
use crate::site::Vip;
use crate::vrrp::advert::{Interval, Priority, Version, Vrid};
use crate::vrrp::machine::settings::{Preempt, Refresh};
use crate::vrrp::packet::Family;

/// What `[vrrp.NAME]` will say. `None` is a key that is left out.
#[derive(Debug)]
pub struct Router {
    pub place: Place,
    pub name: String,
    pub interface: String,
    pub vrid: Vrid,
    pub vips: Vec<Vip>,
    pub priority: Priority,
    pub version: Version,
    pub interval: Interval,
    pub peers: Vec<IpAddr>,
    pub max_hops: Option<u8>,
    pub source: Option<IpAddr>,
    pub preempt: Preempt,
    pub refresh: Option<Refresh>,
    /// `v3_checksum_as_v2`: RFC 9568's.
    pub is_summed_alone: bool,
    pub authentication: Authentication,
}

impl Router {
    pub fn family(&self) -> Family {
        Family::of(self.vips[0].address)
    }
}

/// What `global_defs` says for all of them.
#[derive(Debug)]
pub struct Globals {
    pub version: Version,
    pub refresh: Option<Refresh>,
    pub is_summed_alone: bool,
}

/// keepalived's, where nothing is said.
const PRIORITY: u8 = 100;
const INTERVAL_SECONDS: u8 = 1;
const LONGEST_PREEMPT_DELAY: Duration = Duration::from_secs(1000);
const LONGEST_REFRESH: u64 = 86_400;
/// Octets of a kernel's name for an interface, less the NUL at its end.
const LONGEST_INTERFACE: usize = 15;

/// What a block says, each thing once.
#[derive(Default)]
struct Said<'s> {
    is_master: bool,
    interface: Option<&'s Statement>,
    vrid: Option<&'s Statement>,
    priority: Option<&'s Statement>,
    interval: Option<&'s Statement>,
    version: Option<&'s Statement>,
    source: Option<&'s Statement>,
    preempt: Option<&'s Statement>,
    preempt_delay: Option<&'s Statement>,
    refresh: Option<&'s Statement>,
    checksum: Option<&'s Statement>,
    vips: Vec<&'s Statement>,
    excluded: Vec<&'s Statement>,
    peers: Vec<&'s Statement>,
    legacy: Vec<&'s Statement>,
    hmac: Vec<&'s Statement>,
    others: Vec<&'s Statement>,
}

/// A virtual router of this name, or why there can be none. `taken` is who has which address already.
pub fn router(
    instance: &Statement,
    name: String,
    globals: &Globals,
    taken: &BTreeMap<IpAddr, String>,
    remarks: &mut Remarks,
) -> Result<Router, String> {
    let Some(block) = &instance.block else { return Err("no block stands behind it".to_owned()) };
    let said = said(block, remarks);
    let interface = interface(said.interface, remarks)?;
    let vrid = said.vrid.ok_or("it has no virtual_router_id, which is needed")?;
    let vrid = argument(vrid, remarks).and_then(|word| Vrid::new(word.parse().ok()?));
    let vrid = vrid.ok_or("its virtual_router_id is not 1 to 255")?;
    let vips = vip::vips(instance, &said.vips, &said.excluded, &interface, vrid, taken, remarks)?;
    let family = Family::of(vips[0].address);
    let version = version(said.version, globals, family, remarks);
    let interval = interval(said.interval, version, remarks);
    let authentication =
        signature::authentication(&said.legacy, &said.hmac, version, &name, remarks)?;
    let source = said.source.and_then(|source| self::source(source, family, &vips, remarks));
    let is_enforced =
        matches!(&authentication, Authentication::Signature(signature) if signature.is_enforced());
    let (peers, max_hops) = peers::peers(&said.peers, family, source, is_enforced, remarks)?;
    let refresh = said.refresh.and_then(|said| self::refresh(said, remarks)).or(globals.refresh);
    let knows_both_sums = version == Version::V3 && family == Family::V4;
    let is_summed_alone = match said.checksum {
        Some(said) => flag(said, remarks),
        None => globals.is_summed_alone,
    };
    for other in &said.others {
        named::of_instance(other, &interface, remarks);
    }
    Ok(Router {
        place: instance.place.clone(),
        name,
        vrid,
        vips,
        priority: priority(said.priority, remarks),
        version,
        interval,
        peers,
        max_hops,
        source,
        preempt: preempt(&said, remarks),
        refresh,
        is_summed_alone: is_summed_alone && knows_both_sums,
        authentication,
        interface,
    })
}

fn said<'s>(block: &'s [Statement], remarks: &mut Remarks) -> Said<'s> {
    let mut all = Said::default();
    for said in block {
        let slot = match said.name() {
            "interface" => &mut all.interface,
            "virtual_router_id" => &mut all.vrid,
            "priority" => &mut all.priority,
            "advert_int" => &mut all.interval,
            "version" => &mut all.version,
            "mcast_src_ip" | "unicast_src_ip" => &mut all.source,
            "nopreempt" | "preempt" => &mut all.preempt,
            "preempt_delay" => &mut all.preempt_delay,
            "garp_master_refresh" => &mut all.refresh,
            "v3_checksum_as_v2" => &mut all.checksum,
            "state" => {
                all.is_master |= is_master(said, remarks);
                continue;
            }
            _ => {
                let list = match said.name() {
                    "virtual_ipaddress" => &mut all.vips,
                    "virtual_ipaddress_excluded" => &mut all.excluded,
                    "unicast_peer" => &mut all.peers,
                    "authentication" => &mut all.legacy,
                    "auth_hmac" => &mut all.hmac,
                    _ => &mut all.others,
                };
                list.push(said);
                continue;
            }
        };
        if let Some(before) = slot.replace(said) {
            remarks.needless(before, format!("line {} says it again, and counts", said.place.line));
        }
    }
    all
}

/// The word behind a name. What is too much, and that there is none, is told.
pub fn argument<'s>(said: &'s Statement, remarks: &mut Remarks) -> Option<&'s str> {
    match said.rest() {
        [] => remarks.lost(said, "nothing stands behind it"),
        [_] if said.block.is_none() => {}
        [_, ..] => remarks.changed(said, "only the first word behind it counts"),
    }
    said.rest().first().map(String::as_str)
}

/// The lines of a block.
pub fn entries<'s>(said: &'s Statement, remarks: &mut Remarks) -> Vec<&'s Statement> {
    let Some(block) = &said.block else {
        remarks.lost(said, "no block stands behind it");
        return vec![];
    };
    if !said.rest().is_empty() {
        remarks.changed(said, "only its block counts");
    }
    block.iter().collect()
}

/// Whether a switch is on: it is, where no word stands behind it.
pub fn flag(said: &Statement, remarks: &mut Remarks) -> bool {
    match said.rest().first().map(String::as_str) {
        None | Some("on" | "true" | "yes") => true,
        Some("off" | "false" | "no") => false,
        Some(_) => {
            remarks.lost(said, "expected on or off");
            false
        }
    }
}

fn is_master(said: &Statement, remarks: &mut Remarks) -> bool {
    match argument(said, remarks) {
        Some("BACKUP") | None => false,
        Some("MASTER") => {
            let why = "every box listens first, and then its priority decides";
            remarks.needless(said, why);
            true
        }
        Some(_) => {
            remarks.needless(
                said,
                "expected MASTER or BACKUP; keepalived takes BACKUP, and so it is here",
            );
            false
        }
    }
}

fn interface(said: Option<&Statement>, remarks: &mut Remarks) -> Result<String, String> {
    let said = said.ok_or(
        "it has no interface, which is needed here, by unicast too: say which one gets the addresses",
    )?;
    let name = argument(said, remarks).unwrap_or_default();
    let is_of_name = |octet: u8| octet.is_ascii_graphic() && octet != b'/' && octet != b'$';
    match (1..=LONGEST_INTERFACE).contains(&name.len()) && name.bytes().all(is_of_name) {
        true => Ok(name.to_owned()),
        false => Err(format!("its interface is no interface's name: {}", super::on_one_line(name))),
    }
}

/// `2` or `3`; the error is told.
pub fn version_of(said: &Statement, remarks: &mut Remarks) -> Option<Version> {
    match argument(said, remarks) {
        Some("2") => Some(Version::V2),
        Some("3") => Some(Version::V3),
        Some(_) => {
            remarks.lost(said, "expected 2 or 3");
            None
        }
        None => None,
    }
}

fn version(
    said: Option<&Statement>,
    globals: &Globals,
    family: Family,
    remarks: &mut Remarks,
) -> Version {
    let own = said.and_then(|said| Some((said, version_of(said, remarks)?)));
    match (own, family) {
        (Some((said, Version::V2)), Family::V6) => {
            remarks.changed(said, "version 2 knows no IPv6: it is 3, as keepalived has it");
            Version::V3
        }
        (Some((_, version)), _) => version,
        (None, Family::V6) => Version::V3,
        (None, Family::V4) => globals.version,
    }
}

/// Seconds with a fraction, to the microsecond, as keepalived counts them.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut digits = whole.bytes().chain(fraction.bytes()).peekable();
    if digits.peek().is_none() || !digits.all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let whole: u32 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let micros: u32 = format!("{fraction:0<6.6}").parse().ok()?;
    Some(Duration::from_secs(whole.into()) + Duration::from_micros(micros.into()))
}

/// Rounded as keepalived rounds it.
fn interval(said: Option<&Statement>, version: Version, remarks: &mut Remarks) -> Interval {
    let usual = Interval::of_seconds(INTERVAL_SECONDS).expect("it is a second");
    let Some(said) = said else { return usual };
    let Some(word) = argument(said, remarks) else { return usual };
    let Some(time) = seconds(word).filter(|time| !time.is_zero()) else {
        remarks.changed(said, "it is no number of seconds; keepalived takes 1, and so it is here");
        return usual;
    };
    let (step, longest) = match version {
        Version::V2 => (1_000_000, Interval::LONGEST),
        Version::V3 => (10_000, Interval::LONGEST_OF_V3),
    };
    let nearest = (time.as_micros() + step / 2) / step * step;
    let longest_micros = longest.duration().as_micros();
    let centiseconds = nearest.clamp(step, longest_micros) / 10_000;
    let interval =
        u16::try_from(centiseconds).ok().and_then(Interval::of_centiseconds).unwrap_or(longest);
    if interval.duration() != time {
        let shown = common::duration::shown(interval.duration());
        let number = version.number();
        let why = match version {
            Version::V2 => "has whole seconds, 1 to 255",
            Version::V3 => "has 0.01 to 40.95 seconds in steps of 0.01",
        };
        remarks.changed(
            said,
            format!("version {number} {why}: it is {shown}, as keepalived rounds it"),
        );
    }
    interval
}

fn priority(said: Option<&Statement>, remarks: &mut Remarks) -> Priority {
    let usual = Priority::new(PRIORITY).expect("it is not 0");
    let Some(said) = said else { return usual };
    let written = argument(said, remarks).and_then(|word| Priority::new(word.parse().ok()?));
    written.unwrap_or_else(|| {
        remarks.changed(
            said,
            format!("expected 1 to 255; keepalived takes {PRIORITY}, and so it is here"),
        );
        usual
    })
}

fn source(said: &Statement, family: Family, vips: &[Vip], remarks: &mut Remarks) -> Option<IpAddr> {
    let source: Option<IpAddr> = argument(said, remarks)?.parse().ok();
    let Some(source) = source.filter(|source| Family::of(*source) == family) else {
        remarks.lost(
            said,
            format!("expected an IPv{} address, as the first of its addresses is", family.number()),
        );
        return None;
    };
    if vips.iter().any(|vip| vip.address == source) {
        let why = "it is one of its addresses, and a box has its source whoever has those: name one that is this box's own";
        remarks.lost(said, why);
        return None;
    }
    Some(source)
}

fn preempt(said: &Said<'_>, remarks: &mut Remarks) -> Preempt {
    match said.preempt.filter(|said| said.name() == "nopreempt") {
        Some(never) => {
            if said.is_master {
                let why = "beside state MASTER keepalived takes over all the same; here nobody is taken over from";
                remarks.changed(never, why);
            }
            if let Some(delay) = said.preempt_delay {
                remarks.needless(delay, "nopreempt stands beside it");
            }
            Preempt::Never
        }
        None => {
            let delay = said.preempt_delay.and_then(|said| preempt_delay(said, remarks));
            if let Some(delay) = said.preempt_delay.filter(|_| said.is_master) {
                remarks.changed(
                    delay,
                    "beside state MASTER keepalived does not wait; here it is waited for",
                );
            }
            Preempt::After(delay.unwrap_or_default())
        }
    }
}

fn preempt_delay(said: &Statement, remarks: &mut Remarks) -> Option<Duration> {
    let time = seconds(argument(said, remarks)?).filter(|time| *time <= LONGEST_PREEMPT_DELAY);
    if time.is_none() {
        remarks.changed(said, "expected 0 to 1000 seconds; keepalived takes 0, and so it is here");
    }
    // No sooner than was asked for: site.toml counts milliseconds.
    let millis = time?.as_micros().div_ceil(1000);
    Some(Duration::from_millis(u64::try_from(millis).ok()?))
}

/// How often the link is told where the addresses are.
pub fn refresh(said: &Statement, remarks: &mut Remarks) -> Option<Refresh> {
    match argument(said, remarks)?.parse() {
        Ok(0) => Some(Refresh::Never),
        Ok(seconds @ 1..=LONGEST_REFRESH) => Some(Refresh::Every(Duration::from_secs(seconds))),
        Ok(_) | Err(_) => {
            remarks.lost(said, "expected 0 to 86400 seconds");
            None
        }
    }
}
