//! Tells where the words from within and from outside do not fit, or nobody has any: in the log, for people, in metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::names::few;
use tracing::warn;

use crate::health::view::Alert;
use crate::judge::Judgement;
use crate::metrics::WorldMetrics;
use crate::status::MOST_NAMED;
use crate::world::World;

/// As at the last judgement.
#[derive(Debug, Default)]
pub struct Alarms(BTreeMap<Of, Alarm>);

type Of = (Box<str>, Alert);
type Services = BTreeSet<Box<str>>;

#[derive(Debug)]
struct Alarm {
    since: Duration,
    services: Services,
    /// It has lasted for so long that people are told.
    is_raised: bool,
}

/// A site that begins or ends to serve is seen from within at once, and from outside some looks later.
const LOOKS: Duration = Duration::from_secs(10);
/// Where a name server, a probe or an agent starts the others are heard moments later.
const STARTS: Duration = Duration::from_secs(3);

impl Alarms {
    /// Takes over what a judgement came to, and tells of what is new.
    pub fn follow(&mut self, now: Duration, world: &World, judgement: &Judgement) {
        let mut alerts: BTreeMap<Of, Services> = BTreeMap::new();
        for (service, views) in world.services.iter().zip(&judgement.views.0) {
            let views = service.candidates.iter().zip(views.iter().flat_map(|views| &**views));
            for (candidate, view) in views {
                if let Some(alert) = view.alert {
                    let site = world.site(candidate.site).name.clone();
                    let services = alerts.entry((site, alert)).or_default();
                    services.insert(service.name.to_host().into());
                }
            }
        }
        for (site, alert) in self.take(now, alerts) {
            let services = &self.0[&(site.clone(), alert)].services;
            let services = few(services.iter().map(|service| &**service), MOST_NAMED);
            let site = &*site;
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
    }

    /// Takes over what there is now; of which people are to be told.
    fn take(&mut self, now: Duration, alerts: BTreeMap<Of, Services>) -> Vec<Of> {
        let mut before = std::mem::take(&mut self.0);
        let mut news = vec![];
        for (of, services) in alerts {
            let before = before.remove(&of);
            let since = before.as_ref().map_or(now, |before| before.since);
            let is_raised = now.saturating_sub(since) >= lasts(of.1);
            let is_known =
                |before: &Alarm| before.is_raised && services.is_subset(&before.services);
            if is_raised && !before.as_ref().is_some_and(is_known) {
                news.push(of.clone());
            }
            self.0.insert(of, Alarm { since, services, is_raised });
        }
        news
    }

    /// When one has lasted for long enough, if nothing else happens.
    pub fn next_change(&self) -> Option<Duration> {
        let waiting = self.0.iter().filter(|(_, alarm)| !alarm.is_raised);
        waiting.map(|((_, alert), alarm)| alarm.since + lasts(*alert)).min()
    }

    fn raised(&self) -> impl Iterator<Item = (&Of, &Services)> {
        let raised = self.0.iter().filter(|(_, alarm)| alarm.is_raised);
        raised.map(|(of, alarm)| (of, &alarm.services))
    }

    /// For people.
    pub fn attention(&self) -> Vec<String> {
        let told = self.raised().map(|((site, alert), services)| {
            let services = few(services.iter().map(|service| &**service), MOST_NAMED);
            format!("site {site}, for {services}: {} ({})", alert.told(), alert.as_str())
        });
        told.collect()
    }

    /// What metrics say of sites that name agents.
    pub fn count_in(&self, world: &World, metrics: &WorldMetrics) {
        for site in world.sites.iter().filter(|site| !site.agents.is_empty()) {
            for alert in Alert::ALL {
                let is_ours = |((of, kind), _): &(&Of, _)| *of == site.name && *kind == alert;
                let services =
                    self.raised().find(is_ours).map_or(0, |(_, services)| services.len());
                let gauge = metrics.site_alerts.with_label_values(&[&*site.name, alert.as_str()]);
                gauge.set(i64::try_from(services).unwrap_or(i64::MAX));
            }
        }
    }
}

/// For how long it has to be so before people are told.
fn lasts(alert: Alert) -> Duration {
    match alert {
        Alert::UnreachableFromOutside => LOOKS,
        Alert::Blind => STARTS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_of_what_lasts_and_of_what_is_added() {
        const AT: Duration = Duration::from_secs(100);
        let mut alarms = Alarms::default();
        let seconds = |count| AT + Duration::from_secs(count);
        let mut take = |now, alert: Option<Alert>, services: &[&str]| {
            let services: Services = services.iter().map(|name| (*name).into()).collect();
            let alerts = alert.map(|alert| (("fra".into(), alert), services));
            let news = alarms.take(seconds(now), alerts.into_iter().collect()).len();
            (news, alarms.raised().count(), alarms.next_change())
        };
        let unreachable = Some(Alert::UnreachableFromOutside);
        assert_eq!(take(0, unreachable, &["www"]), (0, 0, Some(seconds(10))));
        assert_eq!(take(9, unreachable, &["www"]), (0, 0, Some(seconds(10))));
        // It was for a moment.
        assert_eq!(take(9, None, &[]), (0, 0, None));
        assert_eq!(take(20, unreachable, &["www"]), (0, 0, Some(seconds(30))));
        assert_eq!(take(30, unreachable, &["www"]), (1, 1, None));
        assert_eq!(take(31, unreachable, &["www"]), (0, 1, None));
        assert_eq!(take(32, unreachable, &["api", "www"]), (1, 1, None));
        assert_eq!(take(33, unreachable, &["api"]), (0, 1, None));
        assert_eq!(take(34, None, &[]), (0, 0, None));
        assert_eq!(take(40, Some(Alert::Blind), &["www"]), (0, 0, Some(seconds(43))));
        assert_eq!(take(43, Some(Alert::Blind), &["www"]), (1, 1, None));
    }
}
