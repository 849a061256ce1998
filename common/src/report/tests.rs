//! A report as it comes: what is read, what is passed over, what is refused, and every bound at its limit.

use super::*;

const ENTRY: &str = r#"{"target":"000102030405060708090a0b0c0d0e0f","state":"up","since":5}"#;

fn report(kind: &str, extra: &str, body: &str) -> String {
    format!(
        r#"{{"v":1,"cluster":"example","producer":"ams","kind":"{kind}",
           "boot":"000102030405060708090a0b0c0d0e0f","inc":3,"seq":7,"base":{{"inc":3,"seq":6}},"now":12345,
           "digest":"00000000000000000000000000000001","valid_ms":10000,"self":{{"references":3,"references_up":3}},
           {extra}"body":{body}}}"#
    )
}

fn refused(octets: &[u8]) -> String {
    Report::read(octets).unwrap_err().to_string()
}

#[test]
fn a_report_is_read() {
    let octets = report("probe", "", &format!("[{ENTRY}]"));
    let Report { head, body } = Report::read(octets.as_bytes()).unwrap();
    assert_eq!((head.mark, head.base), (Mark { inc: 3, seq: 7 }, Some(Mark { inc: 3, seq: 6 })));
    assert_eq!(head.now, Duration::from_millis(12_345));
    assert_eq!(head.valid, Duration::from_secs(10));
    let Body::Probe(said) = body else { panic!("of a probe") };
    assert_eq!(said[0].octets, ENTRY);
    assert_eq!(said[0].entry.state, State::Up);
}

#[test]
fn what_is_written_is_read() {
    let octets = report("probe", "", &format!("[{ENTRY}]"));
    let Report { head, .. } = Report::read(octets.as_bytes()).unwrap();
    let body = RawValue::from_string(format!("[{ENTRY}]")).unwrap();
    let again = head.write(&body);
    assert_eq!(Report::read(&again).unwrap().head, head);
}

#[test]
fn what_is_not_known_is_passed_over() {
    let entry = r#"{"target":"000102030405060708090a0b0c0d0e0f","state":"melting","later":{"a":[1]},"reason":"new"}"#;
    let octets = report("probe", r#""later":{"deep":[1,2]},"#, &format!("[{entry}]"));
    let Body::Probe(said) = Report::read(octets.as_bytes()).unwrap().body else {
        panic!("of a probe")
    };
    assert_eq!(said[0].entry.state, State::None);
    assert_eq!(said[0].entry.reason, Some(Reason::Other));
}

#[test]
fn what_is_passed_over_is_text_all_the_same() {
    let text = report("probe", r#""later":"?","#, &format!("[{ENTRY}]"));
    assert!(Report::read(text.as_bytes()).is_ok());
    let mut octets = text.into_bytes();
    let at = octets.iter().position(|octet| *octet == b'?').unwrap();
    octets[at] = 0xff;
    assert_eq!(refused(&octets), format!("not a report: octet {at} is not UTF-8"));
}

#[test]
fn a_lease_is_not_longer_than_ours() {
    let octets = report("probe", "", "[]").replace("10000", "18446744073709551615");
    assert_eq!(Report::read(octets.as_bytes()).unwrap().head.valid, LONGEST_LEASE);
}

#[test]
fn every_bound_is_held() {
    // 8 MiB.
    let base = report("probe", "", "[]");
    let padded = |length: usize| base.clone() + &" ".repeat(length - base.len());
    assert!(Report::read(padded(LARGEST).as_bytes()).is_ok());
    assert_eq!(refused(padded(LARGEST + 1).as_bytes()), "8388609 octets, expected at most 8388608");
    // 16 deep: the report is one itself.
    let deep = |depth: usize| {
        report(
            "probe",
            &format!(r#""later":{}{},"#, "[".repeat(depth - 1), "]".repeat(depth - 1)),
            "[]",
        )
    };
    assert!(Report::read(deep(DEEPEST).as_bytes()).is_ok());
    assert_eq!(
        refused(deep(DEEPEST + 1).as_bytes()),
        "more than 16 lists and objects within each other"
    );
    // 20,000 targets.
    let many = |count: usize| {
        let entries: Vec<String> = (0..count)
            .map(|index| format!(r#"{{"target":"{index:032x}","state":"up"}}"#))
            .collect();
        report("probe", "", &format!("[{}]", entries.join(",")))
    };
    assert!(Report::read(many(MOST_TARGETS).as_bytes()).is_ok());
    assert_eq!(refused(many(MOST_TARGETS + 1).as_bytes()), "20001 targets, expected at most 20000");
    // A detail is cut.
    let long = format!(
        r#"[{{"target":"000102030405060708090a0b0c0d0e0f","state":"down","detail":"{}"}}]"#,
        "é".repeat(LONGEST_DETAIL)
    );
    let octets = report("probe", "", &long);
    let Body::Probe(said) = Report::read(octets.as_bytes()).unwrap().body else {
        panic!("of a probe")
    };
    assert_eq!(said[0].entry.detail, "é".repeat(LONGEST_DETAIL / 2));
}

#[test]
fn what_is_no_report_is_refused() {
    let good = report("probe", "", "[]");
    assert!(Report::read(good.as_bytes()).is_ok());
    for (octets, says) in [
        (String::new(), "EOF"),
        ("[]".to_owned(), "not a report"),
        (good.replace(r#""v":1"#, r#""v":2"#), "version 2, expected 1"),
        (good.replace(r#""kind":"probe""#, r#""kind":"dns""#), "a name server tells nobody"),
        (good.replace(r#""kind":"probe""#, r#""kind":"else""#), "unknown variant"),
        (good.replace(r#""inc":3,"seq":7"#, r#""inc":-3,"seq":7"#), "invalid value"),
        (good.replace(r#""inc":3,"seq":7"#, r#""inc":1e308,"seq":7"#), "invalid type"),
        (good.replace(r#""inc":3,"seq":7"#, r#""inc":NaN,"seq":7"#), "expected value"),
        (good.replace(r#""inc":3,"#, r#""inc":3,"inc":4,"#), "duplicate field `inc`"),
        (good.replace(r#""now":12345,"#, ""), "missing field `now`"),
        (good.replace(r#""body":[]"#, r#""body":{}"#), "invalid type"),
        (report("probe", "", &format!("[{ENTRY},{ENTRY}]")), "stands in it twice"),
        (report("probe", "", r#"[{"state":"up"}]"#), "missing field `target`"),
        (good.clone() + "{}", "trailing characters"),
    ] {
        let refused = refused(octets.as_bytes());
        assert!(refused.contains(says), "{refused} / {says}");
    }
    let mut octets = good.into_bytes();
    let at = octets.windows(3).position(|three| three == b"ams").unwrap();
    octets[at] = 0xff;
    assert!(refused(&octets).contains("not a report"));
}
