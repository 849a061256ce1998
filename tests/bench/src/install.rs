//! The Debian packages that the peers and the country data come from.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

const PACKAGES: [&str; 2] = ["gdnsd", "tor-geoipdb"];
/// Asked by every package before it starts a service (invoke-rc.d); 101 says no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

pub fn advice() -> String {
    format!(
        "install with: apt-get install --no-install-recommends {}\n\
         or run this with --install as root",
        PACKAGES.join(" ")
    )
}

/// Installs the packages and starts none of their services.
pub fn install() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("--install needs root");
    }
    let _guard = NoServices::declare()?;
    let status = Command::new("apt-get")
        .args(["install", "-y", "--no-install-recommends"])
        .args(PACKAGES)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .context("cannot run apt-get")?;
    if !status.success() {
        bail!("apt-get ended with {status}");
    }
    Ok(())
}

/// While it lives no package starts a service. A policy that is there already is left as it is.
struct NoServices {
    written: bool,
}

impl NoServices {
    fn declare() -> anyhow::Result<NoServices> {
        if Path::new(POLICY).exists() {
            return Ok(NoServices { written: false });
        }
        fs::write(POLICY, "#!/bin/sh\nexit 101\n")
            .with_context(|| format!("cannot write {POLICY}"))?;
        let guard = NoServices { written: true };
        fs::set_permissions(POLICY, Permissions::from_mode(0o755))?;
        Ok(guard)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.written {
            let _ = fs::remove_file(POLICY);
        }
    }
}
