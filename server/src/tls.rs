//! TLS on the listener, by rustls with ring.
//!
//! The trick: HTTP/2 and HTTP/1.1 are offered by ALPN, and told apart by the first bytes all the same,
//! as without TLS. So a client that leaves ALPN out is served too.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// What is offered, the better one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why there can be no TLS. Never says what a key's file holds.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// A file is of something else.
    #[error("{} has no certificate in PEM: it takes the server's own, and then those that lead to its root", .0.display())]
    NoCertificate(PathBuf),
    /// A file is of something else, or takes a password.
    #[error("{} has no private key in PEM: it takes PKCS#8, PKCS#1 or SEC1, without a password", .0.display())]
    NoKey(PathBuf),
    /// Each is one, but not of the other.
    #[error("the key in {} cannot be used with the first certificate in {}", .key.display(), .certificate.display())]
    NotAPair {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What is wrong with them.
        #[source]
        cause: rustls::Error,
    },
}

/// What makes TLS 1.2 or 1.3 of a connection, with the certificates and the key of these PEM files.
///
/// # Errors
/// When a file is missing or has something else, or the two do not belong together.
pub fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let chain = chain(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|e| unfit(e, key, TlsError::NoKey(key.to_owned())))?;
    let not_a_pair = |cause| {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        TlsError::NotAPair { certificate, key, cause }
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(not_a_pair)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(not_a_pair)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config).into())
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let none = || TlsError::NoCertificate(file.to_owned());
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let chain: Vec<_> = read.map_err(|e| unfit(e, file, none()))?;
    if chain.is_empty() { Err(none()) } else { Ok(chain) }
}

fn unfit(error: pem::Error, file: &Path, otherwise: TlsError) -> TlsError {
    if let pem::Error::Io(error) = error {
        TlsError::Unreadable(file.to_owned(), error)
    } else {
        otherwise
    }
}
