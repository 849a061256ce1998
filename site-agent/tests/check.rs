//! Checks of servers that live, die, are slow and speak, over real sockets.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use common::clock::monotonic;
use common::look::{Looker, Programs, Roots, Who};
use common::report::Reason;
use common::streak::{Progress, State};
use rcgen::generate_simple_self_signed;
use site_agent::backends::{
    Administrative, AgentDown, By, Checked, Event, Source, WeightOrder, Why,
};
use site_agent::check::Checks;
use site_agent::config;
use site_agent::site::{PoolId, ServerId, Site};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);
const FIRST: ServerId = ServerId(0);

/// A balancer's checks, and all that they tell.
struct World {
    checks: Checks,
    told: UnboundedReceiver<Heard>,
    passed: Arc<AtomicUsize>,
}

#[derive(Clone, Debug)]
struct Heard {
    at: Duration,
    pool: PoolId,
    event: Event,
    why: Why,
}

impl World {
    fn start() -> World {
        let (tell, told) = unbounded_channel();
        let passed = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&passed);
        let anybody = generate_simple_self_signed(["www.example.com".to_owned()]).unwrap();
        let roots = Roots::of(vec![anybody.cert.der().clone()]).unwrap();
        let looker =
            Looker { who: Who::Balancer, roots, programs: Programs::new(Default::default()) };
        let checks = Checks::start(
            &Handle::current(),
            looker,
            move |pool, server, event, why| {
                assert_eq!(server, FIRST);
                let _ = tell.send(Heard { at: monotonic(), pool, event, why: why.clone() });
            },
            move |_, _, _| {
                counted.fetch_add(1, Relaxed);
            },
            |_, _| false,
        );
        World { checks, told, passed }
    }

    /// Takes these pools, which the site has in the order of their names.
    fn adopt(&self, pools: &[String]) {
        self.checks.adopt(site(pools));
    }

    async fn next(&mut self) -> Heard {
        timeout(DEADLINE, self.told.recv()).await.unwrap().unwrap()
    }

    /// All that is told until something is, that included.
    async fn until(&mut self, mut is_it: impl FnMut(&Heard) -> bool) -> Vec<Heard> {
        let mut heard = vec![];
        loop {
            heard.push(self.next().await);
            if heard.last().is_some_and(&mut is_it) {
                return heard;
            }
        }
    }

    async fn until_said(&mut self, what: &str) -> Vec<Heard> {
        self.until(|heard| said(heard.event) == what).await
    }
}

fn site(pools: &[String]) -> Arc<Site> {
    let text = format!(
        "[frontend.all]\nmode = \"tcp\"\nbind = [\"127.0.0.1:1\"]\npool = \"web\"\n{}",
        pools.concat()
    );
    Arc::new(config::from_str(&text, Path::new("/")).unwrap_or_else(|why| panic!("{why}")).site)
}

fn pool(name: &str, at: SocketAddr, keys: &str) -> String {
    format!(
        "[pool.{name}]\nmode = \"tcp\"\nservers = [{{ name = \"one\", address = \"{at}\" }}]\n{keys}\n"
    )
}

fn said(event: Event) -> String {
    match event {
        Event::Check { to, progress: Progress { streak, need } } => {
            let to = match to {
                Checked::Unknown => "unknown",
                Checked::Up => "up",
                Checked::NoLb => "nolb",
                Checked::Down => "down",
            };
            format!("{to} {streak}/{need}")
        }
        other => format!("{other:?}"),
    }
}

/// A server of one port, whose connections each go to this. Aborted, it listens no more.
fn serve<F>(
    listener: TcpListener,
    converse: impl Fn(tokio::net::TcpStream) -> F + Send + 'static,
) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(converse(stream));
        }
    })
}

async fn listener(at: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(at).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn answers(mut stream: tokio::net::TcpStream) {
    let mut asked = [0; 4096];
    let _ = stream.read(&mut asked).await;
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
}

/// One that reads and never answers; tells when somebody came, and when they went.
fn stalls(listener: TcpListener) -> (UnboundedReceiver<&'static str>, JoinHandle<()>) {
    let (tell, told): (UnboundedSender<&'static str>, _) = unbounded_channel();
    let serving = serve(listener, move |mut stream| {
        let tell = tell.clone();
        async move {
            let _ = tell.send("came");
            let mut asked = [0; 4096];
            while stream.read(&mut asked).await.is_ok_and(|count| count > 0) {}
            let _ = tell.send("went");
        }
    });
    (told, serving)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_goes_down_at_the_fast_interval_and_comes_back() {
    let (listening, at) = listener("127.0.0.1:0").await;
    let serving = serve(listening, answers);
    let mut world = World::start();
    world.adopt(&[pool(
        "web",
        at,
        "check = { kind = \"http\", interval = \"3s\", fast_interval = \"300ms\", down_interval = \"300ms\", timeout = \"250ms\", \
         rise = 2, fall = 3 }",
    )]);
    world.until_said("up 0/3").await;
    serving.abort();
    let heard = world.until_said("down 0/2").await;
    let first = heard.iter().find(|heard| said(heard.event) == "up 1/3").unwrap();
    let words: Vec<String> = heard.iter().map(|heard| said(heard.event)).collect();
    assert!(words.ends_with(&["up 1/3", "up 2/3", "down 0/2"].map(str::to_owned)), "{words:?}");
    let last = heard.last().unwrap();
    let took = last.at - first.at;
    assert_eq!((last.why.by, last.why.reason), (Source::Check, "refused"));
    assert!(last.why.took.is_some() && !last.why.detail.is_empty(), "{:?}", last.why);
    assert!(took < Duration::from_secs(3), "two looks after the first took {took:?}");
    let shown = world.checks.hold().seen(PoolId(0), FIRST).unwrap().check.unwrap();
    assert_eq!(shown.state, State::Down);
    assert_eq!(shown.last.unwrap().seen.reason(), Some(Reason::Refused));
    let passed = world.passed.load(Relaxed);
    let (listening, _) = listener(&at.to_string()).await;
    let serving = serve(listening, answers);
    let heard = world.until_said("up 0/3").await;
    let words: Vec<String> = heard.iter().map(|heard| said(heard.event)).collect();
    assert!(words.ends_with(&["down 1/2", "up 0/3"].map(str::to_owned)), "{words:?}");
    // The one before the last at least, as what is told is counted after it.
    assert!(world.passed.load(Relaxed) > passed);
    let last = world.checks.hold().seen(PoolId(0), FIRST).unwrap().check.unwrap().last.unwrap();
    assert_eq!(last.seen.outcome, Ok(()));
    assert!(last.seen.phases.connect.is_some() && last.seen.phases.first_byte.is_some());
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_of_agents_are_told_and_half_a_line_is_not() {
    const LINES: [&str; 5] =
        ["drain\n", "50%\r\n", "down #for repairs\n", "up", "ready maxconn:30\nmaint\n"];
    let (listening, agent) = listener("127.0.0.1:0").await;
    let count = Arc::new(AtomicUsize::new(0));
    let serving = serve(listening, move |mut stream| {
        let line = LINES.get(count.fetch_add(1, Relaxed)).copied();
        async move {
            let mut asked = [0; 6];
            if stream.read_exact(&mut asked).await.is_ok() && asked == *b"state\n" {
                let _ = stream.write_all(line.unwrap_or("drain").as_bytes()).await;
            }
        }
    });
    let mut world = World::start();
    world.adopt(&[pool(
        "web",
        "127.0.0.1:9".parse().unwrap(),
        &format!(
            "agent_check = {{ port = {}, interval = \"500ms\", send = \"state\\n\" }}",
            agent.port()
        ),
    )]);
    let by = By::Agent;
    let mut said = vec![];
    for detail in ["", "", "for repairs"] {
        let heard = world.next().await;
        assert_eq!((heard.why.by, &*heard.why.detail), (Source::Agent, detail));
        said.push(heard.event);
    }
    let shown = world.checks.hold().seen(PoolId(0), FIRST).unwrap();
    assert!(shown.check.is_none());
    assert_eq!(shown.line.unwrap().line.unwrap().text.as_deref(), Some("for repairs"));
    for _ in 0..2 {
        said.push(world.next().await.event);
    }
    assert_eq!(
        said,
        [
            Event::Order { by, to: Administrative::Drain },
            Event::Weigh { by, to: WeightOrder::Percent(50) },
            Event::AgentDown(AgentDown::Down),
            // The `up` that did not end is nothing, and of two lines the first counts.
            Event::Order { by, to: Administrative::Ready },
            Event::Limit { by, to: std::num::NonZeroU32::new(30) },
        ]
    );
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let unfinished = async {
        loop {
            ticks.tick().await;
            let line = world.checks.hold().seen(PoolId(0), FIRST).unwrap().line.unwrap().line;
            if line.is_err_and(|why| why.starts_with("the line has not ended")) {
                return;
            }
        }
    };
    timeout(DEADLINE, unfinished).await.unwrap();
    assert!(world.told.try_recv().is_err());
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_who_is_slow() {
    let (listening, slow) = listener("127.0.0.1:0").await;
    let (mut visits, stalling) = stalls(listening);
    let (listening, quick) = listener("127.0.0.1:0").await;
    let serving = serve(listening, answers);
    let mut world = World::start();
    let slow_keys = format!(
        "check = {{ kind = \"http\", interval = \"3s\", timeout = \"2s\" }}\n\
         agent_check = {{ port = {}, interval = \"1s\" }}",
        slow.port()
    );
    let quick_keys = "check = { kind = \"http\", interval = \"200ms\", timeout = \"190ms\" }";
    world.adopt(&[pool("slow", slow, &slow_keys), pool("web", quick, quick_keys)]);
    assert_eq!(timeout(DEADLINE, visits.recv()).await.unwrap(), Some("came"));
    // What was told before it came.
    while world.told.try_recv().is_ok() {}
    let heard = world.until(|heard| heard.pool == PoolId(0)).await;
    let (of_slow, of_quick) = heard.split_last().unwrap();
    assert_eq!(said(of_slow.event), "unknown 1/3");
    let passed = of_quick.iter().filter(|heard| said(heard.event) == "up 0/3").count();
    assert!(passed >= 3, "{passed} looks at the quick one while the slow one was looked at");
    let shown = world.checks.hold().seen(PoolId(0), FIRST).unwrap();
    let last = shown.check.unwrap().last.unwrap();
    assert_eq!(last.seen.reason(), Some(Reason::Timeout));
    assert!(last.took >= Duration::from_secs(2));
    assert_eq!(shown.line.unwrap().line.unwrap_err(), "no line within 1s");
    stalling.abort();
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_keeps_what_is_known_and_ends_what_nobody_asks_for() {
    let (listening, slow) = listener("127.0.0.1:0").await;
    let (mut visits, stalling) = stalls(listening);
    let (listening, quick) = listener("127.0.0.1:0").await;
    let serving = serve(listening, answers);
    let mut world = World::start();
    let patient = "check = { kind = \"http\", interval = \"60s\", timeout = \"50s\" }";
    let often = "check = { kind = \"http\", interval = \"200ms\", timeout = \"190ms\" }";
    let web = pool("web", quick, often);
    world.adopt(&[pool("slow", slow, patient), web.clone()]);
    assert_eq!(timeout(DEADLINE, visits.recv()).await.unwrap(), Some("came"));
    world.until(|heard| heard.pool == PoolId(1)).await;
    let since = |world: &World, pool| {
        world.checks.hold().seen(PoolId(pool), FIRST).unwrap().check.unwrap().since
    };
    let up_since = since(&world, 1);
    // Held, nothing is told; then all of it is by the new ids.
    let held = world.checks.adopt(site(std::slice::from_ref(&web)));
    while world.told.try_recv().is_ok() {}
    assert!(timeout(Duration::from_millis(600), world.told.recv()).await.is_err());
    drop(held);
    for _ in 0..3 {
        assert_eq!(world.next().await.pool, PoolId(0));
    }
    assert_eq!(since(&world, 0), up_since, "it is still the same run of results");
    assert!(world.checks.hold().seen(PoolId(1), FIRST).is_none());
    // Long before its own time is over.
    assert_eq!(timeout(DEADLINE, visits.recv()).await.unwrap(), Some("went"));
    // Another check of the same server begins anew.
    let other = "check = { kind = \"tcp\", interval = \"200ms\", timeout = \"190ms\" }";
    world.adopt(&[pool("web", quick, other)]);
    world.next().await;
    assert!(since(&world, 0) > up_since);
    stalling.abort();
    serving.abort();
}
