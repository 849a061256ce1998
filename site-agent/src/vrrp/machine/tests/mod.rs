//! Machines by table and by story. What happens and what is done about it are written as short words, here alone.

mod active;
mod backup;
mod fitness;
mod table;

use std::fmt::Write;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use super::Machine;
use super::action::{Action, News};
use super::event::{Cause, Event, Lease, Link, TrackResult};
use super::settings::{Balancer, MUTE, Preempt, Refresh, Settings, TrackId, Weight, Witness};
use crate::vrrp::advert::{Claim, Interval, Priority, Version};

/// Priority 100, an advert each second, at 192.0.2.2: skew 609.375 ms, down after 3,609.375 ms.
fn settings() -> Settings {
    Settings {
        version: Version::V3,
        address: address("192.0.2.2"),
        priority: priority(100),
        interval: interval(100),
        down_adverts: NonZeroU8::new(3).unwrap(),
        preempt: Preempt::Never,
        tracks: [Weight::Takes(20)].into(),
        balancer: Balancer::Leased,
        witness: Witness::NotAsked,
        lifetime: Duration::from_secs(2),
        refresh: Refresh::Every(Duration::from_secs(60)),
    }
}

fn owner() -> Settings {
    Settings { priority: Priority::OWNER, ..settings() }
}

fn preempting(delay: u64) -> Settings {
    Settings { preempt: Preempt::After(millis(delay)), ..settings() }
}

fn asking() -> Settings {
    Settings { witness: Witness::Seen(millis(2000)), ..settings() }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn priority(of: u8) -> Priority {
    Priority::new(of).unwrap()
}

fn interval(centiseconds: u16) -> Interval {
    Interval::of_centiseconds(centiseconds).unwrap()
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A machine that was told that its link is up and its lease held, and what time it is.
struct Story {
    machine: Machine,
    now: Duration,
    /// What was done, and when.
    done: Vec<(Duration, Action)>,
}

impl Story {
    /// Not started.
    fn of(settings: Settings) -> Story {
        let mut story =
            Story { machine: Machine::new(settings), now: Duration::ZERO, done: vec![] };
        assert_eq!(story.hears("link up"), "");
        assert_eq!(story.hears("lease held"), "");
        story
    }

    /// Listening since 0.
    fn started(settings: Settings) -> Story {
        let mut story = Story::of(settings);
        assert_eq!(story.hears("startup"), "remove, Initialize -> Backup: started");
        story
    }

    /// Active, as nobody was heard.
    fn active(settings: Settings) -> Story {
        let mut story = Story::started(settings);
        story.sleeps();
        assert_eq!(story.machine.role().to_string(), "Active", "{}", story.told());
        story.done.clear();
        story
    }

    fn at(&mut self, at: u64) -> &mut Story {
        assert!(millis(at) >= self.now, "{at} ms are gone");
        self.now = millis(at);
        self
    }

    /// What an event makes it do.
    fn hears(&mut self, event: &str) -> String {
        let mut actions = vec![];
        self.machine.on_event(self.now, event_of(event), &mut actions);
        let text = shown(&actions);
        self.done.extend(actions.into_iter().map(|action| (self.now, action)));
        text
    }

    /// Until it is next woken, and what it does then.
    fn sleeps(&mut self) -> String {
        self.now = self.machine.next_wakeup().expect("it waits for something");
        self.hears("tick")
    }

    /// Wakes it whenever it wants to be, until then.
    fn runs(&mut self, until: u64) -> &mut Story {
        while let Some(at) = self.machine.next_wakeup().filter(|at| *at <= millis(until)) {
            assert!(at >= self.now, "it wants to be woken in the past");
            let before = self.done.len();
            self.sleeps();
            let is_later = self.machine.next_wakeup() > Some(self.now);
            assert!(
                is_later || self.done.len() > before,
                "it is woken for nothing, again and again"
            );
        }
        self.at(until)
    }

    /// What was done since this was last asked, a line for each moment.
    fn told(&mut self) -> String {
        let mut lines = String::new();
        let done = std::mem::take(&mut self.done);
        for moment in done.chunk_by(|one, other| one.0 == other.0) {
            let actions: Vec<Action> = moment.iter().map(|(_, action)| *action).collect();
            writeln!(lines, "{} {}", moment[0].0.as_millis(), shown(&actions)).unwrap();
        }
        lines
    }
}

fn event_of(text: &str) -> Event {
    let words: Vec<&str> = text.split(' ').collect();
    let track =
        |track: &str, result| Event::Tracked { track: TrackId(track.parse().unwrap()), result };
    match words[..] {
        ["startup"] => Event::Startup { settle: Duration::ZERO },
        ["startup", "settling", settle] => {
            Event::Startup { settle: millis(settle.parse().unwrap()) }
        }
        ["shutdown"] => Event::Shutdown,
        ["tick"] => Event::Tick,
        ["track", id, "fails"] => track(id, TrackResult::Fails),
        ["track", id, "passes"] => track(id, TrackResult::Passes),
        ["lease", "held"] => Event::Lease(Lease::Held),
        ["lease", "lost"] => Event::Lease(Lease::Lost),
        ["link", "up"] => Event::Link(Link::Up),
        ["link", "down"] => Event::Link(Link::Down(Cause::NoCarrier)),
        ["sent"] => Event::Sent,
        ["unsent"] => Event::Unsent,
        ["address", "lost"] => Event::AddressLost,
        ["address", "found"] => Event::AddressFound,
        ["witnessed"] => Event::Witnessed,
        ["hand", "over"] => Event::HandOver,
        ["take", "back"] => Event::TakeBack,
        // «heard PRIORITY from LAST»: an advert of 192.0.2.LAST, each second unless «every CENTISECONDS».
        ["heard", claim, "from", last, ref rest @ ..] => Event::Heard {
            from: address(&format!("192.0.2.{last}")),
            claim: Claim::of_octet(claim.parse().unwrap()),
            interval: match rest {
                [] => interval(100),
                ["every", centiseconds] => interval(centiseconds.parse().unwrap()),
                other => panic!("{other:?}"),
            },
        },
        ref other => panic!("{other:?} is no event"),
    }
}

fn shown(actions: &[Action]) -> String {
    let words = actions.iter().map(|action| match action {
        Action::Advertise(priority) => format!("advertise {priority}"),
        Action::Resign => "resign".to_owned(),
        Action::AddAddresses => "add".to_owned(),
        Action::RenewAddresses => "renew".to_owned(),
        Action::RemoveAddresses => "remove".to_owned(),
        Action::Announce { times } => format!("announce {times}"),
        Action::AskWitness => "ask".to_owned(),
        Action::Tell(News { what, .. }) => what.to_string(),
    });
    words.collect::<Vec<_>>().join(", ")
}
