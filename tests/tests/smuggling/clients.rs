//! Clients that say what no library would, each from an address of its own.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::cases::{End, Outcome, Part};

/// For what comes at once, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a client is told: each answer's status and text.
pub type Answer = (u16, String);

fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Says this in one go and reads so many answers; then all that still comes. Who is not refused says first that it has said all.
pub fn http_1(from: Ipv4Addr, to: SocketAddr, octets: &[u8], expected: &Outcome) -> Vec<Answer> {
    let mut stream = connect(from, to);
    // Who is refused may be hung up on before all is said.
    let _ = stream.write_all(octets);
    let (mut seen, mut answers) = (vec![], vec![]);
    let mut is_over = false;
    loop {
        let asked = |answers: &[Answer]| expected.forwarded.get(answers.len());
        let is_head =
            |answers: &[Answer]| asked(answers).is_some_and(|request| request.starts_with("HEAD "));
        while let Some(answer) = first(&mut seen, is_head(&answers)) {
            // Nobody has asked for more than a 100.
            if answer.0 >= 200 {
                answers.push(answer);
            }
        }
        let all = answers.len() >= expected.forwarded.len();
        if all && !matches!(expected.end, End::Refused(_)) && !is_over {
            stream.shutdown(Shutdown::Write).unwrap();
            is_over = true;
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => seen.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => {
                answers.push((0, error.to_string()));
                return answers;
            }
        }
    }
    if !seen.is_empty() {
        answers.push((0, String::from_utf8_lossy(&seen).into_owned()));
    }
    answers
}

/// The first answer that has come whole, taken out; to HEAD it has no body.
fn first(seen: &mut Vec<u8>, is_head: bool) -> Option<Answer> {
    let end = seen.windows(4).position(|octets| octets == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&seen[..end]).to_ascii_lowercase();
    let status = head.get(9..12)?.parse().ok()?;
    let length = head
        .split_once("content-length: ")
        .map_or(0, |(_, rest)| rest.split("\r\n").next().unwrap().parse().unwrap());
    let length = if is_head { 0 } else { length };
    let body = seen.get(end..end + length)?;
    let answer = (status, String::from_utf8_lossy(body).into_owned());
    seen.drain(..end + length);
    Some(answer)
}

/// How a stream of HTTP/2 has ended.
#[derive(Debug)]
pub enum Ended {
    Answered(Answer),
    Reset(&'static str),
    GoAway(&'static str),
    Closed,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Says these frames on the first stream of a connection.
pub fn http_2(
    from: Ipv4Addr,
    to: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &'static str,
    parts: &[Part],
) -> Ended {
    let connection = ClientConnection::new(Arc::clone(config), name.try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(connection, connect(from, to));
    let mut said = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    said.extend(frame(SETTINGS, 0, 0, &[]));
    let is_open = matches!(parts.last(), Some(Part::Open));
    for (number, part) in parts.iter().enumerate() {
        let end = if number + 1 == parts.len() { END_STREAM } else { 0 };
        match part {
            Part::Head(fields) => {
                let block: Vec<u8> = fields.iter().flat_map(literal).collect();
                said.extend(frame(HEADERS, END_HEADERS | end, 1, &block));
            }
            Part::Data(data) => said.extend(frame(DATA, end, 1, data)),
            Part::Open => {}
        }
    }
    stream.write_all(&said).unwrap();
    stream.flush().unwrap();
    if is_open {
        return Ended::Closed;
    }
    let (mut status, mut body) = (0, vec![]);
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            return Ended::Closed;
        }
        let [a, b, c, kind, flags, of @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).unwrap();
        let code = |at: usize| name_of(u32::from_be_bytes(payload[at..at + 4].try_into().unwrap()));
        let is_ours = u32::from_be_bytes(of) == 1;
        match kind {
            HEADERS if is_ours => {
                let head = status_of(&payload);
                if head >= 200 {
                    status = head;
                }
            }
            DATA if is_ours => body.extend_from_slice(&payload),
            // Nobody wants the rest of a body that is refused.
            RST_STREAM if is_ours && status == 0 => return Ended::Reset(code(0)),
            GOAWAY if code(4) != "no-error" => return Ended::GoAway(code(4)),
            _ => {}
        }
        if is_ours && matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
            return Ended::Answered((status, String::from_utf8_lossy(&body).into_owned()));
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field that goes into no table, neither name nor value compressed (RFC 7541 §6.2.2).
fn literal((name, value): &(Vec<u8>, Vec<u8>)) -> Vec<u8> {
    let mut octets = vec![0];
    for text in [name, value] {
        match text.len() {
            short @ 0..127 => octets.push(short as u8),
            long => {
                octets.push(127);
                let mut rest = long - 127;
                while rest >= 128 {
                    octets.push((rest % 128) as u8 | 128);
                    rest /= 128;
                }
                octets.push(rest as u8);
            }
        }
        octets.extend_from_slice(text);
    }
    octets
}

/// The first field of a response's head: one of the static table, or its name and digits, which Huffman's code may have.
fn status_of(block: &[u8]) -> u16 {
    // The table may have been told of its size before.
    let block = if block[0] & 0xe0 == 0x20 { &block[1..] } else { block };
    if block[0] & 0x80 != 0 {
        let of_table = [200, 204, 206, 304, 400, 404, 500];
        return of_table[usize::from(block[0] & 0x7f) - 8];
    }
    let (length, text) = (usize::from(block[1] & 0x7f), &block[2..]);
    if block[1] & 0x80 == 0 {
        return std::str::from_utf8(&text[..length]).unwrap().parse().unwrap();
    }
    let bits = text[..length].iter().fold(0_u64, |bits, octet| bits << 8 | u64::from(*octet));
    let (mut left, mut status) = (8 * length, 0);
    for _ in 0..3 {
        let of = |count: usize| (bits >> (left - count)) & ((1 << count) - 1);
        // Digits to 2 have five bits, the others six.
        let (digit, count) = if of(5) < 3 { (of(5), 5) } else { (of(6) - 0x19 + 3, 6) };
        status = status * 10 + digit as u16;
        left -= count;
    }
    status
}

fn name_of(code: u32) -> &'static str {
    const NAMES: [&str; 14] = [
        "no-error",
        "protocol-error",
        "internal-error",
        "flow-control-error",
        "settings-timeout",
        "stream-closed",
        "frame-size-error",
        "refused-stream",
        "cancel",
        "compression-error",
        "connect-error",
        "enhance-your-calm",
        "inadequate-security",
        "http-1.1-required",
    ];
    NAMES[code as usize]
}
