//! A request for tests, written in one line.

use std::net::IpAddr;

use crate::rules::path::normal;
use crate::rules::{Http, Request};

#[derive(Clone, Debug)]
pub struct Asked {
    pub src: IpAddr,
    pub port: u16,
    pub is_tls: bool,
    pub sni: Option<String>,
    pub method: String,
    pub host: Option<String>,
    /// As it came.
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
}

/// `10.0.0.1 :443 tls sni=NAME GET HOST /path?query | name: value | name: value`; a host of `-` is none.
pub fn asked(line: &str) -> Asked {
    let mut parts = line.split('|').map(str::trim);
    let mut words = parts.next().unwrap().split_whitespace().peekable();
    let src = words.next().unwrap().parse().unwrap();
    let port = words.next().unwrap().strip_prefix(':').unwrap().parse().unwrap();
    let is_tls = words.next_if_eq(&"tls").is_some();
    let sni = words.next_if(|word| word.starts_with("sni=")).map(|word| word[4..].to_owned());
    let method = words.next().unwrap().to_owned();
    let host = Some(words.next().unwrap().to_owned()).filter(|host| host != "-");
    let target = words.next().unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers = parts.map(|line| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_owned(), value.trim().to_owned())
    });
    let headers = headers.collect();
    Asked { src, port, is_tls, sni, method, host, path: path.into(), query: query.into(), headers }
}

impl Asked {
    pub fn with<T>(&self, look: impl FnOnce(&Request<'_>) -> T) -> T {
        let mut room = Vec::new();
        let path = normal(self.path.as_bytes(), &mut room).unwrap();
        let headers = |name: &str, take: &mut dyn FnMut(&[u8]) -> bool| {
            let mut named = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            named.any(|(_, value)| take(value.as_bytes()))
        };
        let http = Http {
            method: self.method.as_bytes(),
            host: self.host.as_ref().map(|host| host.as_bytes()),
            path,
            query: self.query.as_bytes(),
            headers: &headers,
        };
        let sni = self.sni.as_ref().map(|sni| sni.as_bytes());
        look(&Request {
            src: self.src,
            port: self.port,
            is_tls: self.is_tls,
            sni,
            http: Some(http),
        })
    }
}
