//! What may happen to a world, and what clients see of it.

mod faults;
mod mishaps;

use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::account::{Account, Seen};
use super::ground::Ground;
use super::{Expiry, Failure, Outcome, Request, Whole, standstill};
use crate::pki::Until;

/// A story, by its name in the table.
pub struct Story {
    pub name: &'static str,
    tell: fn(&mut Whole<'_>) -> anyhow::Result<Seen>,
    expiry: fn() -> Expiry,
}

impl Story {
    const fn of(name: &'static str, tell: fn(&mut Whole<'_>) -> anyhow::Result<Seen>) -> Story {
        Story { name, tell, expiry: Expiry::default }
    }

    /// From a world that is well to what clients saw.
    pub fn tell(&self) -> anyhow::Result<Seen> {
        let ground = Ground::new()?;
        let mut whole = Whole::start(&ground, (self.expiry)())?;
        let told = (self.tell)(&mut whole);
        told.with_context(|| whole.logs())
    }

    /// The same; one that comes out otherwise is told again if this machine stood still meanwhile, for longer than stories
    /// allow for.
    pub fn tell_unless_stood_still(&self) -> anyhow::Result<Seen> {
        for _ in 1..TIMES {
            let (told, stood_still) = standstill::during(|| self.tell());
            match told {
                Err(why) if stood_still > BUSY => eprintln!(
                    "{}: told again, as this machine stood still for {stood_still:?}: {why:#}",
                    self.name
                ),
                told => return told,
            }
        }
        self.tell()
    }
}

pub const ALL: [Story; 17] = [
    Story::of("a server dies", faults::a_server_dies),
    Story::of("all servers of a site die", faults::all_servers_die),
    Story::of("a balancer dies", faults::a_balancer_dies),
    Story::of("both balancers of a site die", faults::both_balancers_die),
    Story::of("a site is cut off from clients", faults::cut_off_from_clients),
    Story::of("a site is cut off from the name servers", faults::cut_off_from_name_servers),
    Story::of("a vantage disagrees", faults::a_vantage_disagrees),
    Story::of("a name server dies", faults::a_name_server_dies),
    Story::of("an operator drains a site", faults::a_drain),
    Story::of("every process is restarted", faults::rolling_restart),
    Story { name: "certificates expire", tell: faults::certificates_expire, expiry: soon },
    Story::of("all but one name server dies", faults::all_but_one_die),
    Story::of("all servers of all sites die", mishaps::nobody_serves),
    Story::of("a pair loses its cables", mishaps::cables_pulled),
    Story::of("a pair does not hear itself", mishaps::deaf_pair),
    Story::of("a vantage goes blind", mishaps::blind_vantage),
    Story::of("operators err", mishaps::operators_err),
];

/// Certificates that are good for the start, and not for much more.
fn soon() -> Expiry {
    let never = Until::Year(2090);
    Expiry {
        probes: [Until::Soon(GOOD_FOR), never, never],
        balancers: [Until::Soon(GOOD_FOR), never],
    }
}

/// Seconds, of which a start takes some.
const GOOD_FOR: i64 = 35;

/// Of a story on a machine that stands still.
const TIMES: u32 = 3;
/// A resolver asks a name server that has just died for so long, before it asks the other one.
const ANOTHER_ASKED: Duration = Duration::from_millis(3400);
/// What a machine that has more to do may take longer.
const BUSY: Duration = Duration::from_millis(500);
/// A report, its way, and a board.
const TOLD: Duration = Duration::from_millis(500);
/// Of a second, which a resolver counts in whole ones.
const TTL: Duration = seconds(2);
/// Until the other box of a pair leads, if the one that does says nothing more: the standard profile's bound.
const TAKEN_OVER: Duration = Duration::from_millis(1500).saturating_add(BUSY);
/// A box that is asked to end does so, and the other one leads.
const HANDED_OVER: Duration = seconds(1);
/// A balancer's check that is under way is given up, and two more pass, half a second apart.
const SERVES_WITHIN: Duration = Duration::from_millis(1400).saturating_add(BUSY);
/// A balancer's check fails twice, half a second apart, the second time by time-out.
const EMPTY_WITHIN: Duration =
    Duration::from_millis(1400).saturating_add(TOLD).saturating_add(TTL).saturating_add(BUSY);
/// Three looks a second apart fail, the last one after half of one.
const DOWN_WITHIN: Duration =
    Duration::from_millis(3500).saturating_add(TOLD).saturating_add(TTL).saturating_add(seconds(2));
/// An order at one name server is in force at the other one.
const ORDERED_WITHIN: Duration = seconds(2);

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Nobody is there.
fn is_gone(failure: Failure) -> bool {
    matches!(failure, Failure::Silence | Failure::Cut | Failure::Refused)
}

/// A balancer has nobody to ask.
fn is_told_so(failure: Failure) -> bool {
    matches!(failure, Failure::Status(502..=504))
}

/// The same, or it tries another one for longer than the client waits.
fn is_unserved(failure: Failure) -> bool {
    is_told_so(failure) || failure == Failure::Silence
}

/// Of a continent's clients, from so long after the fault: who answered is of that site.
fn led_to(account: &Account, continent: &str, site: &str, from: Duration) -> anyhow::Result<()> {
    led(account.after(from), continent, site)
}

fn led<'r>(
    requests: impl Iterator<Item = &'r Request>,
    continent: &str,
    site: &str,
) -> anyhow::Result<()> {
    let mut count = 0;
    for request in requests.filter(|request| request.continent == continent) {
        let Outcome::Answered(by) = &request.outcome else { continue };
        count += 1;
        ensure!(by.starts_with(site), "{continent} is led to {by}, not to {site}");
    }
    ensure!(count > 0, "nobody of {continent} was answered then");
    Ok(())
}

fn finished(
    whole: &mut Whole<'_>,
    check: impl FnOnce(&Account) -> anyhow::Result<()>,
) -> anyhow::Result<Seen> {
    let account = whole.end()?;
    let seen = account.seen()?;
    let (slowest, most) = (seen.slowest, whole.longest_wait);
    ensure!(slowest <= most, "{seen}: nobody was to wait for more than {most:?}");
    check(&account).with_context(|| seen.to_string())?;
    Ok(seen)
}
