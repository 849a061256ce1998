//! What is worth another try, in the words of HAProxy's `retry-on`.

use std::fmt;

use super::Cause;

/// The words but for the statuses, `none` and `all-retryable-errors`.
const CAUSES: [(&str, Cause); 5] = [
    ("conn-failure", Cause::NotConnected),
    ("empty-response", Cause::EmptyResponse),
    ("junk-response", Cause::JunkResponse),
    ("response-timeout", Cause::ResponseTimeout),
    ("0rtt-rejected", Cause::EarlyDataRejected),
];
const STATUSES: [u16; 12] = [401, 403, 404, 408, 421, 425, 429, 500, 501, 502, 503, 504];
const ALL: &str =
    "conn-failure empty-response junk-response response-timeout 0rtt-rejected 500 502 503 504";

/// A set of causes; `conn-failure` unless somebody says otherwise.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetryOn(u32);

impl Default for RetryOn {
    fn default() -> RetryOn {
        RetryOn(bit(Cause::NotConnected))
    }
}

/// What was read is no set of causes.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoRetryOn {
    #[error(
        "\"{0}\" is nothing to retry on (none, all-retryable-errors, conn-failure, empty-response, junk-response, \
         response-timeout, 0rtt-rejected, 401, 403, 404, 408, 421, 425, 429, 500, 501, 502, 503, 504)"
    )]
    Unknown(String),
    #[error("\"none\" stands alone; found others beside it")]
    NoneAndOthers,
    #[error("names nothing; expected \"none\" for no retries")]
    Empty,
}

impl RetryOn {
    pub const NONE: RetryOn = RetryOn(0);

    /// The words, in any order.
    pub fn read<'w>(words: impl IntoIterator<Item = &'w str>) -> Result<RetryOn, NoRetryOn> {
        let (mut bits, mut count, mut has_none) = (0, 0, false);
        for word in words {
            count += 1;
            match word {
                "none" => has_none = true,
                "all-retryable-errors" => bits |= RetryOn::read(ALL.split(' '))?.0,
                word => bits |= bit_of(word).ok_or_else(|| NoRetryOn::Unknown(word.to_owned()))?,
            }
        }
        match (count, has_none) {
            (0, _) => Err(NoRetryOn::Empty),
            (1, _) | (_, false) => Ok(RetryOn(bits)),
            (_, true) => Err(NoRetryOn::NoneAndOthers),
        }
    }

    pub fn names(self, cause: Cause) -> bool {
        self.0 & bit(cause) != 0
    }
}

/// None of these that nothing can name.
impl FromIterator<Cause> for RetryOn {
    fn from_iter<I: IntoIterator<Item = Cause>>(causes: I) -> RetryOn {
        RetryOn(causes.into_iter().map(bit).fold(0, |bits, bit| bits | bit))
    }
}

/// As it is written, in the order of HAProxy's manual.
impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == RetryOn::NONE {
            return f.write_str("none");
        }
        let causes = CAUSES.iter().filter(|(_, cause)| self.names(*cause));
        let statuses = STATUSES.iter().filter(|status| self.names(Cause::Status(**status)));
        let words = causes.map(|(word, _)| (*word).to_owned()).chain(statuses.map(u16::to_string));
        f.write_str(&words.collect::<Vec<_>>().join(" "))
    }
}

fn bit_of(word: &str) -> Option<u32> {
    if let Some((_, cause)) = CAUSES.iter().find(|(name, _)| *name == word) {
        return Some(bit(*cause));
    }
    let status = STATUSES.iter().find(|status| status.to_string() == word)?;
    Some(bit(Cause::Status(*status)))
}

/// None for a status that nothing can name.
fn bit(cause: Cause) -> u32 {
    let place = match cause {
        Cause::NotConnected => 0,
        Cause::EmptyResponse => 1,
        Cause::JunkResponse => 2,
        Cause::ResponseTimeout => 3,
        Cause::EarlyDataRejected => 4,
        // It is one of the connection, which `conn-failure` names.
        Cause::Unprocessed => return 0,
        Cause::Status(status) => match STATUSES.iter().position(|named| *named == status) {
            Some(place) => CAUSES.len() + place,
            None => return 0,
        },
    };
    1 << place
}
