//! Random walks, and what must hold on all of them.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;
use std::time::Duration;

use super::bus::{Dice, Weather, World, interval};
use crate::vrrp::advert::{Priority, Version};
use crate::vrrp::machine::action::Role;
use crate::vrrp::machine::event::{Cause, Event, Lease, Link, TrackResult};
use crate::vrrp::machine::settings::{
    Balancer, FOUGHT, Preempt, Refresh, Settings, TrackId, Weight, Witness,
};

const SEEDS: u64 = 1_000;
/// How late a router may be woken, and what a witness takes to answer.
const SLACK: Duration = Duration::from_millis(5);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Routers that were configured alike, but for what makes one better than another.
fn routers(count: usize, dice: &mut Dice) -> Vec<Settings> {
    let (version, centiseconds) = dice.one_of(&[
        (Version::V3, 10),
        (Version::V3, 40),
        (Version::V3, 100),
        (Version::V2, 100),
    ]);
    let preempt = dice.one_of(&[
        Preempt::Never,
        Preempt::After(Duration::ZERO),
        Preempt::After(millis(u64::from(centiseconds) * 50)),
    ]);
    let witness = dice.one_of(&[Witness::NotAsked, Witness::Seen(millis(2000))]);
    let priorities: Vec<u8> = match dice.below(4) {
        0 => vec![100; count],
        1 => vec![255, 100, 99],
        2 => vec![200, 150, 100],
        _ => vec![101, 254, 1],
    };
    let first = dice.below(250) as u8 + 1;
    let settings = |(node, priority): (usize, u8)| Settings {
        version,
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, first.wrapping_add(node as u8 * 77).max(1))),
        priority: Priority::new(priority).unwrap(),
        interval: interval(centiseconds),
        down_adverts: NonZeroU8::new(3).unwrap(),
        preempt,
        tracks: [Weight::Takes(120), Weight::Fault].into(),
        balancer: Balancer::Leased,
        witness,
        lifetime: millis(2000),
        refresh: Refresh::Every(millis(60_000)),
    };
    priorities.into_iter().take(count).enumerate().map(settings).collect()
}

/// A walk and what is watched on it.
struct Walk {
    seed: u64,
    world: World,
    advert: Duration,
    /// The longest that an advert is on its way while all is well.
    delay: Duration,
    /// Since when the link has carried all adverts, and no router stood still.
    clear_since: Option<Duration>,
    /// Since when somebody could lead and nothing was done to anybody.
    calm_since: Duration,
    two_since: Option<Duration>,
    none_since: Option<Duration>,
    /// The longest that two led, while all was clear.
    longest_two: Duration,
}

impl Walk {
    fn new(seed: u64, count: usize, delay_of_an_advert: u64) -> Walk {
        let mut dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let settings = routers(count, &mut dice);
        let advert = settings[0].interval.duration();
        let delay = advert / u32::try_from(delay_of_an_advert).unwrap();
        let weather = Weather { lost: 0, delay, cut: vec![] };
        Walk {
            seed,
            world: World::new(settings, weather, dice),
            advert,
            delay,
            clear_since: Some(Duration::ZERO),
            calm_since: Duration::ZERO,
            two_since: None,
            none_since: Some(Duration::ZERO),
            longest_two: Duration::ZERO,
        }
    }

    fn fail(&self, what: &str) -> ! {
        let roles: Vec<_> =
            self.world.nodes.iter().map(|node| (node.runs, node.machine.role())).collect();
        let log = self.world.log.join("\n");
        let settings = &self.world.nodes[0].settings;
        panic!(
            "seed {}, {} ms: {what}\n{roles:?}\n{settings:?}\n{:?}\n{log}",
            self.seed,
            self.world.now.as_millis(),
            self.world.weather,
        );
    }

    /// The longest that a Backup may wait before it leads, and its adverts are heard.
    fn patience(&self) -> Duration {
        // Active_Down_Interval of priority 1 is a little less than four adverts.
        self.advert * 5 + self.delay + SLACK
    }

    fn run(&mut self, until: Duration) {
        while self.world.next() <= until {
            let at = self.world.next();
            self.world.step(at);
            self.watch();
        }
        self.world.step(until);
        self.watch();
    }

    fn watch(&mut self) {
        let now = self.world.now;
        for (number, node) in self.world.nodes.iter().enumerate() {
            if node.is_stalled(now) || !node.runs {
                continue;
            }
            match (node.leads(), node.serves(now)) {
                (false, true) => self.fail(&format!("{number} has addresses and does not lead")),
                (true, false) => self.fail(&format!("{number} leads and has no addresses")),
                (true, true) | (false, false) => {}
            }
        }
        let leading = self.world.nodes.iter().filter(|node| node.leads()).count();
        let is_fit = self.world.nodes.iter().any(|node| node.is_fit());
        self.two_since = if leading > 1 { self.two_since.or(Some(now)) } else { None };
        self.none_since = if leading == 0 && is_fit { self.none_since.or(Some(now)) } else { None };
        if let (Some(two), Some(clear)) = (self.two_since, self.clear_since) {
            let long = now.saturating_sub(two.max(clear));
            self.longest_two = self.longest_two.max(long);
            if long > self.advert + self.delay + SLACK {
                self.fail(&format!("two led for {} ms", long.as_millis()));
            }
        }
        if let (Some(none), Some(_)) = (self.none_since, self.clear_since) {
            let long = now.saturating_sub(none.max(self.calm_since));
            if long > self.patience() {
                self.fail(&format!("nobody led for {} ms", long.as_millis()));
            }
        }
    }

    fn log(&mut self, what: String) {
        self.world.log.push(format!("{} ms: -- {what}", self.world.now.as_millis()));
    }

    /// Something that people, boxes and proxies do, of which adverts know nothing.
    fn disturb(&mut self) {
        self.calm_since = self.world.now;
        let count = self.world.nodes.len() as u64;
        let node = self.world.dice.below(count) as usize;
        let track = |track, result| Event::Tracked { track: TrackId(track), result };
        let (what, event) = match self.world.dice.below(10) {
            0 => ("shutdown", Event::Shutdown),
            1 => ("startup", Event::Startup { settle: Duration::ZERO }),
            2 => ("lease lost", Event::Lease(Lease::Lost)),
            3 => ("lease held", Event::Lease(Lease::Held)),
            4 => ("fails", track(0, TrackResult::Fails)),
            5 => ("passes", track(0, TrackResult::Passes)),
            6 => ("unfit", track(1, TrackResult::Fails)),
            7 => ("fit", track(1, TrackResult::Passes)),
            8 => ("hand over", Event::HandOver),
            _ => ("take back", Event::TakeBack),
        };
        self.log(format!("{node} {what}"));
        self.world.event(node, event);
    }

    /// Something that goes wrong.
    fn break_something(&mut self) {
        let (now, count) = (self.world.now, self.world.nodes.len() as u64);
        (self.calm_since, self.clear_since) = (now, None);
        let node = self.world.dice.below(count) as usize;
        let other = self.world.dice.below(count) as usize;
        match self.world.dice.below(10) {
            0 => self.world.weather.cut.push((node, other)),
            1 => {
                let to = (0..count as usize).flat_map(|to| [(node, to), (to, node)]);
                self.world.weather.cut.extend(to);
            }
            2 => self.world.weather.lost = self.world.dice.one_of(&[10, 30, 60, 90, 100]),
            3 => {
                let times = self.world.dice.one_of(&[1, 2, 10]);
                self.world.weather.delay = self.advert * times;
            }
            4 => {
                let stall = self.world.dice.up_to(self.advert * 12);
                self.world.nodes[node].stalled_until = now + stall;
                self.log(format!("{node} stalls for {} ms", stall.as_millis()));
            }
            5 => self.world.kill(node),
            6 => self.world.start(node),
            7 => {
                let down = Link::Down(Cause::NoCarrier);
                let link = self.world.dice.one_of(&[Link::Up, down]);
                if link == down {
                    self.world.nodes[node].has_addresses_until = None;
                }
                self.world.event(node, Event::Link(link));
            }
            8 => {
                if self.world.nodes[node].has_addresses_until.take().is_some() {
                    self.world.event(node, Event::AddressLost);
                }
            }
            _ => self.world.nodes[node].has_witness = self.world.dice.below(2) == 0,
        }
        self.log(format!("broken: {node} {other} {:?}", self.world.weather));
    }

    fn mend(&mut self) {
        let Walk { world, delay, .. } = self;
        world.weather = Weather { lost: 0, delay: *delay, cut: vec![] };
        let now = world.now;
        for node in 0..world.nodes.len() {
            world.nodes[node].has_witness = true;
            world.nodes[node].stalled_until = world.nodes[node].stalled_until.min(now);
        }
        // Who stood still hears first what it has missed.
        world.step(now);
        for node in 0..world.nodes.len() {
            if !world.nodes[node].runs {
                world.start(node);
            }
            world.event(node, Event::Startup { settle: Duration::ZERO });
            world.event(node, Event::Link(Link::Up));
            world.event(node, Event::Lease(Lease::Held));
            for track in [0, 1] {
                let (track, result) = (TrackId(track), TrackResult::Passes);
                world.event(node, Event::Tracked { track, result });
            }
            world.event(node, Event::TakeBack);
        }
        self.log("mended".to_owned());
        // What was sent before is still on its way, or is lost with whatever was broken.
        let mut clear = now;
        match self.world.dice.below(2) {
            0 => self.world.lose_what_is_on_the_way(),
            _ => clear += self.advert * 10,
        }
        (self.clear_since, self.calm_since) = (None, clear);
        self.run(clear);
        self.clear_since = Some(clear);
    }

    /// Some while after all is mended, one leads and nothing changes any more.
    fn settles(&mut self) {
        let until = self.world.now + self.patience() * 3 + self.advert * 10 + FOUGHT;
        self.run(until);
        let before: Vec<Role> = self.world.nodes.iter().map(|node| node.machine.role()).collect();
        let told = self.world.log.len();
        self.run(until + self.advert * 10);
        let leaders: Vec<usize> =
            (0..before.len()).filter(|node| self.world.nodes[*node].leads()).collect();
        if leaders.len() != 1
            || before.iter().any(|role| !matches!(role, Role::Active | Role::Backup))
        {
            self.fail("not one leads, and the others stand by");
        }
        if self.world.log.len() != told {
            self.fail("something still changes");
        }
        let best = self.world.nodes.iter().map(|node| node.machine.priority()).max();
        let leader = &self.world.nodes[leaders[0]];
        if leader.settings.preempt != Preempt::Never && Some(leader.machine.priority()) != best {
            self.fail("the best does not lead, though it preempts");
        }
    }
}

/// On a link that loses nothing: starts, ends, leases and orders.
fn good_link(count: usize) {
    for seed in 0..SEEDS {
        let mut walk = Walk::new(seed, count, 8);
        for node in 0..count {
            let later = walk.world.now + walk.world.dice.up_to(walk.advert * 6);
            walk.run(later);
            walk.calm_since = walk.world.now;
            walk.world.start(node);
        }
        for _ in 0..12 {
            let later = walk.world.now + walk.world.dice.up_to(walk.advert * 8);
            walk.run(later);
            walk.disturb();
        }
        if walk.longest_two > walk.delay + SLACK {
            walk.fail(&format!("two led for {} ms", walk.longest_two.as_millis()));
        }
    }
}

/// On one that does not: until everything is mended, nothing but «only who leads has addresses» is asked for.
fn bad_link(count: usize) {
    for seed in 0..SEEDS {
        let mut walk = Walk::new(seed, count, 4);
        for node in 0..count {
            walk.world.start(node);
        }
        for _ in 0..walk.world.dice.below(3) + 1 {
            for _ in 0..walk.world.dice.below(10) + 1 {
                let later = walk.world.now + walk.world.dice.up_to(walk.advert * 6);
                walk.run(later);
                match walk.world.dice.below(3) {
                    0 => walk.disturb(),
                    _ => walk.break_something(),
                }
            }
            walk.mend();
            let later = walk.world.now + walk.world.dice.up_to(walk.advert * 20);
            walk.run(later);
        }
        walk.settles();
    }
}

#[test]
fn two_routers_on_a_good_link_never_both_lead_for_longer_than_an_advert_is_on_its_way() {
    good_link(2);
}

#[test]
fn three_routers_on_a_good_link_never_two_lead_for_longer_than_an_advert_is_on_its_way() {
    good_link(3);
}

#[test]
fn two_routers_on_a_bad_link_come_to_one_that_leads() {
    bad_link(2);
}

#[test]
fn three_routers_on_a_bad_link_come_to_one_that_leads() {
    bad_link(3);
}

#[test]
fn three_router_failover_order() {
    const NOBODY: [usize; 0] = [];
    let settings = |(last, priority): (u8, u8)| Settings {
        version: Version::V3,
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)),
        priority: Priority::new(priority).unwrap(),
        interval: interval(40),
        down_adverts: NonZeroU8::new(3).unwrap(),
        preempt: Preempt::Never,
        tracks: [].into(),
        balancer: Balancer::NotAsked,
        witness: Witness::NotAsked,
        lifetime: millis(2000),
        refresh: Refresh::Never,
    };
    let settings = [(1, 100), (2, 200), (3, 150)].map(settings).into();
    let weather = Weather { lost: 0, delay: millis(1), cut: vec![] };
    let mut world = World::new(settings, weather, Dice(1));
    let leads = |world: &mut World, until: u64| {
        while world.next() <= millis(until) {
            world.step(world.next());
        }
        world.step(millis(until));
        (0..3).filter(|node| world.nodes[*node].leads()).collect::<Vec<_>>()
    };
    for node in 0..3 {
        world.start(node);
    }
    // Three intervals and the skew of 200, which is 87.5 ms.
    assert_eq!(leads(&mut world, 1287), NOBODY);
    assert_eq!(leads(&mut world, 1300), [1]);
    // The best is killed: the next best follows within 1,365.6 ms of its last advert, the others let it.
    world.kill(1);
    assert_eq!(leads(&mut world, 2600), NOBODY);
    assert_eq!(leads(&mut world, 2680), [2]);
    // That one shuts down: the last follows after its skew, 243.75 ms.
    assert_eq!(leads(&mut world, 4000), [2]);
    world.event(2, Event::Shutdown);
    assert_eq!(leads(&mut world, 4243), NOBODY);
    assert_eq!(leads(&mut world, 4250), [0]);
    // The best comes back and lets it be.
    world.start(1);
    assert_eq!(leads(&mut world, 20_000), [0]);
}
