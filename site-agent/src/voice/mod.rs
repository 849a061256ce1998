//! What this agent says of its site to the name servers: of each VIP and port that it serves, whether it can, since when, and
//! what its servers can take, and what its clients ask.
//!
//! frontends, what their pools come to, the VIPs that name servers ask for, counts ─▶ `Voice` ─▶ a report's VIPs
//!
//! Pure. What it keeps from one look to the next is since when each is as it is, and how often that has changed.

mod load;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use common::report::agent::{MOST_VIPS, Rate, State, Vip, Vrrp};

use self::load::Loads;
use crate::backends::{self, Mode, Standing, Unit};
use crate::site::PoolId;

/// Changes are told that are no longer ago.
const FLAPS_OF: Duration = Duration::from_secs(3600);
/// And no more of them than these.
const MOST_FLAPS: usize = 100;

/// A frontend, as far as it matters here.
#[derive(Clone, Debug)]
pub struct Door {
    /// Where it listens. An unspecified address is every VIP of its family.
    pub bind: Vec<SocketAddr>,
    /// Where what no rule has decided goes to; without one, where rules send it. `None` where it is redirected, which
    /// needs nobody.
    pub pools: Option<Vec<PoolId>>,
}

/// What a pool can do now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PoolWord {
    pub state: backends::State,
    /// Requests a second, where they are known.
    pub capacity: Option<u64>,
    pub servers_up: u32,
    pub servers: u32,
    /// Whether of some of them nothing is known yet.
    pub is_starting: bool,
}

/// For so long nothing need be known of a server. Who cannot be looked at at all is believed to serve nobody then.
const STARTING: Duration = Duration::from_secs(30);

/// Says what there is to say, look by look.
#[derive(Debug, Default)]
pub struct Voice {
    vips: BTreeMap<SocketAddr, Said>,
    loads: Loads,
    /// VIPs and ports that are served and not told of.
    left_out: usize,
}

#[derive(Debug)]
struct Said {
    word: Word,
    since: Duration,
    /// Since when of some of its servers nothing is known.
    starting_since: Option<Duration>,
    /// When the state changed, the last ones.
    changes: VecDeque<Duration>,
}

/// What is said of one VIP and port now.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Word {
    state: State,
    capacity: Option<Rate>,
    servers_up: u32,
    servers: u32,
    /// Whether of some of them nothing is known yet.
    is_starting: bool,
    vrrp: Option<Vrrp>,
}

impl PoolWord {
    /// Of a pool with so many servers.
    pub fn of(standing: &Standing, servers: usize) -> PoolWord {
        let up = match standing.mode {
            // Those that take requests then are not known to be able to.
            Mode::Panic | Mode::Starting => standing.usable,
            Mode::Active | Mode::Backup | Mode::Nobody => standing.takers.len(),
        };
        let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
        PoolWord {
            state: standing.state,
            capacity: match standing.capacity.unit {
                Unit::RequestsPerSecond => Some(standing.capacity.usable),
                Unit::Thousandths => None,
            },
            is_starting: standing.starting > 0,
            servers_up: count(up),
            servers: count(servers),
        }
    }
}

impl Voice {
    /// Looks at what there is; whether something is to be said anew. `pools` are by their ids, `asked` is what name servers
    /// ask for, `roles` are those of VIPs that move between boxes, and whoever is leaving serves nobody new.
    pub fn look(
        &mut self,
        now: Duration,
        doors: &[Door],
        pools: &[PoolWord],
        asked: &BTreeSet<SocketAddr>,
        roles: &BTreeMap<IpAddr, Vrrp>,
        is_leaving: bool,
    ) -> bool {
        let (mut words, left_out) = words(doors, pools, asked);
        self.left_out = left_out;
        for (at, word) in &mut words {
            word.vrrp = roles.get(&at.ip()).copied();
        }
        if is_leaving {
            // What is drained stays that, until somebody ends it.
            let others = words.values_mut().filter(|word| word.state != State::Drained);
            others.for_each(|word| (word.state, word.is_starting) = (State::Empty, false));
        }
        let mut has_news = self.vips.len() != words.len();
        self.vips.retain(|at, _| words.contains_key(at));
        for (at, word) in words {
            has_news |= self.hear(now, at, word);
        }
        has_news
    }

    fn hear(&mut self, now: Duration, at: SocketAddr, word: Word) -> bool {
        let starting_since = self.vips.get(&at).and_then(|said| said.starting_since);
        let starting_since = word.is_starting.then(|| starting_since.unwrap_or(now));
        let is_new = starting_since.is_some_and(|since| now < since + STARTING);
        let Some(said) = self.vips.get_mut(&at) else {
            let word = if is_new { word.before_it_is_known(None) } else { word };
            let changes = VecDeque::new();
            self.vips.insert(at, Said { word, since: now, starting_since, changes });
            return true;
        };
        let word = if is_new { word.before_it_is_known(said.word.capacity) } else { word };
        said.starting_since = starting_since;
        let count = said.changes.len();
        said.changes.retain(|change| now.saturating_sub(*change) < FLAPS_OF);
        let is_new = said.word != word || said.changes.len() != count;
        if said.word.state != word.state {
            said.since = now;
        }
        // Before it could say anything it was in no state.
        if said.word.state != word.state && said.word.state != State::None {
            if said.changes.len() == MOST_FLAPS {
                said.changes.pop_front();
            }
            said.changes.push_back(now);
        }
        said.word = word;
        is_new
    }

    /// Takes how often clients have asked, at each address that they came to and each that is listened at. It is never news:
    /// what they ask changes all the time, and whoever says something else says that too.
    pub fn count(&mut self, now: Duration, counts: &BTreeMap<SocketAddr, u64>) {
        self.loads.count(now, counts);
    }

    /// How many VIPs and ports are served, and not told of because there are too many.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// All that is to be said.
    pub fn vips(&self) -> Vec<Vip> {
        let vip = |(at, said): (&SocketAddr, &Said)| Vip {
            addr: at.ip(),
            port: at.port(),
            state: said.word.state,
            since: u64::try_from(said.since.as_millis()).unwrap_or(u64::MAX),
            flaps: u32::try_from(said.changes.len()).unwrap_or(u32::MAX),
            capacity: said.word.capacity,
            load: self.loads.of(*at),
            offer: None,
            backends_up: said.word.servers_up,
            backends: said.word.servers,
            vrrp: said.word.vrrp,
        };
        self.vips.iter().map(vip).collect()
    }
}

impl Word {
    /// Nobody serves yet, and somebody may: an agent that was just started has lost nobody. Nor is what the servers that
    /// are known can take all that there is; `capacity` is what was told last.
    fn before_it_is_known(self, capacity: Option<Rate>) -> Word {
        let state = if self.state == State::Empty { State::None } else { self.state };
        Word { state, capacity, ..self }
    }
}

/// What is to be said of every VIP and port that some door serves, and how many more of these there are than may be told of.
fn words(
    doors: &[Door],
    pools: &[PoolWord],
    asked: &BTreeSet<SocketAddr>,
) -> (BTreeMap<SocketAddr, Word>, usize) {
    let mut served: BTreeMap<SocketAddr, &Door> = BTreeMap::new();
    for door in doors {
        served
            .extend(door.bind.iter().filter(|at| !at.ip().is_unspecified()).map(|at| (*at, door)));
    }
    for door in doors {
        for any in door.bind.iter().filter(|at| at.ip().is_unspecified()) {
            let is_its =
                |at: &&SocketAddr| at.port() == any.port() && at.is_ipv4() == any.is_ipv4();
            for at in asked.iter().filter(is_its) {
                // Who listens there and nowhere else is asked first by the kernel.
                served.entry(*at).or_insert(door);
            }
        }
    }
    // Whoever tells of more is not heard at all.
    let left_out = served.len().saturating_sub(MOST_VIPS);
    let served: BTreeMap<_, _> = served.into_iter().take(MOST_VIPS).collect();
    let shares = shares(&served);
    (served.iter().map(|(at, door)| (*at, word(door, pools, &shares))).collect(), left_out)
}

/// Over how many VIPs clients come to each pool: what it can take is shared among these, and told once.
fn shares(served: &BTreeMap<SocketAddr, &Door>) -> BTreeMap<usize, usize> {
    let mut vips: BTreeMap<usize, BTreeSet<IpAddr>> = BTreeMap::new();
    for (at, door) in served {
        for pool in door.pools.iter().flatten() {
            vips.entry(pool.0).or_default().insert(at.ip());
        }
    }
    vips.into_iter().map(|(pool, vips)| (pool, vips.len())).collect()
}

fn word(door: &Door, pools: &[PoolWord], shares: &BTreeMap<usize, usize>) -> Word {
    let ids = || door.pools.iter().flatten();
    let of_door = || ids().filter_map(|id| Some((id.0, pools.get(id.0)?)));
    let is_any = |state| of_door().any(|(_, pool)| pool.state == state);
    let state = match () {
        () if door.pools.is_none() || is_any(backends::State::Serving) => State::Serving,
        // Who only denies has nothing to serve.
        () if ids().next().is_none() || is_any(backends::State::Empty) => State::Empty,
        () => State::Drained,
    };
    let capacity = |(id, pool): (usize, &PoolWord)| {
        let vips = shares.get(&id).copied().unwrap_or(1).max(1);
        #[expect(clippy::cast_precision_loss, reason = "rates are no counts")]
        pool.capacity.map(|capacity| capacity as f64 / vips as f64)
    };
    // Known only if it is of every pool.
    let sum: Option<f64> = of_door().map(capacity).sum();
    let count = |of: fn(&PoolWord) -> u32| {
        of_door().fold(0_u32, |all, (_, pool)| all.saturating_add(of(pool)))
    };
    Word {
        state,
        capacity: sum.filter(|_| ids().next().is_some()).and_then(Rate::new),
        servers_up: count(|pool| pool.servers_up),
        servers: count(|pool| pool.servers),
        is_starting: of_door().any(|(_, pool)| pool.is_starting),
        vrrp: None,
    }
}
