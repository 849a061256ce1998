//! What we show name servers, kept true: files are read again when they change, and the next certificate is asked for
//! in time.
//!
//! The shell around `renewal`. Nothing here touches a stream of reports: each dials anew by itself
//! when there are other credentials.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::{Meters, NameServer};
use crate::clock::unix_seconds;
use crate::mtls::{Credentials, Doubt, Kept};
use crate::renewal::{Outcome, RenewalError, Renewing, Round, Said, Stage, State};
use crate::wire::{Wire, WireError};

/// Certificates are looked at so often; a new one is used after two looks.
const LOOK: Duration = Duration::from_secs(1);
/// The next certificate is asked for so often, once it is time; and for a reload.
const ASK: Duration = Duration::from_secs(60);

fn now() -> i64 {
    i64::try_from(unix_seconds()).unwrap_or(i64::MAX)
}

/// Follows the files of our credentials.
pub async fn follow(credentials: Arc<Kept>, meters: impl Meters) {
    let mut told: Vec<Doubt> = vec![];
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let of_files = Arc::clone(&credentials);
        match spawn_blocking(move || of_files.reread()).await {
            Ok(Some(Ok(()))) => {
                meters.credentials_are(true);
                info!("credentials read: name servers are shown the new certificate");
            }
            Ok(Some(Err(error))) => {
                meters.credentials_are(false);
                error!(%error, "credentials refused: the last good ones are still used");
            }
            Ok(None) | Err(_) => {}
        }
        let current = credentials.current();
        meters.certificate_ends(current.not_after());
        let doubts = current.doubts(now());
        for doubt in doubts.iter().filter(|doubt| !told.contains(doubt)) {
            warn!(why = doubt.to_string(), "name servers may not believe us");
        }
        told = doubts;
    }
}

/// Asks for our next certificate, now and then, once it is time.
pub struct Renewer<M> {
    credentials: Arc<Kept>,
    renewing: Arc<Renewing>,
    /// Those whom we tell; each that is sent, even the same again, has us ask at once.
    servers: watch::Receiver<Vec<NameServer>>,
    meters: M,
    parked_at: Option<Arc<str>>,
    /// Why there is none, as it was told.
    told: Option<String>,
}

impl<M: Meters> Renewer<M> {
    pub fn new(
        credentials: Arc<Kept>,
        servers: watch::Receiver<Vec<NameServer>>,
        meters: M,
    ) -> Renewer<M> {
        let renewing = Arc::new(Renewing::of(credentials.files()));
        Renewer { credentials, renewing, servers, meters, parked_at: None, told: None }
    }

    pub async fn run(mut self) {
        let mut ticks = interval(ASK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                sent = self.servers.changed() => if sent.is_err() { return },
            }
            let servers = self.servers.borrow_and_update().clone();
            let current = self.credentials.current();
            let stage = Stage::of(current.validity(), now());
            let (state, why) = match self.ask(&servers, &current, stage).await {
                Ok(Outcome { state, parked_at, why }) => {
                    if let (Some(server), None) = (&parked_at, &self.parked_at) {
                        info!(%server, "our next certificate is asked for: it waits for the CA there");
                    }
                    self.parked_at = parked_at;
                    (state, why)
                }
                Err(error) => (State::Failed, Some(error.to_string())),
            };
            self.meters.renewal_is(state);
            // Before that somebody else may be about to renew it, who needs nothing of us.
            let why = why.filter(|_| stage == Stage::Alarm);
            if let Some(why) = &why
                && self.told.as_ref() != Some(why)
            {
                warn!(why, "our certificate could not be renewed");
            }
            self.told = why;
        }
    }

    async fn ask(
        &self,
        servers: &[NameServer],
        current: &Arc<Credentials>,
        stage: Stage,
    ) -> Result<Outcome, RenewalError> {
        self.off(|renewing, _| renewing.settle(), current).await?;
        let names: Vec<Arc<str>> = servers.iter().map(|one| Arc::clone(&one.name)).collect();
        let mut round = Round::new(stage, &names, self.parked_at.as_ref());
        if stage == Stage::Early {
            return Ok(round.outcome());
        }
        let request = self.off(|renewing, current| renewing.request(current), current).await?;
        while let Some(name) = round.next_server() {
            let Some(server) = servers.iter().find(|one| one.name == name) else { continue };
            let said = said(server, current, request.clone()).await;
            let said = said.unwrap_or_else(|error| Said::NotTaken(error.to_string()));
            if let Some(pem) = round.heard(&name, said) {
                self.off(move |renewing, current| renewing.take(current, &pem), current).await?;
                info!(server = %name, "our certificate was renewed");
                return Ok(Outcome { state: State::Early, parked_at: None, why: None });
            }
        }
        Ok(round.outcome())
    }

    /// Off the runtime's own threads: it reads and writes files.
    async fn off<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Renewing, &Credentials) -> Result<T, RenewalError> + Send + 'static,
        current: &Arc<Credentials>,
    ) -> Result<T, RenewalError> {
        let (renewing, current) = (Arc::clone(&self.renewing), Arc::clone(current));
        let done = spawn_blocking(move || work(&renewing, &current));
        done.await.expect("work on files does not panic, and is not cancelled while we wait")
    }
}

/// On a connection of its own, so that no report waits for it.
async fn said(
    server: &NameServer,
    current: &Credentials,
    request: Vec<u8>,
) -> Result<Said, WireError> {
    let mut wire = Wire::dial(server.address, &server.name, current).await?;
    let (status, body) = wire.renew(request).await?;
    Ok(Said::of(status, &body))
}
