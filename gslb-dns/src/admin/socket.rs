//! The admin socket: bound for its owner and group, and asked who stands at its other end.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};
use tokio::net::unix::UCred;

use super::role::Peer;
use crate::world::Operator;

/// Owner and group may connect; what they may do there is their role's.
const MODE: u32 = 0o660;

/// A socket in the file system, which goes with it if we made it.
pub struct AdminSocket {
    /// If it is ours to remove.
    path: Option<PathBuf>,
    pub listener: UnixListener,
}

impl AdminSocket {
    /// Takes the place of a socket that nobody listens at any more, and of nothing else.
    pub fn bind(path: &Path) -> io::Result<AdminSocket> {
        if let Ok(there) = fs::symlink_metadata(path) {
            if !there.file_type().is_socket() {
                return Err(io::Error::new(
                    ErrorKind::AlreadyExists,
                    "there is a file that is no socket",
                ));
            }
            match UnixStream::connect(path) {
                Ok(_) => {
                    return Err(io::Error::new(
                        ErrorKind::AddrInUse,
                        "another process listens there",
                    ));
                }
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    fs::remove_file(path)?
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
        listener.set_nonblocking(true)?;
        Ok(AdminSocket { path: Some(path.to_owned()), listener })
    }

    /// Of one that listens already. Who may connect is up to whoever made it.
    pub fn of(listener: UnixListener) -> io::Result<AdminSocket> {
        listener.set_nonblocking(true)?;
        Ok(AdminSocket { path: None, listener })
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Somebody may have removed it already.
            let _ = fs::remove_file(path);
        }
    }
}

/// Whom the kernel vouches for, under the names that the system knows now. `operators` are the groups that
/// matter: the user may be listed as their member.
pub fn peer(credentials: UCred, operators: &[Operator]) -> Peer {
    let uid = credentials.uid();
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    let gids = [Some(Gid::from_raw(credentials.gid())), user.as_ref().map(|user| user.gid)];
    let own = gids.into_iter().flatten().filter_map(|gid| Group::from_gid(gid).ok().flatten());
    let mut groups: Vec<String> = own.map(|group| group.name).collect();
    for operator in operators {
        if let (Operator::Group(name), Some(user)) = (operator, &user)
            && let Ok(Some(group)) = Group::from_name(name)
            && group.mem.contains(&user.name)
        {
            groups.push(group.name);
        }
    }
    Peer { uid, pid: credentials.pid(), user: user.map(|user| user.name), groups }
}
