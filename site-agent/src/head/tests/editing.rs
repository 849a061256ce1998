//! Edits leave what they do not touch where it was, octet for octet.

use super::*;

const LINES: &str =
    "hOst: a\r\nX-One:  1 \r\nX-Two: 2\r\nx-one: 3\r\nEmpty:\r\nGap: \t\r\nLast: 4\r\n";

fn edited(edit: impl FnOnce(&mut Fields)) -> String {
    let mut head = request("GET / HTTP/1.1", LINES);
    edit(head.fields_mut());
    let mut out = vec![];
    head.fields().write(&mut out);
    // What is written is what is told.
    let told: Vec<_> =
        head.fields().iter().map(|(name, value)| (text(name), text(value))).collect();
    let again = request("GET / HTTP/1.1", &text(&out));
    let read: Vec<_> =
        again.fields().iter().map(|(name, value)| (text(name), text(value))).collect();
    assert_eq!(told, read);
    text(&out).replace("\r\n", " | ")
}

#[test]
fn edits_move_nothing() {
    let check = |edit: fn(&mut Fields), expected: &str| assert_eq!(edited(edit), expected);
    check(|_| {}, "hOst: a | X-One: 1 | X-Two: 2 | x-one: 3 | Empty: | Gap: | Last: 4 | ");
    check(|fields| fields.remove(b"X-ONE"), "hOst: a | X-Two: 2 | Empty: | Gap: | Last: 4 | ");
    check(
        |fields| fields.set(b"X-One", b"new").unwrap(),
        "hOst: a | X-One: new | X-Two: 2 | Empty: | Gap: | Last: 4 | ",
    );
    check(
        |fields| fields.set(b"X-New", b" n ").unwrap(),
        "hOst: a | X-One: 1 | X-Two: 2 | x-one: 3 | Empty: | Gap: | Last: 4 | X-New: n | ",
    );
    check(
        |fields| fields.append(b"X-Two", b"").unwrap(),
        "hOst: a | X-One: 1 | X-Two: 2 | x-one: 3 | Empty: | Gap: | Last: 4 | X-Two: | ",
    );
    check(
        |fields| {
            fields.extend(b"X-one", b"5").unwrap();
            fields.extend(b"Empty", b"6").unwrap();
            fields.extend(b"None", b"7").unwrap();
            fields.extend(b"None", b"8").unwrap();
        },
        "hOst: a | X-One: 1 | X-Two: 2 | x-one: 3, 5 | Empty: 6 | Gap: | Last: 4 | None: 7, 8 | ",
    );
    check(
        |fields| fields.retain(|name, _| name.starts_with(b"x") || name == b"hOst"),
        "hOst: a | x-one: 3 | ",
    );
}

#[test]
fn what_is_no_field_is_not_written() {
    let mut head = request("GET / HTTP/1.1", "Host: a\r\n");
    let fields = head.fields_mut();
    for (name, value) in [
        (&b""[..], &b"x"[..]),
        (b"a b", b"x"),
        (b"a:", b"x"),
        (b"a\r\nb", b"x"),
        (b"a", b"x\r\nHost: b"),
        (b"a", b"x\ny"),
        (b"a", b"x\0"),
        (b"a", b"\x7f"),
    ] {
        assert_eq!(fields.append(name, value), Err(Unwritable), "{name:?} {value:?}");
        assert_eq!(fields.set(name, value), Err(Unwritable), "{name:?} {value:?}");
        assert_eq!(fields.extend(name, value), Err(Unwritable), "{name:?} {value:?}");
    }
    assert_eq!(fields.append(b"a", b"\t\xe4 x\t"), Ok(()));
    assert_eq!(head.fields().first(b"A"), Some(&b"\xe4 x"[..]));
}

#[test]
fn another_target_and_authority_must_be_some() {
    let mut head = request("GET /a?b HTTP/1.1", "X: y\r\nHost: a\r\nZ: z\r\n");
    head.set_target(b"/c?d").unwrap();
    head.set_authority(b"b:8080").unwrap();
    for wrong in
        [&b""[..], b"c", b"*", b"/ HTTP/1.1\r\nX: y", b"/a b", b"/#", b"http://a/", b"/\xe4"]
    {
        assert_eq!(head.set_target(wrong), Err(Unwritable), "{wrong:?}");
    }
    for wrong in [&b""[..], b"a b", b"a\r\nb", b"u@a"] {
        assert_eq!(head.set_authority(wrong), Err(Unwritable), "{wrong:?}");
    }
    assert_eq!((head.path(), head.host()), (&b"/c"[..], &b"b"[..]));
    let written = lines(|out| head.write(Persistence::KeepAlive, out));
    assert_eq!(written, "GET /c?d HTTP/1.1 | X: y | Host: b:8080 | Z: z");
    let mut connect = request("CONNECT a:1 HTTP/1.1", "Host: a:1\r\n");
    assert_eq!(connect.set_target(b"/"), Err(Unwritable));
    assert_eq!(connect.set_authority(b"b"), Err(Unwritable));
}
