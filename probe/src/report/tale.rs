//! What one name server is told: the changes since what it is known to have; and what it asks for in return.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::assignment::Assignment;
use common::principal::Kind;
use common::report::{Boot, Head, Outgoing, Own, Reply, Teller, Told};
use common::telling::{self, VALID};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, watch};
use tracing::info;

use super::mailbox::{Mail, Mailbox};
use crate::asked::Server;
use crate::state_dir::StateDir;

/// Who reports.
#[derive(Clone, Debug)]
pub struct Producer {
    pub cluster: Arc<str>,
    pub name: Arc<str>,
    pub boot: Boot,
    /// Of this run, on disk already.
    pub inc: u64,
}

pub struct Tale {
    server: Server,
    producer: Producer,
    mailbox: Arc<Mailbox>,
    posted: watch::Receiver<Mail>,
    state_dir: Arc<StateDir>,
    /// Where assignments go.
    assigned: mpsc::Sender<(Server, Assignment)>,
    teller: Teller,
    own: Own,
}

impl Tale {
    pub fn new(
        server: Server,
        producer: Producer,
        mailbox: Arc<Mailbox>,
        state_dir: Arc<StateDir>,
        assigned: mpsc::Sender<(Server, Assignment)>,
    ) -> Tale {
        let (posted, teller) = (mailbox.subscribe(), Teller::new(producer.boot, producer.inc));
        let own = Own::default();
        Tale { server, producer, mailbox, posted, state_dir, assigned, teller, own }
    }
}

impl telling::Tale for Tale {
    async fn changed(&mut self) {
        // Nobody posts any more only when the probe ends, and this with it.
        let _ = self.posted.changed().await;
    }

    fn on_connected(&mut self) {
        self.teller.on_connected();
    }

    fn due(&mut self) -> Option<Duration> {
        let Mail { said, own } = self.mailbox.take();
        for (target, octets) in said {
            match octets {
                Some(octets) => self.teller.say(target, &octets),
                None => self.teller.drop(target),
            }
        }
        if let Some(own) = own {
            self.own = own;
        }
        self.teller.due()
    }

    fn next(&mut self, now: Duration) -> Vec<u8> {
        let Outgoing { mark, base, digest, entries } = self.teller.next(now);
        let head = Head {
            cluster: self.producer.cluster.as_ref().to_owned(),
            producer: self.producer.name.as_ref().to_owned(),
            kind: Kind::Probe,
            boot: self.producer.boot,
            mark,
            base,
            now,
            digest,
            valid: VALID,
            own: self.own.clone(),
        };
        head.write(&body(&entries))
    }

    fn on_reply(&mut self, reply: Reply) -> Option<u64> {
        self.teller.on_reply(reply)
    }

    async fn on_assignment(&mut self, octets: Bytes) -> Result<String, String> {
        let assignment = Assignment::read(&octets).map_err(|error| error.to_string())?;
        let (server, targets) = (&self.server, assignment.targets.len());
        info!(%server, targets, epoch = assignment.epoch, "assignment taken");
        let epoch = assignment.epoch.clone();
        self.state_dir.keep_assignment(server, octets).await;
        // Nobody is there only when the probe ends.
        let _ = self.assigned.send((Arc::clone(server), assignment)).await;
        Ok(epoch)
    }
}

/// The body of a report that tells so much.
///
/// # Panics
/// An entry that is not JSON, which a `Teller` is not told.
pub fn body(entries: &[Told]) -> Box<RawValue> {
    let mut body = String::from("[");
    for (index, told) in entries.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        match told {
            Told::Entry(octets) => body.push_str(octets),
            Told::Gone(target) => {
                body.push_str(&format!(r#"{{"target":"{target}","state":"gone"}}"#));
            }
        }
    }
    body.push(']');
    RawValue::from_string(body).expect("a list of JSON objects is JSON")
}
