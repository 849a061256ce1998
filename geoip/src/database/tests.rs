//! What is read past the verifier: a corrupt file must stop us, not break us.
//!
//! The verifier refuses many of MaxMind's corrupt files for a lesser fault, such as a missing description,
//! before it comes to the one they were made for. Here each is walked and decoded without it.

#![expect(clippy::disallowed_methods, reason = "the time that decoding takes is what is tested")]

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use maxminddb::LookupResult;

use super::*;

/// Far less than any thread has: what a file nests cannot reach us, its unknown fields are passed over.
const SMALL_STACK: usize = 256 << 10;

/// A value that keeps all it finds nests as deep as the reader goes, 512 levels, in unoptimised frames.
const DEEP_STACK: usize = 16 << 20;

#[test]
fn a_corrupt_file_read_past_the_verifier_stops_us_in_time() {
    for file in every_file() {
        within_a_second(&file, SMALL_STACK, |bytes| {
            let Ok(reader) = Reader::from_source(bytes) else {
                return;
            };
            let _ = Walk::over("corrupt", &reader);
            for_each_record(&reader, |result| {
                let _ =
                    result.decode::<Record<'_>>().map(|record| record.map(|record| record.place()));
            });
        });
    }
}

#[test]
fn a_corrupt_file_read_whole_past_the_verifier_stops_the_reader_in_time() {
    for file in every_file() {
        within_a_second(&file, DEEP_STACK, |bytes| {
            let Ok(reader) = Reader::from_source(bytes) else {
                return;
            };
            for_each_record(&reader, |result| {
                let _ = result.network();
                let _ = result.decode::<serde_json::Value>();
            });
        });
    }
}

/// Errors are welcome; panics, overflows and long times are not.
fn within_a_second(file: &Path, stack: usize, read: fn(Vec<u8>)) {
    let bytes = fs::read(file).unwrap();
    let begun = Instant::now();
    let reading = thread::Builder::new().stack_size(stack).spawn(move || read(bytes));
    reading.unwrap().join().unwrap_or_else(|_| panic!("{} broke us", file.display()));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1), "{}: {took:?}", file.display());
}

/// Every network that a walk comes to, without and with the copies of the IPv4 tree.
fn for_each_record(reader: &Reader<Vec<u8>>, mut read: impl FnMut(&LookupResult<'_, Vec<u8>>)) {
    let plain = WithinOptions::default();
    for options in [plain, plain.include_aliased_networks()] {
        let Ok(networks) = reader.networks(options) else {
            continue;
        };
        // A tree whose branches meet has more leaves than anyone can walk.
        let most = reader.metadata().node_count as usize * 4;
        networks.take(most).map_while(Result::ok).for_each(|result| read(&result));
    }
}

/// All of MaxMind's, the broken and the sound.
fn every_file() -> Vec<PathBuf> {
    let maxmind = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/maxmind"));
    let mut files = Vec::new();
    mmdb_files(&maxmind.join("bad-data"), &mut files);
    mmdb_files(&maxmind.join("test-data"), &mut files);
    assert_eq!(files.len(), 21 + 40);
    files
}

fn mmdb_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            mmdb_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "mmdb") {
            files.push(path);
        }
    }
}
