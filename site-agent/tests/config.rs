//! `site.toml` as operators write it: good ones become what was meant, bad ones name every problem.
//!
//! Each bad file has what is said of it beside it; `UPDATE_GOLDEN=1 cargo test` writes it anew.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

#[path = "../../probe/tests/world/credentials.rs"]
mod credentials;
#[path = "config/virtual_routers.rs"]
mod virtual_routers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::check::{Kind, Verify};
use common::config::Colour;
use common::target::Address;
use credentials::Ca;
use site_agent::config::{self, Config, Good};
use site_agent::rules::Mode;
use site_agent::site::{
    AccessLog, Action, Algorithm, Alpn, Balance, Breaker, Certificate, ClientTimeouts,
    ClientVerify, DenyStatus, Frontend, HttpVersion, Level, Limits, LogFormat, LogTarget,
    MinVersion, Pool, PoolId, ProxyVersion, Queue, RedirectCode, Retry, RetryOn, ServerNameSource,
    ServerTimeouts, Share, Weight,
};
use tempfile::TempDir;

const POOL: &str = "[pool.web]\nservers = [{ name = \"a\", address = \"10.0.0.1:8080\" }]\n";

fn bad() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/bad")
}

/// Reads it in a folder of its own; an error is what is told, without the folder.
fn read(dir: &TempDir, text: &str) -> Result<Config, String> {
    let shown = format!("{}/", dir.path().display());
    config::from_str(text, dir.path()).map_err(|problems| problems.to_string().replace(&shown, ""))
}

fn good(text: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    read(&dir, text).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

/// A frontend with these lines, and the usual pool.
fn frontend(lines: &str) -> Frontend {
    let text = format!("[frontend.web]\nbind = [\"0.0.0.0:80\"]\n{lines}\n{POOL}");
    good(&text).site.frontends.remove(0)
}

/// A pool with these lines, and a frontend that sends something there.
fn pool(lines: &str) -> Pool {
    let text = format!("[frontend.web]\nbind = [\"0.0.0.0:80\"]\npool = \"web\"\n{POOL}{lines}");
    good(&text).site.pools.remove(0)
}

fn warnings(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let config = read(&dir, text).unwrap();
    config.warnings.to_string().replace(&format!("{}/", dir.path().display()), "")
}

#[test]
fn bad_files_are_told_every_problem() {
    let mut failed = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(bad()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        count += 1;
        let told = config::load(&path).map(|_| ()).unwrap_err().to_string();
        let said = told.replace(&format!("{}/", bad().display()), "") + "\n";
        let golden = path.with_extension("expected");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &said).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if said != expected {
            failed.push(format!("{}\nsays\n{said}\nnot\n{expected}", path.display()));
        }
    }
    assert!(count >= 20, "{count} files");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn the_runtime_api_is_its_owners_unless_it_says_otherwise() {
    let of = |lines: &str| {
        let text = format!(
            "[runtime]\n{lines}\n[frontend.web]\nbind = [\"0.0.0.0:80\"]\npool = \"web\"\n{POOL}"
        );
        (good(&text).site.runtime.unwrap(), warnings(&text))
    };
    let (runtime, warned) = of("socket = \"/run/a.sock\"");
    assert_eq!(
        (runtime.socket.to_str().unwrap(), runtime.mode, runtime.level),
        ("/run/a.sock", 0o600, Level::Admin)
    );
    assert_eq!(warned, "");
    let (runtime, warned) = of("socket = \"/run/a.sock\"\nmode = \"660\"\nlevel = \"user\"");
    assert_eq!((runtime.mode, runtime.level, &*warned), (0o660, Level::User, ""));
    let (_, warned) = of("socket = \"/run/a.sock\"\nmode = \"0666\"");
    assert!(
        warned.contains("everybody on this machine may take servers out of service"),
        "{warned}"
    );
    let longest = format!("/{}", "x".repeat(106));
    assert_eq!(of(&format!("socket = \"{longest}\"")).0.socket.to_str().unwrap(), longest);
}

#[test]
fn a_mistake_in_a_condition_is_marked_where_it_is_written() {
    let problems = config::load(&bad().join("conditions.toml")).unwrap_err();
    let shown = problems.render(Colour::Never);
    for marked in [
        "5 |   { when = \"path_prefx('/admin') && !src('10.10.0.1/16')\", deny = 403 },\n  |             ^^^^^^^^^^ frontend.web.rules[0].when",
        "5 |   { when = \"path_prefx('/admin') && !src('10.10.0.1/16')\", deny = 403 },\n  |                                          ^^^^^^^^^^^^^^ frontend.web.rules[0].when",
        // Behind escapes, and in several lines.
        "7 |   { when = \"header(\\\"x-a\\\") == 7 && path(\\\"b\\\")\", deny = 403 },\n  |                                ^ frontend.web.rules[2].when",
        "7 |   { when = \"header(\\\"x-a\\\") == 7 && path(\\\"b\\\")\", deny = 403 },\n  |                                          ^^^^^ frontend.web.rules[2].when",
        "9 |     method('get')\n  |            ^^^^^ frontend.web.rules[3].when",
        "10 |     && port == 0\n   |                ^ frontend.web.rules[3].when",
    ] {
        assert!(shown.contains(marked), "{shown}\n\ndoes not have\n\n{marked}");
    }
}

#[test]
fn what_is_left_out_is_filled_in() {
    let frontend = frontend("pool = \"web\"");
    assert_eq!(frontend.mode, Mode::Http);
    assert_eq!(frontend.max_connections, 20_000);
    assert!(frontend.accept_proxy.is_empty() && frontend.trusted.is_empty());
    let seconds = Duration::from_secs;
    let timeouts = ClientTimeouts {
        client: seconds(30),
        http_request: seconds(10),
        keep_alive: seconds(15),
        client_fin: seconds(30),
    };
    assert_eq!(frontend.timeouts, timeouts);
    let limits = Limits { head_octets: 65_536, headers: 100, h2_streams: 100 };
    assert_eq!(frontend.limits, limits);
    assert_eq!(frontend.routing.pool, Some(PoolId(0)));
    let log = AccessLog { format: LogFormat::Haproxy, target: LogTarget::Stdout };
    assert_eq!(frontend.access_log, Some(log));
    assert_eq!(frontend.server_name_source(), ServerNameSource::Nobody);

    let pool = pool("");
    assert_eq!(pool.balance, Balance { algorithm: Algorithm::RandomTwo, bound: None });
    assert_eq!(pool.queue, Queue { timeout: seconds(5), length: 1024 });
    assert_eq!(
        pool.retry,
        Retry {
            attempts: 3.try_into().unwrap(),
            on: vec![RetryOn::ConnFailure],
            budget: Share::new(0.2).unwrap(),
        }
    );
    assert_eq!((pool.breaker, pool.slow_start, pool.agent_check.clone()), (None, None, None));
    assert_eq!(pool.panic, Share::NONE);
    let timeouts = ServerTimeouts {
        connect: seconds(5),
        server: seconds(30),
        tunnel: seconds(3600),
        server_fin: seconds(30),
    };
    assert_eq!((pool.timeouts, pool.http), (timeouts, HttpVersion::V1));
    let [server] = &pool.servers[..] else { panic!("{pool:?}") };
    assert_eq!((server.weight, server.backup), (Weight::default(), false));
    assert!(server.max_connections.is_none() && server.capacity.is_none());
    assert!(server.tls.is_none() && server.send_proxy.is_none() && server.check.is_none());
}

/// Half-closed connections and tunnels follow the times that are given.
#[test]
fn times_left_out_follow_those_given() {
    let frontend = frontend("pool = \"web\"\ntimeouts = { client = \"5s\" }");
    assert_eq!(frontend.timeouts.client_fin, Duration::from_secs(5));
    let pool = pool("timeouts = { server = \"2h\" }\nbreaker = { eject = \"10m\" }");
    assert_eq!(pool.timeouts.tunnel, Duration::from_secs(7200));
    assert_eq!(pool.timeouts.server_fin, Duration::from_secs(30));
    assert_eq!(pool.breaker.unwrap().max_eject, Duration::from_secs(600));
}

#[test]
fn rules_become_what_was_meant() {
    let lines = "
        redirect_https = 301
        access_log = { format = \"off\" }
        rules = [
          { when = \"path_prefix('/a')\", deny = 451 },
          { when = \"is_tls\", redirect_https = 307 },
          { when = \"port == 81\", pool = \"web\" },
        ]";
    let frontend = frontend(lines);
    let routing = &frontend.routing;
    let actions: Vec<Action> = routing.rules.iter().map(|rule| rule.action).collect();
    let expected = [
        Action::Deny(DenyStatus::new(451).unwrap()),
        Action::RedirectHttps(RedirectCode::TemporaryRedirect),
        Action::Pool(PoolId(0)),
    ];
    assert_eq!(actions, expected);
    assert_eq!(routing.rules[0].when.as_ref().unwrap().text(), "path_prefix('/a')");
    assert_eq!(routing.redirect_https, Some(RedirectCode::MovedPermanently));
    assert!(routing.needs.path && !routing.needs.sni);
    assert_eq!(frontend.access_log, None);
}

#[test]
fn a_pool_becomes_what_was_meant() {
    let pool = pool(
        "balance = { algorithm = \"header\", header = \"X-User\", bound = 1.5 }
         check = { kind = \"https\", path = \"/up\", host = \"a.example\", port = 9443, interval = \"4s\",
                   down_interval = \"10s\", rise = 1, fall = 2, expect = { status = [\"204\"] } }
         agent_check = { port = 9999, send = \"web\" }
         panic = 0.5
         http = \"2\"
         retry = { attempts = 2, on = [\"response-timeout\", \"503\"], budget = 0 }
         breaker = { consecutive_errors = 7, max_ejected = 0.5 }",
    );
    let expected = Algorithm::Header("x-user".into());
    assert_eq!(pool.balance.algorithm, expected);
    assert_eq!(pool.balance.bound.unwrap().get(), 1.5);
    let check = pool.servers[0].check.as_ref().unwrap();
    assert_eq!(check.target.address, Address::Ip("10.0.0.1".parse().unwrap()));
    assert_eq!((check.target.port, &*check.target.host), (9443, "a.example"));
    assert!(matches!(&check.target.check.kind, Kind::Https(https) if https.http.path == "/up"));
    let timing = check.target.check.timing;
    assert_eq!((timing.interval().as_secs(), timing.timeout().as_secs()), (4, 2));
    assert_eq!((check.fast_interval.as_secs(), check.down_interval.as_secs()), (4, 10));
    assert_eq!((timing.thresholds().rise.get(), timing.thresholds().fall.get()), (1, 2));
    let agent_check = pool.agent_check.unwrap();
    assert_eq!((agent_check.port.get(), agent_check.send.as_deref()), (9999, Some("web")));
    assert_eq!((agent_check.interval, agent_check.timeout.as_secs()), (Duration::from_secs(2), 2));
    assert_eq!((pool.panic.get(), pool.http), (0.5, HttpVersion::V2));
    assert_eq!(pool.retry.on, [RetryOn::ResponseTimeout, RetryOn::Status(503)]);
    let breaker = Breaker {
        consecutive_errors: 7.try_into().unwrap(),
        max_ejected: Share::new(0.5).unwrap(),
        ..Breaker::default()
    };
    assert_eq!(pool.breaker, Some(breaker));
}

/// A server's own check stands in place of its pool's.
#[test]
fn servers_are_looked_at_where_they_are() {
    let text = format!(
        "[frontend.web]\nbind = [\"0.0.0.0:80\"]\npool = \"web\"\n{}",
        "[pool.web]
         check = { kind = \"http\" }
         servers = [
           { name = \"a\", address = \"10.0.0.1:80\" },
           { name = \"b\", address = \"[2001:db8::1]:443\", tls = { sni = \"B.example\", verify = \"nothing\" } },
           { name = \"c\", address = \"10.0.0.3:80\", send_proxy = \"v2\", check = { kind = \"icmp\" } },
         ]"
    );
    let pool = good(&text).site.pools.remove(0);
    let looked: Vec<(String, u16, String)> = pool
        .servers
        .iter()
        .map(|server| &server.check.as_ref().unwrap().target)
        .map(|target| (target.address.to_string(), target.port, target.host.clone()))
        .collect();
    let expected = [
        ("10.0.0.1", 80, "10.0.0.1"),
        ("2001:db8::1", 443, "b.example"),
        ("10.0.0.3", 0, "10.0.0.3"),
    ];
    assert_eq!(looked, expected.map(|(address, port, host)| (address.into(), port, host.into())));
    let tls = pool.servers[1].tls.as_ref().unwrap();
    assert_eq!((tls.verify, tls.sni.as_deref()), (Verify::Nothing, Some("b.example")));
    assert_eq!(tls.alpn, [Alpn::Http1]);
    assert_eq!(pool.servers[2].send_proxy, Some(ProxyVersion::V2));
}

#[test]
fn names_are_read_on_the_way_through() {
    let config = good(
        "[frontend.tls]\nbind = [\"0.0.0.0:443\"]\nmode = \"tcp\"\npool = \"web\"\nrules = [{ when = \
         \"sni('a.example')\", deny = true }]\n[pool.web]\nmode = \"tcp\"\nservers = [{ name = \"a\", address = \
         \"10.0.0.1:443\" }]",
    );
    let frontend = &config.site.frontends[0];
    assert_eq!(frontend.server_name_source(), ServerNameSource::Hello);
    assert_eq!(frontend.routing.rules[0].action, Action::Close);
}

#[test]
fn what_serves_nobody_well_is_warned_of() {
    let text = "[frontend.web]\nbind = [\"0.0.0.0:80\"]\npool = \"web\"\n[pool.web]\nservers = [{ name = \"a\", \
                address = \"10.0.0.1:80\", backup = true, weight = 0 }]\nqueue = {}\n[pool.idle]\nservers = [{ name = \
                \"a\", address = \"10.0.0.1:80\" }]";
    assert_eq!(
        warnings(text),
        "site.toml:5: pool.web.servers: all servers are backups, which is as if none was\n\
         site.toml:5: pool.web.servers: all servers have weight 0, so none is given anything\n\
         site.toml:6: pool.web.queue: nobody ever waits: no server of this pool has max_connections\n\
         site.toml:7: pool.idle: no frontend sends anything to this pool"
    );
    let text = text.replace("queue = {}", "").replace(", backup = true, weight = 0", "");
    assert_eq!(warnings(&text), "site.toml:7: pool.idle: no frontend sends anything to this pool");
    let each_its_own = |http: &str| {
        warnings(&format!(
            "[frontend.web]\nbind = [\"0.0.0.0:80\"]\npool = \"web\"\n[pool.web]\nhttp = \"{http}\"\n\
             servers = [{{ name = \"a\", address = \"10.0.0.1:80\", send_proxy = \"v2\" }}]\n"
        ))
    };
    assert_eq!(
        each_its_own("2"),
        "site.toml:6: pool.web.servers[0].send_proxy: each request makes a connection, as one says for whom it is: HTTP/2 \
         shares none then"
    );
    assert_eq!(each_its_own("1.1"), "");
}

#[test]
fn what_is_likely_not_meant_is_warned_of() {
    let told = |admin: &str, pool: &str| {
        let admin = match admin {
            "" => String::new(),
            address => format!("[admin]\nlisten = \"{address}\"\n"),
        };
        let text =
            format!("{admin}[frontend.web]\nbind = [\"0.0.0.0:80\"]\npool = \"web\"\n{POOL}{pool}");
        let text = match pool.starts_with("servers") {
            true => text.replace(POOL, "[pool.web]\n"),
            false => text,
        };
        let told = warnings(&text);
        told.split_once(' ').map_or(String::new(), |(_, told)| told.to_owned())
    };
    for (admin, is_told) in [
        ("127.0.0.1", false),
        ("[::1]", false),
        ("10.0.0.1", false),
        ("100.64.0.1", false),
        ("[fd00::1]", false),
        ("0.0.0.0", true),
        ("[::]", true),
        ("203.0.113.1", true),
        ("100.128.0.1", true),
        ("[::ffff:203.0.113.1]", true),
        ("[2001:db8::1]", true),
    ] {
        let said = told(&format!("{admin}:8404"), "");
        assert_eq!(!said.is_empty(), is_told, "{admin}: {said}");
    }
    assert_eq!(
        told("0.0.0.0:8404", ""),
        "admin.listen: everybody who can reach 0.0.0.0 may read how things are, without a password; \"127.0.0.1:8404\" \
         is this machine's alone"
    );
    let slow = "slow_start = \"30s\"\n";
    assert_eq!(
        told("", slow),
        "pool.web.slow_start: nobody looks at these servers, so none ever comes up again by itself; add check"
    );
    for looked in ["check = { kind = \"tcp\" }", "agent_check = { port = 1 }", "breaker = {}"] {
        assert_eq!(told("", &format!("{slow}{looked}")), "", "{looked}");
    }
    let servers = |weight: u32| {
        format!(
            "servers = [{{ name = \"a\", address = \"10.0.0.1:80\", weight = {weight} }}, {{ name = \"b\", address = \
             \"10.0.0.2:80\", backup = true }}]"
        )
    };
    assert_eq!(
        told("", &servers(0)),
        "pool.web.servers: all servers that are no backups have weight 0, so the backups serve"
    );
    assert_eq!(told("", &servers(1)), "");
}

#[test]
fn certificates_are_found_with_their_keys() {
    let dir = tempfile::tempdir().unwrap();
    let certs = dir.path().join("certs");
    fs::create_dir(&certs).unwrap();
    let ca = Ca::new();
    let beside = ca.issue(&certs, "gslb://test/agent/b");
    let within = ca.issue(&certs, "gslb://test/agent/a");
    let both = [&within.certificate, &within.key].map(|file| fs::read_to_string(file).unwrap());
    fs::write(certs.join("a.crt"), both.concat()).unwrap();
    for file in [&within.certificate, &within.key, &within.ca, &beside.ca] {
        fs::remove_file(file).unwrap();
    }
    fs::write(certs.join("README"), "not a certificate").unwrap();
    let another = Ca::new().issue(dir.path(), "gslb://test/agent/c");
    let text = |more: &str| {
        format!(
            "[frontend.web]\nbind = [\"0.0.0.0:443\"]\npool = \"web\"\ntls = {{ certificates = [\"certs\", \
             \"c.pem\"], min = \"1.3\", client_ca = \"c-ca.pem\"{more} }}\n{POOL}"
        )
    };
    let frontend = read(&dir, &text("")).unwrap().site.frontends.remove(0);
    let tls = frontend.tls.as_ref().unwrap();
    let pair = |chain: PathBuf, key: PathBuf| Certificate { chain, key };
    let expected = [
        pair(certs.join("a.crt"), certs.join("a.crt")),
        pair(beside.certificate.clone(), beside.key.clone()),
        pair(another.certificate.clone(), another.key.clone()),
    ];
    assert_eq!(tls.certificates, expected);
    assert_eq!((tls.min, &*tls.alpn), (MinVersion::Tls13, &[Alpn::H2, Alpn::Http1][..]));
    assert_eq!(tls.client_verify, ClientVerify::Required { ca: another.ca.clone(), crl: None });
    assert_eq!(frontend.server_name_source(), ServerNameSource::Handshake);
    let optional = read(&dir, &text(", client_verify = \"optional\"")).unwrap();
    let optional = optional.site.frontends[0].tls.clone().unwrap().client_verify;
    assert_eq!(optional, ClientVerify::Optional { ca: another.ca.clone(), crl: None });

    // A key of another certificate; none at all; a list that is none; a folder without any.
    fs::copy(&another.key, &beside.key).unwrap();
    let told = read(&dir, &text("")).unwrap_err();
    assert!(
        told.starts_with(
            "site.toml:4: frontend.web.tls.certificates[0]: certs/b.key is not the key of"
        ),
        "{told}"
    );
    fs::remove_file(&beside.key).unwrap();
    let told = read(&dir, &text("")).unwrap_err();
    assert!(told.contains("certs/b.pem holds no private key (expected PEM: -----BEGIN PRIVATE KEY-----); put the key into the same file, or beside it as certs/b.key"), "{told}");
    let told = read(&dir, &text(", crl = \"c.pem\"")).unwrap_err();
    assert!(told.contains("frontend.web.tls.crl: c.pem holds no revocation list"), "{told}");
    fs::remove_file(&beside.certificate).unwrap();
    fs::remove_file(certs.join("a.crt")).unwrap();
    let told = read(&dir, &text("")).unwrap_err();
    assert!(
        told.contains(
            "certificates[0]: certs holds no certificate: expected files named .pem or .crt"
        ),
        "{told}"
    );
}

#[test]
fn an_agent_is_who_its_certificate_says() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::new();
    ca.issue(dir.path(), "gslb://test/agent/fra-a");
    ca.issue(dir.path(), "gslb://test/probe/fra-b");
    let text = |name: &str, certificate: &str| {
        format!(
            "[agent]\nname = \"{name}\"\nsite = \"fra\"\nreport_to = [{{ address = \"192.0.2.1:8453\", name = \
             \"dns1\" }}]\nca = \"fra-a-ca.pem\"\ncertificate = \"{certificate}.pem\"\nkey = \"{certificate}.key\"\n\
             [frontend.web]\nbind = [\"0.0.0.0:80\"]\npool = \"web\"\n{POOL}"
        )
    };
    let agent = read(&dir, &text("fra-a", "fra-a")).unwrap().site.agent.unwrap();
    let reporting = agent.reporting.unwrap();
    assert_eq!((&*agent.name, &*agent.site, reporting.servers.len()), ("fra-a", "fra", 1));
    assert_eq!(reporting.principal.to_string(), "gslb://test/agent/fra-a");
    assert_eq!(
        read(&dir, &text("fra-b", "fra-a")).unwrap_err(),
        "site.toml:2: agent.name: found \"fra-b\", expected \"fra-a\": the certificate is of gslb://test/agent/fra-a, \
         and that is what name servers believe"
    );
    assert_eq!(
        read(&dir, &text("fra-b", "fra-b")).unwrap_err(),
        "site.toml:6: agent.certificate: is of gslb://test/probe/fra-b, expected that of an agent: \
         gslb://test/agent/NAME"
    );
    // A reload goes on with what was good, as whoever tells name servers does; of other files nothing is known.
    let (site, key) = (dir.path().join("site.toml"), dir.path().join("fra-a.key"));
    fs::write(&site, text("fra-a", "fra-a")).unwrap();
    let good = Good::of(&config::load(&site).unwrap().site);
    let whole = fs::read(&key).unwrap();
    fs::write(&key, "").unwrap();
    let again = config::reload(&site, &good).unwrap().site.agent.unwrap().reporting.unwrap();
    assert_eq!(again.principal, reporting.principal);
    assert!(
        config::load(&site).unwrap_err().to_string().contains("fra-a.key holds no private key")
    );
    fs::copy(dir.path().join("fra-a.pem"), dir.path().join("other.pem")).unwrap();
    fs::write(&site, text("fra-a", "fra-a").replace("fra-a.pem", "other.pem")).unwrap();
    assert!(config::reload(&site, &good).is_err());
    fs::write(&key, whole).unwrap();
    // Name servers take so many VIPs and ports of one agent, and no more.
    let many = |count: usize| {
        let address = |index: usize| format!("\"127.1.{}.{}:80\"", index / 256, index % 256);
        let frontend = |first: usize| {
            let binds: Vec<_> = (first..count.min(first + 64)).map(address).collect();
            format!("[frontend.f{first}]\nbind = [{}]\npool = \"web\"\n", binds.join(", "))
        };
        let frontends: String = (0..count).step_by(64).map(frontend).collect();
        let config = read(&dir, &(text("fra-a", "fra-a") + &frontends)).unwrap();
        config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(many(1024), [""; 0]);
    let warnings = many(1025);
    assert!(
        warnings.len() == 1
            && warnings[0].contains("site.toml:4: agent.report_to: frontends bind 1025 addresses"),
        "{warnings:?}"
    );
    // Alone, it tells nobody.
    let alone = format!(
        "[agent]\nname = \"a\"\nsite = \"fra\"\n[frontend.web]\nbind = [\"0.0.0.0:80\"]\npool = \"web\"\n{POOL}"
    );
    assert!(read(&dir, &alone).unwrap().site.agent.unwrap().reporting.is_none());
}

#[test]
fn the_example_is_good() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["pki", "certs", "pages"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
    }
    let ca = Ca::new();
    let files = ca.issue(&dir.path().join("pki"), "gslb://example/agent/fra-a");
    fs::rename(files.ca, dir.path().join("pki/ca.pem")).unwrap();
    fs::rename(dir.path().join("pki/fra-a.crl"), dir.path().join("pki/crl.pem")).unwrap();
    ca.issue(&dir.path().join("certs"), "gslb://example/agent/www");
    fs::remove_file(dir.path().join("certs/www-ca.pem")).unwrap();
    fs::write(dir.path().join("pages/503.html"), "<!doctype html>").unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/site.toml");
    let example = fs::read_to_string(example).unwrap();
    let config = read(&dir, &example).unwrap();
    assert_eq!((config.site.frontends.len(), config.site.pools.len()), (3, 4));
    assert!(config.warnings.is_empty(), "{}", config.warnings);
    let https = config.site.frontends.iter().find(|frontend| &*frontend.name == "https").unwrap();
    assert_eq!(&*config.site.pool(https.routing.pool.unwrap()).name, "web");
    // What is commented out is good too.
    let mut all = example;
    for commented in ["accept_proxy", "trusted", "access_log", "error_pages"] {
        assert!(all.contains(&format!("# {commented}")), "{commented}");
        all = all.replace(&format!("# {commented}"), commented);
    }
    let all = all.replace("/var/log/site-agent/", "");
    let config = read(&dir, &all).unwrap();
    assert_eq!(config.site.frontends[1].trusted.len(), 1);

    // And the program says so.
    let file = dir.path().join("site.toml");
    fs::write(&file, &all).unwrap();
    let (code, out, err) = checked(&file);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(
        out,
        format!(
            "{}: good: frontends: 3, pools: 4, servers: 8, virtual routers: 1\n",
            file.display()
        )
    );
    fs::write(&file, all.replace("path_prefix", "path_prefx")).unwrap();
    let (code, out, err) = checked(&file);
    assert_eq!((code, &*out), (Some(1), ""));
    assert!(err.contains("error: there is no path_prefx here; did you mean path_prefix?"), "{err}");
    assert!(err.ends_with("3 problems\n"), "{err}");
}

/// Exit code, output and error output of `site-agent check`.
fn checked(file: &Path) -> (Option<i32>, String, String) {
    let program = env!("CARGO_BIN_EXE_site-agent");
    let done = Command::new(program).args(["check", "--config"]).arg(file).output().unwrap();
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    (done.status.code(), text(done.stdout), text(done.stderr))
}
