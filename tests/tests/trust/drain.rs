//! Agents that get no more work.

use std::time::Duration;

use cluster_tests::cluster::graph::Graph;
use cluster_tests::wait;
use reqwest::Method;
use serde_json::{Value, json};

use crate::tls::{SOON, Tls};

/// A run that has to be let go on while the agent is drained.
const LONG_MS: u64 = 4_000;

async fn sleeper(cluster: &Tls, name: &str, ms: u64, nodes: usize) -> String {
    let graph = (0..nodes)
        .fold(Graph::default(), |graph, number| graph.node(&format!("n{number}"), "debug:sleep", json!({"ms": ms})));
    cluster.client().save(name, &graph).await
}

async fn busy(cluster: &Tls, id: &str) -> u64 {
    let agents = cluster.client().get_json("/api/v1/agents").await;
    let agent = agents.as_array().unwrap().iter().find(|agent| agent["id"] == id).cloned().unwrap_or(Value::Null);
    agent["busy"].as_u64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_agent_finishes_what_it_has_and_gets_nothing_new() {
    let mut cluster = Tls::start(&[]).await;
    let token = cluster.token("agent").await;
    cluster.start_agent("first", 1, Some(&token));
    let first = cluster.agents(&["connected"]).await[0]["id"].as_str().unwrap().to_owned();
    // One runs, and others wait inside the agent.
    let long = sleeper(&cluster, "long", LONG_MS, 3).await;
    let run = cluster.client().run(&long, "long").await;
    wait::until("work that waits inside the agent", SOON, || async {
        let busy = busy(&cluster, &first).await;
        if busy >= 2 { Ok(()) } else { Err(format!("{busy}")) }
    })
    .await;

    let drained = cluster.heddle(&["agents", "drain", &first, "--json"]).await;
    assert!(drained.status.success(), "{}", String::from_utf8_lossy(&drained.stderr));
    let drained: Value = serde_json::from_slice(&drained.stdout).unwrap();
    assert_eq!(drained["state"], "draining", "{drained}");
    // What has not begun comes back; what runs is left alone.
    wait::until("only what runs to be left", SOON, || async {
        let busy = busy(&cluster, &first).await;
        if busy == 1 { Ok(()) } else { Err(format!("{busy}")) }
    })
    .await;
    let token = cluster.token("agent").await;
    cluster.start_agent("second", 4, Some(&token));
    cluster.agents(&["connected", "draining"]).await;
    let ended = cluster.client().ended(&run, SOON).await;
    assert_eq!(ended["status"], "COMPLETED", "{ended}");
    let trace = cluster.client().get_json(&format!("/api/v1/workflows/executions/{run}/trace")).await;
    let succeeded_on_first = trace.to_string().matches(&first).count();
    assert!(succeeded_on_first >= 1, "{trace}");

    // It holds over a new start of the agent, and of the coordinator.
    cluster.kill("first");
    cluster.start_agent("first", 1, None);
    cluster.agents(&["connected", "draining"]).await;
    cluster.kill("coordinator");
    cluster.start_coordinator();
    cluster.agents(&["connected", "draining"]).await;
    cluster.kill("second");
    cluster.agents(&["draining"]).await;
    let short = sleeper(&cluster, "short", 5, 1).await;
    let run = cluster.client().run(&short, "short").await;
    // Longer than any work would need to get there.
    wait::pace(Duration::from_millis(700)).await;
    assert_eq!(busy(&cluster, &first).await, 0);
    assert_eq!(cluster.client().execution(&run).await["status"], "RUNNING");

    let resumed = cluster.asked(Method::POST, &format!("/api/v1/agents/{first}/resume"), json!({})).await;
    assert_eq!((resumed.status, &resumed.json()["state"]), (200, &json!("connected")), "{resumed}");
    let ended = cluster.client().ended(&run, SOON).await;
    assert_eq!(ended["status"], "COMPLETED", "{ended}");
    for verb in ["drain", "resume"] {
        let answer = cluster.asked(Method::POST, &format!("/api/v1/agents/agt_nobody/{verb}"), json!({})).await;
        assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("agent_not_found")), "{answer}");
    }
    let listed = cluster.heddle(&["agents", "list"]).await;
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains(&first) && listed.contains("STATE"), "{listed}");
}
