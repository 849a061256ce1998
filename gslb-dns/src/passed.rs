//! Sockets that a service manager has bound for us (sd_listen_fds(3)): each takes the place of one that we would
//! bind ourselves, and none may be left.
//!
//! environment ─▶ sockets, by where they are ─▶ taken by address ─▶ none left

use std::fmt::{self, Display, Formatter};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use socket2::SockRef;

/// Where a socket is bound, and for what.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Place {
    Udp(SocketAddr),
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug)]
enum Held {
    Udp(UdpSocket),
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What is not taken yet.
#[derive(Debug, Default)]
pub struct Passed(Waiting<Held>);

/// Things by their places. Several may have one: UDP sockets that share an address.
#[derive(Debug)]
struct Waiting<T>(Vec<(Place, T)>);

/// What is wrong with the units that start us.
#[derive(Debug, thiserror::Error)]
pub enum PassedError {
    #[error(
        "socket {number} of those that the service manager passed cannot be used: {why}; it takes \
         ListenDatagram= and ListenStream= with an address or a path, and Accept=no"
    )]
    Strange { number: usize, why: String },
    #[error(
        "the service manager passed {place}, which takes IPv4 too; write BindIPv6Only=ipv6-only in its \
         .socket unit"
    )]
    BothVersions { place: String },
    #[error(
        "the service manager passed what node.toml has no use for: {places}; name each there once \
         (dns.listen takes UDP and TCP), or remove it from the .socket unit: whoever asks at a socket that \
         nobody reads waits in vain"
    )]
    Unused { places: String },
}

impl Passed {
    /// To be called first of all: what it takes from the environment nobody else shall see. Those that are
    /// passed to another process are left alone.
    pub fn from_environment() -> Result<Passed, PassedError> {
        let mut listed = ListenFd::from_env();
        let mut waiting = Vec::new();
        for number in 0..listed.len() {
            let held = take(&mut listed, number)
                .map_err(|error| PassedError::Strange { number, why: error.to_string() })?;
            let place = held
                .place()
                .map_err(|error| PassedError::Strange { number, why: error.to_string() })?;
            if held.takes_both_versions() {
                return Err(PassedError::BothVersions { place: place.to_string() });
            }
            waiting.push((place, held));
        }
        Ok(Passed(Waiting(waiting)))
    }

    /// Every UDP socket of an address.
    pub fn udp(&mut self, address: SocketAddr) -> Vec<UdpSocket> {
        let mut found = Vec::new();
        while let Some(Held::Udp(socket)) = self.0.take(&Place::Udp(address)) {
            found.push(socket);
        }
        found
    }

    /// One UDP socket, where there is no use for several.
    pub fn udp_alone(&mut self, address: SocketAddr) -> Option<UdpSocket> {
        match self.0.take(&Place::Udp(address))? {
            Held::Udp(socket) => Some(socket),
            Held::Tcp(_) | Held::Unix(_) => None,
        }
    }

    pub fn tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        match self.0.take(&Place::Tcp(address))? {
            Held::Tcp(socket) => Some(socket),
            Held::Udp(_) | Held::Unix(_) => None,
        }
    }

    pub fn unix(&mut self, path: &Path) -> Option<UnixListener> {
        match self.0.take(&Place::Unix(path.to_owned()))? {
            Held::Unix(socket) => Some(socket),
            Held::Udp(_) | Held::Tcp(_) => None,
        }
    }

    /// That everything has been taken.
    pub fn none_left(self) -> Result<(), PassedError> {
        self.0.none_left()
    }
}

impl<T> Default for Waiting<T> {
    fn default() -> Waiting<T> {
        Waiting(vec![])
    }
}

impl<T> Waiting<T> {
    /// The first that is there, in the order in which they were passed.
    fn take(&mut self, wanted: &Place) -> Option<T> {
        let at = self.0.iter().position(|(place, _)| place == wanted)?;
        Some(self.0.remove(at).1)
    }

    fn none_left(&self) -> Result<(), PassedError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let places: Vec<String> = self.0.iter().map(|(place, _)| place.to_string()).collect();
        Err(PassedError::Unused { places: places.join(", ") })
    }
}

impl Held {
    fn place(&self) -> io::Result<Place> {
        match self {
            Held::Udp(socket) => Ok(Place::Udp(socket.local_addr()?)),
            Held::Tcp(socket) => {
                listens(SockRef::from(socket))?;
                Ok(Place::Tcp(socket.local_addr()?))
            }
            Held::Unix(socket) => {
                listens(SockRef::from(socket))?;
                let address = socket.local_addr()?;
                let path = address.as_pathname();
                Ok(Place::Unix(path.ok_or_else(|| io::Error::other("it has no path"))?.to_owned()))
            }
        }
    }

    /// As ours never do: an IPv6 address is taken for IPv6 only.
    fn takes_both_versions(&self) -> bool {
        let (socket, address) = match self {
            Held::Udp(socket) => (SockRef::from(socket), socket.local_addr()),
            Held::Tcp(socket) => (SockRef::from(socket), socket.local_addr()),
            Held::Unix(_) => return false,
        };
        address.is_ok_and(|address| address.is_ipv6() && address.ip().is_unspecified())
            && socket.only_v6().is_ok_and(|only| !only)
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Place::Udp(address) => write!(f, "UDP {address}"),
            Place::Tcp(address) => write!(f, "TCP {address}"),
            Place::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

fn take(listed: &mut ListenFd, number: usize) -> io::Result<Held> {
    if let Ok(Some(socket)) = listed.take_udp_socket(number) {
        return Ok(Held::Udp(socket));
    }
    if let Ok(Some(socket)) = listed.take_tcp_listener(number) {
        return Ok(Held::Tcp(socket));
    }
    let unix = listed.take_unix_listener(number);
    let unix = unix.map_err(|_| io::Error::other("it is no UDP, TCP or unix stream socket"))?;
    unix.map(Held::Unix).ok_or_else(|| io::Error::other("it was taken already"))
}

/// A connection, which `Accept=yes` passes, cannot be listened at.
fn listens(socket: SockRef<'_>) -> io::Result<()> {
    match socket.is_listener()? {
        true => Ok(()),
        false => Err(io::Error::other("nobody can connect to it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp(address: &str) -> Place {
        Place::Udp(address.parse().unwrap())
    }

    fn tcp(address: &str) -> Place {
        Place::Tcp(address.parse().unwrap())
    }

    #[test]
    fn a_place_is_an_address_and_what_it_is_for() {
        let admin = Place::Unix("/run/admin.sock".into());
        let mut waiting = Waiting(vec![
            (udp("192.0.2.1:53"), 0),
            (tcp("192.0.2.1:53"), 1),
            (udp("192.0.2.1:53"), 2),
            (udp("[2001:db8::1]:53"), 3),
            (admin.clone(), 4),
        ]);
        let mut check =
            |wanted: &Place, expected| assert_eq!(waiting.take(wanted), expected, "{wanted}");
        check(&udp("192.0.2.1:54"), None);
        check(&udp("0.0.0.0:53"), None);
        check(&udp("192.0.2.1:0"), None);
        check(&tcp("[2001:db8::1]:53"), None);
        check(&Place::Unix("/run/admin".into()), None);
        // Those that share an address, in their order.
        check(&udp("192.0.2.1:53"), Some(0));
        check(&udp("192.0.2.1:53"), Some(2));
        check(&udp("192.0.2.1:53"), None);
        check(&tcp("192.0.2.1:53"), Some(1));
        let left = waiting.none_left().unwrap_err().to_string();
        assert!(
            left.contains(": UDP [2001:db8::1]:53, /run/admin.sock; name each there"),
            "{left}"
        );
        assert_eq!(waiting.take(&udp("[2001:db8::1]:53")), Some(3));
        assert_eq!(waiting.take(&admin), Some(4));
        assert!(waiting.none_left().is_ok());
    }

    #[test]
    fn what_a_socket_is_is_asked_of_the_kernel() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        assert_eq!(Held::Tcp(socket).place().unwrap(), Place::Tcp(address));
        let new = |address: &str, only_v6| {
            let socket =
                socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None).unwrap();
            socket.set_only_v6(only_v6).unwrap();
            let address: SocketAddr = address.parse().unwrap();
            socket.bind(&address.into()).unwrap();
            Held::Udp(socket.into())
        };
        assert!(new("[::]:0", false).takes_both_versions());
        assert!(!new("[::]:0", true).takes_both_versions());
        // Bound to one address it takes that alone.
        assert!(!new("[::1]:0", false).takes_both_versions());
    }
}
