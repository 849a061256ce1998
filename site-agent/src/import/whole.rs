//! The whole configuration: what it says for all, each instance, and each statement beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::blocks::Statement;
use super::router::{self, Globals, Router};
use super::{Fate, Remarks, named};
use crate::config::MOST_NAMES;
use crate::vrrp::advert::Version;

/// Letters of a name, as `site.toml` has them.
const LONGEST_NAME: usize = 64;

pub fn routers(statements: &[Statement], remarks: &mut Remarks) -> Vec<Router> {
    let globals = globals(statements, remarks);
    let mut seen = Seen::default();
    for said in statements {
        match said.name() {
            "global_defs" => {}
            "vrrp_instance" => {
                // What was said of its parts is of no use without it.
                let mut of_parts = Remarks::default();
                match instance(said, &globals, &mut seen, &mut of_parts) {
                    Ok(()) => remarks.0.append(&mut of_parts.0),
                    Err(why) => remarks.lost(said, why),
                }
            }
            "vrrp_sync_group" => sync_group(said, remarks),
            _ => named::at_top(said, remarks),
        }
    }
    seen.routers
}

fn globals(statements: &[Statement], remarks: &mut Remarks) -> Globals {
    let mut globals = Globals { version: Version::V2, refresh: None, is_summed_alone: false };
    for block in statements.iter().filter(|said| said.name() == "global_defs") {
        for said in router::entries(block, remarks) {
            match said.name() {
                "vrrp_version" => {
                    globals.version = router::version_of(said, remarks).unwrap_or(globals.version);
                }
                "vrrp_garp_master_refresh" => {
                    globals.refresh = router::refresh(said, remarks).or(globals.refresh);
                }
                "v3_checksum_as_v2" => globals.is_summed_alone = router::flag(said, remarks),
                _ => named::of_global_defs(said, remarks),
            }
        }
    }
    globals
}

/// What two virtual routers may not have in common.
#[derive(Default)]
struct Seen {
    routers: Vec<Router>,
    /// As keepalived calls them.
    instances: BTreeSet<String>,
    names: BTreeSet<String>,
    places: BTreeMap<(String, u8, u8), String>,
    vips: BTreeMap<IpAddr, String>,
}

/// An error is why there can be no virtual router of it.
fn instance(
    said: &Statement,
    globals: &Globals,
    seen: &mut Seen,
    remarks: &mut Remarks,
) -> Result<(), String> {
    let [written] = said.rest() else { return Err("expected one name behind it".to_owned()) };
    if !seen.instances.insert(written.clone()) {
        return Err("there is one of that name already, and keepalived takes that alone".to_owned());
    }
    if seen.routers.len() == MOST_NAMES {
        return Err(format!("there are {MOST_NAMES} already, and a site has no more"));
    }
    let name = free_name(written, &seen.names);
    let router = router::router(said, name.clone(), globals, &seen.vips, remarks)?;
    let (vrid, interface) = (router.vrid.get(), router.interface.clone());
    let key = (interface.clone(), vrid, router.family().number());
    if let Some(other) = seen.places.get(&key) {
        return Err(format!("vrrp.{other} has VRID {vrid} on {interface} already"));
    }
    if name != *written {
        let why = format!(
            "it is called {name}: a name is {LONGEST_NAME} letters, digits, -, . and _ at most"
        );
        remarks.add(&said.place, Fate::Changed, &said.shown_words(), why);
    }
    seen.places.insert(key, name.clone());
    seen.vips.extend(router.vips.iter().map(|vip| (vip.address, name.clone())));
    seen.names.insert(name);
    seen.routers.push(router);
    Ok(())
}

/// A name that `site.toml` can have, and nobody has yet.
fn free_name(written: &str, taken: &BTreeSet<String>) -> String {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
    let letters = written.chars().map(|letter| if fits(letter) { letter } else { '-' });
    let name: String = letters.take(LONGEST_NAME).collect();
    let name = if name.is_empty() { "router".to_owned() } else { name };
    if !taken.contains(&name) {
        return name;
    }
    let numbered = (2..).map(|number| {
        let end = format!("-{number}");
        format!("{:.*}{end}", LONGEST_NAME - end.len(), name)
    });
    numbered.into_iter().find(|name| !taken.contains(name)).unwrap_or(name)
}

fn sync_group(said: &Statement, remarks: &mut Remarks) {
    let mut members = vec![];
    for part in said.block.as_deref().unwrap_or_default() {
        match part.name() {
            "group" => {
                for line in router::entries(part, remarks) {
                    members.push(line.name());
                    members.extend(line.rest().iter().map(String::as_str));
                }
            }
            _ => named::of_group(part, remarks),
        }
    }
    let name = said.rest().join(" ");
    let shown = format!("{} {name} ({})", said.name(), members.join(", "));
    let why = "each virtual router moves by itself: addresses of one interface that have to move together belong in the vips of one \
               [vrrp.NAME]";
    remarks.add(&said.place, Fate::Lost, &shown, why);
}
