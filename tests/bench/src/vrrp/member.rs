//! One box of a pair: its machine, what has its addresses, and our post there.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use gslb_tests::netns::{Namespace, Segment};
use gslb_tests::process::Process;
use rustix::process::Signal;

use super::client::Side;
use super::daemon::{self, Balancer, Daemon, Kind, Programs, Router, log_tail};
use super::post::Post;
use crate::interrupt::Interrupt;

/// What ends first stands first.
pub struct Member {
    pub post: Post,
    pub daemon: Daemon,
    /// Where the address needs one.
    balancer: Option<Process>,
    machine: Namespace,
    /// On its link.
    pub name: &'static str,
    kind: Kind,
    pub home: PathBuf,
}

/// Who it is.
pub struct Place<'p> {
    pub side: Side,
    /// On its link.
    pub name: &'static str,
    /// Of its own, with a length.
    pub address: &'static str,
    /// The address of the pair that is looked for.
    pub vip: Ipv4Addr,
    /// Ours to write in.
    pub dir: &'p Path,
}

impl Member {
    pub fn join(
        link: &Segment,
        place: &Place<'_>,
        kind: Kind,
        programs: &Programs,
        routers: &[Router],
        interrupt: &Interrupt,
    ) -> anyhow::Result<Member> {
        let machine = link.join(place.name, &[place.address])?;
        let post = Post::start(&machine, place.side, place.vip)?;
        let home = place.dir.join(place.name);
        fs::create_dir_all(&home)?;
        daemon::tell(kind, &home, routers)?;
        let daemon = Daemon::start(kind, programs, &machine, &home, interrupt)?;
        let (name, balancer) = (place.name, None);
        let mut member = Member { post, daemon, balancer, machine, name, kind, home };
        if routers.iter().any(|router| router.balancer == Balancer::Serves) {
            member.start_balancer(programs)?;
        }
        Ok(member)
    }

    /// The one before has ended, if there was one.
    pub fn start_balancer(&mut self, programs: &Programs) -> anyhow::Result<()> {
        self.balancer = None;
        self.balancer = Some(daemon::balance(programs, &self.machine, &self.home)?);
        Ok(())
    }

    pub fn kill_balancer(&mut self) -> anyhow::Result<()> {
        self.balancer.as_mut().context("it has no balancer")?.signal(Signal::KILL)
    }

    /// After its process was ended, by whatever.
    pub fn start_again(
        &mut self,
        programs: &Programs,
        vip: &str,
        interrupt: &Interrupt,
    ) -> anyhow::Result<()> {
        self.daemon.ended(interrupt)?;
        if self.kind == Kind::Keepalived && self.post.has() {
            // Nobody else would ever take it off.
            self.machine.change(&format!("address del {vip} dev eth0"))?;
        }
        self.daemon = Daemon::start(self.kind, programs, &self.machine, &self.home, interrupt)?;
        Ok(())
    }

    pub fn tell(&self, routers: &[Router]) -> anyhow::Result<()> {
        daemon::tell(self.kind, &self.home, routers)
    }

    /// What role it says that its first virtual router has; keepalived says nothing.
    pub fn role(&self) -> anyhow::Result<Option<String>> {
        match self.kind {
            Kind::Keepalived => Ok(None),
            Kind::SiteAgent => {
                let status = self.daemon.status()?;
                Ok(status["routers"][0]["role"].as_str().map(str::to_owned))
            }
        }
    }

    /// For whoever wonders what went wrong.
    pub fn story(&self) -> String {
        let has = if self.post.has() { "has the address" } else { "does not have the address" };
        format!("{} {has}; its log ends:\n{}", self.name, log_tail(&self.home))
    }
}
