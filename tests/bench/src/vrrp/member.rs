//! One box of a pair: its machine, what has its addresses, and our post there.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use gslb_tests::netns::{Namespace, Segment};

use super::client::Side;
use super::daemon::{self, Daemon, Kind, Programs, Router, log_tail};
use super::post::Post;
use crate::interrupt::Interrupt;

/// What ends first stands first.
pub struct Member {
    pub post: Post,
    pub daemon: Daemon,
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
        Ok(Member { post, daemon, machine, name: place.name, kind, home })
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
