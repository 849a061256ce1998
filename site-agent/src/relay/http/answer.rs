//! Answers of our own: refusals, redirects, pages for what went wrong.

use crate::head::{Persistence, Version};
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
    use crate::head::{Asked, Body, Limits, ResponseHead};

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
