//! A certification authority of the tests' own, which issues whatever it is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// An authority whose root nobody knows who was not given it.
pub(crate) struct Authority {
    /// Its root.
    pub(crate) root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a key and a root for it.
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Each has a name of its own, or else it would seem to be another whose signatures are bad.
        params.distinguished_name.push(DnType::CommonName, NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap().der().clone();
        Self { root, issuer: Issuer::new(params, key) }
    }

    /// Issues a certificate for `name`, valid from the begin of one day to that of another, counted from
    /// today; returns who shows it.
    pub(crate) fn issue(&self, name: &str, from: i32, to: i32) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        let date = |ahead: i32| {
            let day = Timestamp::now().to_zoned(TimeZone::UTC).date().checked_add(ahead.days()).unwrap();
            rcgen::date_time_ymd(day.year().into(), day.month() as u8, day.day() as u8)
        };
        (params.not_before, params.not_after) = (date(from), date(to));
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        server_config(certificate, &key)
    }

    /// The root as a file of roots has it.
    pub(crate) fn pem(&self) -> String {
        let text = data_encoding::BASE64.encode(&self.root);
        let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }
}

/// Makes a certificate for `name` that is signed with its own key; returns it and who shows it.
pub(crate) fn self_signed(name: &str) -> (CertificateDer<'static>, Arc<ServerConfig>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.self_signed(&key).unwrap().der().clone();
    (certificate.clone(), server_config(certificate, &key))
}

fn server_config(certificate: CertificateDer<'static>, key: &KeyPair) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    Arc::new(config)
}
