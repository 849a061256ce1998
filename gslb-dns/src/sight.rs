//! What vantages see, what agents say, and what is made of it, as people and their tools look it up.
//!
//! Made from what the keeper holds; shown as text or JSON. Pure.

mod sites;
mod text;

use std::collections::BTreeSet;
use std::time::Duration;

use common::report::{Phases, Reason, State};
use common::target::{Target, TargetId};
use jiff::Timestamp;
use serde::Serialize;

use crate::health::board::{Board, Lost};
use crate::health::overrides::{Glob, NoMatch};
use crate::health::view::{Alert, View};
use crate::ids::ServiceId;
use crate::inbox::Inbox;
use crate::inside::{Views, Voice};
use crate::judge::{Judge, Judgement, Now, Standing};
use crate::verdict::Verdict;
use crate::watch::{Combine, Watch};
use crate::world::{Service, World};

pub use self::sites::{AgentSeen, SiteInside, VipSeen};
pub use self::text::vantages_text;

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
    /// Sites that name agents, and all that these say.
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
    /// The ports of it where the service looks, as its agents have them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inside: Vec<VipSeen>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<Alert>,
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

impl Sight {
    /// What of it is about the sites that match a pattern, if the world has one.
    pub fn of_sites(self, pattern: &str, world: &World) -> Result<Sight, NoMatch> {
        let glob = Glob::new(pattern);
        glob.is_of_some_site(world)?;
        let Sight { mut services, mut inside, .. } = self;
        for service in &mut services {
            service.sites.retain(|seen| glob.matches(&seen.site));
        }
        services.retain(|service| !service.sites.is_empty());
        inside.retain(|seen| glob.matches(&seen.site));
        Ok(Sight { services, inside, ..self })
    }
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
                held_in: self.view(id, index).is_some_and(|view| view.is_held_in),
                targets: targets.map(|target| self.target(service, *target)).collect(),
                inside: self.inside(candidate.site, vips),
                alert: self.view(id, index).and_then(|view| view.alert),
            }
        });
        ServiceSeen {
            service: service.name.to_string(),
            quorum: service.watch.as_ref().map(QuorumTold::of),
            sites: sites.collect(),
        }
    }

    fn view(&self, id: ServiceId, index: usize) -> Option<&View> {
        let views = self.judgement.views.0.get(id.index()).and_then(Option::as_ref);
        Some(&views?[index])
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
