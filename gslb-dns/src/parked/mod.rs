//! What daemons ask of the CA, parked until somebody from there comes by: no name server has the CA's key. Pure.
//!
//! POST /v1/renew ─▶ ask ─▶ waiting ─▶ (`gslb-dns pki renew`, on the CA's host) ─▶ answer ─▶ ask, again
//!
//! Nothing of it is on disk: whoever waits asks again, so a restart costs one more asking.

pub mod desk;

use std::collections::BTreeMap;
use std::time::Duration;

use common::identity::certificates;
use common::mtls::principal_of;
use common::principal::Principal;
use common::renewal::{Asked, LONGEST_ANSWER, PublicKey, RequestError};

/// Daemons at a time, each with one request of at most `LONGEST_REQUEST` octets: 32 MiB at worst.
pub const MOST_PARKED: usize = 4096;
/// How many are handed out at once: 2 MiB at worst.
pub const PAGE: usize = 256;
/// How long something is kept for a daemon that does not ask again, be it a request or its answer.
pub const KEPT: Duration = Duration::from_hours(24);
/// A refusal holds so long for whoever asks again with the same key. Then the CA is asked again: what it refused for may
/// be over.
pub const REFUSED_FOR: Duration = Duration::from_hours(1);
/// Octets of why the CA refuses.
pub const LONGEST_WHY: usize = 512;

/// By who asked.
#[derive(Debug, Default)]
pub struct Parked(BTreeMap<Principal, Slot>);

#[derive(Debug)]
struct Slot {
    /// As it came.
    request: Box<[u8]>,
    key: PublicKey,
    /// When it came first; when it was asked for last.
    since: Duration,
    asked_at: Duration,
    answer: Option<Answer>,
    answered_at: Duration,
}

/// What the CA said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// PEM, the daemon's own first.
    Certificate(Box<str>),
    Refused(Box<str>),
}

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AskError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("you are {connection}, and the request is of {asked}: a daemon asks for itself alone")]
    Another { connection: Principal, asked: Principal },
    #[error(
        "{MOST_PARKED} daemons wait already: has gslb-dns pki renew been run on the CA's host?"
    )]
    Full,
}

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AnswerError {
    #[error("{0} waits for nothing here; it asks again if it still needs a certificate")]
    NotWaiting(Principal),
    #[error("the certificate has more than {LONGEST_ANSWER} octets")]
    TooLarge,
    #[error("the certificate {0}")]
    Unreadable(String),
    #[error(
        "the certificate is not of {0}, for the key that it asked with last: fetch its request again"
    )]
    OtherKey(Principal),
}

impl Parked {
    /// Whoever `connection` is asks, or asks again: what the CA has said of it, if it has.
    pub fn ask(
        &mut self,
        now: Duration,
        connection: &Principal,
        request: &[u8],
    ) -> Result<Option<Answer>, AskError> {
        let Asked { principal, key, .. } = Asked::read(request)?;
        if principal != *connection {
            let connection = connection.clone();
            return Err(AskError::Another { connection, asked: principal });
        }
        self.forget(now);
        let is_full = self.0.len() >= MOST_PARKED;
        match self.0.get_mut(&principal) {
            Some(slot) if slot.key == key => {
                slot.asked_at = now;
                let is_over = now.saturating_sub(slot.answered_at) >= REFUSED_FOR;
                if is_over && matches!(slot.answer, Some(Answer::Refused(_))) {
                    slot.answer = None;
                    slot.since = now;
                }
                return Ok(slot.answer.clone());
            }
            // Another key than before: what was said of that one is of no use to it.
            Some(_) => {}
            None if is_full => return Err(AskError::Full),
            None => {}
        }
        let slot = Slot {
            request: request.into(),
            key,
            since: now,
            asked_at: now,
            answer: None,
            answered_at: now,
        };
        self.0.insert(principal, slot);
        Ok(None)
    }

    /// At most `PAGE` of those that wait, who has waited longest first.
    pub fn waiting(&self) -> Vec<(&Principal, &[u8])> {
        let mut waiting: Vec<_> = self.0.iter().filter(|(_, slot)| slot.answer.is_none()).collect();
        waiting.sort_by_key(|(_, slot)| slot.since);
        waiting.truncate(PAGE);
        waiting.into_iter().map(|(principal, slot)| (principal, &*slot.request)).collect()
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        self.0.values().filter(|slot| slot.answer.is_none()).count()
    }

    /// What the CA says of one that waits.
    pub fn answer(
        &mut self,
        now: Duration,
        principal: &Principal,
        answer: Answer,
    ) -> Result<(), AnswerError> {
        let waits = self.0.get_mut(principal).filter(|slot| slot.answer.is_none());
        let slot = waits.ok_or_else(|| AnswerError::NotWaiting(principal.clone()))?;
        slot.answer = Some(match answer {
            Answer::Refused(why) => {
                let end = why.floor_char_boundary(LONGEST_WHY);
                Answer::Refused(why[..end].into())
            }
            Answer::Certificate(pem) => {
                if pem.len() > LONGEST_ANSWER {
                    return Err(AnswerError::TooLarge);
                }
                let chain = certificates(pem.as_bytes()).map_err(AnswerError::Unreadable)?;
                let is_of = principal_of(&chain[0]).as_ref() == Ok(principal);
                if !is_of || PublicKey::of(&chain[0]) != Some(slot.key) {
                    return Err(AnswerError::OtherKey(principal.clone()));
                }
                Answer::Certificate(pem)
            }
        });
        slot.answered_at = now;
        Ok(())
    }

    fn forget(&mut self, now: Duration) {
        self.0.retain(|_, slot| now.saturating_sub(slot.asked_at) <= KEPT);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use common::identity::Identity;
    use common::renewal::write;
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    /// One key for all old certificates: what is parked hangs on the new one.
    fn old_key() -> &'static KeyPair {
        static KEY: OnceLock<KeyPair> = OnceLock::new();
        KEY.get_or_init(|| KeyPair::generate().unwrap())
    }

    fn principal(name: &str) -> Principal {
        format!("gslb://test/probe/{name}").parse().unwrap()
    }

    fn certificate(name: &str, key: &KeyPair) -> String {
        let mut params = CertificateParams::new([]).unwrap();
        params.subject_alt_names =
            vec![SanType::URI(principal(name).to_string().try_into().unwrap())];
        params.self_signed(key).unwrap().pem()
    }

    fn request(name: &str, key: &KeyPair) -> Vec<u8> {
        let (chain, pem) = (certificate(name, old_key()), old_key().serialize_pem());
        let old = Identity::of(chain.as_bytes(), pem.as_bytes()).unwrap();
        write(&principal(name), key, &old.key()).unwrap()
    }

    const START: Duration = Duration::from_secs(1000);

    #[test]
    fn a_request_waits_for_its_answer_and_only_its_own() {
        let mut parked = Parked::default();
        let [ams, fra] = ["ams", "fra"].map(principal);
        let [first, second] = [0; 2].map(|_| KeyPair::generate().unwrap());
        let asked = request("ams", &first);
        assert_eq!(parked.ask(START, &ams, &asked), Ok(None));
        // Nobody asks for another.
        let told = parked.ask(START, &fra, &asked).unwrap_err().to_string();
        assert!(told.starts_with("you are gslb://test/probe/fra, and the request is of"), "{told}");
        assert!(matches!(parked.ask(START, &ams, b"{}"), Err(AskError::Request(_))));
        parked.ask(START - Duration::from_secs(1), &fra, &request("fra", &second)).unwrap();
        let waiting = parked.waiting();
        assert_eq!(waiting.iter().map(|(who, _)| *who).collect::<Vec<_>>(), [&fra, &ams]);
        assert_eq!(waiting[1].1, asked);

        let pem = |name: &str, key: &KeyPair| Answer::Certificate(certificate(name, key).into());
        let mut check = |who: &Principal, answer: Answer, expected: &str| {
            let told = parked.answer(START, who, answer).unwrap_err().to_string();
            assert!(told.contains(expected), "{told}\nexpected {expected}");
        };
        check(
            &principal("iad"),
            pem("iad", &first),
            "gslb://test/probe/iad waits for nothing here",
        );
        check(&ams, pem("ams", &second), "for the key that it asked with last");
        check(&ams, pem("fra", &first), "is not of gslb://test/probe/ams");
        check(&ams, Answer::Certificate("none".into()), "holds no certificate");
        let Answer::Certificate(good) = pem("ams", &first) else { unreachable!() };
        let padded = |octets: usize| {
            Answer::Certificate((good.to_string() + &"\n".repeat(octets - good.len())).into())
        };
        check(&ams, padded(LONGEST_ANSWER + 1), "has more than 16384 octets");
        parked.answer(START, &ams, padded(LONGEST_ANSWER)).unwrap();
        assert_eq!(parked.count(), 1);
        assert_eq!(parked.waiting().len(), 1);
        assert_eq!(parked.ask(START, &ams, &asked), Ok(Some(padded(LONGEST_ANSWER))));
        // It may be lost on its way.
        assert_eq!(parked.ask(START, &ams, &asked), Ok(Some(padded(LONGEST_ANSWER))));
        assert!(parked.answer(START, &ams, pem("ams", &first)).is_err());
        // The same daemon with another key is to be answered anew.
        assert_eq!(parked.ask(START, &ams, &request("ams", &second)), Ok(None));
        let why = "w".repeat(LONGEST_WHY);
        parked.answer(START, &ams, Answer::Refused((why.clone() + "w").into())).unwrap();
        let told = parked.ask(START, &ams, &request("ams", &second));
        assert_eq!(told, Ok(Some(Answer::Refused(why.into()))));
        // What it was refused for may be over: with the same key, it waits for the CA again.
        let again = request("ams", &second);
        let last = START + REFUSED_FOR - Duration::from_millis(1);
        assert!(matches!(parked.ask(last, &ams, &again), Ok(Some(Answer::Refused(_)))));
        let waits = |parked: &Parked| parked.waiting().iter().any(|(who, _)| **who == ams);
        assert!(!waits(&parked));
        assert_eq!(parked.ask(START + REFUSED_FOR, &ams, &again), Ok(None));
        assert!(waits(&parked));
        // A certificate is kept for as long as somebody asks.
        let later = START + REFUSED_FOR;
        parked.answer(later, &ams, pem("ams", &second)).unwrap();
        let told = parked.ask(later + REFUSED_FOR, &ams, &again);
        assert!(matches!(told, Ok(Some(Answer::Certificate(_)))));
    }

    #[test]
    fn places_are_bounded_and_come_free() {
        let mut parked = Parked::default();
        let key = KeyPair::generate().unwrap();
        let ask = |parked: &mut Parked, now, number: usize| {
            let name = format!("p{number}");
            parked.ask(now, &principal(&name), &request(&name, &key))
        };
        for number in 0..MOST_PARKED {
            ask(&mut parked, START, number).unwrap();
        }
        assert_eq!(parked.waiting().len(), PAGE);
        assert_eq!(parked.count(), MOST_PARKED);
        assert_eq!(ask(&mut parked, START, MOST_PARKED), Err(AskError::Full));
        // Whoever has a place keeps it, and keeps it for longer by asking again.
        let later = START + KEPT;
        assert_eq!(ask(&mut parked, later, 0), Ok(None));
        assert_eq!(ask(&mut parked, later, MOST_PARKED), Err(AskError::Full));
        let too_late = later + Duration::from_secs(1);
        assert_eq!(ask(&mut parked, too_late, MOST_PARKED), Ok(None));
        assert_eq!(parked.count(), 2);
    }
}
