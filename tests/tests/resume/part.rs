//! Execute up to a node, look, and execute the next one on what is there: what models are asked shows in a ledger.

use cluster_tests::cluster::client::{Client, send};
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::runs::text;
use cluster_tests::cluster::{Cluster, Part, Setting, Shape};
use cluster_tests::sandbox::Sandbox;
use reqwest::Method;
use serde_json::{Value, json};

use super::{RUN_TIME_MAX, completed, effect, id, in_state, node, once, post, worked};

fn model(credential: &str) -> Value {
    json!({ "model": "gpt-5-mini", "credential": credential })
}

/// A draft, a teaser for it, and a text out of both.
fn posts() -> Graph {
    let prompt = |template: &str, name: &str| json!({ "template": template, "names": [name] });
    Graph::default()
        .node("topic", "input:text", json!({ "text": "tides" }))
        .node("ask", "utility:prompt_template", prompt("Write about {{topic}}", "topic"))
        .node("draft", "llm:openai_compatible", model("writer"))
        .node("ask-teaser", "utility:prompt_template", prompt("A teaser for: {{draft}}", "draft"))
        .node("teaser", "llm:openai_compatible", model("editor"))
        .node("out", "output:text", json!({}))
        .edge("topic.text", "ask.vars")
        .edge("ask.text", "draft.prompt")
        .edge("draft.text", "ask-teaser.vars")
        .edge("ask-teaser.text", "teaser.prompt")
        .edge("teaser.text", "out.text")
}

struct Models {
    sandbox: Sandbox,
    cluster: Cluster,
    workflow: String,
}

impl Models {
    async fn start() -> Self {
        let sandbox = Sandbox::start().await;
        let arguments = sandbox.arguments([Part::Agent(0)]);
        let cluster = Cluster::set_up(Shape::new(1, 1, 4), Setting { arguments, ..Setting::default() }).await;
        let workflow = cluster.client().save("posts", &posts()).await;
        Self { sandbox, cluster, workflow }
    }

    fn client(&self) -> &Client {
        self.cluster.client()
    }

    /// The workflow as a read shows it.
    async fn read(&self) -> Value {
        self.client().get_json(&format!("/api/v1/workflows/{}", self.workflow)).await
    }

    /// Executes, and gives the answer and the run when it is over.
    async fn execute(&self, body: &Value) -> (Value, Value) {
        let path = format!("/api/v1/workflows/{}/execute", self.workflow);
        let started = post(self.client(), &path, body).await;
        assert_eq!(started.status, 201, "{started}");
        let run = self.client().ended(&text(&started.json()["executionId"]), RUN_TIME_MAX).await;
        assert_eq!(run["status"], "COMPLETED", "{run}");
        (started.json(), run)
    }

    /// Who was asked, in order.
    async fn asked(&self) -> Vec<String> {
        self.sandbox.calls().await.into_iter().map(|call| call.credential).collect()
    }
}

/// What a client sends that has read a workflow: its nodes and edges as they came.
fn up_to(read: &Value, target: &str) -> Value {
    json!({ "nodes": read["nodes"], "edges": read["edges"], "targetNodeId": target })
}

fn data<'a>(read: &'a Value, id: &str) -> &'a Value {
    let nodes = read["nodes"].as_array().into_iter().flatten();
    nodes.map(|node| (&node["id"], &node["data"])).find(|(node, _)| *node == id).unwrap().1
}

fn data_mut<'a>(read: &'a mut Value, id: &str) -> &'a mut Value {
    let nodes = read["nodes"].as_array_mut().into_iter().flatten();
    nodes.map(|node| (node["id"] == id, &mut node["data"])).find(|(is, _)| *is).unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn the_results_of_a_part_are_used_by_the_next() {
    let models = Models::start().await;
    let before = models.read().await;
    let (_, first) = models.execute(&up_to(&before, "draft")).await;
    assert_eq!(in_state(&first, "COMPLETED"), ["ask", "draft", "topic"]);
    assert_eq!(models.asked().await, ["writer"], "the target, and nothing behind it");

    // A person looks: what the nodes gave stands on them, and nothing was saved.
    let read = models.read().await;
    let draft = data(&read, "draft");
    assert_eq!((&draft["output"], &draft["result"][0]), (&node(&first, "draft")["output"], &draft["output"]));
    assert_eq!(draft["cached"]["executionId"], first["id"], "{draft}");
    assert!(draft["cached"]["seq"].is_u64() && draft["cached"]["inputsDigest"].is_string(), "{draft}");
    assert!(data(&read, "teaser").get("output").is_none());
    assert_eq!((&read["updatedAt"], &read["version"]), (&before["updatedAt"], &before["version"]));

    let (started, second) = models.execute(&up_to(&read, "teaser")).await;
    assert_eq!(started["staleDependencies"], json!([]), "{started}");
    assert_eq!(models.asked().await, ["writer", "editor"], "nothing before the target again");
    assert_eq!(in_state(&second, "CACHED"), ["ask", "draft"]);
    let reused = node(&second, "draft");
    assert_eq!((&reused["status"], &reused["cached"]), (&json!("COMPLETED"), &json!(true)));
    assert_eq!(reused["cachedFrom"]["executionId"], first["id"], "{reused}");
    assert_eq!(reused["output"], node(&first, "draft")["output"]);

    // The target always runs afresh.
    let (_, third) = models.execute(&up_to(&models.read().await, "teaser")).await;
    assert_eq!((models.asked().await.len(), &node(&third, "teaser")["state"]), (3, &json!("COMPLETED")));

    // What the first read said still holds for who saves.
    let path = format!("/api/v1/workflows/{}", models.workflow);
    let change = json!({ "name": "renamed", "nodes": read["nodes"], "edges": read["edges"], "baseUpdatedAt": before["updatedAt"] });
    let saved = send(models.client().request(Method::PUT, &path).json(&change)).await.unwrap();
    assert_eq!(saved.status, 200, "{saved}");
    assert_eq!(data(&models.read().await, "draft")["output"], draft["output"], "no part of the graph, and still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_whose_inputs_have_changed_is_used_and_said_to_be_stale() {
    let models = Models::start().await;
    models.execute(&up_to(&models.read().await, "draft")).await;
    let mut read = models.read().await;
    data_mut(&mut read, "topic")["config"]["text"] = json!("herons");
    let (started, run) = models.execute(&up_to(&read, "teaser")).await;
    assert_eq!(models.asked().await, ["writer", "editor"]);
    let stale: Vec<&Value> = started["staleDependencies"].as_array().into_iter().flatten().collect();
    assert_eq!(stale, [&json!({ "nodeId": "ask", "changedKeys": ["vars"] })], "{started}");
    assert_eq!(in_state(&run, "CACHED"), ["ask", "draft"]);

    let mut forced = up_to(&read, "teaser");
    forced["force"] = json!(true);
    let (started, run) = models.execute(&forced).await;
    assert_eq!(models.asked().await[2..], ["writer", "editor"], "nothing is reused");
    assert_eq!((&started["staleDependencies"], in_state(&run, "CACHED").len()), (&json!([]), 0));

    // Whole runs with inputs alone never look at what is there.
    let path = format!("/api/v1/workflows/{}/run", models.workflow);
    let started = post(models.client(), &path, &json!({})).await;
    assert_eq!(started.status, 202, "{started}");
    models.client().ended(&text(&started.json()["executionId"]), RUN_TIME_MAX).await;
    assert_eq!(models.asked().await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_alone_runs_on_what_is_there_or_says_what_is_missing() {
    let models = Models::start().await;
    let path = format!("/api/v1/workflows/{}/execute", models.workflow);
    let mut alone = up_to(&models.read().await, "teaser");
    alone["only"] = json!(true);
    let refused = post(models.client(), &path, &alone).await;
    assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("only_needs_results")), "{refused}");
    assert!(refused.json()["message"].as_str().unwrap().contains("ask-teaser"), "{refused}");
    assert!(models.asked().await.is_empty());

    // A client's own word is as good as a run's.
    data_mut(&mut alone, "ask-teaser")["output"] = json!({ "text": "A teaser for: my own draft" });
    let (_, run) = models.execute(&alone).await;
    assert_eq!(node(&run, "ask-teaser")["cachedFrom"]["source"], "request", "{run}");
    let calls = models.sandbox.calls().await;
    assert_eq!(calls.iter().map(|call| &call.prompt[..]).collect::<Vec<_>>(), ["A teaser for: my own draft"]);

    // A run by its id, in the place of what the nodes carry.
    let (_, whole) = models.execute(&json!({})).await;
    let named = json!({ "targetNodeId": "teaser", "only": true, "fromExecutionId": id(&whole) });
    let (_, run) = models.execute(&named).await;
    assert_eq!(models.asked().await[1..], ["writer", "editor", "editor"]);
    assert_eq!(node(&run, "ask-teaser")["cachedFrom"]["executionId"], whole["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_in_a_body_runs_alone_on_a_run_that_is_named() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let graph = Graph::default()
        .node("list", "input:list", json!({ "items": ["ebb", "flow"] }))
        .node("m", "logic:map", json!({}))
        .node("a", "debug:effect", effect())
        .inside("m")
        .node("b", "debug:effect", effect())
        .inside("m")
        .edge("list.items", "m.items")
        .edge("m.item", "a.in")
        .edge("a.out", "b.in")
        .edge("b.out", "m.result");
    let whole = completed(client, "body", &graph).await;
    let path = format!("/api/v1/workflows/{}/execute", text(&whole["workflowId"]));
    let mut alone = json!({ "targetNodeId": "b", "only": true });
    let refused = post(client, &path, &alone).await;
    assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("only_needs_results")), "{refused}");
    let message = text(&refused.json()["message"]);
    assert!(message.contains("\"a\"") && message.contains("fromExecutionId"), "{message}");
    assert!(!message.contains("carry"), "no request carries what was given item by item: {message}");
    // What is said can be done.
    alone["fromExecutionId"] = whole["id"].clone();
    let started = post(client, &path, &alone).await;
    assert_eq!(started.status, 201, "{started}");
    let run = client.ended(&text(&started.json()["executionId"]), RUN_TIME_MAX).await;
    assert_eq!(run["status"], "COMPLETED", "{run}");
    assert_eq!(worked(&cluster, &id(&run)), [("b".to_owned(), 2)].into());
    // Of other items nothing is there.
    alone["inputs"] = json!({ "list": ["neap"] });
    let refused = post(client, &path, &alone).await;
    assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("only_needs_results")), "{refused}");
    assert!(text(&refused.json()["message"]).contains("has not run them"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_run_of_a_batch_reuses_what_does_not_follow_from_what_it_iterates_over() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let graph = Graph::default()
        .node("topic", "input:text", json!({ "text": "tides" }))
        .node("word", "input:text", json!({ "text": "ebb" }))
        .node("kept", "debug:effect", effect())
        .node("each", "debug:effect", effect())
        .node("both", "debug:echo", json!({}))
        .node("last", "debug:effect", effect())
        .edge("topic.text", "kept.in")
        .edge("word.text", "each.in")
        .edge("kept.out", "both.in")
        .edge("each.out", "both.in")
        .edge("both.out", "last.in");
    let whole = completed(client, "iterated", &graph).await;
    assert_eq!(worked(&cluster, &id(&whole)), once(&["kept", "each", "last"]));
    let workflow = text(&whole["workflowId"]);
    let path = format!("/api/v1/workflows/{workflow}/execute");
    let batch = async |body: Value| {
        let started = post(client, &path, &body).await;
        assert_eq!(started.status, 201, "{started}");
        let mut runs = Vec::new();
        for run in started.json()["executionRuns"].as_array().unwrap() {
            let run = client.ended(&text(&run["id"]), RUN_TIME_MAX).await;
            assert_eq!(run["status"], "COMPLETED", "{run}");
            runs.push(run);
        }
        runs
    };
    let over = |words: &[&str]| json!([{ "nodeId": "word", "values": words }]);

    let read = client.get_json(&format!("/api/v1/workflows/{workflow}")).await;
    let body = json!({ "nodes": read["nodes"], "edges": read["edges"], "iteratorConfigs": over(&["flow", "spring"]) });
    let runs = batch(body).await;
    assert_eq!(runs.len(), 2);
    for run in &runs {
        assert_eq!(
            (in_state(run, "CACHED"), &node(run, "kept")["cachedFrom"]["executionId"]),
            (vec!["kept"], &whole["id"])
        );
        assert_eq!(worked(&cluster, &id(run)), once(&["each", "last"]), "what a node carries is no run's that differs");
    }
    // Of a run that is named counts what has the same inputs.
    let runs = batch(json!({ "fromExecutionId": whole["id"], "iteratorConfigs": over(&["ebb", "neap"]) })).await;
    assert_eq!((worked(&cluster, &id(&runs[0])), worked(&cluster, &id(&runs[1]))), (once(&[]), once(&["each"])));
    // Forced, nothing is.
    let body = json!({ "fromExecutionId": whole["id"], "force": true, "iteratorConfigs": over(&["ebb"]) });
    assert_eq!(worked(&cluster, &id(&batch(body).await[0])), once(&["kept", "each", "last"]));
}
