//! What the kernel has counted of a connection of TCP, at one of its ends.

// The kernel fills in a structure of its own, and no crate that is here asks it to.
#![allow(unsafe_code)]

use std::mem;
use std::os::fd::AsRawFd as _;

use tokio::net::TcpStream;

use super::until;

#[derive(Clone, Copy, Debug)]
pub struct Segments {
    /// That have come: all, and those with octets.
    pub came: u32,
    pub with_octets: u32,
    /// That have gone, and of which the other end has not said yet that it has them.
    pub under_way: u32,
}

pub fn segments(stream: &TcpStream) -> Segments {
    // SAFETY: it is made of integers, each of which may be zero.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut length = mem::size_of_val(&info) as libc::socklen_t;
    let (into, level, name) = ((&raw mut info).cast(), libc::IPPROTO_TCP, libc::TCP_INFO);
    // SAFETY: the socket is open while it is borrowed, and what is written there is `length` octets at most, which it has.
    let done = unsafe { libc::getsockopt(stream.as_raw_fd(), level, name, into, &raw mut length) };
    assert_eq!(done, 0);
    Segments {
        came: info.tcpi_segs_in,
        with_octets: info.tcpi_data_segs_in,
        under_way: info.tcpi_unacked,
    }
}

/// Once the other end has all that was said here, or is known to be gone: no segment that only says so comes after that.
pub async fn settled(stream: &TcpStream) -> Segments {
    until(|| segments(stream).under_way == 0).await;
    segments(stream)
}
