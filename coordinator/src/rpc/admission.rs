//! Which member may call what: one layer before all services. What it does not name, only gateways may.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{Either, Ready, ready};
use heddle_trust::Role;
use tonic::Status;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

use super::failure;
use crate::authority::since_epoch;
use crate::counters::Refused;
use crate::entrance::Peer;
use crate::shared::Shared;

/// For those who have no certificate yet.
const JOIN: &str = "/heddle.enrol.v1.Enrol/Join";
/// For all who have one.
const RENEW: &str = "/heddle.enrol.v1.Enrol/Renew";
/// For agents.
const AGENTS: &str = "/heddle.agent.v1.AgentLink/";

/// Lets calls through that their callers may make.
#[derive(Clone)]
pub(crate) struct Admission(pub(crate) Arc<Shared>);

impl<S> Layer<S> for Admission {
    type Service = Admitted<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Admitted { inner, shared: Arc::clone(&self.0) }
    }
}

/// A service that only those reach who may.
#[derive(Clone)]
pub(crate) struct Admitted<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S, B, R> Service<Request<B>> for Admitted<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let peer = request.extensions().get::<Peer>();
        match admit(request.uri().path(), peer, since_epoch().as_secs() as i64) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(refused) => {
                self.shared.counters.refuse(refused, &request.uri().path());
                Either::Right(ready(Ok(status(refused).into_http())))
            }
        }
    }
}

/// Decides by the path of the call and by who calls. A certificate may end while its connection is open.
fn admit(path: &str, peer: Option<&Peer>, now: i64) -> Result<(), Refused> {
    let certified = match peer {
        Some(Peer::Trusted) => return Ok(()),
        _ if path == JOIN => return Ok(()),
        Some(Peer::Newcomer) | None => return Err(Refused::NoCertificate),
        Some(Peer::Member(certified)) => certified,
    };
    if certified.not_after <= now {
        return Err(Refused::CertificateExpired);
    }
    let may = match certified.member.role {
        Role::Agent => path == RENEW || path.starts_with(AGENTS),
        Role::Gateway => path == RENEW || !path.starts_with(AGENTS),
        Role::Coordinator => false,
    };
    may.then_some(()).ok_or(Refused::WrongRole)
}

fn status(refused: Refused) -> Status {
    let (http_status, message) = match refused {
        Refused::NoCertificate => (401, "this call needs a certificate: join with a token first (--join)"),
        Refused::CertificateExpired => {
            (401, "the certificate of this connection has ended: connect again with a new one")
        }
        _ => (403, "the certificate is of another role: agents do work, gateways ask for it, and neither is the other"),
    };
    failure::plain(http_status, refused.as_str(), message)
}

#[cfg(test)]
mod tests {
    use heddle_trust::{Certified, Member};

    use super::*;

    const CONTROL: &str = "/heddle.control.v1.Control/Submit";
    const NEW: &str = "/heddle.whatever.v9.New/Thing";

    fn member(role: Role) -> Peer {
        let member = Member { cluster: "c".into(), role, id: "x".into() };
        Peer::Member(Arc::new(Certified { member, not_before: 0, not_after: 100, key: [0; 32] }))
    }

    #[test]
    fn each_role_reaches_its_own_services_only() {
        let attach = "/heddle.agent.v1.AgentLink/Attach";
        let traces = "/heddle.control.v1.Traces/ReadTrace";
        let store = "/heddle.control.v1.Artifacts/DescribeStore";
        let enrol = "/heddle.enrol.v1.Enrol/JoinMore";
        for (peer, path, expected) in [
            (Peer::Newcomer, JOIN, Ok(())),
            (Peer::Newcomer, RENEW, Err(Refused::NoCertificate)),
            (Peer::Newcomer, attach, Err(Refused::NoCertificate)),
            (Peer::Newcomer, CONTROL, Err(Refused::NoCertificate)),
            (Peer::Newcomer, NEW, Err(Refused::NoCertificate)),
            (Peer::Newcomer, enrol, Err(Refused::NoCertificate)),
            (member(Role::Agent), attach, Ok(())),
            (member(Role::Agent), RENEW, Ok(())),
            (member(Role::Agent), CONTROL, Err(Refused::WrongRole)),
            (member(Role::Agent), traces, Err(Refused::WrongRole)),
            (member(Role::Agent), store, Err(Refused::WrongRole)),
            (member(Role::Agent), NEW, Err(Refused::WrongRole)),
            (member(Role::Gateway), CONTROL, Ok(())),
            (member(Role::Gateway), traces, Ok(())),
            (member(Role::Gateway), store, Ok(())),
            (member(Role::Gateway), NEW, Ok(())),
            (member(Role::Gateway), RENEW, Ok(())),
            (member(Role::Gateway), attach, Err(Refused::WrongRole)),
            (member(Role::Coordinator), CONTROL, Err(Refused::WrongRole)),
            (member(Role::Coordinator), attach, Err(Refused::WrongRole)),
            (Peer::Trusted, attach, Ok(())),
            (Peer::Trusted, CONTROL, Ok(())),
        ] {
            assert_eq!(admit(path, Some(&peer), 99), expected, "{peer:?} {path}");
        }
        assert_eq!(admit(CONTROL, None, 0), Err(Refused::NoCertificate));
    }

    #[test]
    fn a_certificate_ends_though_its_connection_does_not() {
        assert_eq!(admit(CONTROL, Some(&member(Role::Gateway)), 100), Err(Refused::CertificateExpired));
        assert_eq!(admit(RENEW, Some(&member(Role::Agent)), 100), Err(Refused::CertificateExpired));
    }
}
