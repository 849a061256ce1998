//! What a service answers to HTTPS and SVCB: parameters, and the sites' own names (RFC 9460).

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{or, within};
use crate::binding::{Binding, Key, MAX_PARAMS, Params, Targets};
use crate::config::file;
use crate::config::problems::{Problem, Problems, Spot};
use crate::config::read::{At, List};
use crate::name::Name;
use crate::record::RecordType;
use crate::world::{MAX_TAKE, Take, Vips};

const MOST_ALTERNATIVES: i64 = MAX_TAKE as i64;
/// Octets of an ALPN protocol's name (RFC 7301 §3.1).
const LONGEST_PROTOCOL: usize = 255;

/// One site as a binding sees it.
pub struct Site<'f> {
    pub spot: &'f Spot,
    /// `None` if it has a CNAME.
    pub vips: Option<&'f Vips>,
    /// What it says of this type; the outer `None` is what could not be read.
    pub own: Option<Option<&'f At<file::SiteBinding>>>,
}

/// A binding, and the names that have yet to be looked up in the zones.
#[derive(Default)]
pub struct Checked {
    pub binding: Option<Binding>,
    pub targets: Vec<Target>,
}

/// A name that has to lead to one site.
pub struct Target {
    pub name: At<Name>,
    pub vips: Vips,
}

/// Values in wire form. `None` is a key that a site takes back from its service.
type Values = BTreeMap<Key, Option<Vec<u8>>>;

/// What one table says.
struct Fields<'f> {
    alpn: &'f Option<Option<At<List<At<String>>>>>,
    no_default_alpn: &'f Option<Option<At<bool>>>,
    port: &'f Option<Option<At<i64>>>,
    ech: &'f Option<Option<At<String>>>,
    dohpath: &'f Option<Option<At<String>>>,
    mandatory: &'f Option<Option<At<List<At<String>>>>>,
}

/// `rtype` is HTTPS or SVCB. `sites` and `take` are `None` where something is wrong with them.
pub fn binding(
    rtype: RecordType,
    raw: &Option<Option<At<file::Binding>>>,
    sites: Option<&[Site<'_>]>,
    take: Option<Take>,
    problems: &mut Problems,
) -> Option<Checked> {
    let key = rtype.to_string().to_ascii_lowercase();
    let own = || sites.into_iter().flatten().filter_map(|site| site.own.flatten());
    let Some(At { value: raw, spot }) = raw.as_ref()? else {
        for own in own() {
            let message = format!("the service has no {key}; give it one, which may be empty");
            problems.add(own.spot.problem(message));
        }
        return own().next().is_none().then(Checked::default);
    };
    let file::Binding { alpn, no_default_alpn, port, ech, dohpath, mandatory, alternatives } = raw;
    let fields = Fields { alpn, no_default_alpn, port, ech, dohpath, mandatory };
    let values = values(rtype, &fields, problems);
    let values = values.filter(|values| problems.one(consistent(values, spot)).is_some());
    let has_targets = own().next().is_some();
    let alternatives = self::alternatives(alternatives, has_targets, take, &key, problems);
    let sites = sites?;
    if sites.iter().any(|site| site.vips.is_none()) {
        problems.add(spot.problem(format!(
            "the service answers every type with a CNAME, and {rtype} records stand at its target; \
             remove {key}"
        )));
        return None;
    }
    let (values, alternatives) = (values?, alternatives?);
    let params = params(&values);
    if !has_targets {
        return Some(Checked { binding: Some(Binding { params, targets: None }), targets: vec![] });
    }
    let mut led = Vec::new();
    let mut data = Vec::new();
    for site in sites {
        if let Some((target, rendered)) = alternative(rtype, site, sites, &values, &led, problems) {
            led.push(target);
            data.push(rendered);
        }
    }
    if data.len() < sites.len() {
        return None;
    }
    let targets = Some(Targets { alternatives, data });
    Some(Checked { binding: Some(Binding { params, targets }), targets: led })
}

/// Where one site's record leads, and its data behind the priority; `None` if anything is wrong with it,
/// which is told.
fn alternative(
    rtype: RecordType,
    site: &Site<'_>,
    sites: &[Site<'_>],
    of_service: &Values,
    before: &[Target],
    problems: &mut Problems,
) -> Option<(Target, Box<[u8]>)> {
    let Some(At { value: raw, spot }) = site.own? else {
        let first = sites.iter().find_map(|site| site.own.flatten())?;
        problems.add(site.spot.problem(format!(
            "has no target where {} has one: an answer may hold both sites; give every site of the \
             service one, or none",
            first.spot
        )));
        return None;
    };
    let file::SiteBinding { target, alpn, no_default_alpn, port, ech, dohpath, mandatory } = raw;
    let fields = Fields { alpn, no_default_alpn, port, ech, dohpath, mandatory };
    let own = values(rtype, &fields, problems);
    let target = problems.one(self::target(target.as_ref()?.as_ref(), spot, before))?;
    let vips = site.vips?;
    problems.one(same_families(site, vips, sites))?;
    let mut values = of_service.clone();
    values.extend(own?);
    problems.one(consistent(&values, spot))?;
    let data = params(&values).render(&target.value, &vips.v4, &vips.v6);
    Some((Target { name: target.clone(), vips: vips.clone() }, data))
}

fn target<'f>(
    target: Option<&'f At<Name>>,
    table: &Spot,
    before: &[Target],
) -> Result<&'f At<Name>, Problem> {
    let Some(target) = target else {
        return Err(table.problem(
            "target is missing: what holds for one site alone needs a name that leads to it alone \
             (such as target = \"fra.example.com\"); give it, or move these keys to the service",
        ));
    };
    let At { value: name, spot } = target;
    if name.wire().len() == 1 {
        let message = "\".\" is the service's own name, which leads to every site; give the site's";
        return Err(spot.problem(message));
    }
    match before.iter().find(|other| other.name.value == *name) {
        Some(other) => Err(spot.problem(format!(
            "{name} is {} too, and a name leads to one site; give each its own",
            other.name.spot
        ))),
        None => Ok(target),
    }
}

/// A client that has one family must be able to follow whichever record it is given.
fn same_families(site: &Site<'_>, vips: &Vips, sites: &[Site<'_>]) -> Result<(), Problem> {
    let others = || sites.iter().filter_map(|other| Some((other.spot, other.vips?)));
    let lacks = |family: &str, has: fn(&Vips) -> bool| {
        let (other, _) = others().find(|(_, other)| has(other) && !has(vips))?;
        Some(site.spot.problem(format!(
            "has no {family} address where {other} has one, so some clients could not follow its \
             target; give every site of the service the same families, or none a target"
        )))
    };
    let lacking =
        lacks("IPv4", |vips| !vips.v4.is_empty()).or(lacks("IPv6", |vips| !vips.v6.is_empty()));
    lacking.map_or(Ok(()), Err)
}

/// How many sites an answer lists: without a word of it, those that A and AAAA name.
fn alternatives(
    raw: &Option<Option<At<i64>>>,
    has_targets: bool,
    take: Option<Take>,
    key: &str,
    problems: &mut Problems,
) -> Option<u8> {
    let taken = take?.sites;
    or(raw.as_ref().map(Option::as_ref), taken, |alternatives| {
        if !has_targets {
            problems.add(alternatives.spot.problem(format!(
                "needs a name for each site: without one, every record would lead to the same \
                 addresses; give each site {key} = {{ target = \"...\" }}, or remove it"
            )));
            return None;
        }
        let least = i64::from(taken);
        problems.one(within(alternatives, least..=MOST_ALTERNATIVES))
    })
}

/// What a table says, key by key.
fn values(rtype: RecordType, fields: &Fields<'_>, problems: &mut Problems) -> Option<Values> {
    let Fields { alpn, no_default_alpn, port, ech, dohpath, mandatory } = fields;
    let read = [
        (Key::ALPN, given(alpn, |list| protocols(list, problems))),
        (
            Key::NO_DEFAULT_ALPN,
            given(no_default_alpn, |no_default| Some(no_default.value.then(Vec::new))),
        ),
        (
            Key::PORT,
            given(port, |port| {
                let port: u16 = problems.one(within(port, 1..=i64::from(u16::MAX)))?;
                Some(Some(port.to_be_bytes().to_vec()))
            }),
        ),
        (Key::ECH, given(ech, |ech| problems.one(self::ech(ech)).map(Some))),
        (Key::DOHPATH, given(dohpath, |path| problems.one(self::dohpath(rtype, path)).map(Some))),
        (Key::MANDATORY, given(mandatory, |keys| self::mandatory(rtype, keys, problems))),
    ];
    let mut values = Values::new();
    let mut is_sound = true;
    for (key, value) in read {
        match value {
            None => is_sound = false,
            Some(None) => {}
            Some(Some(value)) => {
                values.insert(key, value);
            }
        }
    }
    is_sound.then_some(values)
}

/// What is made of a key; the outer `None` if there is a problem with it, the inner if it is not there.
fn given<T, U>(raw: &Option<Option<T>>, check: impl FnOnce(&T) -> Option<U>) -> Option<Option<U>> {
    or(raw.as_ref().map(Option::as_ref), None, |value| check(value).map(Some))
}

fn protocols(list: &At<List<At<String>>>, problems: &mut Problems) -> Option<Option<Vec<u8>>> {
    if list.value.is_empty() {
        let message = "is empty; list the protocols, such as \"h2\", or leave the key out";
        problems.add(list.spot.problem(message));
        return None;
    }
    let mut names: Vec<&str> = Vec::new();
    for protocol in list.value.iter().flatten() {
        names.extend(problems.one(protocol_name(protocol, &names)));
    }
    let wire = names.iter().flat_map(|name| [&[name.len() as u8], name.as_bytes()].concat());
    (names.len() == list.value.len()).then(|| Some(wire.collect()))
}

fn protocol_name<'f>(name: &'f At<String>, before: &[&str]) -> Result<&'f str, Problem> {
    let At { value: text, spot } = name;
    if text.contains(',') {
        return Err(spot.problem(format!(
            "{text:?} holds a comma; write each protocol by itself, such as \"h3\", \"h2\""
        )));
    }
    let length = text.len();
    if !(1..=LONGEST_PROTOCOL).contains(&length) {
        return Err(spot.problem(format!(
            "is {length} octets; a protocol's name has 1 to {LONGEST_PROTOCOL} (RFC 7301 §3.1)"
        )));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(spot.problem(format!(
            "{text:?} is not the name of a protocol (expected letters, digits and marks of ASCII, \
             such as \"h2\" or \"http/1.1\")"
        )));
    }
    if before.contains(&&**text) {
        return Err(spot.problem(format!("{text:?} is listed twice; remove one")));
    }
    Ok(text)
}

fn ech(written: &At<String>) -> Result<Vec<u8>, Problem> {
    let At { value: text, spot } = written;
    let octets = Key::ECH.encode(text.as_bytes()).map_err(|why| spot.problem(why))?;
    Key::ECH.check(&octets).map_err(|_| {
        spot.problem(
            "is not a whole ECHConfigList in base64 (RFC 9849 §4): its length does not fit what \
             follows",
        )
    })?;
    Ok(octets)
}

fn dohpath(rtype: RecordType, written: &At<String>) -> Result<Vec<u8>, Problem> {
    let At { value: text, spot } = written;
    if rtype == RecordType::HTTPS {
        let message = "belongs to svcb, at the name of a resolver (RFC 9461 §5); remove it";
        return Err(spot.problem(message));
    }
    let octets = Key::DOHPATH.encode(text.as_bytes()).map_err(|why| spot.problem(why))?;
    Key::DOHPATH.check(&octets).map_err(|why| spot.problem(format!("found {text:?}, {why}")))?;
    Ok(octets)
}

fn mandatory(
    rtype: RecordType,
    list: &At<List<At<String>>>,
    problems: &mut Problems,
) -> Option<Option<Vec<u8>>> {
    if list.value.is_empty() {
        problems.add(list.spot.problem("is empty; name a key, or leave this one out"));
        return None;
    }
    let mut keys: Vec<Key> = Vec::new();
    for name in list.value.iter().flatten() {
        keys.extend(problems.one(mandatory_key(rtype, name, &keys)));
    }
    keys.sort_unstable();
    let is_sound = keys.len() == list.value.len();
    is_sound.then(|| Some(keys.iter().flat_map(|key| key.0.to_be_bytes()).collect()))
}

fn mandatory_key(rtype: RecordType, name: &At<String>, before: &[Key]) -> Result<Key, Problem> {
    let At { value: text, spot } = name;
    let key = Key::parse(text.as_bytes()).map_err(|why| spot.problem(why))?;
    let by_itself = rtype == RecordType::HTTPS && [Key::NO_DEFAULT_ALPN, Key::PORT].contains(&key);
    let why = match key {
        Key::MANDATORY => "may not name itself (RFC 9460 §8); remove it".to_owned(),
        Key::IPV4HINT | Key::IPV6HINT => {
            format!("{key} comes and goes with the steering, so nobody may insist on it; remove it")
        }
        _ if by_itself => {
            format!("{key} is mandatory by itself in HTTPS records (RFC 9460 §9); remove it")
        }
        _ if before.contains(&key) => format!("{key} is named twice; remove one"),
        _ => return Ok(key),
    };
    Err(spot.problem(why))
}

/// What must hold between the keys of one record.
fn consistent(values: &Values, table: &Spot) -> Result<(), Problem> {
    let has = |key: Key| values.get(&key).is_some_and(Option::is_some);
    if has(Key::NO_DEFAULT_ALPN) && !has(Key::ALPN) {
        return Err(table.problem(
            "no_default_alpn without alpn leaves no protocol at all (RFC 9460 §7.1.1); list those \
             that are spoken in alpn, or remove it",
        ));
    }
    let named = values.get(&Key::MANDATORY).into_iter().flatten();
    let mut named = named.flat_map(|keys| keys.as_chunks().0).map(|&key| u16::from_be_bytes(key));
    if let Some(missing) = named.find(|&key| !has(Key(key))) {
        return Err(table.problem(format!(
            "mandatory names {}, which is not there; give that key, or do not name it",
            Key(missing)
        )));
    }
    let length = params(values).length();
    if length > MAX_PARAMS {
        return Err(table.problem(format!(
            "takes {length} octets of a record, and {MAX_PARAMS} is the most, so that a datagram \
             has room for it; shorten ech or alpn"
        )));
    }
    Ok(())
}

fn params(values: &Values) -> Params {
    let there = values.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?)));
    Params::new(there)
}

impl Target {
    /// All addresses of its site, in order.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let v4 = self.vips.v4.iter().copied().map(IpAddr::from);
        let mut all: Vec<IpAddr> =
            v4.chain(self.vips.v6.iter().copied().map(IpAddr::from)).collect();
        all.sort();
        all
    }
}
