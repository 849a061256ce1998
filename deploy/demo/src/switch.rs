//! What is broken on purpose: a file in the demo's directory for each, there while it is.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::block_in_place;
use tokio::time::{MissedTickBehavior, interval};

use crate::name_server::NameServer;
use crate::pair::Pair;
use crate::server::{Place, Server};
use crate::site::Balancer;
use crate::world::{BOXES, NAME_SERVERS, SERVERS, SITES, VANTAGES};

/// Nobody notices less.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Switch {
    /// The name server is gone.
    Silence { name_server: &'static str },
    /// Both of the site's balancers are gone.
    Kill { site: &'static str },
    /// One of the two is.
    KillOne { site: &'static str, one: &'static str },
    /// One of the boxes of the pair with VRRP is.
    KillRouter { one: &'static str },
    /// One of the servers behind it is.
    Stop { site: &'static str, server: &'static str },
    /// The vantage reaches nothing, its reference neither.
    Blind { vantage: &'static str },
    /// That vantage alone does not reach that site.
    Lie { vantage: &'static str, site: &'static str },
}

pub type Thrown = BTreeSet<Switch>;

impl Switch {
    /// What a file of that name means: nothing, or a switch, or what is wrong with it.
    pub fn of(name: &str) -> Option<Result<Switch, String>> {
        let (word, of) = name.split_once('-')?;
        Some(match word {
            "kill" => match of.split_once('-') {
                Some(("vrrp", one)) => router(one),
                Some((of, part)) => site(of).and_then(|site| part_of(site, part)),
                None => whole(of),
            },
            "blind" => vantage(of).map(|vantage| Switch::Blind { vantage }),
            "lie" => match of.split_once('-') {
                Some((who, whom)) => {
                    vantage(who).and_then(|vantage| Ok(Switch::Lie { vantage, site: site(whom)? }))
                }
                None => Err("expected lie-VANTAGE-SITE, such as lie-ams-fra".to_owned()),
            },
            _ => return None,
        })
    }
}

/// What dies whole: a site or a name server.
fn whole(name: &str) -> Result<Switch, String> {
    let name_servers = NAME_SERVERS.map(|(name, _)| name);
    match known(name, &name_servers) {
        Some(name_server) => Ok(Switch::Silence { name_server }),
        None => site(name).map(|site| Switch::Kill { site }).map_err(|why| {
            format!("{why}, nor a name server (name servers: {})", name_servers.join(", "))
        }),
    }
}

fn router(name: &str) -> Result<Switch, String> {
    let one = known(name, &BOXES).map(|one| Switch::KillRouter { one });
    one.ok_or_else(|| {
        format!("no box {name:?} in the pair with VRRP (boxes: {})", BOXES.join(", "))
    })
}

/// What a site has several of: balancers and servers.
fn part_of(site: &'static str, name: &str) -> Result<Switch, String> {
    let (server, one) = (known(name, &SERVERS), known(name, &BOXES));
    let server = server.map(|server| Switch::Stop { site, server });
    server.or(one.map(|one| Switch::KillOne { site, one })).ok_or_else(|| {
        let (servers, boxes) = (SERVERS.join(", "), BOXES.join(", "));
        format!("no {name:?} in {site} (servers: {servers}; balancers: {boxes})")
    })
}

fn site(name: &str) -> Result<&'static str, String> {
    let names = SITES.map(|(name, _)| name);
    known(name, &names).ok_or_else(|| format!("no site {name:?} (sites: {})", names.join(", ")))
}

fn vantage(name: &str) -> Result<&'static str, String> {
    known(name, &VANTAGES)
        .ok_or_else(|| format!("no vantage {name:?} (vantages: {})", VANTAGES.join(", ")))
}

fn known(name: &str, names: &[&'static str]) -> Option<&'static str> {
    names.iter().find(|known| **known == name).copied()
}

/// What is so while its file is there.
impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Switch::Silence { name_server } => write!(f, "{name_server} answers nobody"),
            Switch::Kill { site } => write!(f, "{site} refuses connections"),
            Switch::KillOne { site, one } => write!(f, "balancer {site}-{one} is gone"),
            Switch::KillRouter { one } => write!(f, "box {one} of the pair with VRRP is gone"),
            Switch::Stop { site, server } => {
                write!(f, "server {server} of {site} refuses connections")
            }
            Switch::Blind { vantage } => write!(f, "{vantage} reaches nothing"),
            Switch::Lie { vantage, site } => write!(f, "{vantage} does not reach {site}"),
        }
    }
}

/// What the files in the directory say, and what is wrong with some of them.
fn read(dir: &Path) -> io::Result<(Thrown, BTreeSet<String>)> {
    let (mut thrown, mut wrong) = (Thrown::new(), BTreeSet::new());
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        match Switch::of(name) {
            Some(Ok(switch)) => drop(thrown.insert(switch)),
            Some(Err(why)) => drop(wrong.insert(format!("{name}: {why}"))),
            None => {}
        }
    }
    Ok((thrown, wrong))
}

/// What the files can break, beside vantages, which look for themselves.
pub struct Breakable {
    pub name_servers: Vec<NameServer>,
    pub balancers: Vec<Balancer>,
    pub servers: Vec<Server>,
    /// `None` where it is left out.
    pub pair: Option<Pair>,
}

impl Breakable {
    /// Has all be as the switches say; what could not be done.
    async fn set(&mut self, thrown: &Thrown) -> Vec<String> {
        let mut wrong = vec![];
        for server in &mut self.servers {
            let Place::Of { site, server: name } = server.place else { continue };
            if thrown.contains(&Switch::Stop { site, server: name }) {
                server.kill().await;
            } else if let Err(error) = server.revive().await {
                wrong.push(format!("{name} of {site} cannot serve again: {error}"));
            }
        }
        for balancer in &mut self.balancers {
            let (site, one) = (balancer.site, balancer.one);
            let is_gone = [Switch::Kill { site }, Switch::KillOne { site, one }]
                .iter()
                .any(|switch| thrown.contains(switch));
            if is_gone {
                balancer.kill().await;
            } else if let Err(error) = balancer.revive().await {
                wrong.push(format!("it cannot serve again: {error:#}"));
            }
        }
        // They have runtimes of their own, for which they wait.
        wrong.extend(block_in_place(|| self.set_name_servers(thrown)));
        wrong.extend(block_in_place(|| self.set_routers(thrown)));
        wrong
    }

    fn set_routers(&mut self, thrown: &Thrown) -> Vec<String> {
        let mut wrong = vec![];
        for one in BOXES {
            let is_killed = thrown.contains(&Switch::KillRouter { one });
            match &mut self.pair {
                Some(pair) => {
                    if let Err(error) = pair.set(one, is_killed) {
                        wrong.push(format!("box {one} of the pair with VRRP: {error:#}"));
                    }
                }
                None if is_killed => {
                    wrong.push("there is no VRRP here: start it as root, with --vrrp".to_owned())
                }
                None => {}
            }
        }
        wrong
    }

    fn set_name_servers(&mut self, thrown: &Thrown) -> Vec<String> {
        let mut wrong = vec![];
        for server in &mut self.name_servers {
            if thrown.contains(&Switch::Silence { name_server: server.name }) {
                server.kill();
            } else if let Err(error) = server.revive() {
                wrong.push(format!("it cannot answer again: {error:#}"));
            }
        }
        wrong
    }
}

/// Has all be as the files say, and tells of each change, until it is to stop.
pub async fn follow(
    dir: PathBuf,
    mut all: Breakable,
    thrown: watch::Sender<Thrown>,
    tell: fn(&str),
    mut stopping: oneshot::Receiver<()>,
) -> Breakable {
    let mut told = BTreeSet::new();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = &mut stopping => return all,
            _ = looks.tick() => {}
        }
        // Who has taken the directory away can change nothing more.
        let Ok((now, mut wrong)) = read(&dir) else { continue };
        wrong.extend(all.set(&now).await);
        let before = thrown.send_replace(now.clone());
        for switch in now.difference(&before) {
            tell(&format!("now {switch}\n"));
        }
        for switch in before.difference(&now) {
            tell(&format!("no longer: {switch}\n"));
        }
        for why in wrong.difference(&told) {
            tell(&format!("{why}\n"));
        }
        told = wrong;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Option<Result<Switch, &str>>) {
        let expected = expected.map(|expected| expected.map_err(str::to_owned));
        assert_eq!(Switch::of(name), expected, "{name}");
    }

    #[test]
    fn files_are_switches_by_their_names() {
        check("kill-fra", Some(Ok(Switch::Kill { site: "fra" })));
        check("kill-dns2", Some(Ok(Switch::Silence { name_server: "dns2" })));
        check("kill-fra-b", Some(Ok(Switch::KillOne { site: "fra", one: "b" })));
        check("kill-vrrp-a", Some(Ok(Switch::KillRouter { one: "a" })));
        check("kill-fra-web1", Some(Ok(Switch::Stop { site: "fra", server: "web1" })));
        check("blind-sin", Some(Ok(Switch::Blind { vantage: "sin" })));
        check("lie-ams-nrt", Some(Ok(Switch::Lie { vantage: "ams", site: "nrt" })));
        for other in ["world.toml", "state", "kill", "places-old"] {
            check(other, None);
        }
    }

    #[test]
    fn a_misspelt_switch_is_told() {
        let ams =
            "no site \"ams\" (sites: fra, iad, nrt), nor a name server (name servers: dns1, dns2)";
        check("kill-ams", Some(Err(ams)));
        let web9 = "no \"web9\" in fra (servers: web1, web2, web3; balancers: a, b)";
        check("kill-fra-web9", Some(Err(web9)));
        check("blind-", Some(Err("no vantage \"\" (vantages: ams, lhr, nyc, sfo, sin)")));
        check("lie-ams", Some(Err("expected lie-VANTAGE-SITE, such as lie-ams-fra")));
        check("lie-ams-ams", Some(Err("no site \"ams\" (sites: fra, iad, nrt)")));
    }
}
