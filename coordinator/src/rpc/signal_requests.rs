//! Signals and calls: checked against the nodes that would hear them, then brought to their run.

use std::sync::Arc;

use bytes::Bytes;
use heddle_core::graph::{Graph, is_signal_name};
use heddle_core::id::{NodeIx, RunId};
use heddle_core::limits::{INLINE_VALUE_BYTES_MAX, SIGNAL_NAME_BYTES_MAX};
use heddle_core::partition::io::{Input, Refusal, Reply};
use heddle_core::run::event::RequestKey;
use heddle_core::run::{ListenRefusal, RunStatus};
use heddle_core::value::{Digest, Value};
use heddle_proto::control as wire;
use serde_json::Value as Json;
use tonic::Status;

use super::failure;
use crate::auth::{self, Tenant};
use crate::journal::RunRow;
use crate::read::batches;
use crate::read::runs::{self, ReadError};
use crate::reviews::form;
use crate::shared::Shared;

/// Sends a signal to a run.
pub(super) async fn send(shared: &Arc<Shared>, request: wire::SendSignalRequest) -> Result<wire::SentSignal, Status> {
    failure::if_stalled(shared)?;
    let run = failure::run_id(&request.execution_id)?;
    let tenant = auth::tenant(&request)?;
    if !is_signal_name(&request.name) {
        let most = SIGNAL_NAME_BYTES_MAX;
        let message = format!(
            "the name of a signal has 1 to {most} of the characters A-Z, a-z, 0-9, _, . and -, and is not . or .."
        );
        return Err(failure::plain(422, "invalid_signal_name", message));
    }
    let key = request.idempotency.as_ref().map(|given| key(given, &request.name)).transpose()?;
    let said = Said::read(&request.body_json)?;
    let row = match runs::row(shared, &tenant, run).await {
        Err(ReadError::NotFound) => return Err(not_begun(shared, &tenant, run).await),
        row => row.map_err(failure::read)?,
    };
    failure::if_set_aside(&row)?;
    // What is over takes nothing, but may have taken this very request.
    if is_going_on(&row) {
        let graph = runs::graph_of(shared, &row).await.map_err(failure::read)?;
        let hearing: Vec<NodeIx> = graph.hearing(&request.name).collect();
        if hearing.is_empty() {
            return Err(failure::refused(Refusal::Listen(ListenRefusal::UnknownSignal)));
        }
        // Which of them takes it is decided in the run.
        said.fits(&tenant, &graph, &hearing).await?;
    }
    let (name, by) = (Arc::from(request.name.as_str()), request.subject.as_str().into());
    let tenant = tenant.id().clone();
    let ask = |caller| Input::Signal { caller, run, tenant, name, by, body: said.value, key };
    match shared.doors.request(shared.partition_of(run), ask).await {
        Reply::Heard { seq, delivered, replayed } => {
            Ok(wire::SentSignal { execution_id: run.to_string(), name: request.name, seq: seq.0, delivered, replayed })
        }
        Reply::Refused(refusal) => Err(failure::refused(refusal)),
        _ => Err(Status::internal("a signal was answered as something else")),
    }
}

/// Calls the address of a node. Who has the token may do that, whoever it is.
pub(super) async fn call(shared: &Arc<Shared>, request: wire::CallHookRequest) -> Result<wire::CalledHook, Status> {
    // A token that nobody here has made costs nobody anything.
    let (run, instance) = shared.hooks.read(&request.token).ok_or_else(hook_not_found)?;
    failure::if_stalled(shared)?;
    let key = request.idempotency.as_ref().map(|given| self::key(given, &request.token)).transpose()?;
    let said = Said::read(&request.body_json)?;
    let row = match shared.recent.row(run) {
        Some(row) => Some(row),
        None => shared.journal.read_row(run).await.map_err(|error| failure::journal(&error))?,
    };
    let row = row.ok_or_else(hook_not_found)?;
    failure::if_set_aside(&row)?;
    let tenant = Tenant::of_run(&row.created);
    if is_going_on(&row) {
        let graph = runs::graph_of(shared, &row).await.map_err(failure::read)?;
        graph.listen(instance.node).ok_or_else(hook_not_found)?;
        said.fits(&tenant, &graph, &[instance.node]).await?;
    }
    let tenant = tenant.id().clone();
    let ask = |caller| Input::Call { caller, run, tenant, instance, body: said.value, key };
    match shared.doors.request(shared.partition_of(run), ask).await {
        Reply::Heard { replayed, .. } => Ok(wire::CalledHook { replayed }),
        Reply::Refused(Refusal::NotFound) => Err(hook_not_found()),
        Reply::Refused(Refusal::Listen(ListenRefusal::RunOver)) => {
            Err(failure::refused(Refusal::Listen(ListenRefusal::HookExpired)))
        }
        Reply::Refused(refusal) => Err(failure::refused(refusal)),
        _ => Err(Status::internal("a call was answered as something else")),
    }
}

fn is_going_on(row: &RunRow) -> bool {
    row.summary.status == RunStatus::Running
}

fn hook_not_found() -> Status {
    failure::plain(404, "hook_not_found", "Hook not found")
}

/// Why there is no row of a run: there is no run, or its batch has not begun it.
async fn not_begun(shared: &Shared, tenant: &Tenant, run: RunId) -> Status {
    match batches::not_begun(shared, tenant, run).await {
        Ok(_) => failure::plain(409, "execution_not_begun", "the run has not begun: send the signal when it has"),
        Err(error) => failure::read(error),
    }
}

/// By what a request is known when it comes again; keys of different hooks, and of signals of different names, do not meet.
fn key(given: &wire::Idempotency, to: &str) -> Result<RequestKey, Status> {
    let body = <[u8; 32]>::try_from(given.body_hash.as_ref())
        .map_err(|_| failure::plain(400, "bad_request", "the body's hash has 32 bytes"))?;
    let text = [&given.route, to, &given.key].join("\n");
    Ok(RequestKey { key: Digest::of(text.as_bytes()), body: Digest(body) })
}

/// What somebody says.
struct Said {
    value: Value,
    json: Json,
}

impl Said {
    fn read(text: &[u8]) -> Result<Self, Status> {
        let text = match text.trim_ascii() {
            [] => b"null",
            text => text,
        };
        if text.len() > INLINE_VALUE_BYTES_MAX {
            return Err(failure::body_too_large());
        }
        let json =
            serde_json::from_slice(text).map_err(|error| invalid("", format!("the body is no JSON: {error}")))?;
        Ok(Self { value: Value::from_json(Bytes::copy_from_slice(text)), json })
    }

    /// Holds it against the schemas of these nodes.
    async fn fits(&self, tenant: &Tenant, graph: &Graph, nodes: &[NodeIx]) -> Result<(), Status> {
        let schema = |node: &NodeIx| graph.listen(*node).and_then(|listen| listen.schema.clone());
        let fits = form::fits(tenant.id(), nodes.iter().filter_map(schema).collect(), self.json.clone()).await;
        fits.map_err(|misfit| invalid(&misfit.path, misfit.message))
    }
}

fn invalid(path: &str, message: String) -> Status {
    let (code, path) = ("invalid_body".to_owned(), path.to_owned());
    failure::failure(wire::Failure { code, http_status: 422, message, path, ..Default::default() })
}
