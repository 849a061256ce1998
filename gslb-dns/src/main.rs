//! `gslb-dns`: arguments, run, exit code; what the arguments are and do is in `cli`.

use std::env::args_os;
use std::process::ExitCode;

fn main() -> ExitCode {
    gslb_dns::cli::run(args_os())
}
