//! What befalls the leader of a pair, and how it is mended. A new one is a variant and its arms.

use std::time::Duration;

use clap::ValueEnum;
use rustix::process::Signal;

use super::Profile;
use super::daemon::Kind;
use super::pair::{Pair, STANDBY};
use crate::interrupt::Interrupt;

/// Beyond the skew, of a leader that resigns.
const RESIGNING: Duration = Duration::from_millis(20);

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
}

/// How the other box learns of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Learned {
    /// No adverts come any more.
    FromSilence,
    /// The leader says that it resigns.
    FromResignation,
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
        }
    }

    /// keepalived has no command for a hand-over.
    pub fn can_befall(self, kind: Kind) -> bool {
        kind == Kind::SiteAgent || self != Fault::HandOver
    }

    fn learned(self) -> Learned {
        match self {
            Fault::Killed | Fault::Stopped | Fault::Cut | Fault::Split => Learned::FromSilence,
            Fault::CleanStop | Fault::HandOver => Learned::FromResignation,
        }
    }

    /// keepalived's address outlives its process.
    pub fn address(self, kind: Kind) -> Address {
        match (self, kind) {
            (Fault::Split, _) | (Fault::Killed | Fault::Stopped, Kind::Keepalived) => {
                Address::Stays
            }
            (Fault::Killed | Fault::Stopped, Kind::SiteAgent)
            | (Fault::Cut | Fault::CleanStop | Fault::HandOver, _) => Address::Goes,
        }
    }

    /// How long it may take, but for one trial of a hundred, until the other box answers.
    pub fn budget(self, profile: Profile) -> Duration {
        match (self.learned(), profile) {
            (Learned::FromSilence, Profile::Standard) => Duration::from_millis(1500),
            (Learned::FromSilence, Profile::Fast) => Duration::from_millis(400),
            (Learned::FromResignation, _) => {
                profile.interval() * (256 - u32::from(STANDBY)) / 256 + RESIGNING
            }
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
        }
    }
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
    }
}
