//! The promise of a line: once the buffer is warm, it allocates nothing.

mod allocations;

use std::time::Duration;

use allocations::allocations;
use site_agent::access_log::{
    Ahead, Cause, Counts, End, Entry, Phase, Protocol, RequestLine, Subject, write,
};
use site_agent::site::LogFormat;

#[test]
fn a_line_allocates_nothing_once_it_is_warm() {
    let line = RequestLine { method: b"GET", target: b"/a\x00b\"c", protocol: Protocol::Http11 };
    let some = Some(Duration::from_millis(12));
    let request = Subject::Request {
        line: Some(line),
        status: Some(503),
        head: some,
        queue: some,
        connect: None,
        response: None,
        total: Duration::from_secs(5),
    };
    let connection = Subject::Connection { queue: some, connect: some, total: Duration::ZERO };
    for (client, subject) in [("192.0.2.1:1", request), ("[2001:db8::1]:65535", connection)] {
        let entry = Entry {
            client: client.parse().expect("an address"),
            began: "2026-11-22T09:00:32.434Z".parse().expect("a time"),
            frontend: "web",
            is_tls: true,
            pool: None,
            server: Some("web01"),
            subject,
            octets: 1234,
            end: End::Cut(Cause::ServerAbort, Phase::Connect),
            counts: Counts::default(),
            ahead: Ahead::default(),
        };
        for format in [LogFormat::Haproxy, LogFormat::Json] {
            let mut out = vec![];
            write(format, &entry, &mut out);
            let asked = allocations(|| {
                for _ in 0..1000 {
                    out.clear();
                    write(format, &entry, &mut out);
                }
            });
            assert_eq!(asked, 0, "{format:?}");
        }
    }
}
