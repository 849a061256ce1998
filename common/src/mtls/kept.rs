//! Credentials that follow their files.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Credentials, CredentialsError, Files};
use crate::bounded::Stamp;

/// Keeps the last good ones.
#[derive(Debug)]
pub struct Kept {
    files: Files,
    current: ArcSwap<Credentials>,
    looks: ArcSwap<Looks>,
}

/// What the files looked like from outside.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Looks {
    /// When they were last read and judged.
    judged: Stamps,
    seen: Stamps,
}

/// Of CA, certificate, key and revocation lists.
type Stamps = [Option<Stamp>; 4];

impl Kept {
    pub fn read(files: Files) -> Result<Kept, CredentialsError> {
        // Looked at before reading: what changes in between is seen as changed.
        let stamps = stamps(&files);
        let current = ArcSwap::from_pointee(Credentials::read(&files)?);
        let looks = ArcSwap::from_pointee(Looks { judged: stamps, seen: stamps });
        Ok(Kept { files, current, looks })
    }

    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Those of the files as they last were good.
    pub fn current(&self) -> Arc<Credentials> {
        self.current.load_full()
    }

    /// Reads the files again if they have changed: `None` if they have not. Files that change one after the other may
    /// fit together only when the last is there, so an error is told when they look the same twice. For one caller,
    /// that comes now and then.
    pub fn reread(&self) -> Option<Result<(), CredentialsError>> {
        let stamps = stamps(&self.files);
        let looks = self.looks.load();
        if stamps == looks.judged {
            if stamps != looks.seen {
                self.looks.store(Arc::new(Looks { judged: stamps, seen: stamps }));
            }
            return None;
        }
        let is_settled = stamps == looks.seen;
        let read = Credentials::read(&self.files);
        let judged = if is_settled || read.is_ok() { stamps } else { looks.judged };
        self.looks.store(Arc::new(Looks { judged, seen: stamps }));
        match read {
            Ok(credentials) => {
                self.current.store(Arc::new(credentials));
                Some(Ok(()))
            }
            Err(error) => is_settled.then_some(Err(error)),
        }
    }
}

fn stamps(files: &Files) -> Stamps {
    let Files { ca, certificate, key, crl } = files;
    [
        Stamp::of(ca),
        Stamp::of(certificate),
        Stamp::of(key),
        crl.as_ref().and_then(|crl| Stamp::of(crl)),
    ]
}
