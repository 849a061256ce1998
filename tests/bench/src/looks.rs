//! What looks cost: one probe on one core, at thousands of targets that nginx serves on the other.

use std::path::Path;
use std::time::Duration;

use crate::cpu::{self, Cores, Spent};
use crate::interrupt::Interrupt;
use crate::peers::Running;
use crate::vantage::{Asked, Vantage, address, free_port, service, site};
use crate::{clock, nginx, vantage};

/// Targets of one service: one for each site.
const SITES: usize = 100;
/// Once all is up, before it is measured.
const WARM_UP: Duration = Duration::from_secs(5);
/// Of all looks: beyond this a probe does not keep up.
const MOST_LATE: f64 = 0.01;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Http,
    Https,
}

/// How much is looked at, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub kind: Kind,
    /// A multiple of 100.
    pub targets: usize,
    pub interval: Duration,
    pub lasting: Duration,
}

/// What came of it.
pub struct Outcome {
    plan: Plan,
    looks: f64,
    failed: f64,
    late: f64,
    missed: f64,
    /// Seconds that a look took on average.
    took: f64,
    spent: Spent,
    lasted: Duration,
    resident: u64,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Http => "http",
            Kind::Https => "https",
        }
    }
}

impl Outcome {
    fn share(&self) -> f64 {
        self.spent.scheduled.as_secs_f64() / self.lasted.as_secs_f64()
    }

    pub fn passed(&self) -> bool {
        let expected =
            self.lasted.as_secs_f64() * self.plan.targets as f64 / self.plan.interval.as_secs_f64();
        // Jitter only ever delays: a look comes up to a tenth of its interval after its place.
        self.looks > 0.9 * expected && self.late <= MOST_LATE * self.looks && self.missed == 0.0
    }

    pub fn heading() -> String {
        format!(
            "{:<6}{:>9}{:>10}{:>9}{:>8}{:>7}{:>8}{:>9}{:>8}{:>11}{:>10}{:>18}\n",
            "kind",
            "targets",
            "interval",
            "looks/s",
            "failed",
            "late",
            "missed",
            "ms/look",
            "core",
            "us/look",
            "RSS MiB",
            "targets of a core"
        )
    }

    pub fn text(&self) -> String {
        let Plan { kind, targets, interval, .. } = self.plan;
        let seconds = self.lasted.as_secs_f64();
        format!(
            "{:<6}{targets:>9}{:>9}s{:>9.0}{:>8}{:>7}{:>8}{:>9.2}{:>7.1}%{:>11.0}{:>10.1}{:>18.0}  {}\n",
            kind.as_str(),
            interval.as_secs_f64(),
            self.looks / seconds,
            self.failed,
            self.late,
            self.missed,
            self.took * 1e3,
            100.0 * self.share(),
            self.spent.scheduled.as_secs_f64() * 1e6 / self.looks.max(1.0),
            self.resident as f64 / f64::from(1 << 20),
            targets as f64 / self.share(),
            if self.passed() { "pass" } else { "FAIL" },
        )
    }
}

pub fn measure(
    plan: Plan,
    cores: Cores,
    dir: &Path,
    interrupt: &Interrupt,
) -> anyhow::Result<Outcome> {
    nginx::find()?;
    vantage::programs()?;
    let port = free_port()?;
    nginx::certify(dir)?;
    let _nginx = serve(dir, port, plan.kind, cores)?;
    let mut vantage = Vantage::start(dir, &asked(plan, port, dir), cores)?;
    vantage.until_up(plan.targets, interrupt)?;
    clock::pause(WARM_UP);
    let (before, spent, began) =
        (vantage.metrics()?, Spent::by(vantage.probe.pid())?, clock::now());
    while clock::now() - began < plan.lasting {
        interrupt.check()?;
        clock::pause(Duration::from_millis(100));
    }
    let (after, lasted) = (vantage.metrics()?, clock::now() - began);
    let spent = Spent::by(vantage.probe.pid())?.since(spent);
    let more = |series: &str| after.sum(series) - before.sum(series);
    let looks = more("probe_looks_total{");
    let of_kind = format!("{{kind=\"{}\",outcome=\"success\"}}", plan.kind.as_str());
    Ok(Outcome {
        plan,
        looks,
        failed: looks - more(&format!("probe_looks_total{of_kind}")),
        late: more("probe_looks_late_total"),
        missed: more("probe_looks_missed_total"),
        took: more("probe_look_duration_seconds_sum") / looks.max(1.0),
        spent,
        lasted,
        resident: cpu::resident(vantage.probe.pid())?,
    })
}

fn asked(plan: Plan, port: u16, dir: &Path) -> Asked {
    let mut world = format!(
        "[check.web]\nkind = \"{}\"\nport = {port}\npath = \"/healthz\"\ninterval = \"{}ms\"\ntimeout = \"2s\"\n",
        plan.kind.as_str(),
        plan.interval.as_millis()
    );
    let sites: Vec<String> = (0..SITES).map(|number| format!("s{number}")).collect();
    for (number, name) in sites.iter().enumerate() {
        site(&mut world, name, address(1, number));
    }
    for number in 0..plan.targets / SITES {
        service(&mut world, &format!("w{number}"), &sites, "");
    }
    Asked { world, probe: format!("roots = {:?}\n", dir.join("web.pem")) }
}

fn serve(dir: &Path, port: u16, kind: Kind, cores: Cores) -> anyhow::Result<Running> {
    let home = dir.display();
    let within_tls = match kind {
        Kind::Http => String::new(),
        Kind::Https => {
            format!("ssl_certificate {home}/web.pem; ssl_certificate_key {home}/web.key;\n")
        }
    };
    let how = if kind == Kind::Https { "ssl http2" } else { "" };
    let http = format!(
        "{within_tls}server {{ listen 0.0.0.0:{port} backlog=4096 {how}; \
         location = /healthz {{ return 200 \"ok\\n\"; }} }}"
    );
    let command = nginx::prepare(dir, 4096, &http)?;
    Running::start(&command, cores.generator, &dir.join("nginx.log"))
}
