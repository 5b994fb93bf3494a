//! A coordinator that answers what it is told, and remembers what it was asked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::StreamExt;
use futures::stream::BoxStream;
use heddle_proto::control::control_server::{Control, ControlServer};
use heddle_proto::control::hooks_server::{Hooks, HooksServer};
use heddle_proto::control::members_server::{Members, MembersServer};
use heddle_proto::control::resumes_server::{Resumes, ResumesServer};
use heddle_proto::control::reviews_server::{Reviews, ReviewsServer};
use heddle_proto::control::signals_server::{Signals, SignalsServer};
use heddle_proto::control::workflows_server::WorkflowsServer;
use heddle_proto::control::*;
use heddle_proto::limits::{CONTROL_MESSAGE_BYTES_MAX, PROTOCOL_VERSION};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};

fn page(events: Vec<Event>) -> EventPage {
    EventPage { events, is_until: false }
}

pub(crate) const BOOT_ID: u64 = 0x0123_4567_89ab_cdef;

/// What the coordinator will say, and what it heard.
#[derive(Default)]
pub(crate) struct Script {
    /// By method: the next call fails so.
    pub(crate) failures: HashMap<&'static str, Failure>,
    /// By method: the next call fails as if the connection had broken.
    pub(crate) breaks: HashMap<&'static str, u32>,
    pub(crate) principal: Principal,
    pub(crate) not_ready: Option<String>,
    /// Every status request is refused with this.
    pub(crate) refuses_status: Option<Failure>,
    /// Instead of the one that it speaks.
    pub(crate) protocol: Option<u32>,
    pub(crate) workflow: Workflow,
    pub(crate) diagnosis: Diagnosis,
    pub(crate) created: bool,
    pub(crate) replayed: bool,
    pub(crate) inputs: InputList,
    pub(crate) run: Run,
    /// What a batch has started.
    pub(crate) started: Vec<StartedRun>,
    pub(crate) batch: Batch,
    /// A poll that waits gets no answer until the run is over.
    pub(crate) holds_polls: bool,
    /// A submit gets no answer at all.
    pub(crate) holds_submits: bool,
    pub(crate) run_list: RunList,
    pub(crate) events: Vec<Event>,
    /// What comes of a run after `events`, once this says so; then the stream goes on for ever.
    pub(crate) later: Option<(watch::Receiver<bool>, Vec<Event>)>,
    /// The first stream breaks after this many events.
    pub(crate) breaks_after: Option<usize>,
    pub(crate) node_types: NodeTypeList,
    pub(crate) agents: AgentList,
    pub(crate) key: ApiKey,
    pub(crate) review: Review,

    pub(crate) authentications: u32,
    pub(crate) saves: Vec<SaveWorkflowRequest>,
    pub(crate) lints: Vec<LintRequest>,
    pub(crate) submits: Vec<SubmitRequest>,
    pub(crate) gets: Vec<GetRunRequest>,
    pub(crate) node: NodeDetail,
    pub(crate) node_gets: Vec<GetNodeRequest>,
    pub(crate) lists: Vec<ListRunsRequest>,
    pub(crate) workflow_lists: Vec<ListWorkflowsRequest>,
    pub(crate) reads: Vec<ReadEventsRequest>,
    pub(crate) cancels: Vec<CancelRunRequest>,
    pub(crate) key_creations: Vec<CreateKeyRequest>,
    pub(crate) key_rotations: Vec<RotateKeyRequest>,
    pub(crate) key_revocations: Vec<RevokeKeyRequest>,
    pub(crate) token_creations: Vec<CreateJoinTokenRequest>,
    pub(crate) drains: Vec<DrainAgentRequest>,
    pub(crate) version: Version,
    pub(crate) difference: VersionDifference,
    pub(crate) patched: PatchedNode,
    pub(crate) layout: Layout,
    pub(crate) version_lists: Vec<ListVersionsRequest>,
    pub(crate) restores: Vec<RestoreVersionRequest>,
    pub(crate) comparisons: Vec<CompareVersionsRequest>,
    pub(crate) patches: Vec<PatchNodeRequest>,
    pub(crate) copies: Vec<DuplicateWorkflowRequest>,
    pub(crate) layouts: Vec<LayOutRequest>,
    pub(crate) stale: Vec<StaleDependency>,
    pub(crate) resumes: Vec<ResumeRequest>,
    pub(crate) plan: ResumePlan,
    pub(crate) plans: Vec<ResumeRequest>,
    pub(crate) lineage: Lineage,
    pub(crate) lineages: Vec<LineageRequest>,
    pub(crate) review_lists: Vec<ListReviewsRequest>,
    pub(crate) decisions: Vec<DecideReviewRequest>,
    pub(crate) delivered: bool,
    pub(crate) signals: Vec<SendSignalRequest>,
    pub(crate) hook_calls: Vec<CallHookRequest>,
}

#[derive(Clone, Default)]
pub(crate) struct Fake {
    script: Arc<Mutex<Script>>,
    /// Told when a call is held.
    pub(crate) held: Arc<Notify>,
}

impl Fake {
    /// Starts it on a free port.
    pub(crate) async fn start() -> (Self, SocketAddr) {
        let fake = Self::default();
        let scopes = ["workflows:read", "workflows:write", "workflows:execute", "executions:read", "admin", "operate"];
        fake.script().principal = Principal {
            tenant: "ten_a".to_owned(),
            subject: "ada".to_owned(),
            key_id: "key_1".to_owned(),
            scopes: scopes.map(str::to_owned).to_vec(),
            cache_ms: 1_000,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = ControlServer::new(fake.clone()).max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX);
        let workflows = WorkflowsServer::new(fake.clone()).max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX);
        let server = tonic::transport::Server::builder()
            .add_service(service)
            .add_service(ResumesServer::new(fake.clone()))
            .add_service(ReviewsServer::new(fake.clone()))
            .add_service(MembersServer::new(fake.clone()))
            .add_service(SignalsServer::new(fake.clone()))
            .add_service(HooksServer::new(fake.clone()))
            .add_service(workflows);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (fake, address)
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    pub(super) fn refusal(&self, method: &'static str) -> Result<(), Status> {
        let mut script = self.script();
        if let Some(left) = script.breaks.get_mut(method).filter(|left| **left > 0) {
            *left -= 1;
            return Err(Status::unavailable("broken"));
        }
        match script.failures.remove(method) {
            Some(failure) => {
                Err(Status::with_details(Code::FailedPrecondition, "refused", failure.encode_to_vec().into()))
            }
            None => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl Control for Fake {
    async fn authenticate(&self, _: Request<AuthenticateRequest>) -> Result<Response<Principal>, Status> {
        self.script().authentications += 1;
        self.refusal("authenticate")?;
        Ok(Response::new(self.script().principal.clone()))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        self.refusal("status")?;
        if let Some(failure) = &self.script().refuses_status {
            return Err(Status::with_details(Code::Unavailable, "refused", failure.encode_to_vec().into()));
        }
        let reason = self.script().not_ready.clone();
        Ok(Response::new(StatusReply {
            ready: reason.is_none(),
            reason: reason.unwrap_or_default(),
            boot_id: BOOT_ID,
            database: "sqlite".to_owned(),
            protocol: self.script().protocol.unwrap_or(PROTOCOL_VERSION),
            counters: Some(Counters { commits: 3, event_rows: 40, ..Counters::default() }),
            ..StatusReply::default()
        }))
    }

    async fn save_workflow(&self, request: Request<SaveWorkflowRequest>) -> Result<Response<SavedWorkflow>, Status> {
        self.script().saves.push(request.into_inner());
        self.refusal("save_workflow")?;
        let script = self.script();
        Ok(Response::new(SavedWorkflow {
            workflow: Some(script.workflow.clone()),
            diagnosis: Some(script.diagnosis.clone()),
            created: script.created,
            replayed: script.replayed,
        }))
    }

    async fn get_workflow(&self, _: Request<WorkflowRequest>) -> Result<Response<Workflow>, Status> {
        self.refusal("get_workflow")?;
        Ok(Response::new(self.script().workflow.clone()))
    }

    async fn list_workflows(&self, request: Request<ListWorkflowsRequest>) -> Result<Response<WorkflowList>, Status> {
        self.refusal("list_workflows")?;
        let (request, mut script) = (request.into_inner(), self.script());
        // One page and a last one.
        let next_cursor = if request.cursor.is_empty() { "7-wf_1".to_owned() } else { String::new() };
        script.workflow_lists.push(request);
        Ok(Response::new(WorkflowList { workflows: vec![script.workflow.clone()], next_cursor }))
    }

    async fn delete_workflow(&self, _: Request<WorkflowRequest>) -> Result<Response<DeletedWorkflow>, Status> {
        self.refusal("delete_workflow")?;
        Ok(Response::new(DeletedWorkflow {}))
    }

    async fn lint(&self, request: Request<LintRequest>) -> Result<Response<Diagnosis>, Status> {
        self.script().lints.push(request.into_inner());
        self.refusal("lint")?;
        Ok(Response::new(self.script().diagnosis.clone()))
    }

    async fn describe_inputs(&self, _: Request<WorkflowRequest>) -> Result<Response<InputList>, Status> {
        self.refusal("describe_inputs")?;
        Ok(Response::new(self.script().inputs.clone()))
    }

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitReply>, Status> {
        let request = request.into_inner();
        self.script().submits.push(request.clone());
        self.refusal("submit")?;
        let is_held = self.script().holds_submits;
        if is_held {
            self.held.notify_one();
            std::future::pending::<()>().await;
        }
        let script = self.script();
        Ok(Response::new(SubmitReply {
            execution_id: "exec_1".to_owned(),
            workflow_id: request.workflow_id,
            batch_id: "batch_1".to_owned(),
            started_at_ms: 1_777_712_400_007,
            replayed: script.replayed,
            runs_total: script.started.len() as u32,
            runs: script.started.clone(),
            stale_dependencies: script.stale.clone(),
        }))
    }

    async fn get_batch(&self, _: Request<BatchRequest>) -> Result<Response<Batch>, Status> {
        self.refusal("get_batch")?;
        Ok(Response::new(self.script().batch.clone()))
    }

    async fn cancel_batch(&self, _: Request<CancelBatchRequest>) -> Result<Response<Batch>, Status> {
        self.refusal("cancel_batch")?;
        Ok(Response::new(self.script().batch.clone()))
    }

    async fn get_run(&self, request: Request<GetRunRequest>) -> Result<Response<Run>, Status> {
        let request = request.into_inner();
        let is_held = self.script().holds_polls && request.wait_ms > 0;
        self.script().gets.push(request);
        self.refusal("get_run")?;
        if is_held {
            self.held.notify_one();
            std::future::pending::<()>().await;
        }
        Ok(Response::new(self.script().run.clone()))
    }

    async fn get_node(&self, request: Request<GetNodeRequest>) -> Result<Response<NodeDetail>, Status> {
        self.script().node_gets.push(request.into_inner());
        self.refusal("get_node")?;
        Ok(Response::new(self.script().node.clone()))
    }

    async fn list_runs(&self, request: Request<ListRunsRequest>) -> Result<Response<RunList>, Status> {
        self.script().lists.push(request.into_inner());
        self.refusal("list_runs")?;
        Ok(Response::new(self.script().run_list.clone()))
    }

    type ReadEventsStream = BoxStream<'static, Result<EventPage, Status>>;

    async fn read_events(
        &self,
        request: Request<ReadEventsRequest>,
    ) -> Result<Response<Self::ReadEventsStream>, Status> {
        let request = request.into_inner();
        self.refusal("read_events")?;
        let mut script = self.script();
        let mut pages: Vec<_> = script
            .events
            .iter()
            .filter(|event| event.seq == 0 || event.seq > request.after_seq)
            .map(|event| Ok(page(vec![event.clone()])))
            .collect();
        if !request.until_place.is_empty() {
            pages.retain(|page| page.as_ref().is_ok_and(|page| page.events[0].place == request.until_place));
            pages.push(Ok(EventPage { is_until: true, ..EventPage::default() }));
        }
        if let Some(count) = script.breaks_after.take() {
            pages.truncate(count);
            pages.push(Err(Status::unavailable("broken")));
        }
        let later = script.later.clone().filter(|_| request.until_place.is_empty());
        script.reads.push(request);
        let pages = futures::stream::iter(pages);
        let Some((mut released, events)) = later else { return Ok(Response::new(pages.boxed())) };
        let later = futures::stream::once(async move {
            released.wait_for(|is| *is).await.unwrap();
            Ok(page(events))
        });
        Ok(Response::new(pages.chain(later).chain(futures::stream::pending()).boxed()))
    }

    async fn cancel_run(&self, request: Request<CancelRunRequest>) -> Result<Response<Run>, Status> {
        self.script().cancels.push(request.into_inner());
        self.refusal("cancel_run")?;
        Ok(Response::new(self.script().run.clone()))
    }

    async fn list_node_types(&self, _: Request<ListNodeTypesRequest>) -> Result<Response<NodeTypeList>, Status> {
        self.refusal("list_node_types")?;
        Ok(Response::new(self.script().node_types.clone()))
    }

    async fn list_agents(&self, _: Request<ListAgentsRequest>) -> Result<Response<AgentList>, Status> {
        self.refusal("list_agents")?;
        Ok(Response::new(self.script().agents.clone()))
    }

    async fn create_key(&self, request: Request<CreateKeyRequest>) -> Result<Response<MintedKey>, Status> {
        self.script().key_creations.push(request.into_inner());
        self.refusal("create_key")?;
        Ok(Response::new(MintedKey { text: "sk-new".to_owned(), key: Some(self.script().key.clone()) }))
    }

    async fn list_keys(&self, _: Request<ListKeysRequest>) -> Result<Response<KeyList>, Status> {
        self.refusal("list_keys")?;
        Ok(Response::new(KeyList { keys: vec![self.script().key.clone()] }))
    }

    async fn rotate_key(&self, request: Request<RotateKeyRequest>) -> Result<Response<MintedKey>, Status> {
        self.script().key_rotations.push(request.into_inner());
        self.refusal("rotate_key")?;
        Ok(Response::new(MintedKey { text: "sk-new".to_owned(), key: Some(self.script().key.clone()) }))
    }

    async fn revoke_key(&self, request: Request<RevokeKeyRequest>) -> Result<Response<ApiKey>, Status> {
        self.script().key_revocations.push(request.into_inner());
        self.refusal("revoke_key")?;
        Ok(Response::new(self.script().key.clone()))
    }
}

#[tonic::async_trait]
impl Resumes for Fake {
    async fn resume(&self, request: Request<ResumeRequest>) -> Result<Response<ResumeReply>, Status> {
        let request = request.into_inner();
        self.script().resumes.push(request.clone());
        self.refusal("resume")?;
        let run = SubmitReply {
            execution_id: "exec_2".to_owned(),
            workflow_id: "wf_1".to_owned(),
            started_at_ms: 1_777_712_400_007,
            replayed: self.script().replayed,
            ..SubmitReply::default()
        };
        let lineage_id = "exec_0".to_owned();
        Ok(Response::new(ResumeReply { run: Some(run), parent_execution_id: request.execution_id, lineage_id }))
    }

    async fn plan_resume(&self, request: Request<ResumeRequest>) -> Result<Response<ResumePlan>, Status> {
        self.script().plans.push(request.into_inner());
        self.refusal("plan_resume")?;
        Ok(Response::new(self.script().plan.clone()))
    }

    async fn read_lineage(&self, request: Request<LineageRequest>) -> Result<Response<Lineage>, Status> {
        self.script().lineages.push(request.into_inner());
        self.refusal("read_lineage")?;
        Ok(Response::new(self.script().lineage.clone()))
    }
}

#[tonic::async_trait]
impl Reviews for Fake {
    async fn list_reviews(&self, request: Request<ListReviewsRequest>) -> Result<Response<ReviewList>, Status> {
        self.refusal("list_reviews")?;
        let (request, mut script) = (request.into_inner(), self.script());
        // One page and a last one.
        let next_cursor = if request.cursor.is_empty() { "7-rev_1".to_owned() } else { String::new() };
        script.review_lists.push(request);
        Ok(Response::new(ReviewList { reviews: script.review.head.clone().into_iter().collect(), next_cursor }))
    }

    async fn get_review(&self, _: Request<ReviewRequest>) -> Result<Response<Review>, Status> {
        self.refusal("get_review")?;
        Ok(Response::new(self.script().review.clone()))
    }

    async fn decide_review(&self, request: Request<DecideReviewRequest>) -> Result<Response<DecidedReview>, Status> {
        self.script().decisions.push(request.into_inner());
        self.refusal("decide_review")?;
        let script = self.script();
        Ok(Response::new(DecidedReview { review: Some(script.review.clone()), replayed: script.replayed }))
    }
}

#[tonic::async_trait]
impl Signals for Fake {
    async fn send_signal(&self, request: Request<SendSignalRequest>) -> Result<Response<SentSignal>, Status> {
        let request = request.into_inner();
        self.script().signals.push(request.clone());
        self.refusal("send_signal")?;
        let script = self.script();
        let SendSignalRequest { execution_id, name, .. } = request;
        let (delivered, replayed) = (script.delivered, script.replayed);
        Ok(Response::new(SentSignal { execution_id, name, seq: 12, delivered, replayed }))
    }
}

#[tonic::async_trait]
impl Hooks for Fake {
    async fn call_hook(&self, request: Request<CallHookRequest>) -> Result<Response<CalledHook>, Status> {
        self.script().hook_calls.push(request.into_inner());
        self.refusal("call_hook")?;
        Ok(Response::new(CalledHook { replayed: self.script().replayed }))
    }
}

fn join_token() -> JoinToken {
    JoinToken { id: "jtk_1".to_owned(), role: "agent".to_owned(), subject: "ada".to_owned(), ..JoinToken::default() }
}

#[tonic::async_trait]
impl Members for Fake {
    async fn create_join_token(
        &self,
        request: Request<CreateJoinTokenRequest>,
    ) -> Result<Response<MintedJoinToken>, Status> {
        self.script().token_creations.push(request.into_inner());
        self.refusal("create_join_token")?;
        Ok(Response::new(MintedJoinToken { text: "hjt_new".to_owned(), token: Some(join_token()) }))
    }

    async fn list_join_tokens(&self, _: Request<ListJoinTokensRequest>) -> Result<Response<JoinTokenList>, Status> {
        self.refusal("list_join_tokens")?;
        let used = JoinToken { used_at_ms: Some(7), used_by: "agt_1".to_owned(), ..join_token() };
        Ok(Response::new(JoinTokenList { tokens: vec![used] }))
    }

    async fn revoke_join_token(&self, _: Request<RevokeJoinTokenRequest>) -> Result<Response<JoinToken>, Status> {
        self.refusal("revoke_join_token")?;
        Ok(Response::new(JoinToken { revoked_at_ms: Some(7), ..join_token() }))
    }

    async fn drain_agent(&self, request: Request<DrainAgentRequest>) -> Result<Response<DrainedAgent>, Status> {
        let request = request.into_inner();
        let state = if request.resume { "connected" } else { "draining" }.to_owned();
        let agent = DrainedAgent { id: request.agent_id.clone(), state, busy: 2 };
        self.script().drains.push(request);
        self.refusal("drain_agent")?;
        Ok(Response::new(agent))
    }
}
