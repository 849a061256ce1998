//! Requests that two readers could take in two ways, sent through the balancer's binary to three servers at once: each is
//! refused, or all of them read the same.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod cases;
mod clients;
#[path = "../../../site-agent/src/tls/tests/made.rs"]
#[expect(dead_code, reason = "the test of TLS alone needs more of it")]
mod made;
mod servers;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use gslb_tests::balancer::start;
use gslb_tests::loopback::addresses;
use gslb_tests::peers;
use gslb_tests::process::Process;
use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use self::cases::{Case, End, of_http_1, of_http_2, plain};
use self::clients::{Answer, Ended};
use self::made::{Ca, Folder, LEAF, Leaf};
use self::servers::{Hyper, Nginx, Recorder, Seen, What};

const NAME: &str = "www.example.com";
/// No more is sent once so much is wrong: each may be an answer that never comes.
const ENOUGH: usize = 12;
const SERVERS: [&str; 3] = ["nginx", "hyper", "recorder"];

/// A balancer of one thread, so that whoever comes uses the connections to servers that were used before: with each server a
/// frontend of its own.
struct World {
    balancer: Process,
    fronts: [SocketAddr; 3],
    nginx: Nginx,
    hyper: Hyper,
    recorder: Recorder,
    _folder: Folder,
}

impl World {
    /// Sends each case to each server, and has nothing be wrong with what is told, nor with what was read.
    #[track_caller]
    fn try_all<T>(
        self,
        cases: &[(Case, T)],
        ask: impl Fn(&Case, &T, Ipv4Addr, SocketAddr) -> Result<(), String>,
    ) {
        let mut wrong = vec![];
        for (number, (case, sent)) in cases.iter().enumerate() {
            if wrong.len() >= ENOUGH {
                break;
            }
            for (server, front) in self.fronts.into_iter().enumerate() {
                if let Err(why) = ask(case, sent, address(server, number), front) {
                    let name = SERVERS[server];
                    wrong.push(format!("{}: {name}: {why}\n    {}", case.line, case.text));
                }
            }
        }
        let seen = self.end();
        if wrong.len() < ENOUGH {
            let all: Vec<&Case> = cases.iter().map(|(case, _)| case).collect();
            wrong.extend(are_read(&all, seen));
        }
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    }

    /// `tls` stands in each frontend.
    fn start(folder: Folder, tls: &str) -> World {
        let nginx = Nginx::start(&folder.path().join("nginx"));
        let (hyper, recorder) = (Hyper::start(), Recorder::start());
        let fronts = addresses::<3>().unwrap();
        let behind = [nginx.address, hyper.address, recorder.address];
        let pools: String = (0..3)
            .map(|at| {
                let (name, front, server) = (SERVERS[at], fronts[at], behind[at]);
                format!(
                    "[frontend.{name}]\nbind = [\"{front}\"]\npool = \"{name}\"\naccess_log = {{ format = \"off\" }}\n{tls}\n\
                     [pool.{name}]\nservers = [{{ name = \"a\", address = \"{server}\" }}]\n"
                )
            })
            .collect();
        let balancer = start(folder.path(), &pools, 1, &fronts).unwrap();
        World { balancer, fronts, nginx, hyper, recorder, _folder: folder }
    }

    /// What each server has read in all.
    fn end(mut self) -> [Vec<Seen>; 3] {
        self.balancer.signal(Signal::TERM).unwrap();
        assert!(self.balancer.wait().unwrap().success());
        [self.nginx.end(), self.hyper.end(), self.recorder.end()]
    }
}

/// By which a client of this case is known at this server.
fn address(server: usize, case: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 20 + server as u8, (case / 200) as u8, (case % 200) as u8 + 1)
}

/// What the client is told is what is expected, and of nobody else's request.
fn is_told(case: &Case, from: Ipv4Addr, answers: &[Answer]) -> Result<(), String> {
    let mut expected: Vec<(u16, Option<String>)> = vec![];
    for request in &case.expected.forwarded {
        let mut words = request.splitn(3, ' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let told = format!("{from} {method} {target}\n");
        expected.push((200, Some(if method == "HEAD" { String::new() } else { told })));
    }
    if let End::Refused(status) = case.expected.end {
        expected.push((status, None));
    }
    let agrees = expected.len() == answers.len()
        && expected.iter().zip(answers).all(|((status, text), answer)| {
            *status == answer.0 && text.as_ref().is_none_or(|text| *text == answer.1)
        });
    if agrees { Ok(()) } else { Err(format!("its client is told {answers:?}")) }
}

/// Each server has read what is expected of each case, and nothing that is nobody's.
fn are_read(cases: &[&Case], seen: [Vec<Seen>; 3]) -> Vec<String> {
    let mut wrong = vec![];
    for (server, seen) in seen.into_iter().enumerate() {
        let mut of: BTreeMap<String, Vec<Seen>> = BTreeMap::new();
        for seen in seen {
            of.entry(seen.client.clone()).or_default().push(seen);
        }
        for (number, case) in cases.iter().enumerate() {
            let read = of.remove(&address(server, number).to_string()).unwrap_or_default();
            if let Err(why) = is_read(case, server, &read) {
                wrong.push(format!("{}: {}: {why}\n    {}", case.line, SERVERS[server], case.text));
            }
        }
        // Whoever opens a connection to see whether somebody listens says nothing.
        wrong.extend(of.values().flatten().map(|seen| {
            let octets = seen.octets.escape_ascii();
            format!("{}: of nobody: {:?} in {octets}", SERVERS[server], seen.what)
        }));
    }
    wrong
}

fn is_read(case: &Case, server: usize, read: &[Seen]) -> Result<(), String> {
    let (mut whole, mut cut) = (vec![], vec![]);
    for seen in read {
        match &seen.what {
            What::Whole(request) => whole.push(plain(request)),
            What::Cut(request) => cut.push(request),
            What::Malformed(why) => {
                return Err(format!("malformed: {why}, in {}", seen.octets.escape_ascii()));
            }
        }
    }
    let expected = case.expected.forwarded.iter().map(|request| {
        // It does not log trailers.
        let log = request.split(" with ").next().unwrap();
        plain(if SERVERS[server] == "nginx" { log } else { request })
    });
    let expected: Vec<String> = expected.collect();
    if whole != expected {
        return Err(format!("read {whole:?}, expected {expected:?}"));
    }
    // What is refused in its body may have begun.
    let most = usize::from(case.expected.end != End::Good);
    if cut.len() > most {
        return Err(format!("cut: {cut:?}"));
    }
    Ok(())
}

#[test]
fn what_comes_over_http_1_is_refused_or_read_in_one_way_by_all() {
    if peers::missing(servers::missing()) {
        return;
    }
    let world = World::start(Folder::new(), "");
    world.try_all(&of_http_1(), |case, octets, from, front| {
        is_told(case, from, &clients::http_1(from, front, octets, &case.expected))
    });
}

#[test]
fn what_comes_over_http_2_is_refused_or_read_in_one_way_by_all() {
    if peers::missing(servers::missing()) {
        return;
    }
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    folder.certify(&ca, "front", Leaf { names: &[NAME], ..LEAF });
    let world = World::start(folder, "tls = { certificates = [\"front.pem\"] }");
    let config = believing(&ca);
    world.try_all(&of_http_2(), |case, parts, from, front| {
        match (clients::http_2(from, front, &config, NAME, parts), &case.expected.end) {
            (Ended::Answered(answer), End::Good | End::Refused(_)) => {
                is_told(case, from, &[answer])
            }
            (Ended::Reset(code), End::Reset(expected)) if code == *expected => Ok(()),
            (Ended::GoAway(code), End::GoAway(expected)) if code == *expected => Ok(()),
            (Ended::Closed, End::More) => Ok(()),
            (ended, _) => Err(format!("{ended:?}")),
        }
    });
}

fn believing(ca: &Ca) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}
