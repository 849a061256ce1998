//! Servers that we did not write, as Debian packages them: nginx, HAProxy, Knot DNS, `openssl s_server`, gRPC for Python.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gslb_tests::loopback;
use gslb_tests::process::Process;
use gslb_tests::wait::until;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

const NGINX: &str = "/usr/sbin/nginx";
const HAPROXY: &str = "/usr/sbin/haproxy";
const KNOT: &str = "/usr/sbin/knotd";
/// Debian's own, for which `python3-grpcio` is.
const PYTHON: &str = "/usr/bin/python3";

/// By what they are known in this test, each with a port of its own.
const NAMES: [&str; 24] = [
    "http",
    "h2c",
    "https",
    "https1",
    "https-other",
    "https-expired",
    "https-untrusted",
    "haproxy",
    "haproxy-empty",
    "haproxy-tcp",
    "haproxy-tcp-empty",
    "knot",
    "tls",
    "tls-1.2",
    "tls-1.3",
    "tls-1.1",
    "tls-other",
    "tls-expired",
    "tls-untrusted",
    "grpc",
    "grpcs",
    "grpcs-other",
    "grpc-without",
    "nobody",
];

pub struct Servers {
    dir: TempDir,
    addresses: BTreeMap<&'static str, SocketAddr>,
    /// Whom the probe believes.
    pub root: CertificateDer<'static>,
    running: Vec<Process>,
}

/// What is not installed.
pub fn missing() -> Vec<&'static str> {
    let is_there = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    [
        (NGINX, "-v", "nginx is not installed"),
        (HAPROXY, "-v", "haproxy is not installed"),
        (KNOT, "--version", "knot is not installed"),
        ("openssl", "version", "openssl is not installed"),
        ("curl", "--version", "curl is not installed"),
    ]
    .into_iter()
    .filter(|(program, argument, _)| !is_there(program, &[argument]))
    .map(|(_, _, missing)| missing)
    .chain((!is_there(PYTHON, &["-c", "import grpc"])).then_some("python3-grpcio is not installed"))
    .collect()
}

impl Servers {
    pub fn start() -> Servers {
        let dir = tempfile::Builder::new().prefix("gslb-foreign-").tempdir().unwrap();
        let address = |name| (name, loopback::address().unwrap());
        let addresses: BTreeMap<_, _> = NAMES.into_iter().map(address).collect();
        let (root, certificates) = certificates();
        for (name, text) in certificates {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let mut servers = Servers { dir, addresses, root, running: vec![] };
        servers.nginx();
        servers.haproxy();
        servers.knot();
        servers.openssl();
        servers.grpc();
        servers.until_all_listen();
        servers
    }

    pub fn at(&self, name: &str) -> SocketAddr {
        *self.addresses.get(name).unwrap_or_else(|| panic!("no server {name}"))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn until_all_listen(&mut self) {
        for (name, address) in &self.addresses {
            if *name == "nobody" {
                continue;
            }
            until(&format!("{name} listens"), || {
                for process in &mut self.running {
                    let ended = process.child().try_wait()?;
                    anyhow::ensure!(ended.is_none(), "one has ended");
                }
                Ok(TcpStream::connect(address).ok().map(drop))
            })
            .unwrap_or_else(|why| panic!("{why}\n{}", logs(self.dir.path())));
        }
    }

    fn run(&mut self, name: &str, program: &str, arguments: &[&str]) {
        let log = fs::File::create(self.path(&format!("{name}.log"))).unwrap();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.running.push(Process::spawn(&mut command).unwrap());
    }

    fn nginx(&mut self) {
        let dir = self.dir.path().display();
        let within_tls = |name: &str, how: &str, certificate: &str| {
            format!(
                "server {{ listen {} {how}; server_name www.example.com; ssl_certificate {dir}/{certificate}.pem; \
                 ssl_certificate_key {dir}/{certificate}.key; include {dir}/places; }}\n",
                self.at(name)
            )
        };
        let places = "location = /healthz { add_header X-State ready; return 200 \"all is well\\n\"; }\n\
                      location = /broken { return 503; }\nlocation = /moved { return 302 /healthz; }\n\
                      location = /closed { return 444; }\nlocation = /empty { return 204; }\n\
                      location = /mine { if ($http_x_probe = 1) { return 200; } return 403; }\n\
                      location = /slow { limit_rate 256; }\n";
        fs::write(self.path("places"), places).unwrap();
        fs::create_dir(self.path("html")).unwrap();
        // What is looked for stands behind what is read.
        fs::write(self.path("html/large"), "x".repeat(20_000) + "the end").unwrap();
        fs::write(self.path("html/medium"), "x".repeat(16_000) + "the end").unwrap();
        fs::write(self.path("html/slow"), "x".repeat(8000) + "the end").unwrap();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {dir}/{kind};\n"))
            .concat();
        let text = format!(
            "daemon off; master_process off; pid {dir}/nginx.pid; error_log stderr warn;\nevents {{ }}\nhttp {{\n\
             access_log off; root {dir}/html;\n{temporary}\
             server {{ listen {http} default_server; return 421; }}\n\
             server {{ listen {http}; server_name www.example.com; include {dir}/places; }}\n\
             server {{ listen {h2c} http2; server_name www.example.com; include {dir}/places; }}\n{}{}{}{}{}}}\n",
            within_tls("https", "ssl http2", "good"),
            within_tls("https1", "ssl", "good"),
            within_tls("https-other", "ssl http2", "other"),
            within_tls("https-expired", "ssl http2", "expired"),
            within_tls("https-untrusted", "ssl http2", "untrusted"),
            http = self.at("http"),
            h2c = self.at("h2c"),
        );
        fs::write(self.path("nginx.conf"), text).unwrap();
        let config = self.path("nginx.conf").display().to_string();
        self.run("nginx", NGINX, &["-p", &self.dir.path().display().to_string(), "-c", &config]);
    }

    fn haproxy(&mut self) {
        let text = format!(
            "global\n  maxconn 100\ndefaults\n  timeout connect 2s\n  timeout client 5s\n  timeout server 5s\n\
             frontend web\n  mode http\n  bind {}\n  default_backend nginx\n\
             backend nginx\n  mode http\n  server one {nginx}\n\
             frontend empty\n  mode http\n  bind {}\n  default_backend nobody\nbackend nobody\n  mode http\n\
             frontend stream\n  mode tcp\n  bind {}\n  default_backend stream\nbackend stream\n  mode tcp\n  server one {nginx}\n\
             frontend streamless\n  mode tcp\n  bind {}\n  default_backend streamless\nbackend streamless\n  mode tcp\n",
            self.at("haproxy"),
            self.at("haproxy-empty"),
            self.at("haproxy-tcp"),
            self.at("haproxy-tcp-empty"),
            nginx = self.at("http"),
        );
        fs::write(self.path("haproxy.cfg"), text).unwrap();
        let config = self.path("haproxy.cfg").display().to_string();
        self.run("haproxy", HAPROXY, &["-db", "-f", &config]);
    }

    fn knot(&mut self) {
        let (dir, at) = (self.dir.path().display(), self.at("knot"));
        fs::write(
            self.path("example.com.zone"),
            format!(
                "@ 60 SOA ns1 host 1 2 3 4 5\n@ 60 NS ns1\nns1 60 A 192.0.2.53\nwww 60 A 192.0.2.1\nwww 60 A 192.0.2.2\n\
                 www 60 AAAA 2001:db8::1\nalias 60 CNAME www\n@ 60 MX 10 mail\nmail 60 A 192.0.2.25\n\
                 note 60 TXT \"all is  well\" \"so far\"\nsvc 60 HTTPS 1 . alpn=h2\nodd 60 TYPE65400 \\# 3 c0ffee\nca 60 CAA 0 issue \"ca.example.net\"\n\
                 _s._tcp 60 SRV 1 2 443 www\n{}",
                (0..40).map(|n| format!("large 60 TXT \"{n:0>200}\"\n")).collect::<String>()
            ),
        )
        .unwrap();
        let text = format!(
            "server:\n  listen: {}@{}\n  rundir: {dir}\n  pidfile: {dir}/knot.pid\n  udp-workers: 1\n  tcp-workers: 1\n  \
             background-workers: 1\nlog:\n  - target: stderr\n    any: warning\ndatabase:\n  storage: {dir}/knot\n\
             zone:\n  - domain: example.com\n    storage: {dir}\n    file: example.com.zone\n    zonefile-sync: -1\n",
            at.ip(),
            at.port()
        );
        fs::write(self.path("knot.conf"), text).unwrap();
        let config = self.path("knot.conf").display().to_string();
        self.run("knot", KNOT, &["-c", &config]);
    }

    fn openssl(&mut self) {
        for (name, certificate, more) in [
            ("tls", "good", &[][..]),
            ("tls-1.2", "good", &["-tls1_2"]),
            ("tls-1.3", "good", &["-tls1_3"]),
            ("tls-1.1", "good", &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]),
            ("tls-other", "other", &[]),
            ("tls-expired", "expired", &[]),
            ("tls-untrusted", "untrusted", &[]),
        ] {
            let at = self.at(name).to_string();
            let (pem, key) = (format!("{certificate}.pem"), format!("{certificate}.key"));
            let arguments = ["s_server", "-quiet", "-accept", &at, "-cert", &pem, "-key", &key];
            self.run(name, "openssl", &[&arguments[..], more].concat());
        }
    }

    fn grpc(&mut self) {
        fs::write(self.path("health.py"), include_str!("health.py")).unwrap();
        let program = self.path("health.py").display().to_string();
        let at = |name: &str| self.at(name).to_string();
        let (plain, tls, other) = (at("grpc"), at("grpcs"), at("grpcs-other"));
        let without = at("grpc-without");
        self.run("grpc", PYTHON, &[&program, &plain, &tls, &other, &without]);
    }
}

/// What they said, for people.
fn logs(dir: &Path) -> String {
    let entries = fs::read_dir(dir).unwrap().filter_map(Result::ok);
    let logs = entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "log"));
    logs.map(|log| {
        format!("{}: {}\n", log.path().display(), fs::read_to_string(log.path()).unwrap())
    })
    .collect()
}

/// The root, and files of certificates and keys for `www.example.com`: a good one, one of another name, one that has
/// ended, and one of a CA that nobody believes.
fn certificates() -> (CertificateDer<'static>, Vec<(String, String)>) {
    let ca = |name: &str| {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().clone();
        (root, Issuer::new(params, key))
    };
    let ((root, believed), (_, other)) = (ca("web"), ca("nobody's"));
    let mut files = vec![];
    for (name, host, issuer, ends) in [
        ("good", "www.example.com", &believed, 2090),
        ("other", "mail.example.com", &believed, 2090),
        ("expired", "www.example.com", &believed, 2021),
        ("untrusted", "www.example.com", &other, 2090),
    ] {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(ends, 1, 1);
        let key = KeyPair::generate().unwrap();
        files.push((format!("{name}.pem"), params.signed_by(&key, issuer).unwrap().pem()));
        files.push((format!("{name}.key"), key.serialize_pem()));
    }
    (root, files)
}
