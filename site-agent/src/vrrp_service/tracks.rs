//! What virtual routers watch beside themselves, and what is seen of it: looks at others. Interfaces are the thread's own.
//!
//! config ─▶ Tracks ─▶ (looks) ─▶ `Result` ─▶ routers

use std::sync::Arc;
use std::time::Duration;

use common::clock::monotonic;
use common::look::{Look as _, Looker};
use common::streak::{Outcome, State, Streak};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use crate::site::{ServerCheck, VirtualRouter, Watched};
use crate::vrrp::machine::event::TrackResult;
use crate::vrrp::machine::settings::TrackId;

/// Results that wait for the service.
const WAITING: usize = 64;
/// A look that has not ended so long after its timeout never will.
const GRACE: Duration = Duration::from_secs(1);

/// What became of a track that had been otherwise.
pub struct Tracked {
    pub router: Arc<str>,
    pub track: TrackId,
    pub result: TrackResult,
}

/// Looks at whatever the virtual routers watch.
pub struct Tracks {
    looker: Arc<Looker>,
    to: mpsc::Sender<Tracked>,
    watches: Vec<(VirtualRouter, Vec<AbortHandle>)>,
}

impl Tracks {
    pub fn new(looker: Looker) -> (Tracks, mpsc::Receiver<Tracked>) {
        let (to, from) = mpsc::channel(WAITING);
        (Tracks { looker: Arc::new(looker), to, watches: vec![] }, from)
    }

    /// Goes over to these. A virtual router of another config may have forgotten what it was told: its tracks begin anew.
    pub fn adopt(&mut self, routers: &[VirtualRouter]) {
        let mut before = std::mem::take(&mut self.watches);
        for router in routers.iter().filter(|router| !router.tracks.is_empty()) {
            let same = before.iter().position(|(known, _)| known == router);
            self.watches.push(match same {
                Some(place) => before.swap_remove(place),
                None => (router.clone(), self.watch(router)),
            });
        }
        before.iter().flat_map(|(_, looks)| looks).for_each(AbortHandle::abort);
    }

    fn watch(&self, router: &VirtualRouter) -> Vec<AbortHandle> {
        let looks = router.tracks.iter().enumerate().filter_map(|(place, track)| {
            let Watched::Check(check) = &track.watched else { return None };
            let watch = Watch {
                router: Arc::clone(&router.name),
                track: TrackId(place),
                name: Arc::clone(&track.name),
                check: ServerCheck::clone(check),
                looker: Arc::clone(&self.looker),
                to: self.to.clone(),
            };
            Some(tokio::spawn(watch.go_on()).abort_handle())
        });
        looks.collect()
    }
}

/// Of one track.
struct Watch {
    router: Arc<str>,
    track: TrackId,
    name: Arc<str>,
    check: ServerCheck,
    looker: Arc<Looker>,
    to: mpsc::Sender<Tracked>,
}

impl Watch {
    async fn go_on(self) {
        let Watch { router, track, name, check, looker, to } = self;
        let timing = &check.target.check.timing;
        let mut streak = Streak::new(timing.thresholds(), monotonic());
        loop {
            let began = Instant::now();
            let seen = timeout(timing.timeout() + GRACE, looker.look(&check.target)).await;
            let failure = match seen {
                Ok(seen) => {
                    seen.outcome.err().map(|failure| (failure.reason.as_str(), failure.detail))
                }
                Err(_) => Some(("timeout", "the look did not end".to_owned())),
            };
            let outcome = if failure.is_none() { Outcome::Success } else { Outcome::Failure };
            let result = match streak.on_result(monotonic(), outcome) {
                Some(State::Up) => Some(TrackResult::Passes),
                Some(State::Down) => Some(TrackResult::Fails),
                Some(State::Unknown) | None => None,
            };
            if let Some(result) = result {
                match failure {
                    None => info!(%router, track = %name, "a track passes"),
                    Some((reason, detail)) => {
                        warn!(%router, track = %name, reason, detail, "a track fails");
                    }
                }
                if to.send(Tracked { router: Arc::clone(&router), track, result }).await.is_err() {
                    return;
                }
            }
            let pause = match streak.state() {
                State::Down => check.down_interval,
                State::Unknown | State::Up if streak.is_in_doubt() => check.fast_interval,
                State::Unknown | State::Up => timing.interval(),
            };
            sleep_until(began + pause).await;
        }
    }
}
