//! `recording`: any octets as a recording, with checks put right so that it is read beyond them; what it says is
//! written again and read again.
//!
//! Input: the items of one block, behind the number of its queries.

#![no_main]

use std::sync::Arc;

use gslb_dns::recording::{
    Asked, BlockWriter, Header, MAX_BLOCK, Outcome, Query, ReadError, Reader, State,
};
use gslb_dns::replay::{queries_line, queries_object};
use gslb_dns::world::{Clients, Epoch, Sample};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // As it is: its checks are hardly ever good.
    drop(read(input));
    let Some((&queries, items)) = input.split_first() else { return };
    let file = [&header()[..], &block(queries.into(), items)].concat();
    let (told, error) = read(&file);
    if error.is_none() {
        assert_eq!(told.len(), usize::from(queries));
    }
    if told.is_empty() {
        return;
    }
    let mut writer = BlockWriter::new(Clients::Whole);
    for one in &told {
        writer.state(&one.state);
        let outcome = writer.outcome(&one.outcome);
        writer.query(&one.query(), outcome);
    }
    // Said anew for each query it may be more than a block takes.
    let Some(again) = writer.finish() else { return assert!(items.len() > MAX_BLOCK / 256) };
    let (again, error) = read(&[&header()[..], again].concat());
    assert!(error.is_none(), "{error:?}");
    assert!(again == told);
});

/// A query that outlives its block.
#[derive(PartialEq)]
struct Told {
    query: Query<'static>,
    name: Vec<u8>,
    outcome: Outcome,
    state: State,
}

impl Told {
    fn of(asked: &Asked<'_>) -> Told {
        let query = Query { name: &[], ..asked.query };
        let query = Query::<'static> {
            name: b"",
            at: query.at,
            transport: query.transport,
            edns: query.edns,
            sent: query.sent,
            qtype: query.qtype,
            resolver: query.resolver,
            subnet: query.subnet,
        };
        let (name, outcome) = (asked.query.name.to_vec(), asked.outcome.clone());
        Told { query, name, outcome, state: asked.state }
    }

    fn query(&self) -> Query<'_> {
        Query { name: &self.name, ..self.query }
    }
}

fn read(file: &[u8]) -> (Vec<Told>, Option<ReadError>) {
    let mut reader = match Reader::open(file) {
        Ok(reader) => reader,
        Err(error) => return (vec![], Some(error)),
    };
    let mut told = vec![];
    loop {
        match reader.next() {
            Ok(Some(asked)) => {
                assert!(!queries_line(&asked).is_empty());
                assert!(queries_object(&asked).is_object());
                told.push(Told::of(&asked));
            }
            Ok(None) => return (told, None),
            Err(error) => {
                assert!(matches!(reader.next(), Ok(None) | Err(_)), "read on after {error}");
                return (told, Some(error));
            }
        }
    }
}

fn header() -> Vec<u8> {
    let node: Arc<str> = "fuzz".into();
    let (sample, clients) = (Sample::ALL, Clients::Whole);
    Header { node: (&*node).into(), started: 0, sample, clients, epoch: Epoch([0; 32]) }.to_octets()
}

/// With good checks (docs/recording.md).
fn block(queries: u32, items: &[u8]) -> Vec<u8> {
    let head = [items.len() as u32, queries, crc32(items)].map(u32::to_be_bytes).concat();
    [&head[..], &crc32(&head).to_be_bytes(), items].concat()
}

/// Bit by bit, so that it shares no line with ours.
fn crc32(octets: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for bit in octets.iter().flat_map(|octet| (0..8).map(move |bit| u32::from(octet >> bit & 1))) {
        crc = if (crc ^ bit) & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    }
    !crc
}
