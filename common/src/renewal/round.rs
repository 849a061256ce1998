//! How a daemon comes by its next certificate: which name servers it asks, and what their answers mean. Pure.

use std::sync::Arc;

use hyper::StatusCode;

use super::Stage;

/// A name server, by its name.
type Server = Arc<str>;

/// Letters of why somebody refuses.
const LONGEST_WHY: usize = 512;

/// What a name server says to a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Said {
    /// What the CA signed, as PEM.
    Certificate(Vec<u8>),
    /// It lies there until the CA comes by.
    Parked,
    /// The CA has seen it, and will not sign.
    Refused(String),
    /// This name server does not take it.
    NotTaken(String),
}

/// How far the next certificate is: labels of a metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// It is not time.
    Early,
    /// A name server has our request.
    Parked,
    /// None has it.
    Unasked,
    Refused,
    /// Our own files are in the way.
    Failed,
}

/// One round of asking. Begins with the name server where the request lies already: that is where the answer comes to.
#[derive(Debug)]
pub struct Round {
    stage: Stage,
    to_ask: Vec<Server>,
    parked_at: Option<Server>,
    refused: Option<String>,
    not_taken: Option<String>,
}

/// What a round came to.
#[derive(Debug, Eq, PartialEq)]
pub struct Outcome {
    pub state: State,
    /// Where to ask first the next time.
    pub parked_at: Option<Server>,
    /// What keeps the certificate from us, for people.
    pub why: Option<String>,
}

impl Said {
    pub fn of(status: StatusCode, body: &[u8]) -> Said {
        match status {
            StatusCode::OK => Said::Certificate(body.to_vec()),
            StatusCode::ACCEPTED => Said::Parked,
            StatusCode::CONFLICT => Said::Refused(text(body)),
            status => Said::NotTaken(format!("{}: {}", status.as_u16(), text(body))),
        }
    }
}

impl State {
    pub const ALL: [State; 5] =
        [State::Early, State::Parked, State::Unasked, State::Refused, State::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            State::Early => "early",
            State::Parked => "parked",
            State::Unasked => "unasked",
            State::Refused => "refused",
            State::Failed => "failed",
        }
    }
}

impl Round {
    pub fn new(stage: Stage, servers: &[Server], parked_at: Option<&Server>) -> Round {
        let is_first = |server: &&Server| Some(*server) == parked_at;
        let (first, others): (Vec<_>, Vec<_>) = servers.iter().partition(is_first);
        // Taken from behind.
        let to_ask = first.into_iter().chain(others).rev().cloned().collect();
        Round { stage, to_ask, parked_at: None, refused: None, not_taken: None }
    }

    /// Whom to ask now. One that keeps the request is enough, until time is short: then all are asked, whichever of
    /// them the CA goes to.
    pub fn next_server(&mut self) -> Option<Server> {
        let is_enough = match self.stage {
            Stage::Early => true,
            Stage::Due => self.parked_at.is_some() || self.refused.is_some(),
            Stage::Alarm => false,
        };
        if is_enough { None } else { self.to_ask.pop() }
    }

    /// What one that was asked said; the certificate, if it was that.
    pub fn heard(&mut self, server: &Server, said: Said) -> Option<Vec<u8>> {
        match said {
            Said::Certificate(pem) => return Some(pem),
            Said::Parked => drop(self.parked_at.get_or_insert_with(|| server.clone())),
            Said::Refused(why) => self.refused = Some(why),
            Said::NotTaken(why) => self.not_taken = Some(format!("{server}: {why}")),
        }
        None
    }

    /// What it came to, if nobody had the certificate.
    pub fn outcome(self) -> Outcome {
        let Round { stage, to_ask: _, parked_at, refused, not_taken } = self;
        let (state, why) = match (stage, &parked_at, refused) {
            (Stage::Early, _, _) => (State::Early, None),
            (_, _, Some(why)) => (State::Refused, Some(why)),
            (_, Some(_), None) => (State::Parked, None),
            (_, None, None) => (State::Unasked, not_taken),
        };
        Outcome { state, parked_at, why }
    }
}

/// Of what came, as much as stands well in a line of the log.
fn text(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.trim().chars().take(LONGEST_WHY).filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whom a round asks, by what each says: `parked`, `refused`, `no` or `pem`; and what it comes to.
    fn check(stage: Stage, parked_at: Option<&str>, says: &[(&str, &str)], expected: &str) {
        let servers: Vec<Server> = says.iter().map(|(name, _)| (*name).into()).collect();
        let parked_at: Option<Server> = parked_at.map(Into::into);
        let mut round = Round::new(stage, &servers, parked_at.as_ref());
        let mut told = vec![];
        while let Some(server) = round.next_server() {
            let (_, says) = says.iter().find(|(name, _)| **name == *server).unwrap();
            let (status, body) = match *says {
                "parked" => (202, ""),
                "refused" => (409, "the CA refuses: too early\n"),
                "no" => (503, "busy"),
                _ => (200, "pem"),
            };
            told.push(server.to_string());
            let said = Said::of(StatusCode::from_u16(status).unwrap(), body.as_bytes());
            if let Some(pem) = round.heard(&server, said) {
                told.push(String::from_utf8(pem).unwrap());
                break;
            }
        }
        let Outcome { state, parked_at, why } = round.outcome();
        let at = parked_at.map(|at| format!(" at {at}")).unwrap_or_default();
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        let told = format!("{}: {}{at}{why}", told.join(" "), state.as_str());
        assert_eq!(told, expected, "{stage:?} {says:?}");
    }

    #[test]
    fn one_name_server_is_enough_until_time_is_short() {
        let both = [("dns1", "parked"), ("dns2", "parked")];
        check(Stage::Early, None, &both, ": early");
        check(Stage::Due, None, &both, "dns1: parked at dns1");
        check(Stage::Due, Some("dns2"), &both, "dns2: parked at dns2");
        check(Stage::Due, Some("gone"), &both, "dns1: parked at dns1");
        check(Stage::Alarm, None, &both, "dns1 dns2: parked at dns1");
        check(Stage::Alarm, Some("dns2"), &both, "dns2 dns1: parked at dns2");
        check(Stage::Due, None, &[], ": unasked");
    }

    #[test]
    fn who_does_not_take_it_is_passed_over_and_what_the_ca_says_counts() {
        let first_away = [("dns1", "no"), ("dns2", "parked")];
        check(Stage::Due, None, &first_away, "dns1 dns2: parked at dns2");
        let all_away = [("dns1", "no"), ("dns2", "no")];
        check(Stage::Due, Some("dns2"), &all_away, "dns2 dns1: unasked (dns1: 503: busy)");
        let refused = [("dns1", "refused"), ("dns2", "parked")];
        check(Stage::Due, None, &refused, "dns1: refused (the CA refuses: too early)");
        check(
            Stage::Alarm,
            None,
            &refused,
            "dns1 dns2: refused at dns2 (the CA refuses: too early)",
        );
        let there = [("dns1", "parked"), ("dns2", "pem")];
        check(Stage::Due, Some("dns2"), &there, "dns2 pem: unasked");
        check(Stage::Alarm, None, &there, "dns1 dns2 pem: parked at dns1");
    }
}
