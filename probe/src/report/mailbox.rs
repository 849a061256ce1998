//! What one name server is still to be told. As large as what it asked for, at most.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::report::Own;
use common::target::TargetId;
use tokio::sync::watch;

#[derive(Debug)]
pub struct Mailbox(watch::Sender<Mail>);

#[derive(Debug, Default)]
pub struct Mail {
    /// The entry as octets; `None` for a target of which nothing is said any more.
    pub said: BTreeMap<TargetId, Option<Arc<str>>>,
    /// If it has changed.
    pub own: Option<Own>,
}

impl Mailbox {
    pub fn new(own: Own) -> Mailbox {
        Mailbox(watch::Sender::new(Mail { said: BTreeMap::new(), own: Some(own) }))
    }

    pub fn post(&self, target: TargetId, octets: Option<Arc<str>>) {
        self.0.send_modify(|mail| drop(mail.said.insert(target, octets)));
    }

    pub fn post_own(&self, own: Own) {
        self.0.send_modify(|mail| mail.own = Some(own));
    }

    /// Empties it.
    pub fn take(&self) -> Mail {
        let mut taken = Mail::default();
        self.0.send_if_modified(|mail| {
            taken = std::mem::take(mail);
            false
        });
        taken
    }

    /// Hears when something is posted.
    pub fn subscribe(&self) -> watch::Receiver<Mail> {
        self.0.subscribe()
    }
}
