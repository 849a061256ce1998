//! For how long this machine itself stood still: of what is told meanwhile nobody knows whose fault it is.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::wait::{Stopping, now, rest};

/// Whoever only sleeps is woken before those that work.
const TICK: Duration = Duration::from_millis(20);

/// Does the work; with what came of it, how much longer than it should the longest of many short sleeps was meanwhile.
pub fn during<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let (mut longest, mut before) = (Duration::ZERO, now());
            while !is_over.load(Relaxed) {
                rest(before + TICK);
                let after = now();
                longest = longest.max((after - before).saturating_sub(TICK));
                before = after;
            }
            longest
        });
        let watched = Stopping(&is_over);
        let done = work();
        drop(watched);
        (done, watch.join().expect("it only sleeps"))
    })
}
