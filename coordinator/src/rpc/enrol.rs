//! The service that gives certificates.

use std::sync::Arc;

use heddle_proto::enrol::enrol_server::Enrol;
use heddle_proto::enrol::{Enrolled, JoinRequest, RenewRequest};
use heddle_trust::{Role, is_id};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::failure;
use crate::authority::{Authority, Denial, Newcomer, SigningRequest, Tokens};
use crate::counters::Refused;
use crate::entrance::Peer;
use crate::limits::JOINS_AT_ONCE_MAX;
use crate::shared::Shared;

/// The service of certificates.
pub(crate) struct EnrolService {
    pub(crate) shared: Arc<Shared>,
    /// Without one the coordinator speaks plaintext, and has nothing to give.
    pub(crate) desk: Option<Desk>,
}

/// What gives certificates.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) authority: Arc<Authority>,
    pub(crate) tokens: Tokens,
    /// Whoever has no certificate yet may ask: only so many at once.
    joins: Arc<Semaphore>,
}

impl Desk {
    pub(crate) fn new(authority: Arc<Authority>, tokens: Tokens) -> Self {
        Self { authority, tokens, joins: Arc::new(Semaphore::new(JOINS_AT_ONCE_MAX)) }
    }
}

impl EnrolService {
    fn desk(&self) -> Result<&Desk, Status> {
        let message = "this coordinator speaks plaintext and gives no certificates: start it with --tls";
        self.desk.as_ref().ok_or_else(|| failure::plain(409, "no_certificates", message))
    }

    fn denied(&self, denial: Denial, who: &str) -> Status {
        let (refused, http_status, message) = match denial {
            Denial::Journal(error) => return failure::journal(&error),
            Denial::Malformed => (Refused::TokenUnknown, 400, "this is no join token; copy it whole".to_owned()),
            Denial::Unknown => (
                Refused::TokenUnknown,
                401,
                "this cluster has no such join token; make one: heddle agents token create".into(),
            ),
            Denial::Used { by } => {
                let message = format!("this join token was used by {by}; each member needs one of its own");
                (Refused::TokenUsed, 409, message)
            }
            Denial::Expired => (Refused::TokenExpired, 401, "this join token has expired; make a new one".into()),
            Denial::Revoked => (Refused::TokenRevoked, 401, "this join token was revoked; make a new one".into()),
            Denial::OtherRole { role } => {
                (Refused::WrongRole, 403, format!("this join token is for a member of role {role}"))
            }
            Denial::IdTaken => {
                let message = format!(
                    "{who} has joined before with another key; put its data folder back, or start with an empty one for a \
                     new id"
                );
                (Refused::IdTaken, 409, message)
            }
        };
        self.shared.counters.refuse(refused, &who);
        failure::plain(http_status, refused.as_str(), message)
    }
}

#[tonic::async_trait]
impl Enrol for EnrolService {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<Enrolled>, Status> {
        let desk = self.desk()?;
        let _permit = desk.joins.try_acquire().map_err(|_| failure::busy("busy", "many are joining; try again"))?;
        failure::if_stalled(&self.shared)?;
        let request = request.into_inner();
        let role = request.role.parse().ok().filter(|role| matches!(role, Role::Agent | Role::Gateway));
        let role = role.ok_or_else(|| failure::plain(400, "bad_request", "role is agent or gateway"))?;
        if !is_id(&request.id) {
            return Err(failure::plain(400, "bad_request", "an id has at most 128 letters, digits, `-`, `_` and `.`"));
        }
        let signing = signing_request(&request.request)?;
        let newcomer = Newcomer { role, id: request.id.as_str().into(), key: signing.fingerprint };
        let redeemed = desk.tokens.redeem(request.token.trim(), &newcomer, self.shared.clock.now()).await;
        let row = redeemed.map_err(|denial| self.denied(denial, &request.id))?;
        tracing::info!(member = request.id, %role, token = %row.id, "joined");
        enrolled(desk, role, &request.id, &signing)
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<Enrolled>, Status> {
        let desk = self.desk()?;
        let Some(Peer::Member(certified)) = request.extensions().get::<Peer>().cloned() else {
            return Err(failure::plain(
                401,
                Refused::NoCertificate.as_str(),
                "only who has a certificate can renew it",
            ));
        };
        let signing = signing_request(&request.into_inner().request)?;
        if signing.fingerprint != certified.key {
            self.shared.counters.refuse(Refused::IdTaken, &certified.member.id);
            return Err(failure::plain(403, "other_key", "a certificate is renewed with the key that it was made for"));
        }
        enrolled(desk, certified.member.role, &certified.member.id, &signing)
    }
}

fn signing_request(der: &[u8]) -> Result<SigningRequest, Status> {
    let message = "request is a signing request (PKCS #10, DER), signed with its own key";
    SigningRequest::read(der).ok_or_else(|| failure::plain(400, "bad_request", message))
}

fn enrolled(desk: &Desk, role: Role, id: &str, signing: &SigningRequest) -> Result<Response<Enrolled>, Status> {
    let certificate = desk.authority.sign(role, id, signing).map_err(|error| {
        tracing::error!(%error, "no certificate could be made");
        failure::plain(500, "not_signed", "the certificate could not be made; the coordinator's log says why")
    })?;
    let authority = desk.authority.certificate().to_vec().into();
    Ok(Response::new(Enrolled { certificate: certificate.into(), authority }))
}
