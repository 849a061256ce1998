//! Twenty clients of the control listener, each on its own connection over mutual TLS, telling what it is told to say.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use common::clock::monotonic;
use common::report::{Mark, Reply, State};
use common::target::TargetId;
use gslb_tests::control::Client;
use gslb_tests::pki::Ca;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{interval, timeout};

use super::fleet::{Churn, Targets, VANTAGES, Vantage, vantage_name};
use crate::clock;

/// How often it is looked at who has found out what.
const STEP: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(10);

/// All vantages, on a runtime of one thread.
pub struct Crew {
    runtime: Option<Runtime>,
    desks: Vec<mpsc::UnboundedSender<Order>>,
    changing: watch::Sender<bool>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    reports: AtomicU64,
    entries: AtomicU64,
}

/// What one vantage is to say from now on.
struct Order {
    target: TargetId,
    state: State,
    /// When the report with it is about to be sent, and when it has been taken.
    sent: Option<oneshot::Sender<Instant>>,
    taken: Option<oneshot::Sender<()>>,
}

impl Crew {
    /// Connects all of them and has each tell everything.
    pub fn start(
        server: (SocketAddr, &str),
        ca: &Ca,
        targets: &Targets,
        seed: u64,
    ) -> anyhow::Result<Crew> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let counts = Arc::new(Counts::default());
        let mut desks = Vec::new();
        for number in 0..VANTAGES {
            let holder = ca.issue(&format!("gslb://bench/probe/{}", vantage_name(number)));
            let client = runtime.block_on(Client::to(server.0, server.1, &holder));
            let (desk, orders) = mpsc::unbounded_channel();
            let (vantage, counts) = (Vantage::new(number, targets), Arc::clone(&counts));
            runtime.spawn(tell(vantage, client, orders, counts));
            desks.push(desk);
        }
        let (changing, changes) = watch::channel(false);
        let churn = Churn::new(targets, seed, monotonic());
        runtime.spawn(stir(churn, changes, desks.clone()));
        let crew = Crew { runtime: Some(runtime), desks, changing, counts };
        let first = targets.id(0, 0, 0);
        (0..VANTAGES).try_for_each(|number| crew.say(number, first, State::Up))?;
        Ok(crew)
    }

    /// Whether one target of a hundred changes each second.
    pub fn change(&self, is_changing: bool) {
        self.changing.send_replace(is_changing);
    }

    /// Reports told so far, and entries in them.
    pub fn told(&self) -> (u64, u64) {
        (self.counts.reports.load(Relaxed), self.counts.entries.load(Relaxed))
    }

    /// Has a vantage say this, and returns when that has been taken.
    pub fn say(&self, vantage: usize, target: TargetId, state: State) -> anyhow::Result<()> {
        let (taken, done) = oneshot::channel();
        self.order(vantage, Order { target, state, sent: None, taken: Some(taken) })?;
        self.wait(done)
    }

    /// Has a vantage say this; when it was about to.
    pub fn begin_to_say(
        &self,
        vantage: usize,
        target: TargetId,
        state: State,
    ) -> anyhow::Result<oneshot::Receiver<Instant>> {
        let (sent, at) = oneshot::channel();
        self.order(vantage, Order { target, state, sent: Some(sent), taken: None })?;
        Ok(at)
    }

    fn order(&self, vantage: usize, order: Order) -> anyhow::Result<()> {
        self.desks[vantage].send(order).ok().context("a vantage has ended; see above")
    }

    fn wait<T>(&self, done: oneshot::Receiver<T>) -> anyhow::Result<T> {
        let runtime = self.runtime.as_ref().context("the vantages have ended")?;
        let done = runtime.block_on(async { timeout(PATIENCE, done).await });
        done.context("a report was not taken in time")?.context("a vantage has ended; see above")
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Tells what changes, for as long as that is wanted; meanwhile nothing is found out.
async fn stir(
    mut churn: Churn,
    changing: watch::Receiver<bool>,
    desks: Vec<mpsc::UnboundedSender<Order>>,
) {
    let mut steps = interval(STEP);
    // Time as it goes by while something changes.
    let (mut before, mut now) = (monotonic(), monotonic());
    loop {
        steps.tick().await;
        let at = monotonic();
        if *changing.borrow() {
            now += at - before;
            for (vantage, target, state) in churn.until(now) {
                let order = Order { target, state, sent: None, taken: None };
                if desks[vantage].send(order).is_err() {
                    return;
                }
            }
        }
        before = at;
    }
}

async fn tell(
    mut vantage: Vantage,
    client: Client,
    mut orders: mpsc::UnboundedReceiver<Order>,
    counts: Arc<Counts>,
) {
    let (mut sent, mut taken) = (Vec::new(), Vec::new());
    loop {
        let due = vantage.due().unwrap_or_default().saturating_sub(monotonic());
        let order = tokio::select! {
            biased;
            order = orders.recv() => Some(order),
            () = pause(due) => None,
        };
        match order {
            Some(None) => return,
            Some(Some(order)) => {
                vantage.say(order.target, order.state, monotonic());
                sent.extend(order.sent);
                taken.extend(order.taken);
                continue;
            }
            None => {}
        }
        let (octets, entries) = vantage.report(monotonic());
        for sent in sent.drain(..) {
            let _ = sent.send(clock::now());
        }
        let told = client.ask("POST /v1/report", octets).await;
        match reply(told.status, &told.body) {
            Ok(reply) => vantage.on_reply(reply),
            Err(error) => {
                eprintln!("{}: {error:#}", vantage.name);
                return;
            }
        }
        counts.reports.fetch_add(1, Relaxed);
        counts.entries.fetch_add(entries as u64, Relaxed);
        for taken in taken.drain(..) {
            let _: Result<(), ()> = taken.send(());
        }
    }
}

async fn pause(duration: Duration) {
    if !duration.is_zero() {
        let mut pause = interval(duration);
        pause.tick().await;
        pause.tick().await;
    }
}

fn reply(status: u16, body: &str) -> anyhow::Result<Reply> {
    if status != 200 {
        bail!("a report was answered {status}: {body}");
    }
    let told: Value = serde_json::from_str(body)?;
    let number = |key: &str| told[key].as_u64().with_context(|| body.to_owned());
    Ok(Reply::Taken(Mark { inc: number("inc")?, seq: number("seq")? }))
}

/// Waits as long as told, while the vantages go on.
pub fn go_on(lasting: Duration) {
    let begin = clock::now();
    while let Some(left) = lasting.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}
