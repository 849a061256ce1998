//! What virtual routers stand on: the kernel, and the interfaces they are on, with their sockets.
//!
//! (netlink) ─▶ Ground: Interface ─▶ router · router ─▶ Ground ─▶ (netlink, adverts, frames)

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;

use super::adverts::Adverts;
use super::frames::{Frames, Heeds};
use crate::netlink::{Address, Heard, Index, Kernel, Link, Request, Told};
use crate::site::Vip;
use crate::vrrp::neighbour::Mac;
use crate::vrrp::packet::Family;

/// What could not be opened or listed is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// The kernel, and those interfaces of it on which there are virtual routers.
pub struct Ground {
    pub kernel: Kernel,
    pub interfaces: Vec<Interface>,
    /// Whether the kernel took something away for us, of which the news is not heard yet: it would be taken for a loss
    /// of what was put there after that.
    has_removed: bool,
    /// All was asked for, and the kernel could not say it: it is asked again.
    is_behind: bool,
    /// When something is tried again.
    pub again_at: Option<Duration>,
}

/// An interface by its name, which may have gone and come.
pub struct Interface {
    pub name: Arc<str>,
    pub needs: Needs,
    link: Option<Known>,
    /// All that it has, each with its prefix, in the kernel's order.
    addresses: Vec<(IpAddr, u8)>,
    pub sockets: Option<Sockets>,
    /// One of them could not be opened.
    pub lacks_a_socket: bool,
    /// Something of it is another than when it was last looked at.
    pub has_changed: bool,
}

/// Which sockets are opened at an interface.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Needs {
    pub v4: bool,
    pub v6: bool,
    pub witnesses: bool,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    index: Index,
    mac: Option<Mac>,
    is_up: bool,
}

/// Of an interface that is there.
pub struct Sockets {
    at: Index,
    mac: Option<Mac>,
    pub v4: Option<Adverts>,
    pub v6: Option<Adverts>,
    /// Of Ethernet alone.
    pub frames: Option<(Frames, Mac)>,
}

impl Sockets {
    pub fn of(&self, family: Family) -> Option<&Adverts> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }
}

impl Interface {
    fn new(name: Arc<str>, needs: Needs) -> Interface {
        let addresses = vec![];
        Interface {
            name,
            needs,
            link: None,
            addresses,
            sockets: None,
            lacks_a_socket: false,
            has_changed: true,
        }
    }

    /// All that it has, in the kernel's order. One may be there with two prefixes.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().map(|(address, _)| *address)
    }

    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses().any(|known| known == address)
    }

    pub fn is_up(&self) -> bool {
        self.link.is_some_and(|link| link.is_up)
    }

    pub fn index(&self) -> Option<Index> {
        self.link.map(|link| link.index)
    }

    /// Opens what is needed and not open where the interface is, and closes what is not there any more; each that is new
    /// is given to `listen`. One that cannot be opened costs no other.
    pub fn open(&mut self, listen: impl Fn(BorrowedFd<'_>) -> io::Result<()>) -> io::Result<()> {
        let is_here = |sockets: &mut Sockets| {
            self.link.is_some_and(|link| (link.index, link.mac) == (sockets.at, sockets.mac))
        };
        self.sockets.take_if(|sockets| !is_here(sockets));
        self.lacks_a_socket = false;
        let Needs { v4, v6, witnesses } = self.needs;
        // One that is only watched has none.
        let Some(Known { index: at, mac, .. }) = self.link.filter(|_| v4 || v6) else {
            return Ok(());
        };
        let none = || Sockets { at, mac, v4: None, v6: None, frames: None };
        let sockets = self.sockets.get_or_insert_with(none);
        let mut done = Ok(());
        let families = [(Family::V4, v4, &mut sockets.v4), (Family::V6, v6, &mut sockets.v6)];
        for (family, is_needed, socket) in families {
            if is_needed && socket.is_none() {
                let opened = Adverts::open(family, &self.name, at);
                let opened = opened.and_then(|opened| listen(opened.as_fd()).map(|()| opened));
                done = done.and(opened.map(|opened| *socket = Some(opened)));
            }
        }
        if let (Some(mac), None) = (mac, &sockets.frames) {
            let opened = Frames::open(at, if witnesses { Heeds::Arp } else { Heeds::Nothing });
            let opened = opened.and_then(|frames| match witnesses {
                true => listen(frames.as_fd()).map(|()| frames),
                false => Ok(frames),
            });
            done = done.and(opened.map(|frames| sockets.frames = Some((frames, mac))));
        }
        self.lacks_a_socket = done.is_err();
        done
    }

    fn forget(&mut self) {
        self.link = None;
        self.addresses.clear();
        self.has_changed = true;
    }

    fn hear(&mut self, told: &Told<'_>) {
        match *told {
            Told::Link(Link { index, name, mac, is_up, .. }) if name == self.name.as_bytes() => {
                if self.index().is_some_and(|before| before != index) {
                    self.forget();
                }
                self.link = Some(Known { index, mac, is_up });
                self.has_changed = true;
            }
            // Ours has another name now.
            Told::Link(Link { index, .. }) if self.index() == Some(index) => self.forget(),
            Told::LinkGone(index) if self.index() == Some(index) => self.forget(),
            Told::Address(Address { on, address, prefix, .. }) if self.index() == Some(on) => {
                // Most of it is that we have asked for one again.
                if !self.addresses.contains(&(address, prefix)) {
                    self.addresses.push((address, prefix));
                    self.has_changed = true;
                }
            }
            Told::AddressGone(Address { on, address, prefix, .. }) if self.index() == Some(on) => {
                self.addresses.retain(|known| *known != (address, prefix));
                self.has_changed = true;
            }
            Told::Link(_)
            | Told::LinkGone(_)
            | Told::Address(_)
            | Told::AddressGone(_)
            | Told::Done { .. } => {}
        }
    }
}

impl Ground {
    pub fn open() -> io::Result<Ground> {
        let (kernel, interfaces) = (Kernel::open()?, vec![]);
        Ok(Ground { kernel, interfaces, has_removed: false, is_behind: false, again_at: None })
    }

    /// The place of an interface, which has what is needed from now on.
    pub fn place(&mut self, name: &Arc<str>, needs: Needs) -> usize {
        let known = self.interfaces.iter().position(|interface| interface.name == *name);
        let place = known.unwrap_or_else(|| {
            self.interfaces.push(Interface::new(Arc::clone(name), Needs::default()));
            self.interfaces.len() - 1
        });
        let interface = &mut self.interfaces[place];
        let before = interface.needs;
        interface.needs = Needs {
            v4: before.v4 || needs.v4,
            v6: before.v6 || needs.v6,
            witnesses: before.witnesses || needs.witnesses,
        };
        // To close a socket takes the kernel long, in which nobody sends an advert: those that do are left alone.
        if interface.needs != before {
            interface.sockets = None;
        }
        // Whoever is new there has not seen it yet.
        interface.has_changed = true;
        place
    }

    /// Whether of some interface it is not known that it is there.
    pub fn misses_one(&self) -> bool {
        self.interfaces.iter().any(|interface| interface.link.is_none())
    }

    /// Asks for all there is, as nothing is known or something was missed.
    pub fn look(&mut self, now: Duration) -> io::Result<()> {
        let Ground { kernel, interfaces, .. } = self;
        let take =
            |known: &mut Interface| (known.link.take(), std::mem::take(&mut known.addresses));
        let before: Vec<_> = interfaces.iter_mut().map(take).collect();
        let mut lists = [Request::links(), Request::addresses()];
        let done = lists.iter_mut().try_for_each(|request| {
            let each = |told: Told<'_>| interfaces.iter_mut().for_each(|known| known.hear(&told));
            kernel.list(request, each)
        });
        for (known, before) in interfaces.iter_mut().zip(before) {
            if done.is_err() {
                // Nothing is known to be otherwise.
                (known.link, known.addresses) = before;
            }
            known.has_changed = true;
        }
        self.is_behind = done.is_err();
        if self.is_behind {
            self.tries_again(now);
        }
        done
    }

    /// Something has failed that has to be done.
    pub fn tries_again(&mut self, now: Duration) {
        self.again_at.get_or_insert(now + AGAIN);
    }

    /// Takes the news, and tries again what is due. An error is told once.
    pub fn hear(&mut self, now: Duration) -> io::Result<()> {
        let was_behind = self.is_behind;
        let heard = self.read();
        if self.again_at.take_if(|at| now >= *at).is_some() {
            for interface in self.interfaces.iter_mut().filter(|known| known.lacks_a_socket) {
                interface.has_changed = true;
            }
        } else if was_behind {
            return Ok(());
        }
        let looked = match heard {
            Ok(Heard::All) if !was_behind => return Ok(()),
            Ok(Heard::All | Heard::Overrun) => self.look(now),
            Err(error) => {
                // Whatever it was, all is asked for.
                let _ = self.look(now);
                Err(error)
            }
        };
        if was_behind { Ok(()) } else { looked }
    }

    fn read(&mut self) -> io::Result<Heard> {
        let Ground { kernel, interfaces, has_removed, .. } = self;
        *has_removed = false;
        kernel.hear(|told: Told<'_>| interfaces.iter_mut().for_each(|known| known.hear(&told)))
    }

    /// Puts an address on an interface, or keeps it there. The news of it may come much later.
    pub fn put(&mut self, place: usize, vip: Vip, request: &mut Request) -> io::Result<()> {
        if self.has_removed && !matches!(self.read(), Ok(Heard::All)) {
            // What is there is asked for when it is time for that: now it is not.
            self.is_behind = true;
            self.again_at = Some(Duration::ZERO);
        }
        self.kernel.ask(request)?;
        let interface = &mut self.interfaces[place];
        if !interface.has(vip.address) {
            interface.addresses.push((vip.address, vip.prefix));
        }
        Ok(())
    }

    /// Takes it away, whatever the prefix is that it is there with. That it was not there is no error.
    pub fn remove(&mut self, place: usize, vip: Vip, request: &mut Request) -> io::Result<()> {
        self.has_removed = true;
        let Ground { kernel, interfaces, .. } = self;
        let Interface { addresses, link, .. } = &mut interfaces[place];
        let mut ask = |request: &mut Request| match kernel.ask(request) {
            Err(error) if is_gone(&error) => Ok(()),
            done => done,
        };
        let mut done = ask(request);
        addresses.retain(|(address, prefix)| {
            if *address != vip.address {
                return true;
            }
            // One with another prefix somebody else has put there.
            if let Some(Known { index, .. }) = link
                && *prefix != vip.prefix
                && done.is_ok()
            {
                done = ask(&mut Request::remove(Vip { prefix: *prefix, ..vip }, *index));
            }
            // What could not be taken away is there.
            done.is_err()
        });
        done
    }
}

/// The address, or the interface with all of its addresses.
fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::EADDRNOTAVAIL, Errno::ENODEV].map(|errno| errno as i32);
    error.raw_os_error().is_some_and(|errno| gone.contains(&errno))
}

/// Of things that are all done, whatever becomes of those before them.
pub fn first_error(done: impl Iterator<Item = io::Result<()>>) -> io::Result<()> {
    let mut first = Ok(());
    for one in done {
        first = first.and(one);
    }
    first
}

/// Requests for all addresses of a virtual router, on one interface.
pub struct Requests(Vec<(Vip, Request, Request)>);

impl Requests {
    pub fn new(vips: &[Vip], on: Index, lifetime: Duration) -> Requests {
        let both = |vip: &Vip| (*vip, Request::put(*vip, on, lifetime), Request::remove(*vip, on));
        Requests(vips.iter().map(both).collect())
    }

    /// The first error; each is tried. Those that could not be put are `not_taken` then.
    pub fn put(
        &mut self,
        ground: &mut Ground,
        place: usize,
        not_taken: &mut Vec<IpAddr>,
    ) -> io::Result<()> {
        let each = |(vip, put, _): &mut (Vip, Request, Request)| {
            let done = ground.put(place, *vip, put);
            match (&done, not_taken.iter().position(|known| *known == vip.address)) {
                (Ok(()), Some(at)) => drop(not_taken.swap_remove(at)),
                (Err(_), None) => not_taken.push(vip.address),
                (Ok(()), None) | (Err(_), Some(_)) => {}
            }
            done
        };
        first_error(self.0.iter_mut().map(each))
    }

    /// The same, of taking them away.
    pub fn remove(&mut self, ground: &mut Ground, place: usize) -> io::Result<()> {
        let each =
            |(vip, _, remove): &mut (Vip, Request, Request)| ground.remove(place, *vip, remove);
        first_error(self.0.iter_mut().map(each))
    }
}
