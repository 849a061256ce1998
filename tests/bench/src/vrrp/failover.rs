//! For how long an address is gone: the same fault again and again, at a moment between two adverts of its own each
//! time, to some pairs side by side. Always to the box that leads, so the other one has the priority of most.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use common::lock::Mutex;

use super::client::{Side, mixed, silence};
use super::daemon::{Kind, Programs, Router};
use super::fault::{Address, Fault};
use super::pair::{Pair, web};
use super::{Profile, millis, until};
use crate::clock;
use crate::dice::Dice;
use crate::interrupt::{Interrupt, Interrupted};

/// What a trial waits for comes within this, or the trial is lost.
const GIVEN_UP: Duration = Duration::from_secs(10);
/// Trials of one pair that are lost one after the other: then there is no use in more of them.
const MOST_LOST: usize = 3;
/// An address of a box that does not lead any more: its lifetime, and the second in which the kernel looks at lifetimes.
const STAYS: Duration = Duration::from_millis(2000 + 1000 + 50);
/// Beyond an interval, in which two may lead after a heal: what looks and the changes of links take.
const HEALING: Duration = Duration::from_millis(20);
/// After a heal the client is answered again within this.
const HEALED: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub trials: usize,
    pub pairs: usize,
    pub profile: Profile,
    pub seed: u64,
}

/// What was seen of one trial.
#[derive(Clone, Copy, Debug, Default)]
struct Trial {
    /// From the fault to the first answer of the other box.
    wait: Duration,
    /// The longest time without any answer, until the fault was mended.
    silence: Duration,
    /// From the fault until the box that failed did not have the address any more, where it had to give it up.
    stay: Option<Duration>,
    /// For how long after it was mended both boxes had the address, or answered in turns.
    both: Duration,
    /// The longest time without any answer after the mending.
    again: Duration,
}

/// What came of one fault.
pub struct Row {
    fault: Fault,
    kind: Kind,
    profile: Profile,
    trials: Vec<Trial>,
    /// Which, and why.
    lost: Vec<(usize, String)>,
}

/// What all workers share.
struct Work<'w> {
    programs: &'w Programs,
    kind: Kind,
    fault: Fault,
    plan: &'w Plan,
    next: AtomicUsize,
    trials: Mutex<Vec<Trial>>,
    lost: Mutex<Vec<(usize, String)>>,
    interrupt: &'w Interrupt,
}

pub fn measure(
    programs: &Programs,
    kind: Kind,
    fault: Fault,
    plan: &Plan,
    interrupt: &Interrupt,
) -> anyhow::Result<Row> {
    let work = Work {
        programs,
        kind,
        fault,
        plan,
        next: AtomicUsize::new(0),
        trials: Mutex::default(),
        lost: Mutex::default(),
        interrupt,
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.pairs.min(plan.trials))
            .map(|_| scope.spawn(|| work.run().inspect_err(|_| work.stop())))
            .collect();
        let mut done = Ok(());
        for worker in workers {
            let ended = worker.join().unwrap_or_else(|_| bail!("a thread of trials has panicked"));
            done = done.and(ended);
        }
        // What was being waited for is nobody's fault then.
        interrupt.check()?;
        done
    })?;
    let (trials, mut lost) = (work.trials.lock().clone(), work.lost.lock().clone());
    lost.sort();
    Ok(Row { fault, kind, profile: plan.profile, trials, lost })
}

impl Work<'_> {
    /// With one pair after the other: one of which a trial was lost is not believed any more.
    fn run(&self) -> anyhow::Result<()> {
        let mut lost = 0;
        while let Some(number) = self.take() {
            let mut number = Some(number);
            let dir = tempfile::tempdir()?;
            let interval = self.plan.profile.interval();
            let balancer = self.fault.balancer();
            let router = |side| [Router { balancer, ..web(side, interval) }];
            let (leader, standby) = (router(Side::Leader), router(Side::Standby));
            let routers = [&leader[..], &standby[..]];
            let (programs, interrupt) = (self.programs, self.interrupt);
            let mut pair =
                Pair::build(self.kind, programs, interval, routers, dir.path(), interrupt)
                    .context("a pair cannot be built")?;
            while let Some(this) = number {
                match self.one(&mut pair, this) {
                    Ok(trial) => self.trials.lock().push(trial),
                    Err(error) if error.is::<Interrupted>() => return Err(error),
                    Err(error) => {
                        self.lost.lock().push((this, format!("{error:#}")));
                        lost += 1;
                        if lost == MOST_LOST {
                            bail!(
                                "{} trials of {} were lost one after the other; the last: {error:#}",
                                lost,
                                self.fault.name()
                            );
                        }
                        break;
                    }
                }
                lost = 0;
                number = self.take();
            }
        }
        Ok(())
    }

    fn take(&self) -> Option<usize> {
        let number = self.next.fetch_add(1, Relaxed);
        (number < self.plan.trials).then_some(number)
    }

    /// Nobody takes another trial.
    fn stop(&self) {
        self.next.store(self.plan.trials, Relaxed);
    }

    fn one(&self, pair: &mut Pair<'_>, number: usize) -> anyhow::Result<Trial> {
        let interrupt = self.interrupt;
        pair.settle(interrupt)?;
        clock::pause(self.plan.moment(self.fault, number));
        pair.forget();

        let struck = clock::now();
        self.fault.strike(pair)?;
        let answered = until("the other box answers", GIVEN_UP, interrupt, || {
            Ok(pair.client.first(Side::Standby, struck))
        });
        let answered = answered.with_context(|| pair.story())?;
        let gone = match self.fault.address(self.kind) {
            Address::Stays => None,
            Address::Goes => {
                let gone = until("the address is gone where it was", GIVEN_UP, interrupt, || {
                    Ok(pair.leader.post.stays().over_since())
                });
                Some(gone.with_context(|| pair.story())?)
            }
        };

        let mended = clock::now();
        self.fault.mend(pair, interrupt)?;
        // Not before: to change a link takes a process, and until it has done so nobody can have heard of it.
        let healed = clock::now();
        pair.settle(interrupt).context("after it was mended")?;
        let (now, answers) = (clock::now(), pair.client.answers());
        let both = pair.leader.post.stays().longest_with(&pair.standby.post.stays(), healed, now);
        Ok(Trial {
            wait: answered - struck,
            silence: silence(&answers, struck, mended),
            stay: gone.map(|gone| gone.saturating_duration_since(struck)),
            both: both.max(mixed(&answers, healed)),
            again: silence(&answers, mended, now),
        })
    }
}

impl Plan {
    /// When a fault comes, after an advert or so: the same for each number, whoever's pair it befalls.
    fn moment(&self, fault: Fault, number: usize) -> Duration {
        const STEPS: u32 = 1 << 16;
        let mut dice = Dice::seeded(self.seed);
        let salt = dice.next() ^ ((fault as u64) << 32 | number as u64);
        let step = Dice::seeded(salt).below(STEPS as usize);
        self.profile.interval() * step as u32 / STEPS
    }
}

pub fn heading() -> String {
    format!(
        "{:<12}{:<12}{:>7}{:>6}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}{:>8}{:>9}\n",
        "fault",
        "ms, of",
        "trials",
        "lost",
        "p50",
        "p99",
        "max",
        "silence",
        "stays",
        "both",
        "again",
        "budget"
    )
}

impl Row {
    pub fn passed(&self) -> bool {
        self.faults().is_empty()
    }

    /// Of the longest, in each column.
    fn longest(&self, of: impl Fn(&Trial) -> Duration) -> Duration {
        self.trials.iter().map(of).max().unwrap_or_default()
    }

    /// The time within which that share of the trials was over: one that was measured, the next longer if between two.
    fn within(&self, share: f64) -> Duration {
        let mut waits: Vec<Duration> = self.trials.iter().map(|trial| trial.wait).collect();
        waits.sort_unstable();
        let rank = (share * waits.len() as f64).ceil() as usize;
        waits.get(rank.max(1) - 1).copied().unwrap_or_default()
    }

    /// What it does not keep. Nobody judges a peer but by whether trials were lost.
    fn faults(&self) -> Vec<&'static str> {
        let mut faults = vec![];
        let mut say = |is_kept: bool, what| {
            if !is_kept {
                faults.push(what);
            }
        };
        say(self.lost.is_empty() && !self.trials.is_empty(), "lost");
        if self.kind == Kind::SiteAgent {
            say(self.within(0.99) <= self.fault.budget(self.profile), "p99");
            say(self.longest(|trial| trial.stay.unwrap_or_default()) <= STAYS, "stays");
            say(self.longest(|trial| trial.both) <= self.profile.interval() + HEALING, "both");
            let heals = self.fault == Fault::Split;
            say(!heals || self.longest(|trial| trial.again) <= HEALED, "again");
        }
        faults
    }

    /// Beside what the same came to at ours, if this is a peer.
    pub fn text(&self, ours: Option<&Row>) -> String {
        let stays = self.trials.iter().filter_map(|trial| trial.stay).max();
        let budget = match self.kind {
            Kind::SiteAgent => millis(self.fault.budget(self.profile)),
            Kind::Keepalived => String::new(),
        };
        let mut text = format!(
            "{:<12}{:<12}{:>7}{:>6}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}{:>8}{budget:>9}  ",
            self.fault.name(),
            self.kind.name(),
            self.trials.len() + self.lost.len(),
            self.lost.len(),
            millis(self.within(0.5)),
            millis(self.within(0.99)),
            millis(self.longest(|trial| trial.wait)),
            millis(self.longest(|trial| trial.silence)),
            stays.map_or_else(|| "-".to_owned(), millis),
            millis(self.longest(|trial| trial.both)),
            millis(self.longest(|trial| trial.again)),
        );
        let faults = self.faults();
        text += &match (self.kind, faults.is_empty()) {
            (Kind::SiteAgent, true) => "pass".to_owned(),
            (_, false) => format!("FAIL: {}", faults.join(", ")),
            (Kind::Keepalived, true) => ours.map_or_else(String::new, |ours| {
                let ratio = |share| {
                    ours.within(share).as_secs_f64() / self.within(share).as_secs_f64().max(1e-9)
                };
                format!("ours / it: p50 {:.2}, p99 {:.2}", ratio(0.5), ratio(0.99))
            }),
        };
        text.push('\n');
        for (number, why) in &self.lost {
            let why = why.replace('\n', "\n    ");
            text += &format!("  trial {number} of {} was lost: {why}\n", self.fault.name());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn row(fault: Fault, trials: Vec<Trial>) -> Row {
        Row { fault, kind: Kind::SiteAgent, profile: Profile::Fast, trials, lost: vec![] }
    }

    fn waits(waits: impl Iterator<Item = u64>) -> Vec<Trial> {
        waits.map(|wait| Trial { wait: ms(wait), ..Trial::default() }).collect()
    }

    #[test]
    fn percentiles_are_trials_that_were() {
        let check = |of: u64, share, expected| {
            let row = row(Fault::Killed, waits((1..=of).rev()));
            assert_eq!(row.within(share), ms(expected), "{share} of {of}");
        };
        check(1, 0.5, 1);
        check(4, 0.5, 2);
        check(5, 0.5, 3);
        check(100, 0.99, 99);
        check(200, 0.99, 198);
        check(99, 0.99, 99);
    }

    #[test]
    fn one_of_a_hundred_may_take_longer_and_no_more() {
        let check = |late: usize, passes| {
            let mut trials = waits((0..200).map(|_| 390));
            trials.iter_mut().take(late).for_each(|trial| trial.wait = ms(401));
            assert_eq!(row(Fault::Cut, trials).passed(), passes, "{late} of 200");
        };
        check(0, true);
        check(2, true);
        check(3, false);
    }

    #[test]
    fn every_promise_is_judged() {
        let good = Trial {
            wait: ms(300),
            silence: ms(300),
            stay: Some(ms(2900)),
            both: ms(110),
            again: ms(190),
        };
        let check = |trial: Trial, expected: &[&str]| {
            assert_eq!(row(Fault::Split, vec![trial]).faults(), expected, "{trial:?}");
        };
        check(good, &[]);
        check(Trial { wait: ms(450), ..good }, &["p99"]);
        check(Trial { stay: Some(ms(3100)), ..good }, &["stays"]);
        check(Trial { both: ms(121), ..good }, &["both"]);
        check(Trial { again: ms(201), ..good }, &["again"]);
        assert_eq!(row(Fault::Split, vec![]).faults()[0], "lost");
        let mut lost = row(Fault::Split, vec![good]);
        lost.lost.push((1, "of something".to_owned()));
        assert_eq!(lost.faults(), ["lost"]);
        assert!(lost.text(None).contains("trial 1 of split was lost: of something"));
    }

    #[test]
    fn moments_are_spread_over_an_interval_and_the_same_for_a_seed() {
        let plan = |seed| Plan { trials: 1, pairs: 1, profile: Profile::Fast, seed };
        let all = |seed| -> Vec<Duration> {
            (0..100).map(|number| plan(seed).moment(Fault::Killed, number)).collect()
        };
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
        assert!(all(1).iter().all(|moment| *moment < ms(100)));
        let early = all(1).iter().filter(|moment| **moment < ms(50)).count();
        assert!((30..70).contains(&early), "{early}");
    }
}
