//! What this probe is asked to look at, by whom, and what each of them is to be told.
//!
//! Looked at is the union of what all name servers ask for, and the probe's own reference targets. Each name server is
//! told of what it asked for and of nothing else. Takes assignments, says what has changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use common::assignment::Assignment;
use common::report::MOST_TARGETS;
use common::target::{Target, TargetId};

/// A name server, by its name.
pub type Server = Arc<str>;

#[derive(Debug, Default)]
pub struct Asked {
    by: BTreeMap<Server, Assignment>,
    references: Vec<Target>,
    looked_at: HashMap<TargetId, Arc<Target>>,
    /// What each name server hears of.
    told: BTreeMap<Server, BTreeMap<TargetId, Hears>>,
}

/// What a name server hears of a target.
pub type Hears = Result<(), WhyNot>;
/// Why it is not looked at.
pub type WhyNot = String;

/// What an assignment, or another list of references, has changed.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Change {
    pub begin: Vec<(TargetId, Arc<Target>)>,
    pub end: Vec<TargetId>,
    /// What a name server now hears of, with why it is not looked at if it is not.
    pub tell: Vec<(Server, TargetId, Hears)>,
    /// What it hears of no more.
    pub drop: Vec<(Server, TargetId)>,
}

impl Asked {
    pub fn assignment(&self, server: &str) -> Option<&Assignment> {
        self.by.get(server)
    }

    /// Who is told of a target that is looked at.
    pub fn askers(&self, target: TargetId) -> impl Iterator<Item = &Server> {
        let asks = move |told: &BTreeMap<_, _>| matches!(told.get(&target), Some(Ok(())));
        self.told.iter().filter(move |(_, told)| asks(told)).map(|(server, _)| server)
    }

    /// All that a name server hears of.
    pub fn told(&self, server: &str) -> impl Iterator<Item = (TargetId, &Hears)> {
        self.told.get(server).into_iter().flatten().map(|(target, hears)| (*target, hears))
    }

    /// Takes the place of what this name server asked for before.
    pub fn assign(&mut self, server: Server, assignment: Assignment) -> Change {
        self.by.insert(server, assignment);
        self.settle()
    }

    /// Forgets what other name servers asked for.
    pub fn keep(&mut self, servers: &BTreeSet<Server>) -> Change {
        self.by.retain(|server, _| servers.contains(server));
        self.settle()
    }

    pub fn refer_to(&mut self, references: Vec<Target>) -> Change {
        self.references = references;
        self.settle()
    }

    /// Makes the union anew, and tells how it differs from the one before.
    fn settle(&mut self) -> Change {
        let mut union: HashMap<TargetId, Arc<Target>> = HashMap::new();
        for target in &self.references {
            union.insert(target.id(), self.shared(target.id(), target));
        }
        let all = || {
            self.by.iter().flat_map(|(server, asked)| {
                asked.targets.iter().map(move |(id, target)| (server, id, target))
            })
        };
        // In the order of their ids, so that all probes leave out the same ones.
        let wanted: BTreeMap<TargetId, &Target> =
            all().filter_map(|(_, id, target)| Some((*id, target.as_ref().ok()?))).collect();
        for (id, target) in wanted {
            if union.len() < MOST_TARGETS && !union.contains_key(&id) {
                union.insert(id, self.shared(id, target));
            }
        }
        let mut told: BTreeMap<Server, BTreeMap<TargetId, Hears>> = BTreeMap::new();
        for (server, id, target) in all() {
            let hears = match target {
                Ok(_) if union.contains_key(id) => Ok(()),
                Ok(_) => Err(format!("this probe looks at {MOST_TARGETS} targets and no more")),
                Err(unlookable) => Err(unlookable.to_string()),
            };
            told.entry(Arc::clone(server)).or_default().insert(*id, hears);
        }
        let mut begin: Vec<(TargetId, Arc<Target>)> = union
            .iter()
            .filter(|(id, _)| !self.looked_at.contains_key(id))
            .map(|(id, target)| (*id, Arc::clone(target)))
            .collect();
        begin.sort_by_key(|(id, _)| *id);
        let gone = self.looked_at.keys().filter(|id| !union.contains_key(id));
        let mut end: Vec<TargetId> = gone.copied().collect();
        end.sort();
        let mut change = Change { begin, end, ..Change::default() };
        let none = BTreeMap::new();
        for (server, after) in &told {
            let before = self.told.get(server).unwrap_or(&none);
            let new = after.iter().filter(|(id, hears)| before.get(id) != Some(hears));
            let tell = new.map(|(id, hears)| (Arc::clone(server), *id, hears.clone()));
            change.tell.extend(tell);
        }
        for (server, before) in &self.told {
            let after = told.get(server).unwrap_or(&none);
            let gone = before.keys().filter(|id| !after.contains_key(id));
            change.drop.extend(gone.map(|id| (Arc::clone(server), *id)));
        }
        (self.looked_at, self.told) = (union, told);
        change
    }

    fn shared(&self, id: TargetId, target: &Target) -> Arc<Target> {
        self.looked_at.get(&id).map_or_else(|| Arc::new(target.clone()), Arc::clone)
    }
}

#[cfg(test)]
mod tests;
