//! One vantage for a run: a CA, a name server that asks for looks, and a probe that does them, all real.
//!
//! The name server is on the generator's core, the probe on the one that is measured.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use gslb_tests::loopback;

use crate::clock;
use crate::cpu::Cores;
use crate::interrupt::Interrupt;
use crate::nginx::ZONE;
use crate::peers::{Running, sibling};

const SERVER: &str = "bench";
/// For what has to come up: the first two looks of every target, and the moments after a start in which a name server
/// takes nobody out.
const READY_WITHIN: Duration = Duration::from_secs(90);
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// For an answer of the probe's door.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Vantage {
    pub dns: SocketAddr,
    pub probe: Running,
    admin: SocketAddr,
    _name_server: Running,
}

/// What the world has of sites, checks and services, and the probe of keys.
pub struct Asked {
    pub world: String,
    pub probe: String,
}

/// The programs of the same profile as this one.
pub fn programs() -> anyhow::Result<[std::path::PathBuf; 2]> {
    let programs = [sibling("gslb-dns")?, sibling("probe")?];
    ensure!(
        programs.iter().all(|program| program.exists()),
        "gslb-dns or probe is not built; build them with: cargo build --release --workspace"
    );
    Ok(programs)
}

impl Vantage {
    /// Writes all that they need below `dir`, which is there, and starts both.
    pub fn start(dir: &Path, asked: &Asked, cores: Cores) -> anyhow::Result<Vantage> {
        let [name_server, probe] = programs()?;
        let pki = |words: &[&str]| -> anyhow::Result<()> {
            let mut command = Command::new(&name_server);
            let done = command.arg("pki").arg("--dir").arg(dir.join("pki")).args(words).output()?;
            ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            Ok(())
        };
        pki(&["init", "--cluster", "bench"])?;
        pki(&["issue", "dns", SERVER])?;
        pki(&["issue", "probe", "here"])?;
        let (dns, control, admin) =
            (loopback::address()?, loopback::address()?, loopback::address()?);
        let credentials = |name: &str| {
            format!(
                "ca = \"pki/ca.pem\"\ncertificate = \"pki/{name}.pem\"\nkey = \"pki/{name}.key\"\n"
            )
        };
        fs::create_dir_all(dir.join("state"))?;
        fs::write(
            dir.join("node.toml"),
            format!(
                "name = \"{SERVER}\"\ncluster = \"bench\"\nworld = \"world.toml\"\nstate_dir = \"state\"\n\
                 [dns]\nlisten = [\"{dns}\"]\nthreads = 1\ntalkers = false\n[control]\nlisten = \"{control}\"\n{}",
                credentials(SERVER)
            ),
        )?;
        fs::write(
            dir.join("zone"),
            "@ 60 SOA ns1 host 1 2 3 4 5\n@ 60 NS ns1\nns1 60 A 192.0.2.53\n",
        )?;
        let world = format!(
            "[zone.\"{ZONE}\"]\nfile = \"zone\"\n[vantage.here]\nplace = {{ country = \"NL\" }}\n{}",
            asked.world
        );
        fs::write(dir.join("world.toml"), world)?;
        fs::write(
            dir.join("probe.toml"),
            format!(
                "[admin]\nlisten = \"{admin}\"\n[probe]\nname = \"here\"\nstate_dir = \"looks\"\n\
                 report_to = [{{ address = \"{control}\", name = \"{SERVER}\" }}]\n{}{}",
                credentials("here"),
                asked.probe
            ),
        )?;
        let run = |program: &Path, config: &str| {
            let mut command = Command::new(program);
            command.arg("run").arg("--config").arg(dir.join(config));
            command
        };
        let of = |name: &str| dir.join(format!("{name}.log"));
        let server = run(&name_server, "node.toml");
        let _name_server = Running::start(&server, cores.generator, &of("gslb-dns"))?;
        let probe = Running::start(&run(&probe, "probe.toml"), cores.server, &of("probe"))?;
        Ok(Vantage { dns, probe, admin, _name_server })
    }

    /// Until so many targets are up, as the probe sees them.
    pub fn until_up(&mut self, targets: usize, interrupt: &Interrupt) -> anyhow::Result<()> {
        let deadline = clock::now() + READY_WITHIN;
        loop {
            interrupt.check()?;
            self._name_server.check()?;
            self.probe.check()?;
            let up = self.metrics().map(|all| all.sum("probe_targets{state=\"up\"}"));
            if up.as_ref().is_ok_and(|up| *up >= targets as f64) {
                return Ok(());
            }
            if clock::now() > deadline {
                bail!("not all of {targets} targets are up within {READY_WITHIN:?}: {up:?}");
            }
            clock::pause(ASK_AGAIN);
        }
    }

    pub fn metrics(&self) -> anyhow::Result<Metrics> {
        let mut stream = TcpStream::connect(self.admin)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text).context("the probe's metrics")?;
        Ok(Metrics(text))
    }
}

/// As the probe tells them.
pub struct Metrics(String);

impl Metrics {
    /// Of all series that begin so.
    pub fn sum(&self, series: &str) -> f64 {
        let of = |line: &str| line.strip_prefix(series)?.rsplit_once(' ')?.1.parse::<f64>().ok();
        self.0.lines().filter_map(of).sum()
    }
}

/// The n-th address of a /8 of loopback, each of which is this machine.
pub fn address(network: u8, number: usize) -> Ipv4Addr {
    let [_, _, high, low] = (number as u32 + 1).to_be_bytes();
    Ipv4Addr::new(127, network, high, low)
}

/// A port that is free at every address.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?.local_addr()?.port())
}

/// `[site.NAME]` with one address.
pub fn site(text: &mut String, name: &str, vip: Ipv4Addr) {
    let _ = writeln!(text, "[site.{name}]\nvips = [\"{vip}\"]");
}

/// A service that is looked at by the check `web`, at all of its sites.
pub fn service(text: &mut String, name: &str, sites: &[String], steer: &str) {
    let sites: Vec<String> = sites.iter().map(|site| format!("\"{site}\"")).collect();
    let _ = writeln!(
        text,
        "[service.\"{name}.{ZONE}\"]\nsites = [{}]\n{steer}check = [\"web\"]\nquorum = {{ down = 0.6, up = 0.6, \
         vantages = 1, domains = 1, max_removed = 1 }}\nwhen_all_down = \"open\"\nttl = {{ max = \"1s\" }}",
        sites.join(", ")
    );
}
