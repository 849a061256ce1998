//! A path and its parameters to a response.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::{Method, Response, StatusCode, Uri};
use serde_json::json;

use super::Door;
use crate::clock::now;
use crate::explain::{Format, Request, RequestWords, explain};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

const INDEX: &str = "\
gslb-dns

/metrics      Prometheus metrics
/healthz      200 while this process runs
/v1/explain   ?name=www.example.com&type=A&client=81.2.69.0/24 | &resolver=192.0.2.53
              [&at=2026-11-21T09:30:00Z] [&suppose=down=fra] [&format=text]
";

pub async fn route(door: Door, method: Method, uri: Uri) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut response =
            page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "this door only reads: use GET\n".into());
        response.headers_mut().insert(ALLOW, "GET, HEAD".parse().expect("a constant"));
        return response;
    }
    match uri.path() {
        "/" => page(StatusCode::OK, TEXT, INDEX.into()),
        "/metrics" => page(StatusCode::OK, METRICS, door.metrics.text()),
        "/healthz" => page(StatusCode::OK, TEXT, "ok\n".into()),
        "/v1/explain" => explained(door, uri.query().unwrap_or_default().to_owned()).await,
        other => {
            let text = format!("no page {other}; there are these:\n\n{INDEX}");
            page(StatusCode::NOT_FOUND, TEXT, text)
        }
    }
}

async fn explained(door: Door, query: String) -> Response<Full<Bytes>> {
    let asked = match Asked::read(&query) {
        Ok(asked) => asked,
        Err(message) => return refused(&message),
    };
    let request = match Request::parse(&asked.words, now()) {
        Ok(request) => request,
        Err(error) => return refused(&error.to_string()),
    };
    // A supposed world is arranged anew, which takes a while for a large one.
    let explanation = tokio::task::spawn_blocking(move || {
        explain(&door.published.load(), &door.node_name, &request)
    });
    let kind = match asked.format {
        Format::Text => TEXT,
        Format::Json => JSON,
    };
    let written = match explanation.await {
        Ok(explanation) => explanation.render(asked.format).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match written {
        Ok(text) => page(StatusCode::OK, kind, text),
        Err(error) => failed(&error),
    }
}

struct Asked {
    words: RequestWords,
    format: Format,
}

impl Asked {
    fn read(query: &str) -> Result<Asked, String> {
        let mut words = RequestWords { qtype: "A".into(), ..RequestWords::default() };
        let mut format = Format::Json;
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match &*key {
                "name" => words.name = value,
                "type" => words.qtype = value,
                "client" => words.client = Some(value),
                "resolver" => words.resolver = Some(value),
                "at" => words.at = Some(value),
                "suppose" => words.suppose.push(value),
                "format" => {
                    format = Format::named(&value)?;
                }
                other => {
                    return Err(format!(
                        "no parameter {other} (parameters: name, type, client, resolver, at, \
                         suppose, format)"
                    ));
                }
            }
        }
        if words.name.is_empty() {
            return Err("which name? give one, such as name=www.example.com".into());
        }
        Ok(Asked { words, format })
    }
}

fn refused(message: &str) -> Response<Full<Bytes>> {
    page(StatusCode::BAD_REQUEST, JSON, format!("{}\n", json!({ "error": message })))
}

fn failed(message: &str) -> Response<Full<Bytes>> {
    tracing::error!(message, "an explanation failed");
    page(StatusCode::INTERNAL_SERVER_ERROR, JSON, format!("{}\n", json!({ "error": message })))
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind.parse().expect("a constant"));
    response
}
