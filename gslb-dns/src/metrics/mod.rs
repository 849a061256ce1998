//! Every metric of this daemon: its name, its labels, its meaning. Nothing else names one.
//!
//! What queries count is kept in a `Tally` per UDP thread, and one for each other transport, summed when
//! somebody asks.

mod tally;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

pub use self::tally::{Counts, Tally};

use self::tally::RCODES;
use crate::answer::Limited;
use crate::cookie;
use crate::ledger::Ledgers;
use crate::steer::Failing;

/// All metrics, and the text of them.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    pub tcp: TcpMetrics,
    pub world: WorldMetrics,
    pub certificates: CertificateMetrics,
    pub query_log: QueryLogMetrics,
    pub control: ControlMetrics,
}

/// Of the listener for probes, agents and other name servers.
#[derive(Clone)]
pub struct ControlMetrics {
    pub connections: IntGauge,
    /// By result, as `control::visit` names them.
    pub handshakes: IntCounterVec,
    /// By reason, as `control::seats` names them.
    pub closed: IntCounterVec,
    pub accept_errors: IntCounter,
    /// By outcome, as `control::route` names them.
    pub reports: IntCounterVec,
    pub assignments: IntCounterVec,
    /// By outcome, as `parked::desk` and `control::route` name them.
    pub renewals: IntCounterVec,
    pub renewals_waiting: IntGauge,
    /// By vantage: Unix time, in seconds.
    pub probe_expiry: IntGaugeVec,
    /// What we told peers, by outcome, as `control::route` names them.
    pub pages: IntCounterVec,
    /// What peers told us, by peer and outcome, as `control::pull` names them.
    pub pulls: IntCounterVec,
}

#[derive(Clone)]
pub struct QueryLogMetrics {
    pub written: IntCounter,
    pub dropped: IntCounter,
    pub connected: IntGauge,
    pub recorded: IntCounter,
    /// By reason: `full`, their thread's ring; or `disk`.
    pub unrecorded: IntCounterVec,
    pub recording_ok: IntGauge,
}

/// By transport.
#[derive(Clone)]
pub struct CertificateMetrics {
    /// Unix time, in seconds.
    pub expiry: IntGaugeVec,
    pub ok: IntGaugeVec,
}

#[derive(Clone)]
pub struct TcpMetrics {
    pub open: IntGauge,
    pub accepted: IntCounter,
    /// By reason: `idle`, `slow`, `handshake`, `full`, `client_full`.
    pub evicted: IntCounterVec,
    pub accept_errors: IntCounter,
    pub proxy_refused: IntCounter,
    /// By transport and result: `full`, `resumed`, `failed`; over QUIC `done` for the first two.
    pub handshakes: IntCounterVec,
    pub quic_retries: IntCounter,
    pub quic_ignored: IntCounter,
    /// By reason, as `listen::quic` names them.
    pub quic_breaches: IntCounterVec,
}

#[derive(Clone)]
pub struct WorldMetrics {
    pub board: IntGauge,
    pub overrides_ok: IntGauge,
    pub overrides_in_force: IntGauge,
    /// Lines that the audit log could not take.
    pub audit_lost: IntCounter,
    /// Whether the disk has all that a restart will want to know.
    pub state_ok: IntGauge,
    /// Whether the disk has all that history was told.
    pub history_ok: IntGauge,
    pub history_changes: IntCounter,
    /// By service and how: `all_down`, `all_drained`.
    pub failing: IntGaugeVec,
    /// By service, site and health: 1 for the health that is believed.
    pub site_health: IntGaugeVec,
    pub site_lost: IntGaugeVec,
    /// By vantage and how its word counts.
    pub vantages: IntGaugeVec,
    /// By peer and how it stands with it.
    pub peers: IntGaugeVec,
    /// Verdicts that came to up because a peer held them otherwise.
    pub peer_met: IntCounter,
    /// By site, agent and how it is heard.
    pub agents: IntGaugeVec,
    /// By site: VIPs, each port counted.
    pub vrrp_dual_active: IntGaugeVec,
    /// By site and alert: services.
    pub site_alerts: IntGaugeVec,
    /// What services have answered.
    pub ledgers: Ledgers,
    pub zone_names: IntGaugeVec,
    pub epoch: IntGaugeVec,
    pub reloads: Reloads,
}

/// What came of being asked to read the config again.
#[derive(Clone)]
pub struct Reloads {
    pub adopted: IntCounter,
    pub unchanged: IntCounter,
    pub refused: IntCounter,
    pub config_ok: IntGauge,
    pub restart_needed: IntGauge,
}

impl Metrics {
    pub fn new(tallies: Vec<Arc<Tally>>) -> Metrics {
        let registry = Registry::new();
        let register = Register(&registry);
        tallies.iter().enumerate().for_each(|(page, tally)| tally.page.store(page, Relaxed));
        let ledgers = Ledgers::new(tallies.len());
        register.collector(Answers::new(tallies));
        register.collector(Services { ledgers: ledgers.clone(), empty: Services::counters() });
        let tcp = TcpMetrics {
            open: register.gauge("gslb_dns_tcp_connections", "connections open now, over TCP and QUIC"),
            accepted: register.counter("gslb_dns_tcp_accepted_total", "connections accepted"),
            evicted: register.counters(
                "gslb_dns_tcp_evicted_total",
                "connections closed by us, by reason",
                "reason",
            ),
            accept_errors: register.counter(
                "gslb_dns_tcp_accept_errors_total",
                "accept(2) failures, such as no descriptor left",
            ),
            proxy_refused: register.counter(
                "gslb_dns_proxy_refused_total",
                "connections from a listed proxy that did not begin with a header of PROXY version 2",
            ),
            handshakes: register.counters_of_two(
                "gslb_dns_tls_handshakes_total",
                "TLS handshakes, by transport and what came of them",
                ["transport", "result"],
            ),
            quic_retries: register.counter(
                "gslb_dns_quic_retries_total",
                "QUIC clients that had to prove their address, because many others had not",
            ),
            quic_ignored: register.counter(
                "gslb_dns_quic_ignored_total",
                "attempts to connect over QUIC left without an answer, because too many connections were closing",
            ),
            quic_breaches: register.counters(
                "gslb_dns_quic_breaches_total",
                "QUIC connections closed because their client broke a rule or asked too much, by which",
                "reason",
            ),
        };
        let world = WorldMetrics {
            board: register.gauge("gslb_dns_board_number", "number of the board that answers now"),
            overrides_ok: register.gauge(
                "gslb_dns_overrides_ok",
                "1 if the overrides file was good when last read, 0 if it was refused",
            ),
            overrides_in_force: register.gauge(
                "gslb_dns_overrides_in_force",
                "overrides in force now, from the file and by command",
            ),
            audit_lost: register.counter(
                "gslb_dns_audit_lost_total",
                "lines that could not be written to the audit log",
            ),
            state_ok: register.gauge(
                "gslb_dns_state_ok",
                "1 if all that a restart will want to know is on disk, 0 while the disk does not take it",
            ),
            history_ok: register.gauge(
                "gslb_dns_history_ok",
                "1 if history could be written when last tried, 0 while what it was told waits for the disk",
            ),
            history_changes: register.counter(
                "gslb_dns_history_changes_total",
                "changes of what is believed of a site of a service",
            ),
            failing: register.gauges(
                "gslb_dns_service_failing",
                "1 while a service has no site fit to serve, and how it came to that",
                &["service", "how"],
            ),
            site_health: register.gauges(
                "gslb_dns_site_health",
                "1 for what is believed of a site of a service",
                &["service", "site", "health"],
            ),
            site_lost: register.gauges(
                "gslb_dns_site_lost",
                "1 while a site of a service is lost, in whole or in part, to one region",
                &["service", "site", "region"],
            ),
            vantages: register.gauges(
                "gslb_dns_vantage_standing",
                "1 for how a vantage's word counts",
                &["vantage", "standing"],
            ),
            peers: register.gauges(
                "gslb_dns_peer_standing",
                "1 for how it stands with another name server of the cluster",
                &["peer", "standing"],
            ),
            peer_met: register.counter(
                "gslb_dns_peer_met_total",
                "things held without evidence that a peer held otherwise, and that both gave up",
            ),
            agents: register.gauges(
                "gslb_dns_agent_standing",
                "1 for how an agent of a site is heard",
                &["site", "agent", "standing"],
            ),
            vrrp_dual_active: register.gauges(
                "gslb_dns_vrrp_dual_active",
                "VIPs of a site, each port counted, for which two routers say that they are active",
                &["site"],
            ),
            site_alerts: register.gauges(
                "gslb_dns_site_alerts",
                "services for which what is said of a site from within and from outside needs somebody's look",
                &["site", "alert"],
            ),
            ledgers,
            zone_names: register.gauges("gslb_dns_zone_names", "names in a zone", &["zone"]),
            epoch: register.gauges(
                "gslb_dns_epoch_info",
                "1 for the world that answers now, by its SHA-256",
                &["epoch"],
            ),
            reloads: Reloads::new(&register),
        };
        let certificates = CertificateMetrics {
            expiry: register.gauges(
                "gslb_dns_certificate_expiry_timestamp_seconds",
                "Unix time at which the certificate that clients are shown ceases to hold",
                &["transport"],
            ),
            ok: register.gauges(
                "gslb_dns_certificate_ok",
                "1 if certificate and key were good when last read, 0 if they were refused",
                &["transport"],
            ),
        };
        let query_log = QueryLogMetrics {
            recorded: register.counter("gslb_dns_recording_written_total", "queries recorded"),
            unrecorded: register.counters(
                "gslb_dns_recording_dropped_total",
                "queries not recorded, because there was no room or the disk did not take them",
                "reason",
            ),
            recording_ok: register
                .gauge("gslb_dns_recording_ok", "1 while what is asked is recorded"),
            written: register.counter(
                "gslb_dns_query_log_written_total",
                "messages of the query log that its reader was given",
            ),
            dropped: register.counter(
                "gslb_dns_query_log_dropped_total",
                "messages of the query log dropped because its reader did not keep up",
            ),
            connected: register.gauge(
                "gslb_dns_query_log_connected",
                "1 while a reader of the query log is connected",
            ),
        };
        let control = ControlMetrics {
            connections: register.gauge(
                "gslb_dns_control_connections",
                "connections open now at the control listener, handshakes under way included",
            ),
            handshakes: register.counters(
                "gslb_dns_control_handshakes_total",
                "handshakes at the control listener, by what came of them",
                "result",
            ),
            closed: register.counters(
                "gslb_dns_control_closed_total",
                "connections of the control listener that we closed, by reason",
                "reason",
            ),
            accept_errors: register.counter(
                "gslb_dns_control_accept_errors_total",
                "accept(2) failures at the control listener, such as no descriptor left",
            ),
            reports: register.counters(
                "gslb_dns_control_reports_total",
                "reports that producers told, by what became of them",
                "outcome",
            ),
            assignments: register.counters(
                "gslb_dns_control_assignments_total",
                "times that producers asked what to look at, by what they were told",
                "outcome",
            ),
            renewals: register.counters(
                "gslb_dns_control_renewals_total",
                "times that daemons asked for a certificate or the CA came by, by what came of it",
                "outcome",
            ),
            renewals_waiting: register.gauge(
                "gslb_dns_control_renewals_waiting",
                "daemons whose next certificate the CA has not brought yet",
            ),
            probe_expiry: register.gauges(
                "gslb_dns_control_probe_certificate_expiry_timestamp_seconds",
                "Unix time at which the certificate of a probe that is connected ceases to hold",
                &["vantage"],
            ),
            pages: register.counters(
                "gslb_dns_control_peer_pages_total",
                "times that a peer asked what we tell, by what it was told",
                "outcome",
            ),
            pulls: register.counters_of_two(
                "gslb_dns_peer_pulls_total",
                "times that we asked a peer what it tells, by what came of it",
                ["peer", "outcome"],
            ),
        };
        Metrics { registry, tcp, world, certificates, query_log, control }
    }

    /// Prometheus text exposition, version 0.0.4.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be written");
        }
        text
    }
}

impl Reloads {
    fn new(register: &Register<'_>) -> Reloads {
        let reloads = register.counters(
            "gslb_dns_reloads_total",
            "times the config was read again, by what came of it",
            "result",
        );
        Reloads {
            adopted: reloads.with_label_values(&["adopted"]),
            unchanged: reloads.with_label_values(&["unchanged"]),
            refused: reloads.with_label_values(&["refused"]),
            config_ok: register.gauge(
                "gslb_dns_config_ok",
                "1 if the config was good when last read, 0 if it was refused",
            ),
            restart_needed: register.gauge(
                "gslb_dns_restart_needed",
                "1 if node.toml, when last read, said what only a restart can bring about",
            ),
        }
    }
}

struct Register<'r>(&'r Registry);

impl Register<'_> {
    fn collector(&self, collector: impl Collector + 'static) {
        self.0.register(Box::new(collector)).expect("metric names are distinct constants");
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        let gauge = IntGauge::new(name, help).expect("metric names are valid constants");
        self.collector(gauge.clone());
        gauge
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        let counter = IntCounter::new(name, help).expect("metric names are valid constants");
        self.collector(counter.clone());
        counter
    }

    fn counters(&self, name: &str, help: &str, label: &str) -> IntCounterVec {
        let counters = counter_vec(name, help, &[label]);
        self.collector(counters.clone());
        counters
    }

    fn counters_of_two(&self, name: &str, help: &str, labels: [&str; 2]) -> IntCounterVec {
        let counters = counter_vec(name, help, &labels);
        self.collector(counters.clone());
        counters
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let opts = Opts::new(name, help);
        let gauges = IntGaugeVec::new(opts, labels).expect("metric names are valid constants");
        self.collector(gauges.clone());
        gauges
    }
}

fn counter_vec(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("metric names are valid constants")
}

/// The tallies of all threads, summed when asked for.
struct Answers {
    tallies: Vec<Arc<Tally>>,
    /// Names what is collected; each scrape fills counters of its own, so that two do not meet.
    empty: AnswerCounters,
}

struct AnswerCounters {
    answers: IntCounterVec,
    truncated: IntCounterVec,
    steered: IntCounterVec,
    silent: IntCounterVec,
    unsent: IntCounterVec,
    refused: IntCounterVec,
    panics: IntCounterVec,
    limited: IntCounterVec,
    cookies: IntCounterVec,
}

impl Answers {
    fn new(tallies: Vec<Arc<Tally>>) -> Answers {
        Answers { tallies, empty: AnswerCounters::new() }
    }
}

impl AnswerCounters {
    fn new() -> AnswerCounters {
        let transport = &["transport"];
        AnswerCounters {
            answers: counter_vec(
                "gslb_dns_answers_total",
                "answers written, by transport and response code",
                &["transport", "rcode"],
            ),
            truncated: counter_vec(
                "gslb_dns_truncated_total",
                "answers sent with TC because they did not fit",
                transport,
            ),
            steered: counter_vec(
                "gslb_dns_steered_total",
                "answers in which a service decided the addresses",
                transport,
            ),
            silent: counter_vec(
                "gslb_dns_unanswered_total",
                "packets that get no answer: responses, and those too short for a header",
                transport,
            ),
            unsent: counter_vec(
                "gslb_dns_unsent_total",
                "answers that the kernel refused to send",
                transport,
            ),
            refused: counter_vec(
                "gslb_dns_proxy_refused_datagrams_total",
                "datagrams from a listed proxy without a header of PROXY version 2, dropped",
                transport,
            ),
            panics: counter_vec(
                "gslb_dns_panics_total",
                "packets or connections given up because of a panic: please report the log line",
                transport,
            ),
            limited: counter_vec(
                "gslb_dns_rate_limited_total",
                "answers over dns.rate_limit, by what became of them",
                &["outcome"],
            ),
            cookies: counter_vec(
                "gslb_dns_cookies_total",
                "queries with a DNS cookie, by what it was",
                &["transport", "state"],
            ),
        }
    }

    fn add(&self, tally: &Tally) {
        let transport = tally.transport.as_str();
        for (rcode, count) in RCODES.iter().zip(&tally.by_rcode) {
            let labels = [transport, rcode.mnemonic()];
            self.answers.with_label_values(&labels).inc_by(count.load(Relaxed));
        }
        for (vec, count) in [
            (&self.truncated, &tally.truncated),
            (&self.steered, &tally.steered),
            (&self.silent, &tally.silent),
            (&self.unsent, &tally.unsent),
            (&self.refused, &tally.refused),
            (&self.panics, &tally.panics),
        ] {
            vec.with_label_values(&[transport]).inc_by(count.load(Relaxed));
        }
        // Only UDP has a limit.
        for (limited, count) in Limited::ALL.iter().zip(&tally.limited) {
            self.limited.with_label_values(&[limited.as_str()]).inc_by(count.load(Relaxed));
        }
        for (state, count) in cookie::State::ALL.iter().zip(&tally.cookies) {
            let labels = [transport, state.as_str()];
            self.cookies.with_label_values(&labels).inc_by(count.load(Relaxed));
        }
    }

    fn vecs(&self) -> [&IntCounterVec; 9] {
        let AnswerCounters {
            answers,
            truncated,
            steered,
            silent,
            unsent,
            refused,
            panics,
            limited,
            cookies,
        } = self;
        [answers, truncated, steered, silent, unsent, refused, panics, limited, cookies]
    }
}

impl Collector for Answers {
    fn desc(&self) -> Vec<&Desc> {
        self.empty.vecs().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let counters = AnswerCounters::new();
        self.tallies.iter().for_each(|tally| counters.add(tally));
        counters.vecs().into_iter().flat_map(Collector::collect).collect()
    }
}

/// What services have answered, read from the ledgers when asked for.
struct Services {
    ledgers: Ledgers,
    /// Names what is collected.
    empty: [IntCounterVec; 2],
}

impl Services {
    fn counters() -> [IntCounterVec; 2] {
        [
            counter_vec(
                "gslb_dns_service_answers_total",
                "answers in which a service had a say, and whether it had to do without a fit site",
                &["service", "failing"],
            ),
            counter_vec(
                "gslb_dns_site_answers_total",
                "answers in which a service named a site",
                &["service", "site"],
            ),
        ]
    }
}

impl Collector for Services {
    fn desc(&self) -> Vec<&Desc> {
        self.empty.iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let counters @ [answers, sites] = &Services::counters();
        for (service, account) in self.ledgers.accounts() {
            for (failing, count) in Failing::ALL.iter().zip(account.by_failing) {
                answers.with_label_values(&[&service, failing.as_str()]).inc_by(count);
            }
            for (site, count) in account.by_site {
                sites.with_label_values(&[&*service, &*site]).inc_by(count);
            }
        }
        counters.iter().flat_map(Collector::collect).collect()
    }
}
