//! Virtual routers (RFC 9568, and RFC 3768 for those that speak version 2): which box of a link has the VIPs.
//!
//! in:  (octets of a raw socket) ─▶ packet: ip ─▶ read ─▶ judge ─▶ machine
//! out: machine ─▶ (addresses), neighbour ─▶ (frames), packet: write ─▶ (a raw socket)
//! see: (octets, whatever is configured) ─▶ packet: ip ─▶ read ─▶ sightings ─▶ (people)
//!
//! All of it is pure. `packet` is octets to an advert or to the reason why not, and back; `neighbour` has the frames that
//! tell a link where an address is; `machine` is one virtual router: what became of it, and what is to be done. Time,
//! the wall clock's too, comes in with each call.

pub mod advert;
pub mod machine;
pub mod neighbour;
pub mod packet;
pub mod sightings;
#[cfg(test)]
mod tests;
