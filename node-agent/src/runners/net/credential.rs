//! Credentials: secrets by name, and the servers that may see them.

use std::fmt;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use crate::runners::{ErrorClass, Failure};

/// Where credentials are looked up by the name that a graph says.
pub trait Credentials: Send + Sync + 'static {
    /// The credential of this name.
    ///
    /// # Errors
    /// A failure of the attempt: the credentials cannot be read now.
    fn get(&self, name: &str) -> Result<Option<Credential>, Failure>;
}

/// A secret, and what it is for.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Its name, as graphs say it.
    pub name: String,
    /// What is sent.
    pub secret: Secret,
    /// The header it is sent in.
    pub header: String,
    /// What stands before it there.
    pub prefix: String,
    /// The hosts that may see it, each with a port if it is not the scheme's own.
    pub hosts: Vec<String>,
    /// Whether these hosts may lie inside the operator's network.
    pub is_private_allowed: bool,
}

impl Credential {
    /// Whether a server may see the secret.
    pub(super) fn is_for(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(&authority))
    }

    /// The header that carries it.
    ///
    /// # Errors
    /// `credential_invalid`.
    pub(super) fn header(&self) -> Result<(HeaderName, HeaderValue), Failure> {
        let name = HeaderName::from_bytes(self.header.as_bytes()).ok();
        let value = HeaderValue::from_str(&format!("{}{}", self.prefix, self.secret.expose())).ok();
        match name.zip(value) {
            Some((name, mut value)) => {
                value.set_sensitive(true);
                Ok((name, value))
            }
            None => {
                let message = format!("the credential {:?} cannot be sent in a header; set it again", self.name);
                Err(Failure::new(ErrorClass::Auth, "credential_invalid", message))
            }
        }
    }
}

/// A text that no log, error or event shows.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A text in which the secret does not stand any more.
    pub(super) fn redact(&self, text: String) -> String {
        if !self.is_in(text.as_bytes()) {
            return text;
        }
        text.replace(&self.0, "[redacted]")
    }

    /// Whether the secret stands in these bytes. One of a few letters is looked for in vain: it would be found everywhere.
    pub(super) fn is_in(&self, bytes: &[u8]) -> bool {
        const SHORTEST: usize = 6;
        let secret = self.0.as_bytes();
        secret.len() >= SHORTEST && bytes.windows(secret.len()).any(|window| window == secret)
    }
}

/// Shows a text that comes piece by piece without a secret, wherever the pieces are cut: what may be its beginning is held
/// back until more has come.
pub(super) struct Veil<'a> {
    secret: Option<&'a Secret>,
    held: String,
}

impl<'a> Veil<'a> {
    pub(super) fn over(secret: Option<&'a Secret>) -> Self {
        Self { secret, held: String::new() }
    }

    /// What can be shown now that this piece has come.
    pub(super) fn pass(&mut self, piece: &str) -> String {
        self.held.push_str(piece);
        let held = std::mem::take(&mut self.held);
        let Some(Secret(secret)) = self.secret else { return held };
        let mut shown = self.secret.map_or_else(String::new, |secret| secret.redact(held));
        let begins = (1..secret.len()).rev().filter(|length| secret.is_char_boundary(*length));
        let kept = begins.map(|length| &secret[..length]).find(|begin| shown.ends_with(begin)).map_or(0, str::len);
        self.held = shown.split_off(shown.len() - kept);
        shown
    }

    /// What was held back and is no secret: nothing more comes.
    pub(super) fn rest(self) -> String {
        self.held
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_veil_hides_a_secret_wherever_it_is_cut() {
        let secret = Secret::new("sk-örtlich".to_owned());
        let text = "a sk- sk-ö sk-örtlich and sk-örtlichsk-ört";
        for size in 1..text.chars().count() {
            let letters: Vec<char> = text.chars().collect();
            let mut veil = Veil::over(Some(&secret));
            let shown: String =
                letters.chunks(size).map(|piece| veil.pass(&piece.iter().collect::<String>())).collect();
            assert_eq!(shown + &veil.rest(), "a sk- sk-ö [redacted] and [redacted]sk-ört", "pieces of {size}");
        }
        let mut open = Veil::over(None);
        assert_eq!((open.pass("sk-"), open.rest()), ("sk-".to_owned(), String::new()));
    }
}
