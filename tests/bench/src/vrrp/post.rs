//! What we have on each box: it answers the client, whatever address it asks at, and sees each millisecond whether the
//! box has the pair's address.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::lock::Mutex;
use gslb_tests::netns::Namespace;

use super::client::{QUESTION, Side};
use super::duty::{Duty, wait_for};
use crate::clock;

/// echo (RFC 862), but that the answer is one octet longer: who gave it.
pub const PORT: u16 = 7;
const LOOK: Duration = Duration::from_millis(1);

pub struct Post {
    stays: Arc<Mutex<Stays>>,
    _duty: Duty,
}

/// When a box had the address, as far as looks tell: in order, and the last one may not be over.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stays(Vec<Stay>);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stay {
    from: Instant,
    until: Option<Instant>,
}

impl Post {
    pub fn start(machine: &Namespace, side: Side, vip: Ipv4Addr) -> anyhow::Result<Post> {
        let stays = Arc::new(Mutex::new(Stays::default()));
        let seen = Arc::clone(&stays);
        let duty = Duty::begin(machine, move || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
            socket.set_nonblocking(true)?;
            let mut looks_at = clock::now();
            Ok(move || {
                wait_for(&socket, LOOK);
                answer(&socket, side);
                let now = clock::now();
                if now >= looks_at {
                    looks_at = now + LOOK;
                    // Nobody can bind an address that the machine does not have.
                    let has = UdpSocket::bind((vip, 0)).is_ok();
                    seen.lock().see(has, now);
                }
            })
        })?;
        Ok(Post { stays, _duty: duty })
    }

    pub fn has(&self) -> bool {
        self.stays.lock().last().is_some_and(|stay| stay.until.is_none())
    }

    pub fn stays(&self) -> Stays {
        self.stays.lock().clone()
    }

    /// All that is over.
    pub fn forget(&self) {
        self.stays.lock().0.retain(|stay| stay.until.is_none());
    }
}

fn answer(socket: &UdpSocket, side: Side) {
    let mut packet = [0; QUESTION + 1];
    while let Ok((QUESTION, from)) = socket.recv_from(&mut packet) {
        packet[QUESTION] = side.octet();
        // What cannot be sent is missed by whoever asked.
        let _ = socket.send_to(&packet, from);
    }
}

impl Stays {
    fn last(&self) -> Option<&Stay> {
        self.0.last()
    }

    fn see(&mut self, has: bool, now: Instant) {
        match (self.0.last_mut(), has) {
            (Some(Stay { until: None, .. }), true) => {}
            (Some(Stay { until: Some(_), .. }) | None, false) => {}
            (Some(Stay { until: Some(_), .. }) | None, true) => {
                self.0.push(Stay { from: now, until: None });
            }
            (Some(Stay { until: until @ None, .. }), false) => *until = Some(now),
        }
    }

    /// When the address went, if it is not there.
    pub fn over_since(&self) -> Option<Instant> {
        self.last().and_then(|stay| stay.until)
    }

    /// For how long at a time both had it, from then to now.
    pub fn longest_with(&self, other: &Stays, from: Instant, now: Instant) -> Duration {
        let pairs = self.0.iter().flat_map(|one| other.0.iter().map(move |other| (one, other)));
        let both = pairs.map(|(one, other)| {
            let begin = one.from.max(other.from).max(from);
            let end = one.until.unwrap_or(now).min(other.until.unwrap_or(now)).min(now);
            end.saturating_duration_since(begin)
        });
        both.max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// `10..20 30..` had it from 10 ms to 20 ms and has it since 30 ms.
    fn stays(zero: Instant, text: &str) -> Stays {
        let at = |ms: &str| ms.parse().ok().map(|ms| zero + Duration::from_millis(ms));
        let stay = |text: &str| {
            let (from, until) = text.split_once("..").unwrap();
            Stay { from: at(from).unwrap(), until: at(until) }
        };
        Stays(text.split_whitespace().map(stay).collect())
    }

    #[test]
    fn stays_are_made_of_looks() {
        let zero = clock::now();
        let check = |looks: &str, expected: &str| {
            let mut seen = Stays::default();
            for (number, look) in looks.chars().enumerate() {
                seen.see(look == '+', zero + ms(number as u64));
            }
            assert_eq!(seen, stays(zero, expected), "{looks}");
        };
        check("", "");
        check("--", "");
        check("++", "0..");
        check("-++-", "1..3");
        check("+-++--+", "0..1 2..4 6..");
    }

    #[test]
    fn both_have_it_for_as_long_as_their_longest_stay_together() {
        let zero = clock::now();
        let check = |one: &str, other: &str, expected: u64| {
            let (one, other) = (stays(zero, one), stays(zero, other));
            let (from, now) = (zero + ms(100), zero + ms(1000));
            assert_eq!(one.longest_with(&other, from, now), ms(expected), "{one:?} {other:?}");
            assert_eq!(other.longest_with(&one, from, now), ms(expected), "{one:?} {other:?}");
        };
        check("0..", "", 0);
        check("0..50", "0..50", 0);
        check("0..200", "200..300", 0);
        check("0..200", "190..300", 10);
        check("0..", "50..130", 30);
        check("0..", "900..", 100);
        check("200..205 300..", "0..310", 10);
    }

    #[test]
    fn an_address_that_is_there_is_not_over() {
        let zero = clock::now();
        assert_eq!(stays(zero, "").over_since(), None);
        assert_eq!(stays(zero, "10..20 30..").over_since(), None);
        assert_eq!(stays(zero, "10..20").over_since(), Some(zero + ms(20)));
    }
}
