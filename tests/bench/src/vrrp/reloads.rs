//! Reloads of a pair while a client asks: what did not change, or not in what matters, goes on as if nothing had been
//! read, and no answer is lost.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::client::{Count, Side};
use super::daemon::{Kind, Programs, Router, log_of};
use super::member::Member;
use super::pair::{Pair, web};
use super::{Profile, until};
use crate::clock;
use crate::interrupt::{Interrupt, Interrupted};

const TAKEN: &str = "the config is taken";
const TAKEN_WITHIN: Duration = Duration::from_secs(10);
/// For the answers that are still on their way.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// Of `other`, which becomes another each time: what its priority and address end in.
const OTHERS: [u8; 2] = [150, 160];

/// What came of it.
pub struct Outcome {
    reloads: u32,
    took: Duration,
    count: Count,
    /// Of the standby, which has nothing to say.
    strangers: usize,
    /// What became of virtual routers that had nothing to do with it, in words.
    changes: Vec<String>,
}

impl Outcome {
    pub fn passed(&self) -> bool {
        let Count { asked, answered } = self.count;
        asked > 0 && answered == asked && self.strangers == 0 && self.changes.is_empty()
    }

    pub fn text(&self) -> String {
        let Count { asked, answered } = self.count;
        let mut text = format!(
            "{} reloads in {:.1} s, each seen; {asked} asked, {answered} answered, {} lost, {} by the standby; {} changes of \
             virtual routers that did not change: {}",
            self.reloads,
            self.took.as_secs_f64(),
            asked.saturating_sub(answered),
            self.strangers,
            self.changes.len(),
            if self.passed() { "pass" } else { "FAIL" },
        );
        for change in self.changes.iter().take(20) {
            text += &format!("\n  {change}");
        }
        text
    }
}

pub fn measure(
    programs: &Programs,
    reloads: u32,
    interrupt: &Interrupt,
) -> anyhow::Result<Outcome> {
    let dir = tempfile::tempdir()?;
    let interval = Profile::Fast.interval();
    let [leader, standby] = [Side::Leader, Side::Standby].map(|side| routers(side, 0));
    let kind = Kind::SiteAgent;
    let routers = [&leader[..], &standby[..]];
    let mut pair = Pair::build(kind, programs, interval, routers, dir.path(), interrupt)?;
    pair.settle(interrupt)?;
    let mut logs = [Log::of(&pair.leader)?, Log::of(&pair.standby)?];
    let before = [calm(&pair.leader)?, calm(&pair.standby)?];
    pair.forget();
    pair.client.count_anew();

    let (began, mut changes, mut strangers) = (clock::now(), vec![], 0);
    for turn in 0..reloads as usize {
        let (place, version) = (turn % 2, (turn / 2 + 1) % 2);
        let (side, member) = match place {
            0 => (Side::Leader, &mut pair.leader),
            _ => (Side::Standby, &mut pair.standby),
        };
        reload(side, member, version, &mut logs[place], interrupt)
            .with_context(|| format!("reload {turn} of {}", member.name))?;
        for (before, now) in before[place].iter().zip(calm(member)?) {
            if before.has_become(&now) {
                changes.push(format!("reload {turn} of {}: {before} -> {now}", member.name));
            }
        }
        let answers = pair.client.take_answers();
        strangers += answers.iter().filter(|answer| answer.by == Side::Standby).count();
    }
    let took = clock::now() - began;
    pair.client.stop_asking();
    let all = || pair.client.count();
    let is_whole = |count: Count| count.answered >= count.asked;
    // Else some are lost, which the count tells.
    match until("the last answers", LAST_ANSWERS, interrupt, || {
        Ok(Some(all()).filter(|&all| is_whole(all)))
    }) {
        Err(error) if error.is::<Interrupted>() => Err(error),
        Ok(_) | Err(_) => Ok(Outcome { reloads, took, count: all(), strangers, changes }),
    }
}

/// `web` is the same but for how often it says where its address is, `still` is the same, `other` is another.
fn routers(side: Side, version: usize) -> Vec<Router> {
    let interval = Profile::Fast.interval();
    let web = web(side, interval);
    let refresh = Duration::from_secs(60 + version as u64);
    let still = Router {
        name: "still".to_owned(),
        vrid: 52,
        vip: "192.0.2.101/24".to_owned(),
        ..web.clone()
    };
    let ending = OTHERS[version];
    let other = Router {
        name: "other".to_owned(),
        vrid: 53,
        vip: other_vip(ending),
        priority: match side {
            Side::Leader => ending,
            Side::Standby => ending - 100,
        },
        ..web.clone()
    };
    vec![Router { refresh, ..web }, still, other]
}

fn other_vip(ending: u8) -> String {
    format!("192.0.2.{ending}/24")
}

fn reload(
    side: Side,
    member: &mut Member,
    version: usize,
    log: &mut Log,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let before = log.taken()?;
    member.tell(&routers(side, version))?;
    member.daemon.signal(Signal::HUP)?;
    until("the config is taken", TAKEN_WITHIN, interrupt, || {
        Ok((log.taken()? > before).then_some(()))
    })?;
    // Its thread takes it behind that.
    let expected = other_vip(OTHERS[version]);
    until("its other router is another", TAKEN_WITHIN, interrupt, || {
        let status = member.daemon.status()?;
        let other = router(&status, "other")?;
        Ok((other["vips"][0] == expected.as_str()).then_some(()))
    })
}

/// A virtual router that has nothing to do with the reloads.
#[derive(Debug)]
struct Calm {
    name: &'static str,
    role: String,
    /// The number of its latest event among those that are shown, which those of long ago are not.
    latest: Option<u64>,
}

impl fmt::Display for Calm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Calm { name, role, latest } = self;
        write!(out, "{name} {role}")?;
        latest.map_or(Ok(()), |latest| write!(out, " #{latest}"))
    }
}

impl Calm {
    fn has_become(&self, now: &Calm) -> bool {
        self.role != now.role || now.latest > self.latest
    }
}

fn calm(member: &Member) -> anyhow::Result<Vec<Calm>> {
    let status = member.daemon.status()?;
    let of = |name: &'static str| {
        let role = router(&status, name)?["role"].as_str().context("no role")?.to_owned();
        let events = status["events"].as_array().context("no events")?.iter();
        let its = events.filter(|event| event["router"] == name);
        let latest = its.filter_map(|event| event["number"].as_u64()).max();
        Ok(Calm { name, role, latest })
    };
    ["web", "still"].into_iter().map(of).collect()
}

fn router<'s>(status: &'s Value, name: &str) -> anyhow::Result<&'s Value> {
    let routers = status["routers"].as_array().context("no virtual routers")?;
    let found = routers.iter().find(|router| router["name"] == name);
    found.with_context(|| format!("no virtual router {name}"))
}

/// What a service has logged, read on from where it was read last.
struct Log {
    file: File,
    /// A line that is not whole yet.
    rest: String,
    taken: usize,
}

impl Log {
    fn of(member: &Member) -> anyhow::Result<Log> {
        let file = File::open(log_of(&member.home))?;
        let mut log = Log { file, rest: String::new(), taken: 0 };
        let before = log.taken()?;
        ensure!(before == 0, "it was reloaded {before} times before it was asked to");
        Ok(log)
    }

    /// How often it has taken a config so far.
    fn taken(&mut self) -> anyhow::Result<usize> {
        self.file.read_to_string(&mut self.rest)?;
        let end = self.rest.rfind('\n').map_or(0, |end| end + 1);
        self.taken += self.rest[..end].matches(TAKEN).count();
        self.rest.drain(..end);
        Ok(self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_the_same_in_every_version() {
        for side in [Side::Leader, Side::Standby] {
            let [one, other] = [0, 1].map(|version| routers(side, version));
            let of = |routers: &[Router], number: usize| format!("{:?}", routers[number]);
            assert_eq!(of(&one, 1), of(&other, 1));
            assert_ne!(of(&one, 0), of(&other, 0));
            assert_ne!(of(&one, 2), of(&other, 2));
            assert_eq!((one[0].priority, &one[0].vip), (other[0].priority, &other[0].vip));
        }
    }

    #[test]
    fn an_event_or_another_role_is_a_change() {
        let calm = |role: &str, latest| Calm { name: "web", role: role.to_owned(), latest };
        let check = |now: Calm, expected| {
            assert_eq!(calm("active", Some(2)).has_become(&now), expected, "{now:?}");
        };
        check(calm("active", Some(2)), false);
        // Others have had so many that its own are not shown any more.
        check(calm("active", None), false);
        check(calm("active", Some(3)), true);
        check(calm("backup", Some(2)), true);
    }

    #[test]
    fn one_lost_answer_or_one_change_is_too_many() {
        let check = |asked, answered, strangers, changes: &[&str], passes| {
            let changes = changes.iter().map(|&change| change.to_owned()).collect();
            let (took, count) = (Duration::from_secs(1), Count { asked, answered });
            let outcome = Outcome { reloads: 10, took, count, strangers, changes };
            assert_eq!(outcome.passed(), passes, "{}", outcome.text());
        };
        check(1000, 1000, 0, &[], true);
        check(1000, 999, 0, &[], false);
        check(1000, 1000, 1, &[], false);
        check(1000, 1000, 0, &["reload 3 of a"], false);
        check(0, 0, 0, &[], false);
    }
}
