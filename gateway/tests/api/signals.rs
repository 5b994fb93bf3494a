use heddle_proto::control::{Run, RunStatus, WaitingOn};
use reqwest::Method;
use serde_json::{Value, json};

use crate::setup::{Api, answer};

const SIGNAL: &str = "/api/v1/workflows/executions/exec_1/signals/order.paid";
const HOOK: &str = "/api/v1/hooks/aGVkZGxl";

#[tokio::test]
async fn a_signal_is_any_json_and_says_whether_a_node_has_it() {
    let api = Api::start().await;
    api.fake.script().delivered = true;
    let sent = api.post(SIGNAL, r#"{"amount": 12.50, "tags": []}"#).await;
    assert_eq!(sent.status, 202, "{}", sent.text);
    sent.check_envelope();
    let expected = json!({"executionId": "exec_1", "name": "order.paid", "seq": 12, "delivered": true});
    assert_eq!(sent.body["data"], expected);
    assert!(sent.headers.get("idempotent-replayed").is_none());
    api.fake.script().delivered = false;
    for (body, told) in [("", "null"), ("null", "null"), ("[1]", "[1]"), ("\"go\"", "\"go\""), ("0.10", "0.10")] {
        let kept = api.post(SIGNAL, body).await;
        assert_eq!((kept.status, &kept.body["delivered"]), (202, &json!(false)), "{body}: {}", kept.text);
        let heard = api.fake.script().signals.pop().unwrap();
        assert_eq!(heard.body_json, told, "as it was sent");
    }
    let heard = api.fake.script().signals.pop().unwrap();
    assert_eq!((heard.tenant.as_str(), heard.subject.as_str()), ("ten_a", "ada"));
    assert_eq!((heard.execution_id.as_str(), heard.name.as_str()), ("exec_1", "order.paid"));
    assert_eq!(heard.body_json, r#"{"amount": 12.50, "tags": []}"#);
    assert_eq!(heard.idempotency, None);
}

#[tokio::test]
async fn what_is_no_signal_is_refused_before_the_coordinator_is_asked() {
    let api = Api::start().await;
    for (body, code) in [("{", "invalid_json"), ("nul", "invalid_json"), ("1 2", "invalid_json")] {
        api.post(SIGNAL, body).await.check_refusal(400, code);
    }
    api.post(SIGNAL, r#"{"a": [{"b": 1, "b": 2}]}"#).await.check_refusal(400, "duplicate_key");
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    api.post(SIGNAL, &deep).await.check_refusal(400, "json_too_deep");
    let large = api.post(SIGNAL, &format!("\"{}\"", "x".repeat(64 * 1024 - 1))).await;
    large.check_refusal(413, "body_too_large");
    assert_eq!(large.body["bytesMax"], 64 * 1024);
    let text = api.request(Method::POST, SIGNAL).header("Content-Type", "text/plain").body("go");
    answer(text).await.check_refusal(415, "unsupported_media_type");
    for name in [&"x".repeat(129), "a%20b", "a%2Fb", "%C3%A4", "a:b"] {
        let path = format!("/api/v1/workflows/executions/exec_1/signals/{name}");
        api.post(&path, "1").await.check_refusal(422, "invalid_signal_name");
    }
    assert_eq!(api.fake.script().signals, [], "none of them was passed on");
    let longest = format!("/api/v1/workflows/executions/exec_1/signals/{}", "x".repeat(128));
    assert_eq!(api.post(&longest, &format!("\"{}\"", "x".repeat(64 * 1024 - 2))).await.status, 202);
}

#[tokio::test]
async fn who_may_read_a_run_sees_its_hooks_but_sends_no_signals() {
    let api = Api::start().await;
    let waiting = |kind: &str, signal: &str, url: &str| WaitingOn {
        kind: kind.to_owned(),
        node_id: kind.to_owned(),
        signal: signal.to_owned(),
        url: url.to_owned(),
        due_at_ms: Some(1_000),
        ..WaitingOn::default()
    };
    api.fake.script().run = Run {
        status: RunStatus::Running.into(),
        waiting_on: vec![waiting("signal", "order.paid", ""), waiting("webhook", "", "https://heddle.test/h")],
        ..Run::default()
    };
    let shown = |body: &Value| {
        let waiting = &body["waitingOn"];
        (waiting[0]["signal"].clone(), waiting[0].get("url").cloned(), waiting[1].get("url").cloned())
    };
    let paths = ["/api/v1/workflows/executions/exec_1", "/api/v1/workflows/executions/exec_1/poll"];
    for path in paths {
        let seen = api.get(path).await;
        assert_eq!(shown(&seen.body), (json!("order.paid"), None, Some(json!("https://heddle.test/h"))), "{path}");
    }
    api.fake.script().run.waiting_on[1].url = "/api/v1/hooks/x".to_owned();
    let seen = api.get(paths[0]).await;
    assert_eq!(seen.body["waitingOn"][1]["url"], api.url("/api/v1/hooks/x"), "as the caller calls the server");
    api.fake.script().run.waiting_on[1].url = "https://heddle.test/h".to_owned();
    let api = {
        let other = Api::start().await;
        let run = api.fake.script().run.clone();
        let mut script = other.fake.script();
        script.run = run;
        script.principal.scopes = vec!["executions:read".to_owned()];
        drop(script);
        other
    };
    for path in paths {
        let seen = api.get(path).await;
        assert_eq!(shown(&seen.body), (json!("order.paid"), None, Some(json!("https://heddle.test/h"))), "{path}");
    }
    api.post(SIGNAL, "1").await.check_refusal(403, "missing_scope");
    answer(api.http.post(api.url(SIGNAL))).await.check_refusal(401, "missing_authorization");
    assert_eq!(api.fake.script().signals, []);
}

#[tokio::test]
async fn a_hook_needs_no_key_but_its_token() {
    let api = Api::start().await;
    for method in [Method::POST, Method::PUT] {
        let call = api.http.request(method, api.url(HOOK)).header("Content-Type", "application/json");
        let called = answer(call.body(r#"{"done": 1.0}"#)).await;
        assert_eq!((called.status, &called.body), (202, &json!({"accepted": true})), "{}", called.text);
        let heard = api.fake.script().hook_calls.pop().unwrap();
        assert_eq!((heard.token.as_str(), &heard.body_json[..]), ("aGVkZGxl", &br#"{"done": 1.0}"#[..]));
    }
    assert_eq!(answer(api.http.post(api.url(HOOK))).await.status, 202);
    assert_eq!(api.fake.script().hook_calls.pop().unwrap().body_json, "null");
    assert_eq!(api.fake.script().authentications, 0);
    let refusals = [
        (404, "hook_not_found"),
        (409, "hook_used"),
        (410, "hook_expired"),
        (422, "invalid_body"),
        (503, "overloaded"),
    ];
    for (status, code) in refusals {
        api.refuse("call_hook", status, code);
        answer(api.http.post(api.url(HOOK)).body("{}")).await.check_refusal(status as u16, code);
    }
    let large = vec![b' '; 64 * 1024 + 1];
    answer(api.http.post(api.url(HOOK)).body(large)).await.check_refusal(413, "body_too_large");
    let form = api.http.post(api.url(HOOK)).header("Content-Type", "application/x-www-form-urlencoded").body("a=b");
    answer(form).await.check_refusal(415, "unsupported_media_type");
    answer(api.http.get(api.url(HOOK))).await.check_refusal(405, "method_not_allowed");
}

#[tokio::test]
async fn a_key_of_idempotency_makes_both_repeatable() {
    let api = Api::start().await;
    api.fake.script().replayed = true;
    // The connection breaks once on the way: with a key the call is made again, without one nobody knows.
    for (path, method) in [(SIGNAL, "send_signal"), (HOOK, "call_hook")] {
        api.fake.script().breaks.insert(method, 1);
        let again = answer(api.json(Method::POST, path, "[1]").header("Idempotency-Key", "k")).await;
        assert_eq!((again.status, again.header("idempotent-replayed")), (202, "true"), "{}", again.text);
        api.fake.script().breaks.insert(method, 1);
        api.post(path, "[1]").await.check_refusal(503, "coordinator_unavailable");
    }
    let script = api.fake.script();
    let keys: Vec<_> = script.signals.iter().map(|sent| sent.idempotency.as_ref().map(|key| &key.key[..])).collect();
    assert_eq!(keys, [Some("k"), Some("k"), None]);
    let keys: Vec<_> = script.hook_calls.iter().map(|call| call.idempotency.as_ref().map(|key| &key.key[..])).collect();
    assert_eq!(keys, [Some("k"), Some("k"), None]);
}
