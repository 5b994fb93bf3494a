//! A member's key and certificate: in its data folder, and in use.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};

use crate::certificate::{Certified, fingerprint, read};
use crate::files::{self, private_folder, write_private};
use crate::limits::RENEW_SHARE;
use crate::member::Role;
use crate::verify::{Anchor, CoordinatorVerifier};
use crate::{ALPN, provider};

const FOLDER: &str = "tls";
const ID: &str = "id";
const KEY: &str = "key.pem";
/// The member's certificate, then its authority's.
const CERTIFICATE: &str = "certificate.pem";

/// A key that stays, and the certificate that it has now.
pub(crate) struct Keyring {
    folder: PathBuf,
    key: KeyPair,
    kept: RwLock<Option<Kept>>,
}

/// A certificate, and how to connect with it.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) certified: Certified,
    pub(crate) authority: [u8; 32],
    pub(crate) config: Arc<ClientConfig>,
}

impl Keyring {
    /// Whether a data folder has a certificate, whatever it is worth.
    pub(crate) fn is_begun(data_dir: &Path) -> bool {
        data_dir.join(FOLDER).join(CERTIFICATE).exists()
    }

    /// What is kept in a data folder; the key is made on first use.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join(FOLDER);
        private_folder(&folder)?;
        let path = folder.join(KEY);
        let key = match files::read(&path)? {
            Some(pem) => KeyPair::from_pem(&pem).map_err(invalid)?,
            None => {
                let key = KeyPair::generate().map_err(io::Error::other)?;
                write_private(&path, key.serialize_pem().as_bytes())?;
                key
            }
        };
        let keyring = Self { folder, key, kept: RwLock::default() };
        if let Some(pem) = files::read(&keyring.folder.join(CERTIFICATE))? {
            let certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
            let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(invalid)?;
            let [certificate, authority] = &certificates[..] else { return Err(io::ErrorKind::InvalidData.into()) };
            keyring.take(certificate, authority)?;
        }
        Ok(keyring)
    }

    /// Where it is, for people.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The id of a member that has none of its own, made on first use.
    pub(crate) fn own_id(&self, role: Role) -> io::Result<String> {
        let path = self.folder.join(ID);
        if let Some(id) = files::read(&path)? {
            return Ok(id.trim().to_owned());
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let id = format!("{role}_{digits}");
        write_private(&path, format!("{id}\n").as_bytes())?;
        Ok(id)
    }

    /// The certificate, if there is one. It may have ended.
    pub(crate) fn kept(&self) -> Option<Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The certificate is for another cluster or another member: it is of no use.
    pub(crate) fn forget(&self) {
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Asks for a certificate for the key.
    pub(crate) fn request(&self) -> io::Result<Vec<u8>> {
        let request = CertificateParams::default().serialize_request(&self.key).map_err(io::Error::other)?;
        Ok(request.der().to_vec())
    }

    /// Keeps a new certificate: on disk first, then in use.
    pub(crate) fn keep(&self, certificate: &[u8], authority: &[u8], role: Role, id: &str) -> io::Result<Certified> {
        let (certificate, authority) = (CertificateDer::from(certificate), CertificateDer::from(authority));
        let certified = read(&certificate).map_err(invalid)?;
        if (certified.member.role, certified.member.id.as_str()) != (role, id) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let pem = [text(&certificate), text(&authority)].concat();
        self.take(&certificate.into_owned(), &authority.into_owned())?;
        write_private(&self.folder.join(CERTIFICATE), pem.as_bytes())?;
        Ok(certified)
    }

    fn take(&self, certificate: &CertificateDer<'static>, authority: &CertificateDer<'static>) -> io::Result<()> {
        let certified = read(certificate).map_err(invalid)?;
        let own: [u8; 32] = Sha256::digest(self.key.subject_public_key_info()).into();
        if certified.key != own {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let config = config(Anchor::Certificate(authority.clone()), Some((certificate.clone(), key)))?;
        let kept = Kept { certified, authority: fingerprint(authority), config };
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(())
    }
}

/// It holds a private key.
impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Kept {
    /// Whether it counts at this second.
    pub(crate) fn is_valid(&self, now: i64) -> bool {
        (self.certified.not_before..self.certified.not_after).contains(&now)
    }

    /// When to renew it.
    pub(crate) fn renew_at(&self) -> i64 {
        let Certified { not_before, not_after, .. } = &self.certified;
        not_after - (not_after - not_before) * RENEW_SHARE.0 / RENEW_SHARE.1
    }
}

/// How to connect: whom to trust, and what to show.
pub(crate) fn config(
    anchor: Anchor,
    own: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
) -> io::Result<Arc<ClientConfig>> {
    let provider = provider();
    let verifier = CoordinatorVerifier { anchor, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match own {
        Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).map_err(io::Error::other)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would show the certificate that it began with.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A certificate as text.
fn text(certificate: &CertificateDer<'_>) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", certificate.as_ref()), config)
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
