//! Cores, and what `/proc` says a process has cost.

use std::net::SocketAddr;
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// `/proc` counts in hundredths of a second on every Linux, whatever the kernel's own tick (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// A core for the server that is measured, another for the load.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    pub server: usize,
    pub generator: usize,
}

impl Cores {
    /// The first two cores that this process may use.
    pub fn pick() -> anyhow::Result<Cores> {
        let allowed = sched_getaffinity(None).context("cannot read the CPU affinity")?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        let (Some(server), Some(generator)) = (cores.next(), cores.next()) else {
            bail!("two cores are needed: one for the server, one for the load");
        };
        Ok(Cores { server, generator })
    }
}

/// Keeps the calling thread, and what it starts from now on, on one core.
pub fn pin(core: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only)?;
    Ok(())
}

/// CPU time that a process has used so far, user and system, all its threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// `utime + stime` of `/proc/PID/stat`, in whole ticks.
    pub ticks: Duration,
    /// Time on a core of the living threads by `/proc/PID/task/*/schedstat`, in nanoseconds.
    pub scheduled: Duration,
    /// Time in which these threads had work and another process had the core.
    pub waiting: Duration,
}

impl Spent {
    pub fn by(pid: u32) -> io::Result<Spent> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (mut scheduled, mut waiting) = (Duration::ZERO, Duration::ZERO);
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let line = match fs::read_to_string(task?.path().join("schedstat")) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // It has just ended.
                line => line?,
            };
            let mut fields = line.split_whitespace();
            scheduled += Duration::from_nanos(number(fields.next())?);
            waiting += Duration::from_nanos(number(fields.next())?);
        }
        Ok(Spent { ticks: ticks(&stat)?, scheduled, waiting })
    }

    pub fn since(self, before: Spent) -> Spent {
        Spent {
            ticks: self.ticks.saturating_sub(before.ticks),
            scheduled: self.scheduled.saturating_sub(before.scheduled),
            waiting: self.waiting.saturating_sub(before.waiting),
        }
    }
}

/// Time on a core of a process's living threads whose names begin like this.
pub fn of_threads(pid: u32, name: &str) -> io::Result<Duration> {
    let mut scheduled = Duration::ZERO;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = task?.path();
        // Others than those that are asked for may end meanwhile.
        let Ok(comm) = fs::read_to_string(path.join("comm")) else { continue };
        if comm.starts_with(name) {
            let line = fs::read_to_string(path.join("schedstat"))?;
            scheduled += Duration::from_nanos(number(line.split_whitespace().next())?);
        }
    }
    Ok(scheduled)
}

/// All CPU time of this machine so far, idle or not, and what of it its host gave to others; in ticks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Host {
    all: u64,
    stolen: u64,
}

impl Host {
    pub fn now() -> io::Result<Host> {
        Host::read(&fs::read_to_string("/proc/stat")?)
    }

    /// `cpu  user nice system idle iowait irq softirq steal guest guest_nice`, and guests are users too.
    fn read(stat: &str) -> io::Result<Host> {
        let mut all = [0; 8];
        let mut fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
        for place in &mut all {
            *place = number(fields.next())?;
        }
        Ok(Host { all: all.iter().sum(), stolen: all[7] })
    }

    /// The share that the host gave to others since then.
    pub fn stolen_since(self, before: Host) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.stolen.saturating_sub(before.stolen) as f64 / all as f64
    }
}

/// Resident memory of a process in octets.
pub fn resident(pid: u32) -> io::Result<u64> {
    memory(pid, "VmRSS:")
}

/// What of that stands in no file: a page of the program that is read for the first time is no growth.
pub fn anonymous(pid: u32) -> io::Result<u64> {
    memory(pid, "RssAnon:")
}

fn memory(pid: u32, which: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(which))
        .and_then(|rest| rest.split_whitespace().next());
    Ok(number(kib)? * 1024)
}

/// Datagrams that came to an address and found its queue full.
pub fn dropped(address: SocketAddr) -> anyhow::Result<u64> {
    let table = fs::read_to_string("/proc/net/udp")?;
    let lines = table.lines().filter(|line| local_port(line) == Some(address.port()));
    let drops = lines.map(|line| number(line.split_whitespace().last()));
    let drops = drops.collect::<io::Result<Vec<u64>>>()?;
    if drops.is_empty() {
        bail!("nobody listens on {address}");
    }
    Ok(drops.iter().sum())
}

/// `4: 0100007F:14B4 00000000:0000 07 …`
fn local_port(line: &str) -> Option<u16> {
    let (_, port) = line.split_whitespace().nth(1)?.split_once(':')?;
    u16::from_str_radix(port, 16).ok()
}

fn ticks(stat: &str) -> io::Result<Duration> {
    // The second field is the program's name and may hold spaces and brackets of its own.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = after_name.split_whitespace().skip(11);
    let (user, system) = (number(fields.next())?, number(fields.next())?);
    Ok(TICK * (user + system) as u32)
}

fn number(field: Option<&str>) -> io::Result<u64> {
    field
        .and_then(|field| field.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unexpected text in /proc"))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_program_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 12 30 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat).unwrap(), Duration::from_millis(420));
    }

    #[test]
    fn what_a_host_gives_to_others_is_a_share_of_all_time() {
        let read = |stat: &str| Host::read(stat).unwrap();
        let before = read("cpu  100 10 50 800 10 0 20 10 7 7\ncpu0 1 2 3\n");
        assert_eq!(before, Host { all: 1000, stolen: 10 });
        let after = read("cpu  110 10 60 850 10 0 20 40 7 7");
        assert_eq!(after.stolen_since(before), 0.3);
        assert_eq!(before.stolen_since(before), 0.0);
        assert!(Host::read("cpu  1 2 3").is_err());
        assert!(Host::now().is_ok());
    }

    #[test]
    fn a_socket_of_ours_has_dropped_what_its_queue_did_not_take() {
        let [ours, theirs] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let address = ours.local_addr().unwrap();
        assert_eq!(dropped(address).unwrap(), 0);
        for _ in 0..10_000 {
            theirs.send_to(&[0; 100], address).unwrap();
        }
        assert!(dropped(address).unwrap() > 1000);
        drop(ours);
        assert!(dropped(address).is_err());
    }

    #[test]
    fn our_own_process_has_cost_something() {
        let pid = std::process::id();
        assert!(Spent::by(pid).unwrap().scheduled > Duration::ZERO);
        assert!(resident(pid).unwrap() > 100_000);
    }
}
