//! What a thread has spent that the query path must not: allocations, and locks.

// An allocator is an unsafe trait. This one forwards to the system's and counts: what it promises, the
// system's keeps.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::lock;

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
    static FREED: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on as it came, and counting touches no memory but the thread's own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.with(count);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.with(count);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATED.with(count);
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        FREED.with(count);
        unsafe { System.dealloc(block, layout) }
    }
}

fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// What this thread has done so far that the query path must not.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Spent {
    pub allocated: u64,
    pub freed: u64,
    pub locked: u64,
}

impl Spent {
    fn so_far() -> Spent {
        Spent {
            allocated: ALLOCATED.get(),
            freed: FREED.get(),
            locked: lock::taken_by_this_thread(),
        }
    }

    /// Adds what `work` spends.
    pub fn on<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = Spent::so_far();
        let result = work();
        let after = Spent::so_far();
        self.allocated += after.allocated - before.allocated;
        self.freed += after.freed - before.freed;
        self.locked += after.locked - before.locked;
        result
    }
}
