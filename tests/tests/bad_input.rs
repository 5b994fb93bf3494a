//! Bad input: refused at the door with its name, without a trace; good input kept as it was sent.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::fmt::Write;

use cluster_tests::cluster::Cluster;
use cluster_tests::cluster::client::{Answer, Client, send};
use cluster_tests::cluster::graph::Graph;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// One request that must be refused.
struct Case {
    name: &'static str,
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    status: u16,
    /// The error's code.
    code: &'static str,
    /// What the answer must name.
    names: &'static str,
}

fn case(name: &'static str, path: &str, body: impl Into<Vec<u8>>, expected: (u16, &'static str, &'static str)) -> Case {
    let (status, code, names) = expected;
    let headers = vec![("content-type", "application/json".to_owned())];
    Case { name, method: Method::POST, path: path.to_owned(), headers, body: body.into(), status, code, names }
}

fn saved(name: &'static str, graph: &Graph, names: &'static str) -> Case {
    case(name, "/api/v1/workflows", graph.named(name).to_string(), (422, "invalid_graph", names))
}

fn text() -> Graph {
    Graph::default().node("a", "input:text", json!({ "text": "x" }))
}

fn graphs() -> Vec<Case> {
    let echo = || text().node("b", "debug:echo", json!({}));
    let empty = json!({ "name": "empty", "nodes": [], "edges": [] }).to_string();
    let long = "i".repeat(300);
    vec![
        saved("unknown type", &text().node("b", "utility:frobnicate", json!({})), "unknown-node-type"),
        saved("type one letter off", &text().node("b", "input:txet", json!({})), "input:text"),
        saved("cycle", &echo().node("c", "debug:echo", json!({})).edge("b.out", "c.in").edge("c.out", "b.in"), "cycle"),
        saved("loop to itself", &echo().edge("b.out", "b.in"), "cycle"),
        saved("dangling edge", &echo().edge("a.text", "nobody.in"), "dangling-edge"),
        saved("no such output", &echo().edge("a.sound", "b.in"), "bad-source-handle"),
        saved("no such input", &echo().edge("a.text", "b.nowhere"), "bad-target-handle"),
        saved(
            "type mismatch",
            &Graph::default()
                .node("a", "input:boolean", json!({}))
                .node("b", "debug:echo", json!({}))
                .edge("a.image", "b.in"),
            "bad-source-handle",
        ),
        saved("two nodes of one id", &echo().node("b", "debug:echo", json!({})), "duplicate-id"),
        saved("an id of 300 bytes", &text().node(&long, "debug:echo", json!({})), "limits"),
        saved("an empty id", &text().node("", "debug:echo", json!({})), "missing-id"),
        saved("bad config", &text().node("b", "debug:sleep", json!({ "ms": "soon" })), "bad-config"),
        saved("bad policy", &text().node_with("b", "debug:noop", json!({}), json!({ "retries": 3 })), "retries"),
        case("no nodes", "/api/v1/workflows", empty, (400, "empty_graph", "node")),
        case("no graph", "/api/v1/workflows", r#"{"name":"x"}"#, (400, "missing_fields", "nodes")),
        case(
            "nodes that are none",
            "/api/v1/workflows",
            r#"{"name":"x","nodes":{},"edges":[]}"#,
            (400, "invalid_field", "/nodes"),
        ),
    ]
}

fn bodies() -> Vec<Case> {
    let deep = format!(r#"{{"name":"deep","nodes":{}{}"#, "[".repeat(100_000), "]".repeat(100_000));
    let large = format!(r#"{{"name":"{}","nodes":[],"edges":[]}}"#, "x".repeat(50 * 1024 * 1024));
    let path = "/api/v1/workflows";
    let mut typed = case("a form", path, "name=x", (415, "unsupported_media_type", "application/json"));
    typed.headers = vec![("content-type", "application/x-www-form-urlencoded".to_owned())];
    vec![
        case("malformed JSON", path, r#"{"name":"x","nodes":[}"#, (400, "invalid_json", "line")),
        case("half a body", path, r#"{"name":"x""#, (400, "invalid_json", "line")),
        case("no object", path, "[1]", (400, "invalid_json", "object")),
        case("no UTF-8", path, b"{\"name\":\"\xff\"}".to_vec(), (400, "invalid_json", "line")),
        case("a key twice", path, r#"{"name":"x","name":"y"}"#, (400, "duplicate_key", "/name")),
        case("deep nesting", path, deep, (400, "json_too_deep", "64")),
        case("50 MB", path, large, (413, "body_too_large", "bytes")),
        typed,
    ]
}

fn routes(workflow: &str) -> Vec<Case> {
    let execute = format!("/api/v1/workflows/{workflow}/execute");
    let get = |name, path: &str, expected| Case { method: Method::GET, ..case(name, path, "", expected) };
    let mut key = case("a long Idempotency-Key", &execute, "{}", (400, "invalid_idempotency_key", "255"));
    key.headers.push(("idempotency-key", "k".repeat(256)));
    let odd = "/api/v1/workflows/executions";
    vec![
        case("unknown target", &execute, r#"{"targetNodeId":"nobody"}"#, (422, "invalid_graph", "nobody")),
        case("unknown input", &execute, r#"{"inputs":{"nobody":1}}"#, (422, "invalid_inputs", "nobody")),
        case("inputs that are none", &execute, r#"{"inputs":[]}"#, (400, "invalid_field", "/inputs")),
        case("a run of nothing", &execute, r#"{"nodes":[],"edges":[]}"#, (400, "empty_graph", "node")),
        case(
            "a run of no workflow",
            "/api/v1/workflows/wf_nobody/execute",
            "{}",
            (404, "workflow_not_found", "Workflow"),
        ),
        key,
        get(
            "no such run",
            &format!("{odd}/exec_00000000000000000000000000"),
            (404, "execution_not_found", "Execution"),
        ),
        get("an id that is none", &format!("{odd}/%27%20OR%201=1"), (404, "execution_not_found", "Execution")),
        get("an id of dots", &format!("{odd}/..%2F..%2Fetc"), (404, "execution_not_found", "Execution")),
        get("an endless id", &format!("{odd}/{}", "9".repeat(4_000)), (404, "execution_not_found", "Execution")),
        get("an id with a zero byte", &format!("{odd}/%00"), (404, "execution_not_found", "Execution")),
        get("a path that is no UTF-8", &format!("{odd}/%ff%fe"), (400, "invalid_path", "UTF-8")),
        get("a bad cursor", &format!("{odd}?cursor=%00"), (400, "bad_cursor", "cursor")),
        get("a bad status", &format!("{odd}?status=SLEEPING"), (400, "invalid_parameter", "COMPLETED")),
        get("a bad event id", &format!("{odd}/exec_1/events?after=-1"), (400, "invalid_parameter", "after")),
        get("no route", "/api/v2/workflows", (404, "unknown_route", "/api/v1")),
        Case {
            method: Method::PATCH,
            ..case("no method", "/api/v1/agents", "{}", (405, "method_not_allowed", "method"))
        },
    ]
}

fn alerts(workflow: &str) -> Vec<Case> {
    let path = format!("/api/v1/workflows/{workflow}/alerts");
    let rate = |field: &str, value: Value| {
        let mut rule = json!({ "kind": "error_rate", "windowMs": 60_000, "threshold": 0.5, "minRuns": 1 });
        rule[field] = value;
        rule.to_string()
    };
    let rule = |name, body: String, expected| case(name, &path, body, expected);
    let get = |name, path: String, expected| Case { method: Method::GET, ..case(name, &path, "", expected) };
    vec![
        rule("a rule of no kind", "{}".into(), (400, "missing_fields", "kind")),
        rule("a rule of an unknown kind", rate("kind", json!("sadness")), (422, "invalid_alert", "/kind")),
        rule("a rule of budgets", rate("kind", json!("budget")), (422, "not_supported_yet", "credits")),
        rule("a rule without its window", rate("windowMs", Value::Null), (400, "missing_fields", "windowMs")),
        rule("a window of no time", rate("windowMs", json!(0)), (422, "invalid_alert", "/windowMs")),
        rule("a window of words", rate("windowMs", json!("1h")), (400, "invalid_field", "/windowMs")),
        rule("a threshold of nothing", rate("threshold", json!(0)), (422, "invalid_alert", "/threshold")),
        rule("a threshold above all", rate("threshold", json!(20)), (422, "invalid_alert", "/threshold")),
        rule("no runs", rate("minRuns", json!(0)), (422, "invalid_alert", "/minRuns")),
        rule("half a run", rate("minRuns", json!(0.5)), (400, "invalid_field", "/minRuns")),
        rule("a close after years", rate("closeAfterMs", json!(1e15)), (422, "invalid_alert", "/closeAfterMs")),
        rule("another kind's field", rate("thresholdMs", json!(5)), (400, "unknown_field", "/thresholdMs")),
        get("no such rule", format!("{path}/alr_00000000000000000000000000"), (404, "alert_not_found", "list")),
        get("a rule that is none", format!("{path}/%00"), (404, "alert_not_found", "list")),
        get("a bad state", "/api/v1/alerts/incidents?state=sad".into(), (400, "invalid_parameter", "open")),
        get("a bad cursor of incidents", "/api/v1/alerts/incidents?cursor=7".into(), (400, "bad_cursor", "cursor")),
        get("a span of words", "/api/v1/stats?from=monday".into(), (400, "invalid_parameter", "from")),
        get("a span of centuries", "/api/v1/stats?from=1826-01-01T00:00:00Z".into(), (400, "invalid_span", "400")),
    ]
}

async fn ask(client: &Client, case: &Case) -> Answer {
    let mut request = client.request(case.method.clone(), &case.path).body(case.body.clone());
    for (name, value) in &case.headers {
        request = request.header(*name, value);
    }
    send(request).await.unwrap_or_else(|error| panic!("{}: no answer: {error}", case.name))
}

/// What is wrong with the answer.
fn fault(case: &Case, answer: &Answer) -> Option<String> {
    let body = answer.json();
    let text = String::from_utf8_lossy(&answer.body);
    let has_id =
        answer.headers.get("x-request-id").is_some_and(|id| body["requestId"] == id.to_str().unwrap_or_default());
    let is_right = answer.status == case.status && body["code"] == case.code && text.contains(case.names) && has_id;
    let is_said = body["message"].as_str().is_some_and(|message| !message.is_empty());
    let wanted = (case.status, case.code, case.names);
    (!is_right || !is_said).then(|| format!("{}: wanted {wanted:?}, got {answer} (request id: {has_id})", case.name))
}

async fn stored(client: &Client) -> (Value, Value) {
    (client.get_json("/api/v1/workflows").await, client.get_json("/api/v1/workflows/executions").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_named_and_leaves_no_trace() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let workflow = client.save("good", &text().node("b", "debug:echo", json!({})).edge("a.text", "b.in")).await;
    let before = stored(client).await;
    let cases: Vec<Case> = [graphs(), bodies(), routes(&workflow), alerts(&workflow)].into_iter().flatten().collect();
    let mut faults = Vec::new();
    for case in &cases {
        faults.extend(fault(case, &ask(client, case).await));
    }
    for key in [None, Some("sk-wrong"), Some("sk-4inSO0AFrxvtlIhgHoMq5xSFvLeRkbcFM41V80dXuAO1E8PGw")] {
        let mut request = client.anonymous(Method::GET, "/api/v1/workflows");
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        let answer = send(request).await.unwrap();
        if answer.status != 401 || !answer.headers.contains_key("x-request-id") {
            faults.push(format!("key {key:?}: {answer}"));
        }
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), cases.len(), faults.join("\n"));
    assert_eq!(stored(client).await, before, "something was stored");
    println!("bad input: {} requests refused as documented", cases.len() + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_is_refused_alike_wherever_it_is_given() {
    let cluster = Cluster::start(1, 1).await;
    let client = cluster.client();
    let workflow = client.save("good", &text()).await;
    let graph = text()
        .node("b", "debug:echo", json!({}))
        .node("c", "debug:sleep", json!({ "ms": "soon" }))
        .node("e", "logic:if", json!({ "condition": "value >" }))
        .node_with("f", "debug:noop", json!({}), json!({ "retries": 3 }))
        .edge("a.txt", "b.in")
        .edge("a.text", "nobody.in")
        .edge("a.text", "e.value");
    let path = format!("/api/v1/workflows/{workflow}");
    let mut told = Vec::new();
    for (method, path, status) in [
        (Method::POST, "/api/v1/workflows/lint", 200),
        (Method::POST, "/api/v1/workflows", 422),
        (Method::PUT, &path, 422),
        (Method::POST, &format!("{path}/execute"), 422),
    ] {
        let body = if path.ends_with("/execute") { graph.parts() } else { graph.named("bad") };
        let answer = send(client.request(method, path).json(&body)).await.unwrap();
        assert_eq!(answer.status, status, "{path}: {answer}");
        told.push(answer.json()["violations"].clone());
    }
    let rules: Vec<&str> = told[0].as_array().unwrap().iter().map(|one| one["rule"].as_str().unwrap()).collect();
    let mut expected = ["bad-config", "bad_expression", "bad-policy", "bad-source-handle", "dangling-edge"];
    let mut found = rules.clone();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected, "{told:?}");
    assert!(told.iter().all(|violations| violations == &told[0]), "{told:#?}");
    // A type that nobody knows need not be known to run what does not lead to it.
    let slip = text().node("d", "input:txet", json!({}));
    let rule = async |path: &str, body: Value| {
        let answer = client.post(path, &body, path).await.json();
        answer["violations"][0]["rule"].clone()
    };
    assert_eq!(rule("/api/v1/workflows/lint", slip.parts()).await, "unknown-node-type");
    assert_eq!(rule("/api/v1/workflows", slip.named("slip")).await, "unknown-node-type");
    assert_eq!(rule(&format!("{path}/execute"), slip.parts()).await, "node_type_unavailable");
    // What is only not finished yet may be saved, and not run.
    let unfinished = text().node("e", "logic:if", json!({ "condition": "value > 1" }));
    let lint = client.post("/api/v1/workflows/lint", &unfinished.parts(), "lint unfinished").await.json();
    assert_eq!(lint["violations"][0]["rule"], "missing-required-input", "{lint}");
    let saved = client.post("/api/v1/workflows", &unfinished.named("unfinished"), "save unfinished").await;
    assert!(saved.is_success() && saved.json()["meta"]["warnings"][0] == lint["violations"][0]["message"], "{saved}");
    let started = client.post(&format!("{path}/execute"), &unfinished.parts(), "run unfinished").await;
    assert_eq!((started.status, &started.json()["violations"]), (422, &lint["violations"]), "{started}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_with_very_much_wrong_is_refused_like_any_other() {
    let cluster = Cluster::start(1, 1).await;
    let client = cluster.client();
    let node = |number: usize, node_type: &str, config: Value| json!({ "id": format!("n{number}"), "data": { "nodeType": node_type, "config": config } });
    let many: Vec<Value> = (0..2_000).map(|number| node(number, "no:such_type", json!({}))).collect();
    let long = vec![node(0, "input:json", json!({ "required": "é".repeat(100_000) }))];
    for nodes in [many, long] {
        let body = json!({ "name": "faulty", "nodes": nodes, "edges": [] });
        let answer = send(client.request(Method::POST, "/api/v1/workflows").json(&body)).await.unwrap();
        assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("invalid_graph")), "{answer}");
        assert!(answer.json()["violations"].as_array().is_some_and(|violations| !violations.is_empty()), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_body_under_a_used_key_is_refused() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let workflow = client.save("good", &text()).await;
    let path = format!("/api/v1/workflows/{workflow}/execute");
    let first = client.post(&path, &json!({}), "once").await;
    let other = client.post(&path, &json!({ "inputs": { "a": "y" } }), "once").await;
    assert_eq!((other.status, &other.json()["code"]), (422, &json!("idempotency_mismatch")), "{other}");
    let again = client.post(&path, &json!({}), "once").await;
    assert_eq!((again.status, again.body), (first.status, first.body));
    assert_eq!(client.runs_of(&workflow).await.len(), 1);
}

/// What a drawing of React Flow 12 holds beside what runs, with numbers, escapes and an order that a parser would change.
const NODES: &str = r##"[{"id":"a","type":"basedNode","position":{"x":1.50,"y":-0.0},"data":{"label":"Caf\u00e9 \ud83e\uddf5","nodeType":"input:text","config":{"text":"thread"},"zeta":1e2,"alpha":null},"measured":{"width":240,"height":118.40},"selected":false,"dragging":false,"style":{"zIndex":2,"background":"#fff"},"width":240,"positionAbsolute":{"x":1.5,"y":0}},{"id":"b/~1 ö","type":"basedNode","position":{"x":320,"y":0},"parentId":null,"extent":"parent","data":{"label":"b","nodeType":"debug:echo","config":{},"deep":{"list":[1,2.0,3e-7,{"k":"<\/script>"}]}},"sourcePosition":"right","targetPosition":"left"},{"id":"note","type":"stickyNote","position":{"x":0,"y":200},"data":{"text":"not run"}}]"##;
const EDGES: &str = r##"[{"id":"e","source":"a","sourceHandle":"out-text","target":"b/~1 ö","targetHandle":"in-in","type":"smoothstep","animated":true,"markerEnd":{"type":"arrowclosed","color":"#b1b1b7"},"style":{"strokeWidth":2.0},"selected":false,"interactionWidth":20}]"##;

#[derive(Deserialize)]
struct Drawn<'a> {
    #[serde(borrow)]
    nodes: &'a RawValue,
    #[serde(borrow)]
    edges: &'a RawValue,
}

async fn drawn(client: &Client, workflow: &str) -> (String, String) {
    let answer = client.get(&format!("/api/v1/workflows/{workflow}")).await;
    let drawn: Drawn<'_> = serde_json::from_slice(&answer.body).unwrap();
    (drawn.nodes.get().to_owned(), drawn.edges.get().to_owned())
}

/// As it is read: with the size of each node, measured or estimated.
fn sized() -> (String, String) {
    let mut nodes = String::new();
    let sizes = [(240.0, 118.4, "measured"), (280.0, 140.0, "estimated"), (280.0, 140.0, "estimated")];
    for ((width, height, source), node) in sizes.into_iter().zip(serde_json::from_str::<Vec<&RawValue>>(NODES).unwrap())
    {
        let node = node.get().strip_suffix('}').unwrap();
        let comma = if nodes.is_empty() { "[" } else { "," };
        write!(nodes, r#"{comma}{node},"dims":{{"width":{width},"height":{height},"source":"{source}"}}}}"#).unwrap();
    }
    (nodes + "]", EDGES.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drawing_is_kept_byte_for_byte() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    // What runs leave on nodes is not kept.
    let with_results = NODES.replacen(r#""zeta""#, r#""output":"old","result":["old"],"isExecuting":true,"zeta""#, 1);
    let request = |nodes: &str, edges: &str| format!(r#"{{"name":"drawing","nodes":{nodes},"edges":{edges}}}"#);
    let post = client.request(Method::POST, "/api/v1/workflows").header("content-type", "application/json");
    let answer = send(post.body(request(&with_results, EDGES))).await.unwrap();
    assert_eq!(answer.status, 201, "{answer}");
    let workflow = answer.json()["id"].as_str().unwrap().to_owned();
    let (nodes, edges) = drawn(client, &workflow).await;
    assert_eq!((nodes.clone(), edges.clone()), sized());

    let put = client.request(Method::PUT, &format!("/api/v1/workflows/{workflow}"));
    let put = put.header("content-type", "application/json").body(request(&nodes, &edges));
    let answer = send(put).await.unwrap();
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(answer.json()["version"], 1, "what was only read is not saved");
    assert_eq!(drawn(client, &workflow).await, sized());

    let execution = client.run(&workflow, "drawing").await;
    let ended = client.ended(&execution, cluster_tests::cluster::START_TIME_MAX).await;
    assert_eq!(ended["status"], "COMPLETED", "{ended}");
    let mut text = String::new();
    for run in ended["nodeRuns"].as_array().unwrap() {
        write!(text, "{}={} ", run["nodeId"].as_str().unwrap(), run["output"]).unwrap();
    }
    assert_eq!(text, r#"a={"text":"thread"} b/~1 ö={"out":"thread"} "#);
    // What the run gave is shown with its nodes, and is no part of what is saved.
    let (nodes, edges) = drawn(client, &workflow).await;
    let shown = r#""output":{"out":"thread"},"result":[{"out":"thread"}],"cached":{"executionId":"#;
    assert!(nodes.contains(shown), "{nodes}");
    let put = client.request(Method::PUT, &format!("/api/v1/workflows/{workflow}"));
    let put = put.header("content-type", "application/json").body(request(&nodes, &edges));
    let answer = send(put).await.unwrap();
    assert_eq!((answer.status, &answer.json()["version"]), (200, &json!(1)), "{answer}");
}

/// A run whose nodes give on more than an answer can hold is shown in pages, and never as a fault of ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_very_large_results_is_shown_in_pages() {
    const NODES: usize = 800;
    let cluster = Cluster::start(1, 1).await;
    let client = cluster.client();
    let mut graph = Graph::default().node("input", "input:text", json!({ "text": "x".repeat(60_000) }));
    for number in 0..NODES {
        let id = format!("n{number}");
        graph = graph.node(&id, "logic:if", json!({ "condition": "true" })).edge("input.text", &format!("{id}.value"));
    }
    // All of it in one value.
    graph = graph.node("all", "logic:merge", json!({ "mode": "all" }));
    for number in 0..NODES {
        graph = graph.edge(&format!("n{number}.true"), "all.branches");
    }
    let workflow = client.save("large", &graph).await;
    let run = client.run(&workflow, "large").await;
    let (mut seen, mut left_out) = (0, 0);
    while seen < NODES + 2 {
        let page = client.get(&format!("/api/v1/workflows/executions/{run}?nodesOffset={seen}&wait=30")).await;
        assert_eq!(page.status, 200, "{seen}");
        let page = page.json();
        assert_eq!((&page["status"], &page["nodesTotal"]), (&json!("COMPLETED"), &json!(NODES + 2)));
        let nodes = page["nodeRuns"].as_array().unwrap();
        assert!(!nodes.is_empty() && nodes.len() < NODES, "{}", nodes.len());
        seen += nodes.len();
        left_out += nodes.iter().filter(|node| node["output"].to_string().contains("leftOut")).count();
    }
    assert_eq!((seen, left_out), (NODES + 2, 1));
    assert_eq!(client.get(&format!("/api/v1/workflows/executions/{run}/poll")).await.status, 200);
    assert_eq!(client.get(&format!("/api/v1/workflows/{workflow}/executions")).await.status, 200);
}
