//! The one world that the fuzzer asks, in three states of health, built once.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use gslb_dns::config;
use gslb_dns::cookie::{Secret, Secrets};
use gslb_dns::health::board::Board;
use gslb_dns::health::last_known::LastKnown;
use gslb_dns::health::supposition::Supposition;
use gslb_dns::snapshot::{Groundwork, Snapshot};

pub const NODE_NAME: &str = "dns1.fuzz";

pub static SECRETS: LazyLock<Secrets> = LazyLock::new(|| Secrets::new([Secret::new([7; 16])]));

/// All sites up; some down, some drained; none left.
pub static SNAPSHOTS: LazyLock<[Snapshot; 3]> = LazyLock::new(|| {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("world/world.toml");
    let world = config::load_world(&file).unwrap_or_else(|problems| panic!("{problems}"));
    let ground = Arc::new(Groundwork::new(world));
    let now = "2026-01-01T00:00:00Z".parse().expect("a constant time");
    let still = Board::build(1, &ground.world, &[], &LastKnown::default(), now);
    let states: [&[&str]; 3] = [&[], &["down=fra", "drained=iad"], &["down=*"]];
    states.map(|state| {
        let suppositions: Vec<Supposition> =
            state.iter().map(|text| text.parse().expect("a constant supposition")).collect();
        // Half of all IPv4 clients are told what they were answered from.
        let trusted = ["0.0.0.0/1".parse().expect("a constant network")];
        Snapshot::new(Arc::clone(&ground), still.supposing(&ground.world, &suppositions))
            .trusting(trusted.into())
    })
});
