//! The proxies of a run: site-agent, HAProxy and nginx, each told the same in its own language.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use super::backend::{self, Backend, all, free_port, listens, until_answered};
use crate::cpu::Cores;
use crate::nginx;
use crate::peers::{Running, sibling};

const HAPROXY: &str = "/usr/sbin/haproxy";
/// HAProxy keeps idle connections to servers for as long as it has a quarter of its descriptors in use at most, and those are by its
/// limit of clients: with this many more than come, it keeps all.
const HAPROXY_SPARE: usize = 900;
/// Idle connections to servers that nginx keeps. site-agent keeps as many to each of the four.
const IDLE: usize = 1024;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    SiteAgent,
    /// site-agent of another build.
    Against,
    HaProxy,
    Nginx,
}

/// A proxy that answers.
pub struct Proxy {
    pub kind: Kind,
    pub doors: Doors,
    /// Of a small answer, head and body.
    pub reply_size: usize,
    pub running: Running,
}

/// Its ports; each is open at all of the bench's addresses.
#[derive(Clone, Copy, Debug)]
pub struct Doors {
    pub http: u16,
    pub https: u16,
    /// nginx has none.
    pub tcp: u16,
    /// For large streams. HAProxy splices here whatever it sees, which short ones would suffer for; the others have one
    /// door for both.
    pub streams: u16,
}

/// The programs of a run.
pub struct Programs {
    pub site_agent: PathBuf,
    pub against: Option<PathBuf>,
}

/// What all proxies of a work have to know.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// Ours to write in; the certificate is here.
    pub dir: &'a Path,
    pub backend: &'a Backend,
    /// Clients at a time.
    pub connections: usize,
    pub cores: Cores,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::SiteAgent => "site-agent",
            Kind::Against => "against",
            Kind::HaProxy => "haproxy",
            Kind::Nginx => "nginx",
        }
    }
}

impl Programs {
    pub fn find(against: Option<PathBuf>) -> anyhow::Result<Programs> {
        let site_agent = sibling("site-agent")?;
        if !site_agent.exists() {
            bail!("site-agent is not built; build it with: cargo build --release --workspace");
        }
        nginx::find()?;
        if !Path::new(HAPROXY).exists() {
            bail!(
                "haproxy is not installed; install with: apt-get install --no-install-recommends haproxy"
            );
        }
        Ok(Programs { site_agent, against })
    }

    pub fn kinds(&self) -> Vec<Kind> {
        let mut kinds = vec![Kind::SiteAgent];
        kinds.extend(self.against.as_ref().map(|_| Kind::Against));
        kinds.extend([Kind::HaProxy, Kind::Nginx]);
        kinds
    }

    pub fn start(&self, kind: Kind, world: &World<'_>) -> anyhow::Result<Proxy> {
        let tcp = free_port()?;
        let streams = if kind == Kind::HaProxy { free_port()? } else { tcp };
        let doors = Doors { http: free_port()?, https: free_port()?, tcp, streams };
        let command = match kind {
            Kind::SiteAgent => site_agent(kind, &self.site_agent, doors, world)?,
            Kind::Against => {
                let against = self.against.as_ref().context("no other build is known")?;
                site_agent(kind, against, doors, world)?
            }
            Kind::HaProxy => haproxy(doors, world)?,
            Kind::Nginx => nginx(doors, world)?,
        };
        let log = world.dir.join(format!("{}.log", kind.name()));
        let mut running = Running::start(&command, world.cores.server, &log)?;
        let address = SocketAddr::from((backend::ADDRESSES[0], doors.http));
        let reply_size = until_answered(&mut running, address)
            .with_context(|| format!("{} did not come up", kind.name()))?;
        Ok(Proxy { kind, doors, reply_size, running })
    }
}

/// Descriptors that one of them may ask for: HAProxy wants a client, a server and half a pipe for each of its limit.
pub fn descriptors(connections: usize) -> usize {
    (connections + HAPROXY_SPARE) * 5 / 2
}

/// Where site-agent's file is, for who changes it.
pub fn site_agent_file(kind: Kind, dir: &Path) -> PathBuf {
    dir.join(format!("{}.toml", kind.name()))
}

fn site_agent(
    kind: Kind,
    program: &Path,
    doors: Doors,
    world: &World<'_>,
) -> anyhow::Result<Command> {
    let file = site_agent_file(kind, world.dir);
    fs::write(&file, site_agent_text(doors, world, world.backend.ports[0])?)?;
    let mut command = Command::new(program);
    command.arg("run").arg("--config").arg(&file).args(["--threads", "1"]);
    let mut check = Command::new(program);
    checked(check.arg("check").arg("--config").arg(&file))?;
    Ok(command)
}

/// All that asks by HTTP goes to `port` of the servers.
pub fn site_agent_text(doors: Doors, world: &World<'_>, port: u16) -> anyhow::Result<String> {
    let most = world.connections + 100;
    let mut text = String::new();
    for (name, door, more) in [
        ("http", doors.http, ""),
        ("https", doors.https, "tls = { certificates = \"web.pem\" }\n"),
        ("tcp", doors.tcp, "mode = \"tcp\"\n"),
    ] {
        let pool = if name == "tcp" { "streams" } else { "web" };
        let keep_alive = if name == "tcp" { "" } else { ", keep_alive = \"1h\"" };
        let bind: Vec<String> = all(door).iter().map(|address| format!("\"{address}\"")).collect();
        writeln!(
            text,
            "[frontend.{name}]\nbind = [{}]\npool = \"{pool}\"\n{more}max_connections = {most}\n\
             timeouts = {{ client = \"1h\"{keep_alive} }}\naccess_log = {{ format = \"off\" }}",
            bind.join(", ")
        )?;
    }
    for (name, mode, port) in [("web", "http", port), ("streams", "tcp", world.backend.ports[0])] {
        writeln!(text, "[pool.{name}]\nmode = \"{mode}\"\nbalance = \"round-robin\"\nservers = [")?;
        for (number, address) in all(port).iter().enumerate() {
            writeln!(text, "  {{ name = \"s{number}\", address = \"{address}\" }},")?;
        }
        writeln!(text, "]")?;
    }
    Ok(text)
}

fn haproxy(doors: Doors, world: &World<'_>) -> anyhow::Result<Command> {
    let bind = |door, how: &str| -> String {
        all(door).iter().map(|address| format!("    bind {address}{how}\n")).collect()
    };
    let servers: String = all(world.backend.ports[0])
        .iter()
        .enumerate()
        .map(|(number, address)| format!("    server s{number} {address}\n"))
        .collect();
    // The certificate and its key in one file.
    let pem = world.dir.join("haproxy.pem");
    let parts = [fs::read(world.dir.join("web.pem"))?, fs::read(world.dir.join("web.key"))?];
    fs::write(&pem, parts.concat())?;
    let forwarded = "    option forwardfor\n    http-request set-header X-Forwarded-Proto";
    // Everything that speaks for it: any request goes on a connection that is there, and streams are spliced.
    let text = format!(
        "global\n    nbthread 1\n    maxconn {most}\n\
         defaults\n    mode http\n    backlog 4096\n    timeout connect 5s\n    timeout client 1h\n    \
         timeout server 1h\n    timeout http-keep-alive 1h\n    http-reuse always\n\
         frontend http\n{http}{forwarded} http\n    default_backend web\n\
         frontend https\n{https}{forwarded} https\n    default_backend web\n\
         frontend tcp\n    mode tcp\n    option splice-auto\n{tcp}    default_backend streams\n\
         frontend streams\n    mode tcp\n    option splice-request\n    option splice-response\n\
         {streams}    default_backend streams\n\
         backend web\n    balance roundrobin\n{servers}\
         backend streams\n    mode tcp\n    option splice-auto\n    balance roundrobin\n{servers}",
        most = world.connections + HAPROXY_SPARE,
        http = bind(doors.http, ""),
        https = bind(doors.https, &format!(" ssl crt {} alpn h2,http/1.1", pem.display())),
        tcp = bind(doors.tcp, ""),
        streams = bind(doors.streams, ""),
    );
    let file = world.dir.join("haproxy.cfg");
    fs::write(&file, text)?;
    let mut command = Command::new(HAPROXY);
    command.arg("-db").arg("-f").arg(&file);
    let mut check = Command::new(HAPROXY);
    checked(check.arg("-c").arg("-f").arg(&file))?;
    Ok(command)
}

fn nginx(doors: Doors, world: &World<'_>) -> anyhow::Result<Command> {
    let home = world.dir.join("nginx");
    fs::create_dir_all(&home)?;
    let servers: String = all(world.backend.ports[0])
        .iter()
        .map(|address| format!("server {address} max_fails=0; "))
        .collect();
    let dir = world.dir.display();
    let text = format!(
        "keepalive_requests 1000000000; keepalive_timeout 1h; proxy_max_temp_file_size 0;\n\
         upstream web {{ {servers} keepalive {IDLE}; keepalive_requests 1000000000; keepalive_timeout 1h; }}\n\
         server {{ {http} {https} ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {dir}/web.pem; ssl_certificate_key {dir}/web.key;\n\
         location / {{ proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
         proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; \
         proxy_set_header X-Forwarded-Proto $scheme; }} }}",
        http = listens(doors.http, " backlog=4096"),
        https = listens(doors.https, " ssl http2 backlog=4096"),
    );
    // A client and a server of each.
    nginx::prepare(&home, 2 * world.connections + 100, &text)
}

fn checked(check: &mut Command) -> anyhow::Result<()> {
    let done = check.output()?;
    ensure!(
        done.status.success(),
        "{} refuses its configuration:\n{}{}",
        check.get_program().display(),
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(())
}

pub fn haproxy_version() -> anyhow::Result<String> {
    let output = Command::new(HAPROXY).arg("-v").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().nth(2).context("haproxy does not say its version")?;
    Ok(version.to_owned())
}
