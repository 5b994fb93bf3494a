//! `X-Request-Id`: one name for a request in answers, logs and support questions.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::limits::REQUEST_ID_LENGTH_MAX;

pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const PREFIX_LENGTH: usize = "req_".len();

/// A request's name: the caller's, if it is well formed, else a new one.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// Takes the caller's id over: 1 to 128 letters, digits, `-`, `_`, `.` or `:`.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match headers.get(HEADER) {
            Some(value) if is_well_formed(value.as_bytes()) => Self(value.clone()),
            _ => Self::mint(),
        }
    }

    /// A new id: `req_` and 26 characters, ordered by time. It names and guards nothing, so it need not be secret.
    pub(crate) fn mint() -> Self {
        static SEED: LazyLock<u64> = LazyLock::new(|| getrandom::u64().unwrap_or(0));
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let random = scramble(SEED.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)));
        let mut bits = (millis & ((1 << 48) - 1)) << 64 | u128::from(random);
        let mut text = *b"req_00000000000000000000000000";
        for place in text[PREFIX_LENGTH..].iter_mut().rev() {
            *place = ALPHABET[(bits & 31) as usize];
            bits >>= 5;
        }
        Self(HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("req_unnamed")))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

fn is_well_formed(id: &[u8]) -> bool {
    (1..=REQUEST_ID_LENGTH_MAX).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
}

/// Spreads neighbouring numbers over all 64 bits, one to one (the finalizer of SplitMix64).
fn scramble(number: u64) -> u64 {
    let mut bits = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn minted_ids_differ_and_are_well_formed() {
        let ids: HashSet<String> = (0..1_000).map(|_| RequestId::mint().as_str().to_owned()).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(ids.iter().all(|id| id.len() == 30 && is_well_formed(id.as_bytes())), "{ids:?}");
    }

    #[test]
    fn only_well_formed_ids_are_taken_over() {
        let of = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_bytes(value).unwrap());
            RequestId::of(&headers).as_str().to_owned()
        };
        assert_eq!(of(b"trace-1_2.3:4"), "trace-1_2.3:4");
        for bad in [&b""[..], b"a b", b"<script>", &[b'a'; 129], b"\xff"] {
            assert!(of(bad).starts_with("req_"), "{bad:?}");
        }
    }
}
