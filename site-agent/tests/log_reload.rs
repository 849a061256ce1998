//! What operators read of a reload: what it changes, what is wrong with it, what it goes on without.

mod world;

use site_agent::config;
use site_agent::metrics::{self, Reloads};
use site_agent::run::Agent;
use world::World;
use world::http2::made::{Ca, Folder, LEAF, Leaf};
use world::http2::{self, Secure};
use world::logged::logged;

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
            let [broken, .., taken] = lines.lines().collect::<Vec<_>>()[..] else {
                panic!("{lines}")
            };
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
