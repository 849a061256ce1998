//! Who on a link says that it has an address: asked as one asks who wants it for itself and changes nobody's mind
//! (RFC 5227 §2.1.1), or as everybody asks (RFC 4861).

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd as _};
use std::time::Duration;

use common::clock;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

use crate::routers::frames::{Frames, Heeds};
use crate::vrrp::neighbour::{advertised, arp_question, solicitation, solicited_node};
use crate::vrrp_findings::facts::{Answer, Interface};

/// So often, as a packet may be lost.
const TIMES: u32 = 3;
/// Between two, and after the last: neighbours of a link answer within milliseconds.
const PAUSE: Duration = Duration::from_millis(200);
/// Packets that are read in one go: on a busy link the pause ends all the same.
const MOST_AT_ONCE: usize = 256;
/// Of a frame or a message: what is longer is none of those.
const LONGEST: usize = 2048;

/// Those of these addresses that could be asked for, and the answers.
pub fn ask(interface: &Interface, vips: &[IpAddr]) -> (Vec<IpAddr>, BTreeSet<Answer>) {
    let (mut asked, mut answers) = (vec![], BTreeSet::new());
    let (mut four, mut six) = (vec![], vec![]);
    for vip in vips {
        match vip {
            IpAddr::V4(vip) => four.push(*vip),
            IpAddr::V6(vip) => six.push(*vip),
        }
    }
    if !four.is_empty() && ask_v4(interface, &four, &mut answers).is_ok() {
        asked.extend(four.into_iter().map(IpAddr::from));
    }
    if !six.is_empty() && ask_v6(interface, &six, &mut answers).is_ok() {
        asked.extend(six.into_iter().map(IpAddr::from));
    }
    (asked, answers)
}

fn ask_v4(
    interface: &Interface,
    vips: &[Ipv4Addr],
    answers: &mut BTreeSet<Answer>,
) -> io::Result<()> {
    let mac = interface.mac.ok_or(io::ErrorKind::Unsupported)?;
    let frames = Frames::open(interface.index, Heeds::Arp)?;
    let mut buffer = [0; LONGEST];
    for _ in 0..TIMES {
        for vip in vips {
            frames.send(&arp_question(*vip, Ipv4Addr::UNSPECIFIED, mac))?;
        }
        wait(&frames, || {
            frames.senders(&mut buffer, |sender, mac| {
                if vips.contains(&sender) {
                    answers.insert(Answer { vip: sender.into(), mac });
                }
            });
        })?;
    }
    Ok(())
}

fn ask_v6(
    interface: &Interface,
    vips: &[Ipv6Addr],
    answers: &mut BTreeSet<Answer>,
) -> io::Result<()> {
    let mac = interface.mac.ok_or(io::ErrorKind::Unsupported)?;
    let kind = Type::RAW.nonblocking().cloexec();
    let socket = Socket::new_raw(Domain::IPV6, kind, Some(Protocol::ICMPV6))?;
    socket.bind_device(Some(interface.name.as_bytes()))?;
    // Others are not believed (RFC 4861 §7.1.1).
    socket.set_multicast_hops_v6(255)?;
    socket.set_multicast_loop_v6(false)?;
    let mut buffer = [0; LONGEST];
    for _ in 0..TIMES {
        for vip in vips {
            let to = SocketAddrV6::new(solicited_node(*vip), 0, 0, interface.index.0.get());
            socket.send_to(&solicitation(*vip, mac), &to.into())?;
        }
        wait(&socket, || {
            for _ in 0..MOST_AT_ONCE {
                let length = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                    Ok(length) => length,
                    Err(Errno::EINTR) => continue,
                    Err(_) => return,
                };
                if let Some((vip, mac)) = advertised(&buffer[..length])
                    && vips.contains(&vip)
                {
                    answers.insert(Answer { vip: vip.into(), mac });
                }
            }
        })?;
    }
    Ok(())
}

/// Takes what comes within the pause.
fn wait(socket: &impl AsFd, mut take: impl FnMut()) -> io::Result<()> {
    let begin = clock::monotonic();
    loop {
        let left = PAUSE.saturating_sub(clock::monotonic().saturating_sub(begin));
        if left.is_zero() {
            return Ok(());
        }
        let left = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => take(),
            Err(error) => return Err(error.into()),
        }
    }
}
