//! Refusals with a stable code, as gRPC statuses whose details a gateway turns into its answer.

use bytes::Bytes;
use heddle_artifacts::StoreError;
use heddle_core::graph::{Migration, Problem, TypeCatalogue, rule};
use heddle_core::id::RunId;
use heddle_core::limits::{INLINE_VALUE_BYTES_MAX, SIGNALS_KEPT_PER_RUN_MAX};
use heddle_core::partition::io::Refusal;
use heddle_core::run::ListenRefusal;
use heddle_error_chain::chain;
use heddle_proto::control as wire;
use heddle_proto::limits::{FAILURE_BYTES_MAX, FAILURE_TEXT_BYTES_MAX};
use heddle_proto::stream_place::{NoPlace, StreamPlace};
use prost::Message as _;
use tonic::{Code, Status};

use crate::artifacts::QuotaExceeded;
use crate::graphs::GraphError;
use crate::journal::{JournalError, RunRow};
use crate::orders::NotTaken;
use crate::read::runs::{self, ReadError};
use crate::retention::Tombstone;
use crate::shared::Shared;

/// What a problem weighs in a message beside its own bytes.
const ENVELOPE_BYTES: usize = 16;

/// Makes a status of a refusal.
pub(crate) fn failure(mut failure: wire::Failure) -> Status {
    fit(&mut failure);
    let code = match failure.http_status {
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 | 410 => Code::NotFound,
        409 => Code::Aborted,
        429 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        500 => Code::Internal,
        _ => Code::InvalidArgument,
    };
    let (message, details) = (failure.message.clone(), Bytes::from(failure.encode_to_vec()));
    Status::with_details(code, message, details)
}

/// Cuts a refusal down to what arrives: long sentences lose their ends, and the last of too many problems are only counted.
fn fit(failure: &mut wire::Failure) {
    shorten(&mut failure.message);
    let Some(diagnosis) = &mut failure.diagnosis else { return };
    for problem in diagnosis.violations.iter_mut().chain(&mut diagnosis.warnings) {
        let wire::Violation { rule: _, message, fix, node_id, edge_id, path } = problem;
        [message, fix, node_id, edge_id, path].into_iter().for_each(shorten);
    }
    let mut left = FAILURE_BYTES_MAX;
    let mut fits = |problem: &wire::Violation| {
        let fits = problem.encoded_len() + ENVELOPE_BYTES <= left;
        left = if fits { left - problem.encoded_len() - ENVELOPE_BYTES } else { 0 };
        fits
    };
    let all = diagnosis.violations.len() + diagnosis.warnings.len();
    diagnosis.violations.retain(&mut fits);
    diagnosis.warnings.retain(&mut fits);
    diagnosis.migrations.retain_mut(|migration| {
        shorten(migration);
        let fits = migration.len() + ENVELOPE_BYTES <= left;
        left = if fits { left - migration.len() - ENVELOPE_BYTES } else { 0 };
        fits
    });
    let more = all - diagnosis.violations.len() - diagnosis.warnings.len();
    if more > 0 {
        let message = format!("There are {more} more problems.");
        let fix = "Put these right first, or ask lint, which lists more.".into();
        let rule = rule::MORE_PROBLEMS.into();
        diagnosis.violations.push(wire::Violation { rule, message, fix, ..Default::default() });
    }
}

fn shorten(text: &mut String) {
    if text.len() > FAILURE_TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(FAILURE_TEXT_BYTES_MAX));
        text.push('…');
    }
}

/// A refusal without more to say than code and sentence.
pub(crate) fn plain(http_status: u32, code: &str, message: impl Into<String>) -> Status {
    failure(wire::Failure { code: code.into(), http_status, message: message.into(), ..Default::default() })
}

pub(crate) fn workflow_not_found() -> Status {
    plain(404, "workflow_not_found", "Workflow not found")
}

/// A type that is asked for by name and that nobody has brought.
pub(crate) fn node_type_not_found(types: &TypeCatalogue, id: &str) -> Status {
    let message = match types.lacks_agents(id) && !types.is_slip(id) {
        true => {
            "no agent has connected yet, and agents bring all types that are not built in; start one (heddle agent \
             --coordinator ADDRESS), or everything at once (heddle up)"
        }
        false => "there is no node type of this name; GET /api/v1/nodes lists them all",
    };
    plain(404, "node_type_not_found", message)
}

pub(crate) fn tenant_not_found() -> Status {
    plain(404, "tenant_not_found", "Tenant not found")
}

pub(crate) fn quota(exceeded: &QuotaExceeded) -> Status {
    plain(402, "artifact_quota_exceeded", exceeded.to_string())
}

pub(crate) fn run_not_found() -> Status {
    plain(404, "execution_not_found", "Execution not found")
}

/// Its time is over, and it was removed.
fn run_expired(stone: &Tombstone) -> Status {
    let status = runs::status(stone.status).as_str_name().trim_start_matches("RUN_STATUS_");
    let message = format!(
        "the run was removed because the time that runs are kept is over: it is {status}, and only this is known of it; export runs \
         that are wanted for longer"
    );
    let removed = wire::RemovedRun {
        id: stone.run.to_string(),
        workflow_id: stone.workflow.to_string(),
        status: runs::status(stone.status).into(),
        started_at_ms: stone.created_at.as_millis(),
        ended_at_ms: stone.ended_at.as_millis(),
        events: stone.events,
        head_hash: stone.head_hash.to_string(),
        removed_at_ms: stone.removed_at.as_millis(),
    };
    let (code, http_status) = ("run_expired".into(), 410);
    failure(wire::Failure { code, http_status, message, removed: Some(removed), ..Default::default() })
}

/// Busy or away: nothing was written, or nobody knows; the same request may be made again.
pub(crate) fn busy(code: &str, message: &str) -> Status {
    let retry_after_seconds = 1;
    failure(wire::Failure {
        code: code.into(),
        http_status: 503,
        message: message.into(),
        retry_after_seconds,
        ..Default::default()
    })
}

/// The coordinator is stopping: the call was not begun. Gateways make it again, and clients hear of it only if no other
/// start comes in time.
pub(crate) fn stopping() -> Status {
    failure(wire::Failure {
        code: "coordinator_unavailable".into(),
        http_status: 503,
        message: "the coordinator is stopping; nothing was done, try again in a moment".into(),
        retry_after_seconds: 1,
        not_begun: true,
        ..Default::default()
    })
}

/// The database takes no commits now: what would only wait for one is turned away before it begins.
pub(crate) fn if_stalled(shared: &Shared) -> Result<(), Status> {
    let Some(reason) = shared.stalled() else { return Ok(()) };
    let message = format!("the database takes no commits now ({reason}); nothing was done, try again");
    Err(busy("database_unavailable", &message))
}

pub(crate) fn refused(refusal: Refusal) -> Status {
    match refusal {
        Refusal::NotFound => run_not_found(),
        Refusal::Overloaded => busy("overloaded", "too much is under way; nothing was started, try again in a moment"),
        Refusal::KeyMismatch => key_mismatch(),
        Refusal::Review(_) => plain(409, "review_decided", "the review takes no decision"),
        Refusal::Listen(why) => not_heard(why),
        Refusal::Quarantined => set_aside(),
        Refusal::Retry => {
            busy("try_again", "it is not known whether this was done; ask again with the same Idempotency-Key")
        }
    }
}

/// A run that was set aside takes nothing any more.
pub(crate) fn if_set_aside(row: &RunRow) -> Result<(), Status> {
    if row.quarantine_reason.is_some() { Err(set_aside()) } else { Ok(()) }
}

fn set_aside() -> Status {
    let message = "the run was set aside, since its history cannot be kept or read: nothing of it runs any more, and it takes \
                   nothing; start another one instead (its error says why, and its data is kept)";
    plain(409, "execution_set_aside", message)
}

/// Why a signal or a call changes nothing.
fn not_heard(why: ListenRefusal) -> Status {
    match why {
        ListenRefusal::UnknownSignal => {
            plain(404, "unknown_signal", "no node of this run waits for signals of this name; look at its graph")
        }
        ListenRefusal::TooManySignals => failure(wire::Failure {
            code: "too_many_signals".into(),
            http_status: 429,
            message: format!(
                "the run keeps {SIGNALS_KEPT_PER_RUN_MAX} signals that no node has taken; send more when it has"
            ),
            retry_after_seconds: 1,
            ..Default::default()
        }),
        ListenRefusal::TooLarge => body_too_large(),
        ListenRefusal::RunOver => {
            plain(409, "execution_over", "the run is over already: nothing takes a signal any more")
        }
        ListenRefusal::HookUsed => plain(409, "hook_used", "this address was called before; it is good for one call"),
        ListenRefusal::HookExpired => plain(
            410,
            "hook_expired",
            "nothing waits for a call of this address any more: its time is over, or its run went on or has ended",
        ),
        ListenRefusal::KeyMismatch => key_mismatch(),
        // Such a one is answered as it was.
        ListenRefusal::Again { .. } => Status::internal("a request that came again was refused"),
    }
}

/// What is said to a run lies in its history.
pub(crate) fn body_too_large() -> Status {
    let message =
        format!("the body has more than {INLINE_VALUE_BYTES_MAX} bytes: upload what is large, and send where it is");
    plain(413, "body_too_large", message)
}

pub(crate) fn key_mismatch() -> Status {
    plain(
        422,
        "idempotency_mismatch",
        "this Idempotency-Key came with another body before; use a new key for a new request",
    )
}

/// The database's absence is a state, not a fault of the request.
pub(crate) fn journal(error: &JournalError) -> Status {
    if let JournalError::Event { .. } | JournalError::NoValue { .. } = error {
        tracing::error!(error = chain(error), "what the database has of a run cannot be read");
        return damaged();
    }
    tracing::error!(error = chain(error), "the database did not do what was asked");
    busy("database_unavailable", "the database does not answer; try again in a moment")
}

/// The artifact store does not do what a request needs.
pub(crate) fn store(error: &StoreError) -> Status {
    tracing::error!(error = chain(error), "the artifact store did not do what a request needs");
    busy(error.code(), "the artifact store cannot be used now; try again, and look into the server's log")
}

/// What became of an operator's order.
pub(crate) fn taken(taken: Result<(), NotTaken>) -> Result<(), Status> {
    taken.map_err(|error| match error {
        NotTaken::Journal(error) => journal(&error),
        NotTaken::GivenUp(error) => {
            tracing::error!(error = chain(&error), "an order was given up");
            busy("try_again", "the coordinator is ending; try again in a moment")
        }
    })
}

/// To try again would not help.
fn damaged() -> Status {
    plain(500, "history_corrupt", "this run's history is damaged; its data is kept, please report it")
}

pub(crate) fn read(error: ReadError) -> Status {
    match error {
        ReadError::NotFound => run_not_found(),
        ReadError::Expired(stone) => run_expired(&stone),
        ReadError::Journal(error) => journal(&error),
        ReadError::Graph(error) => graph(error),
        ReadError::NoEvent(seq) => {
            let message = format!("this run's history has no event {seq}, so nobody was told of it; begin without it");
            plain(400, "invalid_last_event_id", message)
        }
        ReadError::Corrupt(corrupt) => {
            tracing::error!(%corrupt, "a run's history does not follow");
            damaged()
        }
    }
}

pub(crate) fn graph(error: GraphError) -> Status {
    match error {
        GraphError::Invalid(problems) => invalid_graph(problems, Vec::new()),
        GraphError::Journal(error) => journal(&error),
        GraphError::Missing => {
            tracing::error!("a graph that is named is not kept");
            plain(500, "graph_missing", "the graph of this workflow is missing; save it again")
        }
    }
}

/// A graph that cannot be kept or run, with everything that is wrong with it.
pub(crate) fn invalid_graph(problems: Vec<Problem>, warnings: Vec<Problem>) -> Status {
    let code = match problems.as_slice() {
        _ if problems.iter().all(|problem| problem.rule == rule::NOT_SUPPORTED_YET) => "not_supported_yet",
        _ if problems.iter().all(|problem| problem.rule == rule::NODE_TYPE_UNAVAILABLE) => "node_type_unavailable",
        [one] if one.rule == rule::VALUE_TOO_LARGE => "value_too_large",
        _ => "invalid_graph",
    };
    let first = problems.first().map_or("the graph is not valid", |problem| &problem.message);
    let message = match problems.len() {
        0 | 1 => first.to_owned(),
        count => format!("{first} (and {} more)", count - 1),
    };
    let diagnosis = Some(diagnosis(problems, warnings, &[]));
    failure(wire::Failure { code: code.into(), http_status: 422, message, diagnosis, ..Default::default() })
}

/// Inputs that cannot be bound.
pub(crate) fn bad_inputs(problems: Vec<Problem>) -> Status {
    let message = problems.first().map_or_else(String::new, |problem| problem.message.clone());
    let code = match problems.first() {
        Some(problem) if problem.rule == rule::VALUE_TOO_LARGE => "value_too_large",
        _ => "invalid_inputs",
    };
    let diagnosis = Some(diagnosis(problems, Vec::new(), &[]));
    failure(wire::Failure { code: code.into(), http_status: 422, message, diagnosis, ..Default::default() })
}

pub(crate) fn diagnosis(problems: Vec<Problem>, warnings: Vec<Problem>, migrations: &[Migration]) -> wire::Diagnosis {
    wire::Diagnosis {
        ok: problems.is_empty(),
        violations: problems.into_iter().map(violation).collect(),
        warnings: warnings.into_iter().map(violation).collect(),
        migrations: migrations
            .iter()
            .map(|migration| {
                let Migration { rule, node_id, from, to, .. } = migration;
                format!("{rule}: {node_id}: {from} is read as {to}")
            })
            .collect(),
    }
}

fn violation(problem: Problem) -> wire::Violation {
    let text = |text: Option<std::sync::Arc<str>>| text.map_or_else(String::new, |text| text.to_string());
    wire::Violation {
        rule: problem.rule.into(),
        message: problem.message,
        fix: problem.fix,
        node_id: text(problem.node_id),
        edge_id: text(problem.edge_id),
        path: problem.path.unwrap_or_default(),
    }
}

/// A cursor that cannot be read.
pub(crate) fn bad_cursor() -> Status {
    plain(400, "bad_cursor", "the cursor is not one that a list gave; begin without it")
}

/// The place in a stream that a request names, if it names one.
pub(crate) fn place(text: &str) -> Result<Option<StreamPlace>, Status> {
    let parsed = (!text.is_empty()).then(|| text.parse());
    let message = "the place is not one that an event of a stream had; begin without it";
    parsed.transpose().map_err(|NoPlace| plain(400, "invalid_last_event_id", message))
}

/// The run id in a request.
pub(crate) fn run_id(text: &str) -> Result<RunId, Status> {
    text.parse().map_err(|_| run_not_found())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_any_size_is_cut_down_to_what_arrives() {
        let problem = |number: usize| wire::Violation {
            rule: "unknown-node-type".into(),
            message: format!("{number}: {}", "é".repeat(10_000)),
            node_id: format!("n{number}"),
            ..Default::default()
        };
        let diagnosis = wire::Diagnosis { violations: (0..1_000).map(problem).collect(), ..Default::default() };
        let message = "x".repeat(1_000_000);
        let status =
            failure(wire::Failure { message, http_status: 422, diagnosis: Some(diagnosis), ..Default::default() });
        assert!(status.message().len() <= FAILURE_TEXT_BYTES_MAX + 4);
        let slack = 4 * FAILURE_TEXT_BYTES_MAX;
        assert!(status.details().len() <= FAILURE_BYTES_MAX + slack, "{} bytes", status.details().len());
        let told = wire::Failure::decode(status.details()).unwrap().diagnosis.unwrap().violations;
        let (last, others) = told.split_last().unwrap();
        assert!(others.len() > 10 && others[0].message.starts_with("0: é"), "{}", others.len());
        assert_eq!(last.message, format!("There are {} more problems.", 1_000 - others.len()));
        // A small one stays as it is.
        let diagnosis = wire::Diagnosis { violations: vec![wire::Violation::default(); 70], ..Default::default() };
        let small = wire::Failure { code: "invalid_graph".into(), diagnosis: Some(diagnosis), ..Default::default() };
        assert_eq!(wire::Failure::decode(failure(small.clone()).details()).unwrap(), small);
    }
}
