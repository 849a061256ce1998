//! All that was believed at some moment, by name, so that it outlives changes of the world; and the board that it
//! makes in a world.

use std::collections::{BTreeMap, BTreeSet};

use super::diff::{Diff, Group, Moved};
use super::{Head, Kept};
use crate::health::board::{Admit, Beliefs, Board, Duty, Health, Standing};
use crate::site_set::SiteSet;
use crate::world::World;

#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// Of the board that believed it first.
    pub head: Head,
    services: BTreeMap<Box<str>, Remembered>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Remembered {
    sites: BTreeMap<Box<str>, Kept>,
    /// Who was fit when somebody last was.
    last_known: BTreeSet<Box<str>>,
}

impl Past {
    /// What a board of a world believes.
    pub fn of(head: Head, world: &World, board: &Board) -> Past {
        let services = world.service_ids().map(|id| {
            let service = world.service(id);
            let Beliefs { standings, last_known } = board.of_service(id);
            let name = |index: usize| world.site(service.candidates[index].site).name.clone();
            let sites = standings.iter().enumerate();
            let remembered = Remembered {
                sites: sites.map(|(index, standing)| (name(index), Kept::of(standing))).collect(),
                last_known: last_known.iter().map(name).collect(),
            };
            (service.name.to_host().into(), remembered)
        });
        Past { head, services: services.collect() }
    }

    /// What a whole group says.
    pub fn begin(group: &Group) -> Past {
        let mut past = Past { head: group.head.clone(), services: BTreeMap::new() };
        past.apply(group);
        past
    }

    /// What was believed after this, too.
    pub fn apply(&mut self, group: &Group) {
        let Group { head, is_whole, diff: Diff { moved, last_known } } = group;
        if *is_whole {
            self.services.clear();
        }
        for (service, sites) in last_known {
            self.services.entry(service.clone()).or_default().last_known = sites.clone();
        }
        for ((service, site), Moved { from: _, to }) in moved {
            let remembered = self.services.entry(service.clone()).or_default();
            match to {
                Some(kept) => {
                    remembered.sites.insert(site.clone(), kept.clone());
                }
                None => {
                    remembered.sites.remove(site);
                }
            }
        }
        let touched: BTreeSet<&Box<str>> =
            moved.keys().map(|(service, _)| service).chain(last_known.keys()).collect();
        for service in touched {
            if let Some(remembered) = self.services.get_mut(service) {
                remembered.settle();
                if remembered.sites.is_empty() {
                    self.services.remove(service);
                }
            }
        }
        self.head = head.clone();
    }

    /// All of it, as a file begins.
    pub fn whole(&self) -> Group {
        let moved = self.standings().map(|(service, site, kept)| {
            let to = Some(kept.clone());
            ((service.into(), site.into()), Moved { from: None, to })
        });
        let last_known = self.unfit().map(|(service, sites)| (service.into(), sites.clone()));
        let diff = Diff { moved: moved.collect(), last_known: last_known.collect() };
        let head = Head { lines: diff.lines(), ..self.head.clone() };
        Group { head, is_whole: true, diff }
    }

    /// Every site of every service.
    pub fn standings(&self) -> impl Iterator<Item = (&str, &str, &Kept)> {
        self.services.iter().flat_map(|(service, remembered)| {
            let sites = remembered.sites.iter();
            sites.map(move |(site, kept)| (&**service, &**site, kept))
        })
    }

    pub fn standing(&self, service: &str, site: &str) -> Option<&Kept> {
        self.services.get(service)?.sites.get(site)
    }

    pub fn last_known(&self, service: &str) -> Option<&BTreeSet<Box<str>>> {
        Some(&self.services.get(service)?.last_known)
    }

    /// Services without a site fit to serve, and who was fit before.
    pub fn unfit(&self) -> impl Iterator<Item = (&str, &BTreeSet<Box<str>>)> {
        let unfit = self.services.iter().filter(|(_, remembered)| !remembered.has_fit());
        unfit.map(|(service, remembered)| (&**service, &remembered.last_known))
    }

    /// The board of then, in this world. Of what this world has and that one had not, nothing is known.
    pub fn board(&self, world: &World) -> Board {
        let services = world.services.iter().map(|service| {
            let name = service.name.to_host();
            let site = |index: usize| &*world.site(service.candidates[index].site).name;
            let candidates = service.candidates.iter().enumerate();
            let standings = candidates.map(|(index, candidate)| {
                self.standing(&name, site(index))
                    .map_or_else(|| unheard_of(candidate.weight), Kept::standing)
            });
            let was_fit = |index: &usize| {
                self.last_known(&name).is_some_and(|known| known.contains(site(*index)))
            };
            let last_known: SiteSet = (0..service.candidates.len()).filter(was_fit).collect();
            Beliefs::new(standings.collect(), last_known)
        });
        let Head { board, at, orders, .. } = self.head;
        Board::of(board, services.collect()).at(at).ordered_up_to(orders)
    }
}

impl Remembered {
    fn has_fit(&self) -> bool {
        self.sites.values().any(|kept| kept.belief.is_fit())
    }

    /// Who is fit is who was last known to be, as long as there is somebody.
    fn settle(&mut self) {
        if self.has_fit() {
            let fit = self.sites.iter().filter(|(_, kept)| kept.belief.is_fit());
            self.last_known = fit.map(|(site, _)| site.clone()).collect();
        }
    }
}

impl Kept {
    fn standing(&self) -> Standing {
        let Kept { belief, since, why, duty_why, weight_why } = self;
        Standing {
            health: belief.health,
            since: *since,
            why: why.clone(),
            duty: belief.duty,
            duty_why: duty_why.clone(),
            weight: belief.weight,
            weight_why: weight_why.clone(),
            admit: Admit::new(belief.admit).unwrap_or(Admit::ALL),
            struck: belief.struck.clone().into(),
            lost: belief.lost.clone().into(),
            halvings: belief.halvings,
        }
    }
}

fn unheard_of(weight: u32) -> Standing {
    Standing {
        health: Health::Unknown,
        since: None,
        why: "history knows no such site of this service at that time".into(),
        duty: Duty::Serving,
        duty_why: "".into(),
        weight,
        weight_why: "".into(),
        admit: Admit::ALL,
        struck: [].into(),
        lost: [].into(),
        halvings: 0,
    }
}
