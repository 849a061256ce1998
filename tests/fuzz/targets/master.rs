//! `master`: any text as a master file, and its records as a zone.

#![no_main]

use std::io;
use std::path::Path;
use std::sync::LazyLock;

use gslb_dns::name::Name;
use gslb_dns::name::NameKey;
use gslb_dns::record::Record;
use gslb_dns::zone::master::{self, Master};
use gslb_dns::zone::{Match, Zone, master::rdata::display_rdata};
use libfuzzer_sys::fuzz_target;

static ORIGIN: LazyLock<Name> = LazyLock::new(|| "example.com".parse().expect("a constant name"));
/// Records of one input that are presented and read again.
const READ_AGAIN: usize = 64;

fuzz_target!(|text: &[u8]| {
    if generates_much(text) {
        return;
    }
    let Ok(master) = read(text) else { return };
    assert_eq!(master.records.len(), master.places.len());
    for record in master.records.iter().take(READ_AGAIN) {
        presented_and_read_again(record);
    }
    let within: Vec<Record> =
        master.records.into_iter().filter(|record| record.owner.is_within(&ORIGIN)).collect();
    let owners: Vec<Name> = within.iter().map(|record| record.owner.clone()).collect();
    let Ok(zone) = Zone::build(ORIGIN.clone(), within, &[]) else { return };
    for owner in owners.iter().take(READ_AGAIN) {
        let key = NameKey::of(owner.wire()).expect("a name that stands in a zone");
        assert_ne!(zone.search(&key), Match::Nothing, "{owner}");
    }
});

/// Many records are well within what a zone may have, and only take time here.
fn generates_much(text: &[u8]) -> bool {
    let text = text.to_ascii_lowercase();
    let mut directives = text.windows(9).filter(|window| window == b"$generate");
    let has_directive = directives.next().is_some();
    let digits = text.split(|byte| !byte.is_ascii_digit());
    has_directive && (directives.next().is_some() || digits.into_iter().any(|run| run.len() > 3))
}

fn read(text: &[u8]) -> Result<Master, Vec<master::Problem>> {
    let mut nothing_else = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let read = master::parse(Path::new("z"), text, &ORIGIN, &mut nothing_else);
    if let Err(problems) = &read {
        assert!(!problems.is_empty(), "refused without a problem");
        for problem in problems {
            assert!(!problem.to_string().is_empty());
        }
    }
    read
}

fn presented_and_read_again(record: &Record) {
    let Record { owner, ttl, rtype, rdata } = record;
    let text = format!("{owner} {ttl} IN {rtype} {}\n", display_rdata(*rtype, rdata));
    let again = read(text.as_bytes());
    let again = again.unwrap_or_else(|problems| panic!("{text:?}: {problems:?}"));
    assert_eq!(again.records, [record.clone()], "{text:?}");
    assert_eq!(again.records[0].owner.wire(), owner.wire(), "{text:?}: the case of the owner");
}
