//! What it takes for a thread to be woken when it asked to be.
//!
//! One of two rooms with `unsafe`: no safe library here sets a scheduling class.

#![allow(unsafe_code)]

use std::io;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// In front of all that is not real time, behind the kernel's own threads.
const PRIORITY: i32 = 10;

/// While there are privileges for it: has this thread, and those that it starts from now on, run before all others.
/// Those who may not have the limits that they were given.
pub fn take() -> io::Result<()> {
    // Not being allowed to is told by what follows.
    let priority = u64::try_from(PRIORITY).ok();
    let _ = setrlimit(Resource::Rtprio, Rlimit { current: priority, maximum: priority });
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    schedule(libc::SCHED_RR, PRIORITY)
}

/// Has this thread run as others do; those that it has started go on as they are.
pub fn give_back() -> io::Result<()> {
    schedule(libc::SCHED_OTHER, 0)
}

/// Keeps what this process has in memory from being paged out.
pub fn lock_memory() -> io::Result<()> {
    // Under a limit, memory that is asked for later would be refused.
    if getrlimit(Resource::Memlock).current.is_some() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)?)
}

fn schedule(class: i32, priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: it reads the parameters, and 0 is the calling thread.
    match unsafe { libc::sched_setscheduler(0, class, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
