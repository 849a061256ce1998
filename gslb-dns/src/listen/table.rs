//! Who is connected, who was idle the longest, and who must leave for a new one.
//!
//! Decides only: `connections` holds the lock and the clock's word is brought to it. Pure.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Instant;

/// Connections in all and for each client, and since when each has asked nothing.
pub struct Table {
    most: usize,
    most_per_client: usize,
    next: u64,
    seats: HashMap<ConnectionId, Taken>,
    queue: Queue,
    by_client: HashMap<Client, Queue>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnectionId(u64);

/// Why we closed a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Eviction {
    /// It asked nothing for too long.
    Idle,
    /// It began a query and did not finish it, or did not take its answers.
    Slow,
    /// Its TLS handshake was not over in time.
    Handshake,
    /// There were too many, or the system had no room for more, and it was the idlest.
    Full,
    /// Its client had too many, and it was the idlest of them.
    ClientFull,
}

#[derive(Debug, Eq, PartialEq)]
pub struct Admitted {
    pub id: ConnectionId,
    pub instead_of: Option<(ConnectionId, Eviction)>,
}

/// Whose connections are counted together: an IPv4 address, or an IPv6 /64, which is what one host is
/// given.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Client {
    V4([u8; 4]),
    V6([u8; 8]),
}

#[derive(Clone, Copy)]
struct Taken {
    /// `None` while a proxy has not told yet whose it is.
    client: Option<Client>,
    quiet_since: Instant,
}

/// Idlest first.
type Queue = BTreeSet<(Instant, ConnectionId)>;

impl Table {
    /// Both limits are at least 1.
    pub fn new(most: usize, most_per_client: usize) -> Table {
        Table {
            most,
            most_per_client,
            next: 0,
            seats: HashMap::new(),
            queue: Queue::new(),
            by_client: HashMap::new(),
        }
    }

    /// Takes in a new connection, for which the idlest may have to leave.
    pub fn admit(&mut self, address: IpAddr, now: Instant) -> Admitted {
        let client = Client::of(address);
        // A client that has its share makes room itself, so it never costs another's connection.
        let instead_of = match self.by_client.get(&client) {
            Some(own) if own.len() >= self.most_per_client => {
                own.first().map(|&(_, id)| (id, Eviction::ClientFull))
            }
            Some(_) | None if self.queue.len() >= self.most => {
                self.idlest().map(|id| (id, Eviction::Full))
            }
            Some(_) | None => None,
        };
        self.seat(Some(client), instead_of, now)
    }

    /// The same for one whose client will be told: until then only the limit for all counts.
    pub fn admit_unnamed(&mut self, now: Instant) -> Admitted {
        let is_full = self.queue.len() >= self.most;
        let instead_of = self.idlest().filter(|_| is_full).map(|id| (id, Eviction::Full));
        self.seat(None, instead_of, now)
    }

    fn seat(
        &mut self,
        client: Option<Client>,
        instead_of: Option<(ConnectionId, Eviction)>,
        now: Instant,
    ) -> Admitted {
        if let Some((id, _)) = instead_of {
            self.remove(id);
        }
        let id = ConnectionId(self.next);
        self.next += 1;
        self.insert(id, Taken { client, quiet_since: now });
        Admitted { id, instead_of }
    }

    /// Whose a connection is that was admitted unnamed; another of that client may have to leave for it.
    pub fn name(&mut self, id: ConnectionId, address: IpAddr) -> Option<(ConnectionId, Eviction)> {
        let taken = self.remove(id)?; // `None`: it has left meanwhile.
        let client = Client::of(address);
        let own = self.by_client.get(&client).filter(|own| own.len() >= self.most_per_client);
        let gone = own.and_then(|own| own.first()).map(|&(_, id)| id);
        if let Some(gone) = gone {
            self.remove(gone);
        }
        self.insert(id, Taken { client: Some(client), ..taken });
        gone.map(|gone| (gone, Eviction::ClientFull))
    }

    /// A connection has asked a whole query.
    pub fn asked(&mut self, id: ConnectionId, now: Instant) {
        if let Some(taken) = self.remove(id) {
            self.insert(id, Taken { quiet_since: now, ..taken });
        }
    }

    /// A connection has ended; nothing happens if it has left before.
    pub fn leave(&mut self, id: ConnectionId) {
        self.remove(id);
    }

    /// The connection that has asked nothing the longest.
    pub fn idlest(&self) -> Option<ConnectionId> {
        self.queue.first().map(|&(_, id)| id)
    }

    fn insert(&mut self, id: ConnectionId, taken: Taken) {
        self.seats.insert(id, taken);
        self.queue.insert((taken.quiet_since, id));
        if let Some(client) = taken.client {
            self.by_client.entry(client).or_default().insert((taken.quiet_since, id));
        }
    }

    fn remove(&mut self, id: ConnectionId) -> Option<Taken> {
        let taken = self.seats.remove(&id)?;
        self.queue.remove(&(taken.quiet_since, id));
        if let Some(client) = taken.client
            && let Some(own) = self.by_client.get_mut(&client)
        {
            own.remove(&(taken.quiet_since, id));
            if own.is_empty() {
                self.by_client.remove(&client);
            }
        }
        Some(taken)
    }
}

impl Client {
    fn of(address: IpAddr) -> Client {
        match address {
            IpAddr::V4(address) => Client::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Client::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl Eviction {
    /// As metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Eviction::Idle => "idle",
            Eviction::Slow => "slow",
            Eviction::Handshake => "handshake",
            Eviction::Full => "full",
            Eviction::ClientFull => "client_full",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// Plays events, a millisecond each, against a table of 4 in all and 2 for each client, and
    /// compares who left for whom. A connection is its client's letter and a digit.
    fn story(events: &str, expected: &str) {
        let mut now = start();
        let mut table = Table::new(4, 2);
        let mut names: Vec<(&str, ConnectionId)> = Vec::new();
        let mut told = Vec::new();
        for event in events.split(" | ") {
            now += Duration::from_millis(1);
            let (name, what) = event.split_once(' ').unwrap();
            let id =
                |names: &[(&str, ConnectionId)]| names.iter().find(|of| of.0 == name).unwrap().1;
            match what {
                "connects" => {
                    let admitted = table.admit(address(name.as_bytes()[0]), now);
                    names.push((name, admitted.id));
                    if let Some((gone, eviction)) = admitted.instead_of {
                        let gone = names.iter().find(|of| of.1 == gone).unwrap().0;
                        told.push(format!("{gone} for {name}: {}", eviction.as_str()));
                    }
                }
                "comes by a proxy" => {
                    let admitted = table.admit_unnamed(now);
                    names.push((name, admitted.id));
                    if let Some((gone, eviction)) = admitted.instead_of {
                        let gone = names.iter().find(|of| of.1 == gone).unwrap().0;
                        told.push(format!("{gone} for {name}: {}", eviction.as_str()));
                    }
                }
                "is named" => {
                    let address = address(name.as_bytes()[0]);
                    if let Some((gone, eviction)) = table.name(id(&names), address) {
                        let gone = names.iter().find(|of| of.1 == gone).unwrap().0;
                        told.push(format!("{gone} for {name}: {}", eviction.as_str()));
                    }
                }
                "asks" => table.asked(id(&names), now),
                "leaves" => table.leave(id(&names)),
                other => panic!("no event is called {other}"),
            }
        }
        assert_eq!(told.join(" | "), expected, "{events}");
    }

    fn address(letter: u8) -> IpAddr {
        [192, 0, 2, letter].into()
    }

    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn the_idlest_leaves_for_a_new_one() {
        story("a1 connects | b1 connects | c1 connects | d1 connects", "");
        story(
            "a1 connects | b1 connects | c1 connects | d1 connects | e1 connects",
            "a1 for e1: full",
        );
        story(
            "a1 connects | b1 connects | c1 connects | d1 connects | a1 asks | e1 connects | f1 connects",
            "b1 for e1: full | c1 for f1: full",
        );
        story(
            "a1 connects | b1 connects | c1 connects | d1 connects | c1 leaves | e1 connects",
            "",
        );
    }

    #[test]
    fn a_client_that_has_its_share_makes_room_itself() {
        story("a1 connects | a2 connects | a3 connects", "a1 for a3: client_full");
        story("a1 connects | a2 connects | a1 asks | a3 connects", "a2 for a3: client_full");
        story("a1 connects | a2 connects | a2 leaves | a3 connects", "");
        // Both limits are reached: the client's own counts.
        story(
            "b1 connects | c1 connects | a1 connects | a2 connects | a3 connects",
            "a1 for a3: client_full",
        );
    }

    #[test]
    fn who_comes_by_a_proxy_counts_once_he_is_named() {
        let three = "a1 comes by a proxy | a2 comes by a proxy | a3 comes by a proxy";
        story(three, "");
        story(&format!("{three} | a1 is named | a2 is named"), "");
        let named = format!("{three} | a1 is named | a2 is named | a3 is named");
        story(&named, "a1 for a3: client_full");
        story(&format!("a0 connects | {named}"), "a0 for a2: client_full | a1 for a3: client_full");
        story(&format!("{three} | b1 connects | c1 connects"), "a1 for c1: full");
        story(&format!("{three} | b1 connects | c1 comes by a proxy"), "a1 for c1: full");
        // It has left meanwhile.
        story(&format!("{three} | b1 connects | c1 connects | a1 is named"), "a1 for c1: full");
    }

    #[test]
    fn what_has_left_comes_back_by_no_event() {
        story(
            "a1 connects | a2 connects | a3 connects | a1 asks | a1 leaves | a4 connects",
            "a1 for a3: client_full | a2 for a4: client_full",
        );
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_64() {
        let check = |a: &str, b: &str, same| {
            let [a, b] = [a, b].map(|text| Client::of(text.parse().unwrap()));
            assert_eq!(a == b, same, "{a:?} {b:?}");
        };
        check("192.0.2.1", "192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
        check("2001:db8::1", "2001:db8::ffff:0:0:1", true);
        check("2001:db8::1", "2001:db8:0:1::1", false);
        check("::", "0.0.0.0", false);
    }

    proptest! {
        #[test]
        fn limits_hold_and_the_idlest_goes(
            events in prop::collection::vec((0..3u8, 0..4u8, 0..64usize), 1..200),
        ) {
            let mut now = start();
            let mut table = Table::new(4, 2);
            // The same by hand: client, last query, id; in no order.
            let mut seated: Vec<(u8, Instant, ConnectionId)> = Vec::new();
            for (event, client, whose) in events {
                now += Duration::from_millis(1);
                match (event, seated.len()) {
                    (0, _) => {
                        let Admitted { id, instead_of } = table.admit(address(client), now);
                        if let Some((gone, why)) = instead_of {
                            let rivals = |of: &&(u8, Instant, ConnectionId)| {
                                why == Eviction::Full || of.0 == client
                            };
                            let idlest = seated.iter().filter(rivals).min_by_key(|of| of.1);
                            prop_assert_eq!(idlest.map(|of| of.2), Some(gone));
                            seated.retain(|of| of.2 != gone);
                        }
                        seated.push((client, now, id));
                    }
                    (_, 0) => {}
                    (1, seats) => {
                        let seat = &mut seated[whose % seats];
                        seat.1 = now;
                        table.asked(seat.2, now);
                    }
                    (_, seats) => table.leave(seated.swap_remove(whose % seats).2),
                }
                prop_assert!(seated.len() <= 4);
                for client in 0..4 {
                    prop_assert!(seated.iter().filter(|of| of.0 == client).count() <= 2);
                }
                let idlest = seated.iter().min_by_key(|of| of.1).map(|of| of.2);
                prop_assert_eq!(table.idlest(), idlest);
            }
        }
    }
}
