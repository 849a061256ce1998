//! One name server's stream: dials, reports, hears what to look at, and dials again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::assignment::Assignment;
use common::backoff::Backoff;
use common::clock::monotonic;
use common::mtls::{Credentials, Kept};
use common::principal::Kind;
use common::report::{Boot, Head, Outgoing, Own, Reply, Teller, Told};
use hyper::StatusCode;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::mailbox::{Mail, Mailbox};
use super::wire::{Wire, WireError};
use crate::answer::{Answer, Word};
use crate::asked::Server;
use crate::dice;
use crate::metrics::Metrics;
use crate::state_dir::StateDir;

/// How long what a report says holds: five beats.
const VALID: Duration = Duration::from_secs(10);
/// An assignment is not fetched again sooner.
const FETCH_PAUSE: Duration = Duration::from_secs(2);
/// While nothing is due, a connection that has ended, another certificate or the end of one is noticed within this.
const LOOK_UP: Duration = Duration::from_millis(500);

/// Who reports.
#[derive(Clone, Debug)]
pub struct Producer {
    pub cluster: Arc<str>,
    pub name: Arc<str>,
    pub boot: Boot,
    /// Of this run, on disk already.
    pub inc: u64,
}

/// All that a stream needs. `tell` runs it until it is dropped.
pub struct Stream {
    pub server: Server,
    pub address: SocketAddr,
    pub producer: Producer,
    pub credentials: Arc<Kept>,
    pub mailbox: Arc<Mailbox>,
    pub state_dir: Arc<StateDir>,
    /// Where assignments go.
    pub assigned: mpsc::Sender<(Server, Assignment)>,
    /// Of the assignment that is known from the run before.
    pub epoch: Option<String>,
    pub metrics: Metrics,
}

/// What was said of this name server in the log, so that it is said once.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Said {
    Nothing,
    Taken,
    Refused(Word),
    Unreachable,
}

/// A stream under way.
struct Telling {
    stream: Stream,
    teller: Teller,
    own: Own,
    said: Said,
    fetched: Option<Duration>,
}

impl Stream {
    pub async fn tell(self) {
        let teller = Teller::new(self.producer.boot, self.producer.inc);
        let mut telling = Telling {
            stream: self,
            teller,
            own: Own::default(),
            said: Said::Nothing,
            fetched: None,
        };
        let mut backoff = Backoff::default();
        loop {
            let credentials = telling.stream.credentials.current();
            let Stream { address, server, .. } = &telling.stream;
            let ended = match Wire::dial(*address, server, &credentials).await {
                Ok(wire) => telling.converse(wire, &credentials, &mut backoff).await,
                Err(error) => Some(error),
            };
            if let Some(error) = ended {
                telling.on_unreachable(&error);
            }
            sleep(backoff.next(dice::share())).await;
        }
    }
}

impl Telling {
    /// Reports over one connection, until it fails, or, with no error, is to be dialed anew.
    async fn converse(
        &mut self,
        mut wire: Wire,
        credentials: &Arc<Credentials>,
        backoff: &mut Backoff,
    ) -> Option<WireError> {
        let mut posted = self.stream.mailbox.subscribe();
        loop {
            self.take_mail();
            let wait = self.teller.due().unwrap_or_default().saturating_sub(monotonic());
            if !wait.is_zero() {
                let _ = timeout(wait.min(LOOK_UP), posted.changed()).await;
                if !Arc::ptr_eq(credentials, &self.stream.credentials.current()) || wire.is_over() {
                    return None;
                }
                continue;
            }
            let answer = match self.report(&mut wire).await {
                Ok(answer) => answer,
                Err(error) => {
                    self.teller.on_reply(Reply::Lost);
                    self.count(Word::Lost);
                    return Some(error);
                }
            };
            self.count(answer.word);
            if answer.word == Word::Taken {
                backoff.reset();
            }
            self.on_answer(&answer).await;
            if let Some(epoch) = &answer.epoch
                && let Err(error) = self.follow(&mut wire, epoch).await
            {
                return Some(error);
            }
        }
    }

    fn take_mail(&mut self) {
        let Mail { said, own } = self.stream.mailbox.take();
        for (target, octets) in said {
            match octets {
                Some(octets) => self.teller.say(target, &octets),
                None => self.teller.drop(target),
            }
        }
        if let Some(own) = own {
            self.own = own;
        }
    }

    async fn report(&mut self, wire: &mut Wire) -> Result<Answer, WireError> {
        let now = monotonic();
        let outgoing = self.teller.next(now);
        let octets = written(&self.stream.producer, &self.own, outgoing, now);
        let (status, body) = wire.report(octets).await?;
        Ok(Answer::of(status, &body))
    }

    async fn on_answer(&mut self, answer: &Answer) {
        // On disk before it is used: else a run after this one could begin below it.
        if let Some(inc) = self.teller.on_reply(answer.reply) {
            self.stream.state_dir.raise(inc).await;
        }
        let said = match answer.word {
            Word::Taken => Said::Taken,
            // What follows makes up for these.
            Word::SendWhole | Word::Behind => return,
            refused => Said::Refused(refused),
        };
        if said == self.said {
            return;
        }
        let (server, why) =
            (&*self.stream.server, answer.why.as_deref().unwrap_or("no reason given"));
        match &said {
            Said::Taken => info!(server, "a name server takes our reports"),
            Said::Refused(word) => {
                warn!(server, answer = word.as_str(), why, "a name server refuses our reports");
            }
            Said::Nothing | Said::Unreachable => {}
        }
        self.said = said;
    }

    fn on_unreachable(&mut self, error: &WireError) {
        if self.said != Said::Unreachable {
            let server = &*self.stream.server;
            warn!(server, %error, "a name server cannot be told: it is tried again and again");
            self.said = Said::Unreachable;
        }
    }

    fn count(&self, word: Word) {
        self.stream.metrics.reported(&self.stream.server, word);
    }

    /// Fetches the assignment, if the name server has another world than that which we know.
    async fn follow(&mut self, wire: &mut Wire, epoch: &str) -> Result<(), WireError> {
        let now = monotonic();
        let is_known = self.stream.epoch.as_deref() == Some(epoch);
        if is_known || self.fetched.is_some_and(|fetched| now < fetched + FETCH_PAUSE) {
            return Ok(());
        }
        self.fetched = Some(now);
        let (status, octets) = wire.assignment(self.stream.epoch.as_deref()).await?;
        if status != StatusCode::OK {
            return Ok(());
        }
        let server = &self.stream.server;
        match Assignment::read(&octets) {
            Ok(assignment) => {
                let targets = assignment.targets.len();
                info!(%server, targets, epoch = assignment.epoch, "assignment taken");
                self.stream.epoch = Some(assignment.epoch.clone());
                self.stream.state_dir.keep_assignment(server, octets).await;
                // Nobody is there only when the probe ends.
                let _ = self.stream.assigned.send((Arc::clone(server), assignment)).await;
            }
            Err(error) => {
                warn!(%server, %error, "an assignment is not understood: what was asked before is still looked at");
                // Until there is another, it is not asked for again.
                self.stream.epoch = Some(epoch.to_owned());
            }
        }
        Ok(())
    }
}

/// The octets of a report.
fn written(producer: &Producer, own: &Own, outgoing: Outgoing, now: Duration) -> Vec<u8> {
    let Outgoing { mark, base, digest, entries } = outgoing;
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
    let body = RawValue::from_string(body).expect("a list of JSON objects is JSON");
    let head = Head {
        cluster: producer.cluster.as_ref().to_owned(),
        producer: producer.name.as_ref().to_owned(),
        kind: Kind::Probe,
        boot: producer.boot,
        mark,
        base,
        now,
        digest,
        valid: VALID,
        own: own.clone(),
    };
    head.write(&body)
}
