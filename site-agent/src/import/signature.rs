//! `authentication` and `auth_hmac`: what shows whose an advert is.

use std::time::Duration;

use super::Remarks;
use super::blocks::Statement;
use super::router::{argument, entries};
use crate::vrrp::advert::Version;

#[derive(Debug)]
pub enum Authentication {
    None,
    Password(String),
    Signature(Signature),
}

#[derive(Debug)]
pub struct Signature {
    /// By id, in the order of their lines. What they are is no part of a `site.toml`.
    pub keys: Vec<u8>,
    pub sign_with: Option<u8>,
    /// In our words, which are keepalived's.
    pub mode: Option<String>,
    pub window: Option<Window>,
}

#[derive(Clone, Copy, Debug)]
pub enum Window {
    /// `anti_replay monotonic`.
    Never,
    Within(Duration),
}

impl Signature {
    pub fn is_enforced(&self) -> bool {
        self.mode.as_deref().is_none_or(|mode| mode == "enforce")
    }
}

/// The file that a key has to be in.
pub fn key_file(router: &str, id: u8) -> String {
    format!("{router}-{id}.key")
}

/// An error is why the virtual router is better left out.
pub fn authentication(
    legacy: &[&Statement],
    hmac: &[&Statement],
    version: Version,
    router: &str,
    remarks: &mut Remarks,
) -> Result<Authentication, String> {
    if hmac.is_empty() {
        return Ok(password(legacy, version, remarks));
    }
    for said in legacy {
        remarks
            .needless(said, "auth_hmac stands beside it, and keepalived hears that alone as well");
    }
    signature(hmac, router, remarks).map(Authentication::Signature)
}

fn password(legacy: &[&Statement], version: Version, remarks: &mut Remarks) -> Authentication {
    let (mut kind, mut password) = (None, None);
    for block in legacy {
        for said in entries(block, remarks) {
            match said.name() {
                "auth_type" => kind = argument(said, remarks).map(|word| (said, word)),
                "auth_pass" => password = argument(said, remarks).map(|word| (said, word)),
                _ => {
                    let why = "expected auth_type or auth_pass";
                    remarks.add(&said.place, super::Fate::Lost, said.name(), why);
                }
            }
        }
    }
    match (kind, password) {
        (Some((_, "PASS")), Some((said, password))) => {
            let is_text =
                |letter: char| !letter.is_control() && letter != char::REPLACEMENT_CHARACTER;
            if version == Version::V3 {
                let why = "version 3 has no password, and keepalived sends none either: sign adverts instead (signature)";
                remarks.lost(said, why);
            } else if password.is_empty() || !password.chars().all(is_text) {
                remarks.lost(said, "expected a password of 1 to 8 octets that are text");
            } else {
                return Authentication::Password(password.to_owned());
            }
        }
        (Some((said, "PASS")), None) => remarks.lost(said, "no auth_pass stands beside it"),
        (Some((said, kind)), password) => {
            let why = match kind {
                "AH" => {
                    "IPsec's AH is not spoken here, and who speaks it does not hear us: use auth_hmac there and signature here, \
                     or PASS and password"
                }
                _ => "expected PASS or AH",
            };
            remarks.lost(said, why);
            if let Some((said, _)) = password {
                remarks.lost(said, "no auth_type PASS stands beside it");
            }
        }
        (None, Some((said, _))) => {
            remarks.lost(
                said,
                "no auth_type PASS stands beside it, without which keepalived sends none",
            );
        }
        (None, None) => {}
    }
    Authentication::None
}

fn signature(
    hmac: &[&Statement],
    router: &str,
    remarks: &mut Remarks,
) -> Result<Signature, String> {
    let mut signature = Signature { keys: vec![], sign_with: None, mode: None, window: None };
    let (mut sign_with, mut monotonic, mut window) = (None, None, None);
    for block in hmac {
        for said in entries(block, remarks) {
            match said.name() {
                "key" => signature.keys.extend(key(said, &signature.keys, router, remarks)),
                "active_key" => sign_with = argument(said, remarks).map(|word| (said, word)),
                "anti_replay" => match argument(said, remarks) {
                    Some("time") | None => {}
                    Some("monotonic") => monotonic = Some(said),
                    Some(_) => remarks.lost(said, "expected time or monotonic"),
                },
                "time_window" => window = argument(said, remarks).map(|word| (said, word)),
                "mode" => match argument(said, remarks) {
                    Some(mode @ ("receive-only" | "permissive" | "enforce")) => {
                        signature.mode = Some(mode.to_owned());
                    }
                    Some(_) => remarks.lost(said, "expected receive-only, permissive or enforce"),
                    None => {}
                },
                _ => {
                    let why = "expected key, active_key, anti_replay, time_window or mode";
                    remarks.add(&said.place, super::Fate::Lost, said.name(), why);
                }
            }
        }
    }
    if signature.keys.is_empty() {
        // Without a signature it would be heard by nobody who asks for one, and be Active beside them.
        return Err("auth_hmac has no key that can be carried over".to_owned());
    }
    if let Some((said, word)) = sign_with {
        match word.parse().ok().filter(|id| signature.keys.contains(id)) {
            Some(id) => signature.sign_with = Some(id),
            None => {
                remarks.changed(said, "there is no such key: adverts are signed with the first")
            }
        }
    }
    signature.window = match (monotonic, window) {
        (Some(_), window) => {
            if let Some((said, _)) = window {
                remarks.needless(said, "anti_replay monotonic stands beside it");
            }
            Some(Window::Never)
        }
        (None, Some((said, word))) => {
            let seconds = word.parse().ok().filter(|seconds| (1..=300).contains(seconds));
            if seconds.is_none() {
                remarks.lost(said, "expected 1 to 300 seconds");
            }
            seconds.map(|seconds| Window::Within(Duration::from_secs(seconds)))
        }
        (None, None) => None,
    };
    Ok(signature)
}

/// Its id. Where its octets have to go is told.
fn key(said: &Statement, known: &[u8], router: &str, remarks: &mut Remarks) -> Option<u8> {
    let [id, material, more @ ..] = said.rest() else {
        remarks.lost(said, "expected an id and a key");
        return None;
    };
    let Some(id) = id.parse::<u8>().ok().filter(|id| *id > 0) else {
        remarks.lost(said, "expected an id of 1 to 255");
        return None;
    };
    if known.contains(&id) {
        remarks.lost(said, format!("there is a key {id} already"));
        return None;
    }
    if !more.is_empty() {
        remarks.lost(said, "more stands behind it than a key");
        return None;
    }
    let file = key_file(router, id);
    let what = if material.starts_with("hex:") {
        "its hexadecimal digits, without hex:,".to_owned()
    } else if let Some(path) = material.strip_prefix("file:") {
        format!("what {path} holds, as hexadecimal digits and without hex:,")
    } else {
        "its octets as hexadecimal digits (of printf %s KEY | xxd -p -c 64)".to_owned()
    };
    let why = format!(
        "keys are in files here: put {what} into {file} beside site.toml, for the user of the service alone"
    );
    remarks.changed(said, why);
    Some(id)
}
