//! Tickets by which clients resume sessions that nobody here remembers: TLS 1.2's (RFC 5077) and 1.3's (RFC 8446
//! §2.2). Keys live for 12 hours and are used for six; they are this process's own.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;

/// The keys.
#[derive(Debug)]
pub struct Tickets(Arc<dyn ProducesTickets>);

/// A frontend's tickets: another one's are no good there. Somebody between client and us could else lead a client to a
/// frontend that is not whom it asked for, and that never had to show its certificate.
#[derive(Debug)]
struct OfFrontend {
    keys: Arc<dyn ProducesTickets>,
    /// What stands before all that is sealed: the name's length and the name.
    label: Box<[u8]>,
}

impl Tickets {
    pub fn new() -> Result<Tickets, rustls::Error> {
        Ticketer::new().map(Tickets)
    }

    pub fn of(&self, frontend: &str) -> Arc<dyn ProducesTickets> {
        let length = (frontend.len() as u64).to_be_bytes();
        let label = [&length[..], frontend.as_bytes()].concat().into();
        Arc::new(OfFrontend { keys: Arc::clone(&self.0), label })
    }
}

impl ProducesTickets for OfFrontend {
    fn enabled(&self) -> bool {
        self.keys.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.keys.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.encrypt(&[&self.label, plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let plain = self.keys.decrypt(cipher)?;
        plain.strip_prefix(&*self.label).map(<[u8]>::to_vec)
    }
}
