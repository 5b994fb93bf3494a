//! A tree of runs, three deep: each child's result at its place, once, whatever is killed; one trace; and a cancel of the root
//! reaches every leaf.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster_tests::cluster::client::Client;
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::random::{Random, number, seed};
use cluster_tests::cluster::{Cluster, Part, Shape};
use cluster_tests::wait;
use heddle_test_postgres::Server;
use serde_json::{Value, json};

use super::{RUN_TIME_MAX, children, id_of, invoke, node, output};

/// The file that leaves write to.
const WITNESS: &str = "leaves";
/// Runs between the root and the leaves.
const BRANCHES: usize = 5;
/// How long the whole tree may take.
const TREE_TIME_MAX: Duration = Duration::from_secs(400);

/// Runs below the root.
fn count() -> usize {
    number("CHILDREN").unwrap_or(60) as usize
}

fn leaves_of_a_branch() -> usize {
    (count() / BRANCHES).saturating_sub(1).max(1)
}

/// Workflows of a tree: the root's, the branches', the leaves'.
struct Tree {
    root: String,
    branch: String,
    leaf: String,
}

impl Tree {
    /// Leaves do this with the number they get, between `in.json` and `said.value`.
    async fn save(client: &Client, name: &str, leaf: Graph) -> Self {
        let leaf = client.save(&format!("{name} leaf"), &leaf).await;
        let numbers: Vec<usize> = (0..leaves_of_a_branch()).collect();
        let branch =
            map_of_children(&leaf, &json!(numbers), "n", "said", "item").node("which", "input:json", json!({}));
        let branch = client.save(&format!("{name} branch"), &branch).await;
        let branches: Vec<usize> = (0..BRANCHES).collect();
        let root = map_of_children(&branch, &json!(branches), "which", "all", "item");
        let root = client.save(&format!("{name} root"), &root).await;
        Self { root, branch, leaf }
    }
}

/// A map over a list, each of whose items is given to a child; `all` has what they give.
fn map_of_children(workflow: &str, items: &Value, input: &str, gives: &str, item: &str) -> Graph {
    let graph = Graph::default().node("list", "input:json", json!({ "value": items })).node(
        "m",
        "logic:map",
        // All are open at the same time, also where none of them ends.
        json!({ "concurrency": 1_000 }),
    );
    invoke(graph, "call", workflow, &json!({}))
        .inside("m")
        .node("all", "output:json", json!({}))
        .edge("list.json", "m.items")
        .edge(&format!("m.{item}"), &format!("call.{input}"))
        .edge(&format!("call.{gives}"), "m.result")
        .edge("m.results", "all.json")
}

/// Writes its number down, and gives it.
fn witness() -> Graph {
    Graph::default()
        .node("n", "input:json", json!({}))
        .node("work", "debug:effect", json!({ "file": WITNESS, "ms": 20 }))
        .node("same", "debug:echo", json!({}))
        .node("said", "output:json", json!({}))
        .edge("n.json", "work.item")
        .edge("work.out", "same.in")
        .edge("n.json", "same.in")
        .edge("same.out", "said.json")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_is_whole_whatever_is_killed() {
    killed_in_the_middle(Cluster::of(Shape::new(1, 2, 8)).await, "tree").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_is_whole_whatever_is_killed_on_postgres() {
    let Some(server) = Server::start() else { return };
    killed_in_the_middle(Cluster::on(Shape::new(1, 2, 8), &server.database()).await, "tree on postgres").await;
}

async fn killed_in_the_middle(mut cluster: Cluster, name: &str) {
    let mut random = Random::from_seed(seed(name));
    let client = cluster.client().clone();
    let tree = Tree::save(&client, name, witness()).await;
    let root = client.run(&tree.root, name).await;
    for part in [Part::Coordinator, Part::Agent(0), Part::Coordinator, Part::Agent(1), Part::Coordinator] {
        wait::pace(random.gap(Duration::from_millis(500))).await;
        cluster.kill(part);
        cluster.start_part(part, None);
    }
    cluster.heal().await;
    let ended = client.ended(&root, TREE_TIME_MAX).await;
    assert_eq!(ended["status"], "COMPLETED", "{ended}");
    // Results are at their places, and each number was written down for a run of its own.
    let results = output(&ended, "all")["json"].as_array().cloned().unwrap_or_default();
    assert_eq!(results.len(), BRANCHES, "{ended}");
    let numbers: Vec<usize> = (0..leaves_of_a_branch()).collect();
    let last = |said: &Value| said.as_array().and_then(|said| said.last().cloned()).unwrap_or_else(|| said.clone());
    for branch in &results {
        let said: Vec<Value> = branch.as_array().into_iter().flatten().map(last).collect();
        assert_eq!(json!(said), json!(numbers), "{branch}");
    }
    let branches = children(&client, &root).await;
    assert_eq!(branches.len(), BRANCHES);
    let mut leaves = BTreeSet::new();
    for branch in &branches {
        assert_eq!(branch["invokedBy"]["executionId"], json!(root));
        let of_it = children(&client, &id_of(branch)).await;
        assert_eq!(of_it.len(), leaves_of_a_branch());
        assert!(of_it.iter().all(|leaf| leaf["status"] == "COMPLETED"), "{of_it:?}");
        leaves.extend(of_it.iter().map(id_of));
    }
    assert_eq!(leaves.len(), BRANCHES * leaves_of_a_branch());
    for (workflow, count) in [(&tree.branch, BRANCHES), (&tree.leaf, leaves.len())] {
        assert_eq!(client.runs_of(workflow).await.len(), count, "no child was begun twice");
    }
    let written: BTreeSet<String> =
        cluster.effects(WITNESS).iter().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect();
    assert_eq!(written, leaves, "each leaf has worked, and nobody else");
    one_trace(&client, &root, &branches).await;
    println!("children: a tree of {} runs, with five kills in between", 1 + BRANCHES + leaves.len());
}

/// Spans of children lie in the spans of the nodes that have invoked them.
async fn one_trace(client: &Client, root: &str, branches: &[Value]) {
    let trace = |id: String| async move { client.get_json(&format!("/api/v1/workflows/executions/{id}/trace")).await };
    let of_root = trace(root.to_owned()).await;
    let calls: Vec<&Value> =
        of_root["nodes"].as_array().into_iter().flatten().filter(|span| span["nodeId"] == "call").collect();
    assert_eq!(calls.len(), BRANCHES);
    for branch in branches {
        let of_branch = trace(id_of(branch)).await;
        assert_eq!(of_branch["traceId"], of_root["traceId"]);
        let call = calls.iter().find(|call| call["childExecutionId"] == branch["id"]).unwrap();
        assert_eq!(of_branch["parentSpanId"], call["spanId"]);
        let leaf = of_branch["nodes"].as_array().into_iter().flatten().find(|span| span["nodeId"] == "call").unwrap();
        let of_leaf = trace(leaf["childExecutionId"].as_str().unwrap().to_owned()).await;
        assert_eq!((&of_leaf["traceId"], &of_leaf["parentSpanId"]), (&of_root["traceId"], &leaf["spanId"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_of_the_root_reaches_every_leaf() {
    let cluster = Cluster::start(1, 2).await;
    let client = cluster.client();
    let waits = Graph::default()
        .node("n", "input:json", json!({}))
        .node("wait", "logic:wait", json!({ "for": "1h" }))
        .node("said", "output:json", json!({}))
        .edge("n.json", "wait.value")
        .edge("wait.value", "said.json");
    let tree = Tree::save(client, "cancel", waits).await;
    let root = client.run(&tree.root, "cancel").await;
    let leaves = BRANCHES * leaves_of_a_branch();
    let all = || async {
        let found = client.runs_of(&tree.leaf).await.len();
        if found == leaves { Ok(()) } else { Err(format!("{found} leaves")) }
    };
    wait::until("all leaves", TREE_TIME_MAX, all).await;
    let waiting = client.execution(&root).await;
    assert_eq!(
        (&node(&waiting, "call")["state"], &waiting["waitingOn"][0]["kind"]),
        (&json!("WAITING"), &json!("child"))
    );
    let cancelled = client.post(&format!("/api/v1/workflows/executions/{root}/cancel"), &json!({}), "cancel").await;
    assert_eq!(cancelled.status, 200, "{cancelled}");
    let stopped = || async {
        for workflow in [&tree.branch, &tree.leaf] {
            let path = format!("/api/v1/workflows/executions?workflowId={workflow}&status=RUNNING");
            let running = client.get_json(&path).await;
            if running.as_array().is_none_or(|running| !running.is_empty()) {
                return Err(running.to_string());
            }
        }
        Ok(())
    };
    wait::until("the end of all", RUN_TIME_MAX, stopped).await;
    let path = format!("/api/v1/workflows/executions?workflowId={}&status=CANCELLED&limit=1", tree.leaf);
    assert_eq!(client.get_json(&path).await[0]["status"], "CANCELLED");
}
