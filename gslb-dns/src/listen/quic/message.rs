//! What the octets of a stream mean (RFC 9250 §4.2): one query behind its length, and the end. Pure.

use crate::name::NameKey;
use crate::query::Query;

/// Octets of a message's length.
pub const PREFIX: usize = 2;
/// Octets of a query: a question and an OPT record have some 500, unless somebody pads them.
pub const LONGEST_QUERY: usize = 4096;

/// What has come so far is in order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Heard {
    /// More has to come.
    Part,
    /// A query; only the end of the stream may follow.
    Whole,
}

/// Why a connection is closed: its client broke a rule of RFC 9250 §4.3.3, or a limit of ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Breach {
    /// The stream ended before its query did.
    CutShort,
    /// More followed the query.
    SecondMessage,
    /// What came is no DNS query.
    NoQuery,
    /// The message ID is not 0 (§4.2.1).
    MessageId,
    /// QUIC has an idle time-out of its own (§5.5.2).
    Keepalive,
    /// A stream on which nobody could answer.
    Unidirectional,
    /// The query is longer than any of sense.
    TooLong,
    /// Too many queries were taken back before they were answered.
    TakenBack,
}

/// What these first octets of a stream are; `is_over` says that there are no others.
pub fn heard(octets: &[u8], is_over: bool) -> Result<Heard, Breach> {
    let part = if is_over { Err(Breach::CutShort) } else { Ok(Heard::Part) };
    let Some((prefix, message)) = octets.split_first_chunk::<PREFIX>() else { return part };
    let length = usize::from(u16::from_be_bytes(*prefix));
    if length > LONGEST_QUERY {
        return Err(Breach::TooLong);
    }
    if message.len() < length {
        return part;
    }
    if message.len() > length {
        return Err(Breach::SecondMessage);
    }
    // What is no query has no ID; whether the rest of it is one is for the answer to say.
    match message {
        [0, 0, ..] if has_keepalive(message) => Err(Breach::Keepalive),
        [0, 0, ..] => Ok(Heard::Whole),
        [_, _, ..] => Err(Breach::MessageId),
        [] | [_] => Err(Breach::NoQuery),
    }
}

fn has_keepalive(message: &[u8]) -> bool {
    let mut name = NameKey::ROOT;
    let query = Query::parse(message, &mut name);
    query.ok().and_then(|query| query.edns).is_some_and(|edns| edns.keepalive)
}

impl Breach {
    /// As metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Breach::CutShort => "cut_short",
            Breach::SecondMessage => "second_message",
            Breach::NoQuery => "no_query",
            Breach::MessageId => "message_id",
            Breach::Keepalive => "keepalive",
            Breach::Unidirectional => "unidirectional",
            Breach::TooLong => "too_long",
            Breach::TakenBack => "taken_back",
        }
    }

    /// Whether the client broke the protocol; otherwise it asked too much of us.
    pub fn is_of_protocol(self) -> bool {
        match self {
            Breach::CutShort
            | Breach::SecondMessage
            | Breach::NoQuery
            | Breach::MessageId
            | Breach::Keepalive
            | Breach::Unidirectional => true,
            Breach::TooLong | Breach::TakenBack => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `www.example. A`, with an OPT record that has this option, if any.
    fn query(option: Option<u16>) -> Vec<u8> {
        let additional = u8::from(option.is_some());
        let mut message = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, additional];
        message.extend_from_slice(b"\x03www\x07example\0\0\x01\0\x01");
        if let Some(code) = option {
            message.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4]);
            message.extend_from_slice(&code.to_be_bytes());
            message.extend_from_slice(&[0, 0]);
        }
        message
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        [&(message.len() as u16).to_be_bytes(), message].concat()
    }

    #[test]
    fn a_stream_is_one_query_and_its_end() {
        let whole = framed(&query(None));
        for length in 0..whole.len() {
            assert_eq!(heard(&whole[..length], false), Ok(Heard::Part), "{length}");
            assert_eq!(heard(&whole[..length], true), Err(Breach::CutShort), "{length}");
        }
        for is_over in [false, true] {
            let check = |octets: &[u8], expected| assert_eq!(heard(octets, is_over), expected);
            check(&whole, Ok(Heard::Whole));
            check(&framed(&query(Some(12))), Ok(Heard::Whole));
            check(&whole.repeat(2), Err(Breach::SecondMessage));
            check(&[&whole[..], &[0]].concat(), Err(Breach::SecondMessage));
            check(&framed(&query(Some(11))), Err(Breach::Keepalive));
            check(&framed(&[0, 1]), Err(Breach::MessageId));
            check(&framed(&[1, 0]), Err(Breach::MessageId));
            check(&framed(&[0, 0]), Ok(Heard::Whole)); // Whoever answers finds that it is no query.
            check(&framed(&[0]), Err(Breach::NoQuery));
            check(&framed(&[]), Err(Breach::NoQuery));
        }
    }

    #[test]
    fn a_query_has_a_longest_length() {
        assert_eq!(heard(&framed(&[0; LONGEST_QUERY]), true), Ok(Heard::Whole));
        // Its length is enough.
        let announced = (LONGEST_QUERY as u16 + 1).to_be_bytes();
        assert_eq!(heard(&announced, false), Err(Breach::TooLong));
        assert_eq!(heard(&u16::MAX.to_be_bytes(), false), Err(Breach::TooLong));
    }
}
