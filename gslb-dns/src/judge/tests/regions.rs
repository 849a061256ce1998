//! What the vantages of one region lose by themselves, and who is answered otherwise for it.

use std::sync::Arc;

use geoip::Continent;
use ipnet::IpNet;

use super::*;
use crate::health::board::Board;
use crate::health::last_known::LastKnown;
use crate::locate::Client;
use crate::query::ClientSubnet;
use crate::snapshot::{Chosen, Groundwork, Snapshot};
use crate::steer::Family;

/// Two vantages of two domains in Europe, one each in America and Asia; a client in each of them.
fn world() -> String {
    let vantage = "[vantage.d]\nplace = { country = \"DE\" }\n\n[check.web]";
    let overrides = r#"[geoip]
overrides = { "81.2.69.0/24" = { country = "GB" }, "216.160.83.0/24" = { country = "US" } }
[zone."#;
    SITES.replace("[check.web]", vantage).replacen("[zone.", overrides, 1)
}

const ALL_WELL: &str = "abcd:fra+ abcd:iad+ abcd:nrt+ 11s";

fn after(world: &str, words: &str) -> Story {
    let mut story = Story::new(world, Held::default());
    story.run(ALL_WELL);
    story.run(words);
    story
}

fn check(words: &str, expected: &str) {
    assert_eq!(after(&world(), words).told(), expected, "{words}");
}

#[test]
fn a_region_loses_what_its_own_vantages_have_down() {
    check("ad:fra-", "fra=up~EU iad=up nrt=up");
    check("ad:fra! 60s", "fra=up~EU iad=up nrt=up");
    check("ad:fra- a:fra+", "fra=up iad=up nrt=up");
    // What all lose is down, and then lost to nobody by itself.
    check("ad:fra- b:fra-", "fra=down iad=up nrt=up");
    // One vantage is no region.
    check("a:fra-", "fra=up iad=up nrt=up");
    check("b:fra-", "fra=up iad=up nrt=up");
    check("bc:fra-", "fra=up iad=up nrt=up");
}

#[test]
fn vantages_of_one_domain_are_no_region() {
    let one = |country: &str| format!("place = {{ country = {country:?} }}");
    let both = |country: &str| format!("{}\ndomain = \"as1103\"", one(country));
    let world = world().replace(&one("NL"), &both("NL")).replace(&one("DE"), &both("DE"));
    assert_eq!(after(&world, "ad:fra-").told(), "fra=up iad=up nrt=up");
    // With one of another domain they are, while that one sees.
    let more = "[vantage.e]\nplace = { country = \"FR\" }\n\n[check.web]";
    let world = world.replace("[check.web]", more);
    assert_eq!(after(&world, "ade:fra-").told(), "fra=up~EU iad=up nrt=up");
    assert_eq!(after(&world, "ade:fra- e:blind").told(), "fra=up iad=up nrt=up");
}

#[test]
fn who_does_not_see_loses_nothing() {
    check("ad:fra- a:blind", "fra=up iad=up nrt=up");
    check("ad:fra- quiet:60s", "fra=up iad=up nrt=up");
    // Both have nearly everything down, which is theirs, not the sites'.
    check("ad:fra- ad:iad- ad:nrt-", "fra=up iad=up nrt=up");
}

#[test]
fn a_region_loses_no_more_than_probes_may_take_out() {
    check("ad:iad- ad:fra-", "fra=up iad=up~EU nrt=up");
    // One is gone for everybody already.
    check("abcd:nrt- 1s ad:fra-", "fra=up iad=up nrt=down");
    // What is held in for one kind of its addresses is held in for every region.
    check("abcd:iad- abd:nrt4- ad:nrt6-", "fra=up iad=down nrt=up");
    // What refused took nothing from the share.
    check("abcd:nrt! 1s ad:fra-", "fra=up~EU iad=up nrt=down");
}

#[test]
fn nobody_is_lost_within_the_grace_of_a_start() {
    let mut story = Story::new(&world(), Held::default());
    story.run("abcd:iad+ abcd:nrt+ ad:fra- bc:fra+ 9s");
    assert_eq!(story.told(), "fra=unknown iad=up nrt=up");
    story.run("1s");
    // Half of them have never seen it up, so nobody has.
    assert_eq!(story.told(), "fra=down iad=up nrt=up");
    story.run("ad:fra+ 1s ad:fra-");
    assert_eq!(story.told(), "fra=up~EU iad=up nrt=up");
}

#[test]
fn an_address_is_lost_by_itself() {
    let mut story = after(&world(), "ad:nrt6-");
    let lost = &story.views()[2].lost;
    let address: IpAddr = "2001:db8::3".parse().unwrap();
    assert_eq!(
        (lost[0].region, lost[0].addresses.as_deref()),
        (Continent::Europe, Some(&[address][..]))
    );
}

#[test]
fn where_one_check_is_enough_all_of_them_are_lost_or_none() {
    let two = world()
        .replace("[service.", "[check.tls]\nkind = \"tls\"\nport = 443\n[service.")
        .replace("check = [\"web\"]", "KEY = [\"web\", \"tls\"]");
    for (key, expected) in [("check", "fra=up~EU iad"), ("any", "fra=up iad")] {
        let mut story = after(&two.replace("KEY", key), "");
        let id = story.world.targets.iter().find(|(_, target)| target.port == 443).unwrap().0;
        for vantage in ['a', 'd'] {
            let now = story.now;
            story.vantages.get_mut(&vantage).unwrap().says.insert(id, ('-', now, 1));
            story.report(vantage);
        }
        assert!(story.told().starts_with(expected), "{key}: {}", story.told());
        story.run("ad:fra-");
        assert!(story.told().starts_with("fra=up~EU iad"), "{key}: {}", story.told());
    }
}

/// The sites that may be answered to a client, whether its region had a say, and the scope of the answer.
fn answered(
    story: &mut Story,
    text: &str,
    client: &str,
    family: Family,
) -> (String, Option<Continent>, u8) {
    let views = story.judgement().views.clone();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/steer");
    let ground = Arc::new(Groundwork::new(config::world_from_str(text, &dir).unwrap()));
    let board = Board::of_views(
        1,
        &ground.world,
        &views,
        &[],
        &LastKnown::default(),
        Timestamp::UNIX_EPOCH,
    );
    let snapshot = Snapshot::new(Arc::clone(&ground), board);
    let net: IpNet = client.parse().unwrap();
    let subnet = ClientSubnet::new(net.addr(), net.prefix_len());
    let client = Client::subnet(&subnet, &ground.trust).unwrap();
    let service = ground.world.service_ids().next().unwrap();
    let decision = snapshot.decide(service, family, &client, 0);
    let Chosen::Sites(choice) = &decision.chosen else { panic!("nobody") };
    let live = snapshot.live(service, decision.region);
    let mut told: Vec<String> = choice
        .taken
        .iter()
        .flat_map(|one| live.vips(*one).unwrap().all())
        .map(|vip| vip.to_string())
        .collect();
    told.sort();
    (told.join(" "), decision.region, decision.scope)
}

#[test]
fn only_the_clients_of_a_region_are_answered_without_what_it_lost() {
    let world = world().replace("check = ", "steer = [\"failover\"]\ncheck = ");
    let (gb, us) = ("81.2.69.0/24", "216.160.83.0/24");
    let check = |words: &str, client: &str, expected: &str, region: Option<Continent>| {
        let (told, of, scope) = answered(&mut after(&world, words), &world, client, Family::V4);
        assert_eq!((&*told, of), (expected, region), "{words} | {client}");
        // Whether or not anything is lost now. The other is of one class with whoever is nowhere, up to Europe.
        assert_eq!(scope, if client == gb { 24 } else { 1 }, "{words} | {client}");
    };
    check("", gb, "192.0.2.1", None);
    check("ad:fra-", gb, "192.0.2.2", Some(Continent::Europe));
    check("ad:fra-", us, "192.0.2.1", None);
    check("abcd:nrt! abcd:fra! ad:iad-", gb, "192.0.2.2", Some(Continent::Europe));
}

#[test]
fn what_is_only_observed_loses_no_clients() {
    let world = world().replace("check = ", "steer = [\"failover\"]\ncheck = ");
    let observed = world.replace("when_all", "act = \"observe\"\nwhen_all");
    for words in ["ad:fra-", "abcd:fra!", "abcd:fra! 5s abcd:fra+", "abcd:fra~"] {
        let mut story = after(&observed, words);
        let (told, region, _) = answered(&mut story, &observed, "81.2.69.0/24", Family::V4);
        assert_eq!((&*told, region), ("192.0.2.1", None), "{words}");
    }
}
