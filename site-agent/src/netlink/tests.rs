//! Against this machine's kernel, in a namespace of the test's own: as root, else nothing can be tried.

use std::net::IpAddr;

use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::*;
use crate::site::Vip;

/// In a network of its own, where only `lo` is; it is gone when its thread ends.
fn alone(act: impl FnOnce(Kernel, Index) + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        assert!(
            std::env::var_os("GSLB_REQUIRE_PEERS").is_none(),
            "we are not root, and GSLB_REQUIRE_PEERS is set"
        );
        eprintln!("skipped: we are not root");
        return;
    }
    let there = std::thread::spawn(move || {
        #[expect(
            unsafe_code,
            reason = "a network namespace of this thread alone touches nothing of the others"
        )]
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        let mut kernel = Kernel::open().unwrap();
        let mut lo = None;
        kernel
            .list(&mut Request::links(), |told| {
                if let Told::Link(link) = told
                    && link.name == b"lo"
                {
                    assert!(!link.is_up && link.mac.is_none(), "{link:?}");
                    lo = Some(link.index);
                }
            })
            .unwrap();
        act(kernel, lo.unwrap());
    });
    there.join().unwrap();
}

fn addresses(kernel: &mut Kernel) -> Vec<IpAddr> {
    let mut found = vec![];
    let each = |told: Told<'_>| match told {
        Told::Address(Address { address, .. }) => found.push(address),
        other => panic!("{other:?} in a list of addresses"),
    };
    kernel.list(&mut Request::addresses(), each).unwrap();
    found
}

fn vips() -> [Vip; 2] {
    ["192.0.2.100", "2001:db8::64"]
        .map(|address| Vip { address: address.parse().unwrap(), prefix: 32 })
}

#[test]
fn addresses_come_and_go_and_are_told_of() {
    alone(|mut kernel, lo| {
        for vip in vips() {
            let at = (lo, vip.address);
            kernel.ask(&mut Request::put(vip, lo, Duration::from_secs(60))).unwrap();
            assert!(addresses(&mut kernel).contains(&vip.address));
            // Asking again is no error, and no second address.
            kernel.ask(&mut Request::put(vip, lo, Duration::from_secs(60))).unwrap();
            assert_eq!(
                addresses(&mut kernel).iter().filter(|found| **found == vip.address).count(),
                1
            );
            kernel.ask(&mut Request::remove(vip, lo)).unwrap();
            assert!(!addresses(&mut kernel).contains(&vip.address));
            let again = kernel.ask(&mut Request::remove(vip, lo)).unwrap_err();
            assert_eq!(again.raw_os_error(), Some(Errno::EADDRNOTAVAIL as i32));
            let mut news = vec![];
            let heard = kernel.hear(|told| match told {
                Told::Address(Address { on, address, .. }) => news.push(("put", (on, address))),
                Told::AddressGone(Address { on, address, .. }) => {
                    news.push(("gone", (on, address)));
                }
                _ => {}
            });
            assert_eq!(heard.unwrap(), Heard::All);
            // Of IPv6 an address is told of when it can be used, which is later.
            match vip.address {
                IpAddr::V4(_) => assert_eq!(news, [("put", at), ("put", at), ("gone", at)]),
                IpAddr::V6(_) => assert_eq!(news.last(), Some(&("gone", at))),
            }
        }
    });
}

/// Two seconds, as promised, and the kernel's own slowness.
#[test]
fn an_address_that_nobody_asks_for_goes_by_itself() {
    alone(|mut kernel, lo| {
        for vip in vips() {
            kernel.ask(&mut Request::put(vip, lo, Duration::from_secs(1))).unwrap();
        }
        let mut gone = vec![];
        let begin = common::clock::monotonic();
        while gone.len() < 2 {
            assert!(common::clock::monotonic() - begin < Duration::from_secs(10), "{gone:?}");
            let mut ready =
                [rustix::event::PollFd::new(&kernel.news, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut ready, None).unwrap();
            let each = |told: Told<'_>| {
                if let Told::AddressGone(Address { address, .. }) = told {
                    gone.push(address);
                }
            };
            kernel.hear(each).unwrap();
        }
        assert!(addresses(&mut kernel).is_empty());
    });
}

#[test]
fn news_that_does_not_fit_is_told_of() {
    alone(|mut kernel, lo| {
        setsockopt(&kernel.news, sockopt::RcvBufForce, &2048).unwrap();
        let [vip, _] = vips();
        for _ in 0..100 {
            kernel.ask(&mut Request::put(vip, lo, Duration::from_secs(60))).unwrap();
        }
        let mut count = 0;
        assert_eq!(kernel.hear(|_| count += 1).unwrap(), Heard::Overrun);
        assert!(count < 100, "{count}");
        assert_eq!(kernel.hear(|_| count += 1).unwrap(), Heard::All);
    });
}

#[test]
fn what_cannot_be_has_its_reason() {
    alone(|mut kernel, _| {
        let nowhere = Index(std::num::NonZeroU32::new(1 << 20).unwrap());
        let error = kernel.ask(&mut Request::put(vips()[0], nowhere, Duration::from_secs(2)));
        assert_eq!(error.unwrap_err().raw_os_error(), Some(Errno::ENODEV as i32));
    });
}
