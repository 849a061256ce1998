//! The only mutex: it counts how often each thread takes one, so that a test can show
//! that the query path takes none.

#![expect(clippy::disallowed_types, reason = "this is the wrapper that everybody else uses")]

use std::cell::Cell;
use std::sync::{MutexGuard, PoisonError};

thread_local! {
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

#[derive(Debug, Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Mutex<T> {
        Mutex(std::sync::Mutex::new(value))
    }

    /// A panic elsewhere while the lock was held does not stop us: what it guards is changed in one
    /// step everywhere.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        TAKEN.with(|taken| taken.set(taken.get() + 1));
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many locks this thread has taken since it began.
pub fn taken_by_this_thread() -> u64 {
    TAKEN.with(Cell::get)
}
