//! Policy tests: what they hold against, and what they say when they fail.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod files;

use gslb_dns::config::{self, Config};

use files::Files;

const WORLD: &str = r#"
[geoip.overrides]
"81.0.0.0/8"    = { country = "GB" }
"63.0.0.0/8"    = { country = "US" }
"2a02:d280::/32" = { country = "FR" }

[zone."example.com"]
file = "example.com.zone"

[site.fra]
place  = { country = "DE" }
vips   = ["198.51.100.10", "2001:db8:f::10"]
domain = "a"
[site.ams]
place  = { country = "NL" }
vips   = ["198.51.100.20", "2001:db8:f::20"]
domain = "a"
[site.iad]
place = { country = "US" }
vips  = ["192.0.2.10", "2001:db8:a::10"]
[site.nrt]
place = { country = "JP" }
vips  = ["203.0.113.10"]
[site.spare]
place = { country = "JP" }
vips  = ["203.0.113.20"]

[service."www.example.com"]
sites = ["fra", "ams", "iad", "nrt", { site = "spare", weight = 0 }]
steer = [{ fence = "continent" }, "weighted"]
when_all_down = "open"

[service."strict.example.com"]
sites = ["fra", "iad"]
steer = [{ fence = "continent", strict = true }]
when_all_down = "static"
static = ["192.0.2.99"]

[service."two.example.com"]
sites = ["fra", "ams", "iad"]
steer = [{ fence = "continent" }]
take = 2
across_tiers = true
when_all_down = "open"

[service."spread.example.com"]
sites = ["fra", "ams", "iad"]
steer = ["failover"]
take = 2
across_tiers = true
when_all_down = "open"

[service."alias.example.com"]
sites = [{ site = "fra", cname = "fra.cdn.example.net" }, { site = "iad", cname = "iad.cdn.example.net" }]
steer = [{ fence = "continent" }]
when_all_down = "open"
"#;

/// Judges one test of a service; each expected text must stand in the problem of its place, in order.
fn check(service: &str, test: &str, expected: &[&str]) {
    let world = format!("{WORLD}\n[[service.\"{service}.example.com\".expect]]\n{test}\n");
    let prepared = config::load(&Files::of(&world).node()).and_then(Config::prepare);
    let told = match prepared {
        Ok(prepared) => {
            assert_eq!(prepared.tests, 1);
            String::new()
        }
        Err(problems) => problems.to_string(),
    };
    let lines: Vec<&str> = told.lines().collect();
    let are_told = lines.len() == expected.len()
        && lines.iter().zip(expected).all(|(line, text)| {
            line.contains("world.toml:") && line.contains(".expect[0]") && line.contains(text)
        });
    assert!(are_told, "{service} {test}\n{told}");
}

#[test]
fn a_test_holds_for_every_hash_or_says_who_else_is_named() {
    // London: the sites of its continent, whichever its hash prefers.
    check("www", "from = \"81.2.69.142\"\nsites = [\"fra\", \"ams\"]", &[]);
    check(
        "www",
        "from = \"81.2.69.0/24\"\nsites = [\"fra\"]",
        &[
            "the A answer to 81.2.69.0/24 may name ams, which the list does not; see gslb-dns explain \
             www.example.com A --client 81.2.69.0/24",
            "the AAAA answer to 81.2.69.0/24 may name ams",
        ],
    );
    check("www", "from = \"2a02:d280::1\"\nsites = [\"fra\", \"ams\"]", &[]);
    // When its continent is down, the others; the one of weight 0 is nobody's.
    let down = "from = \"81.2.69.142\"\nwhen = { down = [\"fra\", \"am?\"] }";
    check("www", &format!("{down}\nsites = [\"iad\", \"nrt\"]"), &[]);
    check(
        "www",
        &format!("{down}\nsites = [\"iad\"]"),
        &[
            "the A answer to 81.2.69.0/24 may name nrt, which the list does not; see gslb-dns explain \
           www.example.com A --client 81.2.69.0/24 --suppose 'down=fra' --suppose 'down=am?'",
        ],
    );
    // nrt has no IPv6 address: of AAAA the test says nothing.
    let but_one =
        "from = \"81.2.69.142\"\nwhen = { down = [\"fra\", \"ams\"], drained = [\"iad\"] }";
    check("www", &format!("{but_one}\nsites = [\"nrt\"]"), &[]);
    // With nobody else, the one of weight 0 as well.
    check(
        "www",
        "from = \"81.2.69.142\"\nwhen = { down = [\"*\"], up = [\"spare\"] }\nsites = [\"spare\"]",
        &[],
    );
}

#[test]
fn a_subnet_that_is_not_believed_is_answered_for_as_its_resolver() {
    check(
        "www",
        "from = \"10.1.2.0/24\"\nsites = [\"fra\"]",
        &[
            "may name ams, iad, nrt, which the list does not; see gslb-dns explain www.example.com A \
             --resolver 10.1.2.0",
            "may name ams, iad, which",
        ],
    );
}

#[test]
fn a_test_sees_the_fail_mode() {
    let down = "from = \"81.2.69.142\"\nwhen = { down = [\"fra\"] }";
    check("strict", &format!("{down}\nsites = []"), &[]);
    check(
        "strict",
        &format!("{down}\nsites = [\"iad\"]"),
        &[
            "names no site, since when_all_down decides",
            "names no site, since when_all_down decides",
        ],
    );
    check(
        "strict",
        "from = \"81.2.69.142\"\nsites = []",
        &[
            "the A answer to 81.2.69.0/24 may name fra",
            "the AAAA answer to 81.2.69.0/24 may name fra",
        ],
    );
}

#[test]
fn a_test_sees_all_that_one_answer_names() {
    check("two", "from = \"81.2.69.142\"\nsites = [\"fra\", \"ams\", \"iad\"]", &[]);
    // fra and ams are of one failure domain, so a third comes in.
    check(
        "two",
        "from = \"81.2.69.142\"\nsites = [\"fra\", \"ams\"]",
        &["may name iad", "may name iad"],
    );
    // ams would fill up only, and iad is there to fill up with another domain.
    check("spread", "from = \"81.2.69.142\"\nsites = [\"fra\", \"iad\"]", &[]);
    let without = "from = \"81.2.69.142\"\nwhen = { down = [\"iad\"] }";
    check("spread", &format!("{without}\nsites = [\"fra\", \"ams\"]"), &[]);
    check("alias", "from = \"63.1.2.3\"\nsites = [\"iad\"]", &[]);
    check(
        "alias",
        "from = \"63.1.2.3\"\nsites = [\"fra\"]",
        &["the CNAME answer to 63.1.2.0/24 may name iad"],
    );
}

#[test]
fn a_test_that_could_mean_nothing_is_refused() {
    check("www", "from = \"81.2.69\"\nsites = [\"fra\"]", &["\"81.2.69\" is not a client such as"]);
    check("www", "from = \"81.2.69.1/24\"\nsites = [\"fra\"]", &["did you mean \"81.2.69.0/24\"?"]);
    check("www", "from = \"81.2.69.142\"", &["sites is missing"]);
    check(
        "strict",
        "from = \"81.2.69.142\"\nsites = [\"ams\"]",
        &["no site of this service named \"ams\" (sites: fra, iad)"],
    );
    let when =
        |when: &str| format!("from = \"81.2.69.142\"\nwhen = {{ {when} }}\nsites = [\"iad\"]");
    check(
        "www",
        &when("down = [\"fraa\"]"),
        &["no site of this service named \"fraa\"; did you mean \"fra\"?"],
    );
    check("strict", &when("down = [\"ams\"]"), &["no site of this service named \"ams\""]);
    check("www", &when("down = [\"\"]"), &["is empty (expected a site or a pattern)"]);
    check("www", &when("dwon = [\"fra\"]"), &["unknown key; did you mean down?"]);
}
