//! Asks as clients of the demo's world do: a name server for an address, a site for its page.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RData, RecordType};

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Octets that we take over UDP.
const UDP_SIZE: u16 = 1232;
/// Of the option by which a name server tells whom it trusts what an answer was made from.
const STAMP: u16 = 65300;
/// Of a page.
const LONGEST: u64 = 1 << 20;

/// What a name server said.
pub struct Answer {
    pub addresses: Vec<Ipv4Addr>,
    /// As dig prints it.
    pub stamp: Option<String>,
}

/// Which addresses a client in that network is given for a name.
pub fn dns(server: SocketAddr, name: &str, subnet: &str) -> anyhow::Result<Answer> {
    let (address, length) = subnet.split_once('/').context("a network is ADDRESS/LENGTH")?;
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_SIZE).set_version(0);
    let subnet = ClientSubnet::new(address.parse()?, length.parse()?, 0);
    edns.options_mut().insert(EdnsOption::Subnet(subnet));
    // To nobody else but us, who listen at a port of our own.
    let mut query = Message::new(1, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(Name::from_ascii(name)?, RecordType::A)).set_edns(edns);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(server)?;
    socket.send(&query.to_vec()?)?;
    let mut room = [0; UDP_SIZE as usize];
    let length = socket.recv(&mut room)?;
    let answer = Message::from_vec(&room[..length])?;
    let addresses = answer.answers.iter().filter_map(|record| match &record.data {
        RData::A(address) => Some(address.0),
        _ => None,
    });
    let stamp = answer.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Unknown(STAMP)));
    let stamp = match stamp {
        Some(EdnsOption::Unknown(_, octets)) => {
            let octets: String = octets.iter().map(|octet| format!(" {octet:02x}")).collect();
            Some(format!("OPT={STAMP}:{octets}"))
        }
        _ => None,
    };
    Ok(Answer { addresses: addresses.collect(), stamp })
}

/// A page, by HTTP.
pub fn page(at: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.take(LONGEST).read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("it is no answer")?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "{}", head.lines().next().unwrap_or_default());
    Ok(body.to_owned())
}
