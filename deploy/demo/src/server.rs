//! What serves at an address: HTTP, that says who it is, while it is let.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
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

use crate::world::{REFERENCE, SERVERS, SITES, server};

/// More clients of one server wait until others are served.
const MOST_CLIENTS: usize = 64;
/// For one client.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before connections are taken again, where none could be.
const PAUSE: Duration = Duration::from_millis(100);

/// Nobody serves there yet.
pub struct Listeners(Vec<(Place, std::net::TcpListener)>);

/// Which server it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    Of { site: &'static str, server: &'static str },
    Reference,
}

pub struct Server {
    pub place: Place,
    address: SocketAddr,
    serving: Option<JoinHandle<()>>,
}

impl Listeners {
    /// At the sites' port. Their own addresses are their balancers' to take.
    pub fn bind(port: u16) -> io::Result<Listeners> {
        let mut each = vec![(Place::Reference, listener(REFERENCE, port)?)];
        for (site, vip) in SITES {
            for name in SERVERS {
                let place = Place::Of { site, server: name };
                each.push((place, listener(server(vip, name), port)?));
            }
        }
        Ok(Listeners(each))
    }

    /// Everybody serves, the reference too: it belongs to no site, so nobody kills it.
    pub fn serve(self) -> io::Result<Vec<Server>> {
        let Listeners(each) = self;
        let serve = |(place, listener): (Place, std::net::TcpListener)| {
            let address = listener.local_addr()?;
            let serving = tokio::spawn(serve(place, TcpListener::from_std(listener)?));
            Ok(Server { place, address, serving: Some(serving) })
        };
        each.into_iter().map(serve).collect()
    }
}

fn listener(address: Ipv4Addr, port: u16) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind((address, port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Server {
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
            self.serving = Some(tokio::spawn(serve(self.place, listener)));
        }
        Ok(())
    }
}

async fn serve(place: Place, listener: TcpListener) {
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
        let answer =
            service_fn(move |_: Request<Incoming>| async move { Ok::<_, Infallible>(told(place)) });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
        // A client that went away wants no answer.
        clients.spawn(async move { drop(timeout(PATIENCE, connection).await) });
    }
}

fn told(place: Place) -> Response<Full<Bytes>> {
    let text = match place {
        Place::Of { site, server } => format!("{site} serves you, by its server {server}\n"),
        Place::Reference => "here is the reference\n".to_owned(),
    };
    Response::new(Full::from(text))
}
