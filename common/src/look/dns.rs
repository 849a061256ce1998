//! A query and its answer, over UDP, and again over TCP where it was cut (RFC 1035, RFC 7766 §5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use data_encoding::HEXLOWER_PERMISSIVE;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::BinEncodable as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;

use super::{Failure, Notes, connect, failed, since};
use crate::check::Dns;
use crate::clock;
use crate::entropy;
use crate::report::Reason;

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
    let rtype = record_type(&check.rtype)?;
    let mut query =
        Message::new(u16::from_ne_bytes(entropy::octets()), MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(name, rtype));
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD);
    query.set_edns(edns);
    Ok(query)
}

/// By its mnemonic, or as `TYPE65` (RFC 3597 §5).
fn record_type(text: &str) -> Result<RecordType, Failure> {
    let text = text.to_ascii_uppercase();
    let number = text.strip_prefix("TYPE").and_then(|number| number.parse::<u16>().ok());
    let rtype = number.map(RecordType::from).or_else(|| text.parse().ok());
    rtype.ok_or_else(|| unaskable(&format!("{text:?} is no type of record")))
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
    let rtype = record_type(&check.rtype)?;
    if answer.answers.iter().any(|record| is_same(&record.data, rtype, expected)) {
        return Ok(());
    }
    let found: Vec<String> = answer.answers.iter().map(|record| record.data.to_string()).collect();
    let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
    Err(Failure::new(Reason::Answer, format!("answered {found}, expected {expected}")))
}

/// As master files have it, in whichever spelling: addresses, strings in quotes, parameters, `\# LENGTH HEX` (RFC 3597
/// §5). What cannot be read so has to be the same words.
fn is_same(found: &RData, rtype: RecordType, expected: &str) -> bool {
    if let Some(octets) = unknown(expected) {
        return found.to_bytes().is_ok_and(|found| found == octets);
    }
    if RData::try_from_str(rtype, expected).is_ok_and(|expected| expected == *found) {
        return true;
    }
    // Names without their last dot, and types of which the library reads no text.
    let words = |text: &str| -> Vec<String> {
        text.split_whitespace().map(|word| word.to_ascii_lowercase()).collect()
    };
    words(&found.to_string()) == words(expected)
}

fn unknown(text: &str) -> Option<Vec<u8>> {
    let (length, hex) = text.strip_prefix("\\#")?.trim().split_once(' ').unwrap_or(("0", ""));
    let digits: String = hex.split_whitespace().collect();
    let octets = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?;
    (length.parse() == Ok(octets.len())).then_some(octets)
}
