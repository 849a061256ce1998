//! The load generator of HTTP/1.1: one thread, many connections, one request at a time on each. Every answer is looked at.
//!
//! Closed loop asks on every connection as soon as it is answered; open loop asks at a given rate, whatever comes back,
//! and takes the time from when a request was due.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::answer::{Answer, Reading, Right};
use crate::clock;
use crate::interrupt::Interrupt;
use crate::load::Tally;

/// Silence after which what is under way counts as lost.
const STALL: Duration = Duration::from_secs(5);
/// So often whoever asks is asked whether to go on, at least.
const LOOK: Duration = Duration::from_millis(50);
/// Read at once: what large bodies come in.
const SCRATCH: usize = 256 << 10;
/// Of what the kernel tells at once.
const EVENTS: usize = 256;
/// The token of the timer; connections have their index.
const TIMER: u64 = u64::MAX;

/// What to ask of whom, and how.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    /// Taken in turn by connections.
    pub servers: &'a [SocketAddr],
    pub connections: usize,
    pub request: &'a [u8],
    pub right: Right,
    pub life: Life,
    pub pace: Pace,
}

/// How long a connection is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Life {
    Kept,
    /// For so many requests.
    Requests(u32),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pace {
    /// A request under way on each connection.
    Closed,
    /// So many a second.
    Rate(u64),
}

/// What came of it. All that was asked is `answers`, `lost` or `wrong`.
#[derive(Default)]
pub struct Heard {
    pub tally: Tally,
    pub asked: u64,
    /// Of answers.
    pub octets: u64,
    /// Connections that were made.
    pub connections: u64,
}

/// Connections of one load, which stay from run to run.
pub struct Client<'a> {
    load: Load<'a>,
    epoll: OwnedFd,
    timer: OwnedFd,
    connections: Vec<Connection>,
    /// Those on which nothing is under way; who has waited longest is next.
    free: VecDeque<usize>,
    scratch: Box<[u8]>,
    events: Vec<Event>,
    heard: Heard,
    /// The body of the last answer.
    seen: usize,
}

#[derive(Default)]
struct Connection {
    stream: Option<TcpStream>,
    reading: Reading,
    /// When what is under way was due; nothing is under way without.
    due: Option<Duration>,
    asked: u32,
}

/// What reading a connection came to.
enum Came {
    Whole(Answer),
    Part,
    Nothing,
    Wrong(String),
    End,
}

impl<'a> Client<'a> {
    pub fn new(load: Load<'a>) -> anyhow::Result<Client<'a>> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let (data, edge) = (EventData::new_u64(TIMER), EventFlags::IN | EventFlags::ET);
        epoll::add(&epoll, &timer, data, edge)?;
        Ok(Client {
            load,
            epoll,
            timer,
            connections: (0..load.connections).map(|_| Connection::default()).collect(),
            free: (0..load.connections).collect(),
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            events: Vec::with_capacity(EVENTS),
            heard: Heard::default(),
            seen: 0,
        })
    }

    /// Asks for as long as told, then waits for the rest.
    pub fn run(&mut self, lasting: Duration, interrupt: &Interrupt) -> anyhow::Result<Heard> {
        self.run_while(|elapsed, _| Ok(elapsed < lasting), interrupt)
    }

    /// The same for as long as there is more to ask, which is told how long it has been and which body came last.
    pub fn run_while(
        &mut self,
        mut more: impl FnMut(Duration, usize) -> anyhow::Result<bool>,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Heard> {
        let began = clock::now();
        let mut heard_at = began;
        loop {
            interrupt.check()?;
            let now = clock::now();
            let asking = more(now - began, self.seen)?;
            let next = if asking { self.ask_what_is_due(now - began)? } else { None };
            let under_way = self.connections.len() - self.free.len();
            if !asking && under_way == 0 {
                break;
            }
            if self.hear(next.unwrap_or(LOOK).min(LOOK), began, asking)? || under_way == 0 {
                heard_at = now;
            } else if now - heard_at > STALL {
                self.give_up();
                heard_at = now;
            }
        }
        Ok(std::mem::take(&mut self.heard))
    }

    /// Says how long it is until something else is due.
    fn ask_what_is_due(&mut self, elapsed: Duration) -> anyhow::Result<Option<Duration>> {
        match self.load.pace {
            Pace::Closed => {
                while let Some(index) = self.free.pop_front() {
                    self.ask(index, elapsed)?;
                }
                Ok(None)
            }
            Pace::Rate(rate) => loop {
                let due = Duration::from_secs_f64(self.heard.asked as f64 / rate as f64);
                if due > elapsed {
                    return Ok(Some(due - elapsed));
                }
                // With none free it waits, and its time runs.
                let Some(index) = self.free.pop_front() else { return Ok(None) };
                self.ask(index, due)?;
            },
        }
    }

    fn ask(&mut self, index: usize, due: Duration) -> anyhow::Result<()> {
        let connection = &mut self.connections[index];
        let stream = match &mut connection.stream {
            Some(stream) => stream,
            none => {
                let number = self.heard.connections as usize + index;
                let stream =
                    TcpStream::connect(self.load.servers[number % self.load.servers.len()])?;
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                let data = EventData::new_u64(index as u64);
                epoll::add(&self.epoll, &stream, data, EventFlags::IN)?;
                self.heard.connections += 1;
                connection.asked = 0;
                none.insert(stream)
            }
        };
        connection.asked += 1;
        connection.due = Some(due);
        self.heard.asked += 1;
        // The socket's buffer is empty. What it does not take is a connection that has ended.
        if !matches!(stream.write(self.load.request), Ok(sent) if sent == self.load.request.len()) {
            self.end(index, |tally| tally.lost += 1);
        }
        Ok(())
    }

    /// Waits for answers, for so long at most; whether something came.
    fn hear(&mut self, most: Duration, began: Instant, asking: bool) -> anyhow::Result<bool> {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        // Finer than the milliseconds of `epoll_wait`.
        let it_value = Timespec::try_from(most.max(Duration::from_nanos(1)))?;
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let alarm = Itimerspec { it_interval, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &alarm)?;
        let room: &mut [MaybeUninit<Event>] = events.spare_capacity_mut();
        let told = match epoll::wait(&self.epoll, room, None) {
            Ok((told, _)) => told.to_vec(),
            Err(rustix::io::Errno::INTR) => vec![],
            Err(error) => return Err(error.into()),
        };
        self.events = events;
        let mut any = false;
        for event in told {
            let data = { event.data };
            if data.u64() != TIMER {
                any |= self.read(data.u64() as usize, began, asking)?;
            }
        }
        Ok(any)
    }

    fn read(&mut self, index: usize, began: Instant, asking: bool) -> anyhow::Result<bool> {
        match self.connections[index].take(&mut self.scratch, self.load.right) {
            Came::Nothing => return Ok(false),
            Came::Part => {}
            Came::Whole(answer) => self.answered(index, answer, began, asking)?,
            Came::Wrong(why) => self.end(index, |tally| {
                tally.wrong += 1;
                tally.first_wrong.get_or_insert(why);
            }),
            // Whoever waits for nothing may be left.
            Came::End if self.connections[index].due.is_none() => {
                self.connections[index] = Connection::default();
            }
            Came::End => self.end(index, |tally| tally.lost += 1),
        }
        Ok(true)
    }

    fn answered(
        &mut self,
        index: usize,
        answer: Answer,
        began: Instant,
        asking: bool,
    ) -> anyhow::Result<()> {
        let elapsed = clock::now() - began;
        let connection = &mut self.connections[index];
        let due = connection.due.take().unwrap_or(elapsed);
        let tally = &mut self.heard.tally;
        tally.answers += 1;
        tally.sampled += 1;
        tally.latency.record(elapsed.saturating_sub(due));
        self.heard.octets += answer.octets;
        self.seen = answer.body;
        let is_over = match self.load.life {
            Life::Kept => false,
            Life::Requests(most) => connection.asked >= most,
        };
        if is_over || answer.closes {
            *connection = Connection::default();
        }
        match self.load.pace {
            Pace::Closed if asking => self.ask(index, elapsed),
            Pace::Closed | Pace::Rate(_) => {
                self.free.push_back(index);
                Ok(())
            }
        }
    }

    /// Of a request that has no right answer: its connection is gone.
    fn end(&mut self, index: usize, count: impl FnOnce(&mut Tally)) {
        count(&mut self.heard.tally);
        let ended = std::mem::take(&mut self.connections[index]);
        if ended.due.is_some() {
            self.free.push_back(index);
        }
    }

    fn give_up(&mut self) {
        for index in 0..self.connections.len() {
            if self.connections[index].due.is_some() {
                self.end(index, |tally| tally.lost += 1);
            }
        }
    }
}

impl Connection {
    fn take(&mut self, scratch: &mut [u8], right: Right) -> Came {
        let Some(stream) = &mut self.stream else { return Came::Nothing };
        let read = match stream.read(scratch) {
            Ok(0) => return Came::End,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Came::Nothing,
            Err(_) => return Came::End,
        };
        if self.due.is_none() {
            return Came::Wrong("an answer that nobody has asked for".to_owned());
        }
        match self.reading.take(&scratch[..read], right) {
            Ok(Some(answer)) => Came::Whole(answer),
            Ok(None) => Came::Part,
            Err(wrong) => Came::Wrong(wrong.to_string()),
        }
    }
}

/// Asks once on a connection that stays, and waits for the answer.
pub fn ask_once(stream: &mut TcpStream, request: &[u8], right: Right) -> anyhow::Result<Answer> {
    stream.write_all(request)?;
    let (mut reading, mut octets) = (Reading::default(), [0; 4096]);
    loop {
        let read = stream.read(&mut octets)?;
        anyhow::ensure!(read > 0, "closed before its answer");
        if let Some(answer) = reading.take(&octets[..read], right)? {
            return Ok(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const RIGHT: Right = Right::Bodies(&[b"yes"]);
    const YES: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes";

    /// A server that does this with each request, until the end of the test.
    fn serve(answer: fn(usize) -> &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let mut number = 0;
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 64];
                while matches!(stream.read(&mut request), Ok(read) if read > 0) {
                    number += 1;
                    let answer = answer(number);
                    if answer.is_empty() || stream.write_all(answer).is_err() {
                        break;
                    }
                }
            }
        });
        address
    }

    fn run(answer: fn(usize) -> &'static [u8], life: Life, pace: Pace) -> Heard {
        let servers = [serve(answer)];
        let request = b"GET / HTTP/1.1\r\n\r\n";
        let load = Load { servers: &servers, connections: 1, request, right: RIGHT, life, pace };
        let mut client = Client::new(load).unwrap();
        client.run(Duration::from_secs(1), &Interrupt::default()).unwrap()
    }

    #[test]
    fn all_that_is_asked_is_answered_lost_or_wrong() {
        fn badly(number: usize) -> &'static [u8] {
            match number % 10 {
                3 => b"",
                7 => b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnay",
                _ => YES,
            }
        }
        let Heard { tally, asked, .. } = run(badly, Life::Kept, Pace::Closed);
        assert!(tally.lost > 0 && tally.wrong > 0 && tally.answers > tally.lost + tally.wrong);
        assert_eq!(asked, tally.answers + tally.lost + tally.wrong);
        assert_eq!(tally.first_wrong.as_deref(), Some("another body"));
    }

    #[test]
    fn a_connection_is_kept_or_lives_for_so_many_requests() {
        let kept = run(|_| YES, Life::Kept, Pace::Closed);
        assert_eq!((kept.connections, kept.tally.lost), (1, 0));
        let ten = run(|_| YES, Life::Requests(10), Pace::Closed);
        assert_eq!(ten.connections, ten.asked.div_ceil(10));
        assert_eq!(ten.asked, ten.tally.answers);
    }

    #[test]
    fn an_open_loop_asks_at_its_rate_and_charges_for_waiting() {
        let heard = run(|_| YES, Life::Kept, Pace::Rate(1000));
        assert!(heard.asked > 0 && heard.asked <= 1001, "{}", heard.asked);
        fn slowly(number: usize) -> &'static [u8] {
            if number == 1 {
                clock::pause(Duration::from_millis(100));
            }
            YES
        }
        let heard = run(slowly, Life::Kept, Pace::Rate(1000));
        // What was due meanwhile has waited too, and is asked all the same.
        assert!(heard.asked > 500, "{}", heard.asked);
        assert!(heard.tally.latency.percentile(0.95) > Duration::from_millis(20));
    }
}
