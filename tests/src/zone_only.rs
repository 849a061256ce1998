//! A server with one static zone and nothing to steer, asked in process.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use gslb_dns::answer::{Asker, MAX_STREAM, Transport, answer};
use gslb_dns::health::board::Board;
use gslb_dns::name::{Name, NameKey};
use gslb_dns::snapshot::{Groundwork, Snapshot};
use gslb_dns::world::World;
use gslb_dns::zone::{Zone, master};
use hickory_proto::op::Message;

/// Serves the zone in `text`. Panics, with every problem, if it is not sound.
pub fn serve(text: &str, origin: &Name) -> Snapshot {
    let mut nothing_else = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let master = master::parse(Path::new("zone"), text.as_bytes(), origin, &mut nothing_else)
        .unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
    let zone = Zone::build(origin.clone(), master.records, &[])
        .unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
    let world = World::of_zone(zone);
    Snapshot::new(Arc::new(Groundwork::new(world)), Board::of(0, vec![]))
}

/// Asks over a stream, so that nothing is cut short; `None` if there is no answer.
pub fn ask(snapshot: &Snapshot, packet: &[u8]) -> Option<Message> {
    let asker =
        Asker { address: IpAddr::V4(Ipv4Addr::LOCALHOST), transport: Transport::Tcp, now: 0 };
    let mut out = vec![0; MAX_STREAM];
    let answer = answer(snapshot, "test", packet, &asker, &mut NameKey::default(), &mut out)?;
    let message = Message::from_vec(&out[..answer.length]);
    Some(message.unwrap_or_else(|error| panic!("{error}: {:02x?}", &out[..answer.length])))
}

/// A plain query: no EDNS, RD unset.
pub fn plain_query(name: &Name, qtype: u16) -> Vec<u8> {
    let header = [0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    [&header[..], name.wire(), &qtype.to_be_bytes(), &[0, 1]].concat()
}
