//! What serves at an address: HTTP, that says which site it is, while it is let.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::world::{PORT, REFERENCE, SITES};

/// More clients of one site wait until others are served.
const MOST_CLIENTS: usize = 64;
/// For one client.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before connections are taken again, where none could be.
const PAUSE: Duration = Duration::from_millis(100);
/// Free ports of one address that are tried on the others.
const TRIES: usize = 16;

/// Nobody serves there yet.
pub struct Listeners {
    port: u16,
    each: Vec<(&'static str, std::net::TcpListener)>,
}

pub struct Site {
    pub name: &'static str,
    address: SocketAddr,
    serving: Option<JoinHandle<()>>,
}

impl Listeners {
    /// All at one port: the usual one, or another that is free at every address.
    pub fn bind() -> anyhow::Result<Listeners> {
        let mut tried = Listeners::at(PORT);
        for _ in 0..TRIES {
            if tried.is_ok() {
                break;
            }
            let free = std::net::TcpListener::bind((REFERENCE, 0))?.local_addr()?.port();
            tried = Listeners::at(free);
        }
        Ok(tried?)
    }

    fn at(port: u16) -> io::Result<Listeners> {
        let all = SITES.into_iter().chain([("reference", REFERENCE)]);
        let each = all.map(|(name, address): (&str, Ipv4Addr)| {
            let listener = std::net::TcpListener::bind((address, port))?;
            listener.set_nonblocking(true)?;
            Ok((name, listener))
        });
        Ok(Listeners { port, each: each.collect::<io::Result<_>>()? })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Everybody serves, the reference too: it is no site, so nobody kills it.
    pub fn serve(self) -> io::Result<Vec<Site>> {
        let Listeners { port: _, each } = self;
        let serve = |(name, listener): (&'static str, std::net::TcpListener)| {
            let address = listener.local_addr()?;
            let serving = tokio::spawn(serve(name, TcpListener::from_std(listener)?));
            Ok(Site { name, address, serving: Some(serving) })
        };
        each.into_iter().map(serve).collect()
    }
}

impl Site {
    /// From now on connections are refused.
    pub async fn kill(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // Its listener is closed when it has ended.
            let _ = serving.await;
        }
    }

    pub async fn revive(&mut self) -> io::Result<()> {
        if self.serving.is_none() {
            let listener = TcpListener::bind(self.address).await?;
            self.serving = Some(tokio::spawn(serve(self.name, listener)));
        }
        Ok(())
    }
}

async fn serve(name: &'static str, listener: TcpListener) {
    // They end with us.
    let mut clients = JoinSet::new();
    loop {
        while clients.try_join_next().is_some() {}
        if clients.len() >= MOST_CLIENTS {
            clients.join_next().await;
        }
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let Ok(SocketAddr::V4(address)) = stream.local_addr() else { continue };
        let answer = service_fn(move |_: Request<Incoming>| async move {
            Ok::<_, Infallible>(told(name, address))
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
        // A client that went away wants no answer.
        clients.spawn(async move { drop(timeout(PATIENCE, connection).await) });
    }
}

fn told(name: &str, address: SocketAddrV4) -> Response<Full<Bytes>> {
    Response::new(Full::from(format!("{name} serves you, at {address}\n")))
}
