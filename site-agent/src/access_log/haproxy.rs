//! HAProxy's lines, word for word (its manual, 8.2.2 and 8.2.3): what reads its log reads ours. Times are of UTC; the
//! cookies of captures and of persistence stand as where there are none.

use std::time::Duration;

use super::text::{address, date, hexadecimal, milliseconds, number};
use super::{Entry, LONGEST_REQUEST, RequestLine, Subject};

pub fn write(entry: &Entry<'_>, out: &mut Vec<u8>) {
    address(entry.client, out);
    out.push(b':');
    number(entry.client.port(), out);
    out.extend_from_slice(b" [");
    date(entry.began, out);
    out.extend_from_slice(b"] ");
    out.extend_from_slice(entry.frontend.as_bytes());
    if entry.is_tls {
        out.push(b'~');
    }
    out.push(b' ');
    // A frontend stands in for the backend that it did not choose.
    out.extend_from_slice(entry.pool.unwrap_or(entry.frontend).as_bytes());
    out.push(b'/');
    out.extend_from_slice(entry.server.unwrap_or("<NOSRV>").as_bytes());
    out.push(b' ');
    match entry.subject {
        Subject::Request { line, status, head, queue, connect, response, total } => {
            times(&[head, queue, connect, response, Some(total)], out);
            match status {
                Some(status) => number(status, out),
                None => out.extend_from_slice(b"-1"),
            }
            out.push(b' ');
            number(entry.octets, out);
            out.extend_from_slice(b" - - ");
            out.extend_from_slice(&entry.end.letters());
            out.extend_from_slice(b"-- ");
            counts(entry, out);
            out.extend_from_slice(b" \"");
            request(line, out);
            out.extend_from_slice(b"\"\n");
        }
        Subject::Connection { queue, connect, total } => {
            times(&[queue, connect, Some(total)], out);
            number(entry.octets, out);
            out.push(b' ');
            out.extend_from_slice(&entry.end.letters());
            out.push(b' ');
            counts(entry, out);
            out.push(b'\n');
        }
    }
}

fn times(times: &[Option<Duration>], out: &mut Vec<u8>) {
    for time in times {
        match time {
            Some(time) => milliseconds(*time, out),
            None => out.extend_from_slice(b"-1"),
        }
        out.push(b'/');
    }
    // A space where the last slash is.
    out.pop();
    out.push(b' ');
}

fn counts(entry: &Entry<'_>, out: &mut Vec<u8>) {
    let counts = entry.counts;
    for count in [counts.process, counts.frontend, counts.pool, counts.server] {
        number(count, out);
        out.push(b'/');
    }
    if counts.is_redispatched {
        out.push(b'+');
    }
    number(counts.retries, out);
    out.push(b' ');
    number(entry.ahead.server, out);
    out.push(b'/');
    number(entry.ahead.pool, out);
}

fn request(line: Option<RequestLine<'_>>, out: &mut Vec<u8>) {
    let Some(RequestLine { method, target, protocol }) = line else {
        out.extend_from_slice(b"<BADREQ>");
        return;
    };
    let whole = [method, b" ", target, b" ", protocol.text().as_bytes()];
    for octet in whole.iter().copied().flatten().take(LONGEST_REQUEST) {
        match octet {
            b'"' | b'#' | ..=0x1f | 0x7f.. => {
                out.push(b'#');
                hexadecimal(*octet, out);
            }
            _ => out.push(*octet),
        }
    }
}
