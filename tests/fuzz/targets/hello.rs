//! `hello`: octets as a TLS ClientHello, in pieces, in other records and whole; what is read of it rustls reads too.
//!
//! Input: the octets.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rustls::server::Acceptor;
use site_agent::hello::{Hello, LONGEST, Progress, Refusal, read};

/// A record's type, version and length.
const RECORD_HEAD: usize = 5;

fuzz_target!(|octets: &[u8]| {
    let whole = read(octets);
    for end in 0..octets.len() {
        let part = read(&octets[..end]);
        if part != Ok(Progress::More) {
            assert_eq!(part, whole, "at {end}");
            break;
        }
    }
    let Ok(Progress::Whole(hello)) = &whole else { return };
    if let Some(name) = hello.server_name() {
        let is_of_name = |octet: u8| octet.is_ascii_graphic() && !octet.is_ascii_uppercase();
        assert!(!name.is_empty() && name.len() <= 253 && name.bytes().all(is_of_name), "{name:?}");
        assert!(!name.ends_with('.') && name.parse::<std::net::IpAddr>().is_err(), "{name:?}");
    }
    assert!(hello.alpn().all(|protocol| !protocol.is_empty()));
    in_one_record(octets, hello);
    as_rustls(octets, hello);
});

/// The message's octets without the heads of its records, behind one of their own.
fn in_one_record(octets: &[u8], hello: &Hello) {
    let (mut rest, mut message) = (octets, vec![]);
    while let Some((head, after)) = rest.split_first_chunk::<RECORD_HEAD>() {
        let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
        let Some((part, after)) = after.split_at_checked(length) else { break };
        message.extend_from_slice(part);
        let length = message
            .first_chunk::<4>()
            .map(|head| 4 + u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize);
        if length == Some(message.len()) {
            break;
        }
        rest = after;
    }
    let length = u16::try_from(message.len()).expect("a hello is shorter").to_be_bytes();
    let one = [&[22, 3, 1], &length[..], &message].concat();
    assert!(one.len() <= LONGEST);
    assert_eq!(read(&one).as_ref(), Ok(&Progress::Whole(hello.clone())));
    assert_eq!(read(&[&one[..3], &[0, 0]].concat()), Err(Refusal::Malformed));
}

/// What it takes, it reads as we do.
fn as_rustls(mut octets: &[u8], hello: &Hello) {
    let mut acceptor = Acceptor::default();
    if acceptor.read_tls(&mut octets).is_err() {
        return;
    }
    let Ok(Some(accepted)) = acceptor.accept() else { return };
    let theirs = accepted.client_hello();
    // The dot of the root, which it keeps, stands for nothing.
    let name = theirs.server_name().map(|name| name.strip_suffix('.').unwrap_or(name));
    assert_eq!(hello.server_name(), name);
    let alpn = theirs.alpn().into_iter().flatten();
    assert!(hello.alpn().eq(alpn), "{hello:?}");
}
