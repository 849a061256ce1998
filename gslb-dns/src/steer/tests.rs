//! Policies as tables: a world in a line, who asks, and the tiers or sites that come out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::hash::{self, Purpose};
use super::*;
use crate::config;
use crate::health::board::{Admit, Beliefs, Board};
use crate::health::last_known::LastKnown;
use crate::ids::ServiceId;
use crate::locate::{Client, HashedPrefix};
use crate::query::ClientSubnet;
use crate::site_set::SiteSet;
use crate::snapshot::{Chosen, Extent, Groundwork, Snapshot};

/// Three sites on three continents, with a second one in Europe 20 km from the first, and a few
/// clients by override.
const WORLD: &str = r#"
[geoip]
overrides = { "81.2.69.0/24" = { country = "GB" }, "216.160.83.0/24" = { country = "US" }, "175.16.199.0/24" = { country = "CN" }, "196.25.0.0/16" = { country = "ZA" }, "2a02:d280::/32" = { country = "CZ" } }

[zone."example.com"]
file = "steer.zone"

[site.ams]
place = { country = "NL", lat = 50.2, lon = 8.7 }
vips = ["192.0.2.1"]
domain = "a"
[site.fra]
place = { country = "DE", lat = 50.1, lon = 8.7 }
vips = ["192.0.2.2", "2001:db8::2"]
domain = "a"
[site.iad]
place = { country = "US", lat = 39.0, lon = -77.5 }
vips = ["192.0.2.3", "2001:db8::3"]
domain = "b"
[site.nrt]
place = { country = "JP", lat = 35.8, lon = 140.4 }
vips = ["192.0.2.4", "2001:db8::4"]

[map.m]
default   = ["iad", "fra"]
continent = { EU = [["fra", "ams"], "iad"], AF = ["nrt"] }
country   = { GB = ["ams", "nrt"] }
net       = { "10.1.0.0/16" = ["nrt"] }
"#;

fn world(service: &str) -> Snapshot {
    snapshot(service, |_| {})
}

/// The service in `service`, under the given changes to what is believed of its candidates.
fn snapshot(service: &str, change: impl Fn(&mut Vec<crate::health::board::Standing>)) -> Snapshot {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/steer");
    let text = format!("{WORLD}\n[service.\"www.example.com\"]\n{service}\n");
    let world = config::world_from_str(&text, &dir)
        .unwrap_or_else(|problems| panic!("{problems}\n{service}"));
    let ground = Groundwork::new(world);
    let board = Board::build(1, &ground.world, &[], &LastKnown::default(), Timestamp::UNIX_EPOCH);
    let mut standings = board.of_service(ServiceId(0)).standings.clone();
    change(&mut standings);
    let board = Board::of(1, vec![Beliefs::new(standings, SiteSet::EMPTY)]);
    Snapshot::new(Arc::new(ground), board)
}

fn client(snapshot: &Snapshot, text: &str) -> Client {
    match text.parse::<ipnet::IpNet>() {
        Ok(net) => {
            let subnet = ClientSubnet::new(net.addr(), net.prefix_len());
            Client::subnet(&subnet, &snapshot.ground.trust).unwrap()
        }
        Err(_) => Client::resolver(text.parse().unwrap()),
    }
}

/// The tiers after the last step, as `[fra ams] [iad]`.
#[derive(Default)]
struct LastTiers(Vec<SiteSet>);

impl Trace for LastTiers {
    fn step(&mut self, _: StepName, tiers: &[SiteSet]) {
        self.0 = tiers.to_vec();
    }
    fn skipped(&mut self, _: StepName, _: Skipped) {}
    fn struck(&mut self, _: usize, _: Struck) {}
    fn fail_mode(&mut self, _: &'static str) {}
    fn stood_aside(&mut self, _: usize, _: f64, _: f64) {}
    fn ranked(&mut self, _: &[Contender]) {}
}

const SITES: &str = r#"sites = ["ams", "fra", "iad", "nrt"]"#;

/// `down=fra,iad drained=nrt` as `--suppose` has it.
fn suppose(snapshot: Snapshot, suppositions: &str) -> Snapshot {
    let parse = |word: &str| word.parse().unwrap();
    let suppositions: Vec<_> = suppositions.split_whitespace().map(parse).collect();
    let board = snapshot.board.supposing(snapshot.world(), &suppositions);
    Snapshot::new(snapshot.ground.clone(), board)
}

fn name(snapshot: &Snapshot, candidate: usize) -> String {
    let service = snapshot.world().service(ServiceId(0));
    snapshot.world().site(service.candidates[candidate].site).name.to_string()
}

/// Tiers of an A query for `asker` with these steps, in this state.
fn check(steps: &str, asker: &str, state: &str, tiers: &str) {
    let service = format!("{SITES}\nsteer = [{steps}]\nwhen_all_down = \"open\"");
    let snapshot = suppose(world(&service), state);
    let client = client(&snapshot, asker);
    let mut last = LastTiers::default();
    let derivation =
        snapshot.retrace(Extent::Taken, ServiceId(0), Family::V4, &client, 0, &mut last);
    let got: Vec<String> = last
        .0
        .iter()
        .map(|tier| {
            let names: Vec<_> = tier.iter().map(|one| name(&snapshot, one)).collect();
            format!("[{}]", names.join(" "))
        })
        .collect();
    assert_eq!(got.join(" "), tiers, "{steps} for {asker} with {state:?}");
    // The query path, which arranged every class beforehand, decides the same.
    assert_eq!(snapshot.decide(ServiceId(0), Family::V4, &client, 0), derivation.decision);
}

const GB: &str = "81.2.69.0/24";
const US: &str = "216.160.83.0/24";
const CN: &str = "175.16.199.0/24";
const ZA: &str = "196.25.1.0/24";
const NOWHERE: &str = "9.9.9.0/24";

#[test]
fn a_map_orders_by_its_closest_key_and_strikes_who_is_not_on_it() {
    let map = r#"{ map = "m" }"#;
    check(map, GB, "", "[ams] [nrt]");
    check(map, "2a02:d280::/48", "", "[ams fra] [iad]");
    check(map, US, "", "[iad] [fra]");
    check(map, NOWHERE, "", "[iad] [fra]");
    check(map, "10.1.2.0/24", "", "[nrt]");
    check(map, GB, "down=ams", "[nrt]");
    // The map names nobody who is left: the step is skipped.
    check(map, GB, "down=ams down=nrt", "[fra iad]");
    check(map, ZA, "down=nrt", "[ams fra iad]");
}

#[test]
fn a_fence_splits_inside_from_outside() {
    let fence = r#"{ fence = "continent" }"#;
    check(fence, GB, "", "[ams fra] [iad nrt]");
    check(fence, CN, "", "[nrt] [ams fra iad]");
    check(fence, ZA, "", "[ams fra iad nrt]");
    check(fence, NOWHERE, "", "[ams fra iad nrt]");
    check(fence, GB, "down=ams down=fra", "[iad nrt]");
    check(r#"{ fence = "country" }"#, US, "", "[iad] [ams fra nrt]");
}

#[test]
fn a_strict_fence_holds_against_health_and_lets_the_fail_mode_work_inside() {
    let strict = r#"{ fence = "continent", strict = true }"#;
    check(strict, GB, "", "[ams fra]");
    check(strict, GB, "down=ams", "[fra]");
    check(strict, GB, "down=ams down=fra", "[ams fra]");
    check(strict, ZA, "", "[ams fra iad nrt]");
    check(strict, NOWHERE, "down=ams", "[fra iad nrt]");
}

#[test]
fn the_nearest_form_a_tier_with_all_within_50_km() {
    check(r#""nearest""#, GB, "", "[ams fra] [iad] [nrt]");
    check(r#""nearest""#, CN, "", "[nrt] [ams fra] [iad]");
    check(r#""nearest""#, GB, "down=fra", "[ams] [iad] [nrt]");
    check(r#""nearest""#, NOWHERE, "", "[ams fra iad nrt]");
}

#[test]
fn steps_refine_and_never_merge() {
    check(r#"{ fence = "continent" }, "nearest""#, CN, "", "[nrt] [ams fra] [iad]");
    check(r#"{ fence = "country" }, { fence = "continent" }"#, GB, "", "[ams fra] [iad nrt]");
    check(r#"{ map = "m" }, "failover""#, "2a02:d280::/48", "", "[ams] [fra] [iad]");
    check(r#""failover""#, GB, "down=ams", "[fra] [iad] [nrt]");
    check(r#"{ fence = "continent" }, "failover""#, US, "", "[iad] [ams] [fra] [nrt]");
}

#[test]
fn drained_sites_are_out_until_all_are() {
    check(r#""failover""#, GB, "drained=ams", "[fra] [iad] [nrt]");
    check(r#""failover""#, GB, "drained=*", "[ams] [fra] [iad] [nrt]");
    // All that is not drained is down: the fail mode, without the drained.
    check(r#""failover""#, GB, "drained=ams down=fra down=iad down=nrt", "[fra] [iad] [nrt]");
    check(r#""failover""#, GB, "drained=* down=ams", "[fra] [iad] [nrt]");
    check(r#""failover""#, GB, "unknown=*", "[ams] [fra] [iad] [nrt]");
}

/// What is chosen when every site is down, and the scope with it.
fn check_all_down(mode: &str, expected: &str) {
    let service = format!("{SITES}\nwhen_all_down = {mode}");
    let snapshot = suppose(world(&service), "down=*");
    let client = client(&snapshot, GB);
    let decision = snapshot.decide(ServiceId(0), Family::V4, &client, 0);
    let told = match &decision.chosen {
        Chosen::Sites(choice) => format!("{} of sites /{}", choice.taken.len(), decision.scope),
        Chosen::Static => format!("static /{}", decision.scope),
        Chosen::NoData => format!("nodata /{}", decision.scope),
    };
    assert_eq!(told, expected, "{mode}");
}

#[test]
fn each_fail_mode_answers_in_its_own_way() {
    check_all_down(r#""open""#, "1 of sites /24");
    check_all_down(r#""last-known""#, "1 of sites /24");
    check_all_down("\"static\"\nstatic = [\"192.0.2.99\"]", "static /0");
    check_all_down(r#""empty""#, "nodata /0");
}

#[test]
fn last_known_is_who_was_fit_when_one_last_was() {
    let service = format!("{SITES}\nsteer = [\"failover\"]\nwhen_all_down = \"last-known\"");
    let before = suppose(world(&service), "down=ams down=fra down=nrt");
    let after = suppose(before, "down=*");
    let client = client(&after, GB);
    let decision = after.decide(ServiceId(0), Family::V4, &client, 0);
    let Chosen::Sites(choice) = decision.chosen else { panic!("{decision:?}") };
    assert_eq!(name(&after, choice.taken[0].into()), "iad");
}

#[test]
fn families_are_judged_apart() {
    let service = format!("{SITES}\nsteer = [\"failover\"]\nwhen_all_down = \"open\"");
    let snapshot = world(&service);
    let client = client(&snapshot, GB);
    let first = |family| match snapshot.decide(ServiceId(0), family, &client, 0).chosen {
        Chosen::Sites(choice) => name(&snapshot, choice.taken[0].into()),
        other => format!("{other:?}"),
    };
    assert_eq!(first(Family::V4), "ams");
    assert_eq!(first(Family::V6), "fra"); // ams has no IPv6 address.
    assert_eq!(first(Family::Cname), "NoData");
}

/// The sites of one answer, by the rules of `take`.
fn taken(service: &str, asker: &str) -> Vec<String> {
    let snapshot = world(service);
    let client = client(&snapshot, asker);
    match snapshot.decide(ServiceId(0), Family::V4, &client, 0).chosen {
        Chosen::Sites(choice) => {
            choice.taken.iter().map(|&one| name(&snapshot, one.into())).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_takes_sites_of_different_domains_first() {
    let base = format!("{SITES}\nwhen_all_down = \"open\"\nsteer = [{{ map = \"m\" }}]");
    // One tier only, fewer than asked for is fine; both are of one domain.
    let eu = taken(&format!("{base}\ntake = 3"), "2a02:d280::/48");
    assert_eq!(eu.len(), 2);
    // Across tiers the other domain comes before the second site of the first.
    let across = taken(&format!("{base}\ntake = 2\nacross_tiers = true"), "2a02:d280::/48");
    assert_eq!(across[1], "iad");
    let all = taken(&format!("{base}\ntake = 3\nacross_tiers = true"), "2a02:d280::/48");
    assert_eq!((all.len(), all[1].as_str()), (3, "iad"));
}

/// Shares of each candidate over 100,000 prefixes.
fn distribution(snapshot: &Snapshot) -> BTreeMap<String, f64> {
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    for (candidate, count) in picks(snapshot)
        .into_iter()
        .fold([0u32; 4], |mut counts, one| {
            counts[usize::from(one)] += 1;
            counts
        })
        .into_iter()
        .enumerate()
    {
        if count > 0 {
            counts.insert(name(snapshot, candidate), f64::from(count) / 100_000.0);
        }
    }
    counts
}

fn picks(snapshot: &Snapshot) -> Vec<u8> {
    (0..100_000u32)
        .map(|index| {
            let address = (0x0b00_0000 + (index << 8)).into();
            let subnet = ClientSubnet::new(std::net::IpAddr::V4(address), 24);
            let client = Client::subnet(&subnet, &snapshot.ground.trust).unwrap();
            let decision = snapshot.decide(ServiceId(0), Family::V4, &client, 0);
            let Chosen::Sites(choice) = decision.chosen else { panic!() };
            choice.taken[0]
        })
        .collect()
}

fn weighted(ams: u32, fra: u32, iad: u32) -> Snapshot {
    world(&format!(
        "sites = [{{ site = \"ams\", weight = {ams} }}, {{ site = \"fra\", weight = {fra} }}, {{ site = \"iad\", weight = {iad} }}]\nwhen_all_down = \"open\""
    ))
}

#[test]
fn clients_are_shared_out_by_weight_within_a_point() {
    let shares = distribution(&weighted(50, 30, 20));
    for (site, weight) in [("ams", 0.50), ("fra", 0.30), ("iad", 0.20)] {
        assert!((shares[site] - weight).abs() < 0.01, "{shares:?}");
    }
    // A weight of 0 takes nobody while there is another.
    assert!(!distribution(&weighted(1, 1, 0)).contains_key("iad"));
    assert_eq!(distribution(&weighted(0, 0, 7))["iad"], 1.0);
}

#[test]
fn a_weight_moved_by_five_points_moves_five_to_six_points_of_clients() {
    let (before, after) = (picks(&weighted(50, 30, 20)), picks(&weighted(55, 25, 20)));
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert!((5_000..=6_000).contains(&moved), "{moved} of 100,000");
}

#[test]
fn a_site_that_leaves_moves_only_its_own_clients() {
    let before = picks(&weighted(50, 30, 20));
    let after = picks(&suppose(weighted(50, 30, 20), "down=fra"));
    assert!(before.iter().zip(&after).all(|(before, after)| before == after || *before == 1));
}

#[test]
fn admit_is_the_share_of_clients_that_a_site_takes() {
    let service = format!("{SITES}\nsteer = [\"failover\"]\nwhen_all_down = \"open\"");
    let half = |standings: &mut Vec<crate::health::board::Standing>| {
        standings[0].admit = Admit::new(0.25).unwrap();
    };
    let shares = distribution(&snapshot(&service, half));
    assert!(
        (shares["ams"] - 0.25).abs() < 0.01 && (shares["fra"] - 0.75).abs() < 0.01,
        "{shares:?}"
    );
    // Nobody takes anybody: one tier by weight, so that an answer there is.
    let none = |standings: &mut Vec<crate::health::board::Standing>| {
        standings.iter_mut().for_each(|standing| standing.admit = Admit::NONE);
    };
    let shares = distribution(&snapshot(&service, none));
    assert!(shares.values().all(|share| (share - 0.25).abs() < 0.01), "{shares:?}");
}

#[test]
fn the_scope_is_as_long_as_the_decision_needs() {
    let scope = |service: &str, asker: &str| {
        let snapshot = world(service);
        snapshot.decide(ServiceId(0), Family::V4, &client(&snapshot, asker), 0).scope
    };
    let service = |steps: &str| format!("{SITES}\nsteer = [{steps}]\nwhen_all_down = \"open\"");
    assert_eq!(scope(&service(r#""failover""#), GB), 0);
    assert_eq!(scope(&service(r#""sticky""#), GB), 24);
    assert_eq!(scope(&service(r#""sticky""#), "81.2.0.0/16"), 16);
    assert_eq!(scope(&service(r#""sticky""#), "81.2.69.160/32"), 24);
    assert_eq!(scope(&service(r#""sticky""#), "81.2.69.160"), 0); // Told by the resolver.
    assert_eq!(scope(&service(r#"{ map = "m" }"#), GB), 24);
    assert_eq!(scope(&service(r#"{ map = "m" }"#), "196.25.1.0/24"), 16);
    // 6to4: 16 bits stand before the IPv4 address.
    assert_eq!(scope(&service(r#"{ map = "m" }"#), "2002:c419:100::/40"), 32);
}

#[test]
fn weighted_moves_with_time_and_sticky_does_not() {
    let at = |pace: &str, now| {
        let snapshot = world(&format!("{SITES}\nsteer = [\"{pace}\"]\nwhen_all_down = \"open\""));
        (0..64u32)
            .map(|index| {
                let client = Client::resolver(std::net::IpAddr::V4((0x0b00_0000 + index).into()));
                match snapshot.decide(ServiceId(0), Family::V4, &client, now).chosen {
                    Chosen::Sites(choice) => choice.taken[0],
                    other => panic!("{other:?}"),
                }
            })
            .collect::<Vec<u8>>()
    };
    assert_eq!(at("sticky", 0), at("sticky", 1_000_000));
    let (now, later) = (at("weighted", 1_000_000), at("weighted", 1_000_030));
    let moved = now.iter().zip(&later).filter(|(now, later)| now != later).count();
    // Three in four draw another of four equal sites after a whole slice.
    assert!((36..=60).contains(&moved), "{moved} of 64");
    // Clients change at different seconds of the slice.
    let between = at("weighted", 1_000_015);
    assert!(between != now && between != later);
}

/// Fixed for ever: an upgrade that changes one of these moves clients.
#[test]
fn hashes_have_golden_vectors() {
    let service = "www.example.com".parse().unwrap();
    let v4 = HashedPrefix { address: "81.2.69.0".parse().unwrap(), length: 24 };
    let v6 = HashedPrefix { address: "2a02:d280::".parse().unwrap(), length: 48 };
    let pick = hash::client_hash(Purpose::Pick, &service, v4, 0);
    let got = [
        pick,
        hash::client_hash(Purpose::Pick, &service, v4, 1),
        hash::client_hash(Purpose::Pick, &service, v6, 0),
        hash::client_hash(Purpose::Admit, &service, v4, 0),
        hash::client_hash(Purpose::Phase, &service, v4, 0),
        hash::site_hash("fra"),
        hash::draw(Purpose::Pick, pick, hash::site_hash("fra")).to_bits(),
        hash::draw(Purpose::Admit, pick, hash::site_hash("fra")).to_bits(),
        hash::arrival(0.25, 3.0).to_bits(),
    ];
    let golden: [u64; 9] = [
        0xd1f9_3573_7cec_0621,
        0x4c2f_52dc_614c_7761,
        0x45e4_e3b2_c765_19ac,
        0x637e_dd43_2ca0_ba23,
        0xd5aa_f097_b0fe_ca6b,
        0x9a98_c0e5_6531_ece6,
        0x3feb_9711_0349_c5de,
        0x3fe4_ad53_145d_b5c4,
        0x3fdd_9303_fea2_f7e9,
    ];
    assert_eq!(got.map(|n| format!("{n:#018x}")), golden.map(|n| format!("{n:#018x}")));
}

#[test]
fn what_is_only_observed_strikes_nobody_and_still_alerts() {
    let service = |act: &str| {
        let act = format!("act = \"{act}\"");
        format!("{SITES}\nsteer = [\"nearest\", \"failover\"]\nwhen_all_down = \"empty\"\n{act}")
    };
    let observed = |state: &str| suppose(world(&service("observe")), state);
    let decided = |snapshot: &Snapshot, asker: &str| {
        let client = client(snapshot, asker);
        snapshot.decide(ServiceId(0), Family::V4, &client, 0).chosen
    };
    let still = observed("");
    for state in ["down=ams", "down=fra down=iad", "down=*"] {
        for asker in [GB, US, CN, ZA, NOWHERE] {
            let (of_now, of_then) = (observed(state), decided(&still, asker));
            assert_eq!(decided(&of_now, asker), of_then, "{state} {asker}");
        }
    }
    let acting = suppose(world(&service("serve")), "down=fra down=ams");
    assert_ne!(decided(&acting, GB), decided(&still, GB));
    assert_eq!(observed("down=*").failing(ServiceId(0)), Failing::AllDown);
    assert_eq!(observed("down=ams").failing(ServiceId(0)), Failing::No);
    // An operator's drain is no verdict.
    assert_ne!(decided(&observed("drained=fra drained=ams"), GB), decided(&still, GB));
}

#[test]
fn the_ttl_is_as_short_as_that_of_whoever_is_answered() {
    let service = format!(
        "{SITES}\nsteer = [\"failover\"]\ntake = 2\nacross_tiers = true\nwhen_all_down = \"open\"\n\
         ttl = {{ max = \"60s\", min = \"10s\" }}"
    );
    let ttl = |failing: &[(usize, u8)]| {
        let snapshot = snapshot(&service, |standings| {
            for (candidate, halvings) in failing {
                standings[*candidate].halvings = *halvings;
            }
        });
        let client = client(&snapshot, NOWHERE);
        snapshot.decide(ServiceId(0), Family::V4, &client, 0).ttl
    };
    // Of ams and iad, which are of two domains.
    assert_eq!(ttl(&[]), 60);
    assert_eq!(ttl(&[(0, 1)]), 30);
    assert_eq!(ttl(&[(0, 1), (2, 2)]), 15);
    assert_eq!(ttl(&[(0, 32)]), 10, "not below ttl.min");
    assert_eq!(ttl(&[(1, 2), (3, 2)]), 60, "who is not in the answer is not in its TTL");
}
