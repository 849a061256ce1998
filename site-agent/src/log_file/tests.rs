//! Real files, and a device that is always full.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);
/// Set where this program is to log to its stdout.
const PRINTS: &str = "SITE_AGENT_TEST_PRINTS";

fn file(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    (folder, path)
}

fn lines_of(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    text.lines().map(str::to_owned).collect()
}

fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let until = monotonic() + DEADLINE;
    while !holds() {
        assert!(monotonic() < until, "{what}");
        thread::park_timeout(POLL);
    }
}

#[test]
fn lines_of_threads_arrive_whole_and_in_order() {
    const EACH: usize = 20_000;
    let (_folder, path) = file("access.log");
    fs::write(&path, "there before\n").unwrap();
    let (log, lines) = LogFile::open(LogTarget::File(path.clone()), 4).unwrap();
    let threads: Vec<_> = (0..4_usize)
        .zip(lines)
        .map(|(thread, mut lines)| {
            thread::spawn(move || {
                for number in 0..EACH {
                    lines
                        .log(format!("{thread} {number} {}\n", "x".repeat(number % 50)).as_bytes());
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let Counts { written, dropped } = log.close(DEADLINE);
    assert_eq!(written + dropped, 4 * EACH as u64);
    let lines = lines_of(&path);
    assert_eq!((lines[0].as_str(), lines.len() as u64), ("there before", written + 1));
    let mut last = [None; 4];
    for line in &lines[1..] {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap();
        let (thread, number): (usize, usize) = (word().parse().unwrap(), word().parse().unwrap());
        assert_eq!(word().len(), number % 50);
        assert!(last[thread].is_none_or(|last| last < number));
        last[thread] = Some(number);
    }
}

#[test]
fn a_file_that_was_renamed_is_left_for_its_successor() {
    let (_folder, path) = file("access.log");
    let (log, mut lines) = LogFile::open(LogTarget::File(path.clone()), 1).unwrap();
    lines[0].log(b"one\n");
    wait_for("one is written", || log.counts().written == 1);
    let old = path.with_extension("1");
    fs::rename(&path, &old).unwrap();
    lines[0].log(b"two\n");
    wait_for("two is written", || log.counts().written == 2);
    log.reopen();
    wait_for("there is a new file", || path.exists());
    lines[0].log(b"three\n");
    assert_eq!(log.close(DEADLINE), Counts { written: 3, dropped: 0 });
    assert_eq!(
        (lines_of(&old), lines_of(&path)),
        (vec!["one".into(), "two".into()], vec!["three".into()])
    );
}

#[test]
fn a_file_that_cannot_be_opened_again_keeps_the_old_one() {
    let (folder, path) = file("access.log");
    let (log, mut lines) = LogFile::open(LogTarget::File(path.clone()), 1).unwrap();
    let elsewhere = folder.path().with_extension("moved");
    fs::rename(folder.path(), &elsewhere).unwrap();
    log.reopen();
    wait_for("it was tried", || !log.shared.is_reopening.load(Relaxed));
    lines[0].log(b"still here\n");
    assert_eq!(log.close(DEADLINE), Counts { written: 1, dropped: 0 });
    assert_eq!(lines_of(&elsewhere.join("access.log")), ["still here"]);
    fs::remove_dir_all(elsewhere).unwrap();
}

#[test]
fn a_full_disk_keeps_nobody_waiting_and_tears_no_line() {
    let (_folder, path) = file("access.log");
    symlink("/dev/full", &path).unwrap();
    let (log, mut lines) = LogFile::open(LogTarget::File(path.clone()), 1).unwrap();
    let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
    // Its ring, and as much again that the writer may have taken out already.
    let most = 2 * RING / line.len();
    for _ in 0..most + 10 {
        lines[0].log(&line);
    }
    let dropped = log.counts().dropped;
    assert!(dropped >= 10, "{dropped}");
    assert_eq!(log.counts().written, 0);
    fs::remove_file(&path).unwrap();
    log.reopen();
    wait_for("what was kept is written", || {
        log.counts().written + log.counts().dropped == most as u64 + 10
    });
    assert_eq!(log.counts().dropped, dropped);
    assert!(log.counts().written >= (RING / line.len()) as u64);
    assert_eq!(log.close(DEADLINE).dropped, dropped);
    assert!(lines_of(&path).iter().all(|read| read.len() == 1023));
}

#[test]
fn a_new_file_gets_no_half_of_a_line() {
    let check = |sent: usize, expected: usize| {
        assert_eq!(writer::next_line(b"one\ntwo\n", sent), expected, "{sent}");
    };
    check(0, 0);
    check(1, 4);
    check(3, 4);
    check(4, 4);
    check(5, 8);
    check(8, 8);
}

#[test]
fn what_cannot_be_written_until_the_end_is_counted() {
    let (_folder, path) = file("access.log");
    symlink("/dev/full", &path).unwrap();
    let (log, mut lines) = LogFile::open(LogTarget::File(path), 2).unwrap();
    lines[0].log(b"one\ntwo\n");
    lines[1].log(b"three\n");
    assert_eq!(log.close(DEADLINE), Counts { written: 0, dropped: 3 });
}

#[test]
fn who_logs_last_is_written_though_nobody_waits() {
    let (_folder, path) = file("access.log");
    let (log, mut lines) = LogFile::open(LogTarget::File(path.clone()), 1).unwrap();
    lines[0].log(b"last\n");
    let LogFile { thread, .. } = log;
    drop(lines);
    wait_for("the writer ends", || thread.is_finished());
    assert_eq!(lines_of(&path), ["last"]);
}

#[test]
fn a_line_that_fits_no_ring_is_dropped() {
    let (_folder, path) = file("access.log");
    let (log, mut lines) = LogFile::open(LogTarget::File(path.clone()), 1).unwrap();
    lines[0].log(&[vec![b'x'; RING], b"\n".to_vec()].concat());
    lines[0].log(&[vec![b'y'; RING - 1], b"\n".to_vec()].concat());
    assert_eq!(log.close(DEADLINE), Counts { written: 1, dropped: 1 });
    assert_eq!(lines_of(&path)[0].len(), RING - 1);
}

/// A file that takes no more within a line: in a process of its own that may write 4096 octets of each.
#[test]
fn a_line_that_was_cut_does_not_go_on_in_the_next_file() {
    if env::var_os(PRINTS).is_none() {
        let test = "log_file::tests::a_line_that_was_cut_does_not_go_on_in_the_next_file";
        let shell = format!("trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact {test}");
        let program = env::current_exe().unwrap();
        let child = Command::new("sh").arg("-c").arg(shell).arg(program).env(PRINTS, "1").output();
        let child = child.unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        return;
    }
    let (_folder, path) = file("access.log");
    let (log, mut lines) = LogFile::open(LogTarget::File(path.clone()), 1).unwrap();
    let line = [b"x".repeat(999), b"\n".to_vec()].concat();
    lines[0].log(&line.repeat(5));
    wait_for("four lines are written", || log.counts().written == 4);
    let old = path.with_extension("1");
    fs::rename(&path, &old).unwrap();
    log.reopen();
    wait_for("there is a new file", || path.exists());
    lines[0].log(b"after\n");
    assert_eq!(log.close(DEADLINE), Counts { written: 5, dropped: 1 });
    assert_eq!(fs::metadata(old).unwrap().len(), 4096);
    assert_eq!(lines_of(&path), ["after"]);
}

#[test]
fn stdout_is_a_file_too() {
    if env::var_os(PRINTS).is_some() {
        let (log, mut lines) = LogFile::open(LogTarget::Stdout, 1).unwrap();
        lines[0].log(b"to stdout\n");
        assert_eq!(log.close(DEADLINE), Counts { written: 1, dropped: 0 });
        return;
    }
    let test = "log_file::tests::stdout_is_a_file_too";
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(PRINTS, "1")
        .output()
        .unwrap();
    let told = String::from_utf8(child.stdout).unwrap();
    assert!(child.status.success() && told.contains("to stdout\n"), "{told}");
}
