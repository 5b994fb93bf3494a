//! Results that runs share (`policy.cache`), by REST and real processes: how often a model is asked shows in the ledger of a sandbox.

#![allow(clippy::panic, clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cluster_tests::cluster::client::{Answer, Client};
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::runs::text;
use cluster_tests::cluster::{AgentShape, Cluster, Part, Setting, Shape};
use cluster_tests::sandbox::Sandbox;
use cluster_tests::wait;
use serde_json::{Value, json};

/// How long a run may take.
const RUN_TIME_MAX: Duration = Duration::from_secs(60);

/// A text, a model that is asked with it, and what it says.
fn asking(topic: &str, policy: Value) -> Graph {
    Graph::default()
        .node("topic", "input:text", json!({ "text": topic }))
        .node_with("draft", "llm:openai_compatible", model(), policy)
        .node("out", "output:text", json!({}))
        .edge("topic.text", "draft.prompt")
        .edge("draft.text", "out.text")
}

fn model() -> Value {
    json!({ "model": "gpt-5-mini", "credential": "writer" })
}

/// Two agents, of which each has a label of its own, and the models that they ask.
struct Setup {
    sandbox: Sandbox,
    cluster: Cluster,
}

impl Setup {
    async fn start() -> Self {
        let sandbox = Sandbox::start().await;
        let arguments = sandbox.arguments([Part::Agent(0), Part::Agent(1)]);
        let agent = |labels| AgentShape { slots: 4, labels };
        let shape = Shape { gateways: 1, agents: vec![agent("place=here"), agent("place=there")] };
        let cluster = Cluster::set_up(shape, Setting { arguments, ..Setting::default() }).await;
        Self { sandbox, cluster }
    }

    fn client(&self) -> &Client {
        self.cluster.client()
    }

    /// What models were asked, in order.
    async fn asked(&self) -> Vec<String> {
        self.sandbox.calls().await.into_iter().map(|call| call.prompt).collect()
    }
}

async fn post(client: &Client, path: &str, body: &Value) -> Answer {
    static KEYS: AtomicU64 = AtomicU64::new(0);
    client.post(path, body, &format!("key {}", KEYS.fetch_add(1, Ordering::Relaxed))).await
}

/// Starts a run of a workflow in some way, and gives it when it is over.
async fn run(client: &Client, workflow: &str, way: &str, body: &Value) -> Value {
    let started = post(client, &format!("/api/v1/workflows/{workflow}/{way}"), body).await;
    assert!(started.is_success(), "{started}");
    let ended = client.ended(&text(&started.json()["executionId"]), RUN_TIME_MAX).await;
    assert_eq!(ended["status"], "COMPLETED", "{ended}");
    ended
}

/// Saves a graph and runs it.
async fn run_new(client: &Client, name: &str, graph: &Graph) -> Value {
    run(client, &client.save(name, graph).await, "execute", &json!({})).await
}

fn node<'a>(run: &'a Value, id: &str) -> &'a Value {
    run["nodeRuns"].as_array().into_iter().flatten().find(|node| node["nodeId"] == id).unwrap_or(&Value::Null)
}

/// Holds that a node took over what another run gave.
fn is_taken(run: &Value, id: &str, from: &Value) {
    let (taken, made) = (node(run, id), node(from, id));
    assert_eq!((&taken["state"], &taken["status"]), (&json!("CACHED"), &json!("COMPLETED")), "{taken}");
    assert_eq!((&taken["cached"], &taken["cachedFrom"]["executionId"]), (&json!(true), &from["id"]), "{taken}");
    assert_eq!(taken["output"], made["output"], "{taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workflows_on_two_agents_share_one_result() {
    let setup = Setup::start().await;
    let at = |place: &str| json!({ "cache": "on", "agent": { "labels": { "place": place } } });
    let first = run_new(setup.client(), "one", &asking("tides", at("here"))).await;
    assert_eq!(node(&first, "draft")["state"], "COMPLETED", "{first}");
    let second = run_new(setup.client(), "another", &asking("tides", at("there"))).await;
    is_taken(&second, "draft", &first);
    assert_eq!(setup.asked().await, ["tides"], "one call for both");
    assert_ne!(first["workflowId"], second["workflowId"]);

    // Who only gives inputs shares as well: it is the author's word.
    let workflow = text(&second["workflowId"]);
    let third = run(setup.client(), &workflow, "run", &json!({})).await;
    is_taken(&third, "draft", &first);
    let events = setup.client().events(&text(&third["id"])).await;
    let told = events.iter().flat_map(|event| event["decided"].as_array().cloned().unwrap_or_default());
    let told: Vec<Value> = told.filter(|decision| decision["nodeId"] == "draft").collect();
    assert!(
        told.iter().any(|it| it["state"] == "CACHED" && it["cachedFrom"]["executionId"] == first["id"]),
        "{told:?}"
    );

    // Another text, another config, and a node that shares nothing.
    run_new(setup.client(), "other text", &asking("herons", at("here"))).await;
    let mut other = asking("tides", at("here"));
    other = other.node_with(
        "warm",
        "llm:openai_compatible",
        json!({ "model": "gpt-5", "credential": "writer" }),
        at("here"),
    );
    other = other.edge("topic.text", "warm.prompt");
    let other = run_new(setup.client(), "other config", &other).await;
    is_taken(&other, "draft", &first);
    assert_eq!(node(&other, "warm")["state"], "COMPLETED");
    run_new(setup.client(), "alone", &asking("tides", json!({}))).await;
    assert_eq!(setup.asked().await, ["tides", "herons", "tides", "tides"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_shared_for_as_long_as_the_node_says() {
    let setup = Setup::start().await;
    let client = setup.client();
    let workflow = client.save("brief", &asking("tides", json!({ "cache": { "ttlSeconds": 1 } }))).await;
    run(client, &workflow, "execute", &json!({})).await;
    wait::until("a second call, after the time of the first", RUN_TIME_MAX, || async {
        run(client, &workflow, "execute", &json!({})).await;
        let calls = setup.asked().await.len();
        if calls == 2 { Ok(()) } else { Err(format!("{calls} calls")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_outlive_the_coordinator_and_the_run_that_takes_them_needs_no_other() {
    let mut setup = Setup::start().await;
    let large = Graph::default()
        .node("topic", "input:text", json!({ "text": "tides" }))
        .node_with("draft", "llm:openai_compatible", model(), json!({ "cache": "on" }))
        .node_with("big", "debug:bytes", json!({ "count": 300_000 }), json!({ "cache": "on" }))
        .node("said", "output:preview", json!({}))
        .node("out", "output:preview", json!({}))
        .edge("topic.text", "draft.prompt")
        .edge("draft.text", "said.value")
        .edge("big.out", "out.value");
    let client = setup.client().clone();
    let workflow = client.save("large", &large).await;
    let first = run(&client, &workflow, "execute", &json!({})).await;
    setup.cluster.restart(Part::Coordinator);
    let second = run(&client, &workflow, "execute", &json!({})).await;
    is_taken(&second, "draft", &first);
    let big = |run: &Value| node(run, "big")["output"]["out"].clone();
    assert_eq!(node(&second, "big")["state"], "CACHED");
    assert_eq!((big(&second)["digest"].is_string(), &big(&second)["digest"]), (true, &big(&first)["digest"]));
    let bytes = reqwest::get(text(&big(&second)["url"])).await.unwrap().bytes().await.unwrap();
    assert_eq!(bytes.len(), 300_002, "it is there for whoever took it");
    assert_eq!(setup.asked().await, ["tides"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_ask_while_the_coordinator_dies_ask_again() {
    const RUNS: usize = 12;
    let mut setup = Setup::start().await;
    let client = setup.client().clone();
    let workflow = client.save("killed", &asking("tides", json!({ "cache": "on" }))).await;
    let first = run(&client, &workflow, "execute", &json!({})).await;
    let path = format!("/api/v1/workflows/{workflow}/execute");
    let mut runs = Vec::new();
    for turn in 0..RUNS {
        let started = post(&client, &path, &json!({})).await;
        assert_eq!(started.status, 201, "{started}");
        runs.push(text(&started.json()["executionId"]));
        if turn % 4 == 3 {
            setup.cluster.restart(Part::Coordinator);
        }
    }
    for execution in &runs {
        let ended = client.ended(execution, RUN_TIME_MAX).await;
        assert_eq!(ended["status"], "COMPLETED", "{ended}");
        is_taken(&ended, "draft", &first);
    }
    assert_eq!(setup.asked().await, ["tides"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_gets_nothing() {
    let mut setup = Setup::start().await;
    let graph = asking("tides", json!({ "cache": "on" }));
    let first = run_new(setup.client(), "ours", &graph).await;
    let made = post(setup.client(), "/api/v1/tenants", &json!({ "id": "others", "name": "Others" })).await;
    assert_eq!(made.status, 201, "{made}");
    let scopes = ["workflows:read", "workflows:write", "workflows:execute", "executions:read"];
    let key =
        post(setup.client(), "/api/v1/tenants/others/keys", &json!({ "scopes": scopes, "subject": "them" })).await;
    assert_eq!(key.status, 201, "{key}");
    let log = setup.cluster.folder().join("others.jsonl");
    let others = Client::new(&setup.cluster.origin(0), &text(&key.json()["key"]), &log);
    let theirs = run_new(&others, "theirs", &graph).await;
    assert_eq!(node(&theirs, "draft")["state"], "COMPLETED", "{theirs}");
    assert_eq!(setup.asked().await.len(), 2);
    let again = run_new(&others, "theirs again", &graph).await;
    is_taken(&again, "draft", &theirs);
    assert_ne!(first["id"], theirs["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_it_made_now_gets_it_so_and_gives_it_to_the_next() {
    let setup = Setup::start().await;
    let client = setup.client();
    let workflow = client.save("forced", &asking("tides", json!({ "cache": "on" }))).await;
    let first = run(client, &workflow, "execute", &json!({})).await;
    let forced = run(client, &workflow, "execute", &json!({ "force": true })).await;
    assert_eq!((&node(&forced, "draft")["state"], setup.asked().await.len()), (&json!("COMPLETED"), 2));
    let next = run(client, &workflow, "execute", &json!({})).await;
    is_taken(&next, "draft", &forced);

    let target = run(client, &workflow, "execute", &json!({ "targetNodeId": "draft" })).await;
    assert_eq!((&node(&target, "draft")["state"], setup.asked().await.len()), (&json!("COMPLETED"), 3));

    let of = |id: &Value, rest: &str| format!("/api/v1/workflows/executions/{}/{rest}", text(id));
    let rerun = post(client, &of(&first["id"], "rerun"), &json!({})).await;
    assert!(rerun.is_success(), "{rerun}");
    let rerun = client.ended(&text(&rerun.json()["executionId"]), RUN_TIME_MAX).await;
    assert_eq!((&node(&rerun, "draft")["state"], setup.asked().await.len()), (&json!("COMPLETED"), 4));

    // A resume says beforehand that another run may have it, and takes it.
    let inputs = json!({ "inputs": { "topic": "tides" }, "fromNodeId": "topic" });
    let mut plan = inputs.clone();
    plan["plan"] = json!(true);
    let plan = post(client, &of(&first["id"], "resume"), &plan).await;
    assert!(plan.is_success(), "{plan}");
    let resumed = post(client, &of(&first["id"], "resume"), &inputs).await;
    assert!(resumed.is_success(), "{resumed}");
    client.ended(&text(&resumed.json()["executionId"]), RUN_TIME_MAX).await;
    assert_eq!(setup.asked().await.len(), 4, "its own parent has it");
    let other = json!({ "inputs": { "topic": "herons" }, "fromNodeId": "topic" });
    let mut plan = other.clone();
    plan["plan"] = json!(true);
    let plan = post(client, &of(&first["id"], "resume"), &plan).await.json();
    let may_run = plan["mayRun"].as_array().cloned().unwrap_or_default();
    assert_eq!(
        may_run.iter().map(|it| (&it["nodeId"], &it["why"])).collect::<Vec<_>>(),
        [(&json!("draft"), &json!("cache_may_answer"))]
    );
    run_new(client, "herons", &asking("herons", json!({ "cache": "on" }))).await;
    let resumed = post(client, &of(&first["id"], "resume"), &other).await;
    let resumed = client.ended(&text(&resumed.json()["executionId"]), RUN_TIME_MAX).await;
    assert_eq!((&node(&resumed, "draft")["state"], setup.asked().await.len()), (&json!("CACHED"), 5), "{resumed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn items_of_maps_share_what_they_give() {
    let setup = Setup::start().await;
    let map = |items: Value| {
        Graph::default()
            .node("list", "input:json", json!({ "value": items }))
            .node("each", "logic:map", json!({ "concurrency": 4 }))
            .node_with("draft", "llm:openai_compatible", model(), json!({ "cache": "on" }))
            .inside("each")
            .node("out", "output:preview", json!({}))
            .edge("list.json", "each.items")
            .edge("each.item", "draft.prompt")
            .edge("draft.text", "each.result")
            .edge("each.results", "out.value")
    };
    run_new(setup.client(), "first", &map(json!(["tides", "herons", "eels"]))).await;
    let second = run_new(setup.client(), "second", &map(json!(["eels", "gulls", "tides"]))).await;
    let mut asked = setup.asked().await;
    asked.sort_unstable();
    assert_eq!(asked, ["eels", "gulls", "herons", "tides"], "each text once");
    assert_eq!(node(&second, "out")["output"]["value"].as_array().map(Vec::len), Some(3), "{second}");
}
