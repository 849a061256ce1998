//! A CA's directory: what is in it, one command at a time, and never half of a change.

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use common::identity::{Fault, Identity, LONGEST_FILE, certificates};
use common::mtls::principal_of;
use common::principal::{Kind, Principal};
use common::{bounded, durable, entropy};
use jiff::{SignedDuration, Timestamp};
use rcgen::{KeyPair, PublicKeyData};
use rustls::pki_types::{CertificateDer, DnsName};

use super::PkiError;
use super::ca::{BACKDATED, Ca};
use super::index::{Index, Issued, List, Revoked, Serial, VERSION};

pub const CA_FILE: &str = "ca.pem";
pub const KEY_FILE: &str = "ca.key";
pub const LIST_FILE: &str = "crl.pem";
pub const INDEX_FILE: &str = "index.json";
const LOCK_FILE: &str = "lock";

/// Who reads the directory can sign in the CA's name.
const MODE: u32 = 0o700;
/// Octets of the index: `MOST_ISSUED` certificates have some 40 MiB.
const LONGEST_INDEX: u64 = 128 << 20;
/// Of the CA itself. Ten years, as those of others: to replace it is work on every machine.
const CA_LASTS: SignedDuration = SignedDuration::from_hours(3650 * 24);
/// Of a revocation list. Daemons believe one that is older, and say so.
const LIST_LASTS: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Of a certificate, in days.
pub const MOST_DAYS: u32 = 825;
pub const DAYS: u32 = 30;
/// Further names of a name server.
const MOST_NAMES: usize = 32;

/// An open CA: nobody else has it open.
pub struct Directory {
    path: PathBuf,
    index: Index,
    ca: Ca,
    _lock: File,
}

/// What is asked for: for whom, and for how long.
pub struct Wanted {
    pub kind: Kind,
    pub name: String,
    /// Beside a name server's own.
    pub dns_names: Vec<String>,
    pub days: u32,
}

impl Directory {
    /// Makes a CA where there is none.
    pub fn init(path: &Path, cluster: &str, now: Timestamp) -> Result<Directory, PkiError> {
        // Names of clusters are as principals have them.
        Principal::new(cluster, Kind::Dns, "dns1").map_err(refused)?;
        DirBuilder::new().recursive(true).mode(MODE).create(path).map_err(PkiError::of(path))?;
        let lock = lock(path)?;
        for file in [CA_FILE, KEY_FILE, LIST_FILE, INDEX_FILE] {
            let file = path.join(file);
            if file.symlink_metadata().is_ok() {
                let file = file.display();
                return Err(PkiError::Refused(format!(
                    "{file} is there already: a CA is not overwritten; take another --dir, or move it away"
                )));
            }
        }
        let serial = Serial::of(entropy::octets());
        let name = format!("gslb CA {}", &serial.to_string()[..12]);
        // Certificates have whole seconds.
        let ca_until = whole(now) + CA_LASTS;
        let made = Ca::make(cluster, &name, serial, now, ca_until)?;
        let index = Index {
            version: VERSION,
            cluster: cluster.into(),
            ca: name.into(),
            ca_until,
            list: List { number: 0, until: now, is_written: false },
            issued: vec![],
        };
        let mut directory = Directory { path: path.to_owned(), index, ca: made.ca, _lock: lock };
        // The index comes last but for what it makes anew: without it there is no CA.
        directory.write(CA_FILE, made.certificate.as_bytes())?;
        let key = path.join(KEY_FILE);
        durable::write_secret(&key, made.key.as_bytes()).map_err(PkiError::of(&key))?;
        directory.keep_list(now)?;
        Ok(directory)
    }

    /// Makes up for what a crash has left undone, and makes the revocation list anew when it is time.
    pub fn open(path: &Path, now: Timestamp) -> Result<Directory, PkiError> {
        let index_file = path.join(INDEX_FILE);
        if !index_file.exists() {
            let path = path.display();
            return Err(PkiError::Refused(format!(
                "there is no CA in {path}: make one with gslb-dns pki init, or say where it is with --dir"
            )));
        }
        let lock = lock(path)?;
        let index = read_index(&index_file)?;
        let (certificate, key) = (path.join(CA_FILE), path.join(KEY_FILE));
        let key_pem = bounded::read_file(&key, LONGEST_FILE).map_err(PkiError::of(&key))?;
        let certificate_pem =
            bounded::read_file(&certificate, LONGEST_FILE).map_err(PkiError::of(&certificate))?;
        let identity = Identity::of(&certificate_pem, &key_pem).map_err(|fault| {
            let file = match fault {
                Fault::Certificate(_) => &certificate,
                Fault::Key(_) => &key,
            };
            PkiError::Refused(format!("{} {fault}", file.display()))
        })?;
        let ca = Ca::of(&index, &identity, &String::from_utf8_lossy(&key_pem))?;
        let mut directory = Directory { path: path.to_owned(), index, ca, _lock: lock };
        if directory.index.wants_list(now) {
            directory.keep_list(now)?;
        }
        Ok(directory)
    }

    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The CA's own.
    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        self.ca.certificate()
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.path.join(file)
    }

    /// Makes a key and its certificate, and writes both into the folder `to`, as NAME.key and NAME.pem, where nothing is
    /// yet.
    pub fn issue(
        &mut self,
        wanted: &Wanted,
        to: &Path,
        now: Timestamp,
    ) -> Result<(Issued, PathBuf, PathBuf), PkiError> {
        let principal = self.judged(wanted)?;
        let (certificate, key) = files_of(&principal, to);
        if let Some(there) = replaceable(&certificate, &key, &principal)? {
            if let Some(Revoked { at, why }) = self.revoked(&there) {
                return Err(PkiError::Refused(format!(
                    "{} is there already, of the same daemon, and was revoked at {at:.0} ({why}): --replace issues it \
                     anew",
                    certificate.display()
                )));
            }
            return Err(PkiError::Refused(format!(
                "{} is there already, of the same daemon, and its key would be lost: gslb-dns pki renew gives it its \
                 next certificate before this one ends; else take another --out, or say --replace",
                certificate.display()
            )));
        }
        self.write_pair(principal, wanted, (certificate, key), now)
    }

    /// The same, and what was there is replaced if it is of the same daemon.
    pub fn reissue(
        &mut self,
        wanted: &Wanted,
        to: &Path,
        now: Timestamp,
    ) -> Result<(Issued, PathBuf, PathBuf), PkiError> {
        let principal = self.judged(wanted)?;
        let (certificate, key) = files_of(&principal, to);
        replaceable(&certificate, &key, &principal)?;
        self.write_pair(principal, wanted, (certificate, key), now)
    }

    /// Whether a certificate was taken back, and why.
    fn revoked(&self, certificate: &CertificateDer<'_>) -> Option<&Revoked> {
        let serial = Serial::of_certificate(certificate)?;
        let issued = self.index.issued.iter().find(|issued| issued.serial == serial)?;
        issued.revoked.as_ref()
    }

    fn write_pair(
        &mut self,
        principal: Principal,
        wanted: &Wanted,
        (certificate, key): (PathBuf, PathBuf),
        now: Timestamp,
    ) -> Result<(Issued, PathBuf, PathBuf), PkiError> {
        let pair = KeyPair::generate()?;
        let others: Vec<Box<str>> =
            wanted.dns_names.iter().map(|name| name.as_str().into()).collect();
        let lasts = SignedDuration::from_hours(i64::from(wanted.days) * 24);
        let (issued, pem) = self.sign(principal, &others, lasts, &pair, now)?;
        durable::write_secret(&key, pair.serialize_pem().as_bytes()).map_err(PkiError::of(&key))?;
        durable::write(&certificate, pem.as_bytes()).map_err(PkiError::of(&certificate))?;
        Ok((issued, certificate, key))
    }

    /// A certificate, as PEM, that the index knows of. `others` are a name server's names beside its own.
    pub(super) fn sign(
        &mut self,
        principal: Principal,
        others: &[Box<str>],
        lasts: SignedDuration,
        key: &impl PublicKeyData,
        now: Timestamp,
    ) -> Result<(Issued, String), PkiError> {
        let from = whole(now) - BACKDATED;
        let until = whole(now) + lasts;
        if until > self.index.ca_until {
            let end = self.index.ca_until;
            return Err(PkiError::Refused(format!(
                "the CA itself ends at {end}, before the certificate would: issue for fewer --days, or make another CA"
            )));
        }
        let mut dns_names: Vec<Box<str>> = vec![];
        if principal.kind == Kind::Dns {
            dns_names.push(principal.name.clone());
        }
        dns_names.extend(others.iter().filter(|name| **name != principal.name).cloned());
        let serial = Serial::of(entropy::octets());
        let issued = Issued { serial, principal, dns_names, from, until, revoked: None };
        let pem = self.ca.issue(&issued, key)?;
        self.index.add(issued.clone(), now)?;
        self.keep_index()?;
        Ok((issued, pem))
    }

    /// Takes certificates back, by a new list.
    pub fn revoke(
        &mut self,
        which: &str,
        why: &str,
        now: Timestamp,
    ) -> Result<Vec<Serial>, PkiError> {
        let before = self.index.clone();
        let revoked = self.index.revoke(which, why, now)?;
        // What daemons would not read must not become the list.
        let length = self.ca.list(&self.index, now)?.len() as u64;
        if length > LONGEST_FILE {
            self.index = before;
            return Err(PkiError::Refused(format!(
                "the revocation list would have {length} octets, and daemons read at most {LONGEST_FILE}: make \
                 another CA"
            )));
        }
        self.keep_index()?;
        self.keep_list(now)?;
        Ok(revoked)
    }

    /// Writes a new revocation list.
    pub fn keep_list(&mut self, now: Timestamp) -> Result<(), PkiError> {
        let number = self.index.list.number + 1;
        self.index.list = List { number, until: whole(now) + LIST_LASTS, is_written: false };
        self.keep_index()?;
        let list = self.ca.list(&self.index, now)?;
        self.write(LIST_FILE, list.as_bytes())?;
        self.index.list.is_written = true;
        self.keep_index()
    }

    fn keep_index(&self) -> Result<(), PkiError> {
        let mut text = serde_json::to_vec_pretty(&self.index)
            .map_err(|error| PkiError::Refused(error.to_string()))?;
        text.push(b'\n');
        self.write(INDEX_FILE, &text)
    }

    fn write(&self, file: &str, octets: &[u8]) -> Result<(), PkiError> {
        let path = self.path.join(file);
        durable::write(&path, octets).map_err(PkiError::of(&path))
    }

    fn judged(&self, wanted: &Wanted) -> Result<Principal, PkiError> {
        let Wanted { kind, name, dns_names, days } = wanted;
        let principal = Principal::new(&self.index.cluster, *kind, name).map_err(refused)?;
        if !(1..=MOST_DAYS).contains(days) {
            return Err(PkiError::Refused(format!("--days is 1 to {MOST_DAYS}, found {days}")));
        }
        if *kind != Kind::Dns && !dns_names.is_empty() {
            return Err(PkiError::Refused(format!(
                "--dns-name is for a name server, which others dial: a daemon of kind {kind} is never dialed"
            )));
        }
        if dns_names.len() > MOST_NAMES {
            let found = dns_names.len();
            return Err(PkiError::Refused(format!(
                "--dns-name can be given {MOST_NAMES} times, found {found}"
            )));
        }
        let own = if *kind == Kind::Dns { Some(name) } else { None };
        for name in own.into_iter().chain(dns_names) {
            if DnsName::try_from(name.as_str()).is_err() {
                return Err(PkiError::Refused(format!(
                    "{name:?} is no DNS name, and a name server is dialed by it"
                )));
            }
        }
        Ok(principal)
    }
}

fn files_of(principal: &Principal, to: &Path) -> (PathBuf, PathBuf) {
    let file = |ending| to.join(format!("{}.{ending}", principal.name));
    (file("pem"), file("key"))
}

/// The certificate that is there to be replaced, if one is. Another daemon's files never are, nor the CA's own, nor what is none of ours.
fn replaceable(
    certificate: &Path,
    key: &Path,
    principal: &Principal,
) -> Result<Option<CertificateDer<'static>>, PkiError> {
    let Ok(pem) = bounded::read_file(certificate, LONGEST_FILE) else {
        return match [certificate, key].iter().find(|path| path.symlink_metadata().is_ok()) {
            None => Ok(None),
            Some(path) => Err(PkiError::Refused(format!(
                "{} is there already: take another --out, or move it away",
                path.display()
            ))),
        };
    };
    let there = certificates(&pem).ok().and_then(|chain| chain.into_iter().next());
    let holder = there.as_ref().and_then(|there| principal_of(there).ok());
    if holder.as_ref() == Some(principal) {
        return Ok(there);
    }
    let (path, whose) =
        (certificate.display(), holder.map_or("nobody".to_owned(), |holder| holder.to_string()));
    Err(PkiError::Refused(format!(
        "{path} is there already, and is of {whose}: take another --out, or move it away"
    )))
}

fn read_index(path: &Path) -> Result<Index, PkiError> {
    let octets = bounded::read_file(path, LONGEST_INDEX).map_err(PkiError::of(path))?;
    let path = path.display();
    let index: Index = serde_json::from_slice(&octets).map_err(|error| {
        PkiError::Refused(format!(
            "{path}: {error}; bring it back from a copy: it is written by gslb-dns alone"
        ))
    })?;
    match index.version {
        VERSION => Ok(index),
        found => {
            Err(PkiError::Refused(format!("{path}: found version {found}, expected {VERSION}")))
        }
    }
}

fn lock(dir: &Path) -> Result<File, PkiError> {
    let path = dir.join(LOCK_FILE);
    let file = File::create(&path).map_err(PkiError::of(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(PkiError::Refused(format!(
            "{} is in use by another gslb-dns pki: wait until it has ended",
            dir.display()
        ))),
        Err(TryLockError::Error(error)) => Err(PkiError::of(&path)(error)),
    }
}

fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn refused(why: impl ToString) -> PkiError {
    PkiError::Refused(why.to_string())
}
