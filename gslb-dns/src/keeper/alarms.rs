//! Tells where the words from within and from outside do not fit, or nobody has any: in the log, for people, in metrics.

use tracing::warn;

use crate::health::view::Alert;
use crate::judge::Judgement;
use crate::metrics::WorldMetrics;
use crate::world::World;

/// As at the last judgement.
#[derive(Debug, Default)]
pub struct Alarms(Vec<Alarm>);

#[derive(Clone, Debug, PartialEq)]
struct Alarm {
    service: Box<str>,
    site: Box<str>,
    alert: Alert,
}

impl Alarms {
    /// Takes over what a judgement came to, and tells of what is new.
    pub fn follow(&mut self, world: &World, judgement: &Judgement) {
        let views = world.services.iter().zip(&judgement.views.0);
        let alarms = views.flat_map(|(service, views)| {
            let views = service.candidates.iter().zip(views.iter().flat_map(|views| &**views));
            views.filter_map(move |(candidate, view)| {
                let (alert, site) = (view.alert?, world.site(candidate.site).name.clone());
                Some(Alarm { service: service.name.to_string().into(), site, alert })
            })
        });
        let alarms: Vec<Alarm> = alarms.collect();
        for alarm in alarms.iter().filter(|alarm| !self.0.contains(alarm)) {
            let Alarm { service, site, alert } = alarm;
            match alert {
                Alert::UnreachableFromOutside => {
                    warn!(
                        service = &**service,
                        site = &**site,
                        "a site serves and is not reached from outside: look at what is before its balancers"
                    );
                }
                Alert::Blind => {
                    warn!(
                        service = &**service,
                        site = &**site,
                        "nobody can say how a site is: its agents are silent, and too few vantages are heard"
                    );
                }
            }
        }
        self.0 = alarms;
    }

    /// For people.
    pub fn attention(&self) -> Vec<String> {
        let told = self.0.iter().map(|Alarm { service, site, alert }| {
            format!("{service} at site {site}: {} ({})", alert.told(), alert.as_str())
        });
        told.collect()
    }

    /// What metrics say of sites that name agents.
    pub fn count_in(&self, world: &World, metrics: &WorldMetrics) {
        for site in world.sites.iter().filter(|site| !site.agents.is_empty()) {
            for alert in Alert::ALL {
                let is_it = |alarm: &&Alarm| alarm.site == site.name && alarm.alert == alert;
                let services = self.0.iter().filter(is_it).count();
                let gauge = metrics.site_alerts.with_label_values(&[&*site.name, alert.as_str()]);
                gauge.set(i64::try_from(services).unwrap_or(i64::MAX));
            }
        }
    }
}
