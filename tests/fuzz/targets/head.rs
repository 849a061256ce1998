//! `head`: octets as a request, a response, a chunked body or a PROXY header, in pieces and whole; what goes on is
//! read as what came.
//!
//! Input: `[which, step, octets]`.

#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use site_agent::client::{Convention, Told, Trust};
use site_agent::head::{
    Asked, Body, Fields, Form, Incoming, Limits, Outgoing, Peer, Persistence, Piece, Progress,
    Refusal, RequestHead, ResponseHead, Scheme, Stream, Trailers, Upgrades, Version,
};
use site_agent::proxy_protocol;

fuzz_target!(|input: &[u8]| {
    let Some((&[which, step], octets)) = input.split_first_chunk::<2>() else { return };
    let step = usize::from(step % 16) + 1;
    // Both what is configured and bounds that so short an input reaches.
    let tight = Limits {
        head: 200,
        fields: 4,
        target: 20,
        body: 100,
        chunk_extension: 8,
        chunk_extensions: 12,
        trailers: 30,
        trailer_fields: 2,
    };
    for limits in [Limits::default(), tight] {
        match which % 4 {
            0 => request(octets, step, &limits),
            1 => response(octets, step, &limits),
            2 => chunked(octets, step, &limits),
            _ => proxy_header(octets),
        }
    }
});

fn all(fields: &Fields) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

fn refused(refusal: Refusal) {
    assert!((400..=505).contains(&refusal.status(Peer::Client)) && !refusal.word().is_empty());
}

fn request(octets: &[u8], step: usize, limits: &Limits) {
    let mut head = RequestHead::new();
    let whole = head.read(octets, limits);
    let mut pieces = RequestHead::new();
    let mut by_pieces = Ok(Progress::More);
    for end in (0..octets.len()).step_by(step).chain([octets.len()]) {
        by_pieces = pieces.read(&octets[..end], limits);
        if by_pieces != Ok(Progress::More) {
            break;
        }
    }
    assert_eq!(by_pieces, whole, "in pieces of {step}");
    let end = match whole {
        Ok(Progress::Whole(end)) => end,
        Ok(Progress::More | Progress::Http2) => return,
        Err(refusal) => return refused(refusal),
    };
    assert!(end <= limits.head && head.fields().len() <= limits.fields + 1);
    assert_eq!(all(pieces.fields()), all(head.fields()));
    assert!(!octets[..end].contains(&0), "NUL was read");
    let told = |head: &RequestHead| {
        (
            head.method().to_vec(),
            head.target().to_vec(),
            head.authority().to_vec(),
            head.body(),
            head.is_upgrade(),
        )
    };
    assert_eq!(told(&pieces), told(&head));

    let wide = Limits { head: 1 << 20, fields: 1000, target: 1 << 20, ..limits.clone() };
    for upgrades in [Upgrades::Passed, Upgrades::Refused] {
        let mut sent = head.clone();
        sent.strip(upgrades);
        tell(&mut sent);
        let mut out = vec![];
        sent.write(Persistence::KeepAlive, &mut out);
        let mut again = RequestHead::new();
        assert_eq!(
            again.read(&out, &wide),
            Ok(Progress::Whole(out.len())),
            "what goes on can be read"
        );
        assert_eq!(told(&again), told(&sent));
        assert_eq!(sent.body(), head.body());
        assert!(
            again.fields().first(b"keep-alive").is_none()
                && again.fields().first(b"proxy-connection").is_none()
        );
        over_http_2(&sent, &wide);
    }
    let mut incoming = Incoming::new(head.body());
    if let Ok((_, taken)) = decode(&mut incoming, &octets[end..], limits) {
        assert!(taken <= octets.len() - end);
    }
}

/// What servers are told of the client is what whoever trusts us finds.
fn tell(head: &mut RequestHead) {
    let commas = head.fields().iter().flat_map(|(_, value)| value).filter(|octet| **octet == b',');
    if commas.count() > 20 {
        // A chain may be longer than anybody follows it, and then each hop begins to follow it elsewhere.
        return;
    }
    let peer: IpAddr = [10, 0, 0, 1].into();
    let trust = Trust {
        proxies: vec!["10.0.0.0/8".parse().expect("a network")],
        believed: if head.path().len() % 2 == 0 {
            Convention::XForwarded
        } else {
            Convention::Forwarded
        },
        told: Told::Both,
    };
    let client = trust.client(peer, Scheme::Http, head.fields());
    trust.tell(peer, Scheme::Http, client, head.fields_mut());
    for believed in [Convention::XForwarded, Convention::Forwarded] {
        let next = Trust { believed, ..trust.clone() };
        let found = next.client([10, 0, 0, 2].into(), Scheme::Https, head.fields());
        assert_eq!(found.address, client.address);
    }
}

/// What HTTP/2 can say comes back as it was.
fn over_http_2(sent: &RequestHead, limits: &Limits) {
    let Ok(parts) = sent.to_parts(Scheme::Http) else { return };
    let stream = if sent.body() == Body::None { Stream::Ended } else { Stream::Open };
    let mut back = RequestHead::new();
    if back.from_parts(&parts, stream, limits).is_err() {
        // Of what HTTP/1 lets be said, HTTP/2's crate takes less apart than we do.
        return;
    }
    assert_eq!((back.method(), back.authority()), (sent.method(), sent.authority()));
    assert_ne!(back.form(), Form::Authority);
    let mut out = vec![];
    back.strip(Upgrades::Refused);
    back.write(Persistence::KeepAlive, &mut out);
    let mut again = RequestHead::new();
    assert_eq!(
        again.read(&out, limits),
        Ok(Progress::Whole(out.len())),
        "no line was made of a value"
    );
}

fn response(octets: &[u8], step: usize, limits: &Limits) {
    let mut head = ResponseHead::new();
    let whole = head.read(octets, limits);
    let mut pieces = ResponseHead::new();
    let mut by_pieces = Ok(None);
    for end in (0..octets.len()).step_by(step).chain([octets.len()]) {
        by_pieces = pieces.read(&octets[..end], limits);
        if by_pieces != Ok(None) {
            break;
        }
    }
    assert_eq!(by_pieces, whole, "in pieces of {step}");
    let end = match whole {
        Ok(Some(end)) => end,
        Ok(None) => return,
        Err(refusal) => return refused(refusal),
    };
    assert!(end <= limits.head && (100..1000).contains(&head.status()));
    assert_eq!(all(pieces.fields()), all(head.fields()));
    let wide = Limits { head: 1 << 20, fields: 1000, ..limits.clone() };
    for asked in [Asked::Other, Asked::Head, Asked::Connect, Asked::Upgrade] {
        let Ok(body) = head.body(asked) else { continue };
        for client in [Version::Http10, Version::Http11] {
            let body = body.towards(client);
            let mut sent = head.clone();
            sent.strip();
            sent.set_body(body);
            let persistence =
                if body.has_end() { Persistence::KeepAlive } else { Persistence::Close };
            let mut out = vec![];
            sent.write(client, persistence, &mut out);
            let mut again = ResponseHead::new();
            assert_eq!(again.read(&out, &wide), Ok(Some(out.len())), "what goes on can be read");
            assert_eq!((again.status(), again.body(asked)), (head.status(), Ok(body)));
            if let Ok(parts) = sent.to_parts() {
                let mut back = ResponseHead::new();
                back.from_parts(&parts, Stream::Open, &wide)
                    .expect("what we say to HTTP/2 we read of it");
                assert_eq!(back.status(), head.status());
            }
        }
    }
}

/// The data of a body, and how many octets of it came.
fn decode(
    incoming: &mut Incoming,
    octets: &[u8],
    limits: &Limits,
) -> Result<(Vec<u8>, usize), Refusal> {
    let (mut data, mut taken) = (vec![], 0);
    while let Some(piece) = incoming.next(&octets[taken..], limits)? {
        let length = match piece {
            Piece::Data(length) => {
                data.extend_from_slice(&octets[taken..taken + length]);
                length
            }
            Piece::Framing(length) | Piece::Dropped(length) | Piece::End(length) => length,
        };
        assert!(length > 0, "no step is for nothing");
        taken += length;
    }
    Ok((data, taken))
}

fn chunked(octets: &[u8], step: usize, limits: &Limits) {
    let mut incoming = Incoming::new(Body::Chunked);
    let whole = decode(&mut incoming, octets, limits);
    let mut pieces = Incoming::new(Body::Chunked);
    let mut by_pieces = Ok((vec![], 0));
    for piece in octets.chunks(step) {
        by_pieces = by_pieces.and_then(|(mut data, taken): (Vec<u8>, usize)| {
            let (more, count) = decode(&mut pieces, piece, limits)?;
            data.extend(more);
            Ok((data, taken + count))
        });
    }
    assert_eq!(by_pieces, whole, "in pieces of {step}");
    let (data, taken) = match whole {
        Ok(whole) => whole,
        Err(refusal) => return refused(refusal),
    };
    assert!(data.len() as u64 <= limits.body);

    // What is relayed as it came decodes to the same, and so does what is framed anew.
    let (mut relay, mut out, mut passed) = (Incoming::new(Body::Chunked), vec![], 0);
    for piece in octets.chunks(step) {
        let mut rest = piece;
        while !rest.is_empty() && !relay.is_end() {
            let pass = relay.pass(rest, limits).expect("it was read");
            out.extend_from_slice(&rest[..pass.kept]);
            rest = &rest[pass.taken..];
            passed += pass.taken;
        }
    }
    assert_eq!(passed, taken);
    let Incoming::Chunked(decoder) = &incoming else { return };
    let framed = if decoder.is_end() {
        decoder.trailers().write(&mut out);
        let (mut outgoing, mut framed) = (Outgoing::new(Body::Chunked), vec![]);
        outgoing.data(&data, &mut framed).expect("chunks have no length");
        outgoing.end(decoder.trailers(), &mut framed).expect("chunks have no length");
        let map = decoder.trailers().to_map().expect("HTTP/2 has such trailers");
        Trailers::from_map(&map).expect("and we read them again");
        framed
    } else {
        out.clone()
    };
    // No extension is left; a space before each trailer's value may have come in.
    let trailers = limits.trailers + limits.trailer_fields;
    let narrow = Limits { chunk_extension: 0, chunk_extensions: 0, trailers, ..limits.clone() };
    for octets in [out, framed] {
        let mut again = Incoming::new(Body::Chunked);
        let read = decode(&mut again, &octets, &narrow);
        assert_eq!(read, Ok((data.clone(), octets.len())));
        assert_eq!(again.is_end(), incoming.is_end());
        if let (Incoming::Chunked(again), true) = (&again, incoming.is_end()) {
            assert_eq!(again.trailers(), decoder.trailers());
        }
    }
}

fn proxy_header(octets: &[u8]) {
    let whole = proxy_protocol::read(octets);
    for end in 0..octets.len() {
        let part = proxy_protocol::read(&octets[..end]);
        if part != Ok(proxy_protocol::Progress::More) {
            assert_eq!(part, whole, "at {end}");
            break;
        }
    }
    let Ok(proxy_protocol::Progress::Whole(length, origin)) = whole else { return };
    assert!(length <= octets.len());
    let mut out = vec![];
    proxy_protocol::write_v2(origin, &mut out);
    assert_eq!(proxy_protocol::read(&out), Ok(proxy_protocol::Progress::Whole(out.len(), origin)));
}
