//! Statements one by one. Whole files are in `tests/import/` of this crate.

mod reading;

use std::path::Path;

use super::*;
use crate::config;

/// What became of it: the keys of each virtual router on a line, remarks after it.
fn imported(text: &str, config_id: ConfigId<'_>, files: &[(&str, &str)]) -> Result<Import, String> {
    let mut included = |pattern: &Path| {
        let named = files.iter().filter(|(name, _)| Path::new(name) == pattern);
        let file = |(name, text): &(&str, &str)| File {
            path: name.into(),
            octets: match text.strip_prefix("error: ") {
                Some(why) => Err(why.to_owned()),
                None => Ok(text.as_bytes().to_vec()),
            },
        };
        named.map(file).collect()
    };
    import(Path::new("k.conf"), text.as_bytes(), config_id, &mut included)
        .map_err(|error| error.to_string())
}

fn told(import: &Import) -> Vec<String> {
    import.remarks.iter().map(Remark::to_string).collect()
}

/// A virtual router with these statements in its block, and others before it.
fn instance(before: &str, statements: &str) -> String {
    format!(
        "{before}\nvrrp_instance web {{\ninterface eth0\nvirtual_router_id 51\n{statements}\nvirtual_ipaddress {{\n192.0.2.10\n}}\n}}"
    )
}

/// The keys that are not the same in each of these tests, and what is told, without places.
#[track_caller]
fn check(before: &str, statements: &str, expected: &str) {
    let import = imported(&instance(before, statements), None, &[]).unwrap();
    let usual = ["interface = \"eth0\"", "vrid = 51", "vips = [\"192.0.2.10/32\"]"];
    let keys = import.text.lines().filter(|line| line.contains(" = ") && !usual.contains(line));
    let keys: Vec<&str> = keys.collect();
    let remarks = import.remarks.iter().map(|remark| {
        let Remark { fate, statement, why, .. } = remark;
        let beginning: String =
            why.split(':').next().unwrap_or_default().chars().take(60).collect();
        format!("\n{fate}: {statement}: {beginning}")
    });
    let got = keys.join(" | ") + &remarks.collect::<String>();
    assert_eq!(got, expected);
}

const USUAL: &str = "priority = 100 | profile = \"compat\" | interval = \"1s\" | preempt = \"0s\"";

#[test]
fn what_is_not_said_is_as_keepalived_has_it() {
    check("", "", USUAL);
    check("", "state BACKUP\npriority 100\nadvert_int 1\nversion 2\npreempt", USUAL);
}

#[test]
fn versions_and_intervals() {
    let v3 = |interval| {
        format!("priority = 100 | version = 3 | interval = \"{interval}\" | preempt = \"0s\"")
    };
    check("", "version 3", &v3("1s"));
    check("global_defs {\nvrrp_version 3\n}", "", &v3("1s"));
    check("global_defs {\nvrrp_version 3\n}", "version 2", USUAL);
    check("", "version 3\nadvert_int 0.25", &v3("250ms"));
    check("", "version 3\nadvert_int .04", &v3("40ms"));
    check("", "version 3\nadvert_int 40.95", &v3("40950ms"));
    let steps = "version 3 has 0.01 to 40.95 seconds in steps of 0.01";
    check(
        "",
        "version 3\nadvert_int 41",
        &format!("{}\nchanged: advert_int 41: {steps}", v3("40950ms")),
    );
    check(
        "",
        "version 3\nadvert_int 0.014",
        &format!("{}\nchanged: advert_int 0.014: {steps}", v3("10ms")),
    );
    check(
        "",
        "version 3\nadvert_int 0.001",
        &format!("{}\nchanged: advert_int 0.001: {steps}", v3("10ms")),
    );
    let v2 = |interval: &str| USUAL.replace("1s", interval);
    let whole = "version 2 has whole seconds, 1 to 255";
    check("", "advert_int 255", &v2("255s"));
    check("", "advert_int 256", &format!("{}\nchanged: advert_int 256: {whole}", v2("255s")));
    check("", "advert_int 1.5", &format!("{}\nchanged: advert_int 1.5: {whole}", v2("2s")));
    // keepalived 2.2.4 and before made 0 of it.
    check("", "advert_int 0.4", &format!("{USUAL}\nchanged: advert_int 0.4: {whole}"));
    for word in ["0", "-1", "fast", "1e1", "."] {
        let why = "it is no number of seconds; keepalived takes 1, and so it is";
        check(
            "",
            &format!("advert_int {word}"),
            &format!("{USUAL}\nchanged: advert_int {word}: {why}"),
        );
    }
    check("", "version 4", &format!("{USUAL}\nnot carried over: version 4: expected 2 or 3"));
}

#[test]
fn who_takes_over_from_whom() {
    let after = |preempt: &str| USUAL.replace("0s", preempt);
    check("", "nopreempt", &after("never"));
    check(
        "",
        "nopreempt\npreempt",
        &format!("{USUAL}\nneeds nothing: nopreempt: line 6 says it again, and counts"),
    );
    check("", "preempt_delay 300", &after("5m"));
    check("", "preempt_delay 4.12", &after("4120ms"));
    check("", "preempt_delay 0.0001", &after("1ms"));
    check("", "preempt_delay 1000", &after("1000s"));
    check(
        "",
        "preempt_delay 1001",
        &format!(
            "{USUAL}\nchanged: preempt_delay 1001: expected 0 to 1000 seconds; keepalived takes 0, and so it is"
        ),
    );
    check(
        "",
        "nopreempt\npreempt_delay 5",
        &format!("{}\nneeds nothing: preempt_delay 5: nopreempt stands beside it", after("never")),
    );
    let master =
        "\nneeds nothing: state MASTER: every box listens first, and then its priority decides";
    check("", "state MASTER", &format!("{USUAL}{master}"));
    check(
        "",
        "state MASTER\nnopreempt",
        &format!(
            "{}{master}\nchanged: nopreempt: beside state MASTER keepalived takes over all the same; here",
            after("never")
        ),
    );
    check(
        "",
        "state MASTER\npreempt_delay 5",
        &format!(
            "{}{master}\nchanged: preempt_delay 5: beside state MASTER keepalived does not wait; here it is wai",
            after("5s")
        ),
    );
}

#[test]
fn priorities_and_refreshes() {
    check("", "priority 255", &USUAL.replace("100", "255"));
    for word in ["0", "256", "high"] {
        let why = "expected 1 to 255; keepalived takes 100, and so it is here";
        check(
            "",
            &format!("priority {word}"),
            &format!("{USUAL}\nchanged: priority {word}: {why}"),
        );
    }
    check("", "garp_master_refresh 60", &format!("{USUAL} | refresh = \"1m\""));
    check("", "garp_master_refresh 0", &format!("{USUAL} | refresh = \"never\""));
    let global = "global_defs {\nvrrp_garp_master_refresh 30\n}";
    check(global, "", &format!("{USUAL} | refresh = \"30s\""));
    check(global, "garp_master_refresh 40", &format!("{USUAL} | refresh = \"40s\""));
    check(
        "",
        "garp_master_refresh 86401",
        &format!(
            "{USUAL}\nnot carried over: garp_master_refresh 86401: expected 0 to 86400 seconds"
        ),
    );
}

#[test]
fn checksums_are_of_version_3_over_ipv4() {
    let v3 = "priority = 100 | version = 3 | interval = \"1s\" | preempt = \"0s\"";
    check("", "version 3\nv3_checksum_as_v2", &format!("{v3} | checksum = \"rfc9568\""));
    check("", "version 3\nv3_checksum_as_v2 off", v3);
    check("", "v3_checksum_as_v2", USUAL);
    check(
        "global_defs {\nv3_checksum_as_v2 true\n}",
        "version 3",
        &format!("{v3} | checksum = \"rfc9568\""),
    );
}

#[test]
fn passwords_are_of_version_2_and_shown_to_nobody() {
    let v2 = USUAL.replace("profile = \"compat\"", "version = 2");
    let block = |lines: &str| format!("authentication {{\n{lines}\n}}");
    check("", &block("auth_type PASS\nauth_pass 1111"), &format!("{v2} | password = \"1111\""));
    // A comment begins anywhere.
    check(
        "",
        &block("auth_type PASS\nauth_pass secret!1"),
        &format!("{v2} | password = \"secret\""),
    );
    check(
        "",
        &block("auth_type PASS\nauth_pass secret\\!1"),
        &format!("{v2} | password = \"secret!1\""),
    );
    check("", &block("auth_type PASS\nauth_pass \"s #1\""), &format!("{v2} | password = \"s #1\""));
    check(
        "",
        &block("auth_type PASS\nauth_pass a${_BANG}b"),
        &format!("{v2} | password = \"a!b\""),
    );
    check(
        "",
        &format!("version 3\n{}", block("auth_type PASS\nauth_pass 1111")),
        "priority = 100 | version = 3 | interval = \"1s\" | preempt = \"0s\"\n\
         not carried over: auth_pass: version 3 has no password, and keepalived sends none either",
    );
    check(
        "",
        &block("auth_type PASS"),
        &format!("{USUAL}\nnot carried over: auth_type PASS: no auth_pass stands beside it"),
    );
    check(
        "",
        &block("auth_pass 1111"),
        &format!(
            "{USUAL}\nnot carried over: auth_pass: no auth_type PASS stands beside it, without which keepalived"
        ),
    );
    check(
        "",
        &block("auth_type AH\nauth_pass 1111"),
        &format!(
            "{USUAL}\nnot carried over: auth_type AH: IPsec's AH is not spoken here, and who speaks it does not he\n\
             not carried over: auth_pass: no auth_type PASS stands beside it"
        ),
    );
    check(
        "",
        &block("auth_password secret"),
        &format!("{USUAL}\nnot carried over: auth_password: expected auth_type or auth_pass"),
    );
}

#[test]
fn keys_go_into_files() {
    let hmac = |lines: &str| format!("auth_hmac {{\n{lines}\n}}");
    let key = |id: u8| format!("{{ id = {id}, file = \"web-{id}.key\" }}");
    let moved = |id: u8| format!("\nchanged: key {id}: keys are in files here");
    check(
        "",
        &hmac(
            "key 1 hex:00\nkey 9 file:/etc/k\nactive_key 9\nmode permissive\nanti_replay time\ntime_window 5",
        ),
        &format!(
            "{USUAL} | signature = {{ keys = [{}, {}], sign_with = 9, mode = \"permissive\", window = \"5s\" }}{}{}",
            key(1),
            key(9),
            moved(1),
            moved(9)
        ),
    );
    check(
        "",
        &hmac("key 1 secret\nanti_replay monotonic\ntime_window 5"),
        &format!(
            "{USUAL} | signature = {{ keys = [{}], window = \"never\" }}{}\n\
             needs nothing: time_window 5: anti_replay monotonic stands beside it",
            key(1),
            moved(1)
        ),
    );
    let import = imported(&instance("", &hmac("key 0 hex:5ec4e7")), None, &[]).unwrap();
    assert_eq!(import.routers, 0);
    assert_eq!(
        told(&import),
        [
            "k.conf:2: not carried over: vrrp_instance web { 6 statements }: auth_hmac has no key that can be carried over"
        ]
    );
    let import =
        imported(&instance("", &hmac("key 1 hex:5ec4e7\nsecret 5ec4e7")), None, &[]).unwrap();
    assert!(!format!("{}{:?}", import.text, told(&import)).contains("5ec4e7"), "{import:?}");
}

#[test]
fn addresses_are_what_one_box_can_have() {
    let of = |lines: &str| {
        let text = format!(
            "vrrp_instance web {{\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {{\n{lines}\n}}\n}}"
        );
        let import = imported(&text, None, &[]).unwrap();
        let site = config::redundancy_from_str(&import.text, Path::new(""));
        let vips =
            site.map(|(site, _)| site.routers[0].vips.iter().map(ToString::to_string).collect());
        (vips.unwrap_or_else(|_| vec![]), import)
    };
    let (vips, import) =
        of("192.0.2.10/24 dev eth0 scope global\n192.0.2.11\n192.0.2.10 label eth0:1\n2001:db8::1");
    assert_eq!(vips, ["192.0.2.10/24", "192.0.2.11/32"]);
    assert_eq!(told(&import).len(), 3, "{:?}", told(&import));
    for nobody in [
        "192.0.2",
        "0.0.0.0",
        "127.0.0.1",
        "224.0.0.18",
        "255.255.255.255",
        "192.0.2.1/0",
        "192.0.2.1/33",
        "::/64",
    ] {
        let (vips, import) = of(&format!("192.0.2.10\n{nobody}"));
        assert_eq!((vips.len(), import.remarks.len()), (1, 1), "{nobody}");
    }
    let (vips, import) = of("192.0.2.10\n192.0.2.11 dev eth1");
    assert_eq!((vips.len(), import.remarks.len()), (1, 1));
    // RFC 9568 §5.2.9.
    let (vips, _) = of("2001:db8::10/64\n2001:db8::11");
    assert_eq!(vips, ["fe80::5e:33/128", "2001:db8::10/64", "2001:db8::11/128"]);
    let (vips, _) = of("2001:db8::10/64\nfe80::1/64");
    assert_eq!(vips, ["fe80::1/64", "2001:db8::10/64"]);
}

#[test]
fn no_two_virtual_routers_have_the_same() {
    let one = |name: &str, interface: &str, vrid: u8, vip: &str| {
        format!(
            "vrrp_instance {name} {{\ninterface {interface}\nvirtual_router_id {vrid}\nvirtual_ipaddress {{ {vip}\n}}\n}}\n"
        )
    };
    let text = [
        one("a b", "eth0", 1, "192.0.2.1"),
        one("\"a!b\"", "eth1", 1, "192.0.2.2"),
        one("c", "eth0", 1, "192.0.2.3"),
        one("d", "eth0", 2, "192.0.2.2"),
        one("\"a!b\"", "eth0", 3, "192.0.2.4"),
        one("a.b", "eth0", 4, "2001:db8::1"),
        one("\"a b\"", "eth1", 4, "2001:db8::2"),
    ];
    let import = imported(&text.concat(), None, &[]).unwrap();
    let headings: Vec<&str> = import.text.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(headings, ["[vrrp.a-b]", "[vrrp.c]", "[vrrp.\"a.b\"]", "[vrrp.a-b-2]"]);
    assert!(
        import.text.contains("fe80::5e:4/128") && import.text.contains("fe80::1:5e:4"),
        "{}",
        import.text
    );
    let (site, _) = config::redundancy_from_str(&import.text, Path::new("")).unwrap();
    assert_eq!(site.routers.len(), 4);
}

#[test]
fn a_source_is_none_of_the_addresses() {
    let told = "\nnot carried over: unicast_src_ip 192.0.2.10: it is one of its addresses, and a box has its source whoever";
    check("", "unicast_src_ip 192.0.2.10", &format!("{USUAL}{told}"));
    check(
        "",
        "mcast_src_ip 192.0.2.1",
        &USUAL.replace("preempt", "source = \"192.0.2.1\" | preempt"),
    );
}

#[test]
fn peers_are_others_of_the_same_family() {
    let block = |lines: &str| format!("unicast_src_ip 192.0.2.1\nunicast_peer {{\n{lines}\n}}");
    let usual = "priority = 100 | profile = \"compat\" | interval = \"1s\" | ";
    let source = "source = \"192.0.2.1\" | preempt = \"0s\"";
    check("", &block("192.0.2.2"), &format!("{usual}peers = [\"192.0.2.2\"] | {source}"));
    check(
        "",
        &block("192.0.2.2 min_ttl 255 max_ttl 255"),
        &format!("{usual}peers = [\"192.0.2.2\"] | {source}"),
    );
    check(
        "",
        &block("192.0.2.2 min_ttl 250"),
        &format!(
            "{usual}peers = [\"192.0.2.2\"] | {source}\n\
             not carried over: 192.0.2.2 min_ttl: its adverts have to come with hop limit 255"
        ),
    );
    check(
        "",
        &block("192.0.2.1\n192.0.2.2\n192.0.2.2\n2001:db8::1"),
        &format!(
            "{usual}peers = [\"192.0.2.2\"] | {source}\n\
             not carried over: 192.0.2.1: it is what this box sends from, and peers are others\n\
             needs nothing: 192.0.2.2: it is there already\n\
             not carried over: 2001:db8::1: it is of another family than the addresses"
        ),
    );
    check(
        "",
        &format!("{}\nauth_hmac {{\nkey 1 a\n}}", block("192.0.2.2 min_ttl 250\n192.0.2.3")),
        &format!(
            "{usual}peers = [ | max_hops = 5 | {source} | signature = {{ keys = [{{ id = 1, file = \"web-1.key\" }}] }}\n\
             changed: key 1: keys are in files here"
        ),
    );
    let import = imported(&instance("", &block("localhost")), None, &[]).unwrap();
    assert_eq!(import.routers, 0);
    check(
        "",
        "unicast_peer {\n}",
        &format!("{USUAL}\nchanged: unicast_peer {{ 0 statements }}: it names nobody"),
    );
}

#[test]
fn what_is_more_than_a_virtual_router_has_is_told() {
    let vips: String = (1..=65).map(|last| format!("192.0.2.{last}\n")).collect();
    let peers: String = (1..=9).map(|last| format!("198.51.100.{last}\n")).collect();
    let text = format!(
        "vrrp_instance web {{\ninterface eth0\nvirtual_router_id 51\nunicast_peer {{\n{peers}}}\nvirtual_ipaddress {{\n{vips}}}\n}}"
    );
    let import = imported(&text, None, &[]).unwrap();
    assert_eq!(
        told(&import),
        [
            "k.conf:13: not carried over: 198.51.100.9: there are as many as a virtual router can have",
            "k.conf:80: not carried over: 192.0.2.65: a virtual router has 64 addresses at most: make another one, with a VRID of \
             its own",
        ]
    );
    let (site, _) = config::redundancy_from_str(&import.text, Path::new("")).unwrap();
    assert_eq!(site.routers[0].vips.len(), 64);
}

#[test]
fn a_site_has_so_many_virtual_routers_and_no_more() {
    let one = |number: usize| {
        let (vrid, high, low) = (1 + number % 255, number / 255, number % 255);
        format!(
            "vrrp_instance v{number} {{\ninterface eth{high}\nvirtual_router_id {vrid}\nvirtual_ipaddress {{\n10.0.{high}.{low}\n}}\n}}\n"
        )
    };
    let import =
        imported(&(0..=config::MOST_NAMES).map(one).collect::<String>(), None, &[]).unwrap();
    assert_eq!(import.routers, config::MOST_NAMES);
    assert_eq!(
        told(&import),
        [
            "k.conf:7169: not carried over: vrrp_instance v1024 { 4 statements }: there are 1024 already, and a site has no more"
        ]
    );
    config::redundancy_from_str(&import.text, Path::new("")).unwrap();
}
