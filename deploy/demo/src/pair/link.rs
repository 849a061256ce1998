//! The link: a switch to which both boxes are joined, and a client on it, who asks for the address all the time.

use std::fs;
use std::io::{BufRead as _, Write as _, stdin};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use site_agent::vrrp_service::desk;
use site_agent::vrrp_service::status::Status;
use tokio::runtime::{Builder, Runtime};

use super::{MEMBER, PAGE_PORT, Part, SHOWN, VIP, end_with_starter, member};
use crate::ask;
use crate::say;
use crate::world::BOXES;

/// Between two looks at who has the address.
const LOOK: Duration = Duration::from_millis(100);

struct Link {
    dir: PathBuf,
    boxes: [Option<Part>; BOXES.len()],
    runtime: Runtime,
}

/// Until its input is closed.
pub fn run(dir: &Path) -> anyhow::Result<()> {
    end_with_starter()?;
    enter_own_network()?;
    ip(
        "link set lo up\nlink add br0 type bridge mcast_snooping 0\naddr add 192.0.2.1/24 dev br0\n\
        link set br0 up\n",
    )?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut link = Link { dir: dir.to_owned(), boxes: BOXES.map(|_| None), runtime };
    for index in 0..BOXES.len() {
        link.revive(index)?;
    }
    link.show()?;
    say("ready\n");
    link.follow(&orders());
    for one in link.boxes.into_iter().flatten() {
        one.kill();
    }
    Ok(())
}

/// What it is told to do.
fn orders() -> Receiver<String> {
    let (to, orders) = channel();
    thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
    orders
}

impl Link {
    fn follow(&mut self, orders: &Receiver<String>) {
        loop {
            match orders.recv_timeout(LOOK) {
                Ok(order) => match self.obey(&order) {
                    Ok(()) => say("done\n"),
                    Err(why) => say(&format!("{why:#}\n")),
                },
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // A disk that is full for a while is nothing to end for.
            let _ = self.show();
        }
    }

    fn obey(&mut self, order: &str) -> anyhow::Result<()> {
        let (what, one) = order.split_once(' ').context("an order names a box")?;
        let index = BOXES.iter().position(|name| *name == one).context("no such box")?;
        match what {
            "kill" => {
                if let Some(part) = self.boxes[index].take() {
                    part.kill();
                }
                Ok(())
            }
            "revive" => self.revive(index),
            _ => bail!("no such order"),
        }
    }

    fn revive(&mut self, index: usize) -> anyhow::Result<()> {
        let name = BOXES[index];
        let home = member::home(&self.dir, name);
        fs::create_dir_all(&home).with_context(|| home.display().to_string())?;
        let mut part = Part::start(&[MEMBER, name], &self.dir)?;
        part.until_says("here").with_context(|| format!("box {name}"))?;
        ip(&format!(
            "link add name to-{name} type veth peer name eth0 netns {}\nlink set to-{name} master br0 up\n",
            part.child.id()
        ))?;
        part.tell("joined")?;
        part.until_says("ready").with_context(|| format!("box {name}"))?;
        self.boxes[index] = Some(part);
        Ok(())
    }

    /// Written whole, so that nobody reads half of it.
    fn show(&self) -> anyhow::Result<()> {
        let at: SocketAddr = format!("{VIP}:{PAGE_PORT}").parse()?;
        let page = ask::page(at, "/").unwrap_or_else(|_| "nobody\n".to_owned());
        let mut text = format!("{VIP} is answered by {page}");
        for (name, part) in BOXES.iter().zip(&self.boxes) {
            let is = match part {
                None => "killed".to_owned(),
                Some(_) => self.role(name).unwrap_or_else(|error| format!("silent: {error:#}")),
            };
            text += &format!("  box {name}  {is}\n");
        }
        let (file, beside) = (self.dir.join(SHOWN), self.dir.join("vrrp.new"));
        fs::write(&beside, text)?;
        Ok(fs::rename(beside, file)?)
    }

    fn role(&self, name: &str) -> anyhow::Result<String> {
        let socket = member::home(&self.dir, name).join(member::SOCKET);
        let answer = self.runtime.block_on(desk::ask(&socket, "status"))?;
        let status: Status = serde_json::from_str(&answer)?;
        let router = status.routers.first().context("it has no virtual router")?;
        Ok(format!("{:7} priority {}", router.role, router.priority))
    }
}

/// Whoever did this shares no interface and no address with the machine, not even loopback.
pub fn enter_own_network() -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network of its own")
}

/// Commands of a batch, there where we are.
pub fn ip(lines: &str) -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    // Ctrl-C is for whoever started us.
    command.process_group(0);
    command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let child = command.stderr(Stdio::piped()).spawn();
    let mut child = child.context("cannot run `ip`, of Debian's package iproute2")?;
    child.stdin.take().context("it is piped")?.write_all(lines.as_bytes())?;
    let done = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "ip: {}", said.lines().collect::<Vec<_>>().join("; "));
    Ok(())
}
