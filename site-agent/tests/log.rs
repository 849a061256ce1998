//! What operators read in the log: who took a server out and why, whether a pool serves, what is wrong with a config; and
//! in the access log, who was cut off.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::streak::Progress;
use serde_json::Value;
use site_agent::backends::{Administrative, AgentDown, By, Checked, Event, Mode, Source, Why};
use site_agent::config;
use site_agent::ids::ServerId;
use site_agent::outlier::Outcome;
use site_agent::site;
use site_agent::upstream::Upstream;
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tracing::subscriber::set_default;
use world::http2::{self, Secure};
use world::logged::{Log, logged};
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
                "INFO an operator orders command=\"set server app/a state maint\" uid={uid} pid={pid}"
            ),
            r#"WARN a server is in another state pool="app" server="a" from="no check" to="MAINT" by="command" reason="maint" serving=0"#,
            r#"WARN no server of a pool can serve: its requests are refused pool="app""#,
            &format!(
                "INFO an operator orders command=\"set server app/a weight 75%\" uid={uid} pid={pid}"
            ),
        ]
    );
}
