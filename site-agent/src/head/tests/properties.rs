//! What holds of any octets: however they come they are read alike, and what is written is read as what was read.

use proptest::collection::vec;
use proptest::prelude::*;

use super::corpus::entries;
use super::*;

/// Reads a head from octets that come up to each of these lengths, and then whole.
fn by_steps<H, P: PartialEq>(
    octets: &[u8],
    lengths: &[usize],
    mut head: H,
    more: P,
    read: impl Fn(&mut H, &[u8]) -> Result<P, Refusal>,
) -> Result<(H, P), Refusal> {
    for length in lengths {
        let progress = read(&mut head, &octets[..(*length).min(octets.len())])?;
        if progress != more {
            return Ok((head, progress));
        }
    }
    let progress = read(&mut head, octets)?;
    Ok((head, progress))
}

fn request_by(
    octets: &[u8],
    lengths: &[usize],
    limits: &Limits,
) -> Result<(String, Progress), Refusal> {
    let read = |head: &mut RequestHead, octets: &[u8]| head.read(octets, limits);
    let (head, progress) = by_steps(octets, lengths, RequestHead::new(), Progress::More, read)?;
    // What a head that is not whole has read is nobody's to see.
    let told = if let Progress::Whole(_) = progress { told_of(&head) } else { String::new() };
    Ok((told, progress))
}

fn response_by(
    octets: &[u8],
    lengths: &[usize],
    limits: &Limits,
) -> Result<(String, Option<usize>), Refusal> {
    let read = |head: &mut ResponseHead, octets: &[u8]| head.read(octets, limits);
    let (head, progress) = by_steps(octets, lengths, ResponseHead::new(), None, read)?;
    let told = if progress.is_some() { response_told(&head) } else { String::new() };
    Ok((told, progress))
}

fn told_of(head: &RequestHead) -> String {
    format!(
        "{} {} {} {:?} {:?} {:?} {} {} | {}",
        text(head.method()),
        text(head.target()),
        text(head.authority()),
        head.version(),
        head.body(),
        head.persistence(),
        head.is_upgrade(),
        head.expects_continue(),
        fields(head.fields())
    )
}

fn response_told(head: &ResponseHead) -> String {
    let asked = [Asked::Other, Asked::Head, Asked::Connect, Asked::Upgrade];
    let bodies = asked.map(|asked| (head.body(asked), head.persistence(asked)));
    format!("{} {} {bodies:?} | {}", head.status(), text(head.reason()), fields(head.fields()))
}

/// What goes on of a request is read as that request, and has no hop-by-hop field left.
fn request_goes_on(octets: &[u8]) {
    let limits = Limits::default();
    let mut head = RequestHead::new();
    let Ok(Progress::Whole(_)) = head.read(octets, &limits) else { return };
    for upgrades in [Upgrades::Passed, Upgrades::Refused] {
        let mut sent = head.clone();
        sent.strip(upgrades);
        let mut out = vec![];
        sent.write(Persistence::KeepAlive, &mut out);
        let mut again = RequestHead::new();
        let longer = Limits { head: limits.head * 2, fields: limits.fields + 3, ..limits.clone() };
        assert_eq!(again.read(&out, &longer), Ok(Progress::Whole(out.len())), "{}", text(&out));
        assert_eq!(
            (again.method(), again.target(), again.body(), again.is_upgrade()),
            (sent.method(), sent.target(), sent.body(), sent.is_upgrade())
        );
        assert_eq!(again.expects_continue(), sent.expects_continue());
        if head.form() != Form::Authority {
            assert_eq!(again.authority(), sent.authority());
        }
        let kept = |head: &RequestHead| -> Vec<(String, String)> {
            let all = head.fields().iter().map(|(name, value)| (text(name), text(value)));
            all.filter(|(name, _)| !name.eq_ignore_ascii_case("connection")).collect()
        };
        assert_eq!(kept(&again), kept(&sent));
        assert!(again.fields().all(b"keep-alive").next().is_none());
        // Once more makes no difference.
        let mut twice = vec![];
        again.strip(upgrades);
        again.write(Persistence::KeepAlive, &mut twice);
        if sent.fields().first(b"te").is_none() {
            assert_eq!(text(&twice), text(&out));
        }
    }
}

fn response_goes_on(octets: &[u8]) {
    let limits = Limits::default();
    let mut head = ResponseHead::new();
    let Ok(Some(_)) = head.read(octets, &limits) else { return };
    for asked in [Asked::Other, Asked::Head, Asked::Upgrade] {
        let Ok(body) = head.body(asked) else { continue };
        for client in [Version::Http10, Version::Http11] {
            let mut sent = head.clone();
            let body = body.towards(client);
            sent.strip();
            sent.set_body(body);
            let mut out = vec![];
            let persistence =
                if body.has_end() { Persistence::KeepAlive } else { Persistence::Close };
            sent.write(client, persistence, &mut out);
            let mut again = ResponseHead::new();
            let longer =
                Limits { head: limits.head * 2, fields: limits.fields + 3, ..limits.clone() };
            assert_eq!(again.read(&out, &longer), Ok(Some(out.len())), "{}", text(&out));
            assert_eq!((again.status(), again.reason()), (head.status(), head.reason()));
            assert_eq!(again.body(asked), Ok(body), "{}", text(&out));
        }
    }
}

/// A body is the same however it comes, decoded or relayed; and what is relayed decodes to it.
fn body_is_one(octets: &[u8], steps: &[usize], limits: &Limits) {
    let whole = data_of(&mut Incoming::new(Body::Chunked), octets, limits);
    let (mut pieces, mut at) = (Incoming::new(Body::Chunked), 0_usize);
    let (mut data, mut taken, mut refused) = (vec![], 0, None);
    for step in steps.iter().copied().chain([usize::MAX]) {
        let end = at.saturating_add(step).min(octets.len());
        match data_of(&mut pieces, &octets[at..end], limits) {
            Ok((more, count)) => {
                data.extend(more);
                taken += count;
            }
            Err(refusal) => {
                refused = Some(refusal);
                break;
            }
        }
        at = end;
    }
    let by_pieces = refused.map_or(Ok((data, taken)), Err);
    assert_eq!(by_pieces, whole, "{}", text(octets));
    let step = steps.first().copied().unwrap_or(1).max(1);
    let relayed = super::bodies::relayed(Body::Chunked, octets, step, limits);
    let Ok((data, taken)) = whole else {
        assert_eq!(relayed.map(|_| ()), Err(whole.expect_err("it was refused")));
        return;
    };
    let (written, count) = relayed.expect("it was read");
    assert_eq!(count, taken);
    if octets.is_ascii() {
        let again = data_of(&mut Incoming::new(Body::Chunked), written.as_bytes(), limits);
        assert_eq!(again.map(|(data, _)| data), Ok(data));
    }
}

/// Octets that are likely to be nearly a message.
fn nearly(words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        12 => prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..3),
    ];
    vec(word, 0..14).prop_map(|words| words.concat())
}

const FIELDS: &[&str] = &[
    "Host: a\r\n",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: close, x\r\n",
    "Connection: upgrade\r\n",
    "Upgrade: websocket\r\n",
    "X: y\r\n",
    "x:\r\n",
    "TE: trailers\r\n",
    "Keep-Alive: 5\r\n",
    "Expect: 100-continue\r\n",
    "Y:  z \r\n",
    "\r\n",
    "\r\n",
    "\r",
    "\n",
    " ",
    ":",
    "Content-Length: 007\r\n",
    "Host: b:80\r\n",
];
const CHUNKS: &[&str] = &[
    "3\r\nabc\r\n",
    "1;a=b\r\nx\r\n",
    "0\r\n",
    "\r\n",
    "0\r\n\r\n",
    "00",
    "a",
    ";",
    "X: y\r\n",
    "Host: b\r\n",
    "\r",
    "\n",
    "5\r\nabcde\r\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_split_of_a_request_reads_the_same(
        line in prop::sample::select(&["GET / HTTP/1.1\r\n", "\r\nPUT http://a/?b HTTP/1.1\r\n", "GET / HTTP/1.0\r\n", "PRI * HTTP/2.0\r\n", "OPTIONS * HTTP/1.1\r\n", "GET"][..]),
        rest in nearly(FIELDS),
        mut lengths in vec(0..300_usize, 0..8),
        longest in 10..200_usize,
        most in 0..6_usize,
    ) {
        lengths.sort_unstable();
        let octets = [line.as_bytes(), &rest].concat();
        for limits in [Limits::default(), Limits { head: longest, fields: most, ..Limits::default() }] {
            prop_assert_eq!(request_by(&octets, &lengths, &limits), request_by(&octets, &[], &limits));
        }
        request_goes_on(&octets);
    }

    #[test]
    fn any_split_of_a_response_reads_the_same(
        line in prop::sample::select(&["HTTP/1.1 200 OK\r\n", "HTTP/1.0 404\r\n", "HTTP/1.1 204 \r\n", "HTTP/1.1 101 x\r\n", "HTTP/1.1 304 x\r\n", "H"][..]),
        rest in nearly(FIELDS),
        mut lengths in vec(0..300_usize, 0..8),
        longest in 10..200_usize,
    ) {
        lengths.sort_unstable();
        let octets = [line.as_bytes(), &rest].concat();
        for limits in [Limits::default(), Limits { head: longest, ..Limits::default() }] {
            prop_assert_eq!(response_by(&octets, &lengths, &limits), response_by(&octets, &[], &limits));
        }
        response_goes_on(&octets);
    }

    #[test]
    fn any_split_of_chunks_reads_the_same(octets in nearly(CHUNKS), steps in vec(0..6_usize, 0..20), bound in 0..12_usize) {
        body_is_one(&octets, &steps, &Limits::default());
        let tight = Limits { chunk_extension: bound, chunk_extensions: bound * 2, trailers: bound * 2, trailer_fields: bound / 3, body: 7, ..Limits::default() };
        body_is_one(&octets, &steps, &tight);
    }

    #[test]
    fn what_is_encoded_decodes_to_itself(pieces in vec(vec(any::<u8>(), 0..40), 0..6), step in 1..50_usize) {
        let (mut outgoing, mut out) = (Outgoing::new(Body::Chunked), vec![]);
        for piece in &pieces {
            outgoing.data(piece, &mut out).unwrap();
        }
        outgoing.end(&Trailers::default(), &mut out).unwrap();
        let mut incoming = Incoming::new(Body::Chunked);
        let mut data = vec![];
        for piece in out.chunks(step) {
            let (more, taken) = data_of(&mut incoming, piece, &Limits::default()).unwrap();
            prop_assert_eq!(taken, piece.len());
            data.extend(more);
        }
        prop_assert!(incoming.is_end());
        prop_assert_eq!(data, pieces.concat());
    }

    #[test]
    fn no_octets_are_a_panic(octets in vec(any::<u8>(), 0..200)) {
        requests(&octets);
        responses(&octets);
        body_is_one(&octets, &[1, 2, 3], &Limits::default());
    }
}

#[test]
fn each_entry_of_the_corpus_reads_the_same_octet_by_octet_and_goes_on_as_it_was_read() {
    let limits = Limits::default();
    for entry in entries() {
        let lengths: Vec<usize> = (0..=entry.octets.len()).collect();
        if entry.is_request {
            let whole = request_by(&entry.octets, &[], &limits);
            assert_eq!(
                request_by(&entry.octets, &lengths, &limits),
                whole,
                "corpus.txt:{}",
                entry.line
            );
            request_goes_on(&entry.octets);
            if let Ok((_, Progress::Whole(end))) = whole {
                body_is_one(&entry.octets[end..], &vec![1; entry.octets.len()], &limits);
            }
        } else {
            let whole = response_by(&entry.octets, &[], &limits);
            assert_eq!(
                response_by(&entry.octets, &lengths, &limits),
                whole,
                "corpus.txt:{}",
                entry.line
            );
            response_goes_on(&entry.octets);
        }
    }
}
