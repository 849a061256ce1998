//! A query and its answer, over UDP, and again over TCP where it was cut (RFC 1035, RFC 7766 §5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use common::check::Dns;
use common::clock;
use common::entropy;
use common::report::Reason;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;

use super::{Failure, Notes, connect, failed, since};

/// As DNS flag day 2020 has it.
const PAYLOAD: u16 = 1232;

pub async fn look(at: SocketAddr, check: &Dns, notes: &mut Notes) -> Result<(), Failure> {
    let query = query(check)?;
    let octets = query.to_vec().map_err(|error| unaskable(&error.to_string()))?;
    let answer = over_udp(at, &octets, &query, notes).await?;
    let answer =
        if answer.metadata.truncation { over_tcp(at, &octets, notes).await? } else { answer };
    judge(&answer, check)
}

fn unaskable(why: &str) -> Failure {
    Failure::new(Reason::Probe, format!("cannot ask that: {why}"))
}

fn query(check: &Dns) -> Result<Message, Failure> {
    let mut name = Name::from_ascii(&check.name).map_err(|error| unaskable(&error.to_string()))?;
    // Whether or not its last dot was written.
    name.set_fqdn(true);
    let rtype: RecordType = check
        .rtype
        .to_ascii_uppercase()
        .parse()
        .map_err(|_| unaskable(&format!("{:?} is no type of record", check.rtype)))?;
    let mut query =
        Message::new(u16::from_ne_bytes(entropy::octets()), MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(name, rtype));
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD);
    query.set_edns(edns);
    Ok(query)
}

async fn over_udp(
    at: SocketAddr,
    octets: &[u8],
    query: &Message,
    notes: &mut Notes,
) -> Result<Message, Failure> {
    let any: IpAddr = match at {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Bound anew for each look: a port that nobody can guess.
    let socket =
        UdpSocket::bind((any, 0)).await.map_err(|error| failed("opening a socket", &error))?;
    socket.connect(at).await.map_err(|error| failed("connecting", &error))?;
    let began = clock::monotonic();
    socket.send(octets).await.map_err(|error| failed("asking", &error))?;
    let mut answer = vec![0; usize::from(PAYLOAD)];
    loop {
        let length = socket
            .recv(&mut answer)
            .await
            .map_err(|error| failed("waiting for the answer", &error))?;
        let Ok(answer) = Message::from_vec(&answer[..length]) else { continue };
        // Whatever is not the answer to this query was for another.
        if is_answer(&answer, query) {
            notes.phases.first_byte = since(began);
            return Ok(answer);
        }
    }
}

async fn over_tcp(at: SocketAddr, octets: &[u8], notes: &mut Notes) -> Result<Message, Failure> {
    let mut stream = connect(at, notes).await?;
    let length =
        u16::try_from(octets.len()).map_err(|_| unaskable("a query of more than 65535 octets"))?;
    let framed = [&length.to_be_bytes(), octets].concat();
    stream.write_all(&framed).await.map_err(|error| failed("asking over TCP", &error))?;
    let reading = |error| failed("reading over TCP", &error);
    let length = stream.read_u16().await.map_err(reading)?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await.map_err(reading)?;
    Message::from_vec(&answer)
        .map_err(|error| Failure::new(Reason::Malformed, format!("no DNS answer: {error}")))
}

fn is_answer(answer: &Message, query: &Message) -> bool {
    answer.metadata.id == query.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && (answer.queries.is_empty() || answer.queries == query.queries)
}

fn judge(answer: &Message, check: &Dns) -> Result<(), Failure> {
    let rcode = answer.metadata.response_code;
    if rcode != ResponseCode::NoError {
        let detail = format!("answered {rcode}, expected NOERROR");
        return Err(Failure::new(Reason::Answer, detail));
    }
    let Some(expected) = &check.expect else { return Ok(()) };
    let found: Vec<String> = answer.answers.iter().map(|record| record.data.to_string()).collect();
    if found.iter().any(|found| is_same(found, expected)) {
        return Ok(());
    }
    let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
    Err(Failure::new(Reason::Answer, format!("answered {found}, expected {expected}")))
}

/// Names and numbers are the same in both cases of letters, and however many spaces stand between them.
fn is_same(found: &str, expected: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.split_whitespace().map(|word| word.to_ascii_lowercase()).collect()
    };
    words(found) == words(expected)
}
