//! Node types that ask servers, and what all of them go through: a guard of addresses, bounds, and one reading of faults.

mod call;
mod credential;
mod fault;
mod guarded;
mod http_download;
mod http_request;
mod job;
mod llm;
mod sandbox;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::Resolve;
use thiserror::Error;

use self::sandbox::{SandboxKeys, SandboxOnly};

pub use self::credential::{Credential, Credentials, Secret};
pub use self::guarded::Guarded;
pub(super) use self::http_download::HttpDownload;
pub(super) use self::http_request::HttpRequest;
pub(super) use self::job::Job;
pub(super) use self::llm::Llm;
use super::{ErrorClass, Failure, Work};
use crate::limits::{HTTP_CONNECT_WAIT, HTTP_SILENCE_MAX};

/// Decides which servers may be asked. `is_private_allowed` comes with a credential for a server of the operator's own.
pub trait Egress: fmt::Debug + Send + Sync + 'static {
    /// Whether an address may be asked, as far as it can be told without a resolver.
    ///
    /// # Errors
    /// [`Denied`], with the reason.
    fn judge(&self, url: &Url, is_private_allowed: bool) -> Result<(), Denied>;

    /// Whether the server that answers may be talked to.
    fn may_reach(&self, peer: SocketAddr, is_private_allowed: bool) -> bool;

    /// Resolves names to addresses that may be asked, and fails with [`Denied`] where there are none.
    fn resolver(&self, is_private_allowed: bool) -> Arc<dyn Resolve>;
}

/// An address that may not be asked.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Denied(pub String);

/// The way to servers, for all node types of an agent.
#[derive(Clone)]
pub struct Net {
    egress: Arc<dyn Egress>,
    credentials: Arc<dyn Credentials>,
    public: reqwest::Client,
    private: reqwest::Client,
    /// Where the sandbox is, if it stands for every server.
    sandbox: Option<SocketAddr>,
}

impl Net {
    /// Through a guard, with the credentials of this machine.
    ///
    /// # Errors
    /// What the system says: no client can be made.
    pub fn new(egress: Arc<dyn Egress>, credentials: Arc<dyn Credentials>) -> Result<Self, reqwest::Error> {
        let client = |is_private_allowed| {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls())
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .dns_resolver(egress.resolver(is_private_allowed))
                // A connection is never used for another tenant.
                .pool_max_idle_per_host(0)
                .connect_timeout(HTTP_CONNECT_WAIT)
                .read_timeout(HTTP_SILENCE_MAX)
                .user_agent(concat!("heddle/", env!("CARGO_PKG_VERSION")))
                .build()
        };
        Ok(Self { public: client(false)?, private: client(true)?, egress, credentials, sandbox: None })
    }

    /// To the sandbox provider alone, which stands for every server. No secret is read.
    ///
    /// # Errors
    /// As [`Net::new`].
    pub fn to_sandbox(address: SocketAddr) -> Result<Self, reqwest::Error> {
        let net = Self::new(Arc::new(SandboxOnly(address)), Arc::new(SandboxKeys(address)))?;
        Ok(Self { sandbox: Some(address), ..net })
    }

    /// Where model servers are asked: what the config says, or the sandbox.
    pub(super) fn base_url(&self, written: &str) -> String {
        self.sandbox.map_or_else(|| written.trim_end_matches('/').to_owned(), |address| format!("http://{address}/v1"))
    }

    /// Where any other server is asked.
    pub(super) fn address(&self, url: Url) -> Result<Url, Failure> {
        match self.sandbox {
            None => Ok(url),
            Some(address) => call::url(&sandbox::stand_in(address, &url)),
        }
    }

    fn client(&self, is_private_allowed: bool) -> &reqwest::Client {
        if is_private_allowed { &self.private } else { &self.public }
    }

    /// The credential that a config names.
    pub(super) fn credential(&self, name: Option<&str>) -> Result<Option<Credential>, Failure> {
        let Some(name) = name else { return Ok(None) };
        let unknown = || {
            let message =
                format!("there is no credential {name:?} on this agent; set it with: heddle secrets set {name}");
            Failure::new(ErrorClass::Auth, "credential_unknown", message)
        };
        self.credentials.get(name)?.map(Some).ok_or_else(unknown)
    }
}

/// The ways to servers that an agent has.
#[derive(Clone)]
pub struct Networks {
    /// To the servers that graphs name. Without it the sandbox stands for them.
    pub real: Option<Net>,
    /// To the sandbox provider.
    pub sandbox: Option<Net>,
}

impl Networks {
    /// The way for this work: a run that was started with a test key never asks a real server.
    ///
    /// # Errors
    /// `sandbox_unavailable`.
    pub(super) fn of(&self, work: &Work) -> Result<Net, Failure> {
        let real = self.real.as_ref().filter(|_| !work.sandbox);
        real.or(self.sandbox.as_ref()).cloned().ok_or_else(|| {
            let message =
                "the run asks the sandbox provider alone, and this agent knows none; start it with --sandbox-address";
            Failure::new(ErrorClass::InvalidRequest, "sandbox_unavailable", message)
        })
    }
}

/// TLS by ring, trusting the authorities that browsers trust.
#[expect(clippy::expect_used, reason = "ring speaks the default versions of TLS, whatever this machine is")]
fn tls() -> rustls::ClientConfig {
    let roots = rustls::RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("ring speaks the default versions of TLS");
    builder.with_root_certificates(roots).with_no_client_auth()
}
