//! Shows a program another time of day than there is, by libfaketime. The clocks that only count are the kernel's, whatever
//! somebody sets.

use std::path::Path;
use std::process::Command;

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// What keeps clocks from being set wrong.
pub fn missing() -> Option<&'static str> {
    (!Path::new(LIBRARY).exists()).then_some("libfaketime is not installed")
}

/// By so many seconds ahead, as long as it runs.
pub fn ahead(command: &mut Command, seconds: i32) {
    with(command).env("FAKETIME", format!("{seconds:+}"));
}

/// By as much as stands in that file, `+3600` or `+0`, at each look.
pub fn by_file(command: &mut Command, file: &Path) {
    with(command).env("FAKETIME_TIMESTAMP_FILE", file).env("FAKETIME_NO_CACHE", "1");
}

fn with(command: &mut Command) -> &mut Command {
    command.env("LD_PRELOAD", LIBRARY).env("DONT_FAKE_MONOTONIC", "1")
}
