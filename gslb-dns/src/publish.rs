//! The one place where a snapshot is swapped: readers keep theirs to the end of a batch or a message.

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use crate::snapshot::Snapshot;

/// The snapshot that answers now.
#[derive(Clone)]
pub struct Published(Arc<ArcSwap<Snapshot>>);

/// One thread's view: a load costs a comparison while nothing was swapped, and never a lock.
pub struct Reader(Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>);

impl Published {
    pub fn new(snapshot: Snapshot) -> Published {
        Published(Arc::new(ArcSwap::from_pointee(snapshot)))
    }

    /// Returns what answered until now. Whoever swaps keeps it until the readers have let go: else the
    /// last of them would have to free it, in the middle of a batch.
    #[must_use]
    pub fn swap(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        self.0.swap(Arc::new(snapshot))
    }

    pub fn load(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    pub fn reader(&self) -> Reader {
        Reader(Cache::new(Arc::clone(&self.0)))
    }
}

impl Reader {
    pub fn load(&mut self) -> &Snapshot {
        self.0.load()
    }
}
