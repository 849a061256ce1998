//! One box of the pair: the real virtual router, and a page that says which box it is.

use std::fs::{self, File};
use std::io::{BufRead as _, Read as _, Write as _, stdin};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::exit;
use std::thread;

use anyhow::{Context as _, ensure};
use site_agent::config;
use site_agent::routers::realtime;
use site_agent::vrrp_service::{Daemon, privileges};
use tokio::runtime::Builder;

use super::link::{enter_own_network, ip};
use super::{PAGE_PORT, VIP, end_with_starter};
use crate::say;
use crate::world::BOXES;

/// In its home: where it says how it is.
pub const SOCKET: &str = "vrrp.sock";

/// Where its files are.
pub fn home(dir: &Path, name: &str) -> PathBuf {
    dir.join("pair").join(name)
}

/// Until its input is closed, or it is killed.
pub fn run(dir: &Path, name: &str) -> anyhow::Result<()> {
    end_with_starter()?;
    let index = BOXES.iter().position(|one| *one == name).context("no such box")?;
    let home = home(dir, name);
    let file = home.join("site.toml");
    fs::write(&file, text(&home, index)).with_context(|| file.display().to_string())?;
    common::telemetry::log_as_text_to(File::create(home.join("log"))?)?;
    enter_own_network()?;
    say("here\n");
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    ensure!(line == "joined\n", "nobody has joined it to a link");
    ip(&format!(
        "link set lo up\nlink set eth0 addrgenmode none\naddr add 192.0.2.{}/24 dev eth0\nlink set eth0 up\n",
        11 + index
    ))?;
    let (redundancy, _) =
        config::load_redundancy(&file).map_err(|problems| anyhow::anyhow!("{problems}"))?;
    // While there is one thread, whose class and capabilities all others have.
    let in_real_time = realtime::take();
    privileges::keep_two()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // What a killed one has left there.
        let _ = fs::remove_file(home.join(SOCKET));
        let mut daemon = Daemon::start(file, redundancy, in_real_time).await?;
        tell_who(format!("box {name}\n"))?;
        end_with_input();
        say("ready\n");
        daemon.turn().await;
        anyhow::bail!("its virtual router has ended")
    })
}

/// The first of them has the address while it is there.
fn text(home: &Path, index: usize) -> String {
    let priority = 200 - 100 * index;
    let [socket, balancer_socket] = [SOCKET, "balancer.sock"].map(|name| home.join(name));
    format!(
        "[vrrp.web]\ninterface = \"eth0\"\nvrid = 51\npriority = {priority}\nvips = [\"{VIP}/24\"]\n\
         [vrrp_service]\nsocket = {socket:?}\nbalancer_socket = {balancer_socket:?}\n"
    )
}

/// A page that every client is given.
fn tell_who(text: String) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PAGE_PORT))?;
    thread::Builder::new().name("page".to_owned()).spawn(move || {
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
        // Its one client asks one thing at a time.
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 512]);
            let _ = write!(stream, "{head}{text}");
        }
    })?;
    Ok(())
}

/// Whoever started us has ended when there is nothing more to read.
fn end_with_input() {
    thread::spawn(|| {
        let _ = stdin().lock().read_to_end(&mut vec![]);
        exit(0);
    });
}
