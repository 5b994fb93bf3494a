//! The format of join tokens. The coordinator mints them, and whoever joins reads from them whom to trust.
//!
//! A token is `hjt_`, 43 characters that hold 256 random bits in base 62, 43 characters that hold the SHA-256 of the
//! authority's certificate, and 6 characters of checksum: CRC-32 of everything before it, in base 62:
//!
//! ```text
//! ^hjt_[0-9A-Za-z]{92}$
//! ```
//!
//! So the very first connection can tell the cluster's coordinator from anybody else.

use thiserror::Error;

use crate::key::{ALPHABET, CHECKSUM_LENGTH, ENTROPY_BYTES, SECRET_LENGTH, push_base62};

/// What every token begins with.
pub const PREFIX: &str = "hjt_";
/// Bytes of the fingerprint in a token.
pub const FINGERPRINT_BYTES: usize = 32;
const LENGTH: usize = PREFIX.len() + 2 * SECRET_LENGTH + CHECKSUM_LENGTH;

/// The text is no join token: its prefix, length, letters or checksum are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a join token: expected hjt_ and 92 letters or digits, copied whole")]
pub struct MalformedToken;

/// Writes a token that holds these random bytes and names this authority. The caller draws them, and shows it once.
pub fn mint(entropy: &[u8; ENTROPY_BYTES], fingerprint: &[u8; FINGERPRINT_BYTES]) -> String {
    let mut token = String::with_capacity(LENGTH);
    token.push_str(PREFIX);
    push_base62::<SECRET_LENGTH>(&mut token, entropy);
    push_base62::<SECRET_LENGTH>(&mut token, fingerprint);
    let checksum = crc32fast::hash(token.as_bytes());
    push_base62::<CHECKSUM_LENGTH>(&mut token, &checksum.to_be_bytes());
    token
}

/// The SHA-256 of the authority's certificate that a token names, without asking whether the token exists.
///
/// # Errors
/// [`MalformedToken`] when nobody can have minted it.
pub fn fingerprint(token: &str) -> Result<[u8; FINGERPRINT_BYTES], MalformedToken> {
    let secret = token.strip_prefix(PREFIX).ok_or(MalformedToken)?;
    if token.len() != LENGTH || !secret.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(MalformedToken);
    }
    let (body, checksum) = token.split_at(LENGTH - CHECKSUM_LENGTH);
    let mut expected = String::with_capacity(CHECKSUM_LENGTH);
    push_base62::<CHECKSUM_LENGTH>(&mut expected, &crc32fast::hash(body.as_bytes()).to_be_bytes());
    if checksum != expected {
        return Err(MalformedToken);
    }
    bytes(&body.as_bytes()[PREFIX.len() + SECRET_LENGTH..]).ok_or(MalformedToken)
}

/// The number that digits of base 62 say, if it fits.
fn bytes(digits: &[u8]) -> Option<[u8; FINGERPRINT_BYTES]> {
    let mut bytes = [0; FINGERPRINT_BYTES];
    for digit in digits {
        let mut carry = ALPHABET.iter().position(|letter| letter == digit)? as u32;
        for byte in bytes.iter_mut().rev() {
            carry += u32::from(*byte) * 62;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry > 0 {
            return None;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_authority() {
        for print in [[0; 32], [255; 32], std::array::from_fn(|at| at as u8 ^ 0x5a)] {
            let token = mint(&[7; 32], &print);
            assert_eq!((token.len(), fingerprint(&token)), (LENGTH, Ok(print)));
        }
        assert_ne!(mint(&[1; 32], &[0; 32]), mint(&[2; 32], &[0; 32]));
    }

    #[test]
    fn one_wrong_letter_is_noticed() {
        let token = mint(&[7; 32], &[9; 32]);
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            assert_eq!(fingerprint(&String::from_utf8(bytes).unwrap()), Err(MalformedToken), "at {at}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let token = mint(&[7; 32], &[9; 32]);
        for bad in ["", "hjt_", "sk-123", &token[4..], &format!("{token}0"), &token[..token.len() - 1], "hjt_é"] {
            assert_eq!(fingerprint(bad), Err(MalformedToken), "{bad}");
        }
        // More than 256 bits, with a checksum that fits.
        let mut body = format!("hjt_{}{}", "0".repeat(43), "z".repeat(43));
        let checksum = crc32fast::hash(body.as_bytes());
        push_base62::<6>(&mut body, &checksum.to_be_bytes());
        assert_eq!(fingerprint(&body), Err(MalformedToken));
    }
}
