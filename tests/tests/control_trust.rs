//! Whom the control listener believes, and for how long.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may as well end it")]

use std::sync::Arc;
use std::time::Duration;

use common::renewal::Asked;
use common::validity::Validity;
use gslb_dns::control::Limits;
use gslb_dns::world::Peer;
use gslb_tests::control::{Client, Listening, Report, Sent, VANTAGE};
use gslb_tests::pki::{Ca, Holder, Until};
use hyper::body::Bytes;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use serde_json::json;

const OFTEN: Limits = Limits { look: Duration::from_millis(20), ..Limits::OURS };

async fn is_served(client: &Client) {
    assert_eq!(client.ask("GET /v1/assignment", "").await.status, 200);
}

/// Whether hands are shaken and a request is answered.
async fn is_let_in(listening: &Listening, config: ClientConfig) -> bool {
    let Ok(stream) = listening.bare(Arc::new(config)).await else { return false };
    // Of a certificate that is refused a client of TLS 1.3 hears after it has done its part.
    let client = Client::over(stream).await;
    client.send("GET /v1/assignment", Sent::whole(Bytes::new())).await.is_ok()
}

fn config(holder: &Holder) -> ClientConfig {
    (*holder.credentials().client()).clone()
}

/// Until when what a new connection is shown holds.
async fn shown(listening: &Listening, holder: &Holder) -> CertificateDer<'static> {
    let stream = listening.bare(holder.credentials().client()).await.unwrap();
    let (_, session) = stream.get_ref();
    session.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_holders_of_a_certificate_of_our_ca_are_let_in() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let listening = Listening::start(&ca, Limits::OURS);
    let holder = ca.issue(VANTAGE);
    assert!(is_let_in(&listening, config(&holder)).await);

    let mut roots = rustls::RootCertStore::empty();
    let pem = std::fs::read(holder.path("ca.pem")).unwrap();
    roots.add(rustls::pki_types::pem::PemObject::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let anonymous = |version| {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .unwrap();
        let mut config = builder.with_root_certificates(roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    };
    assert!(!is_let_in(&listening, anonymous(&rustls::version::TLS13)).await);
    assert!(!is_let_in(&listening, anonymous(&rustls::version::TLS12)).await);
    // Of another CA, though it believes in ours.
    let stranger = other.issue(VANTAGE);
    let mut disguised = config(&holder);
    disguised.client_auth_cert_resolver =
        stranger.credentials().client().client_auth_cert_resolver.clone();
    assert!(!is_let_in(&listening, disguised).await);
    listening.until("three failed", |all| all.handshakes("failed") == 3).await;

    // HTTP/2 and nothing else.
    let mut old = config(&holder);
    old.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert!(!is_let_in(&listening, old).await);
    listening.until("it failed", |all| all.handshakes("failed") == 4).await;
    let mut silent = config(&holder);
    silent.alpn_protocols = vec![];
    assert!(!is_let_in(&listening, silent).await);
    listening.until("it has no HTTP/2", |all| all.handshakes("no_http2") == 1).await;
    assert!(is_let_in(&listening, config(&holder)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_revoked_is_cut_off_and_kept_out() {
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, OFTEN);
    let (bad, good) = (ca.issue(VANTAGE), ca.issue("gslb://test/probe/fra"));
    let (bad_client, good_client) = (listening.connect(&bad).await, listening.connect(&good).await);
    is_served(&bad_client).await;
    is_served(&good_client).await;
    listening.holder.write("crl.pem", &ca.revoke(&[bad.serial]));
    bad_client.ended().await;
    assert_eq!(listening.closed("revoked"), 1);
    is_served(&good_client).await;
    assert!(!is_let_in(&listening, config(&bad)).await);
    assert!(is_let_in(&listening, config(&good)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_expires_ends_its_connections() {
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, OFTEN);
    let brief = ca.issue_until(VANTAGE, Until::Soon(3));
    let client = listening.connect(&brief).await;
    is_served(&client).await;
    client.ended().await;
    assert_eq!(listening.closed("expired"), 1);
    assert!(!is_let_in(&listening, config(&brief)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_whose_certificate_has_expired_is_listened_to_no_more() {
    let ca = Ca::new("ca");
    let (told, _heard) = tokio::sync::mpsc::channel(1);
    let brief = ca.issue_until("gslb://test/dns/dns1", Until::Soon(4));
    let theirs = Listening::start_as(brief, Limits::OURS, told.clone());
    let peer = Peer { address: theirs.address, name: "dns1".into() };
    let us = ca.issue("gslb://test/dns/dns2");
    let ours = Listening::start_beside(us, Limits::OURS, told, vec![peer]);
    let pulled = |ours: &Listening, outcome| {
        ours.metrics.control.pulls.with_label_values(&["dns1", outcome]).get()
    };
    // It does not list us; what matters is that it answers.
    ours.until("it answers", |ours| pulled(ours, "refused") > 0).await;
    assert_eq!(pulled(&ours, "unreachable"), 0);
    ours.until("it is dialed anew", |ours| pulled(ours, "unreachable") > 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_to_whoever_comes() {
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, OFTEN);
    let holder = ca.issue(VANTAGE);
    let client = listening.connect(&holder).await;
    let before = shown(&listening, &holder).await;
    let ok = || listening.metrics.certificates.ok.with_label_values(&["control"]).get();
    let expiry = || listening.metrics.certificates.expiry.with_label_values(&["control"]).get();

    // Of somebody else, and then without its key: the last good one is still shown.
    let (certificate, key, _) = ca.certify("gslb://test/dns/dns2", Until::Year(2091));
    listening.holder.write("own.pem", &certificate);
    listening.holder.write("own.key", &key);
    listening.until("it is refused", |_| ok() == 0).await;
    assert_eq!(shown(&listening, &holder).await, before);
    let (certificate, key, _) = ca.certify("gslb://test/dns/dns1", Until::Year(2091));
    listening.holder.write("own.pem", &certificate);
    assert_eq!(shown(&listening, &holder).await, before);
    listening.holder.write("own.key", &key);
    listening.until("it is taken", |_| ok() == 1).await;
    assert_ne!(shown(&listening, &holder).await, before);
    let not_after = listening.holder.credentials().not_after();
    listening.until("it is told", |_| expiry() == not_after).await;
    is_served(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_until_when_a_probe_may_come() {
    let ca = Ca::new("ca");
    let listening = Listening::start(&ca, OFTEN);
    let holder = ca.issue_until(VANTAGE, Until::Year(2050));
    let client = listening.connect(&holder).await;
    let told = |listening: &Listening| {
        let text = listening.metrics.text();
        let begins = "gslb_dns_control_probe_certificate_expiry_timestamp_seconds{";
        text.lines().filter(|line| line.starts_with(begins)).map(str::to_owned).collect::<Vec<_>>()
    };
    let expected = format!("{{vantage=\"ams\"}} {}", holder.credentials().not_after());
    listening
        .until("it is told", |all| matches!(&told(all)[..], [one] if one.ends_with(&expected)))
        .await;
    drop(client);
    listening.until("it is told no more", |all| told(all).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_stops_ends_what_is_open() {
    let ca = Ca::new("ca");
    let mut listening = Listening::start(&ca, Limits::OURS);
    let client = listening.connect(&ca.issue(VANTAGE)).await;
    assert_eq!(client.ask("POST /v1/report", Report::new(1, 1).octets()).await.status, 200);
    listening.stop();
    client.ended().await;
    (&mut listening.serving).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_certificate_is_renewed_while_we_serve() {
    const US: &str = "gslb://test/dns/dns1";
    let ca = Ca::new("ca");
    // Its life is nearly over.
    let holder = ca.issue_until(US, Until::Soon(3600));
    let old = holder.credentials().not_after();
    let limits = Limits { renew: Duration::from_millis(20), ..OFTEN };
    let (told, _heard) = tokio::sync::mpsc::channel(1);
    let listening = Listening::start_as(holder, limits, told);
    let waits = |listening: &Listening| listening.metrics.control.renewals_waiting.get();
    let visitor = ca.issue("gslb://test/ca/pki");
    let client = listening.connect(&visitor).await;
    let fetch = async || client.ask("GET /v1/renewals", "").await.json()["waiting"].clone();
    listening.until("it was asked", |all| waits(all) == 1).await;
    let waiting = fetch().await;
    assert_eq!(waiting[0]["principal"], US);
    let asked = Asked::read(waiting[0]["request"].to_string().as_bytes()).unwrap();
    let (pem, _) = ca.sign(US, Until::Year(2090), &asked.key);
    let saying = json!({ "principal": US, "certificate": pem }).to_string();
    assert_eq!(client.ask("POST /v1/renewals", saying).await.status, 204);

    let expiry = listening.metrics.certificates.expiry.with_label_values(&["control"]);
    listening.until("the next certificate is read", |_| expiry.get() > old).await;
    let shown = shown(&listening, &visitor).await;
    let now_shown = Validity::of(&shown).unwrap().not_after;
    assert_eq!(now_shown, listening.holder.credentials().not_after());
    assert!(now_shown > old);
    // Who was connected still is, and nothing more is asked.
    assert_eq!(fetch().await, json!([]));
    assert_eq!(waits(&listening), 0);
}
