//! Connections as they come in: accepted, counted, asked whose they are, and given to whoever serves their frontend.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_local;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tracing::warn;

use super::Door;
use super::crowd::{Crowd, Presence};
use crate::hello;
use crate::proxy_protocol::{self, Origin, Progress};
use crate::relay::{Caller, http1, http2, tcp};
use crate::site::{Mode, ServerNameSource};
use crate::stream::{self, Buffer, Stream, Timer};
use crate::worker::{Asked, Front, Worker};

/// Time for a failure of `accept` such as lack of descriptors to pass.
const PAUSE: Duration = Duration::from_millis(100);

/// Where a connection has come to, and what counts there. What a PROXY header says of it may be nobody's address here.
type Place = (SocketAddr, Option<Arc<Asked>>);

/// What a connection is served with.
struct Guest {
    worker: Rc<Worker>,
    door: Rc<Door>,
    /// Where it has come to, if that is the same for all who come.
    place: Option<Place>,
    presence: Presence,
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

/// One of the frontend's connections of now.
struct Counted(Rc<Door>);

impl Counted {
    fn new(door: &Rc<Door>) -> Counted {
        door.shared.traffic.connections.fetch_add(1, Relaxed);
        door.shared.traffic.current.fetch_add(1, Relaxed);
        Counted(Rc::clone(door))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.shared.traffic.current.fetch_sub(1, Relaxed);
    }
}

/// Accepts until it is dropped.
pub fn accept(
    worker: &Rc<Worker>,
    crowd: &Rc<Crowd>,
    door: &Rc<Door>,
    socket: TcpListener,
) -> impl Future<Output = ()> + use<> {
    let (worker, crowd, door) = (Rc::clone(worker), Rc::clone(crowd), Rc::clone(door));
    async move {
        let name = Arc::clone(&door.front().config.name);
        let listener = match tokio::net::TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => {
                warn!(frontend = &*name, %error, "a socket cannot be listened to");
                return;
            }
        };
        // Who listens at one address need not ask each time which it was.
        let bound = listener.local_addr().ok().filter(|address| !address.ip().is_unspecified());
        let place = bound.map(|address| place(&door.front(), address));
        let mut is_failing = false;
        loop {
            // Further ones wait in the kernel.
            let permits = &door.shared.permits;
            drop(permits.acquire().await.expect("nobody closes it"));
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => {
                    is_failing = false;
                    accepted
                }
                // A client that has gone before we came.
                Err(error) if !is_want(&error) => continue,
                Err(error) => {
                    if !is_failing {
                        warn!(frontend = &*name, %error, "connections cannot be accepted");
                        is_failing = true;
                    }
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let permit = Arc::clone(permits).acquire_owned().await.expect("nobody closes it");
            let guest = Guest {
                worker: Rc::clone(&worker),
                door: Rc::clone(&door),
                place: place.clone(),
                presence: crowd.enter(),
                _permit: permit,
                _counted: Counted::new(&door),
            };
            let id = guest.presence.id();
            let task = spawn_local(serve(guest, stream, peer));
            crowd.is(id, task.abort_handle());
        }
    }
}

/// Whether it is for want of something, which time may bring.
fn is_want(error: &io::Error) -> bool {
    let wants = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|error| wants.iter().any(|want| want.raw_os_error() == error))
}

/// Serves one connection to its end. What it may become is boxed: its task is moved some times before it runs, and is kept
/// for as long as the connection.
async fn serve(guest: Guest, stream: TcpStream, peer: SocketAddr) {
    guest.presence.listen().await;
    let front = guest.door.front();
    let asked = || stream.local_addr().ok().map(|address| place(&front, address));
    let Some(place) = guest.place.clone().or_else(asked) else { return };
    let (worker, door) = (&guest.worker, &guest.door);
    let come = worker.unless_cut(pin!(come_in(stream, (peer, place), &front))).await;
    let Some(Some((stream, caller, mut first))) = come else { return };
    match front.config.mode {
        Mode::Http if stream.is_http2() => {
            Box::pin(http2::serve(worker, stream, caller, || door.front())).await;
        }
        Mode::Http => {
            let (stream, is_idle) = (RefCell::new(stream), &guest.presence.is_idle);
            let served = http1::serve(worker, stream, &caller, || door.front(), is_idle);
            Box::pin(served).await;
        }
        Mode::Tcp => {
            let stream = RefCell::new(stream);
            Box::pin(tcp::serve(worker, stream, &caller, &front, &mut first)).await;
        }
    }
}

/// All that comes before the first request: whose connection it is, its TLS or the name in that of others. Told with it
/// is what was read for that, and is to be passed on.
async fn come_in(
    mut stream: TcpStream,
    whence: (SocketAddr, Place),
    front: &Front,
) -> Option<(Stream, Caller, Buffer)> {
    let mut caller = caller_of(&mut stream, whence, front).await?;
    let (mut stream, mut first) =
        (shake_hands(stream, &mut caller, front).await?, Buffer::default());
    if front.config.mode == Mode::Tcp
        && front.config.server_name_source() == ServerNameSource::Hello
    {
        let asked = RefCell::new(stream);
        caller.server_name = Box::pin(server_name(&asked, &mut first, front)).await?;
        stream = asked.into_inner();
    }
    Some((stream, caller, first))
}

/// For whom a handshake is that is passed on: `None` inside where it names nobody, or is none. Nobody goes on with what
/// two readers could take in two ways.
async fn server_name(
    stream: &RefCell<Stream>,
    first: &mut Buffer,
    front: &Front,
) -> Option<Option<Box<[u8]>>> {
    let mut timer = Timer::default();
    let hear = async {
        loop {
            match hello::read(first.octets()) {
                Ok(hello::Progress::Whole(hello)) => {
                    return Some(hello.server_name().map(|name| name.as_bytes().into()));
                }
                Ok(hello::Progress::More) => {}
                Err(hello::Refusal::NotTls) => return Some(None),
                Err(hello::Refusal::TooLong | hello::Refusal::Malformed) => return None,
            }
            if !matches!(stream::read(stream, first).await, Ok(1..)) {
                return None;
            }
        }
    };
    let heard = timer.within(front.config.timeouts.http_request, hear).await;
    if !matches!(heard, Ok(Some(_))) {
        front.traffic.refused.fetch_add(1, Relaxed);
    }
    heard.ok().flatten()
}

/// TLS, where it ends here.
async fn shake_hands(stream: TcpStream, caller: &mut Caller, front: &Front) -> Option<Stream> {
    let Some(config) = &front.tls else { return Some(Stream::Plain(stream)) };
    let accepted = Box::pin(TlsAcceptor::from(Arc::clone(config)).accept(stream));
    let within = front.config.timeouts.http_request;
    let Ok(Ok(stream)) = Timer::default().within(within, accepted).await else {
        front.traffic.handshake_errors.fetch_add(1, Relaxed);
        return None;
    };
    caller.is_tls = true;
    caller.server_name = stream.get_ref().1.server_name().map(|name| name.as_bytes().into());
    Some(Stream::Tls(Box::new(stream.into())))
}

fn place(front: &Front, address: SocketAddr) -> Place {
    (address, front.asked_at(canonical(address)))
}

/// Whose connection it is; nobody's that can be told if a proxy does not say what it must.
async fn caller_of(
    stream: &mut TcpStream,
    (peer, (local, asked)): (SocketAddr, Place),
    front: &Front,
) -> Option<Caller> {
    let of_peer =
        Caller { client: canonical(peer), local, asked, is_tls: false, server_name: None };
    let address = of_peer.client.ip();
    if !front.config.accept_proxy.iter().any(|net| net.contains(&address)) {
        return Some(of_peer);
    }
    let within = front.config.timeouts.http_request;
    let origin = Timer::default().within(within, Box::pin(origin_of(stream))).await;
    match origin {
        Ok(Ok(Origin::Client { source, destination })) => {
            Some(Caller { client: source, local: destination, ..of_peer })
        }
        Ok(Ok(Origin::Proxy)) => Some(of_peer),
        Ok(Err(_)) | Err(_) => {
            front.traffic.refused.fetch_add(1, Relaxed);
            None
        }
    }
}

/// Reads a PROXY header, and not one octet behind it.
async fn origin_of(stream: &mut TcpStream) -> io::Result<Origin> {
    let refused = |refusal| io::Error::new(io::ErrorKind::InvalidData, refusal);
    let (mut header, mut seen) = (vec![], [0; 512]);
    loop {
        let count = stream.peek(&mut seen).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = header.len();
        header.extend_from_slice(&seen[..count]);
        let progress = proxy_protocol::read(&header).map_err(refused)?;
        let taken = match progress {
            Progress::More => count,
            Progress::Whole(length, _) => length - before,
        };
        stream.read_exact(&mut seen[..taken]).await?;
        if let Progress::Whole(_, origin) = progress {
            return Ok(origin);
        }
    }
}

/// An IPv4 client of an IPv6 socket is an IPv4 client.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
