//! What the thread of the virtual routers has to tell, without waiting for whoever writes it down.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::vrrp::machine::action::{Action, News};

/// Of what was not written down yet: some changes of each of a hundred virtual routers. What comes on top is lost, and
/// counted; numbers of news show where.
const ROOM: usize = 1024;

/// Something for the log.
#[derive(Debug)]
pub enum Said {
    News {
        router: Arc<str>,
        news: News,
    },
    /// Told once, until it can again.
    CouldNot {
        router: Arc<str>,
        what: Doing,
        error: io::Error,
    },
    CanAgain {
        router: Arc<str>,
        what: Doing,
    },
    /// The sockets at an interface could not be opened.
    NoSockets {
        interface: Arc<str>,
        error: io::Error,
    },
    /// Of the kernel's news: it is asked for all instead.
    Deaf(io::Error),
}

/// What a virtual router does in the world.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Doing {
    Adverts,
    Addresses,
    Announcing,
    Witness,
}

impl Doing {
    fn of(action: Action) -> Option<Doing> {
        match action {
            Action::Advertise(_) | Action::Resign => Some(Doing::Adverts),
            Action::AddAddresses | Action::RenewAddresses | Action::RemoveAddresses => {
                Some(Doing::Addresses)
            }
            Action::Announce { .. } => Some(Doing::Announcing),
            Action::AskWitness => Some(Doing::Witness),
            Action::Tell(_) => None,
        }
    }
}

pub struct Tell {
    to: Sender<Said>,
    lost: Arc<AtomicU64>,
}

impl Tell {
    pub fn new() -> (Tell, Receiver<Said>, Arc<AtomicU64>) {
        let (to, from) = channel(ROOM);
        let lost = Arc::new(AtomicU64::new(0));
        (Tell { to, lost: Arc::clone(&lost) }, from, lost)
    }

    pub fn say(&mut self, said: Said) {
        if self.to.try_send(said).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }
}

/// What could not be done when it was last tried: an advert fails as often as it is sent, and is told of once.
#[derive(Debug, Default)]
pub struct Could([bool; 4]);

impl Could {
    pub fn tell(
        &mut self,
        action: Action,
        done: io::Result<()>,
        router: &Arc<str>,
        tell: &mut Tell,
    ) {
        let Some(what) = Doing::of(action) else { return };
        let fails = &mut self.0[what as usize];
        let failed = std::mem::replace(fails, done.is_err());
        let router = || Arc::clone(router);
        match (failed, done) {
            (false, Err(error)) => tell.say(Said::CouldNot { router: router(), what, error }),
            (true, Ok(())) => tell.say(Said::CanAgain { router: router(), what }),
            (false, Ok(())) | (true, Err(_)) => {}
        }
    }
}
