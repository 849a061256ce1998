//! What becomes of an attempt to connect, before anything is spent on it. Pure.
//!
//! Whoever sends one packet may write any address on it. So nobody loses a seat to an address that is not
//! proved, and only few handshakes with such addresses are under way at once: past that, a client is asked
//! to come back with a token (RFC 9000 §8.1.2), which costs us one small packet and no memory.

/// Handshakes under way with addresses that are not proved. They end, one way or another, within seconds.
pub const UNPROVED: usize = 64;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Welcome {
    /// The client showed a token: it gets its seat at once, as over TCP.
    Seated,
    /// It gets a seat when its handshake has shown that it is where it says.
    Unproved,
    /// It has to come back with a token.
    Retry,
    /// We hold too much of connections that are gone, and say nothing.
    Ignored,
}

/// `unproved` handshakes are under way; a listener holds `open` connections, of which all together may have
/// `seats`.
pub fn welcome(is_proved: bool, unproved: usize, open: usize, seats: usize) -> Welcome {
    match is_proved {
        _ if open >= most_open(seats) => Welcome::Ignored,
        true => Welcome::Seated,
        false if unproved < UNPROVED => Welcome::Unproved,
        false => Welcome::Retry,
    }
}

/// Connections that have left their seats are remembered for some round trips, so that their clients hear
/// of the end (RFC 9000 §10.2): as many again as there are seats.
fn most_open(seats: usize) -> usize {
    2 * seats + UNPROVED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_prove_its_address_gets_little() {
        let check = |is_proved, unproved, open, expected| {
            assert_eq!(welcome(is_proved, unproved, open, 100), expected);
        };
        check(false, 0, 0, Welcome::Unproved);
        check(false, UNPROVED - 1, 0, Welcome::Unproved);
        check(false, UNPROVED, 0, Welcome::Retry);
        check(true, UNPROVED, 0, Welcome::Seated);
        check(true, 0, 200 + UNPROVED - 1, Welcome::Seated);
        check(true, 0, 200 + UNPROVED, Welcome::Ignored);
        check(false, 0, 200 + UNPROVED, Welcome::Ignored);
    }
}
