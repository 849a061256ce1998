//! Virtual routers on links of their own, in network namespaces: pairs of ours, and ours beside Debian's keepalived.
//!
//! Adverts, addresses, ARP and faults are real; what is waited for is what the kernels have and what services say.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod balancers;
mod boxes;
mod doctor;
mod faults;
mod interop;
mod notify;
mod pair;
mod scan;
mod service;
mod tracks;
