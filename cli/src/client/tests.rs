use axum::Json;
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde_json::json;

use super::*;

async fn serve(router: Router) -> Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    Client::new(&url, Some("sk-test".into())).unwrap()
}

#[tokio::test]
async fn a_refusal_becomes_exit_code_sentence_and_request_id() {
    let body = json!({
        "error": {"type": "invalid_request_error", "code": "invalid_graph", "message": "1 problem"},
        "code": "invalid_graph", "message": "the graph has 1 problem",
        "violations": [{"rule": "cycle", "message": "a cycle", "fix": "remove an edge", "nodeId": "n1"}],
    });
    let answer = (StatusCode::UNPROCESSABLE_ENTITY, [("X-Request-Id", "req_9")], Json(body));
    let client = serve(Router::new().route("/api/v1/workflows", get(|| async move { answer.into_response() }))).await;
    let failure = client.workflows().await.unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert_eq!(failure.message, "the graph has 1 problem\n  - n1: a cycle (remove an edge)");
    assert_eq!(failure.request_id.as_deref(), Some("req_9"));
    assert!(failure.next.is_some());
}

#[tokio::test]
async fn what_to_do_is_said_once() {
    let said = |message: &str, violations: serde_json::Value| {
        let body = json!({"code": "invalid_graph", "message": message, "violations": violations});
        let answer = (StatusCode::UNPROCESSABLE_ENTITY, Json(body));
        async move {
            let router = Router::new().route("/api/v1/workflows", get(|| async move { answer.into_response() }));
            serve(router).await.workflows().await.unwrap_err().message
        }
    };
    let one = json!([{"message": "a cycle", "fix": "Remove an edge.", "nodeId": "n1"}]);
    assert_eq!(said("a cycle", one.clone()).await, "a cycle\n  - Remove an edge.");
    assert_eq!(said("a cycle: Remove an edge.", one.clone()).await, "a cycle: Remove an edge.");
    let sentence = "the workflow has 1 problem: n1: a cycle (Remove an edge.)";
    assert_eq!(said(sentence, one).await, sentence);
    let two = json!([{"message": "a cycle", "fix": "Remove an edge."}, {"message": "no edge", "fix": "Add one."}]);
    assert_eq!(
        said("a cycle. Remove an edge. And 1 more.", two).await,
        "a cycle. Remove an edge. And 1 more.\n  - no edge (Add one.)"
    );
}

#[tokio::test]
async fn of_a_removed_run_it_is_said_what_is_left() {
    let body = json!({
        "error": "the run was removed", "code": "run_expired", "message": "the run was removed",
        "removed": {
            "id": "exec_1", "workflowId": "wf_1", "status": "FAILED", "startedAt": "2026-05-02T09:00:00.000Z",
            "endedAt": "2026-05-02T09:00:04.100Z", "events": 12, "headHash": "9f86", "removedAt": "2026-06-01T09:00:31.002Z",
        },
    });
    let answer = (StatusCode::GONE, Json(body));
    let route = "/api/v1/workflows/executions/exec_1";
    let client = serve(Router::new().route(route, get(|| async move { answer.into_response() }))).await;
    let failure = client.execution("exec_1").await.unwrap_err();
    let said = "the run was removed\n  - exec_1 of wf_1 ended FAILED at 2026-05-02T09:00:04.100Z, after 4.1 s\n  \
        - removed at 2026-06-01T09:00:31.002Z; what is left is that it had 12 events, the last with the hash 9f86";
    assert_eq!((failure.exit, failure.message.as_str()), (Exit::NotFound, said));
}

#[tokio::test]
async fn a_plain_sentence_is_read_too() {
    let answer = (StatusCode::UNAUTHORIZED, Json(json!({"error": "no such key"})));
    let client = serve(Router::new().route("/api/v1/workflows", get(|| async move { answer.into_response() }))).await;
    let failure = client.workflows().await.unwrap_err();
    assert_eq!((failure.exit, failure.message.as_str()), (Exit::Auth, "no such key"));
}

#[tokio::test]
async fn an_overloaded_server_is_asked_again_with_the_same_key() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let log = seen.clone();
    let execute = move |headers: HeaderMap| {
        let log = log.clone();
        async move {
            let mut log = log.lock().unwrap();
            log.push(headers["Idempotency-Key"].to_str().unwrap().to_owned());
            if log.len() == 1 {
                return (StatusCode::SERVICE_UNAVAILABLE, [("Retry-After", "0")]).into_response();
            }
            (StatusCode::CREATED, Json(json!({"executionId": "exec_1", "status": "RUNNING"}))).into_response()
        }
    };
    let client = serve(Router::new().route("/api/v1/workflows/{id}/execute", post(execute))).await;
    let started = client.execute("wf_1", &Execute::default()).await.unwrap();
    assert_eq!(started.execution_id, "exec_1");
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn the_next_page_is_in_the_link() {
    let answer =
        ([("Link", "</api/v1/workflows/executions?limit=2&cursor=abc>; rel=\"next\"")], Json(json!([{"id": "e"}])));
    let list = get(|| async move { answer.into_response() });
    let client = serve(Router::new().route("/api/v1/workflows/executions", list)).await;
    let page = client.executions(&ExecutionFilter::default()).await.unwrap();
    assert_eq!(page.next_cursor.as_deref(), Some("abc"));
    assert_eq!(page.items.len(), 1);
}

#[test]
fn both_forms_of_a_base_url_name_the_same_server() {
    for url in ["http://h:1", "http://h:1/", "http://h:1/api/v1", "http://h:1/api/v1/"] {
        assert_eq!(Client::new(url, None).unwrap().origin(), "http://h:1");
    }
    assert_eq!(Client::new("https://h", None).unwrap_err().exit, Exit::Usage);
}

#[tokio::test]
async fn a_file_goes_up_with_its_name_and_type_and_comes_back_as_a_value() {
    let upload = |headers: HeaderMap, body: String| async move {
        assert_eq!(headers["Authorization"], "Bearer sk-test");
        assert!(headers["Content-Type"].to_str().unwrap().starts_with("multipart/form-data; boundary="));
        assert!(
            body.contains("name=\"file\"; filename=\"cat.png\"") && body.contains("Content-Type: image/png"),
            "{body}"
        );
        assert!(body.contains("picture"));
        let value = json!({"url": "/a/1", "mediaType": "image/png", "bytes": 7, "digest": "d", "mediaId": "media_1"});
        (StatusCode::CREATED, Json(json!({"data": value, "url": "/a/1"}))).into_response()
    };
    let client = serve(Router::new().route("/api/v1/media/upload", post(upload))).await;
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("cat.png");
    std::fs::write(&path, "picture").unwrap();
    let value = client.upload(&path, "image/png").await.unwrap();
    assert_eq!(value, json!({"url": "/a/1", "mediaType": "image/png", "bytes": 7, "digest": "d"}));
    assert_eq!(client.upload(&temp.path().join("absent"), "image/png").await.unwrap_err().exit, Exit::Usage);
}

#[test]
fn names_in_paths_name_nothing_else() {
    assert_eq!(named("utility:prompt_concat").unwrap(), "utility:prompt_concat");
    assert_eq!(named("a b/ü%").unwrap(), "a%20b%2F%C3%BC%25");
    for refused in ["", ".", ".."] {
        assert_eq!(named(refused).unwrap_err().exit, Exit::Usage, "{refused:?}");
    }
}
