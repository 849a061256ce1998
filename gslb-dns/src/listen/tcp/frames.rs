//! Messages in a stream: each behind its length in two octets (RFC 1035 §4.2.2).
//!
//! Cuts what was received into messages, has them answered in order and joins the answers, so that
//! they are one write (RFC 7766 §8). Pure but for the room they are written in.

use crate::answer::MIN_MESSAGE;
use crate::listen::desk::in_room;

/// Octets of answers after which a batch ends: they wait for the client to read. One answer may
/// begin below and end above, so a batch has less than this and one message of the largest size.
const PENDING: usize = 16 << 10;
/// Octets of a message's length.
const PREFIX: usize = 2;

/// Answers to the messages at the front of what was received.
#[derive(Debug, Eq, PartialEq)]
pub struct Batch {
    /// Octets of those messages.
    pub taken: usize,
    /// Framed, in the order asked.
    pub answers: Vec<u8>,
    pub then: Then,
}

/// What comes after a batch.
#[derive(Debug, Eq, PartialEq)]
pub enum Then {
    /// There is no other whole message.
    Receive,
    /// There may be others, when these answers are sent.
    Again,
    /// What follows is no query, so nobody knows what else this peer will say.
    HangUp,
}

impl Batch {
    /// `answer` writes into a buffer of `MAX_STREAM` octets and says how many it used; `None` if the
    /// message must not be answered.
    pub fn of(received: &[u8], mut answer: impl FnMut(&[u8], &mut [u8]) -> Option<usize>) -> Batch {
        let mut taken = 0;
        let mut answers = Vec::new();
        let then = in_room(|room| {
            while answers.len() < PENDING {
                let message = match Front::of(&received[taken..]) {
                    Front::Message(message) => message,
                    Front::Partial => return Then::Receive,
                    Front::Runt => return Then::HangUp,
                };
                taken += PREFIX + message.len();
                let Some(length) = answer(message, room) else {
                    return Then::HangUp;
                };
                answers.extend_from_slice(&(length as u16).to_be_bytes());
                answers.extend_from_slice(&room[..length]);
            }
            Then::Again
        });
        Batch { taken, answers, then }
    }
}

/// What a stream begins with.
enum Front<'b> {
    Message(&'b [u8]),
    Partial,
    /// A length that leaves no room for a header.
    Runt,
}

impl Front<'_> {
    fn of(octets: &[u8]) -> Front<'_> {
        let Some((prefix, rest)) = octets.split_first_chunk::<PREFIX>() else {
            return Front::Partial;
        };
        let length = usize::from(u16::from_be_bytes(*prefix));
        if length < MIN_MESSAGE {
            return Front::Runt;
        }
        rest.get(..length).map_or(Front::Partial, Front::Message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::MAX_STREAM;

    /// A message is a letter, repeated; its answer is the capital, once; `r` gets none.
    fn reply(message: &[u8], room: &mut [u8]) -> Option<usize> {
        room[0] = message[0].to_ascii_uppercase();
        (message[0] != b'r').then_some(1)
    }

    /// `12a` is a message of 12 octets, `12a-3` the same without its last 3.
    fn check(stream: &str, taken: usize, answers: &str, then: Then) {
        let mut received = Vec::new();
        for piece in stream.split_whitespace() {
            let (message, missing) = piece.split_once('-').unwrap_or((piece, "0"));
            let (length, letter) = message.split_at(message.len() - 1);
            let length: u16 = length.parse().unwrap();
            received.extend_from_slice(&length.to_be_bytes());
            received.resize(received.len() + usize::from(length), letter.as_bytes()[0]);
            received.truncate(received.len() - missing.parse::<usize>().unwrap());
        }
        let answers = answers.bytes().flat_map(|letter| [0, 1, letter]).collect();
        assert_eq!(Batch::of(&received, reply), Batch { taken, answers, then }, "{stream}");
    }

    #[test]
    fn whole_messages_are_answered_in_order() {
        check("", 0, "", Then::Receive);
        check("12a", 14, "A", Then::Receive);
        check("12a 65535b 13c", 14 + 65_537 + 15, "ABC", Then::Receive);
        check("12a 12b-1", 14, "A", Then::Receive);
        check("12a 12b-12", 14, "A", Then::Receive);
        check("12a 12b-13", 14, "A", Then::Receive);
    }

    #[test]
    fn what_is_no_query_ends_it_after_the_answers_before() {
        check("12a 11b", 14, "A", Then::HangUp);
        check("11b-11", 0, "", Then::HangUp); // Its length is enough.
        check("0b", 0, "", Then::HangUp);
        check("12a 12r 12b", 28, "A", Then::HangUp);
    }

    #[test]
    fn a_batch_ends_when_enough_is_pending() {
        let received = [&[0, 12][..], &[b'a'; 12]].concat().repeat(3);
        let batch = Batch::of(&received, |_, room| Some(room.len() / 5));
        assert_eq!((batch.taken, batch.then), (28, Then::Again));
        assert_eq!(batch.answers.len(), 2 * (2 + MAX_STREAM / 5));
    }
}
