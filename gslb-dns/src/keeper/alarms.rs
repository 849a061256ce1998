//! Tells where the words from within and from outside do not fit, or nobody has any: in the log, for people, in metrics.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use crate::health::view::Alert;
use crate::judge::Judgement;
use crate::metrics::WorldMetrics;
use crate::world::World;

/// As at the last judgement: of each site and alert, the services.
#[derive(Debug, Default)]
pub struct Alarms(BTreeMap<(Box<str>, Alert), BTreeSet<Box<str>>>);

/// Services that people are told of one site; of more, how many.
const MOST_TOLD: usize = 3;

impl Alarms {
    /// Takes over what a judgement came to, and tells of what is new.
    pub fn follow(&mut self, world: &World, judgement: &Judgement) {
        let mut alarms: BTreeMap<(Box<str>, Alert), BTreeSet<Box<str>>> = BTreeMap::new();
        for (service, views) in world.services.iter().zip(&judgement.views.0) {
            let views = service.candidates.iter().zip(views.iter().flat_map(|views| &**views));
            for (candidate, view) in views {
                if let Some(alert) = view.alert {
                    let site = world.site(candidate.site).name.clone();
                    let services = alarms.entry((site, alert)).or_default();
                    services.insert(service.name.to_string().into());
                }
            }
        }
        for ((site, alert), services) in &alarms {
            let before = self.0.get(&(site.clone(), *alert));
            if before.is_some_and(|before| services.is_subset(before)) {
                continue;
            }
            let (site, services) = (&**site, told(services));
            match alert {
                Alert::UnreachableFromOutside => {
                    warn!(
                        site,
                        services,
                        "a site serves and is not reached from outside: look at what is before its balancers"
                    );
                }
                Alert::Blind => {
                    warn!(
                        site,
                        services,
                        "nobody can say how a site is: no word of its agents holds, and too few vantages are heard"
                    );
                }
            }
        }
        self.0 = alarms;
    }

    /// For people.
    pub fn attention(&self) -> Vec<String> {
        let told = self.0.iter().map(|((site, alert), services)| {
            format!("site {site}, for {}: {} ({})", told(services), alert.told(), alert.as_str())
        });
        told.collect()
    }

    /// What metrics say of sites that name agents.
    pub fn count_in(&self, world: &World, metrics: &WorldMetrics) {
        for site in world.sites.iter().filter(|site| !site.agents.is_empty()) {
            for alert in Alert::ALL {
                let services = self.0.get(&(site.name.clone(), alert)).map_or(0, BTreeSet::len);
                let gauge = metrics.site_alerts.with_label_values(&[&*site.name, alert.as_str()]);
                gauge.set(i64::try_from(services).unwrap_or(i64::MAX));
            }
        }
    }
}

fn told(services: &BTreeSet<Box<str>>) -> String {
    let first: Vec<&str> = services.iter().take(MOST_TOLD).map(|service| &**service).collect();
    match services.len().saturating_sub(MOST_TOLD) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
