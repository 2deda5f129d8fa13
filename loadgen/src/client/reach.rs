//! How targets are reached: which HTTP, and whose certificates are accepted. The same for the load
//! and for what is not measured.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::stream::Stream;
use crate::scenario::{Origin, Protocol, Scheme, System, Target, Trust};

/// How long a target may take to agree on TLS.
const PATIENCE: Duration = Duration::from_secs(10);

/// How targets are reached.
#[derive(Clone, Debug)]
pub struct Reach {
    protocol: Protocol,
    tls: Arc<ClientConfig>,
}

/// Why targets cannot be reached as the scenario says.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// The file with authorities is of no use.
    #[error("system.tls.ca: {file}: {reason}; expected a file with certificates in PEM")]
    Ca {
        /// Which file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// Nobody's certificate could be verified.
    #[error(
        "this machine has no list of certificate authorities: install ca-certificates, or name a \
         file with system.tls.ca"
    )]
    NoRoots,
    /// A target does not agree on TLS.
    #[error("{url}: {reason}")]
    NoTls {
        /// Which target.
        url: String,
        /// Why.
        reason: String,
    },
    /// The TLS library takes no such settings.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl Reach {
    /// As a scenario says. The machine's authorities are only read where a target has TLS.
    ///
    /// # Errors
    /// When a certificate could not be verified, whatever it is.
    pub fn of(system: &System) -> Result<Self, ReachError> {
        let has_tls = match &system.origin {
            Origin::Targets(targets) => targets.iter().any(|t| t.scheme == Scheme::Https),
            Origin::Spawn(_) => false,
        };
        if !has_tls {
            return Self::new(system.protocol, RootCertStore::empty());
        }
        match &system.tls {
            Trust::Machine => Self::new(system.protocol, machine_roots(None)?),
            Trust::Also(file) => Self::new(system.protocol, machine_roots(Some(file))?),
            Trust::Anybody => {
                crate::note(
                    "WARNING: certificates are NOT verified (system.tls.insecure): whoever answers \
                     at a target's address is believed",
                );
                let mut reach = Self::new(system.protocol, RootCertStore::empty())?;
                let config = Arc::make_mut(&mut reach.tls);
                let known = provider().signature_verification_algorithms;
                config.dangerous().set_certificate_verifier(Arc::new(Anybody(known)));
                Ok(reach)
            }
        }
    }

    /// HTTP/1.1 without TLS.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn plain() -> Result<Self, ReachError> {
        Self::new(Protocol::Http1, RootCertStore::empty())
    }

    fn new(protocol: Protocol, roots: RootCertStore) -> Result<Self, ReachError> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = match protocol {
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![b"h2".to_vec()],
        };
        // Each connection stands for a buyer of its own, who was not here before.
        config.resumption = Resumption::disabled();
        Ok(Self { protocol, tls: Arc::new(config) })
    }

    /// Agrees with a target on TLS once, where it has TLS and takes connections at all: a load
    /// whose certificate nobody trusts would be none.
    ///
    /// # Errors
    /// When its certificate is not accepted, or TLS or the protocol is not agreed on.
    pub(crate) async fn check(&self, target: &Target) -> Result<(), ReachError> {
        if target.scheme == Scheme::Http {
            return Ok(());
        }
        let opened = tokio::time::timeout(PATIENCE, Stream::open(target, self)).await;
        // Whether it answers at all is said by the set-up, and counted by the load.
        let Ok(Err(error)) = opened else { return Ok(()) };
        let Some(cause) = error.get_ref() else { return Ok(()) };
        let reason = match cause.downcast_ref() {
            Some(rustls::Error::InvalidCertificate(why)) => format!(
                "its certificate is not accepted: {why}; expected one of an authority that this \
                 machine trusts, or system.tls.ca"
            ),
            Some(_) | None => format!("TLS: {cause}"),
        };
        Err(ReachError::NoTls { url: target.url(), reason })
    }

    /// Which HTTP is spoken.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The settings of TLS, ALPN among them.
    pub fn tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.tls)
    }
}

fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// The authorities of this machine, and those in a file.
fn machine_roots(file: Option<&Path>) -> Result<RootCertStore, ReachError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let Some(file) = file else {
        return if roots.is_empty() { Err(ReachError::NoRoots) } else { Ok(roots) };
    };
    let wrong = |reason: String| ReachError::Ca { file: file.to_owned(), reason };
    let pem = std::fs::read(file).map_err(|e| wrong(e.to_string()))?;
    let mut found = 0_u32;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| wrong(e.to_string()))?;
        roots.add(certificate).map_err(|e| wrong(e.to_string()))?;
        found += 1;
    }
    if found == 0 {
        return Err(wrong("no certificate is in it".into()));
    }
    Ok(roots)
}

/// Believes everybody. The signatures are checked still, so the other side has the key of the
/// certificate that it shows.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(target: &str, tls: Trust) -> Result<Reach, String> {
        let targets = vec![Target::try_from(target).unwrap()];
        let (origin, protocol) = (Origin::Targets(targets), Protocol::Http2);
        let system = System { origin, store: None, protocol, tls };
        Reach::of(&system).map_err(|e| e.to_string())
    }

    #[test]
    fn a_file_without_a_certificate_is_one_clear_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        let wrong = |want: &str| {
            let message = of("https://h", Trust::Also(file.clone())).unwrap_err();
            assert!(
                message.contains(want) && message.ends_with("certificates in PEM"),
                "{message}"
            );
            assert!(
                message.starts_with("system.tls.ca: /") && !message.contains('\n'),
                "{message}"
            );
        };
        wrong("No such file");
        std::fs::write(&file, "hello").unwrap();
        wrong("no certificate is in it");
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .unwrap();
        wrong("invalid peer certificate");
        // Without TLS nobody needs it.
        assert!(of("http://h", Trust::Also(file)).is_ok());
    }
}
