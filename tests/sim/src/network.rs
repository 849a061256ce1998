//! Who reaches whom, and what becomes of what is sent: lost, late, twice, out of order.

use std::sync::Arc;
use std::time::Duration;

use common::report::{Mark, Reply};
use gslb_dns::peers::page::Known;

use crate::clock::{Event, Queue, ms};
use crate::dice::Dice;

/// Where somebody is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    Server(usize),
    Vantage(usize),
    Site(usize),
    /// What vantages look at to know whether they see.
    References,
}

/// Who is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    Producer(usize),
    Server(usize),
}

#[derive(Clone, Debug)]
pub struct Envelope {
    pub from: End,
    pub to: End,
    /// Of the one who asked, by which it knows the answer.
    pub exchange: u64,
    pub message: Message,
}

/// What is said over a connection, and what its being there or not comes to.
#[derive(Clone, Debug)]
pub enum Message {
    Dial,
    Welcome,
    /// Nobody listens there, or whoever did is gone.
    Reset,
    Report(Arc<[u8]>, Mark),
    Answer(Reply),
    AskAssignment,
    Assignment(Arc<[u8]>),
    AskPage(Known),
    Page(Vec<u8>),
}

/// How it is between all places.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Of a hundred.
    pub lost: u32,
    pub least: Duration,
    pub most: Duration,
    /// Of a hundred that come, so many come again, this much later at most.
    pub twice: u32,
    pub again: Duration,
}

pub const FAIR: Weather =
    Weather { lost: 0, least: ms(5), most: ms(60), twice: 0, again: Duration::ZERO };

#[derive(Debug)]
pub struct Network {
    places: [usize; 3],
    /// How many cuts there are from one place to another.
    cuts: Vec<u8>,
    /// Since when nothing has changed between two, whatever the direction.
    since: Vec<Duration>,
    pub weather: Weather,
    dice: Dice,
}

impl Network {
    pub fn new(servers: usize, vantages: usize, sites: usize, dice: Dice) -> Network {
        let all = servers + vantages + sites + 1;
        Network {
            places: [servers, vantages, sites],
            cuts: vec![0; all * all],
            since: vec![Duration::ZERO; all * all],
            weather: FAIR,
            dice,
        }
    }

    fn number(&self, place: Place) -> usize {
        let [servers, vantages, sites] = self.places;
        match place {
            Place::Server(number) => number,
            Place::Vantage(number) => servers + number,
            Place::Site(number) => servers + vantages + number,
            Place::References => servers + vantages + sites,
        }
    }

    fn all(&self) -> usize {
        self.places.iter().sum::<usize>() + 1
    }

    fn way(&self, from: usize, to: usize) -> usize {
        from * self.all() + to
    }

    pub fn reaches(&self, from: Place, to: Place) -> bool {
        self.cuts[self.way(self.number(from), self.number(to))] == 0
    }

    /// Both ways.
    pub fn is_whole(&self, one: Place, other: Place) -> bool {
        self.reaches(one, other) && self.reaches(other, one)
    }

    /// Since when that is so, or is not.
    pub fn since(&self, one: Place, other: Place) -> Duration {
        let (one, other) = (self.number(one), self.number(other));
        self.since[self.way(one, other)].max(self.since[self.way(other, one)])
    }

    pub fn cut(&mut self, now: Duration, from: Place, to: Place) {
        self.change(now, self.number(from), self.number(to), true);
    }

    pub fn heal(&mut self, now: Duration, from: Place, to: Place) {
        self.change(now, self.number(from), self.number(to), false);
    }

    /// From and to everybody.
    pub fn isolate(&mut self, now: Duration, place: Place, is_cut: bool) {
        let number = self.number(place);
        for other in (0..self.all()).filter(|other| *other != number) {
            self.change(now, number, other, is_cut);
            self.change(now, other, number, is_cut);
        }
    }

    fn change(&mut self, now: Duration, from: usize, to: usize, is_cut: bool) {
        let way = self.way(from, to);
        let cuts = &mut self.cuts[way];
        *cuts = if is_cut { cuts.saturating_add(1) } else { cuts.saturating_sub(1) };
        self.since[way] = now;
    }

    /// Nothing is in the way any more.
    pub fn mend(&mut self, now: Duration) {
        for (cuts, since) in self.cuts.iter_mut().zip(&mut self.since) {
            if *cuts > 0 {
                (*cuts, *since) = (0, now);
            }
        }
        self.weather = FAIR;
    }

    /// What is sent now, from one place to another.
    pub fn send(&mut self, queue: &mut Queue, (from, to): (Place, Place), envelope: Envelope) {
        let Weather { lost, least, most, twice, again } = self.weather;
        let (is_lost, wait) = (self.dice.percent(lost), self.dice.between(least, most));
        if is_lost || !self.reaches(from, to) {
            return;
        }
        // Only what a machine in between may send again by itself: what is asked, and that whole.
        let may_repeat = matches!(envelope.message, Message::Report(..));
        if may_repeat && self.dice.percent(twice) {
            let later = wait + self.dice.between(Duration::ZERO, again);
            queue.after(later, Event::Arrives(envelope.clone()));
        }
        queue.after(wait, Event::Arrives(envelope));
    }
}
