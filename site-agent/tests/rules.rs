//! The promise of rules: what is asked of a request, and what becomes of it, takes no memory.

mod allocations;

use std::hint::black_box;

use allocations::allocations;
use site_agent::route::{By, https_location, route};
use site_agent::rules::path::normal;
use site_agent::rules::{Http, Mode, Request, compile};
use site_agent::site::{Action, PoolId, Routing, Rule};

/// Every name and every way of comparing; none holds, so that all are asked to their ends.
const CONDITIONS: [&str; 16] = [
    "src('192.0.2.0/24') || src in ('192.0.2.0/24', '2001:db8::/32') || src == '192.0.2.1'",
    "port != 443 || port(80, 81) || port in (80, 8080) || port > 443",
    "!is_tls || false",
    "sni('b.example') || sni == 'b.example' || sni != host || sni < host",
    "method != 'GET' || method in ('PUT', 'POST')",
    "host != 'a.example' || host('b.example')",
    "host_suffix('b.example', '.a.example')",
    "path != '/users/a b' || path('/a', '/b') || path >= '/v'",
    "path_prefix('/admin', '/api')",
    "path_regex('^/users/[0-9]+$')",
    "header('accept') == 'text/html' || header('accept', 'text/css', 'image/png')",
    "has_header('referer') || header('x') == host",
    "query('id') == '8' || query('id', '9', 'x z') || query('id') < '6'",
    "query('none') == '' || query('id') in ('1', '2')",
    "cookie('theme') == 'light' || cookie('theme', 'none')",
    "!(header('user-agent') == 'curl' && cookie('id') > '1')",
];

#[test]
fn rules_take_no_memory() {
    let rules = CONDITIONS.map(|text| Rule {
        when: Some(compile(text, Mode::Http).unwrap()),
        action: Action::Pool(PoolId(1)),
    });
    let routing = Routing { rules: rules.into(), pool: Some(PoolId(0)), ..Routing::default() };
    let lines: [(&str, &[u8]); 4] = [
        ("user-agent", b"curl"),
        ("accept", b"text/html, text/plain"),
        ("cookie", b"id=7; theme=dark"),
        ("x", b"y"),
    ];
    let headers = |name: &str, take: &mut dyn FnMut(&[u8]) -> bool| {
        lines.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).any(|(_, value)| take(value))
    };
    let (mut room, mut location) = (Vec::new(), Vec::new());
    let mut once = || {
        let path = normal(b"/users//x/../a%20b", &mut room).unwrap();
        let http = Http {
            method: b"GET",
            host: Some(b"A.example.:443"),
            path,
            query: b"a=b&id=x+y&id=%37",
            headers: &headers,
        };
        let src = "10.0.0.1".parse().unwrap();
        let sni = Some(&b"a.example"[..]);
        let request = Request { src, port: 443, is_tls: true, sni, http: Some(http) };
        assert_eq!(route(&routing, black_box(&request)).by, By::Default);
        location.clear();
        https_location(http.host, b"/users/a%20b?c=d", &mut location).unwrap();
    };
    // An expression makes its cache, and buffers find their size.
    once();
    assert_eq!(allocations(|| (0..100).for_each(|_| once())), 0);
    // The counter counts.
    assert!(allocations(|| drop(black_box(vec![1]))) > 0);
}
