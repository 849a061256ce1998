//! Virtual routers (RFC 9568, and RFC 3768 for those that speak version 2): which box of a link has the VIPs.
//!
//! in:  (octets of a raw socket) ─▶ packet: ip ─▶ read ─▶ judge
//! out: packet: write ─▶ (a raw socket)
//!
//! Pure: octets to an advert or to the reason why not, and back. Time, the wall clock's, comes in with each call.

pub mod advert;
pub mod packet;
