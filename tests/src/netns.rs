//! Networks of their own for the parts of a world: a router in the middle, and paths through it that can be cut; or a
//! link on which all are neighbours.
//!
//! By network namespaces and `ip` of iproute2, as root. Over a path that is cut packets are dropped without a word.
//! All of it goes with its owner, also after a panic.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;

use anyhow::{Context as _, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What this machine lacks for it.
pub fn missing() -> Option<&'static str> {
    let has_ip = Command::new("ip").arg("-V").stdout(Stdio::null()).status().is_ok();
    if !rustix::process::geteuid().is_root() {
        Some("we are not root")
    } else if !has_ip {
        Some("`ip` of iproute2 is not installed")
    } else {
        None
    }
}

/// A router, to which members are joined.
pub struct Network {
    router: Namespace,
}

/// The machine that a thread in it, and every process that it starts, believes itself to be.
pub struct Namespace {
    name: String,
}

impl Network {
    /// `loopback` are addresses of the router itself.
    pub fn new(loopback: &[&str]) -> anyhow::Result<Network> {
        let router = Namespace::new()?;
        router.forward()?;
        let addresses = loopback.iter().map(|address| format!("addr add {address}/32 dev lo\n"));
        router.ip(&addresses.collect::<String>())?;
        Ok(Network { router })
    }

    /// A machine at `PREFIX.2`, with other addresses besides. The router is `PREFIX.1`.
    pub fn join(&self, prefix: &str, besides: &[&str]) -> anyhow::Result<Namespace> {
        let member = Namespace::new()?;
        let link = prefix.replace('.', "-");
        self.router.ip(&format!(
            "link add to-{link} type veth peer name uplink netns {}\naddr add {prefix}.1/24 dev to-{link}\n\
             link set to-{link} up\n",
            member.name
        ))?;
        let mut lines = format!(
            "addr add {prefix}.2/24 dev uplink\nlink set uplink up\nroute add default via {prefix}.1\n"
        );
        for address in besides {
            lines += &format!("addr add {address}/32 dev lo\n");
            self.router.ip(&format!("route add {address}/32 via {prefix}.2\n"))?;
        }
        member.ip(&lines)?;
        Ok(member)
    }

    /// What is for that network goes to the machine at `PREFIX.2`.
    pub fn route(&self, network: &str, prefix: &str) -> anyhow::Result<()> {
        self.router.ip(&format!("route add {network} via {prefix}.2\n"))
    }

    /// Nothing passes from one network to the other any more, in neither direction.
    pub fn cut(&self, one: &str, other: &str) -> anyhow::Result<()> {
        self.rules("add", one, other)
    }

    /// What was cut with the same words is whole again.
    pub fn heal(&self, one: &str, other: &str) -> anyhow::Result<()> {
        self.rules("del", one, other)
    }

    fn rules(&self, what: &str, one: &str, other: &str) -> anyhow::Result<()> {
        let rule = |from, to| format!("rule {what} from {from} to {to} blackhole\n");
        self.router.ip(&(rule(one, other) + &rule(other, one)))
    }

    /// Where the router itself is.
    pub fn router(&self) -> &Namespace {
        &self.router
    }
}

/// A link of Ethernet to which machines are joined: a switch that learns, and no more.
pub struct Segment {
    switch: Namespace,
}

impl Segment {
    pub fn new() -> anyhow::Result<Segment> {
        let switch = Namespace::new()?;
        // Without what asks hosts which groups they want, of which there is nobody here.
        switch.ip("link add br0 type bridge mcast_snooping 0\nlink set br0 up\n")?;
        Ok(Segment { switch })
    }

    /// A machine that is called `name` here, with these addresses on `eth0`.
    pub fn join(&self, name: &str, addresses: &[&str]) -> anyhow::Result<Namespace> {
        let member = Namespace::new()?;
        self.attach(name, &member, addresses)?;
        Ok(member)
    }

    /// The same of a machine that there is.
    pub fn attach(&self, name: &str, member: &Namespace, addresses: &[&str]) -> anyhow::Result<()> {
        self.switch.ip(&format!(
            "link add name to-{name} type veth peer name eth0 netns {}\nlink set to-{name} master br0 up\n",
            member.name
        ))?;
        // No address that nobody has asked for, and that cannot be used for its first second.
        let mut lines = "link set eth0 addrgenmode none\n".to_owned();
        for address in addresses {
            // Of IPv6 it could not be used for a second else.
            let nodad = if address.contains(':') { " nodad" } else { "" };
            lines += &format!("addr add {address} dev eth0{nodad}\n");
        }
        member.ip(&(lines + "link set eth0 up\n"))
    }

    /// Where its ports are: `to-NAME`, the other end of each machine's `eth0`.
    pub fn switch(&self) -> &Namespace {
        &self.switch
    }

    /// Nothing comes from there or gets there any more; its carrier stays.
    pub fn cut(&self, name: &str) -> anyhow::Result<()> {
        self.switch.ip(&format!("link set to-{name} nomaster\n"))
    }

    pub fn heal(&self, name: &str) -> anyhow::Result<()> {
        self.switch.ip(&format!("link set to-{name} master br0\n"))
    }

    /// It hears nothing that is for many, and is heard by all.
    pub fn deafen(&self, name: &str) -> anyhow::Result<()> {
        self.switch.ip(&format!("link set to-{name} type bridge_slave mcast_flood off\n"))
    }

    pub fn undeafen(&self, name: &str) -> anyhow::Result<()> {
        self.switch.ip(&format!("link set to-{name} type bridge_slave mcast_flood on\n"))
    }

    /// Its cable is pulled, and it sees that.
    pub fn unplug(&self, name: &str) -> anyhow::Result<()> {
        self.switch.ip(&format!("link set to-{name} down\n"))
    }

    pub fn plug_in(&self, name: &str) -> anyhow::Result<()> {
        self.switch.ip(&format!("link set to-{name} up\n"))
    }
}

impl Namespace {
    /// Whether its `eth0` has an address.
    pub fn has(&self, address: &str) -> anyhow::Result<bool> {
        Ok(!self.shown(address)?.is_empty())
    }

    /// What iproute2 shows of an address of `eth0`; nothing if it is not there.
    pub fn shown(&self, address: &str) -> anyhow::Result<String> {
        let arguments = ["-n", &self.name, "-o", "address", "show", "dev", "eth0", "to", address];
        Ok(String::from_utf8(Command::new("ip").args(arguments).output()?.stdout)?)
    }

    /// What iproute2 does there by this command of a batch.
    pub fn change(&self, line: &str) -> anyhow::Result<()> {
        self.ip(&format!("{line}\n"))
    }

    /// It passes on what is for others.
    pub fn forward(&self) -> anyhow::Result<()> {
        Ok(self.within(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1"))?)
    }

    fn new() -> anyhow::Result<Namespace> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let name = format!("gslb-{}-{number}", std::process::id());
        ip(&["netns", "add", &name], "")?;
        let namespace = Namespace { name };
        namespace.ip("link set lo up\n")?;
        Ok(namespace)
    }

    /// By which it can be entered.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs something in there, by a thread of its own.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let there = || {
            enter(&self.name).expect("we have made it, and root may enter it");
            act()
        };
        thread::scope(|scope| scope.spawn(there).join().unwrap_or_else(|why| resume_unwind(why)))
    }

    fn ip(&self, lines: &str) -> anyhow::Result<()> {
        ip(&["-n", &self.name, "-batch", "-"], lines)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Links into it go with it.
        let _ = ip(&["netns", "del", &self.name], "");
    }
}

/// From now on the calling thread is there, and all that it starts.
pub fn enter(name: &str) -> anyhow::Result<()> {
    let file = File::open(format!("/run/netns/{name}")).with_context(|| name.to_owned())?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("cannot enter {name}"))
}

fn ip(arguments: &[&str], lines: &str) -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    // Ctrl-C is for whoever started us: half a change would leave something behind.
    command.process_group(0);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start ip")?;
    child.stdin.take().context("it is piped")?.write_all(lines.as_bytes())?;
    let done = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "ip {}: {said}\n{lines}", arguments.join(" "));
    Ok(())
}
