//! Addresses that end a wait when somebody calls them. The token in one names an instance and proves that this cluster has made
//! it, so that forged ones are refused before anybody is asked.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::id::{Generation, Instance, NodeIx, RunId, ScopeIx};

/// Bytes of the key that signs.
pub const HOOK_KEY_BYTES: usize = 32;
/// Where hooks are called, below the public address.
pub const HOOK_PATH: &str = "/api/v1/hooks/";
/// Bytes of what a token names: run, node, scope, generation.
const NAMED_BYTES: usize = 16 + 4 + 4 + 4;
/// Bytes of the proof: half of what the hash gives, which is more than anybody can guess.
const MAC_BYTES: usize = 16;

/// Makes addresses of hooks, and reads their tokens.
#[derive(Clone)]
pub struct Hooks {
    /// Where clients reach the API, without a slash at its end; empty if nobody has said so.
    base: Arc<str>,
    mac: Hmac<Sha256>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Hooks {
    /// Addresses below this one, signed with this key.
    pub fn new(base: &str, key: &[u8; HOOK_KEY_BYTES]) -> Self {
        // A key has another purpose than that of signed addresses of artifacts, which may come from the same place.
        let mac = Hmac::<Sha256>::new(&padded(key)).chain_update(b"webhook");
        Self { base: base.trim_end_matches('/').into(), mac }
    }

    /// The token of an instance.
    pub fn token(&self, run: RunId, instance: Instance) -> String {
        let mut bytes = [0; NAMED_BYTES + MAC_BYTES];
        let (named, proof) = bytes.split_at_mut(NAMED_BYTES);
        named[..16].copy_from_slice(&run.to_bytes());
        for (place, number) in [instance.node.0, instance.scope.0, instance.generation.0].into_iter().enumerate() {
            named[16 + 4 * place..][..4].copy_from_slice(&number.to_be_bytes());
        }
        proof.copy_from_slice(&self.mac.clone().chain_update(&*named).finalize().into_bytes()[..MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Which instance of which run a token names; nothing if nobody here has made it.
    pub fn read(&self, token: &str) -> Option<(RunId, Instance)> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let bytes: [u8; NAMED_BYTES + MAC_BYTES] = bytes.try_into().ok()?;
        let (named, proof) = bytes.split_at(NAMED_BYTES);
        // In a time that does not depend on where the difference is.
        self.mac.clone().chain_update(named).verify_truncated_left(proof).ok()?;
        let number = |place: usize| {
            let bytes: [u8; 4] = named[16 + 4 * place..][..4].try_into().ok()?;
            Some(u32::from_be_bytes(bytes))
        };
        let (node, scope, generation) = (NodeIx(number(0)?), ScopeIx(number(1)?), Generation(number(2)?));
        Some((RunId::from_bytes(&named[..16])?, Instance { node, scope, generation }))
    }

    /// The address at which an instance is called.
    pub fn address(&self, run: RunId, instance: Instance) -> String {
        format!("{}{HOOK_PATH}{}", self.base, self.token(run, instance))
    }
}

/// A key as the hash takes it: a block of it, zeros at its end.
fn padded(key: &[u8; HOOK_KEY_BYTES]) -> hmac::digest::Key<Hmac<Sha256>> {
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    block[..HOOK_KEY_BYTES].copy_from_slice(key);
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: RunId = RunId(0x0123_4567_89ab_cdef_0011_2233_4455_6677);

    fn instance() -> Instance {
        Instance { node: NodeIx(3), scope: ScopeIx(70_000), generation: Generation(1) }
    }

    #[test]
    fn a_token_names_its_instance_and_nothing_of_it_can_be_changed() {
        let hooks = Hooks::new("https://example.org/", &[7; HOOK_KEY_BYTES]);
        let token = hooks.token(RUN, instance());
        assert_eq!(hooks.read(&token), Some((RUN, instance())));
        assert_eq!(hooks.address(RUN, instance()), format!("https://example.org/api/v1/hooks/{token}"));
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for place in 0..bytes.len() {
            let mut other = bytes.clone();
            other[place] ^= 1;
            assert_eq!(hooks.read(&URL_SAFE_NO_PAD.encode(&other)), None, "byte {place}");
        }
        for other in ["", "x", &token[1..], &format!("{token}A"), &format!("{token}=")] {
            assert_eq!(hooks.read(other), None, "{other}");
        }
        assert_eq!(Hooks::new("", &[8; HOOK_KEY_BYTES]).read(&token), None, "another key");
    }

    #[test]
    fn the_bytes_of_a_token_stay_as_they_are() {
        // People hold addresses for as long as runs wait.
        let token = Hooks::new("", &[7; HOOK_KEY_BYTES]).token(RUN, instance());
        assert_eq!(token, "ASNFZ4mrze8AESIzRFVmdwAAAAMAARFwAAAAAUlmNfCuG5ExhKSqZOom16o");
    }
}
