//! The demo world on loopback: a name server, an example zone, three sites.
//!
//! A composition root: it writes the world beside this file to a temporary directory, starts the
//! daemons in one process and prints what to try. It needs no root and leaves nothing behind.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use geoip::build::{Format, Label, List, ranges_to_mmdb};
use gslb_dns::config;
use gslb_dns::passed::Passed;
use gslb_dns::run::{HangUp, Server, Shell, StartError};
use tempfile::TempDir;

const FILES: [(&str, &str); 3] = [
    ("node.toml", include_str!("../world/node.toml")),
    ("world.toml", include_str!("../world/world.toml")),
    ("example.com.zone", include_str!("../world/example.com.zone")),
];
const PLACES: &str = include_str!("../world/places.csv");
/// The ports in `node.toml`, and what to write where they are taken.
const PORTS: [(&str, &str); 2] =
    [("127.0.0.1:5300", "127.0.0.1:0"), ("127.0.0.1:8053", "127.0.0.1:0")];

fn main() -> anyhow::Result<()> {
    if std::env::args().len() > 1 {
        anyhow::bail!("the demo takes no arguments: it prints what to try, and Ctrl-C ends it");
    }
    common::telemetry::log_as_text()?;
    let dir = tempfile::Builder::new().prefix("gslb-demo-").tempdir()?;
    write_world(&dir)?;
    let mut server = start(&dir)?;
    let dns = *server.dns_addresses().first().context("the demo listens for DNS")?;
    let admin = server.admin_address().context("the demo has an admin door")?;
    // Whoever closed our output wants to read no more; the server goes on.
    let _ = std::io::stdout().write_all(what_to_try(dir.path(), dns, admin).as_bytes());
    server.wait_for_signal(HangUp::End);
    println!("\nending; {} is removed", dir.path().display());
    Ok(())
}

fn write_world(dir: &TempDir) -> anyhow::Result<()> {
    for (name, text) in FILES {
        fs::write(dir.path().join(name), text)?;
    }
    let list = List { name: "places.csv", format: Format::Places, text: PLACES };
    let label = Label { description: "the demo's places", build_epoch: 1 };
    let built = ranges_to_mmdb(&[list], &label)?;
    fs::write(dir.path().join("places.mmdb"), built.mmdb)?;
    Ok(())
}

/// On the ports of `node.toml`, or on free ones if those are taken.
fn start(dir: &TempDir) -> anyhow::Result<Server> {
    let node = dir.path().join("node.toml");
    let load = || {
        let prepared = config::load(&node).and_then(config::Config::prepare);
        prepared.map_err(|problems| anyhow::anyhow!("{problems}"))
    };
    match Server::start(Shell::open(Passed::default())?, load()?) {
        Err(StartError::Listen { address, .. }) => {
            println!("{address} is taken: using free ports instead");
            let text =
                PORTS.iter().fold(FILES[0].1.to_owned(), |text, (from, to)| text.replace(from, to));
            fs::write(&node, text)?;
            Ok(Server::start(Shell::open(Passed::default())?, load()?)?)
        }
        other => Ok(other?),
    }
}

fn what_to_try(dir: &Path, dns: SocketAddr, admin: SocketAddr) -> String {
    let port = dns.port();
    let socket = dir.join("admin.sock");
    let socket = socket.display();
    format!(
        "
gslb demo: one name server for example.com with three sites, on loopback.
  DNS    {dns} (UDP and TCP)
  admin  http://{admin}
  files  {dir}

The same name from three continents; the answers are fra, iad and nrt:
  dig @127.0.0.1 -p {port} www.example.com +short +subnet=81.2.69.0/24      # London
  dig @127.0.0.1 -p {port} www.example.com +short +subnet=216.160.83.0/24   # Seattle
  dig @127.0.0.1 -p {port} www.example.com +short +subnet=175.16.199.0/24   # Changchun

(Without +subnet you ask as 127.0.0.1, which has no place: then the hash of the address decides.)

Why does London get fra? And what if fra were down?
  curl 'http://{admin}/v1/explain?name=www.example.com&client=81.2.69.0/24&format=text'
  cargo run --release -qp gslb-dns -- explain www.example.com A --client 81.2.69.0/24 --suppose down=fra --server {admin}

Drain fra for real, ask again, then bring it back:
  cargo run --release -qp gslb-dns -- drain fra --why trying --for 1h --socket {socket}
  cargo run --release -qp gslb-dns -- status --socket {socket}
  cargo run --release -qp gslb-dns -- undrain fra --why tried --socket {socket}

More: shop.example.com (two sites in each answer), api.example.com (3 to 1), blog.example.com (a CNAME)
  curl http://{admin}/metrics
Ctrl-C ends it and removes its files.
",
        dir = dir.display(),
    )
}
