//! TLS: a handshake, for all kinds, and what is asked of the certificate.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CertificateError};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::parse_x509_certificate;

use super::connect::Terms;
use super::{Prober, in_words};
use crate::health::Reason;
use crate::health::check::{Endpoint, Handshake};

const SECS_PER_DAY: u64 = 86_400;

impl Prober {
    /// Makes a TLS connection and closes it.
    pub(super) async fn tls(
        &self,
        target: &Endpoint,
        handshake: &Handshake,
        terms: &Terms<'_>,
    ) -> Result<Option<u32>, Reason> {
        let stream = self.connect(target, terms).await?;
        let mut stream = self.handshake(stream, handshake, &target.host.to_string(), &[]).await?;
        // So that the server has no error to log.
        let _ = stream.shutdown().await;
        Ok(None)
    }

    /// Speaks TLS on a connection to `host`, a name or an address, and offers the protocols of `alpn`.
    ///
    /// `handshake` says by which name instead, if it does, and what is asked of the certificate.
    pub(super) async fn handshake(
        &self,
        stream: TcpStream,
        handshake: &Handshake,
        host: &str,
        alpn: &[&str],
    ) -> Result<TlsStream<TcpStream>, Reason> {
        let name = handshake.server_name.as_deref().unwrap_or(host);
        let server_name = ServerName::try_from(name.to_owned())
            .map_err(|_| Reason::Unusable(format!("`{name}` is no name that TLS can carry")))?;
        let config = self.trust.client_config(handshake.tls).map_err(|error| tls(&error))?;
        let alpn = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let connector = TlsConnector::from(config);
        let stream =
            connector.with_alpn(alpn).connect(server_name, stream).await.map_err(|error| not_shaken(&error))?;
        if let Some(floor) = handshake.expiry_min {
            let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let certificate = certificates.first().ok_or_else(|| Reason::Tls("there is no certificate".to_owned()))?;
            is_valid_for(certificate, floor)?;
        }
        Ok(stream)
    }
}

/// Holds how long a certificate is still valid against what a check wants.
///
/// The server's own alone: of what else it shows, a part may be expired and not be needed by anybody.
fn is_valid_for(certificate: &CertificateDer<'_>, floor: Duration) -> Result<(), Reason> {
    let (_, certificate) = parse_x509_certificate(certificate)
        .map_err(|_| Reason::Tls("it cannot be read when the certificate expires".to_owned()))?;
    let not_after = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    match Duration::from_secs(not_after).checked_sub(now) {
        None => Err(Reason::Tls(expired(now.as_secs(), not_after))),
        Some(left) if left < floor => Err(Reason::Expires(left)),
        Some(_) => Ok(()),
    }
}

/// Says why a handshake failed.
fn not_shaken(error: &io::Error) -> Reason {
    let inner = error.get_ref().map(|inner| inner as &(dyn Error + 'static));
    if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls(error);
    }
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Reason::Reset,
        io::ErrorKind::UnexpectedEof => Reason::Tls("closed during the handshake".to_owned()),
        _ => Reason::Tls(in_words(error)),
    }
}

/// Says what TLS finds wrong in words of an operator's, where it happens to servers that are set up wrong.
pub(super) fn tls(error: &rustls::Error) -> Reason {
    Reason::Tls(match error {
        rustls::Error::InvalidCertificate(error) => certificate(error),
        rustls::Error::InvalidMessage(_) => "what came back is not TLS".to_owned(),
        rustls::Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "the server does not know the name it was asked for".to_owned()
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server wants a certificate of its clients".to_owned()
        }
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "the server speaks no version from TLS 1.2 on".to_owned()
        }
        other => other.to_string(),
    })
}

/// Says what is wrong with a certificate.
fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired => "certificate expired".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => expired(time.as_secs(), not_after.as_secs()),
        CertificateError::NotValidYet => "certificate not valid yet".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => {
            let days = not_before.as_secs().saturating_sub(time.as_secs()) / SECS_PER_DAY;
            format!("certificate not valid yet, for another {days} days")
        }
        CertificateError::NotValidForName => "certificate not valid for the name".to_owned(),
        CertificateError::NotValidForNameContext { expected, .. } => {
            format!("certificate not valid for name `{}`", expected.to_str())
        }
        CertificateError::UnknownIssuer => "certificate of an unknown issuer".to_owned(),
        CertificateError::BadSignature => "certificate with a bad signature".to_owned(),
        CertificateError::Revoked => "certificate revoked".to_owned(),
        other => format!("certificate: {other}"),
    }
}

fn expired(now: u64, not_after: u64) -> String {
    format!("certificate expired {} days ago", now.saturating_sub(not_after) / SECS_PER_DAY)
}
