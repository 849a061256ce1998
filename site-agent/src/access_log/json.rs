//! One object a line (<https://jsonlines.org>). What is not known or did not come to be is null.
//!
//! Octets of a request that are no ASCII stand as `\u0080` to `\u00ff`, each for itself: a request is octets, not
//! letters of any alphabet, and what is written so can be told back.

use std::time::Duration;

use super::text::{address, hexadecimal, milliseconds, number, time};
use super::{Entry, LONGEST_REQUEST, Subject};

pub fn write(entry: &Entry<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    time(entry.began, out);
    out.extend_from_slice(b"\",\"client\":\"");
    address(entry.client, out);
    out.push(b'"');
    value("client_port", entry.client.port(), out);
    text("frontend", Some(entry.frontend.as_bytes()), out);
    flag("tls", entry.is_tls, out);
    text("pool", entry.pool.map(str::as_bytes), out);
    text("server", entry.server.map(str::as_bytes), out);
    match entry.subject {
        Subject::Request { line, status, head, queue, connect, response, total } => {
            text("method", line.map(|line| line.method), out);
            text("target", line.map(|line| line.target), out);
            text("protocol", line.map(|line| line.protocol.text().as_bytes()), out);
            key("status", out);
            match status {
                Some(status) => number(status, out),
                None => out.extend_from_slice(b"null"),
            }
            duration("head_ms", head, out);
            duration("queue_ms", queue, out);
            duration("connect_ms", connect, out);
            duration("response_ms", response, out);
            duration("total_ms", Some(total), out);
        }
        Subject::Connection { queue, connect, total } => {
            duration("queue_ms", queue, out);
            duration("connect_ms", connect, out);
            duration("total_ms", Some(total), out);
        }
    }
    value("octets", entry.octets, out);
    text("state", Some(&entry.end.letters()), out);
    text("cause", entry.end.cause().map(|cause| cause.word().as_bytes()), out);
    text("phase", entry.end.phase().map(|phase| phase.word().as_bytes()), out);
    value("process_connections", entry.counts.process, out);
    value("frontend_connections", entry.counts.frontend, out);
    value("pool_connections", entry.counts.pool, out);
    value("server_connections", entry.counts.server, out);
    value("retries", entry.counts.retries, out);
    flag("redispatched", entry.counts.is_redispatched, out);
    value("server_queue", entry.ahead.server, out);
    value("pool_queue", entry.ahead.pool, out);
    out.extend_from_slice(b"}\n");
}

fn key(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn value(name: &str, count: impl itoa::Integer, out: &mut Vec<u8>) {
    key(name, out);
    number(count, out);
}

fn flag(name: &str, holds: bool, out: &mut Vec<u8>) {
    key(name, out);
    out.extend_from_slice(if holds { b"true" } else { b"false" });
}

fn duration(name: &str, time: Option<Duration>, out: &mut Vec<u8>) {
    key(name, out);
    match time {
        Some(time) => milliseconds(time, out),
        None => out.extend_from_slice(b"null"),
    }
}

fn text(name: &str, octets: Option<&[u8]>, out: &mut Vec<u8>) {
    key(name, out);
    let Some(octets) = octets else {
        out.extend_from_slice(b"null");
        return;
    };
    out.push(b'"');
    for octet in octets.iter().take(LONGEST_REQUEST) {
        match octet {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *octet]),
            ..=0x1f | 0x7f.. => {
                out.extend_from_slice(b"\\u00");
                hexadecimal(*octet, out);
            }
            _ => out.push(*octet),
        }
    }
    out.push(b'"');
}
