//! What operators write: `probe.toml`, as it stands in the file.
//!
//! Mirrors the file key by key. Nothing is judged here: that is `check`'s.

use std::net::SocketAddr;
use std::time::Duration;

use common::check::KindWord;
use common::config::read::{At, Entries, List, Word, choose, table};
use common::config::report_to::ReportTo;

table! {
    File {
        probe: Probe,
        program: Option<Entries<At<Program>>>,
        admin: Option<Admin>,
    }
}

table! {
    Probe {
        name: At<String>,
        state_dir: At<String>,
        report_to: At<List<At<ReportTo>>>,
        ca: At<String>,
        certificate: At<String>,
        key: At<String>,
        crl: Option<At<String>>,
        roots: Option<At<String>>,
        references: Option<List<At<Reference>>>,
        looks_at_once: Option<At<i64>>,
    }
}

table! {
    /// Something that has nothing to do with our sites and is up.
    Reference {
        kind: At<Kind>,
        address: At<String>,
        port: Option<At<i64>>,
        host: Option<At<String>>,
        path: Option<At<String>>,
        name: Option<At<String>>,
        r#type: Option<At<String>>,
        interval: Option<Duration>,
        timeout: Option<Duration>,
    }
}

table! {
    Program {
        path: At<String>,
        arguments: Option<List<String>>,
    }
}

table! {
    Admin {
        listen: At<SocketAddr>,
    }
}

/// How a reference is looked at: as checks are, where that needs no more words than a reference has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Tcp,
    Tls,
    Http,
    Https,
    Dns,
    Icmp,
}

impl Kind {
    const ALL: [Kind; 6] = [Kind::Tcp, Kind::Tls, Kind::Http, Kind::Https, Kind::Dns, Kind::Icmp];

    pub fn word(self) -> KindWord {
        match self {
            Kind::Tcp => KindWord::Tcp,
            Kind::Tls => KindWord::Tls,
            Kind::Http => KindWord::Http,
            Kind::Https => KindWord::Https,
            Kind::Dns => KindWord::Dns,
            Kind::Icmp => KindWord::Icmp,
        }
    }
}

impl Word for Kind {
    const EXPECTED: &'static str = "\"tcp\", \"tls\", \"http\", \"https\", \"dns\" or \"icmp\"";

    fn word(text: &str) -> Result<Kind, String> {
        choose(text, &Kind::ALL.map(|kind| (kind.word().as_str(), kind)))
    }
}
