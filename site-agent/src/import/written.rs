//! Virtual routers as `site.toml` has them.

use std::fmt::Write as _;
use std::path::Path;

use common::duration;

use super::on_one_line;
use super::router::Router;
use super::signature::{Authentication, Signature, Window, key_file};
use crate::vrrp::advert::{Interval, Version};
use crate::vrrp::machine::settings::{Preempt, Refresh};
use crate::vrrp::packet::Family;

pub fn written(from: &Path, routers: &[Router]) -> String {
    let from = on_one_line(&from.to_string_lossy());
    let mut text = format!(
        "# Made of {from} by `site-agent import`, which told what could not be carried over.\n"
    );
    for router in routers {
        // A String takes whatever is written into it.
        let _ = self::router(router, &mut text);
    }
    text
}

fn router(router: &Router, out: &mut String) -> std::fmt::Result {
    let Router {
        place,
        name,
        interface,
        vrid,
        vips,
        priority,
        version,
        interval,
        peers,
        max_hops,
        source,
        preempt,
        refresh,
        is_summed_alone,
        authentication,
    } = router;
    let heading = if name.contains('.') { string(name) } else { name.clone() };
    writeln!(
        out,
        "\n# {place}\n[vrrp.{heading}]\ninterface = {}\nvrid = {vrid}",
        string(interface)
    )?;
    list("vips", vips, out)?;
    writeln!(out, "priority = {priority}")?;
    spoken(*version, router.family(), *interval, authentication, out)?;
    if !peers.is_empty() {
        list("peers", peers, out)?;
    }
    if let Some(hops) = max_hops {
        writeln!(out, "max_hops = {hops}")?;
    }
    if let Some(source) = source {
        writeln!(out, "source = \"{source}\"")?;
    }
    match preempt {
        Preempt::Never => writeln!(out, "preempt = \"never\"")?,
        Preempt::After(delay) if delay.is_zero() => writeln!(out, "preempt = \"0s\"")?,
        Preempt::After(delay) => writeln!(out, "preempt = \"{}\"", duration::shown(*delay))?,
    }
    match refresh {
        None => {}
        Some(Refresh::Never) => writeln!(out, "refresh = \"never\"")?,
        Some(Refresh::Every(time)) => writeln!(out, "refresh = \"{}\"", duration::shown(*time))?,
    }
    if *is_summed_alone {
        writeln!(out, "checksum = \"rfc9568\"")?;
    }
    match authentication {
        Authentication::None => Ok(()),
        Authentication::Password(password) => writeln!(out, "password = {}", string(password)),
        Authentication::Signature(signature) => self::signature(signature, name, out),
    }
}

/// Version and interval: ours are others where nothing is said.
fn spoken(
    version: Version,
    family: Family,
    interval: Interval,
    authentication: &Authentication,
    out: &mut String,
) -> std::fmt::Result {
    let interval = duration::shown(interval.duration());
    match (version, family, authentication) {
        // A password is of version 2, so nothing else is to be heard.
        (Version::V2, _, Authentication::Password(_)) => writeln!(out, "version = 2")?,
        // Hears version 3 as well, so that the boxes can go over to it one by one.
        (Version::V2, _, Authentication::None | Authentication::Signature(_))
        | (Version::V3, Family::V6, _) => writeln!(out, "profile = \"compat\"")?,
        (Version::V3, Family::V4, _) => writeln!(out, "version = 3")?,
    }
    writeln!(out, "interval = \"{interval}\"")
}

fn signature(signature: &Signature, router: &str, out: &mut String) -> std::fmt::Result {
    let Signature { keys, sign_with, mode, window } = signature;
    out.push_str("signature = { keys = [");
    for (place, id) in keys.iter().enumerate() {
        let comma = if place > 0 { ", " } else { "" };
        write!(out, "{comma}{{ id = {id}, file = {} }}", string(&key_file(router, *id)))?;
    }
    out.push(']');
    if let Some(id) = sign_with {
        write!(out, ", sign_with = {id}")?;
    }
    if let Some(mode) = mode {
        write!(out, ", mode = {}", string(mode))?;
    }
    match window {
        None => {}
        Some(Window::Never) => write!(out, ", window = \"never\"")?,
        Some(Window::Within(time)) => write!(out, ", window = \"{}\"", duration::shown(*time))?,
    }
    writeln!(out, " }}")
}

/// One on each line, where there are several.
fn list(key: &str, items: &[impl std::fmt::Display], out: &mut String) -> std::fmt::Result {
    if let [item] = items {
        return writeln!(out, "{key} = [\"{item}\"]");
    }
    writeln!(out, "{key} = [")?;
    for item in items {
        writeln!(out, "    \"{item}\",")?;
    }
    writeln!(out, "]")
}

/// As TOML quotes it.
fn string(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            _ if letter.is_control() => {
                quoted.push_str(&format!("\\u{:04X}", u32::from(letter)));
            }
            _ => quoted.push(letter),
        }
    }
    quoted + "\""
}
