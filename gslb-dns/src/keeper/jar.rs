//! Keeps the secrets of cookies: the operator's, or where none are given, the server's own.
//!
//! Part of the keeper's shell: it publishes them, asks for randomness, and is told the time.

use std::sync::Arc;
use std::time::Duration;

use common::entropy;
use jiff::Timestamp;
use tracing::{info, warn};

use crate::cookie::{Secret, Secrets};
use crate::publish::Published;
use crate::world::CookieFile;

/// How long a secret of our own makes cookies: RFC 7873 §7.1 wants no more than 26 hours.
const OWN_FOR: Duration = Duration::from_hours(24);

pub(super) struct Jar {
    published: Published,
    /// When the secret of our own was made, if it is one.
    own_since: Option<Timestamp>,
    /// Secrets that some thread may still read.
    retired: Vec<Arc<Secrets>>,
}

impl Jar {
    /// From now on cookies are made.
    pub fn open(published: Published, file: Option<&CookieFile>, now: Timestamp) -> Jar {
        let mut jar = Jar { published, own_since: None, retired: vec![] };
        match file {
            Some(file) => jar.take(file),
            None => jar.make(now),
        }
        jar
    }

    /// What a reload has found.
    pub fn adopt(&mut self, file: Option<&CookieFile>, now: Timestamp) {
        match file {
            Some(file) => self.take(file),
            None if self.own_since.is_none() => self.make(now),
            None => {}
        }
    }

    /// Makes another secret of our own when it is time.
    pub fn turn(&mut self, now: Timestamp) {
        self.retired.retain(|secrets| Arc::strong_count(secrets) > 1);
        let is_old = |since: Timestamp| now.duration_since(since).unsigned_abs() >= OWN_FOR;
        if self.own_since.is_some_and(is_old) {
            self.make(now);
        }
    }

    fn take(&mut self, file: &CookieFile) {
        let CookieFile { path, secrets, is_open } = file;
        let path = path.display();
        if *is_open {
            warn!(file = %path, "everybody on this machine can read the secret of cookies");
        }
        self.own_since = None;
        if *self.published.load_secrets() != *secrets {
            self.retired.push(self.published.swap_secrets(secrets.clone()));
            info!(file = %path, secrets = secrets.count(), "cookies are made with another secret or verified with others");
        }
    }

    /// Cookies made with the secret before, whoever gave it, stay good.
    fn make(&mut self, now: Timestamp) {
        let secrets = self.published.load_secrets().behind(Secret::new(entropy::octets()));
        self.retired.push(self.published.swap_secrets(secrets));
        self.own_since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cookie::State;
    use crate::health::board::Board;
    use crate::snapshot::{Groundwork, Snapshot};
    use crate::world::World;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn published() -> Published {
        let world = World {
            epoch: crate::world::Epoch([0; 32]),
            sites: vec![],
            vantages: vec![],
            targets: vec![],
            maps: vec![],
            services: vec![],
            zones: vec![],
            zone_origins: vec![],
            atlas: Arc::new(geoip::Atlas::new(vec![], geoip::Overrides::none())),
            database_hashes: vec![],
            ecs_private: false,
            overrides: vec![],
        };
        Published::new(Snapshot::new(Arc::new(Groundwork::new(world)), Board::of(0, vec![])))
    }

    fn file(first: u8) -> CookieFile {
        let secrets = Secrets::new([Secret::new([first; 16])]);
        CookieFile { path: "cookie.key".into(), secrets, is_open: false }
    }

    /// A cookie for somebody, made now.
    fn made(published: &Published) -> [u8; 24] {
        let address = [192, 0, 2, 1].into();
        published.load_secrets().judge(&[7; 8], &[], address, 1000).unwrap().reply
    }

    fn state(published: &Published, cookie: &[u8; 24]) -> State {
        let address = [192, 0, 2, 1].into();
        published.load_secrets().judge(&[7; 8], &cookie[8..], address, 1000).unwrap().state
    }

    #[test]
    fn a_secret_of_our_own_is_changed_daily_and_the_one_before_still_verifies() {
        let published = published();
        let mut jar = Jar::open(published.clone(), None, START);
        let first = made(&published);
        assert_eq!(state(&published, &first), State::Valid);
        jar.turn(START + OWN_FOR - Duration::from_secs(1));
        assert_eq!(made(&published), first);
        jar.turn(START + OWN_FOR);
        let second = made(&published);
        assert_ne!(first, second);
        assert_eq!(state(&published, &first), State::Valid);
        jar.turn(START + OWN_FOR + OWN_FOR);
        assert_eq!(state(&published, &first), State::Invalid);
        assert_eq!(state(&published, &second), State::Valid);
        assert!(jar.retired.len() <= 1);
        // Two servers do not make the same.
        let other = self::published();
        Jar::open(other.clone(), None, START);
        assert_ne!(made(&other), made(&published));
    }

    #[test]
    fn what_the_operator_gives_is_taken_as_it_is_and_kept() {
        let published = published();
        let mut jar = Jar::open(published.clone(), Some(&file(1)), START);
        let first = made(&published);
        jar.turn(START + 100 * OWN_FOR);
        assert_eq!(made(&published), first);
        jar.adopt(Some(&file(2)), START);
        assert_eq!(state(&published, &first), State::Invalid);
        // The file is no longer named: what it had made is good until it expires.
        let second = made(&published);
        jar.adopt(None, START);
        assert_ne!(made(&published), second);
        assert_eq!(state(&published, &second), State::Valid);
        let own = made(&published);
        jar.adopt(None, START);
        assert_eq!(made(&published), own);
    }
}
