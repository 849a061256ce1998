//! The vantages of the budget: their world, what each of them says of every target, and who changes its mind when.
//!
//! A change is one of a target, and every vantage tells it, each within a second of its own: as checks find out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context;
use common::principal::Kind;
use common::report::{
    Boot, Entry, Head, Outgoing, Own, Phases, Reason, Reply, State, Teller, Told,
};
use common::target::TargetId;
use gslb_dns::world::World;
use serde_json::value::RawValue;

use crate::dice::Dice;
use crate::world::ORIGIN;

/// Of the budget: 20 vantages, 10,000 targets.
pub const VANTAGES: usize = 20;
const DOMAINS: usize = 10;
/// A service of four sites with two checks each has eight targets, as most have: no target is shared, since a check
/// asks for the service's own name.
pub const SERVICES: usize = 1250;
const SITES: usize = 8;
const SITES_OF_SERVICE: usize = 4;
const CHECKS: usize = 2;
pub const TARGETS: usize = SERVICES * SITES_OF_SERVICE * CHECKS;
/// Services whose first site never changes on its own: theirs is the answer that is waited for.
pub const RESERVED: usize = 250;
/// With the vantages of so many whole domains and one more, the next word decides: six in ten domains.
pub const BEFORE_THE_LAST: usize = 11;

/// Targets that change each second.
pub const CHANGES: usize = TARGETS / 100;
/// What goes down comes back after this.
const DOWN_FOR: Duration = Duration::from_secs(2);
/// Within which each vantage finds out.
const FOUND_WITHIN: Duration = Duration::from_secs(1);
/// As the probe has it.
const LEASE: Duration = Duration::from_secs(10);

pub fn label(service: usize) -> String {
    format!("s{service:04}")
}

pub fn vantage_name(vantage: usize) -> String {
    format!("v{vantage:02}")
}

fn site_of(service: usize, candidate: usize) -> usize {
    (service + candidate * 2 + service / SITES) % SITES
}

/// Where a service sends its clients while its first site is fit.
pub fn first_address(service: usize) -> Ipv4Addr {
    address(site_of(service, 0))
}

fn address(site: usize) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, site as u8 + 1)
}

/// Sites in an order of their own for each service, so that the first that is fit is the one answer that is right.
pub fn world() -> String {
    let mut text = format!("[zone.\"{ORIGIN}\"]\nfile = \"{ORIGIN}.zone\"\n");
    for site in 0..SITES {
        let _ = writeln!(text, "[site.x{site}]\nvips = [\"{}\"]", address(site));
    }
    for vantage in 0..VANTAGES {
        let (name, domain) = (vantage_name(vantage), vantage % DOMAINS);
        let _ = writeln!(
            text,
            "[vantage.{name}]\nplace = {{ country = \"NL\" }}\ndomain = \"d{domain}\""
        );
    }
    text += "[check.web]\nkind = \"https\"\npath = \"/healthz\"\n[check.port]\nkind = \"tcp\"\nport = 80\n";
    for service in 0..SERVICES {
        let sites: Vec<String> = (0..SITES_OF_SERVICE)
            .map(|candidate| format!("\"x{}\"", site_of(service, candidate)))
            .collect();
        let _ = writeln!(
            text,
            "[service.\"{}.{ORIGIN}\"]\nsites = [{}]\ncheck = [\"web\", \"port\"]\nsteer = [\"failover\"]\n\
             quorum = {{ down = 0.6, up = 0.6, vantages = 3, domains = 2, max_removed = 0.5 }}\n\
             when_all_down = \"open\"\nttl = {{ max = \"30s\" }}",
            label(service),
            sites.join(", "),
        );
    }
    text
}

/// The targets by service, candidate and check.
pub struct Targets(HashMap<(usize, usize, usize), TargetId>);

impl Targets {
    pub fn of(world: &World) -> anyhow::Result<Targets> {
        let mut targets = HashMap::new();
        for service in &world.services {
            let name = service.name.to_string();
            let number = name.get(1..5).and_then(|digits| digits.parse().ok());
            let number: usize = number.with_context(|| format!("a service {name}"))?;
            let watch = service.watch.as_ref().context("nobody watches it")?;
            for (candidate, vips) in watch.candidates.iter().enumerate() {
                for (check, index) in vips.iter().flat_map(|vip| &vip.targets).enumerate() {
                    targets.insert((number, candidate, check), world.targets[*index].0);
                }
            }
        }
        anyhow::ensure!(targets.len() == TARGETS, "{} targets, not {TARGETS}", targets.len());
        Ok(Targets(targets))
    }

    pub fn id(&self, service: usize, candidate: usize, check: usize) -> TargetId {
        self.0[&(service, candidate, check)]
    }

    fn all(&self) -> impl Iterator<Item = TargetId> {
        self.0.values().copied()
    }
}

/// One probe, as far as its name servers know it.
pub struct Vantage {
    pub name: String,
    teller: Teller,
    says: HashMap<TargetId, (State, Duration, u32)>,
}

impl Vantage {
    /// Everything has always been up.
    pub fn new(number: usize, targets: &Targets) -> Vantage {
        let teller = Teller::new(Boot([number as u8 + 1; 16]), 1);
        let mut vantage = Vantage { name: vantage_name(number), teller, says: HashMap::new() };
        for target in targets.all() {
            vantage.tell(target, State::Up, Duration::ZERO, 0);
        }
        vantage
    }

    /// From now on, on its own clock.
    pub fn say(&mut self, target: TargetId, state: State, now: Duration) {
        let flaps = self.says.get(&target).map_or(0, |(_, _, flaps)| flaps + 1);
        self.tell(target, state, now, flaps);
    }

    fn tell(&mut self, target: TargetId, state: State, since: Duration, flaps: u32) {
        self.says.insert(target, (state, since, flaps));
        let is_down = state == State::Down;
        let entry = Entry {
            target,
            state,
            since: since.as_millis() as u64,
            streak: 0,
            need: 3,
            flaps,
            phases_ms: Phases {
                connect: Some(12),
                tls: Some(25),
                first_byte: (!is_down).then_some(31),
                resolve: None,
            },
            reason: is_down.then_some(Reason::Timeout),
            detail: if is_down { "no answer within 2 s".to_owned() } else { String::new() },
            cert_days: Some(61),
        };
        let octets = serde_json::to_string(&entry).expect("numbers and strings are JSON");
        self.teller.say(target, &octets);
    }

    /// When its next report is due.
    pub fn due(&self) -> Option<Duration> {
        self.teller.due()
    }

    /// The octets of the report that is due now, and how many entries it has.
    pub fn report(&mut self, now: Duration) -> (Vec<u8>, usize) {
        let Outgoing { mark, base, digest, entries } = self.teller.next(now);
        let told: Vec<String> = entries
            .iter()
            .map(|told| match told {
                Told::Entry(octets) => octets.to_string(),
                Told::Gone(target) => format!(r#"{{"target":"{target}","state":"gone"}}"#),
            })
            .collect();
        let head = Head {
            cluster: "bench".into(),
            producer: self.name.clone(),
            kind: Kind::Probe,
            boot: self.teller.boot(),
            mark,
            base,
            now,
            digest,
            valid: LEASE,
            own: Own { references_up: 3, references: 3, ..Own::default() },
        };
        let body = RawValue::from_string(format!("[{}]", told.join(",")));
        (head.write(&body.expect("a list of entries is JSON")), told.len())
    }

    pub fn on_reply(&mut self, reply: Reply) {
        self.teller.on_reply(reply);
    }
}

/// Who says what of which target next.
pub struct Churn {
    dice: Dice,
    /// Targets in no order, gone round in: none of a first site, and none of a reserved service.
    order: Vec<TargetId>,
    next: usize,
    changes: usize,
    down: VecDeque<(Duration, TargetId)>,
    /// By when it is found out.
    told: BTreeMap<(Duration, u64), (usize, TargetId, State)>,
    number: u64,
    begin: Duration,
}

impl Churn {
    pub fn new(targets: &Targets, seed: u64, begin: Duration) -> Churn {
        let mut dice = Dice::seeded(seed);
        let mut order: Vec<TargetId> = (0..SERVICES - RESERVED)
            .flat_map(|service| (1..SITES_OF_SERVICE).map(move |candidate| (service, candidate)))
            .flat_map(|(service, candidate)| {
                (0..CHECKS).map(move |check| targets.id(service, candidate, check))
            })
            .collect();
        for index in (1..order.len()).rev() {
            order.swap(index, dice.below(index + 1));
        }
        let (down, told) = (VecDeque::new(), BTreeMap::new());
        Churn { dice, order, next: 0, changes: 0, down, told, number: 0, begin }
    }

    /// What vantages have found out by now, in the order in which they did.
    pub fn until(&mut self, now: Duration) -> Vec<(usize, TargetId, State)> {
        let due = (now.saturating_sub(self.begin).as_secs_f64() * CHANGES as f64) as usize;
        while self.changes < due {
            // At first nothing is down that could come back.
            let back = self.down.front().filter(|(at, _)| *at <= now).map(|(_, target)| *target);
            match back {
                Some(target) => {
                    self.down.pop_front();
                    self.found(now, target, State::Up);
                }
                None => {
                    let target = self.order[self.next % self.order.len()];
                    self.next += 1;
                    self.down.push_back((now + DOWN_FOR, target));
                    self.found(now, target, State::Down);
                }
            }
            self.changes += 1;
        }
        let later = self.told.split_off(&(now, u64::MAX));
        std::mem::replace(&mut self.told, later).into_values().collect()
    }

    fn found(&mut self, now: Duration, target: TargetId, state: State) {
        for vantage in 0..VANTAGES {
            let after = FOUND_WITHIN.mul_f64(self.dice.below(1000) as f64 / 1000.0);
            self.number += 1;
            self.told.insert((now + after, self.number), (vantage, target, state));
        }
    }
}
