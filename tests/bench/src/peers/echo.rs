//! The floor: a loop of `recvmmsg` and `sendmmsg` that sends every query back, filled up to the size
//! of a real answer so that the kernel copies as much. No server that does both can be cheaper.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;

use anyhow::Context;
use gslb_dns::listen::batch::{self, Exchange, IpVersion, ReplyFrom};
use gslb_tests::loopback;

use super::{Start, ourselves};
use crate::load::Reply;

pub const ROLE: &str = "echo";

pub fn start(dir: &Path, width: usize, reply_size: usize) -> anyhow::Result<Start<'_>> {
    let address = loopback::address()?;
    let mut command = ourselves(ROLE)?;
    command.arg(address.to_string()).arg(width.to_string()).arg(reply_size.to_string());
    Ok(Start { name: "echo", command, address, reply: Reply::Echo, dir })
}

/// Echoes until it is killed.
pub fn serve(address: SocketAddr, width: usize, reply_size: usize) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(address)?;
    // As gslb-dns and gdnsd: it decides which way a reply takes through the kernel.
    batch::ignore_path_mtu(&socket, IpVersion::V4)?;
    let mut exchange = Exchange::new(width, ReplyFrom::Socket);
    loop {
        let count = exchange.receive(&socket).context("cannot receive")?;
        for index in 0..count {
            exchange.reply(index, |query, buffer| {
                // What lies behind the query is zeroes: the buffer never held anything longer.
                let kept = query.bytes.len().min(reply_size);
                buffer[..kept].copy_from_slice(&query.bytes[..kept]);
                if let Some(flags) = buffer[..kept].get_mut(2) {
                    *flags |= 0x80; // QR: this is a response.
                }
                reply_size
            });
        }
        exchange.flush(&socket);
    }
}
