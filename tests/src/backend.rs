//! What serves at a site's address: it answers HTTP while it is let, and then nobody listens there.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::netns::Namespace;

/// For a client that says nothing.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Backend {
    address: SocketAddr,
    /// Says its name and what was asked for; `ok` without one.
    name: Option<Arc<str>>,
    running: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

/// What serves on a machine.
pub struct Placed<'p> {
    place: &'p Namespace,
    backend: Option<Backend>,
}

impl Backend {
    /// Listens at once.
    pub fn start(address: SocketAddr) -> io::Result<Backend> {
        Backend::begin(address, None)
    }

    /// The same, and answers say who it is and which path was asked for.
    pub fn named(address: SocketAddr, name: &str) -> io::Result<Backend> {
        Backend::begin(address, Some(name.into()))
    }

    fn begin(address: SocketAddr, name: Option<Arc<str>>) -> io::Result<Backend> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let running = Some(serve(listener, name.clone()));
        Ok(Backend { address, name, running })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on connections are refused.
    pub fn kill(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            stop.store(true, Relaxed);
            // Wakes it from `accept`.
            drop(TcpStream::connect(self.address));
            let _ = thread.join();
        }
    }

    pub fn revive(&mut self) -> io::Result<()> {
        if self.running.is_none() {
            self.running = Some(serve(TcpListener::bind(self.address)?, self.name.clone()));
        }
        Ok(())
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Placed<'_> {
    pub fn start(place: &Namespace, address: (Ipv4Addr, u16)) -> io::Result<Placed<'_>> {
        let backend = place.within(|| Backend::start(address.into()))?;
        Ok(Placed { place, backend: Some(backend) })
    }
}

impl Drop for Placed<'_> {
    fn drop(&mut self) {
        // It is ended by a connection, which not everybody can make.
        self.place.within(|| drop(self.backend.take()));
    }
}

fn serve(listener: TcpListener, name: Option<Arc<str>>) -> (Arc<AtomicBool>, JoinHandle<()>) {
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = Arc::clone(&stop);
    let thread = thread::spawn(move || {
        for stream in listener.incoming() {
            if stopping.load(Relaxed) {
                return;
            }
            // Whoever went away wants no answer.
            let _ = stream.and_then(|stream| answer(&stream, name.as_deref()));
        }
    });
    (stop, thread)
}

fn answer(mut stream: &TcpStream, name: Option<&str>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = first.split(' ').nth(1).unwrap_or_default();
    let body = name.map_or("ok\n".to_owned(), |name| format!("{name} {path}\n"));
    // As a server does that takes care of its browsers.
    let answer = format!(
        "HTTP/1.1 200 OK\r\nX-Content-Type-Options: nosniff\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes())
}
