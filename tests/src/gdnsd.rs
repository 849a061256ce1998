//! gdnsd, the peer of the field: 3.8.1 as Debian packages it, in the foreground, in directories of its
//! own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::loopback;
use crate::process::Process;
use crate::wait::until;

/// `/usr/sbin` is not in everybody's `PATH`.
const PROGRAM: &str = "/usr/sbin/gdnsd";
/// Between two questions to a server that is still starting.
const START_POLL: Duration = Duration::from_millis(100);

pub struct Gdnsd {
    address: SocketAddr,
    _process: Process,
}

/// What is missing, if anything is.
pub fn missing() -> Option<&'static str> {
    (!Path::new(PROGRAM).exists()).then_some("gdnsd is not installed")
}

impl Gdnsd {
    /// Serves `zone` as example.com, with `plugins` as the stanza of that name, out of `home`; returns
    /// when it answers. Says why if it refuses its configuration.
    pub fn start(home: &Path, zone: &str, plugins: &str) -> anyhow::Result<Gdnsd> {
        let address = loopback::address()?;
        fs::create_dir_all(home.join("zones"))?;
        fs::write(home.join("zones/example.com"), zone)?;
        let (run, state) = (home.join("run"), home.join("state"));
        let options = format!(
            "options => {{ listen => [ \"{address}\" ], udp_threads => 1, tcp_threads => 1, \
             run_dir => {}, state_dir => {} }}\n",
            run.display(),
            state.display(),
        );
        fs::write(home.join("config"), options + plugins)?;
        let checked = Command::new(PROGRAM)
            .arg("-c")
            .arg(home)
            .arg("checkconf")
            .stdin(Stdio::null())
            .output()?;
        if !checked.status.success() {
            let why = String::from_utf8_lossy(&checked.stderr);
            bail!("gdnsd refuses its configuration:\n{why}");
        }
        let log = fs::File::create(home.join("log"))?;
        let mut command = Command::new(PROGRAM);
        command
            .arg("-c")
            .arg(home)
            .arg("start")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut process = Process::spawn(&mut command)?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(START_POLL))?;
        // A query for the root, which it refuses as soon as it can say anything.
        let query = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1];
        let said = || fs::read_to_string(home.join("log")).unwrap_or_default();
        until("gdnsd answers", || {
            if let Some(status) = process.child().try_wait()? {
                bail!("gdnsd ended with {status}:\n{}", said());
            }
            let answered = socket.send(&query).is_ok() && socket.recv(&mut [0; 512]).is_ok();
            Ok(answered.then_some(()))
        })
        .with_context(said)?;
        Ok(Gdnsd { address, _process: process })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
