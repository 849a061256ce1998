//! What was promised, looked at after whatever a name server or a router does, and from time to time: routers each 0.1 s,
//! orders and what is so in time each 0.5 s, what is believed each 5 s.
//!
//! took ─▶ ear (what each name server was told, in the producers' own words) ─▶ boards (1, 5), calm (3, 4, in time)
//! pairs (8), orders (9). Nothing here asks the rooms that decide why they decided.

mod boards;
mod calm;
mod ear;
mod orders;
mod pairs;

use std::time::Duration;

use crate::clock::{BEGINNING, ms, s};
use crate::earth::Shape;
use crate::network::Network;
use crate::run::Stage;
use crate::story::Story;

use self::ear::Ear;
use self::orders::Orders;
use self::pairs::Pair;

/// After so long without anything that happens to anybody, all must be as it then is: a connection is given up after 7 s
/// and dialed again within 5 s and a moment; what a lease held is forgotten after 10 s; who starts takes nobody out for
/// 10 s, and hears the first report before; two looks of 2 s and a time-out, or two checks and a takeover, come on top.
pub const SETTLED: Duration = s(20);
/// A connection that was cut or reset is there again after this: given up, waited for, dialed.
pub const CONNECTED: Duration = s(13);
/// The board of one may be behind the other's by a report, its way, and a turn.
pub const APART: Duration = s(3);
/// An order is in force at every name server that reaches the one that was told (promise 9).
pub const IN_FORCE: Duration = ms(2000);
/// For what is on the way in fair weather, there and back.
pub const UNDER_WAY: Duration = ms(300);
/// Findings of one story: after the first the others say little.
const MOST: usize = 20;

/// What is promised, and by which number in the design.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Promise {
    /// 1: no client is left without an answer.
    AlwaysAnswers,
    /// 1: silence takes nobody out.
    SilenceIsNotDown,
    /// 3, 4: who hears the same has the same board.
    SameBoard,
    /// 5: one failure domain takes nobody out.
    NoMinority,
    /// 5: probes alone take out so much at most.
    MostRemoved,
    /// A site that is dead for all is down in time.
    DownInTime,
    /// One that serves all is up again in time.
    BackInTime,
    /// 8: two routers that hear each other do not both lead.
    OneLeads,
    /// 8: one leads while one can.
    SomebodyLeads,
    /// 8: who leads no more has no address.
    AddressesEnd,
    /// 9: an order is in force everywhere.
    OrdersEverywhere,
    /// 9: and never forgotten.
    OrdersStay,
    /// 9: of two the later stamp holds.
    OrdersByStamp,
    /// What is believed of a producer is what it said.
    BelievedAsSaid,
    /// What a producer says is heard in time.
    HeardInTime,
    /// Nothing panics.
    NoPanic,
}

impl Promise {
    pub const ALL: [Promise; 16] = [
        Promise::AlwaysAnswers,
        Promise::SilenceIsNotDown,
        Promise::SameBoard,
        Promise::NoMinority,
        Promise::MostRemoved,
        Promise::DownInTime,
        Promise::BackInTime,
        Promise::OneLeads,
        Promise::SomebodyLeads,
        Promise::AddressesEnd,
        Promise::OrdersEverywhere,
        Promise::OrdersStay,
        Promise::OrdersByStamp,
        Promise::BelievedAsSaid,
        Promise::HeardInTime,
        Promise::NoPanic,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Promise::AlwaysAnswers => "1_always_answers",
            Promise::SilenceIsNotDown => "1_silence_is_not_down",
            Promise::SameBoard => "4_same_board",
            Promise::NoMinority => "5_no_minority",
            Promise::MostRemoved => "5_most_removed",
            Promise::DownInTime => "down_in_time",
            Promise::BackInTime => "back_in_time",
            Promise::OneLeads => "8_one_leads",
            Promise::SomebodyLeads => "8_somebody_leads",
            Promise::AddressesEnd => "8_addresses_end",
            Promise::OrdersEverywhere => "9_orders_everywhere",
            Promise::OrdersStay => "9_orders_stay",
            Promise::OrdersByStamp => "9_orders_by_stamp",
            Promise::BelievedAsSaid => "believed_as_said",
            Promise::HeardInTime => "heard_in_time",
            Promise::NoPanic => "no_panic",
        }
    }
}

/// A promise that was not kept.
#[derive(Clone, Debug)]
pub struct Finding {
    pub promise: Promise,
    pub at: Duration,
    pub what: String,
}

/// How often each promise was really asked: it could have been broken then.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked([u64; Promise::ALL.len()]);

impl Asked {
    pub fn of(&self, promise: Promise) -> u64 {
        self.0[promise as usize]
    }

    pub fn add(&mut self, promise: Promise) {
        self.0[promise as usize] += 1;
    }

    pub fn join(&mut self, other: &Asked) {
        self.0.iter_mut().zip(other.0).for_each(|(one, other)| *one += other);
    }
}

/// Where findings go: once each while it lasts.
pub struct Findings<'a> {
    now: Duration,
    found: &'a mut Vec<Finding>,
    asked: &'a mut Asked,
    story: &'a mut Story,
}

impl Findings<'_> {
    /// A promise is asked.
    pub fn hold(&mut self, promise: Promise, is_kept: bool, what: impl FnOnce() -> String) {
        self.asked.add(promise);
        if !is_kept {
            self.find(promise, what);
        }
    }

    fn find(&mut self, promise: Promise, what: impl FnOnce() -> String) {
        let is_known = |one: &Finding| one.promise == promise && one.at + s(5) > self.now;
        if self.found.len() >= MOST || self.found.iter().any(is_known) {
            return;
        }
        let what = what();
        self.story.tell(self.now, format_args!("!! {}: {what}", promise.as_str()));
        self.found.push(Finding { promise, at: self.now, what });
    }
}

pub struct Watch {
    ears: Vec<Ear>,
    pairs: Vec<Pair>,
    orders: Orders,
    /// When something last happened to anybody.
    stirred: Duration,
    /// By pair of name servers: since when their boards differ.
    apart: Vec<Option<Duration>>,
    looks: u64,
    pub boards: u64,
    pub findings: Vec<Finding>,
    pub asked: Asked,
}

impl Watch {
    pub fn new(shape: &Shape) -> Watch {
        let ear = |_| Ear::new(shape);
        Watch {
            ears: (0..shape.servers).map(ear).collect(),
            pairs: vec![Pair::default(); shape.sites],
            orders: Orders::new(shape.servers),
            stirred: BEGINNING,
            apart: vec![None; shape.servers * shape.servers],
            looks: 0,
            boards: 0,
            findings: vec![],
            asked: Asked::default(),
        }
    }

    /// Something happened to somebody, now or (a standstill's end) then.
    pub fn stirred(&mut self, at: Duration) {
        self.stirred = self.stirred.max(at);
    }

    /// It stands still until then.
    pub fn server_stalls(&mut self, server: usize, at: Duration) {
        self.orders.unsteady(server, at);
    }

    /// Something was done to a pair, now or (a standstill's end) then.
    pub fn disturbed(&mut self, site: usize, at: Duration) {
        self.pairs[site].disturbed(at);
    }

    pub fn stopped(&mut self, now: Duration, server: usize, is_told: bool) {
        self.ears[server].stopped(now, is_told);
    }

    pub fn started(&mut self, server: usize, forgets: bool) {
        self.ears[server].started(forgets);
        self.orders.started(server, forgets);
    }

    pub fn ordered(
        &mut self,
        now: Duration,
        server: usize,
        id: Option<String>,
        order: &'static str,
        site: usize,
    ) {
        self.orders.ordered(now, server, id, order, site);
    }

    /// Looks at one name server that has done something, or at everything.
    pub fn look(&mut self, now: Duration, stage: &Stage, server: Option<usize>, story: &mut Story) {
        let findings =
            &mut Findings { now, found: &mut self.findings, asked: &mut self.asked, story };
        for number in 0..stage.servers.len() {
            if server.is_some_and(|server| server != number) {
                continue;
            }
            let one = &stage.servers[number];
            let ear = &mut self.ears[number];
            if ear.is_told(one) {
                ear.hear(stage, one);
                let older = ear.older.take();
                findings.hold(Promise::BelievedAsSaid, older.is_none(), || {
                    format!("{}: {}", one.name, older.unwrap_or_default())
                });
            }
            // When nobody has done anything, nobody has judged anything.
            if server.is_some() {
                ear.remember(now);
            }
            if let Some(snapshot) = one.snapshot() {
                self.boards += u64::from(boards::look(now, one, &snapshot, ear, findings));
            }
        }
        if server.is_some() {
            return;
        }
        self.looks += 1;
        for (site, pair) in self.pairs.iter_mut().enumerate() {
            pair.look(now, stage, site, findings);
        }
        if !self.looks.is_multiple_of(5) {
            return;
        }
        self.orders.look(now, stage, findings);
        if self.looks.is_multiple_of(50) {
            for (server, ear) in stage.servers.iter().zip(&self.ears) {
                calm::believed(now, stage, server, ear, findings);
            }
        }
        let calm = now >= self.stirred + SETTLED && is_fair(&stage.network);
        if calm {
            for (server, ear) in stage.servers.iter().zip(&self.ears) {
                calm::in_time(now, stage, server, ear, findings);
            }
            calm::same(now, stage, &mut self.apart, findings);
        } else {
            self.apart.fill(None);
        }
    }

    pub fn look_at_pair(&mut self, now: Duration, stage: &Stage, site: usize, story: &mut Story) {
        let findings =
            &mut Findings { now, found: &mut self.findings, asked: &mut self.asked, story };
        self.pairs[site].look(now, stage, site, findings);
    }
}

/// Nothing is lost, and nothing is long on its way.
pub fn is_fair(network: &Network) -> bool {
    network.weather.lost == 0 && network.weather.most <= ms(400)
}
