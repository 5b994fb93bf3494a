//! The way to the coordinator: one method for each thing that a gateway may ask, each with a [`Caller`].

mod batches;
mod explains;
mod history;
mod members;
mod operate;
mod resumes;
mod reviews;
mod signals;
mod stats;
mod streams;
mod tenants;
mod workflows;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use heddle_proto::control::artifacts_client::ArtifactsClient;
use heddle_proto::control::control_client::ControlClient;
use heddle_proto::control::explains_client::ExplainsClient;
use heddle_proto::control::history_client::HistoryClient;
use heddle_proto::control::hooks_client::HooksClient;
use heddle_proto::control::members_client::MembersClient;
use heddle_proto::control::operate_client::OperateClient;
use heddle_proto::control::resumes_client::ResumesClient;
use heddle_proto::control::reviews_client::ReviewsClient;
use heddle_proto::control::signals_client::SignalsClient;
use heddle_proto::control::stats_client::StatsClient;
use heddle_proto::control::streams_client::StreamsClient;
use heddle_proto::control::tenants_client::TenantsClient;
use heddle_proto::control::traces_client::TracesClient;
use heddle_proto::control::workflows_client::WorkflowsClient;
use heddle_proto::control::{
    AdmitUploadRequest, AdmittedUpload, ArtifactInfo, ArtifactRequest, DeletedUpload, DescribeStoreRequest,
    KeepUploadRequest, ListUploadsRequest, StoreDescription, Upload, UploadList, UploadRequest,
};
use heddle_proto::control::{
    AgentList, ApiKey, AuthenticateRequest, CancelRunRequest, CreateKeyRequest, DeletedWorkflow, Diagnosis,
    GetNodeRequest, GetRunRequest, GraphJson, InputList, KeyList, LintRequest, ListAgentsRequest, ListKeysRequest,
    ListNodeTypesRequest, ListRunsRequest, ListWorkflowsRequest, MintedKey, NodeDetail, NodeTypeList, Principal,
    RevokeKeyRequest, RotateKeyRequest, Run, RunList, SaveWorkflowRequest, SavedWorkflow, StatusReply, StatusRequest,
    SubmitReply, SubmitRequest, Trace, TraceRequest, Workflow, WorkflowList, WorkflowRequest,
};
use heddle_proto::limits::{ANSWER_HEADERS_BYTES_MAX, CONTROL_MESSAGE_BYTES_MAX, PROTOCOL_VERSION};
use heddle_trust::Way;
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use crate::artifacts::UploadOwner;
use crate::clock::ClusterClock;
use crate::convert::failure;
use crate::http::auth::{
    Administer, Caller, DescribeInputs, Execute, Operate, ReadArtifacts, ReadExecutions, ReadWorkflows, WriteWorkflows,
};
use crate::http::error::ApiError;
use crate::limits::{
    CALL_TIME_MAX, CALL_WINDOW_BYTES, CALLS_WINDOW_BYTES, CONNECT_TIME_MAX, FOLLOWER_WINDOW_BYTES,
    FOLLOWERS_WINDOW_BYTES, OUTAGE_WAIT_MAX, REPEAT_PAUSE_MAX, REPEAT_PAUSE_MIN, STATUS_TIME_MAX,
};

const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A handle on the coordinator. Connections open when they are needed, and again when they broke.
#[derive(Clone)]
pub(crate) struct Coordinator {
    calls: ControlClient<Channel>,
    /// Followed runs have a connection of their own: clients that read slowly hold up nobody's calls.
    followers: ControlClient<Channel>,
    explains: ExplainsClient<Channel>,
    /// On the same.
    streams: StreamsClient<Channel>,
    traces: TracesClient<Channel>,
    resumes: ResumesClient<Channel>,
    tenants: TenantsClient<Channel>,
    reviews: ReviewsClient<Channel>,
    signals: SignalsClient<Channel>,
    hooks: HooksClient<Channel>,
    stats: StatsClient<Channel>,
    members: MembersClient<Channel>,
    /// On the connection of the followers, for the same reason.
    history: HistoryClient<Channel>,
    operate: OperateClient<Channel>,
    artifacts: ArtifactsClient<Channel>,
    workflows: WorkflowsClient<Channel>,
    /// The time that it tells.
    pub(crate) clock: Arc<ClusterClock>,
}

/// When a call may be sent again, for as long as the coordinator may be away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// Whenever its connection broke: twice is the same as once.
    Always,
    /// When it was certainly not sent: nobody knows whether a call whose connection broke was carried out.
    IfUnsent,
}

impl Repeat {
    fn if_idempotent(has_key: bool) -> Self {
        if has_key { Repeat::Always } else { Repeat::IfUnsent }
    }

    fn allows(self, status: &Status) -> bool {
        match self {
            Repeat::Always => failure::is_connection_lost(status),
            Repeat::IfUnsent => failure::is_unsent(status),
        }
    }
}

impl Coordinator {
    /// Prepares the connections. Nothing is dialled yet.
    pub(crate) fn new(way: &Way) -> Self {
        // The way knows whom to dial.
        let endpoint = Endpoint::from_static("http://coordinator")
            .connect_timeout(CONNECT_TIME_MAX)
            .tcp_nodelay(true)
            // A refusal comes in the trailers.
            .http2_max_header_list_size(ANSWER_HEADERS_BYTES_MAX)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let calls = endpoint
            .clone()
            .initial_stream_window_size(CALL_WINDOW_BYTES)
            .initial_connection_window_size(CALLS_WINDOW_BYTES);
        let followers = endpoint
            .initial_stream_window_size(FOLLOWER_WINDOW_BYTES)
            .initial_connection_window_size(FOLLOWERS_WINDOW_BYTES);
        let calls = calls.connect_with_connector_lazy(way.connector());
        let artifacts = ArtifactsClient::new(calls.clone());
        let explains = ExplainsClient::new(calls.clone());
        let members = MembersClient::new(calls.clone());
        let operate = OperateClient::new(calls.clone()).max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX);
        let traces = TracesClient::new(calls.clone())
            .max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(CONTROL_MESSAGE_BYTES_MAX);
        let resumes = ResumesClient::new(calls.clone())
            .max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(CONTROL_MESSAGE_BYTES_MAX);
        let tenants = TenantsClient::new(calls.clone());
        let stats = StatsClient::new(calls.clone());
        let workflows = WorkflowsClient::new(calls.clone())
            .max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(CONTROL_MESSAGE_BYTES_MAX);
        let reviews = ReviewsClient::new(calls.clone())
            .max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(CONTROL_MESSAGE_BYTES_MAX);
        let (signals, hooks) = (SignalsClient::new(calls.clone()), HooksClient::new(calls.clone()));
        let client = |channel: Channel| {
            ControlClient::new(channel)
                .max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX)
                .max_encoding_message_size(CONTROL_MESSAGE_BYTES_MAX)
        };
        let followers = followers.connect_with_connector_lazy(way.connector());
        let history = HistoryClient::new(followers.clone()).max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX);
        let streams = StreamsClient::new(followers.clone()).max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX);
        let (calls, followers) = (client(calls), client(followers));
        Self {
            calls,
            followers,
            traces,
            resumes,
            tenants,
            reviews,
            signals,
            hooks,
            members,
            artifacts,
            workflows,
            stats,
            history,
            explains,
            operate,
            streams,
            clock: Arc::default(),
        }
    }

    /// `request` without its tenant, which only the caller's key knows.
    pub(crate) async fn trace(
        &self,
        caller: &Caller<ReadExecutions>,
        request: TraceRequest,
    ) -> Result<Trace, ApiError> {
        let request = TraceRequest { tenant: caller.tenant(), ..request };
        let attempt = || {
            let (mut client, mut request) = (self.traces.clone(), Request::new(request.clone()));
            request.set_timeout(CALL_TIME_MAX);
            async move { client.read_trace(request).await }
        };
        persist(Repeat::Always, attempt).await.map(Response::into_inner)
    }

    pub(crate) async fn authenticate(&self, key: &str) -> Result<Principal, ApiError> {
        let request = AuthenticateRequest { key: key.to_owned(), protocol: PROTOCOL_VERSION };
        self.call(request, Repeat::Always, CALL_TIME_MAX, |mut client, request| async move {
            client.authenticate(request).await
        })
        .await
    }

    /// How the coordinator is now, or what stands in the way of an answer.
    pub(crate) async fn look(&self) -> Result<StatusReply, Status> {
        let (mut client, mut request) =
            (self.calls.clone(), Request::new(StatusRequest { protocol: PROTOCOL_VERSION }));
        request.set_timeout(STATUS_TIME_MAX);
        let status = client.status(request).await?.into_inner();
        self.clock.heard(status.now_ms);
        Ok(status)
    }

    /// `request` without its tenant and subject, which only the caller's key knows.
    pub(crate) async fn save_workflow(
        &self,
        caller: &Caller<WriteWorkflows>,
        request: SaveWorkflowRequest,
    ) -> Result<SavedWorkflow, ApiError> {
        let repeat = Repeat::if_idempotent(request.idempotency.is_some());
        let request = SaveWorkflowRequest { tenant: caller.tenant(), subject: caller.subject(), ..request };
        self.call(
            request,
            repeat,
            CALL_TIME_MAX,
            |mut client, request| async move { client.save_workflow(request).await },
        )
        .await
    }

    /// A workflow, with what its nodes gave last.
    pub(crate) async fn workflow(&self, caller: &Caller<ReadWorkflows>, id: String) -> Result<Workflow, ApiError> {
        let request = WorkflowRequest { tenant: caller.tenant(), id, with_cached: true };
        self.call(request, Repeat::Always, CALL_TIME_MAX, |mut client, request| async move {
            client.get_workflow(request).await
        })
        .await
    }

    pub(crate) async fn workflows(
        &self,
        caller: &Caller<ReadWorkflows>,
        request: ListWorkflowsRequest,
    ) -> Result<WorkflowList, ApiError> {
        let request = ListWorkflowsRequest { tenant: caller.tenant(), ..request };
        self.call(request, Repeat::Always, CALL_TIME_MAX, |mut client, request| async move {
            client.list_workflows(request).await
        })
        .await
    }

    pub(crate) async fn delete_workflow(
        &self,
        caller: &Caller<WriteWorkflows>,
        id: String,
    ) -> Result<DeletedWorkflow, ApiError> {
        let request = WorkflowRequest { tenant: caller.tenant(), id, with_cached: false };
        self.call(request, Repeat::IfUnsent, CALL_TIME_MAX, |mut client, request| async move {
            client.delete_workflow(request).await
        })
        .await
    }

    pub(crate) async fn lint(&self, caller: &Caller<ReadWorkflows>, graph: GraphJson) -> Result<Diagnosis, ApiError> {
        let request = LintRequest { tenant: caller.tenant(), graph: Some(graph) };
        self.call(
            request,
            Repeat::Always,
            CALL_TIME_MAX,
            |mut client, request| async move { client.lint(request).await },
        )
        .await
    }

    pub(crate) async fn inputs(&self, caller: &Caller<DescribeInputs>, id: String) -> Result<InputList, ApiError> {
        let request = WorkflowRequest { tenant: caller.tenant(), id, with_cached: false };
        self.call(request, Repeat::Always, CALL_TIME_MAX, |mut client, request| async move {
            client.describe_inputs(request).await
        })
        .await
    }

    /// `request` without its tenant, subject and sandbox mark, which only the caller's key knows.
    pub(crate) async fn submit(
        &self,
        caller: &Caller<Execute>,
        request: SubmitRequest,
    ) -> Result<SubmitReply, ApiError> {
        let repeat = Repeat::if_idempotent(request.idempotency.is_some());
        let request = SubmitRequest {
            tenant: caller.tenant(),
            subject: caller.subject(),
            sandbox: caller.is_sandboxed(),
            ..request
        };
        self.call(request, repeat, CALL_TIME_MAX, |mut client, request| async move { client.submit(request).await })
            .await
    }

    /// `request` without its tenant. Waits as long as it says, if the run is not over.
    pub(crate) async fn run(&self, caller: &Caller<ReadExecutions>, request: GetRunRequest) -> Result<Run, ApiError> {
        let wait = Duration::from_millis(u64::from(request.wait_ms));
        let until = Instant::now() + wait;
        let request = GetRunRequest { tenant: caller.tenant(), ..request };
        self.call(request, Repeat::Always, CALL_TIME_MAX + wait, |mut client, mut request| async move {
            let left = until.saturating_duration_since(Instant::now());
            request.get_mut().wait_ms = u32::try_from(left.as_micros().div_ceil(1_000)).unwrap_or(u32::MAX);
            client.get_run(request).await
        })
        .await
    }

    /// `request` without its tenant.
    pub(crate) async fn node(
        &self,
        caller: &Caller<ReadExecutions>,
        request: GetNodeRequest,
    ) -> Result<NodeDetail, ApiError> {
        let request = GetNodeRequest { tenant: caller.tenant(), ..request };
        self.call(request, Repeat::Always, CALL_TIME_MAX, |mut client, request| async move {
            client.get_node(request).await
        })
        .await
    }

    /// `request` without its tenant.
    pub(crate) async fn runs(
        &self,
        caller: &Caller<ReadExecutions>,
        request: ListRunsRequest,
    ) -> Result<RunList, ApiError> {
        let request = ListRunsRequest { tenant: caller.tenant(), ..request };
        self.call(request, Repeat::Always, CALL_TIME_MAX, |mut client, request| async move {
            client.list_runs(request).await
        })
        .await
    }

    pub(crate) async fn cancel(
        &self,
        caller: &Caller<Execute>,
        execution_id: String,
        reason: String,
    ) -> Result<Run, ApiError> {
        let request = CancelRunRequest { tenant: caller.tenant(), execution_id, subject: caller.subject(), reason };
        // A second cancel of the same run changes nothing.
        self.call(request, Repeat::Always, CALL_TIME_MAX, |mut client, request| async move {
            client.cancel_run(request).await
        })
        .await
    }

    /// All node types, or the one of this id.
    pub(crate) async fn node_types(
        &self,
        caller: &Caller<ReadWorkflows>,
        only: Option<String>,
    ) -> Result<NodeTypeList, ApiError> {
        let request = ListNodeTypesRequest { tenant: caller.tenant(), node_type: only.unwrap_or_default() };
        self.call(request, Repeat::Always, CALL_TIME_MAX, |mut client, request| async move {
            client.list_node_types(request).await
        })
        .await
    }

    pub(crate) async fn agents(&self, caller: &Caller<Operate>) -> Result<AgentList, ApiError> {
        let request = ListAgentsRequest { tenant: caller.tenant() };
        self.call(request, Repeat::Always, CALL_TIME_MAX, |mut client, request| async move {
            client.list_agents(request).await
        })
        .await
    }

    pub(crate) async fn keys(&self, caller: &Caller<Administer>) -> Result<KeyList, ApiError> {
        let request = ListKeysRequest { tenant: caller.tenant() };
        self.call(request, Repeat::Always, CALL_TIME_MAX, |mut client, request| async move {
            client.list_keys(request).await
        })
        .await
    }

    /// `request` without its tenant and what the caller may give on; without a subject it is the caller's.
    pub(crate) async fn create_key(
        &self,
        caller: &Caller<Administer>,
        request: CreateKeyRequest,
    ) -> Result<MintedKey, ApiError> {
        let subject = if request.subject.is_empty() { caller.subject() } else { request.subject };
        let request = CreateKeyRequest { tenant: caller.tenant(), subject, operates: caller.operates(), ..request };
        // Twice would leave a key that nobody has.
        self.call(request, Repeat::IfUnsent, CALL_TIME_MAX, |mut client, request| async move {
            client.create_key(request).await
        })
        .await
    }

    pub(crate) async fn rotate_key(
        &self,
        caller: &Caller<Administer>,
        id: String,
        overlap_ms: u64,
    ) -> Result<MintedKey, ApiError> {
        let request = RotateKeyRequest { tenant: caller.tenant(), id, overlap_ms, operates: caller.operates() };
        self.call(request, Repeat::IfUnsent, CALL_TIME_MAX, |mut client, request| async move {
            client.rotate_key(request).await
        })
        .await
    }

    pub(crate) async fn revoke_key(&self, caller: &Caller<Administer>, id: String) -> Result<ApiKey, ApiError> {
        let request = RevokeKeyRequest { tenant: caller.tenant(), id, operates: caller.operates() };
        self.call(request, Repeat::Always, CALL_TIME_MAX, |mut client, request| async move {
            client.revoke_key(request).await
        })
        .await
    }

    /// Where artifacts are. Asked for no tenant: it is the cluster's.
    pub(crate) async fn store(&self) -> Result<StoreDescription, ApiError> {
        self.ask_artifacts(DescribeStoreRequest {}, Repeat::Always, |mut client, request| async move {
            client.describe_store(request).await
        })
        .await
    }

    pub(crate) async fn artifact(
        &self,
        caller: &Caller<ReadArtifacts>,
        digest: String,
    ) -> Result<ArtifactInfo, ApiError> {
        let request = ArtifactRequest { tenant: caller.tenant(), digest };
        self.ask_artifacts(
            request,
            Repeat::Always,
            |mut client, request| async move { client.get_artifact(request).await },
        )
        .await
    }

    pub(crate) async fn admit_upload(
        &self,
        caller: &Caller<WriteWorkflows>,
        bytes: u64,
    ) -> Result<AdmittedUpload, ApiError> {
        let request = AdmitUploadRequest { tenant: caller.tenant(), bytes };
        self.ask_artifacts(
            request,
            Repeat::Always,
            |mut client, request| async move { client.admit_upload(request).await },
        )
        .await
    }

    /// `request` without its tenant, which the key or the signed address knows. Twice is the same as once.
    pub(crate) async fn keep_upload(
        &self,
        owner: &UploadOwner,
        request: KeepUploadRequest,
    ) -> Result<Upload, ApiError> {
        let request = KeepUploadRequest { tenant: owner.tenant(), ..request };
        self.ask_artifacts(
            request,
            Repeat::Always,
            |mut client, request| async move { client.keep_upload(request).await },
        )
        .await
    }

    pub(crate) async fn upload(&self, caller: &Caller<WriteWorkflows>, id: String) -> Result<Upload, ApiError> {
        let request = UploadRequest { tenant: caller.tenant(), id };
        self.ask_artifacts(
            request,
            Repeat::Always,
            |mut client, request| async move { client.get_upload(request).await },
        )
        .await
    }

    pub(crate) async fn uploads(
        &self,
        caller: &Caller<ReadWorkflows>,
        limit: u32,
        cursor: String,
    ) -> Result<UploadList, ApiError> {
        let request = ListUploadsRequest { tenant: caller.tenant(), limit, cursor };
        self.ask_artifacts(
            request,
            Repeat::Always,
            |mut client, request| async move { client.list_uploads(request).await },
        )
        .await
    }

    pub(crate) async fn delete_upload(&self, caller: &Caller<WriteWorkflows>, id: String) -> Result<(), ApiError> {
        let request = UploadRequest { tenant: caller.tenant(), id };
        let done = self.ask_artifacts(request, Repeat::IfUnsent, |mut client, request| async move {
            client.delete_upload(request).await
        });
        done.await.map(|DeletedUpload {}| ())
    }

    async fn ask_artifacts<Q, A, F, R>(&self, request: Q, repeat: Repeat, call: F) -> Result<A, ApiError>
    where
        Q: Clone,
        F: Fn(ArtifactsClient<Channel>, Request<Q>) -> R,
        R: Future<Output = Result<Response<A>, Status>>,
    {
        let attempt = || {
            let mut request = Request::new(request.clone());
            request.set_timeout(CALL_TIME_MAX);
            call(self.artifacts.clone(), request)
        };
        persist(repeat, attempt).await.map(Response::into_inner)
    }

    async fn call<Q, A, F, R>(&self, request: Q, repeat: Repeat, time_max: Duration, call: F) -> Result<A, ApiError>
    where
        Q: Clone,
        F: Fn(ControlClient<Channel>, Request<Q>) -> R,
        R: Future<Output = Result<Response<A>, Status>>,
    {
        // Payloads in a request are shared bytes: a copy of it costs next to nothing.
        let attempt = || {
            let mut request = Request::new(request.clone());
            request.set_timeout(time_max);
            call(self.calls.clone(), request)
        };
        persist(repeat, attempt).await.map(Response::into_inner)
    }
}

/// Sends a call again while the coordinator is away, so that its restart costs clients a moment and no answer.
async fn persist<A, R>(repeat: Repeat, attempt: impl Fn() -> R) -> Result<A, ApiError>
where
    R: Future<Output = Result<A, Status>>,
{
    let until = Instant::now() + OUTAGE_WAIT_MAX;
    let mut pause = REPEAT_PAUSE_MIN;
    loop {
        let status = match attempt().await {
            Ok(answer) => return Ok(answer),
            Err(status) => status,
        };
        if !repeat.allows(&status) || Instant::now() + pause > until {
            return Err(failure::refused(status));
        }
        sleep(pause).await;
        pause = (pause * 2).min(REPEAT_PAUSE_MAX);
    }
}
