//! What daemons ask of the CA here, and what it brings them: who may, and how much is read of it.

use common::clock::monotonic;
use common::principal::Principal;
use common::renewal::LONGEST_REQUEST;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout_at;

use super::Door;
use super::refusal::Refusal;
use crate::parked::desk::{self, LONGEST_SAYING, Reply};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Errand {
    /// A daemon asks for its next certificate.
    Ask,
    /// The CA fetches what waits.
    Fetch,
    /// It says what becomes of one that waits.
    Bring,
}

pub async fn run(
    door: &Door,
    peer: &Principal,
    errand: Errand,
    body: &mut Incoming,
) -> Result<Reply, Refusal> {
    let path = match errand {
        Errand::Ask => desk::RENEW,
        Errand::Fetch | Errand::Bring => desk::RENEWALS,
    };
    if !desk::may(&door.us, peer, path) {
        return Err(Refusal::NoErrand);
    }
    let reply = match errand {
        Errand::Ask => {
            let octets = read_body(door, body, LONGEST_REQUEST).await?;
            desk::ask(&mut door.parked.lock(), monotonic(), peer, &octets)
        }
        Errand::Fetch => desk::waiting(&door.parked.lock()),
        Errand::Bring => {
            let octets = read_body(door, body, LONGEST_SAYING).await?;
            desk::answer(&mut door.parked.lock(), monotonic(), &octets)
        }
    };
    count(door);
    Ok(reply)
}

/// Tells how many wait for the CA.
pub fn count(door: &Door) {
    let waiting = door.parked.lock().count();
    door.metrics.renewals_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
}

/// A body of more than `most` octets comes back as some of it that are more: what they are for knows what to say.
async fn read_body(door: &Door, body: &mut Incoming, most: usize) -> Result<Vec<u8>, Refusal> {
    let deadline = Door::deadline(door.limits.body);
    let mut octets = Vec::new();
    while octets.len() <= most {
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| Refusal::Late)?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| Refusal::CutShort)?;
        // What is no data is trailers, which say nothing here.
        let Ok(data) = frame.into_data() else { continue };
        let wanted = data.len().min(most + 1 - octets.len());
        octets.extend_from_slice(&data[..wanted]);
    }
    Ok(octets)
}
