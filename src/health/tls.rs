//! Whose certificates probes accept.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
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
