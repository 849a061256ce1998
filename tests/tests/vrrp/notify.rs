//! `vrrp_service.notify`: a program that is told of changes of role, in order and one at a time.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use gslb_tests::server::built;
use gslb_tests::wait::until;

use super::boxes::{Ours, Place, ground};

const ROUTER: &str = "[vrrp.web]\ninterface = \"eth0\"\nvrid = 51\nvips = [\"192.0.2.100/24\"]\nprofile = \"fast\"\n";

/// A program of that name, which does this.
fn program(place: &Place, name: &str, lines: &str) -> PathBuf {
    let path = place.folder().join(name);
    fs::write(&path, format!("#!/bin/sh\ncd {:?}\n{lines}\n", place.folder())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn start<'p>(place: &'p Place, router: &str, program: &str) -> Ours<'p> {
    place.write_telling(router, program);
    let ours = place.run();
    ours.until_role("active");
    ours
}

/// What it has written so far.
fn lines(place: &Place) -> Vec<String> {
    let told = fs::read_to_string(place.folder().join("told")).unwrap_or_default();
    told.lines().map(str::to_owned).collect()
}

fn until_told(place: &Place, expected: &[&str]) {
    let what = || format!("{expected:?} is told: {:?}\n{}", lines(place), place.log());
    until(&what(), || Ok((lines(place) == expected).then_some(())))
        .unwrap_or_else(|_| panic!("{}", what()));
}

#[test]
fn a_program_is_told_of_each_change_in_order() {
    let Some(ground) = ground(&[]) else { return };
    let (a, b) = (ground.place("a"), ground.place("b"));
    // It takes its time, and would write between the lines of another one.
    let tells = "echo begin >> told; until mkdir lock 2>/dev/null; do echo two at once >> told; done\n\
                 echo \"$# $1 $2 $3 $4: $VRRP_ROUTER $VRRP_FROM $VRRP_TO $VRRP_PRIORITY $VRRP_VRID $VRRP_INTERFACE \
                 $VRRP_VIPS $VRRP_NUMBER $VRRP_SKIPPED, $VRRP_WHY${CARGO_MANIFEST_DIR}\" >> told\n\
                 awk '/^Cap(Eff|Prm|Inh|Amb)/ && $2 != \"0000000000000000\"' /proc/self/status >> told\n\
                 rmdir lock; echo end >> told";
    program(&a, "tell", tells);
    let mut ours = start(&a, ROUTER, "tell");
    let started =
        "4 INSTANCE web BACKUP 100: web initialize backup 100 51 eth0 192.0.2.100 1 0, started";
    let active =
        "4 INSTANCE web MASTER 100: web backup active 100 51 eth0 192.0.2.100 2 0, nobody leads";
    until_told(&a, &["begin", started, "end", "begin", active, "end"]);
    // From the next change on it is another, and the service has said nothing of a start for that.
    fs::remove_file(a.folder().join("told")).unwrap();
    program(&a, "other", "echo \"other $3\" >> told");
    a.write_telling(ROUTER, "other");
    ours.reload();
    let stronger = b
        .start("vips = [\"192.0.2.100/24\"]\nprofile = \"fast\"\npriority = 200\npreempt = \"0s\"");
    stronger.until_role("active");
    until_told(&a, &["other BACKUP"]);
    // Nobody is told any more; then somebody is told of the end, which is waited for.
    a.write(ROUTER);
    ours.reload();
    stronger.kill();
    ours.until_role("active");
    a.write_telling(ROUTER, "other");
    ours.reload();
    ours.stop();
    assert_eq!(lines(&a), ["other BACKUP", "other STOP"], "{}", a.log());
    assert!(!a.log().contains("taken at the next start"), "{}", a.log());
}

/// While it hangs the virtual router goes on as ever, and in the end it is killed with what it has started.
#[test]
fn a_program_that_hangs_keeps_nobody() {
    let Some(ground) = ground(&[]) else { return };
    let a = ground.place("a");
    program(&a, "tell", "echo $3 >> told; sleep 100 & echo $! > sleeper; wait");
    let ours = start(&a, ROUTER, "tell");
    until_told(&a, &["BACKUP"]);
    let sleeper = a.folder().join("sleeper");
    let process =
        until("it hangs", || Ok(fs::read_to_string(&sleeper).ok().filter(|id| !id.is_empty())));
    let process = PathBuf::from("/proc").join(process.unwrap().trim());
    let sent = ours.is("adverts_sent").as_u64().unwrap();
    until("adverts go on", || {
        Ok((ours.is("adverts_sent").as_u64().unwrap() > sent + 20).then_some(()))
    })
    .unwrap();
    assert_eq!(lines(&a), ["BACKUP"]);
    until_told(&a, &["BACKUP", "MASTER"]);
    assert!(
        a.log().contains("a program took too long over a change of role, and was killed"),
        "{}",
        a.log()
    );
    until("what it has started is gone", || Ok((!is_alive(&process)).then_some(()))).unwrap();
    let page = a.page("/metrics");
    for line in [
        "site_agent_vrrp_notified_total{result=\"killed\"} 1",
        "site_agent_vrrp_notified_total{result=\"ok\"} 0",
        "site_agent_vrrp_notify_skipped_total 0",
    ] {
        assert!(page.contains(line), "{line}\n{page}");
    }
    // The end is waited for no longer than a change is, and nobody is left behind.
    ours.stop();
    let last = fs::read_to_string(&sleeper).unwrap();
    assert!(!is_alive(&Path::new("/proc").join(last.trim())));
}

/// A process whose parent has not asked for it yet is none any more.
fn is_alive(process: &Path) -> bool {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

#[test]
fn a_program_that_fails_or_is_gone_is_told_of() {
    let Some(ground) = ground(&[]) else { return };
    let a = ground.place("a");
    let path = program(&a, "tell", "exit 3");
    let ours = start(&a, ROUTER, "tell");
    until("it has failed twice", || {
        let failed = a.log().matches("a program failed that was told of a change of role").count();
        Ok((failed == 2).then_some(()))
    })
    .unwrap();
    assert!(a.log().contains("exit status: 3"), "{}", a.log());
    fs::remove_file(&path).unwrap();
    ours.stop();
    assert!(a.log().contains("a program cannot be told of a change of role"), "{}", a.log());
    // A config that names none is refused.
    a.write_telling(ROUTER, "tell");
    let config = a.folder().join("site.toml");
    let mut command = Command::new(built("site-agent").unwrap());
    let refused = command.args(["vrrp", "run", "--config"]).arg(config).output().unwrap().stderr;
    let refused = String::from_utf8(refused).unwrap();
    assert!(refused.contains("vrrp_service.notify\n"), "{refused}");
    assert!(refused.contains("is no file that can be executed"), "{refused}");
}
