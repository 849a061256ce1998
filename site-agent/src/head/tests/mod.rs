//! What is read of a stream of messages, as text; the tables are in the files beside.

mod bodies;
mod corpus;
mod editing;
mod h2;
mod octets;
mod properties;
mod request;
mod response;
mod stripping;

use super::*;

/// What comes of one message.
enum Came {
    /// This was read, and the message was so many octets.
    Message(String, usize),
    More,
    Http2,
}

/// All messages in these octets, as the corpus writes them.
fn messages(octets: &[u8], one: impl Fn(&[u8]) -> Result<Came, Refusal>) -> String {
    let (mut read, mut rest) = (vec![], octets);
    while !rest.is_empty() {
        match one(rest) {
            Ok(Came::Message(message, taken)) => {
                read.push(message);
                rest = &rest[taken..];
            }
            Ok(Came::More) => {
                read.push("more".to_owned());
                break;
            }
            Ok(Came::Http2) => {
                read.push("http2".to_owned());
                break;
            }
            Err(refusal) => {
                read.push(format!("refused {}", refusal.word()));
                break;
            }
        }
    }
    read.join("; ")
}

fn requests(octets: &[u8]) -> String {
    messages(octets, |octets| {
        let limits = Limits::default();
        let mut head = RequestHead::new();
        let end = match head.read(octets, &limits)? {
            Progress::Whole(end) => end,
            Progress::More => return Ok(Came::More),
            Progress::Http2 => return Ok(Came::Http2),
        };
        let start = [head.method(), head.target(), head.authority()].map(text).join(" ");
        body_of(start, head.body(), &octets[end..], end, &limits)
    })
}

fn responses(octets: &[u8]) -> String {
    messages(octets, |octets| {
        let limits = Limits::default();
        let mut head = ResponseHead::new();
        let Some(end) = head.read(octets, &limits)? else { return Ok(Came::More) };
        let body = head.body(Asked::Other)?;
        let close = if body == Body::UntilClose { " until close" } else { "" };
        body_of(format!("{}{close}", head.status()), body, &octets[end..], end, &limits)
    })
}

fn body_of(
    start: String,
    body: Body,
    octets: &[u8],
    head: usize,
    limits: &Limits,
) -> Result<Came, Refusal> {
    if body == Body::None {
        return Ok(Came::Message(start, head));
    }
    let mut incoming = Incoming::new(body);
    let (data, taken) = data_of(&mut incoming, octets, limits)?;
    if !incoming.close() {
        return Ok(Came::More);
    }
    let trailers = match &incoming {
        Incoming::Chunked(decoder) => fields(decoder.trailers().fields()),
        _ => String::new(),
    };
    let with = if trailers.is_empty() { "" } else { " with " };
    Ok(Came::Message(format!("{start} {:?}{with}{trailers}", text(&data)), head + taken))
}

/// The data in these octets, and how many of them are the body's.
fn data_of(
    incoming: &mut Incoming,
    octets: &[u8],
    limits: &Limits,
) -> Result<(Vec<u8>, usize), Refusal> {
    let (mut data, mut taken) = (vec![], 0);
    while let Some(piece) = incoming.next(&octets[taken..], limits)? {
        let rest = &octets[taken..];
        taken += match piece {
            Piece::Data(length) => {
                data.extend_from_slice(&rest[..length]);
                length
            }
            Piece::Framing(length) | Piece::Dropped(length) | Piece::End(length) => length,
        };
    }
    Ok((data, taken))
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn fields(fields: &Fields) -> String {
    let lines: Vec<_> =
        fields.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect();
    lines.join(", ")
}

/// A sound request's head with these fields, read.
fn request(line: &str, fields: &str) -> RequestHead {
    let octets = format!("{line}\r\n{fields}\r\n");
    let mut head = RequestHead::new();
    let read = head.read(octets.as_bytes(), &Limits::default());
    assert_eq!(read, Ok(Progress::Whole(octets.len())), "{octets:?}");
    head
}

/// A sound response's head with these fields, read.
fn response(line: &str, fields: &str) -> ResponseHead {
    let octets = format!("{line}\r\n{fields}\r\n");
    let mut head = ResponseHead::new();
    assert_eq!(
        head.read(octets.as_bytes(), &Limits::default()),
        Ok(Some(octets.len())),
        "{octets:?}"
    );
    head
}

/// What is written, with each line on one.
fn lines(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = vec![];
    write(&mut out);
    let written = text(&out);
    let lines = written.strip_suffix("\r\n\r\n").expect("a head ends with an empty line");
    lines.replace("\r\n", " | ")
}
