//! `places`: any text as a range list; a database built from it is one that we take.
//!
//! Input: `[format, text]`.

#![no_main]

use geoip::build::{BuildError, Format, Label, List, ranges_to_mmdb};
use geoip::{Database, OpenError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((which, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let format = match which {
        b'4' => Format::Ipv4Ranges,
        b'6' => Format::Ipv6Ranges,
        _ => Format::Places,
    };
    let list = List { name: "list", format, text };
    let built = match ranges_to_mmdb(&[list], &Label { description: "fuzz", build_epoch: 0 }) {
        Ok(built) => built,
        Err(error @ BuildError::Line { .. }) => {
            return assert!(error.to_string().starts_with("list:"));
        }
        Err(error) => panic!("{error:?}"),
    };
    match Database::from_bytes("built.mmdb", built.mmdb) {
        Ok(database) => assert!(built.ranges > 0 && database.networks() >= 1),
        // A list may say of every prefix that nothing is known.
        Err(OpenError::NoPlaces { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }
});
