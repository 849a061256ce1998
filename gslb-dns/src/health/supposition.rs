//! What somebody wants to see supposed of sites: `down=fra`.

use std::fmt;
use std::str::FromStr;

use super::board::{Admit, Duty, Health, Standing};
use super::overrides::{Glob, NoMatch};
use crate::world::World;

/// What somebody wants to see supposed: `down=fra`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Supposition {
    state: Supposed,
    sites: Glob,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Supposed {
    Health(Health),
    Duty(Duty),
}

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "\"{0}\" cannot be supposed; expected up=, down=, unknown=, drained= or undrained= and a site's name or pattern, such as down=fra"
)]
pub struct SuppositionError(String);

impl Supposition {
    /// Whether it is about this site.
    pub fn concerns(&self, site: &str) -> bool {
        self.sites.matches(site)
    }

    /// Refuses to suppose something of nobody: it would explain nothing.
    pub fn is_of_some_site(&self, world: &World) -> Result<(), NoMatch> {
        self.sites.is_of_some_site(world)
    }

    pub(super) fn apply(&self, site: &str, standing: &mut Standing) {
        if !self.concerns(site) {
            return;
        }
        match self.state {
            Supposed::Health(health) => {
                standing.health = health;
                standing.since = None;
                standing.why = "supposed".into();
                (standing.struck, standing.lost) = ([].into(), [].into());
                standing.halvings = 0;
                // What is seen of it makes no share any more; a drain that is under way does.
                if standing.duty_why.is_empty() {
                    standing.admit = Admit::ALL;
                }
            }
            Supposed::Duty(duty) => {
                standing.duty = duty;
                standing.duty_why =
                    if duty == Duty::Drained { "supposed".into() } else { "".into() };
            }
        }
    }
}

impl FromStr for Supposition {
    type Err = SuppositionError;

    fn from_str(text: &str) -> Result<Supposition, SuppositionError> {
        let refused = || SuppositionError(text.to_owned());
        let (state, sites) = text.split_once('=').ok_or_else(refused)?;
        let state = match state {
            "up" => Supposed::Health(Health::Up),
            "down" => Supposed::Health(Health::Down),
            "unknown" => Supposed::Health(Health::Unknown),
            "drained" => Supposed::Duty(Duty::Drained),
            "undrained" => Supposed::Duty(Duty::Serving),
            _ => return Err(refused()),
        };
        if sites.is_empty() {
            return Err(refused());
        }
        Ok(Supposition { state, sites: Glob::new(sites) })
    }
}

impl fmt::Display for Supposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            Supposed::Health(health) => health.as_str(),
            Supposed::Duty(Duty::Drained) => "drained",
            Supposed::Duty(Duty::Serving) => "undrained",
        };
        write!(f, "{state}={}", self.sites)
    }
}
