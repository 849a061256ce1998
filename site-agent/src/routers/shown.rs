//! What is shown of virtual routers while they run: counted by their thread, read by everybody else.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::site::VirtualRouter;
use crate::vrrp::advert::Priority;
use crate::vrrp::machine::Fault;
use crate::vrrp::machine::action::Role;
use crate::vrrp::packet::{Form, Refusal};

/// One virtual router, to others.
#[derive(Debug)]
pub struct Shown {
    pub config: ArcSwap<VirtualRouter>,
    pub standing: ArcSwap<Standing>,
    pub counts: Counts,
}

/// What is seldom another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Standing {
    pub role: Role,
    /// Since boot.
    pub since: Duration,
    pub priority: Priority,
    /// What adverts are sent from, where the interface has an address.
    pub address: Option<IpAddr>,
    /// Why it is unfit, in Fault.
    pub fault: Option<Fault>,
    /// Who was last heard to be Active, since it was that itself.
    pub leader: Option<(IpAddr, Priority)>,
    pub is_yielding: bool,
    /// VIPs that the kernel did not take when they were last put on.
    pub vips_not_taken: usize,
}

#[derive(Debug, Default)]
pub struct Counts {
    pub sent: AtomicU64,
    /// Adverts that could not be sent.
    pub unsent: AtomicU64,
    pub heard: AtomicU64,
    /// Of version 3 over IPv4, by form.
    pub message: AtomicU64,
    pub pseudo_header: AtomicU64,
    /// Whose list of addresses is not ours.
    pub vips_differ: AtomicU64,
    pub refused: Refused,
    /// Times that it became Active, and that it was that no more.
    pub became_active: AtomicU64,
    pub ceased_active: AtomicU64,
}

/// What was refused, by why.
#[derive(Debug)]
pub struct Refused(Box<[(&'static str, AtomicU64)]>);

impl Default for Refused {
    fn default() -> Refused {
        Refused(Refusal::WORDS.iter().map(|word| (*word, AtomicU64::new(0))).collect())
    }
}

impl Refused {
    pub fn count(&self, refusal: &Refusal) {
        let word = refusal.word();
        if let Some((_, count)) = self.0.iter().find(|(known, _)| *known == word) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Those that have been.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = self.0.iter().map(|(word, count)| (*word, count.load(Relaxed)));
        all.filter(|(_, count)| *count > 0)
    }
}

impl Shown {
    pub fn new(config: Arc<VirtualRouter>) -> Shown {
        let standing = Standing {
            role: Role::Initialize,
            since: Duration::ZERO,
            priority: config.priority,
            address: None,
            fault: None,
            leader: None,
            is_yielding: false,
            vips_not_taken: 0,
        };
        let (config, standing) = (ArcSwap::new(config), ArcSwap::from_pointee(standing));
        Shown { config, standing, counts: Counts::default() }
    }
}

impl Counts {
    pub fn heard(&self, form: Form) {
        self.heard.fetch_add(1, Relaxed);
        match form {
            Form::Message => self.message.fetch_add(1, Relaxed),
            Form::PseudoHeader => self.pseudo_header.fetch_add(1, Relaxed),
        };
    }
}
