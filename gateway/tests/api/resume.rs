use heddle_proto::control::*;
use prost::Message as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::setup::{Api, answer};

const RESUME: &str = "/api/v1/workflows/executions/exec_1/resume";
const RERUN: &str = "/api/v1/workflows/executions/exec_1/rerun";
const EXECUTE: &str = "/api/v1/workflows/wf_1/execute";

fn port(name: &str, json: &'static str) -> PortValue {
    PortValue { port: name.to_owned(), value_json: json.into(), ..PortValue::default() }
}

#[tokio::test]
async fn execute_brings_back_what_nodes_carry() {
    let api = Api::start().await;
    let nodes = r#"[{"id":"a","data":{"output":{"text": 1.50},"cached":{"executionId":"exec_0","seq":9,"inputsDigest":"ab"}}},
        {"id":"b","data":{"output":{"text":"mine"}}},{"id":"c","data":{}}]"#;
    let stale = StaleDependency { node_id: "a".to_owned(), changed_keys: vec!["prompt".to_owned()] };
    api.fake.script().stale = vec![stale];
    let body = format!(r#"{{"nodes":{nodes},"edges":[],"targetNodeId":"c","only":true,"fromExecutionId":"exec_0"}}"#);
    let executed = api.post(EXECUTE, &body).await;
    assert_eq!(executed.status, 201, "{}", executed.text);
    assert_eq!(executed.body["staleDependencies"], json!([{"nodeId": "a", "changedKeys": ["prompt"]}]));
    let submit = api.fake.script().submits.pop().unwrap();
    let nodes_sent = submit.graph.unwrap().nodes;
    assert_eq!(nodes_sent, nodes.as_bytes(), "the graph is not touched");
    let carried: Vec<_> = submit.carried.iter().map(|one| (&*one.node_id, &*one.output_json)).collect();
    assert_eq!(carried, [("a", &br#"{"text": 1.50}"#[..]), ("b", &br#"{"text":"mine"}"#[..])]);
    let source = &submit.carried[0];
    assert_eq!((&*source.execution_id, source.seq, &*source.inputs_digest), ("exec_0", 9, "ab"));
    assert_eq!(submit.carried[1].execution_id, "");
    assert_eq!((submit.only, &*submit.from_execution_id, submit.force), (true, "exec_0", false));

    let body = format!(r#"{{"nodes":{nodes},"edges":[],"force":true,"fromExecutionId":"exec_0"}}"#);
    assert_eq!(api.post(EXECUTE, &body).await.status, 201);
    let forced = api.fake.script().submits.pop().unwrap();
    assert_eq!((forced.carried.len(), &*forced.from_execution_id, forced.force), (0, "", true));

    // The other way to start a run never reuses.
    let ran = api.post("/api/v1/workflows/wf_1/run", r#"{"fromExecutionId":"exec_0"}"#).await;
    assert_eq!(ran.status, 202);
    assert_eq!(api.fake.script().submits.pop().unwrap().from_execution_id, "");
}

#[tokio::test]
async fn a_read_workflow_shows_what_its_nodes_gave() {
    let api = Api::start().await;
    let nodes = br#"[{"id":"a","data":{"n":1.0}},{"id":"b","data":{"n":2}}]"#;
    api.fake.script().workflow = Workflow {
        id: "wf_1".to_owned(),
        graph: Some(GraphJson { nodes: nodes[..].into(), edges: "[]".into(), policy: "".into() }),
        updated_at_ms: 5,
        cached: vec![CachedNode {
            node_id: "b".to_owned(),
            execution_id: "exec_1".to_owned(),
            seq: 12,
            inputs_digest: "cd".to_owned(),
            outputs: vec![port("text", "\"tides\"")],
        }],
        ..Workflow::default()
    };
    let read = api.get("/api/v1/workflows/wf_1").await;
    assert_eq!(read.status, 200, "{}", read.text);
    assert!(read.text.contains(r#"{"id":"a","data":{"n":1.0}}"#), "{}", read.text);
    let data = &read.body["nodes"][1]["data"];
    let cached = json!({"executionId": "exec_1", "seq": 12, "inputsDigest": "cd"});
    let expected = json!({"n": 2, "output": {"text": "tides"}, "result": [{"text": "tides"}], "cached": cached});
    assert_eq!(data, &expected);
}

#[tokio::test]
async fn resume_passes_on_all_that_it_is_told() {
    let api = Api::start().await;
    let body = r#"{"fromNodeId":"publish","toNodeId":"end","outputs":{"draft":{"text":"edited","n":1.50}},
        "inputs":{"topic":"herons"},"graph":"current","downstream":"all","indices":[[17],[3,0]],"failedItems":true,
        "plan":false,"planToken":"tok"}"#;
    let request = api.json(Method::POST, RESUME, body).header("Idempotency-Key", "k1");
    let resumed = answer(request).await;
    assert_eq!(resumed.status, 201, "{}", resumed.text);
    resumed.check_envelope();
    assert_eq!(resumed.header("location"), "/api/v1/workflows/executions/exec_2");
    let shown = ["executionId", "parentExecutionId", "lineageId", "status"].map(|name| resumed.body[name].clone());
    assert_eq!(shown, ["exec_2", "exec_1", "exec_0", "RUNNING"]);
    assert_eq!(resumed.body["executionRuns"][0]["id"], "exec_2");
    let sent = api.fake.script().resumes.pop().unwrap();
    assert_eq!((&*sent.tenant, &*sent.subject, &*sent.execution_id), ("ten_a", "ada", "exec_1"));
    assert_eq!((&*sent.from_node_id, &*sent.to_node_id, &*sent.plan_token), ("publish", "end", "tok"));
    assert_eq!(&*sent.outputs_json, br#"{"draft":{"text":"edited","n":1.50}}"#);
    assert_eq!((&*sent.inputs_json, sent.graph_choice()), (&br#"{"topic":"herons"}"#[..], ResumeGraph::Current));
    assert_eq!((sent.downstream_all, sent.failed_items, sent.rerun), (true, true, false));
    assert_eq!(sent.indices.iter().map(|index| index.index.clone()).collect::<Vec<_>>(), [vec![17], vec![3, 0]]);
    let key = sent.idempotency.unwrap();
    assert_eq!((&*key.key, &*key.route), ("k1", "POST /api/v1/workflows/executions/{id}/resume"));

    for (body, graph) in [
        ("{}", ResumeGraph::Same),
        (r#"{"graph":"same"}"#, ResumeGraph::Same),
        (r#"{"graph":null}"#, ResumeGraph::Same),
        (r#"{"graph":{"nodes":[{"id":"a"}],"edges":[]},"targetNodeId":"a"}"#, ResumeGraph::Given),
    ] {
        assert_eq!(api.post(RESUME, body).await.status, 201, "{body}");
        let sent = api.fake.script().resumes.pop().unwrap();
        assert_eq!((sent.graph_choice(), sent.graph.is_some()), (graph, graph == ResumeGraph::Given));
        assert_eq!(sent.from_node_id, if graph == ResumeGraph::Given { "a" } else { "" });
    }
    api.fake.script().replayed = true;
    assert_eq!(api.post(RESUME, "{}").await.header("idempotent-replayed"), "true");
}

#[tokio::test]
async fn resume_refuses_what_it_does_not_understand_with_its_place() {
    let api = Api::start().await;
    for (body, code, path) in [
        (r#"{"form":"a"}"#, "unknown_field", "/form"),
        (r#"{"graph":{"nodes":[{}],"edges":[],"x/y":1}}"#, "unknown_field", "/graph/x~1y"),
        (r#"{"graph":{"nodes":{},"edges":[]}}"#, "invalid_field", "/graph/nodes"),
        (r#"{"graph":"newest"}"#, "invalid_field", "/graph"),
        (r#"{"graph":{}}"#, "invalid_field", "/graph"),
        (r#"{"graph":{"nodes":[],"edges":[]}}"#, "empty_graph", ""),
        (r#"{"graph":{"nodes":[{"id":"a"}]}}"#, "missing_fields", ""),
        (r#"{"outputs":["a"]}"#, "invalid_field", "/outputs"),
        (r#"{"outputs":{"a/b":"text"}}"#, "invalid_field", "/outputs/a~1b"),
        (r#"{"inputs":7}"#, "invalid_field", "/inputs"),
        (r#"{"downstream":"some"}"#, "invalid_field", "/downstream"),
        (r#"{"fromNodeId":"a","indices":[17]}"#, "invalid_field", "/indices"),
        (r#"{"failedItems":"yes"}"#, "invalid_field", "/failedItems"),
        (r#"{"fromNodeId":"a","targetNodeId":"b"}"#, "invalid_field", "/targetNodeId"),
        (r#"{"plan":1}"#, "invalid_field", "/plan"),
    ] {
        let refused = api.post(RESUME, body).await;
        refused.check_refusal(400, code);
        assert_eq!(refused.body["path"].as_str().unwrap_or_default(), path, "{body}");
    }
    api.post(RESUME, r#"{"indices":[[17]]}"#).await.check_refusal(422, "invalid_indices");
    api.post(RERUN, r#"{"fromNodeId":"a"}"#).await.check_refusal(400, "unknown_field");
    api.post(RESUME, r#"{"outputs":{"a":{"x":1,"x":2}}}"#).await.check_refusal(400, "duplicate_key");
    assert!(api.fake.script().resumes.is_empty());
}

#[tokio::test]
async fn a_plan_starts_nothing() {
    let api = Api::start().await;
    let planned = |id: &str, why: PlanReason| PlannedNode {
        node_id: id.to_owned(),
        node_type: "llm:x".to_owned(),
        why: why.into(),
        ..PlannedNode::default()
    };
    api.fake.script().plan = ResumePlan {
        execution_id: "exec_1".to_owned(),
        plan_token: "tok".to_owned(),
        will_run: vec![PlannedNode { index: vec![17], ..planned("m", PlanReason::Index) }],
        may_run: vec![PlannedNode { instances: 3, ..planned("n", PlanReason::InputMayChange) }],
        reused: vec![PlannedNode { from_execution_id: "exec_0".to_owned(), ..planned("a", PlanReason::Same) }],
        skipped: vec![planned("z", PlanReason::NotInPart)],
        unknown_count: 1,
        credits_min: 2,
        credits_max: 5,
    };
    for path in [RESUME, RERUN] {
        let request = api.json(Method::POST, path, r#"{"plan":true,"planToken":"old"}"#);
        let plan = answer(request.header("Idempotency-Key", "k")).await;
        assert_eq!(plan.status, 200, "{}", plan.text);
        plan.check_envelope();
        let of = |id: &str, why: &str, more: Value| {
            let mut node = json!({"nodeId": id, "nodeType": "llm:x", "label": "", "why": why});
            node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!([node])
        };
        assert_eq!(plan.body["willRun"], of("m", "index", json!({"index": [17]})));
        assert_eq!(plan.body["mayRun"], of("n", "input_may_change", json!({"instances": 3})));
        assert_eq!(plan.body["reused"], of("a", "same", json!({"from": "exec_0"})));
        assert_eq!(plan.body["skipped"], of("z", "not_in_part", json!({})));
        assert_eq!((&plan.body["unknownCount"], &plan.body["planToken"]), (&json!(1), &json!("tok")));
        assert_eq!(plan.body["credits"], json!({"min": 2, "max": 5}));
        let sent = api.fake.script().plans.pop().unwrap();
        assert_eq!((sent.idempotency, &*sent.plan_token, sent.rerun), (None, "", path == RERUN));
    }
    assert!(api.fake.script().resumes.is_empty());
}

#[tokio::test]
async fn a_conflict_says_what_is_different() {
    let api = Api::start().await;
    let conflict = |code: &str| Failure {
        code: code.to_owned(),
        http_status: 409,
        message: "no".to_owned(),
        ..Failure::default()
    };
    let moved = PlanMove {
        node_id: "b".to_owned(),
        from: "reused".to_owned(),
        to: "willRun".to_owned(),
        why: PlanReason::ConfigChanged.into(),
        ..PlanMove::default()
    };
    let edit = EditedPort { node_id: "draft".to_owned(), port: "text".to_owned() };
    let changes = PlanChanges {
        graph: true,
        options: vec!["outputs".to_owned()],
        outputs: vec![edit],
        moved: vec![moved],
        moved_total: 1,
        ..PlanChanges::default()
    };
    let changed = Failure { plan_changes: Some(changes), ..conflict("plan_changed") };
    api.fake.script().failures.insert("resume", changed);
    let refused = api.post(RESUME, r#"{"planToken":"tok"}"#).await;
    refused.check_refusal(409, "plan_changed");
    let expected = json!({
        "parent": false, "graph": true, "options": ["outputs"], "outputs": [{"nodeId": "draft", "port": "text"}], "inputs": [],
        "moved": [{"nodeId": "b", "from": "reused", "to": "willRun", "why": "config_changed"}], "movedTotal": 1,
    });
    assert_eq!(refused.body["planChanges"], expected);

    let waiting = WaitingOn { kind: "timer".to_owned(), node_id: "w".to_owned(), ..WaitingOn::default() };
    let not_over = Failure { waiting_on: vec![waiting], ..conflict("execution_not_terminal") };
    assert!(not_over.encoded_len() > 0);
    api.fake.script().failures.insert("resume", not_over);
    let refused = api.post(RESUME, "{}").await;
    refused.check_refusal(409, "execution_not_terminal");
    assert_eq!(refused.body["waitingOn"][0]["nodeId"], "w");
}

#[tokio::test]
async fn a_rerun_reuses_nothing() {
    let api = Api::start().await;
    let again = api.post(RERUN, r#"{"inputs":{"topic":"owls"},"graph":"current"}"#).await;
    assert_eq!((again.status, &again.body["parentExecutionId"]), (201, &json!("exec_1")));
    let sent = api.fake.script().resumes.pop().unwrap();
    assert_eq!(
        (sent.rerun, &*sent.inputs_json, sent.graph_choice()),
        (true, &br#"{"topic":"owls"}"#[..], ResumeGraph::Current)
    );
    assert_eq!(api.post(RERUN, "").await.status, 201);
}

#[tokio::test]
async fn a_family_is_listed() {
    let api = Api::start().await;
    let child = LineageRun {
        execution_id: "exec_1".to_owned(),
        parent_execution_id: "exec_0".to_owned(),
        workflow_id: "wf_1".to_owned(),
        status: RunStatus::Running.into(),
        from_node_id: "b".to_owned(),
        subject: "ada".to_owned(),
        edits: vec![EditedPort { node_id: "a".to_owned(), port: "text".to_owned() }],
        ..LineageRun::default()
    };
    api.fake.script().lineage =
        Lineage { lineage_id: "exec_0".to_owned(), runs: vec![child], next_cursor: "7".to_owned() };
    let family = api.get("/api/v1/workflows/executions/exec_1/lineage?limit=9999").await;
    assert_eq!(family.status, 200, "{}", family.text);
    family.check_envelope();
    let expected = json!({"executionId": "exec_1", "parentExecutionId": "exec_0", "workflowId": "wf_1",
        "status": "RUNNING", "startTime": "1970-01-01T00:00:00.000Z", "endTime": null, "rerun": false,
        "fromNodeId": "b", "toNodeId": null, "subject": "ada", "edits": [{"nodeId": "a", "port": "text"}]});
    assert_eq!((&family.body["lineageId"], &family.body["runs"][0]), (&json!("exec_0"), &expected));
    assert_eq!(family.body["nextCursor"], "7");
    assert_eq!(
        family.header("link"),
        "</api/v1/workflows/executions/exec_1/lineage?cursor=7&limit=9999>; rel=\"next\""
    );
    assert_eq!(api.fake.script().lineages.pop().unwrap().limit, 200);
}

#[tokio::test]
async fn runs_say_what_they_reused_and_from_where() {
    let api = Api::start().await;
    api.fake.script().run = Run {
        id: "exec_2".to_owned(),
        status: RunStatus::Completed.into(),
        parent_execution_id: "exec_1".to_owned(),
        lineage_id: "exec_0".to_owned(),
        nodes: vec![Node {
            node_id: "a".to_owned(),
            state: NodeState::Cached.into(),
            outputs: vec![port("text", "\"edited\"")],
            cached_from: Some(CachedFrom {
                source: "edit".to_owned(),
                execution_id: "exec_1".to_owned(),
                edited_by: "ada".to_owned(),
            }),
            ..Node::default()
        }],
        ..Run::default()
    };
    let run = api.get("/api/v1/workflows/executions/exec_2").await.body;
    let polled = api.get("/api/v1/workflows/executions/exec_2/poll").await.body;
    for shown in [&run, &polled] {
        assert_eq!((&shown["parentExecutionId"], &shown["lineageId"]), (&json!("exec_1"), &json!("exec_0")));
    }
    for node in [&run["nodeRuns"][0], &polled["nodeResults"]["nodeRuns"][0]] {
        assert_eq!((&node["status"], &node["state"]), (&json!("COMPLETED"), &json!("CACHED")));
        let from = json!({"source": "edit", "executionId": "exec_1", "editedBy": "ada"});
        assert_eq!((&node["cached"], &node["cachedFrom"]), (&json!(true), &from));
        assert_eq!(node["output"]["text"], "edited");
    }
}
