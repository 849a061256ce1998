//! The balancer of one site: a proxy for HTTP and TCP, checks of its backends, and the report of its capacity.

pub mod agent_check;
pub mod backends;
pub mod balance;
pub mod client;
pub mod config;
pub mod head;
pub mod ids;
pub mod outlier;
pub mod proxy_protocol;
pub mod retry;
pub mod route;
pub mod rules;
pub mod site;
pub mod slots;
