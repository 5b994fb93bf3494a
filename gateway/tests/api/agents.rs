use reqwest::Method;
use serde_json::json;

use crate::setup::{Api, answer};

const TOKENS: &str = "/api/v1/agents/tokens";

#[tokio::test]
async fn a_join_token_is_shown_once() {
    let api = Api::start().await;
    let row = json!({
        "id": "jtk_1", "for": "agent", "subject": "ada", "createdAt": "1970-01-01T00:00:00.000Z",
        "expiresAt": "1970-01-01T00:00:00.000Z", "usedAt": null, "usedBy": null, "revokedAt": null,
    });
    let mut shown = row.clone();
    shown["token"] = json!("hjt_new");
    let made = api.post(TOKENS, r#"{"for": "gateway", "ttlSeconds": 90}"#).await;
    assert_eq!((made.status, &made.body), (201, &shown), "{}", made.text);
    assert_eq!(made.header("cache-control"), "no-store");
    let asked = api.fake.script().token_creations.pop().unwrap();
    assert_eq!((asked.role.as_str(), asked.ttl_ms, asked.subject.as_str()), ("gateway", 90_000, "ada"));
    api.post(TOKENS, "{}").await;
    let asked = api.fake.script().token_creations.pop().unwrap();
    assert_eq!((asked.role.as_str(), asked.ttl_ms), ("agent", 0), "the coordinator knows the usual time");
    let mut used = row.clone();
    (used["usedAt"], used["usedBy"]) = (json!("1970-01-01T00:00:00.007Z"), json!("agt_1"));
    assert_eq!(api.get(TOKENS).await.body, json!([used]));
    let mut revoked = row;
    revoked["revokedAt"] = json!("1970-01-01T00:00:00.007Z");
    assert_eq!(answer(api.request(Method::DELETE, "/api/v1/agents/tokens/jtk_1")).await.body, revoked);
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_named() {
    let api = Api::start().await;
    for (body, place) in [
        (r#"{"for": 1}"#, "/for"),
        (r#"{"ttlSeconds": 0}"#, "/ttlSeconds"),
        (r#"{"ttlSeconds": -1}"#, "/ttlSeconds"),
        (r#"{"role": "agent"}"#, "/role"),
    ] {
        let refused = api.post(TOKENS, body).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert!(refused.text.contains(place), "{}", refused.text);
    }
    assert!(api.fake.script().token_creations.is_empty());
    api.refuse("create_join_token", 409, "no_certificates");
    api.post(TOKENS, "{}").await.check_refusal(409, "no_certificates");
}

#[tokio::test]
async fn an_agent_is_drained_and_resumed() {
    let api = Api::start().await;
    for (verb, state, resume) in [("drain", "draining", false), ("resume", "connected", true)] {
        let answer = api.post(&format!("/api/v1/agents/agt_1/{verb}"), "").await;
        assert_eq!(answer.body, json!({"id": "agt_1", "state": state, "busy": 2}), "{}", answer.text);
        let asked = api.fake.script().drains.pop().unwrap();
        assert_eq!((asked.agent_id.as_str(), asked.subject.as_str(), asked.resume), ("agt_1", "ada", resume));
    }
    api.refuse("drain_agent", 404, "agent_not_found");
    api.post("/api/v1/agents/agt_2/drain", "").await.check_refusal(404, "agent_not_found");
}
