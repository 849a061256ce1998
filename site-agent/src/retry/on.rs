//! What is worth another try: causes of HAProxy's `retry-on`.

use super::Cause;

/// Statuses that a config can name.
const STATUSES: [u16; 12] = [401, 403, 404, 408, 421, 425, 429, 500, 501, 502, 503, 504];

/// A set of causes; that no connection came to be unless somebody says otherwise.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetryOn(u32);

impl Default for RetryOn {
    fn default() -> RetryOn {
        RetryOn(bit(Cause::NotConnected))
    }
}

impl RetryOn {
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

/// None for a status that nothing can name.
fn bit(cause: Cause) -> u32 {
    let place = match cause {
        Cause::NotConnected => 0,
        Cause::EmptyResponse => 1,
        Cause::JunkResponse => 2,
        Cause::ResponseTimeout => 3,
        // It is one of the connection, which `NotConnected` names.
        Cause::Unprocessed => return 0,
        Cause::Status(status) => match STATUSES.iter().position(|named| *named == status) {
            Some(place) => 4 + place,
            None => return 0,
        },
    };
    1 << place
}
