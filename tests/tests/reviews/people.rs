//! Who decides, and what happens when nobody does.

use cluster_tests::cluster::Cluster;
use serde_json::{Value, json};

use super::{
    RUN_TIME_MAX, SCOPES, decide, decide_anew, decided, open, output, person, refusal, review, reviewed, start, state,
    the_review,
};

#[tokio::test(flavor = "multi_thread")]
async fn as_many_people_approve_as_are_asked_for() {
    let mut cluster = Cluster::start(1, 2).await;
    let ada = person(&mut cluster, "ada", &SCOPES).await;
    let grace = person(&mut cluster, "grace", &SCOPES).await;
    let edsger = person(&mut cluster, "edsger", &SCOPES).await;
    let client = cluster.client();
    let execution = start(client, "three", &reviewed(json!({ "required": 3 }))).await;
    let id = the_review(client, &execution).await;
    let approve = json!({ "decision": "approve" });
    for (person, approvals) in [(&ada, 1), (&grace, 2)] {
        let after = decided(person, &id, &approve).await;
        let shown = (&after["state"], &after["approvals"], &after["decided"]);
        assert_eq!(shown, (&json!("open"), &json!(approvals), &Value::Null), "{after}");
        let again = decide_anew(person, &id, &approve).await;
        assert_eq!(refusal(&again), (409, "already_approved".into()), "N approvals are N subjects: {again}");
    }
    assert_eq!(client.execution(&execution).await["status"], "RUNNING");
    let last = decided(&edsger, &id, &approve).await;
    assert_eq!(
        (&last["state"], &last["approvals"], &last["decided"]["by"]),
        (&json!("decided"), &json!(3), &json!("edsger"))
    );
    let ended = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(
        (output(&ended, "yes")["value"].as_str(), &*state(&ended, "no")),
        (Some("as it was"), "SKIPPED"),
        "{ended}"
    );
    // One who says no is enough.
    let execution = start(client, "three again", &reviewed(json!({ "required": 3 }))).await;
    let id = the_review(client, &execution).await;
    decided(&ada, &id, &approve).await;
    decided(&grace, &id, &json!({ "decision": "reject", "comment": "no" })).await;
    let ended = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(
        (output(&ended, "no")["value"].as_str(), &*state(&ended, "yes")),
        (Some("as it was"), "SKIPPED"),
        "{ended}"
    );
    let shown = review(client, &id).await;
    let by: Vec<&Value> = shown["history"].as_array().unwrap().iter().map(|entry| &entry["by"]).collect();
    assert_eq!(by, ["ada", "grace"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_is_what_as_many_people_have_approved() {
    let mut cluster = Cluster::start(1, 2).await;
    let ada = person(&mut cluster, "ada", &SCOPES).await;
    let grace = person(&mut cluster, "grace", &SCOPES).await;
    let client = cluster.client();
    let execution = start(client, "versions", &reviewed(json!({ "required": 2 }))).await;
    let id = the_review(client, &execution).await;
    let edit = |text: &str| json!({ "decision": "approve", "data": text });
    // Each of them wants something else: that is no agreement.
    for (person, text) in [(&grace, "100"), (&ada, "200")] {
        let after = decided(person, &id, &edit(text)).await;
        let shown = (&after["state"], &after["approvals"], &after["value"], &after["original"]);
        assert_eq!(shown, (&json!("open"), &json!(1), &json!(text), &json!("as it was")), "{after}");
    }
    let seen = json!({ "decision": "approve", "revision": 1 });
    let stale = decide_anew(&grace, &id, &seen).await;
    assert_eq!(refusal(&stale), (409, "stale_review".into()), "she has not seen the last edit: {stale}");
    let last = decided(&grace, &id, &json!({ "decision": "approve", "revision": 2 })).await;
    assert_eq!((&last["state"], &last["approvals"]), (&json!("decided"), &json!(2)), "{last}");
    let edits: Vec<_> = last["history"].as_array().unwrap().iter().map(|entry| &entry["data"]).collect();
    assert_eq!(edits, [&json!("100"), &json!("200"), &Value::Null], "the history has all of them");
    let ended = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(output(&ended, "yes")["value"], "200", "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_decides_in_time_goes_on_as_it_says() {
    let cluster = Cluster::start(1, 2).await;
    let client = cluster.client();
    for (on_timeout, status, node) in
        [("approve", "COMPLETED", "yes"), ("reject", "COMPLETED", "no"), ("fail", "FAILED", "none")]
    {
        let config = json!({ "timeoutMs": 200, "onTimeout": on_timeout });
        let execution = start(client, on_timeout, &reviewed(config)).await;
        let ended = client.ended(&execution, RUN_TIME_MAX).await;
        assert_eq!(ended["status"], status, "{ended}");
        assert_eq!(output(&ended, node)["value"], if node == "none" { Value::Null } else { json!("as it was") });
        assert!(open(client, &execution).await.is_empty());
        let closed = client.get_json(&format!("/api/v1/reviews?state=all&executionId={execution}")).await;
        let shown = (&closed[0]["state"], &closed[0]["decided"]["by"], &closed[0]["decided"]["decision"]);
        assert_eq!(shown, (&json!("decided"), &Value::Null, &json!(on_timeout)), "{closed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_that_is_escalated_is_others_to_decide_once() {
    let mut cluster = Cluster::start(1, 2).await;
    let ada = person(&mut cluster, "ada", &SCOPES).await;
    let boss = person(&mut cluster, "boss", &SCOPES).await;
    let client = cluster.client();
    let config = json!({ "assignees": ["ada"], "timeoutMs": 2_000, "onTimeout": "escalate", "escalateTo": "boss" });
    let execution = start(client, "escalated", &reviewed(config)).await;
    let id = the_review(client, &execution).await;
    let approve = json!({ "decision": "approve" });
    let early = decide(&boss, &id, &approve, "early").await;
    assert_eq!(refusal(&early), (403, "not_an_assignee".into()), "{early}");
    let inbox = |subject: &'static str| {
        let path = format!("/api/v1/reviews?assignee={subject}&executionId={execution}");
        async move { client.get_json(&path).await.as_array().map(Vec::len) }
    };
    assert_eq!((inbox("ada").await, inbox("boss").await), (Some(1), Some(0)));
    cluster_tests::wait::until("an escalation", RUN_TIME_MAX, || async {
        if inbox("boss").await == Some(1) { Ok(()) } else { Err(review(client, &id).await.to_string()) }
    })
    .await;
    let late = decide(&ada, &id, &approve, "late").await;
    assert_eq!(refusal(&late), (403, "not_an_assignee".into()), "{late}");
    let after = decided(&boss, &id, &approve).await;
    let history: Vec<&Value> = after["history"].as_array().unwrap().iter().map(|entry| &entry["decision"]).collect();
    assert_eq!(history, ["escalate", "approve"], "{after}");
    assert_eq!(client.ended(&execution, RUN_TIME_MAX).await["status"], "COMPLETED");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_started_a_run_does_not_decide_in_what_goes_on_from_it() {
    let mut cluster = Cluster::start(1, 2).await;
    let starts = ["workflows:write", "workflows:execute", "executions:read", "reviews:decide"];
    let ada = person(&mut cluster, "ada", &starts).await;
    let grace = person(&mut cluster, "grace", &starts).await;
    let edsger = person(&mut cluster, "edsger", &SCOPES).await;
    let approve = json!({ "decision": "approve" });
    let mut execution = start(&ada, "own", &reviewed(json!({}))).await;
    for turn in ["first", "second"] {
        decided(&edsger, &the_review(&ada, &execution).await, &approve).await;
        ada.ended(&execution, RUN_TIME_MAX).await;
        let path = format!("/api/v1/workflows/executions/{execution}/rerun");
        let child = grace.post(&path, &json!({}), turn).await;
        assert!(child.is_success(), "{child}");
        execution = cluster_tests::cluster::runs::text(&child.json()["executionId"]);
        let id = the_review(&grace, &execution).await;
        for person in [&grace, &ada] {
            let refused = decide(person, &id, &approve, "own").await;
            assert_eq!(refusal(&refused), (403, "own_review".into()), "{turn}: {refused}");
        }
    }
}
