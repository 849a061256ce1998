//! `[control]` in `node.toml`: where probes speak to us, and how either side knows the other.

use std::net::SocketAddr;
use std::path::Path;

use common::mtls::{Credentials, Files};
use common::principal::{Kind, Principal};

use super::node::taken;
use super::path;
use crate::config::file;
use crate::config::problems::Problems;
use crate::config::read::At;
use crate::world::Control;

/// `us` is the name and the cluster of this name server, `others` are listeners of TCP.
pub fn control(
    raw: file::Control,
    us: Option<(&str, &str)>,
    others: &[(&'static str, SocketAddr)],
    dir: &Path,
    problems: &mut Problems,
) -> Option<Control> {
    let file::Control { listen, ca, certificate, key, crl } = raw;
    let is_taken = listen.as_ref().and_then(|listen| taken(listen, others));
    let has_taken = is_taken.is_some();
    is_taken.into_iter().for_each(|taken| problems.add(taken));
    let mut file = |written: &Option<At<String>>| {
        let written = written.as_ref()?;
        problems.one(path(written, dir))
    };
    let files = (file(&ca), file(&certificate), file(&key));
    let crl_path = match &crl {
        None => None,
        Some(None) => Some(None),
        Some(crl @ Some(_)) => file(crl).map(Some),
    };
    let (Some(ca_path), Some(certificate_path), Some(key_path)) = files else { return None };
    let files = Files { ca: ca_path, certificate: certificate_path, key: key_path, crl: crl_path? };
    judged(&files, [&ca, &certificate, &key, &crl?], us, problems)?;
    let listen = listen?.value;
    (!has_taken).then_some(Control { listen, files })
}

/// All files are read, must fit each other, and be of this name server. `written` are their keys, in the order of
/// `Files`.
fn judged(
    files: &Files,
    written: [&Option<At<String>>; 4],
    us: Option<(&str, &str)>,
    problems: &mut Problems,
) -> Option<()> {
    let [ca, certificate, key, crl] = written;
    let credentials = match Credentials::read(files) {
        Ok(credentials) => credentials,
        Err(error) => {
            let keys = [
                (Some(&files.ca), ca),
                (Some(&files.certificate), certificate),
                (Some(&files.key), key),
                (files.crl.as_ref(), crl),
            ];
            let blamed = keys.iter().find(|(file, _)| *file == Some(&error.file));
            let blamed = blamed.map_or(certificate, |(_, written)| written);
            problems.add(blamed.as_ref()?.spot.problem(error.to_string()));
            return None;
        }
    };
    let (name, cluster) = us?;
    let spot = &certificate.as_ref()?.spot;
    let of = credentials.principal();
    match Principal::new(cluster, Kind::Dns, name) {
        Ok(us) if *of == us => return Some(()),
        Ok(us) => problems.add(spot.problem(format!(
            "{} is of {of}, and this name server is {us}: have one issued for it, or correct name and \
             cluster above",
            files.certificate.display()
        ))),
        Err(error) => problems.add(spot.problem(format!(
            "{} is of {of}, and no certificate can be of this name server, whose name and cluster stand \
             above: {error}",
            files.certificate.display()
        ))),
    }
    None
}
