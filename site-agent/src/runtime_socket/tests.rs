//! How long a visit lasts, on a clock that jumps; and an order that comes in the middle of a reload.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use common::clock::monotonic;
use common::look::{Looker, Programs, Roots, Who};
use rcgen::generate_simple_self_signed;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::visit::visit;
use super::*;
use crate::balancer::Shown;
use crate::check::Checks;
use crate::config;
use crate::runtime::{Command, LONGEST_LINE, Order, Process, commands};
use crate::site::{PoolId, Site};
use crate::upstream::Upstream;

const SECOND: Duration = Duration::from_secs(1);

/// Pools, and the servers of each: `aa c | app a b`.
fn site(text: &str) -> Site {
    let mut config = "[frontend.web]\nbind = [\"127.0.0.1:1\"]\npool = \"app\"\n".to_owned();
    for pool in text.split(" | ") {
        let (name, servers) = pool.split_once(' ').unwrap();
        let at = |name: &str| format!("127.0.0.1:{}", name.as_bytes()[0]);
        let server = |name| format!("{{ name = \"{name}\", address = \"{}\" }}", at(name));
        let servers: Vec<_> = servers.split(' ').map(server).collect();
        config += &format!("[pool.{name}]\nservers = [{}]\n", servers.join(", "));
    }
    config::from_str(&config, Path::new("/")).unwrap_or_else(|why| panic!("{why}")).site
}

fn shown(site: &Site) -> Arc<Shown> {
    let pools = site.pools.iter().cloned();
    let upstreams = pools.map(|pool| Arc::new(Upstream::new(Arc::new(pool), monotonic())));
    Arc::new(Shown { frontends: vec![], upstreams: upstreams.collect(), certificates: vec![] })
}

/// A desk before this site.
fn desk(site: Site) -> Desk {
    let process = Process {
        version: "1.2.3",
        pid: 1,
        threads: 1,
        node: None,
        started: Duration::ZERO,
        started_at: 0,
    };
    let anybody = generate_simple_self_signed(["www.example.com".to_owned()]).unwrap();
    let roots = Roots::of(vec![anybody.cert.der().clone()]).unwrap();
    let looker = Looker { who: Who::Balancer, roots, programs: Programs::new(Default::default()) };
    let shown = Arc::new(ArcSwap::new(shown(&site)));
    let told = Arc::clone(&shown);
    let tell = move |pool: PoolId, server, event, why: &_| {
        told.load().upstreams[pool.0].on_said(monotonic(), server, event, why);
    };
    let checks = Checks::start(&Handle::current(), looker, tell, |_, _, _| {}, |_, _| false);
    drop(checks.adopt(Arc::new(site)));
    Desk { process, shown, checks: Arc::new(checks) }
}

fn order(line: &str) -> Order {
    match Command::parse(&commands(line)[0], Level::Admin) {
        Ok(Command::Order(order)) => order,
        other => panic!("{other:?}"),
    }
}

/// Each server's weight.
fn weights(desk: &Desk) -> String {
    let shown = desk.shown.load();
    let told = shown.upstreams.iter().flat_map(|upstream| upstream.told());
    let weight = told.map(|told| format!("{} {}", told.server.name, told.known.whole_weight()));
    weight.collect::<Vec<_>>().join(", ")
}

/// How long a visit lasts, and what an operator hears who does this and then listens.
async fn lasts(desk: &Desk, act: impl AsyncFnOnce(&mut UnixStream)) -> (Duration, String) {
    let (mut operator, stream) = UnixStream::pair().unwrap();
    let began = Instant::now();
    let visited = async {
        visit(stream, desk, Level::Admin).await;
        began.elapsed()
    };
    let listened = async {
        act(&mut operator).await;
        let mut heard = String::new();
        operator.read_to_string(&mut heard).await.unwrap();
        heard
    };
    tokio::join!(visited, listened)
}

async fn say(operator: &mut UnixStream, text: &str) {
    // Whoever was hung up on is not heard.
    let _ = operator.write_all(text.as_bytes()).await;
}

/// Time goes on only where everybody waits for it.
async fn wait(seconds: u32) {
    tokio::time::sleep(seconds * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_line_has_ten_seconds_to_come_and_five_minutes_at_a_prompt() {
    let desk = desk(site("app a b"));
    let silent = async |_: &mut UnixStream| {};
    assert_eq!(lasts(&desk, silent).await, (10 * SECOND, String::new()));
    // However steadily it comes.
    let drips = async |operator: &mut UnixStream| {
        for octet in ["s", "h", "o", "w", " "] {
            say(operator, octet).await;
            wait(3).await;
        }
        say(operator, "version\n").await;
    };
    assert_eq!(lasts(&desk, drips).await, (10 * SECOND, String::new()));
    let late = async |operator: &mut UnixStream| {
        wait(9).await;
        say(operator, "show version\n").await;
    };
    assert_eq!(lasts(&desk, late).await, (9 * SECOND, "1.2.3\n\n".to_owned()));
    let leaves_it = async |operator: &mut UnixStream| say(operator, "prompt\n").await;
    assert_eq!(lasts(&desk, leaves_it).await, (300 * SECOND, "\n> ".to_owned()));
    // From each line anew, and no longer for half of one.
    let types = async |operator: &mut UnixStream| {
        say(operator, "prompt\n").await;
        wait(299).await;
        say(operator, "show version\n").await;
        wait(299).await;
        say(operator, "set weight app/a 9").await;
    };
    let heard = "\n> 1.2.3\n\n> ".to_owned();
    assert_eq!(lasts(&desk, types).await, (599 * SECOND, heard));
    assert_eq!(weights(&desk), "a 1, b 1");
}

#[tokio::test(start_paused = true)]
async fn an_answer_has_ten_seconds_to_be_taken_and_what_is_ordered_behind_it_is_done() {
    let desk = desk(site("app a b"));
    // Answers of some megabytes.
    let line = format!("{}set weight app/a 9\n", "help;".repeat(3000));
    assert!(line.len() <= LONGEST_LINE);
    let deaf = async |operator: &mut UnixStream| {
        say(operator, &line).await;
        wait(20).await;
    };
    let (lasted, heard) = lasts(&desk, deaf).await;
    assert_eq!(lasted, 10 * SECOND);
    let answers = heard.matches("The following commands").count();
    assert!((1..3000).contains(&answers), "{answers}");
    assert_eq!(weights(&desk), "a 9, b 1");
    // At a prompt it is no longer.
    let line = format!("prompt;{line}");
    let deaf = async |operator: &mut UnixStream| {
        say(operator, &line).await;
        wait(20).await;
    };
    assert_eq!(lasts(&desk, deaf).await.0, 10 * SECOND);
}

/// Once that thread of ours sleeps.
fn until_asleep(thread: i32) {
    let began = monotonic();
    let is_asleep = || {
        let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
        stat.rsplit_once(')').unwrap().1.trim_start().starts_with('S')
    };
    while !is_asleep() {
        assert!(monotonic().saturating_sub(began) < 20 * SECOND, "it waits for nothing");
        thread::yield_now();
    }
}

#[tokio::test]
async fn an_order_in_the_middle_of_a_reload_is_about_whom_it_names() {
    let desk = Arc::new(desk(site("app a b")));
    for next in ["aa c d | app b a", "app a b"] {
        // Looks have the new ids, and nobody else has.
        let next = site(next);
        let adopting = desk.checks.adopt(Arc::new(next.clone()));
        let (told, id) = mpsc::channel();
        let (orders, order) = (Arc::clone(&desk), order("set weight app/a 9"));
        let ordered = thread::spawn(move || {
            told.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            orders.order(&order, None)
        });
        until_asleep(id.recv().unwrap());
        desk.shown.store(shown(&next));
        drop(adopting);
        ordered.join().unwrap().unwrap();
        let expected = if next.pools.len() == 2 { "c 1, d 1, b 1, a 9" } else { "a 9, b 1" };
        assert_eq!(weights(&desk), expected);
    }
}
