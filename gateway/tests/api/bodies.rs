use std::time::Duration;

use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::setup::{Api, answer, live_key};

const RUN: &str = "/api/v1/workflows/w/run";
const EXECUTE: &str = "/api/v1/workflows/w/execute";
const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn faulty_json_is_refused_with_its_place() {
    let api = Api::start().await;
    let deep = format!(r#"{{"inputs":{{"a":{}1{}}}}}"#, "[".repeat(100), "]".repeat(100));
    for (body, code, path) in [
        ("nonsense", "invalid_json", None),
        ("{\"inputs\":", "invalid_json", None),
        ("[]", "invalid_json", None),
        ("{}{}", "invalid_json", None),
        (r#"{"inputs":1}"#, "invalid_field", Some("/inputs")),
        (r#"{"inputs":[]}"#, "invalid_field", Some("/inputs")),
        (r#"{"inputs":{"a":1,"a":2}}"#, "duplicate_key", Some("/inputs/a")),
        (deep.as_str(), "json_too_deep", None),
    ] {
        let refusal = api.post(RUN, body).await;
        refusal.check_refusal(400, code);
        if let Some(path) = path {
            assert_eq!(refusal.body["path"], path);
        }
    }
    let invalid_utf8 = api.request(Method::POST, RUN).body(b"{\"inputs\":{\"a\":\"\xff\"}}".to_vec());
    answer(invalid_utf8).await.check_refusal(400, "invalid_json");
    let endless = "[".repeat(20 * MIB);
    api.post(EXECUTE, &endless).await.check_refusal(400, "json_too_deep");
    assert!(api.fake.script().submits.is_empty());
}

#[tokio::test]
async fn the_content_type_must_be_json_or_absent() {
    let api = Api::start().await;
    for (content_type, status) in [
        (Some("application/json"), 202),
        (Some("application/json; charset=utf-8"), 202),
        (None, 202),
        (Some("text/plain"), 415),
        (Some("application/x-www-form-urlencoded"), 415),
    ] {
        let mut request = api.request(Method::POST, RUN).body("{}");
        if let Some(value) = content_type {
            request = request.header("Content-Type", value);
        }
        assert_eq!(answer(request).await.status, status, "{content_type:?}");
    }
    assert_eq!(answer(api.request(Method::POST, RUN)).await.status, 202, "no body is an empty object");
}

#[tokio::test]
async fn each_route_has_its_limit() {
    let api = Api::start().await;
    let body = |bytes: usize| format!(r#"{{"x":"{}"}}"#, "x".repeat(bytes - 8));
    assert_eq!(api.post(RUN, &body(64 * 1024)).await.status, 202);
    api.post(RUN, &body(64 * 1024 + 1)).await.check_refusal(413, "body_too_large");
    assert_eq!(api.post(EXECUTE, &body(32 * MIB)).await.status, 201);
    api.post(EXECUTE, &body(32 * MIB + 1)).await.check_refusal(413, "body_too_large");
}

#[tokio::test]
async fn a_body_of_unknown_length_is_counted() {
    let api = Api::start().await;
    let pieces = (0..40).map(|_| Ok::<_, std::io::Error>(vec![b' '; MIB]));
    let request = api.request(Method::POST, EXECUTE).body(reqwest::Body::wrap_stream(futures::stream::iter(pieces)));
    answer(request).await.check_refusal(413, "body_too_large");
}

/// Sends a whole request before it reads anything, as simple clients do.
async fn send_first(api: &Api, path: &str, key: Option<&str>, body_bytes: usize) -> String {
    let authorization = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Length: {body_bytes}\r\nX-Request-Id: first\r\n\r\n"
    );
    let mut stream = TcpStream::connect(api.gateway.local_addr()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b' '; MIB];
    let mut left = body_bytes;
    while left > 0 {
        let length = left.min(piece.len());
        stream.write_all(&piece[..length]).await.expect("the gateway takes the whole body");
        left -= length;
    }
    let mut answer = vec![0; 64 * 1024];
    let length = timeout(Duration::from_secs(30), stream.read(&mut answer)).await.unwrap().unwrap();
    String::from_utf8(answer[..length].to_vec()).unwrap()
}

#[tokio::test]
async fn a_refusal_reaches_those_who_send_first() {
    let api = Api::start().await;
    let key = live_key();
    for (path, key, bytes, status) in [
        (EXECUTE, Some(key.as_str()), 33 * MIB, "413"),
        (EXECUTE, Some(key.as_str()), 100 * MIB, "413"),
        (RUN, Some(key.as_str()), 5 * MIB, "413"),
        (EXECUTE, None, 20 * MIB, "401"),
        ("/nowhere", None, 20 * MIB, "404"),
        ("/api/v1/workflows/w/executions", None, 20 * MIB, "405"),
    ] {
        let answer = send_first(&api, path, key, bytes).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        assert!(answer.contains("x-request-id: first\r\n"), "{answer}");
        assert!(answer.contains("\"requestId\":\"first\""), "{answer}");
    }
}

#[tokio::test]
async fn a_413_closes_its_connection() {
    let api = Api::start().await;
    let request = format!(
        "POST {RUN} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 70000\r\n\r\n{}",
        live_key(),
        " ".repeat(70_000)
    );
    let answer = timeout(Duration::from_secs(30), api.raw(request.as_bytes())).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn those_who_ask_first_send_nothing() {
    let api = Api::start().await;
    let request = format!(
        "POST {RUN} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 70000\r\nExpect: 100-continue\r\n\r\n",
        live_key()
    );
    let answer = timeout(Duration::from_secs(30), api.raw(request.as_bytes())).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_body_of_two_lengths_smuggles_nothing() {
    let api = Api::start().await;
    let key = live_key();
    // Whoever goes by the length sees the second request as a part of the first one's body, or the other way round.
    let second = format!(
        "POST {EXECUTE} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    let length = "2\r\n{}\r\n0\r\n\r\n".len() + second.len();
    for lengths in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
    ] {
        api.fake.script().submits.clear();
        let head = format!("POST {RUN} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n{lengths}\r\n");
        let request = format!("{head}2\r\n{{}}\r\n0\r\n\r\n{second}");
        let answer = timeout(Duration::from_secs(30), api.raw(request.as_bytes())).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 202 ") && answer.contains("connection: close\r\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "the connection ends before the second: {answer}");
        assert_eq!(api.fake.script().submits.len(), 1);
    }
    for faulty in [
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: +2\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
    ] {
        let head = format!("POST {RUN} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n{faulty}\r\n{{}}");
        let answer = timeout(Duration::from_secs(30), api.raw(head.as_bytes())).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("malformed_request"), "{faulty}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_misspelt_field_is_refused_where_clients_are_ours_and_passed_over_where_they_are_not() {
    let api = Api::start().await;
    api.fake.script().diagnosis.ok = true;
    for (path, body, field) in [
        ("/api/v1/workflows/executions/exec_1/cancel", r#"{"reson":"x"}"#, "/reson"),
        ("/api/v1/keys", r#"{"scopes":["admin"],"expires_at":null}"#, "/expires_at"),
        ("/api/v1/keys/key_1/rotate", r#"{"overlap/seconds":1}"#, "/overlap~1seconds"),
    ] {
        let refusal = api.post(path, body).await;
        refusal.check_refusal(400, "unknown_field");
        assert_eq!(refusal.body["path"], field, "{path}");
    }
    {
        let script = api.fake.script();
        assert!(script.cancels.is_empty() && script.key_creations.is_empty() && script.key_rotations.is_empty());
    }
    for (path, body) in [
        ("/api/v1/workflows/lint", r#"{"nodes":[{"id":"a"}],"edges":[],"viewport":{}}"#),
        ("/api/v1/workflows", r#"{"name":"x","nodes":[{"id":"a","measured":{}}],"edges":[],"usrId":"u"}"#),
        (EXECUTE, r#"{"inptus":{}}"#),
        (RUN, r#"{"inptus":{}}"#),
    ] {
        let answer = api.post(path, body).await;
        assert!((200..300).contains(&answer.status), "{path}: {}", answer.text);
    }
}
