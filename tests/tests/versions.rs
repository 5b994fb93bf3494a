//! Versions of a workflow, and changes of one node, over REST against real processes: what is kept, and who wins a race.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use cluster_tests::cluster::client::{Answer, Client, send};
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::runs::text;
use cluster_tests::cluster::{Cluster, Part};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const DEADLINE: Duration = Duration::from_secs(60);
/// Clients that change nodes of one workflow at once.
const CLIENTS: usize = 20;

fn graph(word: &str) -> Graph {
    let graph = Graph::default().node("topic", "input:text", json!({ "text": word }));
    graph.node("copy", "debug:echo", json!({})).edge("topic.text", "copy.in")
}

async fn ask(client: &Client, method: Method, path: &str, body: &Value) -> Answer {
    send(client.request(method, path).json(body)).await.unwrap()
}

async fn put(client: &Client, workflow: &str, body: &Value) -> Answer {
    ask(client, Method::PUT, &format!("/api/v1/workflows/{workflow}"), body).await
}

async fn patch(client: &Client, workflow: &str, node: &str, body: &Value) -> Answer {
    ask(client, Method::PATCH, &format!("/api/v1/workflows/{workflow}/nodes/{node}"), body).await
}

async fn get(client: &Client, workflow: &str) -> Value {
    client.get_json(&format!("/api/v1/workflows/{workflow}")).await
}

async fn numbers(client: &Client, workflow: &str) -> Vec<u64> {
    let versions = client.get_json(&format!("/api/v1/workflows/{workflow}/versions")).await;
    versions.as_array().unwrap().iter().map(|version| version["version"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_graph_that_was_saved_can_be_had_again() {
    let mut cluster = Cluster::start(1, 2).await;
    let client = cluster.client().clone();
    let workflow = client.save("story", &graph("one")).await;
    let of = |rest: &str| format!("/api/v1/workflows/{workflow}/{rest}");
    let first_run = client.run(&workflow, "first").await;
    // Another name is no version; another graph is one.
    assert_eq!(put(&client, &workflow, &json!({ "name": "tale" })).await.status, 200);
    assert_eq!(put(&client, &workflow, &graph("two").named("tale")).await.status, 200);
    let grown = graph("two").node("more", "debug:echo", json!({})).edge("copy.out", "more.in");
    assert_eq!(put(&client, &workflow, &grown.named("tale")).await.status, 200);

    let page = client.get(&of("versions?limit=2")).await;
    let link = page.headers["link"].to_str().unwrap();
    let next = link.strip_prefix('<').unwrap().split_once('>').unwrap().0.to_owned();
    let newest = page.json();
    let oldest = client.get_json(&next).await;
    let all: Vec<Value> = [newest, oldest].iter().flat_map(|page| page.as_array().unwrap().clone()).collect();
    let seen = |name: &str| all.iter().map(|version| version[name].clone()).collect::<Vec<_>>();
    assert_eq!(seen("version"), [json!(3), json!(2), json!(1)]);
    assert_eq!(seen("isCurrent"), [json!(true), json!(false), json!(false)]);
    let hashes: BTreeSet<String> = seen("contentHash").iter().map(text).collect();
    assert!(hashes.len() == 3 && hashes.iter().all(|hash| hash.len() == 64), "{hashes:?}");
    assert!(all.iter().all(|version| version["createdBy"].is_string() && version["createdAt"].is_string()), "{all:?}");
    let old = client.get_json(&of("versions/1")).await;
    assert_eq!((&old["nodes"], &old["edges"]), (&graph("one").parts()["nodes"], &graph("one").parts()["edges"]));

    let diff = client.get_json(&of("diff?from=1&to=3")).await;
    assert_eq!(diff["nodes"]["changed"][0]["nodeId"], "topic");
    let expected = json!([{ "key": "config.text", "before": "one", "after": "two" }]);
    assert_eq!(diff["nodes"]["changed"][0]["changes"], expected);
    let added = (&diff["nodes"]["added"][0]["nodeId"], &diff["edges"]["added"][0]["target"]);
    assert_eq!(added, (&json!("more"), &json!("more")));
    let back = client.get_json(&of("diff?from=3&to=1")).await;
    assert_eq!(back["nodes"]["removed"][0]["nodeId"], "more");
    assert_eq!(client.get_json(&of("diff?from=2&to=2")).await["identical"], true);
    assert_eq!(client.get_json(&of("diff")).await["from"]["version"], 2, "without a word, the last change");

    // Restored: once for each key, as a version of its own, and only over what its caller has seen.
    let restore = of("versions/1/restore");
    let refused = ask(&client, Method::POST, &restore, &json!({ "baseUpdatedAt": "2026-01-01T00:00:00.000Z" })).await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("stale_write")), "{refused}");
    let seen = get(&client, &workflow).await["updatedAt"].clone();
    let body = json!({ "baseUpdatedAt": seen });
    let restored = client.post(&restore, &body, "restore").await;
    assert_eq!((restored.status, &restored.json()["version"]), (200, &json!(4)), "{restored}");
    let again = client.post(&restore, &body, "restore").await;
    assert_eq!((again.status, &again.body), (200, &restored.body));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let saved = get(&client, &workflow).await;
    assert_eq!((&saved["name"], &saved["nodes"][0]["data"]["config"]["text"]), (&json!("tale"), &json!("one")));

    // Runs say what they ran, whatever was saved since; one whose graph came with it says none.
    let second_run = client.run(&workflow, "second").await;
    let own = client.post(&of("execute"), &graph("own").parts(), "own").await.json();
    cluster.restart(Part::Coordinator);
    cluster.serves().await;
    for (run, version) in [(&first_run, json!(1)), (&second_run, json!(4)), (&text(&own["executionId"]), Value::Null)] {
        assert_eq!(client.ended(run, DEADLINE).await["workflowVersion"], version);
    }
    let list = client.get_json(&of("executions")).await;
    let listed: Vec<_> = list.as_array().unwrap().iter().map(|run| run["workflowVersion"].clone()).collect();
    assert_eq!(listed, [Value::Null, json!(4), json!(1)]);
    assert_eq!(numbers(&client, &workflow).await, [4, 3, 2, 1]);

    let none = client.get(&of("versions/9")).await;
    assert_eq!((none.status, &none.json()["code"]), (404, &json!("version_not_found")));

    // With the workflow go its versions: another one of this id has only its own.
    assert!(ask(&client, Method::DELETE, &format!("/api/v1/workflows/{workflow}"), &Value::Null).await.is_success());
    assert_eq!(client.get(&of("versions")).await.json()["code"], "workflow_not_found");
    let mut body = graph("anew").named("anew");
    body["id"] = workflow.as_str().into();
    assert_eq!(ask(&client, Method::POST, "/api/v1/workflows", &body).await.status, 201);
    assert_eq!(numbers(&client, &workflow).await, [1]);
    assert_eq!(client.get_json(&of("versions/1")).await["nodes"][0]["data"]["config"]["text"], "anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_writers_who_have_seen_the_same_one_wins() {
    let cluster = Cluster::start(1, 1).await;
    let client = cluster.client();
    let workflow = client.save("raced", &graph("one")).await;
    for round in 0..10 {
        let seen = text(&get(client, &workflow).await["updatedAt"]);
        let mut whole = graph(&format!("put {round}")).named("raced");
        whole["baseUpdatedAt"] = seen.as_str().into();
        let one = json!({ "config": { "text": format!("patch {round}") }, "baseUpdatedAt": seen });
        let answers = tokio::join!(put(client, &workflow, &whole), patch(client, &workflow, "topic", &one));
        let (won, lost) = match answers {
            (put, patch) if put.is_success() => (put, patch),
            (put, patch) => (patch, put),
        };
        assert_eq!((won.status, lost.status), (200, 409), "{won} {lost}");
        let (won, lost) = (won.json(), lost.json());
        assert_eq!((&lost["error"]["type"], &lost["error"]["code"]), (&json!("conflict_error"), &json!("stale_write")));
        assert_eq!(
            (&lost["currentUpdatedAt"], &lost["yourBaseUpdatedAt"]),
            (&won["updatedAt"], &json!(seen)),
            "{lost}"
        );
    }
    assert_eq!(numbers(client, &workflow).await.len(), 11, "who lost has written nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_change_of_a_node_is_lost_among_many() {
    const CHANGES: usize = 3;
    let cluster = Cluster::start(1, 1).await;
    let client = cluster.client();
    let workflow = client.save("crowded", &graph("one")).await;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (client, workflow) = (client.clone(), workflow.clone());
        let node = if number % 2 == 0 { "topic" } else { "copy" };
        clients.spawn(async move {
            let mut refused = 0;
            for change in 0..CHANGES {
                let mut body = json!({ "params": {} });
                body["params"][format!("k{number}x{change}")] = number.into();
                loop {
                    // Half of them say what they have seen, and look again when it is another.
                    if number % 4 < 2 {
                        body["baseUpdatedAt"] = get(&client, &workflow).await["updatedAt"].clone();
                    }
                    let answer = patch(&client, &workflow, node, &body).await;
                    match answer.status {
                        200 => break,
                        409 => assert!(answer.json()["currentUpdatedAt"].is_string(), "{answer}"),
                        _ => panic!("{answer}"),
                    }
                    refused += 1;
                }
            }
            refused
        });
    }
    let refused: usize = clients.join_all().await.into_iter().sum();
    let saved = get(client, &workflow).await;
    let mut kept = BTreeSet::new();
    for node in saved["nodes"].as_array().unwrap() {
        kept.extend(node["data"]["params"].as_object().unwrap().keys().cloned());
    }
    let made = (0..CLIENTS).flat_map(|number| (0..CHANGES).map(move |change| format!("k{number}x{change}")));
    assert_eq!(kept, made.collect());
    assert_eq!(saved["version"], json!(1 + CLIENTS * CHANGES), "a version each");
    println!("versions: {CLIENTS} clients made {CHANGES} changes each, {refused} were refused and made again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_changed_without_a_byte_of_the_others() {
    let cluster = Cluster::start(1, 2).await;
    let client = cluster.client();
    let nodes = concat!(
        r#"[{"id":"a b/c","measured":{"width":1.50,"height":2},"data":{"nodeType":"input:text","config":{"text":"x","n":1.0},"#,
        r#""mine":"\u00e9"}},{"id":"if","data":{"nodeType":"logic:if","config":{"condition":"true"}},"zeta":1e2}]"#
    );
    let edges = r#"[{"source":"a b/c","target":"if","animated":true}]"#;
    let body = format!(r#"{{"name":"bytes","nodes":{nodes},"edges":{edges}}}"#);
    let post = client.request(Method::POST, "/api/v1/workflows").header("content-type", "application/json");
    let workflow = text(&send(post.body(body)).await.unwrap().json()["id"]);

    let config = json!({ "config": { "text": "y", "n": null }, "label": "Topic", "position": { "x": 1, "y": 2 } });
    let answer = patch(client, &workflow, "a%20b%2Fc", &config).await;
    assert_eq!(answer.status, 200, "{answer}");
    let said = answer.json();
    let (node, saved) = (&said["data"]["node"], get(client, &workflow).await);
    assert_eq!((&node["id"], &node["data"]["label"]), (&json!("a b/c"), &json!("Topic")));
    assert_eq!(node["data"]["output"], json!({ "text": "y" }), "what an input gives follows its config");
    assert_eq!((&said["data"]["updatedAt"], &said["version"]), (&saved["updatedAt"], &json!(2)));
    let version = client.get(&format!("/api/v1/workflows/{workflow}/versions/2")).await;
    let version = String::from_utf8(version.body.to_vec()).unwrap();
    let expected = concat!(
        r#"[{"id":"a b/c","measured":{"width":1.50,"height":2},"data":{"nodeType":"input:text","config":{"text":"y"},"#,
        r#""mine":"\u00e9","params":{"text":"y"},"label":"Topic"},"position":{"x":1,"y":2}},"#,
        r#"{"id":"if","data":{"nodeType":"logic:if","config":{"condition":"true"}},"zeta":1e2}]"#
    );
    assert!(version.contains(expected) && version.contains(edges), "{version}");
    let same = patch(client, &workflow, "a%20b%2Fc", &json!({ "label": "Topic" })).await.json();
    assert_eq!((&same["version"], &same["updatedAt"]), (&json!(2), &saved["updatedAt"]), "no change is no write");

    let run = client.run(&workflow, "mended").await;
    assert_eq!(client.ended(&run, DEADLINE).await["status"], "COMPLETED");

    let label = json!({ "label": "L" });
    for (path, code) in [("/nodes/nobody", "node_not_found"), ("_/nodes/if", "workflow_not_found")] {
        let refused = ask(client, Method::PATCH, &format!("/api/v1/workflows/{workflow}{path}"), &label).await;
        assert_eq!((refused.status, &refused.json()["code"]), (404, &json!(code)), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_checked_as_a_save_is() {
    let cluster = Cluster::start(1, 1).await;
    let client = cluster.client();
    let graph = graph("one").node("ask", "logic:review", json!({})).edge("copy.out", "ask.value");
    let graph = graph.node("if", "logic:if", json!({ "condition": "true" })).edge("topic.text", "if.value");
    // Half finished: nothing leads to what `later` needs.
    let workflow = client.save("checked", &graph.node("later", "logic:if", json!({ "condition": "true" }))).await;
    let secret = "sk-1234567890abcdef1234567890abcdef";
    for (node, body, rule) in [
        ("topic", json!({ "config": { "text": [1] } }), "bad-config"),
        ("topic", json!({ "config": { "apiKey": secret } }), "literal_secret"),
        ("topic", json!({ "params": { "apiKey": secret } }), "literal_secret"),
        ("ask", json!({ "config": { "required": -1 } }), "bad-config"),
        ("ask", json!({ "config": { "title": 5 } }), "bad-config"),
        ("if", json!({ "config": { "condition": "((" } }), "bad_expression"),
    ] {
        let refused = patch(client, &workflow, node, &body).await;
        assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("invalid_graph")), "{body}: {refused}");
        assert_eq!(refused.json()["violations"][0]["rule"], rule, "{refused}");
        assert!(!refused.to_string().contains(secret), "{refused}");
    }
    let saved = get(client, &workflow).await;
    assert_eq!(saved["version"], 1, "nothing was written");
    // What is half finished can be changed, and running it says what is missing.
    assert_eq!(patch(client, &workflow, "later", &json!({ "label": "Later" })).await.status, 200);
    let refused = client.execute(&workflow, "unfinished").await;
    assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("invalid_graph")), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_and_a_layout_leave_the_rest_as_it_was() {
    let cluster = Cluster::start(1, 2).await;
    let client = cluster.client();
    let workflow = client.save("original", &graph("one")).await;
    let of = |rest: &str| format!("/api/v1/workflows/{workflow}/{rest}");
    let copied = client.post(&of("duplicate"), &json!({}), "copy").await;
    assert_eq!((copied.status, &copied.json()["data"]["name"]), (201, &json!("original (copy)")), "{copied}");
    let again = client.post(&of("duplicate"), &json!({}), "copy").await;
    assert_eq!((again.status, &again.body), (201, &copied.body));
    let copy = copied.json()["data"].clone();
    let page = send(client.anonymous(Method::GET, &format!("/workflows/{}", text(&copy["id"])))).await.unwrap();
    assert!(text(&copy["url"]).ends_with(&format!("/workflows/{}", text(&copy["id"]))) && page.status == 200);
    let named = client.post(&of("duplicate"), &json!({ "name": "mine" }), "other").await.json();
    assert_eq!((&named["name"], &named["version"]), (&json!("mine"), &json!(1)));

    let laid_out = ask(client, Method::POST, &of("layout"), &json!({ "gapX": 20 })).await;
    assert_eq!(laid_out.status, 200, "{laid_out}");
    let layout = laid_out.json()["data"].clone();
    assert_eq!(layout["positions"], json!({ "topic": { "x": 0.0, "y": 0.0 }, "copy": { "x": 300.0, "y": 0.0 } }));
    assert_eq!((&layout["moved"], &layout["bounds"]["width"]), (&json!(1), &json!(580.0)));
    let saved = get(client, &workflow).await;
    assert_eq!((&saved["version"], &saved["updatedAt"]), (&json!(2), &layout["updatedAt"]));
    assert_eq!(saved["nodes"][1]["position"], json!({ "x": 300, "y": 0 }));
    assert_eq!(saved["nodes"][1]["dims"], json!({ "width": 280, "height": 140, "source": "estimated" }));
    let diff = client.get_json(&of("diff")).await;
    assert_eq!((&diff["nodes"]["moved"][0]["nodeId"], &diff["nodes"]["changed"]), (&json!("copy"), &json!([])));
    let second = ask(client, Method::POST, &of("layout"), &json!({ "gapX": 20 })).await.json();
    assert_eq!((&second["moved"], &second["version"]), (&json!(0), &json!(2)), "a second time changes nothing");
    let unknown = ask(client, Method::POST, &of("layout"), &json!({ "scope": ["nobody"] })).await;
    assert_eq!((unknown.status, &unknown.json()["code"]), (404, &json!("node_not_found")), "{unknown}");
    assert_eq!(
        get(client, &text(&copy["id"])).await["nodes"][1]["position"],
        json!({ "x": 0, "y": 0 }),
        "a copy stays"
    );
}
