//! What is asked of each address of a frontend: a counter for each, found once a connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use common::lock::Mutex;

/// Addresses that are counted at one frontend. A wildcard can be reached at as many as somebody routes here.
const MOST: usize = 4096;

/// Of one frontend, for all threads.
#[derive(Debug, Default)]
pub struct Vips(Mutex<BTreeMap<SocketAddr, Arc<Asked>>>);

/// Requests, or connections of TCP, at one address.
#[derive(Debug, Default)]
pub struct Asked(AtomicU64);

impl Vips {
    /// That of an address; nothing where there are too many.
    pub fn at(&self, address: SocketAddr) -> Option<Arc<Asked>> {
        let mut all = self.0.lock();
        if all.len() >= MOST && !all.contains_key(&address) {
            return None;
        }
        Some(Arc::clone(all.entry(address).or_default()))
    }

    /// All that were ever asked.
    pub fn counts(&self) -> Vec<(SocketAddr, u64)> {
        self.0.lock().iter().map(|(address, asked)| (*address, asked.0.load(Relaxed))).collect()
    }
}

impl Asked {
    pub fn count(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_apart_and_no_more_than_may_be() {
        let vips = Vips::default();
        let at =
            |host: usize| SocketAddr::from(([10, 0, (host / 256) as u8, (host % 256) as u8], 80));
        (0..MOST).for_each(|host| vips.at(at(host)).unwrap().count());
        vips.at(at(0)).unwrap().count();
        assert!(vips.at(at(MOST)).is_none());
        let counts = vips.counts();
        assert_eq!((counts.len(), counts[0], counts[1]), (MOST, (at(0), 2), (at(1), 1)));
    }
}
