//! DNS cookies (RFC 7873), made as RFC 9018 has every server behind one address make them.
//!
//! Secrets, the client's address and the second come in; what a cookie is and which one goes back come
//! out. `query` reads the option, `answer` writes it, `keeper` holds the secrets. Pure, without state of
//! any client.

use std::fmt;
use std::net::IpAddr;

use arrayvec::ArrayVec;
use siphasher::sip::SipHasher24;

/// Octets of a client cookie (RFC 7873 §4.1).
pub const CLIENT_COOKIE: usize = 8;
/// Octets of the server cookies that we make: version, reserved, time stamp, hash (RFC 9018 §4).
const SERVER_COOKIE: usize = 16;
/// Octets of both.
pub const COOKIE: usize = CLIENT_COOKIE + SERVER_COOKIE;
/// Octets of a secret (RFC 9018 §4.4).
pub const SECRET: usize = 16;
/// Secrets at a time. To change one takes two.
pub const MAX_SECRETS: usize = 4;

const VERSION: u8 = 1;
/// Seconds for which a server cookie is good, and by which the clock of its maker may be ahead of ours
/// (RFC 9018 §4.3).
const LONGEST_AGE: i64 = 3600;
const LARGEST_LEAD: i64 = 300;
/// Seconds after which a good one is replaced all the same (RFC 9018 §4.3).
const RENEWED_AFTER: i64 = 1800;

/// What only the servers behind one address know.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Secret([u8; SECRET]);

/// The first makes cookies, each of them verifies one (RFC 9018 §5).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Secrets(ArrayVec<Secret, MAX_SECRETS>);

/// What the cookie of a query is. The variants are metric labels too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// A client cookie alone: its sender has no server cookie yet.
    New,
    /// The sender has had an answer from us at this address not long ago.
    Valid,
    /// Ours, but made more than an hour ago, or by a clock far ahead of this one.
    Expired,
    /// Not made with our secrets for this client at this address.
    Invalid,
}

/// A query's cookie, and the one for its answer: the client's, and a server cookie that is good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Judged {
    pub state: State,
    pub reply: [u8; COOKIE],
}

impl Secrets {
    /// Without a secret there are no cookies: the option is passed over like any that nobody knows.
    pub const NONE: &'static Secrets = &Secrets(ArrayVec::new_const());

    /// Takes the first `MAX_SECRETS`.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Secrets {
        Secrets(secrets.into_iter().take(MAX_SECRETS).collect())
    }

    /// The same behind a new one, which makes cookies from now on; those just made stay good.
    #[must_use]
    pub fn behind(&self, new: Secret) -> Secrets {
        Secrets::new([new].into_iter().chain(self.0.first().copied()))
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Judges the cookie of a query that came from `address` at `now`, in seconds of Unix time. `None` if
    /// there are no secrets.
    pub fn judge(
        &self,
        client: &[u8; CLIENT_COOKIE],
        server: &[u8],
        address: IpAddr,
        now: u64,
    ) -> Option<Judged> {
        let maker = self.0.first()?;
        let (state, renew) = self.state(client, server, address, now);
        let mut reply = [0; COOKIE];
        reply[..CLIENT_COOKIE].copy_from_slice(client);
        if renew {
            reply[CLIENT_COOKIE..].copy_from_slice(&maker.server_cookie(client, address, now));
        } else {
            reply[CLIENT_COOKIE..].copy_from_slice(server);
        }
        Some(Judged { state, reply })
    }

    /// Also tells whether the answer has to bring another server cookie.
    fn state(
        &self,
        client: &[u8; CLIENT_COOKIE],
        server: &[u8],
        address: IpAddr,
        now: u64,
    ) -> (State, bool) {
        if server.is_empty() {
            return (State::New, true);
        }
        // Other lengths are sound (RFC 7873 §4.2), and other servers'.
        let Some((head, hash)) = server.split_first_chunk::<8>() else {
            return (State::Invalid, true);
        };
        let (Ok(hash), &[VERSION, _, _, _, stamp @ ..]) = (<[u8; 8]>::try_from(hash), head) else {
            return (State::Invalid, true);
        };
        // Compared as numbers, which takes as long whatever differs.
        let hash = u64::from_le_bytes(hash);
        let maker = self.0.iter().position(|secret| secret.hash(client, head, address) == hash);
        let Some(maker) = maker else { return (State::Invalid, true) };
        // Serial number arithmetic (RFC 1982): 32 bits of seconds end in 2106.
        let age = i64::from((now as u32).wrapping_sub(u32::from_be_bytes(stamp)).cast_signed());
        if !(-LARGEST_LEAD..=LONGEST_AGE).contains(&age) {
            return (State::Expired, true);
        }
        (State::Valid, maker > 0 || age > RENEWED_AFTER)
    }
}

impl Secret {
    pub fn new(octets: [u8; SECRET]) -> Secret {
        Secret(octets)
    }

    fn server_cookie(
        &self,
        client: &[u8; CLIENT_COOKIE],
        address: IpAddr,
        now: u64,
    ) -> [u8; SERVER_COOKIE] {
        let [a, b, c, d] = (now as u32).to_be_bytes();
        let head = [VERSION, 0, 0, 0, a, b, c, d];
        let mut cookie = [0; SERVER_COOKIE];
        cookie[..8].copy_from_slice(&head);
        cookie[8..].copy_from_slice(&self.hash(client, &head, address).to_le_bytes());
        cookie
    }

    /// RFC 9018 §4.4. The reserved octets of `head` count as they came (§4.2).
    fn hash(&self, client: &[u8; CLIENT_COOKIE], head: &[u8; 8], address: IpAddr) -> u64 {
        let mut octets = [0; CLIENT_COOKIE + 8 + 16];
        octets[..8].copy_from_slice(client);
        octets[8..16].copy_from_slice(head);
        let end = match address {
            IpAddr::V4(v4) => {
                octets[16..20].copy_from_slice(&v4.octets());
                20
            }
            IpAddr::V6(v6) => {
                octets[16..].copy_from_slice(&v6.octets());
                32
            }
        };
        SipHasher24::new_with_key(&self.0).hash(&octets[..end])
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

impl State {
    pub const ALL: [State; 4] = [State::New, State::Valid, State::Expired, State::Invalid];

    /// As metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::New => "new",
            State::Valid => "valid",
            State::Expired => "expired",
            State::Invalid => "invalid",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9018, appendix A: the secret of A.1 to A.3, those of A.4 before and after.
    const SECRET_1: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
    const SECRET_2: &str = "dd3bdf9344b678b185a6f5cb60fca715";
    const SECRET_3: &str = "445536bcd2513298075a5d379663c962";
    const CLIENT_1: &str = "198.51.100.100";
    const CLIENT_2: &str = "203.0.113.203";
    const CLIENT_3: &str = "2001:db8:220:1:59de:d0f4:8769:82b8";

    fn octets(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap());
        digits.map(|two| u8::from_str_radix(two, 16).unwrap()).collect()
    }

    fn secrets(list: &[&str]) -> Secrets {
        let secret = |hex: &&str| Secret::new(octets(hex).try_into().unwrap());
        Secrets::new(list.iter().map(secret))
    }

    /// What becomes of a cookie; both in hex, the one that goes back `=` if it is the one that came.
    fn check(with: &[&str], address: &str, now: u64, cookie: &str, state: State, reply: &str) {
        let came = octets(cookie);
        let (client, server) = came.split_first_chunk().unwrap();
        let judged = secrets(with).judge(client, server, address.parse().unwrap(), now).unwrap();
        let reply = if reply == "=" { cookie } else { reply };
        assert_eq!(
            (judged.state, &judged.reply[..]),
            (state, &octets(reply)[..]),
            "{cookie} {now}"
        );
    }

    #[test]
    fn the_vectors_of_rfc_9018_hold() {
        // A.1: learning a new server cookie.
        let first = "2464c4abcf10c957010000005cf79f111f8130c3eee29480";
        check(&[SECRET_1], CLIENT_1, 1_559_731_985, "2464c4abcf10c957", State::New, first);
        // A.2: the same client, forty minutes later.
        let renewed = "2464c4abcf10c957010000005cf7a871d4a564a1442aca77";
        check(&[SECRET_1], CLIENT_1, 1_559_734_385, first, State::Valid, renewed);
        // A.3: reserved octets that are not 0, almost two hours later; then at once.
        let reserved = "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5";
        let renewed = "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e";
        check(&[SECRET_1], CLIENT_2, 1_559_734_700, reserved, State::Expired, renewed);
        check(&[SECRET_1], CLIENT_2, 1_559_727_986, reserved, State::Valid, "=");
        // A.4: IPv6, and a secret that was rolled over.
        let old = "22681ab97d52c298010000005cf7c57926556bd0934c72f8";
        let new = "22681ab97d52c298010000005cf7c609a6bb79d16625507a";
        check(&[SECRET_3, SECRET_2], CLIENT_3, 1_559_741_961, old, State::Valid, new);
        check(&[SECRET_3], CLIENT_3, 1_559_741_961, old, State::Invalid, new);
    }

    #[test]
    fn a_cookie_is_good_for_an_hour_and_renewed_after_half_of_it() {
        let made = "2464c4abcf10c957010000005cf79f111f8130c3eee29480";
        let at = 1_559_731_985;
        let state = |now| {
            let cookie = octets(made);
            let (client, server) = cookie.split_first_chunk().unwrap();
            let address = CLIENT_1.parse().unwrap();
            let judged = secrets(&[SECRET_1]).judge(client, server, address, now).unwrap();
            (judged.state, judged.reply[8..] == *server)
        };
        assert_eq!(state(at), (State::Valid, true));
        assert_eq!(state(at + 1800), (State::Valid, true));
        assert_eq!(state(at + 1801), (State::Valid, false));
        assert_eq!(state(at + 3600), (State::Valid, false));
        assert_eq!(state(at + 3601), (State::Expired, false));
        assert_eq!(state(at - 300), (State::Valid, true));
        assert_eq!(state(at - 301), (State::Expired, false));
    }

    #[test]
    fn seconds_are_counted_round_the_end_of_32_bits() {
        let with = secrets(&[SECRET_1]);
        let address = CLIENT_1.parse().unwrap();
        let last = u64::from(u32::MAX);
        let made = with.judge(&[7; 8], &[], address, last - 10).unwrap().reply;
        let later = with.judge(&[7; 8], &made[8..], address, last + 20).unwrap();
        assert_eq!(later.state, State::Valid);
    }

    #[test]
    fn a_cookie_of_another_client_address_secret_version_or_length_is_invalid() {
        let now = 1_559_731_985;
        let made = octets("2464c4abcf10c957010000005cf79f111f8130c3eee29480");
        let state = |with: &Secrets, address: &str, cookie: &[u8]| {
            let (client, server) = cookie.split_first_chunk().unwrap();
            with.judge(client, server, address.parse().unwrap(), now).unwrap().state
        };
        let right = secrets(&[SECRET_1]);
        assert_eq!(state(&right, CLIENT_1, &made), State::Valid);
        assert_eq!(state(&right, CLIENT_2, &made), State::Invalid);
        assert_eq!(state(&secrets(&[SECRET_2]), CLIENT_1, &made), State::Invalid);
        assert_eq!(state(&secrets(&[SECRET_2, SECRET_1]), CLIENT_1, &made), State::Valid);
        for at in 0..made.len() {
            let mut other = made.clone();
            other[at] ^= 1;
            assert_eq!(state(&right, CLIENT_1, &other), State::Invalid, "octet {at}");
        }
        for length in [16, 17, 23, 25, 40] {
            let mut other = made.clone();
            other.resize(length, 0);
            assert_eq!(state(&right, CLIENT_1, &other), State::Invalid, "{length} octets");
        }
        assert_eq!(Secrets::NONE.judge(&[0; 8], &[], CLIENT_1.parse().unwrap(), now), None);
    }

    #[test]
    fn a_secret_is_changed_in_three_steps_without_a_cookie_lost() {
        let now = 1_559_731_985;
        let address = CLIENT_1.parse().unwrap();
        let steps = [
            secrets(&[SECRET_1]),
            secrets(&[SECRET_1, SECRET_2]),
            secrets(&[SECRET_2, SECRET_1]),
            secrets(&[SECRET_2]),
        ];
        // At each step some servers are at it and others still at the one before.
        for servers in [&steps[0..2], &steps[1..3]] {
            for (maker, verifier) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let made = servers[maker].judge(&[7; 8], &[], address, now).unwrap().reply;
                let judged = servers[verifier].judge(&[7; 8], &made[8..], address, now).unwrap();
                assert_eq!(judged.state, State::Valid);
            }
        }
        // An hour after the third step nobody has a cookie of the first secret.
        let made = steps[2].judge(&[7; 8], &[], address, now).unwrap().reply;
        let judged = steps[3].judge(&[7; 8], &made[8..], address, now).unwrap();
        assert_eq!(judged.state, State::Valid);
    }

    #[test]
    fn secrets_are_not_shown() {
        assert!(!format!("{:?}", secrets(&[SECRET_1])).contains("e5"));
    }
}
