//! What befalls the actors of a story, and how all is mended.

use std::time::Duration;

use super::{Run, Stage};
use crate::clock::{Event, s};
use crate::earth::SITES;
use crate::network::{End, Envelope, Message, Place};
use crate::plan::Deed;
use crate::producer::Out;
use crate::tell;

/// The balancer's lease, where it stands still.
const LEASE: Duration = s(1);

impl Run<'_> {
    pub(super) fn deed(&mut self, deed: Deed) {
        let now = self.queue.now();
        let mut out = Out {
            queue: &mut self.queue,
            network: &mut self.stage.network,
            story: self.story,
            dice: &mut self.dice,
        };
        tell!(out, "-- {deed:?}");
        match deed {
            // An order is no failure, and nothing has to settle after it.
            Deed::Order { server, order, site } => {
                let id = self.stage.servers[server].order(&mut out, order, SITES[site]);
                self.watch.ordered(now, server, id, order, site);
                return self.watch(Some(server));
            }
            Deed::Mend => self.mend(),
            ref deed => self.break_something(deed),
        }
        let pair = match deed {
            Deed::AgentKilled { at }
            | Deed::AgentStarts { at, .. }
            | Deed::AgentStalls { at, .. }
            | Deed::Power { at, .. }
            | Deed::RouterKilled { at }
            | Deed::RouterStarts { at }
            | Deed::RouterStalls { at, .. } => Some(at / 2),
            Deed::Link { from, .. } => Some(from / 2),
            _ => None,
        };
        if let Some(site) = pair {
            self.watch.disturbed(site, now);
        }
        self.watch.stirred(now);
    }

    fn break_something(&mut self, deed: &Deed) {
        let now = self.queue.now();
        let Stage { servers, vantages, boxes, answering, lies, link_cut, network, disk, .. } =
            &mut self.stage;
        let count = servers.len();
        let mut out =
            Out { queue: &mut self.queue, network, story: self.story, dice: &mut self.dice };
        let mut adverts = None;
        match *deed {
            Deed::PoolServer { site, server, answers } => answering[site][server] = answers,
            Deed::AgentKilled { at } if boxes[at].runs() => boxes[at].kill(&mut out),
            Deed::AgentStarts { at, forgets } if !boxes[at].runs() && boxes[at].is_on => {
                if forgets {
                    boxes[at].producer.inc = 0;
                }
                boxes[at].start(&mut out);
            }
            Deed::AgentStalls { at, lasts } if boxes[at].runs() => {
                boxes[at].stalled_until = now + lasts;
                out.queue.after(LEASE, Event::Lease { at });
                out.queue.after(lasts, Event::Lease { at });
                self.watch.stirred(now + lasts);
            }
            Deed::Power { at, is_on: false } if boxes[at].is_on => {
                let one = &mut boxes[at];
                one.is_on = false;
                if one.runs() {
                    one.kill(&mut out);
                }
                one.router.kill(&mut out);
                one.router.holds_until = None;
            }
            Deed::Power { at, is_on: true } if !boxes[at].is_on => {
                boxes[at].is_on = true;
                adverts = Some((at, boxes[at].router.start(&mut out)));
                boxes[at].start(&mut out);
            }
            Deed::RouterKilled { at } if boxes[at].router.runs() => {
                boxes[at].router.kill(&mut out);
                adverts = Some((at, vec![]));
            }
            Deed::RouterStarts { at } if !boxes[at].router.runs() && boxes[at].is_on => {
                adverts = Some((at, boxes[at].router.start(&mut out)));
            }
            Deed::RouterStalls { at, lasts } if boxes[at].router.runs() => {
                boxes[at].router.stalled_until = now + lasts;
                self.watch.disturbed(at / 2, now + lasts);
                self.watch.stirred(now + lasts);
            }
            Deed::Link { from, is_cut } => link_cut[from] = is_cut,
            Deed::Cut { from, to } => out.network.cut(now, from, to),
            Deed::Heal { from, to } => out.network.heal(now, from, to),
            Deed::Isolated { place, is_cut } => out.network.isolate(now, place, is_cut),
            Deed::Lies { vantage, sites } => lies[vantage] = sites,
            Deed::VantageKilled { vantage } if vantages[vantage].runs() => {
                vantages[vantage].kill(&mut out);
            }
            Deed::VantageStarts { vantage, forgets } if !vantages[vantage].runs() => {
                if forgets {
                    vantages[vantage].producer.inc = 0;
                }
                vantages[vantage].start(&mut out);
            }
            Deed::VantageStalls { vantage, lasts } if vantages[vantage].runs() => {
                vantages[vantage].stalled_until = now + lasts;
                self.watch.stirred(now + lasts);
            }
            Deed::ServerStops { server, is_told } if servers[server].keeper().is_some() => {
                servers[server].stop(&mut out, is_told);
                self.watch.stopped(now, server, is_told);
                for producer in 0..vantages.len() + boxes.len() {
                    reset(&mut out, vantages.len(), server, End::Producer(producer));
                }
                for peer in (0..count).filter(|peer| *peer != server) {
                    reset(&mut out, vantages.len(), server, End::Server(peer));
                }
            }
            Deed::ServerStarts { server, forgets } if servers[server].keeper().is_none() => {
                if forgets {
                    disk.lose(server);
                }
                servers[server].start(&mut out, disk, count);
                self.watch.started(server, forgets);
            }
            Deed::ServerStalls { server, lasts } if servers[server].keeper().is_some() => {
                servers[server].stalled_until = now + lasts;
                self.watch.stirred(now + lasts);
                self.watch.server_stalls(server, now + lasts);
            }
            Deed::Weather(ref weather) => out.network.weather = weather.clone(),
            // It is so already.
            _ => {}
        }
        if let Some((at, adverts)) = adverts {
            self.send(at, adverts);
        }
    }

    /// Everything is well again.
    fn mend(&mut self) {
        let now = self.queue.now();
        self.stage.network.mend(now);
        for site in &mut self.stage.answering {
            site.fill(true);
        }
        self.stage.lies.fill(0);
        for from in 0..self.stage.link_cut.len() {
            if self.stage.link_cut[from] {
                self.break_something(&Deed::Link { from, is_cut: false });
                self.watch.disturbed(from / 2, now);
            }
        }
        for server in 0..self.stage.servers.len() {
            self.break_something(&Deed::ServerStarts { server, forgets: false });
        }
        for vantage in 0..self.stage.vantages.len() {
            self.break_something(&Deed::VantageStarts { vantage, forgets: false });
        }
        for at in 0..self.stage.boxes.len() {
            let one = &self.stage.boxes[at];
            if !one.is_on || !one.runs() || !one.router.runs() {
                self.watch.disturbed(at / 2, now);
            }
            self.break_something(&Deed::Power { at, is_on: true });
            self.break_something(&Deed::RouterStarts { at });
            self.break_something(&Deed::AgentStarts { at, forgets: false });
        }
    }
}

/// A connection to a name server that is gone, for whoever is at its other end.
fn reset(out: &mut Out<'_>, vantages: usize, server: usize, to: End) {
    let place = match to {
        End::Server(peer) => Place::Server(peer),
        End::Producer(producer) => match producer.checked_sub(vantages) {
            None => Place::Vantage(producer),
            Some(at) => Place::Site(at / 2),
        },
    };
    let from = End::Server(server);
    let envelope = Envelope { from, to, exchange: 0, message: Message::Reset };
    out.network.send(out.queue, (Place::Server(server), place), envelope);
}
