//! The judge that follows beside one that, each time, judges everything from what it then finds: whatever is told, by
//! whom, and however much time goes by, both come to the same.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use common::principal::Kind;
use common::report::{Boot, Digest, Entry, EntryHash, Head, Mark, Own, Phases, Reason, State};
use proptest::prelude::*;

use crate::config;
use crate::health::view::View;
use crate::inbox::stream::{Change, Reception};
use crate::inside;
use crate::judge::case::{addresses_of, within};
use crate::judge::hear::{Vote, down_in};
use crate::judge::target::{Judged, judge_one};
use crate::judge::tests::view_within;
use crate::judge::views::{Answered, views};
use crate::judge::*;
use crate::verdict::tally::Tally;
use crate::verdict::{Evidence, Share};

const START: Duration = Duration::from_secs(100_000);
/// By so much the clocks of producers are behind.
const BEHIND: Duration = Duration::from_secs(90_000);
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Two services that share targets, one with two addresses and any of two checks; five vantages in four domains.
const WORLD: &str = r#"
[zone."example.com"]
file = "steer.zone"
[site.fra]
vips = ["192.0.2.1"]
capacity = 1000
[site.iad]
vips = ["192.0.2.2"]
[site.nrt]
vips = ["192.0.2.3", "2001:db8::3"]
[vantage.a]
place = { country = "NL" }
domain = "one"
[vantage.b]
place = { country = "NL" }
domain = "one"
[vantage.c]
place = { country = "US" }
[vantage.d]
place = { country = "JP" }
[vantage.e]
place = { country = "JP" }
[check.web]
kind = "tcp"
port = 80
host = "www.example.com"
[check.tls]
kind = "tls"
host = "www.example.com"
[service."www.example.com"]
sites = ["fra", "iad", "nrt"]
check = ["web"]
quorum = { down = 0.6, up = 0.6, vantages = 2, domains = 2, max_removed = 0.5 }
when_all_down = "open"
ttl = { max = "30s" }
[service."api.example.com"]
sites = ["fra", "nrt"]
any = ["web", "tls"]
quorum = { down = 0.75, up = 0.4, vantages = 3, domains = 3, max_removed = 1.0 }
when_all_down = "open"
ttl = { max = "10s" }
"#;

/// A judge as it would be if nothing were followed.
struct Whole {
    believed: HashMap<(Box<str>, TargetId), Believed>,
    grace_ends: Duration,
    next_change: Option<Duration>,
    /// By service.
    answered: HashMap<Box<str>, Answered>,
}

impl Whole {
    fn judge(
        &mut self,
        now: Now,
        world: &World,
        inbox: &Inbox,
        inside: &inside::Views,
    ) -> Judgement {
        let (vantages, votes) = hear_all(now.monotonic, world, inbox);
        let is_grace = now.monotonic < self.grace_ends;
        let mut changes: Vec<Duration> = inbox.next_silence(now.monotonic).into_iter().collect();
        changes.extend(is_grace.then_some(self.grace_ends));
        let mut believed = HashMap::new();
        let addresses = addresses_of(world);
        let services = world.services.iter().map(|service| {
            let watch = service.watch.as_ref()?;
            let name: Box<str> = service.name.to_host().to_string().into();
            let mut judged: HashMap<usize, Judged> = HashMap::new();
            for target in watch.candidates.iter().flatten().flat_map(|vip| &vip.targets) {
                let key = (name.clone(), world.targets[*target].0);
                let last = self.believed.get(&key).copied().unwrap_or_default();
                let mut one = judge_one(now, &watch.quorum, watch.regions, last, &votes[*target]);
                if is_grace && one.verdict == Verdict::Down {
                    (one.verdict, one.since) = (last.verdict, last.since);
                }
                let Judged { verdict, since, ground, up_share, is_certain, returned, .. } = one;
                let ground = Some(ground);
                believed.insert(
                    key,
                    Believed { verdict, since, ground, up_share, is_certain, returned },
                );
                judged.insert(*target, one);
            }
            let of = Of { now, world, service, watch, inside, addresses: &addresses, is_grace };
            let answered = self.answered.entry(name).or_default();
            let (views, next) = views(of, &judged, &within(of), answered);
            changes.extend(next);
            Some(views.into())
        });
        let views = Views(services.collect());
        self.believed = believed;
        self.next_change = changes.into_iter().min();
        Judgement { views, vantages }
    }

    fn meet(&mut self, peer: &Held) {
        for ((service, id), believed) in &mut self.believed {
            let theirs = peer.0.get(service).and_then(|targets| targets.get(id));
            if let Some(theirs) = theirs {
                believed.meet(*theirs);
            }
        }
    }
}

fn hear_all(now: Duration, world: &World, inbox: &Inbox) -> (Vec<Standing>, Vec<Vec<Vote>>) {
    let streams: Vec<_> =
        world.vantages.iter().map(|vantage| inbox.vantage(&vantage.name)).collect();
    let fresh: Vec<_> =
        streams.iter().map(|stream| stream.filter(|stream| stream.is_fresh(now))).collect();
    let evidence = |vantage: usize, target: usize| {
        let entry = fresh[vantage].and_then(|stream| stream.entry(world.targets[target].0));
        entry.map_or(Evidence::None, |entry| match entry.state {
            State::Up => Evidence::Up,
            State::Slow => Evidence::Slow,
            State::Down => Evidence::Down,
            State::None | State::Gone => Evidence::None,
        })
    };
    let is_blind = |vantage: usize| {
        fresh[vantage].and_then(|stream| stream.own()).is_some_and(|own| own.blind.is_some())
    };
    let site_of = |target: usize| {
        let services =
            world.services.iter().filter_map(|service| Some((service, service.watch.as_ref()?)));
        let all =
            services.flat_map(|(service, watch)| service.candidates.iter().zip(&watch.candidates));
        let of = all.filter(|(_, vips)| vips.iter().any(|vip| vip.targets.contains(&target)));
        of.fold(None, |_, (candidate, _)| Some(candidate.site))
    };
    let distrust = |vantage: usize| {
        if is_blind(vantage) {
            return Some(Distrust::Blind);
        }
        let others_have_up = |target: &usize| {
            let others = (0..streams.len()).filter(|other| *other != vantage && !is_blind(*other));
            let said = others.map(|other| (world.vantages[other].domain, evidence(other, *target)));
            let tally = Tally::of(said);
            evidence(vantage, *target) != Evidence::None
                && tally.domains >= 2
                && tally.has_up(Share::new(0.6).unwrap())
        };
        let of: Vec<usize> = (0..world.targets.len()).filter(others_have_up).collect();
        let down = of.iter().filter(|target| evidence(vantage, **target) == Evidence::Down);
        let sites: BTreeSet<_> = down.clone().map(|target| site_of(*target)).collect();
        let down = down.count();
        let is_alone = down * 2 > of.len() && down >= 3 && sites.len() >= 2;
        is_alone.then_some(Distrust::Alone { down, of: of.len() })
    };
    let standings: Vec<Standing> = (0..streams.len())
        .map(|vantage| match (streams[vantage], fresh[vantage]) {
            (_, Some(_)) => distrust(vantage).map_or(Standing::Trusted, Standing::Distrusted),
            (Some(stream), None) if stream.lease_ends().is_some() => Standing::Silent,
            (_, None) => Standing::NeverHeard,
        })
        .collect();
    let votes = (0..world.targets.len()).map(|target| {
        let of = |vantage: usize| {
            let stream = fresh[vantage].filter(|_| standings[vantage] == Standing::Trusted)?;
            let said = stream.said(world.targets[target].0)?;
            let since = said.on_our_clock(Duration::from_millis(said.entry.since));
            Some(Vote {
                domain: world.vantages[vantage].domain,
                region: world.vantages[vantage].place.continent,
                evidence: evidence(vantage, target),
                since: (said.entry.flaps > 0 || said.entry.state == State::Down).then_some(since),
                is_refused: said.entry.reason == Some(Reason::Refused),
                flaps: said.entry.flaps,
                down_in: down_in(said.entry, &world.targets[target].1),
            })
        };
        (0..streams.len()).filter_map(of).collect()
    });
    let votes = votes.collect();
    (standings, votes)
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// A vantage says of some targets that they are so, in a whole report or on top of the last.
    Tell {
        vantage: usize,
        said: Vec<(usize, State, u32)>,
        is_whole: bool,
        is_blind: bool,
        late: u64,
    },
    /// So many milliseconds go by, in which nobody says anything.
    Pass(u64),
    /// Everybody who ever spoke says that it is as it was.
    Beat,
    Reload(usize),
    /// A peer believes something else of everything that is not decided.
    Meet(Verdict),
    /// Agents say of an address of a site that it is so, and what it can take; `None` if nothing more of it.
    Within {
        site: usize,
        address: usize,
        said: Option<(inside::State, u32)>,
    },
}

fn steps() -> impl Strategy<Value = Step> {
    let state = prop::sample::select(vec![
        State::Up,
        State::Up,
        State::Slow,
        State::Down,
        State::Down,
        State::None,
        State::Gone,
    ]);
    let said = prop::collection::vec((0..8_usize, state, 0..5_u32), 0..9);
    let tell =
        (0..5_usize, said, prop::bool::weighted(0.2), prop::bool::weighted(0.1), 0..1500_u64);
    let verdict = prop::sample::select(vec![Verdict::Up, Verdict::Down, Verdict::Slow]);
    let state = prop::sample::select(vec![
        inside::State::Serving,
        inside::State::Empty,
        inside::State::Drained,
        inside::State::Stale,
    ]);
    let said = prop::option::weighted(0.8, (state, prop::sample::select(vec![0, 500, 2000])));
    let within = (0..3_usize, 0..2_usize, said);
    prop_oneof![
        8 => tell.prop_map(|(vantage, said, is_whole, is_blind, late)| {
            Step::Tell { vantage, said, is_whole, is_blind, late }
        }),
        4 => prop::sample::select(vec![1, 500, 2000, 7000, 11_000]).prop_map(Step::Pass),
        3 => Just(Step::Beat),
        1 => (0..3_usize).prop_map(Step::Reload),
        1 => verdict.prop_map(Step::Meet),
        3 => within.prop_map(|(site, address, said)| Step::Within { site, address, said }),
    ]
}

struct Pair {
    worlds: Vec<World>,
    world: usize,
    inbox: Inbox,
    inside: inside::Views,
    /// How often that has changed.
    heard: u64,
    follows: Judge,
    whole: Whole,
    now: Duration,
    said: [HashMap<TargetId, EntryHash>; 5],
    seq: [u64; 5],
}

impl Pair {
    fn new() -> Pair {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/steer");
        let of =
            |text: &str| config::world_from_str(text, &dir).unwrap_or_else(|why| panic!("{why}"));
        let without_nrt = WORLD.replace(", \"nrt\"]", "]").replace("[vantage.b]", "[vantage.x]");
        let other_check = WORLD.replace("port = 80", "port = 81");
        let worlds = vec![of(WORLD), of(&without_nrt), of(&other_check)];
        let whole = Whole {
            believed: HashMap::new(),
            grace_ends: START + GRACE,
            next_change: None,
            answered: HashMap::new(),
        };
        let mut pair = Pair {
            worlds,
            world: 0,
            inbox: Inbox::default(),
            inside: inside::Views::new(),
            heard: 0,
            follows: Judge::new(Held::default(), START),
            whole,
            now: START,
            said: Default::default(),
            seq: [0; 5],
        };
        pair.judge();
        pair
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Tell { vantage, said, is_whole, is_blind, late } => {
                self.tell(*vantage, said, *is_whole, *is_blind, *late);
            }
            Step::Pass(milliseconds) => self.now += Duration::from_millis(*milliseconds),
            Step::Beat => {
                for vantage in (0..5).filter(|vantage| self.seq[*vantage] > 0).collect::<Vec<_>>() {
                    self.tell(vantage, &[], false, false, 0);
                }
            }
            Step::Reload(world) => self.world = *world,
            Step::Meet(verdict) => {
                let mut peer = self.follows.undecided();
                for held in peer.0.values_mut().flat_map(BTreeMap::values_mut) {
                    held.verdict = *verdict;
                }
                self.follows.meet(&peer);
                self.whole.meet(&peer);
            }
            Step::Within { site, address, said } => {
                let site = &self.worlds[0].sites[*site];
                let addresses: Vec<IpAddr> = site.vips.all().collect();
                let at = SocketAddr::new(addresses[address % addresses.len()], 80);
                let views = self.inside.entry(site.name.clone()).or_default();
                let last = views.remove(&at);
                if let Some((state, capacity)) = said {
                    let capacity = Some(f64::from(*capacity));
                    views.insert(at, view_within(self.now, last, *state, capacity));
                }
                self.heard += 1;
            }
        }
        self.judge();
    }

    fn tell(
        &mut self,
        vantage: usize,
        told: &[(usize, State, u32)],
        is_whole: bool,
        is_blind: bool,
        late: u64,
    ) {
        let before = (self.seq[vantage] > 0 && !is_whole).then(|| self.seq[vantage]);
        self.seq[vantage] += 1;
        let said = &mut self.said[vantage];
        if before.is_none() {
            said.clear();
        }
        let (mut changes, produced) = (HashMap::new(), self.now - Duration::from_millis(late));
        for (index, state, flaps) in told {
            let world = &self.worlds[self.world];
            let id = world.targets[index % world.targets.len()].0;
            let entry = Entry {
                target: id,
                state: *state,
                // By its own clock, which began later; some of it yet to come.
                since: (produced - BEHIND).as_millis() as u64 + 500 * u64::from(*flaps),
                streak: (*flaps % 3) as u16,
                need: 3,
                flaps: *flaps,
                phases_ms: Phases::default(),
                reason: (*flaps == 2).then_some(Reason::Refused),
                detail: String::new(),
                cert_days: None,
            };
            if *state == State::Gone {
                said.remove(&id);
                changes.insert(id, Change::Gone);
            } else {
                let hash = EntryHash::of(&serde_json::to_string(&entry).unwrap());
                said.insert(id, hash);
                changes.insert(id, Change::Said(hash, entry));
            }
        }
        let mut digest = Digest::default();
        said.values().for_each(|hash| digest.add(*hash));
        let head = Head {
            cluster: "example".into(),
            producer: NAMES[vantage].into(),
            kind: Kind::Probe,
            boot: Boot([vantage as u8; 16]),
            mark: Mark { inc: 1, seq: self.seq[vantage] },
            base: before.map(|seq| Mark { inc: 1, seq }),
            now: produced - BEHIND,
            digest,
            valid: Duration::from_secs(10),
            own: Own { blind: is_blind.then(|| "blind".to_owned()), ..Own::default() },
        };
        let reception = self.inbox.on_report(self.now, NAMES[vantage], &head, changes);
        assert!(matches!(reception, Reception::Taken(_)), "{reception:?}");
    }

    fn judge(&mut self) {
        let now = Now { monotonic: self.now, wall: Timestamp::UNIX_EPOCH + self.now };
        let world = &self.worlds[self.world];
        let whole = self.whole.judge(now, world, &self.inbox, &self.inside);
        let before = self.follows.judgement().clone();
        let inside = Said { number: self.heard, views: &self.inside };
        let news = self.follows.judge(now, world, &self.inbox, inside);
        assert_eq!(*self.follows.judgement(), whole);
        assert_eq!(self.follows.next_change(), self.whole.next_change);
        // It says what it brought; of another world it says no less than there is.
        if news < News::Answers {
            assert_eq!(news == News::Nothing, before.views == whole.views);
            let views = |views: &Views| {
                views.0.iter().flatten().flat_map(|of| of.to_vec()).collect::<Vec<_>>()
            };
            let (before, after) = (views(&before.views), views(&whole.views));
            assert!(before.iter().zip(&after).all(|(one, other)| one.is_answered_as(other)));
        }
        let held = self.follows.held();
        let count: usize = held.0.values().map(BTreeMap::len).sum();
        assert_eq!(count, self.whole.believed.len());
        for ((service, id), believed) in &self.whole.believed {
            assert_eq!(held.0[service][id], believed.kept());
        }
    }

    fn views(&self) -> Vec<Arc<[View]>> {
        self.follows.judgement().views.0.iter().flatten().cloned().collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn what_is_followed_is_as_if_all_were_judged(steps in prop::collection::vec(steps(), 1..60)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.run(step);
        }
    }
}

/// What is the same is known by its pointer, so that nobody need compare it.
#[test]
fn what_nobody_spoke_of_is_the_very_same() {
    let mut pair = Pair::new();
    let all_up: Vec<_> = (0..8).map(|target| (target, State::Up, 0)).collect();
    (0..5).for_each(|vantage| {
        pair.run(&Step::Tell {
            vantage,
            said: all_up.clone(),
            is_whole: true,
            is_blind: false,
            late: 0,
        })
    });
    (0..12).for_each(|_| {
        pair.run(&Step::Pass(1000));
        pair.run(&Step::Beat);
    });
    let before = pair.views();
    // A check that the first service alone has.
    let world = &pair.worlds[0];
    let of = |index: usize| {
        let watch = world.services[index].watch.as_ref().unwrap();
        watch
            .candidates
            .iter()
            .flatten()
            .flat_map(|vip| &vip.targets)
            .copied()
            .collect::<BTreeSet<_>>()
    };
    let alone = *of(0).difference(&of(1)).next().unwrap();
    for vantage in 0..5 {
        let said = vec![(alone, State::Down, 1)];
        pair.run(&Step::Tell { vantage, said, is_whole: false, is_blind: false, late: 0 });
    }
    let after = pair.views();
    assert!(!Arc::ptr_eq(&before[0], &after[0]) && Arc::ptr_eq(&before[1], &after[1]));
}
