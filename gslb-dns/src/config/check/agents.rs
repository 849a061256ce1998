//! Who speaks for a site from within.

use std::collections::HashMap;

use common::principal::{Kind, Principal};

use crate::config::problems::{Problem, Problems};
use crate::config::read::{At, List};
use crate::world::MOST_AGENTS;

/// The sites of agents met so far: a certificate names an agent, and no site.
pub type Taken = HashMap<String, String>;

/// The agents of one site, each the name of a certificate and of this site alone.
pub fn agents(
    site: &str,
    written: &At<List<At<String>>>,
    taken: &mut Taken,
    problems: &mut Problems,
) -> Option<Vec<Box<str>>> {
    if written.value.is_empty() {
        problems.add(written.spot.problem("is empty; list an agent, or leave the key out"));
        return None;
    }
    if written.value.len() > MOST_AGENTS {
        problems.add(written.spot.problem(format!(
            "{} agents, where {MOST_AGENTS} are the most: a pair; give the others a site of their own",
            written.value.len()
        )));
        return None;
    }
    let sound = written.value.iter().map(|name| problems.one(agent(site, name.as_ref()?, taken)));
    // All are looked at before any of them is missed.
    sound.collect::<Vec<_>>().into_iter().collect()
}

fn agent(site: &str, name: &At<String>, taken: &mut Taken) -> Result<Box<str>, Problem> {
    let At { value: name, spot } = name;
    Principal::new("cluster", Kind::Agent, name)
        .map_err(|error| spot.problem(error.to_string()))?;
    match taken.insert(name.clone(), site.to_owned()) {
        None => Ok(name.as_str().into()),
        Some(other) if other == site => {
            Err(spot.problem(format!("{name} is listed twice; remove one")))
        }
        Some(other) => Err(spot.problem(format!(
            "{name} speaks for site {other} already, and an agent speaks for one; issue another \
             certificate for this site's, or remove one"
        ))),
    }
}
