//! What agents have told of their sites, and what is made of it.

use std::net::SocketAddr;
use std::time::Duration;

use common::report::agent::Vip;
use common::report::{Digest, EntryHash, Head};
use sha2::{Digest as _, Sha256};
use tracing::{info, warn};

use crate::inbox::Marks;
use crate::inbox::agents::{Agents, VipStream};
use crate::inbox::stream::{Change, Reception};
use crate::inside::{Drained, Inside, Said, SiteViews, Standing, Views, Voice};
use crate::metrics::WorldMetrics;
use crate::world::{Site, World};

#[derive(Default)]
pub struct Insiders {
    agents: Agents,
    inside: Inside,
    views: Views,
    /// Counts looks from which other answers may follow.
    number: u64,
    /// Of each agent that a site names, by site and agent, as at the last look.
    standings: Vec<(Box<str>, Box<str>, Standing)>,
}

impl Insiders {
    /// Nothing is known but how far each agent had come, and what was drained.
    pub fn restored(marks: Marks, drained: Drained, world: &World, now: Duration) -> Insiders {
        let (agents, inside) = (Agents::restored(marks), Inside::restored(drained));
        let mut insiders = Insiders { agents, inside, ..Insiders::default() };
        insiders.look(world, now);
        insiders
    }

    pub fn marks(&self) -> Marks {
        self.agents.marks()
    }

    pub fn drained(&self) -> Drained {
        self.inside.drained()
    }

    /// Takes a report of an agent on its site; what becomes of it.
    pub fn hear(
        &mut self,
        (agent, site): (&str, &str),
        head: &Head,
        vips: Vec<(SocketAddr, Change<Vip>)>,
        now: Duration,
    ) -> Reception {
        self.agents.on_report(now, agent, site, head, vips)
    }

    /// What is made now of all that agents have told.
    pub fn look(&mut self, world: &World, now: Duration) {
        let Insiders { agents, inside, .. } = self;
        let voices = voices(agents, world);
        let standings = voices.iter().flat_map(|(site, voices)| {
            let of = |voice: &Voice<'_>| ((*site).into(), voice.agent.into(), voice.standing(now));
            voices.iter().map(of)
        });
        let standings: Vec<_> = standings.collect();
        let views = inside.look(now, voices);
        self.tell(&standings, &views);
        self.number += u64::from(!comes_to_the_same(&self.views, &views));
        (self.standings, self.views) = (standings, views);
    }

    /// In another world, who is named no more is forgotten.
    pub fn adopt(&mut self, world: &World, now: Duration) {
        self.agents.keep(|agent| {
            let names = |site: &&Site| site.agents.iter().any(|named| **named == *agent);
            world.sites.iter().find(names).map(|site| site.name.clone())
        });
        self.look(world, now);
    }

    /// What somebody should look at, for people.
    pub fn attention(&self) -> Vec<String> {
        let unheard = self.standings.iter().filter_map(|(site, agent, standing)| match standing {
            Standing::Heard => None,
            Standing::NeverHeard => Some(format!("agent {agent} of site {site} was never heard")),
            Standing::Silent => Some(format!("agent {agent} of site {site} is silent")),
        });
        let dual = dual_active(&self.views).map(|(site, vip)| {
            format!("site {site}: two routers are active for VIP {vip} (vrrp_dual_active)")
        });
        unheard.chain(dual).collect()
    }

    /// What agents say now.
    pub fn said(&self) -> Said<'_> {
        Said { number: self.number, views: &self.views }
    }

    /// The same for all who hear the same of the same agents.
    pub fn digest(&self, world: &World, now: Duration, hash: &mut Sha256) {
        for (site, voices) in self.voices(world) {
            hash.update(site.as_bytes());
            for voice in voices {
                let heard = voice.stream.filter(|stream| stream.is_fresh(now));
                hash.update(voice.agent.as_bytes());
                match heard {
                    Some(stream) => hash.update(digest_of(stream).to_string()),
                    None => hash.update([0]),
                }
            }
        }
        for (at, view) in self.views.values().flatten() {
            hash.update(at.to_string());
            // What outlives reports is another for who was there when it was told.
            hash.update(view.state.as_str());
        }
    }

    /// Who speaks for each site that names agents, and what each last said.
    pub fn voices<'a>(&'a self, world: &'a World) -> Vec<(&'a str, Vec<Voice<'a>>)> {
        voices(&self.agents, world)
    }

    /// What metrics say of agents.
    pub fn count_in(&self, metrics: &WorldMetrics) {
        for (site, agent, standing) in &self.standings {
            for word in Standing::ALL {
                let gauge = metrics.agents.with_label_values(&[&**site, &**agent, word.as_str()]);
                gauge.set(i64::from(*standing == word));
            }
        }
        for (site, views) in &self.views {
            let dual = views.values().filter(|view| view.is_dual_active).count();
            let gauge = metrics.vrrp_dual_active.with_label_values(&[&**site]);
            gauge.set(i64::try_from(dual).unwrap_or(i64::MAX));
        }
    }

    /// Tells of what is otherwise than at the last look.
    fn tell(&self, standings: &[(Box<str>, Box<str>, Standing)], views: &Views) {
        for (site, agent, standing) in standings {
            let before = self.standings.iter().find(|(on, name, _)| on == site && name == agent);
            match standing {
                _ if before.is_none_or(|(.., before)| before == standing) => {}
                Standing::Heard => info!(agent, site, "an agent is heard"),
                Standing::Silent | Standing::NeverHeard => {
                    warn!(agent, site, "an agent is silent: what it said of its site grows old");
                }
            }
        }
        for (site, vip) in dual_active(views) {
            let was = |views: &SiteViews| views.get(&vip).is_some_and(|view| view.is_dual_active);
            if !self.views.get(site).is_some_and(was) {
                warn!(site, %vip, "two routers are active for one VIP: they do not hear each other");
            }
        }
    }
}

fn comes_to_the_same(before: &Views, after: &Views) -> bool {
    let is_same_site = |(one, other): (&SiteViews, &SiteViews)| {
        let mut views = one.iter().zip(other);
        one.len() == other.len()
            && views.all(|((at, view), (other, like))| at == other && view.comes_to(like))
    };
    before.len() == after.len()
        && before.keys().eq(after.keys())
        && before.values().zip(after.values()).all(is_same_site)
}

/// Of all that an agent says, but for what it is asked: that is another in each report, so that no two name servers would
/// hear the same, and no answer follows from it.
fn digest_of(stream: &VipStream) -> Digest {
    let mut digest = Digest::default();
    for (_, vip) in stream.entries() {
        let steady = Vip { load: None, ..vip.clone() };
        let octets = serde_json::to_string(&steady).expect("numbers and strings are JSON");
        digest.add(EntryHash::of(&octets));
    }
    digest
}

fn voices<'a>(agents: &'a Agents, world: &'a World) -> Vec<(&'a str, Vec<Voice<'a>>)> {
    let named = world.sites.iter().filter(|site| !site.agents.is_empty());
    let voices = named.map(|site| {
        let named = site.agents.iter().map(|agent| &**agent);
        let voice = |agent| Voice { agent, stream: agents.of_site(&site.name, agent) };
        (&*site.name, named.map(voice).collect())
    });
    voices.collect()
}

fn dual_active(views: &Views) -> impl Iterator<Item = (&str, SocketAddr)> {
    views.iter().flat_map(|(site, views)| {
        let dual = views.iter().filter(|(_, view)| view.is_dual_active);
        dual.map(|(vip, _)| (&**site, *vip))
    })
}

#[cfg(test)]
mod tests {
    use common::principal::Kind;
    use common::report::agent::{Rate, State};
    use common::report::{Boot, Mark, Own};

    use super::*;

    #[test]
    fn name_servers_hear_the_same_whatever_a_vip_is_asked_meanwhile() {
        let heard = |capacity, load| {
            let vip = Vip {
                addr: "192.0.2.1".parse().unwrap(),
                port: 443,
                state: State::Serving,
                since: 0,
                flaps: 0,
                capacity: Rate::new(capacity),
                load: Rate::new(load),
                offer: None,
                backends_up: 1,
                backends: 1,
                vrrp: None,
            };
            let hash = EntryHash::of(&serde_json::to_string(&vip).unwrap());
            let mut digest = Digest::default();
            digest.add(hash);
            let head = Head {
                cluster: "test".into(),
                producer: "a".into(),
                kind: Kind::Agent,
                boot: Boot([1; 16]),
                mark: Mark { inc: 1, seq: 1 },
                base: None,
                now: Duration::ZERO,
                digest,
                valid: Duration::from_secs(10),
                own: Own::default(),
            };
            let mut stream = VipStream::new(Mark::default());
            stream.on_report(Duration::ZERO, &head, [(vip.at(), Change::Said(hash, vip))]);
            digest_of(&stream).to_string()
        };
        assert_eq!(heard(500.0, 3.0), heard(500.0, 4.0));
        assert_ne!(heard(500.0, 3.0), heard(400.0, 3.0));
    }
}
