//! A link with two boxes on it, ours or keepalived's.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use gslb_tests::balancer::can;
use gslb_tests::faketime;
use gslb_tests::netns::{self, Namespace, Segment};
use gslb_tests::peers;
use gslb_tests::process::Process;
use gslb_tests::server::built;
use gslb_tests::wait::{now, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A link, and folders for the files of who is on it.
pub struct Ground {
    pub segment: Segment,
    dir: TempDir,
}

/// A machine on it.
pub struct Place {
    pub machine: Namespace,
    pub name: &'static str,
    dir: PathBuf,
}

/// `None` where this machine has no namespaces, or not that program; that has been said.
pub fn ground(programs: &[&'static str]) -> Option<Ground> {
    let lacks = |program: &&&'static str| !can(program, &["--version"]);
    let lacking = programs.iter().filter(lacks).map(|program| match *program {
        "nft" => "nftables is not installed",
        _ => "keepalived is not installed",
    });
    if peers::missing(netns::missing().into_iter().chain(lacking)) {
        return None;
    }
    Some(Ground { segment: Segment::new().unwrap(), dir: tempfile::tempdir().unwrap() })
}

impl Ground {
    /// `a` is 192.0.2.10 and fe80::a, `b` is .11 and fe80::b, and so on.
    pub fn place(&self, name: &'static str) -> Place {
        let number = name.as_bytes()[0] - b'a';
        let (v4, v6) = (format!("192.0.2.{}/24", 10 + number), format!("fe80::{name}/64"));
        let machine = self.segment.join(name, &[&v4, &v6]).unwrap();
        let dir = self.dir.path().join(name);
        fs::create_dir_all(&dir).unwrap();
        Place { machine, name, dir }
    }
}

/// Our service on a machine.
pub struct Ours<'p> {
    place: &'p Place,
    pub process: Process,
}

impl Place {
    pub fn folder(&self) -> &Path {
        &self.dir
    }

    fn config(&self) -> PathBuf {
        self.dir.join("site.toml")
    }

    /// These lines, and where the service listens.
    pub fn write(&self, lines: &str) {
        self.write_with(lines, "");
    }

    /// The same, with a program in the same folder that is told of changes of role.
    pub fn write_telling(&self, lines: &str, program: &str) {
        self.write_with(lines, &format!("notify = {program:?}\n"));
    }

    fn write_with(&self, lines: &str, of_service: &str) {
        let (socket, balancer) = (self.dir.join("vrrp.sock"), self.dir.join("balancer.sock"));
        let service = format!(
            "[vrrp_service]\nsocket = {socket:?}\nbalancer_socket = {balancer:?}\nlisten = \"127.0.0.1:8405\"\n"
        );
        fs::write(self.config(), format!("{lines}\n{service}{of_service}")).unwrap();
    }

    /// A virtual router `web` of VRID 51 on `eth0`, with these lines.
    pub fn start(&self, lines: &str) -> Ours<'_> {
        self.start_all(&format!("[vrrp.web]\ninterface = \"eth0\"\nvrid = 51\n{lines}\n"))
    }

    pub fn start_all(&self, lines: &str) -> Ours<'_> {
        self.write(lines);
        self.run()
    }

    /// By the config as it is written.
    pub fn run(&self) -> Ours<'_> {
        self.run_by(|_| {})
    }

    /// The same by a clock that is as much ahead as stands in a file of its folder.
    pub fn run_by_clock(&self) -> Ours<'_> {
        self.set_clock(0);
        self.run_by(|command| faketime::by_file(command, &self.dir.join("clock")))
    }

    pub fn set_clock(&self, ahead: i32) {
        let beside = self.dir.join("clock.new");
        fs::write(&beside, format!("{ahead:+}")).unwrap();
        fs::rename(beside, self.dir.join("clock")).unwrap();
    }

    fn run_by(&self, change: impl FnOnce(&mut Command)) -> Ours<'_> {
        let log = fs::File::create(self.dir.join("log")).unwrap();
        let mut command = Command::new(built("site-agent").unwrap());
        command.args(["vrrp", "run", "--config"]).arg(self.config());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        change(&mut command);
        let process = self.machine.within(|| Process::spawn(&mut command)).unwrap();
        let ours = Ours { place: self, process };
        until("the service answers", || {
            Ok(ours.asks(&["status", "--json"]).status.success().then_some(()))
        })
        .unwrap();
        ours
    }

    /// `site-agent run` with the same file.
    pub fn balancer(&self) -> Process {
        let log = fs::File::create(self.dir.join("balancer.log")).unwrap();
        let mut command = Command::new(built("site-agent").unwrap());
        command.args(["run", "--threads", "1", "--config"]).arg(self.config());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.machine.within(|| Process::spawn(&mut command)).unwrap()
    }

    /// What its service shows at that path.
    pub fn page(&self, path: &str) -> String {
        self.machine.within(|| {
            let mut stream = TcpStream::connect("127.0.0.1:8405").unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            let mut page = String::new();
            stream.read_to_string(&mut page).unwrap();
            page
        })
    }

    pub fn has(&self, vip: &str) -> bool {
        self.machine.has(vip).unwrap()
    }

    /// Waits until it is so.
    pub fn until_has(&self, vip: &str, is: bool) {
        let what = format!("{} has {vip}: {is}\n{}", self.name, self.log());
        until(&what, || Ok((self.has(vip) == is).then_some(()))).unwrap();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Keepalived, with this in its instance.
    pub fn keepalived(&self, version: u8, lines: &str) -> Keepalived<'_> {
        let file = self.dir.join("keepalived.conf");
        // Its own announcements last for seconds, and a test ends before that.
        let text = format!(
            "global_defs {{\n vrrp_version {version}\n vrrp_garp_master_delay 1\n}}\nvrrp_instance T {{\n interface eth0\n \
             virtual_router_id 51\n{lines}\n}}\n"
        );
        fs::write(&file, text).unwrap();
        let log = fs::File::create(self.dir.join("log")).unwrap();
        let mut command = Command::new("keepalived");
        command.args(["--vrrp", "--dont-fork", "--log-console", "--use-file"]).arg(file);
        command
            .arg("--pid")
            .arg(self.dir.join("pid"))
            .arg("--vrrp_pid")
            .arg(self.dir.join("vrrp_pid"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let process = self.machine.within(|| Process::spawn(&mut command)).unwrap();
        Keepalived { place: self, process }
    }
}

impl Ours<'_> {
    pub fn asks(&self, command: &[&str]) -> Output {
        let mut program = Command::new(built("site-agent").unwrap());
        program.arg("vrrp").args(command).arg("--config").arg(self.place.config());
        program.output().unwrap()
    }

    pub fn status(&self) -> Value {
        serde_json::from_slice(&self.asks(&["status", "--json"]).stdout).unwrap()
    }

    /// Of the first virtual router.
    pub fn is(&self, key: &str) -> Value {
        self.status()["routers"][0][key].clone()
    }

    pub fn until_role(&self, role: &str) {
        let what = format!("{} is {role}", self.place.name);
        until(&what, || Ok((self.is("role") == role).then_some(())))
            .unwrap_or_else(|error| panic!("{error}\n{}\n{}", self.status(), self.place.log()));
    }

    /// It says so in its events.
    pub fn until_told(&self, what: &str) {
        let told = || Ok(self.status()["events"].to_string().contains(what).then_some(()));
        until(what, told).unwrap_or_else(|error| panic!("{error}\n{}", self.status()));
    }

    /// Until it has heard so many more adverts, it is in that role.
    pub fn stays(&self, role: &str, adverts: u64) {
        let end = self.is("adverts_heard").as_u64().unwrap() + adverts;
        until("adverts are heard", || {
            assert_eq!(self.is("role"), role, "{}", self.place.log());
            Ok((self.is("adverts_heard").as_u64().unwrap() >= end).then_some(()))
        })
        .unwrap();
    }

    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal).unwrap();
    }

    /// When it has read its config again, and told so.
    pub fn reload(&mut self) {
        let told = |place: &Place| place.log().matches("the config is").count();
        let before = told(self.place);
        self.signal(Signal::HUP);
        until("it is read", || Ok((told(self.place) > before).then_some(()))).unwrap();
    }

    /// Asked to, and when it has ended.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        assert!(self.process.wait().unwrap().success(), "{}", self.place.log());
    }

    /// Without a word.
    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        self.process.wait().unwrap();
    }
}

pub struct Keepalived<'p> {
    place: &'p Place,
    process: Process,
}

impl Keepalived<'_> {
    pub fn stop(mut self) {
        self.process.signal(Signal::TERM).unwrap();
        self.process.wait().unwrap();
    }

    /// Parent and child: the one would start the other anew, and the other clean up after the one.
    pub fn kill(mut self) {
        let child = fs::read_to_string(self.place.dir.join("vrrp_pid")).unwrap();
        let child = Pid::from_raw(child.trim().parse().unwrap()).unwrap();
        self.process.signal(Signal::STOP).unwrap();
        kill_process(child, Signal::KILL).unwrap();
        self.process.signal(Signal::KILL).unwrap();
        self.process.wait().unwrap();
        let _ = fs::remove_file(self.place.dir.join("vrrp_pid"));
        let _ = fs::remove_file(self.place.dir.join("pid"));
    }
}

/// The one leads on and has these addresses, and the other one has given them back.
pub fn until_one_leads(
    (one, of_one): (&Ours<'_>, &Place),
    (other, of_other): (&Ours<'_>, &Place),
    vips: &[&str],
) {
    other.until_role("backup");
    for vip in vips {
        of_other.until_has(vip, false);
        assert!(of_one.has(vip), "{vip}");
    }
    assert_eq!(one.is("role"), "active");
}

/// How long something takes.
pub fn takes(act: impl FnOnce()) -> Duration {
    let begin = now();
    act();
    begin.elapsed()
}
