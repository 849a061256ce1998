//! Every file of MaxMind's is taken, or refused for a stated reason.

use std::error::Error;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::Path;

use geoip::{Database, MAX_DATABASE_BYTES, OpenError, Source};

use crate::dice::{Dice, Rolled};
use crate::worlds::{atlas_of, maxmind, mmdb_files};

#[test]
fn every_good_file_opens_or_is_refused_for_what_it_is() {
    let mut files = Table::of("test-data");
    files.opens("GeoIP2-City-Shield-Test", 250);
    files.opens("GeoIP2-City-Test", 250);
    files.opens("GeoIP2-Country-Shield-Test", 345);
    files.opens("GeoIP2-Country-Test", 345);
    files.opens("GeoIP2-Enterprise-Shield-Test", 32);
    files.opens("GeoIP2-Enterprise-Test", 32);
    files.opens("GeoIP2-ISP-Test", 2129);
    files.opens("GeoIP2-Precision-Enterprise-Shield-Test", 59);
    files.opens("GeoIP2-Precision-Enterprise-Test", 59);
    files.opens("GeoLite2-ASN-Test", 412);
    files.opens("GeoLite2-City-Test", 242);
    files.opens("GeoLite2-Country-Test", 244);

    files.refused(
        "GeoIP-Anonymous-Plus-Test",
        r#"a "GeoIP-Anonymous-Plus" database, which holds no places"#,
    );
    files.refused(
        "GeoIP-Residential-Proxy-Test",
        r#"a "GeoIP-Residential-Proxy" database, which holds no places"#,
    );
    files.refused(
        "GeoIP2-Anonymous-IP-Test",
        r#"a "GeoIP2-Anonymous-IP" database, which holds no places"#,
    );
    files.refused(
        "GeoIP2-Connection-Type-Test",
        r#"a "GeoIP2-Connection-Type" database, which holds no places"#,
    );
    files.refused(
        "GeoIP2-DensityIncome-Test",
        r#"a "GeoIP2-DensityIncome" database, which holds no places"#,
    );
    files.refused("GeoIP2-Domain-Test", r#"a "GeoIP2-Domain" database, which holds no places"#);
    files.refused("GeoIP2-IP-Risk-Test", r#"a "GeoIP2-IP-Risk" database, which holds no places"#);
    files.refused(
        "GeoIP2-Static-IP-Score-Test",
        r#"a "GeoIP2-Static-IP-Score" database, which holds no places"#,
    );
    files.refused(
        "GeoIP2-User-Count-Test",
        r#"a "GeoIP2-User-Count" database, which holds no places"#,
    );
    files.refused(
        "MaxMind-DB-test-decoder",
        r#"a "MaxMind DB Decoder Test" database, which holds no places"#,
    );
    files.refused(
        "MaxMind-DB-test-pointer-decoder",
        r#"a "MaxMind DB Decoder Test" database, which holds no places"#,
    );
    files.refused(
        "MaxMind-DB-test-nested",
        r#"a "MaxMind DB Nested Data Structures" database, which holds no places"#,
    );
    files.refused(
        "MaxMind-DB-test-metadata-pointers",
        r#"a "Lots of pointers in metadata" database, which holds no places"#,
    );
    for family in ["ipv4", "ipv6", "mixed"] {
        for record_size in [24, 28, 32] {
            let name = format!("MaxMind-DB-test-{family}-{record_size}");
            files.refused(&name, r#"a "Test" database, which holds no places"#);
        }
    }
    files.refused("MaxMind-DB-no-ipv4-search-tree", "the record of ::/64 is not a place");
    files.refused("MaxMind-DB-string-value-entries", "the record of 1.1.1.1/32 is not a place");

    // These four are broken on purpose; the README beside them says so.
    files.refused("GeoIP2-City-Test-Broken-Double-Format", "double of size ");
    files.refused(
        "GeoIP2-City-Test-Invalid-Node-Count",
        "search tree extends beyond the metadata section",
    );
    files.refused(
        "MaxMind-DB-test-broken-pointers-24",
        "data pointer resolves to an invalid location",
    );
    files.refused("MaxMind-DB-test-broken-search-tree-24", "cycle or invalid structure");
    files.finish();
}

#[test]
fn every_corrupt_file_is_refused() {
    let mut files = Table::of("bad-data");
    files.refused("libmaxminddb/libmaxminddb-metadata-marker-only", "unexpected end of buffer");
    files.refused("libmaxminddb/libmaxminddb-offset-integer-overflow", "unexpected end of buffer");
    files.refused("libmaxminddb/libmaxminddb-uint64-max-epoch", "Unix timestamp is too large");
    files.refused("maxminddb-golang/cyclic-data-structure", "u16 of size 1");
    files.refused("maxminddb-golang/invalid-bytes-length", "unexpected end of buffer");
    files.refused("maxminddb-golang/invalid-data-record-offset", "double of size 6");
    files.refused("maxminddb-golang/invalid-map-key-length", "u16 of size 1");
    files.refused("maxminddb-golang/invalid-string-length", "unexpected end of buffer");
    files.refused("maxminddb-golang/metadata-is-an-uint128", "expected map, got type 10");
    files.refused("maxminddb-golang/unexpected-bytes", "expected array, got type 4");
    files.refused(
        "maxminddb-python/bad-unicode-in-map-key",
        "data pointer resolves to an invalid location",
    );
    // Refused before the fault they were made for is reached, so the database room's own tests read these
    // past the verifier.
    for fault in [
        "corrupt-search-tree",
        "deep-array-nesting",
        "deep-nesting",
        "empty-array-last-in-metadata",
        "empty-map-last-in-metadata",
        "oversized-array",
        "oversized-map",
        "separator-record-max-left",
        "separator-record-min-left",
        "separator-record-min-right",
    ] {
        files.refused(
            &format!("libmaxminddb/libmaxminddb-{fault}"),
            "description - Expected: non-empty map",
        );
    }
    files.finish();
}

/// Files of a folder that a test has not spoken of yet.
struct Table {
    folder: &'static str,
    left: Vec<String>,
}

impl Table {
    fn of(folder: &'static str) -> Table {
        Table { folder, left: mmdb_files(folder) }
    }

    fn opens(&mut self, name: &str, networks: usize) {
        let database = self.open(name).unwrap();
        assert_eq!(database.networks(), networks, "{name}");
    }

    fn refused(&mut self, name: &str, reason: &str) {
        let refusal = chain(&self.open(name).expect_err(name));
        assert!(refusal.contains(reason), "{name}: {refusal}");
        assert!(refusal.contains(&format!("{name}.mmdb: ")), "names the file: {refusal}");
    }

    fn open(&mut self, name: &str) -> Result<Database, OpenError> {
        let file = format!("{}/{name}.mmdb", self.folder);
        self.left.retain(|left| *left != file);
        Database::from_bytes(&file, fs::read(maxmind(&file)).unwrap())
    }

    fn finish(self) {
        assert!(self.left.is_empty(), "no line speaks of {:?}", self.left);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_refused_by_its_path() {
    let check = |path: &Path, refusal: &str| {
        let error = chain(&Database::open(path).unwrap_err());
        assert!(error.starts_with(&format!("{}: {refusal}", path.display())), "{error}");
    };
    let dir = tempfile::tempdir().unwrap();
    check(
        &dir.path().join("none.mmdb"),
        "cannot be read; check that it exists and that we may read it: No such file",
    );
    check(
        dir.path(),
        "cannot be read; check that it exists and that we may read it: Is a directory",
    );

    let empty = dir.path().join("empty.mmdb");
    File::create(&empty).unwrap();
    check(&empty, "not a sound mmdb file; fetch it again or go back to the copy before: ");

    let large = dir.path().join("large.mmdb");
    File::create(&large).unwrap().set_len(MAX_DATABASE_BYTES + 1).unwrap(); // Sparse: takes no room.
    check(&large, "larger than 1073741824 bytes");
}

#[test]
fn a_database_is_known_by_its_name_its_kind_and_its_age() {
    let database = Database::open(&maxmind("test-data/GeoLite2-City-Test.mmdb")).unwrap();
    assert_eq!((database.name(), database.kind()), ("GeoLite2-City-Test.mmdb", "GeoLite2-City"));
    assert!(database.build_epoch() > 1_700_000_000, "{}", database.build_epoch());
}

#[test]
fn a_damaged_file_is_refused_or_still_answers() {
    let mut dice = Dice::new();
    let good = fs::read(maxmind("test-data/GeoLite2-City-Test.mmdb")).unwrap();
    let (mut refused, mut answered) = (0, 0);
    for _ in 0..200 {
        let mut bytes = good.clone();
        for _ in 0..=dice.below(3) {
            let at = dice.below(bytes.len());
            bytes[at] = dice.roll() as u8;
        }
        if dice.below(8) == 0 {
            bytes.truncate(dice.below(good.len()));
        }
        let Ok(database) = Database::from_bytes("damaged", bytes) else {
            refused += 1;
            continue;
        };
        let atlas = atlas_of(database);
        let compiled = atlas.compile();
        let addr = IpAddr::from(u128::rolled(&mut dice).to_be_bytes());
        let located = atlas.lookup(addr);
        assert!(compiled.places.contains(&located.place));
        assert!(matches!(located.source, Source::Databases(_) | Source::Nowhere));
        answered += 1;
    }
    // Both were met, or nothing was shown. One in nine or so is answered; fewer than one in thirty is met never.
    assert!(refused > 100 && answered > 5, "{refused} refused, {answered} answered");
}

/// An error and its causes, as the tool prints them.
fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}
