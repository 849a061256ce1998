//! What vantages see, what agents say, and what is made of it, as people and their tools look it up.
//!
//! Made from what the keeper holds; shown as text or JSON. Pure.

mod sites;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use common::report::{Phases, Reason, State};
use common::target::{Target, TargetId};
use jiff::Timestamp;
use serde::Serialize;

use crate::health::board::{Board, Health, Lost};
use crate::ids::ServiceId;
use crate::inbox::Inbox;
use crate::inside::{Views, Voice};
use crate::judge::{Judge, Judgement, Now, Standing};
use crate::verdict::Verdict;
use crate::watch::{Combine, Watch};
use crate::world::{Service, World};

pub use self::sites::{AgentSeen, SiteInside, VipSeen};

/// What a sight is made of.
pub struct SightOf<'a> {
    pub world: &'a World,
    pub board: &'a Board,
    pub inbox: &'a Inbox,
    pub judge: &'a Judge,
    pub judgement: &'a Judgement,
    /// By site that names agents.
    pub voices: Vec<(&'a str, Vec<Voice<'a>>)>,
    pub views: &'a Views,
    pub now: Now,
}

/// `/v1/board`: every service that is watched, with all evidence.
#[derive(Clone, Debug, Serialize)]
pub struct Sight {
    pub now: Timestamp,
    pub board: u64,
    pub digest: String,
    pub services: Vec<ServiceSeen>,
    /// Sites that name agents; what they say changes no answer yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inside: Vec<SiteInside>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ServiceSeen {
    pub service: String,
    /// What it takes to believe something; `None` where nobody watches.
    pub quorum: Option<QuorumTold>,
    pub sites: Vec<SiteSeen>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct QuorumTold {
    pub down: f64,
    pub up: f64,
    pub vantages: usize,
    pub domains: usize,
    pub max_removed: f64,
    /// Whether each check must pass, or one.
    pub checks: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub struct SiteSeen {
    pub site: String,
    pub health: &'static str,
    pub since: Option<Timestamp>,
    pub why: String,
    pub admit: f64,
    /// Addresses that are not answered though the site is.
    pub struck: Vec<String>,
    /// What clients of single regions are not answered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<LostSeen>,
    /// The evidence has it down, and `max_removed` keeps it.
    pub held_in: bool,
    pub targets: Vec<TargetSeen>,
}

#[derive(Clone, Debug, Serialize)]
pub struct LostSeen {
    pub region: &'static str,
    /// Empty for a CNAME.
    pub addresses: Vec<String>,
    pub why: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct TargetSeen {
    pub target: String,
    pub address: String,
    pub port: u16,
    pub host: String,
    pub kind: &'static str,
    pub verdict: Verdict,
    /// How it came about.
    pub ground: &'static str,
    /// Whose word counts, by what they say.
    pub counted: Counted,
    /// On its way back, while it has not all its clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub returning: Option<Returning>,
    pub votes: Vec<VoteSeen>,
}

/// Vantages with evidence that counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counted {
    pub up: usize,
    pub slow: usize,
    pub down: usize,
    /// Failure domains that they stand in.
    pub domains: usize,
}

/// The way back of a target that was down.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Returning {
    /// How often it went down and up within the hour.
    pub flaps: u32,
    /// Until when it is not answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_until: Option<Timestamp>,
    /// The share of its clients that it has now, and when that grows.
    pub share: f64,
    pub next_step: Option<Timestamp>,
}

/// What one vantage says of it.
#[derive(Clone, Debug, Serialize)]
pub struct VoteSeen {
    pub vantage: String,
    /// The number of its failure domain.
    pub domain: usize,
    pub state: &'static str,
    /// Whether it is fresh and trusted.
    pub counts: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
    pub since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    pub phases_ms: Phases,
    /// Results towards another state, of so many.
    pub streak: u16,
    pub need: u16,
    pub flaps: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_days: Option<i32>,
}

/// `/v1/vantages`: who looks, and how its word counts.
#[derive(Clone, Debug, Serialize)]
pub struct VantageSeen {
    pub vantage: String,
    /// The number of its failure domain.
    pub domain: usize,
    pub standing: &'static str,
    pub why: String,
    /// Until when its last report holds, or held.
    pub holds_until: Option<Timestamp>,
    pub up: usize,
    pub slow: usize,
    pub down: usize,
    pub none: usize,
    pub references_up: u16,
    pub references: u16,
    pub version: String,
}

impl SightOf<'_> {
    pub fn sight(&self) -> Sight {
        Sight {
            now: self.now.wall,
            board: self.board.number,
            digest: self.board.digest.to_string(),
            services: self.world.service_ids().map(|id| self.service(id)).collect(),
            inside: self.sites(),
        }
    }

    pub fn service(&self, id: ServiceId) -> ServiceSeen {
        let service = self.world.service(id);
        let standings = &self.board.of_service(id).standings;
        let sites = service.candidates.iter().enumerate().map(|(index, candidate)| {
            let standing = &standings[index];
            let vips = service.watch.as_ref().map_or(&[][..], |watch| &watch.candidates[index]);
            let targets = vips.iter().flat_map(|vip| &vip.targets);
            SiteSeen {
                site: self.world.site(candidate.site).name.to_string(),
                health: standing.health.as_str(),
                since: standing.since,
                why: standing.why.to_string(),
                admit: standing.admit().share(),
                struck: standing.struck.iter().map(ToString::to_string).collect(),
                lost: standing.lost.iter().map(LostSeen::of).collect(),
                held_in: self.is_held_in(id, index),
                targets: targets.map(|target| self.target(service, *target)).collect(),
            }
        });
        ServiceSeen {
            service: service.name.to_string(),
            quorum: service.watch.as_ref().map(QuorumTold::of),
            sites: sites.collect(),
        }
    }

    fn is_held_in(&self, id: ServiceId, index: usize) -> bool {
        let views = self.judgement.views.0.get(id.index()).and_then(Option::as_ref);
        views.is_some_and(|views| views[index].is_held_in)
    }

    fn target(&self, service: &Service, index: usize) -> TargetSeen {
        let (id, target) = &self.world.targets[index];
        let Target { address, port, host, check } = target;
        let (verdict, ground) = self.judge.of_target(service, *id);
        let vantages = self.world.vantages.iter().zip(&self.judgement.vantages);
        let votes = vantages.filter_map(|(vantage, standing)| {
            let stream = self.inbox.vantage(&vantage.name)?;
            let said = stream.said(*id)?;
            let (entry, since) = (said.entry, Duration::from_millis(said.entry.since));
            Some(VoteSeen {
                vantage: vantage.name.to_string(),
                domain: vantage.domain,
                state: entry.state.as_str(),
                counts: *standing == Standing::Trusted,
                why_not: match standing {
                    Standing::Trusted => None,
                    Standing::NeverHeard | Standing::Silent => Some("it is silent".to_owned()),
                    Standing::Distrusted(why) => Some(why.to_string()),
                },
                since: Some(self.wall(said.on_our_clock(since))),
                reason: entry.reason,
                detail: entry.detail.clone(),
                phases_ms: entry.phases_ms,
                streak: entry.streak,
                need: entry.need,
                flaps: entry.flaps,
                cert_days: entry.cert_days,
            })
        });
        let votes: Vec<VoteSeen> = votes.collect();
        TargetSeen {
            target: id.to_string(),
            address: address.to_string(),
            port: *port,
            host: host.clone(),
            kind: check.kind.word().as_str(),
            verdict,
            ground,
            counted: Counted::of(&votes),
            returning: self.returning(service, *id),
            votes,
        }
    }

    /// The way back of a target, as long as it has one before it.
    fn returning(&self, service: &Service, target: TargetId) -> Option<Returning> {
        let back = self.judge.return_of(service, target)?;
        let (now, step) = (self.now.monotonic, service.ttl.max);
        let share = back.admit(now, step);
        (share < 1.0).then(|| Returning {
            flaps: back.flaps,
            waits_until: back.is_held_down(now).then(|| self.wall(back.since + back.wait())),
            share,
            next_step: back.next_step(now, step).map(|next| self.wall(next)),
        })
    }

    pub fn vantages(&self) -> Vec<VantageSeen> {
        let vantages = self.world.vantages.iter().zip(&self.judgement.vantages);
        let seen = vantages.map(|(vantage, standing)| {
            let stream = self.inbox.vantage(&vantage.name);
            let own = stream.and_then(|stream| stream.own()).cloned().unwrap_or_default();
            let count = |state: State| {
                let entries = self.world.targets.iter();
                let said = entries.filter_map(|(id, _)| stream?.entry(*id));
                said.filter(|entry| entry.state == state).count()
            };
            let why = match standing {
                Standing::Distrusted(why) => own.blind.clone().unwrap_or_else(|| why.to_string()),
                Standing::NeverHeard | Standing::Silent | Standing::Trusted => String::new(),
            };
            VantageSeen {
                vantage: vantage.name.to_string(),
                domain: vantage.domain,
                standing: standing.as_str(),
                why,
                holds_until: stream
                    .and_then(|stream| stream.lease_ends())
                    .map(|end| self.wall(end)),
                up: count(State::Up),
                slow: count(State::Slow),
                down: count(State::Down),
                none: count(State::None),
                references_up: own.references_up,
                references: own.references,
                version: own.version,
            }
        });
        seen.collect()
    }

    /// An instant of the monotonic clock on that which people read.
    fn wall(&self, instant: Duration) -> Timestamp {
        let Now { monotonic, wall } = self.now;
        let moved = match instant.checked_sub(monotonic) {
            Some(ahead) => wall.checked_add(ahead),
            None => wall.checked_sub(monotonic - instant),
        };
        moved.unwrap_or(wall)
    }
}

impl Counted {
    fn of(votes: &[VoteSeen]) -> Counted {
        let says = |state: State| {
            let said = votes.iter().filter(move |vote| vote.counts && vote.state == state.as_str());
            said.map(|vote| vote.domain)
        };
        let all = [State::Up, State::Slow, State::Down].into_iter().flat_map(says);
        let domains: BTreeSet<usize> = all.collect();
        Counted {
            up: says(State::Up).count(),
            slow: says(State::Slow).count(),
            down: says(State::Down).count(),
            domains: domains.len(),
        }
    }

    fn vantages(self) -> usize {
        self.up + self.slow + self.down
    }
}

impl QuorumTold {
    fn of(watch: &Watch) -> QuorumTold {
        QuorumTold {
            down: watch.quorum.down.of(1.0),
            up: watch.quorum.up.of(1.0),
            vantages: watch.quorum.vantages,
            domains: watch.quorum.domains,
            max_removed: watch.max_removed.of(1.0),
            checks: match watch.combine {
                Combine::All => "all",
                Combine::Any => "any",
            },
        }
    }
}

impl LostSeen {
    fn of(lost: &Lost) -> LostSeen {
        let Lost { region, addresses, why } = lost;
        let addresses = addresses.iter().flatten().map(ToString::to_string);
        LostSeen { region: region.code(), addresses: addresses.collect(), why: why.to_string() }
    }
}

impl Sight {
    pub fn text(&self) -> String {
        let Sight { now, board, digest, services, inside } = self;
        let mut text = format!("board {board} ({digest}) at {now:.0}\n");
        for seen in services {
            let _ = write!(text, "\n{}\n", seen.service);
            for line in seen.lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
        inside.iter().for_each(|site| site.tell(&mut text));
        text
    }
}

impl ServiceSeen {
    /// The evidence for people: what it takes to believe something, then each site and what is said of it.
    pub fn lines(&self) -> Vec<String> {
        let ServiceSeen { service: _, quorum, sites } = self;
        let mut lines = Vec::new();
        lines.push(match quorum {
            None => "nobody watches it".to_owned(),
            Some(told) => {
                let QuorumTold { down, up, vantages, domains, max_removed, checks } = told;
                format!(
                    "quorum: down at {down}, up at {up}, of {vantages} vantages in {domains} domains at least; \
                     probes alone remove {max_removed} at most; {checks} checks"
                )
            }
        });
        sites.iter().for_each(|site| site.tell(&mut lines));
        lines
    }
}

impl SiteSeen {
    fn tell(&self, lines: &mut Vec<String>) {
        let SiteSeen { site, health, since, why, admit, struck, lost, held_in: _, targets } = self;
        let mut line = format!("{site:<12} {health:<8}");
        if (0.0..1.0).contains(admit) && *health != Health::Down.as_str() {
            let _ = write!(line, " takes {:.0} %,", admit * 100.0);
        }
        let _ = write!(line, " {why}");
        if let Some(since) = since {
            let _ = write!(line, ", since {since:.0}");
        }
        if !struck.is_empty() {
            let _ = write!(line, "; not answered: {}", struck.join(", "));
        }
        for LostSeen { region, addresses, why } in lost {
            let _ = write!(line, "; not answered to {region}");
            if !addresses.is_empty() {
                let _ = write!(line, ": {}", addresses.join(", "));
            }
            let _ = write!(line, " ({why})");
        }
        lines.push(line);
        targets.iter().for_each(|target| target.tell(lines));
    }
}

impl TargetSeen {
    fn tell(&self, lines: &mut Vec<String>) {
        let TargetSeen { address, port, kind, verdict, ground, counted, returning, votes, .. } =
            self;
        let Counted { up, slow, down, domains } = counted;
        let mut line = format!("  {kind} {address} port {port}: {verdict}, {ground}");
        let _ = write!(line, "; heard {} in {domains} domains: {up} up", counted.vantages());
        for (count, word) in [(slow, "slow"), (down, "down")] {
            if *count > 0 {
                let _ = write!(line, ", {count} {word}");
            }
        }
        if let Some(Returning { flaps, waits_until, share, next_step }) = returning {
            let _ = match waits_until {
                Some(until) => write!(line, "; {flaps} flaps, so it waits until {until:.0}"),
                None => write!(line, "; on its way back, at {:.0} %", share * 100.0),
            };
            if let (None, Some(next)) = (waits_until, next_step) {
                let _ = write!(line, ", more at {next:.0}");
            }
        }
        lines.push(line);
        // Who says the same for the same reason says it in one line.
        let mut told: Vec<&VoteSeen> = Vec::new();
        for vote in votes {
            if !told.iter().any(|other| other.is_like(vote)) {
                lines.push(vote.line(votes));
                told.push(vote);
            }
        }
    }
}

impl VoteSeen {
    /// Whether one line is enough for both.
    fn is_like(&self, other: &VoteSeen) -> bool {
        let said =
            |vote: &VoteSeen| (vote.state, vote.reason, vote.streak > 0, vote.why_not.clone());
        said(self) == said(other) && self.detail == other.detail
    }

    /// What this one says, and everybody who says so.
    fn line(&self, all: &[VoteSeen]) -> String {
        let VoteSeen { state, reason, detail, why_not, .. } = self;
        let alike: Vec<&VoteSeen> = all.iter().filter(|vote| vote.is_like(self)).collect();
        let names: Vec<&str> = alike.iter().map(|vote| &*vote.vantage).collect();
        let mut line = format!("    {state:<5} {}", names.join(", "));
        let since = alike.iter().filter_map(|vote| vote.since);
        if let (Some(first), Some(last)) = (since.clone().min(), since.max()) {
            let _ = write!(line, ", since {first:.0}");
            if first.as_second() != last.as_second() {
                let _ = write!(line, " to {last:.0}");
            }
        }
        if let Some(reason) = reason {
            let _ = write!(line, " ({reason}");
            let _ = if detail.is_empty() { write!(line, ")") } else { write!(line, ": {detail})") };
        }
        if let Some(most) =
            alike.iter().filter(|vote| vote.streak > 0).max_by_key(|vote| vote.streak)
        {
            let _ = write!(line, ", {} of {} looks say otherwise", most.streak, most.need);
        }
        if let Some(why) = why_not {
            let _ = write!(line, ", does not count: {why}");
        }
        line
    }
}

/// A line for each.
pub fn vantages_text(vantages: &[VantageSeen]) -> String {
    if vantages.is_empty() {
        return "this world has no vantages\n".to_owned();
    }
    let mut text = format!(
        "{:<16}{:<13}{:>6}{:>6}{:>6}{:>6}  {:<12}{}\n",
        "vantage", "standing", "up", "slow", "down", "none", "references", "why"
    );
    for seen in vantages {
        let references = format!("{}/{}", seen.references_up, seen.references);
        let _ = writeln!(
            text,
            "{:<16}{:<13}{:>6}{:>6}{:>6}{:>6}  {references:<12}{}",
            seen.vantage, seen.standing, seen.up, seen.slow, seen.down, seen.none, seen.why
        );
    }
    text
}
