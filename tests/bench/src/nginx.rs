//! What every nginx of a run is told, and its certificate.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};

pub const PROGRAM: &str = "/usr/sbin/nginx";

/// The zone of the certificate's names.
pub const ZONE: &str = "bench.test";

pub fn find() -> anyhow::Result<()> {
    if !Path::new(PROGRAM).exists() {
        bail!(
            "nginx is not installed; install with: apt-get install --no-install-recommends nginx-light"
        );
    }
    Ok(())
}

/// Writes its file below `dir`, has it checked, and says how to start it there: one process in the foreground. `http` is
/// what stands in that block.
pub fn prepare(dir: &Path, connections: usize, http: &str) -> anyhow::Result<Command> {
    let home = dir.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {home}/{kind};\n"))
        .concat();
    let descriptors = 2 * connections + 100;
    let text = format!(
        "daemon off; master_process off; pid {home}/nginx.pid; error_log stderr error;\n\
         worker_rlimit_nofile {descriptors};\n\
         events {{ worker_connections {connections}; }}\n\
         http {{ access_log off;\n{temporary}{http}\n}}\n"
    );
    fs::write(dir.join("nginx.conf"), text)?;
    let mut command = Command::new(PROGRAM);
    command.arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf"));
    let checked = Command::new(PROGRAM).args(command.get_args()).arg("-t").output()?;
    ensure!(
        checked.status.success(),
        "nginx refuses its configuration:\n{}",
        String::from_utf8_lossy(&checked.stderr)
    );
    Ok(command)
}

/// A certificate for every name of the zone, which is its own root: `web.pem` and `web.key` below `dir`.
pub fn certify(dir: &Path) -> anyhow::Result<()> {
    let config = format!(
        "[req]\ndistinguished_name = name\nx509_extensions = leaf\nprompt = no\n[name]\nCN = bench\n\
         [leaf]\nbasicConstraints = critical, CA:FALSE\nsubjectAltName = DNS:*.{ZONE}\n"
    );
    fs::write(dir.join("openssl.conf"), config)?;
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -config openssl.conf -keyout \
                 web.key -out web.pem";
    let done = Command::new("openssl").args(words.split(' ')).current_dir(dir).output();
    let done = done.context("cannot start openssl")?;
    ensure!(done.status.success(), "openssl: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// Such as `nginx/1.22.1`.
pub fn version() -> anyhow::Result<String> {
    let output = Command::new(PROGRAM).arg("-v").output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let version = text.split_whitespace().last().context("nginx does not say its version")?;
    Ok(version.to_owned())
}
