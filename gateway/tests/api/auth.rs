use heddle_proto::key::{self, KeyKind};
use reqwest::Method;

use crate::setup::{Answer, Api, answer, live_key};

async fn with_header(api: &Api, authorization: Option<&str>) -> Answer {
    let mut request = api.http.get(api.url("/api/v1/workflows"));
    if let Some(value) = authorization {
        request = request.header("Authorization", value);
    }
    answer(request).await
}

#[tokio::test]
async fn refused_keys_get_the_documented_words() {
    let api = Api::start().await;
    let good = live_key();
    let bad_checksum = format!("Bearer {}{}", &good[..good.len() - 1], if good.ends_with('a') { 'b' } else { 'a' });
    let format = "Invalid API key format. Expected: Bearer sk-...";
    for (header, code, words) in [
        (None, "missing_authorization", "Missing Authorization header"),
        (Some(""), "invalid_key_format", format),
        (Some("Bearer"), "invalid_key_format", format),
        (Some("Bearer pk-123"), "invalid_key_format", format),
        (Some("Basic dXNlcjpwYXNz"), "invalid_key_format", format),
        (Some("Bearer sk-short"), "invalid_key_format", format),
        (Some(bad_checksum.as_str()), "invalid_key_format", format),
    ] {
        let refusal = with_header(&api, header).await;
        refusal.check_refusal(401, code);
        assert_eq!(refusal.body["error"], words);
        assert_eq!(refusal.header("www-authenticate"), "Bearer");
    }
    assert_eq!(api.fake.script().authentications, 0, "none of these needs a look-up");
    for (said, code, words) in [
        ("invalid_api_key", "invalid_api_key", "Invalid API key"),
        ("api_key_expired", "api_key_expired", "API key has expired"),
    ] {
        api.refuse("authenticate", 401, said);
        let refusal = api.get("/api/v1/workflows").await;
        refusal.check_refusal(401, code);
        assert_eq!(refusal.body["error"], words);
    }
    api.refuse("authenticate", 401, "invalid_api_key");
    let refusal = api.get("/api/v1/nodes").await;
    refusal.check_refusal(401, "invalid_api_key");
    assert_eq!(refusal.body["error"]["type"], "authentication_error");
}

#[tokio::test]
async fn other_good_keys_are_accepted() {
    let api = Api::start().await;
    for key in [
        key::mint(KeyKind::Live, &[1; 32]),
        key::mint(KeyKind::Test, &[1; 32]),
        "wf_live_0123456789abcdef".to_owned(),
        "wf_test_0123456789abcdef".to_owned(),
    ] {
        assert_eq!(with_header(&api, Some(&format!("Bearer {key}"))).await.status, 200, "{key}");
        assert_eq!(with_header(&api, Some(&format!("bearer  {key} "))).await.status, 200, "{key}");
    }
}

#[tokio::test]
async fn an_answer_about_a_key_is_remembered() {
    let api = Api::start().await;
    for _ in 0..5 {
        assert_eq!(api.get("/api/v1/workflows").await.status, 200);
    }
    // At most one more, should this machine take half a second for five requests.
    assert!(api.fake.script().authentications <= 2, "{}", api.fake.script().authentications);
    let api = Api::start().await;
    api.fake.script().principal.cache_ms = 0;
    for _ in 0..3 {
        api.get("/api/v1/workflows").await;
    }
    assert_eq!(api.fake.script().authentications, 3);
}

#[tokio::test]
async fn each_route_asks_for_its_scope() {
    let api = Api::start().await;
    api.fake.script().principal.cache_ms = 0;
    let routes = [
        (Method::GET, "/api/v1/workflows", "workflows:read"),
        (Method::POST, "/api/v1/workflows", "workflows:write"),
        (Method::GET, "/api/v1/workflows/w", "workflows:read"),
        (Method::PUT, "/api/v1/workflows/w", "workflows:write"),
        (Method::DELETE, "/api/v1/workflows/w", "workflows:write"),
        (Method::POST, "/api/v1/workflows/lint", "workflows:read"),
        (Method::POST, "/api/v1/workflows/w/execute", "workflows:execute"),
        (Method::POST, "/api/v1/workflows/w/run", "workflows:execute"),
        (Method::GET, "/api/v1/workflows/w/run", "workflows:read"),
        (Method::GET, "/api/v1/workflows/w/executions", "executions:read"),
        (Method::GET, "/api/v1/workflows/executions", "executions:read"),
        (Method::GET, "/api/v1/workflows/executions/e", "executions:read"),
        (Method::GET, "/api/v1/workflows/executions/e/poll", "executions:read"),
        (Method::GET, "/api/v1/workflows/executions/e/events", "executions:read"),
        (Method::POST, "/api/v1/workflows/executions/e/cancel", "workflows:execute"),
        (Method::GET, "/api/v1/nodes", "workflows:read"),
        (Method::GET, "/api/v1/nodes/a:b", "workflows:read"),
        (Method::GET, "/api/v1/agents", "operate"),
        (Method::POST, "/api/v1/agents/a/drain", "operate"),
        (Method::POST, "/api/v1/agents/a/resume", "operate"),
        (Method::GET, "/api/v1/agents/tokens", "operate"),
        (Method::POST, "/api/v1/agents/tokens", "operate"),
        (Method::DELETE, "/api/v1/agents/tokens/t", "operate"),
        (Method::GET, "/api/v1/keys", "admin"),
        (Method::POST, "/api/v1/keys", "admin"),
        (Method::GET, "/api/v1/tenants", "operate"),
        (Method::POST, "/api/v1/tenants", "operate"),
        (Method::GET, "/api/v1/tenants/t", "operate"),
        (Method::PATCH, "/api/v1/tenants/t", "operate"),
        (Method::GET, "/api/v1/tenants/t/keys", "operate"),
        (Method::POST, "/api/v1/tenants/t/keys", "operate"),
    ];
    for (method, path, scope) in routes {
        api.fake.script().principal.scopes = vec!["usage:read".to_owned()];
        answer(api.request(method.clone(), path)).await.check_refusal(403, "missing_scope");
        api.fake.script().principal.scopes = vec![scope.to_owned()];
        let allowed = answer(api.request(method.clone(), path)).await;
        assert!(!matches!(allowed.status, 401 | 403), "{method} {path}: {}", allowed.text);
        let keyless = answer(api.http.request(method, api.url(path))).await;
        keyless.check_refusal(401, "missing_authorization");
    }
    for scope in ["workflows:read", "workflows:execute"] {
        api.fake.script().principal.scopes = vec![scope.to_owned()];
        assert_ne!(api.get("/api/v1/workflows/executions/e/poll").await.status, 403);
    }
}

#[tokio::test]
async fn the_key_decides_whose_and_where() {
    let api = Api::start().await;
    let path = api.url("/api/v1/workflows/w/execute");
    for (kind, is_sandboxed) in [(KeyKind::Live, false), (KeyKind::Test, true)] {
        let request = api.http.post(&path).bearer_auth(key::mint(kind, &[1; 32]));
        assert_eq!(answer(request.body(r#"{"tenant":"other","sandbox":false}"#)).await.status, 201);
        let submit = api.fake.script().submits.pop().unwrap();
        assert_eq!((submit.tenant.as_str(), submit.subject.as_str()), ("ten_a", "ada"));
        assert_eq!(submit.sandbox, is_sandboxed);
    }
}

/// The status, the code and the rest of a raw answer.
fn raw_refusal(answer: &str) -> (&str, String) {
    let status = answer.strip_prefix("HTTP/1.1 ").unwrap().split(' ').next().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn headers_that_others_may_read_otherwise_are_refused() {
    let api = Api::start().await;
    let (good, other) = (live_key(), key::mint(KeyKind::Live, &[1; 32]));
    let request = |headers: &str| format!("GET /api/v1/workflows HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    let one = format!("Authorization: Bearer {good}\r\n");
    for (headers, status, code) in [
        (format!("Host: localhost\r\n{one}Authorization: Bearer {other}\r\n"), "401", "ambiguous_authorization"),
        (format!("Host: localhost\r\n{one}{one}"), "401", "ambiguous_authorization"),
        (one.clone(), "400", "missing_host"),
        (format!("Host: localhost\r\nHost: 127.0.0.1\r\n{one}"), "400", "ambiguous_host"),
    ] {
        let answer = api.raw(request(&headers).as_bytes()).await;
        assert_eq!(raw_refusal(&answer), (status, code.to_owned()), "{answer}");
    }
    assert_eq!(api.fake.script().authentications, 0);
    let answer = api.raw(request(&format!("Host: localhost\r\n{one}")).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let old = format!("GET /api/v1/workflows HTTP/1.0\r\n{one}\r\n");
    let answer = api.raw(old.as_bytes()).await;
    assert!(answer.contains(" 200 OK\r\n"), "HTTP/1.0 has no Host: {answer}");
}
