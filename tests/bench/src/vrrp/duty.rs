//! A thread of ours on a machine of a link, which goes on until its owner has enough of it.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use gslb_tests::netns::{self, Namespace};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::setpriority_process;

/// The nice value of who is scheduled before all others that have no class of their own.
const AHEAD: i32 = -20;

/// Dropped, it ends after its turn.
pub struct Duty {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Duty {
    /// `make` opens what it needs there, and makes what is done in each turn. A turn takes moments.
    pub fn begin<T: FnMut()>(
        machine: &Namespace,
        make: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<Duty> {
        let ends = Arc::new(AtomicBool::new(false));
        let (told, ready) = sync_channel(1);
        let (name, is_over) = (machine.name().to_owned(), Arc::clone(&ends));
        let thread = thread::spawn(move || {
            // What is seen late would be measured: only this thread, as Linux has it. A turn takes moments.
            let ahead = setpriority_process(None, AHEAD).context("cannot go ahead of others");
            let made = ahead.and_then(|()| netns::enter(&name)).and_then(|()| make());
            let (mut turn, made) = match made {
                Ok(turn) => (Some(turn), Ok(())),
                Err(error) => (None, Err(error)),
            };
            // Whoever asked waits for it.
            let _ = told.send(made);
            while let Some(turn) = &mut turn
                && !is_over.load(Relaxed)
            {
                turn();
            }
        });
        ready.recv().context("a thread on a machine has panicked")??;
        Ok(Duty { ends, thread: Some(thread) })
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
        // If it has panicked, that has been told.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Returns when something has come, or after that time. Finer than the time-out of a socket, which the kernel rounds to
/// its tick.
pub fn wait_for(socket: impl AsFd, within: Duration) {
    let time = Timespec {
        tv_sec: i64::try_from(within.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: within.subsec_nanos().into(),
    };
    // Interrupted or not: the turn that follows sees what is there.
    let _ = poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&time));
}
