//! The task that turns the rounds: begins what is due, and brings back what it came to.

use std::sync::Arc;
use std::time::Duration;

use common::clock::monotonic;
use common::entropy;
use common::look::{Look as _, Looker};
use common::seen::Seen;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{Shared, State, line};
use crate::agent_check::Line;
use crate::backends::{Event, Why};
use crate::rounds::{Answered, Begun, Name, Rounds, Series, Told, Which};

/// The rounds turn at least so often.
const BEAT: Duration = Duration::from_millis(500);
/// A look that is not over so long after its own time limit never ends.
const GRACE: Duration = Duration::from_secs(2);

type Work = JoinSet<(Series, Came)>;

/// What something came to.
enum Came {
    Seen(Seen),
    Line(Result<Line, String>),
}

pub async fn run(shared: Arc<Shared>, looker: Looker) {
    let looker = Arc::new(looker);
    let mut work = Work::new();
    loop {
        let wake = shared.begin(&mut work, &looker);
        tokio::select! {
            () = sleep(wake.min(BEAT)) => {}
            () = shared.changed.notified() => {}
            Some(came) = work.join_next_with_id() => {
                shared.take(came);
                // All that ended meanwhile, in one turn.
                while let Some(came) = work.try_join_next_with_id() {
                    shared.take(came);
                }
            }
        }
    }
}

impl Shared {
    /// Begins what is due; how long until there is more.
    fn begin(&self, work: &mut Work, looker: &Arc<Looker>) -> Duration {
        let mut state = self.state.lock();
        let now = monotonic();
        let State { rounds, under_way, believing } = &mut *state;
        rounds.turn(now, entropy::share());
        let is_out = |which: Which| (self.is_out)(which.pool, which.server);
        while let Some(begun) = rounds.begin(now, is_out) {
            let (series, handle) = match begun {
                Begun::Look(series, check) => {
                    let own = check.ca.as_ref().map(|ca| believing.get(ca).cloned());
                    let looker = own.unwrap_or_else(|| Some(Arc::clone(looker)));
                    let handle = work.spawn(async move {
                        let Some(looker) = looker else {
                            return (
                                series,
                                Came::Seen(Seen::unseen("the server's CA cannot be read")),
                            );
                        };
                        let limit = check.target.check.timing.timeout() + GRACE;
                        let seen = timeout(limit, looker.look(&check.target)).await;
                        let seen = seen.unwrap_or_else(|_| Seen::unseen("the look did not end"));
                        (series, Came::Seen(seen))
                    });
                    (series, handle)
                }
                Begun::Line(series, inquiry) => {
                    let asking = async move { (series, Came::Line(line::ask(&inquiry).await)) };
                    (series, work.spawn(asking))
                }
            };
            under_way.insert(series, handle);
        }
        rounds.next_wakeup().map_or(BEAT, |at| at.saturating_sub(now))
    }

    fn take(&self, came: Result<(Id, (Series, Came)), JoinError>) {
        let mut state = self.state.lock();
        let State { rounds, under_way, believing: _ } = &mut *state;
        let now = monotonic();
        let (series, came) = match came {
            Ok((_, came)) => came,
            Err(failed) => {
                let of = |(_, work): &(&Series, &AbortHandle)| work.id() == failed.id();
                // One that a reload has ended is nobody's any more.
                if let Some(series) = under_way.iter().find(of).map(|(series, _)| *series) {
                    under_way.remove(&series);
                    rounds.failed(now, series);
                }
                return;
            }
        };
        under_way.remove(&series);
        match came {
            Came::Seen(seen) => {
                let told = rounds.looked(now, series, seen);
                self.tell(told);
            }
            Came::Line(line) => {
                let events: Vec<_> = line.iter().flat_map(Line::events).collect();
                let text =
                    line.as_ref().ok().and_then(|line| line.text.clone()).unwrap_or_default();
                let fault = match &line {
                    Ok(line) => line.problems.first().map(ToString::to_string),
                    Err(why) => Some(why.clone()),
                };
                let Some(Answered { which, turned }) = rounds.answered(now, series, line) else {
                    return;
                };
                if let Some(Name { pool, server }) = turned {
                    let (pool, server) = (&*pool, &*server);
                    match fault {
                        Some(why) => warn!(
                            pool,
                            server,
                            why,
                            "an agent-check gives no line that can be taken: what it said before holds"
                        ),
                        None => info!(
                            pool,
                            server, "an agent-check gives lines that can be taken again"
                        ),
                    }
                }
                for event in events {
                    self.say(rounds, which, event, &Why::of(event).because(&*text));
                }
            }
        }
    }

    /// Tells what did not come of looks. Whom it brings back into service is looked at.
    pub(super) fn say(&self, rounds: &mut Rounds, which: Which, event: Event, why: &Why) {
        let Which { pool, server } = which;
        let was_out = (self.is_out)(pool, server);
        (self.told)(pool, server, event, why);
        if was_out && !(self.is_out)(pool, server) {
            rounds.return_to_service(monotonic(), which);
            self.changed.notify_one();
        }
    }

    /// Under the lock, so that ids are still those of the newest site.
    pub(super) fn tell(&self, told: Option<Told>) {
        let Some(Told { which: Which { pool, server }, event, why, has_passed }) = told else {
            return;
        };
        (self.told)(pool, server, event, &why);
        if has_passed {
            (self.passed)(pool, server, &why);
        }
    }
}
