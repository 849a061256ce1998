//! The tables of cases: octets that readers are known to take in different ways, and the one outcome of each.
//!
//! Those of HTTP/1 are the corpus that the balancer's own reader is tested with; those of HTTP/2 stand beside.

/// What comes of a case, in the words of its table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// Requests that reach a server whole, as `METHOD target host "body"`.
    pub forwarded: Vec<String>,
    pub end: End,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// Every request is answered, and the connection is good for another.
    Good,
    /// The client says no more in the middle of a request.
    More,
    /// With this status, and nothing that follows means anything.
    Refused(u16),
    /// Over HTTP/2: the stream is reset, or the connection ends, with this code.
    Reset(&'static str),
    GoAway(&'static str),
}

pub struct Case {
    /// Where it stands.
    pub line: String,
    pub text: &'static str,
    pub expected: Outcome,
}

const CORPUS: &str = include_str!("../../../site-agent/src/head/tests/corpus.txt");
const HTTP_1: &str = include_str!("http1.txt");
const HTTP_2: &str = include_str!("http2.txt");

/// Each with its octets.
pub fn of_http_1() -> Vec<(Case, Vec<u8>)> {
    let requests = CORPUS.split("[responses]").next().unwrap();
    let begins = requests.lines().position(|line| line == "[requests]").unwrap();
    let of_corpus = lines("corpus.txt", requests).filter(move |((_, line), ..)| *line > begins);
    of_corpus
        .chain(lines("http1.txt", HTTP_1))
        .map(|(line, text, expected, came)| {
            (case(line, text, expected), unescape(&with_starts(came)))
        })
        .collect()
}

fn case((file, line): Line, text: &'static str, expected: &'static str) -> Case {
    Case { line: format!("{file}:{line}"), text, expected: outcome(expected) }
}

/// Each with its frames: fields of a head, data, fields behind it.
pub fn of_http_2() -> Vec<(Case, Vec<Part>)> {
    lines("http2.txt", HTTP_2)
        .map(|(line, text, expected, came)| {
            (case(line, text, expected), came.split(" || ").map(part).collect())
        })
        .collect()
}

pub enum Part {
    /// HEADERS, the first of the stream or its last.
    Head(Vec<(Vec<u8>, Vec<u8>)>),
    Data(Vec<u8>),
    /// The stream stays open.
    Open,
}

type Line = (&'static str, usize);

fn lines(
    file: &'static str,
    text: &'static str,
) -> impl Iterator<Item = (Line, &'static str, &'static str, &'static str)> {
    let is_case = |line: &str| !line.is_empty() && !line.starts_with(['#', '[']);
    text.lines().enumerate().filter(move |(_, line)| is_case(line)).map(move |(number, line)| {
        let (expected, came) = line.split_once(" <= ").unwrap_or_else(|| panic!("{line}"));
        ((file, number + 1), line, expected, came)
    })
}

fn part(text: &'static str) -> Part {
    if text == "open" {
        return Part::Open;
    }
    if let Some(data) = text.strip_prefix("data ") {
        return Part::Data(unescape(data));
    }
    let fields = text.replace("{get}", "{as GET}").replace("{post}", "{as POST}");
    let start = |method| format!(":method: {method} | :scheme: https | :path: / | :authority: a");
    let fields = fields.replace("{as GET}", &start("GET")).replace("{as POST}", &start("POST"));
    let fields = fields.split(" | ").map(|field| {
        let (name, value) = field.split_once(": ").unwrap_or_else(|| panic!("no field: {field}"));
        (unescape(name), unescape(value))
    });
    Part::Head(fields.collect())
}

fn outcome(text: &'static str) -> Outcome {
    let (mut forwarded, mut end) = (vec![], End::Good);
    for message in text.split("; ") {
        assert_eq!(end, End::Good, "{text}: nothing comes behind an end");
        match message.split_once(' ').unwrap_or((message, "")) {
            ("more", "") => end = End::More,
            // Without TLS nobody agrees on it.
            ("http2", "") => end = End::Refused(505),
            ("refused", word) => end = End::Refused(word.parse().unwrap_or_else(|_| status(word))),
            ("reset", code) => end = End::Reset(code),
            ("goaway", code) => end = End::GoAway(code),
            _ => forwarded.push(plain(message)),
        }
    }
    Outcome { forwarded, end }
}

/// Whether a body is empty or none is not told by every server.
pub fn plain(request: &str) -> String {
    request.strip_suffix(" \"\"").unwrap_or(request).replace(" \"\" with ", " with ")
}

/// What a client is told who is refused for this (RFC 9110 §15, RFC 6585 §5).
fn status(word: &str) -> u16 {
    match word {
        "method-too-long" | "unknown-transfer-coding" => 501,
        "http-0.9" | "version" => 505,
        "target-too-long" => 414,
        "expectation" => 417,
        "body-too-long" => 413,
        "head-too-long" | "too-many-fields" | "trailers-too-long" | "too-many-trailers" => 431,
        _ => 400,
    }
}

fn with_starts(text: &str) -> String {
    text.replace("{get}", r"GET / HTTP/1.1\r\nHost: a\r\n")
        .replace("{post}", r"POST / HTTP/1.1\r\nHost: a\r\n")
        .replace("{next}", r"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn unescape(text: &str) -> Vec<u8> {
    let (mut octets, mut letters) = (vec![], text.chars());
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            octets.push(u8::try_from(letter).unwrap());
            continue;
        }
        octets.push(match letters.next().unwrap() {
            'r' => b'\r',
            'n' => b'\n',
            't' => b'\t',
            '0' => 0,
            '\\' => b'\\',
            'x' => {
                let digits: String = letters.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).unwrap()
            }
            other => panic!("no escape: {other}"),
        });
    }
    octets
}
