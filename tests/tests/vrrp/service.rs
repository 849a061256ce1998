//! The service itself: what it may do, what it reads, what it shows.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use gslb_tests::server::built;

use super::boxes::{Place, ground};

const LINES: &str = "vips = [\"192.0.2.100/24\"]\nprofile = \"fast\"";

#[test]
fn it_holds_two_capabilities_and_no_more() {
    let Some(ground) = ground(&[]) else { return };
    let a = ground.place("a");
    let ours = a.start(LINES);
    ours.until_role("active");
    let mut threads = 0;
    for task in fs::read_dir(format!("/proc/{}/task", ours.process.id())).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let of = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        // CAP_NET_ADMIN is 12, CAP_NET_RAW 13.
        assert_eq!((of("CapEff:"), of("CapPrm:")), (0x3000, 0x3000), "{status}");
        assert_eq!((of("CapInh:"), of("CapAmb:"), of("CapBnd:")), (0, 0, 0), "{status}");
        assert_eq!(of("NoNewPrivs:"), 1);
        threads += 1;
    }
    assert!(threads >= 2, "{threads} threads");
}

/// What did not change is left alone, however often it is read; what did goes on where it can.
#[test]
fn a_reload_moves_nobody() {
    let Some(ground) = ground(&[]) else { return };
    let a = ground.place("a");
    let router = |rest: &str| {
        format!("[vrrp.web]\ninterface = \"eth0\"\nvrid = 51\nprofile = \"fast\"\n{rest}\n")
    };
    let mut ours = a.start_all(&router("vips = [\"192.0.2.100/24\"]"));
    ours.until_role("active");
    let events = || ours_events(&a);
    let before = events();
    (0..20).for_each(|_| ours.reload());
    assert_eq!(events(), before);

    // Another address comes, one goes, and who leads leads on.
    a.write(&router("vips = [\"192.0.2.100/24\", \"192.0.2.101/24\"]\npriority = 150"));
    ours.reload();
    a.until_has("192.0.2.101", true);
    assert_eq!((ours.is("role"), ours.is("priority")), ("active".into(), 150.into()));
    a.write(&router("vips = [\"192.0.2.101/24\"]"));
    ours.reload();
    a.until_has("192.0.2.100", false);
    assert!(a.has("192.0.2.101"));
    assert_eq!(ours.is("role"), "active");

    // A bad one changes nothing and is told of.
    a.write(&router("vips = [\"nonsense\"]"));
    ours.reload();
    assert!(a.log().contains("the config is refused: the one before goes on"), "{}", a.log());
    assert!(a.log().contains("vrrp.web.vips[0]: \\\"nonsense\\\" is no address"), "{}", a.log());
    assert!(a.has("192.0.2.101"));

    // A new one beside it begins, and one that is gone gives its address back.
    let second = "[vrrp.mail]\ninterface = \"eth0\"\nvrid = 52\nvips = [\"192.0.2.102\"]\nprofile = \"fast\"\n";
    a.write(&(router("vips = [\"192.0.2.101/24\"]") + second));
    ours.reload();
    a.until_has("192.0.2.102", true);
    assert!(a.has("192.0.2.101"));
    a.write(second);
    ours.reload();
    a.until_has("192.0.2.101", false);
    assert!(a.has("192.0.2.102"));
    ours.stop();
    assert!(!a.has("192.0.2.102"));
}

fn ours_events(place: &Place) -> usize {
    place.log().matches("another role").count()
}

#[test]
fn metrics_and_status_are_shown() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b) = (ground.place("a"), ground.place("b"));
    let one = a.start(&format!("{LINES}\npriority = 200"));
    one.until_role("active");
    let other = b.start(LINES);
    other.stays("backup", 5);
    let metrics = b.page("/metrics");
    for line in [
        "site_agent_vrrp_role{role=\"backup\",router=\"web\"} 1",
        "site_agent_vrrp_role{role=\"active\",router=\"web\"} 0",
        "site_agent_vrrp_priority{router=\"web\"} 100",
        "site_agent_vrrp_became_active_total{router=\"web\"} 0",
        "site_agent_vrrp_checksum_form_total{form=\"message\",router=\"web\"} 0",
        "site_agent_vrrp_balancers 0",
        "site_agent_vrrp_events_lost_total 0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert!(a.page("/metrics").contains("site_agent_vrrp_became_active_total{router=\"web\"} 1"));
    assert!(a.page("/v1/status").contains("\"role\": \"active\""));
    let shown = String::from_utf8(other.asks(&["status"]).stdout).unwrap();
    assert!(shown.contains("web: backup for "), "{shown}");
    assert!(shown.contains("last heard: 192.0.2.10 with 200"), "{shown}");
    // A second service of the same file would fight the first.
    let socket = a.folder().join("vrrp.sock");
    let twin = one.asks(&["run"]);
    assert!(!twin.status.success());
    let told = String::from_utf8(twin.stderr).unwrap();
    assert!(
        told.contains(&format!(
            "vrrp_service.socket {}: another process listens there",
            socket.display()
        )),
        "{told}"
    );
    // Nobody is there to ask.
    one.stop();
    let told = String::from_utf8(other_of(&a).stderr).unwrap();
    assert!(told.contains("does `site-agent vrrp run` run?"), "{told}");
}

fn other_of(place: &Place) -> std::process::Output {
    let mut program = std::process::Command::new(gslb_tests::server::built("site-agent").unwrap());
    program
        .args(["vrrp", "status", "--config"])
        .arg(place.folder().join("site.toml"))
        .output()
        .unwrap()
}

/// The pair's secret is for the process that signs; the other one, to which strangers talk, goes without.
#[test]
fn a_key_is_for_the_virtual_routers_alone() {
    const NOBODY: u32 = 65_534;
    let Some(ground) = ground(&[]) else { return };
    let a = ground.place("a");
    let key = a.folder().join("1.key");
    fs::write(&key, "11".repeat(32)).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    a.write(&format!(
        "[frontend.web]\nbind = [\"192.0.2.100:80\"]\nrules = [{{ when = \"true\", deny = 403 }}]\n\
         [vrrp.web]\ninterface = \"eth0\"\nvrid = 51\n{LINES}\nsignature = {{ keys = [{{ id = 1, file = \"1.key\" }}] }}\n"
    ));
    for folder in a.folder().ancestors().take(2) {
        fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    }
    // Nobody may come to where it is built.
    let program = a.folder().join("site-agent");
    fs::copy(built("site-agent").unwrap(), &program).unwrap();
    let as_nobody = |command: &[&str]| {
        let mut program = Command::new(&program);
        program.args(command).arg("--config").arg(a.folder().join("site.toml"));
        program.uid(NOBODY).gid(NOBODY).output().unwrap()
    };
    let checked = as_nobody(&["check"]);
    assert!(checked.status.success(), "{checked:?}");
    let run = as_nobody(&["vrrp", "run"]);
    let told = String::from_utf8(run.stderr).unwrap();
    assert!(!run.status.success() && told.contains("cannot read"), "{told}");
}

/// What it speaks from is not there; by another config it is.
#[test]
fn a_reload_mends_what_kept_a_router_away() {
    let Some(ground) = ground(&[]) else { return };
    let a = ground.place("a");
    let router = |source: &str| {
        format!("[vrrp.web]\ninterface = \"eth0\"\nvrid = 51\n{LINES}\nsource = {source:?}")
    };
    let mut ours = a.start_all(&router("192.0.2.99"));
    ours.until_told("the interface has no address to send adverts from");
    assert_eq!(ours.is("role"), "fault");
    a.write(&router("192.0.2.10"));
    ours.reload();
    ours.until_role("active");
}

/// Whatever else is wrong there.
#[test]
fn a_config_that_is_not_good_keeps_nobody_from_giving_orders() {
    let Some(ground) = ground(&[]) else { return };
    let a = ground.place("a");
    let ours = a.start(LINES);
    ours.until_role("active");
    a.write_telling("[vrrp.web]\ninterface = \"eth0\"\nvips = [\"nonsense\"]", "/is/not/there");
    assert_eq!(ours.is("role"), "active");
    // It is alone, so it has the addresses again, and that is told.
    let done = ours.asks(&["hand-over", "web"]);
    let told = String::from_utf8(done.stdout).unwrap();
    assert!(!done.status.success() && told.contains("nobody else took its addresses"), "{told}");
    let done = ours.asks(&["take-back", "web"]);
    assert_eq!(String::from_utf8(done.stdout).unwrap(), "web: it did not yield\n");
}
