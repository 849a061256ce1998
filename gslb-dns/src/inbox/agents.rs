//! What the agents of sites tell this name server, as far as it still holds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use common::report::agent::Vip;
use common::report::{Head, Mark};

use super::Marks;
use super::stream::{Change, Reception, Stream};

/// What one agent says of each VIP and port of its site.
pub type VipStream = Stream<SocketAddr, Vip>;

/// A stream for each agent that was ever heard.
#[derive(Clone, Debug, Default)]
pub struct Agents(BTreeMap<Box<str>, Agent>);

#[derive(Clone, Debug)]
struct Agent {
    /// Of which its last report was; empty before there was one.
    site: Box<str>,
    stream: VipStream,
}

impl Agent {
    fn new(mark: Mark) -> Agent {
        Agent { site: "".into(), stream: Stream::new(mark) }
    }
}

impl Agents {
    /// Nothing is known but how far each agent had come.
    pub fn restored(marks: Marks) -> Agents {
        Agents(marks.into_iter().map(|(name, mark)| (name, Agent::new(mark))).collect())
    }

    pub fn marks(&self) -> Marks {
        self.0.iter().map(|(name, agent)| (name.clone(), agent.stream.mark())).collect()
    }

    /// Takes a report of an agent on its site, or says why not.
    pub fn on_report(
        &mut self,
        now: Duration,
        name: &str,
        site: &str,
        head: &Head,
        vips: impl IntoIterator<Item = (SocketAddr, Change<Vip>)>,
    ) -> Reception {
        let agent = self.0.entry(name.into()).or_insert_with(|| Agent::new(Mark::default()));
        let reception = agent.stream.on_report(now, head, vips);
        if let Reception::Taken(_) = reception {
            agent.site = site.into();
        }
        reception
    }

    /// What an agent says of a site. What it said of another is no word on this one.
    pub fn of_site(&self, site: &str, name: &str) -> Option<&VipStream> {
        self.0.get(name).filter(|agent| *agent.site == *site).map(|agent| &agent.stream)
    }

    /// Forgets what agents said that no site names any more, but not how far they had come: what is forgotten is not
    /// replayed.
    pub fn keep(&mut self, speaks_for: impl Fn(&str) -> Option<Box<str>>) {
        for (name, agent) in &mut self.0 {
            if speaks_for(name).as_deref() != Some(&*agent.site) {
                *agent = Agent::new(agent.stream.mark());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use common::principal::Kind;
    use common::report::agent::State;
    use common::report::{Boot, Digest, EntryHash, Own};

    use super::super::stream::Oddity;
    use super::*;

    fn tell(agents: &mut Agents, site: &str, seq: u64) -> Reception {
        let vip = Vip {
            addr: "192.0.2.1".parse().unwrap(),
            port: 443,
            state: State::Serving,
            since: 0,
            flaps: 0,
            capacity: None,
            load: None,
            offer: None,
            backends_up: 1,
            backends: 1,
            vrrp: None,
        };
        let hash = EntryHash::of("it");
        let mut digest = Digest::default();
        digest.add(hash);
        let head = Head {
            cluster: "test".into(),
            producer: "a".into(),
            kind: Kind::Agent,
            boot: Boot([1; 16]),
            mark: Mark { inc: 1, seq },
            base: None,
            now: Duration::ZERO,
            digest,
            valid: Duration::from_secs(10),
            own: Own::default(),
        };
        agents.on_report(Duration::ZERO, "a", site, &head, [(vip.at(), Change::Said(hash, vip))])
    }

    #[test]
    fn what_an_agent_said_is_of_the_site_it_said_it_of() {
        let mut agents = Agents::default();
        assert_eq!(tell(&mut agents, "fra", 1), Reception::Taken(Oddity::None));
        assert!(agents.of_site("fra", "a").is_some() && agents.of_site("iad", "a").is_none());
        // It has moved; what is refused moves nobody.
        assert_eq!(tell(&mut agents, "iad", 1), Reception::Behind(Mark { inc: 1, seq: 1 }));
        assert!(agents.of_site("fra", "a").is_some());
        assert_eq!(tell(&mut agents, "iad", 2), Reception::Taken(Oddity::None));
        assert!(agents.of_site("fra", "a").is_none() && agents.of_site("iad", "a").is_some());
    }

    #[test]
    fn what_is_forgotten_is_not_replayed() {
        let mut agents = Agents::default();
        tell(&mut agents, "fra", 5);
        agents.keep(|_| Some("fra".into()));
        assert!(agents.of_site("fra", "a").is_some());
        for speaks_for in [Some("iad"), None] {
            let mut agents = agents.clone();
            agents.keep(|_| speaks_for.map(Into::into));
            assert!(agents.of_site("fra", "a").is_none());
            assert_eq!(tell(&mut agents, "fra", 5), Reception::Behind(Mark { inc: 1, seq: 5 }));
            assert_eq!(tell(&mut agents, "fra", 6), Reception::Taken(Oddity::None));
        }
        let mut restored = Agents::restored(agents.marks());
        assert!(restored.of_site("fra", "a").is_none());
        assert_eq!(tell(&mut restored, "fra", 5), Reception::Behind(Mark { inc: 1, seq: 5 }));
    }
}
