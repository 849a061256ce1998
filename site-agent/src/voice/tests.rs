//! What is said of VIPs, look by look, as lines.

use backends::State as Pool;
use common::report::agent::Role;

use super::*;

const WEB: PoolWord = PoolWord {
    state: Pool::Serving,
    capacity: Some(3000),
    servers_up: 3,
    servers: 3,
    is_starting: false,
};

fn door(bind: &str, pools: &[usize]) -> Door {
    let pools = Some(pools.iter().copied().map(PoolId).collect());
    Door { pools, ..redirect(bind) }
}

fn redirect(bind: &str) -> Door {
    Door { bind: bind.split(' ').map(|at| at.parse().unwrap()).collect(), pools: None }
}

fn asked(vips: &str) -> BTreeSet<SocketAddr> {
    vips.split_whitespace().map(|at| at.parse().unwrap()).collect()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// `ADDRESS state since capacity up/servers flaps`, a line each.
fn lines(voice: &Voice) -> String {
    let line = |vip: Vip| {
        let state = serde_json::to_value(vip.state).unwrap();
        format!(
            "{} {} {}s {} {}/{} {}",
            vip.at(),
            state.as_str().unwrap(),
            vip.since / 1000,
            vip.capacity.map_or("?".to_owned(), |rate| rate.to_string()),
            vip.backends_up,
            vip.backends,
            vip.flaps
        )
    };
    voice.vips().into_iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What is said at first.
fn check(doors: &[Door], pools: &[PoolWord], asked_for: &str, expected: &str) {
    let mut voice = Voice::default();
    assert!(
        voice.look(seconds(5), doors, pools, &asked(asked_for), &BTreeMap::new(), false)
            || expected.is_empty()
    );
    assert_eq!(lines(&voice), expected, "{doors:?}");
    assert!(
        !voice.look(seconds(6), doors, pools, &asked(asked_for), &BTreeMap::new(), false),
        "{doors:?}"
    );
}

#[test]
fn each_vip_is_as_its_pool_is() {
    let empty = PoolWord { state: Pool::Empty, capacity: Some(0), servers_up: 0, ..WEB };
    let drained = PoolWord { state: Pool::Drained, ..empty };
    let at = || door("192.0.2.1:443", &[0]);
    check(&[at()], &[WEB], "", "192.0.2.1:443 serving 5s 3000 3/3 0");
    check(&[at()], &[empty], "", "192.0.2.1:443 empty 5s 0 0/3 0");
    check(&[at()], &[drained], "", "192.0.2.1:443 drained 5s 0 0/3 0");
    let unknown = PoolWord { capacity: None, ..WEB };
    check(&[at()], &[unknown], "", "192.0.2.1:443 serving 5s ? 3/3 0");
    // One that redirects needs nobody, one that only denies serves nobody.
    check(&[door("192.0.2.1:80", &[])], &[], "", "192.0.2.1:80 empty 5s ? 0/0 0");
    check(&[redirect("192.0.2.1:80")], &[], "", "192.0.2.1:80 serving 5s ? 0/0 0");
    check(&[], &[WEB], "192.0.2.1:443", "");
}

#[test]
fn rules_to_several_pools_serve_while_one_of_them_does() {
    let empty = PoolWord { state: Pool::Empty, capacity: Some(0), servers_up: 0, ..WEB };
    let drained = PoolWord { state: Pool::Drained, ..empty };
    let both = [door("192.0.2.1:443", &[0, 1])];
    check(&both, &[WEB, WEB], "", "192.0.2.1:443 serving 5s 6000 6/6 0");
    check(&both, &[WEB, empty], "", "192.0.2.1:443 serving 5s 3000 3/6 0");
    check(&both, &[empty, drained], "", "192.0.2.1:443 empty 5s 0 0/6 0");
    check(&both, &[drained, drained], "", "192.0.2.1:443 drained 5s 0 0/6 0");
    let unknown = PoolWord { capacity: None, ..WEB };
    check(&both, &[WEB, unknown], "", "192.0.2.1:443 serving 5s ? 6/6 0");
}

#[test]
fn capacity_is_shared_among_addresses_and_told_at_each_port() {
    let doors = [door("192.0.2.1:443 192.0.2.1:8443 192.0.2.2:443", &[0])];
    check(
        &doors,
        &[WEB],
        "",
        "192.0.2.1:443 serving 5s 1500 3/3 0\n\
         192.0.2.1:8443 serving 5s 1500 3/3 0\n\
         192.0.2.2:443 serving 5s 1500 3/3 0",
    );
}

#[test]
fn who_listens_everywhere_serves_what_name_servers_ask_for() {
    let doors = [door("0.0.0.0:443", &[0]), redirect("192.0.2.2:443")];
    let vips = "192.0.2.1:443 192.0.2.1:80 192.0.2.2:443 [2001:db8::1]:443";
    check(
        &doors,
        &[WEB],
        vips,
        "192.0.2.1:443 serving 5s 3000 3/3 0\n192.0.2.2:443 serving 5s ? 0/0 0",
    );
    check(&[door("[::]:443", &[0])], &[WEB], vips, "[2001:db8::1]:443 serving 5s 3000 3/3 0");
}

#[test]
fn changes_are_told_with_their_time_and_counted_for_an_hour() {
    let empty = PoolWord { state: Pool::Empty, capacity: Some(0), servers_up: 0, ..WEB };
    let doors = [door("192.0.2.1:443", &[0])];
    let mut voice = Voice::default();
    let mut look = |at, pool, is_leaving| {
        let news = voice.look(
            seconds(at),
            &doors,
            &[pool],
            &BTreeSet::new(),
            &BTreeMap::new(),
            is_leaving,
        );
        format!("{news} {}", lines(&voice))
    };
    assert_eq!(look(1, WEB, false), "true 192.0.2.1:443 serving 1s 3000 3/3 0");
    // Less is no other state.
    let fewer = PoolWord { capacity: Some(2000), servers_up: 2, ..WEB };
    assert_eq!(look(2, fewer, false), "true 192.0.2.1:443 serving 1s 2000 2/3 0");
    assert_eq!(look(3, empty, false), "true 192.0.2.1:443 empty 3s 0 0/3 1");
    assert_eq!(look(4, WEB, false), "true 192.0.2.1:443 serving 4s 3000 3/3 2");
    assert_eq!(look(3602, WEB, false), "false 192.0.2.1:443 serving 4s 3000 3/3 2");
    assert_eq!(look(3603, WEB, false), "true 192.0.2.1:443 serving 4s 3000 3/3 1");
    // Whoever leaves serves nobody new.
    assert_eq!(look(3604, WEB, true), "true 192.0.2.1:443 empty 3604s 3000 3/3 1");
    // And what an operator took out stays out.
    let drained = PoolWord { state: Pool::Drained, ..empty };
    assert_eq!(look(3605, drained, true), "true 192.0.2.1:443 drained 3605s 0 0/3 2");
}

#[test]
fn what_is_asked_is_told_and_is_never_news() {
    let doors = [door("192.0.2.1:443", &[0]), door("0.0.0.0:80", &[0])];
    let vips = asked("192.0.2.1:80 192.0.2.2:80");
    let [bound, reached, never]: [SocketAddr; 3] =
        ["192.0.2.1:443", "192.0.2.1:80", "192.0.2.2:80"].map(|at| at.parse().unwrap());
    let mut voice = Voice::default();
    let mut look = |at, counts: &[(SocketAddr, u64)]| {
        voice.count(seconds(at), &counts.iter().copied().collect());
        let has_news = voice.look(seconds(at), &doors, &[WEB], &vips, &BTreeMap::new(), false);
        let said = voice.vips();
        let load = |at: SocketAddr| {
            said.iter().find(|vip| vip.at() == at).unwrap().load.map(Rate::per_second)
        };
        (has_news, [bound, reached, never].map(load))
    };
    assert_eq!(look(1, &[(bound, 0)]), (true, [None; 3]));
    assert_eq!(look(2, &[(bound, 0), (reached, 7)]), (false, [Some(0.0), None, None]));
    assert_eq!(look(4, &[(bound, 60), (reached, 107)]).1[1], Some(50.0));
    let (has_news, loads) = look(5, &[(bound, 90), (reached, 157)]);
    assert_eq!((has_news, loads[1], loads[2]), (false, Some(50.0), None));
}

#[test]
fn flaps_and_vips_are_bounded() {
    let empty = PoolWord { state: Pool::Empty, capacity: Some(0), servers_up: 0, ..WEB };
    let mut voice = Voice::default();
    let doors = [door("192.0.2.1:443", &[0])];
    for at in 0..=u64::try_from(MOST_FLAPS).unwrap() + 5 {
        let pool = if at % 2 == 0 { WEB } else { empty };
        voice.look(seconds(at), &doors, &[pool], &BTreeSet::new(), &BTreeMap::new(), false);
    }
    assert_eq!(voice.vips()[0].flaps, 100);
    let ports = 1..=u16::try_from(MOST_VIPS + 1).unwrap();
    let vips = ports.map(|port| SocketAddr::from(([192, 0, 2, 1], port))).collect();
    let many = [Door { bind: vips, pools: None }];
    assert!(voice.look(seconds(1), &many, &[], &BTreeSet::new(), &BTreeMap::new(), false));
    assert_eq!((voice.vips().len(), voice.left_out()), (MOST_VIPS, 1));
    voice.look(seconds(1), &doors, &[WEB], &BTreeSet::new(), &BTreeMap::new(), false);
    assert_eq!(voice.left_out(), 0);
}

/// An agent that was just started has lost nobody, and what it then finds is no return.
#[test]
fn who_has_yet_to_look_cannot_say() {
    let unknown = PoolWord { capacity: Some(1000), servers_up: 1, is_starting: true, ..WEB };
    let starting = PoolWord { state: Pool::Empty, capacity: Some(0), servers_up: 0, ..unknown };
    let doors = [door("192.0.2.1:443", &[0])];
    let said = |looks: &[(u64, PoolWord)], is_leaving| {
        let mut voice = Voice::default();
        for (at, pool) in looks {
            voice.look(
                seconds(*at),
                &doors,
                &[*pool],
                &BTreeSet::new(),
                &BTreeMap::new(),
                is_leaving,
            );
        }
        lines(&voice)
    };
    assert_eq!(said(&[(1, starting)], false), "192.0.2.1:443 none 1s ? 0/3 0");
    let after = |found| said(&[(1, starting), (2, found)], false);
    assert_eq!(after(WEB), "192.0.2.1:443 serving 2s 3000 3/3 0");
    // One of them is known to serve, and not what the others can.
    assert_eq!(after(unknown), "192.0.2.1:443 serving 2s ? 1/3 0");
    let empty = PoolWord { is_starting: false, ..starting };
    assert_eq!(after(empty), "192.0.2.1:443 empty 2s 0 0/3 0");
    assert_eq!(said(&[(1, starting)], true), "192.0.2.1:443 empty 1s 0 0/3 0");
    // What was known holds beside servers that are new.
    assert_eq!(said(&[(1, WEB), (2, unknown)], false), "192.0.2.1:443 serving 1s 3000 1/3 0");
    // Who cannot be looked at at all is not waited for.
    assert_eq!(said(&[(1, unknown), (30, unknown)], false), "192.0.2.1:443 serving 1s ? 1/3 0");
    assert_eq!(said(&[(1, unknown), (31, unknown)], false), "192.0.2.1:443 serving 1s 1000 1/3 0");
    assert_eq!(said(&[(1, starting), (31, starting)], false), "192.0.2.1:443 empty 31s 0 0/3 0");
}

#[test]
fn a_role_is_told_of_the_address_that_has_it_and_another_one_is_news() {
    let doors = [door("192.0.2.1:80 192.0.2.1:443 192.0.2.2:80", &[0])];
    let (mut voice, ip): (Voice, IpAddr) = (Voice::default(), "192.0.2.1".parse().unwrap());
    let mut look = |at: u64, role: Option<(Role, u64)>| {
        let vrrp = role.map(|(role, since)| (ip, Vrrp { vrid: 51, role, since }));
        let roles = vrrp.into_iter().collect();
        let has_news = voice.look(seconds(at), &doors, &[WEB], &BTreeSet::new(), &roles, false);
        let told: Vec<_> = voice.vips().iter().map(|vip| vip.vrrp.map(|vrrp| vrrp.role)).collect();
        let role = role.map(|(role, _)| role);
        assert_eq!(told, [role, role, None], "by address and port");
        has_news
    };
    assert!(look(1, None));
    assert!(!look(2, None));
    assert!(look(3, Some((Role::Backup, 2500))));
    assert!(!look(4, Some((Role::Backup, 2500))));
    assert!(look(5, Some((Role::Active, 4500))));
    assert!(look(6, Some((Role::Active, 5500))), "it has been another in between");
}
