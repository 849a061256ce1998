//! Two name servers that are peers, and vantages that tell both the same in different ways: the same board once inputs
//! are still.
//!
//! The machines are the real ones on either side of the wire, under one clock that the test moves: tellers and streams
//! of reports, the judge, the board, pages between peers. What lies between them loses, repeats and delays.

use std::path::Path;
use std::sync::OnceLock;

use common::principal::Kind;
use common::report::{Boot, Entry, Head, Own, Phases, Reason, Reply, Report, State, Teller, Told};
use common::target::{Address, TargetId};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::value::RawValue;

use super::super::page::MOST_HELD;
use super::*;
use crate::config;
use crate::control::changes;
use crate::health::board::Board;
use crate::health::last_known::LastKnown;
use crate::inbox::Inbox;
use crate::inbox::stream::Reception;
use crate::inside::{Said, Views};
use crate::judge::{GRACE, Held, Judge, Now};
use crate::world::World;

const WORLD: &str = r#"
[zone."example.com"]
file = "steer.zone"

[site.fra]
vips = ["192.0.2.1"]
[site.iad]
vips = ["192.0.2.2"]
[site.nrt]
vips = ["192.0.2.3", "2001:db8::3"]

[vantage.ams]
place = { country = "NL" }
domain = "as1"
[vantage.fra]
place = { country = "DE" }
domain = "as1"
[vantage.iad]
place = { country = "US" }
[vantage.nrt]
place = { country = "JP" }

[check.web]
kind = "tcp"
port = 80

[service."www.example.com"]
sites = ["fra", "iad", "nrt"]
check = ["web"]
quorum = { down = 0.6, up = 0.6, vantages = 2, domains = 2, max_removed = 0.5 }
when_all_down = "last-known"
ttl = { max = "30s" }

[service."api.example.com"]
sites = ["fra", "iad", "nrt"]
check = ["web"]
quorum = { down = 0.7, up = 0.5, vantages = 3, domains = 2, max_removed = 1.0 }
when_all_down = "open"
ttl = { max = "5s" }
"#;

const VANTAGES: [&str; 4] = ["ams", "fra", "iad", "nrt"];
const SITES: [&str; 3] = ["fra", "iad", "nrt"];
const SERVERS: [&str; 2] = ["dns1", "dns2"];
const START: Duration = Duration::from_secs(100_000);
/// The vantages' clocks are so far behind that of the name servers.
const BEHIND: Duration = Duration::from_secs(7_000);
/// The longest wait of who flaps, and what a return takes after that.
const AGES: Duration = Duration::from_secs(1_000);
/// Runs where the variable of that name says nothing.
const RUNS: u32 = 300;
const RUNS_OF: &str = "GSLB_PEER_RUNS";

#[derive(Clone, Copy, Debug)]
enum Event {
    /// Some vantages see some sites otherwise, from now on.
    See {
        vantages: [bool; 4],
        sites: [bool; 3],
        state: State,
        is_refused: bool,
    },
    Blind {
        vantage: usize,
        is_blind: bool,
    },
    /// A report is made for a name server, and is on its way.
    Make {
        vantage: usize,
        server: usize,
    },
    /// It comes there; its answer comes back, or not.
    Come {
        vantage: usize,
        server: usize,
        is_answered: bool,
    },
    Lose {
        vantage: usize,
        server: usize,
    },
    /// The last one that came comes again.
    Repeat {
        vantage: usize,
        server: usize,
    },
    /// A name server looks at the time, and asks the other.
    Turn {
        server: usize,
    },
    Restart {
        server: usize,
    },
    Wait(Duration),
}

/// Between a vantage and a name server.
struct Link {
    teller: Teller,
    on_its_way: Option<Vec<u8>>,
    came_last: Option<Vec<u8>>,
}

struct Vantage {
    /// By target: state, since when, why, changes between up and down.
    says: Vec<(TargetId, State, Duration, bool, u32)>,
    is_blind: bool,
    links: [Link; 2],
}

struct Server {
    inbox: Inbox,
    judge: Judge,
    last_known: LastKnown,
    board: Board,
    peers: Peers,
    known: Known,
    shown: Shown,
}

struct Network {
    now: Duration,
    vantages: Vec<Vantage>,
    servers: Vec<Server>,
}

fn world() -> &'static World {
    static WORLD_OF_ALL: OnceLock<World> = OnceLock::new();
    WORLD_OF_ALL.get_or_init(|| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/steer");
        config::world_from_str(WORLD, &dir).unwrap_or_else(|why| panic!("{why}"))
    })
}

impl Server {
    fn new(name: usize, inbox: Inbox, held: Held, last_known: LastKnown, now: Duration) -> Server {
        let mut server = Server {
            inbox,
            judge: Judge::new(held, now),
            last_known,
            board: Board::blank(world()),
            peers: Peers::new([SERVERS[1 - name].into()], now),
            known: Known::default(),
            shown: Shown::default(),
        };
        server.judge(now);
        server
    }

    /// As it is after a restart: with what it wrote.
    fn restarted(&self, name: usize, now: Duration) -> Server {
        let text =
            serde_json::to_string(&(self.judge.held(), self.inbox.marks(), &self.last_known));
        let (held, marks, known) = serde_json::from_str(&text.unwrap()).unwrap();
        Server::new(name, Inbox::restored(marks), held, known, now)
    }

    fn judge(&mut self, now: Duration) {
        let wall = Timestamp::UNIX_EPOCH + now;
        let inside = Said { number: 0, views: &Views::new() };
        self.judge.judge(Now { monotonic: now, wall }, world(), &self.inbox, inside);
        let judgement = self.judge.judgement();
        self.board = Board::of_views(1, world(), &judgement.views, &[], &self.last_known, wall);
        self.last_known.learn(world(), &self.board, world().service_ids());
    }

    /// As each half second: shows what is so now.
    fn turn(&mut self, name: usize, now: Duration) {
        self.judge(now);
        let face = Face {
            node: SERVERS[name].into(),
            epoch: world().epoch.to_string().into(),
            board: 1,
            digest: self.board.digest.to_string().into(),
            evidence: "".into(),
        };
        let remembered = Remembered {
            verdicts: self.judge.undecided().first(MOST_HELD),
            last_known: LastKnown::of_failing(world(), &self.board),
        };
        self.peers.answer_from(now, face.clone());
        self.peers.turn(now);
        self.shown = Shown::new(face, Part::of(&remembered).unwrap(), Part::default());
    }

    /// What the other shows.
    fn hear(&mut self, name: usize, octets: &[u8], now: Duration) {
        let page = Page::read(octets, SERVERS[1 - name]).unwrap();
        self.known.learn(&page);
        let (remembered, _) = self.peers.hear(now, 0, page).unwrap();
        let verdicts = self.judge.meet(&remembered.verdicts);
        let sites = self.last_known.meet(world(), &self.board, &remembered.last_known);
        if verdicts + sites > 0 {
            self.judge(now);
        }
    }
}

impl Network {
    fn new() -> Network {
        let link = |boot: u8| Link {
            teller: Teller::new(Boot([boot; 16]), 1),
            on_its_way: None,
            came_last: None,
        };
        let vantage = |boot: usize| Vantage {
            says: vec![],
            is_blind: false,
            links: [link(boot as u8), link(boot as u8)],
        };
        let new = |name| {
            Server::new(name, Inbox::default(), Held::default(), LastKnown::default(), START)
        };
        Network {
            now: START,
            vantages: (0..VANTAGES.len()).map(vantage).collect(),
            servers: (0..SERVERS.len()).map(new).collect(),
        }
    }

    fn run(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::See { vantages, sites, state, is_refused } => {
                let who = self.vantages.iter_mut().zip(vantages).filter(|(_, is_meant)| *is_meant);
                for (vantage, _) in who {
                    for site in (0..SITES.len()).filter(|site| sites[*site]) {
                        vantage.see(site, state, is_refused, now);
                    }
                }
            }
            Event::Blind { vantage, is_blind } => self.vantages[vantage].is_blind = is_blind,
            Event::Make { vantage, server } => self.vantages[vantage].make(vantage, server, now),
            Event::Come { vantage, server, is_answered } => {
                let _ = self.come(vantage, server, is_answered);
            }
            Event::Lose { vantage, server } => {
                let link = &mut self.vantages[vantage].links[server];
                if link.on_its_way.take().is_some() {
                    link.teller.on_reply(Reply::Lost);
                }
            }
            Event::Repeat { vantage, server } => {
                if let Some(octets) = self.vantages[vantage].links[server].came_last.clone() {
                    // Nobody waits for that answer any more.
                    self.take(server, &octets);
                }
            }
            Event::Turn { server } => {
                self.servers[server].turn(server, now);
                let octets = self.servers[1 - server].shown.page(&self.servers[server].known);
                // One that has not turned yet shows nothing.
                if let Ok(octets) = octets
                    && Page::read(&octets, SERVERS[1 - server]).is_ok()
                {
                    self.servers[server].hear(server, &octets, now);
                }
            }
            Event::Restart { server } => {
                self.servers[server] = self.servers[server].restarted(server, now);
            }
            Event::Wait(time) => self.now += time,
        }
    }

    fn come(&mut self, vantage: usize, server: usize, is_answered: bool) -> Option<Reply> {
        let octets = self.vantages[vantage].links[server].on_its_way.take()?;
        let reply = self.take(server, &octets);
        let link = &mut self.vantages[vantage].links[server];
        link.teller.on_reply(if is_answered { reply } else { Reply::Lost });
        link.came_last = Some(octets);
        Some(reply)
    }

    /// A report comes to a name server, which judges if it says anything new, and answers.
    fn take(&mut self, server: usize, octets: &[u8]) -> Reply {
        let Report { head, body } = Report::read(octets).unwrap();
        let common::report::Body::Probe(said) = body else { panic!("a probe's") };
        let now = self.now;
        let one = &mut self.servers[server];
        let producer = head.producer.clone();
        let heard = |inbox: &Inbox| {
            let stream = inbox.vantage(&producer)?;
            Some((stream.is_fresh(now), stream.own().is_some_and(|own| own.blind.is_some())))
        };
        let (before, says_something) = (heard(&one.inbox), !said.is_empty());
        let reception = one.inbox.on_report(now, &producer, &head, changes(said));
        if says_something || heard(&one.inbox) != before {
            one.judge(now);
        }
        match reception {
            Reception::Taken(_) => Reply::Taken(head.mark),
            Reception::SendWhole => Reply::SendWhole,
            Reception::Behind(mark) => Reply::Behind(mark),
            Reception::Duplicate(_) => Reply::Duplicate,
            Reception::TooMany => panic!("there are few targets"),
        }
    }

    /// Nothing happens any more: those that still speak go on saying the same, and peers ask each other.
    fn be_still(&mut self, silent: [bool; 4]) {
        let beat = |network: &mut Network| {
            for server in 0..SERVERS.len() {
                for vantage in (0..VANTAGES.len()).filter(|vantage| !silent[*vantage]) {
                    network.speak(vantage, server);
                }
            }
            (0..SERVERS.len()).for_each(|server| network.run(Event::Turn { server }));
        };
        // Past every lease, and past the grace of who has just started.
        for _ in 0..GRACE.as_secs() / 2 + 2 {
            self.now += Duration::from_secs(2);
            beat(self);
        }
        // Nobody waits and nobody ramps any more. Nothing is judged in between, or leases would have ended.
        self.now += AGES;
        for _ in 0..3 {
            self.now += Duration::from_secs(1);
            beat(self);
        }
    }

    /// What was on its way comes; then all that is new, from the beginning if need be.
    fn speak(&mut self, vantage: usize, server: usize) {
        self.come(vantage, server, true);
        for _ in 0..3 {
            self.vantages[vantage].make(vantage, server, self.now);
            if matches!(self.come(vantage, server, true), Some(Reply::Taken(_))) {
                return;
            }
        }
        panic!("{} is not taken by {}", VANTAGES[vantage], SERVERS[server]);
    }

    fn told(&self) -> Vec<String> {
        let of_service = |server: &Server, index: usize| {
            let id = world().service_ids().nth(index).unwrap();
            let beliefs = server.board.of_service(id);
            let sites = SITES.iter().zip(&beliefs.standings);
            let sites = sites.map(|(site, standing)| {
                let struck = standing.struck.len();
                format!("{site}={}*{}/{struck}", standing.health, standing.admit().share())
            });
            let known: Vec<usize> = beliefs.last_known.iter().collect();
            format!("{} {known:?}", sites.collect::<Vec<_>>().join(" "))
        };
        let all = self.servers.iter();
        all.map(|server| [0, 1].map(|index| of_service(server, index)).join("; ")).collect()
    }
}

impl Vantage {
    fn see(&mut self, site: usize, state: State, is_refused: bool, now: Duration) {
        for (id, target) in &world().targets {
            let Address::Ip(address) = target.address else { continue };
            if !world().sites[site].vips.all().any(|vip| vip == address) {
                continue;
            }
            let is_up = |state| matches!(state, State::Up | State::Slow);
            let before = self.says.iter().position(|(said, ..)| said == id);
            let next = match before.map(|index| self.says.swap_remove(index)) {
                None => (*id, state, now, is_refused, 0),
                Some((_, before, since, _, flaps)) if before == state => {
                    (*id, state, since, is_refused, flaps)
                }
                Some((_, before, _, _, flaps)) => {
                    let flips = u32::from(is_up(before) != is_up(state));
                    (*id, state, now, is_refused, flaps + flips)
                }
            };
            self.says.push(next);
        }
    }

    /// A report for a name server, unless one is on its way.
    fn make(&mut self, vantage: usize, server: usize, now: Duration) {
        let link = &mut self.links[server];
        if link.on_its_way.is_some() {
            return;
        }
        for (id, state, since, is_refused, flaps) in &self.says {
            let entry = Entry {
                target: *id,
                state: *state,
                since: (*since - BEHIND).as_millis() as u64,
                streak: 0,
                need: 3,
                flaps: *flaps,
                phases_ms: Phases::default(),
                reason: match (state, is_refused) {
                    (State::Down, true) => Some(Reason::Refused),
                    (State::Down, false) => Some(Reason::Timeout),
                    _ => None,
                },
                detail: String::new(),
                cert_days: None,
            };
            link.teller.say(*id, &serde_json::to_string(&entry).unwrap());
        }
        let outgoing = link.teller.next(now);
        let entries = outgoing.entries.iter().map(|told| match told {
            Told::Entry(octets) => octets.to_string(),
            Told::Gone(_) => panic!("nothing is ever gone"),
        });
        let body = RawValue::from_string(format!("[{}]", entries.collect::<Vec<_>>().join(",")));
        let head = Head {
            cluster: "example".into(),
            producer: VANTAGES[vantage].into(),
            kind: Kind::Probe,
            boot: link.teller.boot(),
            mark: outgoing.mark,
            base: outgoing.base,
            now: now - BEHIND,
            digest: outgoing.digest,
            valid: Duration::from_secs(10),
            own: Own { blind: self.is_blind.then(|| "blind".to_owned()), ..Own::default() },
        };
        link.on_its_way = Some(head.write(&body.unwrap()));
    }
}

fn event() -> impl Strategy<Value = Event> {
    let way = || (0..VANTAGES.len(), 0..SERVERS.len());
    let state = prop_oneof![
        3 => Just((State::Up, false)),
        1 => Just((State::Slow, false)),
        3 => Just((State::Down, false)),
        1 => Just((State::Down, true)),
        1 => Just((State::None, false)),
    ];
    let some = || prop::bool::weighted(0.6);
    let seen = (prop::array::uniform4(some()), prop::array::uniform3(some()), state);
    prop_oneof![
        8 => seen.prop_map(|(vantages, sites, (state, is_refused))| {
            Event::See { vantages, sites, state, is_refused }
        }),
        1 => (0..VANTAGES.len(), any::<bool>())
            .prop_map(|(vantage, is_blind)| Event::Blind { vantage, is_blind }),
        14 => way().prop_map(|(vantage, server)| Event::Make { vantage, server }),
        14 => (way(), prop::bool::weighted(0.9)).prop_map(|((vantage, server), is_answered)| {
            Event::Come { vantage, server, is_answered }
        }),
        2 => way().prop_map(|(vantage, server)| Event::Lose { vantage, server }),
        2 => way().prop_map(|(vantage, server)| Event::Repeat { vantage, server }),
        6 => (0..SERVERS.len()).prop_map(|server| Event::Turn { server }),
        1 => (0..SERVERS.len()).prop_map(|server| Event::Restart { server }),
        6 => (0..4_000_u64).prop_map(|ms| Event::Wait(Duration::from_millis(ms))),
        1 => (10..100_u64).prop_map(|seconds| Event::Wait(Duration::from_secs(seconds))),
    ]
}

/// What most runs begin with: everybody has seen everything, and the grace is over.
fn well(network: &mut Network) {
    let (vantages, sites) = ([true; 4], [true; 3]);
    network.run(Event::See { vantages, sites, state: State::Up, is_refused: false });
    for vantage in 0..VANTAGES.len() {
        for server in 0..SERVERS.len() {
            network.run(Event::Make { vantage, server });
            network.run(Event::Come { vantage, server, is_answered: true });
        }
    }
    network.run(Event::Wait(GRACE));
}

fn runs() -> u32 {
    std::env::var(RUNS_OF).ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::with_cases(runs()) })]

    #[test]
    fn peers_that_hear_the_same_come_to_the_same_board(
        is_well in prop::bool::weighted(0.8),
        events in prop::collection::vec(event(), 1..120),
        silent in any::<[bool; 4]>(),
    ) {
        let mut network = Network::new();
        if is_well {
            well(&mut network);
        }
        events.iter().for_each(|event| network.run(*event));
        network.be_still(silent);
        let told = network.told();
        prop_assert_eq!(&told[0], &told[1]);
        let [one, other] = &network.servers[..] else { panic!("there are two") };
        prop_assert_eq!(one.board.digest, other.board.digest);
        // Nor does either of them say otherwise.
        for server in [one, other] {
            let standing = server.peers.standings(network.now).next().map(|(_, standing, _)| standing);
            prop_assert_eq!(standing, Some(Standing::Agrees));
        }
    }
}
