//! Lines, commands and what is ordered, in tables.

use super::*;
use crate::site::Level;

mod answers;

/// What the words of a line come to: the order or question as it is understood, or what is answered.
fn parse(line: &str) -> String {
    parse_as(line, Level::Admin)
}

fn parse_as(line: &str, level: Level) -> String {
    let words = commands(line).remove(0);
    match Command::parse(&words, level) {
        Ok(Command::Order(order)) => order.to_string(),
        Ok(other) => format!("{other:?}"),
        Err(refusal) => refusal.to_string(),
    }
}

#[test]
fn orders_are_read_as_haproxy_reads_them() {
    for (line, order) in [
        ("set server app/a state ready", "set server app/a state ready"),
        ("set server app/a state drain", "set server app/a state drain"),
        ("set server app/a state maint", "set server app/a state maint"),
        ("enable server app/a", "set server app/a state ready"),
        ("disable server app/a", "set server app/a state maint"),
        ("set server app/a weight 0", "set server app/a weight 0"),
        ("set server app/a weight 256", "set server app/a weight 256"),
        ("set weight app/a 075%", "set server app/a weight 75%"),
        ("set weight app/a 99999999999%", "set server app/a weight 4294967295%"),
        ("set server app/a health up", "set server app/a health up"),
        ("set server app/a health stopping", "set server app/a health stopping"),
        ("set server app/a health down", "set server app/a health down"),
        ("set server app/a agent up", "set server app/a agent up"),
        ("set server app/a agent down", "set server app/a agent down"),
        ("set maxconn server app/a 10", "set maxconn server app/a 10"),
        ("set maxconn server app/a 0", "set maxconn server app/a 0"),
        ("set server app/a state maint # until noon", "set server app/a state maint"),
        ("set server app/a state ready #back", "set server app/a state ready"),
        ("  set\t server  app\\/a state ready \r", "set server app/a state ready"),
    ] {
        assert_eq!(parse(line), order, "{line}");
    }
}

#[test]
fn a_bad_order_is_refused_in_haproxys_words() {
    for (line, refusal) in [
        ("set server", "Require 'backend/server'."),
        ("set server app state ready", "Require 'backend/server'."),
        ("set weight", "Require 'backend/server'."),
        ("set maxconn server", "Require 'backend/server'."),
        ("enable server", "Require 'backend/server'."),
        ("disable server", "Require 'backend/server'."),
        ("get weight", "Require 'backend/server'."),
        (
            "set server app/a",
            "usage: set server <backend>/<server> agent | health | state | weight",
        ),
        (
            "set server app/a addr ::1",
            "usage: set server <backend>/<server> agent | health | state | weight",
        ),
        (
            "set server app/a state",
            "'set server <srv> state' expects 'ready', 'drain' and 'maint'.",
        ),
        (
            "set server app/a state off",
            "'set server <srv> state' expects 'ready', 'drain' and 'maint'.",
        ),
        (
            "set server app/a health",
            "'set server <srv> health' expects 'up', 'stopping', or 'down'.",
        ),
        ("set server app/a agent x", "'set server <srv> agent' expects 'up' or 'down'."),
        ("set server app/a weight", "Require <weight> or <weight%>."),
        ("set weight app/a", "Require <weight> or <weight%>."),
        ("set weight app/a # 5", "Require <weight> or <weight%>."),
        ("set weight app/a 257", "Absolute weight can only be between 0 and 256 inclusive."),
        ("set weight app/a 65537", "Absolute weight can only be between 0 and 256 inclusive."),
        (
            "set weight app/a 99999999999",
            "Absolute weight can only be between 0 and 256 inclusive.",
        ),
        ("set weight app/a -1", "Absolute weight can only be between 0 and 256 inclusive."),
        ("set weight app/a -1%", "Relative weight must be positive."),
        ("set weight app/a abc", "Empty weight string empty or preceded by garbage"),
        ("set weight app/a %", "Empty weight string empty or preceded by garbage"),
        ("set weight app/a 12abc", "Trailing garbage in weight string"),
        ("set weight app/a 1%%", "Trailing garbage in weight string"),
        ("set maxconn server app/a", "Require <maxconn>."),
        ("set maxconn server app/a x", "maxconn string empty or preceded by garbage"),
        ("set maxconn server app/a 1x", "Trailing garbage in maxconn string"),
        (
            "set maxconn server app/a -1",
            "maxconn can only be between 0 (any number) and 10000000 inclusive.",
        ),
        (
            "set maxconn server app/a 10000001",
            "maxconn can only be between 0 (any number) and 10000000 inclusive.",
        ),
        // Half of what was meant is not done.
        (
            "set server app/a state drain weight 0",
            "\"weight\" is more than this command takes: nothing is done.",
        ),
        ("quit now", "\"now\" is more than this command takes: nothing is done."),
        (
            "show stat typed",
            "\"typed\" is a format that is not spoken here: leave it out, or scrape /metrics at the admin door.",
        ),
        (
            "show info json",
            "\"json\" is a format that is not spoken here: leave it out, or scrape /metrics at the admin door.",
        ),
        (
            "show stat up no-maint json",
            "\"json\" is a format that is not spoken here: leave it out, or scrape /metrics at the admin door.",
        ),
        ("show info up", "\"up\" is more than this command takes: nothing is done."),
        ("show stat 1 2", "usage: show stat [<backend>|<id>|-1 <type> <sid>] [up] [no-maint]"),
        (
            "show stat app servers 1",
            "usage: show stat [<backend>|<id>|-1 <type> <sid>] [up] [no-maint]",
        ),
    ] {
        assert_eq!(parse(line), refusal, "{line}");
    }
}

#[test]
fn who_may_only_look_gives_no_orders() {
    for line in [
        "set server app/a state ready",
        "set weight app/a 1",
        "set maxconn server app/a 1",
        "enable server app/a",
        "disable server app/a",
        "set server",
    ] {
        let refusal =
            "Permission denied: at this socket one may only look (level = \"user\" in [runtime]).";
        assert_eq!(parse_as(line, Level::User), refusal, "{line}");
    }
    assert_eq!(parse_as("show version", Level::User), "Question(Version)");
    let help = parse_as("help", Level::User);
    assert!(help.contains("show stat") && !help.contains("set server"), "{help}");
}

#[test]
fn what_is_no_command_is_answered_with_those_there_are() {
    let listed = |line: &str| {
        let text = parse(line);
        let names = text.lines().skip(1).map(|line| line.split(':').next().unwrap().trim());
        (text.lines().next().unwrap().to_owned(), names.map(str::to_owned).collect::<Vec<_>>())
    };
    let (title, all) = listed("");
    assert_eq!(title, "Unknown command. Please enter one of the following commands only:");
    assert_eq!(all.len(), 14);
    assert_eq!(listed("reboot"), (title, all));
    let (title, some) = listed("show table");
    assert_eq!(title, "Unknown command, but maybe one of the following ones is a better match:");
    assert_eq!(
        some,
        [
            "show backend",
            "show info",
            "show servers state [<backend>]",
            "show stat [<id> <type> <sid>] [up|no-maint]",
            "show version"
        ]
    );
    assert_eq!(listed("set maxconn frontend x 1").1, ["set maxconn server <bk>/<srv>"]);
    let Ok(Command::Help(help)) = Command::parse(&["help".to_owned()], Level::Admin) else {
        panic!()
    };
    assert!(help.starts_with("The following commands are valid at this level:\n  disable server"));
    assert!(help.contains(
        "  get weight <bk>/<srv>                   : report a server's current weight\n"
    ));
}

#[test]
fn a_line_has_its_commands() {
    let all = |line: &str| commands(line).iter().map(|words| words.join("|")).collect::<Vec<_>>();
    assert_eq!(all("show info;show  stat"), ["show|info", "show|stat"]);
    assert_eq!(all(""), [""]);
    assert_eq!(all("a;;b ;"), ["a", "", "b", ""]);
    assert_eq!(all(r"a\;b \\ c\ d\"), ["a;b|\\|c d"]);
}

/// Lines of what comes in pieces of so many octets.
fn lines(octets: &[u8], piece: usize) -> Vec<Result<String, TooLong>> {
    let (mut lines, mut all) = (Lines::default(), vec![]);
    for piece in octets.chunks(piece) {
        lines.push(piece);
        while let Some(line) = lines.line() {
            all.push(line);
        }
    }
    all
}

#[test]
fn a_line_ends_where_its_end_is_and_holds_so_much() {
    let most = "x".repeat(LONGEST_LINE);
    for piece in [1, 7, 4096, usize::MAX / 2] {
        let octets = format!("{most}\ny\n\n{most}x\nz\n{most}{most}{most}\n\u{e9}\nnot whole");
        let of = |line: &str| Ok(line.to_owned());
        let expected =
            vec![of(&most), of("y"), of(""), Err(TooLong), of("z"), Err(TooLong), of("\u{e9}")];
        assert!(lines(octets.as_bytes(), piece) == expected, "in pieces of {piece}");
    }
    assert_eq!(lines(b"a\xffb\n", 9), [Ok("a\u{fffd}b".to_owned())]);
}

#[test]
fn what_is_said_without_an_end_is_held_within_bounds() {
    let mut lines = Lines::default();
    for _ in 0..100 {
        lines.push(&[b'x'; 4096]);
        assert_eq!(lines.line(), None);
        assert!(lines.held() <= LONGEST_LINE + 4096);
    }
}
