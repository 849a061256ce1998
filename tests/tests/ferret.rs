//! The Ferret cases: what BIND, NSD, Knot and PowerDNS answered must be what we answer.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use gslb_dns::name::Name;
use gslb_dns::record::RecordType;
use gslb_tests::zone_only;
use hickory_proto::op::Message;
use hickory_proto::rr::{RData, Record};
use serde_json::Value;

#[derive(Debug, PartialEq)]
struct Answer {
    rcode: String,
    authoritative: bool,
    answer: BTreeSet<String>,
    authority: BTreeSet<String>,
}

#[test]
fn every_undisputed_case_is_answered_alike_and_every_disputed_one_as_some_server_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/ferret/ferret-dev.jsonl.gz");
    let mut text = String::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let (mut undisputed, mut disputed, mut wrong) = (0, 0, vec![]);
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        match case["undisputed"].as_bool().unwrap() {
            true => undisputed += 1,
            false => disputed += 1,
        }
        wrong.extend(check(&case));
    }
    assert!(
        wrong.is_empty(),
        "{} differ, such as\n{}",
        wrong.len(),
        wrong[..wrong.len().min(5)].join("\n\n")
    );
    assert_eq!((undisputed, disputed), (6307, 55));
}

/// What differs, if anything does.
fn check(case: &Value) -> Option<String> {
    let zone = text(&case["zone"]);
    // The zone's first record is its SOA.
    let origin = name(zone.split_whitespace().next().unwrap_or_default());
    let qname = name(text(&case["qname"]));
    let qtype: RecordType = text(&case["qtype"]).parse().expect("a case asks for a known type");
    let snapshot = zone_only::serve(zone, &origin);
    let query = zone_only::plain_query(&qname, qtype.0);
    let message = zone_only::ask(&snapshot, &query).expect("a query is answered");
    let got = ours(&message);
    let expected: Vec<Answer> = list(&case["expected"]).iter().map(theirs).collect();
    // A minimal response: authority beside an answer may be left out.
    let is_minimal = !got.answer.is_empty() && got.authority.is_empty();
    let is_right = expected.iter().any(|answer| {
        (&got.rcode, got.authoritative, &got.answer)
            == (&answer.rcode, answer.authoritative, &answer.answer)
            && (is_minimal || got.authority == answer.authority)
    });
    (!is_right).then(|| {
        format!(
            "case {} {qname} {qtype}\n{zone}\ngot {got:#?}\nexpected {expected:#?}",
            case["case"]
        )
    })
}

fn text(value: &Value) -> &str {
    value.as_str().expect("the cases hold text there")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("the cases hold a list there")
}

fn name(text: &str) -> Name {
    text.parse().expect("the cases hold domain names")
}

fn theirs(expected: &Value) -> Answer {
    let lines =
        |section: &str| list(&expected[section]).iter().map(|line| text(line).to_owned()).collect();
    Answer {
        rcode: text(&expected["rcode"]).to_owned(),
        authoritative: expected["aa"] == true,
        answer: lines("answer"),
        authority: lines("authority"),
    }
}

fn ours(message: &Message) -> Answer {
    let lines = |records: &[Record]| records.iter().map(line).collect();
    Answer {
        rcode: format!("{:?}", message.metadata.response_code).to_uppercase(),
        authoritative: message.metadata.authoritative,
        answer: lines(&message.answers),
        authority: lines(&message.authorities),
    }
}

fn line(record: &Record) -> String {
    let head = |rtype| format!("{} {} in {rtype}", record.name, record.ttl);
    let line = match &record.data {
        // The decoder leaves DNAME's data as it came, and prints strings without their quotes.
        RData::Unknown { rdata, .. } => {
            let target = Name::from_wire(&rdata.anything).expect("a DNAME's data is a name");
            format!("{} {target}", head("dname"))
        }
        RData::TXT(text) => {
            let strings = text.txt_data.iter().map(|octets| String::from_utf8_lossy(octets));
            let quoted: Vec<String> = strings.map(|string| format!("\"{string}\"")).collect();
            format!("{} {}", head("txt"), quoted.join(" "))
        }
        _ => record.to_string(),
    };
    line.to_lowercase()
}
