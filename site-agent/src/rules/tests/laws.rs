//! What must hold of every condition: printed and read it is the same, it means what a plain reading of it means, and no
//! text does more than be refused.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;

use super::asked::Asked;
use super::naive;
use crate::rules::functions;
use crate::rules::parse::parse;
use crate::rules::tree::{Comparison, Expression, Node};
use crate::rules::{DEEPEST, MOST_NODES, Mode, compile};

const COMPARISONS: [Comparison; 6] = [
    Comparison::Equal,
    Comparison::NotEqual,
    Comparison::Less,
    Comparison::LessOrEqual,
    Comparison::More,
    Comparison::MoreOrEqual,
];

fn bare(node: Node) -> Expression {
    Expression { span: 0..0, node }
}

fn call(name: &str, arguments: Vec<Expression>) -> Expression {
    bare(Node::Call(name.to_owned(), arguments))
}

fn text(text: &str) -> Expression {
    bare(Node::Text(text.to_owned()))
}

/// Trees of these leaves.
fn trees(leaves: impl Strategy<Value = Expression> + 'static) -> impl Strategy<Value = Expression> {
    leaves.prop_recursive(4, 24, 4, |inner| {
        let list = || prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            list().prop_map(|list| bare(Node::Or(list))),
            list().prop_map(|list| bare(Node::And(list))),
            inner.clone().prop_map(|one| bare(Node::Not(one.into()))),
        ]
    })
}

/// Anything that can be written, whether it means something or not.
fn anything() -> impl Strategy<Value = Expression> {
    let names = select(vec!["src", "host", "path_prefix", "x", "_a1", "and", "nottrue", "In"]);
    let leaves = prop_oneof![
        any::<bool>().prop_map(|is| bare(Node::Bool(is))),
        (0..i64::MAX).prop_map(|number| bare(Node::Int(number))),
        (0..100_000_u64).prop_map(|ms| bare(Node::Duration(Duration::from_millis(ms)))),
        "[^\\p{Cc}]{0,6}".prop_map(|letters| text(&letters)),
        names.clone().prop_map(|name| call(name, vec![])),
    ];
    trees(leaves.prop_recursive(3, 16, 4, move |inner| {
        let two = (inner.clone(), select(COMPARISONS.to_vec()), inner.clone());
        let list = || prop::collection::vec(inner.clone(), 0..3);
        prop_oneof![
            two.prop_map(|(left, comparison, right)| {
                bare(Node::Compare(left.into(), comparison, right.into()))
            }),
            (inner.clone(), list()).prop_map(|(one, list)| bare(Node::In(one.into(), list))),
            (names.clone(), list()).prop_map(|(name, list)| call(name, list)),
        ]
    }))
}

const NETWORKS: [&str; 4] = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24", "2001:db8::/32"];
const ADDRESSES: [&str; 4] = ["10.0.0.1", "10.1.0.1", "192.0.2.1", "2001:db8::1"];
const HOSTS: [&str; 4] = ["a.example", "www.a.example", "b.example", "example"];
const METHODS: [&str; 3] = ["GET", "POST", "PUT"];
const PATHS: [&str; 5] = ["/", "/a", "/a/b", "/a/bc", "/b/"];
const NAMES: [&str; 3] = ["a", "b", "cookie"];
const TEXTS: [&str; 5] = ["", "1", "2", "x y", "b"];
const REGEXES: [&str; 3] = ["^/a", "b$", "^/[ab]/?$"];

/// Tests that mean something, of few constants, so that each holds of some requests and not of others.
fn sound() -> impl Strategy<Value = Expression> {
    let one = |pool: &'static [&'static str]| select(pool).prop_map(text);
    let some = move |pool| prop::collection::vec(one(pool), 1..3);
    let named =
        move |pool| (one(&NAMES), some(pool)).prop_map(|(name, list)| [vec![name], list].concat());
    let ports = || select(vec![80, 443, 8443]).prop_map(|port| bare(Node::Int(port)));
    let comparison = || select(COMPARISONS.to_vec());
    let several = || {
        (select(vec!["header", "query", "cookie"]), one(&NAMES))
            .prop_map(|(fact, name)| call(fact, vec![name]))
    };
    let compared = prop_oneof![
        (Just(call("host", vec![])), one(&HOSTS)),
        (Just(call("sni", vec![])), one(&HOSTS)),
        (Just(call("method", vec![])), one(&METHODS)),
        (Just(call("path", vec![])), one(&PATHS)),
        (Just(call("port", vec![])), ports()),
        (several(), one(&TEXTS)),
        (several(), Just(call("path", vec![]))),
        (Just(call("sni", vec![])), Just(call("host", vec![]))),
    ];
    let compared = (compared, comparison(), any::<bool>()).prop_map(|((one, other), how, turn)| {
        let (left, right) = if turn { (other, one) } else { (one, other) };
        bare(Node::Compare(left.into(), how, right.into()))
    });
    let of_src = (select(COMPARISONS[..2].to_vec()), one(&ADDRESSES)).prop_map(|(how, address)| {
        bare(Node::Compare(call("src", vec![]).into(), how, address.into()))
    });
    let in_list = prop_oneof![
        (Just(call("src", vec![])), some(&NETWORKS)),
        (Just(call("host", vec![])), some(&HOSTS)),
        (Just(call("port", vec![])), prop::collection::vec(ports(), 1..3)),
        (several(), some(&TEXTS)),
    ];
    let in_list = in_list.prop_map(|(one, list)| bare(Node::In(one.into(), list)));
    let called = prop_oneof![
        some(&NETWORKS).prop_map(|list| call("src", list)),
        prop::collection::vec(ports(), 1..3).prop_map(|list| call("port", list)),
        Just(call("is_tls", vec![])),
        some(&HOSTS).prop_map(|list| call("sni", list)),
        some(&METHODS).prop_map(|list| call("method", list)),
        some(&HOSTS).prop_map(|list| call("host", list)),
        some(&HOSTS).prop_map(|list| call("host_suffix", list)),
        some(&PATHS).prop_map(|list| call("path", list)),
        some(&PATHS).prop_map(|list| call("path_prefix", list)),
    ];
    let named = prop_oneof![
        one(&REGEXES).prop_map(|regex| call("path_regex", vec![regex])),
        one(&NAMES).prop_map(|name| call("has_header", vec![name])),
        named(&TEXTS).prop_map(|list| call("header", list)),
        named(&TEXTS).prop_map(|list| call("query", list)),
        named(&TEXTS).prop_map(|list| call("cookie", list)),
    ];
    let constant = any::<bool>().prop_map(|is| bare(Node::Bool(is)));
    prop_oneof![4 => compared, 1 => of_src, 3 => in_list, 4 => called, 3 => named, 1 => constant]
}

fn requests() -> impl Strategy<Value = Asked> {
    let host =
        || prop::option::of(select(vec!["a.example", "WWW.A.example:80", "b.example.", "example"]));
    let paths = select(vec!["/", "/a", "/%61/b", "/a//b", "/a/bc", "/b/", "/x/../a"]);
    let values = || select(vec!["", "1", "2", "x y", "b", "B, 2", "/a"]);
    let headers = prop_oneof![
        (select(NAMES.to_vec()), values()).prop_map(|(name, value)| (name.into(), value.into())),
        (select(NAMES.to_vec()), values()).prop_map(|(name, value)| {
            ("Cookie".to_owned(), format!("z=9; {name}={}", value.replace(", ", "")))
        }),
    ];
    let pairs = (select(vec!["a", "b", "%61"]), select(vec!["", "=1", "=%32", "=x+y", "=%62"]));
    let query = prop::collection::vec(pairs.prop_map(|(key, value)| format!("{key}{value}")), 0..3);
    let of_connection =
        (select(ADDRESSES.to_vec()), select(vec![80, 443, 8443]), any::<bool>(), host());
    let of_request = (select(METHODS.to_vec()), host(), paths, query);
    (of_connection, of_request, prop::collection::vec(headers, 0..4)).prop_map(
        |((src, port, is_tls, sni), (method, host, path, query), headers)| Asked {
            src: src.parse().unwrap(),
            port,
            is_tls,
            // A server name has no port.
            sni: sni.map(|sni: &str| sni.replace(":80", "")),
            method: method.to_owned(),
            host: host.map(str::to_owned),
            path: path.to_owned(),
            query: query.join("&"),
            headers,
        },
    )
}

/// Words, signs and slips, so that much of it is nearly a condition.
fn scraps() -> impl Strategy<Value = String> {
    let known = functions::ALL.iter().map(|function| function.name);
    let signs = "&& || ! ( ) , == != < <= > >= in ' \" '/a' '10.0.0.0/8' 443 10s 0 & | = - / é true not and";
    let words: Vec<String> = known.chain(signs.split(' ')).map(str::to_owned).collect();
    let word = prop_oneof![9 => select(words), 1 => any::<char>().prop_map(String::from)];
    (prop::collection::vec(word, 0..20), select(vec!["", " "]))
        .prop_map(|(words, gap)| words.join(gap))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_printed_reads_the_same(tree in anything()) {
        let printed = tree.to_string();
        match parse(&printed) {
            Ok(again) => prop_assert_eq!(again, tree, "{}", printed),
            // The only reason can be that there is too much of it.
            Err(mistakes) => {
                let message = &mistakes[0].message;
                prop_assert!(message.contains(&format!("more than {DEEPEST}"))
                    || message.contains(&format!("more than {MOST_NODES}")), "{}: {}", printed, message);
            }
        }
    }

    #[test]
    fn it_means_what_a_plain_reading_means(tree in trees(sound()), asked in requests()) {
        let printed = tree.to_string();
        let condition = compile(&printed, Mode::Http).map_err(|mistakes| {
            TestCaseError::fail(format!("{printed}: {mistakes:?}"))
        })?;
        let got = asked.with(|request| condition.holds(request));
        prop_assert_eq!(got, naive::holds(&tree, &asked), "{}", printed);
    }

    #[test]
    fn no_text_does_more_than_be_refused(text in scraps()) {
        for mode in [Mode::Http, Mode::Tcp] {
            if let Err(mistakes) = compile(&text, mode) {
                prop_assert!(!mistakes.is_empty());
                for mistake in mistakes {
                    prop_assert!(text.get(mistake.span.clone()).is_some(), "{:?} of {:?}", mistake, text);
                }
            }
        }
    }
}
