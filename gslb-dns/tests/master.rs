//! Master files as operators write them: every type, every directive, every message.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::Path;

use gslb_dns::name::Name;
use gslb_dns::record::Record;
use gslb_dns::zone::master::rdata::display_rdata;
use gslb_dns::zone::master::{self, Master, Problem};
use hickory_proto::rr::RData;
use hickory_proto::serialize::binary::{BinDecoder, Restrict};
use proptest::prelude::*;

/// Reads `text` as the file `z` of the zone example.com., with `files` there to be included.
fn read(text: &[u8], files: &BTreeMap<&str, &str>) -> Result<Master, Vec<Problem>> {
    let origin: Name = "example.com".parse().unwrap();
    let mut open = |path: &Path| {
        let text = path.to_str().and_then(|path| files.get(path));
        text.map(|text| text.as_bytes().to_vec()).ok_or_else(|| io::Error::other("no such file"))
    };
    master::parse(Path::new("z"), text, &origin, &mut open)
}

/// One line for each record: where it stands, and the record.
fn shown(master: &Master) -> String {
    let mut out = String::new();
    for (index, record) in master.records.iter().enumerate() {
        let (file, line) = master.place(index);
        let Record { owner, ttl, rtype, rdata } = record;
        let data = display_rdata(*rtype, rdata);
        writeln!(out, "{}:{line} {owner} {ttl} {rtype} {data}", file.display()).unwrap();
    }
    out
}

fn check_files(text: &str, files: &[(&str, &str)], expected: &str) {
    let got = match read(text.as_bytes(), &files.iter().copied().collect()) {
        Ok(master) => shown(&master),
        Err(problems) => problems.iter().map(|problem| format!("{problem}\n")).collect(),
    };
    assert_eq!(got.trim_end(), expected, "{text}");
}

fn check(text: &str, expected: &str) {
    check_files(text, &[], expected);
}

/// A record of `data` alone in its file, and what is said of it behind file, line and owner.
fn check_refused(data: &str, expected: &str) {
    let problems = read(format!("@ 0 {data}").as_bytes(), &BTreeMap::new()).unwrap_err();
    let [problem] = &problems[..] else { panic!("{data}: {problems:?}") };
    assert_eq!(problem.to_string(), format!("z:1: example.com. {expected}"), "{data}");
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |text, octet| text + &format!("{octet:02x}"))
}

/// Cases of some lines each, without blank lines and those that comment.
fn golden<const LINES: usize>(text: &'static str) -> Vec<[&'static str; LINES]> {
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(';'));
    let lines: Vec<&str> = lines.collect();
    let (cases, rest) = lines.as_chunks();
    assert!(rest.is_empty(), "each case has {LINES} lines: {rest:?}");
    cases.to_vec()
}

/// Every type: text to wire form, wire form to text, both again, and as another decoder sees it.
#[test]
fn every_type_goes_from_text_to_wire_and_back() {
    for [text, wire, presented] in golden(include_str!("zones/types.golden")) {
        let [wire, presented] =
            [wire, presented].map(|line| line.strip_prefix('-').unwrap_or(line));
        let record = the_record(text);
        assert_eq!(hex(&record.rdata), wire, "{text}");
        let again = display_rdata(record.rtype, &record.rdata).to_string();
        assert_eq!(again, presented, "{text}");
        assert_eq!(the_record(&format!("{} {again}", record.rtype)), record, "{text}");

        // RFC 3597 §5: any type may be written so, and is then read as what it is.
        let generic =
            format!(r"TYPE{} \# {} {}", record.rtype.0, record.rdata.len(), hex(&record.rdata));
        assert_eq!(the_record(&generic), record, "{text}");

        let length = Restrict::new(record.rdata.len() as u16);
        let decoded =
            RData::read(&mut BinDecoder::new(&record.rdata), record.rtype.0.into(), length);
        assert!(decoded.is_ok(), "{text}: {decoded:?}");
    }
}

fn the_record(data: &str) -> Record {
    let master = read(format!("@ 300 {data}").as_bytes(), &BTreeMap::new());
    let [record] = &master.unwrap_or_else(|problems| panic!("{problems:?}")).records[..] else {
        panic!("{data}: not one record")
    };
    record.clone()
}

#[test]
fn the_zone_of_rfc_1035_is_read_with_its_included_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zones/rfc1035/ISI.EDU.zone");
    let master = master::read(&path, &"ISI.EDU".parse().unwrap()).unwrap();
    let directory = format!("{}/", path.parent().unwrap().display());
    let expected = "\
ISI.EDU.zone:2 ISI.EDU. 60 SOA VENERA.ISI.EDU. Action\\.domains.ISI.EDU. 20 7200 600 3600000 60
ISI.EDU.zone:9 ISI.EDU. 60 NS A.ISI.EDU.
ISI.EDU.zone:10 ISI.EDU. 60 NS VENERA.ISI.EDU.
ISI.EDU.zone:11 ISI.EDU. 60 NS VAXA.ISI.EDU.
ISI.EDU.zone:12 ISI.EDU. 60 MX 10 VENERA.ISI.EDU.
ISI.EDU.zone:13 ISI.EDU. 60 MX 20 VAXA.ISI.EDU.
ISI.EDU.zone:15 A.ISI.EDU. 60 A 26.3.0.103
ISI.EDU.zone:17 VENERA.ISI.EDU. 60 A 10.1.0.52
ISI.EDU.zone:18 VENERA.ISI.EDU. 60 A 128.9.0.32
ISI.EDU.zone:20 VAXA.ISI.EDU. 60 A 10.2.0.27
ISI.EDU.zone:21 VAXA.ISI.EDU. 60 A 128.9.0.33
ISI-MAILBOXES.TXT:1 MOE.ISI.EDU. 60 MX 0 A.ISI.EDU.
ISI-MAILBOXES.TXT:2 LARRY.ISI.EDU. 60 MX 0 A.ISI.EDU.
ISI-MAILBOXES.TXT:3 STOOGES.ISI.EDU. 60 RP MOE.ISI.EDU. LARRY.ISI.EDU.
ISI-MAILBOXES.TXT:4 STOOGES.ISI.EDU. 60 RP LARRY.ISI.EDU. MOE.ISI.EDU.
";
    assert_eq!(shown(&master).replace(&directory, ""), expected);
    let read: Vec<String> =
        master.files.iter().map(|(path, _)| path.display().to_string()).collect();
    assert_eq!(read, ["ISI.EDU.zone", "ISI-MAILBOXES.TXT"].map(|file| directory.clone() + file));
    assert!(master.files.iter().all(|(path, text)| std::fs::read(path).unwrap() == *text));
}

#[test]
fn owners_origins_classes_and_ttls_are_filled_in() {
    check("www 5 IN A 192.0.2.1", "z:1 www.example.com. 5 A 192.0.2.1");
    check("www IN 5 A 192.0.2.1", "z:1 www.example.com. 5 A 192.0.2.1");
    check("WWW.Example.COM. in 1h a 192.0.2.1", "z:1 WWW.Example.COM. 3600 A 192.0.2.1");
    check("@ CLASS1 0 TYPE1 192.0.2.1", "z:1 example.com. 0 A 192.0.2.1");
    check(
        "\u{feff}a 1 A 192.0.2.1\r\n\tA 192.0.2.2\r\n  2 TXT x",
        "\
z:1 a.example.com. 1 A 192.0.2.1
z:2 a.example.com. 1 A 192.0.2.2
z:3 a.example.com. 2 TXT \"x\"",
    );
    check(
        "$ORIGIN sub\na 1 NS b\n$ORIGIN sub\na 1 NS b\n$origin EXAMPLE.com.\na 1 NS b",
        "\
z:2 a.sub.example.com. 1 NS b.sub.example.com.
z:4 a.sub.sub.example.com. 1 NS b.sub.sub.example.com.
z:6 a.EXAMPLE.com. 1 NS b.EXAMPLE.com.",
    );
    check("*.x (\n1 ; ttl\n IN) TXT (a\n\"b ; c\" )", "z:1 *.x.example.com. 1 TXT \"a\" \"b ; c\"");
    check("", "");
}

/// RFC 2308 §4: $TTL, else the last one written, else the minimum of the SOA that stands first.
#[test]
fn a_missing_ttl_has_its_sources_in_order() {
    check(
        "a 9 A 192.0.2.1\n$TTL 1w\na A 192.0.2.2\na 5 A 192.0.2.3\na A 192.0.2.4",
        "\
z:1 a.example.com. 9 A 192.0.2.1
z:3 a.example.com. 604800 A 192.0.2.2
z:4 a.example.com. 5 A 192.0.2.3
z:5 a.example.com. 604800 A 192.0.2.4",
    );
    check(
        "@ SOA . . 1 2 3 4 5\n NS a.\n 7 NS b.\n NS c.",
        "\
z:1 example.com. 5 SOA . . 1 2 3 4 5
z:2 example.com. 5 NS a.
z:3 example.com. 7 NS b.
z:4 example.com. 7 NS c.",
    );
    check("@ 2147483647 NS .", "z:1 example.com. 2147483647 NS .");
    check(
        "@ NS .\n@ 2147483648 NS .",
        "z:1: example.com. NS: has no TTL, and none stands before it; expected one here or $TTL above\n\
         z:2: example.com.: \"2147483648\" is more than 2147483647 seconds, the most there may be",
    );
}

#[test]
fn an_included_file_changes_nothing_of_the_one_including_it() {
    let files = [
        ("lib/mail", "@ MX 1 m\n$ORIGIN deep\nm A 192.0.2.9\n$INCLUDE more other.example.com."),
        ("lib/more", "\tTXT inherited\nx A 192.0.2.8\n$TTL 7"),
    ];
    check_files(
        "$TTL 1\na A 192.0.2.1\n$INCLUDE lib/mail sub\n\tA 192.0.2.2\nb A 192.0.2.3",
        &files,
        "\
z:2 a.example.com. 1 A 192.0.2.1
lib/mail:1 sub.example.com. 1 MX 1 m.sub.example.com.
lib/mail:3 m.deep.sub.example.com. 1 A 192.0.2.9
lib/more:1 m.deep.sub.example.com. 1 TXT \"inherited\"
lib/more:2 x.other.example.com. 1 A 192.0.2.8
z:4 a.example.com. 7 A 192.0.2.2
z:5 b.example.com. 7 A 192.0.2.3",
    );
    check_files(
        "$INCLUDE \"a b\"\n$INCLUDE a\\032b",
        &[("a b", "x 1 A 192.0.2.1")],
        "\
a b:1 x.example.com. 1 A 192.0.2.1
a b:1 x.example.com. 1 A 192.0.2.1",
    );
}

#[test]
fn includes_are_bounded_and_never_circular() {
    check_files(
        "\n$INCLUDE a",
        &[("a", "\n\n$INCLUDE z")],
        "a:3: $INCLUDE: the file includes itself: z includes a includes z",
    );
    check("$INCLUDE gone", "z:1: $INCLUDE: gone cannot be read: no such file");
    let chain: Vec<(String, String)> =
        (1..=9).map(|n| (n.to_string(), format!("$INCLUDE {}\n@ {n} NS .", n + 1))).collect();
    let mut files: Vec<(&str, &str)> =
        chain.iter().map(|(name, text)| (&name[..], &text[..])).collect();
    check_files(
        "$INCLUDE 1",
        &files,
        "8:1: $INCLUDE: \"9\" is included by 9 files one in another, and no more than 8 may be",
    );
    files[7].1 = "@ 8 NS .";
    let deepest_first =
        (1..=8).rev().map(|n| format!("{n}:{} example.com. {n} NS .", if n == 8 { 1 } else { 2 }));
    check_files("$INCLUDE 1", &files, &deepest_first.collect::<Vec<_>>().join("\n"));
}

#[test]
fn files_are_read_from_disk_and_nothing_else_is() {
    let directory = tempfile::tempdir().unwrap();
    let zone = directory.path().join("zone");
    std::fs::create_dir(directory.path().join("lib")).unwrap();
    std::fs::write(directory.path().join("lib/a"), "@ 1 NS a").unwrap();
    std::fs::write(&zone, "$INCLUDE lib/a\n$INCLUDE lib\n$INCLUDE gone").unwrap();
    let origin: Name = "example.com".parse().unwrap();
    let problems = master::read(&zone, &origin).unwrap_err();
    let shown: Vec<String> = problems.iter().map(Problem::to_string).collect();
    let at = directory.path().display();
    assert_eq!(
        shown,
        [
            format!("{at}/zone:2: $INCLUDE: {at}/lib cannot be read: not a regular file"),
            format!(
                "{at}/zone:3: $INCLUDE: {at}/gone cannot be read: No such file or directory (os error 2)"
            ),
        ]
    );
    let problems = master::read(&directory.path().join("gone"), &origin).unwrap_err();
    assert_eq!(
        problems[0].to_string(),
        format!("{at}/gone: cannot be read: No such file or directory (os error 2)")
    );
    std::fs::write(&zone, "$INCLUDE lib/a").unwrap();
    assert_eq!(master::read(&zone, &origin).unwrap().records.len(), 1);
}

#[test]
fn generate_writes_records_by_number() {
    check(
        "$TTL 1\nx NS .\n$GENERATE 1-5/2 host-${0,2} A 192.0.2.$\n\tTXT y",
        "\
z:2 x.example.com. 1 NS .
z:3 host-01.example.com. 1 A 192.0.2.1
z:3 host-03.example.com. 1 A 192.0.2.3
z:3 host-05.example.com. 1 A 192.0.2.5
z:4 x.example.com. 1 TXT \"y\"",
    );
    check(
        "$generate 0-1 $.0.0.192 5 in CNAME $.SERVERS.EXAMPLE.",
        "\
z:1 0.0.0.192.example.com. 5 CNAME 0.SERVERS.EXAMPLE.
z:1 1.0.0.192.example.com. 5 CNAME 1.SERVERS.EXAMPLE.",
    );
    // One string in quotes is what stands in it, as BIND has it; several words are as they are.
    check("$GENERATE 1-1 @ 5 MX \"1$ m$\"", "z:1 example.com. 5 MX 11 m1.example.com.");
    check("$GENERATE 1-1 @ 5 MX 1$ m$", "z:1 example.com. 5 MX 11 m1.example.com.");
    check(r#"$GENERATE 1-1 @ 5 TXT "\"a $\" \$""#, r#"z:1 example.com. 5 TXT "a 1" "$""#);
    check(r#"$GENERATE 1-1 @ 5 TXT "a $" b$"#, r#"z:1 example.com. 5 TXT "a 1" "b1""#);
    check(
        "$GENERATE 10-10 ${0,3,n}.ip6 5 PTR h${-1,0,x}",
        "z:1 a.0.ip6.example.com. 5 PTR h9.example.com.",
    );
    check("$GENERATE 1-1 @ 5 APL", "z:1 example.com. 5 APL");
}

#[test]
fn generate_makes_65536_records_and_no_more() {
    let all = read(b"$GENERATE 0-65535 h$ 1 A 192.0.2.1", &BTreeMap::new()).unwrap();
    assert_eq!(all.records.len(), 65_536);
    check(
        "$GENERATE 0-65536 h$ 1 A 192.0.2.1",
        "z:1: $GENERATE: \"0-65536\" makes 65537 records; expected at most 65536",
    );
}

#[test]
fn a_name_may_begin_with_a_dollar_sign() {
    check("\\$FOO 1 NS .", "z:1 \\$FOO.example.com. 1 NS .");
}

#[test]
fn every_problem_is_reported_at_its_line() {
    let origin: Name = "example.com".parse().unwrap();
    let text = include_bytes!("zones/problems.zone");
    let mut open = |_: &Path| Err(io::Error::other("no such file"));
    let outcome = master::parse(Path::new("problems.zone"), text, &origin, &mut open);
    let shown =
        outcome.unwrap_err().iter().map(|problem| format!("{problem}\n")).collect::<String>();
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zones/problems.expected");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&expected, &shown).unwrap();
    }
    assert_eq!(shown, std::fs::read_to_string(expected).unwrap());
}

#[test]
fn what_errors_show_is_harmless_to_a_terminal() {
    check("a 1 A \"\0\"", "z:1: control octet 0x00; expected text, with such octets written \\000");
    check("a 1 A x\u{85}", "z:1: a.example.com. A: \"x\\u{85}\" is not an IPv4 address");
    check("a 1 A x\u{e9}", "z:1: a.example.com. A: \"x\u{e9}\" is not an IPv4 address");
}

#[test]
fn a_hundred_problems_are_listed_and_one_says_there_are_more() {
    let problems =
        |count: usize| read("x\n".repeat(count).as_bytes(), &BTreeMap::new()).unwrap_err();
    assert_eq!(problems(100).len(), 100);
    assert!(problems(100).iter().all(|problem| problem.message.starts_with("x.example.com.: ")));
    assert_eq!(problems(200).len(), 101);
    assert_eq!(
        problems(200)[100].to_string(),
        "z:101: and more: only the first 100 problems are listed"
    );
}

#[test]
fn data_not_of_its_type_is_refused() {
    for [data, message] in golden(include_str!("zones/refused.golden")) {
        check_refused(data, message);
    }
}

#[test]
fn a_string_is_at_most_255_octets_and_data_65535() {
    let long = "x".repeat(256);
    let shown = &long[..60];
    check_refused(
        &format!("TXT {long}"),
        &format!("TXT: \"{shown}...\" is 256 octets; expected at most 255 in one string"),
    );
    check_refused(
        &format!("SVCB 1 . alpn={long}"),
        "SVCB: params: alpn: a protocol is 256 octets; expected at most 255",
    );
    assert_eq!(the_record(&format!("TXT {}", &long[1..])).rdata.len(), 256);

    let text = |strings: usize| {
        format!("@ 1 TXT{}", format!(" \"{}\"", "\\120".repeat(255)).repeat(strings))
    };
    let most = read(text(255).as_bytes(), &BTreeMap::new()).unwrap();
    assert_eq!(most.records[0].rdata.len(), 65_280);
    let full = format!("{} \"{}\"", text(255), "x".repeat(254));
    assert_eq!(read(full.as_bytes(), &BTreeMap::new()).unwrap().records[0].rdata.len(), 65_535);
    check(&text(257), "z:1: example.com. TXT: the data is 65792 octets; expected at most 65535");
    let generic = |octets: usize| format!("@ 1 TYPE65280 \\# {octets} {}", "0".repeat(2 * octets));
    assert_eq!(
        read(generic(65_535).as_bytes(), &BTreeMap::new()).unwrap().records[0].rdata.len(),
        65_535
    );
    check(
        &generic(65_536),
        "z:1: example.com. TYPE65280: \"65536\" is not a number from 0 to 65535",
    );
}

/// Good entries with some octets replaced, so that it gets past the first word, and often to the end.
fn almost_a_zone() -> impl Strategy<Value = Vec<u8>> {
    const DIRECTIVES: [&str; 5] = [
        "$ORIGIN a\n",
        "$TTL 1h\n",
        "$INCLUDE f b\n",
        "$GENERATE 0-9/3 a${0,2,n}b 1 TXT \"$ ${-0,3,x}\"\n",
        "\tNS (\n a ; b\n)\n",
    ];
    const PIECES: &str =
        "\n;\t; ;(;);\";\\;\\#;\\300;@;.;a;0;65536;1h;-;=;,;IN;CH;$;${0,2,n};::;N;AA==;key9;\0";
    let records = golden(include_str!("zones/types.golden"));
    let records = records.into_iter().map(|[data, _, _]| format!("@ 1 {data}\n"));
    let entries: Vec<String> = records.chain(DIRECTIVES.map(str::to_owned)).collect();
    let text = prop::collection::vec(prop::sample::select(entries), 1..6)
        .prop_map(|entries| entries.concat());
    let piece = prop_oneof![
        4 => prop::sample::select(PIECES.split(';').collect::<Vec<_>>()).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..3),
    ];
    let edit = (any::<prop::sample::Index>(), 0..3usize, piece);
    (text, prop::collection::vec(edit, 0..4)).prop_map(|(text, edits)| {
        let mut text = text.into_bytes();
        for (at, length, piece) in edits {
            let start = at.index(text.len() + 1);
            let end = (start + length).min(text.len());
            text.splice(start..end, piece);
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn no_octets_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&text, &BTreeMap::new());
    }

    /// What is read is within the zone and in bounds, and what it is shown as reads as the same.
    #[test]
    fn what_is_read_reads_back(text in almost_a_zone()) {
        if let Ok(master) = read(&text, &[("f", "f 1 A 192.0.2.9\n$ORIGIN g")].into()) {
            prop_assert_eq!(master.records.len(), master.places.len());
            let written: String = master.records.iter().fold(String::new(), |text, record| {
                let Record { owner, ttl, rtype, rdata } = record;
                format!("{text}{owner} {ttl} {rtype} {}\n", display_rdata(*rtype, rdata))
            });
            let again = read(written.as_bytes(), &BTreeMap::new());
            prop_assert_eq!(again.map(|master| master.records), Ok(master.records));
        }
    }
}
