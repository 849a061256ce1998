//! What befalls the leader of a pair, and how it is mended. A new one is a variant and its arms.

use std::time::Duration;

use clap::ValueEnum;
use rustix::process::Signal;

use super::Profile;
use super::daemon::{Balancer, Kind};
use super::pair::{Pair, STANDBY};
use crate::interrupt::Interrupt;

/// Beyond the skew, of a leader that resigns by itself or is told to.
const RESIGNING: Duration = Duration::from_millis(20);
/// And of one that first has to see that nobody serves.
const SEEING: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Fault {
    /// Its process is killed (SIGKILL).
    Killed,
    /// Its process stands still (SIGSTOP), and goes on later.
    Stopped,
    /// Its link is down at the switch's side, which it sees.
    Cut,
    /// The switch passes nothing between it and all others, and it sees its carrier: both lead until that is over.
    Split,
    /// Its process is asked to end (SIGTERM).
    CleanStop,
    /// An operator has it hand its address over.
    HandOver,
    /// The balancer of its box is killed (SIGKILL), without which it may not lead.
    ProxyDead,
}

/// What the other box learns it from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Learned {
    /// No adverts come any more.
    Silence,
    /// The leader says that it resigns.
    Resignation,
    /// The same, once it has seen why.
    LateResignation,
}

/// What becomes of the address at the box that failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Address {
    /// It is taken off, or goes with its lifetime.
    Goes,
    /// Nobody there knows that anything happened.
    Stays,
}

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Fault::Killed => "killed",
            Fault::Stopped => "stopped",
            Fault::Cut => "cut",
            Fault::Split => "split",
            Fault::CleanStop => "clean-stop",
            Fault::HandOver => "hand-over",
            Fault::ProxyDead => "proxy-dead",
        }
    }

    /// keepalived has no command for a hand-over, and no balancer.
    pub fn can_befall(self, kind: Kind) -> bool {
        kind == Kind::SiteAgent || !matches!(self, Fault::HandOver | Fault::ProxyDead)
    }

    /// What the pairs that it befalls have beside.
    pub fn balancer(self) -> Balancer {
        match self {
            Fault::ProxyDead => Balancer::Serves,
            Fault::Killed
            | Fault::Stopped
            | Fault::Cut
            | Fault::Split
            | Fault::CleanStop
            | Fault::HandOver => Balancer::NotAsked,
        }
    }

    fn learned(self) -> Learned {
        match self {
            Fault::Killed | Fault::Stopped | Fault::Cut | Fault::Split => Learned::Silence,
            Fault::CleanStop | Fault::HandOver => Learned::Resignation,
            Fault::ProxyDead => Learned::LateResignation,
        }
    }

    /// keepalived's address outlives its process.
    pub fn address(self, kind: Kind) -> Address {
        match (self, kind) {
            (Fault::Split, _) | (Fault::Killed | Fault::Stopped, Kind::Keepalived) => {
                Address::Stays
            }
            (Fault::Killed | Fault::Stopped, Kind::SiteAgent)
            | (Fault::Cut | Fault::CleanStop | Fault::HandOver | Fault::ProxyDead, _) => {
                Address::Goes
            }
        }
    }

    /// How long it may take, but for one trial of a hundred, until the other box answers.
    pub fn budget(self, profile: Profile) -> Duration {
        match (self.learned(), profile) {
            (Learned::Silence, Profile::Standard) => Duration::from_millis(1500),
            (Learned::Silence, Profile::Fast) => Duration::from_millis(400),
            (Learned::Resignation, _) => skew(profile) + RESIGNING,
            (Learned::LateResignation, _) => skew(profile) + SEEING,
        }
    }

    pub fn strike(self, pair: &mut Pair<'_>) -> anyhow::Result<()> {
        let leader = &mut pair.leader;
        match self {
            Fault::Killed => leader.daemon.kill(),
            Fault::Stopped => leader.daemon.freeze(),
            Fault::Cut => pair.link.unplug(leader.name),
            Fault::Split => pair.link.cut(leader.name),
            Fault::CleanStop => leader.daemon.signal(Signal::TERM),
            Fault::HandOver => leader.daemon.ask("hand-over web").map(drop),
            Fault::ProxyDead => leader.kill_balancer(),
        }
    }

    /// The leader has all it needs to lead again.
    pub fn mend(self, pair: &mut Pair<'_>, interrupt: &Interrupt) -> anyhow::Result<()> {
        let leader = &mut pair.leader;
        match self {
            Fault::Killed | Fault::CleanStop => pair.start_leader(interrupt),
            Fault::Stopped => leader.daemon.thaw(),
            Fault::Cut => pair.link.plug_in(leader.name),
            Fault::Split => pair.link.heal(leader.name),
            Fault::HandOver => leader.daemon.ask("take-back web").map(drop),
            Fault::ProxyDead => pair.start_balancer(),
        }
    }
}

/// Of the standby (RFC 9568 §6.1).
fn skew(profile: Profile) -> Duration {
    profile.interval() * (256 - u32::from(STANDBY)) / 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_learned_late_and_a_resignation_within_the_skew() {
        let ms = |fault: Fault, profile| fault.budget(profile).as_micros();
        for fault in [Fault::Killed, Fault::Stopped, Fault::Cut, Fault::Split] {
            assert_eq!(ms(fault, Profile::Standard), 1_500_000);
            assert_eq!(ms(fault, Profile::Fast), 400_000);
        }
        for fault in [Fault::CleanStop, Fault::HandOver] {
            assert_eq!(ms(fault, Profile::Standard), 263_750);
            assert_eq!(ms(fault, Profile::Fast), 80_937);
        }
        assert_eq!(ms(Fault::ProxyDead, Profile::Standard), 343_750);
        assert_eq!(ms(Fault::ProxyDead, Profile::Fast), 160_937);
    }
}
