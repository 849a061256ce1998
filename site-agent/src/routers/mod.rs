//! The virtual routers of this box as they run: the shell around `vrrp`, one thread that never waits for anybody.
//!
//! run: netlink ─▶ ground ─▶ router ─▶ (machine) ─▶ router ─▶ netlink, adverts, frames
//!      adverts ─▶ (packet) ─▶ router · timer ─▶ router · orders ─▶ run
//! out: router ─▶ shown (counters and standings) · tell ─▶ (whoever writes the log)
//!
//! In each turn news of the kernel come first, then packets, then orders, then timers: no router is thought dead whose
//! adverts lie unread, and no address is put where an interface is no more.

pub mod adverts;
pub mod expects;
pub mod frames;
mod ground;
pub mod realtime;
mod router;
mod run;
pub mod shown;
pub mod tell;

pub use self::run::{Orders, Refused, Running};
