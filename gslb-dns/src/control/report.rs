//! One report, from its first octet to what becomes of it, within its bounds.

use std::net::SocketAddr;
use std::sync::Arc;

use common::principal::Principal;
use common::report::agent::{SiteSaid, Vip, VipSaid};
use common::report::{Body, Entry, EntryHash, Head, LARGEST, Report, Said, State, Unreadable};
use common::target::TargetId;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::refusal::Refusal;
use super::{Changes, Door, Told};
use crate::inbox::stream::{Change, Reception};

/// What a report comes to, and the head that it had.
type Read = (Head, Changes);

/// A report's octets, and its place if it is a large one.
struct Octets {
    octets: Vec<u8>,
    place: Option<OwnedSemaphorePermit>,
}

/// Counts a report as under way until it is dropped.
struct UnderWay<'d> {
    door: &'d Door,
    producer: &'d Principal,
}

/// What a probe's report changes.
pub fn changes(said: Vec<Said<'_>>) -> Vec<(TargetId, Change<Entry>)> {
    let change = |Said { entry, octets }: Said<'_>| match entry.state {
        State::Gone => (entry.target, Change::Gone),
        State::Up | State::Slow | State::Down | State::None => {
            (entry.target, Change::Said(EntryHash::of(octets), entry))
        }
    };
    said.into_iter().map(change).collect()
}

/// What an agent's report says, which is all there is.
pub fn vips(said: Vec<VipSaid<'_>>) -> Vec<(SocketAddr, Change<Vip>)> {
    let change =
        |VipSaid { vip, octets }: VipSaid<'_>| (vip.at(), Change::Said(EntryHash::of(octets), vip));
    said.into_iter().map(change).collect()
}

/// Takes in a report of a producer that may report, on its site if it is an agent, and has it weighed.
pub async fn receive(
    door: &Door,
    producer: &Arc<Principal>,
    site: Option<Box<str>>,
    body: &mut Incoming,
) -> Result<(Head, Reception), Refusal> {
    // Refused before it is sent, if it says how long it is.
    if body.size_hint().lower() > LARGEST as u64 {
        return Err(Refusal::TooLarge);
    }
    if !door.meters.lock().begin_report(producer, Instant::now()) {
        return Err(Refusal::AlreadyTelling);
    }
    let _under_way = UnderWay { door, producer };
    let octets = read_body(door, body).await?;
    let deadline = Door::deadline(door.limits.answer);
    let ((head, changes), place) = parse(door, producer, site, octets, deadline).await?;
    let (answer, answered) = oneshot::channel();
    let told = Told { producer: (**producer).clone(), head: head.clone(), changes, answer };
    match timeout_at(deadline, door.told.reserve()).await {
        Ok(Ok(room)) => room.send(told),
        Ok(Err(_)) | Err(_) => return Err(Refusal::Busy),
    }
    let reception = timeout_at(deadline, answered).await;
    // Until then what it holds is counted.
    drop(place);
    match reception {
        Ok(Ok(reception)) => Ok((head, reception)),
        Ok(Err(_)) | Err(_) => Err(Refusal::Busy),
    }
}

/// However slowly it comes, it is over in time; however large it is, no more is held than there are places for.
async fn read_body(door: &Door, body: &mut Incoming) -> Result<Octets, Refusal> {
    let deadline = Door::deadline(door.limits.body);
    let (mut octets, mut place) = (Vec::new(), None);
    loop {
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| Refusal::Late)?;
        let Some(frame) = frame else { return Ok(Octets { octets, place }) };
        let frame = frame.map_err(|_| Refusal::CutShort)?;
        // What is no data is trailers, which say nothing here.
        let Ok(data) = frame.into_data() else { continue };
        let length = octets.len() + data.len();
        if length > LARGEST {
            return Err(Refusal::TooLarge);
        }
        if length > door.limits.small && place.is_none() {
            // While it waits nothing more is read, and so nothing more is sent.
            let waited = timeout_at(deadline, Arc::clone(&door.large).acquire_owned()).await;
            place = Some(waited.ok().and_then(Result::ok).ok_or(Refusal::Busy)?);
        }
        octets.extend_from_slice(&data);
    }
}

async fn parse(
    door: &Door,
    producer: &Arc<Principal>,
    site: Option<Box<str>>,
    octets: Octets,
    deadline: Instant,
) -> Result<(Read, Option<OwnedSemaphorePermit>), Refusal> {
    let turn = timeout_at(deadline, Arc::clone(&door.parsing).acquire_owned()).await;
    let turn = turn.ok().and_then(Result::ok).ok_or(Refusal::Busy)?;
    let producer = Arc::clone(producer);
    // Off the threads on which connections are served. Whoever gives up waiting leaves both permits with it.
    let parsed = spawn_blocking(move || {
        let Octets { octets, place } = octets;
        let read = read(&octets, &producer, site);
        drop(turn);
        read.map(|read| (read, place))
    });
    parsed.await.unwrap_or(Err(Refusal::Failed))
}

/// Nobody reports for another.
fn read(octets: &[u8], producer: &Principal, site: Option<Box<str>>) -> Result<Read, Refusal> {
    let Report { head, body } = Report::read(octets).map_err(|error| match error {
        Unreadable::TooLarge(_) => Refusal::TooLarge,
        Unreadable::TooManyTargets(_) => Refusal::TooMany,
        Unreadable::TooManyVips(_) | Unreadable::TooManyDemands(_) => {
            Refusal::TooManyOfSite(error.to_string())
        }
        Unreadable::TooDeep
        | Unreadable::Twice(_)
        | Unreadable::VipTwice(_)
        | Unreadable::DemandTwice(..)
        | Unreadable::NotWhole
        | Unreadable::Version(_)
        | Unreadable::Malformed(_) => Refusal::Unreadable(error.to_string()),
    })?;
    let Principal { cluster, kind, name } = producer;
    let is = |key: &'static str, expected: &str| Refusal::NotYours {
        key,
        expected: expected.to_owned(),
    };
    if *head.cluster != **cluster {
        return Err(is("cluster", cluster));
    }
    if head.kind != *kind {
        return Err(is("kind", kind.as_str()));
    }
    if *head.producer != **name {
        return Err(is("producer", name));
    }
    match body {
        Body::Probe(said) => Ok((head, Changes::Probe(changes(said)))),
        // What its clients ask is bounded and read, and nobody needs it yet.
        Body::Agent(SiteSaid { site: theirs, vips: said, demand: _ }) => match site {
            Some(site) if *site == *theirs => Ok((head, Changes::Agent(site, vips(said)))),
            Some(ours) => Err(Refusal::OtherSite { theirs, ours }),
            // It was let in as another kind than its report has, which was refused above.
            None => Err(Refusal::NoAgent(name.clone())),
        },
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.door.meters.lock().end_report(self.producer);
    }
}
