//! Every metric of this daemon: its name, its labels, its meaning. Nothing else names one.
//!
//! What the threads of the data path count is read when somebody asks: they know nothing of metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use common::renewal::State as Renewal;
use common::telling::{Meters, Word};
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::backends::State;
use crate::balancer::Shown;
use crate::routers::shown as routers;
use crate::site::Mode;
use crate::upstream::{CLASSES, Upstream};
use crate::vrrp::machine::action::Role;
use crate::vrrp::packet::Form;

/// What is counted beside the data path.
#[derive(Debug, Default)]
pub struct Reloads {
    pub done: AtomicU64,
    pub refused: AtomicU64,
}

/// What is counted of telling name servers. Cheap to clone: all clones count the same.
#[derive(Clone, Debug)]
pub struct Telling {
    registry: Registry,
    reports: IntCounterVec,
    certificate_expiry: IntGauge,
    certificate_ok: IntGauge,
    renewal: IntGaugeVec,
}

/// One answer to a scraper.
struct Page(Registry);

impl Telling {
    pub fn new() -> Telling {
        let registry = Registry::new();
        let reports = IntCounterVec::new(
            Opts::new("site_agent_reports_total", "Reports, by name server and by its answer"),
            &["server", "answer"],
        );
        let certificate_expiry = IntGauge::new(
            "site_agent_certificate_expiry_timestamp_seconds",
            "When the certificate ends that name servers are shown, in Unix seconds",
        );
        let certificate_ok = IntGauge::new(
            "site_agent_certificate_ok",
            "1 if that certificate, its key, the CA and revocation lists were good when last read",
        );
        let renewal = IntGaugeVec::new(
            Opts::new(
                "site_agent_certificate_renewal",
                "How far the next certificate is: 1 for the state that it is in",
            ),
            &["state"],
        );
        let reporting = Telling {
            registry,
            reports: reports.expect("it is well named"),
            certificate_expiry: certificate_expiry.expect("it is well named"),
            certificate_ok: certificate_ok.expect("it is well named"),
            renewal: renewal.expect("it is well named"),
        };
        let Telling { registry, reports, certificate_expiry, certificate_ok, renewal } =
            reporting.clone();
        let all: [Box<dyn prometheus::core::Collector>; 4] = [
            Box::new(reports),
            Box::new(certificate_expiry),
            Box::new(certificate_ok),
            Box::new(renewal),
        ];
        for collector in all {
            registry.register(collector).expect("nobody else has its name");
        }
        reporting.certificate_ok.set(1);
        reporting.renewal_is(Renewal::Early);
        reporting
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

impl Default for Telling {
    fn default() -> Telling {
        Telling::new()
    }
}

impl Meters for Telling {
    fn reported(&self, server: &str, word: Word) {
        self.reports.with_label_values(&[server, word.as_str()]).inc();
    }

    fn credentials_are(&self, good: bool) {
        self.certificate_ok.set(good.into());
    }

    fn certificate_ends(&self, not_after: i64) {
        self.certificate_expiry.set(not_after);
    }

    fn renewal_is(&self, now: Renewal) {
        for state in Renewal::ALL {
            self.renewal.with_label_values(&[state.as_str()]).set((state == now).into());
        }
    }
}

impl Page {
    fn counter(&self, name: &str, help: &str, labels: &[&str], values: Vec<(Vec<&str>, u64)>) {
        let counter = IntCounterVec::new(Opts::new(name, help), labels).expect("it is well named");
        for (labels, value) in values {
            counter.with_label_values(&labels).inc_by(value);
        }
        self.0.register(Box::new(counter)).expect("nobody else has its name");
    }

    fn gauge(&self, name: &str, help: &str, labels: &[&str], values: Vec<(Vec<&str>, u64)>) {
        let gauge = IntGaugeVec::new(Opts::new(name, help), labels).expect("it is well named");
        for (labels, value) in values {
            gauge.with_label_values(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        self.0.register(Box::new(gauge)).expect("nobody else has its name");
    }
}

/// All of them, in Prometheus' format.
pub fn text(shown: &Shown, reloads: &Reloads, reporting: Option<&Telling>) -> String {
    let page = Page(Registry::new());
    frontends(&page, shown);
    pools(&page, shown);
    servers(&page, shown);
    let count = |of: &AtomicU64| of.load(Relaxed);
    page.counter(
        "site_agent_reloads_total",
        "Configs that were taken, and that were refused",
        &["outcome"],
        vec![(vec!["done"], count(&reloads.done)), (vec!["refused"], count(&reloads.refused))],
    );
    let mut text = String::new();
    let told = reporting.map(|reporting| reporting.registry.gather()).unwrap_or_default();
    let families = [page.0.gather(), told].concat();
    let encoded = TextEncoder::new().encode_utf8(&families, &mut text);
    encoded.expect("what is well named can be written");
    text
}

/// Those of the virtual routers' service, which is a process of its own.
pub fn of_routers(
    shown: &[Arc<routers::Shown>],
    balancers: usize,
    lost: u64,
    notified: &[(&'static str, u64)],
    skipped: u64,
    config_ok: bool,
) -> String {
    let page = Page(Registry::new());
    let names: Vec<Arc<str>> =
        shown.iter().map(|router| Arc::clone(&router.config.load().name)).collect();
    let all = || names.iter().zip(shown);
    let of = |value: &dyn Fn(&routers::Counts) -> &AtomicU64| {
        all().map(|(name, shown)| (vec![&**name], value(&shown.counts).load(Relaxed))).collect()
    };
    const ROUTER: &[&str] = &["router"];
    let mut roles = vec![];
    let mut priorities = vec![];
    let mut not_taken = vec![];
    let mut refused = vec![];
    let mut forms = vec![];
    for (name, shown) in all() {
        let standing = shown.standing.load();
        for role in Role::ALL {
            roles.push((vec![&**name, role.word()], u64::from(standing.role == role)));
        }
        priorities.push((vec![&**name], u64::from(standing.priority.get())));
        not_taken.push((vec![&**name], standing.vips_not_taken as u64));
        refused.extend(shown.counts.refused.all().map(|(why, count)| (vec![&**name, why], count)));
        let counts = [
            (Form::Message, &shown.counts.message),
            (Form::PseudoHeader, &shown.counts.pseudo_header),
        ];
        forms.extend(counts.map(|(form, count)| (vec![&**name, form.word()], count.load(Relaxed))));
    }
    page.gauge(
        "site_agent_vrrp_config_ok",
        "1 if the config was good when it was last read",
        &[],
        vec![(vec![], u64::from(config_ok))],
    );
    page.gauge(
        "site_agent_vrrp_role",
        "1 for the role that a virtual router has",
        &["router", "role"],
        roles,
    );
    page.gauge("site_agent_vrrp_priority", "What it says of itself", ROUTER, priorities);
    page.gauge(
        "site_agent_vrrp_vips_not_taken",
        "VIPs that the kernel did not take when they were last put on",
        ROUTER,
        not_taken,
    );
    page.counter(
        "site_agent_vrrp_became_active_total",
        "Times that it became Active",
        ROUTER,
        of(&|counts| &counts.became_active),
    );
    page.counter(
        "site_agent_vrrp_ceased_active_total",
        "Times that it was Active and then was not",
        ROUTER,
        of(&|counts| &counts.ceased_active),
    );
    page.counter(
        "site_agent_vrrp_adverts_sent_total",
        "Adverts, one for each peer",
        ROUTER,
        of(&|counts| &counts.sent),
    );
    page.counter(
        "site_agent_vrrp_adverts_unsent_total",
        "Adverts that could not be sent",
        ROUTER,
        of(&|counts| &counts.unsent),
    );
    page.counter(
        "site_agent_vrrp_adverts_heard_total",
        "Adverts of others that were taken",
        ROUTER,
        of(&|counts| &counts.heard),
    );
    page.counter(
        "site_agent_vrrp_adverts_refused_total",
        "Packets that were dropped, by why",
        &["router", "why"],
        refused,
    );
    page.counter(
        "site_agent_vrrp_checksum_form_total",
        "Adverts that were taken, by what they are summed with",
        &["router", "form"],
        forms,
    );
    page.counter(
        "site_agent_vrrp_vips_differ_total",
        "Adverts that were taken and have other addresses than ours",
        ROUTER,
        of(&|counts| &counts.vips_differ),
    );
    page.gauge(
        "site_agent_vrrp_balancers",
        "Balancers of this box that serve",
        &[],
        vec![(vec![], balancers as u64)],
    );
    page.counter(
        "site_agent_vrrp_events_lost_total",
        "Events that were not logged, as there were too many at once",
        &[],
        vec![(vec![], lost)],
    );
    page.counter(
        "site_agent_vrrp_notified_total",
        "Times that vrrp_service.notify was run, by how it ended",
        &["result"],
        notified.iter().map(|(result, count)| (vec![*result], *count)).collect(),
    );
    page.counter(
        "site_agent_vrrp_notify_skipped_total",
        "Changes of role that were told with another one, as there were too many at once",
        &[],
        vec![(vec![], skipped)],
    );
    let mut text = String::new();
    let encoded = TextEncoder::new().encode_utf8(&page.0.gather(), &mut text);
    encoded.expect("what is well named can be written");
    text
}

fn frontends(page: &Page, shown: &Shown) {
    const LABELS: &[&str] = &["frontend"];
    let of = |value: &dyn Fn(&crate::worker::Traffic) -> &AtomicU64| {
        let each = shown.frontends.iter();
        each.map(|(config, traffic)| (vec![&*config.name], value(traffic).load(Relaxed))).collect()
    };
    page.gauge(
        "site_agent_frontend_connections",
        "Connections of clients now",
        LABELS,
        of(&|traffic| &traffic.current),
    );
    page.gauge(
        "site_agent_frontend_upgraded",
        "Connections of clients now that have become another protocol, such as WebSocket",
        LABELS,
        of(&|traffic| &traffic.upgraded),
    );
    page.counter(
        "site_agent_frontend_connections_total",
        "Connections of clients",
        LABELS,
        of(&|traffic| &traffic.connections),
    );
    page.counter(
        "site_agent_frontend_requests_total",
        "Requests, refused ones included",
        LABELS,
        of(&|traffic| &traffic.requests),
    );
    page.counter(
        "site_agent_frontend_refused_total",
        "What was no request, or had no PROXY header where one must be",
        LABELS,
        of(&|traffic| &traffic.refused),
    );
    page.counter(
        "site_agent_frontend_denied_total",
        "Requests and connections that a rule denied",
        LABELS,
        of(&|traffic| &traffic.denied),
    );
    page.counter(
        "site_agent_frontend_handshake_errors_total",
        "TLS handshakes that did not come to their end",
        LABELS,
        of(&|traffic| &traffic.handshake_errors),
    );
    page.counter(
        "site_agent_frontend_received_bytes_total",
        "Octets from clients",
        LABELS,
        of(&|traffic| &traffic.received),
    );
    page.counter(
        "site_agent_frontend_sent_bytes_total",
        "Octets to clients",
        LABELS,
        of(&|traffic| &traffic.sent),
    );
    let each = shown.certificates.iter();
    page.gauge(
        "site_agent_frontend_certificate_expiry_timestamp_seconds",
        "When the certificate ends that clients are shown, in Unix seconds",
        &["frontend", "file"],
        each.map(|of| (vec![&*of.frontend, &*of.file], u64::try_from(of.ends).unwrap_or(0)))
            .collect(),
    );
    let mut statuses = vec![];
    for (config, traffic) in &shown.frontends {
        for (class, count) in CLASSES.iter().zip(traffic.answers.load()) {
            statuses.push((vec![&*config.name, *class], count));
        }
    }
    page.counter(
        "site_agent_frontend_responses_total",
        "Answers by the class of their status; none for requests that had no answer",
        &["frontend", "class"],
        statuses,
    );
}

fn pools(page: &Page, shown: &Shown) {
    const LABELS: &[&str] = &["pool"];
    let mut states = vec![];
    let (mut usable, mut whole, mut waiting) = (vec![], vec![], vec![]);
    for upstream in &shown.upstreams {
        let name = &*upstream.config.name;
        let standing = &upstream.shown().standing;
        for (state, word) in
            [(State::Serving, "serving"), (State::Empty, "empty"), (State::Drained, "drained")]
        {
            states.push((vec![name, word], u64::from(standing.state == state)));
        }
        usable.push((vec![name], standing.capacity.usable));
        whole.push((vec![name], standing.capacity.whole));
        waiting.push((vec![name], upstream.waiting() as u64));
    }
    let help = "1 for the state that the pool is in";
    page.gauge("site_agent_pool_state", help, &["pool", "state"], states);
    let help = "What the usable servers can take: requests a second, or thousandths of a server";
    page.gauge("site_agent_pool_capacity_usable", help, LABELS, usable);
    let help = "What all servers could take, in the same unit";
    page.gauge("site_agent_pool_capacity", help, LABELS, whole);
    page.gauge("site_agent_pool_waiting", "Requests that wait for a server", LABELS, waiting);
    let mut answers = vec![];
    for upstream in speaking_http(shown) {
        for (class, count) in CLASSES.iter().zip(upstream.answers.load()) {
            answers.push((vec![&*upstream.config.name, *class], count));
        }
    }
    page.counter(
        "site_agent_pool_responses_total",
        "Answers to its requests by the class of their status, ours included; none where there was none",
        &["pool", "class"],
        answers,
    );
}

/// What TCP carries has no status.
fn speaking_http(shown: &Shown) -> impl Iterator<Item = &Arc<Upstream>> {
    shown.upstreams.iter().filter(|upstream| upstream.config.mode == Mode::Http)
}

fn servers(page: &Page, shown: &Shown) {
    const LABELS: &[&str] = &["pool", "server"];
    let of = |value: &dyn Fn(&crate::upstream::Server) -> u64| {
        let mut values = vec![];
        for upstream in &shown.upstreams {
            for server in upstream.servers() {
                values.push((vec![&*upstream.config.name, &*server.name], value(server)));
            }
        }
        values
    };
    let count = |of: &AtomicU64| of.load(Relaxed);
    let help = "Requests that the server has now, or connections of tcp";
    page.gauge(
        "site_agent_server_in_flight",
        help,
        LABELS,
        of(&|server| u64::from(server.in_flight())),
    );
    for (name, help, value) in [
        (
            "site_agent_server_requests_total",
            "Requests that had a place there, or connections of tcp",
            of(&|server| count(&server.counts.requests)),
        ),
        (
            "site_agent_server_connections_total",
            "Connections made to it",
            of(&|server| count(&server.counts.connections)),
        ),
        (
            "site_agent_server_connect_errors_total",
            "Connections to it that did not come to be",
            of(&|server| count(&server.counts.connect_errors)),
        ),
        (
            "site_agent_server_reused_total",
            "Requests that found an idle connection to it",
            of(&|server| count(&server.counts.reused)),
        ),
        (
            "site_agent_server_response_errors_total",
            "Requests to it of which no whole response came",
            of(&|server| count(&server.counts.response_errors)),
        ),
        (
            "site_agent_server_retries_total",
            "Requests that were sent again after they had failed there",
            of(&|server| count(&server.counts.retries)),
        ),
        (
            "site_agent_server_sent_bytes_total",
            "Octets to it",
            of(&|server| count(&server.counts.sent)),
        ),
        (
            "site_agent_server_received_bytes_total",
            "Octets from it",
            of(&|server| count(&server.counts.received)),
        ),
    ] {
        page.counter(name, help, LABELS, value);
    }
    let mut answers = vec![];
    for upstream in speaking_http(shown) {
        for server in upstream.servers() {
            // That it said nothing is an error of its own.
            for (class, count) in CLASSES.iter().zip(server.counts.answers.load()).skip(1) {
                answers.push((vec![&*upstream.config.name, &*server.name, *class], count));
            }
        }
    }
    page.counter(
        "site_agent_server_responses_total",
        "Its answers that went to clients, by the class of their status",
        &["pool", "server", "class"],
        answers,
    );
    let mut up = vec![];
    for upstream in &shown.upstreams {
        let takers = &upstream.shown().standing.takers;
        for (place, server) in upstream.servers().iter().enumerate() {
            let takes = takers.iter().any(|taker| taker.id.0 == place);
            up.push((vec![&*upstream.config.name, &*server.name], u64::from(takes)));
        }
    }
    page.gauge("site_agent_server_takes", "1 while it is given requests", LABELS, up);
}
