//! An authority that nobody knows, and what it signed for 127.0.0.1.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// Certificates and a key, in PEM.
#[derive(Debug)]
pub struct Tls {
    /// The authority's certificate.
    pub authority: String,
    /// The server's certificate, for the address 127.0.0.1 and no name.
    pub certificate: String,
    /// The server's key.
    pub key: String,
}

impl Tls {
    /// Others each time.
    ///
    /// # Panics
    /// When the system has no randomness.
    pub fn new() -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // A certificate that is named like its issuer counts as its own one with OpenSSL.
        authority.distinguished_name.push(DnType::CommonName, "an authority that nobody knows");
        let own = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(authority, own).expect("a certificate");
        let key = KeyPair::generate().expect("a key");
        let server = CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address");
        let server = server.signed_by(&key, &authority).expect("a certificate");
        Self { authority: authority.pem(), certificate: server.pem(), key: key.serialize_pem() }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self::new()
    }
}
