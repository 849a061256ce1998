//! Events of virtual routers, for the log, and the latest of them for whoever asks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use common::lock::Mutex;
use tracing::{info, warn};

use crate::routers::tell::{Doing, Said};
use crate::vrrp::machine::action::{News, Role, What, Why};

/// Of all virtual routers.
const KEPT: usize = 256;

/// The latest events. Cheap to clone: all clones hold the same.
#[derive(Clone, Debug, Default)]
pub struct Events(Arc<Mutex<VecDeque<Event>>>);

/// What became of a virtual router. Numbers are each router's own and have no gaps, but for what was lost.
#[derive(Clone, Debug)]
pub struct Event {
    pub router: Arc<str>,
    pub number: u64,
    pub at: Duration,
    pub what: String,
}

impl Events {
    /// The latest last.
    pub fn all(&self) -> Vec<Event> {
        self.0.lock().iter().cloned().collect()
    }

    /// Writes something down.
    pub fn write(&self, said: Said) {
        match said {
            Said::News { router, news } => {
                log(&router, &news);
                let News { number, at, what } = news;
                let event = Event { router, number, at, what: what.to_string() };
                let mut events = self.0.lock();
                if events.len() == KEPT {
                    events.pop_front();
                }
                events.push_back(event);
            }
            Said::CouldNot { router, what: Doing::Adverts, error } => {
                warn!(%router, %error, "adverts cannot be sent");
            }
            Said::CouldNot { router, what: Doing::Addresses, error } => {
                warn!(%router, %error, "addresses cannot be changed");
            }
            Said::CouldNot { router, what: Doing::Announcing, error } => {
                warn!(%router, %error, "the link cannot be told where addresses are");
            }
            Said::CouldNot { router, what: Doing::Witness, error } => {
                warn!(%router, %error, "a witness cannot be asked");
            }
            Said::CanAgain { router, what: Doing::Adverts } => {
                info!(%router, "adverts are sent again")
            }
            Said::CanAgain { router, what: Doing::Addresses } => {
                info!(%router, "addresses are changed again");
            }
            Said::CanAgain { router, what: Doing::Announcing } => {
                info!(%router, "the link is told again where addresses are");
            }
            Said::CanAgain { router, what: Doing::Witness } => {
                info!(%router, "witnesses are asked again");
            }
            Said::NoSockets { interface, error } => {
                warn!(%interface, %error, "an interface cannot be used for adverts");
            }
            Said::Deaf(error) => {
                warn!(%error, "news of interfaces and addresses cannot be heard: all are asked for");
            }
        }
    }
}

fn log(router: &str, news: &News) {
    let (number, what) = (news.number, &news.what);
    match what {
        What::Turned { from, to, why } => turned(router, number, *from, *to, why),
        What::Contested { by, priority } => {
            warn!(router, number, %by, %priority, "another box is Active too, and should not be");
        }
        What::Isolated => {
            warn!(router, number, "nobody is Active, and no witness answers: is this box cut off?");
        }
        What::PutBack => {
            warn!(router, number, "an address was taken from the interface, and put back");
        }
        What::Unfit(why) => {
            info!(router, number, %why, "a virtual router is unfit for another reason now");
        }
        What::TakenOff => {
            warn!(
                router,
                number, "an address was on the interface that others may have, and was taken off"
            );
        }
        What::Adopted { interval } => {
            let interval_ms = interval.duration().as_millis();
            info!(router, number, interval_ms, "adverts come in another interval");
        }
        What::Priority { from, to } => {
            info!(router, number, %from, %to, "a virtual router has another priority");
        }
        What::Yields => info!(router, number, "a virtual router yields to others"),
        What::YieldsNoMore => info!(router, number, "a virtual router yields no more"),
    }
}

fn turned(router: &str, number: u64, from: Role, to: Role, why: &Why) {
    match why {
        Why::Fault(_) | Why::Standstill { .. } | Why::Usurped { .. } => {
            warn!(router, number, %from, %to, %why, "a virtual router cannot go on as it was");
        }
        Why::Startup
        | Why::Shutdown
        | Why::NobodyLeads
        | Why::Resigned { .. }
        | Why::Outranked { .. }
        | Why::FaultsOver
        | Why::HandedOver => {
            info!(router, number, %from, %to, %why, "a virtual router has another role");
        }
    }
}
