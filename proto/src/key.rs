//! The format of API keys. The coordinator mints them and the gateway checks them, so both ends share it.
//!
//! A key is `sk-` (live) or `sk-test-` (sandbox), 43 characters that hold 256 random bits in base 62, and 6 characters
//! of checksum: CRC-32 of everything before it, in base 62. A mistyped key is refused without a look-up, and scanners
//! of source code can tell a real key from a look-alike:
//!
//! ```text
//! ^sk-(test-)?[0-9A-Za-z]{49}$
//! ```
//!
//! Keys that were imported from elsewhere keep their form, `wf_live_…` and `wf_test_…`, and have no checksum.

use thiserror::Error;

/// Random bytes in a key.
pub const ENTROPY_BYTES: usize = 32;

pub(crate) const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 > 2^256 > 62^42.
pub(crate) const SECRET_LENGTH: usize = 43;
/// 62^6 > 2^32 > 62^5.
pub(crate) const CHECKSUM_LENGTH: usize = 6;
const IMPORTED_SECRET_LENGTH_MIN: usize = 16;
const IMPORTED_SECRET_LENGTH_MAX: usize = 128;

/// What a key may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// Real providers.
    Live,
    /// The sandbox provider only.
    Test,
}

impl KeyKind {
    fn prefix(self) -> &'static str {
        match self {
            KeyKind::Live => "sk-",
            KeyKind::Test => "sk-test-",
        }
    }
}

/// The text is no API key: its prefix, length, letters or checksum are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not an API key: expected sk- or sk-test-, 43 letters or digits, and their checksum")]
pub struct MalformedKey;

/// Writes a key that holds these random bytes. The caller draws them, and shows the key once.
pub fn mint(kind: KeyKind, entropy: &[u8; ENTROPY_BYTES]) -> String {
    let mut key = String::with_capacity(kind.prefix().len() + SECRET_LENGTH + CHECKSUM_LENGTH);
    key.push_str(kind.prefix());
    push_base62::<SECRET_LENGTH>(&mut key, entropy);
    let checksum = crc32fast::hash(key.as_bytes());
    push_base62::<CHECKSUM_LENGTH>(&mut key, &checksum.to_be_bytes());
    key
}

/// Says what kind of key this is, without asking whether it exists.
///
/// # Errors
/// [`MalformedKey`] when nobody can have minted it.
pub fn check(key: &str) -> Result<KeyKind, MalformedKey> {
    if let Some(secret) = key.strip_prefix("wf_live_") {
        return imported(secret, KeyKind::Live);
    }
    if let Some(secret) = key.strip_prefix("wf_test_") {
        return imported(secret, KeyKind::Test);
    }
    let kind = if key.starts_with(KeyKind::Test.prefix()) { KeyKind::Test } else { KeyKind::Live };
    let secret = key.strip_prefix(kind.prefix()).ok_or(MalformedKey)?;
    if secret.len() != SECRET_LENGTH + CHECKSUM_LENGTH || !secret.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(MalformedKey);
    }
    let (body, checksum) = key.split_at(key.len() - CHECKSUM_LENGTH);
    let mut expected = String::with_capacity(CHECKSUM_LENGTH);
    push_base62::<CHECKSUM_LENGTH>(&mut expected, &crc32fast::hash(body.as_bytes()).to_be_bytes());
    if checksum == expected { Ok(kind) } else { Err(MalformedKey) }
}

/// What a key begins with, by which people tell its kind.
pub fn prefix(key: &str) -> &'static str {
    let known = ["wf_live_", "wf_test_", KeyKind::Test.prefix(), KeyKind::Live.prefix()];
    known.into_iter().find(|prefix| key.starts_with(prefix)).unwrap_or_default()
}

fn imported(secret: &str, kind: KeyKind) -> Result<KeyKind, MalformedKey> {
    let is_long_enough = (IMPORTED_SECRET_LENGTH_MIN..=IMPORTED_SECRET_LENGTH_MAX).contains(&secret.len());
    let is_clean = secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if is_long_enough && is_clean { Ok(kind) } else { Err(MalformedKey) }
}

/// Appends the big-endian number in `bytes` as exactly `LENGTH` digits of base 62, zeros in front.
pub(crate) fn push_base62<const LENGTH: usize>(text: &mut String, bytes: &[u8]) {
    let mut digits = [0u8; LENGTH];
    for &byte in bytes {
        // digits = digits * 256 + byte; the lengths above leave no carry beyond the first digit.
        let mut carry = u32::from(byte);
        for digit in digits.iter_mut().rev() {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 62) as u8;
            carry /= 62;
        }
        debug_assert_eq!(carry, 0, "{LENGTH} digits must hold the number");
    }
    text.extend(digits.iter().map(|&digit| char::from(ALPHABET[usize::from(digit)])));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_minted_is_accepted() {
        for entropy in [[0; 32], [255; 32], std::array::from_fn(|at| at as u8)] {
            for kind in [KeyKind::Live, KeyKind::Test] {
                assert_eq!(check(&mint(kind, &entropy)), Ok(kind));
            }
        }
    }

    #[test]
    fn the_form_never_changes() {
        assert_eq!(mint(KeyKind::Live, &[0; 32]).split_at(46).0, "sk-0000000000000000000000000000000000000000000");
        let largest = mint(KeyKind::Test, &[255; 32]);
        assert_eq!(largest.len(), "sk-test-".len() + 49);
        assert_ne!(mint(KeyKind::Live, &[1; 32]), mint(KeyKind::Live, &[2; 32]));
    }

    #[test]
    fn one_wrong_letter_is_noticed() {
        let key = mint(KeyKind::Live, &[7; 32]);
        for at in 3..key.len() {
            let mut bytes = key.clone().into_bytes();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            assert_eq!(check(&String::from_utf8(bytes).unwrap()), Err(MalformedKey), "at {at}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let key = mint(KeyKind::Live, &[7; 32]);
        for bad in [
            "",
            "sk-",
            "sk-test-",
            "pk-123",
            "wf_live_short",
            "wf_live_aaaaaaaaaaaaaaa ",
            &key[3..],
            &format!("{key}0"),
        ] {
            assert_eq!(check(bad), Err(MalformedKey), "{bad}");
        }
        // Live and test keys have checksums of their own.
        assert_eq!(check(&key.replace("sk-", "sk-test-")), Err(MalformedKey));
    }

    #[test]
    fn a_prefix_tells_the_kind() {
        for (key, expected) in [
            ("sk-0", "sk-"),
            ("sk-test-0", "sk-test-"),
            ("wf_live_0", "wf_live_"),
            ("wf_test_0", "wf_test_"),
            ("x", ""),
        ] {
            assert_eq!(prefix(key), expected);
        }
    }

    #[test]
    fn imported_keys_keep_their_form() {
        assert_eq!(check("wf_live_abcdefghijklmnop"), Ok(KeyKind::Live));
        assert_eq!(check("wf_test_abcdefghijklmnop"), Ok(KeyKind::Test));
    }
}
