//! One small zone, for tests of how queries come and answers leave.

use std::io;
use std::path::Path;
use std::sync::Arc;

use gslb_dns::answer::{Asker, MAX_STREAM, Transport, answer};
use gslb_dns::health::board::Board;
use gslb_dns::ids::ServiceId;
use gslb_dns::name::{Name, NameKey};
use gslb_dns::record::RecordType;
use gslb_dns::snapshot::{Groundwork, Snapshot};
use gslb_dns::world::World;
use gslb_dns::zone::{Zone, master};

/// A service that the zone names and the world does not have: asking for it is a bug of ours.
const NOWHERE: ServiceId = ServiceId(7);

/// `www` has an address, `many` 1 KB of text, `big` some 30 KB, `broken` a service that is not there.
pub fn snapshot() -> Snapshot {
    let text = "@ 60 SOA ns host 1 2 3 4 5\n@ 60 NS ns\nns 60 A 192.0.2.53\nwww 60 A 192.0.2.1\n";
    let strings = |n| format!("big 60 TXT \"{n} {}\"\n", "x".repeat(240));
    let text = (0..120).map(strings).fold(text.to_owned(), |text, line| text + &line);
    let text = (0..4).map(strings).fold(text, |text, line| text + &line.replace("big", "many"));
    let mut no_files = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let origin = name("");
    let master = master::parse(Path::new("zone"), text.as_bytes(), &origin, &mut no_files).unwrap();
    let zone = Zone::build(origin, master.records, &[(name("broken"), NOWHERE)]).unwrap();
    let world = World::of_zone(zone);
    Snapshot::new(Arc::new(Groundwork::new(world)), Board::of(0, vec![]))
}

pub fn name(label: &str) -> Name {
    let text = if label.is_empty() { "example.".into() } else { format!("{label}.example.") };
    Name::parse(text.as_bytes(), None).unwrap()
}

/// A: `www`; TXT: all others.
pub fn query(id: u16, label: &str) -> Vec<u8> {
    let rtype = if label == "www" { RecordType::A } else { RecordType::TXT };
    let header = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    [&id.to_be_bytes(), &header[..], name(label).wire(), &rtype.0.to_be_bytes(), &[0, 1]].concat()
}

pub fn answered(id: u16, label: &str, transport: Transport) -> Vec<u8> {
    let asker = Asker { address: [127, 0, 0, 1].into(), transport, now: 0 };
    let mut out = vec![0; MAX_STREAM];
    let answer =
        answer(&snapshot(), "test", &query(id, label), &asker, &mut NameKey::default(), &mut out)
            .unwrap();
    out.truncate(answer.length);
    out
}
