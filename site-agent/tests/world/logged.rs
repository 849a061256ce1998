//! What is logged meanwhile.

use std::io::{self, Write};
use std::sync::Arc;

use common::lock::Mutex;
use tracing::Subscriber;
use tracing::subscriber::with_default;

/// Where a log goes.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Writes here: a line each, its level, its message and its fields.
    pub fn lines(&self) -> impl Subscriber + use<> {
        let writer = self.clone();
        let lines = tracing_subscriber::fmt().without_time().with_target(false).with_ansi(false);
        lines.with_writer(move || writer.clone()).finish()
    }

    /// What has come since that was asked last.
    pub fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock())).unwrap()
    }
}

/// What is logged meanwhile.
pub fn logged(act: impl FnOnce()) -> String {
    let log = Log::default();
    with_default(log.lines(), act);
    log.take()
}
