//! The service that runs by the same config, if one does: as the kernel shows its process.

use std::fs;
use std::path::Path;

use rustix::net::sockopt::socket_peercred;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::vrrp_findings::facts::{Service, is_locked, is_real_time};

pub fn look(socket: &Path) -> Service {
    let Some(process) = listener(socket) else { return Service::Silent };
    seen(process).unwrap_or(Service::Hidden)
}

/// Who listens there: it is asked nothing, and takes a visit without a word for one.
fn listener(path: &Path) -> Option<i32> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).ok()?;
    // Somebody who is too busy to accept is not to be waited for.
    socket.set_nonblocking(true).ok()?;
    socket.connect(&SockAddr::unix(path).ok()?).ok()?;
    Some(socket_peercred(&socket).ok()?.pid.as_raw_nonzero().get())
}

fn seen(process: i32) -> Option<Service> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let threads = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let stats =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
    let is_real_time = stats.into_iter().any(|stat| is_real_time(&stat));
    Some(Service::Running { is_real_time, is_locked: is_locked(&status) })
}
