//! The one timer of a connection.
//!
//! It is set anew only for something sooner than it is set for. What is later, as of nearly every read and write while
//! a connection lives, finds it set early enough: it wakes, sees that nobody is late, and is set once more.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Debug, Default)]
pub struct Timer(Option<Pin<Box<Sleep>>>);

/// It was not done in time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Late;

impl Timer {
    /// What comes of it, if that is within so long from now.
    pub async fn within<T>(
        &mut self,
        time: Duration,
        what: impl Future<Output = T>,
    ) -> Result<T, Late> {
        let mut what = pin!(what);
        let mut until = None;
        poll_fn(|context| {
            if let Poll::Ready(done) = what.as_mut().poll(context) {
                return Poll::Ready(Ok(done));
            }
            // Most things are done at once, and need no clock.
            let until = *until.get_or_insert_with(|| now() + time);
            let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(until)));
            if sleep.deadline() > until {
                sleep.as_mut().reset(until);
            }
            // Whoever always has something to do uses up its turn each time, and must not so keep its time from passing.
            while pin!(unconstrained(sleep.as_mut())).poll(context).is_ready() {
                if now() >= until {
                    return Poll::Ready(Err(Late));
                }
                sleep.as_mut().reset(until);
            }
            Poll::Pending
        })
        .await
    }
}

fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::task::consume_budget;
    use tokio::time::{sleep, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_late_by_its_own_time() {
        let (mut timer, began) = (Timer::default(), now());
        for (seconds, whole) in [(9, 9), (2, 11), (5, 16), (1, 17)] {
            assert_eq!(timer.within(seconds * SECOND, pending::<()>()).await, Err(Late));
            let took = now() - began;
            assert!(took >= whole * SECOND && took < whole * SECOND + SECOND / 10, "{took:?}");
            // Something that is in time between does not move it.
            assert_eq!(timer.within(9 * SECOND, async { 7 }).await, Ok(7));
        }
        let done = timer.within(SECOND, sleep(SECOND / 2)).await;
        assert_eq!(done, Ok(()));
    }

    #[tokio::test]
    async fn who_is_never_done_is_late_too() {
        let busy = async {
            loop {
                consume_budget().await;
            }
        };
        let mut timer = Timer::default();
        let late = timer.within(SECOND / 50, busy);
        assert_eq!(timeout(10 * SECOND, late).await, Ok(Err::<(), _>(Late)));
    }
}
