//! The cluster's own certificate authority (security.md 4.3): who is who between machines.
//!
//! Its key and certificate are kept in the data folder, or given by the one who runs the cluster. What it signs counts for
//! a day; members renew theirs long before.

mod own;
mod tokens;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use heddle_trust::files::{self, private_folder, write_private};
use heddle_trust::limits::REQUEST_BYTES_MAX;
use heddle_trust::{Member, Role, cluster_of, fingerprint, is_id};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::limits::{AUTHORITY_LIFE, CERTIFICATE_BACKDATE_SHARE, CERTIFICATE_LIFE};

pub(crate) use own::OwnCertificate;
pub(crate) use tokens::{Denial, Newcomer, Tokens};

/// The file of the data folder with the token of the first gateway.
pub const GATEWAY_TOKEN_FILE: &str = "gateway-token";
const FOLDER: &str = "authority";
const CERTIFICATE: &str = "ca.pem";
const KEY: &str = "ca.key";

/// How members prove who they are.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// An authority that exists already; without one the coordinator makes its own in the data folder.
    pub authority: Option<AuthorityFiles>,
    /// How long certificates of members count.
    pub certificate_life: Duration,
    /// Whether to make a new token for a gateway, though one has joined before.
    pub new_gateway_token: bool,
}

/// Where an authority's certificate and key are, as PEM.
#[derive(Debug, Clone)]
pub struct AuthorityFiles {
    /// The certificate.
    pub certificate: PathBuf,
    /// The private key, PKCS #8.
    pub key: PathBuf,
}

/// Why there is no authority.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// A file.
    #[error("the file {path} cannot be used: it must be as it was written, and readable by you only")]
    File {
        /// Which.
        path: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// One file of two.
    #[error(
        "{path} is missing, and members trust no other: put it back from a backup, or remove the folder and let all join again"
    )]
    Missing {
        /// Which.
        path: String,
    },
    /// The key is not the certificate's.
    #[error("the key in {path} is not the key of the authority's certificate")]
    OtherKey {
        /// Where the key is.
        path: String,
    },
    /// The certificate signs nothing.
    #[error("the certificate in {path} cannot be an authority: {why}")]
    NoAuthority {
        /// Where it is.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Nothing could be signed.
    #[error("the authority could not sign")]
    Sign(#[from] rcgen::Error),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up with this authority")]
    Tls(#[source] io::Error),
    /// The database.
    #[error("join tokens could not be read or written")]
    Journal(#[source] crate::journal::JournalError),
}

/// Signs what members may show.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    cluster: String,
    life: Duration,
}

/// A signing request that is sound: its sender has the key.
pub(crate) struct SigningRequest {
    key: rcgen::PublicKey,
    /// SHA-256 of the public key.
    pub(crate) fingerprint: [u8; 32],
}

impl Authority {
    /// The authority of a data folder, made on first use, or the one that was given.
    pub(crate) fn open(data_dir: &Path, options: &TlsOptions) -> Result<Self, AuthorityError> {
        let files = match &options.authority {
            Some(files) => files.clone(),
            None => made(data_dir)?,
        };
        let AuthorityFiles { certificate: certificate_path, key: key_path } = files;
        let pem = needed(&certificate_path)?;
        let broken =
            |path: &Path, error: io::Error| AuthorityError::File { path: path.display().to_string(), source: error };
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| broken(&certificate_path, io::Error::new(io::ErrorKind::InvalidData, error)))?;
        let key = KeyPair::from_pem(&needed(&key_path)?)
            .map_err(|error| broken(&key_path, io::Error::new(io::ErrorKind::InvalidData, error)))?;
        check(&certificate, &certificate_path)?;
        let (_, parsed) = X509Certificate::from_der(&certificate)
            .map_err(|_| broken(&certificate_path, io::ErrorKind::InvalidData.into()))?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(AuthorityError::OtherKey { path: key_path.display().to_string() });
        }
        let cluster = cluster_of(&certificate)
            .map_err(|error| broken(&certificate_path, io::Error::new(io::ErrorKind::InvalidData, error)))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self { issuer, certificate, cluster, life: options.certificate_life })
    }

    /// The certificate that members trust.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// SHA-256 of [`Authority::certificate`].
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&self.certificate)
    }

    /// The cluster it stands for.
    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// How long what it signs counts.
    pub(crate) fn life(&self) -> Duration {
        self.life
    }

    /// Signs that whoever has the key of the request is this member.
    pub(crate) fn sign(&self, role: Role, id: &str, request: &SigningRequest) -> Result<Vec<u8>, AuthorityError> {
        Ok(self.issue(role, id, &request.key)?.to_vec())
    }

    fn issue(&self, role: Role, id: &str, key: &impl PublicKeyData) -> Result<CertificateDer<'static>, AuthorityError> {
        debug_assert!(is_id(id), "checked by whoever asks");
        let member = Member { cluster: self.cluster.clone(), role, id: id.to_owned() };
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, format!("heddle {role}"));
        parameters.subject_alt_names = vec![SanType::URI(Ia5String::try_from(member.uri())?)];
        parameters.serial_number = Some(serial());
        let backdate = self.life / CERTIFICATE_BACKDATE_SHARE;
        let now = since_epoch();
        parameters.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(backdate);
        parameters.not_after = date_time_ymd(1970, 1, 1) + now + self.life;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![match role {
            Role::Coordinator => ExtendedKeyUsagePurpose::ServerAuth,
            Role::Agent | Role::Gateway => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        parameters.use_authority_key_identifier_extension = true;
        Ok(parameters.signed_by(key, &self.issuer)?.der().clone())
    }

    /// The key of the tokens' MACs: it follows from the authority's own, so that a token is of use with no other.
    fn token_key(&self) -> [u8; 32] {
        #[allow(clippy::unwrap_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(self.issuer.key().serialized_der()).unwrap();
        mac.update(b"heddle join token v1");
        mac.finalize().into_bytes().into()
    }
}

impl SigningRequest {
    /// Reads a request and checks that its sender has the key. Nothing else is taken from it.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        if der.len() > REQUEST_BYTES_MAX {
            return None;
        }
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der)).ok()?;
        let fingerprint = Sha256::digest(request.public_key.subject_public_key_info()).into();
        Some(Self { key: request.public_key, fingerprint })
    }
}

/// The authority's files in a data folder. The key comes first: a crash in between leaves no certificate without a key, and
/// the next start goes on with that key.
fn made(data_dir: &Path) -> Result<AuthorityFiles, AuthorityError> {
    let folder = data_dir.join(FOLDER);
    let (certificate, key) = (folder.join(CERTIFICATE), folder.join(KEY));
    let failed = |path: &Path| {
        let path = path.display().to_string();
        |source| AuthorityError::File { path, source }
    };
    if files::read(&certificate).map_err(failed(&certificate))?.is_none() {
        private_folder(&folder).map_err(failed(&folder))?;
        let pair = match files::read(&key).map_err(failed(&key))? {
            Some(pem) => KeyPair::from_pem(&pem)?,
            None => {
                let pair = KeyPair::generate()?;
                write_private(&key, pair.serialize_pem().as_bytes()).map_err(failed(&key))?;
                pair
            }
        };
        let made = root(&pair)?;
        write_private(&certificate, made.pem().as_bytes()).map_err(failed(&certificate))?;
    }
    Ok(AuthorityFiles { certificate, key })
}

fn root(key: &KeyPair) -> Result<rcgen::Certificate, AuthorityError> {
    let name: [u8; 8] = rand::random();
    let cluster: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, format!("heddle cluster {cluster}"));
    parameters.subject_alt_names = vec![SanType::URI(Ia5String::try_from(format!("spiffe://{cluster}"))?)];
    parameters.serial_number = Some(serial());
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = since_epoch();
    parameters.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(CERTIFICATE_LIFE);
    parameters.not_after = date_time_ymd(1970, 1, 1) + now + AUTHORITY_LIFE;
    Ok(parameters.self_signed(key)?)
}

fn needed(path: &Path) -> Result<String, AuthorityError> {
    let failed = |source| AuthorityError::File { path: path.display().to_string(), source };
    files::read(path).map_err(failed)?.ok_or_else(|| AuthorityError::Missing { path: path.display().to_string() })
}

/// Whether a certificate may sign others, today.
fn check(certificate: &CertificateDer<'_>, path: &Path) -> Result<(), AuthorityError> {
    let no = |why| AuthorityError::NoAuthority { path: path.display().to_string(), why };
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| no("it is no certificate"))?;
    if !parsed.is_ca() {
        return Err(no("it may not sign certificates (basic constraints)"));
    }
    let now = since_epoch().as_secs() as i64;
    if !(parsed.validity().not_before.timestamp()..parsed.validity().not_after.timestamp()).contains(&now) {
        return Err(no("it does not count at this time; compare the clock"));
    }
    Ok(())
}

fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    // Positive, and never short.
    bytes[0] = bytes[0] & 0x3f | 0x40;
    SerialNumber::from_slice(&bytes)
}

/// By this machine's clock, as TLS has it.
pub(crate) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests;
