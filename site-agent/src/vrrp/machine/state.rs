//! What a router is in the middle of, and when it is next to be woken for it.

use std::net::IpAddr;
use std::time::Duration;

use super::super::advert::Interval;
use super::action::Role;
use super::settings::{Refresh, Settings};

/// Between two beginnings of announcements: adverts of a router that does not yield do not become a storm of them.
const ANNOUNCE_GAP: Duration = Duration::from_secs(1);
/// Between an announcement and one that a lesser router is the reason for.
const SHORT_GAP: Duration = Duration::from_millis(100);
/// Of what others on the link make happen no more is told than once in so long.
const TELL_GAP: Duration = Duration::from_secs(3);
/// How often each address is announced when this router has become Active, and when once more after that: not every
/// switch hears the first.
const FIRST: u8 = 3;
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Initialize,
    Fault,
    Backup(Waiting),
    /// Backup, to others: its timer has run out, and it has seen no witness.
    Claiming(Claiming),
    Active(Leading),
}

impl State {
    pub(super) fn role(&self) -> Role {
        match self {
            State::Initialize => Role::Initialize,
            State::Fault => Role::Fault,
            State::Backup(_) | State::Claiming(_) => Role::Backup,
            State::Active(_) => Role::Active,
        }
    }
}

/// For Active_Down_Timer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// When the timer was last set.
    pub(super) since: Duration,
    pub(super) wait: Wait,
    /// Active_Adver_Interval.
    pub(super) interval: Interval,
    /// Who was last heard to be Active.
    pub(super) leader: Option<IpAddr>,
    /// Until then a lesser Active router is borne with.
    pub(super) preempts_at: Option<Duration>,
    /// Whether a witness was asked for since.
    pub(super) has_asked: bool,
}

/// What Active_Down_Timer was set to. Its length is reckoned when it is asked for, as priorities change.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// Active_Down_Interval.
    Down,
    /// Skew_Time: this router has resigned.
    Skew { resigned: IpAddr },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Claiming {
    /// As it was when the timer ran out.
    pub(super) waiting: Waiting,
    /// When a witness is asked for again.
    pub(super) asks_at: Duration,
    pub(super) is_told: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Leading {
    /// Adver_Timer.
    pub(super) advertises_at: Duration,
    /// The last advert, of any kind.
    pub(super) sent_at: Duration,
    /// The interval in it.
    pub(super) said: Interval,
    /// The last one that answered a lesser router.
    pub(super) answered_at: Option<Duration>,
    pub(super) renews_at: Duration,
    pub(super) announcing: Announcing,
    pub(super) contest: Option<Contest>,
    /// Since when no advert could be sent.
    pub(super) unsent_since: Option<Duration>,
    /// When an address was last taken from us.
    pub(super) lost_at: Option<Duration>,
}

impl Leading {
    pub(super) fn new(now: Duration, settings: &Settings) -> Leading {
        Leading {
            advertises_at: now + settings.interval.duration(),
            sent_at: now,
            said: settings.interval,
            answered_at: None,
            renews_at: now + renewal(settings),
            announcing: Announcing::begin(now),
            contest: None,
            unsent_since: None,
            lost_at: None,
        }
    }

    pub(super) fn next_wakeup(&self, settings: &Settings) -> Duration {
        let announces_at = self.announcing.next(settings.refresh).unwrap_or(Duration::MAX);
        self.advertises_at.min(self.renews_at).min(announces_at)
    }
}

/// So that three renewals may be missed.
pub(super) fn renewal(settings: &Settings) -> Duration {
    settings.lifetime / 4
}

/// Another router that is Active too, and loses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contest {
    pub(super) by: IpAddr,
    pub(super) since: Duration,
    pub(super) heard_at: Duration,
    /// The first advert may be the farewell of one that has just heard us.
    pub(super) is_told: bool,
}

/// What strangers can have us tell, again and again.
#[derive(Clone, Copy)]
pub(super) enum Of {
    Interval,
    Contest,
}

/// When each was last told: a log is not theirs to fill.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ToldOf([Option<Duration>; 2]);

impl ToldOf {
    /// Whether it was not told lately, and is now.
    pub(super) fn is_time(&mut self, of: Of, now: Duration) -> bool {
        let last = &mut self.0[of as usize];
        let is_time = last.is_none_or(|last| now >= last + TELL_GAP);
        if is_time {
            *last = Some(now);
        }
        is_time
    }
}

/// Where the announcing stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announcing {
    began_at: Duration,
    last_at: Duration,
    /// How many of `AGAIN` are done.
    done: usize,
}

impl Announcing {
    fn begin(now: Duration) -> Announcing {
        Announcing { began_at: now, last_at: now, done: 0 }
    }

    fn next(&self, refresh: Refresh) -> Option<Duration> {
        match (AGAIN.get(self.done), refresh) {
            (Some(after), _) => Some(self.began_at + *after),
            (None, Refresh::Every(time)) => Some(self.last_at + time),
            (None, Refresh::Never) => None,
        }
    }

    /// How often addresses are announced now, if it is time.
    pub(super) fn tick(&mut self, now: Duration, refresh: Refresh) -> Option<u8> {
        self.next(refresh).filter(|at| now >= *at)?;
        self.done = (self.done + 1).min(AGAIN.len());
        self.last_at = now;
        Some(1)
    }

    /// The link has learned something else, so all of it begins anew; unless it has just begun: then once more is enough,
    /// as there is more of it to come.
    pub(super) fn anew(&mut self, now: Duration) -> Option<u8> {
        if now < self.began_at + ANNOUNCE_GAP {
            if self.last_at != self.began_at || now < self.last_at + SHORT_GAP {
                return None;
            }
            self.last_at = now;
            return Some(1);
        }
        *self = Announcing::begin(now);
        Some(FIRST)
    }

    /// The addresses have just been added.
    pub(super) fn first() -> u8 {
        FIRST
    }
}
