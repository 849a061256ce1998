//! The programs of a whole world, each on its machine, with what an operator would have written for it.

use std::fs::{self, File};
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use common::mtls::Files;
use rustix::process::Signal;
use serde_json::Value;

use super::alarms::Scrape;
use super::ground::{Ground, SITES, SiteGround, VANTAGE_NAMES, elsewhere, name_server};
use crate::backend::Backend;
use crate::netns::Namespace;
use crate::pki::{Ca, Holder, Until};
use crate::probe::Probe;
use crate::process::Process;
use crate::server::{Server, built, request, run};
use crate::wait::until;
use crate::world::{self, World};

const ZONE: &str =
    "@ 60 SOA ns1 h 1 2 3 4 5\n@ 60 NS ns1\n@ 60 NS ns2\nns1 60 A 10.0.1.2\nns2 60 A 10.0.2.2\n";
/// Where a box shows its metrics.
const BALANCES: &str = "127.0.0.1:8404";
const LEADS: &str = "127.0.0.1:8405";
/// Two adverts of the standard profile.
const ADVERTS_MS: u64 = 800;
/// Of a log, as much as explains a failure.
const TAIL: usize = 6000;

/// What all name servers are given.
fn world() -> String {
    let mut text = "\
[geoip.overrides]
\"10.3.1.0/24\" = { country = \"DE\", lat = 50.1, lon = 8.7 }
\"10.3.2.0/24\" = { country = \"US\", lat = 40.7, lon = -74.0 }
[zone.\"example.com\"]
file = \"example.com.zone\"
"
    .to_owned();
    let places = [("DE", 50.11, 8.68), ("US", 38.95, -77.45)];
    for (site, (country, lat, lon)) in SITES.iter().zip(places) {
        let (name, vip) = (site.name, site.vip());
        text += &format!(
            "[site.{name}]\nplace = {{ country = \"{country}\", lat = {lat}, lon = {lon} }}\nvips = [\"{vip}\"]\n\
             agents = [\"{name}-a\", \"{name}-b\"]\ncapacity = 300\n"
        );
    }
    for (vantage, country) in VANTAGE_NAMES.iter().zip(["NL", "GB", "US"]) {
        text += &format!("[vantage.{vantage}]\nplace = {{ country = \"{country}\" }}\n");
    }
    text + "\
[check.web]
kind = \"http\"
port = 80
path = \"/healthz\"
interval = \"1s\"
timeout = \"500ms\"
[service.\"www.example.com\"]
sites = [\"fra\", \"iad\"]
steer = [{ fence = \"continent\" }, \"nearest\"]
check = [\"web\"]
quorum = { down = 0.6, up = 0.6, vantages = 2, domains = 2, max_removed = 0.5 }
when_all_down = \"open\"
ttl = { max = \"1s\" }
"
}

/// A name server, by its place among both.
pub struct NameServer<'g> {
    pub place: &'g Namespace,
    name: String,
    pub world: World,
    pub holder: Holder,
    pub server: Option<Server>,
}

impl<'g> NameServer<'g> {
    pub fn new(place: &'g Namespace, ca: &Ca, index: usize) -> anyhow::Result<NameServer<'g>> {
        let (us, other) = (name_server(index), name_server(1 - index));
        let (name, peer) = (format!("ns{}", index + 1), format!("ns{}", 2 - index));
        let files = world::Files { world: &world(), zone: ZONE, places: "" };
        let world = World::write(&files)?;
        let holder = ca.issue(&format!("gslb://test/dns/{name}"));
        let node = fs::read_to_string(world.node())?
            .replace("\"test1\"", &format!("\"{name}\""))
            .replacen("127.0.0.1:0", &format!("{us}:53"), 1);
        let peers = format!("peers = [{{ address = \"{other}:8453\", name = \"{peer}\" }}]\n");
        fs::write(world.node(), node + &holder.control((us, 8453).into()) + &peers)?;
        Ok(NameServer { place, name, world, holder, server: None })
    }

    pub fn start(&mut self) -> anyhow::Result<()> {
        self.server = Some(self.place.within(|| Server::start(&self.world.node()))?);
        Ok(())
    }

    /// As an update of the machine does it.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let server = self.server.take().context("it does not run")?;
        ensure!(server.stop()?.success(), "{} ended badly", self.name);
        Ok(())
    }

    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut server = self.server.take().context("it does not run")?;
        server.signal(Signal::KILL)?;
        server.wait()?;
        Ok(())
    }

    /// What an operator has edited, and asks it to take.
    pub fn change_world(&mut self, from: &str, to: &str) -> anyhow::Result<()> {
        let file = self.world.path("world.toml");
        let text = fs::read_to_string(&file)?;
        ensure!(text.contains(from), "there is no {from} in {text}");
        fs::write(file, text.replace(from, to))?;
        self.server.as_mut().context("it does not run")?.signal(Signal::HUP)
    }

    /// The folder of what it keeps is gone.
    pub fn lose_state(&self) -> anyhow::Result<()> {
        Ok(fs::rename(self.world.path("state"), self.world.path("elsewhere"))?)
    }

    /// A page of its admin door.
    pub fn page(&self, path: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.text(path)?)?)
    }

    pub fn text(&self, path: &str) -> anyhow::Result<String> {
        let door = self.server.as_ref().context("it does not run")?.admin();
        Ok(self.place.within(|| request(door, "GET", path))?.body)
    }

    pub fn board(&self) -> anyhow::Result<Value> {
        self.page("/v1/board")
    }

    /// What it tells of a site as one of the service's.
    pub fn site(&self, name: &str) -> anyhow::Result<Value> {
        let board = self.board()?;
        let sites = board["services"][0]["sites"].as_array().context("no sites")?;
        let site = sites.iter().find(|site| site["site"] == name);
        Ok(site.with_context(|| format!("no {name}"))?.clone())
    }

    /// Whether its metrics have this line.
    pub fn exposes(&self, line: &str) -> anyhow::Result<bool> {
        Ok(self.text("/metrics")?.lines().any(|one| one == line))
    }

    pub fn trusts(&self, vantage: &str) -> anyhow::Result<bool> {
        self.exposes(&format!(
            "gslb_dns_vantage_standing{{standing=\"trusted\",vantage=\"{vantage}\"}} 1"
        ))
    }

    pub fn scrape(&self) -> Scrape {
        let page = self.server.as_ref().and_then(|_| self.text("/metrics").ok());
        Scrape { job: "gslb-dns", instance: self.name.clone(), site: None, page }
    }

    /// What clients are told is looked at until it is so.
    pub fn until_site(
        &self,
        name: &str,
        what: &str,
        is: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<()> {
        let what = format!("on {} {name} {what}", self.name);
        until(&what, || Ok(is(&self.site(name)?).then_some(())))
            .with_context(|| format!("{:#}", self.board().unwrap_or_default()))
    }

    /// Whether operators have taken it out, as `status` tells it.
    pub fn is_drained(&self, name: &str) -> anyhow::Result<bool> {
        let status = self.page("/v1/status")?;
        let sites = status["services"][0]["sites"].as_array().context("no sites")?;
        let site = sites.iter().find(|site| site["site"] == name);
        Ok(site.with_context(|| format!("no {name}"))?["duty"] == "drained")
    }

    /// What `status` says that somebody should look at.
    pub fn attention(&self) -> anyhow::Result<String> {
        Ok(self.page("/v1/status")?["attention"].to_string())
    }

    /// An operator's order.
    pub fn order(&self, words: &str) -> anyhow::Result<()> {
        let node = self.world.node().display().to_string();
        let words = words.split_whitespace().chain(["--why", "a story", "--config", &node]);
        let done = run(words)?;
        ensure!(done.code == Some(0), "{words}: {done:?}", words = self.name);
        Ok(())
    }
}

/// The box of a balancer: what balances, and what has the address.
pub struct Balancer<'g> {
    place: &'g Namespace,
    name: String,
    site: &'static str,
    dir: tempfile::TempDir,
    /// Has its certificate's files.
    _holder: Holder,
    balances: Option<Process>,
    leads: Option<Process>,
}

impl<'g> Balancer<'g> {
    pub fn new(
        ground: &'g SiteGround,
        ca: &Ca,
        index: usize,
        expires: Until,
    ) -> anyhow::Result<Balancer<'g>> {
        let site = ground.site;
        let letter = ["a", "b"][index];
        let (name, dir) = (format!("{}-{letter}", site.name), tempfile::tempdir()?);
        let holder = ca.issue_until(&format!("gslb://test/agent/{name}"), expires);
        let Files { ca, certificate, key, crl } = holder.files();
        let crl = crl.context("every holder has a list")?;
        let told = [0, 1].map(|index| {
            format!("{{ address = \"{}:8453\", name = \"ns{}\" }}", name_server(index), index + 1)
        });
        let servers = [0, 1, 2].map(|index| {
            let address = site.server(index);
            format!(
                "  {{ name = \"web{}\", address = \"{address}\", capacity = 150 }},\n",
                index + 1
            )
        });
        let text = format!(
            r#"
[agent]
name        = "{name}"
site        = "{site_name}"
report_to   = [{told}]
ca          = {ca:?}
certificate = {certificate:?}
key         = {key:?}
crl         = {crl:?}
state_dir   = "state"

[admin]
listen = "{BALANCES}"

[vrrp_service]
listen          = "{LEADS}"
socket          = "vrrp.sock"
balancer_socket = "balancer.sock"

[vrrp.web]
interface = "eth0"
vrid      = 51
priority  = {priority}
vips      = ["{vip}/24"]
witnesses = ["{gateway}"]

[frontend.web]
bind = ["{vip}:80"]
pool = "web"
access_log = {{ format = "off" }}

[pool.web]
check   = {{ kind = "http", path = "/healthz", interval = "500ms", timeout = "400ms", rise = 2, fall = 2 }}
retry   = {{ attempts = 2 }}
servers = [
{servers}]
"#,
            site_name = site.name,
            told = told.join(", "),
            priority = [200, 100][index],
            vip = site.vip(),
            gateway = site.gateway(),
            servers = servers.concat(),
        );
        fs::write(dir.path().join("site.toml"), text)?;
        let place = &ground.balancers[index];
        let (balances, leads) = (None, None);
        Ok(Balancer { place, name, site: site.name, dir, _holder: holder, balances, leads })
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("site.toml")
    }

    fn spawn(&self, words: &[&str], log: &str) -> anyhow::Result<Process> {
        let mut command = Command::new(built("site-agent")?);
        let log = File::options().append(true).create(true).open(self.dir.path().join(log))?;
        command.args(words).arg("--config").arg(self.config()).env_remove("GSLB_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.place.within(|| Process::spawn(&mut command))
    }

    pub fn start_balancing(&mut self) -> anyhow::Result<()> {
        self.balances = Some(self.spawn(&["run", "--threads", "1"], "balances.log")?);
        Ok(())
    }

    pub fn start_leading(&mut self) -> anyhow::Result<()> {
        self.leads = Some(self.spawn(&["vrrp", "run"], "leads.log")?);
        Ok(())
    }

    pub fn stop_balancing(&mut self) -> anyhow::Result<()> {
        end(&mut self.balances, Signal::TERM)
    }

    pub fn stop_leading(&mut self) -> anyhow::Result<()> {
        end(&mut self.leads, Signal::TERM)
    }

    /// The box loses its power.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        end(&mut self.leads, Signal::KILL)?;
        end(&mut self.balances, Signal::KILL)
    }

    /// What balances, and what has the address.
    pub fn scrapes(&self) -> [Scrape; 2] {
        let scrape = |job, process: &Option<Process>, door: &str| {
            let door = door.parse().expect("it is an address");
            let page = process.as_ref().and_then(|_| {
                let page = self.place.within(|| request(door, "GET", "/metrics"));
                Some(page.ok()?.body)
            });
            Scrape { job, instance: self.name.clone(), site: Some(self.site), page }
        };
        [
            scrape("site-agent", &self.balances, BALANCES),
            scrape("site-agent-vrrp", &self.leads, LEADS),
        ]
    }

    /// What its virtual router is.
    pub fn role(&self) -> anyhow::Result<String> {
        Ok(self.router()?["role"].as_str().unwrap_or_default().to_owned())
    }

    /// It waits, and has heard an advert since: of a resignation it knows whose that is.
    pub fn stands_by(&self) -> anyhow::Result<bool> {
        let router = self.router()?;
        let has_heard = router["for_ms"].as_u64().is_some_and(|ms| ms > ADVERTS_MS);
        Ok(router["role"] == "backup" && router["leader"].is_object() && has_heard)
    }

    /// As `status` tells of it; nothing while it does not run.
    fn router(&self) -> anyhow::Result<Value> {
        let mut command = Command::new(built("site-agent")?);
        command.args(["vrrp", "status", "--json", "--config"]).arg(self.config());
        let status: Value = serde_json::from_slice(&command.output()?.stdout).unwrap_or_default();
        Ok(status["routers"][0].clone())
    }

    /// The end of what both have said.
    pub fn log(&self) -> String {
        let tail = |file: &str| tail(&self.dir.path().join(file));
        format!("{}\n{}\n{}", self.name, tail("balances.log"), tail("leads.log"))
    }
}

fn end(process: &mut Option<Process>, signal: Signal) -> anyhow::Result<()> {
    let mut process = process.take().context("it does not run")?;
    process.signal(signal)?;
    let status = process.wait()?;
    ensure!(signal == Signal::KILL || status.success(), "it ended badly: {status}");
    Ok(())
}

fn tail(file: &Path) -> String {
    let mut text = String::new();
    // There is none of what was never started.
    let _ = File::open(file).and_then(|mut file| file.read_to_string(&mut text));
    let start = text.len().saturating_sub(TAIL);
    let start = (start..).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.split_off(start)
}

/// Servers of HTTP, each by its address and name.
pub struct Servers<'g> {
    place: &'g Namespace,
    all: Vec<Backend>,
}

impl<'g> Servers<'g> {
    pub fn of_site(ground: &'g SiteGround) -> anyhow::Result<Servers<'g>> {
        let named =
            |index| (ground.site.server(index), format!("{} web{}", ground.site.name, index + 1));
        Servers::start(&ground.servers, (0..3).map(named))
    }

    /// What has nothing to do with the sites: a probe that does not reach it does not see at all.
    pub fn elsewhere(ground: &'g Ground) -> anyhow::Result<Servers<'g>> {
        Servers::start(&ground.elsewhere, [(elsewhere(), "elsewhere".to_owned())].into_iter())
    }

    fn start(
        place: &'g Namespace,
        named: impl Iterator<Item = (SocketAddr, String)>,
    ) -> anyhow::Result<Servers<'g>> {
        let one =
            |(address, name): (SocketAddr, String)| place.within(|| Backend::named(address, &name));
        Ok(Servers { place, all: named.map(one).collect::<Result<_, _>>()? })
    }

    pub fn kill(&mut self, index: usize) {
        self.place.within(|| self.all[index].kill());
    }

    pub fn revive(&mut self, index: usize) -> anyhow::Result<()> {
        Ok(self.place.within(|| self.all[index].revive())?)
    }
}

impl Drop for Servers<'_> {
    fn drop(&mut self) {
        // Each is ended by a connection, which not everybody can make.
        self.place.within(|| self.all.clear());
    }
}

/// Those who look, each from its vantage; `expires` are their certificates.
pub fn probes(
    ground: &Ground,
    ca: &Ca,
    expires: [Until; 3],
) -> anyhow::Result<Vec<(Holder, Probe)>> {
    let servers: [(SocketAddr, &str); 2] =
        [((name_server(0), 8453).into(), "ns1"), ((name_server(1), 8453).into(), "ns2")];
    let vantages = VANTAGE_NAMES.iter().zip(&ground.vantages).zip(expires);
    vantages
        .map(|((name, place), expires)| {
            let holder = ca.issue_until(&format!("gslb://test/probe/{name}"), expires);
            let probe = place.within(|| Probe::start(name, &holder, &servers, &[elsewhere()]))?;
            Ok((holder, probe))
        })
        .collect()
}
