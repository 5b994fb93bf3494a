use std::time::Duration;

use heddle_proto::control::Failure;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::setup::{Api, answer};

#[tokio::test]
async fn health_needs_no_key() {
    let api = Api::start().await;
    let alive = answer(api.http.get(api.url("/healthz"))).await;
    assert_eq!((alive.status, &alive.body["status"]), (200, &json!("ok")));
    assert_eq!(alive.body["bootId"], "0123456789abcdef");
    assert_eq!((&alive.body["database"], &alive.body["counters"]["eventRows"]), (&json!("sqlite"), &json!(40)));
    let ready = answer(api.http.get(api.url("/readyz"))).await;
    assert_eq!((ready.status, ready.body), (200, json!({"ready": true})));

    api.fake.script().not_ready = Some("3 of 16 partitions are loaded".to_owned());
    let unready = answer(api.http.get(api.url("/readyz"))).await;
    let expected = json!({"ready": false, "reason": "3 of 16 partitions are loaded"});
    assert_eq!((unready.status, unready.body), (503, expected));
}

#[tokio::test]
async fn a_gateway_lives_without_its_coordinator() {
    let api = Api::alone().await;
    let alive = answer(api.http.get(api.url("/healthz"))).await;
    assert_eq!((alive.status, &alive.body["status"], &alive.body["bootId"]), (200, &json!("degraded"), &Value::Null));
    let ready = answer(api.http.get(api.url("/readyz"))).await;
    assert_eq!((ready.status, &ready.body["ready"]), (503, &json!(false)));
    assert!(ready.body["reason"].as_str().unwrap().contains("coordinator"));
}

#[tokio::test]
async fn the_page_says_what_to_call_and_runs_nothing() {
    let api = Api::start().await;
    let page = answer(api.http.get(api.url("/workflows/wf%3Cscript%3E1"))).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.text.contains("POST /api/v1/workflows/wf&lt;script&gt;1/run"), "{}", page.text);
    assert_eq!(page.header("content-security-policy"), "default-src 'none'");
}

#[tokio::test]
async fn a_stopped_gateway_takes_no_connections() {
    let api = Api::start().await;
    let address = api.gateway.local_addr();
    assert_eq!(api.get("/api/v1/workflows").await.status, 200);
    // The client keeps its connection open; the gateway closes it all the same.
    tokio::time::timeout(Duration::from_secs(20), api.gateway.shutdown(Duration::from_secs(60))).await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_coordinator_of_another_protocol_is_refused_with_both_versions() {
    let api = Api::start().await;
    api.fake.script().protocol = Some(99);
    let ready = answer(api.http.get(api.url("/readyz"))).await;
    assert_eq!((ready.status, &ready.body["ready"]), (503, &json!(false)));
    let reason = ready.body["reason"].as_str().unwrap();
    assert!(reason.contains("protocol 99") && reason.contains("update the older"), "{reason}");
    // Requests are refused once the gateway has looked.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let refused = api.get("/api/v1/workflows").await;
        if refused.status == 503 {
            refused.check_refusal(503, "protocol_mismatch");
            assert_eq!(refused.body["message"], reason);
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}", refused.text);
    }
    // An update puts it right, without a restart of the gateway.
    api.fake.script().protocol = None;
    while api.get("/api/v1/workflows").await.status != 200 {
        assert!(tokio::time::Instant::now() < deadline, "it serves again");
    }
}

#[tokio::test]
async fn a_gateway_that_the_coordinator_refuses_says_why() {
    let api = Api::start().await;
    let failure = Failure {
        code: "protocol_mismatch".to_owned(),
        http_status: 503,
        message: "the coordinator speaks protocol 2 to 3, this gateway 1; update the older of the two".to_owned(),
        ..Failure::default()
    };
    api.fake.script().refuses_status = Some(failure.clone());
    let ready = answer(api.http.get(api.url("/readyz"))).await;
    assert_eq!((ready.status, ready.body), (503, json!({"ready": false, "reason": failure.message})));
}

#[tokio::test]
async fn a_gateway_that_stops_is_not_ready_and_says_so() {
    let api = Api::start().await;
    let mut stream = tokio::net::TcpStream::connect(api.gateway.local_addr()).await.unwrap();
    let mut ask = async |expected: &str| {
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        while !answer.contains(expected) {
            let mut piece = [0; 1_024];
            let length = stream.read(&mut piece).await.unwrap();
            assert!(length > 0, "{expected} is missing: {answer}");
            answer.push_str(std::str::from_utf8(&piece[..length]).unwrap());
        }
        answer
    };
    assert!(ask("\"ready\":true").await.starts_with("HTTP/1.1 200 "));
    let stopped = tokio::spawn(api.gateway.shutdown(Duration::from_secs(20)));
    tokio::task::yield_now().await;
    let answer = ask("the gateway is stopping").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("connection: close"), "{answer}");
    stopped.await.unwrap();
}
