//! Whose certificates probes accept.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;

use super::Tls;

/// The two ways to meet a server's certificate, made once and shared by all probes.
pub(super) struct Trust {
    accept_any: Arc<ClientConfig>,
    /// Or why no certificate can be verified here.
    verify: Result<Arc<ClientConfig>, Error>,
}

impl Trust {
    /// Reads the system's root certificates and adds `extra_roots`.
    ///
    /// A system without any still probes: only checks that verify fail.
    pub(super) fn new(extra_roots: Vec<CertificateDer<'static>>) -> Self {
        let provider = Arc::new(ring::default_provider());
        let verify = Verifier::new_with_extra_roots(extra_roots, Arc::clone(&provider))
            .map(|verifier| client_config(&provider, Arc::new(verifier)));
        let any = AcceptAny(Arc::clone(&provider));
        Self { accept_any: client_config(&provider, Arc::new(any)), verify }
    }

    /// The configuration of a connection.
    pub(super) fn client_config(&self, tls: Tls) -> Result<Arc<ClientConfig>, Error> {
        match tls {
            Tls::AcceptAny => Ok(Arc::clone(&self.accept_any)),
            Tls::Verify => self.verify.clone(),
        }
    }
}

/// Certificates by which others are verified.
pub type Roots = Vec<CertificateDer<'static>>;

/// What is wrong with a file of roots, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The line at which the certificate begins, from 1.
    pub line: u32,
    /// What is wrong.
    pub what: String,
}

/// Reads root certificates in PEM form; there must be one at least.
///
/// What else stands in the text, other objects and remarks between them, is passed over.
pub fn roots(pem: &[u8]) -> Result<Roots, Unreadable> {
    let (mut roots, mut store) = (Roots::new(), RootCertStore::empty());
    for root in CertificateDer::pem_slice_iter(pem) {
        let line = line_of_certificate(pem, roots.len());
        let unreadable = |what: String| Unreadable { line, what };
        let root = root.map_err(|error| unreadable(format!("cannot read a certificate: {error}")))?;
        store.add(root.clone()).map_err(|_| unreadable("what stands here is no certificate".to_owned()))?;
        roots.push(root);
    }
    if roots.is_empty() {
        return Err(Unreadable { line: 1, what: "there is no certificate in it".to_owned() });
    }
    Ok(roots)
}

/// The line at which a certificate begins that so many come before; the first line if there is none such.
fn line_of_certificate(pem: &[u8], before: usize) -> u32 {
    let begins = |line: &[u8]| line.starts_with(b"-----BEGIN CERTIFICATE");
    let mut lines = (1..).zip(pem.split(|octet| *octet == b'\n'));
    lines.by_ref().filter(|(_, line)| begins(line)).nth(before).map_or(1, |(number, _)| number)
}

/// Builds a configuration around `verifier`.
fn client_config(provider: &Arc<CryptoProvider>, verifier: Arc<dyn ServerCertVerifier>) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    // A resumed session skips the certificate, so one that has expired since would go unseen.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Accepts every certificate, as PowerDNS does: a check asks whether a service answers, not who it is.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    // Signatures go unchecked as well: to check one, the certificate would have to be one that webpki can read.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_roots_is_told_with_its_line() {
        let key = rcgen::generate_simple_self_signed(["example.com".to_owned()]).unwrap();
        let body = data_encoding::BASE64.encode(key.cert.der());
        let good = format!("# remark\n-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        let rows = [
            (String::new(), (1, "there is no certificate in it")),
            ("text\n".to_owned(), (1, "there is no certificate in it")),
            (
                format!("{good}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
                (5, "what stands here is no certificate"),
            ),
            (
                format!("{good}-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"),
                (5, "cannot read a certificate: base64 decode error: InvalidCharacter(33)"),
            ),
        ];
        assert_eq!(roots(good.as_bytes()), Ok(vec![key.cert.der().clone()]));
        for (text, (line, what)) in rows {
            assert_eq!(roots(text.as_bytes()), Err(Unreadable { line, what: what.to_owned() }), "{text}");
        }
    }
}
