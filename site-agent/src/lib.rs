//! The balancer of one site: a proxy for HTTP and TCP, checks of its backends, and the report of its capacity.
//!
//! data:   (a client) ─▶ proxy_protocol ─▶ head ─▶ client ─▶ route ─▶ balance ─▶ slots ─▶ relay ─▶ (a server)
//! health: agent_check, outlier ─▶ backends ─▶ balance, slots
//! again:  relay ─▶ retry ─▶ balance
//! config: config ─▶ site ─▶ every room above, checked once, then trusted
//!
//! All but `config` and `relay` are pure: no socket, no clock, no lock, no dice.

pub mod agent_check;
pub mod backends;
pub mod balance;
pub mod client;
pub mod config;
pub mod head;
pub mod ids;
pub mod outlier;
pub mod proxy_protocol;
pub mod relay;
pub mod retry;
pub mod route;
pub mod rules;
pub mod site;
pub mod slots;
