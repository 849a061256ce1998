//! Name servers, targets, and a probe among them, on loopback.

pub mod credentials;
pub mod name_server;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use common::target::Target;
use probe::config::{self, Config};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::credentials::Ca;
pub use self::name_server::{Mode, NameServer};

/// The folder and the files of one world.
pub struct World {
    pub dir: TempDir,
    pub ca: Ca,
}

/// Something that takes connections, until it is told not to.
pub struct Listening {
    pub address: SocketAddr,
    accepting: Option<JoinHandle<()>>,
}

impl World {
    pub fn new() -> World {
        let world = World { dir: tempfile::tempdir().unwrap(), ca: Ca::new() };
        world.ca.issue(world.dir.path(), "gslb://test/probe/ams");
        world
    }

    pub async fn name_server(&self, name: &str) -> NameServer {
        let files = self.ca.issue(self.dir.path(), &format!("gslb://test/dns/{name}"));
        NameServer::start(&files, name).await
    }

    /// Writes `probe.toml`; `more` stands within `[probe]` and may open other tables.
    pub fn config(&self, servers: &[&NameServer], more: &str) -> PathBuf {
        let servers = servers.iter().map(|server| {
            format!("{{ address = \"{}\", name = \"{}\" }}", server.address, server.name)
        });
        let servers: Vec<String> = servers.collect();
        let text = format!(
            "[probe]\nname = \"ams\"\nstate_dir = \"state\"\nreport_to = [{}]\nca = \"ams-ca.pem\"\n\
             certificate = \"ams.pem\"\nkey = \"ams.key\"\nroots = \"ams-ca.pem\"\n{more}",
            servers.join(", ")
        );
        let file = self.dir.path().join("probe.toml");
        std::fs::write(&file, text).unwrap();
        file
    }

    pub fn load(&self, servers: &[&NameServer], more: &str) -> Config {
        let file = self.config(servers, more);
        config::load(&file).unwrap_or_else(|problems| panic!("{problems}"))
    }

    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }
}

impl Listening {
    pub async fn at(address: &str) -> Listening {
        let mut listening = Listening { address: address.parse().unwrap(), accepting: None };
        listening.begin().await;
        listening
    }

    pub async fn begin(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        self.accepting = Some(tokio::spawn(async move {
            loop {
                drop(listener.accept().await);
            }
        }));
    }

    /// Connections are refused from now on.
    pub async fn end(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            let _ = accepting.await;
        }
    }

    /// Looked at often, so that tests are short.
    pub fn target(&self) -> Target {
        target(self.address.ip(), self.address.port())
    }
}

pub fn target(address: IpAddr, port: u16) -> Target {
    let json = format!(
        r#"{{"address":"{address}","port":{port},"host":"www.example.com","check":
           {{"kind":"tcp","interval_ms":300,"timeout_ms":200,"rise":2,"fall":2,"ok":1}}}}"#
    );
    let target: Target = serde_json::from_str(&json).unwrap();
    assert_eq!(target.faults(), []);
    target
}
