//! What is no decision is refused with what is wrong, and changes nothing.

use cluster_tests::cluster::Cluster;
use cluster_tests::cluster::client::send;
use cluster_tests::cluster::graph::Graph;
use reqwest::Method;
use serde_json::json;

use super::{
    RUN_TIME_MAX, SCOPES, decide, decided, open, output, person, refusal, review, reviewed, start, the_review,
};

const UNKNOWN: &str = "rev_01KZZZZZZZ0000000000000000";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_decision_is_refused_and_changes_nothing() {
    let mut cluster = Cluster::start(1, 2).await;
    let grace = person(&mut cluster, "grace", &SCOPES).await;
    let reader = person(&mut cluster, "reader", &["executions:read"]).await;
    let writer = person(&mut cluster, "writer", &["workflows:write", "workflows:execute", "reviews:decide"]).await;
    let schema = json!({ "type": "object", "required": ["title"], "properties": { "title": { "type": "string", "maxLength": 5 } } });
    let graph = Graph::default()
        .node("value", "input:json", json!({ "value": { "title": "old" } }))
        .node("check", "logic:review", json!({ "schema": schema, "allow": ["approve", "edit"] }))
        .node("yes", "output:preview", json!({}))
        .edge("value.json", "check.value")
        .edge("check.approved", "yes.value");
    // Whoever decides it has not started it.
    let workflow = writer.save("refused", &graph).await;
    let execution = writer.run(&workflow, "refused").await;
    let id = the_review(&grace, &execution).await;
    let approve = json!({ "decision": "approve" });
    let data = |data: serde_json::Value| json!({ "decision": "approve", "data": data });
    for (who, named, decision, status, code, path) in [
        (&reader, &*id, approve.clone(), 403, "missing_scope", None),
        (&writer, &id, approve.clone(), 403, "own_review", None),
        (&grace, UNKNOWN, approve.clone(), 404, "review_not_found", None),
        (&grace, "nonsense", approve.clone(), 404, "review_not_found", None),
        (&grace, &id, data(json!(3)), 422, "invalid_decision", Some("/data")),
        (&grace, &id, data(json!({ "title": "much too long" })), 422, "invalid_decision", Some("/data/title")),
        (&grace, &id, json!({ "decision": "reject" }), 422, "decision_not_allowed", Some("/decision")),
        (&grace, &id, json!({ "decision": "retry" }), 422, "decision_not_allowed", Some("/decision")),
        (&grace, &id, json!({ "decision": "approve", "revision": 7 }), 409, "stale_review", None),
        (&grace, &id, json!({ "decision": "perhaps" }), 400, "invalid_field", Some("/decision")),
        (&grace, &id, json!({ "decision": "approve", "value": 1 }), 400, "unknown_field", Some("/value")),
    ] {
        let answer = decide(who, named, &decision, &format!("{named} {decision}")).await;
        assert_eq!(refusal(&answer), (status, code.into()), "{decision}: {answer}");
        if let Some(path) = path {
            assert_eq!(answer.json()["path"], path, "{decision}: {answer}");
        }
    }
    let still = review(&grace, &id).await;
    assert_eq!((&still["state"], &still["revision"], &still["history"]), (&json!("open"), &json!(0), &json!([])));
    assert_eq!(still["allow"], json!(["approve", "edit"]));
    decided(&grace, &id, &json!({ "decision": "approve", "data": { "title": "good" }, "revision": 0 })).await;
    let ended = grace.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(output(&ended, "yes")["value"], json!({ "title": "good" }), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_of_the_type_of_what_is_asked_about() {
    let mut cluster = Cluster::start(1, 2).await;
    let grace = person(&mut cluster, "grace", &SCOPES).await;
    let client = cluster.client();
    let execution = start(client, "typed", &reviewed(json!({}))).await;
    let id = the_review(client, &execution).await;
    assert_eq!(review(client, &id).await["ports"], json!([{ "port": "value", "type": "TEXT", "list": false }]));
    let refused = decide(&grace, &id, &json!({ "decision": "approve", "data": { "a": "picture" } }), "wrong").await;
    assert_eq!((refusal(&refused), &refused.json()["path"]), ((422, "invalid_decision".into()), &json!("/data")));
    decided(&grace, &id, &json!({ "decision": "approve", "data": "a text" })).await;
    assert_eq!(output(&client.ended(&execution, RUN_TIME_MAX).await, "yes")["value"], "a text");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_that_nobody_can_decide_is_not_saved() {
    let cluster = Cluster::start(1, 2).await;
    let client = cluster.client();
    for (config, key) in [
        (json!({ "required": 2, "assignees": ["grace", "grace"] }), "required"),
        (json!({ "schema": { "type": "nonsense" } }), "schema/type"),
        (json!({ "schema": { "pattern": "(" } }), "schema/pattern"),
        (json!({ "schema": { "$ref": "http://h.example/schema" } }), "schema/$ref"),
    ] {
        let body = reviewed(config.clone()).named("no");
        let refused = client.post("/api/v1/workflows", &body, &config.to_string()).await;
        assert_eq!(refusal(&refused), (422, "invalid_graph".into()), "{config}: {refused}");
        let place = format!("/nodes/1/data/config/{key}");
        assert_eq!(refused.json()["violations"][0]["path"], place, "{config}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_twice_is_one_decision() {
    let mut cluster = Cluster::start(1, 2).await;
    let grace = person(&mut cluster, "grace", &SCOPES).await;
    let client = cluster.client();
    let execution = start(client, "twice", &reviewed(json!({}))).await;
    let id = the_review(client, &execution).await;
    let approve = json!({ "decision": "approve", "comment": "good" });
    let first = decide(&grace, &id, &approve, "once").await;
    let again = decide(&grace, &id, &approve, "once").await;
    assert_eq!((first.status, again.status), (200, 200), "{again}");
    assert_eq!((&again.headers["idempotent-replayed"], again.json()), (&"true".parse().unwrap(), first.json()));
    // The key stands for that request, whatever else comes with it.
    let other = decide(&grace, &id, &json!({ "decision": "reject" }), "once").await;
    assert_eq!(refusal(&other), (422, "idempotency_mismatch".into()), "{other}");
    // Under another key it is a request of its own, and too late.
    let same = decide(&grace, &id, &approve, "once more").await;
    assert_eq!(refusal(&same), (409, "review_decided".into()), "{same}");
    let second = decide(&grace, &id, &json!({ "decision": "reject" }), "another").await;
    assert_eq!(refusal(&second), (409, "review_decided".into()), "{second}");
    assert_eq!(
        (&second.json()["decided"]["by"], &second.json()["decided"]["comment"]),
        (&json!("grace"), &json!("good"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_answered_as_it_was_then_and_a_refused_one_frees_its_key() {
    let mut cluster = Cluster::start(1, 2).await;
    let grace = person(&mut cluster, "grace", &SCOPES).await;
    let ada = person(&mut cluster, "ada", &SCOPES).await;
    let client = cluster.client();
    let execution = start(client, "both", &reviewed(json!({ "required": 2 }))).await;
    let id = the_review(client, &execution).await;
    let stale = json!({ "decision": "approve", "revision": 7 });
    assert_eq!(refusal(&decide(&grace, &id, &stale, "grace").await), (409, "stale_review".into()));
    let approve = json!({ "decision": "approve" });
    let first = decide(&grace, &id, &approve, "grace").await;
    assert_eq!((first.status, &first.json()["state"]), (200, &json!("open")), "refusals are not kept: {first}");
    assert_eq!(decide(&ada, &id, &approve, "ada").await.json()["state"], "decided");
    let again = decide(&grace, &id, &approve, "grace").await;
    assert_eq!(again.json(), first.json(), "it was open then");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_over_takes_its_reviews_along() {
    let mut cluster = Cluster::start(1, 2).await;
    let grace = person(&mut cluster, "grace", &SCOPES).await;
    let client = cluster.client();
    let execution = start(client, "over", &reviewed(json!({}))).await;
    let id = the_review(client, &execution).await;
    let cancel = client.request(Method::POST, &format!("/api/v1/workflows/executions/{execution}/cancel"));
    assert!(send(cancel.json(&json!({}))).await.unwrap().is_success());
    assert_eq!(client.ended(&execution, RUN_TIME_MAX).await["status"], "CANCELLED");
    let late = decide(&grace, &id, &json!({ "decision": "approve" }), "late").await;
    assert_eq!(refusal(&late), (409, "review_withdrawn".into()), "{late}");
    assert!(open(client, &execution).await.is_empty());
    let shown = review(client, &id).await;
    assert_eq!((&shown["state"], &shown["decided"]), (&json!("withdrawn"), &serde_json::Value::Null), "{shown}");
}
