//! The works of the proxies: what is asked of whom, and what it may cost.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;

use super::answer::Right;
use super::backend::{BODIES, Backend, Counts, HUGE, LARGE, SMALL, all, request};
use super::client::{Client, Life, Load, Pace};
use super::h2load;
use super::handshakes::{self, Clients};
use super::peers::{Kind, Programs, Proxy, World};
use crate::cpu::{Cores, Spent};
use crate::interrupt::Interrupt;
use crate::load::Tally;
use crate::rounds::{Record, WARM_UP, in_turn};
use crate::work::{Budget, Outcome, Stakes, Subject};
use crate::{clock, nginx};

/// Octets of a unit, where those are counted.
const MEGABYTE: u64 = 1_000_000;
/// Time for what h2load begins with, and for it to end after what is measured.
const AHEAD: Duration = Duration::from_millis(400);
const BEHIND: Duration = Duration::from_millis(200);
/// Of requests: a proxy that makes more connections to servers than this does not use them again.
const REUSED: f64 = 0.02;

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Work {
    /// HTTP/1.1 on connections that are kept, a small body.
    Keepalive,
    /// HTTP/2 within TLS, a small body.
    H2,
    /// A connection for each request, which is seen.
    ConnectHttp,
    /// A connection for each request, which is not looked into.
    ConnectTcp,
    /// Large streams that are not looked into.
    Transfer,
    /// Bodies of 10 MB over HTTP/1.1.
    Bodies,
    /// A full TLS handshake for each request.
    HandshakeFull,
    /// A resumed one.
    HandshakeResumed,
}

/// How works are measured.
pub struct Method {
    pub rounds: usize,
    /// How long each proxy is measured in each round.
    pub lasting: Duration,
    pub connections: usize,
    /// Of `keepalive` alone; the others ask as fast as they are answered.
    pub pace: Pace,
    pub seed: u64,
}

/// What every work of a run shares.
pub struct Bench<'a> {
    pub method: Method,
    pub cores: Cores,
    pub programs: Programs,
    pub dir: &'a std::path::Path,
    pub interrupt: Interrupt,
}

/// How many connections to servers are right.
enum Upstream {
    Kept,
    OneEach,
}

impl Work {
    pub const ALL: [Work; 8] = [
        Work::Keepalive,
        Work::H2,
        Work::ConnectHttp,
        Work::ConnectTcp,
        Work::Transfer,
        Work::Bodies,
        Work::HandshakeFull,
        Work::HandshakeResumed,
    ];

    pub fn subject(self) -> Subject {
        const BOTH: &[&str] = &["haproxy", "nginx"];
        const fn gate(peer: &'static str, median: f64) -> Budget {
            Budget { peer, median, upper: None, stakes: Stakes::Gate }
        }
        const AT_MOST_HAPROXY: &[Budget] = &[gate("haproxy", 1.0)];
        let (name, unit, references, budgets): (_, _, _, &'static [Budget]) = match self {
            Work::Keepalive => ("keepalive", "request", BOTH, const { &[gate("haproxy", 1.05)] }),
            Work::H2 => (
                "h2",
                "request",
                BOTH,
                const {
                    let goal = Budget { stakes: Stakes::Goal, ..gate("haproxy", 1.0) };
                    &[gate("nginx", 1.0), goal]
                },
            ),
            Work::ConnectHttp => ("connect-http", "request", BOTH, AT_MOST_HAPROXY),
            Work::ConnectTcp => ("connect-tcp", "connection", &BOTH[..1], AT_MOST_HAPROXY),
            Work::Transfer => ("transfer", "MB", &BOTH[..1], AT_MOST_HAPROXY),
            Work::Bodies => ("bodies", "MB", BOTH, &[]),
            Work::HandshakeFull => ("handshake-full", "handshake", BOTH, &[]),
            Work::HandshakeResumed => ("handshake-resumed", "handshake", BOTH, &[]),
        };
        Subject { name, unit, judged: "site-agent", references, budgets }
    }

    /// Debian's nginx relays no streams without a module of its own.
    fn is_for(self, kind: Kind) -> bool {
        !(matches!(self, Work::ConnectTcp | Work::Transfer) && kind == Kind::Nginx)
    }

    fn upstream(self) -> Upstream {
        match self {
            Work::ConnectTcp | Work::Transfer => Upstream::OneEach,
            Work::Keepalive
            | Work::H2
            | Work::ConnectHttp
            | Work::Bodies
            | Work::HandshakeFull
            | Work::HandshakeResumed => Upstream::Kept,
        }
    }

    /// Through which door, for what, and for how long on a connection.
    fn asks(self, proxy: &Proxy) -> (u16, Vec<u8>, Right, Life) {
        let small = Right::Bodies(&BODIES);
        let close = "Connection: close\r\n";
        let doors = proxy.doors;
        match self {
            Work::Keepalive => (doors.http, request(SMALL, ""), small, Life::Kept),
            Work::ConnectHttp => (doors.http, request(SMALL, close), small, Life::Requests(1)),
            Work::ConnectTcp => (doors.tcp, request(SMALL, close), small, Life::Requests(1)),
            Work::Transfer => {
                (doors.streams, request(HUGE.0, ""), Right::Length(HUGE.1), Life::Requests(10))
            }
            Work::Bodies => (doors.http, request(LARGE.0, ""), Right::Length(LARGE.1), Life::Kept),
            Work::H2 => (doors.https, vec![], small, Life::Kept),
            Work::HandshakeFull | Work::HandshakeResumed => {
                (doors.https, request(SMALL, close), small, Life::Requests(1))
            }
        }
    }

    /// Fewer for what is large: each has a body on its way.
    fn connections(self, asked: usize) -> usize {
        match self {
            Work::Transfer | Work::Bodies => asked.min(8),
            _ => asked,
        }
    }
}

impl Bench<'_> {
    pub fn run(&self, work: Work) -> anyhow::Result<Outcome> {
        let dir = self.dir.join(work.subject().name);
        std::fs::create_dir(&dir)?;
        nginx::certify(&dir)?;
        let connections = self.method.connections.max(h2load::CONNECTIONS * h2load::STREAMS);
        let backend = Backend::start(&dir, 4 * connections + 100, self.cores)?;
        let world = World { dir: &dir, backend: &backend, connections, cores: self.cores };
        let kinds = self.programs.kinds().into_iter().filter(|&kind| work.is_for(kind));
        let proxies = kinds.map(|kind| self.programs.start(kind, &world));
        let mut proxies = proxies.collect::<anyhow::Result<Vec<Proxy>>>()?;
        let names: Vec<&str> = proxies.iter().map(|proxy| proxy.kind.name()).collect();
        let mut records: Vec<Record> =
            proxies.iter().map(|proxy| Record::new(proxy.kind.name(), proxy.reply_size)).collect();
        in_turn(self.method.rounds, &names, |index, _| {
            proxies[index].running.check()?;
            self.turn(work, &proxies[index], &world, &mut records[index])
        })?;
        Ok(Outcome { subject: work.subject(), records, notes: vec![] })
    }

    fn turn(
        &self,
        work: Work,
        proxy: &Proxy,
        world: &World<'_>,
        record: &mut Record,
    ) -> anyhow::Result<()> {
        let (door, request, right, life) = work.asks(proxy);
        let servers = all(door);
        let lasting = self.method.lasting;
        match work {
            Work::H2 => self.ask_by_h2load(servers[0], proxy, world, record),
            Work::HandshakeFull | Work::HandshakeResumed => {
                let kind = match work {
                    Work::HandshakeFull => handshakes::Kind::Full,
                    _ => handshakes::Kind::Resumed,
                };
                let clients = Clients::new(kind, servers, world.dir)?;
                let ask = |lasting| clients.run(&request, right, lasting, &self.interrupt);
                ask(WARM_UP)?;
                let watch = Watch::start(proxy, world.backend)?;
                let heard = ask(lasting)?;
                watch.end(work, heard.tally, heard.asked, record)
            }
            _ => {
                let pace = if work == Work::Keepalive { self.method.pace } else { Pace::Closed };
                let connections = work.connections(self.method.connections);
                let load =
                    Load { servers: &servers, connections, request: &request, right, life, pace };
                let mut client = Client::new(load)?;
                client.run(WARM_UP, &self.interrupt)?;
                let watch = Watch::start(proxy, world.backend)?;
                let heard = client.run(lasting, &self.interrupt)?;
                let mut tally = heard.tally;
                if work.subject().unit == "MB" {
                    tally.answers = heard.octets / MEGABYTE;
                }
                watch.end(work, tally, heard.asked, record)
            }
        }
    }

    /// Counted at the servers: h2load says no more than what it did in all.
    fn ask_by_h2load(
        &self,
        server: SocketAddr,
        proxy: &Proxy,
        world: &World<'_>,
        record: &mut Record,
    ) -> anyhow::Result<()> {
        let lasting = self.method.lasting;
        let h2load = h2load::Running::start(server, SMALL, AHEAD + lasting + BEHIND)?;
        clock::pause(AHEAD);
        let watch = Watch::start(proxy, world.backend)?;
        clock::pause(lasting);
        let (counts, spent, took) = watch.so_far()?;
        self.interrupt.check()?;
        let report = h2load.report()?;
        ensure!(
            report.done >= counts.requests,
            "h2load did {} requests, the servers {} meanwhile",
            report.done,
            counts.requests
        );
        check_reuse(Work::H2, counts, counts.requests)?;
        let tally = Tally {
            answers: counts.requests,
            sampled: report.good,
            wrong: report.bad + report.done.saturating_sub(report.good),
            ..Tally::default()
        };
        let wrong = tally.wrong;
        let first_wrong = (wrong > 0).then(|| format!("h2load: {report:?}"));
        record.add(Tally { first_wrong, ..tally }, spent, took);
        Ok(())
    }
}

/// What a proxy and the servers have done since.
struct Watch<'a> {
    proxy: &'a Proxy,
    backend: &'a Backend,
    counts: Counts,
    spent: Spent,
    began: std::time::Instant,
}

impl<'a> Watch<'a> {
    fn start(proxy: &'a Proxy, backend: &'a Backend) -> anyhow::Result<Watch<'a>> {
        let counts = backend.counts()?;
        let spent = Spent::by(proxy.running.pid())?;
        Ok(Watch { proxy, backend, counts, spent, began: clock::now() })
    }

    fn so_far(&self) -> anyhow::Result<(Counts, Spent, Duration)> {
        let spent = Spent::by(self.proxy.running.pid())?.since(self.spent);
        let took = clock::now() - self.began;
        Ok((self.backend.counts()?.since(self.counts), spent, took))
    }

    /// Checks that the servers have seen what was asked, on as many connections as are right.
    fn end(
        self,
        work: Work,
        mut tally: Tally,
        asked: u64,
        record: &mut Record,
    ) -> anyhow::Result<()> {
        let (counts, spent, took) = self.so_far()?;
        if tally.lost > 0 {
            tally.first_wrong.get_or_insert_with(|| format!("{} without an answer", tally.lost));
        } else if tally.wrong == 0 {
            let seen = counts.requests;
            ensure!(seen == asked, "{asked} requests were asked, and the servers saw {seen}");
            check_reuse(work, counts, asked)?;
        }
        record.add(tally, spent, took);
        Ok(())
    }
}

fn check_reuse(work: Work, counts: Counts, asked: u64) -> anyhow::Result<()> {
    let Counts { connections, .. } = counts;
    let most = match work.upstream() {
        // A few at the start of a run are many of a few large bodies.
        Upstream::Kept => (asked as f64 * REUSED) as u64 + 32,
        Upstream::OneEach => asked + 32,
    };
    ensure!(
        connections <= most,
        "{connections} connections to servers for {asked} requests: they are not used again"
    );
    Ok(())
}
