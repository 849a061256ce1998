//! What operators read in the log: who took a server out and why, whether a pool serves, what is wrong with a config; and
//! in the access log, who was cut off.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod world;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::lock::Mutex;
use common::streak::Progress;
use serde_json::Value;
use site_agent::backends::{Administrative, AgentDown, By, Checked, Event, Mode, Source, Why};
use site_agent::config;
use site_agent::ids::ServerId;
use site_agent::metrics::{self, Reloads};
use site_agent::outlier::Outcome;
use site_agent::run::Agent;
use site_agent::site;
use site_agent::upstream::Upstream;
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tracing::Subscriber;
use tracing::subscriber::{set_default, with_default};
use world::http2::made::{Ca, Folder, LEAF, Leaf};
use world::http2::{self, Secure};
use world::{Client, Server, World, ok, until};

const START: Duration = Duration::from_secs(100);

/// A pool of these lines.
fn pool(lines: &str) -> Arc<site::Pool> {
    let text = world::config("", lines, &[]).replace("FRONT", "127.0.0.1:1");
    let text = text.replace("servers = []", "");
    let read = config::from_str(&text, Path::new("/"));
    let config = read.unwrap_or_else(|problems| panic!("{problems}"));
    Arc::new(config.site.pools.into_iter().next().unwrap())
}

/// Servers of these names, each at a port of its own.
fn servers(names: &str) -> String {
    let server = |name: &str| {
        format!("{{ name = \"{name}\", address = \"127.0.0.1:{}\" }}", name.as_bytes()[0])
    };
    let servers: Vec<_> = names.split(' ').map(server).collect();
    format!("servers = [{}]", servers.join(", "))
}

/// Where a log goes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Writes here: a line each, its level, its message and its fields.
    fn lines(&self) -> impl Subscriber + use<> {
        let writer = self.clone();
        let lines = tracing_subscriber::fmt().without_time().with_target(false).with_ansi(false);
        lines.with_writer(move || writer.clone()).finish()
    }

    /// What has come since that was asked last.
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock())).unwrap()
    }
}

/// What is logged meanwhile.
fn logged(act: impl FnOnce()) -> String {
    let log = Log::default();
    with_default(log.lines(), act);
    log.take()
}

/// A look at a server has ended, and speaks for the third time in a row against it if it failed.
fn look(upstream: &Upstream, id: usize, failure: Option<(&'static str, &str)>) {
    let to = if failure.is_some() { Checked::Down } else { Checked::Up };
    let event = Event::Check { to, progress: Progress { streak: 0, need: 2 } };
    let (reason, detail) = failure.unwrap_or(("passed", ""));
    let took = Some(Duration::from_millis(7));
    let why = Why { by: Source::Check, reason, detail: detail.to_owned(), took };
    upstream.on_said(START, ServerId(id), event, &why);
}

#[test]
fn the_log_says_who_took_a_server_out_and_why() {
    let text = format!(
        "{}\ncheck = {{ kind = \"tcp\", rise = 1 }}\nbreaker = {{ consecutive_errors = 1 }}",
        servers("a b")
    );
    let upstream = Upstream::new(pool(&text), START);
    let check = |act: &dyn Fn(), expected: &str| {
        let lines = logged(act);
        let lines: Vec<_> = lines.lines().map(str::trim_start).collect();
        let expected: Vec<_> = expected.lines().map(str::trim_start).collect();
        assert_eq!(lines, expected);
    };
    check(
        &|| look(&upstream, 0, None),
        r#"INFO a server is in another state pool="app" server="a" from="DOWN" to="UP" by="check" reason="passed" took_ms=7 serving=1
           INFO a pool serves pool="app""#,
    );
    check(
        &|| look(&upstream, 1, None),
        r#"INFO a server is in another state pool="app" server="b" from="DOWN" to="UP" by="check" reason="passed" took_ms=7 serving=2"#,
    );
    check(
        &|| look(&upstream, 0, Some(("status", "answered 503, expected 200"))),
        r#"WARN a server is in another state pool="app" server="a" from="UP" to="DOWN" by="check" reason="status" detail="answered 503, expected 200" took_ms=7 serving=1"#,
    );
    let agent = Event::AgentDown(AgentDown::Stopped);
    check(
        &|| upstream.on_said(START, ServerId(1), agent, &Why::of(agent).because("for repairs")),
        r#"WARN a server is in another state pool="app" server="b" from="UP" to="DOWN (agent)" by="agent" reason="stopped" detail="for repairs" serving=0
           WARN no server of a pool can serve: its requests are refused pool="app""#,
    );
    check(
        &|| upstream.on_event(START, ServerId(1), Event::AgentUp),
        r#"INFO a server is in another state pool="app" server="b" from="DOWN (agent)" to="UP" by="agent" reason="up" serving=1
           INFO a pool serves again pool="app""#,
    );
    // Who is drained goes on with those that are its own.
    let order = |to| Event::Order { by: By::Command, to };
    check(
        &|| upstream.on_event(START, ServerId(1), order(Administrative::Drain)),
        r#"INFO a server is in another state pool="app" server="b" from="UP" to="DRAIN" by="command" reason="drain" serving=0
           WARN no server of a pool can serve: its requests are refused pool="app""#,
    );
    check(
        &|| upstream.on_event(START, ServerId(1), order(Administrative::Maint)),
        r#"WARN a server is in another state pool="app" server="b" from="DRAIN" to="MAINT" by="command" reason="maint" serving=0"#,
    );
    let ready = || upstream.on_event(START, ServerId(1), order(Administrative::Ready));
    logged(|| (ready(), look(&upstream, 0, None)).1);
    let server = Arc::clone(upstream.server(ServerId(0)));
    check(
        &|| upstream.on_outcome(START, &server, Outcome::Answered(503)),
        r#"WARN a server is in another state pool="app" server="a" from="UP" to="DOWN (ejected)" by="breaker" reason="errors" detail="the last in a row: status 503; out for 30s, or until a look passes" serving=1"#,
    );
    let passed = |by, reason| {
        let why = Why { by, reason, detail: String::new(), took: None };
        upstream.on_check_passed(START, ServerId(0), &why);
    };
    check(
        &|| passed(Source::Check, "passed"),
        r#"INFO a server is in another state pool="app" server="a" from="DOWN (ejected)" to="UP" by="check" reason="passed" serving=2"#,
    );
    // Or who is believed to be well.
    logged(|| upstream.on_outcome(START, &server, Outcome::Answered(503)));
    check(
        &|| passed(Source::Command, "health"),
        r#"INFO a server is in another state pool="app" server="a" from="DOWN (ejected)" to="UP" by="command" reason="health" serving=2"#,
    );
}

#[test]
fn the_log_says_by_whom_a_pool_serves() {
    let text =
        |more: &str| format!("{}\ncheck = {{ kind = \"tcp\", rise = 1 }}\n{more}", servers("a b"));
    let told = |act: &dyn Fn()| {
        let is_of_pool = |line: &&str| !line.contains("a server is in another state");
        let lines = logged(act);
        lines.lines().filter(is_of_pool).map(str::trim_start).collect::<Vec<_>>().join("\n")
    };
    let fails = Some(("status", "answered 503, expected 200"));

    let with_backup = text("").replace("\"b\", ", "\"b\", backup = true, ");
    let upstream = Upstream::new(pool(&with_backup), START);
    let check = |id, failure, expected: &str| {
        assert_eq!(told(&|| look(&upstream, id, failure)), expected);
    };
    // Who was never looked at serves, and that is no news.
    assert_eq!(upstream.shown().standing.mode, Mode::Starting);
    check(1, None, "");
    check(0, None, r#"INFO a pool serves pool="app""#);
    let line = logged(|| look(&upstream, 0, fails));
    assert!(line.contains(r#" serving=0 backups=1"#), "{line}");
    assert!(line.contains(r#"WARN a pool serves by its backups alone pool="app""#), "{line}");
    check(1, fails, r#"WARN no server of a pool can serve: its requests are refused pool="app""#);
    check(1, None, r#"WARN a pool serves by its backups alone pool="app""#);
    check(0, None, r#"INFO a pool serves by its own servers again pool="app""#);

    let upstream = Upstream::new(pool(&text("panic = 0.6")), START);
    let check = |id, failure, expected: &str| {
        assert_eq!(told(&|| look(&upstream, id, failure)), expected);
    };
    check(0, None, r#"INFO a pool serves pool="app""#);
    check(
        1,
        fails,
        r#"WARN too few servers of a pool are up: it panics pool="app" usable=1 wanted=2"#,
    );
    check(1, None, r#"INFO a pool serves by its own servers again pool="app""#);
}

#[test]
fn a_pool_that_nobody_was_looked_at_of_is_neither_lost_nor_back() {
    let text = format!("{}\ncheck = {{ kind = \"tcp\", rise = 1 }}", servers("a b"));
    let pools = |act: &dyn Fn(&Upstream)| {
        let of_pools = logged(|| act(&Upstream::new(pool(&text), START)));
        let lines = of_pools.lines().filter(|line| !line.contains(" server=\""));
        lines.map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(pools(&|_| {}), [""; 0]);
    assert_eq!(pools(&|upstream| look(upstream, 0, None)), [r#"INFO a pool serves pool="app""#]);
    // The first might still.
    let refused = Some(("refused", "connection refused"));
    assert_eq!(pools(&|upstream| look(upstream, 0, refused)), [""; 0]);
    let nobody = r#"WARN no server of a pool can serve: its requests are refused pool="app""#;
    let both = |upstream: &Upstream| (0..2).for_each(|id| look(upstream, id, refused));
    assert_eq!(pools(&both), [nobody]);
    // A reload that takes away the last that served is heard of, too.
    let fewer = |upstream: &Upstream| {
        look(upstream, 0, None);
        look(upstream, 1, refused);
        let left = format!("{}\ncheck = {{ kind = \"tcp\", rise = 1 }}", servers("b"));
        upstream.reloaded(pool(&left), START);
    };
    assert_eq!(pools(&fewer), [r#"INFO a pool serves pool="app""#, nobody]);
}

/// One that collectors parse has a line for each problem, too.
#[tokio::test]
async fn each_problem_of_a_config_is_a_line() {
    let backend = world::Backend::named("a").await;
    let good = world::config("", "", &[("a", backend.address)]);
    let mut world = World::start(&good).await;
    let bad = good.replace("pool = \"app\"", "pool = \"ap\"");
    let bad = bad.replace("servers", "balance = \"best\"\nservers");
    let (file, lines) = (world.dir.path().join("site.toml"), logged(|| world.reload(&bad)));
    let at = |line, what| {
        format!("ERROR the config has a problem problem=\"{}:{line}: {what}", file.display())
    };
    let lines: Vec<_> = lines.lines().map(str::trim_start).collect();
    let [pool, balance, last] = lines[..] else { panic!("{lines:#?}") };
    assert!(pool.starts_with(&at(3, "frontend.web.pool: ")), "{pool}");
    assert!(balance.starts_with(&at(8, "pool.app.balance: ")), "{balance}");
    assert_eq!(last, "ERROR the config is refused: the one before goes on problems=2");
    assert_eq!(world.client().await.get("/").await.text(), "a");
    // What only the system refuses is one, too.
    let taken = world::address();
    let _holder = std::net::TcpListener::bind(taken).unwrap();
    let lines =
        logged(|| world.reload(&good.replace("[\"FRONT\"]", &format!("[\"FRONT\", \"{taken}\"]"))));
    let problem = format!("problem=\"frontend web cannot listen on {taken}: ");
    assert!(lines.contains(&problem) && lines.trim_end().ends_with("problems=1"), "{lines}");
    assert_eq!(lines.lines().count(), 2, "{lines}");
    // And at a start, its cause once.
    let file = world.dir.path().join("other.toml");
    std::fs::write(&file, good.replace("FRONT", &taken.to_string())).unwrap();
    let refused = Agent::start(config::load(&file).unwrap(), 1).await.err().unwrap();
    let refused = format!("{:#}", anyhow::Error::from(refused));
    let expected =
        format!("frontend web cannot listen on {taken}: Address already in use (os error 98)");
    assert_eq!(refused, expected);
}

#[tokio::test]
async fn a_reload_says_what_it_changes() {
    let at = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let config = |servers: &[(&str, _)], rest: &str| world::config("", "", servers) + rest;
    let two = config(&[("a", at(1)), ("b", at(2))], "");
    let mut world = World::start(&two).await;
    let mut told = |text: &str| {
        let lines = logged(|| world.reload(text));
        let fields = |line: &str| {
            let (_, fields) = line.split_once("INFO the config has ")?;
            Some(fields.replace("it otherwise ", "").replace('"', ""))
        };
        assert!(lines.trim_end().ends_with("INFO the config is taken"), "{lines}");
        lines.lines().filter_map(fields).collect::<Vec<_>>()
    };
    assert_eq!(told(&two), [""; 0]);
    assert_eq!(
        told(&config(&[("b", at(4)), ("c", at(3))], "")),
        [
            "what=server name=app/a how=gone",
            "what=server name=app/b how=changed",
            "what=server name=app/c how=new"
        ]
    );
    let more = "[pool.b]\nservers = [{ name = \"z\", address = \"127.0.0.1:9\" }]\n";
    let more = config(&[("b", at(4)), ("c", at(3))], more)
        .replace("[pool.app]", "[pool.app]\npanic = 0.5");
    assert_eq!(told(&more), ["what=pool name=app how=changed", "what=pool name=b how=new"]);
    let web = more.replace("[frontend.web]", "[frontend.web]\nmax_connections = 7");
    assert_eq!(told(&web), ["what=frontend name=web how=changed"]);
    // A pool's id is not what is compared.
    let first = web.replace("[pool.b]", "[pool.a]");
    assert_eq!(told(&first), ["what=pool name=a how=new", "what=pool name=b how=gone"]);
    let many: Vec<String> = (0..120).map(|number| format!("s{number}")).collect();
    let many: Vec<_> = many
        .iter()
        .zip(100..)
        .map(|(name, port)| (&**name, at(port)))
        .chain([("b", at(4)), ("c", at(3))])
        .collect();
    let many = config(&many, "").replace("[pool.app]", "[pool.app]\npanic = 0.5");
    let many = many.replace("[frontend.web]", "[frontend.web]\nmax_connections = 7");
    let lines = told(&many);
    assert_eq!((lines.len(), &*lines[0]), (101, "what=pool name=a how=gone"));
    assert_eq!(lines[100], "more otherwise more=21");
}

/// A file that somebody is still writing keeps nobody from taking a server out.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_of_tls_leaves_the_last_good_one() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let dir = folder.path().to_owned();
    std::fs::create_dir(dir.join("certs")).unwrap();
    folder.certify(&ca, "certs/www", Leaf { names: &["www.example.com"], ..LEAF });
    let (certificate, key) = ca.issue(Leaf { names: &["api.example.com"], ..LEAF });
    let (_, foreign) = ca.issue(LEAF);
    folder.write("certs/api.pem", &certificate);
    folder.write("certs/api.key", &key);
    folder.write("clients.pem", &ca.pem);
    folder.write("revoked.pem", &ca.revoke(&[9]));
    folder.write("servers.pem", &ca.pem);
    let backend = world::Backend::named("a").await;
    let with = |servers: &[&str]| {
        let servers: Vec<_> = servers.iter().map(|name| (*name, backend.address)).collect();
        let tls = format!(
            "tls = {{ certificates = [{:?}], client_ca = {:?}, crl = {:?}, client_verify = \"optional\" }}",
            dir.join("certs"),
            dir.join("clients.pem"),
            dir.join("revoked.pem")
        );
        let far = format!(
            "[frontend.far]\nbind = [\"127.0.0.1:0\"]\npool = \"far\"\n[pool.far]\nservers = [{{ name = \"a\", \
             address = \"127.0.0.1:1\", tls = {{ ca = {:?} }} }}]\n",
            dir.join("servers.pem")
        );
        world::config(&tls, "", &servers) + &far
    };
    let mut secure = Secure::over(World::start(&with(&["a"])).await, &ca, folder);
    let site = secure.world.dir.path().join("site.toml");
    let broken = [
        ("certs/www.pem", Some("junk")),
        ("certs/www.pem", Some("")),
        ("certs/api.pem", Some("-----BEGIN CERTIFICATE-----\nMIIB")),
        ("certs/api.key", Some(&*foreign)),
        ("certs/api.key", None),
        ("clients.pem", Some("junk")),
        ("revoked.pem", Some("")),
        ("servers.pem", None),
    ];
    for (file, octets) in broken {
        let path = dir.join(file);
        let good = std::fs::read(&path).unwrap();
        match octets {
            Some(octets) => std::fs::write(&path, octets).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        // Whoever would start with it is told.
        let told = config::load(&site).unwrap_err().to_string();
        assert!(told.contains(file.trim_end_matches(".key")), "{file}: {told}");
        for name in ["b", "a"] {
            let lines = logged(|| secure.world.reload(&with(&[name])));
            let [broken, taken] = lines.lines().collect::<Vec<_>>()[..] else { panic!("{lines}") };
            let fault = "ERROR a file of TLS is broken: the last good one is used fault=";
            assert!(broken.trim_start().starts_with(fault) && broken.contains(file), "{lines}");
            assert_eq!(taken.trim_start(), "INFO the config is taken");
            let shown = secure.world.agent.shown();
            assert_eq!(&*shown.upstreams[0].servers()[0].name, name);
        }
        let response = secure.client().await.ask(http2::request("GET", "/")).await.unwrap();
        assert_eq!(response.status(), 200, "{file}");
        std::fs::write(&path, good).unwrap();
    }
    // Whoever looks ahead is told of each, by its file.
    let page = metrics::text(&secure.world.agent.shown(), &Reloads::default(), None);
    for file in ["www.pem", "api.pem"] {
        let line = format!(
            "site_agent_frontend_certificate_expiry_timestamp_seconds{{file=\"{}/certs/{file}\",frontend=\"web\"}} 3786912000\n",
            dir.display()
        );
        assert!(page.contains(&line), "{line}\n{page}");
    }
    // What was never good has nothing to fall back on.
    std::fs::write(dir.join("certs/new.pem"), "junk").unwrap();
    let lines = logged(|| secure.world.reload(&with(&["b"])));
    assert!(lines.contains("certs/new.pem holds no certificate"), "{lines}");
    assert!(lines.contains("the config is refused"), "{lines}");
    assert_eq!(&*secure.world.agent.shown().upstreams[0].servers()[0].name, "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_cut_at_the_end_has_its_line() {
    let (server, tcp, log) = (Server::new().await, world::address(), NamedTempFile::new().unwrap());
    let log_to = format!("access_log = {{ target = {:?} }}", log.path());
    let text = world::config(&format!("TLS\n{log_to}"), "", &server.at())
        + &format!(
            "[frontend.tcp]\nmode = \"tcp\"\nbind = [\"{tcp}\"]\npool = \"tcp\"\n{log_to}\n\
             [frontend.plain]\nbind = [\"PLAIN\"]\npool = \"app\"\n{log_to}\n\
             [pool.tcp]\nmode = \"tcp\"\nservers = [{{ name = \"a\", address = \"{}\" }}]\n",
            server.at()[0].1
        );
    let plain = world::address();
    let secure = Secure::of(&text.replace("PLAIN", &plain.to_string())).await;
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut asks = Client::connect(plain).await;
    asks.say(get).await;
    let (_one, _) = server.asked().await;
    // Half of an answer has come, and half of a request.
    let mut reads = Client::connect(plain).await;
    reads.say(get).await;
    let (mut two, _) = server.asked().await;
    two.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
    reads.until(b"half").await;
    let mut says = Client::connect(plain).await;
    says.say("GET /half").await;
    // Half of a request's body is no more than the wait for an answer.
    let upload = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf";
    let mut uploads = Client::connect(plain).await;
    uploads.say(upload).await;
    let (mut five, _) = server.asked().await;
    five.until(b"half").await;
    let mut opens = Client::connect(tcp).await;
    let mut three = server.accept().await;
    three.say("hello").await;
    opens.until(b"hello").await;
    let mut client = secure.client().await;
    let response = client.ask(http2::request("GET", "/"));
    let (_four, _) = server.asked().await;
    let shown = secure.world.agent.shown();
    // What was said of half a request has been read.
    let (_, traffic) = shown.frontends.iter().find(|(config, _)| &*config.name == "plain").unwrap();
    let said = 2 * get.len() + upload.len() + "GET /half".len();
    until(|| traffic.received.load(Relaxed) == said as u64).await;
    secure.world.agent.stop(Duration::ZERO).await;
    let lines = std::fs::read_to_string(log.path()).unwrap();
    let mut ends: Vec<_> = lines
        .lines()
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let frontend = words.iter().find_map(|word| {
                ["web", "plain", "tcp"].into_iter().find(|name| word.trim_end_matches('~') == *name)
            });
            let end = words.iter().find(|word| word.starts_with('K')).copied();
            (frontend.unwrap_or_default(), end.unwrap_or("nothing"))
        })
        .collect();
    ends.sort();
    let plain = ["KD--", "KH--", "KH--", "KR--"].map(|end| ("plain", end));
    assert_eq!(ends, [&plain[..], &[("tcp", "KD"), ("web", "KH--")]].concat(), "{lines}");
    assert!(response.await.is_err() && uploads.is_closed().await);
    assert!(asks.is_closed().await && says.is_closed().await && opens.is_closed().await);
}

/// Lines of JSON, by what was asked for, or the frontend of tcp: how it ended, and how much the client was sent.
fn told(lines: &str) -> BTreeMap<String, (String, u64)> {
    let of = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let asked = line["target"].as_str().or(line["frontend"].as_str()).unwrap().to_owned();
        (asked, (line["state"].as_str().unwrap().to_owned(), line["octets"].as_u64().unwrap()))
    };
    lines.lines().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_that_is_cut_tells_what_has_passed() {
    // More than goes through a buffer at a time.
    const MUCH: usize = 1 << 20;
    let (server, tcp, log) = (Server::new().await, world::address(), NamedTempFile::new().unwrap());
    let log_to = format!("access_log = {{ format = \"json\", target = {:?} }}", log.path());
    let text = world::config(&log_to, "", &server.at())
        + &format!(
            "[frontend.tcp]\nmode = \"tcp\"\nbind = [\"{tcp}\"]\npool = \"tcp\"\n{log_to}\n\
             [pool.tcp]\nmode = \"tcp\"\nservers = [{{ name = \"a\", address = \"{}\" }}]\n",
            server.at()[0].1
        );
    let world = World::start(&text).await;
    let asks = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly";
    let mut client = world.client().await;
    client.say(asks).await;
    let (mut side, _) = server.asked().await;
    side.say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nsoon")
        .await;
    let head = client.head().await.len();
    let mut opens = Client::connect(tcp).await;
    opens.say("early").await;
    let mut opened = server.accept().await;
    opened.say("soon").await;
    for (client, side) in [(&mut client, &mut side), (&mut opens, &mut opened)] {
        assert_eq!(
            (client.octets(4).await, side.octets(5).await),
            (b"soon".into(), b"early".into())
        );
        client.say("later").await;
        side.octets(5).await;
        tokio::join!(side.say(vec![7; MUCH]), client.octets(MUCH));
    }
    let shown = world.agent.shown();
    world.agent.stop(Duration::ZERO).await;
    let (passed, upgraded) = (4 + MUCH as u64, (head + 4 + MUCH) as u64);
    let lines = told(&std::fs::read_to_string(log.path()).unwrap());
    let cut = |octets| ("KD".to_owned(), octets);
    let expected = [("/chat".to_owned(), cut(upgraded)), ("tcp".to_owned(), cut(passed))];
    assert_eq!(lines, expected.into());
    for (config, traffic) in &shown.frontends {
        let (received, sent) =
            if &*config.name == "tcp" { (10, passed) } else { (asks.len() + 5, upgraded) };
        let counted = (traffic.received.load(Relaxed), traffic.sent.load(Relaxed));
        assert_eq!(counted, (received as u64, sent), "{}", config.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_http2_that_is_cut_has_a_line_for_each_stream() {
    let (server, log) = (Server::new().await, NamedTempFile::new().unwrap());
    let log_to = format!("access_log = {{ format = \"json\", target = {:?} }}", log.path());
    let secure = Secure::start(&log_to, "", &server.at()).await;
    let mut client = secure.client().await;
    let ask = |path| http2::request("GET", path);
    let whole = client.ask(ask("/whole"));
    let (mut side, _) = server.asked().await;
    side.say(ok("whole")).await;
    assert_eq!(http2::whole(whole).await.unwrap().text(), "whole");
    drop(side);
    let one = client.ask(ask("/one"));
    let _one = server.asked().await;
    let other = client.ask(ask("/other"));
    let _other = server.asked().await;
    let (upload, _stream) = client.begin(http2::request("POST", "/upload"));
    let _upload = server.asked().await;
    let half = client.ask(ask("/half"));
    let (mut side, _) = server.asked().await;
    side.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
    let mut half = http2::head(half).await.unwrap().into_body();
    assert_eq!(half.data().await.unwrap().unwrap(), "half");
    secure.world.agent.stop(Duration::ZERO).await;
    let lines = std::fs::read_to_string(log.path()).unwrap();
    let ends: Vec<_> = told(&lines)
        .into_iter()
        .map(|(asked, (end, _))| (asked.rsplit_once('/').unwrap().1.to_owned(), end))
        .collect();
    let expected =
        [("half", "KD"), ("one", "KH"), ("other", "KH"), ("upload", "KH"), ("whole", "--")];
    assert_eq!(ends, expected.map(|(path, end)| (path.to_owned(), end.to_owned())), "{lines}");
    for response in [one, other, upload] {
        assert!(response.await.is_err());
    }
    assert!(half.data().await.unwrap().is_err());
}

/// As over HTTP/2.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_fails_before_an_answer_has_waited_for_one() {
    let (server, log) = (Server::new().await, NamedTempFile::new().unwrap());
    let log_to = format!("access_log = {{ format = \"json\", target = {:?} }}", log.path());
    let frontend = format!("{log_to}\ntimeouts = {{ client = \"1s\" }}");
    let world = World::start(&world::config(&frontend, "", &server.at())).await;
    let begin = async |path: &str| {
        let mut client = world.client().await;
        let chunked = "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
        client.say(format!("POST /{path} HTTP/1.1\r\n{chunked}")).await;
        let (mut side, _) = server.asked().await;
        side.until(b"abc\r\n").await;
        (client, side)
    };
    let (leaves, mut side) = begin("leaves").await;
    drop(leaves);
    assert!(side.is_closed().await);
    let (mut junk, _side) = begin("junk").await;
    junk.say("no chunk\r\n").await;
    assert_eq!(junk.answer().await.status(), 400);
    let (mut silent, _side) = begin("silent").await;
    assert_eq!(silent.answer().await.status(), 408);
    drop((junk, silent));
    world.agent.stop(world::LONG).await;
    let lines = std::fs::read_to_string(log.path()).unwrap();
    let ends: Vec<_> = told(&lines).into_iter().map(|(path, (end, _))| path + " " + &end).collect();
    assert_eq!(ends, ["/junk PH", "/leaves CH", "/silent cH"], "{lines}");
}

#[tokio::test]
async fn an_order_has_its_line_before_those_of_what_follows() {
    let log = Log::default();
    let text = world::config("access_log = { format = \"off\" }", "", &Server::new().await.at());
    let world = World::start(&format!("[runtime]\nsocket = \"admin.sock\"\n{text}")).await;
    // What is ordered there is done on this thread.
    let _logs = set_default(log.lines());
    let mut operator = UnixStream::connect(world.dir.path().join("admin.sock")).await.unwrap();
    let (uid, pid) = (rustix::process::getuid().as_raw(), std::process::id());
    operator
        .write_all(
            b"disable server app/a; set weight app/a 075%; show stat; set server app/z state maint; \
              set server app/a health up\n",
        )
        .await
        .unwrap();
    operator.read_to_end(&mut vec![]).await.unwrap();
    let text = log.take();
    let lines: Vec<_> = text.lines().map(str::trim_start).collect();
    assert_eq!(
        lines,
        [
            &*format!(
                "INFO an operator orders command=set server app/a state maint uid={uid} pid={pid}"
            ),
            r#"WARN a server is in another state pool="app" server="a" from="no check" to="MAINT" by="command" reason="maint" serving=0"#,
            r#"WARN no server of a pool can serve: its requests are refused pool="app""#,
            &format!(
                "INFO an operator orders command=set server app/a weight 75% uid={uid} pid={pid}"
            ),
        ]
    );
}
