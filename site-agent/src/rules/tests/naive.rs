//! The meaning of a condition once more, as plainly as can be: over the tree, with strings of its own for everything.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::bytes::Regex;

use super::asked::Asked;
use crate::rules::path::normal;
use crate::rules::tree::{Comparison, Expression, Node};

pub fn holds(written: &Expression, asked: &Asked) -> bool {
    match &written.node {
        Node::Or(list) => list.iter().any(|one| holds(one, asked)),
        Node::And(list) => list.iter().all(|one| holds(one, asked)),
        Node::Not(one) => !holds(one, asked),
        Node::Bool(is) => *is,
        Node::Compare(left, comparison, right) => {
            let (left, right) = (values(left, asked), values(right, asked));
            let pairs = || left.iter().flat_map(|one| right.iter().map(move |other| (one, other)));
            match comparison {
                Comparison::Equal => pairs().any(|(one, other)| one == other),
                Comparison::NotEqual => !pairs().any(|(one, other)| one == other),
                Comparison::Less => pairs().any(|(one, other)| one < other),
                Comparison::LessOrEqual => pairs().any(|(one, other)| one <= other),
                Comparison::More => pairs().any(|(one, other)| one > other),
                Comparison::MoreOrEqual => pairs().any(|(one, other)| one >= other),
            }
        }
        Node::In(one, list) => {
            let one = values(one, asked);
            list.iter().any(|item| {
                let found = texts(std::slice::from_ref(item));
                let network = found.first().and_then(|text| text.parse::<IpNet>().ok());
                one.iter().any(|value| match (value, network) {
                    (Value::Address(address), Some(network)) => network.contains(address),
                    (value, _) => values(item, asked).contains(value),
                })
            })
        }
        Node::Call(name, arguments) => call(name, arguments, asked),
        Node::Int(_) | Node::Duration(_) | Node::Text(_) => unreachable!("no test"),
    }
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Value {
    Text(Vec<u8>),
    Address(IpAddr),
    Number(i64),
}

fn texts(list: &[Expression]) -> Vec<String> {
    let text = |one: &Expression| match &one.node {
        Node::Text(text) => text.clone(),
        other => format!("{other:?}"),
    };
    list.iter().map(text).collect()
}

fn values(written: &Expression, asked: &Asked) -> Vec<Value> {
    match &written.node {
        Node::Text(text) => match text.parse() {
            Ok(address) => vec![Value::Address(address)],
            Err(_) => vec![Value::Text(text.clone().into())],
        },
        Node::Int(number) => vec![Value::Number(*number)],
        Node::Call(name, arguments) => match &**name {
            "src" => vec![Value::Address(asked.src)],
            "port" => vec![Value::Number(asked.port.into())],
            other => facts(other, texts(arguments).first().map_or("", String::as_str), asked)
                .into_iter()
                .map(Value::Text)
                .collect(),
        },
        other => unreachable!("{other:?} has no values"),
    }
}

fn facts(fact: &str, name: &str, asked: &Asked) -> Vec<Vec<u8>> {
    let lines = |name: &str| {
        let lines = asked.headers.iter().filter(|(key, _)| key.to_lowercase() == name);
        lines.map(|(_, value)| value.clone()).collect::<Vec<String>>()
    };
    let host = |text: &String| text.split(':').next().unwrap().trim_end_matches('.').to_lowercase();
    let found: Vec<String> = match fact {
        "sni" => asked.sni.iter().map(host).collect(),
        "host" => asked.host.iter().map(host).collect(),
        "method" => vec![asked.method.clone()],
        "path" => {
            let mut room = Vec::new();
            return vec![normal(asked.path.as_bytes(), &mut room).unwrap().octets().to_vec()];
        }
        "header" => lines(&name.to_lowercase()),
        "query" => {
            let pairs =
                asked.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            let pairs = pairs.map(|(key, value)| (decoded(key), decoded(value)));
            pairs.filter(|(key, _)| key == name).map(|(_, value)| value).collect()
        }
        "cookie" => {
            let lines = lines("cookie");
            let pairs = lines.iter().flat_map(|line| line.split(';')).map(str::trim);
            let pairs = pairs.filter_map(|pair| pair.split_once('='));
            pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).collect()
        }
        other => unreachable!("{other} is no fact"),
    };
    found.into_iter().map(String::into_bytes).collect()
}

/// ASCII alone is escaped in these tests.
fn decoded(text: &str) -> String {
    let mut decoded = text.replace('+', " ");
    for octet in 0x21..0x7f_u8 {
        decoded = decoded.replace(&format!("%{octet:02X}"), &char::from(octet).to_string());
    }
    decoded
}

fn call(name: &str, arguments: &[Expression], asked: &Asked) -> bool {
    let texts = texts(arguments);
    let first = || texts[0].as_str();
    let path = || facts("path", "", asked).remove(0);
    let is_one = |fact: &str, key: &str, wanted: &[String]| {
        let found = facts(fact, key, asked);
        wanted.iter().any(|wanted| found.contains(&wanted.clone().into_bytes()))
    };
    match name {
        "is_tls" => asked.is_tls,
        "src" => texts.iter().any(|net| net.parse::<IpNet>().unwrap().contains(&asked.src)),
        "port" => arguments.iter().any(|port| port.node == Node::Int(asked.port.into())),
        "sni" | "host" | "method" | "path" => is_one(name, "", &texts),
        "query" | "cookie" => is_one(name, first(), &texts[1..]),
        "host_suffix" => facts("host", "", asked).iter().any(|host| {
            let host = String::from_utf8(host.clone()).unwrap();
            texts.iter().any(|suffix| host == *suffix || host.ends_with(&format!(".{suffix}")))
        }),
        "path_prefix" => texts.iter().any(|prefix| path().starts_with(prefix.as_bytes())),
        "path_regex" => Regex::new(first()).unwrap().is_match(&path()),
        "has_header" => !facts("header", first(), asked).is_empty(),
        "header" => facts("header", first(), asked).iter().any(|line| {
            let line = String::from_utf8(line.clone()).unwrap().to_lowercase();
            line.split(',').any(|item| texts[1..].contains(&item.trim().to_owned()))
        }),
        other => unreachable!("{other} is no test"),
    }
}
