//! Thousands of connections that ask nothing, as servers meet them (RFC 7766 §6.2.3): what each costs, who
//! leaves for a new one, and that nothing of them stays.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use gslb_tests::resolver::{Resolver, Stream, plain_query};
use gslb_tests::server::Server;
use gslb_tests::tls::{Believer, encrypt};
use gslb_tests::wait::{now, until};
use gslb_tests::world::{EVERY_STEP, World};
use hickory_proto::rr::{Name, RecordType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as the limit of descriptors allows, and no more than this.
const CONNECTIONS: usize = 10_000;
/// Descriptors for all else of a process.
const SPARE: usize = 200;
/// Fewer would show nothing.
const LEAST: usize = 500;
/// The default of `dns.tcp.connections_per_client`: that many of each address are ours.
const PER_CLIENT: usize = 64;
/// Threads that connect: few enough that the kernel's queue of a listener is never full.
const THREADS: usize = 4;
/// Within which whoever is served at once has an answer: a datagram that was lost is asked again after it.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Octets of resident memory that one idle connection may cost, sessions, seats and tasks together. The
/// kernel's own memory for a socket is not among them.
const MOST_OF_TCP: u64 = 6 << 10;
const MOST_OF_TLS: u64 = 24 << 10;
trait Idle: Read + Write + Send {}
impl<S: Read + Write + Send> Idle for S {}

type Client = Stream<Box<dyn Idle>>;
type Connect<'a> = dyn Fn(Ipv4Addr) -> anyhow::Result<Client> + Sync + 'a;

#[test]
fn thousands_of_idle_connections_cost_little_and_keep_nobody_from_an_answer() {
    let connections = allowed();
    println!("{connections} connections");
    assert!(connections >= LEAST, "the limit of descriptors leaves {connections} connections");
    check("tcp", connections, MOST_OF_TCP);
    check("tls", connections, MOST_OF_TLS);
}

/// By the hard limit, which then is ours and that of every server that we start.
fn allowed() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let descriptors = maximum.map_or(usize::MAX, |most| most as usize);
    descriptors.saturating_sub(SPARE).min(CONNECTIONS)
}

fn check(transport: &str, connections: usize, most_of_one: u64) {
    let (_world, believer, server) = world(connections);
    let (plain, tls): (SocketAddr, _) = (server.dns(), server.tls().unwrap());
    let connect: &Connect<'_> = &|client| {
        let within_tls = transport == "tls";
        let to = if within_tls { tls } else { plain };
        let Stream(stream) = Stream::between(IpAddr::V4(client), to)?;
        Ok(Stream(match within_tls {
            true => Box::new(believer.over(stream, b"dot")?),
            false => Box::new(stream),
        }))
    };
    let process = server.process();
    // What a first connection has made once for all is no cost of the others, and what the server opens only
    // after it has said that it is ready is open by then.
    let first = served(connect, Ipv4Addr::new(127, 3, 0, 1));
    until_open(&server, 1);
    drop(first);
    until_open(&server, 0);
    let descriptors = process.descriptors().unwrap();
    let resident = process.resident().unwrap();

    let mut idlest = served(connect, client(0));
    let mut others = served_by_all(connect, 1..connections);
    until_open(&server, connections);
    assert_eq!(evicted(&server), [0, 0]);
    until_held(&server, descriptors + connections);
    let held = process.resident().unwrap().saturating_sub(resident);
    let each = held / connections as u64;
    println!("{transport}: {each} octets of memory for each");
    assert!(each <= most_of_one, "{transport}: {each} octets for each, {most_of_one} at most");

    is_answered_at_once(&server);
    // The table is full: a newcomer is served at once, and the idlest leaves for it.
    let begin = now();
    let newcomer = served(connect, Ipv4Addr::new(127, 3, 0, 1));
    assert!(begin.elapsed() < AT_ONCE, "{transport}: {:?}", begin.elapsed());
    assert_eq!(idlest.receive().unwrap(), None);
    assert_eq!(evicted(&server), [1, 0]);
    // Who has his share makes room by himself, even then.
    let crowded = client(connections - PER_CLIENT);
    let more: Vec<Client> = (0..PER_CLIENT).map(|_| served(connect, crowded)).collect();
    assert_eq!(evicted(&server), [1, PER_CLIENT]);
    let own = others.iter_mut().filter(|(number, _)| client(*number) == crowded);
    let closed = own.map(|(_, stream)| stream.receive().unwrap()).filter(Option::is_none).count();
    assert_eq!(closed, PER_CLIENT);
    until_open(&server, connections);

    drop((idlest, others, newcomer, more));
    until_open(&server, 0);
    until_held(&server, descriptors);
    is_answered_at_once(&server);
    // An allocator keeps what was freed for the next who come: they need no more than the first did.
    let again = served_by_all(connect, 0..connections);
    until_open(&server, connections);
    let held_again = process.resident().unwrap().saturating_sub(resident);
    println!("{transport}: {held} octets of memory, and {held_again} the second time");
    assert!(held_again <= held + held / 4, "{transport}: {held}, then {held_again}");
    drop(again);
    until_open(&server, 0);
    until_held(&server, descriptors);
    assert_eq!(server.stop().unwrap().code(), Some(0));
}

fn world(connections: usize) -> (World, Believer, Server) {
    let world = World::write(&EVERY_STEP).unwrap();
    let believer = encrypt(&world).unwrap();
    let node = fs::read_to_string(world.node()).unwrap();
    let tcp = format!(
        "[dns]\ntcp = {{ connections = {connections}, connections_per_client = {PER_CLIENT}, idle = \"1h\" }}\n"
    );
    fs::write(world.node(), node.replace("[dns]\n", &tcp)).unwrap();
    let server = Server::start(&world.node()).unwrap();
    (world, believer, server)
}

/// All of 127.0.0.0/8 is this machine.
fn client(connection: usize) -> Ipv4Addr {
    let network = Ipv4Addr::new(127, 2, 0, 1).to_bits();
    Ipv4Addr::from_bits(network + (connection / PER_CLIENT) as u32)
}

fn asked() -> Vec<u8> {
    plain_query(&Name::from_ascii("www.example.com.").unwrap(), RecordType::A).unwrap()
}

/// A connection that has had an answer, and asks no more.
fn served(connect: &Connect<'_>, client: Ipv4Addr) -> Client {
    let mut stream = connect(client).unwrap();
    assert!(stream.ask(&asked()).unwrap().is_some(), "closed instead of an answer");
    stream
}

/// So many of them, by their numbers: each thread makes those of some clients.
fn served_by_all(connect: &Connect<'_>, numbers: Range<usize>) -> Vec<(usize, Client)> {
    thread::scope(|scope| {
        let share =
            |thread: usize| numbers.clone().filter(move |number| number % THREADS == thread);
        let made = |thread| {
            scope.spawn(move || {
                share(thread).map(|number| (number, served(connect, client(number)))).collect()
            })
        };
        let threads: Vec<ScopedJoinHandle<'_, Vec<_>>> = (0..THREADS).map(made).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn until_open(server: &Server, connections: usize) {
    until(&format!("{connections} connections are open"), || {
        let open = server.metric("gslb_dns_tcp_connections")?;
        Ok((open == connections as f64).then_some(()))
    })
    .unwrap();
}

/// The admin door's connection is closed a moment after its answer: it may be among those counted, or not.
fn until_held(server: &Server, descriptors: usize) {
    let mut held = 0;
    until("it holds no more descriptors than it should", || {
        held = server.process().descriptors()?;
        Ok((held <= descriptors).then_some(()))
    })
    .with_context(|| format!("{held}, and {descriptors} at most"))
    .unwrap();
}

/// For lack of room in all, and of one client's.
fn evicted(server: &Server) -> [usize; 2] {
    ["full", "client_full"].map(|reason| {
        let series = format!("gslb_dns_tcp_evicted_total{{reason=\"{reason}\"}}");
        server.metric(&series).unwrap() as usize
    })
}

fn is_answered_at_once(server: &Server) {
    let mut resolver = Resolver::of(server.dns()).unwrap();
    for _ in 0..100 {
        let begin = now();
        resolver.ask(&asked()).unwrap();
        assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
    }
}
