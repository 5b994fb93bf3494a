//! Whether the other end is the cluster's coordinator. Its address says nothing about that: its certificate does.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

use crate::certificate::{cluster_of, fingerprint, read};
use crate::member::Role;

/// Whom to trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// This authority.
    Certificate(CertificateDer<'static>),
    /// The authority with this fingerprint, whose certificate the coordinator shows.
    Fingerprint([u8; 32]),
}

/// The coordinator's authority is another than the one that is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Distrust {
    #[error("the coordinator belongs to another authority than the one in the token")]
    OtherAuthority,
    #[error("the other end is no coordinator of this cluster")]
    NoCoordinator,
}

impl From<Distrust> for Error {
    fn from(distrust: Distrust) -> Self {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(distrust))))
    }
}

/// Trusts coordinators of one cluster.
#[derive(Debug)]
pub(crate) struct CoordinatorVerifier {
    pub(crate) anchor: Anchor,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for CoordinatorVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = match &self.anchor {
            Anchor::Certificate(authority) => authority.clone(),
            Anchor::Fingerprint(expected) => {
                let shown = intermediates.iter().find(|shown| fingerprint(shown) == *expected);
                shown.ok_or(Distrust::OtherAuthority)?.clone().into_owned()
            }
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone())?;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, intermediates, now, algorithms)?;
        let member = read(end_entity).map_err(|_| Distrust::NoCoordinator)?.member;
        let cluster = cluster_of(&authority).map_err(|_| Distrust::NoCoordinator)?;
        if member.role != Role::Coordinator || member.cluster != cluster {
            return Err(Distrust::NoCoordinator.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
