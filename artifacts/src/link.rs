//! Addresses of artifacts that are good for a while without a key: signed, and checked without asking anybody.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::digest::Digest;

/// Bytes of the key that signs.
pub const KEY_BYTES: usize = 32;

/// Signs and checks. Whoever has the key can do both: gateways and the coordinator.
#[derive(Clone)]
pub struct Signer {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

/// What a signature holds to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Whose artifact.
    pub tenant: String,
    /// Which.
    pub digest: Digest,
    /// As what it is served.
    pub media_type: String,
    /// Until when, in seconds since 1970.
    pub expires: u64,
}

impl Signer {
    /// A signer with this key; none if it is too short to sign anything.
    pub fn new(key: &[u8]) -> Option<Self> {
        let key = (key.len() >= KEY_BYTES).then_some(key)?;
        Hmac::new_from_slice(key).ok().map(|mac| Self { mac })
    }

    /// The signature of a link, in hexadecimal digits.
    pub fn sign(&self, link: &Link) -> String {
        self.text(&["artifact", &link.tenant, &link.digest.to_string(), &link.media_type, &link.expires.to_string()])
    }

    /// Whether a link has this signature; it may still have expired.
    pub fn is_signed(&self, link: &Link, signature: &str) -> bool {
        are_equal(self.sign(link).as_bytes(), signature.as_bytes())
    }

    /// The signature of other texts, each for a purpose of its own.
    pub fn text(&self, parts: &[&str]) -> String {
        let mut mac = self.mac.clone();
        for part in parts {
            // With its length, so that no part can run over into the next.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Compares in a time that does not depend on where the difference is.
pub fn are_equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |differs, (left, right)| differs | (left ^ right)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_link_can_be_changed() {
        let signer = Signer::new(&[7; KEY_BYTES]).unwrap();
        let link =
            Link { tenant: "default".into(), digest: Digest::of(b"x"), media_type: "image/png".into(), expires: 1_000 };
        let signature = signer.sign(&link);
        assert!(signer.is_signed(&link, &signature));
        for other in [
            Link { tenant: "other".into(), ..link.clone() },
            Link { digest: Digest::of(b"y"), ..link.clone() },
            Link { media_type: "text/html".into(), ..link.clone() },
            Link { expires: 1_001, ..link.clone() },
        ] {
            assert!(!signer.is_signed(&other, &signature), "{other:?}");
        }
        assert!(!signer.is_signed(&link, &signature[1..]) && !signer.is_signed(&link, ""));
        assert!(!Signer::new(&[8; KEY_BYTES]).unwrap().is_signed(&link, &signature));
        assert!(Signer::new(&[0; KEY_BYTES - 1]).is_none());
        assert_ne!(signer.text(&["ab", "c"]), signer.text(&["a", "bc"]));
    }
}
