//! One of a site's two boxes: the balancer with its checks and its word to name servers, beside its virtual router.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use common::check::{self, Kind, Tcp, Timing};
use common::report::Beat;
use common::report::agent::{Role as Said, Vrrp};
use common::seen::Seen;
use common::site_assignment::SiteAssignment;
use common::streak::Thresholds;
use common::target::{Address, Target};
use site_agent::backends::{Administrative, Configured, Pool, Role, Settings, Weight};
use site_agent::rounds::{Begun, Name, Rounds, Series, Told, Wanted, Which};
use site_agent::site::{PoolId, ServerCheck, ServerId};
use site_agent::voice::{Door, PoolWord, Voice};
use site_agent::vrrp::machine::action::Role as Had;

use crate::clock::{Alarm, Event, ms};
use crate::network::Place;
use crate::producer::{Out, Producer, Tale};
use crate::router::{Router, VRID};
use crate::tell;

pub const SERVERS: usize = 3;
/// As often as the balancer's turn.
const TURN: Duration = ms(100);
/// And, while nothing happens, as often as its rounds want to be turned.
const BEAT: Duration = ms(500);
pub const PORT: u16 = 80;

/// Of a server: every 2 s while it is up, every second while it is down.
const CHECKED: [Duration; 4] = [ms(2000), ms(500), ms(500), ms(1000)];

#[derive(Debug)]
pub struct SiteBox {
    pub at: usize,
    pub site: usize,
    pub producer: Producer,
    pub router: Router,
    /// It has power.
    pub is_on: bool,
    /// `None` while its process does not run.
    agent: Option<Agent>,
    pub stalled_until: Duration,
    pub behind: Duration,
    site_name: Box<str>,
    vip: Ipv4Addr,
    pub alarm: Alarm,
    turns: Option<Duration>,
    role: Option<(Had, Duration)>,
    /// When what it says was last something else.
    pub changed: Duration,
}

#[derive(Debug)]
struct Agent {
    rounds: Rounds,
    pool: Pool,
    voice: Voice,
    doors: Vec<Door>,
    asked: BTreeSet<SocketAddr>,
    has_news: bool,
}

impl SiteBox {
    #[expect(clippy::too_many_arguments, reason = "where it is, each once")]
    pub fn new(
        at: usize,
        site: usize,
        site_name: &str,
        number: usize,
        vip: Ipv4Addr,
        router: Router,
        servers: usize,
        behind: Duration,
    ) -> SiteBox {
        let name = agent_name(site_name, at);
        SiteBox {
            at,
            site,
            producer: Producer::new(number, &name, Place::Site(site), servers),
            router,
            is_on: true,
            agent: None,
            stalled_until: Duration::ZERO,
            behind,
            site_name: site_name.into(),
            vip,
            alarm: Alarm::default(),
            turns: None,
            role: None,
            changed: Duration::ZERO,
        }
    }

    pub fn runs(&self) -> bool {
        self.agent.is_some()
    }

    /// Whether somebody who connects is served by some server, of which these answer; `None` if nobody listens.
    pub fn serves(&self, now: Duration, servers: &[bool]) -> Option<bool> {
        let agent = self.agent.as_ref()?;
        let standing = agent.pool.standing(now - self.behind);
        Some(standing.takers.iter().any(|taker| servers[taker.id.0]))
    }

    pub fn start(&mut self, out: &mut Out<'_>) {
        let now = out.queue.now() - self.behind;
        let wanted: Vec<Wanted> = (0..SERVERS).map(wanted).collect();
        let mut rounds = Rounds::new(now);
        rounds.adopt(now, &wanted, out.dice.share());
        let pool = Pool::new(Settings::default(), (0..SERVERS).map(configured).collect());
        let bind = vec![SocketAddr::from((self.vip, PORT))];
        let doors = vec![Door { bind, pools: Some(vec![PoolId(0)]) }];
        let (voice, asked) = (Voice::default(), BTreeSet::new());
        self.agent = Some(Agent { rounds, pool, voice, doors, asked, has_news: true });
        (self.turns, self.stalled_until) = (None, Duration::ZERO);
        self.alarm.clear();
        let known = vec![false; self.producer.uttered.len()];
        let site = self.site_name.clone();
        self.producer.start(out, &known, |boot, inc| Tale::Agent {
            beat: Beat::new(boot, inc),
            site: site.clone(),
            vips: [].into(),
            has_something: false,
        });
        tell!(out, "{} starts, inc {}", self.producer.name, self.producer.inc);
        self.wake_at(out, out.queue.now());
        out.queue.after(Duration::ZERO, Event::Lease { at: self.at });
    }

    pub fn kill(&mut self, out: &mut Out<'_>) {
        self.agent = None;
        self.producer.end();
        tell!(out, "{} is killed", self.producer.name);
        // Its socket closes.
        out.queue.after(Duration::ZERO, Event::Lease { at: self.at });
    }

    pub fn on_assignment(&mut self, out: &mut Out<'_>, octets: &[u8]) {
        let now = out.queue.now();
        let Some(agent) = &mut self.agent else { return };
        let assignment = SiteAssignment::read(octets).expect("a name server's assignment is one");
        for vip in assignment.vips {
            let at = |port: u16| SocketAddr::new(vip.addr, port);
            agent.asked.extend(vip.ports.into_iter().map(at));
        }
        agent.has_news = true;
        self.wake_at(out, now + TURN);
    }

    fn wake_at(&mut self, out: &mut Out<'_>, at: Duration) {
        if self.alarm.set(at) {
            out.queue.at(at, Event::Agent { at: self.at, run: self.producer.run });
        }
    }

    /// The checks that begin now.
    pub fn turn(&mut self, out: &mut Out<'_>) -> Vec<(Series, usize)> {
        let now = out.queue.now();
        let behind = self.behind;
        let Some(agent) = &mut self.agent else { return vec![] };
        agent.rounds.turn(now - behind, out.dice.share());
        let mut begun = vec![];
        while let Some(look) = agent.rounds.begin(now - behind, |_| false) {
            if let Begun::Look(series, check) = look {
                begun.push((series, usize::from(check.target.port) - 1));
            }
        }
        let next = agent.rounds.next_wakeup().map_or(now + BEAT, |at| at + behind);
        self.wake_at(out, next.clamp(now + ms(1), now + BEAT));
        self.look(out);
        begun
    }

    pub fn check_ends(&mut self, out: &mut Out<'_>, series: Series, seen: Seen) {
        let now = out.queue.now();
        let clock = now - self.behind;
        let Some(agent) = &mut self.agent else { return };
        let told = agent.rounds.looked(clock, series, seen);
        if let Some(Told { which, event, .. }) = told {
            if let Some(change) = agent.pool.on_event(clock, which.server, event) {
                let (name, server) = (&self.producer.name, which.server.0 + 1);
                tell!(out, "{name} has server {server}: {} -> {}", change.from, change.to);
                agent.has_news = true;
            }
            // What a pool comes to may be another though no status is: nothing is known at first.
            agent.has_news |= agent.pool.standing(clock).starting > 0;
        }
        self.wake_at(out, now + TURN);
    }

    /// Has it look at its router's role, which may be another.
    pub fn role_may_differ(&mut self, out: &mut Out<'_>) {
        let role = (self.router.role(), self.router.role_since);
        if self.role != Some(role) {
            self.role = Some(role);
            if let Some(agent) = &mut self.agent {
                agent.has_news = true;
                self.wake_at(out, out.queue.now() + TURN);
            }
        }
    }

    fn look(&mut self, out: &mut Out<'_>) {
        let now = out.queue.now();
        let clock = now - self.behind;
        let Some(agent) = &mut self.agent else { return };
        if self.turns.is_some_and(|turned| now < turned + BEAT) && !agent.has_news {
            return;
        }
        (self.turns, agent.has_news) = (Some(now), false);
        let since = self.router.role_since.saturating_sub(self.behind).as_millis();
        let role = match self.router.role() {
            Had::Active => Said::Active,
            Had::Backup => Said::Backup,
            Had::Initialize | Had::Fault => Said::Initialize,
        };
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        let roles: BTreeMap<IpAddr, Vrrp> =
            [(IpAddr::V4(self.vip), Vrrp { vrid: VRID, role, since })].into();
        let word = PoolWord::of(&agent.pool.standing(clock), SERVERS);
        if !agent.voice.look(clock, &agent.doors, &[word], &agent.asked, &roles, false) {
            return;
        }
        let said: Arc<[_]> = agent.voice.vips().into();
        self.changed = now;
        for vip in &*said {
            let (name, role) = (&self.producer.name, vip.vrrp.map(|vrrp| vrrp.role.as_str()));
            let (state, up, all) = (vip.state.as_str(), vip.backends_up, vip.backends);
            tell!(out, "{name} says {state}, {up}/{all}, role {role:?}, flaps {}", vip.flaps);
        }
        for server in 0..self.producer.uttered.len() {
            self.producer.say(out, server, |tale| {
                let Tale::Agent { beat, vips, has_something, .. } = tale else { return };
                beat.on_news();
                (*vips, *has_something) = (Arc::clone(&said), true);
            });
        }
    }
}

pub fn agent_name(site: &str, at: usize) -> String {
    format!("{site}-{}", if at.is_multiple_of(2) { "a" } else { "b" })
}

fn some(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).expect("counts are not 0")
}

fn thresholds() -> Thresholds {
    Thresholds { rise: some(2), fall: some(3), ok: some(2) }
}

/// A server's port is its number, by which whoever ends the look knows it.
fn wanted(server: usize) -> Wanted {
    let port = u16::try_from(server + 1).expect("there are three");
    let address = SocketAddr::from(([10, 10, 0, 1], port));
    let [interval, timeout, fast_interval, down_interval] = CHECKED;
    let target = Target {
        address: Address::Ip(address.ip()),
        port,
        host: "server".to_owned(),
        check: check::Check {
            kind: Kind::Tcp(Tcp::default()),
            timing: Timing::new(interval, timeout, thresholds()),
        },
    };
    Wanted {
        which: Which { pool: PoolId(0), server: ServerId(server) },
        name: Name { pool: "web".into(), server: format!("web{port}").into() },
        address,
        check: Some(ServerCheck { target, ca: None, fast_interval, down_interval }),
        agent: None,
    }
}

fn configured(server: usize) -> Configured {
    Configured {
        name: format!("web{}", server + 1).into(),
        weight: Weight::ONE,
        limit: None,
        capacity: NonZeroU32::new(1000),
        role: Role::Active,
        check: Some(thresholds()),
        has_agent: false,
        administrative: Administrative::Ready,
    }
}
