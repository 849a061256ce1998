//! TLS of a frontend: certificates found, read and judged; whom of the clients to believe.

use std::fs;
use std::path::{Path, PathBuf};

use common::authority::Authority;
use common::config::problems::{Problem, Spot};
use common::config::read::At;
use common::config::settle::or;
use common::identity::{Fault, Identity};

use super::Judge;
use crate::config::dated::Dated;
use crate::config::words::ClientVerifyWord;
use crate::config::{MOST_CERTIFICATES, file};
use crate::site::{Alpn, Certificate, ClientVerify, MinVersion, Mode, Tls};

/// What names a certificate in a folder; a key beside it has `.key`.
const EXTENSIONS: [&str; 2] = ["pem", "crt"];

pub fn tls(raw: file::Tls, mode: Mode, judge: &mut Judge<'_>) -> Option<Tls> {
    let file::Tls { certificates, alpn, min, client_ca, crl, client_verify } = raw;
    let certificates = certificates.and_then(|list| found(list, judge));
    if let Some(Some(alpn)) = &alpn
        && mode == Mode::Tcp
    {
        judge.only_http_at("frontend", &alpn.spot);
    }
    let usual = match mode {
        Mode::Http => vec![Alpn::H2, Alpn::Http1],
        Mode::Tcp => vec![],
    };
    let alpn = or(alpn, usual, |list| protocols(&list, judge));
    let min = or(min, MinVersion::Tls12, Some);
    let client_verify = clients(client_ca?, crl?, client_verify?, judge);
    Some(Tls { certificates: certificates?, alpn: alpn?, min: min?, client_verify: client_verify? })
}

/// Protocols, none of them twice.
pub fn protocols(list: &At<Vec<Option<At<Alpn>>>>, judge: &mut Judge<'_>) -> Option<Vec<Alpn>> {
    if list.value.is_empty() {
        return judge.wrong(&list.spot, "is empty; list \"h2\" or \"http/1.1\", or remove it");
    }
    let mut protocols = vec![];
    for At { value, spot } in list.value.iter().flatten() {
        if protocols.contains(value) {
            judge
                .problems
                .add(spot.problem(format!("{:?} is listed twice; remove one", value.as_str())));
        }
        protocols.push(*value);
    }
    (protocols.len() == list.value.len()).then_some(protocols)
}

/// Every certificate, in the order of the list; in a folder by name.
fn found(list: At<file::Certificates>, judge: &mut Judge<'_>) -> Option<Vec<Certificate>> {
    let At { value: file::Certificates(list), spot } = list;
    if list.is_empty() {
        return judge.wrong(&spot, "is empty: tls needs a certificate; name a folder or files");
    }
    let mut files: Vec<(PathBuf, &Spot)> = vec![];
    let mut is_sound = true;
    for written in &list {
        let Some(written) = written else {
            is_sound = false;
            continue;
        };
        let path = judge.path(written)?;
        let found = if path.is_dir() { in_folder(&path, &written.spot) } else { Ok(vec![path]) };
        let found = judge.one(found);
        is_sound &= found.is_some();
        files.extend(found.into_iter().flatten().map(|file| (file, &written.spot)));
    }
    if files.len() > MOST_CERTIFICATES {
        let message = format!("{} certificates, expected at most {MOST_CERTIFICATES}", files.len());
        return judge.wrong(&spot, message);
    }
    let mut all = vec![];
    for (file, spot) in files {
        let read = certificate(&file, spot).map(|(read, dated)| (read, Some(dated)));
        let good = || judge.good.certificate(&file).map(|good| (good, None));
        let read = read.or_else(|problem| good().ok_or(problem));
        let Some((read, dated)) = judge.one(read) else {
            is_sound = false;
            continue;
        };
        judge.dated.extend(dated);
        all.push(read);
    }
    is_sound.then_some(all)
}

fn in_folder(folder: &Path, spot: &Spot) -> Result<Vec<PathBuf>, Problem> {
    let shown = folder.display();
    let cannot = |error| spot.problem(format!("{shown} cannot be read: {error}"));
    let mut files = vec![];
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) {
            files.push(path);
        }
    }
    if files.is_empty() {
        let message = format!(
            "{shown} holds no certificate: expected files named .pem or .crt, each with its key within or beside it \
             as .key"
        );
        return Err(spot.problem(message));
    }
    files.sort();
    Ok(files)
}

/// A chain whose key is in the same file, or beside it.
fn certificate(chain: &Path, spot: &Spot) -> Result<(Certificate, Dated), Problem> {
    let beside = chain.with_extension("key");
    let key = if beside.is_file() { beside.clone() } else { chain.to_owned() };
    match Identity::read(chain, &key) {
        Ok(read) => {
            let file = chain.to_owned();
            let dated = Dated { file: file.clone(), spot: spot.clone(), validity: read.validity };
            Ok((Certificate { chain: file, key }, dated))
        }
        Err(Fault::Certificate(why)) => Err(spot.problem(format!("{} {why}", chain.display()))),
        Err(Fault::Key(why)) if key == chain => Err(spot.problem(format!(
            "{} {why}; put the key into the same file, or beside it as {}",
            chain.display(),
            beside.display()
        ))),
        Err(Fault::Key(why)) => Err(spot.problem(format!("{} {why}", key.display()))),
    }
}

fn clients(
    ca: Option<At<String>>,
    crl: Option<At<String>>,
    verify: Option<At<ClientVerifyWord>>,
    judge: &mut Judge<'_>,
) -> Option<ClientVerify> {
    let Some(ca) = ca else {
        if let Some(crl) = crl {
            judge
                .problems
                .add(crl.spot.problem("means nothing without client_ca; add it, or remove this"));
            return None;
        }
        return match verify {
            Some(At { value: ClientVerifyWord::Optional | ClientVerifyWord::Required, spot }) => {
                judge.wrong(
                    &spot,
                    "needs client_ca beside it: whose certificates are to be believed?",
                )
            }
            Some(At { value: ClientVerifyWord::None, .. }) | None => Some(ClientVerify::Nobody),
        };
    };
    let (ca_path, crl_path) = (judge.path(&ca), crl.as_ref().map(|crl| judge.path(crl)));
    let path = ca_path?;
    let crl_path = match crl_path {
        Some(path) => Some(path?),
        None => None,
    };
    let judged = Authority::read(&path, crl_path.as_deref()).map(drop);
    let is_good = || judge.good.has_clients(&path, crl_path.as_deref());
    let judged = judged.or_else(|unfit| if is_good() { Ok(()) } else { Err(unfit) });
    let judged = judged.map_err(|unfit| {
        let at = crl.as_ref().filter(|_| Some(&unfit.file) == crl_path.as_ref()).unwrap_or(&ca);
        at.spot.problem(unfit.to_string())
    });
    judge.one(judged)?;
    match verify.map(|at| (at.value, at.spot)) {
        None | Some((ClientVerifyWord::Required, _)) => {
            Some(ClientVerify::Required { ca: path, crl: crl_path })
        }
        Some((ClientVerifyWord::Optional, _)) => {
            Some(ClientVerify::Optional { ca: path, crl: crl_path })
        }
        Some((ClientVerifyWord::None, spot)) => judge
            .wrong(&spot, "stands beside client_ca, which then means nothing; keep one of them"),
    }
}
