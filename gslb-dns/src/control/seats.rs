//! Who is connected, as whom, and who must leave for a new one. Decides only: told the time, it never asks for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use common::principal::{Kind, Principal};
use rustls::pki_types::CertificateDer;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Limits;

/// All connections. There are a thousand, so who leaves is found by looking at each.
#[derive(Debug)]
pub struct Seats {
    connections: usize,
    connections_per_principal: usize,
    handshakes: usize,
    idle: std::time::Duration,
    next: u64,
    taken: HashMap<SeatId, Taken>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SeatId(u64);

#[derive(Debug)]
struct Taken {
    /// `None` while hands are shaken.
    peer: Option<Peer>,
    /// Requests under way, and since when there are none.
    under_way: usize,
    quiet_since: Instant,
    leave: oneshot::Sender<Closing>,
}

/// Whose certificate was shown.
#[derive(Clone, Debug)]
pub struct Peer {
    pub principal: Arc<Principal>,
    pub certificate: CertificateDer<'static>,
    /// Unix time, in seconds.
    pub not_after: i64,
}

/// Why we end a connection. The variants are metric labels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Closing {
    /// Nothing was asked for too long.
    Idle,
    /// Too many hands were being shaken, and these for the longest.
    Crowded,
    /// There were too many, and it was quiet the longest.
    Full,
    /// The same of its principal.
    PrincipalFull,
    Revoked,
    Expired,
}

impl Closing {
    pub fn as_str(self) -> &'static str {
        match self {
            Closing::Idle => "idle",
            Closing::Crowded => "crowded",
            Closing::Full => "full",
            Closing::PrincipalFull => "principal_full",
            Closing::Revoked => "revoked",
            Closing::Expired => "expired",
        }
    }
}

impl Seats {
    pub fn new(limits: &Limits) -> Seats {
        Seats {
            connections: limits.connections,
            connections_per_principal: limits.connections_per_principal,
            handshakes: limits.handshakes,
            idle: limits.idle,
            next: 0,
            taken: HashMap::new(),
        }
    }

    pub fn open(&self) -> usize {
        self.taken.len()
    }

    /// Takes in a stranger. Whoever is known never leaves for one.
    pub fn admit(&mut self, now: Instant) -> (SeatId, oneshot::Receiver<Closing>) {
        let strangers = || self.taken.iter().filter(|(_, taken)| taken.peer.is_none());
        if strangers().count() >= self.handshakes {
            // They have come in the order of their numbers.
            let oldest = strangers().map(|(id, _)| *id).min();
            self.close(oldest, Closing::Crowded);
        }
        let id = SeatId(self.next);
        self.next += 1;
        let (leave, leaves) = oneshot::channel();
        self.taken.insert(id, Taken { peer: None, under_way: 0, quiet_since: now, leave });
        (id, leaves)
    }

    /// A stranger has shown who it is; another may have to leave for it.
    pub fn name(&mut self, id: SeatId, peer: Peer, now: Instant) {
        let known = || self.taken.iter().filter(|(_, taken)| taken.peer.is_some());
        let own = || {
            let is_own = |taken: &Taken| {
                taken.peer.as_ref().is_some_and(|other| other.principal == peer.principal)
            };
            known().filter(move |(_, taken)| is_own(taken))
        };
        // Who has its share makes room itself, so it never costs another's connection.
        if own().count() >= self.connections_per_principal {
            let quietest = quietest(own(), now);
            self.close(quietest, Closing::PrincipalFull);
        } else if known().count() >= self.connections {
            let quietest = quietest(known(), now);
            self.close(quietest, Closing::Full);
        }
        if let Some(taken) = self.taken.get_mut(&id) {
            taken.peer = Some(peer);
            taken.quiet_since = now;
        }
    }

    pub fn begin(&mut self, id: SeatId) {
        if let Some(taken) = self.taken.get_mut(&id) {
            taken.under_way += 1;
        }
    }

    pub fn end(&mut self, id: SeatId, now: Instant) {
        if let Some(taken) = self.taken.get_mut(&id) {
            taken.under_way = taken.under_way.saturating_sub(1);
            taken.quiet_since = now;
        }
    }

    /// When it will have been quiet for too long, as far as is known now.
    pub fn closes_at(&self, id: SeatId, now: Instant) -> Instant {
        self.taken.get(&id).map_or(now, |taken| taken.quiet_since(now) + self.idle)
    }

    /// A connection has ended; nothing happens if it was told to.
    pub fn leave(&mut self, id: SeatId) {
        self.taken.remove(&id);
    }

    /// Ends the connections of those whom there is a reason against; who they are.
    pub fn close_those(
        &mut self,
        against: impl Fn(&Peer) -> Option<Closing>,
    ) -> Vec<(Arc<Principal>, Closing)> {
        let found: Vec<(SeatId, Arc<Principal>, Closing)> = self
            .taken
            .iter()
            .filter_map(|(id, taken)| {
                let peer = taken.peer.as_ref()?;
                Some((*id, Arc::clone(&peer.principal), against(peer)?))
            })
            .collect();
        let end = |(id, principal, closing)| {
            self.close(Some(id), closing);
            (principal, closing)
        };
        found.into_iter().map(end).collect()
    }

    /// Until when the certificates of a cluster's probes hold that are connected: of each the newest.
    pub fn probes_until(&self, cluster: &str) -> BTreeMap<Box<str>, i64> {
        let mut until = BTreeMap::new();
        for peer in self.taken.values().filter_map(|taken| taken.peer.as_ref()) {
            let Principal { cluster: of, kind, name } = &*peer.principal;
            if &**of == cluster && *kind == Kind::Probe {
                let newest = until.entry(name.clone()).or_insert(peer.not_after);
                *newest = peer.not_after.max(*newest);
            }
        }
        until
    }

    fn close(&mut self, id: Option<SeatId>, closing: Closing) {
        if let Some(taken) = id.and_then(|id| self.taken.remove(&id)) {
            // It may have ended by itself meanwhile.
            let _ = taken.leave.send(closing);
        }
    }
}

impl Taken {
    fn quiet_since(&self, now: Instant) -> Instant {
        if self.under_way > 0 { now } else { self.quiet_since }
    }
}

fn quietest<'t>(
    taken: impl Iterator<Item = (&'t SeatId, &'t Taken)>,
    now: Instant,
) -> Option<SeatId> {
    taken.map(|(id, taken)| (taken.quiet_since(now), *id)).min().map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Plays events, a second each, with 2 handshakes, 4 connections and 2 of each principal; compares who left and
    /// why. `+a1` comes, `=a1` shows that it is `a`, `?a1` asks, `(a1` and `)a1` begin and end a request, `-a1` goes.
    fn story(events: &str, expected: &str) {
        let limits =
            Limits { connections: 4, connections_per_principal: 2, handshakes: 2, ..Limits::OURS };
        let mut seats = Seats::new(&limits);
        let begin = Instant::now();
        let mut here: Vec<(String, SeatId, oneshot::Receiver<Closing>)> = vec![];
        let mut left = vec![];
        for (second, event) in events.split_whitespace().enumerate() {
            let now = begin + Duration::from_secs(second as u64);
            let (does, who) = event.split_at(1);
            let id = here.iter().find(|(name, ..)| name == who).map(|(_, id, _)| *id);
            match does {
                "+" => {
                    let (id, leaves) = seats.admit(now);
                    here.push((who.to_owned(), id, leaves));
                }
                "=" => seats.name(id.unwrap(), peer(&who[..1]), now),
                "?" => {
                    seats.begin(id.unwrap());
                    seats.end(id.unwrap(), now);
                }
                "(" => seats.begin(id.unwrap()),
                ")" => seats.end(id.unwrap(), now),
                "-" => seats.leave(id.unwrap()),
                other => panic!("{other}"),
            }
            for (name, _, leaves) in &mut here {
                if let Ok(closing) = leaves.try_recv() {
                    left.push(format!("{name} {}", closing.as_str()));
                }
            }
            assert!(seats.open() <= 4 + 2, "{event}");
        }
        assert_eq!(left.join(", "), expected, "{events}");
    }

    fn peer(name: &str) -> Peer {
        let principal = Principal::new("test", Kind::Probe, name).unwrap();
        Peer { principal: Arc::new(principal), certificate: vec![].into(), not_after: 7 }
    }

    #[test]
    fn who_leaves_is_who_costs_the_least() {
        story("+a1 +b1", "");
        story("+a1 +b1 +c1", "a1 crowded");
        story("+a1 =a1 +b1 +c1 +d1", "b1 crowded"); // Whoever is known stays.
        story("+a1 =a1 +a2 =a2", "");
        story("+a1 =a1 +a2 =a2 +a3 =a3", "a1 principal_full");
        story("+a1 =a1 +a2 =a2 ?a1 +a3 =a3", "a2 principal_full");
        story("+a1 =a1 +a2 =a2 (a1 +b1 =b1 +a3 =a3", "a2 principal_full");
        story("+a1 =a1 (a1 +a2 =a2 )a1 +a3 =a3", "a2 principal_full");
        story("+a1 =a1 +a2 =a2 -a1 +a3 =a3", "");
        let four = "+a1 =a1 +b1 =b1 +c1 =c1 +d1 =d1";
        story(four, "");
        story(&format!("{four} +e1 =e1"), "a1 full");
        story(&format!("{four} ?a1 +e1 =e1"), "b1 full");
        story(&format!("{four} +e1 +f1"), "");
        // Its own share first: nobody else's connection.
        story("+a1 =a1 +b1 =b1 +b2 =b2 +c1 =c1 +b3 =b3", "b1 principal_full");
    }

    #[test]
    fn those_whom_something_is_against_are_closed() {
        let mut seats = Seats::new(&Limits::OURS);
        let now = Instant::now();
        let mut come = |name: &str| {
            let (id, leaves) = seats.admit(now);
            seats.name(id, peer(name), now);
            leaves
        };
        let (mut a, mut b) = (come("a"), come("b"));
        let _stranger = seats.admit(now);
        let against = |peer: &Peer| (&*peer.principal.name == "a").then_some(Closing::Revoked);
        let closed = seats.close_those(against);
        assert_eq!(closed, [(peer("a").principal, Closing::Revoked)]);
        assert_eq!((a.try_recv().ok(), b.try_recv().ok()), (Some(Closing::Revoked), None));
        assert_eq!(seats.open(), 2);
        assert_eq!(seats.probes_until("test"), BTreeMap::from([("b".into(), 7)]));
        assert_eq!(seats.probes_until("other"), BTreeMap::new());
    }

    #[test]
    fn a_connection_is_quiet_while_nothing_is_under_way() {
        let mut seats = Seats::new(&Limits::OURS);
        let begin = Instant::now();
        let later = begin + Duration::from_secs(100);
        let idle = Limits::OURS.idle;
        let (id, _leaves) = seats.admit(begin);
        assert_eq!(seats.closes_at(id, later), begin + idle);
        seats.begin(id);
        assert_eq!(seats.closes_at(id, later), later + idle);
        seats.begin(id);
        seats.end(id, later);
        assert_eq!(seats.closes_at(id, later), later + idle);
        seats.end(id, later);
        assert_eq!(seats.closes_at(id, later + idle), later + idle);
    }
}
