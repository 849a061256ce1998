//! What `check` finds of whole worlds: with the clients of the whole Internet, and how much work
//! they are; of what is shipped; and that a server tells it.

use std::fmt::Write as _;
use std::fs;

use gslb_dns::config::{Config, Severity};
use gslb_dns::prove::{self, Effort};
use gslb_dns::snapshot::Groundwork;
use gslb_tests::server::Server;
use gslb_tests::world::{EVERY_STEP, Files, World};
use gslb_tests::{internet, peers};
use rustix::process::Signal;

const ZONE: &str = "
$TTL 1h
@    SOA ns1 hostmaster 1 4h 15m 2w 5
     NS  ns1
ns1  A   198.51.100.53
";
/// Name, country.
const SITES: [(&str, &str); 12] = [
    ("fra", "DE"),
    ("ams", "NL"),
    ("lhr", "GB"),
    ("iad", "US"),
    ("yul", "CA"),
    ("gru", "BR"),
    ("eze", "AR"),
    ("nrt", "JP"),
    ("sin", "SG"),
    ("bom", "IN"),
    ("jnb", "ZA"),
    ("syd", "AU"),
];
const STEPS: [&str; 5] = [
    r#"{ fence = "continent" }, "nearest""#,
    r#""nearest", "weighted""#,
    r#"{ fence = "country" }, { map = "world" }"#,
    r#"{ map = "world" }"#,
    r#""failover""#,
];
const SERVICES: usize = 15;

/// Services that all see the world otherwise; `without_v6` is the site that has no IPv6 address.
fn world(without_v6: Option<&str>) -> String {
    let mut text = "[geoip]\ndatabases = [\"places.mmdb\"]\n\n[zone.\"example.com\"]\n\
                    file = \"example.com.zone\"\n\n"
        .to_owned();
    for (index, (name, country)) in SITES.iter().enumerate() {
        let v6 = if without_v6 == Some(name) { "" } else { ", \"2001:db8:{}::1\"" };
        let v6 = v6.replace("{}", &index.to_string());
        let _ = writeln!(
            text,
            "[site.{name}]\nplace = {{ country = \"{country}\" }}\nvips = [\"192.0.2.{index}\"{v6}]\n"
        );
    }
    let names = |from: usize, count: usize| {
        let names = SITES.iter().cycle().skip(from).take(count);
        names.map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
    };
    let (everywhere, far) = (names(0, 12), names(6, 12));
    let _ = writeln!(
        text,
        "[map.world]\ndefault = [{everywhere}]\ncontinent = {{ AS = [{far}], OC = [{far}] }}\n"
    );
    for number in 0..SERVICES {
        let sites = names(number % SITES.len(), 4 + number % 9);
        let steps = STEPS[number % STEPS.len()];
        let _ = writeln!(
            text,
            "[service.\"s{number}.example.com\"]\nsites = [{sites}]\nsteer = [{steps}]\n\
             when_all_down = \"open\"\n"
        );
    }
    text
}

fn write(text: &str) -> anyhow::Result<World> {
    let world = World::write(&Files { world: text, zone: ZONE, places: "" })?;
    fs::write(world.path("places.mmdb"), internet::database()?)?;
    Ok(world)
}

/// Warnings of a world.
fn found(config: Config) -> Vec<String> {
    let prepared = Config::prepare(config).unwrap_or_else(|problems| panic!("{problems}"));
    prepared.findings.of(Severity::Warning).map(ToString::to_string).collect()
}

#[test]
fn the_clients_of_the_whole_internet_are_judged_with_room_to_spare() {
    if peers::missing(internet::missing()) {
        return;
    }
    let world = write(&world(None)).unwrap();
    let judged = prove::judge(&Groundwork::new(world.load().unwrap().world), Effort::MOST);
    println!("{SERVICES} services: {:?}", judged.spent);
    assert_eq!(judged.findings, []);
    assert!(judged.unjudged.is_empty(), "{:?}", judged.unjudged);
    assert!(judged.spent.arrangements < Effort::MOST.arrangements / 4, "{:?}", judged.spent);
    // Nobody is looked for where nothing is found.
    assert_eq!(judged.spent.look_ups, 0);
}

#[test]
fn a_client_of_the_internet_is_named_who_is_believed() {
    if peers::missing(internet::missing()) {
        return;
    }
    let world = write(&world(Some("nrt"))).unwrap();
    let warnings = found(world.load().unwrap());
    let apart: Vec<&String> =
        warnings.iter().filter(|warning| warning.contains("since nrt has no IPv6")).collect();
    assert!(apart.len() > 3, "{warnings:#?}");
    assert_eq!(apart.len(), warnings.len(), "{warnings:#?}");
    assert!(apart.iter().all(|warning| warning.contains(" AAAA --client ")), "{warnings:#?}");
}

/// What is found of files that are shipped, each with its weight.
fn found_in(files: &Files<'_>) -> Vec<String> {
    let config = World::write(files).and_then(|world| world.load()).expect("they are sound");
    let prepared = Config::prepare(config).unwrap_or_else(|problems| panic!("{problems}"));
    // The node of these tests has no [control]: that is found, and nothing else.
    let is_meant = |found: &String| found.contains("no probe can tell this server");
    let told: Vec<String> = prepared.findings.iter().map(ToString::to_string).collect();
    let warnings = prepared.findings.of(Severity::Warning).map(ToString::to_string);
    assert_eq!(warnings.filter(|found| !is_meant(found)).count(), 0, "{told:#?}");
    told.into_iter().filter(|found| !is_meant(found)).collect()
}

#[test]
fn the_examples_are_as_they_are_meant() {
    let examples = Files {
        world: include_str!("../../deploy/examples/world.toml"),
        zone: include_str!("../../deploy/examples/example.com.zone"),
        places: "",
    };
    let notes = found_in(&examples);
    // As the example says of itself.
    let is_it = |note: &String| {
        note.contains("accounts.example.com\".steer[0]: the strict fence holds for clients in")
    };
    assert!(notes.len() == 1 && notes.iter().all(is_it), "{notes:#?}");
}

#[test]
fn warnings_are_logged_at_the_start_and_with_a_world_that_has_changed() {
    let world = World::write(&EVERY_STEP).unwrap();
    let mut server = Server::start(&world.node()).unwrap();
    let warned = |server: &mut Server| {
        let told = server.wait_for_log("the world is hardly meant so").unwrap();
        assert_eq!(told["level"], "WARN", "{told}");
        assert!(told.to_string().contains("world.toml:"), "{told}");
    };
    warned(&mut server);
    fs::write(world.path("world.toml"), EVERY_STEP.world.replace("\"1m\"", "\"2m\"")).unwrap();
    server.signal(Signal::HUP).unwrap();
    server.wait_for_log("reloaded: the world has changed").unwrap();
    warned(&mut server);
}
