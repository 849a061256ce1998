//! Extended errors as people see them: by dig, and by `explain`.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::path::Path;
use std::process::Command;

use gslb_tests::peers;
use gslb_tests::server::Server;
use gslb_tests::world::{EVERY_STEP, World};

const DIG: &str = "/usr/bin/dig";
const NAME: &str = "www.example.com";

const DOWN: &str = r#"
[[override]]
site = "*"
service = "www.example.com"
state = "down"
who = "test"
why = "test"
"#;

fn dig(server: &Server, words: &[&str]) -> String {
    let (at, port) = (format!("@{}", server.dns().ip()), server.dns().port().to_string());
    let output = Command::new(DIG).args([&at, "-p", &port]).args(words).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn dig_and_explain_show_why_an_answer_is_no_ordinary_one() {
    if peers::missing((!Path::new(DIG).exists()).then_some("dig is not installed")) {
        return;
    }
    let world = World::write(&EVERY_STEP).unwrap();
    let server = Server::start(&world.node()).unwrap();
    for words in [&[NAME, "A"][..], &["nowhere.example.com", "A"], &["example.net", "A", "+noedns"]]
    {
        let told = dig(&server, words);
        assert!(told.contains("status: ") && !told.contains("EDE"), "{told}");
    }
    let refused = dig(&server, &["example.net", "A"]);
    assert!(
        refused.contains("REFUSED") && refused.contains("EDE: 20 (Not Authoritative)"),
        "{refused}"
    );
    let transfer = dig(&server, &["example.com", "MAILB"]);
    assert!(
        transfer.contains("NOTIMP") && transfer.contains("EDE: 21 (Not Supported)"),
        "{transfer}"
    );

    let path = format!("/v1/explain?name={NAME}&type=A&resolver=127.0.0.1&format=text");
    let ordinary = server.get(&path).unwrap().body;
    assert!(!ordinary.contains("ede"), "{ordinary}");
    world.write_overrides(DOWN).unwrap();
    server.wait_for_board_after(1).unwrap();
    let failing = dig(&server, &[NAME, "A"]);
    assert!(failing.contains("NOERROR") && failing.contains("EDE: 0 (Other)"), "{failing}");
    let explained = server.get(&path).unwrap().body;
    let words = "no site is fit: fail mode ";
    assert!(failing.contains(words), "{failing}");
    assert!(explained.contains(&format!("0 (Other Error): {words}")), "{explained}");
}
