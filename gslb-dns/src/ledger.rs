//! What each service has answered: how often without a fit site, and how often each site was named.
//!
//! A `Ledger` is of one world, because ids are, and hangs on its groundwork. It has a page for each tally, so
//! that no two threads write to one cache line. `Ledgers` has those that some thread may still write to, and by
//! name what those before them came to: a reload loses no count and takes no service for another. Never knows
//! who asked. Writing allocates nothing and takes no lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::ids::ServiceId;
use crate::site_set::SiteSet;
use crate::steer::Failing;
use crate::world::World;
use common::lock;

/// One service's part in one answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry {
    pub service: ServiceId,
    pub failing: Failing,
    /// The candidates that the answer names.
    pub named: SiteSet,
}

/// One thread's counters, or those of all connections of one transport.
#[derive(Clone, Copy)]
pub struct Page<'l> {
    firsts: &'l [u32],
    lines: &'l [Line],
}

/// The counters of one world.
pub struct Ledger {
    names: Vec<Names>,
    /// By service, its first counter: one for each of `Failing`, then one for each candidate.
    firsts: Box<[u32]>,
    pages: Box<[Box<[Line]>]>,
}

/// What one service's counters are called.
struct Names {
    service: Box<str>,
    sites: Box<[Box<str>]>,
}

const COUNTERS_IN_LINE: usize = 16;

/// As many octets as processors fetch together, so that pages share none.
#[derive(Default)]
#[repr(align(128))]
struct Line([AtomicU64; COUNTERS_IN_LINE]);

/// The ledger of the present world, and what is left of those before it.
#[derive(Clone)]
pub struct Ledgers {
    pages: usize,
    kept: Arc<lock::Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    /// The last is the present world's. The others stay until no thread can write to them any more.
    open: Vec<Arc<Ledger>>,
    /// What closed ledgers came to, as far as the present world has it.
    carried: Accounts,
}

/// By the service's name.
pub type Accounts = HashMap<Box<str>, Account>;

/// What one service has answered.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Account {
    /// In the order of `Failing::ALL`.
    pub by_failing: [u64; Failing::ALL.len()],
    pub by_site: HashMap<Box<str>, u64>,
}

impl Page<'_> {
    pub fn write(&self, entry: &Entry) {
        let first = self.firsts[entry.service.index()] as usize;
        self.count(first + entry.failing as usize);
        for candidate in entry.named.iter() {
            self.count(first + Failing::ALL.len() + candidate);
        }
    }

    /// Atomic, because connections of one transport share a page.
    fn count(&self, counter: usize) {
        counter_of(self.lines, counter).fetch_add(1, Relaxed);
    }
}

fn counter_of(lines: &[Line], counter: usize) -> &AtomicU64 {
    &lines[counter / COUNTERS_IN_LINE].0[counter % COUNTERS_IN_LINE]
}

impl Ledger {
    /// One with no page: nothing is counted in it.
    pub fn closed() -> Ledger {
        Ledger { names: vec![], firsts: [].into(), pages: [].into() }
    }

    fn of(world: &World, pages: usize) -> Ledger {
        let names = world.services.iter().map(|service| Names {
            service: service.name.to_string().into(),
            sites: service.candidates.iter().map(|one| world.site(one.site).name.clone()).collect(),
        });
        let names: Vec<Names> = names.collect();
        let mut counters = 0;
        let first = |names: &Names| {
            let first = counters;
            counters += Failing::ALL.len() + names.sites.len();
            first as u32 // At most 65536 services with 131 counters each.
        };
        let firsts = names.iter().map(first).collect();
        let lines = counters.div_ceil(COUNTERS_IN_LINE);
        let page = |_| (0..lines).map(|_| Line::default()).collect();
        Ledger { names, firsts, pages: (0..pages).map(page).collect() }
    }

    pub fn page(&self, number: usize) -> Option<Page<'_>> {
        self.pages.get(number).map(|lines| Page { firsts: &self.firsts, lines })
    }

    /// All pages together.
    fn sum(&self, counter: usize) -> u64 {
        self.pages.iter().map(|lines| counter_of(lines, counter).load(Relaxed)).sum()
    }

    fn accounts(&self) -> Accounts {
        let account = |(names, &first): (&Names, &u32)| {
            let first = first as usize;
            let sites = names.sites.iter().zip(first + Failing::ALL.len()..);
            let by_failing = std::array::from_fn(|failing| self.sum(first + failing));
            let by_site = sites.map(|(site, counter)| (site.clone(), self.sum(counter))).collect();
            (names.service.clone(), Account { by_failing, by_site })
        };
        self.names.iter().zip(&self.firsts).map(account).collect()
    }
}

impl Ledgers {
    pub fn new(pages: usize) -> Ledgers {
        Ledgers { pages, kept: Arc::default() }
    }

    /// Opens the ledger of a world that is about to answer. What it does not have is forgotten.
    pub fn open(&self, world: &World) -> Arc<Ledger> {
        let next = Arc::new(Ledger::of(world, self.pages));
        let mut carried = next.accounts();
        let mut kept = self.kept.lock();
        add(&mut carried, std::mem::take(&mut kept.carried));
        kept.carried = carried;
        kept.open.push(Arc::clone(&next));
        kept.close_unused();
        next
    }

    /// What every service of the present world has answered since it came into the world, and each site since
    /// it came into the service.
    pub fn accounts(&self) -> Accounts {
        let mut kept = self.kept.lock();
        kept.close_unused();
        let Some((present, earlier)) = kept.open.split_last() else {
            return Accounts::new();
        };
        let mut accounts = present.accounts();
        earlier.iter().for_each(|ledger| add(&mut accounts, ledger.accounts()));
        add(&mut accounts, kept.carried.clone());
        accounts
    }
}

impl Kept {
    /// Carries over what stands in ledgers that nobody else holds: it is all that will ever stand there.
    fn close_unused(&mut self) {
        let mut later = self.open.len();
        self.open.retain_mut(|ledger| {
            later -= 1;
            let unused = if later > 0 { Arc::get_mut(ledger) } else { None };
            if let Some(ledger) = &unused {
                add(&mut self.carried, ledger.accounts());
            }
            unused.is_none()
        });
    }
}

/// Adds to the accounts that there are, and to their sites.
fn add(accounts: &mut Accounts, more: Accounts) {
    for (service, more) in more {
        let Some(account) = accounts.get_mut(&service) else { continue };
        account.by_failing.iter_mut().zip(more.by_failing).for_each(|(sum, more)| *sum += more);
        for (site, more) in more.by_site {
            if let Some(sum) = account.by_site.get_mut(&site) {
                *sum += more;
            }
        }
    }
}
