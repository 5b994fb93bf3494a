//! Standing still on purpose: a paused run and a paused node type begin nothing, whatever is killed, and deadlines end runs.

#![allow(clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use cluster_tests::cluster::client::{Answer, Client};
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::runs::text;
use cluster_tests::cluster::{Cluster, Part};
use cluster_tests::wait;
use serde_json::{Value, json};

/// How long a run may take.
const RUN_TIME_MAX: Duration = Duration::from_secs(60);

/// A node that works until a file is there, and one after it.
fn held(file: &str, until: &str) -> Graph {
    let begun = format!("{file}.begun");
    Graph::default()
        .node("first", "debug:effect", json!({ "file": file, "begun": begun, "until": until }))
        .node("second", "debug:effect", json!({ "file": format!("{file}.second") }))
        .node("out", "output:preview", json!({}))
        .edge("first.out", "second.in")
        .edge("second.out", "out.value")
}

async fn change(client: &Client, path: &str, body: Value) -> Answer {
    client.post(&format!("/api/v1{path}"), &body, path).await
}

async fn begun(cluster: &Cluster, file: &str) {
    let begun = format!("{file}.begun");
    wait::until("the work to begin", RUN_TIME_MAX, || async {
        if cluster.effects(&begun).is_empty() { Err("nothing has begun".to_owned()) } else { Ok(()) }
    })
    .await;
}

/// Lets work go on that waits for a file.
fn open(cluster: &Cluster, until: &str) {
    std::fs::write(cluster.folder().join("effects").join(until), "").unwrap();
}

async fn until_waiting(client: &Client, run: &str, kind: &str) -> Value {
    wait::until(&format!("{run} to wait for {kind}"), RUN_TIME_MAX, || async {
        let run = client.execution(run).await;
        let waiting = run["waitingOn"].as_array().cloned().unwrap_or_default();
        waiting.into_iter().find(|waiting| waiting["kind"] == kind).ok_or_else(|| run.to_string())
    })
    .await
}

fn names(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| text(&event["type"])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_run_stands_still_whatever_is_killed() {
    let mut cluster = Cluster::start(1, 2).await;
    let workflow = cluster.client().save("held", &held("held", "go")).await;
    let run = cluster.client().run(&workflow, "held").await;
    begun(&cluster, "held").await;
    let at = format!("/workflows/executions/{run}");
    let paused = change(cluster.client(), &format!("{at}/pause"), json!({ "reason": "look first" })).await;
    assert_eq!(paused.status, 200, "{paused}");
    assert_eq!(
        (&paused.json()["paused"]["reason"], &paused.json()["status"]),
        (&json!("look first"), &json!("RUNNING"))
    );
    let again = change(cluster.client(), &format!("{at}/pause"), json!({})).await;
    assert_eq!(
        (again.status, &again.json()["paused"]),
        (200, &paused.json()["paused"]),
        "a second time changes nothing"
    );
    let newer = change(cluster.client(), &format!("{at}/pause"), json!({ "reason": "look twice" })).await.json();
    assert_eq!(
        (&newer["paused"]["reason"], &newer["paused"]["since"]),
        (&json!("look twice"), &paused.json()["paused"]["since"])
    );
    open(&cluster, "go");
    let done = wait::until("what is at work to be recorded", RUN_TIME_MAX, || async {
        let events = cluster.client().events(&run).await;
        if names(&events).contains(&"node.completed".to_owned()) {
            Ok(events.len())
        } else {
            Err(format!("{events:?}"))
        }
    })
    .await;
    cluster.restart(Part::Coordinator);
    cluster.serves().await;
    let waiting = until_waiting(cluster.client(), &run, "paused").await;
    assert!(text(&waiting["need"]).contains("look twice"), "{waiting}");
    assert_eq!(cluster.client().events(&run).await.len(), done, "nothing follows, also after a restart");
    assert_eq!(cluster.effects("held.second"), Vec::<String>::new());
    let unpaused = change(cluster.client(), &format!("{at}/unpause"), json!({})).await;
    assert_eq!((unpaused.status, &unpaused.json()["paused"]), (200, &Value::Null), "{unpaused}");
    let ended = cluster.client().ended(&run, RUN_TIME_MAX).await;
    assert_eq!(ended["status"], "COMPLETED", "{ended}");
    let events = names(&cluster.client().events(&run).await);
    assert_eq!(events.iter().filter(|name| *name == "run.paused" || *name == "run.unpaused").count(), 3, "{events:?}");
    for verb in ["pause", "unpause"] {
        let late = change(cluster.client(), &format!("{at}/{verb}"), json!({})).await;
        assert_eq!((late.status, &late.json()["code"]), (409, &json!("execution_over")), "{late}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_run_can_be_cancelled() {
    let cluster = Cluster::start(1, 2).await;
    let graph = Graph::default().node("wait", "logic:wait", json!({ "forMs": 600_000 }));
    let workflow = cluster.client().save("waits", &graph).await;
    let run = cluster.client().run(&workflow, "waits").await;
    let at = format!("/workflows/executions/{run}");
    assert_eq!(change(cluster.client(), &format!("{at}/pause"), json!({})).await.status, 200);
    let polled = cluster.client().get_json(&format!("/api/v1{at}/poll")).await;
    assert!(polled["paused"]["by"].is_string(), "{polled}");
    let cancelled = change(cluster.client(), &format!("{at}/cancel"), json!({ "reason": "wrong input" })).await;
    assert_eq!((cancelled.status, &cancelled.json()["status"]), (200, &json!("CANCELLED")), "{cancelled}");
    assert_eq!(cancelled.json()["paused"], Value::Null);
    // Who it was and why is kept wherever somebody asks.
    let by = cancelled.json()["cancelled"]["by"].clone();
    let kept = json!({ "by": by, "reason": "wrong input" });
    assert!(by.is_string() && cancelled.json()["cancelled"] == kept, "{cancelled}");
    let again = change(cluster.client(), &format!("{at}/cancel"), json!({ "reason": "another" })).await;
    assert_eq!((again.status, &again.json()["cancelled"]), (200, &kept), "{again}");
    for path in [at.clone(), format!("{at}/poll")] {
        let shown = cluster.client().get_json(&format!("/api/v1{path}")).await;
        assert_eq!(shown["cancelled"], kept, "{path}: {shown}");
    }
    let ending = cluster.client().get_json(&format!("/api/v1{at}/explain")).await;
    assert_eq!((&ending["ending"]["by"], &ending["ending"]["message"]), (&by, &json!("wrong input")), "{ending}");
    assert!(text(&ending["headline"]).contains("wrong input"), "{ending}");
    let events = cluster.client().events(&run).await;
    let told = events.iter().find(|event| event["type"] == "run.cancelled").unwrap_or_else(|| panic!("{events:?}"));
    assert_eq!((&told["by"], &told["reason"]), (&by, &json!("wrong input")), "{told}");
    let long = change(cluster.client(), &format!("{at}/cancel"), json!({ "reason": "x".repeat(2_000) })).await;
    assert_eq!(long.status, 400, "{long}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_a_paused_type_wait_in_all_runs() {
    let mut cluster = Cluster::start(1, 2).await;
    let graph = Graph::default()
        .node("a", "debug:noop", json!({}))
        .node("b", "debug:effect", json!({ "file": "typed" }))
        .edge("a.out", "b.in");
    let workflow = cluster.client().save("typed", &graph).await;
    let paused = change(cluster.client(), "/nodes/debug:effect/pause", json!({ "reason": "too dear" })).await;
    assert_eq!((paused.status, &paused.json()["paused"]["reason"]), (200, &json!("too dear")), "{paused}");
    // As the list of all types shows it, and the answer about one.
    let shown = async |client: &Client| {
        let all = client.get_json("/api/v1/nodes").await;
        let listed = all["nodes"].as_array().unwrap().iter().find(|entry| entry["nodeType"] == "debug:effect").cloned();
        let one = client.get_json("/api/v1/nodes/debug:effect").await;
        assert_eq!(listed.unwrap(), one["data"]);
        one
    };
    let entry = shown(cluster.client()).await;
    assert_eq!((&entry["available"], entry["paused"]["since"].is_string()), (&json!(false), true), "{entry}");
    let run = cluster.client().run(&workflow, "typed").await;
    // Of two reasons the newer one stands, and no reason changes nothing.
    for (body, reason) in [
        (json!({}), "too dear"),
        (json!({ "reason": "the provider is down" }), "the provider is down"),
        (json!({ "reason": "too dear" }), "too dear"),
    ] {
        let again = change(cluster.client(), "/nodes/debug:effect/pause", body).await.json();
        assert_eq!(
            (&again["paused"]["reason"], &again["paused"]["since"]),
            (&json!(reason), &paused.json()["paused"]["since"])
        );
    }
    let waiting = until_waiting(cluster.client(), &run, "paused").await;
    assert_eq!((&waiting["nodeId"], text(&waiting["need"]).contains("too dear")), (&json!("b"), true), "{waiting}");
    // The row is durable.
    cluster.restart(Part::Coordinator);
    cluster.serves().await;
    until_waiting(cluster.client(), &run, "paused").await;
    let entry = shown(cluster.client()).await;
    assert_eq!((&entry["available"], &entry["paused"]["reason"]), (&json!(false), &json!("too dear")), "{entry}");
    let other = cluster.client().save("other", &Graph::default().node("a", "debug:noop", json!({}))).await;
    let other = cluster.client().run(&other, "other").await;
    assert_eq!(cluster.client().ended(&other, RUN_TIME_MAX).await["status"], "COMPLETED", "other types go on");
    assert_eq!(cluster.effects("typed"), Vec::<String>::new());
    let unpaused = change(cluster.client(), "/nodes/debug:effect/unpause", json!({})).await;
    assert_eq!((unpaused.status, &unpaused.json()["paused"]), (200, &Value::Null), "{unpaused}");
    assert_eq!(cluster.client().ended(&run, RUN_TIME_MAX).await["status"], "COMPLETED");
    let entry = shown(cluster.client()).await;
    assert_eq!((&entry["available"], entry.get("paused")), (&json!(true), None), "{entry}");
    for (node_type, status, code) in [("no:type", 404, "node_type_not_found"), ("logic:map", 422, "built_in_type")] {
        let refused = change(cluster.client(), &format!("/nodes/{node_type}/pause"), json!({})).await;
        assert_eq!((refused.status, &refused.json()["code"]), (status, &json!(code)), "{refused}");
    }
}

/// What is shown is what the database has, whoever came first of those who came at once, and whoever did not wait for the answer.
#[tokio::test(flavor = "multi_thread")]
async fn pauses_of_a_type_that_come_at_once_are_the_same_after_a_restart() {
    let mut cluster = Cluster::start(1, 2).await;
    let at = "/api/v1/nodes/debug:noop";
    for round in 0..4 {
        let client = cluster.client();
        let changes = (0..16).map(|place| async move {
            let verb = if (place + round) % 2 == 0 { "pause" } else { "unpause" };
            let body = json!({ "reason": format!("{round}.{place}") });
            let body = if verb == "pause" { body } else { json!({}) };
            let path = format!("{at}/{verb}");
            let key = format!("{round}.{place}");
            let answer = client.post(&path, &body, &key);
            // Some give up at once.
            let patience = if place % 4 == 3 { Duration::from_millis(1) } else { RUN_TIME_MAX };
            tokio::time::timeout(patience, answer).await.map(|answer| assert_eq!(answer.status, 200, "{answer}"))
        });
        let _given_up = futures::future::join_all(changes).await;
        let before = cluster.client().get_json(at).await["paused"].clone();
        cluster.restart(Part::Coordinator);
        cluster.serves().await;
        assert_eq!(cluster.client().get_json(at).await["paused"], before, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_any_agent_has_connected_the_built_in_types_are_known_and_others_say_why_not() {
    let cluster = Cluster::start(0, 1).await;
    let client = cluster.client();
    let own = client.get_json("/api/v1/nodes/logic:map").await;
    assert_eq!((&own["nodeType"], &own["available"]), (&json!("logic:map"), &json!(true)), "{own}");
    let refused = change(client, "/nodes/logic:map/pause", json!({})).await;
    assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("built_in_type")), "{refused}");
    // `input:txt` is a slip of the pen, and no agent will ever bring it.
    for (node_type, is_awaited) in [("debug:effect", true), ("llm:none", true), ("input:txt", false)] {
        let told = [
            client.get(&format!("/api/v1/nodes/{node_type}")).await,
            change(client, &format!("/nodes/{node_type}/pause"), json!({})).await,
            change(client, &format!("/nodes/{node_type}/unpause"), json!({})).await,
        ];
        for refused in told {
            let body = refused.json();
            assert_eq!((refused.status, &body["code"]), (404, &json!("node_type_not_found")), "{refused}");
            let message = text(&body["message"]);
            assert_eq!(message.contains("no agent has connected yet"), is_awaited, "{node_type}: {message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lesser_of_two_deadlines_ends_a_run() {
    let cluster = Cluster::start(1, 4).await;
    let graph = Graph::default().node("slow", "debug:sleep", json!({ "ms": 600_000 }));
    let mut limited = graph.named("limited");
    limited["policy"] = json!({ "deadlineMs": 300 });
    let saved = cluster.client().post("/api/v1/workflows", &limited, "limited").await;
    let limited = text(&saved.json()["id"]);
    let plain = cluster.client().save("plain", &graph).await;
    for (workflow, body, least) in [
        (&limited, json!({}), "300 ms"),
        (&limited, json!({ "deadlineMs": 200 }), "200 ms"),
        (&limited, json!({ "deadlineMs": 900_000 }), "300 ms"),
        (&plain, json!({ "deadlineMs": 250 }), "250 ms"),
    ] {
        let path = format!("/api/v1/workflows/{workflow}/execute");
        let begun = cluster.client().post(&path, &body, &format!("{path} {body}")).await;
        let ended = cluster.client().ended(&text(&begun.json()["executionId"]), RUN_TIME_MAX).await;
        assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("FAILED"), &json!("run_timeout")), "{ended}");
        assert!(text(&ended["error"]["message"]).contains(least), "{ended}");
    }
    let path = format!("/api/v1/workflows/{plain}/execute");
    for wrong in [json!(0), json!("soon"), json!(31u64 * 24 * 60 * 60 * 1_000)] {
        let refused = cluster.client().post(&path, &json!({ "deadlineMs": wrong }), &format!("wrong {wrong}")).await;
        assert_eq!((refused.status, &refused.json()["path"]), (400, &json!("/deadlineMs")), "{refused}");
    }
}
