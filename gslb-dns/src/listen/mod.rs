//! Bytes in and out. Knows sockets and limits, and nothing of DNS beyond a message's length.

pub mod batch;
mod proxy;
pub mod tcp;
pub mod udp;
