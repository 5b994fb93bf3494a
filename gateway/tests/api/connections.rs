use std::time::Duration;

use futures::future::poll_immediate;
use heddle_proto::control::{Failure, RunStatus};
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fake::Fake;
use crate::setup::{Api, Proxy, answer};

const POLL: &str = "/api/v1/workflows/executions/exec_1/poll";

/// A gateway, the wire behind it, and a first call that opened it.
async fn wired() -> (Api, Proxy) {
    let (fake, coordinator) = Fake::start().await;
    fake.script().run.status = RunStatus::Running.into();
    let proxy = Proxy::start(coordinator).await;
    let api = Api::behind(&proxy, fake).await;
    assert_eq!(api.get(POLL).await.status, 200);
    (api, proxy)
}

#[tokio::test]
async fn a_read_survives_a_cut_wire() {
    let (api, proxy) = wired().await;
    api.fake.script().holds_polls = true;
    let polled = tokio::spawn(answer(api.request(Method::GET, &format!("{POLL}?wait=30"))));
    timeout(Duration::from_secs(20), api.fake.held.notified()).await.unwrap();
    api.fake.script().holds_polls = false;
    proxy.cut();
    assert_eq!(timeout(Duration::from_secs(20), polled).await.unwrap().unwrap().status, 200);
}

#[tokio::test]
async fn a_submit_without_a_key_is_not_sent_twice() {
    let (api, proxy) = wired().await;
    for (key, status, sent) in [(None, 503, 1), (Some("k"), 201, 2)] {
        {
            let mut script = api.fake.script();
            script.holds_submits = true;
            script.submits.clear();
        }
        let mut request = api.json(Method::POST, "/api/v1/workflows/wf_1/execute", "{}");
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let submitted = tokio::spawn(answer(request));
        timeout(Duration::from_secs(20), api.fake.held.notified()).await.unwrap();
        api.fake.script().holds_submits = false;
        proxy.cut();
        let answer = timeout(Duration::from_secs(20), submitted).await.unwrap().unwrap();
        assert_eq!((answer.status, api.fake.script().submits.len()), (status, sent), "{}", answer.text);
    }
}

#[tokio::test]
async fn what_a_stopping_coordinator_has_not_begun_is_asked_again() {
    let (fake, coordinator) = Fake::start().await;
    let proxy = Proxy::start(coordinator).await;
    let api = Api::behind(&proxy, fake).await;
    for (not_begun, status, sent) in [(true, 201, 2), (false, 503, 1)] {
        let failure = Failure {
            code: "coordinator_unavailable".to_owned(),
            http_status: 503,
            message: "a sentence".to_owned(),
            not_begun,
            ..Failure::default()
        };
        {
            let mut script = api.fake.script();
            script.failures.insert("submit", failure);
            script.submits.clear();
        }
        let answer = api.post("/api/v1/workflows/wf_1/execute", "{}").await;
        assert_eq!((answer.status, api.fake.script().submits.len()), (status, sent), "{}", answer.text);
    }
}

/// Sends a whole request on an open connection, and reads its answer.
async fn ask_on(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{}", String::from_utf8_lossy(&answer));
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_head_that_was_begun_is_not_waited_for_long_and_an_idle_connection_is() {
    let api = Api::start().await;
    let mut idle = TcpStream::connect(api.gateway.local_addr()).await.unwrap();
    assert!(ask_on(&mut idle).await.starts_with("HTTP/1.1 200"));
    let mut fresh = TcpStream::connect(api.gateway.local_addr()).await.unwrap();
    let mut slow = TcpStream::connect(api.gateway.local_addr()).await.unwrap();
    let mut second = TcpStream::connect(api.gateway.local_addr()).await.unwrap();
    ask_on(&mut second).await;
    for begun in [&mut slow, &mut second] {
        begun.write_all(b"GET /healthz HTTP/1.1\r\nHo").await.unwrap();
    }
    for begun in [&mut slow, &mut second] {
        // It closes, whichever way: the client was sending.
        let closed = timeout(Duration::from_secs(60), begun.read_to_end(&mut Vec::new())).await;
        assert!(closed.is_ok(), "a half-sent head keeps its connection");
    }
    for kept in [&mut idle, &mut fresh] {
        assert!(ask_on(kept).await.starts_with("HTTP/1.1 200"), "an idle connection is closed as early");
    }
}

#[tokio::test]
async fn who_connected_before_the_stop_is_answered_and_told_to_leave() {
    let api = Api::start().await;
    let address = api.gateway.local_addr();
    let mut idle = TcpStream::connect(address).await.unwrap();
    ask_on(&mut idle).await;
    // Nobody had a chance to accept this one.
    let late = std::net::TcpStream::connect(address).unwrap();
    let mut stopped = Box::pin(api.gateway.shutdown(Duration::from_secs(60)));
    assert!(poll_immediate(&mut stopped).await.is_none());
    late.set_nonblocking(true).unwrap();
    let mut late = TcpStream::from_std(late).unwrap();
    for stream in [&mut idle, &mut late] {
        let answer = ask_on(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    }
    timeout(Duration::from_secs(20), stopped).await.unwrap();
}

#[tokio::test]
async fn a_page_that_calls_this_machine_by_its_own_name_gets_nothing() {
    let api = Api::start().await;
    for head in [
        "GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        "GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ] {
        let answer = api.raw(head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 421 ") && answer.contains("\"unknown_host\""), "{answer}");
        assert!(answer.contains("x-request-id: "), "{answer}");
    }
    let ours = "GET /healthz HTTP/1.1\r\nHost: localhost:1\r\nConnection: close\r\n\r\n";
    assert!(api.raw(ours.as_bytes()).await.starts_with("HTTP/1.1 200 "));
}
