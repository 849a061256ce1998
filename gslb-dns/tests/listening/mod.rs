//! A server of connections on ports of its own, with the small zone behind it, and what its clients share.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gslb_dns::listen::tcp::{Carries, Connections, TcpListener};
use gslb_dns::metrics::{Metrics, Tally};
use gslb_dns::publish::Published;
use gslb_dns::world::TcpLimits;
use ipnet::IpNet;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::small_zone::snapshot;

/// Everything here happens within moments; this is for a machine that is very busy.
pub const DEADLINE: Duration = Duration::from_secs(20);
pub const PATIENT: Duration = Duration::from_secs(10);
/// Who does nothing wrong is served within it, too.
pub const SHORT: Duration = Duration::from_millis(1500);

pub struct Server {
    pub addresses: Vec<SocketAddr>,
    pub metrics: Metrics,
    stop: watch::Sender<bool>,
    serving: JoinSet<()>,
}

impl Server {
    pub fn start(carries: Carries, proxies: Vec<IpNet>, limits: TcpLimits) -> Server {
        Server::start_at(&["127.0.0.1:0"], carries, proxies, limits)
    }

    /// Several listeners, one set of limits.
    pub fn start_at(
        addresses: &[&str],
        carries: Carries,
        proxies: Vec<IpNet>,
        limits: TcpLimits,
    ) -> Server {
        let tally = Arc::new(Tally::new(carries.transport()));
        let metrics = Metrics::new(vec![Arc::clone(&tally)]);
        let connections = Connections::new(limits, metrics.tcp.clone());
        let proxies: Arc<[IpNet]> = proxies.into();
        let (stop, stopping) = watch::channel(false);
        let mut serving = JoinSet::new();
        let listen = |address: &&str| {
            let listener = TcpListener::bind(address.parse().unwrap()).unwrap();
            let address = listener.local_address().unwrap();
            serving.spawn(
                listener.carrying(carries.clone()).believing(Arc::clone(&proxies)).serve(
                    Published::new(snapshot()),
                    "test".into(),
                    Arc::clone(&connections),
                    Arc::clone(&tally),
                    stopping.clone(),
                ),
            );
            address
        };
        let addresses = addresses.iter().map(listen).collect();
        Server { addresses, metrics, stop, serving }
    }

    /// Of the first listener, which for most is the one.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub fn evicted(&self, reason: &str) -> u64 {
        self.metrics.tcp.evicted.with_label_values(&[reason]).get()
    }

    /// Waits until what the metrics say is so.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Server) -> bool) {
        let mut ticks = interval(Duration::from_millis(2));
        let waited = timeout(DEADLINE, async {
            while !is_so(self) {
                ticks.tick().await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("never {what}:\n{}", self.metrics.text()));
    }

    pub async fn until_nobody_is_connected(&self) {
        self.until("left", |server| server.metrics.tcp.open.get() == 0).await;
    }

    /// Gives the word to stop, and does not wait for it to be obeyed.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub async fn ended(self) {
        timeout(DEADLINE, self.serving.join_all()).await.unwrap();
    }
}

pub fn limits(idle: Duration) -> TcpLimits {
    TcpLimits { connections: 100, connections_per_client: 100, idle }
}

/// From 127.0.0.`host`.
pub async fn connect_from(host: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, host], 0).into()).unwrap();
    let stream = timeout(DEADLINE, socket.connect(to)).await.unwrap().unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends an octet at a time, each well within what is `SHORT`, until all are sent or it is closed.
pub async fn dribble(to: &mut (impl AsyncWrite + Unpin), octets: &[u8]) -> io::Result<()> {
    let mut ticks = interval(SHORT / 10);
    let dribbled = async {
        for octet in octets {
            ticks.tick().await;
            to.write_all(&[*octet]).await?;
            to.flush().await?;
        }
        Ok(())
    };
    timeout(DEADLINE, dribbled).await.unwrap()
}
