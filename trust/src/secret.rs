//! What joins the parts of one process: other users of the machine reach its ports, and must not get in.

use std::io;

/// Random bytes that a connection begins with.
#[derive(Clone)]
pub struct Secret([u8; Secret::BYTES]);

impl Secret {
    /// How many they are.
    pub const BYTES: usize = 32;

    /// Draws them.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn draw() -> io::Result<Self> {
        let mut bytes = [0; Self::BYTES];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self(bytes))
    }

    /// What a connection begins with.
    pub fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Compares in a time that does not depend on where they differ.
    pub fn is(&self, given: &[u8; Self::BYTES]) -> bool {
        std::hint::black_box(self.0.iter().zip(given).fold(0, |differ, (own, given)| differ | (own ^ given))) == 0
    }
}

/// It is not for logs.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_bytes_are_the_secret() {
        let secret = Secret::draw().unwrap();
        assert!(secret.is(secret.bytes()));
        for at in 0..Secret::BYTES {
            let mut other = *secret.bytes();
            other[at] ^= 1;
            assert!(!secret.is(&other), "{at}");
        }
        assert!(!format!("{secret:?}").contains(&format!("{}", secret.bytes()[0])));
    }
}
