//! Lines, braces, definitions and included files, and how much of each is read.

use super::*;

#[test]
fn lines_of_other_boxes_are_left_out() {
    let text = instance("", "@main priority 240\n@^main priority 200\n@main");
    let of = |config_id| {
        let import = imported(&text, config_id, &[]).unwrap();
        let priority = import.text.lines().find_map(|line| line.strip_prefix("priority = "));
        priority.unwrap().to_owned()
    };
    assert_eq!((of(Some("main")), of(Some("backup"))), ("240".into(), "200".into()));
    let error = imported(&text, None, &[]).unwrap_err();
    assert_eq!(
        error,
        "k.conf:5: a line of some boxes alone (@main): say which box this is, such as --config-id main"
    );
}

#[test]
fn definitions_are_put_in() {
    let text = instance("$BASE=2${TENS}\n$TENS=0\n$IF_MAIN=@main", "$IF_MAIN priority ${BASE}7\n");
    let import = imported(&text, Some("main"), &[]).unwrap();
    assert!(import.text.contains("priority = 207\n"), "{}", import.text);
    assert_eq!(told(&import), <[&str; 0]>::default());
    // Those that are not known stay, and are told of where they mean nothing.
    let import = imported(&instance("", "priority $PRIORITY"), None, &[]).unwrap();
    assert_eq!(
        told(&import),
        [
            "k.conf:5: changed: priority $PRIORITY: expected 1 to 255; keepalived takes 100, and so it is here"
        ]
    );
    let import =
        imported(&instance("$I= \\\nvrrp_instance b { # why \\\n} \\\n\n$I", ""), None, &[])
            .unwrap();
    assert_eq!(import.routers, 1);
    assert_eq!(
        told(&import),
        [
            "k.conf:1: not carried over: $I=: a definition of several lines is not read: write them out wherever it is used",
            "k.conf:5: not carried over: $I: there is no definition of one line of that name: write out what it stands for",
        ]
    );
    let import = imported("~SEQ(A, 1, 3) vrrp_instance $A {", None, &[]).unwrap();
    assert_eq!(
        told(&import),
        [
            "k.conf:1: not carried over: ~SEQ(A, 1, 3) vrrp_instance $A {: lines that stand for many are not read: write them out"
        ]
    );
}

#[test]
fn included_files_stand_in_their_places() {
    let text = instance("include conf.d/global.conf", "include inner.conf");
    let files = [
        ("conf.d/global.conf", "global_defs {\n include deeper.conf\n}"),
        ("conf.d/deeper.conf", "vrrp_version 3\nrouter_id a\n"),
        ("inner.conf", "priority 7"),
    ];
    let import = imported(&text, None, &files).unwrap();
    assert!(import.text.contains("priority = 7\nversion = 3\n"), "{}", import.text);
    assert_eq!(
        told(&import),
        [
            "conf.d/deeper.conf:2: needs nothing: router_id a: it only names the box in mails and SNMP"
        ]
    );
    let import =
        imported("include a\ninclude b\ninclude {a,b}\ninclude", None, &[("b", "error: no way")])
            .unwrap();
    let braces = "expected one pattern of files, without braces: write an include for each";
    assert_eq!(
        told(&import),
        [
            "k.conf:1: not carried over: include a: there is no such file".to_owned(),
            "k.conf:2: not carried over: include b: b: no way".to_owned(),
            format!("k.conf:3: not carried over: include {{a,b}}: {braces}"),
            format!("k.conf:4: not carried over: include: {braces}"),
        ]
    );
}

#[test]
fn braces_stand_where_they_like() {
    let import = imported(
        "vrrp_instance web{interface eth0\nvirtual_router_id 51\nvirtual_ipaddress\n{\n192.0.2.10}}\nvrrp_instance b\n{\n}",
        None,
        &[],
    )
    .unwrap();
    assert_eq!(import.routers, 1);
    assert_eq!(
        told(&import),
        [
            "k.conf:6: not carried over: vrrp_instance b { 0 statements }: it has no interface, which is needed here, by unicast \
             too: say which one gets the addresses"
        ]
    );
    let error = |text: &str| imported(text, None, &[]).unwrap_err();
    assert_eq!(error("a {\nb {\n}\n"), "k.conf:1: the block of a is not closed: add a }");
    assert_eq!(error("a {\nb c {\n"), "k.conf:2: the block of b c is not closed: add a }");
    assert_eq!(error("a {\n}\n}"), "k.conf:3: a } without a { before it");
    assert_eq!(error("{\n}"), "k.conf:1: a { without anything that it belongs to");
    assert_eq!(error("a { } {\n}"), "k.conf:1: a { without anything that it belongs to");
    assert_eq!(error("a \"b"), "k.conf:1: a quote begins here and does not end in its line");
    // In quotes they are letters.
    assert_eq!(imported("a \"{\"", None, &[]).unwrap().remarks.len(), 1);
}

/// At each limit it is read, and beyond it the limit is told.
#[test]
fn limits() {
    let check =
        |text: &dyn Fn(usize) -> String, most: usize, files: &[(&str, &str)], told: &str| {
            let at = imported(&text(most), None, files);
            assert!(at.is_ok(), "{:?}", at.err());
            let error = imported(&text(most + 1), None, files).unwrap_err();
            assert!(error.contains(told), "{error}");
        };
    check(
        &|count| "a".repeat(count),
        LONGEST_LINE,
        &[],
        "a line of 1024 octets; keepalived reads 1023 at most",
    );
    check(&|count| "\n".repeat(count), MOST_LINES, &[], "k.conf:100001: more than 100000 lines");
    check(
        &|count| "a{".repeat(count) + &"}".repeat(count),
        DEEPEST_BLOCK,
        &[],
        "more than 16 blocks within each other",
    );
    check(
        &|count| "include b\n".repeat(count - 1),
        MOST_FILES,
        &[("b", "")],
        "more than 256 files",
    );
    check(
        &|count| "$A=b\n".to_owned() + &"${A}".repeat(count),
        MOST_SUBSTITUTIONS,
        &[],
        "more than 64 definitions in a line",
    );
    // Files within files: each includes the next one.
    let names: Vec<String> = (0..=DEEPEST_INCLUDE + 1).map(|depth| format!("d{depth}")).collect();
    let texts: Vec<String> =
        (1..=DEEPEST_INCLUDE + 1).map(|depth| format!("include d{depth}")).collect();
    let files: Vec<(&str, &str)> =
        names.iter().map(String::as_str).zip(texts.iter().map(String::as_str)).collect();
    let error = imported("include d0", None, &files).unwrap_err();
    assert!(error.contains("more than 16 files within files"), "{error}");
    let import = imported("include d1", None, &files).unwrap();
    assert_eq!(import.remarks.len(), 1, "the last of them is not there: {:?}", told(&import));
    let error = imported("$A=${A}\n$A", None, &[]).unwrap_err();
    assert!(error.contains("does one name itself?"), "{error}");
}

#[test]
fn all_files_together_have_a_limit() {
    let wide = format!("{}\n", "#".repeat(LONGEST_LINE));
    let full = wide.repeat(MOST_OCTETS / wide.len());
    let rest = "#".repeat(MOST_OCTETS - full.len());
    assert!(imported(&(full.clone() + &rest), None, &[]).is_ok());
    let error = imported(&(full + &rest + "#"), None, &[]).unwrap_err();
    assert!(error.contains("more than 4194304 octets of all files together"), "{error}");
}
