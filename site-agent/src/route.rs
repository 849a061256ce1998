//! What becomes of a request: the first rule that holds decides, then the redirect to https, then the pool.
//!
//! Pure: a function of the frontend's routing and the request. Which rule it was is told along, for the log.

use crate::rules::{Request, without_port};
use crate::site::{Action, DenyStatus, Hsts, PoolId, RedirectCode, Routing, Rule};

/// What becomes of it, and who said so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Verdict {
    pub outcome: Outcome,
    pub by: By,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Answer with that status.
    Deny(DenyStatus),
    /// End the connection.
    Close,
    /// Send the client to the same address by https: see [`https_location`].
    RedirectHttps(RedirectCode),
    Pool(PoolId),
    /// 503; of a connection, its end.
    NoPool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum By {
    /// The rule of that index, counted from 0 as messages about the config do.
    Rule(usize),
    RedirectHttps,
    /// The frontend's pool.
    Default,
    /// Nobody had a word for it.
    Nobody,
}

pub fn route(routing: &Routing, request: &Request<'_>) -> Verdict {
    let holds = |rule: &Rule| rule.when.as_ref().is_none_or(|condition| condition.holds(request));
    if let Some(index) = routing.rules.iter().position(holds) {
        let outcome = match routing.rules[index].action {
            Action::Deny(status) => Outcome::Deny(status),
            Action::Close => Outcome::Close,
            Action::RedirectHttps(code) => Outcome::RedirectHttps(code),
            Action::Pool(pool) => Outcome::Pool(pool),
        };
        return Verdict { outcome, by: By::Rule(index) };
    }
    match (routing.redirect_https, routing.pool) {
        (Some(code), _) => Verdict { outcome: Outcome::RedirectHttps(code), by: By::RedirectHttps },
        (None, Some(pool)) => Verdict { outcome: Outcome::Pool(pool), by: By::Default },
        (None, None) => Verdict { outcome: Outcome::NoPool, by: By::Nobody },
    }
}

/// Why there is nowhere to send a client: to be answered with 400.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the request names no host to which it could be redirected")]
pub struct NoHost;

/// Writes where a client finds the same by https: the host without its port, path and query as they came.
pub fn https_location(
    host: Option<&[u8]>,
    path_and_query: &[u8],
    into: &mut Vec<u8>,
) -> Result<(), NoHost> {
    // What a name or address can hold (RFC 3986 §3.2.2), so that no header can be made of it.
    let is_of_host = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~%[]:".contains(&octet);
    let name = host.map(without_port).filter(|name| !name.is_empty()).ok_or(NoHost)?;
    if !name.iter().copied().all(is_of_host) {
        return Err(NoHost);
    }
    into.extend_from_slice(b"https://");
    into.extend_from_slice(name);
    match path_and_query.first() {
        Some(b'/') => into.extend_from_slice(path_and_query),
        // `OPTIONS *` is of the server as a whole.
        _ => into.push(b'/'),
    }
    Ok(())
}

/// The value of `Strict-Transport-Security` (RFC 6797 §6.1).
pub fn hsts_value(hsts: &Hsts) -> String {
    let Hsts { max_age, include_subdomains, preload } = hsts;
    let mut value = format!("max-age={}", max_age.as_secs());
    for (directive, is_set) in [("; includeSubDomains", include_subdomains), ("; preload", preload)]
    {
        value.push_str(if *is_set { directive } else { "" });
    }
    value
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rules::{Mode, compile};

    const POOL: PoolId = PoolId(0);
    const OTHER: PoolId = PoolId(1);

    fn rule(when: &str, action: Action) -> Rule {
        let when = (!when.is_empty()).then(|| compile(when, Mode::Tcp).unwrap());
        Rule { when, action }
    }

    fn check(routing: &Routing, src: &str, outcome: Outcome, by: By) {
        let request =
            Request { src: src.parse().unwrap(), port: 80, is_tls: false, sni: None, http: None };
        assert_eq!(route(routing, &request), Verdict { outcome, by }, "{src}");
    }

    #[test]
    fn the_first_rule_that_holds_decides() {
        let denied = DenyStatus::new(403).unwrap();
        let found = RedirectCode::Found;
        let mut routing = Routing {
            rules: vec![
                rule("src('10.1.0.0/16')", Action::Pool(OTHER)),
                rule("src('10.0.0.0/8')", Action::Deny(denied)),
                rule("src('10.2.0.0/16')", Action::Close),
                rule("src('192.0.2.1')", Action::Close),
                rule("src('192.0.2.2')", Action::RedirectHttps(found)),
            ],
            pool: Some(POOL),
            ..Routing::default()
        };
        check(&routing, "10.1.0.1", Outcome::Pool(OTHER), By::Rule(0));
        check(&routing, "10.2.0.1", Outcome::Deny(denied), By::Rule(1));
        check(&routing, "192.0.2.1", Outcome::Close, By::Rule(3));
        check(&routing, "192.0.2.2", Outcome::RedirectHttps(found), By::Rule(4));
        check(&routing, "192.0.2.3", Outcome::Pool(POOL), By::Default);
        routing.redirect_https = Some(RedirectCode::PermanentRedirect);
        let redirected = Outcome::RedirectHttps(RedirectCode::PermanentRedirect);
        check(&routing, "192.0.2.3", redirected, By::RedirectHttps);
        check(&routing, "10.2.0.1", Outcome::Deny(denied), By::Rule(1));
        routing.rules.push(rule("", Action::Pool(OTHER)));
        check(&routing, "192.0.2.3", Outcome::Pool(OTHER), By::Rule(5));
        check(&Routing::default(), "192.0.2.3", Outcome::NoPool, By::Nobody);
    }

    #[test]
    fn a_redirect_keeps_all_but_scheme_and_port() {
        let check = |host: Option<&str>, target: &str, expected: Option<&str>| {
            let mut location = Vec::new();
            let written = https_location(host.map(str::as_bytes), target.as_bytes(), &mut location);
            let got = written.ok().map(|()| String::from_utf8(location).unwrap());
            assert_eq!(got.as_deref(), expected, "{host:?} {target}");
        };
        check(Some("a.example"), "/", Some("https://a.example/"));
        check(Some("A.example:8080"), "/a%2Fb//c?d=e&f", Some("https://A.example/a%2Fb//c?d=e&f"));
        check(Some("[2001:db8::1]:80"), "/", Some("https://[2001:db8::1]/"));
        check(Some("a.example"), "*", Some("https://a.example/"));
        check(None, "/", None);
        check(Some(""), "/", None);
        check(Some(":80"), "/", None);
        for host in ["a b", "a\r\nx: y", "u@a.example", "a/b", "a?b", "a#b", "\u{fc}"] {
            check(Some(host), "/", None);
        }
    }

    #[test]
    fn hsts_says_what_is_configured() {
        let year = Duration::from_secs(365 * 86_400);
        let check = |include_subdomains, preload, expected: &str| {
            let hsts = Hsts { max_age: year, include_subdomains, preload };
            assert_eq!(hsts_value(&hsts), expected);
        };
        check(false, false, "max-age=31536000");
        check(true, false, "max-age=31536000; includeSubDomains");
        check(true, true, "max-age=31536000; includeSubDomains; preload");
    }
}
