//! What goes wrong in one story, and when: drawn from its seed before it begins.
//!
//! A story has a beginning in which all starts and is well, then acts. In an act things fail one after the other; then
//! nothing more happens for a while, so that what must follow from a lasting failure can be asked for; then everything is
//! mended, and again nothing happens.

use std::time::Duration;

use crate::clock::{BEGINNING, ms, s};
use crate::dice::Dice;
use crate::earth::Shape;
use crate::network::{FAIR, Place, Weather};
use crate::watch::{APART, SETTLED};

/// Until then everything starts, and a name server takes nobody out.
const STARTING: Duration = s(13);
/// Things begin to fail within so long from the beginning of an act; what is brief ends up to 12 s after it, a name server
/// that starts twice up to 18 s, a standstill up to 21 s.
const FAILING: Duration = s(7);
/// For so long nothing happens after the last of it, and after everything was mended: longer than anything may take that
/// was promised (`watch::SETTLED`, and boards may be apart for some more), and 3 s in which it must be so.
const STILL: Duration = s(26);
const _: () = assert!(STILL.as_millis() >= SETTLED.as_millis() + APART.as_millis() + 3000);

/// Something that is done to somebody.
#[derive(Clone, Debug)]
pub enum Deed {
    PoolServer {
        site: usize,
        server: usize,
        answers: bool,
    },
    AgentKilled {
        at: usize,
    },
    /// Whether what it had on disk is gone.
    AgentStarts {
        at: usize,
        forgets: bool,
    },
    AgentStalls {
        at: usize,
        lasts: Duration,
    },
    Power {
        at: usize,
        is_on: bool,
    },
    RouterKilled {
        at: usize,
    },
    RouterStarts {
        at: usize,
    },
    RouterStalls {
        at: usize,
        lasts: Duration,
    },
    /// From one box of a pair to the other.
    Link {
        from: usize,
        is_cut: bool,
    },
    Cut {
        from: Place,
        to: Place,
    },
    Heal {
        from: Place,
        to: Place,
    },
    Isolated {
        place: Place,
        is_cut: bool,
    },
    /// It says of these sites that they are down, whatever it sees.
    Lies {
        vantage: usize,
        sites: u8,
    },
    VantageKilled {
        vantage: usize,
    },
    VantageStarts {
        vantage: usize,
        forgets: bool,
    },
    VantageStalls {
        vantage: usize,
        lasts: Duration,
    },
    ServerStops {
        server: usize,
        is_told: bool,
    },
    ServerStarts {
        server: usize,
        forgets: bool,
    },
    ServerStalls {
        server: usize,
        lasts: Duration,
    },
    Weather(Weather),
    Order {
        server: usize,
        order: &'static str,
        site: usize,
    },
    /// Everything is as it was before the act.
    Mend,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub shape: Shape,
    pub deeds: Vec<(Duration, Deed)>,
    pub end: Duration,
    /// The last deed, and the end of the last standstill.
    last: Duration,
    stalled_until: Duration,
}

impl Plan {
    pub fn drawn(dice: &mut Dice) -> Plan {
        let shape = Shape::drawn(dice);
        let (end, last, stalled_until) = (BEGINNING + STARTING, BEGINNING, BEGINNING);
        let mut plan = Plan { shape, deeds: vec![], end, last, stalled_until };
        for _ in 0..1 + usize::from(dice.percent(15)) {
            let begins = plan.end;
            for _ in 0..1 + dice.below(4) {
                let at = begins + dice.between(Duration::ZERO, FAILING);
                plan.fail(dice, at);
            }
            let mended = if dice.percent(60) {
                plan.last.max(plan.stalled_until) + STILL
            } else {
                plan.last + s(2)
            };
            plan.put(mended, Deed::Mend);
            plan.end = mended.max(plan.stalled_until) + STILL;
        }
        plan.deeds.sort_by_key(|(at, _)| *at);
        plan
    }

    fn put(&mut self, at: Duration, deed: Deed) {
        self.last = self.last.max(at);
        if let Deed::AgentStalls { lasts, .. }
        | Deed::RouterStalls { lasts, .. }
        | Deed::VantageStalls { lasts, .. }
        | Deed::ServerStalls { lasts, .. } = deed
        {
            self.stalled_until = self.stalled_until.max(at + lasts);
        }
        self.deeds.push((at, deed));
    }

    /// One thing that fails, for a moment or until everything is mended.
    fn fail(&mut self, dice: &mut Dice, at: Duration) {
        let Shape { servers, sites, domains, .. } = self.shape.clone();
        let (server, site) = (dice.below(servers), dice.below(sites));
        let vantage = dice.below(domains.len());
        let box_ = dice.below(2 * sites);
        // Of what lasts a moment.
        let later = at + dice.between(ms(100), s(5));
        let is_brief = dice.percent(40);
        let lasts = dice.between(ms(100), if is_brief { s(3) } else { s(14) });
        match dice.below(20) {
            0 => {
                let count = dice.one_of(&[1, 3, 3]);
                for server in 0..count {
                    self.put(at, Deed::PoolServer { site, server, answers: false });
                    if is_brief {
                        self.put(later, Deed::PoolServer { site, server, answers: true });
                    }
                }
            }
            1 => {
                self.put(at, Deed::AgentKilled { at: box_ });
                if is_brief {
                    let forgets = dice.percent(40);
                    self.put(later, Deed::AgentStarts { at: box_, forgets });
                }
            }
            2 => self.put(at, Deed::AgentStalls { at: box_, lasts }),
            3 => {
                self.put(at, Deed::Power { at: box_, is_on: false });
                if is_brief {
                    self.put(later, Deed::Power { at: box_, is_on: true });
                }
            }
            4 => {
                self.put(at, Deed::RouterKilled { at: box_ });
                if is_brief {
                    self.put(later, Deed::RouterStarts { at: box_ });
                }
            }
            5 => self.put(at, Deed::RouterStalls { at: box_, lasts }),
            6 => {
                let other = box_ ^ 1;
                let ways = if dice.percent(50) { vec![box_] } else { vec![box_, other] };
                for from in ways {
                    self.put(at, Deed::Link { from, is_cut: true });
                    if is_brief {
                        self.put(later, Deed::Link { from, is_cut: false });
                    }
                }
            }
            7 => {
                let place = Place::Site(site);
                self.put(at, Deed::Isolated { place, is_cut: true });
                if is_brief {
                    self.put(later, Deed::Isolated { place, is_cut: false });
                }
            }
            // Sites that vantages do not reach: of all of them, of one failure domain, or of one.
            8..=10 => {
                let whose = dice.below(3);
                let also = dice.percent(40).then_some((site + 1) % sites);
                let of = [Some(site), also];
                for site in of.into_iter().flatten() {
                    for other in 0..domains.len() {
                        let is_it = match whose {
                            0 => true,
                            1 => domains[other] == domains[vantage],
                            _ => other == vantage,
                        };
                        if is_it {
                            let ends = (Place::Site(site), Place::Vantage(other));
                            self.cut(dice, at, is_brief.then_some(later), ends);
                        }
                    }
                }
            }
            11 => {
                let ends = (Place::Site(site), Place::Server(server));
                self.cut(dice, at, is_brief.then_some(later), ends);
            }
            12 => {
                let place = Place::Vantage(vantage);
                self.put(at, Deed::Isolated { place, is_cut: true });
                if is_brief {
                    self.put(later, Deed::Isolated { place, is_cut: false });
                }
            }
            13 => {
                let sites = 1 + u8::try_from(dice.below(7)).expect("it is below 7");
                let also = dice.percent(50);
                for other in 0..domains.len() {
                    if other == vantage || also && domains[other] == domains[vantage] {
                        self.put(at, Deed::Lies { vantage: other, sites });
                        if is_brief {
                            self.put(later, Deed::Lies { vantage: other, sites: 0 });
                        }
                    }
                }
            }
            14 => match dice.below(3) {
                0 => self.put(at, Deed::VantageStalls { vantage, lasts }),
                _ => {
                    self.put(at, Deed::VantageKilled { vantage });
                    if is_brief {
                        let forgets = dice.percent(40);
                        self.put(later, Deed::VantageStarts { vantage, forgets });
                    }
                }
            },
            15 => {
                let ends = (Place::Vantage(vantage), Place::Server(server));
                self.cut(dice, at, is_brief.then_some(later), ends);
            }
            16 => {
                self.put(at, Deed::ServerStops { server, is_told: dice.percent(40) });
                if dice.percent(60) {
                    // What it was told before comes again, to a run that knows nothing of it.
                    let (twice, again) = (50, s(20));
                    let weather = Weather { twice, again, ..FAIR };
                    self.put(at.saturating_sub(s(6)).max(self.end), Deed::Weather(weather));
                }
                if dice.percent(80) {
                    let forgets = dice.percent(35);
                    self.put(later, Deed::ServerStarts { server, forgets });
                }
                if dice.percent(30) {
                    // And once more, soon after those who tell it have found it again.
                    let once_more = later + dice.between(s(1), s(5));
                    let starts = once_more + dice.between(ms(10), s(1));
                    self.put(once_more, Deed::ServerStops { server, is_told: false });
                    self.put(starts, Deed::ServerStarts { server, forgets: dice.percent(50) });
                }
            }
            17 => self.put(at, Deed::ServerStalls { server, lasts }),
            18 => {
                let other = Place::Server((server + 1) % servers);
                self.cut(dice, at, is_brief.then_some(later), (Place::Server(server), other));
            }
            _ => {
                let weather = Weather {
                    lost: dice.one_of(&[0, 2, 10, 30]),
                    least: ms(1),
                    most: dice.one_of(&[ms(60), ms(400), s(3), s(9)]),
                    twice: dice.one_of(&[0, 10, 50]),
                    again: dice.one_of(&[ms(100), s(5), s(20)]),
                };
                self.put(at, Deed::Weather(weather));
            }
        }
        // Operators have their hands in it, now and then two of them at once.
        if dice.percent(20) {
            let order = dice.one_of(&["drain", "undrain"]);
            self.put(at, Deed::Order { server, order, site });
            if dice.percent(50) {
                let order = dice.one_of(&["drain", "undrain"]);
                let at = at + dice.between(Duration::ZERO, s(2));
                self.put(at, Deed::Order { server: (server + 1) % servers, order, site });
            }
        }
    }

    /// Both ways or one.
    fn cut(
        &mut self,
        dice: &mut Dice,
        at: Duration,
        ends: Option<Duration>,
        (one, other): (Place, Place),
    ) {
        let ways = match dice.below(4) {
            0 => vec![(one, other)],
            1 => vec![(other, one)],
            _ => vec![(one, other), (other, one)],
        };
        for (from, to) in ways {
            self.put(at, Deed::Cut { from, to });
            if let Some(end) = ends {
                self.put(end, Deed::Heal { from, to });
            }
        }
    }
}
