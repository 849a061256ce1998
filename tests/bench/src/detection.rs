//! How long it takes until a site that has died is answered no more: from the moment it dies, at any point between two
//! looks, to the first answer without it. Real probe, real name server; beside what the rules of looking allow.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::clock;
use crate::cpu::Cores;
use crate::dice::Dice;
use crate::interrupt::Interrupt;
use crate::nginx::ZONE;
use crate::vantage::{Asked, Vantage, address, free_port, service, site};

/// Sites that die at moments of their own within so many intervals.
const SPREAD: u32 = 3;
/// After a look that failed: as the probe's `due` has it.
const RECHECK: Duration = Duration::from_secs(1);
const FALL: u32 = 3;
/// A report waits so long at most for the one before; then the board is made.
const TOLD: Duration = Duration::from_millis(150);
/// Beyond the bound, before a trial is given up.
const GIVEN_UP: Duration = Duration::from_secs(20);
/// For one answer over loopback.
const ANSWER: Duration = Duration::from_secs(1);
const BETWEEN_SWEEPS: Duration = Duration::from_millis(5);
/// A name server takes nobody out for ten seconds after its start.
const GRACE: Duration = Duration::from_secs(12);

/// How sites die.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Death {
    /// Nobody listens any more.
    Refused,
    /// Connections are taken, and nothing is said.
    Silent,
}

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub death: Death,
    pub interval: Duration,
    pub timeout: Duration,
    pub trials: usize,
}

/// Seconds from death to the first answer without it, in order.
pub struct Outcome {
    plan: Plan,
    waits: Vec<f64>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Well,
    Silent,
}

impl Plan {
    /// The next look is an interval and its jitter away at most; each look that fails is followed by another, a second
    /// after its end or at its place in the interval if that is sooner.
    fn bound(&self) -> Duration {
        let look = match self.death {
            Death::Refused => Duration::ZERO,
            Death::Silent => self.timeout,
        };
        self.interval * 11 / 10 + look * FALL + RECHECK.min(self.interval) * (FALL - 1) + TOLD
    }
}

impl Outcome {
    pub fn passed(&self) -> bool {
        self.waits.last().is_some_and(|longest| *longest <= self.plan.bound().as_secs_f64())
    }

    pub fn heading() -> String {
        format!(
            "{:<10}{:>10}{:>9}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}\n",
            "site is", "interval", "timeout", "trials", "min s", "median", "p95", "max", "bound"
        )
    }

    pub fn text(&self) -> String {
        let Plan { death, interval, timeout, .. } = self.plan;
        let at = |share: f64| {
            let place = (share * (self.waits.len() - 1) as f64).round() as usize;
            self.waits[place]
        };
        format!(
            "{:<10}{:>9}s{:>8}s{:>8}{:>8.2}{:>8.2}{:>8.2}{:>8.2}{:>8.2}  {}\n",
            match death {
                Death::Refused => "gone",
                Death::Silent => "silent",
            },
            interval.as_secs_f64(),
            timeout.as_secs_f64(),
            self.waits.len(),
            at(0.0),
            at(0.5),
            at(0.95),
            at(1.0),
            self.plan.bound().as_secs_f64(),
            if self.passed() { "pass" } else { "FAIL" },
        )
    }
}

pub fn measure(
    plan: Plan,
    cores: Cores,
    dir: &Path,
    seed: u64,
    interrupt: &Interrupt,
) -> anyhow::Result<Outcome> {
    let port = free_port()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (states, _) = watch::channel(State::Well);
    // One for the second site of all services, one that has nothing to do with any.
    let spare = address(3, 0);
    let others = [spare, address(4, 0)];
    let _others = others.map(|at| runtime.block_on(serve(at, port, states.subscribe())));
    let mut victims = Vec::with_capacity(plan.trials);
    for number in 0..plan.trials {
        let (state, of_it) = watch::channel(State::Well);
        let listening = runtime.block_on(serve(address(2, number), port, of_it))?;
        victims.push((state, listening));
    }
    let mut vantage = Vantage::start(dir, &asked(plan, port), cores)?;
    let started = clock::now();
    vantage.until_up(2 * plan.trials, interrupt)?;
    while clock::now() - started < GRACE {
        interrupt.check()?;
        clock::pause(BETWEEN_SWEEPS);
    }
    let asker = Asker::of(vantage.dns)?;
    for number in 0..plan.trials {
        ensure!(asker.ask(number)? == address(2, number), "w{number} is not answered as it should");
    }

    let mut dice = Dice::seeded(seed);
    let spread = plan.interval * SPREAD;
    let mut deaths: Vec<(Duration, usize)> = (0..plan.trials)
        .map(|number| (spread * dice.below(1 << 20) as u32 / (1 << 20), number))
        .collect();
    deaths.sort_unstable();
    let mut deaths = deaths.into_iter().peekable();
    let began = clock::now();
    let mut dying: Vec<(usize, Instant)> = vec![];
    let mut waits: Vec<f64> = vec![];
    while waits.len() < plan.trials {
        interrupt.check()?;
        while let Some((_, number)) = deaths.next_if(|(at, _)| *at <= clock::now() - began) {
            let (state, listening) = &victims[number];
            match plan.death {
                Death::Refused => listening.abort(),
                Death::Silent => drop(state.send_replace(State::Silent)),
            }
            dying.push((number, clock::now()));
        }
        let mut still = vec![];
        for (number, died) in dying {
            let answer = asker.ask(number)?;
            let waited = clock::now() - died;
            if answer == spare {
                waits.push(waited.as_secs_f64());
            } else if waited > plan.bound() + GIVEN_UP {
                bail!("w{number} is answered with a site that has been dead for {waited:?}");
            } else {
                still.push((number, died));
            }
        }
        dying = still;
        clock::pause(BETWEEN_SWEEPS);
    }
    waits.sort_by(f64::total_cmp);
    Ok(Outcome { plan, waits })
}

fn asked(plan: Plan, port: u16) -> Asked {
    let mut world = format!(
        "[check.web]\nkind = \"http\"\nport = {port}\npath = \"/healthz\"\ninterval = \"{}ms\"\ntimeout = \"{}ms\"\n\
         rise = 2\nfall = {FALL}\n",
        plan.interval.as_millis(),
        plan.timeout.as_millis()
    );
    site(&mut world, "spare", address(3, 0));
    for number in 0..plan.trials {
        let name = format!("v{number}");
        site(&mut world, &name, address(2, number));
        let sites = [name, "spare".to_owned()];
        service(&mut world, &format!("w{number}"), &sites, "steer = [\"failover\"]\n");
    }
    let probe = format!(
        "references = [{{ kind = \"tcp\", address = \"{}\", port = {port}, interval = \"1s\" }}]\n",
        address(4, 0)
    );
    Asked { world, probe }
}

type Serving = tokio::task::JoinHandle<()>;

/// Answers every request alike, while it is well.
async fn serve(at: Ipv4Addr, port: u16, state: watch::Receiver<State>) -> anyhow::Result<Serving> {
    let listener = TcpListener::bind((at, port)).await.with_context(|| format!("{at}:{port}"))?;
    Ok(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, *state.borrow()));
        }
    }))
}

async fn answer(mut stream: TcpStream, state: State) -> io::Result<()> {
    let mut request = [0; 1024];
    let asked = stream.read(&mut request).await?;
    if asked > 0 && state == State::Well {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
        return stream.write_all(answer).await;
    }
    // Until the other side has enough of it.
    stream.read(&mut request).await.map(drop)
}

/// A client of the name server.
struct Asker(UdpSocket);

impl Asker {
    fn of(server: SocketAddr) -> anyhow::Result<Asker> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(ANSWER))?;
        Ok(Asker(socket))
    }

    /// The address of a service: the last four octets of an answer without EDNS.
    fn ask(&self, number: usize) -> anyhow::Result<Ipv4Addr> {
        let [high, low] = (number as u16).to_be_bytes();
        let mut query = vec![high, low, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let name = format!("w{number}.{ZONE}");
        for label in name.split('.') {
            query.push(label.len() as u8);
            query.extend(label.as_bytes());
        }
        query.extend([0, 0, 1, 0, 1]);
        self.0.send(&query)?;
        let mut answer = [0; 512];
        let length = self.0.recv(&mut answer).context("no answer")?;
        let head = (&answer[..2], &answer[3], &answer[6..8]);
        let is_good = matches!(head, (id, flags, [0, 1]) if id == [high, low] && flags & 15 == 0);
        ensure!(is_good, "no answer with one address: {:?}", &answer[..length]);
        let octets: [u8; 4] = answer[length - 4..length].try_into()?;
        Ok(octets.into())
    }
}
