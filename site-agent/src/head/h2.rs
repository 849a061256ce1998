//! Heads from HTTP/2 and to it, as the `http` crate has them (RFC 9113 §8).
//!
//! What HTTP/2 lets pass as a value would be a line of HTTP/1: everything is judged as if it had been read from
//! the wire, and what one of the two cannot say is refused.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::Uri;
use http::{Method, StatusCode, request, response};

use super::fields::Fields;
use super::framing::{Body, Framing, Persistence};
use super::name::Known;
use super::octets::{is_text, trim};
use super::refusal::Refusal;
use super::request::{LONGEST_METHOD, RequestHead};
use super::response::ResponseHead;
use super::target::{Form, Scheme, authority_of, is_same};
use super::trailers::Trailers;
use super::{Limits, Version};

/// Whether a stream has more than its head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stream {
    /// The head was all.
    Ended,
    Open,
}

impl RequestHead {
    /// A request of HTTP/2, as HTTP/1.1 says it: the authority as Host, the cookies as one, and a body without
    /// length chunked.
    pub fn from_parts(
        &mut self,
        parts: &request::Parts,
        stream: Stream,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        self.clear();
        let method = parts.method.as_str().as_bytes();
        let uri = &parts.uri;
        let authority = uri.authority().map_or(&b""[..], |authority| authority.as_str().as_bytes());
        let path = match uri.path_and_query().map(|path| path.as_str()).unwrap_or_default() {
            _ if parts.method == Method::CONNECT => authority,
            "" if parts.method == Method::OPTIONS => b"*",
            "" => b"/",
            path => path.as_bytes(),
        };
        if method.len() > LONGEST_METHOD {
            return Err(Refusal::MethodTooLong);
        }
        if path.len() > limits.target {
            return Err(Refusal::TargetTooLong);
        }
        self.version = Version::Http11;
        self.method = self.fields.add_octets(&[method]);
        self.target = self.fields.add_octets(&[path]);
        let fields = std::mem::take(&mut self.fields);
        let target = self.take_target_apart(fields.octets());
        self.fields = fields;
        target?;
        if matches!(self.form, Form::Absolute(_)) {
            return Err(Refusal::Target);
        }
        let host = host_of(authority, &parts.headers)?;
        self.fields.push(b"Host", host);
        add(&mut self.fields, &parts.headers, limits)?;
        self.judge(limits)?;
        let has_content = [Method::POST, Method::PUT, Method::PATCH].contains(&parts.method);
        match (stream, self.body) {
            (Stream::Ended, Body::Length(length)) if length > 0 => {
                return Err(Refusal::LengthDiffers);
            }
            // Without it, a server could wait for a body, or ask for the length (RFC 9110 §8.6).
            (Stream::Ended, Body::None) if has_content => self.set_body(Body::Length(0)),
            (Stream::Ended, _) | (Stream::Open, Body::Length(_)) => {}
            (Stream::Open, _) if self.form == Form::Authority => {}
            (Stream::Open, _) => self.set_body(Body::Chunked),
        }
        let has_body = !matches!(self.body, Body::None | Body::Length(0));
        self.expects_continue = has_body && self.fields.has(Known::Expect);
        Ok(())
    }

    /// The request as HTTP/2 says it, once it is stripped.
    ///
    /// # Errors
    ///
    /// CONNECT, an upgrade, and what has no authority.
    pub fn to_parts(&self, scheme: Scheme) -> Result<request::Parts, Refusal> {
        if self.is_upgrade || self.form == Form::Authority || self.authority().is_empty() {
            return Err(Refusal::NotInHttp2);
        }
        let path =
            http::uri::PathAndQuery::try_from(self.target()).map_err(|_| Refusal::TargetOctet)?;
        let uri =
            Uri::builder().scheme(scheme.text()).authority(self.authority()).path_and_query(path);
        let method = Method::from_bytes(self.method()).map_err(|_| Refusal::Method)?;
        let mut request = http::Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri.build().map_err(|_| Refusal::Authority)?;
        *request.version_mut() = http::Version::HTTP_2;
        *request.headers_mut() = map_of(&self.fields)?;
        Ok(request.into_parts().0)
    }
}

impl ResponseHead {
    /// A response of HTTP/2, as HTTP/1.1 says it: [`ResponseHead::body`] and [`ResponseHead::set_body`] frame it
    /// for the client.
    pub fn from_parts(
        &mut self,
        parts: &response::Parts,
        stream: Stream,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        self.clear();
        self.version = Version::Http11;
        self.status = parts.status.as_u16();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Refusal::UnaskedUpgrade);
        }
        let reason = parts.status.canonical_reason().unwrap_or_default();
        self.reason = self.fields.add_octets(&[reason.as_bytes()]);
        add(&mut self.fields, &parts.headers, limits)?;
        self.framing = Framing::of(self.version, &mut self.fields, limits)?;
        match (stream, self.framing.length) {
            (Stream::Ended, None) => self.framing.length = Some(0),
            (Stream::Open, None) => self.framing.is_chunked = true,
            (_, Some(_)) => {}
        }
        self.ends_here = stream == Stream::Ended;
        self.framing.persistence = Persistence::KeepAlive;
        Ok(())
    }

    /// The response as HTTP/2 says it, once it is stripped and framed.
    ///
    /// # Errors
    ///
    /// 101: HTTP/2 changes no protocol.
    pub fn to_parts(&self) -> Result<response::Parts, Refusal> {
        if self.status == 101 {
            return Err(Refusal::NotInHttp2);
        }
        let mut response = http::Response::new(());
        *response.status_mut() =
            StatusCode::from_u16(self.status).map_err(|_| Refusal::StatusLine)?;
        *response.version_mut() = http::Version::HTTP_2;
        *response.headers_mut() = map_of(&self.fields)?;
        Ok(response.into_parts().0)
    }
}

impl Trailers {
    /// HTTP/2's trailers; what is forbidden is left out.
    pub fn from_map(map: &HeaderMap) -> Result<Self, Refusal> {
        let mut trailers = Self::default();
        for (name, value) in map {
            let append = trailers.append(name.as_str().as_bytes(), value.as_bytes());
            append.map_err(|_| Refusal::FieldValue)?;
        }
        Ok(trailers)
    }

    pub fn to_map(&self) -> Result<HeaderMap, Refusal> {
        map_of(self.fields())
    }
}

/// One authority, from the pseudo-header or from Host, and the same from both if both are there.
fn host_of<'p>(authority: &'p [u8], headers: &'p HeaderMap) -> Result<&'p [u8], Refusal> {
    let mut hosts = headers.get_all(http::header::HOST).iter().map(|host| host.as_bytes());
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::ManyHosts);
    }
    match (authority, host) {
        (b"", None) => Err(Refusal::NoHost),
        (b"", Some(host)) => authority_of(host).map(|_| host).map_err(|_| Refusal::Host),
        (authority, None) => authority_of(authority).map(|_| authority),
        (authority, Some(host)) if is_same(None, authority, host) => Ok(authority),
        (_, Some(_)) => Err(Refusal::HostDiffers),
    }
}

/// Adds HTTP/2's fields, Host but once added before.
fn add(fields: &mut Fields, headers: &HeaderMap, limits: &Limits) -> Result<(), Refusal> {
    let mut cookies = vec![];
    for (name, value) in headers {
        let (name, value) = (name.as_str().as_bytes(), trim(value.as_bytes()));
        if !is_text(value) {
            return Err(Refusal::FieldValue);
        }
        match Known::of(name) {
            Known::Host => continue,
            Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade
            | Known::Http2Settings => return Err(Refusal::ConnectionField),
            Known::Te if !value.eq_ignore_ascii_case(b"trailers") => {
                return Err(Refusal::ConnectionField);
            }
            // HTTP/2 may cut a cookie in pieces, which HTTP/1 has in one (RFC 9113 §8.2.3).
            Known::Cookie => {
                if !value.is_empty() {
                    cookies.push(value);
                }
                continue;
            }
            _ => {}
        }
        if fields.len() == limits.fields {
            return Err(Refusal::TooManyFields);
        }
        fields.push(name, value);
        if fields.octets().len() > limits.head {
            return Err(Refusal::HeadTooLong);
        }
    }
    if !cookies.is_empty() {
        fields.push(b"cookie", &cookies.join(&b"; "[..]));
    }
    let is_within = fields.len() <= limits.fields && fields.octets().len() <= limits.head;
    if is_within { Ok(()) } else { Err(Refusal::HeadTooLong) }
}

/// Fields as HTTP/2 has them: in lower case, and none of a connection.
fn map_of(fields: &Fields) -> Result<HeaderMap, Refusal> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields.iter() {
        match Known::of(name) {
            Known::Host
            | Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade
            | Known::Http2Settings => continue,
            _ => {}
        }
        let name = HeaderName::from_bytes(name).map_err(|_| Refusal::FieldName)?;
        let value = HeaderValue::from_bytes(value).map_err(|_| Refusal::FieldValue)?;
        map.append(name, value);
    }
    Ok(map)
}
