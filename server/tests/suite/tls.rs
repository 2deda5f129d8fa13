//! TLS on the listener, with a certificate that only who has its file trusts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use contract::wire::{self, Campaign, Issued, Problem, ProblemCode};
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode, Version};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::instance::{Instance, PATIENCE, Store, command, refused};

/// A server's certificate and key, in files.
struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    _folder: tempfile::TempDir,
}

impl Identity {
    fn new() -> Self {
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("server.pem"), folder.path().join("key.pem"));
        std::fs::write(&certificate, own.cert.pem()).unwrap();
        std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
        Self { certificate, key, _folder: folder }
    }

    fn flags(&self) -> [&str; 4] {
        let (certificate, key) = (self.certificate.to_str(), self.key.to_str());
        ["--tls-cert", certificate.unwrap(), "--tls-key", key.unwrap()]
    }

    /// For a client that trusts nobody else.
    fn trust(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.certificate).unwrap()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    async fn connect(&self, instance: &Instance) -> tokio_rustls::client::TlsStream<TcpStream> {
        let stream = TcpStream::connect(instance.address()).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        TlsConnector::from(Arc::new(self.trust())).connect(name, stream).await.unwrap()
    }
}

type Https = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// What a client offers by ALPN.
#[derive(Clone, Copy)]
enum Offers {
    Http1,
    Both,
}

fn client(trust: ClientConfig, offers: Offers) -> Https {
    let connector = HttpsConnectorBuilder::new().with_tls_config(trust).https_only();
    let connector = match offers {
        Offers::Http1 => connector.enable_http1().build(),
        Offers::Both => connector.enable_all_versions().build(),
    };
    Client::builder(TokioExecutor::new()).build(connector)
}

async fn post(
    client: &Https,
    url: String,
    body: serde_json::Value,
) -> (Version, StatusCode, Bytes) {
    let request = Request::post(url).header("content-type", "application/json");
    let request = request.body(Full::from(body.to_string())).unwrap();
    let answer = client.request(request).await.unwrap();
    let (version, status) = (answer.version(), answer.status());
    (version, status, answer.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_over_tls() {
    let identity = Identity::new();
    let instance = Instance::alone(&identity.flags());
    assert!(instance.url.starts_with("https://"), "{}", instance.url);
    for (offers, version) in [(Offers::Http1, Version::HTTP_11), (Offers::Both, Version::HTTP_2)] {
        let client = client(identity.trust(), offers);
        let wanted = json!({ "name": "launch", "coupons": 1, "starts_at": "2026-01-01T00:00:00Z" });
        let url = format!("{}{}", instance.url, wire::CAMPAIGNS);
        let (spoken, status, body) = post(&client, url, wanted).await;
        assert_eq!((spoken, status), (version, StatusCode::CREATED));
        let id = serde_json::from_slice::<Campaign>(&body).unwrap().id;

        let url = || format!("{}{}", instance.url, wire::coupons_path(&id));
        let (spoken, status, body) = post(&client, url(), json!({ "user": "u" })).await;
        assert_eq!((spoken, status), (version, StatusCode::CREATED));
        assert_eq!(serde_json::from_slice::<Issued>(&body).unwrap().seq, 1);
        let (.., body) = post(&client, url(), json!({ "user": "v" })).await;
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem.code, ProblemCode::SoldOut);

        let url = format!("{}/coupon.v1.CouponService/GetCampaign", instance.url);
        let (spoken, status, body) = post(&client, url, json!({ "id": id })).await;
        assert_eq!((spoken, status), (version, StatusCode::OK));
        let got: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(got["coupons"][0]["user"], "u");
    }
}

#[tokio::test]
async fn nothing_is_said_in_the_clear() {
    let identity = Identity::new();
    let instance = Instance::alone(&identity.flags());
    let mut stream = TcpStream::connect(instance.address()).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // Closed or reset.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP/"), "{}", answer.escape_ascii());
}

#[tokio::test]
async fn a_client_without_alpn_and_one_that_speaks_in_pieces_are_heard() {
    let identity = Identity::new();
    let instance = Instance::alone(&identity.flags());
    let mut stream = identity.connect(&instance).await;
    // The first ones could be those of HTTP/2.
    for piece in ["P", "OST /healthz HTTP/1.1\r\n", "host: x\r\nconnection: close\r\n\r\n"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    // With TLS's own end, so that nobody can have cut it.
    tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}

#[tokio::test]
async fn a_peer_that_says_too_little_over_tls_is_cut() {
    let identity = Identity::new();
    let instance = Instance::alone(&identity.flags());
    let mut shy = TcpStream::connect(instance.address()).await.unwrap();
    let mut streams = [identity.connect(&instance).await, identity.connect(&instance).await];
    streams[1].write_all(b"P").await.unwrap();
    for stream in &mut streams {
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        assert_eq!(answer, b"");
    }
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, shy.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, b"");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_who_says_nothing_over_tls() {
    let identity = Identity::new();
    let store = Store::sqlite();
    let mut server = command(&store.flag());
    server.args(identity.flags()).env("RUST_LOG", "coupon_server=debug");
    let mut instance = Instance::start(&mut server);
    let _silent = identity.connect(&instance).await;
    let _shy = TcpStream::connect(instance.address()).await.unwrap();
    for line in instance.stop() {
        assert!(!line.contains("connection ended"), "one was waited for: {line}");
    }
}

#[test]
fn files_that_are_none_are_refused_in_one_line() {
    let (identity, other) = (Identity::new(), Identity::new());
    let folder = other.certificate.parent().unwrap();
    let (nowhere, empty) = (folder.join("nowhere.pem"), folder.join("empty.pem"));
    std::fs::write(&empty, "").unwrap();
    let torn = folder.join("torn.pem");
    std::fs::write(&torn, "-----BEGIN CERTIFICATE-----\nAAAA").unwrap();
    let (certificate, key) = (&identity.certificate, &identity.key);
    for (certificate, key, at_fault, said) in [
        (&nowhere, key, &nowhere, "No such file"),
        (certificate, &nowhere, &nowhere, "No such file"),
        (&empty, key, &empty, "no certificate in PEM"),
        (&torn, key, &torn, "no certificate in PEM"),
        (key, key, key, "no certificate in PEM"),
        (certificate, certificate, certificate, "no private key in PEM"),
        (certificate, &other.key, &other.key, "cannot be used with"),
    ] {
        let line = refused(&mut with_tls(certificate, key));
        assert!(line.contains(at_fault.to_str().unwrap()) && line.contains(said), "{line}");
    }
    let store = Store::sqlite();
    let line = refused(command(&store.flag()).arg("--tls-cert").arg(certificate));
    assert!(line.contains("--tls-key"), "{line}");
    let line = refused(command(&store.flag()).arg("--tls-key").arg(key));
    assert!(line.contains("--tls-cert"), "{line}");
}

fn with_tls(certificate: &Path, key: &Path) -> Command {
    let mut command = command("sqlite:never-opened.db");
    command.arg("--tls-cert").arg(certificate).arg("--tls-key").arg(key);
    command
}
