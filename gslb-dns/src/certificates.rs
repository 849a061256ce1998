//! Keeps what clients are shown true: reads certificates and keys again when their files change, shows the
//! new ones if they are good, and says so.
//!
//! The shell around `tls`: it owns the paths and is told the time. One of it, in a task of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::bounded::Stamp;
use common::identity::{Fault, Identity};
use common::validity::Validity;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

use crate::metrics::CertificateMetrics;
use crate::tls::Shown;
use crate::world::{Credentials, Node};

/// How often files are looked at, from outside. A new certificate is shown after two looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// The identities of all encrypted transports.
pub struct Certificates {
    kept: Vec<Kept>,
    metrics: CertificateMetrics,
}

/// One transport's identity.
struct Kept {
    /// As metrics and logs name it.
    transport: &'static str,
    credentials: Credentials,
    shown: Arc<Shown>,
    validity: Validity,
    /// Whether it was told that the certificate does not hold.
    is_told: bool,
    /// The files as they were when last read, and as they were last seen.
    read: Stamps,
    seen: Stamps,
}

/// What a certificate and a key file look like from outside.
type Stamps = [Option<Stamp>; 2];

/// A certificate or key that was good when the config was checked and is no more.
#[derive(Debug, thiserror::Error)]
#[error("dns.{transport}: {file} {why}")]
pub struct Unreadable {
    transport: &'static str,
    file: String,
    why: String,
}

impl Certificates {
    /// Reads all that the node names.
    pub fn open(
        node: &Node,
        metrics: CertificateMetrics,
        now: Timestamp,
    ) -> Result<Certificates, Unreadable> {
        let mut kept = Vec::new();
        for (transport, credentials) in node.dns.credentials() {
            let credentials = credentials.clone();
            // Looked at before reading: what changes in between is seen as changed.
            let read = stamps(&credentials);
            let identity =
                read_of(&credentials).map_err(|(file, why)| Unreadable { transport, file, why })?;
            let validity = identity.validity;
            let shown = Shown::new(identity);
            metrics.ok.with_label_values(&[transport]).set(1);
            let is_told = false;
            let seen = read;
            let one = Kept { transport, credentials, shown, validity, is_told, read, seen };
            kept.push(one);
        }
        let mut certificates = Certificates { kept, metrics };
        certificates.tell(now);
        Ok(certificates)
    }

    /// What the connections of a transport are shown, now and after every change.
    pub fn shown(&self, transport: &str) -> Option<Arc<Shown>> {
        let kept = self.kept.iter().find(|kept| kept.transport == transport)?;
        Some(Arc::clone(&kept.shown))
    }

    /// Looks at the files; what has changed, and has then stayed so for a look, is read again. So a
    /// certificate and its key that are written one after the other are read together.
    pub fn turn(&mut self, now: Timestamp) {
        for kept in &mut self.kept {
            let stamps = stamps(&kept.credentials);
            let is_settled = stamps == kept.seen;
            kept.seen = stamps;
            if is_settled && stamps != kept.read {
                kept.reread(stamps, &self.metrics);
            }
        }
        self.tell(now);
    }

    /// Reads all of them again, whatever they look like.
    pub fn reread(&mut self, now: Timestamp) {
        for kept in &mut self.kept {
            let stamps = stamps(&kept.credentials);
            kept.seen = stamps;
            kept.reread(stamps, &self.metrics);
        }
        self.tell(now);
    }

    fn tell(&mut self, now: Timestamp) {
        for kept in &mut self.kept {
            let Kept { transport, credentials, validity, is_told, .. } = kept;
            let labels = [*transport];
            self.metrics.expiry.with_label_values(&labels).set(validity.not_after);
            let doubt = doubt(*validity, now);
            if let Some(doubt) = doubt
                && !*is_told
            {
                let file = credentials.certificate.display();
                warn!(transport, %file, why = doubt, "a certificate is shown that clients will not believe");
            }
            *is_told = doubt.is_some();
        }
    }
}

impl Kept {
    fn reread(&mut self, stamps: Stamps, metrics: &CertificateMetrics) {
        self.read = stamps;
        let transport = self.transport;
        let is_ok = metrics.ok.with_label_values(&[transport]);
        match read_of(&self.credentials) {
            Ok(identity) => {
                is_ok.set(1);
                // Said again of each certificate that does not hold.
                self.is_told &= identity.validity == self.validity;
                self.validity = identity.validity;
                self.shown.swap(identity);
                let not_after = self.validity.not_after;
                info!(transport, not_after, "certificate read: new connections are shown it");
            }
            Err((file, why)) => {
                is_ok.set(0);
                error!(
                    transport,
                    file, why, "certificate refused: the last good one is still shown"
                );
            }
        }
    }
}

/// What keeps clients from believing the certificates of a node now: for `check`, which starts nothing.
pub fn doubts(node: &Node, now: Timestamp) -> Vec<String> {
    let doubt_of = |(transport, credentials): (&str, &Credentials)| {
        let identity = read_of(credentials).ok()?;
        let doubt = doubt(identity.validity, now)?;
        Some(format!("dns.{transport}: {}: {doubt}", credentials.certificate.display()))
    };
    let mut doubts: Vec<String> = node.dns.credentials().into_iter().filter_map(doubt_of).collect();
    if let Some(control) = &node.control
        && let Ok(credentials) = common::mtls::Credentials::read(&control.files)
    {
        let file = control.files.certificate.display();
        let of_control = credentials.doubts(now.as_second());
        doubts.extend(of_control.iter().map(|doubt| format!("control: {file}: {doubt}")));
    }
    doubts
}

/// Keys of a node that others than its user may read or write: for `check`. A group may read: a server that is not
/// root is given its key so.
pub fn exposed(node: &Node) -> Vec<String> {
    const OTHERS_READ: u32 = 0o004;
    const OTHERS_WRITE: u32 = 0o022;
    let of_dns = node.dns.credentials().into_iter();
    let of_dns = of_dns.map(|(transport, files)| (format!("dns.{transport}"), &*files.key));
    let of_control = node.control.iter().map(|control| ("control".to_owned(), &*control.files.key));
    // A key that several transports show is told once.
    let mut told: Vec<&Path> = Vec::new();
    let exposed = of_dns.chain(of_control).filter_map(|(of, key)| {
        let mode = fs::metadata(key).ok()?.permissions().mode();
        let what = if mode & OTHERS_READ != 0 {
            "everybody on this machine can read this key"
        } else if mode & OTHERS_WRITE != 0 {
            "others than its owner can write this key"
        } else {
            return None;
        };
        if told.contains(&key) {
            return None;
        }
        told.push(key);
        let key = key.display();
        Some(format!("{of}: {key}: {what}: chmod 600, or 640 for a group that may read it"))
    });
    exposed.collect()
}

fn doubt(validity: Validity, now: Timestamp) -> Option<&'static str> {
    let now = now.as_second();
    if now > validity.not_after {
        Some("the certificate has expired: clients that look will not connect; renew it")
    } else if now < validity.not_before {
        Some(
            "the certificate does not hold yet: clients that look will not connect; is the clock right?",
        )
    } else {
        None
    }
}

/// The error has the file of which it is.
fn read_of(credentials: &Credentials) -> Result<Identity, (String, String)> {
    let Credentials { certificate, key } = credentials;
    Identity::read(certificate, key).map_err(|fault| match fault {
        Fault::Certificate(why) => (certificate.display().to_string(), why),
        Fault::Key(why) => (key.display().to_string(), why),
    })
}

fn stamps(credentials: &Credentials) -> Stamps {
    [Stamp::of(&credentials.certificate), Stamp::of(&credentials.key)]
}

/// Lets certificates be looked at twice a second, and read when asked to.
pub async fn keep(
    mut certificates: Certificates,
    reread: Arc<Notify>,
    now: fn() -> Timestamp,
    mut stopping: watch::Receiver<bool>,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_asked = tokio::select! {
            _ = stopping.changed() => return,
            _ = ticks.tick() => false,
            () = reread.notified() => true,
        };
        // Files are read: off the runtime's own threads.
        let turn = tokio::task::spawn_blocking(move || {
            match is_asked {
                true => certificates.reread(now()),
                false => certificates.turn(now()),
            }
            certificates
        });
        match turn.await {
            Ok(kept) => certificates = kept,
            Err(error) => {
                error!(%error, "certificates are not looked at any more, until a restart");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use tempfile::TempDir;

    use super::*;
    use crate::metrics::Metrics;
    use crate::world::{AdminDoors, DnsListeners, TcpLimits, TlsListeners};

    /// Files of one server, and what became of them.
    struct Story {
        dir: TempDir,
        metrics: Metrics,
        certificates: Certificates,
    }

    const NOW: i64 = 1_795_219_200;

    fn node(dir: &Path) -> Node {
        let [certificate, key] = ["dns.pem", "dns.key"].map(|file| dir.join(file));
        let credentials = Credentials { certificate, key };
        let tls = Some(TlsListeners { listen: vec![], credentials });
        let idle = std::time::Duration::from_secs(1);
        let tcp = TcpLimits { connections: 1, connections_per_client: 1, idle };
        let dns = DnsListeners {
            listen: vec![],
            threads: None,
            tcp,
            cookies: None,
            rate_limit: None,
            trusted: [].into(),
            tls,
            https: None,
            quic: None,
            proxies: vec![],
            query_log: None,
            talkers: false,
        };
        let (name, cluster) = ("dns1".into(), "test".into());
        let (world, state_dir) = (PathBuf::new(), PathBuf::new());
        let (account, control, admin) = (None, None, AdminDoors::default());
        Node { name, cluster, world, state_dir, account, dns, control, admin }
    }

    fn pair(until: i32) -> (String, String) {
        let mut params = CertificateParams::new(["dns1.example.com".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    impl Story {
        fn of(until: i32) -> Story {
            let dir = tempfile::tempdir().unwrap();
            let (certificate, key) = pair(until);
            fs::write(dir.path().join("dns.pem"), certificate).unwrap();
            fs::write(dir.path().join("dns.key"), key).unwrap();
            let metrics = Metrics::new(vec![]);
            let now = Timestamp::from_second(NOW).unwrap();
            let of = metrics.certificates.clone();
            let certificates = Certificates::open(&node(dir.path()), of, now).unwrap();
            Story { dir, metrics, certificates }
        }

        /// Beside, then renamed, as whoever renews certificates does it.
        fn write(&self, file: &str, text: &str) {
            let beside = self.dir.path().join("new");
            fs::write(&beside, text).unwrap();
            fs::rename(beside, self.dir.path().join(file)).unwrap();
        }

        fn turn(&mut self) {
            self.certificates.turn(Timestamp::from_second(NOW).unwrap());
        }

        /// Whether the last reading was good, and the year in which what is shown ends.
        fn check(&self, is_ok: bool, until: i16) {
            let expiry = self.metrics.certificates.expiry.with_label_values(&["tls"]).get();
            let year = Timestamp::from_second(expiry).unwrap().to_string();
            assert!(year.starts_with(&until.to_string()), "{year}, expected {until}");
            let ok = self.metrics.certificates.ok.with_label_values(&["tls"]).get();
            assert_eq!(ok, i64::from(is_ok));
            let kept = &self.certificates.kept[0];
            assert_eq!(kept.validity.not_after, expiry);
        }
    }

    #[test]
    fn what_changes_is_read_once_it_has_settled() {
        let mut story = Story::of(2030);
        story.check(true, 2030);
        let (certificate, key) = pair(2040);
        story.write("dns.pem", &certificate);
        story.turn();
        story.check(true, 2030); // The key may be on its way.
        story.write("dns.key", &key);
        story.turn();
        story.check(true, 2030);
        story.turn();
        story.check(true, 2040);
    }

    #[test]
    fn the_last_good_one_stays() {
        let mut story = Story::of(2030);
        let (certificate, key) = pair(2040);
        story.write("dns.pem", &certificate);
        story.turn();
        story.turn();
        story.check(false, 2030); // The key is another's.
        fs::remove_file(story.dir.path().join("dns.key")).unwrap();
        story.turn();
        story.turn();
        story.check(false, 2030);
        story.write("dns.key", &key);
        story.turn();
        story.turn();
        story.check(true, 2040);
    }

    #[test]
    fn asked_to_it_reads_at_once() {
        let mut story = Story::of(2030);
        let (certificate, key) = pair(2040);
        story.write("dns.pem", &certificate);
        story.write("dns.key", &key);
        story.certificates.reread(Timestamp::from_second(NOW).unwrap());
        story.check(true, 2040);
    }

    #[test]
    fn a_key_that_others_may_read_or_write_is_told() {
        let story = Story::of(2030);
        let key = story.dir.path().join("dns.key");
        let mut node = node(story.dir.path());
        // The same key for another transport.
        node.dns.quic = node.dns.tls.clone();
        let check = |mode: u32, expected: &str| {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
            let told = exposed(&node).join("\n").replace(&key.display().to_string(), "KEY");
            assert_eq!(told, expected, "{mode:o}");
        };
        let read = "dns.tls: KEY: everybody on this machine can read this key: chmod 600, or 640 for a group that \
                    may read it";
        let written = "dns.tls: KEY: others than its owner can write this key: chmod 600, or 640 for a group that \
                       may read it";
        check(0o600, "");
        check(0o640, "");
        check(0o644, read);
        check(0o604, read);
        check(0o660, written);
        check(0o602, written);
    }

    #[test]
    fn a_certificate_that_does_not_hold_is_doubted() {
        let check = |now: &str, expected: &str| {
            let story = Story::of(2030);
            let doubts = doubts(&node(story.dir.path()), now.parse().unwrap()).join("\n");
            assert!(
                doubts.contains(expected) && doubts.is_empty() == expected.is_empty(),
                "{doubts}"
            );
        };
        check("2019-12-31T23:59:59Z", "does not hold yet");
        check("2020-01-01T00:00:00Z", "");
        check("2030-01-01T00:00:00Z", "");
        check("2030-01-01T00:00:01Z", "has expired");
    }
}
