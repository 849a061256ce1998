//! The balancer's side: it keeps its lease, and hears which roles its box has.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::clock;
use common::report::agent::{Role, Vrrp};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{info, warn};

use super::{BEAT, LONGEST, Told, Word, connected, written};
use crate::site::Redundancy;

/// How long after one attempt to reach the virtual routers the next is made.
const AGAIN: Duration = Duration::from_millis(100);

/// A thread that has not gone round for so many beats is stuck: it does each second, if it has nothing else to do.
const STUCK: u32 = 12;

/// Which role the virtual router of an address has on this box.
pub type Roles = BTreeMap<IpAddr, Vrrp>;

/// Keeps the lease for as long as it is there.
pub struct Keeper {
    socket: PathBuf,
    vips: watch::Sender<Vec<(IpAddr, u8)>>,
    roles: watch::Receiver<Roles>,
    task: AbortHandle,
}

/// What is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Of {
    /// Of the virtual routers of this box.
    pub socket: PathBuf,
    /// With their VRIDs.
    pub vips: Vec<(IpAddr, u8)>,
}

impl Of {
    /// `None` where this box shares no address with another.
    pub fn site(redundancy: &Redundancy) -> Option<Of> {
        let vips = redundancy
            .routers
            .iter()
            .flat_map(|router| router.vips.iter().map(|vip| (vip.address, router.vrid.get())));
        let vips: Vec<_> = vips.collect();
        let socket = redundancy.service.balancer_socket.clone();
        (!vips.is_empty()).then_some(Of { socket, vips })
    }
}

impl Keeper {
    /// `rounds` are what the threads count that serve.
    pub fn start(of: Of, rounds: Vec<Arc<AtomicU64>>) -> Keeper {
        let Of { socket, vips } = of;
        let (roles, shown) = watch::channel(none_of(&vips));
        let (vips, told) = watch::channel(vips);
        let mut watch = Watch::default();
        let serves = move || watch.goes_on(rounds.iter().map(|round| round.load(Relaxed)), STUCK);
        let task = tokio::spawn(keep(socket.clone(), told, serves, roles)).abort_handle();
        Keeper { socket, vips, roles: shown, task }
    }

    /// Goes on by another config: the lease is held all the while, so another socket has to wait for the next start.
    pub fn adopt(&self, of: Of) {
        let Of { socket, vips } = of;
        if socket != self.socket {
            warn!("vrrp_service.balancer_socket is another: it is taken at the next start");
        }
        self.vips.send_if_modified(|known| {
            let is_new = *known != vips;
            *known = vips;
            is_new
        });
    }

    pub fn roles(&self) -> Roles {
        self.roles.borrow().clone()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Says at a socket that we serve, for as long as `serves` says so, and lets others know of roles. While nobody is there to
/// say it to, this box has none of the VIPs.
async fn keep(
    socket: PathBuf,
    mut vips: watch::Receiver<Vec<(IpAddr, u8)>>,
    mut serves: impl FnMut() -> bool,
    roles: watch::Sender<Roles>,
) {
    let mut is_told = false;
    loop {
        roles.send_replace(none_of(&vips.borrow_and_update()));
        let ended = match connected(&socket) {
            Ok(stream) => {
                info!("the virtual routers are told that this balancer serves");
                is_told = false;
                converse(&stream, &mut vips, &mut serves, &roles).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = ended
            && !std::mem::replace(&mut is_told, true)
        {
            let socket = socket.display();
            warn!(%socket, %error, "the virtual routers are not there: this box has none of their addresses");
        }
        sleep(AGAIN).await;
    }
}

fn none_of(vips: &[(IpAddr, u8)]) -> Roles {
    let since = u64::try_from(clock::monotonic().as_millis()).unwrap_or(u64::MAX);
    let none =
        |(vip, vrid): &(IpAddr, u8)| (*vip, Vrrp { vrid: *vrid, role: Role::Initialize, since });
    vips.iter().map(none).collect()
}

/// Until the other side is gone, which is an error as any other.
async fn converse(
    stream: &UnixStream,
    vips: &mut watch::Receiver<Vec<(IpAddr, u8)>>,
    serves: &mut impl FnMut() -> bool,
    roles: &watch::Sender<Roles>,
) -> io::Result<()> {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut none = roles.borrow().clone();
    let mut by_router = BTreeMap::new();
    let mut packet = vec![0; LONGEST];
    loop {
        tokio::select! {
            ready = stream.readable() => {
                ready?;
                match stream.try_read(&mut packet) {
                    Ok(0) => return Err(ErrorKind::ConnectionReset.into()),
                    Ok(length) => {
                        if let Err(error) = hear(&packet[..length], &mut by_router) {
                            warn!(%error, "the virtual routers say what is not understood: are they of another version?");
                        }
                        show(&none, &by_router, roles);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(()) = vips.changed() => {
                none = none_of(&vips.borrow_and_update());
                show(&none, &by_router, roles);
            }
            _ = beats.tick() => {
                let word = Word { serves: serves() };
                match stream.try_write(&written(&word)) {
                    // Nobody has read the ones before: that is no news to them either.
                    Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                    Ok(_) | Err(_) => {}
                }
            }
        }
    }
}

/// By the virtual routers' names.
type ByRouter = BTreeMap<String, (Vec<IpAddr>, Vrrp)>;

fn hear(packet: &[u8], by_router: &mut ByRouter) -> serde_json::Result<()> {
    let Told { router, vrid, role, since, vips } = serde_json::from_slice(packet)?;
    let since = on_our_clock(Duration::from_millis(since), clock::since_boot(), clock::monotonic());
    by_router.insert(router, (vips, Vrrp { vrid, role, since }));
    Ok(())
}

/// What was heard of a VIP, and that this box has it not where nothing was.
fn show(none: &Roles, by_router: &ByRouter, roles: &watch::Sender<Roles>) {
    let mut all = none.clone();
    // An address that has moved from one virtual router to another is with who is Active.
    let is_active = |(_, vrrp): &&(Vec<IpAddr>, Vrrp)| vrrp.role == Role::Active;
    let others = by_router.values().filter(|router| !is_active(router));
    for (vips, vrrp) in others.chain(by_router.values().filter(is_active)) {
        all.extend(vips.iter().map(|vip| (*vip, *vrrp)));
    }
    roles.send_if_modified(|roles| {
        let is_new = *roles != all;
        *roles = all;
        is_new
    });
}

/// Milliseconds on the clock by which reports say since when, of an instant since boot.
fn on_our_clock(then: Duration, since_boot: Duration, monotonic: Duration) -> u64 {
    let ago = since_boot.saturating_sub(then);
    u64::try_from(monotonic.saturating_sub(ago).as_millis()).unwrap_or(u64::MAX)
}

/// Whether all that serves goes on, asked now and again.
#[derive(Debug, Default)]
pub struct Watch {
    seen: Vec<u64>,
    /// Times that one of them was as it had been.
    stuck: Vec<u32>,
}

impl Watch {
    /// Takes how often each thread has gone round. One that has not for so many times that this was asked is stuck. Times and
    /// not seconds: a box that stands still is no thread that does.
    pub fn goes_on(&mut self, turns: impl Iterator<Item = u64>, most: u32) -> bool {
        let turns: Vec<u64> = turns.collect();
        self.seen.resize(turns.len(), u64::MAX);
        self.stuck.resize(turns.len(), 0);
        for (thread, now) in turns.into_iter().enumerate() {
            let is_as_it_was = std::mem::replace(&mut self.seen[thread], now) == now;
            self.stuck[thread] = if is_as_it_was { self.stuck[thread] + 1 } else { 0 };
        }
        self.stuck.iter().all(|stuck| *stuck < most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_not_go_round_is_stuck() {
        let mut watch = Watch::default();
        for turn in 0..10 {
            assert!(watch.goes_on([turn, 7 + turn].into_iter(), 3), "{turn}");
        }
        // One goes on and the other does not.
        assert!(watch.goes_on([10, 16].into_iter(), 3));
        assert!(watch.goes_on([11, 16].into_iter(), 3));
        assert!(!watch.goes_on([12, 16].into_iter(), 3));
        assert!(watch.goes_on([13, 17].into_iter(), 3));
    }

    #[test]
    fn an_instant_since_boot_is_one_on_our_clock() {
        let s = Duration::from_secs;
        // The box has slept for 40 s, which one clock has not seen.
        assert_eq!(on_our_clock(s(90), s(100), s(60)), 50_000);
        assert_eq!(on_our_clock(s(100), s(100), s(60)), 60_000);
        // Before our clock began.
        assert_eq!(on_our_clock(s(10), s(100), s(60)), 0);
    }

    #[test]
    fn roles_are_by_address_and_the_active_one_has_it() {
        let (told, roles) = watch::channel(Roles::new());
        let none = none_of(&[("192.0.2.9".parse().unwrap(), 9)]);
        let mut by_router = BTreeMap::new();
        let mut hear = |router: &str, vrid: u8, role: Role, vips: &[&str]| {
            let vips = vips.iter().map(|vip| vip.parse().unwrap()).collect();
            let packet = written(&Told { router: router.to_owned(), vrid, role, since: 0, vips });
            super::hear(&packet, &mut by_router).unwrap();
            show(&none, &by_router, &told);
            let shown = roles.borrow();
            let of = |(vip, vrrp): (&IpAddr, &Vrrp)| {
                format!("{vip} {} {}", vrrp.vrid, vrrp.role.as_str())
            };
            let all: Vec<_> = shown.iter().map(of).collect();
            assert_eq!(all.last().unwrap(), "192.0.2.9 9 initialize", "nobody has told of it");
            all[..all.len() - 1].join(", ")
        };
        assert_eq!(hear("a", 1, Role::Backup, &["192.0.2.1"]), "192.0.2.1 1 backup");
        let both = "192.0.2.1 1 backup, 192.0.2.2 2 active";
        assert_eq!(hear("b", 2, Role::Active, &["192.0.2.2"]), both);
        // It has moved, and the one before is told of last.
        let moved = "192.0.2.1 2 active, 192.0.2.2 2 active";
        assert_eq!(hear("b", 2, Role::Active, &["192.0.2.2", "192.0.2.1"]), moved);
        assert_eq!(hear("a", 1, Role::Initialize, &["192.0.2.1"]), moved);
        assert_eq!(hear("b", 2, Role::Initialize, &[]), "192.0.2.1 1 initialize");
    }
}
