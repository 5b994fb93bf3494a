//! Reviews that a node's policy asks for: before it begins, after it has worked, and when nobody knows what became of its work.

use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::{Cluster, Part, Setting, Shape};
use cluster_tests::wait;
use serde_json::{Value, json};

use super::{RUN_TIME_MAX, SCOPES, decide, decided, output, person, refusal, review, start, the_review};

/// What the node under review has done.
const DONE: &str = "done";
const BEGUN: &str = "begun";

/// A node that works where it shows, under this policy, and an echo of what it got.
fn graph(config: &Value, policy: &Value) -> Graph {
    Graph::default()
        .node("value", "input:text", json!({ "text": "as it was" }))
        .node_with("work", "debug:echo", config.clone(), policy.clone())
        .node("seen", "debug:effect", json!({ "file": DONE }))
        .node("out", "output:preview", json!({}))
        .edge("value.text", "work.item")
        .edge("work.out", "seen.item")
        .edge("work.out", "out.value")
}

#[tokio::test(flavor = "multi_thread")]
async fn before_a_node_begins_people_see_what_it_gets() {
    let mut cluster = Cluster::start(1, 2).await;
    let grace = person(&mut cluster, "grace", &SCOPES).await;
    let client = cluster.client();
    let execution = start(client, "before", &graph(&json!({}), &json!({ "review": "before" }))).await;
    let id = the_review(client, &execution).await;
    let asked = review(client, &id).await;
    assert_eq!(
        (&asked["kind"], &asked["stage"], &asked["nodeId"]),
        (&json!("review"), &json!("before"), &json!("work"))
    );
    assert_eq!(asked["value"], json!({ "item": "as it was" }), "{asked}");
    decided(&grace, &id, &json!({ "decision": "approve" })).await;
    let ended = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(output(&ended, "out")["value"], "as it was", "{ended}");
    // A node that may not begin fails.
    let execution = start(client, "not begun", &graph(&json!({}), &json!({ "review": "before" }))).await;
    decided(&grace, &the_review(client, &execution).await, &json!({ "decision": "reject", "comment": "no" })).await;
    let ended = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!((&ended["status"], &ended["error"]["nodeId"]), (&json!("FAILED"), &json!("work")), "{ended}");
    assert_eq!(cluster.witnessed(DONE).len(), 1, "only the first went on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_gets_what_people_have_made_of_its_inputs() {
    let mut cluster = Cluster::start(1, 2).await;
    let grace = person(&mut cluster, "grace", &SCOPES).await;
    let client = cluster.client();
    let template = json!({ "template": "{{a}} and {{b}}", "names": ["a", "b"] });
    let graph = Graph::default()
        .node("one", "input:text", json!({ "text": "ebb" }))
        .node("two", "input:text", json!({ "text": "flow" }))
        .node_with("work", "utility:prompt_template", template, json!({ "review": "before" }))
        .node("out", "output:preview", json!({}))
        .edge("one.text", "work.vars")
        .edge("two.text", "work.vars")
        .edge("work.text", "out.value");
    let execution = start(client, "inputs", &graph).await;
    let id = the_review(client, &execution).await;
    let asked = review(client, &id).await;
    assert_eq!(asked["value"], json!({ "vars": ["ebb", "flow"] }), "{asked}");
    assert_eq!(asked["allow"], json!(["approve", "edit", "reject"]), "{asked}");
    for (data, place) in [
        (json!("all of it"), "/data"),
        (json!({ "vars": "no list" }), "/data/vars"),
        (json!({ "template": "not wired" }), "/data/template"),
    ] {
        let refused = decide(&grace, &id, &json!({ "decision": "approve", "data": data }), place).await;
        assert_eq!(refusal(&refused), (422, "invalid_decision".into()), "{refused}");
        assert_eq!(refused.json()["path"], place, "{refused}");
    }
    decided(&grace, &id, &json!({ "decision": "approve", "data": { "vars": ["neap", "spring"] } })).await;
    let ended = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(output(&ended, "out")["value"], "neap and spring", "{ended}");
    // Both versions are kept, and the node shows what it got.
    let shown = review(client, &id).await;
    assert_eq!(
        (&shown["value"], &shown["history"][0]["data"]),
        (&json!({ "vars": ["ebb", "flow"] }), &json!({ "vars": ["neap", "spring"] }))
    );
    let node = client.get_json(&format!("/api/v1/workflows/executions/{execution}/nodes/work")).await;
    assert_eq!(node["inputs"]["vars"], json!(["neap", "spring"]), "{node}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_node_has_worked_people_see_what_it_gives() {
    let mut cluster = Cluster::start(1, 2).await;
    let grace = person(&mut cluster, "grace", &SCOPES).await;
    let client = cluster.client();
    let execution = start(client, "after", &graph(&json!({}), &json!({ "review": "after" }))).await;
    let first = the_review(client, &execution).await;
    let asked = review(client, &first).await;
    assert_eq!((&asked["stage"], &asked["value"]), (&json!("after"), &json!({ "out": "as it was" })), "{asked}");
    assert!(cluster.witnessed(DONE).is_empty(), "nothing goes on before");
    for (config, code, path) in [
        (json!({ "nope": 1 }), "invalid_decision", "/config/nope"),
        (json!({ "effect": "nonsense" }), "invalid_decision", "/config/effect"),
        (json!({ "credential": "press" }), "decision_not_allowed", "/config/credential"),
        (json!({ "baseUrl": "http://127.0.0.1:1" }), "decision_not_allowed", "/config/baseUrl"),
    ] {
        let retry = json!({ "decision": "retry", "config": config });
        let refused = decide(&grace, &first, &retry, path).await;
        assert_eq!(refusal(&refused), (422, code.into()), "{config}: {refused}");
        assert_eq!(refused.json()["path"], path, "{config}: {refused}");
    }
    // It works again, with another config, and people are asked again.
    decided(&grace, &first, &json!({ "decision": "retry", "config": { "value": "again" } })).await;
    let second = the_review(client, &execution).await;
    assert_ne!(first, second);
    assert_eq!(review(client, &second).await["value"], json!({ "out": "again" }));
    decided(&grace, &second, &json!({ "decision": "approve", "data": { "out": "edited" } })).await;
    let ended = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(output(&ended, "out")["value"], "edited", "{ended}");
    let shown = review(client, &second).await;
    assert_eq!(
        (&shown["value"], &shown["history"][0]["data"]),
        (&json!({ "out": "again" }), &json!({ "out": "edited" }))
    );
    assert_eq!(cluster.witnessed(DONE).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nobody_knows_what_became_of_it_people_say() {
    let mut cluster = Cluster::set_up(Shape::new(1, 1, 2), Setting::default()).await;
    let grace = person(&mut cluster, "grace", &SCOPES).await;
    let blind = json!({ "file": DONE, "begun": BEGUN, "until": "gate", "effect": "blind" });
    let graph = Graph::default()
        .node_with("work", "debug:effect", blind, json!({ "onUnknown": "park" }))
        .node("out", "output:preview", json!({}))
        .edge("work.out", "out.value");
    let execution = start(cluster.client(), "outcome", &graph).await;
    wait::until("work that has begun", RUN_TIME_MAX, || async {
        if cluster.witnessed(BEGUN).len() == 1 { Ok(()) } else { Err("it has not".to_owned()) }
    })
    .await;
    // Its agent dies, and comes back without it.
    cluster.restart(Part::Agent(0));
    let client = cluster.client();
    let id = the_review(client, &execution).await;
    let asked = review(client, &id).await;
    assert_eq!((&asked["kind"], &asked["nodeId"]), (&json!("outcome"), &json!("work")), "{asked}");
    assert_eq!(asked["ports"], json!([{ "port": "out", "type": "ANY", "list": false }]), "what it may have given");
    let waiting = client.execution(&execution).await;
    let waits = &waiting["waitingOn"][0];
    assert_eq!((&waits["kind"], &waits["reviewId"]), (&json!("outcome"), &json!(id)), "{waiting}");
    decided(&grace, &id, &json!({ "decision": "approve", "data": { "out": "it was done" } })).await;
    let ended = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(
        (&ended["status"], &output(&ended, "out")["value"]),
        (&json!("COMPLETED"), &json!("it was done")),
        "{ended}"
    );
    assert!(cluster.witnessed(DONE).is_empty(), "nobody did it again");
}
