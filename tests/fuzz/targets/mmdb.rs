//! `mmdb`: any octets as a database; one that is taken answers for every address.

#![no_main]

use std::net::IpAddr;
use std::sync::LazyLock;

use geoip::{Atlas, Database, Overrides};
use libfuzzer_sys::fuzz_target;

/// Ends of the address space, places of the seeds, and addresses that carry others.
static ADDRESSES: LazyLock<Vec<IpAddr>> = LazyLock::new(|| {
    let addresses = "0.0.0.0 1.1.1.1 2.125.160.216 81.2.69.142 89.160.20.112 127.255.255.255 128.0.0.0 \
         216.160.83.56 255.255.255.255 :: ::1 ::ffff:81.2.69.142 2001::1 2001:218:: 2001:220::1 \
         2002:5102:458e:: 64:ff9b::5102:458e 2a02:cf40:: 7fff:: 8000:: \
         ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    addresses.split_whitespace().map(|text| text.parse().expect("a constant address")).collect()
});

fuzz_target!(|octets: &[u8]| {
    let Ok(database) = Database::from_bytes("fuzz.mmdb", octets.to_vec()) else { return };
    assert!(!database.places().is_empty());
    let atlas = Atlas::new(vec![database], Overrides::none());
    let compiled = atlas.compile();
    for &address in &*ADDRESSES {
        let found = atlas.lookup(address);
        let address = read_as(address);
        assert!(found.network.contains(&address), "{address} is not in {}", found.network);
        // Both ways of asking say the same.
        let place = match address {
            IpAddr::V4(v4) => compiled.v4.find(v4.to_bits()).value,
            IpAddr::V6(v6) => compiled.v6.find(v6.to_bits()).value,
        };
        assert_eq!(compiled.places[place.index()], found.place, "{address}");
    }
});

/// The IPv4 address inside, if it carries one.
fn read_as(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => geoip::embedded(v6).map_or(address, |inside| inside.v4.into()),
        IpAddr::V4(_) => address,
    }
}
