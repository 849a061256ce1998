//! `[control]` in `node.toml`: where probes speak to us, how either side knows the other, and who our peers are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use common::mtls::{Credentials, Files};
use common::principal::{Kind, Principal};

use super::node::taken;
use super::{or, path};
use crate::config::file;
use crate::config::problems::{Problems, Spot};
use crate::config::read::{At, List, NameOr};
use crate::world::{Control, MOST_PEERS, Peer};

/// `us` is the name and the cluster of this name server, `others` are listeners of TCP.
pub fn control(
    raw: file::Control,
    us: Option<(&str, &str)>,
    others: &[(&'static str, SocketAddr)],
    dir: &Path,
    problems: &mut Problems,
) -> Option<Control> {
    let file::Control { listen, ca, certificate, key, crl, peers } = raw;
    let is_taken = listen.as_ref().and_then(|listen| taken(listen, others));
    let has_taken = is_taken.is_some();
    is_taken.into_iter().for_each(|taken| problems.add(taken));
    let own = listen.as_ref().map(|listen| listen.value);
    let peers = or(peers, vec![], |list| self::peers(&list, us, own, problems));
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
    (!has_taken).then_some(Control { listen, files, peers: peers? })
}

/// The other name servers of the cluster. `us` is the name and the cluster of this one, `own` its address.
fn peers(
    written: &At<List<NameOr<At<file::Peer>>>>,
    us: Option<(&str, &str)>,
    own: Option<SocketAddr>,
    problems: &mut Problems,
) -> Option<Vec<Peer>> {
    let At { value: list, spot } = written;
    if list.len() > MOST_PEERS {
        problems.add(
            spot.problem(format!("found {} peers, expected at most {MOST_PEERS}", list.len())),
        );
        return None;
    }
    let mut names: BTreeMap<&str, &Spot> = BTreeMap::new();
    let mut addresses: BTreeMap<SocketAddr, &Spot> = BTreeMap::new();
    let mut peers = Vec::new();
    for item in list.iter().flatten() {
        let At { value: file::Peer { address, name }, spot: _ } = match item {
            NameOr::More(peer) => peer,
            NameOr::Name(alone) => {
                problems.add(alone.spot.problem(format!(
                    "{:?} says not whose certificate is expected there: write {{ address = \"192.0.2.2:8453\", name \
                     = \"dns2\" }}",
                    alone.value
                )));
                continue;
            }
        };
        let (Some(address), Some(name)) = (address, name) else { continue };
        // Of whichever cluster: the name is at fault.
        let cluster = us.map_or("any", |(_, cluster)| cluster);
        if let Err(error) = Principal::new(cluster, Kind::Dns, &name.value) {
            problems.add(name.spot.problem(error.to_string()));
        }
        if us.is_some_and(|(us, _)| us == name.value) {
            let message = format!("{:?} is this name server itself; list the others", name.value);
            problems.add(name.spot.problem(message));
        }
        let at = address.value;
        if own == Some(at) {
            let message = format!("{at} is this name server's own address; list the others'");
            problems.add(address.spot.problem(message));
        } else if at.ip().is_unspecified() || at.port() == 0 {
            let message = format!("{at} can be listened on, and nobody is there to be asked");
            problems.add(address.spot.problem(message));
        }
        if let Some(first) = names.insert(&name.value, &name.spot) {
            problems.add(name.spot.twice(first, format!("{:?}", name.value)));
        }
        if let Some(first) = addresses.insert(at, &address.spot) {
            problems.add(address.spot.twice(first, at));
        }
        peers.push(Peer { address: at, name: name.value.as_str().into() });
    }
    (peers.len() == list.len()).then_some(peers)
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
