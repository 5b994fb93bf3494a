//! Asking the sandbox provider in the place of every server.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Name, Resolve, Resolving};

use super::{Credential, Credentials, Denied, Egress, Secret};
use crate::runners::{ErrorClass, Failure};

/// What the sandbox takes for a credential: its name behind this.
const CREDENTIAL_PREFIX: &str = "sandbox:";

/// Lets through the sandbox's own address, and nothing else.
#[derive(Debug)]
pub(super) struct SandboxOnly(pub(super) SocketAddr);

impl Egress for SandboxOnly {
    fn judge(&self, url: &Url, _: bool) -> Result<(), Denied> {
        let authority = self.0.to_string();
        let is_sandbox = url.scheme() == "http"
            && url.host_str().zip(url.port()).is_some_and(|(host, port)| format!("{host}:{port}") == authority);
        if is_sandbox { Ok(()) } else { Err(denied()) }
    }

    fn may_reach(&self, peer: SocketAddr, _: bool) -> bool {
        peer == self.0
    }

    fn resolver(&self, _: bool) -> Arc<dyn Resolve> {
        Arc::new(Nothing)
    }
}

/// Knows no name.
struct Nothing;

impl Resolve for Nothing {
    fn resolve(&self, _: Name) -> Resolving {
        Box::pin(async { Err(Box::new(denied()) as _) })
    }
}

fn denied() -> Denied {
    Denied("this agent asks the sandbox only; start it without a sandbox to ask other servers".to_owned())
}

/// A credential of every name, which is no secret.
#[derive(Debug)]
pub(super) struct SandboxKeys(pub(super) SocketAddr);

impl Credentials for SandboxKeys {
    fn get(&self, name: &str) -> Result<Option<Credential>, Failure> {
        let is_plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain {
            let message = format!("{name:?} is no name of a credential; use letters, digits, - and _");
            return Err(Failure::new(ErrorClass::Auth, "credential_unknown", message));
        }
        Ok(Some(Credential {
            name: name.to_owned(),
            secret: Secret::new(format!("{CREDENTIAL_PREFIX}{name}")),
            header: "authorization".to_owned(),
            prefix: "Bearer ".to_owned(),
            hosts: vec![self.0.to_string()],
            is_private_allowed: true,
        }))
    }
}

/// The address at the sandbox that stands for a server's: the model servers' own part, or `/http/host/path`.
pub(super) fn stand_in(sandbox: SocketAddr, url: &Url) -> String {
    let query = url.query().map_or(String::new(), |query| format!("?{query}"));
    format!("http://{sandbox}/http/{}{}{query}", url.host_str().unwrap_or_default(), url.path())
}
