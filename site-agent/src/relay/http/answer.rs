//! Answers of our own: refusals, redirects, pages for what went wrong.

use crate::head::{Persistence, RequestHead, Version};
use crate::site::Pool;

/// What a client is told.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// With the pool's page, or a few words of our own.
    Status(u16, Option<&'a Pool>),
    /// Elsewhere, by the status of a redirect.
    Redirect(u16, &'a [u8]),
}

impl Answer<'_> {
    pub fn status(&self) -> u16 {
        match self {
            Answer::Status(status, _) | Answer::Redirect(status, _) => *status,
        }
    }

    /// Writes it for a call of gRPC: a head that is all, with the status that this is there. Elsewhere nobody goes.
    pub fn write_for_grpc(&self, persistence: Persistence, out: &mut Vec<u8>) {
        let (status, close) = (self.status(), persistence == Persistence::Close);
        let connection = if close { "Connection: close\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {GRPC}\r\ngrpc-status: {}\r\ngrpc-message: {status} {}: {}\r\n\
             Content-Length: 0\r\n{connection}\r\n",
            grpc_status(status),
            reason(status),
            hint(status)
        );
        out.extend_from_slice(head.as_bytes());
    }

    /// Writes it whole. To HEAD the same without its body.
    pub fn write(
        &self,
        version: Version,
        persistence: Persistence,
        is_head: bool,
        hsts: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        let status = self.status();
        let own;
        let (content_type, body): (&str, &[u8]) = match self {
            Answer::Redirect(..) => ("text/plain", b""),
            Answer::Status(_, pool) => match pool.and_then(|pool| pool.error_page(status)) {
                Some(page) => (page.content_type, &page.body),
                None => {
                    own = format!("{status} {}\n{}\n", reason(status), hint(status));
                    ("text/plain", own.as_bytes())
                }
            },
        };
        let mut line = |parts: &[&[u8]]| {
            parts.iter().for_each(|part| out.extend_from_slice(part));
            out.extend_from_slice(b"\r\n");
        };
        let number = status.to_string();
        line(&[b"HTTP/1.1 ", number.as_bytes(), b" ", reason(status).as_bytes()]);
        if let Answer::Redirect(_, location) = self {
            line(&[b"Location: ", location]);
        } else {
            line(&[b"Content-Type: ", content_type.as_bytes()]);
            line(&[b"Cache-Control: no-store"]);
        }
        if status == 405 {
            // RFC 9110 §15.5.6: what there is instead. CONNECT alone is refused so.
            line(&[b"Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"]);
        }
        if let Some(hsts) = hsts {
            line(&[b"Strict-Transport-Security: ", hsts.as_bytes()]);
        }
        line(&[b"Content-Length: ", body.len().to_string().as_bytes()]);
        match (persistence, version) {
            (Persistence::Close, _) => line(&[b"Connection: close"]),
            (Persistence::KeepAlive, Version::Http10) => line(&[b"Connection: keep-alive"]),
            (Persistence::KeepAlive, Version::Http11) => {}
        }
        line(&[]);
        if !is_head {
            out.extend_from_slice(body);
        }
    }
}

/// Whether it is a call of gRPC, which wants to be told in its own words: by Content-Type.
pub fn is_grpc(request: &RequestHead) -> bool {
    let Some(kind) = request.fields().first(b"content-type") else { return false };
    let (name, rest) = kind.split_at(kind.len().min(GRPC.len()));
    name.eq_ignore_ascii_case(GRPC.as_bytes())
        && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

const GRPC: &str = "application/grpc";

/// gRPC's status for one of HTTP that is no answer of a server (`http-grpc-status-mapping.md` of gRPC).
fn grpc_status(status: u16) -> u8 {
    match status {
        400 => 13,             // INTERNAL
        401 => 16,             // UNAUTHENTICATED
        403 => 7,              // PERMISSION_DENIED
        404 => 12,             // UNIMPLEMENTED
        429 | 502..=504 => 14, // UNAVAILABLE
        _ => 2,                // UNKNOWN
    }
}

/// Of every status that we answer with ourselves, and what rules may deny with (RFC 9110 §15).
fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Refused")
}

/// What the user of a browser makes of it.
fn hint(status: u16) -> &'static str {
    match status {
        403 => "This is not open to you.",
        404 => "There is nothing here.",
        408 => "The request did not come in time.",
        429 => "Too many requests: try again later.",
        502 => "The server that this was for gave no answer that could be passed on.",
        503 => "No server is free to take this now: try again soon.",
        504 => "The server that this was for did not answer in time.",
        400..=499 => "The request was refused.",
        _ => "This could not be answered.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::{Asked, Body, Limits, Progress, ResponseHead};

    #[test]
    fn a_call_of_grpc_is_told_in_its_own_words() {
        let asked = [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC; a=b", true),
            ("application/grpc-web", false),
            ("application/grp", false),
            ("text/plain", false),
        ];
        for (kind, expected) in asked {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n\r\n");
            let mut head = RequestHead::new();
            let read = head.read(text.as_bytes(), &Limits::default()).unwrap();
            assert!(matches!(read, Progress::Whole(_)));
            assert_eq!(is_grpc(&head), expected, "{kind}");
        }
        for status in 400..600 {
            let mut out = vec![];
            Answer::Status(status, None).write_for_grpc(Persistence::Close, &mut out);
            let mut head = ResponseHead::new();
            assert_eq!(head.read(&out, &Limits::default()).unwrap(), Some(out.len()));
            assert_eq!((head.status(), head.body(Asked::Other).unwrap()), (200, Body::Length(0)));
            let told = head.fields().first(b"grpc-status").unwrap();
            assert_eq!(told, grpc_status(status).to_string().as_bytes());
            // What gRPC would have percent-encoded is not among it.
            let message = head.fields().first(b"grpc-message").unwrap();
            assert!(message.iter().all(|octet| matches!(octet, b' '..=b'~') && *octet != b'%'));
        }
        assert_eq!(
            [400, 403, 404, 429, 502, 503, 504, 500].map(grpc_status),
            [13, 7, 12, 14, 14, 14, 14, 2]
        );
    }

    #[test]
    fn what_we_answer_is_read_as_it_is_meant() {
        for status in (400..600).chain([301, 308]) {
            for (version, persistence, is_head) in [
                (Version::Http11, Persistence::KeepAlive, false),
                (Version::Http10, Persistence::KeepAlive, false),
                (Version::Http11, Persistence::Close, true),
            ] {
                let answer = match status {
                    300..400 => Answer::Redirect(status, b"https://a.example/"),
                    _ => Answer::Status(status, None),
                };
                let mut out = vec![];
                answer.write(version, persistence, is_head, Some("max-age=1"), &mut out);
                let mut head = ResponseHead::new();
                let length = head.read(&out, &Limits::default()).unwrap().unwrap();
                let asked = if is_head { Asked::Head } else { Asked::Other };
                let expected = match head.body(asked).unwrap() {
                    Body::None => 0,
                    Body::Length(length) => length,
                    other => panic!("{other:?}"),
                };
                assert_eq!(head.status(), status);
                assert_eq!((out.len() - length) as u64, expected);
                assert_eq!(head.persistence(asked), persistence);
                assert!(head.fields().first(b"strict-transport-security").is_some());
            }
        }
    }
}
