//! The balancer of one site: a proxy for HTTP and TCP, checks of its backends, and the report of its capacity.
//!
//! data:   (a client) ─▶ data ─▶ proxy_protocol, hello, tls ─▶ relay: head ─▶ client ─▶ route ─▶ worker: balance
//!         ─▶ upstream: slots ─▶ stream, splice, link ─▶ (a server)
//! health: rounds ─▶ check ─▶ (a server) ─▶ agent_check, rounds ─▶ upstream: backends ─▶ balance, slots
//!         relay ─▶ outlier ─▶ backends
//! again:  relay ─▶ retry ─▶ balance
//! log:    relay ─▶ access_log ─▶ log_file
//! config: config ─▶ site ─▶ balancer ─▶ listen, tls, upstream, check, data; changes (what a reload does, for people)
//! told:   upstream ─▶ voice ─▶ report ─▶ (`common::telling`, a name server)
//! ordered: runtime_socket ─▶ runtime ─▶ upstream: backends, check: rounds
//! shown:  balancer ─▶ metrics, status ─▶ admin, runtime; run is the shell
//! lease:  run ─▶ lease (that the balancer serves) ─▶ vrrp_service ─▶ lease (roles) ─▶ report
//! vrrp:   (the link, the kernel) ─▶ routers: netlink, vrrp ─▶ (the link, the kernel); a process of its own, of which
//!         vrrp_service is the shell. It names of the balancer's rooms config, site and metrics alone. vrrp_scan listens to
//!         whoever speaks on a link; vrrp_doctor brings that and what this box is like to vrrp_findings, which says what is wrong
//! moved:  (a keepalived.conf) ─▶ keepalived_files: import ─▶ (a site.toml)
//!
//! Without socket, clock, lock and dice is every room that decides: the list stands in `tests/tests/tidy/main.rs`.

pub mod access_log;
pub mod admin;
pub mod agent_check;
pub mod backends;
pub mod balance;
pub mod balancer;
pub mod changes;
pub mod check;
pub mod client;
pub mod config;
pub mod data;
pub mod head;
pub mod hello;
pub mod ids;
pub mod import;
pub mod keepalived_files;
pub mod lease;
pub mod link;
pub mod listen;
pub mod local_socket;
pub mod log_file;
pub mod metrics;
pub mod netlink;
pub mod outlier;
pub mod proxy_protocol;
pub mod relay;
pub mod report;
pub mod retry;
pub mod rounds;
pub mod route;
pub mod routers;
pub mod rules;
pub mod run;
pub mod runtime;
pub mod runtime_socket;
pub mod site;
pub mod slots;
pub mod splice;
pub mod status;
pub mod stream;
pub mod tls;
pub mod upstream;
pub mod voice;
pub mod vrrp;
pub mod vrrp_doctor;
pub mod vrrp_findings;
pub mod vrrp_scan;
pub mod vrrp_service;
pub mod worker;
