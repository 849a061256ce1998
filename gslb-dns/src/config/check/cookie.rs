//! The file with the secrets of cookies. Its problems are told without its text, which is nobody's to see.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use common::bounded;

use super::path;
use crate::config::problems::{Problem, Problems};
use crate::config::read::At;
use crate::cookie::{MAX_SECRETS, SECRET, Secret, Secrets};
use crate::world::CookieFile;

/// Octets of the file: room for comments.
const LONGEST: u64 = 64 << 10;
/// The permission of everybody else to read.
const OTHERS_READ: u32 = 0o004;

/// Reads the file that `written` names.
pub(super) fn cookie_file(
    written: &At<String>,
    dir: &Path,
    problems: &mut Problems,
) -> Option<CookieFile> {
    let path = problems.one(path(written, dir))?;
    let read = bounded::read_file(&path, LONGEST)
        .and_then(|octets| Ok((octets, fs::metadata(&path)?.permissions().mode())));
    let (octets, mode) = problems.one(read.map_err(|error| {
        written.spot.problem(format!("{} cannot be read: {error}", path.display()))
    }))?;
    let mut found = Vec::new();
    let mut told = Vec::new();
    for (line, text) in octets.split(|octet| *octet == b'\n').enumerate() {
        let text = text.trim_ascii();
        if text.is_empty() || text.starts_with(b"#") {
            continue;
        }
        match secret(text) {
            Err(message) => told.push((line + 1, message)),
            Ok(secret) if found.contains(&secret) => {
                told.push((line + 1, "is the secret of a line above; remove one".to_owned()));
            }
            Ok(secret) => found.push(secret),
        }
    }
    if told.is_empty() && !(1..=MAX_SECRETS).contains(&found.len()) {
        let message =
            format!("{} has {} secrets, expected 1 to {MAX_SECRETS}", path.display(), found.len());
        problems.add(written.spot.problem(message));
        return None;
    }
    if !told.is_empty() {
        for (line, message) in told {
            problems.add(Problem::of_file(&path, format!("line {line} {message}")));
        }
        return None;
    }
    let is_open = mode & OTHERS_READ != 0;
    Some(CookieFile { path, secrets: Secrets::new(found), is_open })
}

/// The error is the message behind the line.
fn secret(text: &[u8]) -> Result<Secret, String> {
    const DIGITS: usize = 2 * SECRET;
    if text.len() != DIGITS || !text.iter().all(u8::is_ascii_hexdigit) {
        let digits = text.iter().filter(|octet| octet.is_ascii_hexdigit()).count();
        let found = text.len();
        return Err(format!(
            "is no secret: has {found} octets, {digits} of them hexadecimal digits, expected \
             {DIGITS} digits and nothing else (openssl rand -hex {SECRET} makes one)"
        ));
    }
    let value = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
    let mut octets = [0; SECRET];
    for (octet, digits) in octets.iter_mut().zip(text.as_chunks::<2>().0) {
        *octet = value(digits[0]) << 4 | value(digits[1]);
    }
    Ok(Secret::new(octets))
}
