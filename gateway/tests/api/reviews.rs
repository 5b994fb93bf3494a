use heddle_proto::control::{
    Failure, PortValue, Review, ReviewDecision, ReviewEntry, ReviewHead, ReviewKind, ReviewState, ReviewedPort,
    ReviewedValue,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::setup::{Api, answer};

const DECISION: &str = "/api/v1/reviews/rev_1/decision";

fn value(port: &str, json: &'static str) -> ReviewedValue {
    let value = PortValue { port: port.to_owned(), value_json: json.as_bytes().into(), ..PortValue::default() };
    ReviewedValue { value: Some(value), r#type: "TEXT".to_owned(), list: false }
}

fn edited() -> ReviewDecision {
    ReviewDecision {
        decision: "approve".to_owned(),
        by: "grace".to_owned(),
        at_ms: 7,
        comment: "shorter".to_owned(),
        edited: true,
    }
}

fn review() -> Review {
    Review {
        head: Some(ReviewHead {
            id: "rev_1".to_owned(),
            execution_id: "exec_1".to_owned(),
            workflow_id: "wf_1".to_owned(),
            node_id: "check".to_owned(),
            index: vec![3],
            kind: ReviewKind::Review.into(),
            state: ReviewState::Decided.into(),
            assignees: vec!["grace".to_owned()],
            opened_at_ms: 0,
            due_at_ms: Some(1_000),
            closed_at_ms: Some(7),
            decided: Some(edited()),
            title: "Check the draft".to_owned(),
        }),
        title: "Check the draft".to_owned(),
        description: "Is it *true*?".to_owned(),
        values: vec![value("value", "\"A draft.\"")],
        ports: vec![ReviewedPort { port: "value".to_owned(), r#type: "TEXT".to_owned(), list: false }],
        schema_json: "{\"minLength\":1}".into(),
        allow: ["approve", "edit", "reject"].map(str::to_owned).to_vec(),
        required: 1,
        approvals: 1,
        on_timeout: "reject".to_owned(),
        revision: 1,
        history: vec![ReviewEntry {
            decision: Some(edited()),
            last: true,
            data: vec![value("value", "\"Short.\"")],
            ..ReviewEntry::default()
        }],
        ..Review::default()
    }
}

async fn api() -> Api {
    let api = Api::start().await;
    {
        let mut script = api.fake.script();
        script.principal.scopes.push("reviews:decide".to_owned());
        script.review = review();
    }
    api
}

fn head() -> Value {
    let decided = json!({"decision": "approve", "by": "grace", "at": "1970-01-01T00:00:00.007Z", "comment": "shorter",
        "edited": true});
    json!({
        "id": "rev_1", "executionId": "exec_1", "workflowId": "wf_1", "nodeId": "check", "index": [3], "kind": "review",
        "title": "Check the draft", "state": "decided", "assignees": ["grace"], "openedAt": "1970-01-01T00:00:00.000Z",
        "dueAt": "1970-01-01T00:00:01.000Z", "closedAt": "1970-01-01T00:00:00.007Z", "decided": decided,
    })
}

#[tokio::test]
async fn the_inbox_comes_in_pages() {
    let api = api().await;
    let page = api.get("/api/v1/reviews?assignee=grace&workflowId=wf_1&executionId=exec_1&limit=5000").await;
    assert_eq!((page.status, &page.body), (200, &json!([head()])), "{}", page.text);
    let next = page.header("link");
    assert_eq!(
        next,
        "</api/v1/reviews?cursor=7-rev_1&assignee=grace&workflowId=wf_1&executionId=exec_1&limit=5000>; rel=\"next\""
    );
    let last = api.get("/api/v1/reviews?state=all&cursor=7-rev_1").await;
    assert!(last.headers.get("link").is_none());
    let asked = std::mem::take(&mut api.fake.script().review_lists);
    assert_eq!((asked[0].tenant.as_str(), asked[0].state(), asked[0].limit), ("ten_a", ReviewState::Open, 200));
    assert_eq!((asked[0].assignee.as_str(), asked[0].workflow_id.as_str()), ("grace", "wf_1"));
    assert_eq!((asked[0].execution_id.as_str(), asked[1].cursor.as_str()), ("exec_1", "7-rev_1"));
    assert_eq!((asked[1].state(), asked[1].limit), (ReviewState::Unspecified, 50));
    api.get("/api/v1/reviews?state=closed").await.check_refusal(400, "invalid_parameter");
}

#[tokio::test]
async fn a_review_shows_what_is_asked_and_what_was_decided() {
    let api = api().await;
    let got = api.get("/api/v1/reviews/rev_1").await;
    got.check_envelope();
    let mut expected = head();
    let entry = json!({"decision": "approve", "by": "grace", "at": "1970-01-01T00:00:00.007Z", "comment": "shorter",
        "edited": true, "last": true, "data": "Short."});
    for (name, value) in [
        ("description", json!("Is it *true*?")),
        ("value", json!("A draft.")),
        ("original", json!(null)),
        ("ports", json!([{"port": "value", "type": "TEXT", "list": false}])),
        ("schema", json!({"minLength": 1})),
        ("allow", json!(["approve", "edit", "reject"])),
        ("required", json!(1)),
        ("approvals", json!(1)),
        ("onTimeout", json!("reject")),
        ("revision", json!(1)),
        ("history", json!([entry])),
    ] {
        expected[name] = value;
    }
    assert_eq!(got.body["data"], expected, "{}", got.text);
    // Of several versions the first is there, too.
    api.fake.script().review.originals = vec![value("value", "\"Before.\"")];
    let got = api.get("/api/v1/reviews/rev_1").await;
    assert_eq!((&got.body["value"], &got.body["original"]), (&json!("A draft."), &json!("Before.")));
    // Of a node with ports they are named.
    {
        let mut script = api.fake.script();
        script.review.originals.clear();
        script.review.head.as_mut().unwrap().kind = ReviewKind::After.into();
        script.review.values = vec![value("text", "\"a\""), value("more", "[1]")];
    }
    let got = api.get("/api/v1/reviews/rev_1").await;
    assert_eq!((&got.body["kind"], &got.body["stage"]), (&json!("review"), &json!("after")));
    assert_eq!(got.body["value"], json!({"text": "a", "more": [1]}));
    assert_eq!(got.body["history"][0]["data"], json!({"value": "Short."}));
    api.refuse("get_review", 404, "review_not_found");
    api.get("/api/v1/reviews/rev_2").await.check_refusal(404, "review_not_found");
}

#[tokio::test]
async fn a_decision_goes_to_the_coordinator_with_its_subject() {
    let api = api().await;
    let body = r#"{"decision":"approve","data":{"text": "x"},"comment":"ok","revision":3}"#;
    let request = api.json(Method::POST, DECISION, body).header("Idempotency-Key", "k1");
    api.fake.script().replayed = true;
    let decided = answer(request).await;
    decided.check_envelope();
    assert_eq!((decided.status, decided.header("idempotent-replayed")), (200, "true"));
    let asked = api.fake.script().decisions.pop().unwrap();
    assert_eq!((asked.tenant.as_str(), asked.subject.as_str(), asked.id.as_str()), ("ten_a", "ada", "rev_1"));
    assert_eq!(
        (asked.decision.as_str(), &*asked.data_json, asked.revision),
        ("approve", &br#"{"text": "x"}"#[..], Some(3))
    );
    assert_eq!((asked.comment.as_str(), asked.idempotency.unwrap().key.as_str()), ("ok", "k1"));
    let writes = api.fake.script().principal.scopes.iter().any(|scope| scope == "workflows:write");
    assert_eq!((asked.decides_own, asked.writes_workflows), (false, writes));
    api.post(DECISION, r#"{"decision":"retry","config":{"width":3}}"#).await;
    let asked = api.fake.script().decisions.pop().unwrap();
    assert_eq!((&*asked.config_json, &*asked.data_json, asked.revision), (&br#"{"width":3}"#[..], &b""[..], None));
}

#[tokio::test]
async fn only_a_key_with_the_scope_decides() {
    let api = Api::start().await;
    api.post(DECISION, r#"{"decision":"reject"}"#).await.check_refusal(403, "missing_scope");
    assert!(api.fake.script().decisions.is_empty());
    let own = Api::start().await;
    own.fake.script().principal.scopes = ["reviews:decide", "reviews:decide:own"].map(str::to_owned).to_vec();
    own.fake.script().review = review();
    assert_eq!(own.post(DECISION, r#"{"decision":"reject"}"#).await.status, 200);
    assert!(own.fake.script().decisions.pop().unwrap().decides_own);
    assert_eq!(own.get("/api/v1/reviews/rev_1").await.status, 200);
}

#[tokio::test]
async fn what_is_no_decision_is_named() {
    let api = api().await;
    for (body, code, place) in [
        (json!({}), "missing_fields", ""),
        (json!({"decision": "maybe"}), "invalid_field", "/decision"),
        (json!({"decision": "reject", "data": 1}), "invalid_field", "/data"),
        (json!({"decision": "approve", "config": {}}), "invalid_field", "/config"),
        (json!({"decision": "retry", "config": 1}), "invalid_field", "/config"),
        (json!({"decision": "approve", "revision": "x"}), "invalid_field", "/revision"),
        (json!({"decision": "approve", "comment": 1}), "invalid_field", "/comment"),
        (json!({"decision": "approve", "edits": {}}), "unknown_field", "/edits"),
    ] {
        let refused = api.post(DECISION, &body.to_string()).await;
        refused.check_refusal(400, code);
        assert!(place.is_empty() || refused.body["path"] == place, "{}", refused.text);
    }
    assert!(api.fake.script().decisions.is_empty());
}

#[tokio::test]
async fn who_comes_second_hears_who_was_first() {
    let api = api().await;
    let failure = |failure: Failure| {
        api.fake.script().failures.insert("decide_review", failure);
        async { api.post(DECISION, r#"{"decision":"reject"}"#).await }
    };
    let said = |http_status, code: &str| Failure {
        code: code.to_owned(),
        http_status,
        message: "a sentence".to_owned(),
        ..Failure::default()
    };
    let second = failure(Failure { decided: Some(edited()), ..said(409, "review_decided") }).await;
    second.check_refusal(409, "review_decided");
    assert_eq!(second.body["decided"], head()["decided"]);
    let stale = failure(Failure { current_revision: Some(0), ..said(409, "stale_review") }).await;
    stale.check_refusal(409, "stale_review");
    assert_eq!(stale.body["currentRevision"], 0);
    let wrong = failure(Failure { path: "/data/title".to_owned(), ..said(422, "invalid_decision") }).await;
    wrong.check_refusal(422, "invalid_decision");
    assert_eq!(wrong.body["path"], "/data/title");
}
