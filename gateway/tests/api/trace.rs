use heddle_proto::control::{AttemptEnd, NodeState, Run, RunStatus, TraceAttempt, TraceNode};
use serde_json::json;

use crate::setup::Api;

fn node(id: &str, attempts: Vec<TraceAttempt>) -> TraceNode {
    TraceNode {
        node_id: id.to_owned(),
        node_type: "debug:echo".to_owned(),
        label: "Echo".to_owned(),
        state: NodeState::Running.into(),
        ready_at_ms: Some(1),
        ended_at_ms: None,
        attempts,
    }
}

#[tokio::test]
async fn a_trace_names_agents_and_times() {
    let api = Api::start().await;
    let failed = TraceAttempt {
        number: 1,
        agent_id: "agt_1".to_owned(),
        assigned_at_ms: 2,
        started_at_ms: Some(5),
        ended_at_ms: Some(9),
        end: AttemptEnd::Failed.into(),
        error_code: "because".to_owned(),
    };
    let running = TraceAttempt {
        number: 2,
        agent_id: "agt_2".to_owned(),
        assigned_at_ms: 20,
        end: AttemptEnd::Running.into(),
        ..TraceAttempt::default()
    };
    {
        let mut script = api.fake.script();
        script.run = Run { id: "exec_1".to_owned(), status: RunStatus::Running.into(), ..Run::default() };
        script.trace_nodes = vec![node("n1", vec![failed, running]), node("n2", Vec::new())];
    }
    let answer = api.get("/api/v1/workflows/executions/exec_1/trace?nodesLimit=1").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["traceId"].as_str().unwrap().len(), 32);
    assert_eq!((&answer.body["nodesTotal"], answer.body["nodes"].as_array().unwrap().len()), (&json!(2), 1));
    let shown = &answer.body["nodes"][0];
    assert_eq!((&shown["state"], &shown["readyAt"]), (&json!("RUNNING"), &json!("1970-01-01T00:00:00.001Z")));
    assert_eq!(
        shown["attempts"],
        json!([
            {
                "number": 1, "agent": "agt_1", "assignedAt": "1970-01-01T00:00:00.002Z",
                "startTime": "1970-01-01T00:00:00.005Z", "endTime": "1970-01-01T00:00:00.009Z",
                "outcome": "FAILED", "errorCode": "because", "queuedMs": 3, "workedMs": 4,
            },
            {
                "number": 2, "agent": "agt_2", "assignedAt": "1970-01-01T00:00:00.020Z", "startTime": null,
                "endTime": null, "outcome": "RUNNING", "errorCode": null, "queuedMs": null, "workedMs": null,
            },
        ])
    );
}
