//! The thread: what it waits for, and whom it tells.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwap;
use common::clock;
use rustix::event::epoll::{self, CreateFlags, Event as Ready, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::sync::{mpsc, oneshot};

use super::adverts::LONGEST;
use super::ground::Ground;
use super::router::{Router, needs};
use super::shown::Shown;
use super::tell::{Said, Tell};
use crate::site::VirtualRouter;
use crate::vrrp::machine::event::{Event, Lease, TrackResult};
use crate::vrrp::machine::settings::TrackId;
use crate::vrrp::packet::{Family, Refusal, read};

/// Packets of a socket that are read in one turn: a flood does not keep an Active router from its adverts.
const MOST_AT_ONCE: usize = 1024;
/// After a boot that is no longer ago than this a link may not pass anything yet, for so long.
const BOOTING: Duration = Duration::from_secs(60);
const SETTLING: Duration = Duration::from_secs(5);

/// The virtual routers, to whoever started them. Dropped, they go on until the process ends.
pub struct Running {
    orders: Orders,
    thread: JoinHandle<()>,
    /// By name.
    pub shown: Arc<ArcSwap<Vec<Arc<Shown>>>>,
    /// For the log.
    pub said: mpsc::Receiver<Said>,
    /// What did not fit there.
    pub lost: Arc<AtomicU64>,
}

/// Where orders are given. All clones give them to the same virtual routers.
#[derive(Clone)]
pub struct Orders {
    to: Sender<Order>,
    wake: Arc<OwnedFd>,
}

enum Order {
    /// Another router may be Active, and is to stay so; or that is taken back.
    Yield {
        router: String,
        event: Event,
        done: oneshot::Sender<Result<(), Refused>>,
    },
    Adopt(Vec<VirtualRouter>),
    /// Whether a balancer of this box serves.
    Lease(Lease),
    Tracked {
        router: Arc<str>,
        track: TrackId,
        result: TrackResult,
    },
    Stop,
}

/// Why an order is not carried out.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    #[error("there is no virtual router {0:?}")]
    Unknown(String),
    #[error("the virtual routers have ended")]
    Ended,
}

impl Running {
    pub fn start(routers: Vec<VirtualRouter>) -> io::Result<Running> {
        let (orders, ordered) = channel();
        let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let shown = Arc::new(ArcSwap::from_pointee(vec![]));
        let (tell, said, lost) = Tell::new();
        let mut turns = Turns::new(ordered, Arc::clone(&wake), Arc::clone(&shown), tell)?;
        turns.start(routers)?;
        let thread = thread::Builder::new().name("vrrp".to_owned()).spawn(move || turns.run())?;
        Ok(Running { orders: Orders { to: orders, wake }, thread, shown, said, lost })
    }

    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Whether the thread has ended, which it does when it is told to or has panicked.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Has all of them resign and give their addresses back. What is left to be told comes with it.
    pub fn stop(self) -> (thread::Result<()>, mpsc::Receiver<Said>) {
        self.orders.give(Order::Stop);
        (self.thread.join(), self.said)
    }
}

impl Orders {
    fn give(&self, order: Order) {
        // Who has ended needs no order, and whoever waits for an answer is told by that.
        let _ = self.to.send(order);
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
    }

    /// Has another router lead, if there is one, until nobody else does or it is taken back.
    pub async fn hand_over(&self, router: &str) -> Result<(), Refused> {
        self.yields(router, Event::HandOver).await
    }

    pub async fn take_back(&self, router: &str) -> Result<(), Refused> {
        self.yields(router, Event::TakeBack).await
    }

    async fn yields(&self, router: &str, event: Event) -> Result<(), Refused> {
        let (done, answer) = oneshot::channel();
        self.give(Order::Yield { router: router.to_owned(), event, done });
        answer.await.unwrap_or(Err(Refused::Ended))
    }

    /// Goes on by another config: who is the same there is left alone.
    pub fn adopt(&self, routers: Vec<VirtualRouter>) {
        self.give(Order::Adopt(routers));
    }

    /// Whether a balancer of this box serves: nobody does, until this says otherwise.
    pub fn lease(&self, lease: Lease) {
        self.give(Order::Lease(lease));
    }

    /// What was seen of something that a virtual router watches.
    pub fn tracked(&self, router: Arc<str>, track: TrackId, result: TrackResult) {
        self.give(Order::Tracked { router, track, result });
    }
}

/// What is ready, as the kernel gives it back.
const NEWS: u64 = 0;
const WAKE: u64 = 1;
const TIMER: u64 = 2;
/// Of an interface at that place, behind what was said of it: its sockets.
const SOCKETS: u64 = 3;

struct Turns {
    ground: Ground,
    /// By name.
    routers: Vec<Router>,
    orders: Receiver<Order>,
    wake: Arc<OwnedFd>,
    epoll: OwnedFd,
    timer: OwnedFd,
    /// What was last heard of balancers, for virtual routers to come.
    lease: Lease,
    /// When the timer was last set for.
    set_for: Option<Duration>,
    shown: Arc<ArcSwap<Vec<Arc<Shown>>>>,
    tell: Tell,
    buffer: Box<[u8]>,
    is_running: bool,
}

impl Turns {
    fn new(
        orders: Receiver<Order>,
        wake: Arc<OwnedFd>,
        shown: Arc<ArcSwap<Vec<Arc<Shown>>>>,
        tell: Tell,
    ) -> io::Result<Turns> {
        let ground = Ground::open()?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        add(&epoll, ground.kernel.news(), NEWS)?;
        add(&epoll, &*wake, WAKE)?;
        add(&epoll, &timer, TIMER)?;
        Ok(Turns {
            ground,
            routers: vec![],
            orders,
            wake,
            epoll,
            timer,
            lease: Lease::Lost,
            set_for: None,
            shown,
            tell,
            buffer: vec![0; LONGEST].into(),
            is_running: true,
        })
    }

    fn start(&mut self, routers: Vec<VirtualRouter>) -> io::Result<()> {
        for config in routers {
            self.routers.push(Router::new(Arc::new(config), &mut self.ground));
        }
        self.ground.look(clock::since_boot())?;
        self.look();
        for place in 0..self.routers.len() {
            self.begin(place);
        }
        self.show();
        Ok(())
    }

    fn begin(&mut self, place: usize) {
        let settle = match clock::since_boot() < BOOTING {
            true => SETTLING,
            false => Duration::ZERO,
        };
        let Turns { routers, ground, tell, lease, .. } = self;
        routers[place].on_event(Event::Lease(*lease), ground, tell);
        routers[place].on_event(Event::Startup { settle }, ground, tell);
    }

    fn show(&self) {
        let shown = self.routers.iter().map(|router| Arc::clone(&router.shown)).collect();
        self.shown.store(Arc::new(shown));
    }

    fn run(mut self) {
        while self.is_running {
            self.set_timer();
            self.wait(None);
            self.hear();
            self.receive();
            self.obey();
            self.tick();
        }
        for router in &mut self.routers {
            router.on_event(Event::Shutdown, &mut self.ground, &mut self.tell);
        }
    }

    /// Until something is ready, or for so long. Whether anything is; what it is, the sockets say.
    fn wait(&mut self, at_most: Option<&Timespec>) -> bool {
        let mut ready = [Ready { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 16];
        match epoll::wait(&self.epoll, &mut ready[..], at_most) {
            Ok(count) => {
                let mut number = [0; 8];
                let of_timer = |ready: &Ready| ready.data.u64() == TIMER;
                let of_wake = |ready: &Ready| ready.data.u64() == WAKE;
                let ready = &ready[..count];
                if ready.iter().any(of_timer) {
                    // It was for then, and is set anew.
                    let _ = rustix::io::read(&self.timer, &mut number);
                    self.set_for = None;
                }
                if ready.iter().any(of_wake) {
                    let _ = rustix::io::read(&*self.wake, &mut number);
                }
                ready.iter().any(|ready| ready.data.u64() != TIMER)
            }
            // A signal; whatever is ready is so the next time.
            Err(_) => false,
        }
    }

    /// By a clock that goes on while the box sleeps.
    fn set_timer(&mut self) {
        let due = self.routers.iter().filter_map(|router| router.machine.next_wakeup());
        let next = due.chain(self.ground.again_at).min();
        if next == self.set_for {
            return;
        }
        // A timer that is set to 0 never ends.
        let at = next.map(|at| at.max(Duration::from_nanos(1)));
        let time = |at: Duration| Timespec {
            tv_sec: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: at.subsec_nanos().into(),
        };
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Itimerspec { it_interval: zero, it_value: at.map_or(zero, time) };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &value)
            .expect("it is a timer, and the time is none that cannot be");
        self.set_for = next;
    }

    /// The kernel's news.
    fn hear(&mut self) {
        if let Err(error) = self.ground.hear(clock::since_boot()) {
            self.tell.say(Said::Deaf(error));
        }
        self.look();
    }

    /// What has become of interfaces, for who is on them.
    fn look(&mut self) {
        if !self.ground.interfaces.iter().any(|interface| interface.has_changed) {
            return;
        }
        let vips = |router: &Router| router.config.vips.iter().map(|vip| vip.address).collect();
        let taken: Vec<IpAddr> =
            self.routers.iter().flat_map(vips as fn(&Router) -> Vec<_>).collect();
        for place in 0..self.ground.interfaces.len() {
            let interface = &mut self.ground.interfaces[place];
            if !std::mem::take(&mut interface.has_changed) {
                continue;
            }
            let (epoll, token, lacked) =
                (&self.epoll, SOCKETS + place as u64, interface.lacks_a_socket);
            if let Err(error) = interface.open(|socket| add(epoll, socket, token)) {
                if !lacked {
                    let interface = Arc::clone(&interface.name);
                    self.tell.say(Said::NoSockets { interface, error });
                }
                self.ground.tries_again(clock::since_boot());
            }
            for router in self.routers.iter_mut().filter(|router| router.place == place) {
                router.look(&mut self.ground, &taken, &mut self.tell);
            }
        }
        for router in &mut self.routers {
            router.watch(&mut self.ground, &mut self.tell);
        }
    }

    /// Packets, of all sockets.
    fn receive(&mut self) {
        for place in 0..self.ground.interfaces.len() {
            for family in [Family::V4, Family::V6] {
                for _ in 0..MOST_AT_ONCE {
                    if !self.receive_one(place, family) {
                        break;
                    }
                }
            }
            self.see_witnesses(place);
        }
    }

    fn receive_one(&mut self, place: usize, family: Family) -> bool {
        let Turns { ground, routers, buffer, tell, .. } = self;
        let sockets = ground.interfaces[place].sockets.as_ref();
        let Some(socket) = sockets.and_then(|sockets| sockets.of(family)) else { return false };
        let Some(received) = socket.receive(buffer) else { return false };
        // What names no virtual router of ours is told of at each of the interface.
        let refuse = |routers: &[Router], refusal: &Refusal| {
            let here = |router: &&Router| router.place == place && router.config.family == family;
            routers.iter().filter(here).for_each(|router| router.refuse(refusal));
        };
        match received {
            Ok((envelope, octets)) => match read(&envelope.ends, octets) {
                Ok(advert) => {
                    let mut ours = routers.iter_mut();
                    match ours.find(|router| router.is_for(place, family, &advert)) {
                        Some(router) => router.hear(&envelope, &advert, ground, tell),
                        None => refuse(routers, &Refusal::Vrid { got: advert.vrid.get() }),
                    }
                }
                Err(refusal) => refuse(routers, &refusal),
            },
            Err(refusal) => refuse(routers, &refusal),
        }
        true
    }

    fn see_witnesses(&mut self, place: usize) {
        let Turns { ground, routers, buffer, tell, .. } = self;
        let interface = &ground.interfaces[place];
        let frames = interface.sockets.as_ref().and_then(|sockets| sockets.frames.as_ref());
        let Some((frames, _)) = frames.filter(|_| interface.needs.witnesses) else { return };
        frames.senders(buffer, |sender, _| {
            for router in routers.iter_mut().filter(|router| router.place == place) {
                router.see(sender);
            }
        });
        // Seen once or often is the same.
        for router in routers.iter_mut().filter(|router| router.place == place) {
            if router.has_seen_a_witness() {
                router.on_event(Event::Witnessed, ground, tell);
            }
        }
    }

    fn obey(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Stop => self.is_running = false,
                Order::Adopt(routers) => self.adopt(routers),
                Order::Lease(lease) => {
                    self.lease = lease;
                    let Turns { routers, ground, tell, .. } = self;
                    for router in routers {
                        router.on_event(Event::Lease(lease), ground, tell);
                    }
                }
                Order::Tracked { router, track, result } => {
                    let Turns { routers, ground, tell, .. } = self;
                    // One that a reload has taken out watches nothing.
                    let known = routers.iter_mut().find(|known| known.config.name == router);
                    if let Some(known) = known {
                        known.on_event(Event::Tracked { track, result }, ground, tell);
                    }
                }
                Order::Yield { router: name, event, done } => {
                    let Turns { routers, ground, tell, .. } = self;
                    let known = routers.iter_mut().find(|router| *router.config.name == *name);
                    let obeyed = match known {
                        Some(router) => {
                            router.on_event(event, ground, tell);
                            Ok(())
                        }
                        None => Err(Refused::Unknown(name)),
                    };
                    // Whoever asked may have gone.
                    let _ = done.send(obeyed);
                }
            }
        }
    }

    fn adopt(&mut self, configs: Vec<VirtualRouter>) {
        let mut before = std::mem::take(&mut self.routers);
        let mut after = vec![];
        for config in configs {
            let known = before.iter().position(|router| is_same(&router.config, &config));
            after.push((known.map(|place| before.swap_remove(place)), Arc::new(config)));
        }
        // Who goes gives its addresses back before anybody else has them, and says so by sockets that it has.
        for mut router in before {
            router.on_event(Event::Shutdown, &mut self.ground, &mut self.tell);
        }
        for (router, config) in &mut after {
            if let Some(router) = router {
                router.let_go(config, &mut self.ground, &mut self.tell);
            }
            self.ground.place(&config.interface, needs(config));
        }
        if self.ground.misses_one()
            && let Err(error) = self.ground.look(clock::since_boot())
        {
            self.tell.say(Said::Deaf(error));
        }
        // Whoever announces an address does so by sockets that are open.
        self.look();
        let mut begins = vec![];
        for (router, config) in after {
            match router {
                Some(mut router) => {
                    if router.config != config {
                        router.adopt(config, &mut self.ground, &mut self.tell);
                        // It may need now what it did not, and is told how that is.
                        let lease = Event::Lease(self.lease);
                        router.on_event(lease, &mut self.ground, &mut self.tell);
                    }
                    self.routers.push(router);
                }
                None => {
                    begins.push(self.routers.len());
                    self.routers.push(Router::new(config, &mut self.ground));
                }
            }
        }
        // Another config may see another thing in what was looked at.
        for interface in &mut self.ground.interfaces {
            interface.has_changed = true;
        }
        self.look();
        for place in begins {
            self.begin(place);
        }
        self.show();
    }

    fn tick(&mut self) {
        let now = clock::since_boot();
        if self.ground.again_at.is_some_and(|at| now >= at) {
            self.hear();
        }
        if !self.routers.iter().any(|router| router.is_due(now)) {
            return;
        }
        // What has come in between is heard first.
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        if self.wait(Some(&zero)) {
            self.hear();
            self.receive();
            self.obey();
        }
        let Turns { routers, ground, tell, .. } = self;
        for router in routers.iter_mut().filter(|router| router.is_due(now)) {
            router.on_event(Event::Tick, ground, tell);
        }
    }
}

/// Whether a config is of the virtual router that runs: then it goes on, whatever else is another.
fn is_same(running: &VirtualRouter, config: &VirtualRouter) -> bool {
    let of = |router: &VirtualRouter| {
        (router.name.clone(), router.interface.clone(), router.vrid, router.family, router.version)
    };
    of(running) == of(config)
}

fn add(epoll: &OwnedFd, what: impl AsFd, token: u64) -> io::Result<()> {
    Ok(epoll::add(epoll, what, EventData::new_u64(token), EventFlags::IN)?)
}
