//! Fetches what the UDP threads count of their talkers, each second, and has it for whoever asks. Nobody who answers
//! queries waits for it.

use std::sync::Arc;
use std::time::Duration;

use common::clock::unix_seconds;
use tokio::sync::watch;

use crate::talkers::{History, Outlet, Report};
use common::lock::Mutex;

/// A thread can go without it for two windows.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Gatherer(Arc<Mutex<History>>);

impl Gatherer {
    pub fn new(outlets: Vec<Outlet>) -> Gatherer {
        Gatherer(Arc::new(Mutex::new(History::new(outlets, unix_seconds()))))
    }

    /// Who talked most in the last minute.
    pub fn report(&self) -> Report {
        let mut history = self.0.lock();
        history.gather();
        history.report(unix_seconds())
    }
}

/// Fetches until told to stop.
pub async fn gather(gatherer: Gatherer, mut stopping: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stopping.changed() => return,
            () = tokio::time::sleep(EVERY) => gatherer.0.lock().gather(),
        }
    }
}
