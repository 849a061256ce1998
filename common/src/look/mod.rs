//! One look at one target: what came of it, why it failed if it did, and where its time went.
//!
//! Every look is a connection of its own, as a client's first one is: nothing is kept open, no session is resumed,
//! so that what is measured is what a new client meets. Bounded in time by the check's timeout, and in octets by
//! `MOST_READ`.

mod dns;
mod external;
mod grpc;
mod http;
mod icmp;
mod tcp;
mod tls;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

pub use self::external::{Program, Programs};
pub use self::tls::{Roots, RootsError};
use crate::check::Kind;
use crate::clock;
use crate::report::{Phases, Reason};
pub use crate::seen::{Failure, Seen};
use crate::target::{Address, Target};

/// Octets of an answer that are read to find what is expected in it, as HAProxy's one buffer.
pub const MOST_READ: usize = 16 << 10;

/// Whatever looks. A demo puts switches in front of the one that does.
pub trait Look: Send + Sync + 'static {
    /// Looks once; returns within the check's timeout.
    fn look(&self, target: &Target) -> impl Future<Output = Seen> + Send;
}

/// What a daemon looks with. Shared by all looks.
#[derive(Debug)]
pub struct Looker {
    pub who: Who,
    pub roots: Roots,
    pub programs: Programs,
}

/// Who looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Who {
    /// One of many places of the world: that this one has no way to a target says nothing of it.
    Probe,
    /// Through whom clients come: where it has no way itself, they have none.
    Balancer,
}

/// What is learned on the way, which stands however the look ends.
#[derive(Debug, Default)]
struct Notes {
    phases: Phases,
    not_after: Option<i64>,
    /// Of HTTP's answer.
    status: Option<u16>,
}

impl Look for Looker {
    async fn look(&self, target: &Target) -> Seen {
        let mut notes = Notes::default();
        let limit = target.check.timing.timeout();
        let outcome = match timeout(limit, self.look_into(target, &mut notes)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let detail = format!("{} took longer than {limit:?}", notes.phase());
                Err(Failure::new(Reason::Timeout, detail))
            }
        };
        let Notes { phases, not_after, status } = notes;
        Seen { outcome, phases, not_after, status }
    }
}

impl Who {
    /// As servers, and captures of packets, are told.
    fn name(self) -> &'static str {
        match self {
            Who::Probe => "gslb-probe",
            Who::Balancer => "site-agent",
        }
    }

    fn user_agent(self) -> String {
        format!("{}/{}", self.name(), env!("CARGO_PKG_VERSION"))
    }
}

impl Looker {
    async fn look_into(&self, target: &Target, notes: &mut Notes) -> Result<(), Failure> {
        let address = resolve(&target.address, notes).await?;
        let failure = match self.look_at(address, target, notes).await {
            Err(failure) if failure.reason == Reason::Unreachable => failure,
            outcome => return outcome,
        };
        match self.who {
            Who::Probe => {}
            Who::Balancer => return Err(failure),
        }
        // Without IPv6 here, say, every such address fails, and none of them is down for that.
        Err(match no_way_to(address) {
            Some(ours) => Failure::new(Reason::Probe, format!("no way there from here: {ours}")),
            None => failure,
        })
    }

    async fn look_at(
        &self,
        address: IpAddr,
        target: &Target,
        notes: &mut Notes,
    ) -> Result<(), Failure> {
        let at = SocketAddr::new(address, target.port);
        let host = &*target.host;
        match &target.check.kind {
            Kind::Tcp(check) => tcp::look(at, check, notes).await,
            Kind::Tls(check) => tls::look(at, host, check, &self.roots, notes).await,
            Kind::Http(check) => http::look(at, host, check, self.who, notes).await,
            Kind::Https(check) => {
                http::look_within_tls(at, host, check, self.who, &self.roots, notes).await
            }
            Kind::Dns(check) => dns::look(at, check, notes).await,
            Kind::Icmp => icmp::look(address, self.who, notes).await,
            Kind::Grpc(check) => grpc::look(at, host, check, notes).await,
            Kind::Grpcs(check) => grpc::look_within_tls(at, host, check, &self.roots, notes).await,
            Kind::External(check) => self.programs.look(target, address, check, notes).await,
        }
    }
}

impl Notes {
    /// What was under way when nothing more was noted.
    fn phase(&self) -> &'static str {
        match self.phases {
            Phases { first_byte: Some(_), .. } => "the rest of the answer",
            Phases { tls: Some(_), .. } => "the first octet of the answer",
            Phases { connect: Some(_), .. } => "what follows on the connection",
            Phases { .. } => "connecting",
        }
    }
}

/// Milliseconds since `began`, rounded up: what took any time at all took some.
fn since(began: Duration) -> Option<u32> {
    let took = clock::monotonic().saturating_sub(began);
    u32::try_from(took.as_micros().div_ceil(1000)).ok()
}

async fn resolve(address: &Address, notes: &mut Notes) -> Result<IpAddr, Failure> {
    let name = match address {
        Address::Ip(address) => return Ok(*address),
        Address::Name(name) => name,
    };
    let began = clock::monotonic();
    let unresolved = |why: String| Failure::new(Reason::Unresolved, format!("{name}: {why}"));
    let found = lookup_host((name.as_str(), 0))
        .await
        .map_err(|error| unresolved(error.to_string()))?
        .next();
    notes.phases.resolve = since(began);
    found.map(|found| found.ip()).ok_or_else(|| unresolved("no address".to_owned()))
}

async fn connect(at: SocketAddr, notes: &mut Notes) -> Result<TcpStream, Failure> {
    let began = clock::monotonic();
    let stream = TcpStream::connect(at).await.map_err(|error| failed("connecting", &error))?;
    notes.phases.connect = since(began);
    // A word that waits for the next would be measured as the server's time.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Why this machine cannot send to it at all, if so: it asks its own routes, and sends nothing.
fn no_way_to(address: IpAddr) -> Option<io::Error> {
    let ours: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let any_port = 9;
    UdpSocket::bind((ours, 0)).and_then(|socket| socket.connect((address, any_port))).err()
}

/// What an error of the system says of the target, or of us.
fn failed(doing: &str, error: &io::Error) -> Failure {
    use io::ErrorKind::*;
    let reason = match error.kind() {
        ConnectionRefused => Reason::Refused,
        ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof => Reason::Closed,
        TimedOut => Reason::Timeout,
        HostUnreachable | NetworkUnreachable | NetworkDown => Reason::Unreachable,
        // Descriptors, ports, memory, permissions, families that this machine has not.
        _ => Reason::Probe,
    };
    Failure::new(reason, format!("{doing}: {error}"))
}

#[cfg(test)]
mod tests;
