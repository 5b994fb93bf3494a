use std::time::Duration;

use heddle_proto::control::{
    AttemptRun, Batch, BatchCounts, InputDescription, InputList, Items, Node, NodeDetail, NodeInstance, NodeKind,
    NodeState, PortValue, Run, RunError, RunStatus, StartedRun, WaitingOn,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::setup::{Api, answer};

const EXECUTE: &str = "/api/v1/workflows/wf_1/execute";

fn stored() -> Run {
    let done = |id: &str, node_type: &str, json: &'static str| Node {
        node_id: id.to_owned(),
        node_type: node_type.to_owned(),
        label: "Render".to_owned(),
        state: NodeState::Completed.into(),
        outputs: vec![PortValue { port: "images".to_owned(), value_json: json.into(), ..PortValue::default() }],
        attempts: 1,
        agent_id: "agt_1".to_owned(),
        started_at_ms: Some(0),
        ended_at_ms: Some(1),
        progress: 1.0,
        terminal: true,
        ..Node::default()
    };
    Run {
        id: "exec_1".to_owned(),
        workflow_id: "wf_1".to_owned(),
        batch_id: "batch_1".to_owned(),
        status: RunStatus::Completed.into(),
        started_at_ms: 0,
        ended_at_ms: Some(5),
        seq: 9,
        nodes: vec![done("n1", "output:preview", r#"[{"url":"https://x/a.png", "bytes":1.0}]"#)],
        nodes_total: 1,
        progress: 1.0,
        ..Run::default()
    }
}

async fn api() -> Api {
    let api = Api::start().await;
    api.fake.script().run = stored();
    api
}

#[tokio::test]
async fn fields_that_may_have_been_meant_otherwise_are_warned_of() {
    let api = api().await;
    for (path, body, field) in [
        (EXECUTE, r#"{"iteratorConfig":[{"nodeId":"a","values":[1]}]}"#, "/iteratorConfig"),
        ("/api/v1/workflows/wf_1/run", r#"{"inputs":{},"iteratorConfigs":[{"nodeId":"a"}]}"#, "/iteratorConfigs"),
        ("/api/v1/workflows/wf_1/run", r#"{"input":{"a":1}}"#, "/input"),
    ] {
        let answer = api.post(path, body).await;
        assert!(matches!(answer.status, 201 | 202), "{}", answer.text);
        let diagnostic = &answer.body["diagnostics"]["diagnostics"][0];
        assert_eq!(diagnostic["target"]["path"], field, "{}", answer.text);
        assert_eq!(answer.body["meta"]["warnings"][0], diagnostic["message"]);
    }
    let answer = api.post(EXECUTE, r#"{"inputs":{},"viewport":{"x":1},"name":"mine"}"#).await;
    assert_eq!((&answer.body["meta"], answer.status), (&Value::Null, 201), "what else clients send is ignored");
}

#[tokio::test]
async fn execute_takes_all_three_forms() {
    let api = api().await;
    let nodes = r#"[{"id":"n1", "x":1.0}]"#;
    let body = format!(
        r#"{{"nodes":{nodes},"edges":[],"targetNodeId":"n1","triggerData":{{"t":1.0}},"force":true,"inputs":{{"a":"b"}},"iteratorConfigs":[]}}"#
    );
    let executed = api.post(EXECUTE, &body).await;
    assert_eq!(executed.status, 201, "{}", executed.text);
    executed.check_envelope();
    assert_eq!(executed.header("location"), "/api/v1/workflows/executions/exec_1");
    let expected = json!({
        "workflowId": "wf_1", "batchId": "batch_1", "executionId": "exec_1", "status": "RUNNING", "staleDependencies": [],
        "executionRuns": [{"id": "exec_1", "workflowId": "wf_1", "batchId": "batch_1", "runIndexInBatch": 0,
            "inputIndex": 0, "status": "RUNNING", "error": null, "startTime": "2026-05-02T09:00:00.007Z",
            "endTime": null, "nodeRuns": []}],
    });
    assert_eq!(executed.body["data"], expected);
    let submit = api.fake.script().submits.pop().unwrap();
    assert_eq!(&*submit.graph.unwrap().nodes, nodes.as_bytes());
    assert_eq!((submit.target_node_id.as_str(), submit.workflow_id.as_str()), ("n1", "wf_1"));
    assert_eq!((&*submit.inputs_json, &*submit.trigger_data_json), (&br#"{"a":"b"}"#[..], &br#"{"t":1.0}"#[..]));
    assert_eq!(submit.idempotency, None);

    for body in ["{}", "", r#"{"inputs":{"n1":"sea"}}"#] {
        assert_eq!(api.post(EXECUTE, body).await.status, 201, "{body}");
        assert_eq!(api.fake.script().submits.pop().unwrap().graph, None);
    }
}

#[tokio::test]
async fn lists_to_iterate_over_go_on_as_they_are() {
    let api = api().await;
    let lists = r#"[{"nodeId":"a", "values":[1.50,null]}]"#;
    let run = |index: u32, pending| StartedRun {
        id: format!("exec_{index}"),
        run_index_in_batch: index,
        input_index: index,
        pending,
    };
    api.fake.script().started = vec![run(0, false), run(1, true)];
    let executed = api.post(EXECUTE, &format!(r#"{{"iteratorConfigs":{lists}}}"#)).await;
    assert_eq!(executed.status, 201, "{}", executed.text);
    let submit = api.fake.script().submits.pop().unwrap();
    assert_eq!(&*submit.iterator_configs_json, lists.as_bytes());
    assert_eq!(executed.body["runsTotal"], 2);
    let runs: Vec<_> = executed.body["executionRuns"].as_array().unwrap().iter().collect();
    let shown = |run: &Value| (run["id"].clone(), run["runIndexInBatch"].clone(), run["status"].clone());
    assert_eq!(shown(runs[0]), (json!("exec_0"), json!(0), json!("RUNNING")));
    assert_eq!(shown(runs[1]), (json!("exec_1"), json!(1), json!("PENDING")));
    // Nothing to iterate over is one run.
    assert_eq!(api.post(EXECUTE, r#"{"iteratorConfigs":[ ]}"#).await.status, 201);
    assert!(api.fake.script().submits.pop().unwrap().iterator_configs_json.is_empty());
}

#[tokio::test]
async fn a_batch_is_shown_and_cancelled() {
    let api = api().await;
    let counts = BatchCounts { pending: 1, completed: 1, ..BatchCounts::default() };
    api.fake.script().batch = Batch {
        id: "b1".to_owned(),
        workflow_id: "wf_1".to_owned(),
        status: RunStatus::Running.into(),
        total: 2,
        counts: Some(counts),
        runs: vec![Run { run_index_in_batch: 0, ..stored() }],
        next_offset: Some(1),
        ..Batch::default()
    };
    let batch = api.get("/api/v1/batches/b1?offset=0&limit=1").await;
    assert_eq!(batch.status, 200, "{}", batch.text);
    batch.check_envelope();
    assert_eq!((&batch.body["status"], &batch.body["nextOffset"]), (&json!("RUNNING"), &json!(1)));
    assert_eq!(batch.body["counts"]["pending"], 1);
    assert_eq!(batch.body["executionRuns"][0]["finalOutput"]["url"], "https://x/a.png");
    let cancelled = api.post("/api/v1/batches/b1/cancel", "{}").await;
    assert_eq!((cancelled.status, &cancelled.body["id"]), (200, &json!("b1")));
    api.post("/api/v1/batches/b1/cancel", r#"{"when":"now"}"#).await.check_refusal(400, "unknown_field");
    api.get("/api/v1/batches/b1?outputs=some").await.check_refusal(400, "invalid_parameter");
    api.refuse("get_batch", 404, "batch_not_found");
    api.get("/api/v1/batches/b1").await.check_refusal(404, "batch_not_found");
}

#[tokio::test]
async fn execute_refuses_what_it_cannot_do() {
    let api = api().await;
    for (body, status, code) in [
        (r#"{"nodes":[{"id":"a"}]}"#, 400, "missing_fields"),
        (r#"{"edges":[]}"#, 400, "missing_fields"),
        (r#"{"nodes":[],"edges":[]}"#, 400, "empty_graph"),
        (r#"{"triggerData":[]}"#, 400, "invalid_field"),
        (r#"{"force":1}"#, 400, "invalid_field"),
        (r#"{"targetNodeId":7}"#, 400, "invalid_field"),
        (r#"{"iteratorConfigs":"all"}"#, 400, "invalid_field"),
        (r#"{"iteratorConfigs":{"nodeId":"a","values":[1]}}"#, 400, "invalid_field"),
        (r#"{"only":"a","targetNodeId":"a"}"#, 400, "invalid_field"),
        (r#"{"fromExecutionId":7}"#, 400, "invalid_field"),
    ] {
        api.post(EXECUTE, body).await.check_refusal(status, code);
    }
    assert!(api.fake.script().submits.is_empty());
}

#[tokio::test]
async fn repeated_requests_are_told_apart_by_value() {
    let api = api().await;
    let send = async |path: &str, body: &str, key: &str| {
        let sent = answer(api.json(Method::POST, path, body).header("Idempotency-Key", key)).await;
        (sent, api.fake.script().submits.pop())
    };
    let (_, first) = send(EXECUTE, r#"{"inputs":{"a":1,"b":2}}"#, "k 1").await;
    let (_, same) = send(EXECUTE, r#" { "inputs" : {"b":2,"a":1} } "#, "k 1").await;
    let (_, other) = send(EXECUTE, r#"{"inputs":{"a":1,"b":3}}"#, "k 1").await;
    let (_, elsewhere) = send("/api/v1/workflows/wf_2/execute", r#"{"inputs":{"a":1,"b":2}}"#, "k 1").await;
    let idempotency = |submit: Option<heddle_proto::control::SubmitRequest>| submit.unwrap().idempotency.unwrap();
    let first = idempotency(first);
    assert_eq!((first.key.as_str(), first.route.as_str()), ("k 1", "POST /api/v1/workflows/{id}/execute"));
    assert_eq!(first, idempotency(same));
    assert_ne!(first.body_hash, idempotency(other).body_hash);
    assert_ne!(first.body_hash, idempotency(elsewhere).body_hash);

    for bad in ["", &"x".repeat(256)] {
        send(EXECUTE, "{}", bad).await.0.check_refusal(400, "invalid_idempotency_key");
    }
    api.fake.script().replayed = true;
    for path in [EXECUTE, "/api/v1/workflows/wf_1/run"] {
        let (replayed, _) = send(path, "{}", "k 1").await;
        assert_eq!(replayed.header("idempotent-replayed"), "true");
        assert_eq!(replayed.header("location"), "/api/v1/workflows/executions/exec_1");
    }
    api.refuse("submit", 422, "idempotency_mismatch");
    send(EXECUTE, "{}", "k 1").await.0.check_refusal(422, "idempotency_mismatch");
}

#[tokio::test]
async fn run_describes_itself_and_starts() {
    let api = api().await;
    let input = |id: &str, kind: &str, default: &'static str| InputDescription {
        node_id: id.to_owned(),
        label: "Topic".to_owned(),
        r#type: kind.to_owned(),
        required: default.is_empty(),
        default_json: default.into(),
        description: "About".to_owned(),
    };
    api.fake.script().inputs = InputList {
        workflow_id: "wf_1".to_owned(),
        workflow_name: "Poster maker".to_owned(),
        inputs: vec![input("n1", "text", "\"sea\""), input("n2", "url", "")],
    };
    let described = api.get("/api/v1/workflows/wf_1/run").await;
    described.check_envelope();
    let expected = json!({
        "workflowId": "wf_1", "workflowName": "Poster maker", "endpoint": "/api/v1/workflows/wf_1/run", "method": "POST",
        "inputs": [
            {"nodeId": "n1", "label": "Topic", "type": "text", "required": false, "default": "sea", "description": "About"},
            {"nodeId": "n2", "label": "Topic", "type": "url", "required": true, "default": null, "description": "About"},
        ],
        "example": {"inputs": {"n1": "sea", "n2": "<url>"}},
    });
    assert_eq!(described.body["data"], expected);

    let started = api.post("/api/v1/workflows/wf_1/run", r#"{"inputs":{"n1":"sky"}}"#).await;
    assert_eq!(started.status, 202);
    started.check_envelope();
    assert_eq!(started.body["data"]["executionId"], "exec_1");
    assert_eq!(started.body["data"]["status"], "RUNNING");
    let submit = api.fake.script().submits.pop().unwrap();
    assert_eq!((submit.graph, &*submit.inputs_json), (None, &br#"{"n1":"sky"}"#[..]));
}

#[tokio::test]
async fn poll_has_the_union_of_all_fields() {
    let api = api().await;
    let polled = api.get("/api/v1/workflows/executions/exec_1/poll").await;
    assert_eq!(polled.status, 200, "{}", polled.text);
    polled.check_envelope();
    assert!(polled.text.contains(r#""images":[{"url":"https://x/a.png", "bytes":1.0}]"#), "outputs keep their text");
    let body = &polled.body;
    assert_eq!((&body["status"], &body["error"], &body["progress"]), (&json!("COMPLETED"), &json!(null), &json!(1.0)));
    assert_eq!(body["nodeResults"]["nodeRuns"][0]["output"]["images"][0]["url"], "https://x/a.png");
    let state = &body["nodeStates"][0];
    let expected = json!({"nodeId": "n1", "label": "Render", "status": "COMPLETED", "state": "COMPLETED", "error": null,
        "outputUrl": "https://x/a.png", "outputUrls": ["https://x/a.png"], "text": null, "progress": 1.0,
        "requestId": null});
    assert_eq!(state, &expected);
    assert_eq!(body["finalOutput"]["url"], "https://x/a.png");
    assert_eq!(body["diagnostics"]["counts"], json!({"error": 0, "warning": 0, "info": 0}));
    assert_eq!((&body["waitingOn"], &body["seq"]), (&json!([]), &json!(9)));
}

#[tokio::test]
async fn a_run_that_waits_or_failed_says_why() {
    let api = api().await;
    {
        let mut script = api.fake.script();
        script.run.status = RunStatus::Running.into();
        script.run.waiting_on = vec![WaitingOn {
            kind: "timer".to_owned(),
            node_id: "n1".to_owned(),
            since_ms: 0,
            due_at_ms: Some(1_000),
            need: String::new(),
            index: vec![3, 0],
            review_id: "rev_1".to_owned(),
            child_execution_id: "exec_2".to_owned(),
            more: 7,
            signal: "paid".to_owned(),
            url: "https://heddle.test/hook".to_owned(),
        }];
    }
    let waiting = api.get("/api/v1/workflows/executions/exec_1").await;
    waiting.check_envelope();
    let expected = json!([{"kind": "timer", "nodeId": "n1", "index": [3, 0], "since": "1970-01-01T00:00:00.000Z",
        "dueAt": "1970-01-01T00:00:01.000Z", "reviewId": "rev_1", "childExecutionId": "exec_2",
        "signal": "paid", "url": "https://heddle.test/hook", "more": 7}]);
    assert_eq!((&waiting.body["status"], &waiting.body["waitingOn"]), (&json!("RUNNING"), &expected));
    {
        let mut script = api.fake.script();
        script.run.status = RunStatus::Failed.into();
        script.run.error =
            Some(RunError { code: "run_timeout".to_owned(), message: "too slow".to_owned(), ..RunError::default() });
    }
    let failed = api.get("/api/v1/workflows/executions/exec_1").await;
    assert_eq!((&failed.body["status"], &failed.body["error"]["code"]), (&json!("FAILED"), &json!("run_timeout")));
}

#[tokio::test]
async fn a_run_is_the_documented_object_and_more() {
    let api = api().await;
    let read = api.get("/api/v1/workflows/executions/exec_1?minSeq=4&nodesOffset=2&nodesLimit=5000").await;
    read.check_envelope();
    let body = &read.body;
    assert_eq!((&body["id"], &body["runIndexInBatch"], &body["inputIndex"]), (&json!("exec_1"), &json!(0), &json!(0)));
    assert_eq!(
        (&body["startTime"], &body["endTime"]),
        (&json!("1970-01-01T00:00:00.000Z"), &json!("1970-01-01T00:00:00.005Z"))
    );
    let node = &body["nodeRuns"][0];
    assert_eq!((&node["attempts"], &node["agent"], &node["queuedAt"]), (&json!(1), &json!("agt_1"), &json!(null)));
    let asked = api.fake.script().gets.pop().unwrap();
    assert_eq!((asked.min_seq, asked.nodes_offset, asked.nodes_limit, asked.wait_ms), (4, 2, 1_000, 0));
}

#[tokio::test]
async fn a_node_of_a_run_is_asked_for_by_its_index() {
    let api = api().await;
    {
        let mut script = api.fake.script();
        let items = Items { total: Some(8), completed: 3, failed: 1, skipped: 0, running: 4, cached: 2 };
        script.run.nodes[0].items = Some(items);
        script.node = NodeDetail {
            execution_id: "exec_1".to_owned(),
            kind: NodeKind::Instance.into(),
            node: Some(Node { outputs: Vec::new(), error: None, ..script.run.nodes[0].clone() }),
            index: vec![3, 0],
            inputs: vec![PortValue { port: "prompt".to_owned(), value_json: "\"sea\"".into(), ..PortValue::default() }],
            attempt_runs: vec![AttemptRun { number: 1, outcome: "SUCCEEDED".to_owned(), ..AttemptRun::default() }],
            instances: vec![NodeInstance {
                index: vec![3, 0, 9],
                state: NodeState::Waiting.into(),
                ..Default::default()
            }],
            next_cursor: "77".to_owned(),
            ..NodeDetail::default()
        };
    }
    let path = "/api/v1/workflows/executions/exec_1/nodes/n%2F1";
    let read = api.get(&format!("{path}?index=3,0&status=failed&limit=9999&cursor=5")).await;
    assert_eq!(read.status, 200, "{}", read.text);
    read.check_envelope();
    let body = &read.body;
    assert_eq!((&body["kind"], &body["index"], &body["nodeId"]), (&json!("instance"), &json!([3, 0]), &json!("n1")));
    assert_eq!(
        body["items"],
        json!({"total": 8, "completed": 3, "failed": 1, "skipped": 0, "running": 4, "cached": 2})
    );
    assert_eq!((&body["inputs"]["prompt"], &body["attemptRuns"][0]["outcome"]), (&json!("sea"), &json!("SUCCEEDED")));
    let instance = &body["instances"][0];
    assert_eq!(
        (&instance["index"], &instance["status"], &instance["state"]),
        (&json!([3, 0, 9]), &json!("RUNNING"), &json!("WAITING"))
    );
    assert_eq!(body["nextCursor"], "77");
    let link = read.headers["link"].to_str().unwrap();
    assert_eq!(link, format!("<{path}?cursor=77&index=3%2C0&status=failed&limit=9999>; rel=\"next\""));
    let asked = api.fake.script().node_gets.pop().unwrap();
    assert_eq!((&*asked.node_id, &asked.index[..], asked.limit, &*asked.cursor), ("n/1", &[3, 0][..], 200, "5"));
    assert_eq!(asked.state(), NodeState::Failed);
    for wrong in ["index=x", "index=1,,2", "status=DONE", "limit=-1"] {
        let refused = api.get(&format!("{path}?{wrong}")).await;
        assert_eq!((refused.status, &refused.body["code"]), (400, &json!("invalid_parameter")), "{wrong}");
    }
    // The same counts stand in both forms of a run.
    let polled = api.get("/api/v1/workflows/executions/exec_1/poll").await;
    assert_eq!(polled.body["nodeStates"][0]["items"], body["items"]);
    assert_eq!(polled.body["nodeResults"]["nodeRuns"][0]["items"], body["items"]);
}

#[tokio::test]
async fn waiting_is_bounded() {
    let api = api().await;
    for (wait, wait_ms) in [("0", 0), ("1.5", 1_500), ("30", 30_000), ("4000000000", 30_000)] {
        let polled = api.get(&format!("/api/v1/workflows/executions/exec_1/poll?wait={wait}")).await;
        assert_eq!(polled.status, 200);
        assert_eq!(api.fake.script().gets.pop().unwrap().wait_ms, wait_ms);
    }
}

#[tokio::test]
async fn a_stopping_gateway_keeps_nobody_waiting() {
    let api = api().await;
    api.fake.script().holds_polls = true;
    let poll = api.request(Method::GET, "/api/v1/workflows/executions/exec_1/poll?wait=30");
    let polled = tokio::spawn(answer(poll));
    timeout(Duration::from_secs(20), api.fake.held.notified()).await.unwrap();
    timeout(Duration::from_secs(20), api.gateway.shutdown(Duration::from_secs(60))).await.unwrap();
    assert_eq!(polled.await.unwrap().status, 200);
}

#[tokio::test]
async fn cancel_names_who_and_why() {
    let api = api().await;
    let cancelled = api.post("/api/v1/workflows/executions/exec_1/cancel", r#"{"reason":"wrong topic"}"#).await;
    assert_eq!(cancelled.status, 200);
    cancelled.check_envelope();
    assert_eq!(cancelled.body["id"], "exec_1");
    let cancel = api.fake.script().cancels.pop().unwrap();
    assert_eq!((cancel.subject.as_str(), cancel.reason.as_str()), ("ada", "wrong topic"));
    assert_eq!(api.post("/api/v1/workflows/executions/exec_1/cancel", "").await.status, 200);
    let refusal = api.post("/api/v1/workflows/executions/exec_1/cancel", r#"{"why":"x"}"#).await;
    refusal.check_refusal(400, "unknown_field");
    assert_eq!(refusal.body["path"], "/why");
}
