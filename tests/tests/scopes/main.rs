//! Maps, loops and lifting on real processes: what they give, and that no item is done again that was done, whatever is killed
//! on the way.

#![allow(clippy::unwrap_used)]

mod long;

use std::collections::BTreeMap;
use std::time::Duration;

use cluster_tests::cluster::client::Client;
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::{Cluster, Part, Shape};
use cluster_tests::wait;
use heddle_test_postgres::Server;
use serde_json::{Value, json};

/// Where the items' work shows.
const EFFECTS: &str = "items";
const RUN_TIME_MAX: Duration = Duration::from_secs(120);
const ITEMS: usize = 200;
const AGENTS: usize = 2;
const SLOTS: usize = 8;

async fn result(client: &Client, name: &str, graph: &Graph) -> Value {
    let workflow = client.save(name, graph).await;
    let execution = client.run(&workflow, name).await;
    let ended = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(ended["status"], "COMPLETED", "{ended}");
    ended["finalOutput"]["output"]["value"].clone()
}

fn numbers(count: usize) -> Value {
    (0..count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn maps_loops_and_lists_give_what_they_should() {
    let cluster = Cluster::start(1, 8).await;
    let client = cluster.client();
    // Longer than what is kept in a row, so that it is gone through in parts, and its results are kept in chunks.
    let long = Graph::default()
        .node("list", "debug:list", json!({ "count": 20_000 }))
        .node("m", "logic:map", json!({}))
        .node("w", "debug:echo", json!({}))
        .inside("m")
        .node("count", "logic:if", json!({ "condition": "size(value) == 20000 && value[19999] == 19999" }))
        .node("out", "output:preview", json!({}))
        .edge("list.out", "m.items")
        .edge("m.item", "w.item")
        .edge("w.out", "m.result")
        .edge("m.results", "count.value")
        .edge("count.true", "out.value");
    let results = result(client, "a long map", &long).await;
    assert_eq!(results.as_array().map(Vec::len), Some(20_000));
    assert_eq!(results[19_999], 19_999);

    let lifted = Graph::default()
        .node("list", "input:list", json!({ "items": ["a", "b"] }))
        .node("hash", "utility:hash", json!({}))
        .node("all", "utility:prompt_concat", json!({ "separator": "," }))
        .node("out", "output:preview", json!({}))
        .edge("list.items", "hash.value")
        .edge("hash.text", "all.texts")
        .edge("all.text", "out.value");
    let text = result(client, "lifted", &lifted).await;
    assert_eq!(text.as_str().map(|text| text.split(',').count()), Some(2), "{text}");

    // Values and lists go one after the other into an input that takes a list.
    let joined = Graph::default()
        .node("x", "input:text", json!({ "text": "x" }))
        .node("text", "input:text", json!({ "text": "a\n\nb" }))
        .node("parts", "utility:text_split", json!({ "by": "paragraphs" }))
        .node("all", "utility:prompt_concat", json!({ "separator": "," }))
        .node("out", "output:preview", json!({}))
        .edge("text.text", "parts.text")
        .edge("x.text", "all.texts")
        .edge("parts.chunks", "all.texts")
        .edge("text.text", "all.texts")
        .edge("all.text", "out.value");
    assert_eq!(result(client, "joined", &joined).await, "x,a,b,a\n\nb");

    // So do lists that branches have passed on, of a client and of an agent, in a list of an agent's, an engine's and an output.
    let passed_on = Graph::default()
        .node("list", "input:list", json!({ "items": ["x", "y"] }))
        .node("way", "logic:if", json!({ "condition": "size(value) == 2" }))
        .node("text", "input:text", json!({ "text": "a\n\nb" }))
        .node("parts", "utility:text_split", json!({ "by": "paragraphs" }))
        .node("gate", "logic:gate", json!({ "open": true }))
        .node("closed", "logic:gate", json!({ "open": false }))
        .node("merge", "logic:merge", json!({}))
        .node("all", "utility:prompt_concat", json!({ "separator": "," }))
        .node("both", "logic:merge", json!({}))
        .node("gallery", "output:gallery", json!({}))
        .node("out", "output:preview", json!({}))
        .edge("list.items", "way.value")
        .edge("text.text", "parts.text")
        .edge("parts.chunks", "gate.value")
        .edge("parts.chunks", "closed.value")
        .edge("way.true", "merge.branches")
        .edge("closed.value", "merge.branches")
        .edge("gate.value", "merge.branches")
        .edge("text.text", "merge.branches")
        .edge("merge.values", "gallery.items")
        .edge("way.true", "all.texts")
        .edge("gate.value", "all.texts")
        .edge("all.text", "both.branches")
        .edge("gallery.items", "both.branches")
        .edge("both.values", "out.value");
    let expected = json!(["x,y,a,b", "x", "y", "a", "b", "a\n\nb"]);
    assert_eq!(result(client, "passed on", &passed_on).await, expected);

    // A list that lies in the artifact store is none the less one, beside others, in a child and to who looks at it.
    let large = Graph::default()
        .node("list", "debug:list", json!({ "count": 20_000 }))
        .node("kept", "logic:filter", json!({ "condition": "true" }))
        .node("text", "input:text", json!({ "text": "s" }))
        .node("out", "output:gallery", json!({}))
        .edge("list.out", "kept.items")
        .edge("kept.kept", "out.items")
        .edge("text.text", "out.items");
    let workflow = client.save("large", &large).await;
    let execution = client.run(&workflow, "large").await;
    let ended = client.ended(&execution, RUN_TIME_MAX).await;
    let items = ended["finalOutput"]["output"]["items"].as_array().cloned().unwrap_or_default();
    assert_eq!((items.len(), items.last()), (20_001, Some(&json!("s"))), "{}", ended["status"]);
    let child = Graph::default()
        .node("child", "blueprint:invoke", json!({ "workflowId": workflow }))
        .node("more", "input:text", json!({ "text": "t" }))
        .node("both", "logic:merge", json!({}))
        .node("count", "logic:if", json!({ "condition": "size(value) == 20002" }))
        .node("out", "output:preview", json!({}))
        .edge("child.out", "both.branches")
        .edge("more.text", "both.branches")
        .edge("both.values", "count.value")
        .edge("count.true", "out.value");
    let child = client.save("child", &child).await;
    let execution = client.run(&child, "child").await;
    let ended = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(ended["status"], "COMPLETED", "{ended}");
    assert_eq!(ended["skippedNodes"], json!([]), "{ended}");
    // Batches are lists to a list input, few and many alike.
    for count in [20, 3_000] {
        let batches = Graph::default()
            .node("list", "debug:list", json!({ "count": count }))
            .node("batch", "logic:batch", json!({ "size": 5 }))
            .node("kept", "logic:filter", json!({ "condition": "true" }))
            .node("each", "logic:map", json!({}))
            .node("all", "utility:prompt_concat", json!({ "separator": "|" }))
            .inside("each")
            .node("first", "logic:filter", json!({ "condition": "index == 0" }))
            .node("out", "output:preview", json!({}))
            .edge("list.out", "batch.items")
            .edge("batch.batches", "kept.items")
            .edge("kept.kept", "each.items")
            .edge("each.item", "all.texts")
            .edge("all.text", "each.result")
            .edge("each.results", "first.items")
            .edge("first.kept", "out.value");
        assert_eq!(result(client, &format!("{count} in batches"), &batches).await, json!(["0|1|2|3|4"]));
    }

    let nested = Graph::default()
        .node("list", "input:json", json!({ "value": [[1, 2], [], [3]] }))
        .node("outer", "logic:map", json!({}))
        .node("inner", "logic:map", json!({}))
        .inside("outer")
        .node("w", "debug:echo", json!({}))
        .inside("inner")
        .node("out", "output:preview", json!({}))
        .edge("list.json", "outer.items")
        .edge("outer.item", "inner.items")
        .edge("inner.item", "w.item")
        .edge("w.out", "inner.result")
        .edge("inner.results", "outer.result")
        .edge("outer.results", "out.value");
    assert_eq!(result(client, "nested", &nested).await, json!([[1, 2], [], [3]]));

    let looping = Graph::default()
        .node("l", "logic:loop", json!({ "until": "iteration == 4", "select": "all" }))
        .node("w", "debug:echo", json!({}))
        .inside("l")
        .node("out", "output:preview", json!({}))
        .edge("l.iteration", "w.item")
        .edge("w.out", "l.result")
        .edge("l.result", "out.value");
    assert_eq!(result(client, "a loop", &looping).await, json!([0, 1, 2, 3, 4]));

    let failing = |mode: &str| Graph::failing_map(json!([0, 1, 2]), json!({ "onItemError": mode }), "value != 1");
    assert_eq!(result(client, "collect", &failing("collect")).await, json!([0, null, 2]));
    assert_eq!(result(client, "skip", &failing("skip")).await, json!([0, 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_item_that_was_done_is_done_again_whatever_is_killed() {
    killed_in_the_middle(Cluster::start(AGENTS, SLOTS as u32).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_item_that_was_done_is_done_again_whatever_is_killed_on_postgres() {
    let Some(server) = Server::start() else { return };
    let database = server.database();
    killed_in_the_middle(Cluster::on(Shape::new(1, AGENTS, SLOTS as u32), &database).await).await;
}

/// How often each item worked.
fn effects(cluster: &Cluster) -> BTreeMap<String, usize> {
    let mut done = BTreeMap::new();
    for line in cluster.effects(EFFECTS) {
        *done.entry(line.rsplit(' ').next().unwrap().to_owned()).or_default() += 1;
    }
    done
}

async fn killed_in_the_middle(mut cluster: Cluster) {
    let graph = Graph::default()
        .node("list", "input:json", json!({ "value": numbers(ITEMS) }))
        .node("m", "logic:map", json!({ "concurrency": 32 }))
        .node("work", "debug:effect", json!({ "file": EFFECTS, "ms": 50 }))
        .inside("m")
        .node("echo", "debug:echo", json!({}))
        .inside("m")
        .node("out", "output:preview", json!({}))
        .edge("list.json", "m.items")
        .edge("m.item", "work.item")
        .edge("m.item", "echo.item")
        .edge("echo.out", "m.result")
        .edge("m.results", "out.value");
    let workflow = cluster.client().save("map", &graph).await;
    let execution = cluster.client().run(&workflow, "map").await;
    let kills = [Part::Coordinator, Part::Agent(0), Part::Coordinator];
    let mut least = 0;
    for part in kills {
        least += ITEMS / 5;
        wait::until("work on the items", RUN_TIME_MAX, || async {
            let done = effects(&cluster).len();
            if done >= least { Ok(()) } else { Err(format!("{done} items have worked")) }
        })
        .await;
        cluster.restart(part);
    }
    cluster.heal().await;
    let ended = cluster.client().ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(
        (&ended["status"], &ended["finalOutput"]["output"]["value"]),
        (&json!("COMPLETED"), &numbers(ITEMS)),
        "{ended}"
    );
    let lines = cluster.effects(EFFECTS);
    let mut known = std::collections::BTreeSet::new();
    let doubled: Vec<_> = lines.iter().filter(|line| !known.insert(*line)).collect();
    assert!(doubled.is_empty(), "attempts that had their effect twice: {doubled:?}");
    let done = effects(&cluster);
    assert_eq!(done.len(), ITEMS);
    let again = done.values().filter(|times| **times > 1).count();
    // Only what was at an agent when something was killed may have been done again.
    assert!(again <= kills.len() * AGENTS * SLOTS, "{again} of {ITEMS} items were done again");
    println!("scopes: {ITEMS} items through {} kills, {again} of which worked twice", kills.len());
}
