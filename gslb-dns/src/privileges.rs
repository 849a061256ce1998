//! What the server may do to its host: root for as long as it takes to become somebody else, and no longer.
//!
//! root ─▶ becomes the configured user for good, may still bind low ports ─▶ reads the config, binds
//!      ─▶ gives up that too ─▶ threads, answers
//!
//! All of it while there is one thread: capabilities are each thread's own, and threads inherit them.

use std::ffi::CString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, lchown};
use std::path::{Path, PathBuf};

use common::capabilities::empty_bounding_set;
use nix::unistd::{Gid, Group, Uid, User, getresgid, getresuid, initgroups, setresgid, setresuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities,
    set_keep_capabilities, set_no_new_privs,
};
use tracing::warn;

use crate::world::Account;

/// Of folders made here: what is in them is the server's and its group's.
const DIR_MODE: u32 = 0o750;
/// One for each thread.
const TASKS: &str = "/proc/self/task";

const NOTHING: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};

/// Why a server that should not run as root, or be able to, does not start.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    #[error(
        "user = \"{0}\": this machine has no such user; create it (useradd --system), or name another"
    )]
    NoUser(Box<str>),
    #[error(
        "group = \"{0}\": this machine has no such group; create it (groupadd --system), or name another"
    )]
    NoGroup(Box<str>),
    #[error("user = \"{0}\" is root by another name; name a user of the server's own")]
    IsRoot(Box<str>),
    #[error(
        "user = \"{wanted}\", and started by {found}, who can become nobody else; start it as root or as \
         {wanted}, or remove the key"
    )]
    CannotBecome { wanted: Box<str>, found: String },
    #[error("cannot ask for users and groups")]
    Unknown(#[source] io::Error),
    #[error("cannot make {dir} for user \"{user}\"")]
    Dir { dir: String, user: Box<str>, source: io::Error },
    #[error("cannot {what} on the way to user \"{user}\"")]
    Step { what: &'static str, user: Box<str>, source: io::Error },
    #[error("cannot give up capabilities")]
    Capabilities(#[source] io::Error),
    #[error("{0} threads run already, and would keep what is given up: a defect, please report it")]
    Threads(usize),
    #[error("what was given up is still there ({0}): not going on")]
    Kept(&'static str),
}

/// Whom an account stands for on this machine.
struct Identity {
    user: User,
    gid: Gid,
}

/// Becomes the configured user, if there is one and we are root: for good, but for the right to bind low ports,
/// which `seal` gives up. `dirs` are made for that user, if they are missing. Warns of root that stays root.
pub fn begin(account: Option<&Account>, dirs: &[PathBuf]) -> Result<(), PrivilegeError> {
    match account {
        Some(account) => become_account(account, dirs, CapabilitySet::NET_BIND_SERVICE),
        None => {
            if Uid::effective().is_root() {
                warn!(
                    "running as root: create a user, and write user = \"gslb-dns\" at the top of node.toml"
                );
            }
            Ok(())
        }
    }
}

/// Becomes the configured user and nothing else, if we are root: to see files as the server will.
pub fn look_as(account: &Account) -> Result<(), PrivilegeError> {
    match Uid::effective().is_root() {
        true => become_account(account, &[], CapabilitySet::empty()),
        false => Ok(()),
    }
}

/// Gives up every capability, now that all is bound. Root that stays root keeps them.
pub fn seal() -> Result<(), PrivilegeError> {
    if Uid::effective().is_root() {
        return Ok(());
    }
    let failed = |error: rustix::io::Errno| PrivilegeError::Capabilities(error.into());
    // Nobody whom we might start would get more than we have.
    set_no_new_privs(true).map_err(failed)?;
    if capabilities(None).map_err(failed)? == NOTHING {
        return Ok(());
    }
    is_alone()?;
    clear_ambient_capability_set().map_err(failed)?;
    set_capabilities(None, NOTHING).map_err(failed)?;
    match capabilities(None).map_err(failed)? == NOTHING {
        true => Ok(()),
        false => Err(PrivilegeError::Kept("capabilities")),
    }
}

fn become_account(
    account: &Account,
    dirs: &[PathBuf],
    keep: CapabilitySet,
) -> Result<(), PrivilegeError> {
    let Identity { user, gid } = identity(account)?;
    let is = (Uid::effective(), Gid::effective());
    if !is.0.is_root() {
        let is_wanted = is.0 == user.uid && (account.group.is_none() || is.1 == gid);
        let wanted = account.user.clone();
        return match is_wanted {
            true => Ok(()),
            false => Err(PrivilegeError::CannotBecome { wanted, found: name_of(is.0) }),
        };
    }
    is_alone()?;
    for dir in dirs {
        make(dir, user.uid, gid).map_err(|source| {
            let dir = dir.display().to_string();
            PrivilegeError::Dir { dir, user: account.user.clone(), source }
        })?;
    }
    let failed = |what| {
        move |source: io::Error| PrivilegeError::Step { what, user: account.user.clone(), source }
    };
    let name = CString::new(user.name.as_str()).map_err(|error| failed("name it")(error.into()))?;
    // Before the user changes: it takes a capability of its own.
    empty_bounding_set();
    clear_ambient_capability_set()
        .map_err(|error| failed("clear ambient capabilities")(error.into()))?;
    // Else all capabilities go with root, the one for low ports too. The C library's calls change every thread's.
    set_keep_capabilities(true).map_err(|error| failed("keep a capability")(error.into()))?;
    initgroups(&name, gid).map_err(|error| failed("set the groups")(error.into()))?;
    setresgid(gid, gid, gid).map_err(|error| failed("set the group")(error.into()))?;
    setresuid(user.uid, user.uid, user.uid)
        .map_err(|error| failed("set the user")(error.into()))?;
    set_keep_capabilities(false).map_err(|error| failed("let go of root's")(error.into()))?;
    let had = capabilities(None).map_err(|error| failed("read capabilities")(error.into()))?;
    let keep = had.permitted & keep;
    let kept = CapabilitySets { effective: keep, permitted: keep, ..NOTHING };
    set_capabilities(None, kept).map_err(|error| failed("give up capabilities")(error.into()))?;
    set_no_new_privs(true).map_err(|error| failed("forbid new privileges")(error.into()))?;
    // The kernel forbids core dumps from here on, as our memory was root's (fs.suid_dumpable).
    no_way_back(user.uid, gid, kept)
}

/// Looks, and tries: that a call succeeded is no proof.
fn no_way_back(uid: Uid, gid: Gid, kept: CapabilitySets) -> Result<(), PrivilegeError> {
    let uids = getresuid().map_err(|error| PrivilegeError::Unknown(error.into()))?;
    let gids = getresgid().map_err(|error| PrivilegeError::Unknown(error.into()))?;
    if [uids.real, uids.effective, uids.saved] != [uid; 3] {
        return Err(PrivilegeError::Kept("the user"));
    }
    if [gids.real, gids.effective, gids.saved] != [gid; 3] {
        return Err(PrivilegeError::Kept("the group"));
    }
    let root = Uid::from_raw(0);
    if setresuid(root, root, root).is_ok() {
        return Err(PrivilegeError::Kept("the way back to root"));
    }
    match capabilities(None) {
        Ok(found) if found == kept => Ok(()),
        Ok(_) | Err(_) => Err(PrivilegeError::Kept("capabilities")),
    }
}

fn identity(account: &Account) -> Result<Identity, PrivilegeError> {
    let unknown = |error: nix::Error| PrivilegeError::Unknown(error.into());
    let user = User::from_name(&account.user).map_err(unknown)?;
    let user = user.ok_or_else(|| PrivilegeError::NoUser(account.user.clone()))?;
    if user.uid.is_root() {
        return Err(PrivilegeError::IsRoot(account.user.clone()));
    }
    let gid = match &account.group {
        None => user.gid,
        Some(name) => {
            let group = Group::from_name(name).map_err(unknown)?;
            group.ok_or_else(|| PrivilegeError::NoGroup(name.clone()))?.gid
        }
    };
    Ok(Identity { user, gid })
}

/// Only what is missing is made, and only that is given away: nothing of somebody else's, whatever stands there.
fn make(dir: &Path, uid: Uid, gid: Gid) -> io::Result<()> {
    if fs::symlink_metadata(dir).is_ok() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)?;
    }
    DirBuilder::new().mode(DIR_MODE).create(dir)?;
    lchown(dir, Some(uid.as_raw()), Some(gid.as_raw()))
}

/// Where the system does not tell, it is taken for granted.
fn is_alone() -> Result<(), PrivilegeError> {
    match fs::read_dir(TASKS).map(Iterator::count) {
        Ok(0 | 1) | Err(_) => Ok(()),
        Ok(threads) => Err(PrivilegeError::Threads(threads)),
    }
}

fn name_of(uid: Uid) -> String {
    let user = User::from_uid(uid).ok().flatten();
    user.map_or_else(|| format!("user number {uid}"), |user| format!("user \"{}\"", user.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(user: &str, group: Option<&str>, expected: &str) {
        let account = Account { user: user.into(), group: group.map(Into::into) };
        let found = identity(&account)
            .map(|found| found.user.name)
            .unwrap_or_else(|error| error.to_string());
        assert!(found.starts_with(expected), "{found}");
    }

    #[test]
    fn an_account_is_of_this_machine_and_not_root() {
        check("root", None, "user = \"root\" is root by another name");
        check(
            "nobody-has-this-name",
            None,
            "user = \"nobody-has-this-name\": this machine has no such user",
        );
        check(
            "nobody",
            Some("nobody-has-it"),
            "group = \"nobody-has-it\": this machine has no such group",
        );
        check("nobody", None, "nobody");
    }

    #[test]
    fn what_is_there_stays_whose_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (there, missing) = (dir.path().join("there"), dir.path().join("missing/state"));
        fs::create_dir(&there).unwrap();
        let dangling = dir.path().join("dangling");
        std::os::unix::fs::symlink(dir.path().join("nowhere"), &dangling).unwrap();
        let (uid, gid) = (Uid::effective(), Gid::effective());
        // Another owner would be refused to who is not root, and shows that there was no try.
        let other = Uid::from_raw(uid.as_raw() + 1);
        make(&there, other, gid).unwrap();
        make(&dangling, other, gid).unwrap();
        assert_eq!(
            std::os::unix::fs::MetadataExt::uid(&fs::metadata(&there).unwrap()),
            uid.as_raw()
        );
        assert!(!dir.path().join("nowhere").exists());
        make(&missing, uid, gid).unwrap();
        assert!(missing.is_dir());
    }
}
