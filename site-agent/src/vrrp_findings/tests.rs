//! A box, something that is wrong with it or with its link, and what is found.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;

use super::facts::{
    Answer, Facts, Interface, Judged, Manager, Service, Settings, Standing, is_locked, is_managed,
    is_real_time, keeps_addresses, networkd_files,
};
use super::{Finding, Severity, of};
use crate::config::load_redundancy;
use crate::netlink::{ADDRESS_PROTOCOL, Address, Index, Use};
use crate::site::{Vip, VirtualRouter};
use crate::vrrp::advert::{Claim, Interval, Priority, Version};
use crate::vrrp::neighbour::Mac;
use crate::vrrp::packet::auth::Proof;
use crate::vrrp::packet::{Agreement, Form, Heard, Refusal};
use crate::vrrp::sightings::told::{SenderTold, Told, VridsTold};

/// All that may be wrong.
struct Case {
    routers: Vec<VirtualRouter>,
    facts: Facts,
}

fn address(text: &str) -> Address {
    address_of(text, 0)
}

fn address_of(text: &str, protocol: u8) -> Address {
    let Vip { address, prefix } = vip(text);
    Address { on: index(2), address, prefix, protocol, use_of: Use::Now }
}

fn index(number: u32) -> Index {
    Index(NonZeroU32::new(number).unwrap())
}

fn vip(text: &str) -> Vip {
    let (address, prefix) = text.split_once('/').unwrap();
    Vip { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
}

fn router(vips: &[&str]) -> VirtualRouter {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("site.toml");
    fs::write(&file, format!("[vrrp.web]\ninterface = \"eth0\"\nvrid = 51\nvips = {vips:?}\n"))
        .unwrap();
    let (mut redundancy, _) = load_redundancy(&file).unwrap();
    redundancy.routers.remove(0)
}

/// 192.0.2.11 with priority 200, as it is heard and taken.
fn heard() -> Heard {
    Heard {
        from: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11)),
        version: Version::V3,
        claim: Claim::Leads(Priority::new(200).unwrap()),
        interval: Interval::of_centiseconds(40).unwrap(),
        form: Form::Message,
        proof: Proof::Nothing,
        vips: Agreement::Same,
        timing: Agreement::Same,
    }
}

fn sender(source: &str, vrid: u8, vips: &[&str]) -> SenderTold {
    SenderTold {
        interface: "eth0".to_owned(),
        vrid,
        family: 4,
        version: 3,
        source: source.parse().unwrap(),
        is_active: true,
        is_contested: false,
        resigned: false,
        priority: Some(200),
        interval_ms: 400,
        way: "multicast".to_owned(),
        authentication: "none".to_owned(),
        checksum: "message".to_owned(),
        adverts: 5,
        last_ms_ago: 0,
        vips: vips.iter().map(|vip| vip.parse().unwrap()).collect(),
    }
}

impl Case {
    /// A box with which nothing is wrong, alone on its link, with these VIPs.
    fn of(vips: &[&str]) -> Case {
        let settings = Settings { promotes_secondaries: true, arp_ignore: 0, has_ipv6: true };
        let eth0 = Interface {
            name: "eth0".to_owned(),
            index: index(2),
            is_up: true,
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            mtu: 1500,
            addresses: vec![address("192.0.2.10/24"), address("fe80::a/64")],
            kernel: settings,
            manager: None,
        };
        let told = Told {
            listened_ms: 2000,
            interfaces: vec!["eth0".to_owned()],
            senders: vec![],
            refused: vec![],
            vrids: vec![],
            remarks: vec![],
        };
        let service = Service::Running { is_real_time: true, is_locked: true };
        let (interfaces, judged) = (vec![eth0], vec![Judged::new()]);
        let asked = vips.iter().map(|text| vip(text).address).collect();
        let facts =
            Facts { interfaces, told, judged, asked, answers: vec![], service, standings: vec![] };
        Case { routers: vec![router(vips)], facts }
    }

    /// The same, with a partner that is Active and is taken, or not.
    fn beside(judged: Result<Heard, Refusal>) -> Case {
        let mut case = Case::of(&["192.0.2.100/24"]);
        case.facts.told.senders.push(sender("192.0.2.11", 51, &["192.0.2.100"]));
        case.facts.judged[0].insert(heard().from, judged);
        case.answered("192.0.2.100", 2);
        case
    }

    fn answered(&mut self, vip: &str, mac: u8) {
        self.facts
            .answers
            .push(Answer { vip: vip.parse().unwrap(), mac: Mac([2, 0, 0, 0, 0, mac]) });
    }

    fn eth0(&mut self) -> &mut Interface {
        &mut self.facts.interfaces[0]
    }

    /// What is found beside what is fine: the beginning of each.
    #[track_caller]
    fn check(&self, expected: &[(Severity, &str)]) {
        let found = of(&self.routers, &self.facts);
        let wrong: Vec<_> = found.iter().filter(|found| found.severity != Severity::Fine).collect();
        let all: String = found.iter().map(ToString::to_string).collect();
        assert_eq!(wrong.len(), expected.len(), "{all}");
        for (found, (severity, what)) in wrong.iter().zip(expected) {
            assert!(found.severity == *severity && found.what.contains(what), "{what}\n{all}");
            assert!(found.remedy.is_some(), "{all}");
        }
        assert!(
            found.iter().all(|found| found.severity != Severity::Fine || found.remedy.is_none())
        );
    }
}

use Severity::{Problem, Warning};

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    Case::of(&["192.0.2.100/24"]).check(&[]);
    Case::of(&["192.0.2.100/32", "2001:db8::64/64"]).check(&[]);
    Case::of(&["fe80::5e:51/64", "2001:db8::64/64"]).check(&[]);
    Case::beside(Ok(heard())).check(&[]);
    // This box is Active itself.
    let mut case = Case::of(&["192.0.2.100/24"]);
    case.eth0().addresses.push(address_of("192.0.2.100/24", ADDRESS_PROTOCOL));
    case.check(&[]);
}

#[test]
fn an_interface_is_there_up_and_fit() {
    let mut case = Case::of(&["192.0.2.100/24"]);
    case.eth0().name = "eth1".to_owned();
    case.check(&[(Problem, "there is no interface eth0 (interfaces: eth1)")]);
    let mut case = Case::of(&["192.0.2.100/24"]);
    case.eth0().is_up = false;
    case.check(&[(Problem, "eth0 is down, or has no carrier")]);
    let mut case = Case::of(&["192.0.2.100/24"]);
    case.eth0().mac = None;
    case.check(&[(Warning, "eth0 is no Ethernet")]);
    // 40 of IPv6, 8, and two addresses.
    let mut case = Case::of(&["fe80::5e:51/64", "2001:db8::64/64"]);
    case.eth0().mtu = 80;
    case.check(&[]);
    case.eth0().mtu = 79;
    case.check(&[(Problem, "an advert of 80 octets does not fit eth0, which takes 79")]);
}

#[test]
fn adverts_have_somewhere_to_come_from() {
    let mut case = Case::of(&["192.0.2.100/24"]);
    // An address that is a VIP is nobody's own.
    case.eth0().addresses = vec![address_of("192.0.2.100/24", ADDRESS_PROTOCOL)];
    case.check(&[(Problem, "eth0 has no IPv4 address that adverts could come from")]);
    let mut case = Case::of(&["fe80::5e:51/64"]);
    case.eth0().addresses = vec![address("2001:db8::a/64")];
    case.check(&[(Problem, "eth0 has no link-local address that adverts could come from")]);
    let mut case = Case::of(&["192.0.2.100/24"]);
    case.routers[0].source = Some("192.0.2.99".parse().unwrap());
    case.check(&[(Problem, "source 192.0.2.99 is not on eth0")]);
    for (use_of, found) in [
        (Use::Later, (Warning, "fe80::a, from which adverts go out, is yet to be found")),
        (Use::Never, (Problem, "fe80::a, from which adverts go out, is somebody else's too")),
    ] {
        let mut case = Case::of(&["fe80::5e:51/64"]);
        case.eth0().addresses[1].use_of = use_of;
        case.check(&[found]);
    }
}

#[test]
fn the_kernel_is_told_what_virtual_routers_need() {
    let mut case = Case::of(&["192.0.2.100/24", "2001:db8::64/64"]);
    case.eth0().kernel.has_ipv6 = false;
    case.check(&[(Problem, "IPv6 is switched off at eth0")]);
    let mut case = Case::of(&["192.0.2.100/24"]);
    case.eth0().kernel.has_ipv6 = false;
    case.check(&[]);

    let silent = |ignore, vip| {
        let mut case = Case::of(&[vip]);
        case.eth0().kernel.arp_ignore = ignore;
        case
    };
    for (ignore, vip) in [(1, "192.0.2.100/32"), (3, "192.0.2.100/32"), (2, "192.0.2.100/24")] {
        silent(ignore, vip).check(&[]);
    }
    for (ignore, vip) in [(2, "192.0.2.100/32"), (8, "192.0.2.100/24"), (4, "192.0.2.100/24")] {
        let found = format!("where {vip} is: arp_ignore is {ignore} at eth0");
        silent(ignore, vip).check(&[(Problem, &*found)]);
    }

    let alone = |vips: &[&str]| {
        let mut case = Case::of(vips);
        case.eth0().kernel.promotes_secondaries = false;
        case
    };
    let found =
        (Warning, "/24 is or will be the first of several addresses of its network on eth0");
    alone(&["198.51.100.1/24", "198.51.100.2/24"]).check(&[found]);
    let apart = ["198.51.100.1/24", "203.0.113.1/24"];
    for vips in [&["192.0.2.100/24"][..], &["192.0.2.100/32"], &["198.51.100.1/24"], &apart] {
        alone(vips).check(&[]);
    }
    // The box got its own address when it was Active already.
    let mut case = alone(&["192.0.2.100/24"]);
    case.eth0().addresses.insert(0, address_of("192.0.2.100/24", ADDRESS_PROTOCOL));
    case.check(&[found]);
    case.eth0().kernel.promotes_secondaries = true;
    case.check(&[]);
}

#[test]
fn others_on_this_box_take_addresses_off() {
    let mut case = Case::of(&["192.0.2.100/24"]);
    case.eth0().manager = Some(Manager::Networkd);
    case.check(&[(Warning, "networkd has eth0 in hand")]);
    case.eth0().manager = Some(Manager::NetworkManager);
    case.check(&[(Warning, "NetworkManager has eth0 in hand")]);
}

#[test]
fn a_vip_is_the_services_to_put_on() {
    let there = |address: Address| {
        let mut case = Case::of(&["192.0.2.100/24"]);
        case.eth0().addresses.push(address);
        case
    };
    there(address("192.0.2.100/24")).check(&[(
        Problem,
        "192.0.2.100 is on eth0 and was not put there by the service (protocol 0",
    )]);
    let mut case = there(address_of("192.0.2.100/24", ADDRESS_PROTOCOL));
    case.facts.service = Service::Silent;
    case.check(&[
        (Warning, "192.0.2.100 is on this box by a virtual router, and no service"),
        (Warning, "does not answer, so what it may do cannot be seen"),
    ]);
    case.facts.service = Service::Running { is_real_time: true, is_locked: true };
    let mut moved = Case::of(&["192.0.2.100/24"]);
    moved.routers[0].interface = Arc::from("eth1");
    let mut eth1 = moved.facts.interfaces.remove(0);
    eth1.name = "eth1".to_owned();
    moved.facts.interfaces = vec![eth1, case.facts.interfaces.remove(0)];
    moved.check(&[(Problem, "192.0.2.100 is on eth0 by a virtual router, and is to be on eth1")]);
}

#[test]
fn whoever_answers_for_a_vip_says_so() {
    let mut case = Case::of(&["192.0.2.100/24"]);
    case.answered("192.0.2.100", 7);
    case.check(&[(Problem, "02:00:00:00:00:07 answers for 192.0.2.100, and no advert of VRID 51")]);
    let mut case = Case::beside(Ok(heard()));
    case.answered("192.0.2.100", 7);
    case.check(&[(Problem, "02:00:00:00:00:02 and 02:00:00:00:00:07 answer for 192.0.2.100")]);
    let mut case = Case::beside(Ok(heard()));
    case.facts.answers.clear();
    case.check(&[(Warning, "somebody is Active, and nobody answers for 192.0.2.100")]);
    case.facts.asked.clear();
    case.check(&[(Warning, "the link cannot be asked who has 192.0.2.100")]);
}

#[test]
fn partners_are_heard_and_told_the_same() {
    let of = |change: fn(&mut Heard)| {
        let mut heard = heard();
        change(&mut heard);
        Case::beside(Ok(heard))
    };
    of(|heard| heard.claim = Claim::Leads(Priority::new(100).unwrap()))
        .check(&[(Warning, "192.0.2.11 has our priority, 100")]);
    of(|heard| heard.vips = Agreement::Differs)
        .check(&[(Warning, "192.0.2.11 has other vips than we have")]);
    of(|heard| {
        heard.timing = Agreement::Differs;
        heard.interval = Interval::of_centiseconds(100).unwrap();
    })
    .check(&[(Warning, "192.0.2.11 has an interval of 1000 ms, and we have one of 400 ms")]);

    for (refusal, found) in [
        (Refusal::Password, "what 192.0.2.11 says for VRID 51 is refused: wrong password"),
        (Refusal::Unsigned, "what 192.0.2.11 says for VRID 51 is refused: not signed"),
        (Refusal::OtherVersion { got: 2 }, "is refused: VRRP version 2, which is not spoken here"),
        (Refusal::Own, "somebody else speaks from our own address, 192.0.2.11"),
    ] {
        Case::beside(Err(refusal)).check(&[(Problem, found)]);
    }
    // One of the two has just taken over, or both stay.
    let mut case = Case::beside(Ok(heard()));
    case.facts.told.senders.push(sender("192.0.2.12", 51, &["192.0.2.100"]));
    case.check(&[]);
    case.facts.told.senders.iter_mut().for_each(|sender| sender.is_contested = true);
    case.check(&[(Problem, "192.0.2.11, 192.0.2.12 are Active at the same time")]);
}

#[test]
fn strangers_are_told_from_partners() {
    let mut case = Case::of(&["192.0.2.100/24"]);
    case.facts.told.senders.push(sender("192.0.2.9", 51, &["192.0.2.77"]));
    case.facts.told.vrids.push(VridsTold {
        interface: "eth0".to_owned(),
        family: 4,
        heard: vec![51],
        not_heard: vec![50, 52],
    });
    case.check(&[(
        Problem,
        "VRID 51 is another's on this link: 192.0.2.9 has none of these vips, but 192.0.2.77",
    )]);
    let found = of(&case.routers, &case.facts);
    let remedy = found.iter().find_map(|found| found.remedy.clone()).unwrap();
    assert!(remedy.contains("such as one of 50, 52, which are not heard"), "{remedy}");

    let mut case = Case::of(&["192.0.2.100/24"]);
    case.facts.told.senders.push(sender("192.0.2.9", 52, &["192.0.2.100"]));
    case.check(&[(Problem, "192.0.2.9 advertises some of these vips under VRID 52")]);
    // On another link, or of another family, it is somebody else's business.
    for change in [
        |sender: &mut SenderTold| sender.interface = "eth1".to_owned(),
        |sender: &mut SenderTold| sender.family = 6,
    ] {
        let mut case = Case::of(&["192.0.2.100/24"]);
        let mut other = sender("192.0.2.9", 51, &["192.0.2.77"]);
        change(&mut other);
        case.facts.told.senders.push(other);
        case.check(&[]);
    }
}

#[test]
fn the_service_has_what_it_was_given() {
    let of = |service| {
        let mut case = Case::of(&["192.0.2.100/24"]);
        case.facts.service = service;
        case
    };
    of(Service::Hidden).check(&[(Warning, "its process cannot be looked at")]);
    of(Service::Running { is_real_time: false, is_locked: true })
        .check(&[(Warning, "its thread does not run in real time")]);
    of(Service::Running { is_real_time: true, is_locked: false })
        .check(&[(Warning, "its memory is not locked")]);
}

#[test]
fn files_of_the_kernel_and_of_others_are_read() {
    let stat = |name: &str, policy: u8| {
        let fields: Vec<String> = (3..=52)
            .map(|field| if field == 41 { policy.to_string() } else { field.to_string() })
            .collect();
        format!("77 ({name}) {}", fields.join(" "))
    };
    assert!(is_real_time(&stat("vrrp", 2)) && is_real_time(&stat("vrrp", 1)));
    assert!(!is_real_time(&stat("vrrp", 0)) && !is_real_time(&stat("site-agent", 2)));
    assert!(!is_real_time("") && !is_real_time("1 (vrrp) S"));
    assert!(is_locked("VmPeak:\t 10 kB\nVmLck:\t    1234 kB\n"));
    assert!(!is_locked("VmLck:\t       0 kB\n") && !is_locked(""));

    let state = "# made by networkd\nADMIN_STATE=configured\nOPER_STATE=routable\n\
                 NETWORK_FILE=/etc/systemd/network/10.network\nNETWORK_FILE_DROPINS=/a.conf /b.conf\n";
    let files = networkd_files(state).unwrap();
    assert_eq!(files, ["/etc/systemd/network/10.network", "/a.conf", "/b.conf"]);
    assert_eq!(networkd_files(&state.replace("configured", "unmanaged")), None);
    assert_eq!(networkd_files(""), None);
    assert!(keeps_addresses("[Network]\nKeepConfiguration = yes\n"));
    assert!(!keeps_addresses("[Network]\nKeepConfiguration=dhcp\n#KeepConfiguration=yes\n"));
    assert!(!keeps_addresses("[Network]\nKeepConfiguration=yes\nKeepConfiguration=no\n"));
    assert!(is_managed("[device]\nmanaged=true\n") && !is_managed("[device]\nmanaged=false\n"));
}

/// What nothing else of the box shows.
#[test]
fn a_running_router_that_is_in_fault_or_yields_is_told() {
    let of = |fault: Option<&str>, yields| {
        let mut case = Case::of(&["192.0.2.100/24"]);
        let (name, fault) = ("web".to_owned(), fault.map(str::to_owned));
        case.facts.standings = vec![Standing { name, fault, yields }];
        super::of(&case.routers, &case.facts)
    };
    let says = |findings: &[Finding], severity, what: &str| {
        findings.iter().any(|finding| finding.severity == severity && finding.what.contains(what))
    };
    let without = of(Some("no balancer of this box serves"), false);
    assert!(says(&without, Problem, "in fault: no balancer"), "{without:?}");
    let remedy = without.iter().find_map(|finding| finding.remedy.clone());
    assert!(remedy.is_some_and(|remedy| remedy.contains("start site-agent run")), "{without:?}");
    assert!(says(&of(Some("link down"), false), Problem, "in fault: link down"));
    assert!(says(&of(None, true), Warning, "it yields"));
    assert!(!says(&of(None, false), Warning, "it yields"));
}
