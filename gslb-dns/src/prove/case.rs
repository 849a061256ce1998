//! One policy under every loss: what the kinds of findings look at.

use std::cell::OnceCell;

use geoip::{Country, Place};

use super::effort::{Budget, Effort, Spent};
use super::example::{Example, Examples};
use super::{SERVICE, see};
use crate::health::board::{Beliefs, Board, Health};
use crate::ids::ServiceId;
use crate::locate::{Class, Geography, Need};
use crate::site_set::SiteSet;
use crate::snapshot::Groundwork;
use crate::steer::{Family, Outcome, Shares, Silent, able, arrange, reach};
use crate::world::{Act, Answers, FailMode, Service, Take, Vips};

/// All of a service that a case depends on: services alike in it have the same findings.
#[derive(Eq, Hash, PartialEq)]
pub struct Shape<'g> {
    geography: *const Geography,
    need: Need,
    able: [SiteSet; 3],
    unweighted: SiteSet,
    take: Take,
    fail_mode: &'g FailMode,
}

impl<'g> Shape<'g> {
    pub fn of(ground: &'g Groundwork, id: ServiceId) -> Shape<'g> {
        let service = ground.world.service(id);
        Shape {
            geography: ground.geography(id),
            need: Need::of(service),
            able: [Family::V4, Family::V6, Family::Cname].map(|family| able(service, family)),
            unweighted: unweighted(service),
            take: service.take,
            fail_mode: &service.fail_mode,
        }
    }
}

/// One policy, and everything about it that several kinds of findings ask for.
pub struct Case<'g> {
    pub ground: &'g Groundwork,
    /// As it is once it acts: what is only observed now is judged by what it will do.
    pub service: Service,
    pub geography: &'g Geography,
    pub shares: Shares,
    /// What the question at hand may cost.
    pub budget: Budget,
    /// Everything lost.
    pub dark: Loss,
    blank: &'g Beliefs,
    /// Made when a finding asks for them, as the others are.
    losses: OnceCell<Vec<Loss>>,
    imagined: OnceCell<Vec<Class>>,
    examples: OnceCell<Examples>,
}

/// What is believed while some candidates are down.
pub struct Loss {
    pub lost: SiteSet,
    pub beliefs: Beliefs,
}

/// Whom an answer may name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Named {
    Sites(SiteSet),
    /// The addresses of `static`.
    Static,
    /// Nobody: NODATA.
    Nobody,
}

impl<'g> Case<'g> {
    pub fn new(ground: &'g Groundwork, board: &'g Board, id: ServiceId) -> Case<'g> {
        let service = Service { act: Act::Serve, ..ground.world.service(id).clone() };
        let blank = board.of_service(id);
        let all: SiteSet = (0..service.candidates.len()).collect();
        Case {
            ground,
            geography: ground.geography(id),
            shares: Shares::new(&ground.world, &service, blank),
            service,
            budget: Budget::of(Effort::NONE),
            dark: Loss::of(blank, all),
            blank,
            losses: OnceCell::new(),
            imagined: OnceCell::new(),
            examples: OnceCell::new(),
        }
    }

    pub fn everyone(&self) -> SiteSet {
        self.dark.lost
    }

    /// Nothing lost, then each site by itself.
    pub fn losses(&self) -> Result<&[Loss], Spent> {
        if let Some(made) = self.losses.get() {
            return Ok(made);
        }
        let count = self.service.candidates.len();
        self.budget.arrange(1 + count)?;
        let lost = [SiteSet::EMPTY].into_iter().chain((0..count).map(SiteSet::one));
        let losses = lost.map(|lost| Loss::of(self.blank, lost)).collect();
        Ok(self.losses.get_or_init(|| losses))
    }

    /// What would be believed with these candidates down.
    pub fn without(&self, lost: SiteSet) -> Loss {
        Loss::of(self.blank, lost)
    }

    pub fn families(&self) -> &'static [Family] {
        families(&self.service)
    }

    pub fn unweighted(&self) -> SiteSet {
        unweighted(&self.service)
    }

    /// The classes that the world's data makes, each with its index.
    pub fn classes(&self) -> impl Iterator<Item = (usize, &'g Class)> {
        self.geography.classes().iter().enumerate()
    }

    /// What the policy would make of the people of each country, whether the data knows any or not: what
    /// never happens today may with the next database.
    pub fn imagined(&self) -> Result<&[Class], Spent> {
        if let Some(made) = self.imagined.get() {
            return Ok(made);
        }
        self.budget.arrange(Country::all().count())?;
        let need = Need::of(&self.service);
        let place = |country| Place { country: Some(country), ..Place::default() }.completed();
        let imagined = || {
            let countries = Country::all();
            countries.map(|country| need.imagine(&self.ground.world, &place(country))).collect()
        };
        Ok(self.imagined.get_or_init(imagined))
    }

    /// A client of the class; `None` if nobody is of it.
    pub fn example(&self, class: usize) -> Result<Option<Example>, Spent> {
        if let Some(known) = self.examples.get() {
            return known.of(class);
        }
        let examples = Examples::find(self.geography, &self.ground.trust, &self.budget);
        // A later question may have more to spend.
        if examples.is_whole() {
            self.examples.get_or_init(|| examples).of(class)
        } else {
            examples.of(class)
        }
    }

    /// Whom an answer of one family may name to clients of one class.
    pub fn named(&self, class: &Class, family: Family, loss: &Loss) -> Result<Named, Spent> {
        self.budget.arrange(1)?;
        Ok(self.answered(class, family, loss))
    }

    /// The same for who keeps a budget of their own.
    pub fn answered(&self, class: &Class, family: Family, loss: &Loss) -> Named {
        let arrangement = arrange(&self.service, &loss.beliefs, class, family, &mut Silent);
        match arrangement.outcome {
            Outcome::Tiers(tiers) => Named::Sites(reach(&self.shares, &tiers)),
            Outcome::Static => match &self.service.fail_mode {
                FailMode::Static(vips) if lists(vips, family) => Named::Static,
                _ => Named::Nobody,
            },
            Outcome::NoData => Named::Nobody,
        }
    }

    pub fn site(&self, candidate: usize) -> &'g str {
        &self.ground.world.site(self.service.candidates[candidate].site).name
    }

    /// `fra and ams`.
    pub fn sites(&self, set: SiteSet) -> String {
        let names: Vec<&str> = set.iter().map(|candidate| self.site(candidate)).collect();
        match names.as_slice() {
            [] => "no site".to_owned(),
            [one] => (*one).to_owned(),
            [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
        }
    }

    /// What people type to suppose a loss.
    pub fn suppose(&self, lost: SiteSet) -> String {
        if lost == self.everyone() {
            return " --suppose 'down=*'".to_owned();
        }
        let left = self.everyone().without(lost);
        if let (1, Some(left), 2..) = (left.len(), left.first(), lost.len()) {
            return format!(" --suppose 'down=*' --suppose up={}", self.site(left));
        }
        lost.iter().map(|one| format!(" --suppose down={}", self.site(one))).collect()
    }

    /// `while fra is down`, and nothing where nothing is lost.
    pub fn while_lost(&self, lost: SiteSet) -> String {
        match lost.len() {
            0 => String::new(),
            1 => format!("while {} is down, ", self.sites(lost)),
            _ if lost == self.everyone() => "while every site is down, ".to_owned(),
            _ => format!("while {} are down, ", self.sites(lost)),
        }
    }

    pub fn see(&self, family: Family, example: &Example, lost: SiteSet) -> String {
        let rtype = family.record_type().to_string();
        see(SERVICE, &rtype, example, &self.suppose(lost))
    }
}

impl Loss {
    fn of(blank: &Beliefs, lost: SiteSet) -> Loss {
        Loss { lost, beliefs: losing(blank, lost) }
    }

    /// What would be believed if these were lost next.
    pub fn then(&self, lost: SiteSet) -> Loss {
        Loss { lost: self.lost.or(lost), beliefs: losing(&self.beliefs, lost) }
    }
}

fn losing(before: &Beliefs, lost: SiteSet) -> Beliefs {
    let mut standings = before.standings.clone();
    for candidate in lost.iter() {
        standings[candidate].health = Health::Down;
    }
    Beliefs::new(standings, before.last_known)
}

pub fn families(service: &Service) -> &'static [Family] {
    match service.answers {
        Answers::Addresses => &[Family::V4, Family::V6],
        Answers::Cname => &[Family::Cname],
    }
}

pub fn lists(vips: &Vips, family: Family) -> bool {
    match family {
        Family::V4 => !vips.v4.is_empty(),
        Family::V6 => !vips.v6.is_empty(),
        Family::Cname => false,
    }
}

/// Those that an operator has given a weight of 0.
fn unweighted(service: &Service) -> SiteSet {
    let candidates = service.candidates.iter().enumerate();
    candidates.filter(|(_, one)| one.weight == 0).map(|(index, _)| index).collect()
}
