//! What queries count: plain atomics, one tally for each UDP thread and one for each other transport.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::answer::{Answer, Limited, Transport};
use crate::cookie;
use crate::query::Rcode;

/// What one UDP thread, or all of another transport, has answered. Padded, so that no two threads write to one cache
/// line.
#[repr(align(128))]
pub struct Tally {
    pub(super) transport: Transport,
    /// In every ledger, the one that goes with this. `Metrics::new` gives them out.
    pub(super) page: AtomicUsize,
    pub(super) by_rcode: [AtomicU64; RCODES.len()],
    pub(super) truncated: AtomicU64,
    pub(super) steered: AtomicU64,
    pub(super) silent: AtomicU64,
    pub(super) unsent: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) panics: AtomicU64,
    pub(super) limited: [AtomicU64; Limited::ALL.len()],
    pub(super) cookies: [AtomicU64; cookie::State::ALL.len()],
}

/// What one batch has answered: plain numbers, added to a tally once a batch.
#[derive(Default)]
pub struct Counts {
    by_rcode: [u32; RCODES.len()],
    truncated: u32,
    steered: u32,
    silent: u32,
    refused: u32,
    limited: [u32; Limited::ALL.len()],
    cookies: [u32; cookie::State::ALL.len()],
}

impl Counts {
    pub fn count(&mut self, answer: Option<&Answer>) {
        let Some(answer) = answer else {
            self.silent += 1;
            return;
        };
        if let Some(cookie) = answer.cookie {
            self.cookies[cookie as usize] += 1;
        }
        if let Some(limited) = answer.limited {
            self.limited[limited as usize] += 1;
            if limited == Limited::Dropped {
                return;
            }
        }
        self.by_rcode[slot(answer.rcode)] += 1;
        self.truncated += u32::from(answer.truncated && answer.limited.is_none());
        self.steered += u32::from(answer.steered.is_some());
    }

    /// What came from a proxy had no header.
    pub fn count_refused(&mut self) {
        self.refused += 1;
    }
}

/// A code's place in `RCODES`.
fn slot(rcode: Rcode) -> usize {
    match rcode {
        Rcode::NoError => 0,
        Rcode::FormErr => 1,
        Rcode::ServFail => 2,
        Rcode::NxDomain => 3,
        Rcode::NotImp => 4,
        Rcode::Refused => 5,
        Rcode::YxDomain => 6,
        Rcode::BadVers => 7,
        Rcode::BadCookie => 8,
    }
}

pub(super) const RCODES: [Rcode; 9] = [
    Rcode::NoError,
    Rcode::FormErr,
    Rcode::ServFail,
    Rcode::NxDomain,
    Rcode::NotImp,
    Rcode::Refused,
    Rcode::YxDomain,
    Rcode::BadVers,
    Rcode::BadCookie,
];

impl Tally {
    pub fn new(transport: Transport) -> Tally {
        Tally {
            transport,
            page: AtomicUsize::new(0),
            by_rcode: Default::default(),
            truncated: AtomicU64::new(0),
            steered: AtomicU64::new(0),
            silent: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            limited: Default::default(),
            cookies: Default::default(),
        }
    }

    /// The number of the page on which what services answer is counted.
    pub fn page(&self) -> usize {
        self.page.load(Relaxed)
    }

    /// Adds what a batch counted.
    pub fn add(&self, counts: &Counts) {
        let Counts { by_rcode, truncated, steered, silent, refused, limited, cookies } = counts;
        let slots = self.by_rcode.iter().zip(by_rcode);
        let slots = slots.chain(self.limited.iter().zip(limited));
        let slots = slots.chain(self.cookies.iter().zip(cookies));
        let others = [
            (&self.truncated, truncated),
            (&self.steered, steered),
            (&self.silent, silent),
            (&self.refused, refused),
        ];
        for (total, &count) in slots.chain(others) {
            if count > 0 {
                add(total, count.into());
            }
        }
    }

    /// One packet's fate.
    pub fn count(&self, answer: Option<&Answer>) {
        let mut counts = Counts::default();
        counts.count(answer);
        self.add(&counts);
    }

    /// Answers that the kernel refused to send.
    pub fn count_unsent(&self, answers: usize) {
        if answers > 0 {
            add(&self.unsent, answers as u64);
        }
    }

    /// A packet or a connection was given up because its code panicked.
    pub fn count_panic(&self) {
        add(&self.panics, 1);
    }
}

/// Atomic, because connections of one transport share a tally.
fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Relaxed);
}
