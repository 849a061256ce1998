//! What we show and whom we believe, kept true: files are read again when they change, and whoever is believed no
//! more is not listened to any longer.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use common::clock::{monotonic, now};
use common::mtls::{Credentials, Doubt, Kept};
use common::principal::Principal;
use common::renewal::{RenewalError, Renewing, Stage};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::seats::{Closing, Peer};
use super::{Door, stopped};
use crate::metrics::CertificateMetrics;
use crate::parked::Answer;
use common::lock::Mutex;

/// As metrics name it.
const TRANSPORT: &str = "control";

pub struct Trust {
    kept: Arc<Kept>,
    us: Principal,
    /// Those of `kept`, as long as they are of us.
    current: ArcSwap<Credentials>,
    /// What was told already.
    told: Mutex<Vec<Doubt>>,
    metrics: CertificateMetrics,
    renewing: Renewing,
    asking: Mutex<Asking>,
}

/// When our next certificate was asked for last, and why it did not come.
#[derive(Default)]
struct Asking {
    at: Option<Duration>,
    failed: Option<String>,
}

impl Trust {
    pub fn new(kept: Arc<Kept>, metrics: CertificateMetrics) -> Trust {
        let current = kept.current();
        let us = current.principal().clone();
        metrics.ok.with_label_values(&[TRANSPORT]).set(1);
        let current = ArcSwap::new(current);
        let renewing = Renewing::of(kept.files());
        let (told, asking) = (Mutex::default(), Mutex::default());
        Trust { kept, us, current, told, metrics, renewing, asking }
    }

    pub fn us(&self) -> &Principal {
        &self.us
    }

    pub fn current(&self) -> Arc<Credentials> {
        self.current.load_full()
    }

    /// What there is against a certificate that was good when it was shown.
    pub fn against(&self, peer: &Peer) -> Option<Closing> {
        against(&self.current.load(), peer, now().as_second())
    }

    /// Looks at the files, and at everybody who is connected.
    fn look(&self, door: &Door) {
        match self.kept.reread() {
            None => {}
            Some(Ok(())) => self.adopt(),
            Some(Err(error)) => self.refuse(&error.to_string()),
        }
        let now = now().as_second();
        let current = self.current();
        self.tell(&current, now);
        self.renew(door, &current, now);
        let closed = door.seats.lock().close_those(|peer| against(&current, peer, now));
        for (principal, closing) in closed {
            let why = closing.as_str();
            info!(%principal, why, "a control connection was closed: its certificate holds no more");
        }
    }

    fn adopt(&self) {
        let next = self.kept.current();
        if *next.principal() != self.us {
            let why = format!("the certificate is of {}, and we are {}", next.principal(), self.us);
            return self.refuse(&why);
        }
        self.metrics.ok.with_label_values(&[TRANSPORT]).set(1);
        let not_after = next.not_after();
        self.current.store(next);
        info!(not_after, "control credentials read: new connections are judged by them");
    }

    fn refuse(&self, why: &str) {
        self.metrics.ok.with_label_values(&[TRANSPORT]).set(0);
        error!(why, "control credentials refused: the last good ones still hold");
    }

    /// We park what we ask of the CA as all others do, but without going anywhere.
    fn renew(&self, door: &Door, current: &Credentials, now: i64) {
        let (at, mut asking) = (monotonic(), self.asking.lock());
        if asking.at.is_some_and(|last| at.saturating_sub(last) < door.limits.renew) {
            return;
        }
        asking.at = Some(at);
        let stage = Stage::of(current.validity(), now);
        let failed = match self.ask(door, current, stage, at) {
            Ok(true) => {
                info!("control certificate renewed");
                None
            }
            Ok(false) => None,
            Err(why) => Some(why),
        };
        // Before that somebody else may be about to renew it, who needs nothing of us.
        let failed = failed.filter(|_| stage == Stage::Alarm);
        if let Some(why) = &failed
            && asking.failed != failed
        {
            warn!(why, "the control certificate could not be renewed");
        }
        asking.failed = failed;
    }

    /// Whether another is in its place.
    fn ask(
        &self,
        door: &Door,
        current: &Credentials,
        stage: Stage,
        at: Duration,
    ) -> Result<bool, String> {
        let told = |error: RenewalError| error.to_string();
        self.renewing.settle().map_err(told)?;
        if stage == Stage::Early {
            return Ok(false);
        }
        let request = self.renewing.request(current).map_err(told)?;
        let answer = door.parked.lock().ask(at, &self.us, &request);
        super::renewal::count(door);
        match answer.map_err(|error| error.to_string())? {
            None => Ok(false),
            Some(Answer::Certificate(pem)) => {
                self.renewing.take(current, pem.as_bytes()).map_err(told)?;
                Ok(true)
            }
            Some(Answer::Refused(why)) => Err(format!("the CA refuses: {why}")),
        }
    }

    fn tell(&self, current: &Credentials, now: i64) {
        self.metrics.expiry.with_label_values(&[TRANSPORT]).set(current.not_after());
        let doubts = current.doubts(now);
        let mut told = self.told.lock();
        for doubt in doubts.iter().filter(|doubt| !told.contains(doubt)) {
            warn!(why = doubt.to_string(), "control credentials are in doubt");
        }
        *told = doubts;
    }
}

fn against(current: &Credentials, peer: &Peer, now: i64) -> Option<Closing> {
    if current.is_revoked(&peer.certificate) {
        Some(Closing::Revoked)
    } else if peer.not_after < now {
        Some(Closing::Expired)
    } else {
        None
    }
}

/// Looks now and then, until told to stop.
pub async fn keep(trust: Arc<Trust>, door: Arc<Door>, mut stopping: watch::Receiver<bool>) {
    let mut ticks = interval(door.limits.look);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopped(&mut stopping) => return,
            _ = ticks.tick() => {}
        }
        let (trust, door) = (Arc::clone(&trust), Arc::clone(&door));
        // Files are read: off the runtime's own threads.
        let look = spawn_blocking(move || {
            trust.look(&door);
            count_probes(&door);
        });
        if let Err(error) = look.await {
            error!(%error, "control credentials are not looked at any more, until a restart");
            return;
        }
    }
}

/// Until when the certificates of this world's vantages hold, of those that are connected.
fn count_probes(door: &Door) {
    let assigned = door.assigned();
    let until = door.seats.lock().probes_until(&door.us.cluster);
    for vantage in &assigned.vantages {
        let labels = [&**vantage];
        match until.get(vantage) {
            Some(until) => door.metrics.probe_expiry.with_label_values(&labels).set(*until),
            // There may be none.
            None => drop(door.metrics.probe_expiry.remove_label_values(&labels)),
        }
    }
}
