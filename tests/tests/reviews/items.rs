//! Reviews inside a map: each belongs to its item, whatever the order in which they are answered.

use cluster_tests::cluster::Cluster;
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::random::{Random, seed};
use cluster_tests::cluster::runs::text;
use serde_json::{Value, json};

use super::{RUN_TIME_MAX, SCOPES, decided, opened, output, person, review, start};

const ITEMS: usize = 200;
/// Of what a node in a body waits for, an answer about the run shows so many.
const SHOWN_MAX: usize = 10;

/// A map in which one item in three is rejected, and replaced by null.
fn graph() -> Graph {
    let numbers: Value = (0..ITEMS).collect();
    Graph::default()
        .node("list", "input:json", json!({ "value": numbers }))
        .node("m", "logic:map", json!({ "concurrency": ITEMS }))
        .node("check", "logic:review", json!({ "title": "Good?" }))
        .inside("m")
        .node("yes", "debug:echo", json!({}))
        .inside("m")
        .node("no", "debug:echo", json!({ "value": "no" }))
        .inside("m")
        .node("either", "logic:merge", json!({}))
        .inside("m")
        .node("out", "output:preview", json!({}))
        .edge("list.json", "m.items")
        .edge("m.item", "check.value")
        .edge("check.approved", "yes.in")
        .edge("check.rejected", "no.in")
        .edge("yes.out", "either.branches")
        .edge("no.out", "either.branches")
        .edge("either.value", "m.result")
        .edge("m.results", "out.value")
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_of_items_are_answered_in_any_order() {
    let mut cluster = Cluster::start(1, 8).await;
    let grace = person(&mut cluster, "grace", &SCOPES).await;
    let client = cluster.client();
    let execution = start(client, "items", &graph()).await;
    let mut reviews = opened(client, &execution, ITEMS).await;
    assert!(reviews.iter().all(|review| review["title"] == "Good?"), "the list says what is asked: {}", reviews[0]);
    let waiting = client.execution(&execution).await;
    let waits = waiting["waitingOn"].as_array().unwrap();
    assert!(!waits.is_empty() && waits.len() <= SHOWN_MAX, "{waiting}");
    let more = waits.last().and_then(|wait| wait["more"].as_u64()).unwrap_or_default();
    assert_eq!(waits.len() + more as usize, ITEMS, "none is forgotten: {waiting}");
    for wait in waits {
        assert_eq!((&wait["kind"], &wait["nodeId"]), (&json!("review"), &json!("check")), "{wait}");
        let shown = review(client, &text(&wait["reviewId"])).await;
        assert_eq!((&shown["index"], &shown["value"]), (&wait["index"], &wait["index"][0]), "{shown}");
    }
    assert_eq!(waiting["status"], "RUNNING");
    let mut random = Random::from_seed(seed("reviews of items"));
    while !reviews.is_empty() {
        let asked = reviews.swap_remove(random.below(reviews.len()));
        let index = asked["index"][0].as_u64().unwrap() as usize;
        let decision = match index % 3 {
            0 => json!({ "decision": "reject" }),
            1 => json!({ "decision": "approve" }),
            _ => json!({ "decision": "approve", "data": index * 10 }),
        };
        let after = decided(&grace, &text(&asked["id"]), &decision).await;
        assert_eq!((&after["decided"]["by"], &after["index"]), (&json!("grace"), &asked["index"]), "{after}");
    }
    let ended = client.ended(&execution, RUN_TIME_MAX).await;
    let expected: Vec<Value> = (0..ITEMS)
        .map(|index| match index % 3 {
            0 => json!("no"),
            1 => json!(index),
            _ => json!(index * 10),
        })
        .collect();
    assert_eq!((&ended["status"], &output(&ended, "out")["value"]), (&json!("COMPLETED"), &json!(expected)));
    assert_eq!(ended["waitingOn"], json!([]));
    let events = client.events(&execution).await;
    let told = events.iter().filter(|event| event["type"] == "review.decided").count();
    assert_eq!(told, ITEMS, "each is in the history");
}
