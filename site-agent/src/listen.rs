//! Sockets that clients come to: one for each thread at one address, among which the kernel shares them out.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait in the kernel for one thread; `net.core.somaxconn` may be less.
const BACKLOG: i32 = 4096;

/// Whether an address has to be on this box to be listened at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Presence {
    Needed,
    /// It comes and goes, as it is on one box of a pair at a time (IP_FREEBIND).
    NotNeeded,
}

/// As many sockets as there are threads, all bound before the first of them listens: whoever had the address before fails
/// us whole.
pub fn bind(
    address: SocketAddr,
    presence: Presence,
    threads: usize,
) -> io::Result<Vec<TcpListener>> {
    let mut address = address;
    let mut sockets = Vec::with_capacity(threads);
    for _ in 0..threads {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            // One address is one family: `[::]` beside `0.0.0.0` is not taken yet.
            socket.set_only_v6(true)?;
        }
        match (presence, address.is_ipv4()) {
            (Presence::Needed, _) => {}
            (Presence::NotNeeded, true) => socket.set_freebind_v4(true)?,
            (Presence::NotNeeded, false) => socket.set_freebind_v6(true)?,
        }
        // Whom it accepts has it from the listener.
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        // Where the kernel has chosen the port, it is the same for all.
        if let Some(bound) = socket.local_addr()?.as_socket() {
            address = bound;
        }
        sockets.push(socket);
    }
    for socket in &sockets {
        socket.listen(BACKLOG)?;
    }
    Ok(sockets.into_iter().map(TcpListener::from).collect())
}

/// Whether what comes to one may come to the other, so that without being shared they cannot be bound both.
pub fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    let is_same_family = one.is_ipv4() == other.is_ipv4();
    one.port() == other.port() && is_same_family && (is_any || one.ip() == other.ip())
}

/// Whether others listen there, and share what comes with whoever does so too: the kernel lets processes of one user.
pub fn is_shared(address: SocketAddr) -> bool {
    let alone = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())
    };
    address.port() != 0 && alone().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::Presence::*;
    use super::*;

    #[test]
    fn addresses_overlap_by_port_and_family() {
        let check = |one: &str, other: &str, expected| {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(overlap(one, other), expected, "{one} {other}");
            assert_eq!(overlap(other, one), expected, "{other} {one}");
            // The kernel is of the same mind.
            let first = std::net::TcpListener::bind(one);
            if let Ok(_holder) = first
                && one.port() != 0
            {
                assert_eq!(is_shared(other), expected, "{one} {other}");
            }
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        check(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{port}"), true);
        check(&format!("0.0.0.0:{port}"), &format!("127.0.0.1:{port}"), true);
        check(&format!("127.0.0.1:{port}"), &format!("127.0.0.2:{port}"), false);
        check("127.0.0.1:80", "127.0.0.1:81", false);
        check("0.0.0.0:80", "[::1]:80", false);
    }

    #[test]
    fn who_listens_beside_another_is_told_so() {
        let first = bind("127.0.0.1:0".parse().unwrap(), Needed, 2).unwrap();
        let address = first[0].local_addr().unwrap();
        assert!(is_shared(address));
        // As before this was asked.
        let second = bind(address, Needed, 2).unwrap();
        drop(first);
        assert!(is_shared(address));
        drop(second);
        assert!(!is_shared(address));
        // What is left of connections is nobody.
        let listener = bind(address, Needed, 1).unwrap().pop().unwrap();
        listener.set_nonblocking(false).unwrap();
        let client = TcpStream::connect(address).unwrap();
        drop(listener.accept().unwrap());
        drop((client, listener));
        assert!(!is_shared(address));
        assert!(!is_shared("127.0.0.1:0".parse().unwrap()));
    }

    #[test]
    fn whoever_is_accepted_waits_for_no_full_segment() {
        let listener = bind("127.0.0.1:0".parse().unwrap(), Needed, 1).unwrap().pop().unwrap();
        listener.set_nonblocking(false).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
    }

    #[test]
    fn an_address_that_comes_later_is_listened_at() {
        // Of a network for documents, so on no box (RFC 5737, RFC 3849).
        for address in ["192.0.2.1:0", "[2001:db8::1]:0"] {
            let address: SocketAddr = address.parse().unwrap();
            assert!(bind(address, NotNeeded, 2).is_ok(), "{address}");
            let refused = bind(address, Needed, 2).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AddrNotAvailable, "{address}");
        }
    }
}
