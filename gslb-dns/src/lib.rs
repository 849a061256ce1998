//! Authoritative DNS that answers with the sites fit to serve the client asking.
//!
//! query:   listen ─▶ query ─▶ zone ─▶ locate ─▶ steer ─▶ answer ─▶ listen
//! guard:   cookie, rate_limit ─────────────────────────────┘
//! log:     listen ─▶ dnstap, recording ─▶ query_log (threads of its own; nothing waits for them)
//! replay:  recording ─▶ replay (answer) ─▶ report
//! talkers: listen ─▶ talkers ─▶ gather ─▶ admin (a sample, counted by each thread for itself)
//! health:  orders, overrides ─▶ board ────────────┘  (in the snapshot: one Arc, swapped whole)
//! pki:     pki (a CA of one's own; no server runs any of it)
//! reports: control ─▶ inbox ─▶ judge ─▶ board (told by probes, bounded, in the order of their marks)
//!          control ─▶ inbox ─▶ inside ─▶ judge (told by sites' agents, and joined with that)
//! peers:   control ─▶ peers ─▶ judge, orders (what name servers hold and were ordered)
//! history: board ─▶ history ─▶ archive ─▶ explain (files; nobody who answers waits for them)
//! words:   cli ─▶ run, and every room that an operator asks
//! config:  config ─▶ every room above, checked once, then trusted; `prove` tells what they will do together
//!
//! Rooms that decide (`zone`, `locate`, `steer`, `health`, `orders`, `cookie`, `rate_limit`, `answer`, `prove` and
//! what they are made of) are pure: no socket, no clock, no lock, no global.

pub mod admin;
pub mod answer;
pub mod archive;
pub mod audit;
pub mod binding;
pub mod certificates;
pub mod cli;
pub mod config;
pub mod control;
pub mod cookie;
pub mod dnstap;
pub mod explain;
pub mod gather;
pub mod health;
pub mod history;
pub mod ids;
pub mod inbox;
pub mod inside;
pub mod judge;
pub mod keeper;
pub mod ledger;
pub mod listen;
pub mod locate;
pub mod metrics;
pub mod name;
pub mod orders;
pub mod parked;
pub mod passed;
pub mod peers;
pub mod pki;
pub mod policy;
pub mod privileges;
pub mod prove;
pub mod publish;
pub mod query;
pub mod query_log;
pub mod rate_limit;
pub mod record;
pub mod recording;
pub mod replay;
pub mod run;
pub mod sight;
pub mod site_set;
pub mod snapshot;
pub mod stamp;
pub mod status;
pub mod steer;
pub mod talkers;
pub mod tls;
pub mod verdict;
pub mod watch;
pub mod world;
pub mod zone;
