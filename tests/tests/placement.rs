//! Where work goes: agents get what their slots are worth, labels are kept, and work that nobody can do says so.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use cluster_tests::cluster::client::send;
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::runs::text;
use cluster_tests::cluster::{AgentShape, Cluster, Part, Shape};
use cluster_tests::wait;
use serde_json::{Value, json};

/// Equal nodes of the run that is spread.
const NODES: usize = 200;
/// How long each works.
const NODE_MS: u64 = 30;
/// How long a run may take.
const RUN_TIME_MAX: Duration = Duration::from_secs(60);

fn agent(slots: u32) -> AgentShape {
    AgentShape { slots, labels: "" }
}

fn wide() -> Graph {
    let graph = Graph::default().node("input", "input:text", json!({ "text": "thread" }));
    (0..NODES).fold(graph, |graph, number| {
        let id = format!("n{number}");
        let config = json!({ "file": "placement", "ms": NODE_MS });
        graph.node(&id, "debug:effect", config).edge("input.text", &format!("{id}.in"))
    })
}

/// The share in percent of one run's nodes that each agent had, in the order of the agents.
async fn shares(slots: [u32; 3]) -> [f64; 3] {
    let cluster = Cluster::of(Shape { gateways: 1, agents: slots.map(agent).to_vec() }).await;
    let workflow = cluster.client().save("wide", &wide()).await;
    let run = cluster.client().run(&workflow, "wide").await;
    let ended = cluster.client().ended(&run, RUN_TIME_MAX).await;
    assert_eq!(ended["status"], "COMPLETED", "{}", ended["error"]);
    let mut nodes: BTreeMap<String, usize> = BTreeMap::new();
    for node in ended["nodeRuns"].as_array().unwrap().iter().filter(|node| node["agent"].is_string()) {
        *nodes.entry(text(&node["agent"])).or_default() += 1;
    }
    assert_eq!(nodes.values().sum::<usize>(), NODES, "the run shows where each of its nodes ran");
    let of = |number| nodes.get(&cluster.agent_id(Part::Agent(number))).copied().unwrap_or(0);
    let shares = [of(0), of(1), of(2)].map(|nodes| 100.0 * nodes as f64 / NODES as f64);
    println!("{NODES} nodes over agents with {slots:?} slots: {shares:?} %");
    shares
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_agents_get_equal_shares() {
    for share in shares([4, 4, 4]).await {
        assert!((20.0..=47.0).contains(&share), "{share} %");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_follow_slots() {
    let slots = [1, 2, 4];
    let all = f64::from(slots.iter().sum::<u32>());
    for (share, slots) in shares(slots).await.into_iter().zip(slots) {
        let fair = 100.0 * f64::from(slots) / all;
        assert!((share - fair).abs() <= 10.0, "{share} % where {fair} % would be fair");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_nobody_can_do_says_so_until_somebody_can() {
    let labelled = AgentShape { slots: 4, labels: "gpu=a100,region=eu" };
    let mut cluster = Cluster::of(Shape { gateways: 1, agents: vec![agent(4), labelled] }).await;
    let policy = json!({ "agent": { "labels": { "gpu": "a100" } } });
    let graph = Graph::default()
        .node("input", "input:text", json!({ "text": "thread" }))
        .node_with("picky", "debug:echo", json!({}), policy)
        .edge("input.text", "picky.in");
    let workflow = cluster.client().save("picky", &graph).await;
    cluster.kill(Part::Agent(1));
    let run = cluster.client().run(&workflow, "picky").await;
    let waiting = wait::until("word of who waits", RUN_TIME_MAX, || async {
        let poll = cluster.client().get_json(&format!("/api/v1/workflows/executions/{run}/poll")).await;
        match &poll["waitingOn"][0] {
            Value::Null => Err(poll.to_string()),
            waiting => Ok(waiting.clone()),
        }
    })
    .await;
    assert_eq!((&waiting["kind"], &waiting["nodeId"]), (&json!("agent"), &json!("picky")), "{waiting}");
    assert_eq!(waiting["need"], "an agent that runs debug:echo with gpu=a100", "{waiting}");
    cluster.start_part(Part::Agent(1), None);
    let ended = cluster.client().ended(&run, RUN_TIME_MAX).await;
    assert_eq!(ended["status"], "COMPLETED", "{}", ended["error"]);
    let node = ended["nodeRuns"].as_array().unwrap().iter().find(|node| node["nodeId"] == "picky").unwrap();
    assert_eq!(node["agent"], cluster.agent_id(Part::Agent(1)).as_str());
    assert!(ended["waitingOn"].as_array().is_none_or(Vec::is_empty), "{}", ended["waitingOn"]);
}

/// A run of `nodes` equal nodes, each of which works for a while.
fn load(nodes: usize, policy: &Value, file: &str) -> Graph {
    let graph = Graph::default().node("input", "input:text", json!({ "text": "thread" }));
    (0..nodes).fold(graph, |graph, number| {
        let id = format!("n{number}");
        let config = json!({ "file": file, "ms": NODE_MS });
        graph.node_with(&id, "debug:effect", config, policy.clone()).edge("input.text", &format!("{id}.in"))
    })
}

/// How many effects of the first run there were when the second was through.
async fn overtaken(cluster: &Cluster, first: &str, second: &str, effects: usize) -> usize {
    wait::until("the end of what came second", RUN_TIME_MAX, || async {
        let done = cluster.effects(second).len();
        if done >= effects { Ok(()) } else { Err(format!("{done} of {effects}")) }
    })
    .await;
    cluster.effects(first).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_much_work_keeps_no_other_waiting() {
    let cluster = Cluster::of(Shape { gateways: 1, agents: vec![agent(2)] }).await;
    let client = cluster.client();
    let made = client.post("/api/v1/tenants", &json!({ "id": "other" }), "tenant").await;
    assert!(made.is_success(), "{made}");
    let wanted = json!({ "scopes": ["workflows:read", "workflows:write", "workflows:execute"] });
    let made = client.post("/api/v1/tenants/other/keys", &wanted, "key").await;
    let key = text(&made.json()["key"]);
    let much = client.save("much", &load(NODES, &json!({ "priority": 100 }), "much")).await;
    client.run(&much, "much").await;
    let post = |path: String, body: Value| {
        let request = client.anonymous(reqwest::Method::POST, &path).bearer_auth(&key).json(&body);
        async move { send(request).await.unwrap() }
    };
    let saved = post("/api/v1/workflows".into(), load(10, &json!({}), "little").named("little")).await;
    let path = format!("/api/v1/workflows/{}/execute", text(&saved.json()["id"]));
    assert_eq!(post(path, json!({})).await.status, 201);
    let before = overtaken(&cluster, "much", "little", 10).await;
    println!("{before} of {NODES} nodes were through when 10 of another tenant's were");
    assert!(before < NODES / 2, "{before} of {NODES} nodes went first");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_more_important_overtakes() {
    let cluster = Cluster::of(Shape { gateways: 1, agents: vec![agent(2)] }).await;
    let client = cluster.client();
    let many = client.save("many", &load(NODES, &json!({}), "many")).await;
    let urgent = client.save("urgent", &load(10, &json!({ "priority": 100 }), "urgent")).await;
    client.run(&many, "many").await;
    client.run(&urgent, "urgent").await;
    let before = overtaken(&cluster, "many", "urgent", 10).await;
    println!("{before} of {NODES} nodes were through when 10 more important ones were");
    assert!(before < NODES / 2, "{before} of {NODES} nodes went first");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_waits_for_a_slot_says_that() {
    let cluster = Cluster::of(Shape { gateways: 1, agents: vec![agent(1)] }).await;
    let client = cluster.client();
    // More than an agent lets wait inside: those say that they run.
    let input = Graph::default().node("input", "input:text", json!({ "text": "thread" }));
    let graph = (0..40).fold(input, |graph, number| {
        let id = format!("n{number}");
        graph.node(&id, "debug:sleep", json!({ "ms": 20_000 })).edge("input.text", &format!("{id}.in"))
    });
    let workflow = client.save("many", &graph).await;
    let run = client.run(&workflow, "many").await;
    let waiting = wait::until("word of who waits", RUN_TIME_MAX, || async {
        let poll = client.get_json(&format!("/api/v1/workflows/executions/{run}/poll")).await;
        match &poll["waitingOn"][0] {
            Value::Null => Err(poll.to_string()),
            waiting => Ok(waiting.clone()),
        }
    })
    .await;
    assert_eq!((&waiting["kind"], waiting.get("need")), (&json!("slot"), None), "{waiting}");
    let cancelled = client.post(&format!("/api/v1/workflows/executions/{run}/cancel"), &json!({}), "cancel").await;
    assert!(cancelled.is_success(), "{cancelled}");
    assert!(cancelled.json()["waitingOn"].as_array().is_none_or(Vec::is_empty), "{cancelled}");
}
