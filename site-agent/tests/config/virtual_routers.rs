//! `[vrrp.NAME]` as operators write it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use site_agent::config;
use site_agent::site::{Authentication, Checksum, Reach, Track, VirtualRouter, Watched};
use site_agent::vrrp::advert::Version::{V2, V3};
use site_agent::vrrp::machine::settings::{Preempt, Refresh, Weight};
use site_agent::vrrp::packet::auth::Mode;
use site_agent::vrrp::packet::replay::Freshness;
use site_agent::vrrp::packet::{Accepted, Family, Form, Password};

use super::{POOL, good, warnings};

/// A good site with this virtual router in it.
fn virtual_router(lines: &str) -> VirtualRouter {
    let text = format!(
        "[frontend.web]\nbind = [\"0.0.0.0:80\"]\npool = \"web\"\n{POOL}[vrrp.web]\ninterface = \"eth0\"\nvrid = 51\n{lines}"
    );
    good(&text).site.redundancy.routers.remove(0)
}

#[test]
fn a_virtual_router_of_few_words() {
    let router = virtual_router("vips = [\"198.51.100.10/24\", \"2001:db8:f::10/64\"]");
    assert_eq!(router.family, Family::V4);
    assert_eq!(
        router.advertised().collect::<Vec<_>>(),
        ["198.51.100.10".parse::<IpAddr>().unwrap()]
    );
    assert_eq!(router.vips[1].to_string(), "2001:db8:f::10/64");
    assert_eq!((router.version, router.accepted), (V3, Accepted::Only(V3)));
    assert_eq!(router.interval.duration(), Duration::from_millis(400));
    assert_eq!((router.priority.get(), router.reach), (100, Reach::Multicast));
    assert_eq!(router.preempt, Preempt::Never);
    assert_eq!(router.refresh, Refresh::Every(Duration::from_secs(60)));
    assert_eq!((router.checksum, router.authentication), (Checksum::AsHeard, Authentication::None));
    let service = good(&format!("[frontend.web]\nbind = [\"0.0.0.0:80\"]\npool = \"web\"\n{POOL}"));
    let redundancy = service.site.redundancy;
    assert_eq!(redundancy.service.socket, Path::new("/run/site-agent-vrrp/vrrp.sock"));
    assert!(redundancy.routers.is_empty());
    assert_eq!(redundancy.service.balancer_socket, Path::new("/run/site-agent-vrrp/balancer.sock"));
}

#[test]
fn who_balances_needs_a_balancer_unless_it_says_otherwise() {
    let vips = "vips = [\"192.0.2.1\"]\n";
    assert!(virtual_router(vips).needs_balancer);
    assert!(!virtual_router(&format!("{vips}needs_balancer = false\n")).needs_balancer);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("site.toml");
    let of = |rest: &str| {
        let text = format!("[vrrp.web]\ninterface = \"eth0\"\nvrid = 51\n{vips}{rest}");
        fs::write(&file, text).unwrap();
        config::load_redundancy(&file).unwrap().0.routers.remove(0).needs_balancer
    };
    // The service sees that there is a frontend, and nothing of it.
    assert!(of("[frontend.web]\nbind = 3\n"));
    assert!(!of(""));
    assert!(of("needs_balancer = true\n"));
}

#[test]
fn what_a_virtual_router_watches() {
    let router = virtual_router(
        "vips = [\"192.0.2.1\"]\ntracks = [{ name = \"uplink\", interface = \"eth1\" },\n\
         { name = \"gateway\", address = \"192.0.2.254\", check = { kind = \"icmp\" }, weight = -20 },\n\
         { name = \"names\", address = \"192.0.2.53\", check = { kind = \"dns\", name = \"example.com\" }, weight = 5 }]",
    );
    let [uplink, gateway, names] = &router.tracks[..] else { panic!("{router:?}") };
    assert_eq!((&*uplink.name, uplink.weight), ("uplink", Weight::Fault));
    assert_eq!(uplink.watched, Watched::Interface("eth1".into()));
    assert_eq!((gateway.weight, names.weight), (Weight::Takes(20), Weight::Adds(5)));
    let port = |track: &Track| match &track.watched {
        Watched::Check(check) => check.target.port,
        Watched::Interface(name) => panic!("{name}"),
    };
    assert_eq!((port(gateway), port(names)), (0, 53));
}

#[test]
fn profiles_of_virtual_routers() {
    let of = |lines: &str| {
        let router = virtual_router(lines);
        (router.version, router.accepted, router.interval.duration().as_millis())
    };
    let only = Accepted::Only;
    assert_eq!(of("vips = [\"192.0.2.1\"]\nprofile = \"fast\""), (V3, only(V3), 100));
    assert_eq!(of("vips = [\"192.0.2.1\"]\nprofile = \"compat\""), (V2, Accepted::Either, 1000));
    assert_eq!(of("vips = [\"fe80::1\"]\nprofile = \"compat\""), (V3, only(V3), 1000));
    assert_eq!(of("vips = [\"192.0.2.1\"]\nversion = 2"), (V2, only(V2), 1000));
    assert_eq!(of("vips = [\"192.0.2.1\"]\nversion = 2\ninterval = \"3s\""), (V2, only(V2), 3000));
    assert_eq!(of("vips = [\"192.0.2.1\"]\ninterval = \"30ms\""), (V3, only(V3), 30));
}

#[test]
fn a_virtual_router_of_many_words() {
    let router = virtual_router(
        "vips = [\"192.0.2.1\"]\npriority = 255\npeers = [\"192.0.2.2\"]\nsource = \"192.0.2.3\"\npreempt = \"30s\"\n\
         refresh = \"never\"\nwitnesses = [\"192.0.2.254\"]\nchecksum = \"rfc9568\"\nversion = 2\npassword = \"1234\"",
    );
    let peers = vec!["192.0.2.2".parse().unwrap()];
    assert_eq!(router.reach, Reach::Unicast { peers, lowest_hop_limit: 255 });
    assert_eq!(router.source, Some("192.0.2.3".parse().unwrap()));
    assert_eq!(router.preempt, Preempt::After(Duration::from_secs(30)));
    assert_eq!(router.refresh, Refresh::Never);
    assert_eq!(router.witnesses, ["192.0.2.254".parse::<Ipv4Addr>().unwrap()]);
    assert_eq!(router.checksum, Checksum::Always(Form::Message));
    let Authentication::Password(password) = router.authentication else { panic!("it has one") };
    assert!(password == Password::cut("1234"));
}

#[test]
fn signatures_of_virtual_routers() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("old.key"), "00".repeat(32) + "\n").unwrap();
    fs::write(dir.path().join("new.key"), "Aa".repeat(64)).unwrap();
    let text = |rest: &str| {
        format!(
            "[vrrp.web]\ninterface = \"eth0\"\nvrid = 51\nvips = [\"192.0.2.1\"]\npeers = [\"192.0.2.2\"]\nmax_hops = 3\n\
             [vrrp.web.signature]\nkeys = [{{ id = 1, file = \"old.key\" }}, {{ id = 9, file = \"new.key\" }}]\n{rest}\n"
        )
    };
    let file = dir.path().join("site.toml");
    let of = |rest: &str| {
        fs::write(&file, text(rest)).unwrap();
        config::load_redundancy(&file).map(|(mut redundancy, _)| redundancy.routers.remove(0))
    };
    let router = of("").unwrap();
    assert_eq!(
        router.reach,
        Reach::Unicast { peers: vec!["192.0.2.2".parse().unwrap()], lowest_hop_limit: 252 }
    );
    let Authentication::Signature(signature) = router.authentication else { panic!("it has one") };
    assert_eq!((signature.signing.0.get(), &*signature.signing.1.0), (1, &[0; 32][..]));
    assert_eq!((signature.others[0].0.get(), &*signature.others[0].1.0), (9, &[0xaa; 64][..]));
    assert_eq!(
        (signature.mode, signature.freshness),
        (Mode::Enforce, Freshness::Within { seconds: 5 })
    );
    assert!(!format!("{:?}", signature.signing.1).contains('0'), "a key is shown");

    let router = of("sign_with = 9\nwindow = \"never\"").unwrap();
    let Authentication::Signature(signature) = router.authentication else { panic!("it has one") };
    assert_eq!((signature.signing.0.get(), signature.freshness), (9, Freshness::Growing));
    // What comes through routers is believed for its signature alone.
    let told = of("mode = \"permissive\"").unwrap_err().to_string();
    assert!(told.contains("needs signature with mode = \"enforce\" beside it"), "{told}");
}

/// What is wrong with the balancer's part keeps no address from its place; a heading that nobody knows may have been
/// meant for us.
#[test]
fn the_service_of_virtual_routers_reads_its_own_part() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("site.toml");
    let of = |text: &str| {
        fs::write(&file, text).unwrap();
        config::load_redundancy(&file).map(|(redundancy, _)| redundancy.routers.len())
    };
    let router = "[vrrp.web]\ninterface = \"eth0\"\nvrid = 51\nvips = [\"192.0.2.1\"]\n";
    assert_eq!(of(&format!("{router}[frontend.web]\nbind = 3\nnonsense = true\n")).unwrap(), 1);
    let told = of(&format!("{router}[vrpp.web]\n")).unwrap_err().to_string();
    assert!(told.contains("vrpp: unknown key; did you mean vrrp?"), "{told}");
    let told = of("[frontend.web]\n").unwrap_err().to_string();
    assert!(told.contains("there is no virtual router: add [vrrp.NAME]"), "{told}");
}

#[test]
fn warnings_of_virtual_routers() {
    let text = format!(
        "[frontend.web]\nbind = [\"0.0.0.0:80\"]\npool = \"web\"\n{POOL}[vrrp.web]\ninterface = \"eth0\"\nvrid = 51\n\
         vips = [\"192.0.2.1\"]\npriority = 255\nversion = 2\npassword = \"infraRunB00k!\"\n"
    );
    let told = warnings(&text);
    assert!(
        told.contains("vrrp.web.priority: 255 says that the addresses are this box's own"),
        "{told}"
    );
    assert!(
        told.contains(
            "vrrp.web.password: everybody on the link can read it; only its first 8 octets"
        ),
        "{told}"
    );
}
