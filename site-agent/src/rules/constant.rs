//! Constants of a condition, judged for the place where they stand: once, before any request.

use std::net::IpAddr;

use common::config::read::Word as _;
use ipnet::IpNet;
use regex::bytes::{Regex, RegexBuilder};

use super::condition::{Octets, Suffix};
use super::functions::Parameter;
use super::tree::{Expression, Node, quoted};
use super::{LARGEST_REGEX, Mistake};

/// A constant as its place wants it.
pub enum Constant {
    Network(IpNet),
    Port(u16),
    Octets(Octets),
    Suffix(Suffix),
    Regex(Regex),
}

/// Reads one for its place.
pub fn constant(parameter: Parameter, written: &Expression) -> Result<Constant, Mistake> {
    let read = match (&written.node, parameter) {
        (Node::Int(number), Parameter::Port) => port(*number).map(Constant::Port),
        (_, Parameter::Port) => Err(misfit(parameter, written)),
        (Node::Text(text), _) => of_text(parameter, text),
        (_, _) => Err(misfit(parameter, written)),
    };
    read.map_err(|message| Mistake::new(written.span.clone(), message))
}

/// What stands there, for messages.
pub fn described(written: &Expression) -> String {
    match &written.node {
        Node::Text(text) => format!("the string {}", quoted(text)),
        Node::Int(number) => format!("the number {number}"),
        Node::Duration(_) => format!("the duration {written}"),
        Node::Bool(_) | Node::Call(..) => written.to_string(),
        Node::Or(_) | Node::And(_) | Node::Not(_) | Node::Compare(..) | Node::In(..) => {
            "a test".to_owned()
        }
    }
}

fn misfit(parameter: Parameter, written: &Expression) -> String {
    let hint = match (&written.node, parameter) {
        (Node::Text(text), Parameter::Port) if text.parse::<u16>().is_ok() => {
            format!("; write {text} without quotes")
        }
        _ => String::new(),
    };
    format!("found {}, expected {}{hint}", described(written), parameter.expected())
}

fn of_text(parameter: Parameter, text: &str) -> Result<Constant, String> {
    match parameter {
        Parameter::Network => network(text).map(Constant::Network),
        Parameter::Method => method(text).map(Constant::Octets),
        Parameter::Host => host(text).map(|name| Constant::Octets(octets(&name))),
        Parameter::Suffix => suffix(text).map(Constant::Suffix),
        Parameter::Path => path(text, &["/.", "/.."]).map(Constant::Octets),
        Parameter::Prefix => path(text, &[]).map(Constant::Octets),
        Parameter::Regex => regex(text).map(Constant::Regex),
        Parameter::Header => header(text).map(Constant::Octets),
        Parameter::Name if text.is_empty() => {
            Err(format!("is empty, expected {}", parameter.expected()))
        }
        Parameter::Name | Parameter::Text => Ok(Constant::Octets(octets(text))),
        Parameter::Port => Err(format!("found a string, expected {}", parameter.expected())),
    }
}

fn octets(text: &str) -> Octets {
    text.as_bytes().into()
}

fn port(number: i64) -> Result<u16, String> {
    let port = u16::try_from(number).ok().filter(|port| *port != 0);
    port.ok_or_else(|| format!("found {number}, expected {}", Parameter::Port.expected()))
}

/// Its text in messages has double quotes, as configs have; here strings have single ones.
fn network(text: &str) -> Result<IpNet, String> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(IpNet::from(address.to_canonical())),
        Err(_) => IpNet::word(text).map_err(|message| message.replace('"', "'")),
    }
}

/// RFC 9110 §9.1: a token, and its case counts.
fn method(text: &str) -> Result<Octets, String> {
    if !is_token(text) {
        return Err(format!("{} is no method, expected one such as 'GET'", quoted(text)));
    }
    if text.bytes().any(|octet| octet.is_ascii_lowercase()) {
        let upper = quoted(&text.to_ascii_uppercase());
        return Err(format!("methods are in upper case; did you mean {upper}?"));
    }
    Ok(octets(text))
}

/// In lower case.
fn header(text: &str) -> Result<Octets, String> {
    match is_token(text) {
        true => Ok(octets(&text.to_ascii_lowercase())),
        false => Err(format!("{} is no header's name", quoted(text))),
    }
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let is_of_token =
        |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet);
    !text.is_empty() && text.bytes().all(is_of_token)
}

/// In lower case.
fn host(text: &str) -> Result<String, String> {
    let is_of_name = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
    let expected = Parameter::Host.expected();
    if let Some(bare) = text.strip_suffix('.').filter(|bare| !bare.is_empty()) {
        return Err(format!("names are seen without their final dot; write {}", quoted(bare)));
    }
    if text.contains('*') {
        return Err(format!("a * stands for itself alone; use host_suffix for {}", quoted(text)));
    }
    let within = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let is_v6 = within.is_some_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
    let is_name = !text.is_empty() && text.bytes().all(is_of_name);
    match text.rsplit_once(':') {
        _ if is_name || is_v6 => Ok(text.to_ascii_lowercase()),
        Some((name, port)) if !name.contains(':') && port.parse::<u16>().is_ok() => {
            Err(format!("hosts are seen without their port; write {}", quoted(name)))
        }
        _ => Err(format!("{} is no host's name, expected {expected}", quoted(text))),
    }
}

fn suffix(text: &str) -> Result<Suffix, String> {
    let (name, with_itself) = match text.strip_prefix("*.").or_else(|| text.strip_prefix('.')) {
        Some(name) => (name, false),
        None => (text, true),
    };
    Ok(Suffix { name: octets(&host(name)?), with_itself })
}

/// What could never be found in the normal form is a mistake. `ends` are those that only a whole path cannot have.
fn path(text: &str, ends: &[&str]) -> Result<Octets, String> {
    let expected = Parameter::Path.expected();
    if !text.starts_with('/') {
        return Err(format!("{} does not begin with /, as every path does", quoted(text)));
    }
    if let Some(never) = ["//", "/./", "/../"].iter().find(|never| text.contains(**never)) {
        return Err(format!(
            "no path has {never} when rules see it: slashes in a row are one, dot segments are \
             taken out (expected {expected})"
        ));
    }
    if let Some(never) = ends.iter().find(|never| text.ends_with(**never)) {
        return Err(format!("no path ends with {never} when rules see it (expected {expected})"));
    }
    let encoded = text.as_bytes().windows(3).find_map(|window| match window {
        [b'%', high, low] => super::path::octet(*high, *low),
        _ => None,
    });
    match encoded {
        Some(octet) => Err(format!(
            "paths are decoded before rules see them; write {:?} for the escape, or use path_regex \
             if a path is meant that has a % itself",
            char::from(octet)
        )),
        None => Ok(octets(text)),
    }
}

/// Octets and not letters are matched, so that nothing that is no UTF-8, and no line end, hides from a `.`.
fn regex(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text)
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(LARGEST_REGEX)
        .dfa_size_limit(LARGEST_REGEX)
        .build();
    built.map_err(|error| {
        // The library draws the expression over several lines; ours are one.
        let error = error.to_string();
        let last = error.lines().last().unwrap_or_default().trim();
        let last = last.strip_prefix("error: ").unwrap_or(last);
        format!("is no regular expression: {last}")
    })
}
