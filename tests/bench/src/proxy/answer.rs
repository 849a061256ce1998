//! An answer of HTTP/1.1 as it comes, octets at a time, and whether it is the right one.

use anyhow::{Context, bail, ensure};

/// No server of the bench says more before a body.
const LONGEST_HEAD: usize = 4096;

/// What an answer's body has to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Right {
    /// One of these, each of which tells where it is from.
    Bodies(&'static [&'static [u8]]),
    /// Of so many octets: more than is kept.
    Length(u64),
}

/// An answer that has begun, or is about to.
#[derive(Debug, Default)]
pub struct Reading {
    /// The head, and the body if it is looked at.
    kept: Vec<u8>,
    head: Option<Head>,
    /// Octets of the body so far.
    body: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Head {
    size: usize,
    length: u64,
    closes: bool,
}

/// An answer that has come whole and is right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer {
    /// Which of the bodies it has; 0 where they have no number.
    pub body: usize,
    /// Whether the server says that it closes the connection.
    pub closes: bool,
    /// Of the head and the body.
    pub octets: u64,
}

impl Reading {
    /// Takes what has come; an answer if it is whole now. An error is an answer that is wrong.
    pub fn take(&mut self, octets: &[u8], right: Right) -> anyhow::Result<Option<Answer>> {
        let head = match self.head {
            Some(head) => {
                self.body += octets.len() as u64;
                if matches!(right, Right::Bodies(_)) {
                    self.kept.extend_from_slice(octets);
                }
                head
            }
            None => {
                // Of a large body no more than its beginning is kept.
                let before = self.kept.len();
                let room = (2 * LONGEST_HEAD).saturating_sub(before);
                self.kept.extend_from_slice(&octets[..octets.len().min(room)]);
                let Some(end) = end_of_head(&self.kept) else {
                    ensure!(self.kept.len() <= LONGEST_HEAD, "a head without an end");
                    return Ok(None);
                };
                let head = Head::read(&self.kept[..end])?;
                self.head = Some(head);
                self.body = (before + octets.len() - end) as u64;
                head
            }
        };
        ensure!(self.body <= head.length, "more than one answer to one request");
        if self.body < head.length {
            return Ok(None);
        }
        let body = match right {
            Right::Length(length) => {
                ensure!(length == head.length, "a body of {} octets", head.length);
                0
            }
            Right::Bodies(bodies) => {
                let came = &self.kept[head.size..];
                bodies.iter().position(|body| *body == came).context("another body")?
            }
        };
        let octets = head.size as u64 + head.length;
        self.kept.clear();
        (self.head, self.body) = (None, 0);
        Ok(Some(Answer { body, closes: head.closes, octets }))
    }
}

impl Head {
    fn read(octets: &[u8]) -> anyhow::Result<Head> {
        let text = std::str::from_utf8(octets).context("a head that is no text")?;
        let mut lines = text.split("\r\n");
        let status = lines.next().unwrap_or_default();
        ensure!(status.starts_with("HTTP/1.1 200"), "answered {status:?}");
        let (mut length, mut closes) = (None, false);
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.parse().context("content-length")?);
            } else if name.eq_ignore_ascii_case("connection") {
                closes = value.eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                bail!("{line:?}: servers of the bench say how long their bodies are");
            }
        }
        let length = length.context("no content-length")?;
        Ok(Head { size: octets.len(), length, closes })
    }
}

/// Where the body begins.
fn end_of_head(octets: &[u8]) -> Option<usize> {
    octets.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODIES: Right = Right::Bodies(&[b"one", b"two"]);
    const TWO: &[u8] = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 3\r\n\r\ntwo";

    fn check(octets: &[u8], right: Right, expected: Result<Option<usize>, &str>) {
        let found = Reading::default().take(octets, right);
        let found = found.map(|answer| answer.map(|answer| answer.body));
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{}", octets.escape_ascii());
    }

    #[test]
    fn an_answer_is_right_if_its_status_and_its_body_are() {
        check(TWO, BODIES, Ok(Some(1)));
        check(TWO, Right::Length(3), Ok(Some(0)));
        check(TWO, Right::Length(4), Err("a body of 3 octets"));
        check(&TWO[..TWO.len() - 1], BODIES, Ok(None));
        check(&TWO[..20], BODIES, Ok(None));
        check(&[TWO, b"!"].concat(), BODIES, Err("more than one answer to one request"));
        check(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwi", BODIES, Err("another body"));
        check(
            b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
            BODIES,
            Err("answered \"HTTP/1.1 503 No\""),
        );
        check(b"HTTP/1.1 200 OK\r\n\r\n", BODIES, Err("no content-length"));
        check(&[b'x'; LONGEST_HEAD + 1], BODIES, Err("a head without an end"));
    }

    #[test]
    fn an_answer_in_pieces_is_the_same_and_the_next_one_begins_anew() {
        let mut reading = Reading::default();
        for _ in 0..2 {
            for octet in &TWO[..TWO.len() - 1] {
                assert_eq!(reading.take(&[*octet], BODIES).unwrap(), None);
            }
            let answer = reading.take(b"o", BODIES).unwrap();
            let octets = TWO.len() as u64;
            assert_eq!(answer, Some(Answer { body: 1, closes: false, octets }));
        }
    }

    #[test]
    fn a_large_body_is_counted_and_not_kept() {
        let length = 1 << 20;
        let mut reading = Reading::default();
        let head =
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        let first = [head.as_bytes(), &[0; 100_000]].concat();
        let right = Right::Length(length);
        assert_eq!(reading.take(&first, right).unwrap(), None);
        let rest = vec![0; length as usize - 100_000];
        assert_eq!(reading.take(&rest[1..], right).unwrap(), None);
        assert!(reading.kept.len() <= 2 * LONGEST_HEAD);
        let octets = head.len() as u64 + length;
        let answer = reading.take(&rest[..1], right).unwrap();
        assert_eq!(answer, Some(Answer { body: 0, closes: true, octets }));
    }
}
