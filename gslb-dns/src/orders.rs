//! Orders of operators: from their words to an override, and what it would do to the world.
//!
//! words ─▶ read ─▶ Override ─▶ outlook (what it touches, whom it would leave without a site). Pure;
//! `keeper` gives them a stamp, keeps them and puts them in force.

use std::time::Duration;

use common::duration;
use common::names::{MOST_KNOWN, few};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::health::board::{Beliefs, Board, Duty, Health, Standing};
use crate::health::entries::Entry;
use crate::health::overrides::{Glob, NoMatch, Order, Override, Unmatched};
use crate::ids::ServiceId;
use crate::site_set::SiteSet;
use crate::steer::{Family, able};
use crate::world::{Act, MAX_NODE_NAME, Service, World};

/// Octets of a reason: a sentence or two, and the number of a ticket.
const LONGEST_WHY: usize = 500;
/// Octets of a site's or service's pattern.
const LONGEST_GLOB: usize = 255;
const MOST_WEIGHT: u32 = 1 << 20;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// A drain that takes longer is no drain any more.
const LONGEST_SLOPE: Duration = DAY.saturating_mul(7);
/// What is meant for longer belongs into the world.
const LONGEST_TERM: Duration = DAY.saturating_mul(366);
/// Clocks of people's machines differ.
const LATE: Duration = Duration::from_secs(60);
/// Of a stamp: what every reader of JSON takes for a whole number, and nobody ever counts to.
pub const MOST_NUMBER: u64 = 1 << 53;

/// An order as it comes over the admin socket, all in the words of the command line.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OrderWords {
    /// `drain`, `undrain`, `force` or `weight`.
    pub order: String,
    /// Of `force`: up, down, unknown or auto. Of `weight`: a number or auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// A site's name or pattern.
    pub site: String,
    /// A service's name or pattern; every service if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// From this instant on instead of now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<String>,
    /// How long a drain takes to come into full force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<String>,
    pub why: String,
    /// Even if a service is left without a site.
    #[serde(default)]
    pub anyway: bool,
}

/// Why an order is not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OrderError {
    #[error("no order {0:?} (orders: drain, undrain, force, weight)")]
    NoSuchOrder(String),
    #[error("{what}: {why}")]
    Word { what: &'static str, why: String },
    #[error(transparent)]
    NoMatch(#[from] NoMatch),
    #[error("no service that matches {service:?} has a site that matches {site:?}")]
    NoSiteOfService { site: String, service: String },
    #[error(
        "no site would be left to serve {}; if that is meant, say --anyway",
        few(.0.iter(), MOST_KNOWN)
    )]
    LeavesNobody(Vec<String>),
}

impl OrderWords {
    /// The override meant, as if said by `who` at `now`.
    pub fn read(&self, who: &str, now: Timestamp) -> Result<Override, OrderError> {
        let order = self.order()?;
        let site = glob("site", &self.site)?;
        let service = match &self.service {
            Some(service) => glob("service", service.strip_suffix('.').unwrap_or(service))?,
            None => Glob::any(),
        };
        let since = match &self.at {
            Some(text) => instant(text, now)?,
            None => now,
        };
        let until = self.lasts.as_deref().map(|text| {
            let lasts = within("for", text, LONGEST_TERM)?;
            since.checked_add(lasts).map_err(|_| word("for", "ends after the end of time"))
        });
        let until = until.transpose()?;
        if let (Order::Drain { over: over @ 1.. }, Some(until)) = (order, until)
            && until.duration_since(since).as_secs() <= i64::from(over)
        {
            let over = duration::shown(Duration::from_secs(over.into()));
            let why = format!(
                "{over} is not shorter than --for, so the drain would end before it is done"
            );
            return Err(word("over", &why));
        }
        let why = self.why.trim();
        if why.is_empty() {
            return Err(word("why", "is empty; whoever finds this override will want to know"));
        }
        if why.len() > LONGEST_WHY || why.chars().any(char::is_control) {
            let expected = format!("expected one line of at most {LONGEST_WHY} octets");
            return Err(word("why", &expected));
        }
        Ok(Override { site, service, order, who: who.into(), why: why.into(), since, until })
    }

    fn order(&self) -> Result<Order, OrderError> {
        let value = self.value.as_deref();
        let over = match &self.over {
            None => 0,
            Some(_) if self.order != "drain" => {
                return Err(word("over", "belongs to drain alone; other orders hold at once"));
            }
            Some(text) => whole_seconds(within("over", text, LONGEST_SLOPE)?)?,
        };
        match (&*self.order, value) {
            ("drain", None) => Ok(Order::Drain { over }),
            ("undrain", None) => Ok(Order::Undrain),
            ("force", Some("up")) => Ok(Order::Force(Health::Up)),
            ("force", Some("down")) => Ok(Order::Force(Health::Down)),
            ("force", Some("unknown")) => Ok(Order::Force(Health::Unknown)),
            ("force", Some("auto")) => Ok(Order::Unforce),
            ("force", other) => Err(word(
                "force",
                &format!("found {:?}, expected up, down, unknown or auto", other.unwrap_or("")),
            )),
            ("weight", Some("auto")) => Ok(Order::Unweight),
            ("weight", other) => {
                let number = other.and_then(|text| text.parse().ok());
                number.filter(|weight| *weight <= MOST_WEIGHT).map(Order::Weight).ok_or_else(|| {
                    let found = other.unwrap_or("");
                    word(
                        "weight",
                        &format!("found {found:?}, expected 0 to {MOST_WEIGHT}, or auto"),
                    )
                })
            }
            ("drain" | "undrain", Some(_)) => Err(word("value", "belongs to force and weight")),
            (other, _) => Err(OrderError::NoSuchOrder(other.to_owned())),
        }
    }
}

/// Whether an entry could have been given by these rules: a peer's are not believed without.
pub fn is_sound(entry: &Entry) -> bool {
    let Entry { stamp, given: _, said } = entry;
    let Override { site, service, order, who, why, since: _, until: _ } = said;
    let fits = |text: &str, longest: usize| {
        (1..=longest).contains(&text.len()) && !text.chars().any(char::is_control)
    };
    let is_order = match order {
        Order::Drain { over } => u64::from(*over) <= LONGEST_SLOPE.as_secs(),
        Order::Weight(weight) => *weight <= MOST_WEIGHT,
        Order::Force(_) | Order::Unforce | Order::Undrain | Order::Unweight => true,
    };
    is_order
        && (1..=MOST_NUMBER).contains(&stamp.number)
        && fits(&stamp.node, MAX_NODE_NAME)
        && fits(&site.to_string(), LONGEST_GLOB)
        && fits(&service.to_string(), LONGEST_GLOB)
        && fits(who, LONGEST_GLOB)
        && fits(why, LONGEST_WHY)
}

fn word(what: &'static str, why: &str) -> OrderError {
    OrderError::Word { what, why: why.to_owned() }
}

fn glob(what: &'static str, text: &str) -> Result<Glob, OrderError> {
    if text.is_empty() || text.len() > LONGEST_GLOB {
        let expected = format!("has {} octets, expected 1 to {LONGEST_GLOB}", text.len());
        return Err(word(what, &expected));
    }
    if text.chars().any(|one| one.is_control() || one.is_whitespace()) {
        return Err(word(what, &format!("{text:?} matches no name: there is a space in it")));
    }
    Ok(Glob::new(text))
}

fn within(what: &'static str, text: &str, longest: Duration) -> Result<Duration, OrderError> {
    let read = duration::parse(text).map_err(|why| word(what, &why))?;
    if read.is_zero() || read > longest {
        let (found, longest) = (duration::shown(read), duration::shown(longest));
        return Err(word(
            what,
            &format!("found {found}, expected more than 0s, at most {longest}"),
        ));
    }
    Ok(read)
}

fn whole_seconds(over: Duration) -> Result<u32, OrderError> {
    let seconds = u32::try_from(over.as_secs()).ok().filter(|_| over.subsec_nanos() == 0);
    seconds.ok_or_else(|| word("over", "expected whole seconds"))
}

fn instant(text: &str, now: Timestamp) -> Result<Timestamp, OrderError> {
    let at: Timestamp = text.parse().map_err(|_| {
        word("at", &format!("{text:?} is not an instant such as \"2026-11-21T22:00:00Z\""))
    })?;
    let ahead = at.duration_since(now).as_secs();
    if ahead < -(LATE.as_secs() as i64) {
        return Err(word("at", &format!("{at} is past; leave it out for now")));
    }
    if ahead > LONGEST_TERM.as_secs() as i64 {
        let longest = duration::shown(LONGEST_TERM);
        return Err(word("at", &format!("{at} is more than {longest} ahead")));
    }
    Ok(at)
}

/// What an override would touch: each service with those of its sites that are meant. An error if there
/// are none: a misspelt site is not drained, and nobody would know.
pub fn touched(said: &Override, world: &World) -> Result<Vec<String>, OrderError> {
    said.site.is_of_some_site(world)?;
    said.service.is_of_some_service(world)?;
    if said.unmatched_in(world) == Some(Unmatched::SiteOfService) {
        let (site, service) = (said.site.to_string(), said.service.to_string());
        return Err(OrderError::NoSiteOfService { site, service });
    }
    let services = world.services.iter().filter(|one| said.service.matches(&one.name.to_host()));
    let of_service = |service: &Service| -> Option<String> {
        let sites = service.candidates.iter().map(|candidate| &*world.site(candidate.site).name);
        let sites: Vec<&str> = sites.filter(|site| said.site.matches(site)).collect();
        let in_vain = match (service.act, said.order) {
            (Act::Observe, Order::Force(_)) => " (only observed: its answers do not change)",
            _ => "",
        };
        let sites = (!sites.is_empty()).then(|| sites.join(", "))?;
        Some(format!("{}: {sites}{in_vain}", service.name.to_host()))
    };
    Ok(services.filter_map(of_service).collect())
}

/// Whether an order that only ends what was said before finds nothing to end, now or to come, at any site that it is
/// about. `before` is what was said before it, in the order in which it counts, and `board` what is believed by it.
pub fn ends_nothing<'a>(
    said: &Override,
    before: impl Iterator<Item = &'a Override>,
    board: &Board,
    world: &World,
    now: Timestamp,
) -> bool {
    // What is to come may be ended today; an end that is to come has ended nothing yet, and one that is over later lets
    // what was said before come back.
    let has_ended = |one: &Override| one.is_in_force(now) && one.until.is_none();
    let counts = |one: &&Override| {
        one.order.kind() == said.order.kind()
            && if one.order.only_ends() { has_ended(one) } else { !one.is_over(now) }
    };
    let before: Vec<&Override> = before.filter(counts).collect();
    let has_something = |id: ServiceId| {
        let service = world.service(id);
        let host = service.name.to_host();
        let standings = service.candidates.iter().zip(&board.of_service(id).standings);
        said.service.matches(&host)
            && standings.into_iter().any(|(candidate, standing)| {
                let site = &*world.site(candidate.site).name;
                let about = |one: &&&Override| one.site.matches(site) && one.service.matches(&host);
                let last = before.iter().rev().find(about);
                // Its own agents drain a site too, and an undrain ends that.
                let is_leaving = said.order == Order::Undrain && !standing.duty_why.is_empty();
                said.site.matches(site)
                    && (is_leaving || last.is_some_and(|last| !last.order.only_ends()))
            })
    };
    said.order.only_ends() && !world.service_ids().any(has_something)
}

/// The services that have a site fit to serve under `before` and none under `after`.
pub fn left_with_nobody(world: &World, before: &Board, after: &Board) -> Vec<String> {
    let is_served = |board: &Board, id: ServiceId, family: Family| {
        let service = world.service(id);
        !able(service, family).and(fit(service, board.of_service(id))).is_empty()
    };
    let families = [Family::V4, Family::V6, Family::Cname];
    let loses = |id: &ServiceId| {
        let mut families = families.into_iter();
        families.any(|family| is_served(before, *id, family) && !is_served(after, *id, family))
    };
    world.service_ids().filter(loses).map(|id| world.service(id).name.to_host()).collect()
}

/// The candidates that may be answered. One with weight 0 is, where there is nobody else.
fn fit(service: &Service, beliefs: &Beliefs) -> SiteSet {
    let is_fit = |one: &Standing| match service.act {
        Act::Serve => one.is_fit(),
        Act::Observe => one.duty == Duty::Serving,
    };
    let standings = beliefs.standings.iter().enumerate();
    standings.filter(|(_, one)| is_fit(one)).map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-21T10:00:00Z";

    /// `order [value] site [key=value]…`, and the override or the error it makes.
    fn check(text: &str, expected: &str) {
        let mut words = OrderWords { why: "test".into(), ..OrderWords::default() };
        let mut plain = Vec::new();
        for part in text.split_whitespace() {
            match part.split_once('=') {
                Some(("for", value)) => words.lasts = Some(value.into()),
                Some(("over", value)) => words.over = Some(value.into()),
                Some(("at", value)) => words.at = Some(value.into()),
                Some(("service", value)) => words.service = Some(value.into()),
                Some(("why", value)) => words.why = value.into(),
                Some((other, _)) => panic!("no key {other}"),
                None => plain.push(part.to_owned()),
            }
        }
        words.order = plain.remove(0);
        words.site = plain.pop().unwrap_or_default();
        words.value = plain.pop();
        let told = match words.read("alice", NOW.parse().unwrap()) {
            Ok(Override { site, service, order, who, why, since, until }) => {
                let until = until.map_or(String::new(), |until| format!(" until {until}"));
                format!("{order} {site} of {service} from {since}{until} ({why}, says {who})")
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(told, expected, "{text}");
    }

    #[test]
    fn what_no_operator_could_have_given_is_not_sound() {
        let with = |key: &str, value: serde_json::Value| {
            let mut entry = serde_json::json!({
                "stamp": "7@dns2", "given": NOW, "site": "fra", "service": "*", "order": "undrain", "who": "alice",
                "why": "test", "since": NOW, "until": null,
            });
            entry[key] = value;
            is_sound(&serde_json::from_value(entry).unwrap())
        };
        assert!(with("stamp", "1@dns1".into()));
        assert!(with("stamp", format!("{MOST_NUMBER}@dns2").into()));
        assert!(!with("stamp", format!("{}@dns2", MOST_NUMBER + 1).into()));
        assert!(!with("stamp", "0@dns2".into()));
        assert!(!with("stamp", "7@".into()));
        for (key, longest) in [
            ("site", LONGEST_GLOB),
            ("service", LONGEST_GLOB),
            ("who", LONGEST_GLOB),
            ("why", LONGEST_WHY),
        ] {
            assert!(with(key, "a".repeat(longest).into()), "{key}");
            assert!(!with(key, "a".repeat(longest + 1).into()), "{key}");
            assert!(!with(key, "".into()), "{key}");
            assert!(!with(key, "a\nb".into()), "{key}");
        }
        let drain =
            |over: u64| with("order", serde_json::json!({ "drain": { "over_seconds": over } }));
        assert!(drain(7 * 86_400) && !drain(7 * 86_400 + 1));
        let weight = |weight: u32| with("order", serde_json::json!({ "weight": weight }));
        assert!(weight(MOST_WEIGHT) && !weight(MOST_WEIGHT + 1));
    }

    #[test]
    fn an_order_is_read_whole_or_not_at_all() {
        let said = "(test, says alice)";
        check("drain FRA", &format!("drain fra of * from {NOW} {said}"));
        check(
            "drain fra for=1h over=10m service=www.example.com.",
            &format!(
                "drain over 10m fra of www.example.com from {NOW} until 2026-11-21T11:00:00Z {said}"
            ),
        );
        check(
            "drain fra at=2026-11-21T22:00:00Z for=2h",
            &format!("drain fra of * from 2026-11-21T22:00:00Z until 2026-11-22T00:00:00Z {said}"),
        );
        check("undrain *", &format!("undrain * of * from {NOW} {said}"));
        check("force down fra", &format!("force down fra of * from {NOW} {said}"));
        check("force auto fra", &format!("force auto fra of * from {NOW} {said}"));
        check("weight 10 fra", &format!("weight 10 fra of * from {NOW} {said}"));
        check("weight 1048576 fra", &format!("weight 1048576 fra of * from {NOW} {said}"));
        check("weight auto fra", &format!("weight auto fra of * from {NOW} {said}"));
        check("drian fra", "no order \"drian\" (orders: drain, undrain, force, weight)");
        check("force fra", "force: found \"\", expected up, down, unknown or auto");
        check("force asleep fra", "force: found \"asleep\", expected up, down, unknown or auto");
        check("weight 1048577 fra", "weight: found \"1048577\", expected 0 to 1048576, or auto");
        check("drain now fra", "value: belongs to force and weight");
        check("drain", "site: has 0 octets, expected 1 to 255");
        check("undrain fra over=10m", "over: belongs to drain alone; other orders hold at once");
        check("drain fra for=60", "for: \"60\" has no unit; did you mean \"60s\"?");
        check("drain fra for=0s", "for: found 0ms, expected more than 0s, at most 366d");
        check("drain fra for=367d", "for: found 367d, expected more than 0s, at most 366d");
        check("drain fra over=8d", "over: found 8d, expected more than 0s, at most 7d");
        check(
            "drain fra over=1h for=1h",
            "over: 1h is not shorter than --for, so the drain would end before it is done",
        );
        check("drain fra over=1500ms", "over: expected whole seconds");
        check(
            "drain fra at=tonight",
            "at: \"tonight\" is not an instant such as \"2026-11-21T22:00:00Z\"",
        );
        check(
            "drain fra at=2026-11-21T09:00:00Z",
            "at: 2026-11-21T09:00:00Z is past; leave it out for now",
        );
        check(
            "drain fra at=2028-11-21T09:00:00Z",
            "at: 2028-11-21T09:00:00Z is more than 366d ahead",
        );
        check("drain fra why=", "why: is empty; whoever finds this override will want to know");
        check(
            &format!("drain fra why={}", "x".repeat(LONGEST_WHY + 1)),
            "why: expected one line of at most 500 octets",
        );
    }
}
