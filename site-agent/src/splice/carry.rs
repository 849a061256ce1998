//! What octets are carried in: one buffer and a few pipes, shared by all connections of a thread.
//!
//! Nobody holds them while waiting for octets, so ten thousand idle connections cost nothing here.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// Octets that are copied at once. Who fills it has more to say, and goes through a pipe from then on.
pub const BUFFER: usize = 64 << 10;
/// Octets that a pipe takes, if the system lets us (`fs.pipe-user-pages-soft`); its own default otherwise.
const PIPE: usize = 256 << 10;
/// Pipes that are kept for the next: a hundred large transfers at once need no more system calls than one.
const SPARE: usize = 128;

/// Of one thread.
#[derive(Debug)]
pub struct Carry {
    pub(super) buffer: RefCell<Box<[u8]>>,
    spare: RefCell<Vec<Pipe>>,
}

/// Empty whenever nobody has it.
#[derive(Debug)]
pub struct Pipe {
    pub(super) read: OwnedFd,
    pub(super) write: OwnedFd,
    pub(super) capacity: usize,
}

impl Default for Carry {
    fn default() -> Carry {
        Carry::new()
    }
}

impl Carry {
    pub fn new() -> Carry {
        Carry {
            buffer: RefCell::new(vec![0; BUFFER].into_boxed_slice()),
            spare: RefCell::new(Vec::new()),
        }
    }

    /// Fails where no descriptors are left.
    pub(super) fn take(&self) -> io::Result<Pipe> {
        if let Some(pipe) = self.spare.borrow_mut().pop() {
            return Ok(pipe);
        }
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        let capacity = fcntl_setpipe_size(&write, PIPE).unwrap_or(BUFFER);
        Ok(Pipe { read, write, capacity })
    }

    #[cfg(test)]
    pub(super) fn spares(&self) -> usize {
        self.spare.borrow().len()
    }

    /// Of an empty one.
    pub(super) fn give_back(&self, pipe: Pipe) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE {
            spare.push(pipe);
        }
    }
}
