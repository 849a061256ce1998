//! What answers messages that come by connections, whatever carries them: each in full, from one snapshot.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use common::clock::unix_time;

use crate::answer::{Answer, Asker, Guard, MAX_STREAM, Resolved, Transport, answer_guarded};
use crate::metrics::Tally;
use crate::name::NameKey;
use crate::publish::Published;
use crate::query_log::{Heard, Tap};
use common::lock::Mutex;

thread_local! {
    /// Where an answer is written before its length is known, so that a connection need not hold room
    /// for the largest.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_STREAM].into());
}

/// What answers, the same for all connections of a listener.
pub struct Desk {
    pub transport: Transport,
    pub published: Published,
    pub node_name: Arc<str>,
    pub tally: Arc<Tally>,
    /// All of a listener's connections share it, a copy of some octets at a time.
    tap: Option<Mutex<Tap>>,
    /// Whether the tap asks what an answer came from.
    wants_resolved: bool,
}

impl Desk {
    pub fn new(
        transport: Transport,
        published: Published,
        node_name: Arc<str>,
        tally: Arc<Tally>,
        tap: Option<Mutex<Tap>>,
    ) -> Desk {
        let wants_resolved = tap.as_ref().is_some_and(|tap| tap.lock().wants_resolved());
        Desk { transport, published, node_name, tally, tap, wants_resolved }
    }

    /// Answers a message by itself. `None`: it must not be answered.
    pub fn answer_one(&self, message: &[u8], address: IpAddr) -> Option<(Answer, Vec<u8>)> {
        self.answering(address, |answer| {
            in_room(|room| answer(message, room).map(|said| (said, room[..said.length].to_vec())))
        })
    }

    /// Does `work`, which is given a way to answer messages, all of one snapshot: it is kept to the end and no
    /// longer, so that an idle connection holds no old world.
    pub(super) fn answering<R>(
        &self,
        address: IpAddr,
        work: impl FnOnce(&mut dyn FnMut(&[u8], &mut [u8]) -> Option<Answer>) -> R,
    ) -> R {
        let snapshot = self.published.load();
        let secrets = self.published.load_secrets();
        let page = snapshot.ground.page(self.tally.page());
        // Nobody who comes this way is limited: a stream shows that its client is where it says.
        let at = unix_time();
        let resolved = RefCell::<Resolved>::default();
        let note = self.wants_resolved.then_some(&resolved);
        let guard = Guard { secrets: &secrets, limit: None, page, note };
        let asker = Asker { address, transport: self.transport, now: at.as_secs() };
        let mut name = NameKey::ROOT;
        work(&mut |message, room| {
            let node_name = &self.node_name;
            let answer =
                answer_guarded(&guard, &snapshot, node_name, message, &asker, &mut name, room);
            self.tally.count(answer.as_ref());
            if let (Some(tap), Some(answer)) = (&self.tap, &answer) {
                let resolved = note.map(RefCell::borrow);
                tap.lock().tell(&Heard {
                    client: address,
                    client_port: None,
                    at,
                    query: message,
                    answer,
                    octets: &room[..answer.length],
                    resolved: resolved.as_deref(),
                    snapshot: &snapshot,
                });
            }
            answer
        })
    }
}

/// Room for one answer, for as long as it takes to write it.
pub fn in_room<R>(write: impl FnOnce(&mut [u8]) -> R) -> R {
    ROOM.with_borrow_mut(|room| write(room))
}
