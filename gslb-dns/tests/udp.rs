//! DNS over UDP as clients meet it: the real worker on a real socket, one small zone.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod small_zone;

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use gslb_dns::answer::Transport;
use gslb_dns::listen::batch::{Exchange, ReplyFrom};
use gslb_dns::listen::udp::Worker;
use gslb_dns::metrics::{Metrics, Tally};
use gslb_dns::publish::Published;

use small_zone::{answered, query, snapshot};

/// A server's, and one that is connected to it.
fn sockets() -> (UdpSocket, UdpSocket) {
    let [server, client] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    client.connect(server.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    (server, client)
}

#[test]
fn a_panic_costs_its_packet_and_is_counted() {
    let (server, client) = sockets();
    let tally = Arc::new(Tally::new(Transport::Udp));
    let metrics = Metrics::new(vec![Arc::clone(&tally)]);
    let published = Published::new(snapshot());
    let mut worker = Worker::new(&server, ReplyFrom::Socket, &published, "test", None, &tally);
    let asked = ["www", "broken", "nothing", "broken", "broken", "www"];
    for (label, id) in asked.iter().zip(1..) {
        client.send(&query(id, label)).unwrap();
    }
    // Loopback has delivered them all: one batch.
    assert_eq!(worker.turn(Exchange::receive), asked.len());
    let mut room = [0; 1232];
    for (label, id) in [("www", 1), ("nothing", 3), ("www", 6)] {
        let length = client.recv(&mut room).unwrap();
        assert_eq!(room[..length], answered(id, label, Transport::Udp), "{label}");
    }
    let text = metrics.text();
    assert!(text.contains("gslb_dns_panics_total{transport=\"udp\"} 3"), "{text}");
    assert!(
        text.contains("gslb_dns_answers_total{rcode=\"NOERROR\",transport=\"udp\"} 2"),
        "{text}"
    );
    // The worker goes on.
    client.send(&query(7, "www")).unwrap();
    assert_eq!(worker.turn(Exchange::receive), 1);
    assert_eq!(client.recv(&mut room).unwrap(), answered(7, "www", Transport::Udp).len());
}

/// A query for `www` of so many octets: padded (RFC 7830), so that all of it is well formed.
fn padded(octets: usize) -> Vec<u8> {
    let mut packet = query(1, "www");
    // One record more: OPT, and in it the padding.
    packet[11] += 1;
    let padding = u16::try_from(octets - packet.len() - 15).unwrap();
    packet.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0]);
    packet.extend((padding + 4).to_be_bytes());
    packet.extend([0, 12]);
    packet.extend(padding.to_be_bytes());
    packet.resize(octets, 0);
    packet
}

#[test]
fn a_datagram_has_room_and_a_batch_has_places() {
    let (server, client) = sockets();
    let tally = Arc::new(Tally::new(Transport::Udp));
    let published = Published::new(snapshot());
    let mut worker = Worker::new(&server, ReplyFrom::Socket, &published, "test", None, &tally);
    let mut room = [0; 1232];
    for (octets, rcode) in [(1472, 0), (1473, 1)] {
        client.send(&padded(octets)).unwrap();
        assert_eq!(worker.turn(Exchange::receive), 1);
        client.recv(&mut room).unwrap();
        assert_eq!(room[3] & 0xf, rcode, "{octets} octets");
    }
    for id in 0..65 {
        client.send(&query(id, "www")).unwrap();
    }
    assert_eq!(worker.turn(Exchange::receive), 64);
    assert_eq!(worker.turn(Exchange::receive), 1);
}
