//! What a name server's answer to a report means.

use hyper::StatusCode;
use serde::Deserialize;

use crate::report::{Mark, Reply};

/// Letters of why a report was refused.
const LONGEST_WHY: usize = 512;

/// An answer, understood.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    pub reply: Reply,
    pub word: Word,
    /// Of the world that the name server has.
    pub epoch: Option<String>,
    /// What it says is wrong with the report, for people.
    pub why: Option<String>,
}

macro_rules! words {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)*) => {
        /// What became of a report: labels of a metric.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Word {
            $($(#[$doc])* $variant,)*
        }

        impl Word {
            pub const ALL: &[Word] = &[$(Word::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Word::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    Taken = "taken",
    SendWhole = "send_whole",
    Behind = "behind",
    Duplicate = "duplicate",
    Forbidden = "forbidden",
    TooLarge = "too_large",
    Unreadable = "unreadable",
    TooOften = "too_often",
    Unavailable = "unavailable",
    Other = "other",
    /// Nothing came back.
    Lost = "lost",
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    inc: Option<u64>,
    seq: Option<u64>,
    epoch: Option<String>,
    duplicate: bool,
}

impl Answer {
    /// Of a status and what came with it, which may be anything.
    pub fn of(status: StatusCode, body: &[u8]) -> Answer {
        let said: Said = serde_json::from_slice(body).unwrap_or_default();
        let Said { inc, seq, epoch, duplicate } = said;
        let mark = inc.zip(seq).map(|(inc, seq)| Mark { inc, seq });
        let (reply, word) = match (status, mark) {
            (StatusCode::OK, Some(mark)) => (Reply::Taken(mark), Word::Taken),
            (StatusCode::RESET_CONTENT, _) => (Reply::SendWhole, Word::SendWhole),
            (StatusCode::CONFLICT, _) if duplicate => (Reply::Duplicate, Word::Duplicate),
            (StatusCode::CONFLICT, Some(mark)) => (Reply::Behind(mark), Word::Behind),
            (StatusCode::FORBIDDEN, _) => (Reply::Lost, Word::Forbidden),
            (StatusCode::PAYLOAD_TOO_LARGE, _) => (Reply::Lost, Word::TooLarge),
            (StatusCode::UNPROCESSABLE_ENTITY, _) => (Reply::Lost, Word::Unreadable),
            (StatusCode::TOO_MANY_REQUESTS, _) => (Reply::Lost, Word::TooOften),
            (StatusCode::SERVICE_UNAVAILABLE, _) => (Reply::Lost, Word::Unavailable),
            _ => (Reply::Lost, Word::Other),
        };
        Answer { reply, word, epoch, why: (word != Word::Taken).then(|| text(body)).flatten() }
    }
}

/// Of what came, as much as stands well in a line of the log.
fn text(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let shown = text.trim().chars().take(LONGEST_WHY).filter(|letter| !letter.is_control());
    let shown: String = shown.collect();
    (!shown.is_empty()).then_some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: &str, reply: Reply, word: Word) {
        let answer = Answer::of(StatusCode::from_u16(status).unwrap(), body.as_bytes());
        assert_eq!((answer.reply, answer.word), (reply, word), "{status} {body}");
    }

    #[test]
    fn every_answer_has_its_meaning() {
        let mark = Mark { inc: 3, seq: 9 };
        check(200, r#"{"inc":3,"seq":9,"epoch":"e"}"#, Reply::Taken(mark), Word::Taken);
        check(205, "", Reply::SendWhole, Word::SendWhole);
        check(409, r#"{"inc":3,"seq":9}"#, Reply::Behind(mark), Word::Behind);
        let duplicate = r#"{"inc":3,"seq":9,"duplicate":true}"#;
        check(409, duplicate, Reply::Duplicate, Word::Duplicate);
        for (status, word) in [
            (403, Word::Forbidden),
            (413, Word::TooLarge),
            (422, Word::Unreadable),
            (429, Word::TooOften),
            (503, Word::Unavailable),
            (500, Word::Other),
        ] {
            check(status, r#"{"error":"why"}"#, Reply::Lost, word);
        }
        // What says not what it has taken has taken nothing that we know of.
        check(200, "", Reply::Lost, Word::Other);
        check(200, r#"{"inc":-3,"seq":9}"#, Reply::Lost, Word::Other);
        check(409, "[]", Reply::Lost, Word::Other);
    }

    #[test]
    fn why_it_was_refused_and_the_epoch_are_known() {
        let answer = Answer::of(StatusCode::FORBIDDEN, b"no [vantage.ams]\nin world.toml\n");
        assert_eq!(answer.why.as_deref(), Some("no [vantage.ams]in world.toml"));
        let long = Answer::of(StatusCode::FORBIDDEN, &[b'a'; LONGEST_WHY + 1]);
        assert_eq!(long.why.map(|why| why.len()), Some(LONGEST_WHY));
        let answer = Answer::of(StatusCode::OK, br#"{"inc":3,"seq":9,"epoch":"e1"}"#);
        assert_eq!(answer.epoch.as_deref(), Some("e1"));
    }
}
