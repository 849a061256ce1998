//! What services answer, counted: the metrics against what clients were told, over a reload.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;

use anyhow::Context as _;
use gslb_tests::resolver::{Resolver, Stream, query};
use gslb_tests::server::Server;
use gslb_tests::world::{Files, World};
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, RecordType};
use rustix::process::Signal;

/// Queries for each name: enough that every site of each is named.
const QUERIES: u8 = 200;

const ZONE: &str = "
$TTL 1h
@    SOA ns1 hostmaster 1 4h 15m 2w 5
     NS  ns1
ns1  A   198.51.100.53
";

const SITES: &str = r#"
[zone."example.com"]
file = "example.com.zone"
[site.fra]
vips = ["192.0.2.1", "2001:db8::1"]
[site.iad]
vips = ["192.0.2.2"]
[site.nrt]
vips = ["192.0.2.3"]
"#;

/// `cdn` leads to `www`, so that an answer has more than one service in it.
const FIRST: &str = r#"
[service."cdn.example.com"]
sites = [{ site = "nrt", cname = "www.example.com" }]
when_all_down = "open"
[service."down.example.com"]
sites = ["iad", "nrt"]
when_all_down = "static"
static = ["192.0.2.99"]
[service."www.example.com"]
sites = ["fra", "iad", "nrt"]
take = 2
when_all_down = "open"
https = { alpn = ["h2"] }
"#;

/// Other ids for all that stays; `down` is gone, and `www` has lost `nrt`.
const SECOND: &str = r#"
[service."app.example.com"]
sites = ["nrt", "fra"]
when_all_down = "open"
[service."cdn.example.com"]
sites = [{ site = "nrt", cname = "www.example.com" }]
when_all_down = "open"
[service."www.example.com"]
sites = ["iad", "fra"]
when_all_down = "open"
"#;

const DOWN: &str = r#"
[[override]]
site = "*"
service = "down.example.com"
state = "down"
who = "test"
why = "test"
"#;

/// What clients were told: answers by service, and by service and site.
#[derive(Default)]
struct Told {
    answers: BTreeMap<String, u32>,
    sites: BTreeMap<(String, &'static str), u32>,
}

impl Told {
    /// Asks over UDP and TCP, as clients of many networks.
    fn ask(&mut self, server: &Server, name: &str, rtype: RecordType) -> anyhow::Result<()> {
        let asked: Name = format!("{name}.example.com.").parse()?;
        let mut udp = Resolver::of(server.dns())?;
        let mut tcp = Stream::to(server.dns())?;
        for network in 0..QUERIES {
            let subnet = format!("81.2.{network}.0/24").parse()?;
            let packet = query(&asked, rtype, Some(subnet))?;
            let answer = match network % 2 {
                0 => udp.ask(&packet)?,
                _ => tcp.ask(&packet)?.context("an answer")?,
            };
            self.note(name, &Message::from_vec(&answer)?);
        }
        Ok(())
    }

    fn note(&mut self, name: &str, message: &Message) {
        let mut service = name.to_owned();
        let mut named: Vec<IpAddr> = vec![];
        *self.answers.entry(service.clone()).or_default() += 1;
        for record in &message.answers {
            match &record.data {
                RData::CNAME(_) => {
                    *self.sites.entry((service, "nrt")).or_default() += 1;
                    service = "www".to_owned();
                    *self.answers.entry(service.clone()).or_default() += 1;
                }
                // Its hints name a site by either family, and count it once.
                RData::HTTPS(https) => {
                    let hints = https.0.svc_params.iter().map(|(_, value)| value.to_string());
                    let addresses = hints.collect::<Vec<_>>().join(",");
                    named.extend(addresses.split(',').filter_map(|one| one.parse::<IpAddr>().ok()));
                }
                data => named.extend(data.ip_addr()),
            }
        }
        for (site, v4) in [("fra", 1), ("iad", 2), ("nrt", 3)] {
            let is_named = named.contains(&IpAddr::from([192, 0, 2, v4]))
                || (site == "fra" && named.iter().any(IpAddr::is_ipv6));
            if is_named {
                *self.sites.entry((service.clone(), site)).or_default() += 1;
            }
        }
    }

    /// That the metrics say the same.
    fn check(&self, server: &Server) -> anyhow::Result<()> {
        for (service, count) in &self.answers {
            let failing = if service == "down" { "all_down" } else { "no" };
            let labels = format!("failing=\"{failing}\",service=\"{service}.example.com.\"");
            let series = format!("gslb_dns_service_answers_total{{{labels}}}");
            assert_eq!(server.metric(&series)?, f64::from(*count), "{series}");
        }
        for ((service, site), count) in &self.sites {
            let labels = format!("service=\"{service}.example.com.\",site=\"{site}\"");
            let series = format!("gslb_dns_site_answers_total{{{labels}}}");
            assert_eq!(server.metric(&series)?, f64::from(*count), "{series}");
        }
        Ok(())
    }
}

#[test]
fn services_and_sites_are_counted_as_clients_are_told() -> anyhow::Result<()> {
    let (first, second) = (format!("{SITES}{FIRST}"), format!("{SITES}{SECOND}"));
    let world = World::write(&Files { world: &first, zone: ZONE, places: "" })?;
    world.write_overrides(DOWN)?;
    let mut server = Server::start(&world.node())?;
    let mut told = Told::default();
    for name in ["www", "cdn", "down"] {
        told.ask(&server, name, RecordType::A)?;
    }
    told.ask(&server, "www", RecordType::AAAA)?;
    told.ask(&server, "www", RecordType::HTTPS)?;
    assert_eq!(told.answers["www"], 4 * u32::from(QUERIES));
    for site in ["fra", "iad", "nrt"] {
        assert!(told.sites[&("www".to_owned(), site)] > u32::from(QUERIES) / 2);
    }
    told.check(&server)?;

    fs::write(world.path("world.toml"), second)?;
    server.signal(Signal::HUP)?;
    server.wait_for_log("reloaded: the world has changed")?;
    let page = server.get("/metrics")?.body;
    assert!(!page.contains("service=\"down.example.com.\""), "{page}");
    told.answers.remove("down");
    told.sites.retain(|(service, site), _| service != "www" || *site != "nrt");
    assert!(!page.contains("service=\"www.example.com.\",site=\"nrt\""), "{page}");
    // What stays has lost nothing, though its ids are others, and counts on.
    told.check(&server)?;
    for name in ["www", "app", "cdn"] {
        told.ask(&server, name, RecordType::A)?;
    }
    told.check(&server)?;
    assert_eq!(server.stop()?.code(), Some(0));
    Ok(())
}
