//! A client that asks all the time, and is never left in the dark: each answer is one, whatever happens meanwhile.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::resolver::{Resolver, query};

/// Asks for one name, again and again.
pub struct Asking {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Asking {
    /// Of the machine of whoever begins it.
    pub fn begin(server: SocketAddr, name: &'static str) -> Asking {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut resolver = Resolver::of(server).unwrap();
            let mut asked = 0_u64;
            while !stopping.load(Relaxed) {
                answered(&mut resolver, name, &format!("9.9.{}.0/24", asked as u8));
                asked += 1;
                thread::park_timeout(Duration::from_millis(5));
            }
            asked
        });
        Asking { stop, thread: Some(thread) }
    }

    /// It was answered each time.
    pub fn end(mut self) {
        self.stop.store(true, Relaxed);
        let asked = self.thread.take().unwrap().join().expect("every answer was one");
        assert!(asked > 0, "it never came to ask");
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it died of is on standard error.
            let _ = thread.join();
        }
    }
}

/// The addresses that clients of a network are answered with: an answer, and never none.
pub fn answered(resolver: &mut Resolver, name: &str, network: &str) -> Vec<Ipv4Addr> {
    let name = Name::from_ascii(name).unwrap();
    let asked = query(&name, RecordType::A, Some(network.parse().unwrap())).unwrap();
    let answer = Message::from_vec(&resolver.ask(&asked).unwrap()).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "{answer:?}");
    let address = |record: &Record| match &record.data {
        RData::A(address) => Some(address.0),
        _ => None,
    };
    let addresses: Vec<Ipv4Addr> = answer.answers.iter().filter_map(address).collect();
    assert!(!addresses.is_empty(), "a name never goes dark: {answer:?}");
    addresses
}
