//! The fleet of the operator's guide, from nothing: its commands, word for word, on machines with systemd and our units.
//!
//! All machines are on one link. A machine that is none of the guide's is the rest of the world: the other sites, the
//! servers behind the pair, its gateway, what probes refer to, and clients.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use gslb_tests::asking::answered;
use gslb_tests::backend::Placed;
use gslb_tests::balancer::can;
use gslb_tests::machine::{self, Machine};
use gslb_tests::netns::{Namespace, Segment};
use gslb_tests::peers;
use gslb_tests::process::Process;
use gslb_tests::resolver::Resolver;
use gslb_tests::server::built;
use gslb_tests::wait::until;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;

use super::guide::{self, Block};

const WWW: &str = "www.example.com";
/// The client of the guide, who is in Frankfurt.
const CLIENT: &str = "192.0.2.10/32";
const FRANKFURT: &str = "198.51.100.20";
const AMSTERDAM: &str = "198.51.100.10";
const NAME_SERVERS: [&str; 2] = ["192.0.2.1:53", "192.0.2.2:53"];
/// Addresses of the guide's table; where that says «any», some that are free.
const MACHINES: [(&str, &[&str]); 8] = [
    ("ca", &["192.0.2.9/24"]),
    ("dns1", &["192.0.2.1/24", "2001:db8:53::1/64"]),
    ("dns2", &["192.0.2.2/24", "2001:db8:53::2/64"]),
    ("ams", &["192.0.2.101/24", "2001:db8:53::101/64"]),
    ("nyc", &["192.0.2.102/24", "2001:db8:53::102/64"]),
    ("sin", &["192.0.2.103/24", "2001:db8:53::103/64"]),
    ("fra-a", &["198.51.100.21/28", "2001:db8:f::21/64"]),
    ("fra-b", &["198.51.100.22/28", "2001:db8:f::22/64"]),
];
/// Fra's gateway and servers, the VIPs of the other sites, and the references of the example's probe.
const WORLD: [&str; 13] = [
    "198.51.100.17/28",
    "10.10.10.11/24",
    "10.10.10.12/24",
    "10.10.10.13/24",
    "198.51.100.10/32",
    "203.0.113.10/32",
    "203.0.113.20/32",
    "2001:db8:a::10/128",
    "2001:db8:1::10/128",
    "2001:db8:2::10/128",
    "198.41.0.4/32",
    "193.0.14.129/32",
    "199.7.83.42/32",
];
const SERVERS: [[u8; 4]; 3] = [[10, 10, 10, 11], [10, 10, 10, 12], [10, 10, 10, 13]];
const REFERENCES: [&str; 3] = ["198.41.0.4:53", "193.0.14.129:53", "199.7.83.42:53"];
/// How files get from one machine to another here. Everything else is the guide's.
const SCP: &str = r#"
scp() {
    local to=${*: -1}
    local host=${to%%:*} folder=${to#*:}
    mkdir -p "/run/sent/${host#*@}/$folder"
    cp -p "${@:1:$#-1}" "/run/sent/${host#*@}/$folder"
}
"#;

/// Machines first: they end before the networks that they are on.
struct Fleet {
    machines: BTreeMap<&'static str, Machine>,
    blocks: Vec<Block>,
    _networks: Vec<Namespace>,
}

impl Fleet {
    fn boot(link: &Segment) -> Fleet {
        let (mut machines, mut networks) = (BTreeMap::new(), vec![]);
        for (name, addresses) in MACHINES {
            let network = join(link, name, addresses);
            machines.insert(name, Machine::boot(&network, name).unwrap());
            networks.push(network);
        }
        Fleet { machines, blocks: guide::blocks(), _networks: networks }
    }

    /// Does what the guide says under this heading. What each machine printed, in order.
    fn follow(&mut self, heading: &str) -> Vec<(String, String)> {
        let (these, left): (Vec<Block>, Vec<Block>) =
            self.blocks.drain(..).partition(|block| block.heading == heading);
        self.blocks = left;
        assert!(!these.is_empty(), "the guide has nothing to do under {heading:?}");
        let mut said = vec![];
        for Block { machines, script, .. } in these {
            for name in machines {
                said.push((name.clone(), self.on(&name).does(&format!("{SCP}{script}")).unwrap()));
                self.deliver(&name);
            }
        }
        said
    }

    fn on(&self, name: &str) -> &Machine {
        self.machines.get(name).unwrap_or_else(|| panic!("the guide has no machine {name:?}"))
    }

    /// What a machine has sent is on the others, over files that are there as scp writes them.
    fn deliver(&self, from: &str) {
        let sent = self.on(from).path("/run/sent");
        let mut waiting = vec![(PathBuf::new(), sent.clone())];
        while let Some((path, at)) = waiting.pop() {
            if at.is_dir() {
                let entries = fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().file_name());
                waiting.extend(entries.map(|entry| (path.join(&entry), at.join(&entry))));
            } else if at.is_file() {
                let (host, path) = path.to_str().unwrap().split_once('/').unwrap();
                fs::copy(&at, self.on(host).path(path)).unwrap();
                fs::remove_file(at).unwrap();
            }
        }
    }
}

/// On a link on which everybody is a neighbour, whatever their prefixes say.
fn join(link: &Segment, name: &str, addresses: &[&str]) -> Namespace {
    let network = link.join(name, addresses).unwrap();
    network.change("route add default dev eth0").unwrap();
    network.change("route add ::/0 dev eth0").unwrap();
    network
}

/// Whom the name servers send clients of a network to.
fn sent(world: &Namespace, network: &str) -> Vec<String> {
    world.within(|| {
        let ask = |server: &str| {
            let mut resolver = Resolver::of(server.parse().unwrap()).unwrap();
            let addresses = answered(&mut resolver, WWW, network);
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        NAME_SERVERS.map(ask).to_vec()
    })
}

/// Returns once clients of a network are sent there by both.
fn until_sent(world: &Namespace, network: &str, to: &str) {
    let what = format!("clients of {network} are sent to {to}");
    until(&what, || Ok(sent(world, network).iter().all(|sent| sent == to).then_some(()))).unwrap();
}

/// What a client gets at an address of Frankfurt.
fn get(world: &Namespace, at: &str, certificate: &Path) -> Option<String> {
    let resolve = format!("{WWW}:443:{at}");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "2", "--resolve", &resolve, "--cacert"]);
    curl.arg(certificate).arg(format!("https://{WWW}/"));
    let done = world.within(|| curl.output()).unwrap();
    done.status.success().then(|| String::from_utf8(done.stdout).unwrap())
}

/// Servers of DNS that know of nothing and are up: what a probe refers to.
struct References(Arc<AtomicBool>, Vec<thread::JoinHandle<()>>);

impl References {
    fn begin(world: &Namespace) -> References {
        let stop = Arc::new(AtomicBool::new(false));
        let answer = |at: &str| {
            let stopping = Arc::clone(&stop);
            let socket = world.within(|| UdpSocket::bind(at)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            thread::spawn(move || {
                let mut query = [0; 512];
                while !stopping.load(Relaxed) {
                    let Ok((length, from)) = socket.recv_from(&mut query) else { continue };
                    // The question as it came, for the root: a name of one octet. No record, and no OPT.
                    let mut answer = query[..length.min(12 + 5)].to_vec();
                    answer[2..4].copy_from_slice(&[0x84, 0]);
                    answer[6..12].fill(0);
                    let _ = socket.send_to(&answer, from);
                }
            })
        };
        let threads = REFERENCES.map(answer).into();
        References(stop, threads)
    }
}

impl Drop for References {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
        for thread in self.1.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The sites that have no machines here: each VIP leads to servers that are up.
fn other_sites(world: &Namespace, dir: &Path) -> Process {
    let vips = WORLD[4..10].iter().map(|vip| {
        let vip = vip.split('/').next().unwrap();
        SocketAddr::new(vip.parse().unwrap(), 443).to_string()
    });
    let bind: Vec<String> = vips.map(|vip| format!("{vip:?}")).collect();
    let config = format!(
        "[frontend.https]\nbind = [{}]\ntls = {{ certificates = \"certs/\" }}\npool = \"web\"\n\
         access_log = {{ format = \"off\" }}\n[pool.web]\nservers = [{{ name = \"web01\", address = \"10.10.10.11:8080\" }}]\n",
        bind.join(", ")
    );
    fs::write(dir.join("site.toml"), config).unwrap();
    let mut command = Command::new(built("site-agent").unwrap());
    command.args(["run", "--threads", "1", "--config"]).arg(dir.join("site.toml"));
    world.within(|| Process::spawn(command.env("GSLB_LOG", "error"))).unwrap()
}

/// A certificate of the site, in `certs/` of a folder.
fn certify() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([WWW.to_owned()]).unwrap();
    fs::create_dir(dir.path().join("certs")).unwrap();
    fs::write(dir.path().join("certs/www.pem"), cert.pem()).unwrap();
    fs::write(dir.path().join("certs/www.key"), signing_key.serialize_pem()).unwrap();
    dir
}

/// What the guide leaves to the operator: the site's certificates, and who believes them.
fn bring_certificates(fleet: &Fleet, dir: &Path) {
    for name in ["fra-a", "fra-b"] {
        let certs = fleet.on(name).path("/etc/site-agent/certs");
        fs::create_dir_all(&certs).unwrap();
        for file in ["www.pem", "www.key"] {
            fs::copy(dir.join("certs").join(file), certs.join(file)).unwrap();
        }
    }
    for name in ["ams", "nyc", "sin"] {
        // As `update-ca-certificates` would put it together.
        let roots = fleet.on(name).path("/etc/ssl/certs/ca-certificates.crt");
        fs::copy(dir.join("certs/www.pem"), roots).unwrap();
    }
}

/// CAP_SYS_RESOURCE, without which nobody has higher limits than we were started with.
fn may_raise_limits() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    u64::from_str_radix(held, 16).unwrap() & 1 << 24 != 0
}

/// Where systemd cannot give what the unit asks for (`LimitRTPRIO`), what has the same effect; memory is not locked then.
fn allow_real_time(fleet: &Fleet) {
    for name in ["fra-a", "fra-b"].iter().filter(|_| !may_raise_limits()) {
        let folder = fleet.on(name).path("/etc/systemd/system/site-agent-vrrp.service.d");
        fs::create_dir_all(&folder).unwrap();
        let also =
            "[Service]\nAmbientCapabilities=CAP_SYS_NICE\nCapabilityBoundingSet=CAP_SYS_NICE\n";
        fs::write(folder.join("real-time.conf"), also).unwrap();
    }
}

/// The units of a machine.
fn units(machine: &str) -> &'static [&'static str] {
    match machine {
        "dns1" | "dns2" => &["gslb-dns"],
        "ams" | "nyc" | "sin" => &["probe"],
        "fra-a" | "fra-b" => &["site-agent-vrrp", "site-agent"],
        _ => &[],
    }
}

#[test]
fn the_guide_leads_from_nothing_to_a_fleet() {
    let no_curl = (!can("curl", &["--version"])).then_some("curl is not installed");
    let no_dig = (!can("dig", &["-v"])).then_some("dig is not installed");
    if peers::missing(machine::missing().chain(no_curl).chain(no_dig)) {
        return;
    }
    let link = Segment::new().unwrap();
    let world = join(&link, "world", &WORLD);
    let dir = certify();
    let _servers = SERVERS.map(|server| Placed::start(&world, (server.into(), 8080)).unwrap());
    let _references = References::begin(&world);
    let mut fleet = Fleet::boot(&link);
    bring_certificates(&fleet, dir.path());
    allow_real_time(&fleet);
    let certificate = dir.path().join("certs/www.pem");
    let last = |said: Vec<(String, String)>| said.last().unwrap().1.clone();

    fleet.follow("The CA");
    let said = last(fleet.follow("The first name server"));
    assert!(said.starts_with(&format!("{FRANKFURT}\n")), "{said}");
    let said = last(fleet.follow("The second name server"));
    assert!(said.ends_with(&format!("{FRANKFURT}\n")), "{said}");

    // Frankfurt has no balancers yet: probes see it, and tell.
    let _others = other_sites(&world, dir.path());
    fleet.follow("Three probes");
    until_sent(&world, CLIENT, AMSTERDAM);

    // Now it has: a share of its clients comes back at once.
    let said = fleet.follow("A pair of balancers");
    // Who does not run, or is not heard, does not say that; a problem would have ended it.
    let is_well = "service: its thread runs in real time";
    let doctors = said.iter().filter(|(_, said)| said.contains(is_well));
    let doctors: Vec<&str> = doctors.map(|(machine, _)| &**machine).collect();
    assert_eq!(doctors, ["fra-a", "fra-b"], "{said:#?}");
    let networks: Vec<String> = (0..64).map(|number| format!("9.9.{number}.0/24")).collect();
    let comes_back = || {
        let sent = networks.iter().map(|network| sent(&world, network));
        Ok(sent.flatten().any(|sent| sent == FRANKFURT).then_some(()))
    };
    until("somebody is sent to Frankfurt again", comes_back).unwrap();
    for at in [FRANKFURT, "[2001:db8:f::10]"] {
        until("Frankfurt serves", || Ok(get(&world, at, &certificate))).unwrap();
    }
    let serves = || Ok(fleet.on("dns1").does("gslb-dns board")?.contains("serving").then_some(()));
    until("agents are heard", serves).unwrap();

    confined(&fleet);
    looks(&fleet);
    healthy(&fleet);
    reloaded(&fleet);
    come_back(&fleet);

    let said = fleet.follow("Take a site out, and bring it back");
    let elsewhere = said.iter().find(|(machine, _)| machine == "dns2").unwrap();
    assert!(elsewhere.1.ends_with(&format!("{AMSTERDAM}\n")), "{said:#?}");

    fleet.follow("Upgrade");
    fleet.follow("Backup");
    fleet.follow("Sockets from systemd");
    fleet.follow("PKI");
    // What was ordered is known to who has nothing but the backup.
    let overrides = fleet.on("dns2").does("gslb-dns overrides").unwrap();
    assert!(overrides.contains("new power supply"), "{overrides}");

    // After the hand-over of the guide this box has the addresses.
    let status = "site-agent vrrp status --config /etc/site-agent/site.toml";
    let active = fleet.on("fra-b").does(status).unwrap();
    assert!(active.contains("active"), "{active}");
    fleet.machines.remove("fra-b").unwrap().cut_power();
    until("the other box serves", || Ok(get(&world, FRANKFURT, &certificate))).unwrap();

    assert_eq!(fleet.blocks.len(), 0, "nobody has followed these: {:#?}", fleet.blocks);
    stopped(&fleet);
}

/// Each runs as the unit has it: a filter of system calls, no way to another user, and no more than it may.
fn confined(fleet: &Fleet) {
    for (name, machine) in &fleet.machines {
        for unit in units(name) {
            let process = machine.does(&format!("systemctl show -P MainPID {unit}")).unwrap();
            let status = machine.path(&format!("/proc/{}/status", process.trim()));
            let status = fs::read_to_string(status).unwrap();
            for expected in ["Seccomp:\t2", "NoNewPrivs:\t1"] {
                assert!(status.contains(expected), "{unit} of {name}: {expected} in {status}");
            }
            // What it may not write: anything that is not its own.
            let writable =
                machine.run(&format!("test -w /proc/{}/root/etc", process.trim())).unwrap();
            assert_eq!(writable.code, Some(1), "{unit} of {name}: {writable:?}");
        }
        if units(name).contains(&"site-agent-vrrp") {
            let log = machine.log("site-agent-vrrp").unwrap();
            assert!(!log.contains("real time"), "{log}");
            assert_eq!(log.contains("memory is not locked"), !may_raise_limits(), "{log}");
            let classes = machine.does("ps -eLo cls,comm | grep '^ RR' || true").unwrap();
            assert!(classes.contains("RR"), "{classes}: no thread runs in real time");
        }
    }
}

/// What a probe can be asked for and this world does not: an echo without root, and a program, within its unit.
fn looks(fleet: &Fleet) {
    let machine = fleet.on("ams");
    machine.does("echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range").unwrap();
    for (name, look) in [
        ("echo", "icmp 192.0.2.1"),
        ("program", "external 192.0.2.1 --program /bin/bash -- -c 'test $(ulimit -n) = 64'"),
    ] {
        let unit = fs::read_to_string(machine.path("/etc/systemd/system/probe.service")).unwrap();
        let start = format!("ExecStart=/usr/local/bin/probe look {look}\n");
        let unit = unit
            .replace("Type=notify", "Type=oneshot")
            .replace("Restart=on-failure", "Restart=no")
            .replace("ExecStart=/usr/local/bin/probe run --config /etc/probe/probe.toml\n", &start);
        fs::write(machine.path(&format!("/etc/systemd/system/{name}.service")), unit).unwrap();
        machine.does(&format!("systemctl daemon-reload; systemctl start {name}")).unwrap();
    }
}

/// What the images ask: whether they are well.
fn healthy(fleet: &Fleet) {
    for (name, port) in [("dns1", 8080), ("ams", 8404), ("fra-a", 8404)] {
        let machine = fleet.on(name);
        machine.does(&format!("deploy/healthy {port}")).unwrap();
        assert_eq!(machine.run(&format!("deploy/healthy {}", port + 1)).unwrap().code, Some(1));
    }
}

/// A reload is heard, and keeps the process.
fn reloaded(fleet: &Fleet) {
    for (name, machine) in &fleet.machines {
        for unit in units(name) {
            let process = || machine.does(&format!("systemctl show -P MainPID {unit}")).unwrap();
            let (before, said) = (process(), machine.log(unit).unwrap().len());
            machine.does(&format!("systemctl reload {unit}")).unwrap();
            let heard = || {
                let log = machine.log(unit)?;
                let new = &log[said..];
                assert!(!new.contains("ERROR"), "{unit} of {name}: {new}");
                let words = match *unit {
                    "gslb-dns" => "reloaded: the world is the same",
                    "probe" => "config taken",
                    _ => "the config is taken",
                };
                Ok(new.contains(words).then_some(()))
            };
            until(&format!("{unit} of {name} has read its config again"), heard).unwrap();
            assert_eq!(process(), before, "{unit} of {name}");
        }
    }
}

/// Who is killed is started again, and again: more often than systemd allows unless it is told to.
fn come_back(fleet: &Fleet) {
    let machine = fleet.on("fra-b");
    let process = || machine.does("systemctl show -P MainPID site-agent-vrrp");
    for _ in 0..6 {
        let killed = process().unwrap();
        machine.does("systemctl kill --signal=KILL site-agent-vrrp").unwrap();
        let again = || {
            let is_ready =
                machine.run("systemctl is-active --quiet site-agent-vrrp")?.code == Some(0);
            let process = process()?;
            Ok((is_ready && process != killed && process.trim() != "0").then_some(()))
        };
        until("it is started again", again).unwrap();
    }
}

/// Each ends when it is asked to, of its own.
fn stopped(fleet: &Fleet) {
    for (name, machine) in &fleet.machines {
        for unit in units(name) {
            machine.does(&format!("systemctl stop {unit}")).unwrap();
            let result = machine.does(&format!("systemctl show -P Result {unit}")).unwrap();
            assert_eq!(result.trim(), "success", "{unit} of {name}: {:?}", machine.log(unit));
        }
    }
}
