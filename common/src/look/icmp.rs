//! An echo over the system's ping sockets (`ping(7)`), which need no root where `net.ipv4.ping_group_range` lets our
//! group have them, for both families. The kernel fills in the identifier and the checksum.

use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::{Failure, Notes, Who, failed, since};
use crate::clock;
use crate::report::Reason;

const ECHO_V4: u8 = 8;
const REPLY_V4: u8 = 0;
const ECHO_V6: u8 = 128;
const REPLY_V6: u8 = 129;
const HEADER: usize = 8;

/// Behind the header stands our name: who reads a capture shall know who asks.
pub async fn look(address: IpAddr, who: Who, notes: &mut Notes) -> Result<(), Failure> {
    let (domain, protocol, echo, reply) = match address {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, ECHO_V4, REPLY_V4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, ECHO_V6, REPLY_V6),
    };
    let socket = open(domain, protocol)?;
    let socket =
        UdpSocket::from_std(socket.into()).map_err(|error| failed("opening a socket", &error))?;
    // Connected: what others send is not ours, and that we have no way there is told at once. What a router says of its
    // own ways such a socket does not hear: that look ends by its time.
    let peer = SocketAddr::new(address, 0);
    socket.connect(peer).await.map_err(|error| failed("sending an echo", &error))?;
    let mut datagram = vec![0; HEADER];
    datagram[0] = echo;
    datagram.extend_from_slice(who.name().as_bytes());
    let began = clock::monotonic();
    socket.send(&datagram).await.map_err(|error| failed("sending an echo", &error))?;
    let mut answer = [0; 64];
    loop {
        let length = socket
            .recv(&mut answer)
            .await
            .map_err(|error| failed("waiting for the echo", &error))?;
        // The kernel gives this socket only replies with its identifier; which one it is stands in the payload.
        let is_ours =
            length >= HEADER && answer[0] == reply && answer[HEADER..length] == datagram[HEADER..];
        if is_ours {
            notes.phases.first_byte = since(began);
            return Ok(());
        }
    }
}

fn open(domain: Domain, protocol: Protocol) -> Result<Socket, Failure> {
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(protocol));
    socket.map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                " (let our group ping: sysctl net.ipv4.ping_group_range)"
            }
            _ => "",
        };
        Failure::new(Reason::Probe, format!("opening a ping socket: {error}{hint}"))
    })
}
