//! Rules: what is asked compiled, what follows resolved.

use common::config::problems::{Problem, Spot};
use common::config::read::{At, List};

use super::Judge;
use super::frontend::Known;
use crate::config::{MOST_RULES, file};
use crate::rules::{Condition, Mode, Needs, compile};
use crate::site::{Action, DenyStatus, RedirectCode, Rule};

/// Of which frontend rules are.
#[derive(Clone, Copy)]
pub struct Of {
    pub mode: Mode,
    pub has_tls: bool,
}

/// All of them, what they look at, and where the one stands behind which nothing is asked, if there is one.
#[derive(Default)]
pub struct Rules {
    pub list: Vec<Rule>,
    pub needs: Needs,
    pub last: Option<Spot>,
}

pub fn rules(
    raw: At<List<At<file::Rule>>>,
    of: Of,
    known: &mut Known<'_>,
    judge: &mut Judge<'_>,
) -> Option<Rules> {
    let At { value: list, spot } = raw;
    if list.len() > MOST_RULES {
        let message = format!("has {} rules, expected at most {MOST_RULES}", list.len());
        return judge.wrong(&spot, message);
    }
    let count = list.len();
    let (mut rules, mut needs) = (Vec::new(), Needs::default());
    let mut last: Option<Spot> = None;
    for raw in list.into_iter().flatten() {
        let spot = raw.spot.clone();
        if let Some(before) = &last {
            judge.problems.add(
                spot.problem(format!("is never asked: {before} has no when, so it always holds")),
            );
        }
        if matches!(raw.value.when, Some(None)) {
            last.get_or_insert(spot);
        }
        let Some(rule) = rule(raw, of, known, judge) else { continue };
        needs = needs.and(rule.when.as_ref().map(Condition::needs).unwrap_or_default());
        rules.push(rule);
    }
    (rules.len() == count).then_some(Rules { list: rules, needs, last })
}

fn rule(raw: At<file::Rule>, of: Of, known: &mut Known<'_>, judge: &mut Judge<'_>) -> Option<Rule> {
    let At { value: file::Rule { when, deny, redirect_https, pool }, spot } = raw;
    let condition = match when? {
        Some(when) => condition(&when, of, judge).map(Some),
        None => Some(None),
    };
    let (deny, redirect_https, pool) = (deny?, redirect_https?, pool?);
    let mut given: Vec<(&str, &Spot)> = vec![];
    given.extend(deny.as_ref().map(|at| ("deny", &at.spot)));
    given.extend(redirect_https.as_ref().map(|at| ("redirect_https", &at.spot)));
    given.extend(pool.as_ref().map(|at| ("pool", &at.spot)));
    if let [(first, _), (second, at), ..] = given[..] {
        let message = format!(
            "stands beside {first}: a rule does one thing; make {second} a rule of its own"
        );
        return judge.wrong(at, message);
    }
    let action = match (deny, redirect_https, pool) {
        (Some(deny), _, _) => judge.one(denied(&deny, of.mode))?,
        (_, Some(code), _) => {
            if of.mode == Mode::Tcp {
                judge.only_http_at("frontend", &code.spot);
                return None;
            }
            Action::RedirectHttps(judge.one(redirect(&code, of.has_tls))?)
        }
        (_, _, Some(pool)) => Action::Pool(known.pool(&pool, of.mode, judge)?),
        (None, None, None) => {
            let message = match of.mode {
                Mode::Http => {
                    "decides nothing: add deny = 403, redirect_https = 308 or pool = \"NAME\""
                }
                Mode::Tcp => "decides nothing: add deny = true or pool = \"NAME\"",
            };
            return judge.wrong(&spot, message);
        }
    };
    Some(Rule { when: condition?, action })
}

fn condition(when: &At<String>, of: Of, judge: &mut Judge<'_>) -> Option<Condition> {
    let condition = match compile(&when.value, of.mode) {
        Ok(condition) => condition,
        Err(mistakes) => {
            for mistake in mistakes {
                judge.problems.add(when.spot.part(mistake.span).problem(mistake.message));
            }
            return None;
        }
    };
    if condition.needs().sni && of.mode == Mode::Http && !of.has_tls {
        let message = "looks at sni, which nobody says here: this frontend has no tls; use host";
        return judge.wrong(&when.spot, message);
    }
    Some(condition)
}

fn denied(deny: &At<file::Deny>, mode: Mode) -> Result<Action, Problem> {
    match (deny.value, mode) {
        (file::Deny::Close, Mode::Tcp) => Ok(Action::Close),
        (file::Deny::Close, Mode::Http) => {
            Err(deny.spot.problem("found true, expected a status such as 403"))
        }
        (file::Deny::Status(status), Mode::Tcp) => Err(deny.spot.problem(format!(
            "found {status}, expected true: a connection of mode \"tcp\" is closed without a word"
        ))),
        (file::Deny::Status(status), Mode::Http) => {
            let fitting = u16::try_from(status).ok().and_then(DenyStatus::new);
            fitting.map(Action::Deny).ok_or_else(|| {
                deny.spot.problem(format!("found {status}, expected a status from 400 to 599"))
            })
        }
    }
}

/// A status by which clients are sent to https.
pub fn redirect(code: &At<i64>, has_tls: bool) -> Result<RedirectCode, Problem> {
    if has_tls {
        let message =
            "would send clients in a circle: this frontend has tls, so they are there already";
        return Err(code.spot.problem(message));
    }
    let found = RedirectCode::ALL.into_iter().find(|known| i64::from(known.status()) == code.value);
    found.ok_or_else(|| {
        code.spot.problem(format!("found {}, expected 301, 302, 307 or 308", code.value))
    })
}
