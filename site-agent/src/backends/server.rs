//! One server: what each has said of it, and what it therefore serves.

use std::num::NonZeroU32;
use std::time::Duration;

use common::streak::{self, Progress, Thresholds};

use super::orders::{Orders, Origin};
use super::status::Status;
use super::{Administrative, By, Configured, Limit, WeightOrder};
use crate::balance::Share;

/// A slow start changes weights this many times.
const STEPS: u32 = 20;

#[derive(Clone, Debug)]
pub struct Server {
    configured: Configured,
    orders: Orders,
    check: Check,
    /// How far the results are on their way to another state.
    progress: Progress,
    agent: Agent,
    /// Taken out for what was seen of its answers, until somebody says that it is over.
    is_ejected: bool,
    /// What an operator and what the agent ordered; the operator's goes first.
    weight: [Option<WeightOrder>; 2],
    limit: [Option<Limit>; 2],
    start: Start,
    /// When it last began to serve something else; `None` while it has not.
    changed: Option<Duration>,
}

/// What the checks have come to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Check {
    /// There is none.
    None,
    /// No result has been believed yet.
    Starting,
    Up,
    /// It answers, and asks for no new clients (HAProxy's `http-check disable-on-404`).
    NoLb,
    Down,
}

/// What a check's results have come to, as whoever has the streak tells it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Checked {
    /// Too little to say: what was believed before still is.
    Unknown,
    Up,
    NoLb,
    Down,
}

impl From<streak::State> for Checked {
    fn from(state: streak::State) -> Checked {
        match state {
            streak::State::Unknown => Checked::Unknown,
            streak::State::Up => Checked::Up,
            streak::State::Down => Checked::Down,
        }
    }
}

/// What the agent says of the service's health.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Agent {
    /// Nothing yet, or that it is up: both leave the word to the checks.
    Up,
    Down(AgentDown),
}

/// HAProxy's three words for the same, which tell people whether it was meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AgentDown {
    Down,
    Fail,
    Stopped,
}

/// How a server comes to its whole weight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Start {
    /// It was there when we came, or has been here for long.
    Warm,
    /// It was out: when it is back it starts slowly.
    Cold,
    Slow {
        since: Duration,
    },
}

/// What somebody says of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    Order {
        by: By,
        to: Administrative,
    },
    /// 100 % by command takes back the operator's own word, so that the agent's counts again.
    Weigh {
        by: By,
        to: WeightOrder,
    },
    Limit {
        by: By,
        to: Limit,
    },
    /// A result of the checks, or an operator's word in their place, which holds until the next of them.
    Check {
        to: Checked,
        progress: Progress,
    },
    AgentUp,
    AgentDown(AgentDown),
    Eject,
    Return,
}

/// What may be sent to a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Serves {
    /// Balanced and persistent requests.
    All,
    /// Those alone that belong to it by persistence.
    Persistent,
    Nothing,
}

impl Server {
    pub fn new(configured: Configured) -> Server {
        let check = if configured.check.is_some() { Check::Starting } else { Check::None };
        let mut server = Server {
            orders: Orders::new(configured.administrative),
            check,
            progress: Progress { streak: 0, need: 0 },
            agent: Agent::Up,
            is_ejected: false,
            weight: [None; 2],
            limit: [None; 2],
            start: Start::Warm,
            changed: None,
            configured,
        };
        // Who is out by the config is out, however new.
        server.follow(Duration::ZERO);
        server
    }

    /// The same server under another config.
    pub(super) fn reconfigured(mut self, configured: Configured) -> Server {
        self.orders.rewrite(configured.administrative);
        self.check = match (self.check, configured.check) {
            (_, None) => Check::None,
            // It has served without a check; the first that fails is soon enough to take it out.
            (Check::None, Some(_)) => Check::Up,
            (known @ (Check::Starting | Check::Up | Check::NoLb | Check::Down), Some(_)) => known,
        };
        if configured.check.is_none() {
            self.progress = Progress { streak: 0, need: 0 };
        }
        if !configured.has_agent {
            self.orders.forget_agent();
            self.agent = Agent::Up;
            (self.weight[of(By::Agent)], self.limit[of(By::Agent)]) = (None, None);
        }
        // An operator's word was about what stood there then.
        if self.configured.weight != configured.weight {
            self.weight[of(By::Command)] = None;
        }
        if self.configured.limit != configured.limit {
            self.limit[of(By::Command)] = None;
        }
        self.configured = configured;
        self
    }

    pub(super) fn on_event(&mut self, now: Duration, event: Event) {
        let served = (self.serves(), self.administrative());
        match event {
            Event::Order { by, to } => self.orders.give(by, to),
            Event::Weigh { by: By::Command, to: WeightOrder::Percent(100) } => {
                self.weight[of(By::Command)] = None;
            }
            Event::Weigh { by, to } => self.weight[of(by)] = Some(to),
            Event::Limit { by, to } => self.limit[of(by)] = Some(to),
            Event::Check { to, progress } => self.on_check(to, progress),
            Event::AgentUp => self.agent = Agent::Up,
            Event::AgentDown(word) => self.agent = Agent::Down(word),
            Event::Eject => self.is_ejected = true,
            Event::Return => self.is_ejected = false,
        }
        self.follow(now);
        if served != (self.serves(), self.administrative()) {
            self.changed = Some(now);
        }
    }

    fn on_check(&mut self, to: Checked, progress: Progress) {
        self.check = match (self.check, to) {
            // A late result of a check that the config has no more.
            (Check::None, Checked::Unknown | Checked::Up | Checked::NoLb | Checked::Down) => return,
            (
                known @ (Check::Starting | Check::Up | Check::NoLb | Check::Down),
                Checked::Unknown,
            ) => known,
            (Check::Starting | Check::Up | Check::NoLb | Check::Down, Checked::Up) => Check::Up,
            (Check::Starting | Check::Up | Check::NoLb | Check::Down, Checked::NoLb) => Check::NoLb,
            (Check::Starting | Check::Up | Check::NoLb | Check::Down, Checked::Down) => Check::Down,
        };
        self.progress = progress;
    }

    /// Whether it is out, and so comes back cold; or is back.
    fn follow(&mut self, now: Duration) {
        let is_out = self.is_maint() || self.is_down() || self.is_ejected;
        self.start = match self.start {
            Start::Warm | Start::Cold | Start::Slow { .. } if is_out => Start::Cold,
            Start::Cold if self.check != Check::Starting => Start::Slow { since: now },
            as_was @ (Start::Warm | Start::Cold | Start::Slow { .. }) => as_was,
        };
    }

    pub fn name(&self) -> &str {
        &self.configured.name
    }

    pub fn configured(&self) -> &Configured {
        &self.configured
    }

    /// What is ordered, by whoever is strictest.
    pub fn administrative(&self) -> Administrative {
        self.orders.in_force().0
    }

    /// What is ordered other than to be ready, and by whom.
    pub fn ordered(&self) -> Option<(Administrative, Origin)> {
        let (order, origin) = self.orders.in_force();
        (order != Administrative::Ready).then_some((order, origin))
    }

    pub fn is_maint(&self) -> bool {
        self.administrative() == Administrative::Maint
    }

    /// By the checks or by the agent.
    fn is_down(&self) -> bool {
        self.check == Check::Down || self.agent != Agent::Up
    }

    /// What may be sent to it, if the pool believes in health.
    pub fn serves(&self) -> Serves {
        let is_well = !self.is_down() && !self.is_ejected;
        match (self.administrative(), self.check) {
            (Administrative::Maint, _) | (_, Check::Starting | Check::Down) => Serves::Nothing,
            (_, Check::None | Check::Up | Check::NoLb) if !is_well => Serves::Nothing,
            (Administrative::Drain, Check::None | Check::Up | Check::NoLb)
            | (Administrative::Ready, Check::NoLb) => Serves::Persistent,
            (Administrative::Ready, Check::None | Check::Up) if self.whole_share() == 0 => {
                Serves::Persistent
            }
            (Administrative::Ready, Check::None | Check::Up) => Serves::All,
        }
    }

    /// Whether nothing speaks for or against it yet: no look has passed or failed.
    pub(super) fn is_unseen(&self) -> bool {
        self.is_starting() && self.progress.streak == 0
    }

    /// Whether too little is known of it yet to say anything.
    pub(super) fn is_starting(&self) -> bool {
        let is_suspect = self.is_down() || self.is_ejected;
        self.is_wanted() && self.check == Check::Starting && !is_suspect
    }

    /// Nobody has taken it out on purpose: not ordered out, and not weighed to nothing.
    pub(super) fn is_wanted(&self) -> bool {
        self.administrative() == Administrative::Ready && self.whole_share() > 0
    }

    /// It asks for no new clients itself.
    pub(super) fn is_no_lb(&self) -> bool {
        self.check == Check::NoLb
    }

    /// Its weight in 256ths, before a slow start.
    fn whole_share(&self) -> u32 {
        let configured = WeightOrder::Absolute(self.configured.weight);
        let order = self.weight.iter().flatten().next().copied().unwrap_or(configured);
        order.of(self.configured.weight)
    }

    /// Its weight by order or config, before a slow start: whole units, so that only 0 is none.
    pub fn whole_weight(&self) -> u32 {
        self.whole_share().div_ceil(Share::UNIT)
    }

    /// The same now.
    pub fn weight(&self, now: Duration, slow_start: Duration) -> u32 {
        self.share(now, slow_start).map_or(0, |share| share.get().div_ceil(Share::UNIT))
    }

    /// Its limit by order or config, before a slow start: an operator's word goes before the agent's.
    pub fn whole_limit(&self) -> Limit {
        self.limit.iter().flatten().next().copied().unwrap_or(self.configured.limit)
    }

    /// How far it has come, of `STEPS`.
    fn step(&self, now: Duration, slow_start: Duration) -> u32 {
        let Start::Slow { since } = self.start else { return STEPS };
        let gone = now.saturating_sub(since);
        if gone >= slow_start {
            return STEPS;
        }
        (gone.as_nanos() * u128::from(STEPS) / slow_start.as_nanos()) as u32
    }

    /// When its share grows next.
    pub(super) fn next_step(&self, now: Duration, slow_start: Duration) -> Option<Duration> {
        let Start::Slow { since } = self.start else { return None };
        let step = self.step(now, slow_start);
        // Rounded up, so that the step is taken when the time has come.
        let wait = (slow_start.as_nanos() * u128::from(step + 1)).div_ceil(u128::from(STEPS));
        let wait = Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX));
        (step < STEPS).then(|| since + wait)
    }

    /// How much of its weight it has now, in percent (HAProxy's column `throttle`).
    pub fn throttle(&self, now: Duration, slow_start: Duration) -> u32 {
        self.step(now, slow_start) * 100 / STEPS
    }

    /// Its effective weight now: a part of the whole, but never nothing. `None` where the whole is nothing.
    pub(super) fn share(&self, now: Duration, slow_start: Duration) -> Option<Share> {
        let whole = u64::from(self.whole_share());
        let part = whole * u64::from(self.step(now, slow_start)) / u64::from(STEPS);
        Share::new(part.max(whole.min(1)) as u32)
    }

    /// Its limit now: at least 1, however cold.
    pub fn limit(&self, now: Duration, slow_start: Duration) -> Limit {
        let whole = u64::from(self.whole_limit()?.get());
        let part = whole * u64::from(self.step(now, slow_start)) / u64::from(STEPS);
        NonZeroU32::new(part.max(1) as u32)
    }

    /// What it can take of so many requests a second.
    pub(super) fn part_of(&self, capacity: u64, now: Duration, slow_start: Duration) -> u64 {
        capacity * u64::from(self.step(now, slow_start)) / u64::from(STEPS)
    }

    /// In HAProxy's words, in the order in which they go before each other there. A weight of 0 is `DRAIN`, as its
    /// manual has it and its page shows it; its tables of numbers leave that to whoever reads the weight.
    pub fn status(&self) -> Status {
        let Progress { streak, need } = self.progress;
        // HAProxy counts down to 0 what speaks for it, a streak up what speaks against it.
        let left = need.saturating_sub(streak);
        let (order, origin) = self.orders.in_force();
        let is_drained = order == Administrative::Drain || self.whole_share() == 0;
        let by_agent = order == Administrative::Drain && origin == Origin::Agent;
        let rise = self.configured.check.map_or(0, |thresholds| thresholds.rise.get());
        match self.check {
            _ if order == Administrative::Maint => Status::Maint,
            _ if self.agent != Agent::Up => Status::DownByAgent,
            Check::Down if streak > 0 => Status::Rising { streak, rise: need },
            Check::Down => Status::Down,
            // One pass brings it up.
            Check::Starting if rise > 1 => Status::Rising { streak: rise - 1, rise },
            Check::Starting => Status::Down,
            _ if self.is_ejected => Status::Ejected,
            Check::NoLb if streak > 0 => Status::NoLbFalling { left, fall: need },
            Check::NoLb => Status::NoLb,
            Check::None | Check::Up if by_agent => Status::DrainByAgent,
            Check::Up if is_drained && streak > 0 => Status::DrainFalling { left, fall: need },
            Check::None | Check::Up if is_drained => Status::Drain,
            Check::Up if streak > 0 => Status::Falling { left, fall: need },
            Check::Up => Status::Up,
            Check::None => Status::NoCheck,
        }
    }

    /// When it last came to serve something else than before, or was ordered to; `None` if that has not been.
    pub fn changed(&self) -> Option<Duration> {
        self.changed
    }

    /// HAProxy's counter of its checks: 0 is down, `rise` and more is up, `rise + fall - 1` is up without a doubt.
    pub fn health(&self) -> Option<u16> {
        let Thresholds { rise, fall, .. } = self.configured.check?;
        let whole = rise.get().saturating_add(fall.get()) - 1;
        match self.check {
            Check::None => None,
            Check::Starting => Some(rise.get() - 1),
            Check::Up | Check::NoLb => Some(whole.saturating_sub(self.progress.streak)),
            Check::Down => Some(self.progress.streak),
        }
    }

    /// What the agent last called it, if that was no good word.
    pub fn agent_word(&self) -> Option<AgentDown> {
        match self.agent {
            Agent::Up => None,
            Agent::Down(word) => Some(word),
        }
    }
}

/// Where a word of theirs stands: operators' before the agent's.
fn of(by: By) -> usize {
    match by {
        By::Command => 0,
        By::Agent => 1,
    }
}
