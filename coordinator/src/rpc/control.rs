//! The service that gateways use: one method per request, each handed to where it is answered.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::Stream;
use heddle_proto::control::control_server::Control;
use heddle_proto::control::{self as wire};
use heddle_proto::limits::{PROTOCOL_VERSION, PROTOCOL_VERSION_MIN};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{batch_requests, failure, key_requests, node_requests, run_requests, workflow_requests};
use crate::auth;
use crate::keys::Keys;
use crate::limits::KEY_CACHE_MS;
use crate::shared::Shared;

/// The control service.
pub(crate) struct ControlService {
    pub(crate) shared: Arc<Shared>,
    pub(crate) keys: Keys,
    /// Cancelled when the coordinator is asked to stop.
    pub(crate) stopping: CancellationToken,
    /// Whether the log has told of a gateway of another protocol.
    pub(crate) mismatch_told: AtomicBool,
}

impl ControlService {
    /// Refuses a gateway of a protocol that this build does not speak, before anything of its requests is read wrongly.
    fn speaks(&self, protocol: u32) -> Result<(), Status> {
        if (PROTOCOL_VERSION_MIN..=PROTOCOL_VERSION).contains(&protocol) {
            return Ok(());
        }
        let message = format!(
            "the coordinator speaks protocol {PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION}, this gateway {protocol}; update \
             the older of the two"
        );
        if !self.mismatch_told.swap(true, Ordering::Relaxed) {
            tracing::error!(message, "a gateway is refused");
        }
        Err(failure::plain(503, "protocol_mismatch", message))
    }
}

#[tonic::async_trait]
impl Control for ControlService {
    async fn authenticate(
        &self,
        request: Request<wire::AuthenticateRequest>,
    ) -> Result<Response<wire::Principal>, Status> {
        let request = request.into_inner();
        self.speaks(request.protocol)?;
        let found = self.keys.find(&request.key).await.map_err(|error| failure::journal(&error))?;
        let row = found.ok_or_else(|| failure::plain(401, "invalid_api_key", "Invalid API key"))?;
        let now = self.shared.clock.now();
        if row.expires_at.is_some_and(|at| at <= now) {
            return Err(failure::plain(401, "api_key_expired", "API key has expired"));
        }
        self.keys.note_use(&row, now);
        Ok(Response::new(wire::Principal {
            tenant: row.tenant.to_string(),
            subject: row.subject.to_string(),
            key_id: row.id.to_string(),
            scopes: row.scopes.iter().map(ToString::to_string).collect(),
            cache_ms: KEY_CACHE_MS,
        }))
    }

    async fn status(&self, request: Request<wire::StatusRequest>) -> Result<Response<wire::StatusReply>, Status> {
        self.speaks(request.into_inner().protocol)?;
        Ok(Response::new(status(&self.shared, self.stopping.is_cancelled())))
    }

    async fn save_workflow(
        &self,
        request: Request<wire::SaveWorkflowRequest>,
    ) -> Result<Response<wire::SavedWorkflow>, Status> {
        workflow_requests::save(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn get_workflow(&self, request: Request<wire::WorkflowRequest>) -> Result<Response<wire::Workflow>, Status> {
        workflow_requests::get(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn list_workflows(
        &self,
        request: Request<wire::ListWorkflowsRequest>,
    ) -> Result<Response<wire::WorkflowList>, Status> {
        workflow_requests::list(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn delete_workflow(
        &self,
        request: Request<wire::WorkflowRequest>,
    ) -> Result<Response<wire::DeletedWorkflow>, Status> {
        workflow_requests::delete(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn lint(&self, request: Request<wire::LintRequest>) -> Result<Response<wire::Diagnosis>, Status> {
        workflow_requests::lint(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn describe_inputs(
        &self,
        request: Request<wire::WorkflowRequest>,
    ) -> Result<Response<wire::InputList>, Status> {
        workflow_requests::describe_inputs(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn submit(&self, request: Request<wire::SubmitRequest>) -> Result<Response<wire::SubmitReply>, Status> {
        run_requests::submit(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn get_run(&self, request: Request<wire::GetRunRequest>) -> Result<Response<wire::Run>, Status> {
        run_requests::get(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn get_node(&self, request: Request<wire::GetNodeRequest>) -> Result<Response<wire::NodeDetail>, Status> {
        node_requests::get(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn list_runs(&self, request: Request<wire::ListRunsRequest>) -> Result<Response<wire::RunList>, Status> {
        run_requests::list(&self.shared, request.into_inner()).await.map(Response::new)
    }

    type ReadEventsStream = Pin<Box<dyn Stream<Item = Result<wire::EventPage, Status>> + Send>>;

    async fn read_events(
        &self,
        request: Request<wire::ReadEventsRequest>,
    ) -> Result<Response<Self::ReadEventsStream>, Status> {
        run_requests::events(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn cancel_run(&self, request: Request<wire::CancelRunRequest>) -> Result<Response<wire::Run>, Status> {
        run_requests::cancel(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn get_batch(&self, request: Request<wire::BatchRequest>) -> Result<Response<wire::Batch>, Status> {
        batch_requests::get(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn cancel_batch(&self, request: Request<wire::CancelBatchRequest>) -> Result<Response<wire::Batch>, Status> {
        batch_requests::cancel(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn list_node_types(
        &self,
        request: Request<wire::ListNodeTypesRequest>,
    ) -> Result<Response<wire::NodeTypeList>, Status> {
        auth::tenant(request.get_ref())?;
        workflow_requests::node_types(&self.shared, &request.get_ref().node_type).map(Response::new)
    }

    async fn list_agents(
        &self,
        request: Request<wire::ListAgentsRequest>,
    ) -> Result<Response<wire::AgentList>, Status> {
        auth::operator(request.get_ref())?;
        let agents = self.shared.sessions.list();
        let agents = agents.into_iter().map(|connected| wire::Agent {
            id: connected.agent.agent.to_string(),
            state: self.shared.agent_state(&connected.agent.agent).into(),
            version: connected.info.version,
            hostname: connected.info.hostname,
            labels: connected.info.labels.into_iter().collect(),
            slots: connected.info.slots,
            busy: self.shared.permits().busy(&connected.agent.agent),
            connected_at_ms: connected.since.as_millis(),
            node_types: connected.info.types.iter().map(ToString::to_string).collect(),
        });
        Ok(Response::new(wire::AgentList { agents: agents.collect() }))
    }

    async fn create_key(&self, request: Request<wire::CreateKeyRequest>) -> Result<Response<wire::MintedKey>, Status> {
        key_requests::create(&self.shared, &self.keys, request.into_inner()).await.map(Response::new)
    }

    async fn list_keys(&self, request: Request<wire::ListKeysRequest>) -> Result<Response<wire::KeyList>, Status> {
        key_requests::list(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn rotate_key(&self, request: Request<wire::RotateKeyRequest>) -> Result<Response<wire::MintedKey>, Status> {
        key_requests::rotate(&self.shared, &self.keys, request.into_inner()).await.map(Response::new)
    }

    async fn revoke_key(&self, request: Request<wire::RevokeKeyRequest>) -> Result<Response<wire::ApiKey>, Status> {
        key_requests::revoke(&self.shared, request.into_inner()).await.map(Response::new)
    }
}

/// Whether it takes requests and why not, and what was done so far.
pub(crate) fn status(shared: &Shared, is_stopping: bool) -> wire::StatusReply {
    let (partitions, loaded) = shared.doors.opened_of();
    let reason = match shared.stalled() {
        _ if is_stopping => "the coordinator is stopping".to_owned(),
        _ if loaded < partitions => format!("{loaded} of {partitions} partitions are loaded"),
        Some(reason) => format!("the database takes no commits: {reason}"),
        None => String::new(),
    };
    let counters = &shared.counters;
    wire::StatusReply {
        ready: reason.is_empty(),
        reason,
        boot_id: shared.owner.boot.0,
        version: env!("CARGO_PKG_VERSION").into(),
        partitions: partitions as u32,
        partitions_loaded: loaded as u32,
        agents: shared.sessions.list().len() as u32,
        database: shared.database.into(),
        protocol: PROTOCOL_VERSION,
        now_ms: u64::try_from(shared.clock.now().as_millis()).unwrap_or_default(),
        counters: Some(wire::Counters {
            commits: counters.commits.get(),
            event_rows: counters.event_rows.get(),
            attempts: counters.attempts.get(),
            zombie_results: counters.zombie_results.get(),
            runs_in_memory: counters.runs_in_memory(),
            orphaned_runs: shared.watchdog.count() as u64,
            foreign_messages: counters.foreign_messages.get(),
            refused_joins: counters
                .refused_joins()
                .filter(|(_, count)| *count > 0)
                .map(|(reason, count)| (reason.to_owned(), count))
                .collect(),
        }),
    }
}
