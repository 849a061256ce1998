//! The client of a pair: asks its address every millisecond, and keeps who answered when.

use std::mem;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::lock::Mutex;
use gslb_tests::netns::Namespace;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use super::duty::{Duty, wait_for};
use super::post::PORT;
use crate::clock;

/// Octets of a question: its number.
pub const QUESTION: usize = 8;
const EVERY: Duration = Duration::from_millis(1);
/// Who was kept from asking for longer than this does not make up for it with a burst.
const LATE: Duration = Duration::from_millis(5);
/// Answers of seconds, for a machine on which we do not get to read them.
const BUFFER: usize = 8 << 20;

/// Of a pair: who leads while all is well, and who has to take over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    Leader,
    Standby,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer {
    pub at: Instant,
    pub by: Side,
}

pub struct Client {
    heard: Arc<Mutex<Heard>>,
    _duty: Duty,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Count {
    pub asked: u64,
    pub answered: u64,
}

struct Heard {
    /// Of the latest question.
    number: u64,
    /// Of the first that counts.
    from: u64,
    count: Count,
    /// Since they were last forgotten, in order.
    answers: Vec<Answer>,
    is_asking: bool,
}

impl Side {
    pub fn octet(self) -> u8 {
        match self {
            Side::Leader => 1,
            Side::Standby => 2,
        }
    }

    fn of_octet(octet: u8) -> Option<Side> {
        [Side::Leader, Side::Standby].into_iter().find(|side| side.octet() == octet)
    }
}

impl Client {
    pub fn start(machine: &Namespace, vip: Ipv4Addr) -> anyhow::Result<Client> {
        let heard =
            Heard { number: 0, from: 1, count: Count::default(), answers: vec![], is_asking: true };
        let heard = Arc::new(Mutex::new(heard));
        let told = Arc::clone(&heard);
        let duty = Duty::begin(machine, move || {
            // Not connected: boxes answer from addresses of their own.
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.set_nonblocking(true)?;
            set_socket_recv_buffer_size_force(&socket, BUFFER)?;
            let mut due = clock::now();
            Ok(move || {
                let now = clock::now();
                if now >= due {
                    due = if now > due + LATE { now } else { due } + EVERY;
                    let question = told.lock().question();
                    // What cannot be sent is asked, and not answered.
                    let _ = question.map(|question| socket.send_to(&question, (vip, PORT)));
                }
                wait_for(&socket, due.saturating_duration_since(clock::now()));
                let mut packet = [0; QUESTION + 2];
                while let Ok((length, _)) = socket.recv_from(&mut packet) {
                    let at = clock::now();
                    told.lock().hear(&packet[..length], at);
                }
            })
        })?;
        Ok(Client { heard, _duty: duty })
    }

    pub fn count(&self) -> Count {
        self.heard.lock().count
    }

    /// From the next question on; answers to others do not count.
    pub fn count_anew(&self) {
        let mut heard = self.heard.lock();
        (heard.from, heard.count) = (heard.number + 1, Count::default());
    }

    pub fn stop_asking(&self) {
        self.heard.lock().is_asking = false;
    }

    pub fn answers(&self) -> Vec<Answer> {
        self.heard.lock().answers.clone()
    }

    /// They are forgotten here.
    pub fn take_answers(&self) -> Vec<Answer> {
        mem::take(&mut self.heard.lock().answers)
    }

    /// Of those that were not forgotten, the first of that side from then on.
    pub fn first(&self, by: Side, from: Instant) -> Option<Instant> {
        let heard = self.heard.lock();
        let behind = heard.answers.partition_point(|answer| answer.at < from);
        heard.answers[behind..].iter().find(|answer| answer.by == by).map(|answer| answer.at)
    }

    /// The last of all.
    pub fn last(&self) -> Option<Answer> {
        self.heard.lock().answers.last().copied()
    }
}

impl Heard {
    fn question(&mut self) -> Option<[u8; QUESTION]> {
        if !self.is_asking {
            return None;
        }
        self.number += 1;
        self.count.asked += 1;
        Some(self.number.to_be_bytes())
    }

    fn hear(&mut self, packet: &[u8], at: Instant) {
        let Some((number, [side])) = packet.split_first_chunk::<QUESTION>() else { return };
        let Some(by) = Side::of_octet(*side) else { return };
        self.count.answered += u64::from(u64::from_be_bytes(*number) >= self.from);
        self.answers.push(Answer { at, by });
    }
}

/// The longest time from one moment to another in which no answer came.
pub fn silence(answers: &[Answer], from: Instant, to: Instant) -> Duration {
    let within = answers.iter().map(|answer| answer.at).filter(|at| (from..to).contains(at));
    let (mut longest, mut last) = (Duration::ZERO, from);
    for at in within.chain([to]) {
        longest = longest.max(at.saturating_duration_since(last));
        last = at;
    }
    longest
}

/// For how long, from then on, the standby still answered beside the leader.
pub fn mixed(answers: &[Answer], from: Instant) -> Duration {
    let of = |side| answers.iter().filter(move |answer| answer.at >= from && answer.by == side);
    let first = of(Side::Leader).next();
    let last = of(Side::Standby).next_back();
    match (first, last) {
        (Some(first), Some(last)) => last.at.saturating_duration_since(first.at),
        (Some(_) | None, _) => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A letter for each millisecond: who answered, if anybody.
    fn answers(zero: Instant, text: &str) -> Vec<Answer> {
        let at = |(number, letter): (usize, char)| {
            let at = zero + ms(number as u64);
            match letter {
                'a' => Some(Answer { at, by: Side::Leader }),
                'b' => Some(Answer { at, by: Side::Standby }),
                _ => None,
            }
        };
        text.chars().enumerate().filter_map(at).collect()
    }

    #[test]
    fn what_was_asked_before_it_is_counted_anew_does_not_count() {
        let counted = |asked, answered| Count { asked, answered };
        let mut heard =
            Heard { number: 0, from: 1, count: Count::default(), answers: vec![], is_asking: true };
        let question = |heard: &mut Heard| heard.question().unwrap();
        let answer = |question: [u8; QUESTION]| [&question[..], &[1]].concat();
        let early = question(&mut heard);
        (heard.from, heard.count) = (heard.number + 1, Count::default());
        let (one, _lost) = (question(&mut heard), question(&mut heard));
        for packet in [answer(early), answer(one), early.to_vec(), [answer(one), vec![1]].concat()]
        {
            heard.hear(&packet, clock::now());
        }
        assert_eq!(heard.count, counted(2, 1));
        assert_eq!(heard.answers.len(), 2);
        heard.is_asking = false;
        assert_eq!((heard.question(), heard.count), (None, counted(2, 1)));
    }

    #[test]
    fn silence_is_the_longest_time_without_an_answer() {
        let zero = clock::now();
        let check = |text: &str, expected: u64| {
            let (from, to) = (zero + ms(2), zero + ms(10));
            assert_eq!(silence(&answers(zero, text), from, to), ms(expected), "{text}");
        };
        check("aaaaaaaaaaaa", 1);
        check("aaaa....bbbb", 5);
        check("..a.........", 8);
        check("............", 8);
        check("aa........bb", 8);
        check(".....a..a...", 3);
    }

    #[test]
    fn answers_are_mixed_while_the_standby_answers_beside_the_leader() {
        let zero = clock::now();
        let check = |text: &str, expected: u64| {
            assert_eq!(mixed(&answers(zero, text), zero + ms(2)), ms(expected), "{text}");
        };
        check("bbbbbb", 0);
        check("bbbbaaaa", 0);
        check("abbbaaaa", 0);
        check("bbbababaa", 3);
        check("bbba....b", 5);
    }
}
