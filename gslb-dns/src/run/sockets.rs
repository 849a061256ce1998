//! Every socket of the server: what a service manager passed is taken, the rest is bound.

use std::io;
use std::net::{SocketAddr, TcpListener as TcpSocket, UdpSocket};
use std::thread;

use common::clock::unix_seconds;
use common::entropy;

use super::StartError;
use crate::admin::AdminSocket;
use crate::answer::Transport;
use crate::gather::Gatherer;
use crate::listen::quic::QuicListener;
use crate::listen::tcp::TcpListener;
use crate::listen::udp::UdpListener;
use crate::passed::Passed;
use crate::query_log::QueryLog;
use crate::talkers;
use crate::world::{DnsListeners, Node};

/// Tries to find one free port for both transports when port 0 is asked for.
const PORT_TRIES: usize = 16;

/// Every socket of the server, bound before anything answers.
pub(super) struct Sockets {
    /// Each address's UDP sockets, one a thread, with its TCP listener.
    pub(super) dns: Vec<(SocketAddr, Vec<UdpListener>, TcpListener)>,
    pub(super) tls: Vec<TcpListener>,
    pub(super) https: Vec<TcpListener>,
    pub(super) quic: Vec<QuicListener>,
    pub(super) control: Option<TcpSocket>,
    pub(super) admin: Option<TcpSocket>,
    pub(super) admin_socket: Option<AdminSocket>,
}

impl Sockets {
    /// Takes what is passed, and binds the rest.
    pub(super) fn bind(node: &Node, mut passed: Passed) -> Result<Sockets, StartError> {
        let DnsListeners { listen, threads, tls, https, quic, .. } = &node.dns;
        let threads =
            threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        let dns = listen.iter().map(|&address| bind_dns(address, threads, &mut passed));
        let dns = dns.collect::<Result<_, _>>()?;
        let control = node.control.as_ref().map(|control| control.listen);
        let control = control.map(|address| bind_one("control", address, &mut passed));
        let admin = node.admin.listen;
        let admin = admin.map(|address| bind_one("the admin door", address, &mut passed));
        let admin_socket = node.admin.socket.as_ref().map(|path| {
            let file = path.display().to_string();
            let given = passed.unix(path);
            let socket = given.map_or_else(|| AdminSocket::bind(path), AdminSocket::of);
            socket.map_err(|source| StartError::AdminSocket { file, source })
        });
        let tls = tls.as_ref().map(|tls| &tls.listen[..]).unwrap_or_default();
        let https = https.as_ref().map(|https| &https.listen[..]).unwrap_or_default();
        let (control, admin) = (control.transpose()?, admin.transpose()?);
        let admin_socket = admin_socket.transpose()?;
        let tls = bind_streams("DNS over TLS", tls, &mut passed)?;
        let https = bind_streams("DNS over HTTPS", https, &mut passed)?;
        let quic = quic.iter().flat_map(|quic| &quic.listen).map(|&address| {
            let what = "DNS over QUIC";
            let given = passed.udp_alone(address);
            let listener = given.map_or_else(|| QuicListener::bind(address), QuicListener::of);
            listener.map_err(|source| StartError::Listen { what, address, source })
        });
        let quic = quic.collect::<Result<_, _>>()?;
        passed.none_left()?;
        Ok(Sockets { dns, tls, https, quic, control, admin, admin_socket })
    }
}

impl Sockets {
    /// Gives every listener a tap of its own.
    pub(super) fn tapped(self, log: &mut QueryLog) -> Sockets {
        let mut tap = |transport, address| log.tap(transport, address, entropy::octets());
        let dns = self.dns.into_iter().map(|(address, udp, tcp)| {
            let udp = udp.into_iter().map(|udp| udp.tapped(tap(Transport::Udp, address)));
            (address, udp.collect(), tcp.tapped(tap(Transport::Tcp, address)))
        });
        let dns = dns.collect();
        let mut streams = |transport, listeners: Vec<TcpListener>| {
            let tapped = listeners.into_iter().map(|listener| match listener.local_address() {
                Ok(address) => listener.tapped(tap(transport, address)),
                Err(_) => listener,
            });
            tapped.collect()
        };
        let tls = streams(Transport::Tls, self.tls);
        let https = streams(Transport::Https, self.https);
        let quic = self.quic.into_iter().map(|listener| match listener.local_address() {
            Ok(address) => listener.tapped(tap(Transport::Quic, address)),
            Err(_) => listener,
        });
        let quic = quic.collect();
        Sockets { dns, tls, https, quic, ..self }
    }

    /// Has every UDP thread count who asks most.
    pub(super) fn counting(self) -> (Sockets, Option<Gatherer>) {
        let mut outlets = vec![];
        let mut counting = |udp: UdpListener| {
            let (counter, outlet) = talkers::counter(entropy::octets(), unix_seconds());
            outlets.push(outlet);
            udp.counting(counter)
        };
        let dns = self.dns.into_iter().map(|(address, udp, tcp)| {
            (address, udp.into_iter().map(&mut counting).collect(), tcp)
        });
        let dns = dns.collect();
        (Sockets { dns, ..self }, Some(Gatherer::new(outlets)))
    }
}

fn bind_one(
    what: &'static str,
    address: SocketAddr,
    passed: &mut Passed,
) -> Result<TcpSocket, StartError> {
    let socket = passed.tcp(address).map_or_else(|| TcpSocket::bind(address), Ok);
    socket
        .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
        .map_err(|source| StartError::Listen { what, address, source })
}

fn bind_streams(
    what: &'static str,
    addresses: &[SocketAddr],
    passed: &mut Passed,
) -> Result<Vec<TcpListener>, StartError> {
    let bind = |&address| {
        let socket = passed.tcp(address);
        let listener = socket.map_or_else(|| TcpListener::bind(address), TcpListener::of);
        listener.map_err(|source| StartError::Listen { what, address, source })
    };
    addresses.iter().map(bind).collect()
}

pub(super) fn addresses_of(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_address().ok()).collect()
}

fn bind_dns(
    address: SocketAddr,
    threads: usize,
    passed: &mut Passed,
) -> Result<(SocketAddr, Vec<UdpListener>, TcpListener), StartError> {
    let tcp_error = |source| StartError::Listen { what: "TCP", address, source };
    let udp_error = |source| StartError::Listen { what: "UDP", address, source };
    let (udp, tcp) = (passed.udp(address), passed.tcp(address));
    if !udp.is_empty() || tcp.is_some() {
        let tcp = tcp.map_or_else(|| TcpListener::bind(address), TcpListener::of);
        let udp = match &udp[..] {
            [] => (0..threads).map(|_| UdpListener::bind(address)).collect(),
            udp => share(udp, threads),
        };
        return Ok((address, udp.map_err(udp_error)?, tcp.map_err(tcp_error)?));
    }
    let mut tries = 1..=PORT_TRIES;
    loop {
        let tcp = TcpListener::bind(address).map_err(tcp_error)?;
        let chosen = tcp.local_address().map_err(tcp_error)?;
        match (0..threads).map(|_| UdpListener::bind(chosen)).collect::<Result<Vec<_>, _>>() {
            Ok(udp) => return Ok((chosen, udp, tcp)),
            // A port that is free for TCP may be taken for UDP: only with port 0 can we look on.
            Err(_) if address.port() == 0 && tries.next().is_some() => {}
            Err(source) => return Err(udp_error(source)),
        }
    }
}

/// Sockets among threads, each to one at least: what comes to one that nobody reads is lost.
fn share(sockets: &[UdpSocket], threads: usize) -> io::Result<Vec<UdpListener>> {
    let each = sockets.iter().cycle().take(threads.max(sockets.len()));
    each.map(|socket| UdpListener::of(socket.try_clone()?)).collect()
}
