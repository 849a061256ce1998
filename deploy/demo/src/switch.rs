//! What is broken on purpose: a file in the demo's directory for each, there while it is.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::say;
use crate::server::{Place, Server};
use crate::site::Site;
use crate::world::{SERVERS, SITES, VANTAGES};

/// Nobody notices less.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Switch {
    /// The site's balancer is gone.
    Kill { site: &'static str },
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
    fn of(name: &str) -> Option<Result<Switch, String>> {
        let (word, of) = name.split_once('-')?;
        Some(match word {
            "kill" => match of.split_once('-') {
                Some((of, name)) => {
                    site(of).and_then(|site| Ok(Switch::Stop { site, server: server(name)? }))
                }
                None => site(of).map(|site| Switch::Kill { site }),
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

fn site(name: &str) -> Result<&'static str, String> {
    let names = SITES.map(|(name, _)| name);
    known(name, &names).ok_or_else(|| format!("no site {name:?} (sites: {})", names.join(", ")))
}

fn server(name: &str) -> Result<&'static str, String> {
    known(name, &SERVERS)
        .ok_or_else(|| format!("no server {name:?} (servers: {})", SERVERS.join(", ")))
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
            Switch::Kill { site } => write!(f, "{site} refuses connections"),
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
    pub sites: Vec<Site>,
    pub servers: Vec<Server>,
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
        for site in &mut self.sites {
            if thrown.contains(&Switch::Kill { site: site.name }) {
                site.kill().await;
            } else if let Err(error) = site.revive().await {
                wrong.push(format!("{} cannot serve again: {error:#}", site.name));
            }
        }
        wrong
    }
}

/// Has sites and vantages be as the files say, for as long as the demo runs, and tells of each change.
pub async fn follow(dir: PathBuf, mut all: Breakable, thrown: watch::Sender<Thrown>) {
    let mut told = BTreeSet::new();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        // Who has taken the directory away can change nothing more.
        let Ok((now, mut wrong)) = read(&dir) else { continue };
        wrong.extend(all.set(&now).await);
        let before = thrown.send_replace(now.clone());
        for switch in now.difference(&before) {
            say(&format!("now {switch}\n"));
        }
        for switch in before.difference(&now) {
            say(&format!("no longer: {switch}\n"));
        }
        for why in wrong.difference(&told) {
            say(&format!("{why}\n"));
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
        check("kill-fra-web1", Some(Ok(Switch::Stop { site: "fra", server: "web1" })));
        check("blind-sin", Some(Ok(Switch::Blind { vantage: "sin" })));
        check("lie-ams-nrt", Some(Ok(Switch::Lie { vantage: "ams", site: "nrt" })));
        for other in ["world.toml", "state", "kill", "places-old"] {
            check(other, None);
        }
    }

    #[test]
    fn a_misspelt_switch_is_told() {
        check("kill-ams", Some(Err("no site \"ams\" (sites: fra, iad, nrt)")));
        check("kill-fra-web9", Some(Err("no server \"web9\" (servers: web1, web2, web3)")));
        check("blind-", Some(Err("no vantage \"\" (vantages: ams, lhr, nyc, sfo, sin)")));
        check("lie-ams", Some(Err("expected lie-VANTAGE-SITE, such as lie-ams-fra")));
        check("lie-ams-ams", Some(Err("no site \"ams\" (sites: fra, iad, nrt)")));
    }
}
