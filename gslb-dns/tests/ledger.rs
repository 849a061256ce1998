//! Ledgers over changes of the world: no count is lost, and none goes to another's name.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod small_world;

use std::fmt::Write as _;

use gslb_dns::ledger::{Entry, Ledgers};
use gslb_dns::snapshot::Groundwork;
use gslb_dns::steer::Failing;

use small_world::world;

const ZONE: &str = "@ 60 SOA ns1 h 1 2 3 4 5\n@ 60 NS ns1\nns1 60 A 198.51.100.53\n";

/// A world of services, each with its sites: `www: fra iad | api: fra`.
fn ground(ledgers: &Ledgers, services: &str) -> Groundwork {
    let mut text = String::from("[zone.\"example.com\"]\nfile = \"example.com.zone\"\n");
    for (octet, site) in ["fra", "iad", "nrt"].iter().enumerate() {
        writeln!(text, "[site.{site}]\nvips = [\"192.0.2.{octet}\"]").unwrap();
    }
    for service in services.split(" | ") {
        let (name, sites) = service.split_once(": ").unwrap();
        let sites: Vec<&str> = sites.split(' ').collect();
        writeln!(text, "[service.\"{name}.example.com\"]\nsites = {sites:?}").unwrap();
        writeln!(text, "when_all_down = \"open\"").unwrap();
    }
    let mut ground = Groundwork::new(world(&text, ZONE));
    ground.count_in(ledgers);
    ground
}

/// On one page, an answer of `www: fra iad`, from the sites named.
fn write(ground: &Groundwork, page: usize, answer: &str) {
    let (name, named) = answer.split_once(": ").unwrap();
    let world = &ground.world;
    let is_it = |name: &str, full: String| full == format!("{name}.example.com.");
    let service =
        world.service_ids().find(|&id| is_it(name, world.service(id).name.to_string())).unwrap();
    let candidates = world.service(service).candidates.iter().enumerate();
    let named = candidates
        .filter(|(_, one)| named.split(' ').any(|site| *site == *world.site(one.site).name))
        .map(|(index, _)| index)
        .collect();
    let failing = if answer.contains("down") { Failing::AllDown } else { Failing::No };
    ground.page(page).unwrap().write(&Entry { service, failing, named });
}

/// Every account, in the order of names: `api 1+0+0 fra 1 | www 1+0+0 fra 1 iad 1`.
fn check(ledgers: &Ledgers, expected: &str) {
    let accounts = ledgers.accounts();
    let told = accounts.iter().map(|(service, account)| {
        let [no, down, drained] = account.by_failing;
        let mut sites: Vec<String> =
            account.by_site.iter().map(|(site, count)| format!(" {site} {count}")).collect();
        sites.sort();
        format!(
            "{} {no}+{down}+{drained}{}",
            service.trim_end_matches(".example.com."),
            sites.concat()
        )
    });
    let mut told: Vec<String> = told.collect();
    told.sort();
    assert_eq!(told.join(" | "), expected);
}

#[test]
fn pages_are_summed_and_a_world_without_ledger_counts_nothing() {
    let ledgers = Ledgers::new(3);
    check(&ledgers, "");
    let ground = ground(&ledgers, "api: fra | www: fra iad nrt");
    check(&ledgers, "api 0+0+0 fra 0 | www 0+0+0 fra 0 iad 0 nrt 0");
    for page in 0..3 {
        write(&ground, page, "www: fra nrt");
        write(&ground, page, "www: down");
    }
    write(&ground, 1, "api: fra");
    check(&ledgers, "api 1+0+0 fra 1 | www 3+3+0 fra 3 iad 0 nrt 3");
    assert!(ground.page(3).is_none());
    assert!(Groundwork::new(ground.world).page(0).is_none());
}

#[test]
fn a_reload_neither_loses_counts_nor_takes_one_service_for_another() {
    let ledgers = Ledgers::new(2);
    let first = ground(&ledgers, "api: fra iad | www: fra iad");
    write(&first, 0, "api: fra");
    write(&first, 0, "www: iad");
    // Other ids for both the service and the sites; a thread still answers from the world before.
    let second = ground(&ledgers, "abc: nrt | www: nrt iad");
    check(&ledgers, "abc 0+0+0 nrt 0 | www 1+0+0 iad 1 nrt 0");
    write(&first, 1, "www: fra iad");
    write(&second, 0, "www: iad nrt");
    check(&ledgers, "abc 0+0+0 nrt 0 | www 3+0+0 iad 3 nrt 1");
    // It lets go of it: what it wrote stays.
    drop(first);
    check(&ledgers, "abc 0+0+0 nrt 0 | www 3+0+0 iad 3 nrt 1");
    // What comes back begins anew.
    let third = ground(&ledgers, "api: fra | www: fra iad");
    drop(second);
    check(&ledgers, "api 0+0+0 fra 0 | www 3+0+0 fra 0 iad 3");
    write(&third, 1, "www: fra");
    for _ in 0..3 {
        drop(ground(&ledgers, "www: iad fra"));
    }
    check(&ledgers, "www 4+0+0 fra 1 iad 3");
    drop(third);
    check(&ledgers, "www 4+0+0 fra 1 iad 3");
}
