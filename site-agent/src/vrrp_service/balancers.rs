//! Balancers of this box: they hold up the lease, and are told of roles.
//!
//! (a socket) ─▶ `Word` ─▶ how many of them serve; shown ─▶ `Told` ─▶ (the socket)

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use common::report::agent;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::lease::{LEASE, LONGEST, Told, Word, written};
use crate::local_socket;
use crate::routers::shown::Shown;
use crate::vrrp::machine::action::Role;

/// Balancers at a time: one, and while it is replaced two.
const MOST: usize = 8;

/// What all conversations share.
#[derive(Clone)]
pub struct Balancers {
    /// How many serve.
    pub serving: watch::Sender<usize>,
    pub shown: Arc<ArcSwap<Vec<Arc<Shown>>>>,
    /// Something of what is shown may be another.
    pub changed: watch::Receiver<()>,
}

/// A balancer that serves. Dropped, it does not.
struct Holding(watch::Sender<usize>);

impl Holding {
    fn new(serving: &watch::Sender<usize>) -> Holding {
        serving.send_modify(|count| *count += 1);
        Holding(serving.clone())
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Serves until it is dropped.
pub async fn serve(listener: UnixListener, balancers: Balancers) {
    let pid = |stream: &UnixStream| stream.peer_cred().ok().and_then(|who| who.pid());
    let visit = |stream| {
        let (pid, mut balancers) = (pid(&stream), balancers.clone());
        async move {
            let Err(error) = balancers.converse(&stream, pid).await;
            info!(pid, %error, "a balancer is gone");
        }
    };
    let refuse = |stream: &UnixStream| {
        let pid = pid(stream);
        warn!(pid, most = MOST, "a balancer is not heard: there are too many");
    };
    local_socket::serve(listener, MOST, visit, refuse).await;
}

impl Balancers {
    async fn converse(&mut self, stream: &UnixStream, pid: Option<i32>) -> io::Result<Infallible> {
        let mut holding = None;
        let mut until = Instant::now();
        let mut told = BTreeMap::new();
        let mut packet = vec![0; LONGEST];
        loop {
            self.tell(stream, &mut told)?;
            tokio::select! {
                // What has come is read before it is said that nothing has.
                biased;
                ready = stream.readable() => {
                    ready?;
                    let length = match stream.try_read(&mut packet) {
                        Ok(0) => return Err(ErrorKind::ConnectionReset.into()),
                        Ok(length) => length,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                        Err(error) => return Err(error),
                    };
                    let Word { serves } = serde_json::from_slice(&packet[..length])?;
                    until = Instant::now() + LEASE;
                    if serves && holding.is_none() {
                        info!(pid, "a balancer serves");
                        holding = Some(Holding::new(&self.serving));
                    } else if !serves && holding.take().is_some() {
                        info!(pid, "a balancer serves no more");
                    }
                }
                () = sleep_until(until), if holding.is_some() => {
                    warn!(pid, lease = ?LEASE, "a balancer says nothing: it is taken to serve no more");
                    holding = None;
                }
                changed = self.changed.changed() => {
                    changed.map_err(|_| ErrorKind::Interrupted)?;
                }
            }
        }
    }

    /// What is otherwise than it was told.
    fn tell(&self, stream: &UnixStream, told: &mut BTreeMap<Arc<str>, Told>) -> io::Result<()> {
        let shown = self.shown.load();
        let is_gone =
            |name: &Arc<str>| !shown.iter().any(|router| router.config.load().name == *name);
        let gone: Vec<_> = told.keys().filter(|name| is_gone(name)).cloned().collect();
        let now = shown.iter().map(|router| told_of(router));
        let gone = gone.into_iter().map(|name| {
            let before = &told[&name];
            let gone = Told { role: agent::Role::Initialize, vips: vec![], ..before.clone() };
            (name, gone)
        });
        let all: Vec<_> = now.chain(gone).collect();
        for (name, router) in all {
            if told.get(&name) == Some(&router) {
                continue;
            }
            match stream.try_write(&written(&router)) {
                Ok(_) if router.vips.is_empty() => drop(told.remove(&name)),
                Ok(_) => drop(told.insert(name, router)),
                // It reads nothing: it is told with the next that it says.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// As a report has it.
fn told_of(router: &Shown) -> (Arc<str>, Told) {
    let (config, standing) = (router.config.load(), router.standing.load());
    let vips: Vec<IpAddr> = config.vips.iter().map(|vip| vip.address).collect();
    let told = Told {
        router: config.name.to_string(),
        vrid: config.vrid.get(),
        role: match standing.role {
            Role::Active => agent::Role::Active,
            Role::Backup => agent::Role::Backup,
            Role::Initialize | Role::Fault => agent::Role::Initialize,
        },
        since: u64::try_from(standing.since.as_millis()).unwrap_or(u64::MAX),
        vips,
    };
    (Arc::clone(&config.name), told)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::Duration;

    use common::report::agent::Vrrp;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::config;
    use crate::lease::keep::{Keeper, Of};
    use crate::local_socket::{Kind, LocalSocket};

    const LONG: Duration = Duration::from_secs(20);

    /// Of one virtual router, with two VIPs.
    fn shown(dir: &Path) -> (Arc<Shown>, Of) {
        let file = dir.join("site.toml");
        let text = format!(
            "[vrrp_service]\nbalancer_socket = {:?}\n\
             [vrrp.web]\ninterface = \"eth0\"\nvrid = 51\nvips = [\"192.0.2.10/24\", \"2001:db8::10/64\"]\n",
            dir.join("balancer.sock")
        );
        std::fs::write(&file, text).unwrap();
        let (redundancy, _) = config::load_redundancy(&file).unwrap();
        let of = Of::site(&redundancy).unwrap();
        (Arc::new(Shown::new(Arc::new(redundancy.routers[0].clone()))), of)
    }

    async fn until<T: Copy>(mut seen: watch::Receiver<T>, is_it: impl FnMut(&T) -> bool) {
        timeout(LONG, seen.wait_for(is_it)).await.expect("it takes too long").unwrap();
    }

    async fn until_role(keeper: &Keeper, role: agent::Role) -> Vrrp {
        let all = async {
            loop {
                let roles = keeper.roles();
                assert_eq!(roles.len(), 2);
                if roles.values().all(|vrrp| vrrp.role == role) {
                    return *roles.values().next().unwrap();
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, all).await.expect("it takes too long")
    }

    #[tokio::test]
    async fn a_balancer_holds_the_lease_while_it_goes_round_and_hears_roles() {
        let dir = tempfile::tempdir().unwrap();
        let (router, of) = shown(dir.path());
        let socket = || LocalSocket::bind("k", &of.socket, Kind::SEQPACKET, 0o600).unwrap();
        let (serving, holders) = watch::channel(0);
        let (changed, told) = watch::channel(());
        let all = Arc::new(ArcSwap::from_pointee(vec![Arc::clone(&router)]));
        let balancers = Balancers { serving, shown: all, changed: told };
        let round = Arc::new(AtomicU64::new(0));
        let keeper = Keeper::start(of.clone(), vec![Arc::clone(&round)]);
        // Nobody is there yet.
        assert_eq!(until_role(&keeper, agent::Role::Initialize).await.vrid, 51);

        let (listener, file) = socket().listen().unwrap();
        let service = tokio::spawn(serve(listener, balancers.clone()));
        let goes_round = tokio::spawn(async move {
            loop {
                round.fetch_add(1, Relaxed);
                sleep(Duration::from_millis(50)).await;
            }
        });
        until(holders.clone(), |count| *count == 1).await;
        let standing = **router.standing.load();
        let since = common::clock::since_boot();
        router.standing.store(Arc::new(crate::routers::shown::Standing {
            role: Role::Active,
            since,
            ..standing
        }));
        changed.send_replace(());
        let active = until_role(&keeper, agent::Role::Active).await;
        let ago = common::clock::monotonic().saturating_sub(Duration::from_millis(active.since));
        assert!(ago < LONG, "{ago:?}");

        // A thread that is stuck serves nobody, whatever the others do.
        goes_round.abort();
        until(holders.clone(), |count| *count == 0).await;
        // One that is gone is seen to be, and another one taken for what it is.
        let other = Keeper::start(of.clone(), vec![]);
        until(holders.clone(), |count| *count == 1).await;
        drop(other);
        until(holders.clone(), |count| *count == 0).await;
        // So are virtual routers that are gone.
        service.abort();
        drop(file);
        let _ = service.await;
        drop(balancers);
        drop(changed);
        until_role(&keeper, agent::Role::Initialize).await;
    }

    /// The next one; an empty one at the end.
    async fn packet(stream: &UnixStream) -> Vec<u8> {
        let mut packet = vec![0; LONGEST];
        let read = async {
            loop {
                stream.readable().await.unwrap();
                match stream.try_read(&mut packet) {
                    Ok(length) => return length,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
        };
        let length = timeout(LONG, read).await.expect("something comes");
        packet.truncate(length);
        packet
    }

    #[tokio::test]
    async fn who_says_nothing_holds_nothing_and_who_says_nonsense_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (router, of) = shown(dir.path());
        let bound = LocalSocket::bind("k", &of.socket, Kind::SEQPACKET, 0o600).unwrap();
        let (listener, _file) = bound.listen().unwrap();
        let (serving, holders) = watch::channel(0);
        let (_changed, changed) = watch::channel(());
        let shown = Arc::new(ArcSwap::from_pointee(vec![router]));
        let _service = tokio::spawn(serve(listener, Balancers { serving, shown, changed }));
        let stream = crate::lease::connected(&of.socket).unwrap();
        let told: Told = serde_json::from_slice(&packet(&stream).await).unwrap();
        assert_eq!((&*told.router, told.vips.len()), ("web", 2));
        for _ in 0..2 {
            stream.try_write(&written(&Word { serves: true })).unwrap();
            until(holders.clone(), |count| *count == 1).await;
            until(holders.clone(), |count| *count == 0).await;
        }
        stream.try_write(b"serves").unwrap();
        assert_eq!(packet(&stream).await, b"", "it is left");
    }
}
