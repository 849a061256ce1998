//! A daemon's own files, from one certificate to the next.
//!
//! The next key lies beside the key (`.next`) from the first asking on, also through restarts: what was asked for once
//! can be taken by whoever asks again. Key and certificate are changed by two renames; between them lies one state, which
//! `Credentials::read` understands, and of which `settle` makes the new pair.

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
    next: Files,
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
    pub fn of(files: &Files) -> Renewing {
        Renewing { files: files.clone(), next: files.next() }
    }

    /// What is sent to a name server, again and again until it answers with a certificate.
    pub fn request(&self, credentials: &Credentials) -> Result<Vec<u8>, RenewalError> {
        let key = match self.kept_key() {
            Some(key) => key,
            None => {
                let key = KeyPair::generate().map_err(RenewalError::Key)?;
                durable::write_secret(&self.next.key, key.serialize_pem().as_bytes())
                    .map_err(of(&self.next.key))?;
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
        durable::write(&self.next.certificate, answer).map_err(of(&self.next.certificate))?;
        self.judge(credentials).inspect_err(|_| {
            // It would be looked at again, and found wrong again.
            let _ = fs::remove_file(&self.next.certificate);
        })?;
        durable::rename(&self.next.key, &self.files.key).map_err(of(&self.files.key))?;
        self.finish()
    }

    fn judge(&self, credentials: &Credentials) -> Result<(), RenewalError> {
        let sent = Credentials::read(&self.next)?;
        match () {
            () if sent.principal() != credentials.principal() => {
                Err(RenewalError::Another(sent.principal().to_string()))
            }
            () if sent.not_after() <= credentials.not_after() => Err(RenewalError::NotLater),
            () if sent.is_own_revoked() => Err(RenewalError::Revoked),
            () => Ok(()),
        }
    }

    /// Brings a renewal that a crash has cut in two to its end.
    pub fn settle(&self) -> Result<(), RenewalError> {
        if !self.next.certificate.exists() {
            return Ok(());
        }
        // The key was changed already, or nothing was.
        match Identity::read(&self.next.certificate, &self.files.key) {
            Ok(_) => self.finish(),
            Err(_) => fs::remove_file(&self.next.certificate).map_err(of(&self.next.certificate)),
        }
    }

    fn finish(&self) -> Result<(), RenewalError> {
        durable::rename(&self.next.certificate, &self.files.certificate)
            .map_err(of(&self.files.certificate))
    }

    /// Of an earlier asking; what cannot be read is made anew.
    fn kept_key(&self) -> Option<KeyPair> {
        let pem = bounded::read_file(&self.next.key, LONGEST_FILE);
        let pem = match pem {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            other => String::from_utf8(other.ok()?).ok()?,
        };
        KeyPair::from_pem(&pem).ok().filter(|key| key.algorithm() == &rcgen::PKCS_ECDSA_P256_SHA256)
    }
}

fn of(path: &Path) -> impl FnOnce(io::Error) -> RenewalError {
    let path = path.to_owned();
    |source| RenewalError::File { path, source }
}
