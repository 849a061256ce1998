//! A reference target, as it is written: like a check of the world, with what suits most left out.

use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::time::Duration;

use common::check::{
    Check, Dns, Http, Https, Kind, Method, Statuses, Tcp, Timing, Tls, UsualPort, Version,
};
use common::config::problems::Problems;
use common::config::read::At;
use common::config::settle::within;
use common::streak::Thresholds;
use common::target::{Address, Target};

use super::file;

const PORTS: RangeInclusive<i64> = 1..=65_535;
const INTERVAL: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(2);
/// They speak for this probe alone, which is better blind for a moment than wrong.
const TWICE: NonZeroU16 = NonZeroU16::new(2).expect("2 is not 0");
const THRESHOLDS: Thresholds = Thresholds { rise: TWICE, fall: TWICE, ok: TWICE };

/// `None` if anything is wrong with it.
pub fn reference(raw: At<file::Reference>, problems: &mut Problems) -> Option<Target> {
    let At { value: raw, spot } = raw;
    let file::Reference { kind, address, port, host, path, name, r#type, interval, timeout } = raw;
    let (kind, address) = (kind?.value, address?.value);
    let (path, name, rtype) = (path?, name?, r#type?);
    let is_http = matches!(kind, file::Kind::Http | file::Kind::Https);
    let is_dns = kind == file::Kind::Dns;
    for (written, belongs) in [(&path, is_http), (&name, is_dns), (&rtype, is_dns)] {
        if let (Some(written), false) = (written, belongs) {
            problems.add(written.spot.problem("means nothing for this kind; remove it"));
        }
    }
    let port = match (port?, kind.word().port()) {
        (Some(port), _) => problems.one(within(&port, PORTS))?,
        (None, UsualPort::Is(usual)) => usual,
        (None, UsualPort::None) => 0,
        (None, UsualPort::Unknown) => {
            problems.add(spot.problem("port is missing (expected where it listens, as a number)"));
            return None;
        }
    };
    let http = |path: Option<At<String>>| Http {
        version: Version::Any,
        method: Method::Get,
        path: path.map_or_else(|| "/".to_owned(), |path| path.value),
        headers: vec![],
        status: Statuses::default(),
        expect_headers: vec![],
        expect_body: None,
    };
    let kind = match kind {
        file::Kind::Tcp => Kind::Tcp(Tcp::default()),
        file::Kind::Tls => Kind::Tls(Tls::default()),
        file::Kind::Http => Kind::Http(http(path)),
        file::Kind::Https => Kind::Https(Https { http: http(path), tls: Tls::default() }),
        // What every name server that resolves, or serves the root, knows.
        file::Kind::Dns => Kind::Dns(Dns {
            name: name.map_or_else(|| ".".to_owned(), |name| name.value),
            rtype: rtype.map_or_else(|| "NS".to_owned(), |rtype| rtype.value),
            expect: None,
        }),
        file::Kind::Icmp => Kind::Icmp,
    };
    let interval = interval?.unwrap_or(INTERVAL);
    let timeout = timeout?.unwrap_or_else(|| TIMEOUT.min(interval / 2));
    let check = Check { kind, timing: Timing::new(interval, timeout, THRESHOLDS) };
    let host = host?.map_or_else(|| address.clone(), |host| host.value);
    let address = address.parse().map_or_else(|_| Address::Name(address), Address::Ip);
    let target = Target { address, port, host, check };
    let faults = target.faults();
    for fault in &faults {
        problems.add(spot.problem(fault.to_string()));
    }
    faults.is_empty().then_some(target)
}
