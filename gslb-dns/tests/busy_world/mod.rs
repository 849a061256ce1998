//! A world with every step and fail mode, a large zone, and operators who have said something of its sites.

use std::sync::Arc;

use gslb_dns::health::board::{Board, Health};
use gslb_dns::health::last_known::LastKnown;
use gslb_dns::health::overrides::{Glob, Order, Override};
use gslb_dns::metrics::Metrics;
use gslb_dns::snapshot::{Groundwork, Snapshot};
use jiff::Timestamp;

use crate::small_world;

const ZONE: &str = "
$TTL 1h
@       SOA   ns1 hostmaster 1 4h 15m 2w 5
        NS    ns1
        NS    ns.sub
ns1     A     198.51.100.53
host    A     198.51.100.1
        AAAA  2001:db8::1
        TXT   \"some text\"
blog    CNAME www
news    CNAME blog
lost    CNAME nowhere
*.dev   A     198.51.100.99
tree    DNAME dev
sub     NS    ns.sub
ns.sub  A     198.51.100.54
many    A     10.0.0.1
$GENERATE 2-99 many A 10.0.0.$
; So many that answers wait for memory, and look-ups are fetched ahead.
$GENERATE 1-20000 n$ A 10.0.0.1
";

const WORLD: &str = r#"
[geoip.overrides]
"81.0.0.0/8"  = { country = "GB" }
"81.2.0.0/16" = { country = "DE", asn = 64500 }
"63.0.0.0/8"  = { country = "US", subdivision = "US-CA" }
"2a00::/12"   = { country = "FR" }
"127.0.0.0/8" = { country = "NL" }

[zone."example.com"]
file = "example.com.zone"

[site.fra]
place  = { country = "DE" }
vips   = ["198.51.100.10", "2001:db8:f::10"]
domain = "a"
[site.ams]
place  = { country = "NL" }
vips   = ["198.51.100.20", "2001:db8:f::20"]
domain = "b"
[site.iad]
place  = { country = "US" }
vips   = ["192.0.2.10", "2001:db8:a::10"]
domain = "a"
[site.nrt]
place = { country = "JP" }
vips  = ["203.0.113.10"]

[map.world]
default   = ["iad", "fra", "nrt"]
continent = { EU = [["fra", "ams"], "iad"] }
asn       = { 64500 = ["ams"] }
net       = { "81.2.69.0/24" = ["nrt"], "2a02:d280::/32" = ["nrt", "iad"] }

[service."www.example.com"]
sites = ["fra", "ams", "iad", "nrt"]
steer = [{ fence = "continent" }, "nearest"]
when_all_down = "open"
https = { alpn = ["h3", "h2"] }

[service."map.example.com"]
sites = ["fra", "ams", "iad", "nrt"]
steer = [{ fence = "country", strict = true }, { map = "world" }, "weighted"]
when_all_down = "last-known"

[service."sticky.example.com"]
sites = [{ site = "fra", weight = 5 }, "ams", "iad", { site = "nrt", weight = 0 }]
take  = 3
when_all_down = "open"

[service."down.example.com"]
sites = ["fra", "nrt"]
steer = ["failover"]
when_all_down = "static"
static = ["192.0.2.99"]
https = {}

[service."alt.example.com"]
sites = [
  { site = "fra", https = { target = "fra.example.net" } },
  { site = "ams", https = { target = "ams.example.net", port = 8443 } },
  { site = "iad", https = { target = "iad.example.net" } },
]
steer = [{ fence = "continent" }, "weighted"]
when_all_down = "open"
https = { alpn = ["h2"], alternatives = 3 }

[service."*.pool.example.com"]
sites = ["fra", "iad"]
steer = ["weighted"]
when_all_down = "open"

[service."cdn.example.com"]
sites = [{ site = "fra", cname = "www.example.com" }, { site = "iad", cname = "x.pool.example.com" }]
steer = [{ fence = "continent" }]
when_all_down = "open"
"#;

pub fn snapshot(metrics: &Metrics) -> Snapshot {
    let said = |service: &str, site: &str, order: Order| Override {
        site: Glob::new(site),
        service: Glob::new(service),
        order,
        who: "test".into(),
        why: "test".into(),
        since: Timestamp::UNIX_EPOCH,
        until: None,
    };
    let overrides = [
        said("down.*", "*", Order::Force(Health::Down)),
        said("map.*", "iad", Order::Drain { over: 0 }),
        said("sticky.*", "ams", Order::Weight(0)),
    ];
    let mut ground = Groundwork::new(small_world::world(WORLD, ZONE));
    ground.count_in(&metrics.world.ledgers);
    let ground = Arc::new(ground);
    let board = Board::build(
        1,
        &ground.world,
        &overrides.each_ref(),
        &LastKnown::default(),
        Timestamp::UNIX_EPOCH,
    );
    // The most that an answer can have to say of itself.
    Snapshot::new(ground, board).trusting(["127.0.0.0/8".parse().unwrap()].into())
}
