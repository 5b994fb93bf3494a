//! A request that is judged at every step.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use thiserror::Error;
use url::{Host, Url};

use crate::address::is_public;
use crate::limits::{CONNECT_TIME_MAX, PORTS, REDIRECTS_MAX, REQUEST_TIME_MAX, SILENCE_MAX, URL_BYTES_MAX};
use crate::names::{Inside, Vetted};

/// What may be asked beside the public internet.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Addresses with their ports that the operator allows although they are inside, as for a model server. They are meant
    /// literally: no name leads to them. Plain HTTP is taken from them, too.
    pub allowed: Vec<SocketAddr>,
}

/// Asks for what users name.
#[derive(Debug, Clone)]
pub struct Guard {
    client: reqwest::Client,
    policy: Arc<Policy>,
}

/// Why something is not asked for, or not given.
#[derive(Debug, Error)]
pub enum GuardError {
    /// It is no address that can be asked.
    #[error("the address cannot be used: {why}")]
    Url {
        /// What is wrong with it.
        why: String,
    },
    /// It leads where nobody from outside may go.
    #[error("the address leads into a private network, and is not asked; use one of the public internet")]
    Denied,
    /// It leads on and on.
    #[error("the address leads on more than {REDIRECTS_MAX} times; use the one that it ends at")]
    Redirects,
    /// The server says no.
    #[error("the server answers with status {status}; look whether the address is right")]
    Status {
        /// What it says.
        status: u16,
    },
    /// The server cannot be reached, or breaks off.
    #[error("the server cannot be reached, or its answer broke off; try again")]
    Unreachable(#[source] reqwest::Error),
    /// Requests cannot be made at all.
    #[error("requests cannot be made on this machine")]
    Client(#[source] reqwest::Error),
}

/// An answer, piece by piece.
pub struct Fetched {
    /// What its sender says it is.
    pub content_type: Option<String>,
    /// How long its sender says it is.
    pub length: Option<u64>,
    /// Where it came from in the end.
    pub url: Url,
    /// Its bytes.
    pub pieces: BoxStream<'static, Result<Bytes, GuardError>>,
}

impl Guard {
    /// A guard with this policy.
    ///
    /// # Errors
    /// [`GuardError::Client`].
    pub fn new(policy: Policy) -> Result<Self, GuardError> {
        // Who installed one before is as welcome.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Vetted::default()))
            // A connection is nobody else's afterwards.
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_TIME_MAX)
            .read_timeout(SILENCE_MAX)
            .timeout(REQUEST_TIME_MAX)
            .user_agent(concat!("heddle/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(GuardError::Client)?;
        Ok(Self { client, policy: Arc::new(policy) })
    }

    /// Gets what is at an address.
    ///
    /// # Errors
    /// [`GuardError`], with what to do.
    pub async fn get(&self, address: &str) -> Result<Fetched, GuardError> {
        let mut url = self.judged(address)?;
        for _ in 0..=REDIRECTS_MAX {
            let response = self.client.get(url.clone()).send().await.map_err(unreachable)?;
            // Once more, now that it is known who answers.
            if response.remote_addr().is_some_and(|peer| !self.policy.may_reach(peer)) {
                return Err(GuardError::Denied);
            }
            let status = response.status();
            if !status.is_redirection() {
                return if status.is_success() { Ok(fetched(response, url)) } else { Err(refused(status)) };
            }
            let next = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next = next.ok_or_else(|| refused(status))?;
            let next = url.join(next).map_err(|error| GuardError::Url { why: error.to_string() })?;
            url = self.judged(next.as_str())?;
        }
        Err(GuardError::Redirects)
    }

    /// The address, if it may be asked as far as can be told without a resolver.
    ///
    /// # Errors
    /// [`GuardError::Url`] or [`GuardError::Denied`].
    pub fn judged(&self, address: &str) -> Result<Url, GuardError> {
        if address.len() > URL_BYTES_MAX {
            return Err(wrong("it is too long"));
        }
        let url = Url::parse(address).map_err(|error| wrong(&error.to_string()))?;
        self.policy.judge(&url).map(|()| url)
    }
}

fn wrong(why: &str) -> GuardError {
    GuardError::Url { why: why.to_owned() }
}

impl Policy {
    /// Whether an address may be asked, as far as can be told without a resolver.
    ///
    /// # Errors
    /// [`GuardError::Url`] or [`GuardError::Denied`].
    pub fn judge(&self, url: &Url) -> Result<(), GuardError> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("it holds a name or a password"));
        }
        let port = url.port_or_known_default().unwrap_or_default();
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
            None => return Err(wrong("it names no host")),
        };
        if literal.is_some_and(|literal| self.is_allowed(SocketAddr::new(literal, port)))
            && matches!(url.scheme(), "http" | "https")
        {
            return Ok(());
        }
        if literal.is_some_and(|literal| !is_public(literal)) {
            return Err(GuardError::Denied);
        }
        if url.scheme() != "https" {
            return Err(wrong("it must begin with https://"));
        }
        if !PORTS.contains(&port) {
            return Err(wrong("its port must be 443 or 8443"));
        }
        Ok(())
    }

    /// Whether the server that answers may be talked to.
    pub fn may_reach(&self, peer: SocketAddr) -> bool {
        is_public(peer.ip()) || self.is_allowed(peer)
    }

    fn is_allowed(&self, address: SocketAddr) -> bool {
        self.allowed.contains(&address)
    }
}

fn fetched(response: reqwest::Response, url: Url) -> Fetched {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let length = response.content_length();
    let pieces = response.bytes_stream().map(|piece| piece.map_err(unreachable)).boxed();
    Fetched { content_type, length, url, pieces }
}

fn refused(status: reqwest::StatusCode) -> GuardError {
    GuardError::Status { status: status.as_u16() }
}

fn unreachable(error: reqwest::Error) -> GuardError {
    // The resolver's own refusal is somewhere inside.
    let mut source: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(inner) = source {
        if inner.is::<Inside>() {
            return GuardError::Denied;
        }
        source = inner.source();
    }
    // Without the address: it may hold a secret of its owner.
    GuardError::Unreachable(error.without_url())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::response::Redirect;
    use axum::routing::get;
    use futures::TryStreamExt as _;

    use super::*;

    fn guard(allowed: Vec<SocketAddr>) -> Guard {
        Guard::new(Policy { allowed }).unwrap()
    }

    #[test]
    fn addresses_are_judged_as_they_are_written() {
        let guard = guard(Vec::new());
        for denied in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://0/",
            "https://[::1]/",
            "https://[::ffff:169.254.169.254]/",
            "https://169.254.169.254/latest",
            "https://[64:ff9b::a00:1]/",
            "https://10.0.0.1:8443/",
            "https://①②⑦.0.0.1/",
            "https://0x7f000001/",
            "https://017700000001/",
            "https://192.168.0.1",
            "https://[fd00::1]/",
            "https://[2002:7f00:1::]/",
            "http://127.0.0.1:80/",
            "https://127.0.0.1./",
        ] {
            assert!(matches!(guard.judged(denied), Err(GuardError::Denied)), "{denied}");
        }
        for wrong in [
            "",
            "x",
            "file:///etc/passwd",
            "gopher://example.com/",
            "ftp://example.com/",
            "http://example.com/",
            "https://example.com:25/",
            "https://user:secret@example.com/",
            "https://user@example.com/",
            "data:text/plain,x",
            "https://",
            "//example.com/",
        ] {
            let error = guard.judged(wrong).unwrap_err();
            assert!(matches!(error, GuardError::Url { .. }), "{wrong}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        assert!(guard.judged(&format!("https://example.com/{}", "x".repeat(URL_BYTES_MAX))).is_err());
        for right in ["https://example.com/a", "https://example.com:8443/", "https://8.8.8.8/"] {
            assert!(guard.judged(right).is_ok(), "{right}");
        }
    }

    #[tokio::test]
    async fn names_that_lead_inside_are_not_asked() {
        // Whatever resolver this machine has, it knows this one.
        assert!(matches!(guard(Vec::new()).get("https://localhost/").await, Err(GuardError::Denied)));
    }

    #[tokio::test]
    async fn redirects_are_judged_anew() {
        static SEEN: AtomicUsize = AtomicUsize::new(0);
        let canary = Router::new().fallback(|| async { SEEN.fetch_add(1, Ordering::Relaxed).to_string() });
        let canary = serve(canary).await;
        let inside = format!("http://{canary}/secret");
        let open = Router::new()
            .route("/file", get(|| async { "bytes" }))
            .route("/there", get(|| async { Redirect::temporary("/file") }))
            .route("/around", get(|| async { Redirect::temporary("/around") }))
            .route("/inside", get(move || std::future::ready(Redirect::temporary(&inside))));
        let open = serve(open).await;
        let guard = guard(vec![open]);
        for path in ["file", "there"] {
            let fetched = guard.get(&format!("http://{open}/{path}")).await.unwrap();
            let pieces: Vec<Bytes> = fetched.pieces.try_collect().await.unwrap();
            assert_eq!(pieces.concat(), b"bytes", "{path}");
        }
        assert!(matches!(guard.get(&format!("http://{open}/inside")).await, Err(GuardError::Denied)));
        assert!(matches!(guard.get(&format!("http://{open}/around")).await, Err(GuardError::Redirects)));
        assert!(matches!(guard.get(&format!("http://{open}/none")).await, Err(GuardError::Status { status: 404 })));
        assert!(matches!(guard.get(&format!("http://{canary}/")).await, Err(GuardError::Denied)));
        assert_eq!(SEEN.load(Ordering::Relaxed), 0, "somebody inside was asked");
    }

    async fn serve(router: Router) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }
}
