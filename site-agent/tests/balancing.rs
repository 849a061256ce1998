//! What each algorithm promises, over 100,000 requests on real sockets.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod world;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use common::lock::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use world::{World, until};

const ALL: usize = 100_000;
/// What changes while they ask is seen in fewer.
const MORE: usize = 40_000;
/// As `World` has: each has its own turns, so that what is off by one is so by one for each.
const THREADS: usize = 2;
/// Requests that a client says at a time; the balancer takes one after the other.
const BATCH: usize = 25;
const LONG: Duration = Duration::from_secs(120);

/// A server that answers with its letter, after a while if it is slow, and counts.
struct Counter {
    letter: char,
    address: SocketAddr,
    served: Arc<AtomicUsize>,
    /// As many as were there at a time.
    most: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Counter {
    async fn start(letter: char, slow: Duration) -> Counter {
        Counter::start_at("127.0.0.1:0".parse().unwrap(), letter, slow).await
    }

    async fn start_at(at: SocketAddr, letter: char, slow: Duration) -> Counter {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (served, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count, peak, now) =
            (Arc::clone(&served), Arc::clone(&most), Arc::new(AtomicUsize::new(0)));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (count, peak, now) = (Arc::clone(&count), Arc::clone(&peak), Arc::clone(&now));
                connections.spawn(async move {
                    let answered = answer(stream, letter, slow, [&count, &peak, &now]).await;
                    // Whoever hangs up has nothing more to ask.
                    drop(answered);
                });
            }
        });
        Counter { letter, address, served, most, task }
    }

    fn take(&self) -> usize {
        self.served.swap(0, SeqCst)
    }

    /// As it stands in a pool.
    fn line(&self, more: &str) -> String {
        format!("{{ name = \"{}\", address = \"{}\"{more} }}", self.letter, self.address)
    }
}

async fn answer(
    mut stream: TcpStream,
    letter: char,
    slow: Duration,
    [count, peak, now]: [&AtomicUsize; 3],
) -> std::io::Result<()> {
    let (mut octets, mut told) = ([0; 4096], 0);
    let said = response(letter);
    loop {
        let read = stream.read(&mut octets[told..]).await?;
        if read == 0 {
            return Ok(());
        }
        told += read;
        // It is asked one thing at a time.
        if octets[..told].ends_with(b"\r\n\r\n") {
            told = 0;
            count.fetch_add(1, SeqCst);
            peak.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            if !slow.is_zero() {
                sleep(slow).await;
            }
            now.fetch_sub(1, SeqCst);
            stream.write_all(&said).await?;
        }
    }
}

fn response(letter: char) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{letter}").into_bytes()
}

async fn servers<const N: usize>() -> [Counter; N] {
    let mut all = vec![];
    for letter in ('a'..).take(N) {
        all.push(Counter::start(letter, Duration::ZERO).await);
    }
    all.try_into().unwrap_or_else(|_| panic!("as many as were asked for"))
}

fn config(pool: &str, servers: &[String]) -> String {
    format!(
        "[frontend.web]\nbind = [\"FRONT\"]\npool = \"app\"\naccess_log = {{ format = \"off\" }}\n\
         [pool.app]\n{pool}\nservers = [\n{}\n]\n",
        servers.join(",\n")
    )
}

/// Who answered whom: letters by the key that was asked with.
type Answers = BTreeMap<usize, BTreeMap<char, usize>>;

/// One client, which asks with one key after the other, a batch with each.
async fn client(front: SocketAddr, from: IpAddr, keys: Vec<usize>, answers: Arc<Mutex<Answers>>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    let mut stream = socket.connect(front).await.unwrap();
    let size = response('a').len();
    let mut seen = vec![0; size * BATCH];
    for key in keys {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX-User: user-{key}\r\n\r\n");
        stream.write_all(request.repeat(BATCH).as_bytes()).await.unwrap();
        stream.read_exact(&mut seen).await.unwrap();
        let mut answers = answers.lock();
        for answer in seen.chunks(size) {
            let letter = char::from(*answer.last().unwrap());
            assert_eq!(answer, response(letter), "{}", answer.escape_ascii());
            *answers.entry(key).or_default().entry(letter).or_default() += 1;
        }
    }
}

/// So many clients ask so often in all; the keys go round.
async fn ask(front: SocketAddr, clients: usize, all: usize, keys: usize) -> Answers {
    assert_eq!(all % (clients * BATCH), 0);
    let answers = Arc::new(Mutex::new(Answers::new()));
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        let keys = (0..all / clients / BATCH).map(|round| (round * clients + number) % keys);
        let home = IpAddr::V4(Ipv4Addr::LOCALHOST);
        tasks.spawn(client(front, home, keys.collect(), Arc::clone(&answers)));
    }
    timeout(LONG, tasks.join_all()).await.expect("all are answered");
    std::mem::take(&mut *answers.lock())
}

#[track_caller]
fn within(counts: &[usize], expected: &[usize], off: usize) {
    let sound =
        counts.iter().zip(expected).all(|(count, expected)| count.abs_diff(*expected) <= off);
    assert!(
        sound && counts.len() == expected.len(),
        "{counts:?}, expected {expected:?} within {off}"
    );
}

/// Shares are exact: each thread's are off by less than one for each server. So they are from a change of weights on.
#[tokio::test(flavor = "multi_thread")]
async fn round_robin_shares_out_exactly_by_weight_and_by_new_ones_at_once() {
    let all = servers::<4>().await;
    let weighted = |weights: [u32; 4]| {
        let line = |(server, weight): (&Counter, u32)| server.line(&format!(", weight = {weight}"));
        config("balance = \"round-robin\"", &all.iter().zip(weights).map(line).collect::<Vec<_>>())
    };
    let mut world = World::start(&weighted([5, 3, 1, 1])).await;
    ask(world.front, 8, ALL, 1).await;
    let off = THREADS * all.len();
    within(&all.each_ref().map(Counter::take), &[50_000, 30_000, 10_000, 10_000], off);
    world.reload(&weighted([1, 1, 2, 0]));
    ask(world.front, 8, 20_000, 1).await;
    within(&all.each_ref().map(Counter::take), &[5000, 5000, 10_000, 0], off);
    // While they ask: nobody fails, who has no weight any more gets no more, and the others share as before.
    world.reload(&weighted([1, 1, 1, 1]));
    let asking = tokio::spawn(ask(world.front, 8, MORE, 1));
    until(|| all[0].served.load(SeqCst) > 2000).await;
    world.reload(&weighted([0, 1, 1, 1]));
    // Each thread takes it with what comes next.
    ask(world.front, 8, 8 * BATCH, 1).await;
    let last = all[0].served.load(SeqCst);
    assert_eq!(asking.await.unwrap()[&0].values().sum::<usize>(), MORE);
    let [first, rest @ ..] = all.each_ref().map(Counter::take);
    assert!(first - last <= 8 && first < MORE / 4, "{first}, {last} soon after");
    within(&rest, &[(MORE + 8 * BATCH - first) / 3; 3], 2 * off);
}

/// Nobody is given a request while another has fewer: of eight at a time on four servers no server has more than two, and one
/// more for each other thread that chose at the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn least_connections_spares_who_is_slow() {
    const CLIENTS: usize = 8;
    let [a, b, c] = servers().await;
    let slow = Counter::start('d', Duration::from_millis(20)).await;
    let lines = [&a, &b, &c, &slow].map(|server| server.line(""));
    let world = World::start(&config("balance = \"least-connections\"", &lines)).await;
    ask(world.front, CLIENTS, ALL, 1).await;
    let most = slow.most.load(SeqCst);
    assert!(most < CLIENTS / 4 + THREADS, "{most}");
    // A quarter would be its turn.
    let served = slow.take();
    assert!(served > 0 && served < ALL / 8, "{served}");
    let others = a.take() + b.take() + c.take();
    assert_eq!(served + others, ALL);
}

/// With requests that stay, loads follow weights: off by one, and one more for each other thread.
#[tokio::test(flavor = "multi_thread")]
async fn least_connections_holds_loads_to_weights() {
    let never = Duration::from_secs(3600);
    let all = [
        Counter::start('a', never).await,
        Counter::start('b', never).await,
        Counter::start('c', never).await,
    ];
    let weights = [", weight = 3", ", weight = 2", ", weight = 1"];
    let lines: Vec<_> = all.iter().zip(weights).map(|(server, more)| server.line(more)).collect();
    let world = World::start(&config("balance = \"least-connections\"", &lines)).await;
    let mut held = vec![];
    for number in 1..=300 {
        let mut stream = TcpStream::connect(world.front).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        held.push(stream);
        let asked = || all.iter().map(|server| server.served.load(SeqCst)).sum::<usize>();
        until(|| asked() == number).await;
    }
    within(&all.each_ref().map(Counter::take), &[150, 100, 50], 1 + THREADS - 1);
}

/// Equal servers have equal shares: drawn by chance, so within five standard deviations of a draw of one, which is more than that
/// of two. One that is slow is mostly the worse of two.
#[tokio::test(flavor = "multi_thread")]
async fn random_two_spreads_evenly_and_spares_who_is_slow() {
    let all = servers::<8>().await;
    let lines = all.each_ref().map(|server| server.line(""));
    let world = World::start(&config("balance = \"random-two\"", &lines)).await;
    ask(world.front, 16, ALL, 1).await;
    // sqrt(100,000 * 1/8 * 7/8) is 105.
    within(&all.each_ref().map(Counter::take), &[ALL / 8; 8], 525);
    let slow = Counter::start('i', Duration::from_millis(20)).await;
    let lines = [&lines[..7], &[slow.line("")]].concat();
    let world = World::start(&config("balance = \"random-two\"", &lines)).await;
    ask(world.front, 16, MORE, 1).await;
    let served = slow.take();
    // One drawn by chance alone would have an eighth of all, waiting for it or not.
    assert!(served > 0 && served < MORE / 16, "{served}");
}

/// A key stays with its server, whatever its connection; who leaves takes only its own keys along, and gets them back.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_s_hash_stays_on_its_server() {
    const KEYS: usize = 1000;
    let all = servers::<4>().await;
    let pool = "balance = { algorithm = \"header\", header = \"X-User\" }";
    let lines = all.each_ref().map(|server| server.line(""));
    let mut world = World::start(&config(pool, &lines)).await;
    let homes = |answers: Answers| -> Vec<char> {
        let home = |(key, letters): (usize, BTreeMap<char, usize>)| {
            assert_eq!(letters.len(), 1, "{key}: {letters:?}");
            *letters.keys().next().unwrap()
        };
        answers.into_iter().map(home).collect()
    };
    let first = homes(ask(world.front, 8, ALL, KEYS).await);
    // By chance, of shares that the ring has within 8 %: 250 of 1000, and five standard deviations of 14.
    let counts =
        ['a', 'b', 'c', 'd'].map(|letter| first.iter().filter(|home| **home == letter).count());
    within(&counts, &[KEYS / 4; 4], 90);
    // In another order too, as another balancer may have them.
    world.reload(&config(pool, &[&lines[3], &lines[1], &lines[0]].map(Clone::clone)));
    let second = homes(ask(world.front, 8, KEYS * BATCH, KEYS).await);
    for (before, after) in first.iter().zip(&second) {
        assert!(before == after || (*before == 'c' && *after != 'c'), "{before} {after}");
    }
    world.reload(&config(pool, &lines));
    assert_eq!(homes(ask(world.front, 8, KEYS * BATCH, KEYS).await), first);
}

/// An address stays with its server.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_s_address_stays_on_its_server() {
    const ADDRESSES: usize = 400;
    let all = servers::<4>().await;
    let lines = all.each_ref().map(|server| server.line(""));
    let world = World::start(&config("balance = \"source\"", &lines)).await;
    let answers = Arc::new(Mutex::new(Answers::new()));
    // Twice, so that each has connections of its own that come to either thread.
    for _ in 0..2 {
        let mut tasks = JoinSet::new();
        for number in 0..ADDRESSES {
            let from = Ipv4Addr::new(127, 1, (number / 200) as u8, (number % 200) as u8 + 1);
            let keys = vec![number; ALL / 2 / ADDRESSES / BATCH];
            tasks.spawn(client(world.front, from.into(), keys, Arc::clone(&answers)));
        }
        timeout(LONG, tasks.join_all()).await.expect("all are answered");
    }
    let answers = answers.lock();
    assert_eq!(
        (answers.len(), answers.values().flat_map(BTreeMap::values).sum()),
        (ADDRESSES, ALL)
    );
    assert!(answers.values().all(|letters| letters.len() == 1), "{answers:?}");
    // 100 of 400 each by chance: five standard deviations of 8.7, and the ring's 8 %.
    let homes: Vec<_> = answers.values().flat_map(BTreeMap::keys).collect();
    let counts =
        ['a', 'b', 'c', 'd'].map(|letter| homes.iter().filter(|home| ***home == letter).count());
    within(&counts, &[ADDRESSES / 4; 4], 52);
}

/// One key that everybody asks for: its server has 1.25 times the mean at most, and the next of the ring have the rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_hash_gives_no_server_more_than_its_bound() {
    const HELD: usize = 200;
    let never = Duration::from_secs(3600);
    let mut all = vec![];
    for letter in ['a', 'b', 'c', 'd'] {
        all.push(Counter::start(letter, never).await);
    }
    let pool = "balance = { algorithm = \"header\", header = \"X-User\", bound = 1.25 }";
    let lines: Vec<_> = all.iter().map(|server| server.line("")).collect();
    let world = World::start(&config(pool, &lines)).await;
    let mut held = vec![];
    for number in 1..=HELD {
        let mut stream = TcpStream::connect(world.front).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nX-User: everybody\r\n\r\n";
        stream.write_all(request).await.unwrap();
        held.push(stream);
        let counts: Vec<_> = all.iter().map(|server| &server.served).collect();
        until(|| counts.iter().map(|count| count.load(SeqCst)).sum::<usize>() == number).await;
        // Of so many and the one that comes, rounded up, and one more for each other thread.
        let bound = (number * 125).div_ceil(400) + THREADS - 1;
        let most = counts.iter().map(|count| count.load(SeqCst)).max().unwrap();
        assert!(most <= bound, "{most} of {number}");
    }
    // It is still the key's own that is full.
    let mut counts: Vec<_> = all.iter().map(Counter::take).collect();
    counts.sort_unstable();
    assert!(counts[3] >= HELD * 125 / 400 && counts[0] < HELD / 4, "{counts:?}");
}

/// A backup serves nobody while another can, and everybody when none can.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_serves_only_where_nobody_else_can() {
    let [first, second, backup] = servers().await;
    let lines = [first.line(""), second.line(""), backup.line(", backup = true")];
    let pool = "balance = \"round-robin\"\ncheck = { kind = \"tcp\", interval = \"200ms\", fast_interval = \"100ms\", rise = 1, fall = 1 }";
    let world = World::start(&config(pool, &lines)).await;
    let standing = || world.agent.shown().upstreams[0].shown().standing.clone();
    let takers = || standing().takers.len();
    until(|| standing().usable == 2).await;
    ask(world.front, 8, MORE, 1).await;
    within(&[&first, &second].map(Counter::take), &[MORE / 2; 2], THREADS * 2);
    assert_eq!(backup.take(), 0);
    let (address, other) = (first.address, second.address);
    drop(first);
    // One that can is enough.
    until(|| takers() == 1).await;
    ask(world.front, 8, 10_000, 1).await;
    assert_eq!((second.take(), backup.take()), (10_000, 0));
    drop(second);
    let by_backup = async || {
        let letters = ask(world.front, 1, BATCH, 1).await.remove(&0).unwrap();
        letters.keys().eq(&['c'])
    };
    let taken = async { while !by_backup().await {} };
    timeout(LONG, taken).await.expect("it serves");
    backup.take();
    ask(world.front, 8, 10_000, 1).await;
    assert_eq!(backup.take(), 10_000);
    let _again = Counter::start_at(address, 'a', Duration::ZERO).await;
    let returned = async { while by_backup().await {} };
    timeout(LONG, returned).await.expect("it goes back to the backup's own rest");
    backup.take();
    ask(world.front, 8, 10_000, 1).await;
    assert_eq!(backup.take(), 0);
    assert_ne!(address, other);
}
