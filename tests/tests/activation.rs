//! Sockets that a service manager has bound: used instead of our own, and none left over.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use gslb_tests::loopback;
use gslb_tests::peers;
use gslb_tests::pki::Ca;
use gslb_tests::resolver::{Resolver, Stream, plain_query};
use gslb_tests::server::{Server, program};
use gslb_tests::world::{EVERY_STEP, NODE_NAME, World};
use hickory_proto::rr::{Name, RecordType};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use socket2::{Domain, Protocol, Socket, Type};

const ACTIVATE: &str = "/usr/bin/systemd-socket-activate";
/// Descriptors from here on are nobody's.
const FREE: i32 = 200;

fn world(listen: SocketAddr, threads: usize) -> World {
    let world = World::write(&EVERY_STEP).unwrap();
    let node = fs::read_to_string(world.node()).unwrap();
    let listening = format!("listen = [\"{listen}\"]\nthreads = {threads}");
    fs::write(world.node(), node.replacen("listen = [\"127.0.0.1:0\"]", &listening, 1)).unwrap();
    world
}

fn asked() -> Vec<u8> {
    plain_query(&Name::from_ascii("www.example.com.").unwrap(), RecordType::A).unwrap()
}

/// Starts the server with these as descriptors 3, 4 and so on, as a service manager does.
fn passing(sockets: &[&dyn AsFd]) -> (Command, Vec<OwnedFd>) {
    let given: Vec<OwnedFd> =
        sockets.iter().map(|socket| fcntl_dupfd_cloexec(socket.as_fd(), FREE).unwrap()).collect();
    let mut script = String::from("exec");
    for (number, given) in given.iter().enumerate() {
        // The child shall have them.
        fcntl_setfd(given, FdFlags::empty()).unwrap();
        script += &format!(" {}<&{}-", 3 + number, given.as_raw_fd());
    }
    script += &format!("; export LISTEN_FDS={} LISTEN_PID=$$; exec \"$@\"", given.len());
    let mut command = Command::new("bash");
    command.args(["-c", &script, "bash"]).arg(program().unwrap());
    (command, given)
}

fn refusal(sockets: &[&dyn AsFd], node: &Path) -> String {
    let (mut command, _given) = passing(sockets);
    let ended = command.args(["run", "--config"]).arg(node).stdin(Stdio::null()).output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    String::from_utf8(ended.stderr).unwrap()
}

#[test]
fn what_is_passed_is_used() {
    let address = loopback::address().unwrap();
    let world = world(address, 3);
    let udp = UdpSocket::bind(address).unwrap();
    let tcp = TcpListener::bind(address).unwrap();
    let admin = UnixListener::bind(world.path("admin.sock")).unwrap();
    let control = TcpListener::bind("127.0.0.1:0").unwrap();
    let control_address = control.local_addr().unwrap();
    let holder = Ca::new("ca").issue(&format!("gslb://test/dns/{NODE_NAME}"));
    let node = fs::read_to_string(world.node()).unwrap();
    fs::write(world.node(), node + &holder.control(control_address)).unwrap();
    let (command, given) = passing(&[&udp, &admin, &tcp, &control]);
    // Had it bound its own, these would have been in its way.
    let mut server = Server::start_as(command, &world.node()).unwrap();
    drop((given, control));
    assert_eq!((server.dns(), server.control()), (address, Some(control_address)));
    drop(TcpStream::connect(control_address).unwrap());
    // Nobody that it might start would have them.
    for number in 3..=6 {
        let told = fs::read_to_string(format!("/proc/{}/fdinfo/{number}", server.pid())).unwrap();
        let flags = told.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let flags = u32::from_str_radix(flags, 8).unwrap();
        assert_eq!(flags & 0o2_000_000, 0o2_000_000, "close-on-exec: {told}");
    }
    // One socket for three threads.
    for _ in 0..20 {
        Resolver::of(address).unwrap().ask(&asked()).unwrap();
    }
    assert!(Stream::to(address).unwrap().ask(&asked()).unwrap().is_some());
    drop(UnixStream::connect(world.path("admin.sock")).unwrap());
    assert!(server.stop().unwrap().success());
    // It is the service manager's to remove.
    assert!(world.path("admin.sock").exists());
}

#[test]
fn of_several_that_share_an_address_each_is_read() {
    let address = loopback::address().unwrap();
    let world = world(address, 1);
    let udp = [(); 2].map(|()| {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket
    });
    let (command, given) = passing(&[&udp[0], &udp[1]]);
    let server = Server::start_as(command, &world.node()).unwrap();
    drop((given, udp));
    // The kernel chooses by the sender's port: of so many some fall to either.
    for _ in 0..32 {
        Resolver::of(address).unwrap().ask(&asked()).unwrap();
    }
    assert!(server.stop().unwrap().success());
}

#[test]
fn what_is_passed_and_not_named_is_refused() {
    let world = world("127.0.0.1:0".parse().unwrap(), 1);
    let node = world.node();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap();
    let said = refusal(&[&udp], &node);
    assert!(said.contains(&format!("no use for: UDP {address}; name each there once")), "{said}");

    let both = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP)).unwrap();
    both.set_only_v6(false).unwrap();
    both.bind(&"[::]:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    both.listen(1).unwrap();
    let said = refusal(&[&both], &node);
    assert!(said.contains("BindIPv6Only=ipv6-only"), "{said}");

    let (one, _other) = UnixStream::pair().unwrap();
    let said = refusal(&[&one], &node);
    assert!(said.contains("nobody can connect to it; it takes ListenDatagram="), "{said}");
    let file = fs::File::open(&node).unwrap();
    let said = refusal(&[&file], &node);
    assert!(said.contains("it is no UDP, TCP or unix stream socket"), "{said}");
}

/// systemd's own: it starts the server when somebody asks, who is then answered.
#[test]
fn the_query_that_starts_it_is_answered() {
    if peers::missing((!Path::new(ACTIVATE).exists()).then_some("systemd is not installed")) {
        return;
    }
    let address = loopback::address().unwrap();
    let world = world(address, 2);
    let mut command = Command::new(ACTIVATE);
    command.args(["--datagram", "--listen", &address.to_string()]).arg(program().unwrap());
    let server = thread::scope(|scope| {
        let answered = scope.spawn(|| {
            let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            let ask = || {
                client.send_to(&asked(), address)?;
                Ok(client.recv(&mut [0; 1500]).ok())
            };
            gslb_tests::wait::until("it is started and answers", ask)
        });
        let server = Server::start_as(command, &world.node()).unwrap();
        answered.join().unwrap().unwrap();
        server
    });
    assert_eq!(server.dns(), address);
    assert!(server.stop().unwrap().success());
}
