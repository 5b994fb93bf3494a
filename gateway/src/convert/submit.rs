//! Starting runs.

use heddle_proto::control::{self, InputDescription, InputList, SubmitReply};
use serde_json::value::RawValue;

use super::{raw, unreadable};
use crate::dto::submit::{Accepted, Example, Executed, Input, Inputs, StaleDependency, StartedRun};
use crate::dto::time::Time;
use crate::http::error::ApiError;

/// What a run is from its start until it is over.
const RUNNING: &str = "RUNNING";

/// What a run of a batch is until it is started.
const PENDING: &str = "PENDING";

pub(crate) fn executed(reply: &SubmitReply) -> Executed<'_> {
    let started = |id, run_index_in_batch, input_index, status| StartedRun {
        id,
        workflow_id: &reply.workflow_id,
        batch_id: &reply.batch_id,
        run_index_in_batch,
        input_index,
        status,
        error: None,
        start_time: Time(reply.started_at_ms),
        end_time: None,
        node_runs: [],
    };
    let of_batch = reply.runs.iter().map(|run| {
        let status = if run.pending { PENDING } else { RUNNING };
        started(&run.id, run.run_index_in_batch, run.input_index, status)
    });
    let alone = || vec![started(&reply.execution_id, 0, 0, RUNNING)];
    Executed {
        workflow_id: &reply.workflow_id,
        batch_id: &reply.batch_id,
        execution_runs: if reply.runs.is_empty() { alone() } else { of_batch.collect() },
        runs_total: Some(reply.runs_total).filter(|total| *total > 0),
        execution_id: &reply.execution_id,
        status: RUNNING,
        stale_dependencies: reply.stale_dependencies.iter().map(stale).collect(),
    }
}

fn stale(stale: &control::StaleDependency) -> StaleDependency<'_> {
    StaleDependency { node_id: &stale.node_id, changed_keys: &stale.changed_keys }
}

pub(crate) fn accepted(reply: &SubmitReply) -> Accepted<'_> {
    Accepted {
        execution_id: &reply.execution_id,
        workflow_id: &reply.workflow_id,
        batch_id: &reply.batch_id,
        status: RUNNING,
        start_time: Time(reply.started_at_ms),
    }
}

pub(crate) fn inputs(list: &InputList) -> Result<Inputs<'_>, ApiError> {
    let inputs: Vec<Input<'_>> = list.inputs.iter().map(input).collect::<Result<_, _>>()?;
    let example = inputs.iter().map(|input| Ok((input.node_id, example(input)?))).collect::<Result<_, ApiError>>()?;
    Ok(Inputs {
        workflow_id: &list.workflow_id,
        workflow_name: &list.workflow_name,
        endpoint: format!("/api/v1/workflows/{}/run", list.workflow_id),
        method: "POST",
        example: Example { inputs: example },
        inputs,
    })
}

fn input(input: &InputDescription) -> Result<Input<'_>, ApiError> {
    let default = match &*input.default_json {
        b"" => None,
        json => Some(raw(json, "default of an input")?),
    };
    Ok(Input {
        node_id: &input.node_id,
        label: &input.label,
        r#type: &input.r#type,
        required: input.required,
        default,
        description: &input.description,
    })
}

/// The default, or the type's name in angle brackets.
fn example(input: &Input<'_>) -> Result<Box<RawValue>, ApiError> {
    match input.default {
        Some(default) => Ok(default.to_owned()),
        None => {
            serde_json::value::to_raw_value(&format!("<{}>", input.r#type)).map_err(|_| unreadable("type of an input"))
        }
    }
}
