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
        const SHORTEST: usize = 6;
        if self.0.len() < SHORTEST || !text.contains(&self.0) {
            return text;
        }
        text.replace(&self.0, "[redacted]")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
