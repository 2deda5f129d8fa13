//! Stores that are reached by TLS: read where the authority that signed for them is trusted, and refused
//! in one line where it is not. What Redis, HTTP and PostgreSQL trust is what this machine trusts, and
//! `SSL_CERT_FILE` says what that is.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(dead_code, reason = "other tests read other stores")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// An authority, what it signed, and its certificate in a file.
struct Trust {
    tls: e2e::Tls,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Trust {
    fn new() -> Self {
        let (tls, folder) = (e2e::Tls::new(), tempfile::tempdir().unwrap());
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, &tls.authority).unwrap();
        Self { tls, file, _folder: folder }
    }
}

/// Exit code and all that is printed, where this machine trusts the authorities of a file.
fn judged(mapping: &str, store: &str, trusted: &Path) -> (i32, String) {
    let (history, mapping) = (support::file(support::HISTORY), support::file(mapping));
    let mut command = Command::new(env!("CARGO_BIN_EXE_verifier"));
    command.args(["check", "--settle", "0.3", "--store", store, "--history"]).arg(history.path());
    command.arg("--mapping").arg(mapping.path());
    command.env("SSL_CERT_FILE", trusted).env_remove("SSL_CERT_DIR");
    let output = command.output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let text: Vec<String> = text.lines().map(words).collect();
    (output.status.code().unwrap(), text.join("\n"))
}

/// It is read; and where the authority is another one, or the certificate is for another name, it is not.
fn reads_only_whom_it_trusts(mapping: &str, store: &str, trust: &Trust) {
    let (code, text) = judged(mapping, store, &trust.file);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("rows in the store 3 "), "{text}");
    let by_name = store.replace("127.0.0.1", "localhost");
    for (store, trusted) in [(store, &Trust::new().file), (&by_name, &trust.file)] {
        let (code, text) = judged(mapping, store, trusted);
        assert_eq!((code, text.lines().count()), (2, 1), "{text}");
        assert!(text.contains("certificate"), "{text}");
    }
}

#[test]
fn a_redis_is_reached_by_tls_and_has_to_be_who_it_says() {
    let trust = Trust::new();
    let redis = e2e::Redis::start_with_tls(&trust.tls);
    for (user, code) in [("u1", "가나1"), ("u4", "다라2"), ("u2", "사아3")] {
        redis.cli(&["HSET", "coupons:7", user, code]);
    }
    let mapping = "read:\n  - { is: ledger, redis: 'coupons:{campaign}', field: '{user}', value: '{code}' }\n";
    reads_only_whom_it_trusts(mapping, &redis.tls_url(), &trust);
}

#[test]
fn a_postgres_is_reached_by_tls_and_has_to_be_who_it_says() {
    let trust = Trust::new();
    let server = e2e::Postgres::start_with_tls(&trust.tls);
    server.sql(
        "CREATE TABLE coupon (campaign bigint, owner text, code text);
         INSERT INTO coupon VALUES (7, 'u1', '가나1'), (7, 'u4', '다라2'), (7, 'u2', '사아3');",
    );
    let query = |more: &str| {
        format!(
            "read:\n  - {{ is: ledger, sql: \"SELECT owner AS user, code FROM coupon \
             WHERE campaign = {{campaign}}{more}\" }}\n"
        )
    };
    let url = |mode: &str| format!("{}?sslmode={mode}", server.url());
    reads_only_whom_it_trusts(&query(""), &url("verify-full"), &trust);
    // Rows that only a connection with TLS sees.
    let seen = " AND (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid())";
    let stranger = Trust::new();
    let (code, text) = judged(&query(seen), &url("require"), &stranger.file);
    assert_eq!(code, 0, "whoever it is: nobody listens in, and that is all\n{text}");
    let (code, text) = judged(&query(seen), &url("disable"), &stranger.file);
    assert_eq!(code, 3, "in the clear there are no rows\n{text}");
    let root = format!("{}&sslrootcert={}", url("verify-full"), trust.file.display());
    let (code, text) = judged(&query(seen), &root, &stranger.file);
    assert_eq!(code, 0, "the URL's own authority\n{text}");
    let without = e2e::Postgres::start();
    let (code, text) =
        judged(&query(""), &format!("{}?sslmode=require", without.url()), &trust.file);
    assert_eq!((code, text.lines().count()), (2, 1), "{text}");
    assert!(text.contains("TLS"), "{text}");
}

#[test]
fn a_mysql_is_reached_by_tls_and_has_to_be_who_it_says() {
    let trust = Trust::new();
    let server = e2e::MariaDb::start_with_tls(&trust.tls);
    server.sql(
        "CREATE TABLE coupon (campaign bigint, owner text, code text) CHARSET utf8mb4;
         INSERT INTO coupon VALUES (7, 'u1', '가나1'), (7, 'u4', '다라2'), (7, 'u2', '사아3');",
    );
    let query = "read:\n  - { is: ledger, sql: \"SELECT owner AS user, code FROM coupon \
                 WHERE campaign = {campaign}\" }\n";
    let url = |mode: &str| format!("{}?ssl-mode={mode}", server.url());
    reads_only_whom_it_trusts(query, &url("VERIFY_IDENTITY"), &trust);
    let stranger = Trust::new();
    let (code, text) = judged(query, &url("REQUIRED"), &stranger.file);
    assert_eq!(code, 0, "whoever it is: nobody listens in, and that is all\n{text}");
    let (code, text) = judged(query, &server.url(), &stranger.file);
    assert_eq!(code, 0, "TLS where there is some, without a word\n{text}");
    // An authority of the URL's own, and whether the name counts.
    let own = |mode: &str, trust: &Trust| format!("{}&ssl-ca={}", url(mode), trust.file.display());
    let by_name = |url: String| url.replace("127.0.0.1", "localhost");
    for (store, trusted) in [
        (own("VERIFY_IDENTITY", &trust), true),
        (own("VERIFY_IDENTITY", &stranger), false),
        (by_name(own("VERIFY_IDENTITY", &trust)), false),
        (by_name(own("VERIFY_CA", &trust)), true),
        (by_name(own("VERIFY_CA", &stranger)), false),
    ] {
        let (code, text) = judged(query, &store, &stranger.file);
        assert_eq!(code, if trusted { 0 } else { 2 }, "{store}\n{text}");
        assert!(trusted || (text.lines().count() == 1 && text.contains("certificate")), "{text}");
    }
}

#[test]
fn a_mysql_that_takes_tls_only_or_has_none_says_so_in_one_line() {
    let trust = Trust::new();
    let query = "read:\n  - { is: issued, sql: SELECT 3 }\n";
    let strict = e2e::MariaDb::start_with_tls(&trust.tls);
    let plain = e2e::MariaDb::start();
    for (url, mode, want) in [
        (strict.url(), "ssl-mode=DISABLED", "(without TLS: its URL says ssl-mode=DISABLED)"),
        (plain.url(), "ssl-mode=REQUIRED", "TLS"),
        (plain.url(), "ssl-mode=VERIFY_IDENTITY", "TLS"),
        (
            strict.url(),
            "ssl-mode=VERIFY_CA&ssl-ca=/nowhere/ca.pem",
            "a file that its URL names cannot be read",
        ),
    ] {
        let (code, text) = judged(query, &format!("{url}?{mode}"), &trust.file);
        assert_eq!((code, text.lines().count()), (2, 1), "{mode}\n{text}");
        assert!(text.contains(want), "{mode}\n{text}");
    }
}

/// A system that lists its coupons over HTTPS. It ends with the test.
fn https(tls: &e2e::Tls) -> String {
    let certificate = CertificateDer::from_pem_slice(tls.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(tls.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key);
    let config = Arc::new(config.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            std::thread::spawn(move || answer_all(StreamOwned::new(connection, stream)));
        }
    });
    format!("https://127.0.0.1:{port}")
}

const LISTED: &str =
    r#"[{"user":"u1","code":"가나1"},{"user":"u4","code":"다라2"},{"user":"u2","code":"사아3"}]"#;

/// Answers every request with the list. Whoever does not trust the certificate hangs up.
fn answer_all(stream: StreamOwned<ServerConnection, std::net::TcpStream>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).is_ok_and(|read| read > 0) {
        let ends = line == "\r\n";
        line.clear();
        if ends {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", LISTED.len());
            if stream.get_mut().write_all((head + LISTED).as_bytes()).is_err() {
                return;
            }
        }
    }
}

#[test]
fn a_system_is_asked_over_https_and_has_to_be_who_it_says() {
    let trust = Trust::new();
    let url = https(&trust.tls);
    let mapping = "read:\n  - { is: ledger, http: /list, rows: '$[*]', columns: { user: $.user, code: $.code } }\n";
    reads_only_whom_it_trusts(mapping, &url, &trust);
}
