//! A request's head.

use std::ops::Range;

use super::fields::{Fields, Unwritable};
use super::framing::{Body, Framing, Persistence, values_of};
use super::lines::{Lines, Reading, Span, window};
use super::name::Known;
use super::octets::{fault, is_tchar, is_text, is_token};
use super::refusal::Refusal;
use super::response::Asked;
use super::target::{self, Form};
use super::{Limits, Version};

/// Octets of a method, at most. The longest that is registered has 17.
pub(super) const LONGEST_METHOD: usize = 32;
/// What a client that knows us to speak HTTP/2 begins with (RFC 9113 §3.4), to the end of its first line.
const HTTP2_LINE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// How far the reading has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// There is more of the head to come.
    More,
    /// The head is read, and was so many octets. What comes behind them is its body, and the next request.
    Whole(usize),
    /// This is HTTP/2, from the first octet.
    Http2,
}

/// A request's head: room that is used again for the next one.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    reading: Reading,
    pub(super) fields: Fields,
    pub(super) method: Span,
    pub(super) target: Span,
    /// Where the authority stands, in the target or in Host; empty if there is none.
    pub(super) authority: Span,
    /// Path and query, in the target as it came.
    path: Span,
    pub(super) form: Form,
    pub(super) version: Version,
    pub(super) body: Body,
    pub(super) persistence: Persistence,
    pub(super) is_upgrade: bool,
    pub(super) expects_continue: bool,
}

impl RequestHead {
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads on in `octets`: all that came since the last message, so what was given before comes again with
    /// more behind it. After a whole head, or a refusal, the next call begins anew.
    pub fn read(&mut self, octets: &[u8], limits: &Limits) -> Result<Progress, Refusal> {
        let progress = self.advance(octets, limits);
        if progress.is_err() {
            self.reading = Reading::Whole;
        }
        progress
    }

    fn advance(&mut self, octets: &[u8], limits: &Limits) -> Result<Progress, Refusal> {
        let window = window(octets, limits);
        if let Reading::Start | Reading::Whole = self.reading {
            self.clear();
            let Some(start) = start_of(window)? else { return Ok(Progress::More) };
            self.reading = Reading::Line(Lines::starting_at(start));
        }
        if let Reading::Line(lines) = &mut self.reading {
            let Some(line) = lines.next(window)? else {
                // Whatever else it has, its target is what makes it so long.
                return if window.len() < limits.head {
                    Ok(Progress::More)
                } else {
                    Err(Refusal::TargetTooLong)
                };
            };
            let lines = lines.clone();
            if line.start == 0 && window.starts_with(HTTP2_LINE) {
                self.clear();
                return Ok(Progress::Http2);
            }
            self.request_line(window, line, limits)?;
            self.reading = Reading::Fields(lines);
        }
        let Reading::Fields(lines) = &mut self.reading else { return Ok(Progress::More) };
        let Some(end) = lines.fields(window, limits.fields, &mut self.fields)? else {
            return if window.len() < limits.head {
                Ok(Progress::More)
            } else {
                Err(Refusal::HeadTooLong)
            };
        };
        self.fields.keep(&window[..end]);
        self.reading = Reading::Whole;
        self.judge(limits)?;
        Ok(Progress::Whole(end))
    }

    /// Forgets the message; the room stays.
    pub fn clear(&mut self) {
        self.fields.clear();
        let fields = std::mem::take(&mut self.fields);
        *self = Self { fields, ..Self::default() };
    }

    /// Takes the request line apart (RFC 9112 §3).
    fn request_line(&mut self, octets: &[u8], line: Span, limits: &Limits) -> Result<(), Refusal> {
        let text = line.of(octets);
        let Some((version, method, target)) = three_parts(text) else { return Err(misread(text)) };
        self.version = version;
        if method > LONGEST_METHOD {
            return Err(Refusal::MethodTooLong);
        }
        if target.len() > limits.target {
            return Err(Refusal::TargetTooLong);
        }
        let start = line.start as usize;
        self.method = Span::new(start, start + method);
        self.target = Span::new(start + target.start, start + target.end);
        self.take_target_apart(octets)
    }

    /// The target's form and authority, from the octets where it stands.
    pub(super) fn take_target_apart(&mut self, octets: &[u8]) -> Result<(), Refusal> {
        let read = target::target(self.method.of(octets), self.target.of(octets))?;
        let at = self.target.start as usize;
        let authority = read.authority.map(|range| Span::new(at + range.start, at + range.end));
        self.authority = authority.unwrap_or_default();
        self.path = Span::new(at + read.path, self.target.end as usize);
        self.form = read.form;
        Ok(())
    }

    /// Judges what was read as a whole, and has the target in origin form.
    pub(super) fn judge(&mut self, limits: &Limits) -> Result<(), Refusal> {
        self.whom()?;
        let framing = Framing::of(self.version, &mut self.fields, limits)?;
        self.body = match framing.length {
            Some(length) => Body::Length(length),
            None if framing.is_chunked => Body::Chunked,
            None => Body::None,
        };
        let has_body = !matches!(self.body, Body::None | Body::Length(0));
        self.persistence = framing.persistence;
        // A body that comes before another protocol would have to be read in both.
        self.is_upgrade = framing.is_upgrade && !has_body;
        let mut expectations = values_of(&self.fields, Known::Expect);
        if let Some(expectation) = expectations.next()
            && self.version == Version::Http11
        {
            if !expectation.eq_ignore_ascii_case(b"100-continue") || expectations.next().is_some() {
                return Err(Refusal::Expectation);
            }
            self.expects_continue = has_body;
        }
        Ok(())
    }

    /// Whom it is for: one authority, from the target or Host (RFC 9112 §3.2, §3.3).
    fn whom(&mut self) -> Result<(), Refusal> {
        let octets = self.fields.octets();
        let authority = self.authority.of(octets);
        let has_authority = !authority.is_empty();
        let host = self.fields.only_host()?.map(|host| (host, host.of(octets)));
        match host {
            None if self.version == Version::Http11 => return Err(Refusal::NoHost),
            None => {}
            Some((_, b"")) if !has_authority => {}
            Some((_, b"")) => return Err(Refusal::HostDiffers),
            Some((_, host)) => {
                target::authority_of(host).map_err(|refusal| match refusal {
                    Refusal::Userinfo => Refusal::Userinfo,
                    _ => Refusal::Host,
                })?;
            }
        }
        let scheme = if let Form::Absolute(scheme) = self.form { Some(scheme) } else { None };
        match host {
            Some((_, host)) if has_authority && !target::is_same(scheme, host, authority) => {
                return Err(Refusal::HostDiffers);
            }
            Some((span, _)) if !has_authority => self.authority = span,
            Some(_) | None => {}
        }
        if let Form::Absolute(_) = self.form {
            // Only a client that takes us for a forward proxy comes here: two copies do not matter.
            let (authority, path) = (authority.to_vec(), self.path.of(octets).to_vec());
            self.target = match path.first() {
                None if self.method() == b"OPTIONS" => self.fields.add_octets(&[b"*"]),
                Some(b'/') => self.path,
                _ => self.fields.add_octets(&[b"/", &path]),
            };
            self.fields.set_known(Known::Host, b"Host", &authority);
        }
        Ok(())
    }

    pub fn method(&self) -> &[u8] {
        self.method.of(self.fields.octets())
    }

    /// The target as it goes on: path and query, `*`, or CONNECT's authority.
    pub fn target(&self) -> &[u8] {
        self.target.of(self.fields.octets())
    }

    /// The form it came in.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Host and port it is for, as they were written; empty if that was not said.
    pub fn authority(&self) -> &[u8] {
        self.authority.of(self.fields.octets())
    }

    /// The host it is for, without its port; empty if that was not said.
    pub fn host(&self) -> &[u8] {
        target::authority_of(self.authority()).map_or(b"", |(host, _)| host)
    }

    pub fn path(&self) -> &[u8] {
        let target = self.target();
        &target[..query_at(target)]
    }

    /// What stands behind the path's `?`.
    pub fn query(&self) -> Option<&[u8]> {
        let target = self.target();
        target.get(query_at(target) + 1..)
    }

    pub fn version(&self) -> Version {
        self.version
    }

    pub fn body(&self) -> Body {
        self.body
    }

    /// What the client would have of its connection.
    pub fn persistence(&self) -> Persistence {
        self.persistence
    }

    /// Whether it asks for another protocol on this connection, and may have it.
    pub fn is_upgrade(&self) -> bool {
        self.is_upgrade
    }

    /// What the response's body depends on; of an upgrade, once it is stripped.
    pub fn asked(&self) -> Asked {
        match self.method() {
            b"HEAD" => Asked::Head,
            b"CONNECT" => Asked::Connect,
            _ if self.is_upgrade => Asked::Upgrade,
            _ => Asked::Other,
        }
    }

    /// Whether the client waits for a 100 before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// To edit them. Those that frame the message or lead it (Host, Connection, Content-Length,
    /// Transfer-Encoding) are this head's own affair.
    pub fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// Asks for another path and query.
    pub fn set_target(&mut self, path: &[u8]) -> Result<(), Unwritable> {
        let read = target::target(b"GET", path).map_err(|_| Unwritable)?;
        if read.form != Form::Origin || matches!(self.form, Form::Authority) {
            return Err(Unwritable);
        }
        self.target = self.fields.add_octets(&[path]);
        Ok(())
    }

    /// Asks for another authority, in Host.
    pub fn set_authority(&mut self, authority: &[u8]) -> Result<(), Unwritable> {
        target::authority_of(authority).map_err(|_| Unwritable)?;
        if matches!(self.form, Form::Authority) {
            return Err(Unwritable);
        }
        self.authority = self.fields.add_octets(&[authority]);
        self.fields.set_known(Known::Host, b"Host", authority);
        Ok(())
    }

    /// The body goes on in this way; the fields that frame it say so.
    pub fn set_body(&mut self, body: Body) {
        self.body = body;
        self.fields.frame(body);
    }

    /// Writes the head to a server, which is told what becomes of the connection.
    ///
    /// As HTTP/1.1, but without a Host, which only HTTP/1.0 lets be: then as that, and the connection is closed.
    pub fn write(&self, persistence: Persistence, out: &mut Vec<u8>) {
        let version = if self.fields.has(Known::Host) { Version::Http11 } else { Version::Http10 };
        for part in [self.method(), b" ", self.target(), b" ", version.octets(), b"\r\n"] {
            out.extend_from_slice(part);
        }
        self.fields.write(out);
        let closes = persistence == Persistence::Close && version == Version::Http11;
        let connection: &[u8] = match (closes, self.fields.has(Known::Te)) {
            _ if self.is_upgrade => b"Connection: upgrade\r\n",
            (true, true) => b"Connection: close, TE\r\n",
            (true, false) => b"Connection: close\r\n",
            (false, true) => b"Connection: TE\r\n",
            (false, false) => b"",
        };
        out.extend_from_slice(connection);
        out.extend_from_slice(b"\r\n");
    }
}

/// Where the request line begins: one empty line before it is let pass, as some clients send one behind a body
/// (RFC 9112 §2.2).
fn start_of(octets: &[u8]) -> Result<Option<usize>, Refusal> {
    match octets {
        [] | [b'\r'] | [b'\r', b'\n'] => Ok(None),
        [b'\r', b'\n', b'\r' | b'\n', ..] => Err(Refusal::EmptyLine),
        [b'\r', b'\n', first, ..] if is_tchar(*first) => Ok(Some(2)),
        [first, ..] if is_tchar(*first) => Ok(Some(0)),
        [b'\r', other, ..] if *other != b'\n' => Err(Refusal::BareCr),
        [b'\n', ..] => Err(Refusal::BareLf),
        _ => Err(Refusal::NotHttp),
    }
}

/// Version, length of the method and place of the target of a request line that has one space between them.
fn three_parts(line: &[u8]) -> Option<(Version, usize, Range<usize>)> {
    let method = line.iter().position(|octet| !is_tchar(*octet))?;
    let (before, version) = line.split_at_checked(line.len().checked_sub(9)?)?;
    let (version, target) = (version_of(version.strip_prefix(b" ")?).ok()?, before.get(method..)?);
    let target = target.strip_prefix(b" ")?;
    let is_one = method > 0 && !target.is_empty() && !target.contains(&b' ');
    is_one.then(|| (version, method, method + 1..before.len()))
}

/// What is wrong with a request line that is not of three parts.
fn misread(line: &[u8]) -> Refusal {
    if !is_text(line) {
        return fault(line);
    }
    let method = line.split(|octet| *octet == b' ').next().unwrap_or_default();
    if !is_token(method) {
        return Refusal::Method;
    }
    let after = line.get(method.len() + 1..).unwrap_or_default();
    let Some(space) = memchr::memrchr(b' ', after) else {
        // A method and something: what HTTP/0.9 asks with.
        return if after.starts_with(b"/") { Refusal::Http09 } else { Refusal::RequestLine };
    };
    let (target, version) = (&after[..space], &after[space + 1..]);
    if target.is_empty() || target.contains(&b' ') || version.is_empty() {
        return Refusal::RequestLine;
    }
    version_of(version).err().unwrap_or(Refusal::RequestLine)
}

pub fn version_of(version: &[u8]) -> Result<Version, Refusal> {
    match version {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Refusal::Version)
        }
        _ => Err(Refusal::VersionMalformed),
    }
}

fn query_at(target: &[u8]) -> usize {
    memchr::memchr(b'?', target).unwrap_or(target.len())
}
