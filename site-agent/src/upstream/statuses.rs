//! Answers, counted by the class of their status.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// By the hundreds of a status; the first is for whoever was not answered.
#[derive(Debug, Default)]
pub struct Statuses([AtomicU64; 6]);

/// What they are called, as labels too.
pub const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl Statuses {
    pub fn count(&self, status: Option<u16>) {
        // What is beyond 599 is of no class, and is taken for a server's error (RFC 9110 §15).
        let hundreds = status.map_or(0, |status| usize::from(status / 100).min(5));
        self.0[hundreds].fetch_add(1, Relaxed);
    }

    pub fn load(&self) -> [u64; 6] {
        array::from_fn(|class| self.0[class].load(Relaxed))
    }
}
