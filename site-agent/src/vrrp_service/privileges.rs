//! What the service may do to its host: change addresses and send packets of its own making, and nothing else.
//!
//! While there is one thread: capabilities are each thread's own, and threads inherit them.

use common::capabilities::empty_bounding_set;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities,
    set_no_new_privs,
};

const NEEDED: CapabilitySet = CapabilitySet::NET_ADMIN.union(CapabilitySet::NET_RAW);

#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    #[error(
        "CAP_NET_ADMIN and CAP_NET_RAW are missing: start it as root, or by a unit with AmbientCapabilities=CAP_NET_ADMIN \
         CAP_NET_RAW"
    )]
    Missing,
    #[error("cannot give up capabilities")]
    Capabilities(#[source] std::io::Error),
    #[error("capabilities that were given up are still there: not going on")]
    Kept,
}

/// Gives up every capability but the two.
pub fn keep_two() -> Result<(), PrivilegeError> {
    let failed = |error: rustix::io::Errno| PrivilegeError::Capabilities(error.into());
    if !capabilities(None).map_err(failed)?.permitted.contains(NEEDED) {
        return Err(PrivilegeError::Missing);
    }
    empty_bounding_set();
    clear_ambient_capability_set().map_err(failed)?;
    let two = CapabilitySets {
        effective: NEEDED,
        permitted: NEEDED,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, two).map_err(failed)?;
    set_no_new_privs(true).map_err(failed)?;
    match capabilities(None).map_err(failed)? == two {
        true => Ok(()),
        false => Err(PrivilegeError::Kept),
    }
}
