//! Looks at the servers of every pool, and asks them for their own lines. The shell around `rounds`.
//!
//! rounds ─▶ `Checks` ─▶ `common::look`, `line` ─▶ rounds ─▶ (whom we tell: backends)
//!
//! One task turns the rounds; each look is a task of its own with its own time limit, so that no server's slowness is
//! anybody else's. Decides nothing.

mod line;
mod run;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard};

use common::clock::monotonic;
use common::entropy;
use common::lock::Mutex;
use common::look::{Looker, Programs, Roots, Who};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::backends::{Event, Why};
use crate::rounds::{Belief, Rounds, Series, Shown, Wanted, Which};
use crate::site::{PoolId, ServerId, Site};

/// The checks of all pools. Dropping it ends them at once.
pub struct Checks {
    shared: Arc<Shared>,
    task: AbortHandle,
}

/// While it is held, nobody is told anything, and who calls `adopt` or `hold` waits.
pub struct Adopting<'c>(#[expect(dead_code, reason = "held, not looked at")] MutexGuard<'c, State>);

/// While it is held, ids are those of the newest site, and nobody else is told anything.
pub struct Held<'c> {
    shared: &'c Shared,
    state: MutexGuard<'c, State>,
}

/// What the task and those who ask it share.
struct Shared {
    state: Mutex<State>,
    /// There may be something to begin.
    changed: Notify,
    told: Box<Tell>,
    passed: Box<Passed>,
    is_out: Box<dyn Fn(PoolId, ServerId) -> bool + Send + Sync>,
}

struct State {
    rounds: Rounds,
    under_way: HashMap<Series, AbortHandle>,
    /// Who looks at servers that are believed by a CA of their own.
    believing: Believing,
}

type Tell = dyn Fn(PoolId, ServerId, Event, &Why) + Send + Sync;
type Passed = dyn Fn(PoolId, ServerId, &Why) + Send + Sync;
type Believing = HashMap<PathBuf, Arc<Looker>>;

impl Checks {
    /// Begins with nobody to look at, on that runtime, which should not be one that serves clients.
    ///
    /// `told` takes what is to be believed of a server and why, at each look that counts and each line; `passed` is called
    /// after it for each look that passed, or is to count as one, whatever the server's state
    /// (`Outliers::on_check_passed`); `is_out` is asked whether a server is out of service, and so not to be looked at.
    /// All are called under the lock that `adopt` and `hold` take: who holds a lock that they need calls neither of these.
    pub fn start(
        runtime: &Handle,
        looker: Looker,
        told: impl Fn(PoolId, ServerId, Event, &Why) + Send + Sync + 'static,
        passed: impl Fn(PoolId, ServerId, &Why) + Send + Sync + 'static,
        is_out: impl Fn(PoolId, ServerId) -> bool + Send + Sync + 'static,
    ) -> Checks {
        let state = State {
            rounds: Rounds::new(monotonic()),
            under_way: HashMap::new(),
            believing: Believing::new(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Notify::new(),
            told: Box::new(told),
            passed: Box::new(passed),
            is_out: Box::new(is_out),
        });
        let task = runtime.spawn(run::run(Arc::clone(&shared), looker)).abort_handle();
        Checks { shared, task }
    }

    /// Looks at this site's servers from now on. Those that are looked at as before keep what they have come to, and
    /// when their turn is. From here on ids are this site's; until what is returned is dropped nobody is told, so that
    /// a caller can take the new site everywhere in between.
    pub fn adopt(&self, site: Arc<Site>) -> Adopting<'_> {
        let read = believing(&site);
        let mut state = self.shared.state.lock();
        // A file that is broken now leaves the last good one, as it does for requests.
        let mut before = std::mem::take(&mut state.believing);
        let looker = |(ca, looker)| {
            let looker = Option::or_else(looker, || before.remove(&ca))?;
            Some((ca, looker))
        };
        state.believing = read.into_iter().filter_map(looker).collect();
        let ended = state.rounds.adopt(monotonic(), &Wanted::of(&site), entropy::share());
        for series in ended {
            if let Some(work) = state.under_way.remove(&series) {
                work.abort();
            }
        }
        self.shared.changed.notify_one();
        Adopting(state)
    }

    /// For whoever orders something of a server, or asks what is known of one by the ids of the newest site: no reload
    /// comes in between.
    pub fn hold(&self) -> Held<'_> {
        Held { shared: &self.shared, state: self.shared.state.lock() }
    }
}

impl Held<'_> {
    /// What is known of a server, for people; `None` where nothing is asked of it.
    pub fn seen(&self, pool: PoolId, server: ServerId) -> Option<Shown> {
        self.state.rounds.shown(Which { pool, server })
    }

    /// An operator's order.
    pub fn order(&mut self, pool: PoolId, server: ServerId, event: Event) {
        let which = Which { pool, server };
        self.shared.say(&mut self.state.rounds, which, event, &Why::of(event));
    }

    /// An operator's word in place of what looks have come to.
    pub fn overrule(&mut self, pool: PoolId, server: ServerId, belief: Belief) {
        let told = self.state.rounds.overrule(monotonic(), Which { pool, server }, belief);
        self.shared.tell(told);
    }
}

/// Every CA of a server that is looked at, read again; `None` for one that cannot be.
fn believing(site: &Site) -> HashMap<PathBuf, Option<Arc<Looker>>> {
    let servers = site.pools.iter().flat_map(|pool| &pool.servers);
    let cas = servers.filter_map(|server| server.check.as_ref()?.ca.clone());
    let mut read = HashMap::new();
    for ca in cas {
        read.entry(ca).or_insert_with_key(|ca| {
            let roots = Roots::read([ca.as_path()]).ok()?;
            let programs = Programs::new(Default::default());
            Some(Arc::new(Looker { who: Who::Balancer, roots, programs }))
        });
    }
    read
}

impl Drop for Checks {
    fn drop(&mut self) {
        self.task.abort();
    }
}
