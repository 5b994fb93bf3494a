use heddle_proto::control::ApiKey;
use reqwest::Method;
use serde_json::json;

use crate::setup::{Api, answer};

async fn api() -> Api {
    let api = Api::start().await;
    api.fake.script().key = ApiKey {
        id: "key_1".to_owned(),
        subject: "ada".to_owned(),
        scopes: vec!["admin".to_owned()],
        created_at_ms: 0,
        expires_at_ms: Some(1_777_712_400_007),
        revoked_at_ms: None,
        hint: "sk-…wxyz".to_owned(),
        last_used_at_ms: Some(1_777_712_400_007),
    };
    api
}

#[tokio::test]
async fn a_key_is_shown_once() {
    let api = api().await;
    let body = json!({"subject": "grace", "scopes": ["admin"], "expiresAt": "2026-05-02T11:00:00.007+02:00"});
    let made = api.post("/api/v1/keys", &body.to_string()).await;
    let row = json!({
        "id": "key_1", "hint": "sk-…wxyz", "subject": "ada", "scopes": ["admin"],
        "createdAt": "1970-01-01T00:00:00.000Z", "expiresAt": "2026-05-02T09:00:00.007Z", "revokedAt": null,
        "lastUsedAt": "2026-05-02T09:00:00.007Z",
    });
    let mut shown = row.clone();
    shown["key"] = json!("sk-new");
    assert_eq!((made.status, &made.body), (201, &shown), "{}", made.text);
    assert_eq!(made.header("cache-control"), "no-store");
    let asked = api.fake.script().key_creations.pop().unwrap();
    assert_eq!((asked.tenant.as_str(), asked.subject.as_str(), asked.operates), ("ten_a", "grace", true));
    assert_eq!((asked.scopes, asked.expires_at_ms), (vec!["admin".to_owned()], Some(1_777_712_400_007)));
    assert_eq!(api.get("/api/v1/keys").await.body, json!([row]));
    // Without a name it is the caller's.
    api.post("/api/v1/keys", r#"{"scopes": ["admin"]}"#).await;
    assert_eq!(api.fake.script().key_creations.pop().unwrap().subject, "ada");
}

#[tokio::test]
async fn a_key_is_replaced_and_revoked() {
    let api = api().await;
    let replaced = api.post("/api/v1/keys/key_1/rotate", r#"{"overlapSeconds": 60}"#).await;
    assert_eq!((replaced.status, &replaced.body["key"]), (201, &json!("sk-new")));
    api.post("/api/v1/keys/key_1/rotate", "{}").await;
    let overlaps: Vec<u64> = api.fake.script().key_rotations.iter().map(|asked| asked.overlap_ms).collect();
    assert_eq!(overlaps, [60_000, 24 * 3_600_000]);
    let revoked = answer(api.request(Method::DELETE, "/api/v1/keys/key_1")).await;
    assert_eq!((revoked.status, revoked.body.get("key")), (200, None));
    let asked = api.fake.script().key_revocations.pop().unwrap();
    assert_eq!((asked.tenant.as_str(), asked.id.as_str()), ("ten_a", "key_1"));
}

#[tokio::test]
async fn what_makes_no_key_is_named() {
    let api = api().await;
    for (path, body, place) in [
        ("/api/v1/keys", json!({"scopes": "admin"}), "/scopes"),
        ("/api/v1/keys", json!({"scopes": ["admin"], "expiresAt": "tomorrow"}), "/expiresAt"),
        ("/api/v1/keys", json!({"scope": ["admin"]}), "/scope"),
        ("/api/v1/keys/key_1/rotate", json!({"overlapSeconds": -1}), "/overlapSeconds"),
        ("/api/v1/keys/key_1/rotate", json!({"overlapSeconds": 99_999_999}), "/overlapSeconds"),
    ] {
        let refused = api.post(path, &body.to_string()).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert!(refused.text.contains(place), "{}", refused.text);
    }
    api.refuse("revoke_key", 409, "last_admin_key");
    answer(api.request(Method::DELETE, "/api/v1/keys/key_1")).await.check_refusal(409, "last_admin_key");
    let other = Api::start().await;
    other.fake.script().principal.scopes = vec!["workflows:write".to_owned()];
    for refused in [other.get("/api/v1/keys").await, other.post("/api/v1/keys", r#"{"scopes": ["admin"]}"#).await] {
        assert_eq!(refused.status, 403);
    }
    assert!(other.fake.script().key_creations.is_empty());
}
