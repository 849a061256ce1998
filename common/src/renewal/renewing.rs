//! A daemon's own files, from one certificate to the next.
//!
//! The next key lies beside the key (`.next`) from the first asking on, also through restarts: what was asked for once
//! can be taken by whoever asks again. Key and certificate are changed by two renames; between them lies one state, of
//! which `settle` makes the new pair.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rcgen::KeyPair;

use super::request::{self, LONGEST_ANSWER, RequestError};
use crate::identity::{Identity, LONGEST_FILE};
use crate::mtls::{Credentials, CredentialsError, Files};
use crate::{bounded, durable};

/// Renews one daemon's certificate. One of it at a time.
#[derive(Debug)]
pub struct Renewing {
    files: Files,
    next_certificate: PathBuf,
    next_key: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    #[error("{}: the daemon's user must be able to write it and its folder", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("no key could be made")]
    Key(#[source] rcgen::Error),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the answer has more than {LONGEST_ANSWER} octets")]
    TooLarge,
    #[error("the certificate that was sent cannot be used: {0}")]
    Answer(#[from] CredentialsError),
    #[error("the certificate that was sent is of {0}, not ours")]
    Another(String),
    #[error("the certificate that was sent ends no later than the one that we have")]
    NotLater,
    #[error("the certificate that was sent is revoked already")]
    Revoked,
}

impl Renewing {
    /// Before the files are read for the first time: a renewal that a crash has cut in two is brought to its end.
    pub fn open(files: &Files) -> Result<Renewing, RenewalError> {
        let (next_certificate, next_key) = (next(&files.certificate), next(&files.key));
        let renewing = Renewing { files: files.clone(), next_certificate, next_key };
        renewing.settle()?;
        Ok(renewing)
    }

    /// What is sent to a name server, again and again until it answers with a certificate.
    pub fn request(&self, credentials: &Credentials) -> Result<Vec<u8>, RenewalError> {
        let key = match self.kept_key() {
            Some(key) => key,
            None => {
                let key = KeyPair::generate().map_err(RenewalError::Key)?;
                durable::write_secret(&self.next_key, key.serialize_pem().as_bytes())
                    .map_err(of(&self.next_key))?;
                key
            }
        };
        Ok(request::write(credentials.principal(), &key, &credentials.identity().key())?)
    }

    /// Puts the certificate that was sent, and its key, where the old ones are. From then on `Kept::reread` finds them.
    pub fn take(&self, credentials: &Credentials, answer: &[u8]) -> Result<(), RenewalError> {
        if answer.len() > LONGEST_ANSWER {
            return Err(RenewalError::TooLarge);
        }
        durable::write(&self.next_certificate, answer).map_err(of(&self.next_certificate))?;
        self.judge(credentials).inspect_err(|_| {
            // It would be looked at again, and found wrong again.
            let _ = fs::remove_file(&self.next_certificate);
        })?;
        durable::rename(&self.next_key, &self.files.key).map_err(of(&self.files.key))?;
        self.finish()
    }

    fn judge(&self, credentials: &Credentials) -> Result<(), RenewalError> {
        let Files { ca, crl, .. } = self.files.clone();
        let (certificate, key) = (self.next_certificate.clone(), self.next_key.clone());
        let sent = Credentials::read(&Files { ca, certificate, key, crl })?;
        match () {
            () if sent.principal() != credentials.principal() => {
                Err(RenewalError::Another(sent.principal().to_string()))
            }
            () if sent.not_after() <= credentials.not_after() => Err(RenewalError::NotLater),
            () if sent.is_own_revoked() => Err(RenewalError::Revoked),
            () => Ok(()),
        }
    }

    fn settle(&self) -> Result<(), RenewalError> {
        if !self.next_certificate.exists() {
            return Ok(());
        }
        // The key was changed already, or nothing was.
        match Identity::read(&self.next_certificate, &self.files.key) {
            Ok(_) => self.finish(),
            Err(_) => fs::remove_file(&self.next_certificate).map_err(of(&self.next_certificate)),
        }
    }

    fn finish(&self) -> Result<(), RenewalError> {
        durable::rename(&self.next_certificate, &self.files.certificate)
            .map_err(of(&self.files.certificate))
    }

    /// Of an earlier asking; what cannot be read is made anew.
    fn kept_key(&self) -> Option<KeyPair> {
        let pem = bounded::read_file(&self.next_key, LONGEST_FILE);
        let pem = match pem {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            other => String::from_utf8(other.ok()?).ok()?,
        };
        KeyPair::from_pem(&pem).ok().filter(|key| key.algorithm() == &rcgen::PKCS_ECDSA_P256_SHA256)
    }
}

fn next(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    name.into()
}

fn of(path: &Path) -> impl FnOnce(io::Error) -> RenewalError {
    let path = path.to_owned();
    |source| RenewalError::File { path, source }
}
