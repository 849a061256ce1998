//! `rules`: any text as a condition, asked of any request; a path's normal form is one.
//!
//! Input: lines. The condition, then method, host, target and headers of a request.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use site_agent::rules::path::normal;
use site_agent::rules::{Http, Mode, Request, compile};

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|octet| *octet == b'\n');
    let Some(Ok(text)) = lines.next().map(std::str::from_utf8) else { return };
    let method = lines.next().unwrap_or(b"GET");
    let host = lines.next();
    let target = lines.next().unwrap_or(b"/");
    let headers: Vec<(&[u8], &[u8])> = lines.map(|line| cut(line, b':')).collect();
    let (path, query) = cut(target, b'?');

    let mut room = Vec::new();
    let Ok(path) = normal(path, &mut room) else { return };
    if path.octets().starts_with(b"/") {
        let mut segments = path.octets()[1..].split(|octet| *octet == b'/').peekable();
        while let Some(segment) = segments.next() {
            let is_last = segments.peek().is_none();
            assert!(!matches!(segment, b"." | b".."), "{path:?}");
            assert!(!segment.is_empty() || is_last, "{path:?}");
        }
    }
    let lookup = |name: &str, take: &mut dyn FnMut(&[u8]) -> bool| {
        let mut named = headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
        named.any(|(_, value)| take(value))
    };
    let http = Http { method, host, path, query, headers: &lookup };
    let asked = |http| Request {
        src: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        port: 443,
        is_tls: true,
        sni: host,
        http,
    };
    let judge = |text: &str, mode| match compile(text, mode) {
        Ok(condition) => Some(condition.holds(&asked((mode == Mode::Http).then_some(http)))),
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            for mistake in mistakes {
                assert!(text.get(mistake.span.clone()).is_some(), "{mistake:?}");
            }
            None
        }
    };
    let holds = judge(text, Mode::Http);
    // What knows less is no stranger elsewhere, and the same there.
    if let Some(of_connection) = judge(text, Mode::Tcp) {
        assert_eq!(Some(of_connection), holds);
    }
    // Not is not: the other is refused at most for its size.
    if let (Some(holds), Some(denied)) = (holds, judge(&format!("!({text})"), Mode::Http)) {
        assert_ne!(holds, denied);
    }
});

/// What stands before the first of these, and what behind.
fn cut(octets: &[u8], at: u8) -> (&[u8], &[u8]) {
    match octets.iter().position(|octet| *octet == at) {
        Some(found) => (&octets[..found], &octets[found + 1..]),
        None => (octets, &[]),
    }
}
