//! Who asks most, and for what, over UDP: each thread counts a sample of its queries in memory of a fixed size.
//!
//! listen ─▶ counter ─▶ window, every few seconds ─▶ history (gather) ─▶ report ─▶ admin
//!
//! One query of sixteen is counted, for the network that it came from and for a name of ours that it asked for. At the
//! end of its time a window goes to the history whole, and an empty one comes back: neither side waits for the other,
//! and nothing is allocated. Pure: the time comes in.

mod asked;
mod history;
mod report;
mod space_saving;

use std::fmt;
use std::hash::BuildHasher as _;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::fast::FixedState;
use rtrb::{Consumer, Producer, RingBuffer};

use crate::answer::Answer;
use crate::name::NameKey;
use crate::query::{Rcode, peek_name};
use crate::zone::Zones;

pub use self::asked::Asked;
pub use self::history::History;
pub use self::report::{Report, Span, Talker};
pub use self::space_saving::{Held, SpaceSaving};

/// One query of so many is counted. One is drawn of each sixteen in a row, so who asks f times is counted f/16 times,
/// give or take the root of that.
pub const SAMPLED: u32 = 16;
/// Networks in a window, and names: whoever sends more than one query of 256 is among them.
pub const TALKERS: usize = 256;
/// Seconds that a window is counted in.
pub const WINDOW: u64 = 5;
/// Windows of each thread: the one it counts in, and two on their way. The history fetches them each second.
const WINDOWS: usize = 3;

/// A client's network: an IPv4 /24 or an IPv6 /56, as far as one user or one resolver's machines commonly reach.
/// By the address that sent the datagram: what a query says of whom it is asked for (ECS) anybody can make up.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Network {
    V4([u8; 3]),
    V6([u8; 7]),
}

/// What became of a query.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// NXDOMAIN, REFUSED and whatever else is not NOERROR.
    pub is_error: bool,
    /// Over the limit: dropped, cut or told to bring a cookie.
    pub is_limited: bool,
}

/// What one thread has counted for a while.
pub struct Window {
    /// Since 1970, in `WINDOW`s.
    number: u64,
    clients: SpaceSaving<Network>,
    names: SpaceSaving<Asked>,
    /// Windows before it that nobody fetched in time.
    lost: u32,
}

/// One thread's counter.
pub struct Counter {
    dice: FixedState,
    /// Queries before the next one that is counted.
    skip: u32,
    /// Sixteens begun, and where in the last one its query stands.
    sixteens: u64,
    place: u32,
    window: Box<Window>,
    full: Producer<Box<Window>>,
    empty: Consumer<Box<Window>>,
    /// Room for a name.
    name: NameKey,
}

/// Where a thread's windows come out.
pub struct Outlet {
    full: Consumer<Box<Window>>,
    empty: Producer<Box<Window>>,
}

/// A counter at `now`, in seconds since 1970. `seed` must be random: who knew it could ask between the samples.
pub fn counter(seed: [u8; 8], now: u64) -> (Counter, Outlet) {
    let seed = u64::from_ne_bytes(seed);
    let (full, out) = RingBuffer::new(WINDOWS);
    let (mut back, empty) = RingBuffer::new(WINDOWS);
    for _ in 1..WINDOWS {
        // There is room for all.
        let _ = back.push(Box::new(Window::new(seed)));
    }
    let mut counter = Counter {
        dice: FixedState::with_seed(seed),
        skip: 0,
        sixteens: 0,
        place: 0,
        window: Box::new(Window::new(seed)),
        full,
        empty,
        name: NameKey::ROOT,
    };
    counter.window.number = now / WINDOW;
    counter.skip = counter.draw();
    counter.place = counter.skip;
    (counter, Outlet { full: out, empty: back })
}

impl Counter {
    /// Whether the query at hand is one that is counted.
    pub fn is_due(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        let next = self.draw();
        self.skip = SAMPLED - 1 - self.place + next;
        self.place = next;
        true
    }

    /// Counts a query that is due.
    pub fn count(&mut self, zones: &Zones, client: IpAddr, query: &[u8], outcome: Outcome) {
        self.window.clients.count(&Network::of(client), outcome);
        if peek_name(query, &mut self.name) {
            self.window.names.count(&Asked::of(zones, &self.name), outcome);
        }
    }

    /// Hands the window over if its time has passed at `now`, in seconds since 1970.
    pub fn hand_over(&mut self, now: u64) {
        let number = now / WINDOW;
        if self.window.number == number {
            return;
        }
        if self.window.clients.total() > 0 {
            match self.empty.pop() {
                Ok(empty) => {
                    let full = mem::replace(&mut self.window, empty);
                    // There is room for all.
                    let _ = self.full.push(full);
                }
                // The history has not come by: this one's room is needed.
                Err(_) => {
                    let lost = self.window.lost + 1;
                    self.window.clear();
                    self.window.lost = lost;
                }
            }
        }
        self.window.number = number;
    }

    fn draw(&mut self) -> u32 {
        self.sixteens += 1;
        self.dice.hash_one(self.sixteens) as u32 % SAMPLED
    }
}

impl Window {
    fn new(seed: u64) -> Window {
        let nobody = Network::V4([0; 3]);
        Window {
            number: 0,
            clients: SpaceSaving::new(TALKERS, nobody, seed),
            names: SpaceSaving::new(TALKERS, Asked::ELSEWHERE, seed),
            lost: 0,
        }
    }

    fn clear(&mut self) {
        self.clients.clear();
        self.names.clear();
        self.lost = 0;
    }
}

impl Network {
    pub fn of(address: IpAddr) -> Network {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [first, second, third, _] = v4.octets();
                Network::V4([first, second, third])
            }
            IpAddr::V6(v6) => {
                let mut network = [0; 7];
                network.copy_from_slice(&v6.octets()[..7]);
                Network::V6(network)
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Network::V4([first, second, third]) => {
                write!(f, "{}/24", Ipv4Addr::new(*first, *second, *third, 0))
            }
            Network::V6(network) => {
                let mut octets = [0; 16];
                octets[..7].copy_from_slice(network);
                write!(f, "{}/56", Ipv6Addr::from(octets))
            }
        }
    }
}

impl Outcome {
    pub fn of(answer: &Answer) -> Outcome {
        Outcome { is_error: answer.rcode != Rcode::NoError, is_limited: answer.limited.is_some() }
    }
}

#[cfg(test)]
mod tests;
