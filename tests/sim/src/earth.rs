//! The world as it is configured: sites of two boxes, vantages in failure domains, name servers; as files and as numbers.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::check::{Check, Kind, Tcp, Timing};
use common::mtls::Files;
use common::streak::Thresholds;
use common::target::{Address, Target};
use gslb_dns::config;
use gslb_dns::world::{Control, Node, Peer, World};
use tempfile::TempDir;

use crate::clock::{ms, s};
use crate::dice::Dice;
use crate::site_box::{PORT, agent_name};

pub const SITES: [&str; 3] = ["fra", "iad", "nrt"];
/// Of a vantage's looks.
const INTERVAL: Duration = s(2);
pub const TIMEOUT: Duration = ms(500);
const FALL: u32 = 2;
/// Of failure domains, that make a quorum.
pub const SHARE: f64 = 0.6;
/// What probes alone may take out of `www`.
pub const MAX_REMOVED: f64 = 0.5;

/// How large everything is.
#[derive(Clone, Debug)]
pub struct Shape {
    pub servers: usize,
    pub sites: usize,
    /// By vantage: its failure domain.
    pub domains: Vec<usize>,
    pub when_all_down: &'static str,
    /// That a quorum takes.
    pub vantages: usize,
}

impl Shape {
    pub fn drawn(dice: &mut Dice) -> Shape {
        let domains = dice.one_of(&[
            &[0, 1, 2][..],
            &[0, 0, 1, 2],
            &[0, 0, 1, 1, 2],
            &[0, 0, 0, 1, 2],
            &[0, 1, 2, 3],
        ]);
        Shape {
            servers: 2 + usize::from(dice.percent(20)),
            sites: 3 - usize::from(dice.percent(25)),
            domains: domains.to_vec(),
            when_all_down: dice.one_of(&["open", "last-known", "static"]),
            vantages: 2 + usize::from(domains.len() > 3 && dice.percent(50)),
        }
    }

    pub fn vantages(&self) -> usize {
        self.domains.len()
    }

    fn world(&self) -> String {
        let mut text = String::from("[zone.\"example.com\"]\nfile = \"example.com.zone\"\n");
        let mut put = |line: std::fmt::Arguments<'_>| {
            writeln!(text, "{line}").expect("a string takes all that is written");
        };
        for (site, name) in SITES.iter().enumerate().take(self.sites) {
            put(format_args!("[site.{name}]\nvips = [\"{}\"]", vip(site)));
            put(format_args!(
                "agents = [\"{}\", \"{}\"]",
                agent_name(name, 0),
                agent_name(name, 1)
            ));
        }
        for (vantage, domain) in self.domains.iter().enumerate() {
            put(format_args!("[vantage.v{}]\ndomain = \"as{domain}\"", vantage + 1));
        }
        put(format_args!(
            "[check.web]\nkind = \"tcp\"\nport = {PORT}\nhost = \"www.example.com\"\n\
             interval = \"{}s\"\ntimeout = \"{}ms\"\nrise = 2\nfall = {FALL}\nok = 2",
            INTERVAL.as_secs(),
            TIMEOUT.as_millis()
        ));
        let sites: Vec<String> =
            SITES[..self.sites].iter().map(|name| format!("\"{name}\"")).collect();
        let sites = sites.join(", ");
        let fixed = match self.when_all_down {
            "static" => "static = [\"192.0.2.99\"]\n",
            _ => "",
        };
        for (name, steer, most, fails, fixed) in [
            ("www", "\"sticky\"", MAX_REMOVED, self.when_all_down, fixed),
            ("api", "\"failover\"", 1.0, "last-known", ""),
        ] {
            put(format_args!(
                "[service.\"{name}.example.com\"]\nsites = [{sites}]\nsteer = [{steer}]\n\
                 check = [\"web\"]\nquorum = {{ down = {SHARE}, up = {SHARE}, vantages = {}, domains = 2, \
                 max_removed = {most} }}\nwhen_all_down = \"{fails}\"\n{fixed}ttl = {{ max = \"4s\" }}",
                self.vantages
            ));
        }
        text
    }
}

pub fn vip(site: usize) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, 10 + u8::try_from(site).expect("sites are few"))
}

pub fn site_of(target: &Target) -> Option<usize> {
    let Address::Ip(address) = target.address else { return None };
    (0..SITES.len()).find(|site| address == vip(*site))
}

/// What vantages look at to know whether they see.
pub fn references() -> Vec<Target> {
    let two = NonZeroU16::new(2).expect("2 is not 0");
    let thresholds = Thresholds { rise: two, fall: two, ok: two };
    let reference = |last: u8| Target {
        address: Address::Ip([203, 0, 113, last].into()),
        port: 443,
        host: "reference".to_owned(),
        check: Check {
            kind: Kind::Tcp(Tcp::default()),
            timing: Timing::new(INTERVAL, TIMEOUT, thresholds),
        },
    };
    vec![reference(1), reference(2)]
}

const NODE: &str = "name = \"dns1\"\ncluster = \"example\"\nworld = \"world.toml\"\nstate_dir = \"state\"\n[dns]\nlisten = [\"127.0.0.1:0\"]\n";
const ZONE: &str = "@ 60 SOA ns1 h 1 2 3 4 5\n@ 60 NS ns1\nns1 60 A 198.51.100.53\n";

/// The files that name servers have.
#[derive(Debug)]
pub struct Disk {
    dir: TempDir,
    world: String,
    node: Node,
}

impl Disk {
    /// # Panics
    /// The files cannot be written, or the config is not good: then nothing can be simulated.
    pub fn of(shape: &Shape) -> Disk {
        let memory = Path::new("/dev/shm");
        let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let dir = made.expect("a folder of our own");
        let world = shape.world();
        for (name, text) in
            [("node.toml", NODE), ("world.toml", &world), ("example.com.zone", ZONE)]
        {
            fs::write(dir.path().join(name), text).expect("the folder is ours");
        }
        let config = config::load(&dir.path().join("node.toml"));
        let node = config.unwrap_or_else(|problems| panic!("{problems}\n{world}")).node;
        Disk { dir, world, node }
    }

    pub fn world(&self) -> World {
        let world = config::world_from_str(&self.world, self.dir.path());
        world.unwrap_or_else(|problems| panic!("{problems}"))
    }

    pub fn node(&self, server: usize, servers: usize) -> Node {
        let name = |server: usize| format!("dns{}", server + 1);
        let address = ([127, 0, 0, 1], 8453).into();
        let peers = (0..servers).filter(|peer| *peer != server);
        let nowhere = || PathBuf::from("none.pem");
        let (ca, certificate, key) = (nowhere(), nowhere(), nowhere());
        Node {
            name: name(server).into(),
            state_dir: self.state(server),
            control: Some(Control {
                listen: address,
                files: Files { ca, certificate, key, crl: None },
                peers: peers.map(|peer| Peer { address, name: name(peer).into() }).collect(),
            }),
            ..self.node.clone()
        }
    }

    fn state(&self, server: usize) -> PathBuf {
        self.dir.path().join(format!("state{server}"))
    }

    /// What a name server had written is gone.
    pub fn lose(&self, server: usize) {
        let state = self.state(server);
        if state.exists() {
            fs::remove_dir_all(&state).expect("the folder is ours");
        }
    }

    pub fn make(&self, server: usize) {
        fs::create_dir_all(self.state(server)).expect("the folder is ours");
    }
}
