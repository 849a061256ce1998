//! A client that asks in good order while others do not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use common::clock::monotonic;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use super::Client;

/// Far longer than any flood takes on a machine with other things to do.
pub const LONG: Duration = Duration::from_secs(60);

/// A client that asks now and then, over HTTP/1, until it is told to stop; and how long the slowest answer took.
pub struct Witness {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(usize, Duration)>,
}

impl Witness {
    pub fn start(front: SocketAddr) -> Witness {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let (mut count, mut slowest) = (0, Duration::ZERO);
            let mut ticks = interval(Duration::from_millis(20));
            while !stopped.load(Relaxed) {
                ticks.tick().await;
                let began = monotonic();
                // A connection of its own each time: it is accepted too.
                let answer = Client::connect(front).await.get("/").await;
                assert_eq!((answer.status(), answer.text()), (200, "app"));
                slowest = slowest.max(monotonic().saturating_sub(began));
                count += 1;
            }
            (count, slowest)
        });
        Witness { stop, task }
    }

    /// All was answered, and in less time than this.
    pub async fn end_within(self, what: &str, within: Duration) {
        self.stop.store(true, Relaxed);
        let (count, slowest) = timeout(LONG, self.task).await.unwrap().unwrap();
        assert!(count > 0 && slowest < within, "{what}: {slowest:?} of {count}");
    }
}
