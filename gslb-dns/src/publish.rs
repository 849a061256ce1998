//! The one place where a snapshot is swapped, and the secrets of cookies: readers keep theirs to the end
//! of a batch or a message.

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use crate::cookie::Secrets;
use crate::snapshot::Snapshot;

/// The snapshot that answers now, and the secrets with which cookies are made.
#[derive(Clone)]
pub struct Published {
    snapshot: Arc<ArcSwap<Snapshot>>,
    secrets: Arc<ArcSwap<Secrets>>,
}

/// One thread's view: a load costs a comparison while nothing was swapped, and never a lock.
pub struct Reader {
    snapshot: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    secrets: Cache<Arc<ArcSwap<Secrets>>, Arc<Secrets>>,
}

impl Published {
    /// Without secrets, until some are swapped in.
    pub fn new(snapshot: Snapshot) -> Published {
        Published {
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            secrets: Arc::new(ArcSwap::from_pointee(Secrets::NONE.clone())),
        }
    }

    /// Returns what answered until now. Whoever swaps keeps it until the readers have let go: else the
    /// last of them would have to free it, in the middle of a batch.
    #[must_use]
    pub fn swap(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        self.snapshot.swap(Arc::new(snapshot))
    }

    /// The same of secrets.
    #[must_use]
    pub fn swap_secrets(&self, secrets: Secrets) -> Arc<Secrets> {
        self.secrets.swap(Arc::new(secrets))
    }

    pub fn load(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    pub fn load_secrets(&self) -> Arc<Secrets> {
        self.secrets.load_full()
    }

    pub fn reader(&self) -> Reader {
        Reader {
            snapshot: Cache::new(Arc::clone(&self.snapshot)),
            secrets: Cache::new(Arc::clone(&self.secrets)),
        }
    }
}

impl Reader {
    pub fn load(&mut self) -> (&Snapshot, &Secrets) {
        (self.snapshot.load(), self.secrets.load())
    }
}
