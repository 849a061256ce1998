//! Every metric of this daemon: its name, its labels, its meaning. Nothing else names one.

use std::collections::BTreeMap;
use std::time::Duration;

use common::check::Kind;
use common::renewal::State;
use common::report::{Own, Reason};
use common::seen::Seen;
use common::telling::{Meters, Word};
use prometheus::core::Collector;
use prometheus::{
    Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// In seconds: from a neighbour's answer to the longest timeout.
const BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Cheap to clone: all clones count the same.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    looks: IntCounterVec,
    durations: HistogramVec,
    late: IntCounter,
    missed: IntCounter,
    running: IntGauge,
    targets: IntGaugeVec,
    references: IntGaugeVec,
    reports: IntCounterVec,
    blind: IntGauge,
    renewal: IntGaugeVec,
    certificate_expiry: IntGauge,
    certificate_ok: IntGauge,
    pub config_ok: IntGauge,
    started: Gauge,
}

impl Metrics {
    pub fn new() -> Metrics {
        let registry = Registry::new();
        let register = Register(&registry);
        let metrics = Metrics {
            looks: register.counters(
                "probe_looks_total",
                "looks, by kind of check and by what came of them",
                &["kind", "outcome"],
            ),
            durations: register.histograms(
                "probe_look_duration_seconds",
                "how long looks took, whatever came of them",
                &["kind"],
            ),
            late: register.counter("probe_looks_late_total", "looks that began late"),
            missed: register.counter(
                "probe_looks_missed_total",
                "looks left out because the process, or its machine, stood still",
            ),
            running: register.gauge("probe_looks_running", "looks under way"),
            targets: register.gauges("probe_targets", "targets by state", &["state"]),
            references: register.gauges(
                "probe_references",
                "reference targets, and those that are up",
                &["which"],
            ),
            reports: register.counters(
                "probe_reports_total",
                "reports, by name server and by its answer",
                &["server", "answer"],
            ),
            blind: register.gauge("probe_blind", "1 while this probe says that it does not see"),
            renewal: register.gauges(
                "probe_certificate_renewal",
                "how far our next certificate is: 1 for the state that it is in",
                &["state"],
            ),
            certificate_expiry: register
                .gauge("probe_certificate_expiry_timestamp_seconds", "when our certificate ends"),
            certificate_ok: register.gauge(
                "probe_certificate_ok",
                "1 if our certificate, key, CA and revocation lists were good when last read",
            ),
            config_ok: register
                .gauge("probe_config_ok", "1 if the config was good when it was last read"),
            started: register
                .float("probe_start_time_seconds", "when this process began, in Unix seconds"),
            registry: registry.clone(),
        };
        metrics.config_ok.set(1);
        metrics.certificate_ok.set(1);
        metrics.renewal_is(State::Early);
        metrics.started.set(common::clock::unix_time().as_secs_f64());
        metrics
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be written");
        }
        text
    }

    pub fn looked(&self, kind: &Kind, seen: &Seen, took: Duration) {
        let kind = kind.word().as_str();
        let outcome = seen.reason().map_or("success", Reason::as_str);
        self.looks.with_label_values(&[kind, outcome]).inc();
        self.durations.with_label_values(&[kind]).observe(took.as_secs_f64());
    }

    pub fn began(&self, is_late: bool, running: usize) {
        self.late.inc_by(is_late.into());
        self.ran(running);
    }

    pub fn ran(&self, running: usize) {
        self.running.set(count(running));
    }

    pub fn stood_still(&self, missed: usize) {
        self.missed.inc_by(missed as u64);
    }

    pub fn show(&self, states: &BTreeMap<&'static str, usize>, own: &Own) {
        for (state, number) in states {
            self.targets.with_label_values(&[*state]).set(count(*number));
        }
        self.references.with_label_values(&["all"]).set(own.references.into());
        self.references.with_label_values(&["up"]).set(own.references_up.into());
        self.blind.set(own.blind.is_some().into());
    }

    /// Every name server has its series from the start.
    pub fn tell(&self, server: &str) {
        for word in Word::ALL {
            self.reports.with_label_values(&[server, word.as_str()]).inc_by(0);
        }
    }

    /// And one that is told no more has none.
    pub fn tell_no_more(&self, server: &str) {
        for word in Word::ALL {
            // What is not there need not be taken away.
            let _ = self.reports.remove_label_values(&[server, word.as_str()]);
        }
    }
}

impl Meters for Metrics {
    fn reported(&self, server: &str, word: Word) {
        self.reports.with_label_values(&[server, word.as_str()]).inc();
    }

    fn credentials_are(&self, good: bool) {
        self.certificate_ok.set(good.into());
    }

    fn certificate_ends(&self, not_after: i64) {
        self.certificate_expiry.set(not_after);
    }

    fn renewal_is(&self, now: State) {
        for state in State::ALL {
            self.renewal.with_label_values(&[state.as_str()]).set((state == now).into());
        }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

struct Register<'r>(&'r Registry);

impl Register<'_> {
    fn collector<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        self.0.register(Box::new(collector.clone())).expect("metric names are distinct constants");
        collector
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.collector(IntCounter::new(name, help).expect("a constant name"))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let opts = Opts::new(name, help);
        self.collector(IntCounterVec::new(opts, labels).expect("constant names"))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.collector(IntGauge::new(name, help).expect("a constant name"))
    }

    fn float(&self, name: &str, help: &str) -> Gauge {
        self.collector(Gauge::new(name, help).expect("a constant name"))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let opts = Opts::new(name, help);
        self.collector(IntGaugeVec::new(opts, labels).expect("constant names"))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        let opts = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
        self.collector(HistogramVec::new(opts, labels).expect("constant names"))
    }
}
