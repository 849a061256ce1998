//! Checks of servers over TLS, through the whole agent: whom they believe is whom requests believe.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

mod world;

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use world::http2::made::{Ca, Folder, LEAF, Leaf};
use world::{Client, LONG, World, ok};

/// A check over TLS believes by the server's own `ca`, as requests do, and says why it does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_over_tls_believes_by_the_server_s_own_ca() {
    let (folder, ca, other) = (Folder::new(), Ca::new("ca"), Ca::new("others"));
    folder.write("ca.pem", &ca.pem);
    let good = Leaf { names: &["www.example.com"], ..LEAF };
    let wrong = Leaf { names: &["api.example.com"], ..LEAF };
    let mut servers = vec![];
    for (authority, leaf) in [(&ca, good), (&ca, wrong), (&other, good)] {
        servers.push(secure(authority, leaf).await);
    }
    let line = |(name, (address, _)): (&str, &(SocketAddr, JoinHandle<()>))| {
        format!(
            "{{ name = \"{name}\", address = \"{address}\", tls = {{ ca = \"{}\", sni = \"www.example.com\" }} }}",
            folder.path().join("ca.pem").display()
        )
    };
    let lines: Vec<_> =
        ["good", "wrong-name", "foreign"].into_iter().zip(&servers).map(line).collect();
    for kind in ["https", "tls"] {
        let admin = world::address();
        let text = format!(
            "[admin]\nlisten = \"{admin}\"\n[frontend.web]\nbind = [\"FRONT\"]\npool = \"app\"\n\
             [pool.app]\ncheck = {{ kind = \"{kind}\", interval = \"300ms\", rise = 1, fall = 1 }}\nservers = [\n{}\n]\n",
            lines.join(",\n")
        );
        let world = World::start(&text).await;
        let takers = || world.agent.shown().upstreams[0].shown().standing.takers.len();
        let mut status = serde_json::Value::Null;
        let looked = async {
            loop {
                let page = Client::connect(admin).await.get("/v1/status").await;
                status = serde_json::from_str(page.text()).unwrap();
                let servers = status["pools"][0]["servers"].as_array().unwrap();
                if servers.iter().all(|server| !server["last_look"].is_null()) && takers() == 1 {
                    return;
                }
            }
        };
        timeout(LONG, looked).await.expect("all are looked at");
        let servers = &status["pools"][0]["servers"];
        assert_eq!(servers[0]["last_look"]["passed"], true, "{servers:#}");
        for (place, why) in [(1, "not valid for name"), (2, "UnknownIssuer")] {
            let look = &servers[place]["last_look"];
            assert_eq!(look["reason"], "certificate", "{servers:#}");
            assert!(look["detail"].as_str().unwrap().contains(why), "{servers:#}");
            assert!(servers[place]["status"].as_str().unwrap().starts_with("DOWN"), "{servers:#}");
        }
        // Requests agree with the checks.
        assert_eq!(world.client().await.get("/").await.text(), "good");
    }
}

/// A server of HTTP/1.1 over TLS that shows this certificate.
async fn secure(ca: &Ca, leaf: Leaf<'_>) -> (SocketAddr, JoinHandle<()>) {
    let (certificate, key) = ca.issue(leaf);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Who does not believe it says so and goes.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut asked = [0; 4096];
                while stream.read(&mut asked).await.is_ok_and(|count| count > 0) {
                    if stream.write_all(&ok("good")).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, task)
}
