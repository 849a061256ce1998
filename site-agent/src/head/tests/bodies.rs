//! Bodies: where they end, what of them goes on as it came, and how much framing they may have.

use std::num::NonZeroUsize;

use super::*;

/// What a relay writes that passes on what it may, the octets coming `step` at a time.
pub fn relayed(
    body: Body,
    octets: &[u8],
    step: usize,
    limits: &Limits,
) -> Result<(String, usize), Refusal> {
    let (mut incoming, mut out, mut taken) = (Incoming::new(body), vec![], 0);
    for piece in octets.chunks(step) {
        let mut rest = piece;
        while !rest.is_empty() && !incoming.is_end() {
            let pass = incoming.pass(rest, limits)?;
            assert!(pass.kept <= pass.taken && pass.taken > 0, "{pass:?}");
            assert_eq!(pass.is_end, incoming.is_end());
            out.extend_from_slice(&rest[..pass.kept]);
            taken += pass.taken;
            rest = &rest[pass.taken..];
        }
    }
    if let Incoming::Chunked(decoder) = &incoming
        && decoder.is_end()
    {
        decoder.trailers().write(&mut out);
    }
    Ok((text(&out), taken))
}

#[test]
fn a_chunked_body_goes_on_without_extensions_and_what_is_no_trailer() {
    let check = |octets: &str, expected: &str| {
        for step in 1..=octets.len() {
            let read = relayed(Body::Chunked, octets.as_bytes(), step, &Limits::default());
            let (written, taken) = read.unwrap();
            assert_eq!(
                (written.as_str(), taken),
                (expected, octets.len() - 4),
                "{octets:?} by {step}"
            );
        }
    };
    check("3\r\nabc\r\n0\r\n\r\nnext", "3\r\nabc\r\n0\r\n\r\n");
    check("003\r\nabc\r\n1;a=b;c\r\nd\r\n00;e\r\n\r\nnext", "003\r\nabc\r\n1\r\nd\r\n00\r\n\r\n");
    check(
        "0\r\nA:  b\r\nHost: c\r\nGrpc-Status: 0\r\n\r\nnext",
        "0\r\nA: b\r\nGrpc-Status: 0\r\n\r\n",
    );
    check("1;\r\na\r\n0\r\ncontent-length: 3\r\n\r\nnext", "1\r\na\r\n0\r\n\r\n");
}

#[test]
fn a_body_of_a_length_ends_there() {
    let check = |body: Body, expected: &str| {
        for step in 1..=6 {
            let read = relayed(body, b"abcdef", step, &Limits::default()).unwrap();
            assert_eq!(read, (expected.to_owned(), expected.len()), "{body:?} by {step}");
        }
    };
    check(Body::None, "");
    check(Body::Length(0), "");
    check(Body::Length(4), "abcd");
    check(Body::Length(7), "abcdef");
    check(Body::UntilClose, "abcdef");
}

#[test]
fn only_a_body_without_length_is_whole_when_the_connection_closes() {
    let check = |body: Body, octets: &[u8], expected: bool| {
        let mut incoming = Incoming::new(body);
        data_of(&mut incoming, octets, &Limits::default()).unwrap();
        assert_eq!(incoming.close(), expected, "{body:?} {octets:?}");
        assert_eq!(
            incoming.next(b"x", &Limits::default()).map(|piece| piece.is_none()),
            Ok(expected)
        );
    };
    check(Body::UntilClose, b"abc", true);
    check(Body::Length(3), b"abc", true);
    check(Body::Chunked, b"0\r\n\r\n", true);
    let mut short = Incoming::new(Body::Length(4));
    data_of(&mut short, b"abc", &Limits::default()).unwrap();
    assert!(!short.close());
    for length in 0..12 {
        let mut cut = Incoming::new(Body::Chunked);
        data_of(&mut cut, &b"3\r\nabc\r\n0\r\n\r\n"[..length], &Limits::default()).unwrap();
        assert!(!cut.close(), "{length}");
    }
}

#[test]
fn framing_is_bounded() {
    let check = |limits: &Limits, octets: &str, expected: Result<(), Refusal>| {
        for step in [1, 3, octets.len()] {
            let read = relayed(Body::Chunked, octets.as_bytes(), step, limits);
            assert_eq!(read.map(|_| ()), expected, "{octets:?} by {step}");
        }
    };
    let limits = Limits {
        body: 5,
        chunk_extension: 4,
        chunk_extensions: 6,
        trailers: 16,
        trailer_fields: 2,
        ..Limits::default()
    };
    check(&limits, "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", Ok(()));
    check(&limits, "2\r\nab\r\n4\r\ncdef\r\n0\r\n\r\n", Err(Refusal::BodyTooLong));
    check(&limits, "6\r\n", Err(Refusal::BodyTooLong));
    check(&limits, "1;abc\r\na\r\n0\r\n\r\n", Ok(()));
    check(&limits, "1;abcd\r\na\r\n0\r\n\r\n", Err(Refusal::ChunkExtensionTooLong));
    check(&limits, "1;ab\r\na\r\n1;b\r\na\r\n0;\r\n\r\n", Ok(()));
    check(&limits, "1;ab\r\na\r\n1;b\r\na\r\n0;c\r\n\r\n", Err(Refusal::ChunkExtensionTooLong));
    // Six octets, eight, and the end's two.
    check(&limits, "0\r\nA: b\r\nC: defg\r\n\r\n", Err(Refusal::TrailersTooLong));
    check(&limits, "0\r\nA: b\r\nC: def\r\n\r\n", Ok(()));
    check(&limits, "0\r\nA: b\r\nC: d\r\n\r\n", Ok(()));
    check(&limits, "0\r\nA:\r\nB:\r\nC:\r\n\r\n", Err(Refusal::TooManyTrailers));
    check(&limits, "0\r\nA:\r\nB:\r\n\r\n", Ok(()));
    let most = format!("{}1\r\na\r\n0\r\n\r\n", "0".repeat(15));
    check(&limits, &most, Ok(()));
    check(&limits, &format!("0{most}"), Err(Refusal::ChunkSizeTooBig));
    check(&Limits::default(), "7fffffffffffffff\r\n", Ok(()));
    check(&Limits::default(), "8000000000000000\r\n", Err(Refusal::ChunkSizeTooBig));
}

#[test]
fn what_is_refused_stays_refused() {
    let mut decoder = Decoder::new();
    let limits = Limits::default();
    assert_eq!(decoder.next(b"x", &limits), Err(Refusal::ChunkSize));
    assert_eq!(decoder.next(b"0\r\n\r\n", &limits), Err(Refusal::ChunkSize));
    assert!(!decoder.is_end());
}

#[test]
fn forbidden_trailers_are_left_out() {
    let mut trailers = Trailers::default();
    for name in [
        "Content-Length",
        "TRANSFER-ENCODING",
        "Transfer_Encoding",
        "Host",
        "Trailer",
        "TE",
        "Connection",
        "Upgrade",
        "Authorization",
        "Cookie",
        "Set-Cookie",
        "Content-Type",
        "Content-Encoding",
        "Cache-Control",
        "Expect",
        "Range",
        "If-Match",
        "Location",
        "Vary",
        "X-Forwarded-For",
        "Forwarded",
        "WWW-Authenticate",
        "Keep-Alive",
    ] {
        trailers.append(name.as_bytes(), b"x").unwrap();
    }
    assert!(trailers.fields().is_empty(), "{}", fields(trailers.fields()));
    for name in ["grpc-status", "Server-Timing", "Digest", "ETag"] {
        trailers.append(name.as_bytes(), b"x").unwrap();
    }
    assert_eq!(fields(trailers.fields()), "grpc-status: x, Server-Timing: x, Digest: x, ETag: x");
    assert_eq!(trailers.append(b"a", b"b\r\nc: d"), Err(Unwritable));
}

#[test]
fn a_body_is_framed_as_its_head_said() {
    let check = |body: Body, pieces: &[&str], expected: Result<&str, Mismatch>| {
        let (mut outgoing, mut out) = (Outgoing::new(body), vec![]);
        let mut trailers = Trailers::default();
        trailers.append(b"X", b"y").unwrap();
        let written = pieces
            .iter()
            .try_for_each(|piece| outgoing.data(piece.as_bytes(), &mut out))
            .and_then(|()| outgoing.end(&trailers, &mut out));
        assert_eq!(
            written.map(|()| text(&out)),
            expected.map(str::to_owned),
            "{body:?} {pieces:?}"
        );
    };
    check(
        Body::Chunked,
        &["abc", "", "0123456789abcdef"],
        Ok("3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nX: y\r\n\r\n"),
    );
    check(Body::Chunked, &[], Ok("0\r\nX: y\r\n\r\n"));
    check(Body::Length(3), &["a", "bc"], Ok("abc"));
    check(Body::Length(3), &["a", "b"], Err(Mismatch::TooLittle));
    check(Body::Length(3), &["a", "bcd"], Err(Mismatch::TooMuch));
    check(Body::UntilClose, &["a", "b"], Ok("ab"));
    check(Body::None, &[], Ok(""));
    check(Body::None, &["", "a"], Err(Mismatch::TooMuch));
}

#[test]
fn a_size_is_written_in_as_many_digits_as_it_has() {
    for (size, expected) in [
        (1, "1\r\n"),
        (15, "f\r\n"),
        (16, "10\r\n"),
        (0xabc, "abc\r\n"),
        (usize::MAX, "ffffffffffffffff\r\n"),
    ] {
        let size = ChunkSize::of(NonZeroUsize::new(size).unwrap());
        assert_eq!(text(size.octets()), expected);
    }
}
