//! Asks a name server as a resolver does: many queries in flight over one UDP socket, or one stream.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, bail};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsOption};
use hickory_proto::rr::{Name, RecordType};
use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};

use crate::wait::PATIENCE;

/// Queries in flight: what the smallest usual receive queue of a socket holds.
pub const WINDOW: usize = 128;
/// Octets that we take over UDP.
const UDP_SIZE: u16 = 1232;
/// Octets of our receive queue, as far as the system allows.
const RECEIVE_QUEUE: usize = 1 << 20;
/// Silence after which what is in flight counts as lost.
const SILENCE: Duration = Duration::from_secs(2);
/// Times that a query is asked before we give up: loopback loses only what does not fit a queue.
const TRIES: usize = 8;

pub struct Resolver {
    socket: UdpSocket,
    next_id: u16,
    room: Vec<u8>,
}

impl Resolver {
    /// Of one server: the socket is connected, so that an unreachable one is an error.
    pub fn of(server: SocketAddr) -> anyhow::Result<Resolver> {
        let is_here = server.ip().is_loopback();
        let from = if is_here { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        let socket = UdpSocket::bind((from, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(SILENCE))?;
        socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_QUEUE)?;
        Ok(Resolver { socket, next_id: 1, room: vec![0; 65_535] })
    }

    pub fn ask(&mut self, query: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut answers = self.ask_all(&[query])?;
        answers.pop().context("one query has one answer")
    }

    /// Asks every query, a window at a time; the answers stand in the order of the queries.
    /// The ids are ours to choose, and are 0 in what is returned.
    pub fn ask_all<Q: AsRef<[u8]>>(&mut self, queries: &[Q]) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut answers = vec![vec![]; queries.len()];
        for (flight, start) in queries.chunks(WINDOW).zip((0..).step_by(WINDOW)) {
            self.fly(flight, &mut answers[start..start + flight.len()])?;
        }
        Ok(answers)
    }

    fn fly<Q: AsRef<[u8]>>(&mut self, flight: &[Q], answers: &mut [Vec<u8>]) -> anyhow::Result<()> {
        for _ in 0..TRIES {
            let mut waiting = HashMap::new();
            for (index, query) in flight.iter().enumerate() {
                if answers[index].is_empty() {
                    let id = self.next_id;
                    self.next_id = id.wrapping_add(1);
                    let mut packet = query.as_ref().to_vec();
                    packet[..2].copy_from_slice(&id.to_be_bytes());
                    self.socket.send(&packet)?;
                    waiting.insert(id, index);
                }
            }
            while !waiting.is_empty() {
                let length = match self.socket.recv(&mut self.room) {
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).context("the server is gone"),
                };
                let mut answer = self.room[..length].to_vec();
                let (id, _) = answer.split_first_chunk_mut().context("an answer has a header")?;
                // An answer to an earlier try, given up for lost, is not waited for any more.
                if let Some(index) = waiting.remove(&u16::from_be_bytes(*id)) {
                    *id = [0, 0];
                    answers[index] = answer;
                }
            }
            if waiting.is_empty() {
                return Ok(());
            }
        }
        bail!("queries stayed without an answer, each asked {TRIES} times")
    }
}

/// A stream to a name server, one message after another.
pub struct Stream<S = TcpStream>(pub S);

impl Stream {
    pub fn to(server: SocketAddr) -> anyhow::Result<Stream> {
        Stream::over(TcpStream::connect(server)?)
    }

    /// From an address of ours.
    pub fn between(local: IpAddr, server: SocketAddr) -> anyhow::Result<Stream> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&SocketAddr::new(local, 0).into())?;
        socket.connect(&server.into())?;
        Stream::over(socket.into())
    }

    fn over(stream: TcpStream) -> anyhow::Result<Stream> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Stream(stream))
    }
}

impl<S: Read + Write> Stream<S> {
    pub fn send(&mut self, query: &[u8]) -> io::Result<()> {
        let length = u16::try_from(query.len()).map_err(io::Error::other)?;
        self.0.write_all(&[&length.to_be_bytes()[..], query].concat())?;
        self.0.flush()
    }

    /// The next message; `None` if the server has closed instead.
    pub fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut length = [0; 2];
        match self.0.read_exact(&mut length) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        self.0.read_exact(&mut message)?;
        Ok(Some(message))
    }

    pub fn ask(&mut self, query: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.send(query)?;
        self.receive()
    }
}

/// A query as an encoder that is not ours writes it: EDNS, and the client's subnet if one is given.
pub fn query(name: &Name, rtype: RecordType, subnet: Option<IpNet>) -> anyhow::Result<Vec<u8>> {
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_SIZE).set_version(0);
    if let Some(subnet) = subnet {
        // The encoder writes the octets as they are; bits past the prefix must be zero (RFC 7871 §6).
        let subnet = ClientSubnet::new(subnet.network(), subnet.prefix_len(), 0);
        edns.options_mut().insert(EdnsOption::Subnet(subnet));
    }
    let mut message = plain(name, rtype);
    message.set_edns(edns);
    Ok(message.to_vec()?)
}

/// A query without EDNS.
pub fn plain_query(name: &Name, rtype: RecordType) -> anyhow::Result<Vec<u8>> {
    Ok(plain(name, rtype).to_vec()?)
}

fn plain(name: &Name, rtype: RecordType) -> Message {
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name.clone(), rtype));
    message
}
