//! What a request asks and what is said to it, in HTTP's terms (RFC 8484 §4). Pure.

use data_encoding::BASE64URL_NOPAD;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Version};

use super::LONGEST_QUERY;
use super::freshness::freshness;
use crate::answer::Answer;

const DNS_MESSAGE: &str = "application/dns-message";
const TEXT: &str = "text/plain; charset=utf-8";

/// Where the query is.
#[derive(Debug, Eq, PartialEq)]
pub enum Asked {
    /// It was decoded from there.
    InUri(Vec<u8>),
    InBody,
}

/// Why a request gets no DNS answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    NoSuchPath,
    NoSuchMethod,
    OldVersion,
    OtherMediaType,
    TooLarge,
    /// A GET without `dns`, or with two.
    NoParameter,
    NotBase64,
    /// What must not be answered: too short for a header, or itself a response.
    NoQuery,
    CutShort,
    Late,
    /// A defect of ours.
    Failed,
}

pub fn asked(head: &Parts, path: &str) -> Result<Asked, Refusal> {
    if !matches!(head.version, Version::HTTP_11 | Version::HTTP_2) {
        return Err(Refusal::OldVersion);
    }
    if head.uri.path() != path {
        return Err(Refusal::NoSuchPath);
    }
    match head.method {
        Method::GET => {
            let parameters = head.uri.query().unwrap_or_default();
            let mut queries = form_urlencoded::parse(parameters.as_bytes())
                .filter_map(|(key, value)| (key == "dns").then_some(value));
            let (Some(query), None) = (queries.next(), queries.next()) else {
                return Err(Refusal::NoParameter);
            };
            let query = BASE64URL_NOPAD.decode(query.as_bytes());
            query.map(Asked::InUri).map_err(|_| Refusal::NotBase64)
        }
        Method::POST => {
            let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
            // Parameters of a media type may follow; this one has none that matter.
            let media_type = header(CONTENT_TYPE).unwrap_or_default().split(';').next();
            if !media_type.unwrap_or_default().trim().eq_ignore_ascii_case(DNS_MESSAGE) {
                return Err(Refusal::OtherMediaType);
            }
            // Refused before it is sent, if it says how long it is.
            let length = header(CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
            if length.is_some_and(|length| length > LONGEST_QUERY) {
                return Err(Refusal::TooLarge);
            }
            Ok(Asked::InBody)
        }
        _ => Err(Refusal::NoSuchMethod),
    }
}

/// A DNS answer, whatever its code, is a success for HTTP (RFC 8484 §4.2.1).
pub fn response(answer: &Answer, message: Vec<u8>) -> Response<Full<Bytes>> {
    let seconds = freshness(answer.rcode, &message);
    // Who asks had a say in what a service answered, so no cache may give it to others.
    let reach = if answer.steered.is_some() { "private, " } else { "" };
    let mut response = Response::new(Full::new(Bytes::from(message)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(DNS_MESSAGE));
    let control = HeaderValue::from_str(&format!("{reach}max-age={seconds}"));
    headers.insert(CACHE_CONTROL, control.expect("letters, digits, comma and equals sign"));
    response
}

impl Refusal {
    pub fn response(self) -> Response<Full<Bytes>> {
        let (status, text) = self.told();
        let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self == Refusal::NoSuchMethod {
            headers.insert(ALLOW, HeaderValue::from_static("GET, POST"));
        }
        response
    }

    fn told(self) -> (StatusCode, &'static str) {
        match self {
            Refusal::NoSuchPath => (StatusCode::NOT_FOUND, "DNS is not asked at this path\n"),
            Refusal::NoSuchMethod => {
                (StatusCode::METHOD_NOT_ALLOWED, "ask by GET or POST (RFC 8484)\n")
            }
            Refusal::OldVersion => {
                (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "ask by HTTP/2 or HTTP/1.1\n")
            }
            Refusal::OtherMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "a query is application/dns-message\n")
            }
            Refusal::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "a DNS message has at most 65535 octets\n")
            }
            Refusal::NoParameter => (StatusCode::BAD_REQUEST, "a GET has one parameter dns\n"),
            Refusal::NotBase64 => {
                (StatusCode::BAD_REQUEST, "dns is base64url without padding (RFC 8484)\n")
            }
            Refusal::NoQuery => (StatusCode::BAD_REQUEST, "this is no DNS query\n"),
            Refusal::CutShort => (StatusCode::BAD_REQUEST, "the query was cut short\n"),
            Refusal::Late => (StatusCode::REQUEST_TIMEOUT, "the query took too long to come\n"),
            Refusal::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "the answer failed\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    /// `GET /dns-query?dns=AAAB`, then header fields and `HTTP/1.0`, each after ` | `.
    fn check(request: &str, expected: Result<Asked, Refusal>) {
        let mut words = request.split(" | ");
        let (method, uri) = words.next().unwrap().split_once(' ').unwrap();
        let mut made = Request::builder().method(method).uri(uri);
        for word in words {
            made = match word.split_once(": ") {
                Some((name, value)) => made.header(name, value),
                None if word == "HTTP/1.0" => made.version(Version::HTTP_10),
                None => made.version(Version::HTTP_2),
            };
        }
        let (head, ()) = made.body(()).unwrap().into_parts();
        assert_eq!(asked(&head, "/dns-query"), expected, "{request}");
    }

    #[test]
    fn a_request_asks_in_its_uri_or_its_body() {
        let post = "POST /dns-query | content-type: application/dns-message";
        let query = || Ok(Asked::InUri(vec![0, 0, 1]));
        check("GET /dns-query?dns=AAAB", query());
        check("GET /dns-query?dns=AAAB | HTTP/2", query());
        check("GET /dns-query?ct&dns=AAAB&x=y", query());
        check("GET /dns-query?dns=%41AAB", query());
        check("GET /dns-query?dns=-_-_", Ok(Asked::InUri(vec![0xfb, 0xff, 0xbf])));
        check("GET /dns-query?dns=", Ok(Asked::InUri(vec![])));
        check("GET /dns-query?dns=AAABAA==", Err(Refusal::NotBase64));
        check("GET /dns-query?dns=AAA+", Err(Refusal::NotBase64));
        check("GET /dns-query?dns=AB", Err(Refusal::NotBase64)); // Bits that are left over are set.
        check("GET /dns-query", Err(Refusal::NoParameter));
        check("GET /dns-query?dnss=AAAB", Err(Refusal::NoParameter));
        check("GET /dns-query?dns=AAAB&dns=AAAB", Err(Refusal::NoParameter));
        check(post, Ok(Asked::InBody));
        check(&format!("{post}; charset=x | content-length: 4096"), Ok(Asked::InBody));
        check("POST /dns-query | content-type: Application/DNS-Message", Ok(Asked::InBody));
        check(&format!("{post} | content-length: 4097"), Err(Refusal::TooLarge));
        check("POST /dns-query", Err(Refusal::OtherMediaType));
        check("POST /dns-query | content-type: text/plain", Err(Refusal::OtherMediaType));
        check("HEAD /dns-query?dns=AAAB", Err(Refusal::NoSuchMethod));
        check("PUT /dns-query", Err(Refusal::NoSuchMethod));
        check("GET /dns-query/?dns=AAAB", Err(Refusal::NoSuchPath));
        check("DELETE /", Err(Refusal::NoSuchPath));
        check("GET /dns-query?dns=AAAB | HTTP/1.0", Err(Refusal::OldVersion));
    }
}
