//! The socket at which operators give orders.

use common::config::problems::Problem;
use common::config::read::At;
use common::config::settle::or;

use super::{Judge, names, place};
use crate::config::file;
use crate::site::{Level, Runtime};

/// Its owner alone.
const USUAL_MODE: u32 = 0o600;
/// Who may write to a socket may connect to it.
const OTHERS: u32 = 0o002;

pub fn runtime(raw: file::Runtime, judge: &mut Judge<'_>) -> Option<Runtime> {
    let file::Runtime { socket, mode, level } = raw;
    let (socket, mode_given) = (socket?, mode.as_ref()?.as_ref().map(|mode| mode.spot.clone()));
    let path = judge.path(&socket)?;
    let mode = or(mode, USUAL_MODE, |mode| judge.one(permissions(&mode)));
    let level = or(level, Level::Admin, |level| Some(level.value));
    judge.one(names::socket_path(&socket, &path))?;
    if !judge.good.has_socket(&path) {
        match place::socket(&path) {
            Ok(()) => {}
            Err(place::Unfit::Taken(why)) => return judge.wrong(&socket.spot, why),
            // A service manager makes that one, at each start.
            Err(place::Unfit::NoFolder(folder)) if folder.starts_with("/run") => {}
            Err(place::Unfit::NoFolder(folder)) => judge.warn(
                &socket.spot,
                format!(
                    "there is no folder {}, which a start needs: make it, or name a path in /run, where systemd makes it \
                     (RuntimeDirectory)",
                    folder.display()
                ),
            ),
        }
    }
    let (mode, level) = (mode?, level?);
    if let (Some(spot), true, Level::Admin) = (mode_given, mode & OTHERS != 0, level) {
        judge.warn(&spot, "everybody on this machine may take servers out of service");
    }
    Some(Runtime { socket: path, mode, level })
}

/// As chmod is told them, in octal digits.
fn permissions(written: &At<String>) -> Result<u32, Problem> {
    let text = &written.value;
    let is_octal =
        (3..=4).contains(&text.len()) && text.bytes().all(|octet| (b'0'..=b'7').contains(&octet));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
    mode.ok_or_else(|| {
        written.spot.problem(format!(
            "found {text:?}, expected permissions as chmod takes them, such as \"0600\" or \"0660\""
        ))
    })
}
