//! Names of objects: `<tenant>/<two digits>/<digest>`, and `<tenant>/incoming/<random>` while an upload has no digest yet.

use object_store::path::Path;

use crate::digest::Digest;
use crate::error::StoreError;
use crate::limits::TENANT_BYTES_MAX;

/// Where uploads are whose digest is not known yet.
pub(crate) const INCOMING: &str = "incoming";
/// The object that says which store this is.
pub(crate) const MARK: &str = "heddle-store";

/// A tenant's part of every name. One tenant's part is never the beginning of another's, nor anything but one segment.
pub(crate) fn tenant(tenant: &str) -> Result<String, StoreError> {
    if tenant.is_empty() || tenant.len() > TENANT_BYTES_MAX {
        return Err(StoreError::Tenant);
    }
    let mut part = String::with_capacity(tenant.len() + 2);
    part.push_str("t-");
    for byte in tenant.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => part.push(byte.into()),
            _ => part.push_str(&format!("={byte:02x}")),
        }
    }
    Ok(part)
}

fn tenant_of(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.strip_prefix("t-")?.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'=' => {
                let digits = [rest.next()?, rest.next()?];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

pub(crate) fn object(prefix: &str, tenant: &str, digest: Digest) -> Result<Path, StoreError> {
    let (part, digest) = (self::tenant(tenant)?, digest.to_string());
    Ok(joined(prefix, &[&part, &digest[..2], &digest]))
}

pub(crate) fn incoming(prefix: &str, tenant: &str, random: u128) -> Result<Path, StoreError> {
    Ok(joined(prefix, &[&self::tenant(tenant)?, INCOMING, &format!("{random:032x}")]))
}

pub(crate) fn joined(prefix: &str, parts: &[&str]) -> Path {
    let prefix = prefix.split('/').filter(|part| !part.is_empty());
    prefix.chain(parts.iter().copied()).collect()
}

/// What an object's name says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Artifact(String, Digest),
    Incoming,
    /// Nothing of ours.
    Other,
}

pub(crate) fn read(prefix: &str, name: &Path) -> Named {
    let Some(rest) = name.prefix_match(&joined(prefix, &[])) else { return Named::Other };
    let parts: Vec<_> = rest.collect();
    let [tenant, folder, last] = parts.as_slice() else { return Named::Other };
    match (tenant_of(tenant.as_ref()), folder.as_ref(), last.as_ref().parse::<Digest>()) {
        (Some(_), INCOMING, _) => Named::Incoming,
        (Some(tenant), folder, Ok(digest)) if digest.to_string().starts_with(folder) => Named::Artifact(tenant, digest),
        _ => Named::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_were_made_of() {
        let digest = Digest::of(b"x");
        let mut seen = std::collections::BTreeSet::new();
        for tenant in ["default", "Default", "a/b", "..", "~", "t-", "ü", "a b", "a=20b", "=", "%2f"] {
            for prefix in ["", "deep/down"] {
                let name = object(prefix, tenant, digest).unwrap();
                assert_eq!(read(prefix, &name), Named::Artifact(tenant.to_owned(), digest), "{name}");
                assert_eq!(read(prefix, &incoming(prefix, tenant, 7).unwrap()), Named::Incoming);
                assert!(seen.insert(name.to_string()), "{name}");
                assert_eq!(name.parts().count(), 3 + prefix.split('/').filter(|part| !part.is_empty()).count());
            }
        }
        assert_eq!(read("", &joined("", &[MARK])), Named::Other);
        assert_eq!(read("", &joined("", &["t-a", "00", "x"])), Named::Other);
        assert!(matches!(object("", "", digest), Err(StoreError::Tenant)));
    }
}
