//! Where orders are carried out and questions answered, on what runs now.

use std::sync::Arc;

use arc_swap::ArcSwap;
use common::clock;
use tokio::net::unix::UCred;
use tracing::info;

use crate::balancer::Shown;
use crate::check::Checks;
use crate::runtime::{Order, PoolView, Process, Question, Refusal, Tell, View};
use crate::site::{PoolId, ServerId};

pub struct Desk {
    pub process: Process,
    pub shown: Arc<ArcSwap<Shown>>,
    pub checks: Arc<Checks>,
}

impl Desk {
    /// What is answered holds for one moment of each pool. Nothing is gathered that is not asked for.
    pub fn answer(&self, question: &Question) -> Result<String, Refusal> {
        // The looks are those of the newest site, so the servers have to be.
        let held = self.checks.hold();
        let shown = self.shown.load();
        let pools = shown.upstreams.iter().enumerate();
        let asked = pools.filter(|(_, upstream)| question.reads(&upstream.config.name));
        let pools = asked.map(|(place, upstream)| {
            let seen = |server| held.seen(PoolId(place), ServerId(server));
            let told = upstream.told().into_iter().enumerate();
            let shown = upstream.shown();
            PoolView {
                config: Arc::clone(&upstream.config),
                standing: shown.standing.clone(),
                turns: shown.turns,
                waiting: upstream.waiting(),
                answers: upstream.answers.load(),
                servers: told.map(|(server, told)| (told, seen(server))).collect(),
            }
        });
        let pools = pools.collect();
        drop(held);
        question.answer(&View {
            process: &self.process,
            now: clock::monotonic(),
            frontends: &shown.frontends,
            pools,
        })
    }

    /// Carries it out, if there is such a server. Holds once this returns.
    pub fn order(&self, order: &Order, by: Option<&UCred>) -> Result<(), Refusal> {
        // An order that came to a pool which a reload is replacing would be lost.
        let mut held = self.checks.hold();
        let shown = self.shown.load();
        let mut pools = shown.upstreams.iter().enumerate();
        let found = pools.find(|(_, upstream)| *upstream.config.name == *order.whom.pool);
        let (pool, upstream) = found.ok_or(Refusal::NoBackend)?;
        let mut servers = upstream.told().into_iter().enumerate();
        let found = servers.find(|(_, told)| *told.server.name == *order.whom.server);
        let (place, told) = found.ok_or(Refusal::NoServer)?;
        let tell = order.asked.of(&told.known)?;
        let (uid, pid) = (by.map(UCred::uid), by.and_then(UCred::pid));
        // Before what follows from it.
        let command = order.to_string();
        info!(command, uid, pid, "an operator orders");
        match tell {
            Tell::Backends(event) => held.order(PoolId(pool), ServerId(place), event),
            Tell::Rounds(belief) => held.overrule(PoolId(pool), ServerId(place), belief),
        }
        Ok(())
    }
}
