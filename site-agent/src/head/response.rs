//! A response's head.

use super::fields::Fields;
use super::framing::{Body, Framing, Persistence};
use super::lines::{Lines, Reading, Span, window};
use super::name::Known;
use super::octets::{fault, is_text};
use super::refusal::Refusal;
use super::request::version_of;
use super::{Limits, Version};

/// What a response answers: it decides whether there is a body (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Asked {
    Head,
    Connect,
    /// A request that asked for another protocol, which we let through.
    Upgrade,
    #[default]
    Other,
}

/// A response's head: room that is used again for the next one.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    reading: Reading,
    pub(super) fields: Fields,
    pub(super) reason: Span,
    pub(super) status: u16,
    pub(super) version: Version,
    pub(super) framing: Framing,
    pub(super) is_upgrade: bool,
    /// It came from HTTP/2, on a stream that had no more.
    pub(super) ends_here: bool,
}

impl ResponseHead {
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads on in `octets`: all that came since the last message, so what was given before comes again with
    /// more behind it. Once the head is whole, how many octets it was. After that, or a refusal, the next call
    /// begins anew.
    pub fn read(&mut self, octets: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        let progress = self.advance(octets, limits);
        if progress.is_err() {
            self.reading = Reading::Whole;
        }
        progress
    }

    fn advance(&mut self, octets: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        let window = window(octets, limits);
        let more = || if window.len() < limits.head { Ok(None) } else { Err(Refusal::HeadTooLong) };
        if let Reading::Start | Reading::Whole = self.reading {
            self.clear();
            // A server that is no HTTP server may wait for us with its line half said.
            match window.first() {
                None => return Ok(None),
                Some(b'H') => self.reading = Reading::Line(Lines::default()),
                Some(_) => return Err(Refusal::NotHttp),
            }
        }
        if let Reading::Line(lines) = &mut self.reading {
            let Some(line) = lines.next(window)? else { return more() };
            let lines = lines.clone();
            self.status_line(window, line)?;
            self.reading = Reading::Fields(lines);
        }
        let Reading::Fields(lines) = &mut self.reading else { return more() };
        let Some(end) = lines.fields(window, limits.fields, &mut self.fields)? else {
            return more();
        };
        self.fields.keep(&window[..end]);
        self.reading = Reading::Whole;
        self.framing = Framing::of(self.version, &mut self.fields, limits)?;
        Ok(Some(end))
    }

    /// Forgets the message; the room stays.
    pub fn clear(&mut self) {
        self.fields.clear();
        let fields = std::mem::take(&mut self.fields);
        *self = Self { fields, ..Self::default() };
    }

    /// Takes the status line apart (RFC 9112 §4). The space before a reason that is not there may be missing
    /// too, as it often is.
    fn status_line(&mut self, octets: &[u8], line: Span) -> Result<(), Refusal> {
        let text = line.of(octets);
        if !is_text(text) {
            return Err(fault(text));
        }
        let Some((version, [b' ', a, b, c, rest @ ..])) = text.split_at_checked(8) else {
            return Err(Refusal::StatusLine);
        };
        self.version = version_of(version)?;
        let digits = [*a, *b, *c];
        if !digits.iter().all(u8::is_ascii_digit) || digits[0] == b'0' {
            return Err(Refusal::StatusLine);
        }
        self.status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        let end = line.end as usize;
        self.reason = match rest {
            [] => Span::new(end, end),
            [b' ', reason @ ..] => Span::new(end - reason.len(), end),
            _ => return Err(Refusal::StatusLine),
        };
        Ok(())
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    pub fn reason(&self) -> &[u8] {
        self.reason.of(self.fields.octets())
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether another head follows with the answer itself: 1xx, but for 101, after which the protocol is
    /// another one. HTTP/1.0 knows none: such a client is not to be sent it (RFC 9110 §15.2).
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// Where the body ends (RFC 9112 §6.3).
    ///
    /// # Errors
    ///
    /// If the protocol is changed and nobody asked for that, and if it came from HTTP/2 without the body that
    /// its Content-Length tells of.
    pub fn body(&self, asked: Asked) -> Result<Body, Refusal> {
        if self.status == 101 && !(asked == Asked::Upgrade && self.framing.is_upgrade) {
            return Err(Refusal::UnaskedUpgrade);
        }
        let has_none = match self.status {
            100..200 | 204 | 304 => true,
            200..300 => matches!(asked, Asked::Head | Asked::Connect),
            _ => asked == Asked::Head,
        };
        Ok(match self.framing {
            _ if has_none => Body::None,
            Framing { length: Some(1..), .. } if self.ends_here => {
                return Err(Refusal::LengthDiffers);
            }
            Framing { length: Some(length), .. } => Body::Length(length),
            Framing { is_chunked: true, .. } => Body::Chunked,
            Framing { .. } => Body::UntilClose,
        })
    }

    /// Whether the connection it came on can be asked again, once its body has been read.
    pub fn persistence(&self, asked: Asked) -> Persistence {
        let has_end = self.body(asked).is_ok_and(Body::has_end);
        // Such a status has no body (RFC 9110 §15.3.5); who frames one all the same may send it too, and that
        // would be taken for the next answer.
        let is_bodiless = matches!(self.status, 100..200 | 204);
        let frames =
            self.framing.is_chunked || self.framing.length.is_some_and(|length| length > 0);
        if has_end && self.status != 101 && !(is_bodiless && frames) {
            self.framing.persistence
        } else {
            Persistence::Close
        }
    }

    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// To edit them. Those that frame the message (Connection, Content-Length, Transfer-Encoding) are this
    /// head's own affair.
    pub fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// The body goes on in this way; the fields that frame it say so. One that has none keeps a Content-Length
    /// that tells of the body which a GET would have had; a 1xx and a 204 must have none.
    pub fn set_body(&mut self, body: Body) {
        if body != Body::None || matches!(self.status, 100..200 | 204) {
            self.fields.frame(body);
        } else {
            self.fields.remove_known(Known::TransferEncoding);
        }
    }

    /// Writes the head to a client of this version, which is told what becomes of the connection.
    pub fn write(&self, client: Version, persistence: Persistence, out: &mut Vec<u8>) {
        let hundreds = [100, 10, 1].map(|unit| b'0' + (self.status / unit % 10) as u8);
        // Ours is 1.1, whatever the client's is (RFC 9110 §6.2).
        for part in [Version::Http11.octets(), &b" "[..], &hundreds, b" ", self.reason(), b"\r\n"] {
            out.extend_from_slice(part);
        }
        self.fields.write(out);
        let connection: &[u8] = match (persistence, client) {
            _ if self.is_upgrade && self.status == 101 => b"Connection: upgrade\r\n",
            _ if self.is_interim() => b"",
            (Persistence::KeepAlive, _) if self.is_upgrade => b"Connection: upgrade\r\n",
            (Persistence::Close, _) if self.is_upgrade => b"Connection: close, upgrade\r\n",
            (Persistence::Close, _) => b"Connection: close\r\n",
            (Persistence::KeepAlive, Version::Http10) => b"Connection: keep-alive\r\n",
            (Persistence::KeepAlive, Version::Http11) => b"",
        };
        out.extend_from_slice(connection);
        out.extend_from_slice(b"\r\n");
    }
}
