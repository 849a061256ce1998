//! The parameters of SVCB and HTTPS records (RFC 9460 §2, §7, §8).
//!
//! Text is turned to wire form parameter by parameter; what must hold of a value and between
//! parameters is checked on the wire form alone, so that RFC 3597 data is held to the same.

use std::fmt::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::encoding::BASE64;
use super::super::lexer::{Form, Token};
use super::super::words::{Fault, Words, decimal, unescape};
use super::wire::{Malformed, Wire};
use super::{address, number, string};
use crate::binding::Key;

/// At the index of their number.
const NAMES: [&str; 9] = [
    "mandatory",
    "alpn",
    "no-default-alpn",
    "port",
    "ipv4hint",
    "ech",
    "ipv6hint",
    "dohpath",
    "ohttp",
];

pub fn read(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut params: Vec<(Key, Vec<u8>)> = Vec::new();
    while let Some(token) = words.next() {
        let (key, value) = param(token)?;
        if params.iter().any(|&(other, _)| other == key) {
            return Err(token.fault(format!("{key} is there twice; expected each key once")));
        }
        params.push((key, value));
    }
    params.sort_unstable_by_key(|&(key, _)| key);
    for (key, value) in params {
        let length = u16::try_from(value.len()).map_err(|_| Fault {
            line: words.line(),
            message: format!("{key}: the value is {} octets; expected at most 65535", value.len()),
        })?;
        out.extend(key.0.to_be_bytes());
        out.extend(length.to_be_bytes());
        out.extend(value);
    }
    Ok(())
}

pub fn present(wire: &mut Wire<'_>, out: &mut String) -> Result<(), Malformed> {
    let mut blank = "";
    for param in Params(Wire::new(wire.rest())) {
        let (key, value) = param?;
        out.push_str(blank);
        number::present(key, out);
        key.present(value, out);
        blank = " ";
    }
    Ok(())
}

/// What must hold of the data as a whole, its priority first.
pub fn consistent(rdata: &[u8]) -> Result<(), String> {
    let mut wire = Wire::new(rdata);
    let parts = wire.u16().and_then(|priority| wire.name().map(|_| priority));
    let priority = parts.map_err(|Malformed(why)| why)?;
    let params: Result<Vec<_>, Malformed> = Params(wire).collect();
    let params = params.map_err(|Malformed(why)| why)?;

    if priority == 0 && !params.is_empty() {
        return Err(
            "priority 0 makes an alias, which has no parameters (RFC 9460 §2.4.2)".to_owned()
        );
    }
    if params.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
        return Err("the keys do not ascend".to_owned());
    }
    for &(key, value) in &params {
        key.check(value).map_err(|why| format!("{key}: {why}"))?;
    }
    let has = |sought| params.iter().any(|&(key, _)| key == sought);
    if let Some(&(Key::MANDATORY, keys)) = params.first()
        && let Some(key) = keys_in(keys).find(|&key| !has(key))
    {
        return Err(format!("mandatory: {key} is named and not there; expected it as a parameter"));
    }
    if has(Key::NO_DEFAULT_ALPN) && !has(Key::ALPN) {
        return Err(
            "no-default-alpn stands without alpn; expected both (RFC 9460 §7.1.1)".to_owned()
        );
    }
    Ok(())
}

/// Reads `key`, `key=value` or `key="value"`.
fn param(token: Token<'_>) -> Result<(Key, Vec<u8>), Fault> {
    if token.form == Form::Quoted {
        return Err(token.is_not("a parameter; expected the quotes around its value alone"));
    }
    let equals = token.text.iter().position(|&byte| byte == b'=');
    let (name, value) = match equals {
        Some(at) => (&token.text[..at], &token.text[at + 1..]),
        None => (token.text, &b""[..]),
    };
    let value = match token.form {
        Form::Pair => value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")),
        Form::Bare | Form::Quoted => Some(value),
    };
    // A second "=" before the quotes leaves them inside the value.
    let value = value.ok_or_else(|| token.is_not("key=value or key=\"value\""))?;
    let key = Key::parse(name).map_err(|why| token.fault(why))?;
    let mut octets = Vec::new();
    unescape(value, &mut octets).map_err(|error| token.fault(format!("{key}: {error}")))?;
    let octets = match Numbered::is(name) {
        // By its number a key has no known syntax: the value is the wire form.
        true => octets,
        false => key.encode(&octets).map_err(|why| token.fault(format!("{key}: {why}")))?,
    };
    Ok((key, octets))
}

/// `keyNNNNN`, without leading zeros.
struct Numbered;

impl Numbered {
    fn is(name: &[u8]) -> bool {
        Numbered::parse(name).is_some()
    }

    fn parse(name: &[u8]) -> Option<Key> {
        let digits = name.strip_prefix(b"key")?;
        let plain = digits == b"0" || digits.first() != Some(&b'0');
        let number = decimal(digits).filter(|_| plain)?;
        // 65535 is no key (RFC 9460 §14.3.2).
        u16::try_from(number).ok().filter(|&number| number < u16::MAX).map(Key)
    }
}

impl Key {
    /// By its name in text, or as `keyNNNNN`; the error is the whole message.
    pub fn parse(name: &[u8]) -> Result<Key, String> {
        let named = NAMES.iter().position(|known| known.as_bytes() == name);
        named.map(|number| Key(number as u16)).or_else(|| Numbered::parse(name)).ok_or_else(|| {
            format!(
                "\"{}\" is not a key (known: {}; others are key0 to key65534)",
                name.escape_ascii(),
                NAMES.join(", ")
            )
        })
    }

    /// The wire form of a value in the text form of its key.
    pub fn encode(self, text: &[u8]) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        match self {
            Key::MANDATORY => {
                let keys: Result<Vec<Key>, String> = items(text).map(Key::parse).collect();
                let mut keys = keys?;
                keys.sort_unstable();
                out.extend(keys.iter().flat_map(|key| key.0.to_be_bytes()));
            }
            Key::ALPN => {
                for protocol in value_list(text) {
                    let length = protocol.len();
                    let counted = u8::try_from(length).map_err(|_| {
                        format!("a protocol is {length} octets; expected at most 255")
                    })?;
                    out.push(counted);
                    out.extend(protocol);
                }
            }
            Key::PORT => {
                let port = decimal(text).and_then(|port| u16::try_from(port).ok());
                out.extend(
                    port.ok_or_else(|| wrong(text, "a port from 0 to 65535"))?.to_be_bytes(),
                );
            }
            Key::IPV4HINT => {
                for hint in items(text) {
                    let address =
                        address::ipv4(hint).ok_or_else(|| wrong(hint, "an IPv4 address"))?;
                    out.extend(address.octets());
                }
            }
            Key::IPV6HINT => {
                for hint in items(text) {
                    let address =
                        address::ipv6(hint).ok_or_else(|| wrong(hint, "an IPv6 address"))?;
                    out.extend(address.octets());
                }
            }
            Key::ECH => BASE64.decode(text, &mut out).map_err(|error| error.to_string())?,
            _ => out.extend_from_slice(text),
        }
        Ok(out)
    }

    /// Whether `value` may stand behind this key on the wire.
    pub fn check(self, value: &[u8]) -> Result<(), &'static str> {
        let must = |holds: bool, why| if holds { Ok(()) } else { Err(why) };
        match self {
            Key::MANDATORY => {
                let keys: Vec<Key> = keys_in(value).collect();
                must(!keys.is_empty() && value.len().is_multiple_of(2), "expected a key or more")?;
                must(
                    keys.is_sorted_by(|one, next| one < next),
                    "a key is named twice or out of order",
                )?;
                must(!keys.contains(&Key::MANDATORY), "it may not name itself")
            }
            Key::ALPN => {
                must(!value.is_empty(), "expected a protocol or more")?;
                let mut wire = Wire::new(value);
                while wire.left() > 0 {
                    let protocol = wire.counted().map_err(|_| "a protocol is cut short")?;
                    must(!protocol.is_empty(), "a protocol is empty")?;
                }
                Ok(())
            }
            Key::NO_DEFAULT_ALPN | Key::OHTTP => must(value.is_empty(), "expected no value"),
            Key::PORT => must(value.len() == 2, "expected a port"),
            Key::IPV4HINT => must(
                !value.is_empty() && value.len().is_multiple_of(4),
                "expected an IPv4 address or more",
            ),
            Key::IPV6HINT => must(
                !value.is_empty() && value.len().is_multiple_of(16),
                "expected an IPv6 address or more",
            ),
            // RFC 9849 §4: the list begins with its length, so one cut short is known.
            Key::ECH => {
                let mut wire = Wire::new(value);
                let length = wire.u16().map_or(0, usize::from);
                must(length > 0 && length == wire.left(), "expected a whole ECHConfigList")
            }
            Key::DOHPATH => {
                let path = str::from_utf8(value).unwrap_or_default();
                must(
                    path.starts_with('/') && has_dns_variable(path),
                    "expected a path with the variable dns, such as /dns-query{?dns} (RFC 9461 §5)",
                )
            }
            _ => Ok(()),
        }
    }

    /// Appends `=` and the value, if it has one. A value not as its key has it, which `check`
    /// would refuse, may come out as anything.
    fn present(self, value: &[u8], out: &mut String) {
        if value.is_empty() {
            return;
        }
        out.push('=');
        match self {
            Key::MANDATORY => separated(keys_in(value), out),
            Key::ALPN => {
                let mut list = Vec::new();
                let mut wire = Wire::new(value);
                while let Ok(protocol) = wire.counted() {
                    if !list.is_empty() {
                        list.push(b',');
                    }
                    for &byte in protocol {
                        if matches!(byte, b',' | b'\\') {
                            list.push(b'\\');
                        }
                        list.push(byte);
                    }
                }
                string::quote(&list, out);
            }
            Key::PORT => {
                separated(value.as_chunks().0.iter().map(|&port| u16::from_be_bytes(port)), out)
            }
            Key::IPV4HINT => {
                separated(value.as_chunks::<4>().0.iter().map(|&hint| Ipv4Addr::from(hint)), out)
            }
            Key::IPV6HINT => {
                separated(value.as_chunks::<16>().0.iter().map(|&hint| Ipv6Addr::from(hint)), out)
            }
            Key::ECH => BASE64.encode(value, out),
            _ => string::quote(value, out),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "key{}", self.0),
        }
    }
}

/// Keys and values on the wire, to the end.
struct Params<'w>(Wire<'w>);

impl<'w> Iterator for Params<'w> {
    type Item = Result<(Key, &'w [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let wire = &mut self.0;
        if wire.left() == 0 {
            return None;
        }
        let mut param = || {
            let (key, length) = (wire.u16()?, wire.u16()?);
            match key {
                u16::MAX => Err("65535 is not a key".into()),
                _ => Ok((Key(key), wire.take(usize::from(length))?)),
            }
        };
        let param = param();
        if param.is_err() {
            wire.rest(); // So that the iteration ends.
        }
        Some(param)
    }
}

fn keys_in(value: &[u8]) -> impl Iterator<Item = Key> {
    value.as_chunks().0.iter().map(|&key| Key(u16::from_be_bytes(key)))
}

/// Items between commas; an empty text has none.
fn items(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b',').filter(move |_| !text.is_empty())
}

/// Items of a list in which `\,` and `\\` keep comma and backslash (RFC 9460 appendix A.1). This
/// comes after the escapes of the string itself, hence the doubled backslashes in files.
fn value_list(text: &[u8]) -> Vec<Vec<u8>> {
    let mut list = Vec::new();
    if text.is_empty() {
        return list;
    }
    let mut item = Vec::new();
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        match byte {
            b',' => list.push(std::mem::take(&mut item)),
            b'\\' => item.extend(rest.next()),
            other => item.push(other),
        }
    }
    list.push(item);
    list
}

/// Whether some expression of the URI template has the variable `dns` (RFC 6570 §2.3).
fn has_dns_variable(template: &str) -> bool {
    let expressions = template.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    expressions
        .flat_map(|(expression, _)| {
            expression.trim_start_matches(['+', '#', '.', '/', ';', '?', '&']).split(',')
        })
        .any(|variable| variable == "dns")
}

fn separated(items: impl Iterator<Item = impl fmt::Display>, out: &mut String) {
    let mut comma = "";
    for item in items {
        // Writing to a String does not fail.
        let _ = write!(out, "{comma}{item}");
        comma = ",";
    }
}

fn wrong(text: &[u8], expected: &str) -> String {
    format!("\"{}\" is not {expected}", text.escape_ascii())
}
