//! What two daemons of this project need alike: who they are to each other, what is checked, how a run of results
//! becomes a state, and the reports in which that travels.
//!
//! check ─▶ target ─▶ assignment ─▶ look ─▶ seen ─▶ streak ─▶ report ─▶ (a name server judges)
//!
//! identity, authority, principal ─▶ mtls (what a daemon shows, and whom it believes) ─▶ every connection between daemons ─▶ renewal
//!
//! `check`, `target`, `assignment`, `site_assignment`, `streak`, `report`, `seen`, `principal`, `der`, `hex` and `validity` are pure: no
//! socket, no clock, no lock, no global. `look` is there for those who ask for the feature of that name: it needs
//! libraries that others need not. `config` reads what operators write and tells what is wrong with it, `names` lists some of many. `clock`, `entropy`,
//! `bounded` and `durable` are the shells' doors to time, chance and files, `capabilities` what is given up, `telemetry` and `notify` to the log and
//! the service manager, `lock` is the one mutex, `door` shows pages to people and scrapers; `wire` is a connection to a name server, `backoff` when to dial it
//! again, `telling` what a producer's streams of reports have alike; `duration` is how
//! people write one.

pub mod assignment;
pub mod authority;
pub mod backoff;
pub mod bounded;
pub mod capabilities;
pub mod check;
pub mod clock;
pub mod config;
pub mod der;
pub mod door;
pub mod durable;
pub mod duration;
pub mod entropy;
pub mod hex;
pub mod identity;
pub mod lock;
#[cfg(feature = "look")]
pub mod look;
pub mod mtls;
pub mod names;
pub mod notify;
pub mod principal;
pub mod renewal;
pub mod report;
pub mod seen;
pub mod site_assignment;
pub mod streak;
pub mod target;
pub mod telemetry;
pub mod telling;
pub mod validity;
pub mod wire;
