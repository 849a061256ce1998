//! Why an answer is not an ordinary one, for whoever reads it (RFC 8914). Decides nothing: the code and the
//! records are the same with it or without.

use super::resolve::Entries;
use crate::query::Rcode;
use crate::record::RecordType;
use crate::steer::Failing;
use crate::world::{FailMode, World};

/// An extended error: its code, and words that say more where the code does not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ede {
    /// Code 0 and one of `WORDS`. Not 3, Stale Answer, for `last-known` either: nothing that is answered comes
    /// from a cache (RFC 8914 §4.4).
    Other(&'static str),
    /// Code 20, of REFUSED: the name is in none of our zones.
    NotAuthoritative,
    /// Code 21: no server of this kind does it.
    NotSupported,
}

/// Octets of the code (RFC 8914 §2).
const CODE: usize = 2;
const OPEN: &str = "no site is fit: fail mode open";
const LAST_KNOWN: &str = "no site is fit: fail mode last-known";
const STATIC: &str = "no site is fit: fail mode static";
const EMPTY: &str = "no site is fit: fail mode empty";
const DRAINED: &str = "every site is drained";
const WORDS: [&str; 5] = [OPEN, LAST_KNOWN, STATIC, EMPTY, DRAINED];
/// Octets of the longest option, without its head.
pub const LONGEST: usize = CODE + LAST_KNOWN.len();
const _: () = {
    let mut index = 0;
    while index < WORDS.len() {
        assert!(CODE + WORDS[index].len() <= LONGEST, "the longest is what room is kept for");
        index += 1;
    }
};

impl Ede {
    /// What there is to say of an answer; of an ordinary one nothing.
    pub fn of(world: &World, rcode: Rcode, qtype: RecordType, entries: &Entries) -> Option<Ede> {
        match (rcode, qtype) {
            (Rcode::NotImp, _) | (Rcode::Refused, RecordType::AXFR | RecordType::IXFR) => {
                Some(Ede::NotSupported)
            }
            (Rcode::Refused, _) => Some(Ede::NotAuthoritative),
            (Rcode::NoError | Rcode::NxDomain | Rcode::YxDomain, _) => {
                // The first along the chain for which there is something to say.
                entries.iter().find_map(|entry| {
                    let mode = &world.service(entry.service).fail_mode;
                    words(entry.failing, mode).map(Ede::Other)
                })
            }
            (Rcode::FormErr | Rcode::ServFail | Rcode::BadVers | Rcode::BadCookie, _) => None,
        }
    }

    /// Octets of the option, without its head.
    pub fn length(self) -> usize {
        CODE + self.words().len()
    }

    /// Writes the option's value into `out`, which has `length` octets.
    pub fn write(self, out: &mut [u8]) {
        let code: u16 = match self {
            Ede::Other(_) => 0,
            Ede::NotAuthoritative => 20,
            Ede::NotSupported => 21,
        };
        let (head, text) = out.split_at_mut(CODE);
        head.copy_from_slice(&code.to_be_bytes());
        text.copy_from_slice(self.words().as_bytes());
    }

    fn words(self) -> &'static str {
        match self {
            Ede::Other(words) => words,
            Ede::NotAuthoritative | Ede::NotSupported => "",
        }
    }
}

fn words(failing: Failing, mode: &FailMode) -> Option<&'static str> {
    match (failing, mode) {
        (Failing::No, _) => None,
        (Failing::AllDrained, _) => Some(DRAINED),
        (Failing::AllDown, FailMode::Open) => Some(OPEN),
        (Failing::AllDown, FailMode::LastKnown) => Some(LAST_KNOWN),
        (Failing::AllDown, FailMode::Static(_)) => Some(STATIC),
        (Failing::AllDown, FailMode::Empty) => Some(EMPTY),
    }
}
