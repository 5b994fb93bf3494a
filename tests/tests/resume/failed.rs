//! What failed runs again, and nothing else: what providers are asked shows in a ledger.

use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::{Cluster, Part, Setting, Shape};
use cluster_tests::sandbox::Sandbox;
use serde_json::{Value, json};

use super::{RUN_TIME_MAX, completed, id, in_state, resume};

const ITEMS: usize = 20;

async fn asking(sandbox: &Sandbox) -> Cluster {
    let arguments = sandbox.arguments([Part::Agent(0)]);
    Cluster::set_up(Shape::new(1, 1, 8), Setting { arguments, ..Setting::default() }).await
}

fn model(credential: &str) -> Value {
    json!({ "model": "gpt-5-mini", "credential": credential })
}

/// Refuses for good what is asked first, and answers it later.
fn refused_once(contains: &str) -> Value {
    json!({ "contains": contains, "steps": [{ "status": 400 }, { "answer": format!("about {contains}") }], "repeat": true })
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_items_alone_are_asked_again() {
    let sandbox = Sandbox::start().await;
    let cluster = asking(&sandbox).await;
    sandbox.follow(&json!({ "writer": { "rules": [refused_once("item 7"), refused_once("item 13")] } })).await;
    let items: Vec<String> = (0..ITEMS).map(|item| format!("write of item {item}.")).collect();
    let graph = Graph::default()
        .node("list", "input:json", json!({ "value": items }))
        .node("m", "logic:map", json!({ "onItemError": "collect", "concurrency": 4 }))
        .node("w", "llm:openai_compatible", model("writer"))
        .inside("m")
        .node("out", "output:preview", json!({}))
        .edge("list.json", "m.items")
        .edge("m.item", "w.prompt")
        .edge("w.text", "m.result")
        .edge("m.results", "out.value");
    let client = cluster.client();
    let parent = completed(client, "some fail", &graph).await;
    let results = &parent["finalOutput"]["output"]["value"];
    assert_eq!((&results[7], &results[13], sandbox.calls().await.len()), (&Value::Null, &Value::Null, ITEMS));

    let child = resume(client, &id(&parent), json!({ "failedItems": true })).await;
    let results = &child["finalOutput"]["output"]["value"];
    assert_eq!((&results[7], &results[13]), (&json!("about item 7"), &json!("about item 13")), "{child}");
    assert_eq!(results[0], parent["finalOutput"]["output"]["value"][0]);
    let mut again: Vec<_> = sandbox.calls().await.into_iter().skip(ITEMS).map(|call| call.prompt).collect();
    again.sort();
    assert_eq!(again, ["write of item 13.", "write of item 7."]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_goes_on_where_it_failed() {
    let sandbox = Sandbox::start().await;
    let cluster = asking(&sandbox).await;
    sandbox.follow(&json!({ "editor": { "rules": [refused_once("headline")] } })).await;
    let prompt = |template: &str| json!({ "template": template, "names": ["it"] });
    let graph = Graph::default()
        .node("topic", "input:text", json!({ "text": "tides" }))
        .node("draft", "llm:openai_compatible", model("writer"))
        .node("ask", "utility:prompt_template", prompt("A headline: {{it}}"))
        .node("asked", "utility:prompt_template", prompt("headline of {{it}}"))
        .node("headline", "llm:openai_compatible", model("editor"))
        .node("tags", "llm:openai_compatible", model("tagger"))
        .node("out", "output:text", json!({}))
        .edge("topic.text", "draft.prompt")
        .edge("draft.text", "ask.vars")
        .edge("ask.text", "asked.vars")
        .edge("asked.text", "headline.prompt")
        .edge("headline.text", "tags.prompt")
        .edge("tags.text", "out.text");
    let client = cluster.client();
    let workflow = client.save("fails", &graph).await;
    let execution = client.run(&workflow, "fails").await;
    let parent = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!((&parent["status"], sandbox.calls().await.len()), (&json!("FAILED"), 2), "{parent}");

    let child = resume(client, &execution, json!({})).await;
    assert_eq!(child["status"], "COMPLETED", "{child}");
    let again: Vec<_> = sandbox.calls().await.into_iter().skip(2).map(|call| call.credential).collect();
    assert_eq!(again, ["editor", "tagger"], "what failed, and what never ran");
    assert_eq!(in_state(&child, "CACHED"), ["ask", "asked", "draft"]);
}
