//! Addresses for servers that cannot choose one by themselves. Each is on a host of its own, so that whoever asks the kernel
//! for a port of 127.0.0.1 in the meantime is not given the same.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use anyhow::bail;

/// Free for UDP and TCP alike.
pub fn address() -> anyhow::Result<SocketAddr> {
    let host = host();
    for _ in 0..64 {
        let udp = UdpSocket::bind((host, 0))?;
        let address = udp.local_addr()?;
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port of {host} is free for both UDP and TCP")
}

pub fn addresses<const N: usize>() -> anyhow::Result<[SocketAddr; N]> {
    let mut addresses = [SocketAddr::from(([0; 4], 0)); N];
    for one in &mut addresses {
        *one = address()?;
    }
    Ok(addresses)
}

/// Another one each time, of 254 of this process, and none of those that are used by name.
fn host() -> Ipv4Addr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let (process, number) = (process::id() & 0x7fff, GIVEN.fetch_add(1, Relaxed) % 254 + 1);
    Ipv4Addr::from_bits(0x7f80_0000 | process << 8 | number)
}
