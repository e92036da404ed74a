//! A certificate and its key, in two files that somebody else renews.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use x509_parser::parse_x509_certificate;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("tls_certificate and tls_key belong together: one of them is missing")]
    Half,
    #[error("cannot read {path}")]
    File { path: PathBuf, source: io::Error },
    #[error("the certificate's file is no PEM")]
    Certificate(#[source] pem::Error),
    #[error("there is no certificate in the file")]
    NoCertificate,
    #[error("the certificate cannot be understood: {0}")]
    Form(String),
    #[error("the key's file is no PEM with a private key")]
    Key(#[source] pem::Error),
    #[error("certificate and key cannot be used")]
    Unusable(#[source] rustls::Error),
}

#[derive(Debug)]
pub(super) struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What is in the files.
#[derive(PartialEq, Eq)]
pub(super) struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pem")
    }
}

impl Files {
    pub(super) fn of(certificate: PathBuf, key: PathBuf) -> Result<Option<Self>, TlsError> {
        match (certificate.as_os_str().is_empty(), key.as_os_str().is_empty()) {
            (true, true) => Ok(None),
            (false, false) => Ok(Some(Self { certificate, key })),
            _ => Err(TlsError::Half),
        }
    }

    pub(super) fn read(&self) -> Result<Pem, TlsError> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|source| TlsError::File { path: path.clone(), source })
        };
        Ok(Pem { certificate: read(&self.certificate)?, key: read(&self.key)? })
    }
}

/// What connections are accepted with.
pub(super) struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    /// When the first certificate of the chain that is not good any more ends, in seconds since 1970.
    pub(super) expires_s: i64,
}

impl Loaded {
    pub(super) fn from(pem: &Pem) -> Result<Self, TlsError> {
        let chain = CertificateDer::pem_slice_iter(&pem.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(TlsError::Certificate)?;
        let ends = chain.iter().map(|certificate| match parse_x509_certificate(certificate) {
            Ok((_, certificate)) => Ok(certificate.validity().not_after.timestamp()),
            Err(error) => Err(TlsError::Form(error.to_string())),
        });
        let ends = ends.collect::<Result<Vec<_>, _>>()?;
        let expires_s = ends.into_iter().min().ok_or(TlsError::NoCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(TlsError::Key)?;
        // TLS 1.2 and 1.3, and no renegotiation: the library has none.
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(TlsError::Unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), expires_s })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn made(until: i32) -> Pem {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = params.self_signed(&key).unwrap().pem().into_bytes();
        Pem { certificate, key: key.serialize_pem().into_bytes() }
    }

    #[test]
    fn a_certificate_says_until_when_it_is_good() {
        let loaded = Loaded::from(&made(2030)).unwrap();
        assert_eq!(loaded.expires_s, 1_893_456_000);
        assert_eq!(loaded.config.alpn_protocols, [b"http/1.1"]);
    }

    #[test]
    fn of_a_chain_the_first_end_counts() {
        let (leaf, other) = (made(2031), made(2029));
        let certificate = [leaf.certificate, other.certificate].concat();
        assert_eq!(Loaded::from(&Pem { certificate, key: leaf.key }).unwrap().expires_s, 1_861_920_000);
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let (one, other) = (made(2030), made(2030));
        let refused = |certificate: &[u8], key: &[u8]| {
            Loaded::from(&Pem { certificate: certificate.to_vec(), key: key.to_vec() }).err().unwrap()
        };
        assert!(matches!(refused(&one.certificate, &other.key), TlsError::Unusable(_)));
        assert!(matches!(refused(b"", &one.key), TlsError::NoCertificate));
        assert!(matches!(refused(&one.key, &one.key), TlsError::NoCertificate));
        assert!(matches!(refused(&one.certificate, b"nonsense"), TlsError::Key(_)));
        assert!(matches!(Files::of("a".into(), PathBuf::new()), Err(TlsError::Half)));
        assert!(matches!(Files::of(PathBuf::new(), PathBuf::new()), Ok(None)));
    }
}
