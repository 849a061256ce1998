//! What vantages see and what is made of it, as people and their tools look it up.
//!
//! Made from what the keeper holds; shown as text or JSON. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use common::report::{Phases, Reason, State};
use common::target::Target;
use jiff::Timestamp;
use serde::Serialize;

use crate::health::board::{Board, Lost};
use crate::inbox::Inbox;
use crate::judge::{Judge, Judgement, Now, Standing};
use crate::verdict::Verdict;
use crate::watch::{Combine, Watch};
use crate::world::{Service, World};

/// What a sight is made of.
pub struct SightOf<'a> {
    pub world: &'a World,
    pub board: &'a Board,
    pub inbox: &'a Inbox,
    pub judge: &'a Judge,
    pub judgement: &'a Judgement,
    pub now: Now,
}

/// `/v1/board`: every service that is watched, with all evidence.
#[derive(Clone, Debug, Serialize)]
pub struct Sight {
    pub now: Timestamp,
    pub board: u64,
    pub digest: String,
    pub services: Vec<ServiceSeen>,
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
    pub votes: Vec<VoteSeen>,
}

/// What one vantage says of it.
#[derive(Clone, Debug, Serialize)]
pub struct VoteSeen {
    pub vantage: String,
    pub state: &'static str,
    /// Whether it is fresh and trusted.
    pub counts: bool,
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
        let services = self.world.service_ids().map(|id| {
            let service = self.world.service(id);
            let standings = &self.board.of_service(id).standings;
            let sites = service.candidates.iter().enumerate().map(|(index, candidate)| {
                let standing = &standings[index];
                let vips = service.watch.as_ref().map(|watch| &watch.candidates[index]);
                let targets = vips.into_iter().flatten().flat_map(|vip| &vip.targets);
                SiteSeen {
                    site: self.world.site(candidate.site).name.to_string(),
                    health: standing.health.as_str(),
                    since: standing.since,
                    why: standing.why.to_string(),
                    admit: standing.admit().share(),
                    struck: standing.struck.iter().map(ToString::to_string).collect(),
                    lost: standing.lost.iter().map(LostSeen::of).collect(),
                    targets: targets.map(|target| self.target(service, *target)).collect(),
                }
            });
            ServiceSeen {
                service: service.name.to_string(),
                quorum: service.watch.as_ref().map(QuorumTold::of),
                sites: sites.collect(),
            }
        });
        Sight {
            now: self.now.wall,
            board: self.board.number,
            digest: self.board.digest.to_string(),
            services: services.collect(),
        }
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
                state: entry.state.as_str(),
                counts: *standing == Standing::Trusted,
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
        TargetSeen {
            target: id.to_string(),
            address: address.to_string(),
            port: *port,
            host: host.clone(),
            kind: check.kind.word().as_str(),
            verdict,
            ground,
            votes: votes.collect(),
        }
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
        let mut text = format!("board {} ({}) at {:.0}\n", self.board, self.digest, self.now);
        for ServiceSeen { service, quorum, sites } in &self.services {
            let _ = write!(text, "\n{service}\n");
            if let Some(told) = quorum {
                let QuorumTold { down, up, vantages, domains, max_removed, checks } = told;
                let _ = writeln!(
                    text,
                    "  quorum: down at {down}, up at {up}, of {vantages} vantages in {domains} domains at least; \
                     probes alone remove {max_removed} at most; {checks} checks"
                );
            }
            for site in sites {
                site.tell(&mut text);
            }
        }
        text
    }
}

impl SiteSeen {
    fn tell(&self, text: &mut String) {
        let SiteSeen { site, health, since, why, admit, struck, lost, targets } = self;
        let _ = write!(text, "  {site:<12} {health:<8}");
        if *admit < 1.0 {
            let _ = write!(text, " takes {:.0} %", admit * 100.0);
        }
        let _ = write!(text, " {why}");
        if let Some(since) = since {
            let _ = write!(text, ", since {since:.0}");
        }
        if !struck.is_empty() {
            let _ = write!(text, "; not answered: {}", struck.join(", "));
        }
        for LostSeen { region, addresses, why } in lost {
            let _ = write!(text, "; not answered to {region}");
            if !addresses.is_empty() {
                let _ = write!(text, ": {}", addresses.join(", "));
            }
            let _ = write!(text, " ({why})");
        }
        text.push('\n');
        for target in targets {
            let TargetSeen { address, port, kind, verdict, ground, votes, .. } = target;
            let _ = writeln!(text, "    {kind} {address} port {port}: {verdict}, {ground}");
            for vote in votes {
                vote.tell(text);
            }
        }
    }
}

impl VoteSeen {
    fn tell(&self, text: &mut String) {
        let VoteSeen { vantage, state, counts, since, reason, detail, .. } = self;
        let _ = write!(text, "      {vantage:<12} {state:<5}");
        if let Some(since) = since {
            let _ = write!(text, " since {since:.0}");
        }
        if let Some(reason) = reason {
            let _ = write!(text, " ({reason}");
            let _ = if detail.is_empty() { write!(text, ")") } else { write!(text, ": {detail})") };
        }
        if self.streak > 0 {
            let _ = write!(text, ", {} of {} looks say otherwise", self.streak, self.need);
        }
        if !counts {
            text.push_str(", does not count");
        }
        text.push('\n');
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
