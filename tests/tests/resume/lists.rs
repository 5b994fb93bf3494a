//! Lists too large for a request, put in by hand: an upload is the list where one is to be.

use cluster_tests::cluster::Cluster;
use cluster_tests::cluster::client::{Client, send};
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::runs::text;
use reqwest::Method;
use serde_json::{Value, json};

use super::{RUN_TIME_MAX, completed, id, node, post, resume, run_path};

/// Uploads JSON, and gives what the answer shows of it.
async fn upload(client: &Client, file: impl AsRef<[u8]>) -> Value {
    let head = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.json\"\r\n\
                Content-Type: application/json\r\n\r\n";
    let request = client.request(Method::POST, "/api/v1/media/upload");
    let request = request.header("content-type", "multipart/form-data; boundary=b");
    let body = [head.as_bytes(), file.as_ref(), b"\r\n--b--\r\n"].concat();
    let answer = send(request.body(body)).await.unwrap();
    assert_eq!(answer.status, 201, "{answer}");
    answer.json()["data"].clone()
}

/// `list → m → n → out`, where the maps give each item as it is.
fn two_maps(list: Value) -> Graph {
    Graph::default()
        .node("list", "input:list", list)
        .node("m", "logic:map", json!({}))
        .node("one", "debug:echo", json!({}))
        .inside("m")
        .node("n", "logic:map", json!({}))
        .node("two", "debug:echo", json!({}))
        .inside("n")
        .node("out", "output:preview", json!({}))
        .edge("list.items", "m.items")
        .edge("m.item", "one.in")
        .edge("one.out", "m.result")
        .edge("m.results", "n.items")
        .edge("n.item", "two.in")
        .edge("two.out", "n.result")
        .edge("n.results", "out.value")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_the_list_where_one_is_to_be() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let graph = two_maps(json!({ "items": ["ebb", "flow"], "itemType": "text", "maxItems": 800 }));
    let parent = completed(client, "large lists", &graph).await;
    let (path, run) =
        (run_path(&id(&parent), "resume"), format!("/api/v1/workflows/{}/run", text(&parent["workflowId"])));
    let items: Vec<String> = (0..700).map(|place| format!("{place} {}", "tide ".repeat(30))).collect();
    let large = json!(items);
    assert!(large.to_string().len() > 64 * 1024);

    // As it is it is too large, and what to do about it is said.
    let edit = |list: &Value| json!({ "outputs": { "m": { "results": list } } });
    let given = |list: &Value| json!({ "inputs": { "list": list } });
    let execute = format!("/api/v1/workflows/{}/execute", text(&parent["workflowId"]));
    for (path, body) in [(&path, edit(&large)), (&execute, given(&large))] {
        let refused = post(client, path, &body).await;
        assert_eq!(refused.status, 422, "{refused}");
        assert!(refused.json().to_string().contains("Upload it as JSON"), "{refused}");
    }
    let uploaded = upload(client, &format!(" {large}\n")).await;
    let child = resume(client, &id(&parent), edit(&uploaded)).await;
    assert_eq!(child["status"], "COMPLETED", "{child}");
    assert_eq!(node(&child, "m")["state"], "CACHED", "{child}");
    assert_eq!(node(&child, "n")["items"]["total"], 700, "{child}");
    assert_eq!(child["finalOutput"]["output"]["value"], large);
    let started = post(client, &run, &given(&uploaded)).await;
    assert_eq!(started.status, 202, "{started}");
    let ended = client.ended(&text(&started.json()["executionId"]), RUN_TIME_MAX).await;
    assert_eq!(node(&ended, "m")["items"]["total"], 700, "{ended}");
    assert_eq!(ended["finalOutput"]["output"]["value"], large);
    // However small it is.
    let small = upload(client, " [\"neap\", \"spring\"]\n").await;
    let child = resume(client, &id(&parent), edit(&small)).await;
    assert_eq!(node(&child, "n")["items"]["total"], 2, "{child}");
    let started = post(client, &run, &given(&small)).await.json();
    let ended = client.ended(&text(&started["executionId"]), RUN_TIME_MAX).await;
    assert_eq!(node(&ended, "m")["items"]["total"], 2, "{ended}");
    assert_eq!(ended["finalOutput"]["output"]["value"], json!(["neap", "spring"]));
    // It is a list for each run of a batch, too, and for a resume.
    let batch = json!({ "iteratorConfigs": [{ "nodeId": "list", "values": [uploaded, ["one"]] }] });
    let batch = post(client, &execute, &batch).await.json();
    for (place, expected) in [large.clone(), json!(["one"])].into_iter().enumerate() {
        let ended = client.ended(&text(&batch["executionRuns"][place]["id"]), RUN_TIME_MAX).await;
        assert_eq!(ended["finalOutput"]["output"]["value"], expected, "{batch}");
    }
    let again = resume(client, &id(&parent), json!({ "fromNodeId": "list", "inputs": { "list": uploaded } })).await;
    assert_eq!(again["finalOutput"]["output"]["value"], large);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_no_such_list_is_refused_with_its_place() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let parent =
        completed(client, "texts", &two_maps(json!({ "items": ["ebb"], "itemType": "text", "maxItems": 3 }))).await;
    let files = completed(client, "files", &two_maps(json!({ "items": [], "itemType": "file" }))).await;
    let run = |run: &Value| format!("/api/v1/workflows/{}/run", text(&run["workflowId"]));
    let resumed = run_path(&id(&parent), "resume");
    for (file, is_edit_wrong) in [
        (r#"{"a": [1]}"#.as_bytes(), true),
        (br#"["a", b]"#, true),
        (br#"["a"] ["b"]"#, true),
        (br#"["a""#, true),
        (b"[\"a\xff\"]", true),
        (br#"["a", 7]"#, false),
        (br#"["a", "b", "c", "d"]"#, false),
    ] {
        let uploaded = upload(client, file).await;
        let file = String::from_utf8_lossy(file);
        let input = json!({ "inputs": { "list": uploaded } });
        let refused = post(client, &run(&parent), &input).await;
        assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("invalid_inputs")), "{file}: {refused}");
        assert!(refused.json().to_string().contains(r#""/inputs/list"#), "{file}: {refused}");
        let edit = json!({ "outputs": { "m": { "results": uploaded } } });
        if is_edit_wrong {
            let refused = post(client, &resumed, &edit).await;
            assert_eq!(
                (refused.status, &refused.json()["code"]),
                (422, &json!("invalid_outputs")),
                "{file}: {refused}"
            );
            assert!(refused.json().to_string().contains(r#""/outputs/m/results"#), "{file}: {refused}");
        }
    }
    let theirs = json!({ "digest": "f".repeat(64), "mediaType": "application/json" });
    let refused = post(client, &run(&parent), &json!({ "inputs": { "list": theirs } })).await;
    assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("artifact_not_found")), "{refused}");
    // Where items are files, JSON that is no list is one of them; in brackets any file is.
    let uploaded = upload(client, r#"{"a": [1]}"#).await;
    for list in [uploaded.clone(), json!([uploaded])] {
        let started = post(client, &run(&files), &json!({ "inputs": { "list": list } })).await;
        assert_eq!(started.status, 202, "{started}");
        let ended = client.ended(&text(&started.json()["executionId"]), RUN_TIME_MAX).await;
        let shown = &ended["finalOutput"]["output"]["value"];
        assert_eq!((shown.as_array().map(Vec::len), &shown[0]["digest"]), (Some(1), &uploaded["digest"]), "{ended}");
    }
}
