//! The coordinator's own certificate: made at each start, and again long before it ends.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use heddle_trust::limits::RENEW_SHARE;
use heddle_trust::{ALPN, Role, provider};
use rcgen::KeyPair;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use tokio::time::sleep;

use super::{Authority, AuthorityError, since_epoch};
use crate::limits::CERTIFICATE_LOOK;

/// What the coordinator shows to whoever connects.
#[derive(Debug)]
pub(crate) struct OwnCertificate {
    current: RwLock<Arc<CertifiedKey>>,
}

impl OwnCertificate {
    /// The first one.
    pub(crate) fn new(authority: &Authority, id: &str) -> Result<Arc<Self>, AuthorityError> {
        Ok(Arc::new(Self { current: RwLock::new(Arc::new(fresh(authority, id)?)) }))
    }

    /// Makes the next one in time, for ever. Connections that are open go on with the one that they began with.
    pub(crate) async fn keep_fresh(self: Arc<Self>, authority: Arc<Authority>, id: String) {
        let life = authority.life() * (RENEW_SHARE.1 - RENEW_SHARE.0) as u32 / RENEW_SHARE.1 as u32;
        let mut made = since_epoch();
        loop {
            // A clock that was set back is behind what was made by it: that may not count yet for others.
            let age = since_epoch().checked_sub(made);
            let left = age.map_or(Duration::ZERO, |age| life.saturating_sub(age));
            if !left.is_zero() {
                sleep(left.min(CERTIFICATE_LOOK)).await;
                continue;
            }
            made = since_epoch();
            match fresh(&authority, &id) {
                Ok(next) => *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next),
                Err(error) => tracing::error!(%error, "the coordinator's certificate could not be renewed"),
            }
        }
    }

    /// How TLS is spoken: whoever shows a certificate must have it of this authority, and who shows none may only ask for
    /// one.
    pub(crate) fn server_config(self: Arc<Self>, authority: &Authority) -> Result<ServerConfig, AuthorityError> {
        let tls = |error: rustls::Error| AuthorityError::Tls(io::Error::other(error));
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate().clone()).map_err(tls)?;
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let clients = clients.allow_unauthenticated().build();
        let clients = clients.map_err(|error| AuthorityError::Tls(io::Error::other(error)))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(tls)?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(self);
        config.alpn_protocols = vec![ALPN.to_vec()];
        // A resumed session would go by the certificate that it began with.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// A new key and its certificate, with the authority's behind it: newcomers know that by its fingerprint only.
fn fresh(authority: &Authority, id: &str) -> Result<CertifiedKey, AuthorityError> {
    let pair = KeyPair::generate()?;
    let certificate = authority.issue(Role::Coordinator, id, &pair)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    let key = provider().key_provider.load_private_key(key);
    let key = key.map_err(|error| AuthorityError::Tls(io::Error::other(error)))?;
    Ok(CertifiedKey::new(vec![certificate, authority.certificate().clone()], key))
}
