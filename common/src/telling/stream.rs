//! One name server's stream: dials, reports, hears what it wants to know, and dials again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{Answer, Meters, NameServer, Runs, Word};
use crate::backoff::Backoff;
use crate::clock::monotonic;
use crate::entropy;
use crate::mtls::{Credentials, Kept};
use crate::report::Reply;
use crate::wire::{Wire, WireError};

/// How long what a report says holds: five beats.
pub const VALID: Duration = Duration::from_secs(10);
/// An assignment is not fetched again sooner.
const FETCH_PAUSE: Duration = Duration::from_secs(2);
/// While nothing is due, a connection that has ended, another certificate or the end of one is noticed within this.
const LOOK_UP: Duration = Duration::from_millis(500);

/// What one name server is told, and what its answers change in that.
pub trait Tale: Send {
    /// Ends when there may be something new.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;

    /// There is a connection to the name server, perhaps another.
    fn on_connected(&mut self);

    /// Takes in what is new; when the next report is due, if none is in flight.
    fn due(&mut self) -> Option<Duration>;

    /// The octets of the report that is due now.
    fn next(&mut self, now: Duration) -> Vec<u8>;

    /// What became of the report in flight; the incarnation to keep on disk, if it had to be raised.
    fn on_reply(&mut self, reply: Reply) -> Option<u64>;

    /// What the name server asks for, as it came: its epoch, or why it is not understood.
    fn on_assignment(
        &mut self,
        octets: Bytes,
    ) -> impl Future<Output = Result<String, String>> + Send;
}

/// All that a stream needs.
pub struct Stream<T, M> {
    pub server: NameServer,
    pub credentials: Arc<Kept>,
    pub runs: Arc<Runs>,
    pub tale: T,
    /// Of the assignment that is known from the run before.
    pub epoch: Option<String>,
    pub meters: M,
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
struct Telling<T, M> {
    stream: Stream<T, M>,
    said: Said,
    fetched: Option<Duration>,
}

impl<T: Tale, M: Meters> Stream<T, M> {
    /// Runs until it is dropped.
    pub async fn tell(self) {
        let mut telling = Telling { stream: self, said: Said::Nothing, fetched: None };
        let mut backoff = Backoff::default();
        loop {
            let credentials = telling.stream.credentials.current();
            let NameServer { address, name } = &telling.stream.server;
            let ended = match Wire::dial(*address, name, &credentials).await {
                Ok(wire) => telling.converse(wire, &credentials, &mut backoff).await,
                Err(error) => Some(error),
            };
            if let Some(error) = ended {
                telling.on_unreachable(&error);
            }
            sleep(backoff.next(entropy::share())).await;
        }
    }
}

impl<T: Tale, M: Meters> Telling<T, M> {
    /// Reports over one connection, until it fails, or, with no error, is to be dialed anew.
    async fn converse(
        &mut self,
        mut wire: Wire,
        credentials: &Arc<Credentials>,
        backoff: &mut Backoff,
    ) -> Option<WireError> {
        self.stream.tale.on_connected();
        // What is asked for may be what there is to tell of.
        if self.stream.epoch.is_none()
            && let Err(error) = self.follow(&mut wire, "").await
        {
            return Some(error);
        }
        loop {
            let due = self.stream.tale.due().unwrap_or_default();
            let wait = due.saturating_sub(monotonic());
            if !wait.is_zero() {
                let _ = timeout(wait.min(LOOK_UP), self.stream.tale.changed()).await;
                if !Arc::ptr_eq(credentials, &self.stream.credentials.current()) || wire.is_over() {
                    return None;
                }
                continue;
            }
            let answer = match wire.report(self.stream.tale.next(monotonic())).await {
                Ok((status, body)) => Answer::of(status, &body),
                Err(error) => {
                    self.stream.tale.on_reply(Reply::Lost);
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

    async fn on_answer(&mut self, answer: &Answer) {
        // On disk before it is used: else a run after this one could begin below it.
        if let Some(inc) = self.stream.tale.on_reply(answer.reply) {
            self.stream.runs.raise(inc).await;
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
            (&*self.stream.server.name, answer.why.as_deref().unwrap_or("no reason given"));
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
            let server = &*self.stream.server.name;
            warn!(server, %error, "a name server cannot be told: it is tried again and again");
            self.said = Said::Unreachable;
        }
    }

    fn count(&self, word: Word) {
        self.stream.meters.reported(&self.stream.server.name, word);
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
        let understood = self.stream.tale.on_assignment(octets).await.unwrap_or_else(|error| {
            let server = &*self.stream.server.name;
            warn!(server, error, "an assignment is not understood: the one before holds");
            // Until there is another, it is not asked for again.
            epoch.to_owned()
        });
        self.stream.epoch = Some(understood);
        Ok(())
    }
}
