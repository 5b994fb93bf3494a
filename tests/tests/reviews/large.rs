//! Values that no row holds, and files: people see them, and edit them, as what they are.

use cluster_tests::cluster::Cluster;
use cluster_tests::cluster::client::{Answer, Client, send};
use cluster_tests::cluster::graph::Graph;
use reqwest::Method;
use serde_json::{Value, json};

use super::{RUN_TIME_MAX, SCOPES, decide_anew, output, person, refusal, review, start, the_review};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR and what follows";

/// A text, a thousand times over, and a review of that.
pub(super) fn long(line: &str, config: Value) -> Graph {
    let template = "{% for turn in range(1000) %}{{ line }}{% endfor %}";
    Graph::default()
        .node("line", "input:text", json!({ "text": line }))
        .node("long", "utility:prompt_template", json!({ "template": template, "names": ["line"] }))
        .node("check", "logic:review", config)
        .node("yes", "output:text", json!({}))
        .edge("line.text", "long.vars")
        .edge("long.text", "check.value")
        .edge("check.approved", "yes.text")
}

async fn upload(client: &Client, content_type: &str, file: &[u8]) -> Value {
    let head = format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\nContent-Type: {content_type}\r\n\r\n"
    );
    let body = [head.as_bytes(), file, b"\r\n--b--\r\n"].concat();
    let request = client.request(Method::POST, "/api/v1/media/upload");
    let answer = send(request.header("content-type", "multipart/form-data; boundary=b").body(body)).await.unwrap();
    assert!(answer.is_success(), "{answer}");
    answer.json()["data"].clone()
}

fn approve(data: impl Into<Value>) -> Value {
    json!({ "decision": "approve", "data": data.into() })
}

/// An approval that is taken.
async fn approved(client: &Client, id: &str, decision: &Value) -> Value {
    let answer = decide_anew(client, id, decision).await;
    assert_eq!(answer.status, 200, "{answer}");
    answer.json()
}

/// What a run gave at last, behind its address if it has one.
async fn given(client: &Client, execution: &str) -> Value {
    let ended = client.ended(execution, RUN_TIME_MAX).await;
    assert_eq!(ended["status"], "COMPLETED", "{ended}");
    let value = output(&ended, "yes")["text"].clone();
    match value["url"].as_str() {
        Some(url) => send(reqwest::Client::new().get(url)).await.unwrap().json(),
        None => value,
    }
}

fn refused(answer: &Answer) -> (u16, String, Value) {
    let (status, code) = refusal(answer);
    (status, code, answer.json()["path"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_text_is_seen_and_edited_as_the_text_it_is() {
    let mut cluster = Cluster::start(1, 2).await;
    let grace = person(&mut cluster, "grace", &SCOPES).await;
    let client = cluster.client();
    let line = "words ".repeat(20);
    let execution = start(client, "long", &long(&line, json!({}))).await;
    let id = the_review(client, &execution).await;
    let asked = review(&grace, &id).await;
    assert_eq!((asked["value"].as_str(), &asked["ports"][0]["type"]), (Some(&*line.repeat(1000)), &json!("TEXT")));
    let edit = "other ".repeat(18_000);
    let after = approved(&grace, &id, &approve(&*edit)).await;
    assert_eq!(after["history"][0]["data"], json!(edit));
    assert_eq!(given(client, &execution).await, json!(edit));
    // What was shown may come back, too.
    let execution = start(client, "long, as it is", &long(&line, json!({}))).await;
    let id = the_review(client, &execution).await;
    approved(&grace, &id, &approve(line.repeat(1000))).await;
    assert_eq!(given(client, &execution).await, json!(line.repeat(1000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_is_the_text_behind_it_and_never_a_text_itself() {
    let mut cluster = Cluster::start(1, 2).await;
    let grace = person(&mut cluster, "grace", &SCOPES).await;
    let client = cluster.client();
    // More than is shown, and than comes with a decision.
    let line = "words ".repeat(200);
    let begin = async |name: &str, config| {
        let execution = start(client, name, &long(&line, config)).await;
        let id = the_review(client, &execution).await;
        (execution, id)
    };
    let (execution, id) = begin("reference", json!({})).await;
    let shown = review(&grace, &id).await["value"].clone();
    assert_eq!((&shown["mediaType"], &shown["bytes"]), (&json!("application/json"), &json!(line.len() * 1000 + 2)));
    let image = upload(client, "image/png", PNG).await;
    let nowhere = json!({ "digest": "0".repeat(64), "mediaType": "application/json" });
    let object = upload(client, "application/json", b"{\"no\": \"text\"}").await;
    for (data, code) in [
        (image, "invalid_decision"),
        (nowhere, "artifact_not_found"),
        (object, "invalid_decision"),
        (json!({ "url": "https://h.example/text" }), "invalid_decision"),
        (json!("x".repeat(1_100_000)), "invalid_decision"),
        (json!({ "leftOut": true, "bytes": 9 }), "invalid_decision"),
    ] {
        let answer = decide_anew(&grace, &id, &approve(data)).await;
        assert_eq!(refused(&answer), (422, code.to_owned(), json!("/data")), "{answer}");
    }
    approved(&grace, &id, &approve(shown)).await;
    assert_eq!(given(client, &execution).await, json!(line.repeat(1000)));
    for (name, content_type, file) in
        [("text", "text/plain", "a line\n"), ("json", "application/json", "\"a line\\n\"")]
    {
        let (execution, id) = begin(name, json!({ "schema": { "type": "string", "maxLength": 7 } })).await;
        let uploaded = upload(client, content_type, file.as_bytes()).await;
        let answer = approved(&grace, &id, &approve(uploaded)).await;
        assert_eq!(answer["history"][0]["data"], "a line\n", "{answer}");
        assert_eq!(given(client, &execution).await, "a line\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_checked_before_anything_goes_on() {
    let mut cluster = Cluster::start(1, 2).await;
    let grace = person(&mut cluster, "grace", &SCOPES).await;
    let client = cluster.client();
    let graph = Graph::default()
        .node("value", "input:image", json!({ "image": { "url": "https://h.example/a.png" } }))
        .node("check", "logic:review", json!({}))
        .node("yes", "output:preview", json!({}))
        .edge("value.image", "check.value")
        .edge("check.approved", "yes.value");
    let execution = start(client, "image", &graph).await;
    let id = the_review(client, &execution).await;
    assert_eq!(review(&grace, &id).await["ports"][0]["type"], "IMAGE");
    let text = upload(client, "text/plain", b"no picture").await;
    for (data, code) in [
        (json!("text"), "invalid_decision"),
        (json!({ "url": "file:///etc/hostname" }), "invalid_decision"),
        (json!({ "name": "a.png" }), "invalid_decision"),
        (json!({ "digest": "nonsense", "url": "https://h.example/a.png" }), "invalid_decision"),
        (text, "invalid_decision"),
        (json!({ "digest": "0".repeat(64), "mediaType": "image/png" }), "artifact_not_found"),
    ] {
        let answer = decide_anew(&grace, &id, &approve(data.clone())).await;
        assert_eq!(refused(&answer), (422, code.to_owned(), json!("/data")), "{data}: {answer}");
    }
    let image = upload(client, "image/png", PNG).await;
    approved(&grace, &id, &approve(image["url"].clone())).await;
    let ended = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(output(&ended, "yes")["value"]["digest"], image["digest"], "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_the_list_that_a_person_puts_in_its_place() {
    let mut cluster = Cluster::start(1, 2).await;
    let grace = person(&mut cluster, "grace", &SCOPES).await;
    let client = cluster.client();
    let graph = Graph::default()
        .node("list", "input:list", json!({ "items": ["ebb"], "itemType": "text" }))
        .node("check", "logic:review", json!({}))
        .node("m", "logic:map", json!({}))
        .node("one", "debug:echo", json!({}))
        .inside("m")
        .node("yes", "output:preview", json!({}))
        .edge("list.items", "check.value")
        .edge("check.approved", "m.items")
        .edge("m.item", "one.in")
        .edge("one.out", "m.result")
        .edge("m.results", "yes.value");
    let execution = start(client, "list", &graph).await;
    let id = the_review(client, &execution).await;
    let large = json!((0..400).map(|place| format!("{place} {}", "tide ".repeat(600))).collect::<Vec<_>>());
    assert!(large.to_string().len() > 1024 * 1024);
    let picture = upload(client, "image/png", PNG).await;
    let object = upload(client, "application/json", br#"{"a": [1]}"#).await;
    for data in [picture, object, json!({ "a": 1 })] {
        let answer = decide_anew(&grace, &id, &approve(data.clone())).await;
        assert_eq!(refused(&answer), (422, "invalid_decision".to_owned(), json!("/data")), "{data}: {answer}");
    }
    let uploaded = upload(client, "application/json", large.to_string().as_bytes()).await;
    approved(&grace, &id, &approve(uploaded)).await;
    let ended = client.ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(output(&ended, "yes")["value"], large);
}
