//! The request up to a server and its response down, over whatever carries them.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use common::clock;

use super::Connection;
use super::body::{Cut, Down, Progress, Sides, Stuck, Upload, up};
use super::carrier::Carrier;
use super::forward::Tries;
use super::leg::{Leg, Whole};
use super::record::Record;
use crate::head::{self, Asked, Body, Persistence, Version};
use crate::outlier::Outcome;
use crate::retry;
use crate::stream::Buffer;
use crate::upstream::{Counts, Lease};
use crate::worker::{Front, Local, Room, Worker};

/// What came of the server's side.
pub(super) enum Fetched {
    /// The client has the response.
    Whole { is_reusable: bool, persistence: Persistence },
    /// The protocol is another one now.
    Upgraded,
    /// The client was told nothing.
    Nothing(retry::Cause),
    /// A response that is worth another try.
    Again { status: u16, wait: Duration },
    /// The client has a part of it.
    Cut(Cut),
}

/// What a response is to become for this client.
struct Toward<'t> {
    front: &'t Front,
    asked: Asked,
    version: Version,
    worker: &'t Worker,
    /// What the client would have of its connection.
    asks_for: Persistence,
    is_tls: bool,
}

impl<C: Carrier> Connection<'_, C> {
    /// Sends the request and passes the response on, both at once where the request is still coming.
    #[expect(
        clippy::too_many_arguments,
        reason = "what an attempt is made of, each of it with another life"
    )]
    pub(super) async fn exchange_with<L: Leg>(
        &mut self,
        front: &Rc<Front>,
        local: &Rc<Local>,
        lease: &Lease,
        room: &mut Room,
        record: &mut Record,
        tries: &Tries,
        upload: Upload,
        server: &L,
    ) -> Result<Fetched, Stuck> {
        let Room { request, response, from_client, from_server, up: head, down: out, .. } = room;
        from_server.clear();
        out.clear();
        response.clear();
        let sides = Sides {
            client: &self.client,
            server,
            client_time: front.config.timeouts.client,
            server_time: local.upstream.config.timeouts.server,
        };
        let toward = Toward {
            front,
            asked: request.asked(),
            version: request.version(),
            worker: self.worker,
            asks_for: request.persistence(),
            is_tls: self.caller.is_tls,
        };
        let (received, is_up) = (Cell::new(0), Cell::new(upload != Upload::Streamed));
        let has_begun = Cell::new(false);
        let progress = Progress { received: &received, has_begun: &has_begun };
        let is_private = has_own_connection(request.fields(), b"Authorization");
        let body = request.body();
        // Of a request that is whole, what it was made from, and what the client has said behind it.
        let mut kept = match upload {
            Upload::Streamed => Buffer::default(),
            Upload::None | Upload::Whole(_) => std::mem::take(from_client),
        };
        let (dice, sent_at) = (self.worker.dice(), clock::monotonic());
        let Record { sent, response: answered, status, is_servers, .. } = record;
        let again = |cause| {
            local
                .upstream
                .policy
                .on
                .names(cause)
                .then(|| tries.again(local, dice, lease, cause))
                .flatten()
        };
        let mut down = Down {
            sides: &sides,
            timer: &mut self.timer,
            limits: &RESPONSES,
            sent,
            progress,
            is_up: &is_up,
        };
        *answered = None;
        let down = async {
            if upload != Upload::Streamed {
                // Whether it was taken is seen by what comes: an answer may be there already.
                let content = match upload {
                    Upload::Whole(taken) => &kept.octets()[..taken],
                    Upload::None | Upload::Streamed => b"",
                };
                let whole = Whole { octets: head, body, content, limits: &front.limits };
                let written = server.send(whole, sides.server_time, down.timer).await;
                if written.is_err() {
                    return Fetched::Nothing(retry::Cause::ResponseTimeout);
                }
                Counts::add(&lease.server().counts.sent, head.len() as u64);
            }
            let head = fetch_head(&mut down, &toward, response, from_server, out).await;
            let body = match head {
                Ok(body) => body,
                Err(fetched) => return fetched,
            };
            let (now, found) = (clock::monotonic(), response.status());
            *answered = Some(now.saturating_sub(sent_at));
            local.upstream.on_outcome(now, lease.server(), Outcome::Answered(found));
            if found >= 400
                && is_up.get()
                && let Some(wait) = again(retry::Cause::Status(found))
            {
                return Fetched::Again { status: found, wait };
            }
            (*status, *is_servers) = (Some(found), true);
            for answers in [&lease.server().counts.answers, &*local.upstream.answers] {
                answers.count(Some(found));
            }
            fetch_body(&mut down, &toward, response, body, from_server, out).await
        };
        let fetched = if upload == Upload::Streamed {
            let up = up(&sides, front, head, body, from_client, lease.server(), progress);
            both(up, down, &is_up, &has_begun).await
        } else {
            Ok(down.await)
        };
        Counts::add(&lease.server().counts.received, received.get());
        if upload != Upload::Streamed {
            if let Upload::Whole(taken) = upload
                && !matches!(fetched, Ok(Fetched::Nothing(_) | Fetched::Again { .. }))
            {
                kept.take(taken);
            }
            *from_client = kept;
        }
        let is_clean = from_server.is_empty() && !toward.is_old(request) && !is_private;
        fetched.map(|fetched| match fetched {
            Fetched::Whole { is_reusable, persistence } => {
                Fetched::Whole { is_reusable: is_reusable && is_clean, persistence }
            }
            other => other,
        })
    }
}

/// What servers may send: nobody configures it.
const RESPONSES: head::Limits = head::Limits::OURS;
/// Heads before that of the response itself (1xx), at most: each costs us, and over HTTP/2 none waits for the client's window.
const MOST_INTERIM: usize = 100;

/// Request up and response down. Once the client was told anything, what becomes of the request only says whether its
/// connections are used again.
async fn both(
    up: impl Future<Output = Result<(), Stuck>>,
    down: impl Future<Output = Fetched>,
    is_up: &Cell<bool>,
    has_begun: &Cell<bool>,
) -> Result<Fetched, Stuck> {
    let (mut up, mut down) = (pin!(up), pin!(down));
    let mut is_whole = None;
    let fetched = loop {
        tokio::select! {
            biased;
            fetched = &mut down => break fetched,
            done = &mut up, if is_whole.is_none() => {
                is_up.set(true);
                match done {
                    Ok(()) => is_whole = Some(true),
                    // It may have answered before it hung up.
                    Err(Stuck::Server) => is_whole = Some(false),
                    Err(_) if has_begun.get() => is_whole = Some(false),
                    Err(stuck) => return Err(stuck),
                }
            }
        }
    };
    // A server that has answered before it heard all may take the rest for another request, and so is told no more.
    Ok(match fetched {
        Fetched::Whole { .. } if is_whole != Some(true) => {
            Fetched::Whole { is_reusable: false, persistence: Persistence::Close }
        }
        other => other,
    })
}

/// Reads the response's head, and passes on those that come before it (1xx).
async fn fetch_head<C: Carrier, L: Leg>(
    down: &mut Down<'_, C, L>,
    toward: &Toward<'_>,
    response: &mut head::ResponseHead,
    buffer: &mut Buffer,
    out: &mut Vec<u8>,
) -> Result<Body, Fetched> {
    let mut interim = 0;
    loop {
        match down.sides.server.head(response, buffer, down.limits) {
            Ok(true) => {
                if !response.is_interim() {
                    let junk = |_| Fetched::Nothing(retry::Cause::JunkResponse);
                    return response.body(toward.asked).map_err(junk);
                }
                interim += 1;
                if interim > MOST_INTERIM {
                    return Err(Fetched::Nothing(retry::Cause::JunkResponse));
                }
                if toward.version == Version::Http11 {
                    response.strip();
                    response.set_body(Body::None);
                    let (version, persistence) = (toward.version, Persistence::KeepAlive);
                    let begun = down.begin(response, Body::None, version, persistence, out);
                    begun.map_err(Fetched::Cut)?;
                    down.write(out).await.map_err(Fetched::Cut)?;
                    out.clear();
                }
            }
            Ok(false) => match down.read(buffer).await {
                Ok(true) => {}
                Err(Cut::ServerLate) => {
                    return Err(Fetched::Nothing(retry::Cause::ResponseTimeout));
                }
                Ok(false) | Err(_) => {
                    let usual = match buffer.is_empty() {
                        true => retry::Cause::EmptyResponse,
                        false => retry::Cause::JunkResponse,
                    };
                    return Err(Fetched::Nothing(down.sides.server.failure().unwrap_or(usual)));
                }
            },
            Err(_) => return Err(Fetched::Nothing(retry::Cause::JunkResponse)),
        }
    }
}

/// Passes the response on.
async fn fetch_body<C: Carrier, L: Leg>(
    down: &mut Down<'_, C, L>,
    toward: &Toward<'_>,
    response: &mut head::ResponseHead,
    body: Body,
    buffer: &mut Buffer,
    out: &mut Vec<u8>,
) -> Fetched {
    let is_reusable = response.persistence(toward.asked) == Persistence::KeepAlive
        && !has_own_connection(response.fields(), b"WWW-Authenticate");
    let is_upgraded = response.status() == 101;
    response.strip();
    let goes = down.sides.client.framing(body, toward.version);
    response.set_body(goes);
    if let Some(hsts) = toward.front.hsts.as_deref().filter(|_| toward.is_tls) {
        let set = response.fields_mut().set(b"Strict-Transport-Security", hsts.as_bytes());
        set.expect("it is text of our own");
    }
    let is_over = toward.worker.is_stopping() || toward.front.is_gone();
    let keeps = goes.has_end() && !is_over && down.is_up.get();
    let persistence = if keeps { toward.asks_for } else { Persistence::Close };
    if let Err(cut) = down.begin(response, goes, toward.version, persistence, out) {
        return Fetched::Cut(cut);
    }
    let comes = down.sides.server.coming(body);
    // Behind an upgrade the connection goes on.
    let then = if is_upgraded { Persistence::KeepAlive } else { persistence };
    let passed = down.body((comes, goes), then, buffer, out).await;
    match passed {
        Err(cut) => Fetched::Cut(cut),
        Ok(()) if is_upgraded => Fetched::Upgraded,
        Ok(()) => Fetched::Whole { is_reusable, persistence },
    }
}

/// Whether a connection is somebody's once it has seen this: NTLM and its kin vouch for connections, not for requests.
fn has_own_connection(fields: &head::Fields, name: &[u8]) -> bool {
    let is_one = |value: &[u8]| {
        let scheme = value.trim_ascii().split(|octet| *octet == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"NTLM") || scheme.eq_ignore_ascii_case(b"Negotiate")
    };
    fields.all(name).any(|value| value.split(|octet| *octet == b',').any(is_one))
}

impl Toward<'_> {
    /// A request without a host goes on as HTTP/1.0, after which a server hangs up.
    fn is_old(&self, request: &head::RequestHead) -> bool {
        self.version == Version::Http10 && request.authority().is_empty()
    }
}
