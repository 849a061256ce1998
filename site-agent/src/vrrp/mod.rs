//! Virtual routers (RFC 9568, and RFC 3768 for those that speak version 2): which box of a link has the VIPs.
//!
//! in:  (octets of a raw socket) ─▶ packet: ip ─▶ read ─▶ judge ─▶ machine
//! out: machine ─▶ (addresses, gratuitous ARP, a witness), packet: write ─▶ (a raw socket)
//!
//! Both rooms are pure. `packet` is octets to an advert or to the reason why not, and back; `machine` is one virtual
//! router: what became of it, and what is to be done. Time, the wall clock's too, comes in with each call.

pub mod advert;
pub mod machine;
pub mod packet;
#[cfg(test)]
mod tests;
