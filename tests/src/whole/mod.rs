//! A whole world: two name servers, two sites of two balancers and three servers each, three vantages, and clients of two
//! continents with a resolver between. All programs are real, each has a machine of its own, and what lies between them
//! can be cut.
//!
//! A story is told of it: something happens, and clients ask all the while.

mod account;
mod alarms;
mod clients;
mod fleet;
mod ground;
mod standstill;
pub mod stories;

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use common::clock::unix_seconds;
use rustix::process::Signal;
use serde_json::Value;

pub use self::account::{Account, Explained, Kinds, Seen};
use self::alarms::{Look, Scrape};
use self::clients::Continent;
pub use self::clients::{Failure, Outcome, Request};
use self::fleet::{Balancer, NameServer, Servers};
use self::ground::{CONTINENTS, Ground, SITES, Site, VANTAGE_NAMES};
use crate::balancer::can;
use crate::netns;
use crate::pki::{Ca, Holder, Until};
use crate::probe::Probe;
use crate::server::request;
use crate::wait::{now, rest, until};

/// Two readings of all metrics, the first of them while all is well: longer than between two reports of a machine that is busy.
const APART: Duration = Duration::from_millis(3500);

/// For an answer, of a client that gets one: a connection and what comes over it take less than a second each, and what is
/// before them far less.
const LONGEST_WAIT: Duration = Duration::from_millis(2500);

/// What this machine lacks for it.
pub fn missing() -> Option<&'static str> {
    let promtool =
        || (!can("promtool", &["--version"])).then_some("promtool (prometheus) is not installed");
    netns::missing().or_else(clients::missing).or_else(promtool)
}

/// Until when certificates are good.
#[derive(Clone, Copy)]
pub struct Expiry {
    pub probes: [Until; 3],
    /// Of the balancers of the first site.
    pub balancers: [Until; 2],
}

impl Default for Expiry {
    fn default() -> Expiry {
        let never = Until::Year(2090);
        Expiry { probes: [never; 3], balancers: [never; 2] }
    }
}

pub struct Whole<'g> {
    pub ground: &'g Ground,
    // Clients go first, as whatever else goes would be a failure to them.
    continents: Vec<Continent<'g>>,
    probes: Vec<(Holder, Probe)>,
    pub name_servers: Vec<NameServer<'g>>,
    /// Of each site, the one that leads while all is well first.
    pub balancers: Vec<[Balancer<'g>; 2]>,
    pub servers: Vec<Servers<'g>>,
    _elsewhere: Servers<'g>,
    /// While clients asked and nothing had happened.
    calm: Option<Look>,
    fault_at: Option<Instant>,
    explained: Vec<Explained>,
    longest_wait: Duration,
    _dir: tempfile::TempDir,
}

impl<'g> Whole<'g> {
    /// Returns when all is well: every vantage sees every site, every pair has one that leads, and clients are answered.
    pub fn start(ground: &'g Ground, expiry: Expiry) -> anyhow::Result<Whole<'g>> {
        let (ca, dir) = (Ca::new("ca"), tempfile::tempdir()?);
        let servers = ground.sites.iter().map(Servers::of_site).collect::<Result<_, _>>()?;
        let elsewhere = Servers::elsewhere(ground)?;
        let mut name_servers = vec![];
        for (index, place) in ground.name_servers.iter().enumerate() {
            let mut server = NameServer::new(place, &ca, index)?;
            server.start()?;
            name_servers.push(server);
        }
        let mut balancers = vec![];
        for (number, site) in ground.sites.iter().enumerate() {
            let expires = if number == 0 { expiry.balancers } else { Expiry::default().balancers };
            balancers.push([
                Balancer::new(site, &ca, 0, expires[0])?,
                Balancer::new(site, &ca, 1, expires[1])?,
            ]);
        }
        // Whoever comes first leads, as nobody takes it from another that does.
        for index in 0..2 {
            for pair in &mut balancers {
                pair[index].start_balancing()?;
                pair[index].start_leading()?;
            }
            for pair in balancers.iter().filter(|_| index == 0) {
                until("the first leads", || Ok((pair[0].role()? == "active").then_some(())))?;
            }
        }
        let probes = fleet::probes(ground, &ca, expiry.probes)?;
        let mut whole = Whole {
            ground,
            continents: vec![],
            probes,
            name_servers,
            balancers,
            servers,
            _elsewhere: elsewhere,
            calm: None,
            fault_at: None,
            explained: vec![],
            longest_wait: LONGEST_WAIT,
            _dir: dir,
        };
        whole.until_well().with_context(|| whole.logs())?;
        for (place, name) in ground.continents.iter().zip(CONTINENTS) {
            whole.continents.push(Continent::start(place, name, whole._dir.path())?);
        }
        Ok(whole)
    }

    pub fn until_well(&self) -> anyhow::Result<()> {
        for pair in &self.balancers {
            until("one of a pair leads, and the other one hears it", || {
                let [one, other] = pair;
                let is = one.role()? == "active" && other.stands_by()?
                    || other.role()? == "active" && one.stands_by()?;
                Ok(is.then_some(()))
            })?;
        }
        for server in &self.name_servers {
            for site in SITES {
                server.until_site(site.name, "is seen up by all", |site| {
                    let votes = site["targets"][0]["votes"].as_array();
                    let up = |vote: &&Value| vote["state"] == "up";
                    votes.is_some_and(|votes| votes.iter().filter(up).count() == 3)
                        && site["admit"] == 1.0
                })?;
            }
            let inside = || {
                let board = server.board()?;
                let sites = board["inside"].as_array().context("no agents")?;
                let is_whole = |site: &Value| {
                    let vip = &site["vips"][0];
                    vip["state"] == "serving" && vip["backends_up"] == 3 && vip["ground"] == "owner"
                };
                Ok((sites.len() == 2 && sites.iter().all(is_whole)).then_some(()))
            };
            until("agents tell of all servers", inside)
                .with_context(|| format!("{:#}", server.board().unwrap_or_default()))?;
            until("all vantages are trusted", || {
                let trusted = VANTAGE_NAMES.map(|name| server.trusts(name));
                let trusted = trusted.into_iter().collect::<anyhow::Result<Vec<bool>>>()?;
                Ok((!trusted.contains(&false)).then_some(()))
            })?;
        }
        Ok(())
    }

    pub fn restart_probe(&mut self, index: usize) -> anyhow::Result<()> {
        let (place, probe) = (&self.ground.vantages[index], &mut self.probes[index].1);
        probe.stop()?;
        place.within(|| probe.run())?;
        self.until_taken(|whole| whole.scrape_probe(index))
    }

    pub fn restart_balancing(&mut self, site: usize, index: usize) -> anyhow::Result<()> {
        let balancer = &mut self.balancers[site][index];
        balancer.stop_balancing()?;
        balancer.start_balancing()?;
        self.until_taken(|whole| {
            let [balances, _] = whole.balancers[site][index].scrapes();
            balances
        })
    }

    pub fn signal_probe(&mut self, index: usize, signal: Signal) -> anyhow::Result<()> {
        self.probes[index].1.signal(signal)
    }

    pub fn kill_probes(&mut self) -> anyhow::Result<()> {
        self.probes.iter_mut().try_for_each(|(_, probe)| probe.kill())
    }

    /// Clients ask from now on.
    pub fn begin(&mut self) {
        self.continents.iter_mut().for_each(Continent::begin);
        self.calm = Some(self.look());
    }

    /// What happens now is what it is about.
    pub fn fault(&mut self) {
        self.fault_at = Some(now());
    }

    pub fn since_fault(&self) -> Duration {
        self.fault_at.map_or(Duration::ZERO, |at| at.elapsed())
    }

    /// Until so long after the fault.
    pub fn rest(&self, until: Duration) {
        rest(self.fault_at.unwrap_or_else(now) + until);
    }

    /// Had it been calm for ten minutes, and then as it is now for forty, exactly these alerts would have come to people.
    pub fn ensure_fire(&self, alerts: &[&str]) -> anyhow::Result<()> {
        let Some(calm) = &self.calm else { bail!("nobody has begun to ask") };
        alarms::ensure_fire(alerts, calm, &self.look())
    }

    /// Twice, as counters tell something by how they grow.
    fn look(&self) -> Look {
        let (began, first) = (now(), self.scrapes());
        rest(began + APART);
        let (ended, last) = (now(), self.scrapes());
        let unix_now = i64::try_from(unix_seconds()).unwrap_or(i64::MAX);
        Look { first, last, apart: ended - began, unix_now }
    }

    /// As Prometheus reads all of them.
    fn scrapes(&self) -> Vec<Scrape> {
        let servers = self.name_servers.iter().map(NameServer::scrape);
        let balancers = self.balancers.iter().flatten().flat_map(Balancer::scrapes);
        let probes = (0..VANTAGE_NAMES.len()).map(|index| self.scrape_probe(index));
        servers.chain(balancers).chain(probes).collect()
    }

    fn scrape_probe(&self, index: usize) -> Scrape {
        let (place, probe) = (&self.ground.vantages[index], &self.probes[index].1);
        let read = || {
            let door = probe.admin()?;
            place.within(|| request(door, "GET", "/metrics"))
        };
        let page = probe.is_running().then(read).and_then(Result::ok).map(|page| page.body);
        Scrape { job: "probe", instance: VANTAGE_NAMES[index].to_owned(), site: None, page }
    }

    /// Both name servers have taken a report of the process that a scrape is of.
    fn until_taken(&self, scrape: impl Fn(&Self) -> Scrape) -> anyhow::Result<()> {
        until("name servers take its reports", || {
            let Some(page) = scrape(self).page else { return Ok(None) };
            let is_taken = |server: &str| {
                let series = format!("_reports_total{{answer=\"taken\",server=\"{server}\"}}");
                page.lines().any(|line| line.contains(&series) && !line.ends_with(" 0"))
            };
            Ok((is_taken("ns1") && is_taken("ns2")).then_some(()))
        })
    }

    /// Failures at these sites that no balancer of names can help, from now on for so long.
    pub fn explain(
        &mut self,
        sites: &[Site],
        lasting: Duration,
        why: &'static str,
        is: fn(Failure) -> bool,
    ) {
        let from = self.since_fault();
        let at = sites.iter().map(|site| site.vip().into()).collect();
        self.explained.push(Explained { from, until: from + lasting, why, at, is });
    }

    /// Clients may wait for an answer for so much longer.
    pub fn may_wait(&mut self, longer: Duration) {
        self.longest_wait = LONGEST_WAIT + longer;
    }

    /// Ends the clients: what they saw.
    pub fn end(&mut self) -> anyhow::Result<Account> {
        let requests = self.continents.iter_mut().flat_map(Continent::end).collect();
        let fault_at = self.fault_at.context("nothing has happened")?;
        Ok(Account { requests, fault_at, explained: std::mem::take(&mut self.explained) })
    }

    /// What name servers remember, and the end of what all balancers and probes have said.
    pub fn logs(&self) -> String {
        let history = |server: &NameServer<'_>| server.text("/v1/history?format=text");
        let histories = self
            .name_servers
            .iter()
            .map(|server| history(server).unwrap_or_else(|why| format!("no history: {why:#}")));
        let balancers = self.balancers.iter().flatten().map(Balancer::log);
        let probes = self.probes.iter().map(|(_, probe)| probe.log());
        histories.chain(balancers).chain(probes).collect::<Vec<_>>().join("\n")
    }
}
