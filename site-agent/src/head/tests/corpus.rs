//! The corpus of octets that readers take in different ways: each is read in one, however it comes, and what
//! goes on is read in the same.

use super::*;

const CORPUS: &str = include_str!("corpus.txt");
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\n";
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\n";

pub struct Entry {
    pub line: usize,
    pub is_request: bool,
    pub expected: &'static str,
    pub octets: Vec<u8>,
}

pub fn entries() -> Vec<Entry> {
    let mut entries = vec![];
    let mut is_request = true;
    for (number, line) in CORPUS.lines().enumerate() {
        match line {
            "[requests]" => is_request = true,
            "[responses]" => is_request = false,
            "" => {}
            _ if line.starts_with('#') => {}
            _ => {
                let (expected, octets) =
                    line.split_once(" <= ").expect("what is read <= what came");
                entries.push(Entry {
                    line: number + 1,
                    is_request,
                    expected,
                    octets: unescape(octets),
                });
            }
        }
    }
    entries
}

fn unescape(text: &str) -> Vec<u8> {
    let (mut octets, mut letters) = (vec![], text.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => octets.push(match letters.next().expect("an escape") {
                'r' => b'\r',
                'n' => b'\n',
                't' => b'\t',
                '0' => 0,
                '\\' => b'\\',
                'x' => {
                    let digits: String = letters.by_ref().take(2).collect();
                    u8::from_str_radix(&digits, 16).expect("two digits")
                }
                other => panic!("no escape: {other}"),
            }),
            '{' => {
                let name: String = letters.by_ref().take_while(|letter| *letter != '}').collect();
                octets.extend_from_slice(match name.as_str() {
                    "get" => GET.as_bytes(),
                    "post" => POST.as_bytes(),
                    "next" => NEXT.as_bytes(),
                    "ok" => OK.as_bytes(),
                    other => panic!("no start: {other}"),
                });
            }
            other => octets.push(u8::try_from(other).expect("ASCII")),
        }
    }
    octets
}

#[test]
fn each_entry_is_read_in_one_way() {
    let entries = entries();
    assert!(entries.len() >= 180, "{}", entries.len());
    let mut wrong = vec![];
    for Entry { line, is_request, expected, octets } in entries {
        let read = if is_request { requests(&octets) } else { responses(&octets) };
        if read != expected {
            wrong.push(format!("corpus.txt:{line}: {read}; expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn words_are_told_apart_and_statuses_are_those_of_http() {
    let mut words: Vec<_> = Refusal::ALL.iter().map(|refusal| refusal.word()).collect();
    let count = words.len();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), count);
    for refusal in Refusal::ALL {
        let status = refusal.status(Peer::Client);
        assert!([400, 413, 414, 417, 431, 501, 505].contains(&status), "{refusal:?}: {status}");
        assert_eq!(refusal.status(Peer::Server), 502);
    }
}
