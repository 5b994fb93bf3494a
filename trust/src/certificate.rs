//! What a certificate says.

use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::member::{Member, cluster_of_uri};

/// A member, by its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// Who it is.
    pub member: Member,
    /// From when the certificate counts, in seconds since 1970.
    pub not_before: i64,
    /// Until when it counts, in seconds since 1970.
    pub not_after: i64,
    /// SHA-256 of the public key.
    pub key: [u8; 32],
}

/// The bytes are no certificate of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate does not name a member of a cluster")]
pub struct Unreadable;

/// SHA-256 of a whole certificate.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(certificate).into()
}

/// Reads a member's certificate. Whether it is genuine is for TLS to say.
///
/// # Errors
/// [`Unreadable`] unless it has exactly one URI, and that is a member's name.
pub fn read(certificate: &CertificateDer<'_>) -> Result<Certified, Unreadable> {
    let parsed = parse(certificate)?;
    let [uri] = uris(&parsed)?[..] else { return Err(Unreadable) };
    Ok(Certified {
        member: Member::from_uri(uri).ok_or(Unreadable)?,
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
        key: Sha256::digest(parsed.public_key().raw).into(),
    })
}

/// The name of the cluster that an authority's certificate stands for: the one that it says, else a part of its
/// fingerprint.
///
/// # Errors
/// [`Unreadable`] if it is no certificate.
pub fn cluster_of(authority: &CertificateDer<'_>) -> Result<String, Unreadable> {
    let parsed = parse(authority)?;
    let said = uris(&parsed)?.into_iter().find_map(cluster_of_uri).map(str::to_owned);
    Ok(said.unwrap_or_else(|| fingerprint(authority)[..8].iter().map(|byte| format!("{byte:02x}")).collect()))
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Unreadable> {
    let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|_| Unreadable)?;
    if rest.is_empty() { Ok(parsed) } else { Err(Unreadable) }
}

fn uris<'a>(certificate: &X509Certificate<'a>) -> Result<Vec<&'a str>, Unreadable> {
    let names = certificate.subject_alternative_name().map_err(|_| Unreadable)?;
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    Ok(names.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None }).collect())
}
