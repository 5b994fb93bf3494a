//! Versions, and small changes of a saved workflow.

use heddle_proto::control::*;
use reqwest::Method;
use serde_json::{Value, json};

use crate::setup::{Answer, Api, answer};

const HASH: [u8; 32] = [0xab; 32];

async fn api() -> Api {
    let api = Api::start().await;
    api.fake.script().workflow =
        Workflow { id: "wf_2".to_owned(), name: "Copy".to_owned(), version: 4, ..Workflow::default() };
    api.fake.script().version = Version {
        workflow_id: "wf_1".to_owned(),
        version: 4,
        content_hash: HASH.to_vec().into(),
        subject: "ada".to_owned(),
        created_at_ms: 1_777_712_400_007,
        is_current: true,
        graph: Some(GraphJson {
            nodes: r#"[{"id":"a","mine":1.50}]"#.into(),
            edges: "[]".into(),
            policy: Default::default(),
        }),
    };
    api
}

async fn patch(api: &Api, body: &str) -> Answer {
    answer(api.json(Method::PATCH, "/api/v1/workflows/wf_1/nodes/n2", body)).await
}

fn stale(base: &str) -> Failure {
    Failure {
        code: "stale_write".to_owned(),
        http_status: 409,
        message: "changed since".to_owned(),
        current_updated_at: "2026-05-02T10:00:00.000Z".to_owned(),
        base_updated_at: base.to_owned(),
        ..Failure::default()
    }
}

#[tokio::test]
async fn versions_are_listed_and_shown() {
    let api = api().await;
    let list = api.get("/api/v1/workflows/wf_1/versions?limit=1000").await;
    let expected = json!([{"workflowId": "wf_1", "version": 4, "contentHash": "ab".repeat(32),
        "createdAt": "2026-05-02T09:00:00.007Z", "createdBy": "ada", "isCurrent": true}]);
    assert_eq!((list.status, &list.body), (200, &expected));
    assert_eq!(list.header("link"), "</api/v1/workflows/wf_1/versions?cursor=3&limit=1000>; rel=\"next\"");
    let last = api.get("/api/v1/workflows/wf_1/versions?cursor=3").await;
    assert!(!last.headers.contains_key("link"));
    let asked: Vec<_> =
        api.fake.script().version_lists.drain(..).map(|it| (it.tenant, it.workflow_id, it.limit, it.cursor)).collect();
    let of = |limit, cursor: &str| ("ten_a".to_owned(), "wf_1".to_owned(), limit, cursor.to_owned());
    assert_eq!(asked, [of(200, ""), of(50, "3")]);

    let version = api.get("/api/v1/workflows/wf_1/versions/2").await;
    assert_eq!(version.status, 200);
    assert!(version.text.contains(r#""nodes":[{"id":"a","mine":1.50}]"#), "byte for byte: {}", version.text);
    assert_eq!(
        (&version.body["version"], version.body.get("policy"), version.body.get("data")),
        (&json!(2), None, None)
    );
    for number in ["x", "-1", "1.5", "99999999999999999999"] {
        let none = api.get(&format!("/api/v1/workflows/wf_1/versions/{number}")).await;
        none.check_refusal(404, "version_not_found");
    }
}

#[tokio::test]
async fn a_version_is_restored_once_for_each_key() {
    let api = api().await;
    let body = r#"{"baseUpdatedAt":"2026-05-02T09:00:00.007Z"}"#;
    let path = "/api/v1/workflows/wf_1/versions/2/restore";
    let restored = answer(api.json(Method::POST, path, body).header("Idempotency-Key", "once")).await;
    assert_eq!((restored.status, &restored.body["version"]), (200, &json!(4)));
    restored.check_envelope();
    let asked = api.fake.script().restores.pop().unwrap();
    assert_eq!((&*asked.tenant, &*asked.subject, &*asked.workflow_id, asked.version), ("ten_a", "ada", "wf_1", 2));
    assert_eq!(asked.base_updated_at, "2026-05-02T09:00:00.007Z");
    let key = asked.idempotency.unwrap();
    assert_eq!(key.route, "POST /api/v1/workflows/{id}/versions/{version}/restore");
    let other = answer(
        api.json(Method::POST, "/api/v1/workflows/wf_1/versions/3/restore", body).header("Idempotency-Key", "once"),
    );
    assert_eq!(other.await.status, 200);
    assert_ne!(api.fake.script().restores.pop().unwrap().idempotency.unwrap().body_hash, key.body_hash);
    api.fake.script().failures.insert("restore_version", stale(""));
    let refused = api.post(path, body).await;
    refused.check_refusal(409, "stale_write");
    assert_eq!(refused.body["yourBaseUpdatedAt"], "2026-05-02T09:00:00.007Z");
    api.post(path, r#"{"version":1}"#).await.check_refusal(400, "unknown_field");
    api.post(path, r#"{"baseUpdatedAt":"now"}"#).await.check_refusal(400, "invalid_field");
}

#[tokio::test]
async fn a_difference_is_told_by_what_became_of_nodes() {
    let api = api().await;
    let version = api.fake.script().version.clone();
    let node = |change: NodeChange, id: &str| NodeDifference {
        change: change.into(),
        node_id: id.to_owned(),
        ..NodeDifference::default()
    };
    let keys = vec![
        KeyDifference { key: "config.n".to_owned(), after_json: "1.50".into(), ..KeyDifference::default() },
        KeyDifference { key: "config.long".to_owned(), is_left_out: true, ..KeyDifference::default() },
    ];
    let edge = EdgeDifference { is_added: true, source: "a".to_owned(), target: "b".to_owned(), ..Default::default() };
    api.fake.script().difference = VersionDifference {
        from: Some(Version { version: 3, ..version.clone() }),
        to: Some(version),
        nodes: vec![
            node(NodeChange::Added, "new"),
            NodeDifference { keys, label: "B".to_owned(), ..node(NodeChange::Changed, "b") },
            NodeDifference { looks: vec!["position".to_owned()], ..node(NodeChange::Looks, "moved") },
            node(NodeChange::Removed, "old"),
        ],
        edges: vec![edge],
        ..VersionDifference::default()
    };
    let found = api.get("/api/v1/workflows/wf_1/diff?from=3").await;
    assert_eq!(found.status, 200, "{}", found.text);
    found.check_envelope();
    let asked = api.fake.script().comparisons.pop().unwrap();
    assert_eq!((asked.from, asked.to), (3, 0));
    let nodes = &found.body["nodes"];
    let ids = ["added", "changed", "moved", "removed"].map(|kind| &nodes[kind][0]["nodeId"]);
    assert_eq!(ids, ["new", "b", "moved", "old"]);
    let changed = &nodes["changed"][0];
    assert_eq!(changed["changedKeys"], json!(["config.n", "config.long"]));
    assert_eq!(changed["changes"], json!([{"key": "config.n", "after": 1.5}, {"key": "config.long", "leftOut": true}]));
    assert!(found.text.contains(r#""after":1.50"#), "numbers keep their text");
    assert_eq!(found.body["edges"]["added"][0]["sourceHandle"], Value::Null);
    assert_eq!((&found.body["identical"], &found.body["truncated"]), (&json!(false), &json!(false)));
    for query in ["from=0", "to=0", "from=x", "to=-1"] {
        let refused = api.get(&format!("/api/v1/workflows/wf_1/diff?{query}")).await;
        refused.check_refusal(400, "invalid_parameter");
    }
}

#[tokio::test]
async fn a_patch_brings_its_objects_as_they_were_written() {
    let api = api().await;
    api.fake.script().patched = PatchedNode {
        node_json: r#"{"id":"n2","data":{"label":"Hook"},"mine":1.50}"#.into(),
        updated_at_ms: 1_777_712_400_007,
        version: 5,
    };
    let body = r#"{"config":{"text": "new","gone":null},"params":{"n":1.0},"label":"Hook",
        "position":{"x":1.50,"y":-2},"baseUpdatedAt":"2026-05-02T09:00:00.000Z"}"#;
    let patched = patch(&api, body).await;
    assert_eq!(patched.status, 200, "{}", patched.text);
    patched.check_envelope();
    assert_eq!(
        (&patched.body["data"]["node"]["id"], &patched.body["node"]["data"]["label"]),
        (&json!("n2"), &json!("Hook"))
    );
    assert_eq!(patched.body["data"]["updatedAt"], "2026-05-02T09:00:00.007Z");
    assert!(patched.text.contains(r#""mine":1.50"#));
    let asked = api.fake.script().patches.pop().unwrap();
    assert_eq!((&*asked.tenant, &*asked.subject, &*asked.workflow_id, &*asked.node_id), ("ten_a", "ada", "wf_1", "n2"));
    assert_eq!(asked.config_json, r#"{"text": "new","gone":null}"#);
    assert_eq!((&*asked.params_json, &*asked.position_json), (&br#"{"n":1.0}"#[..], &br#"{"x":1.50,"y":-2}"#[..]));
    assert_eq!((asked.label.as_deref(), &*asked.base_updated_at), (Some("Hook"), "2026-05-02T09:00:00.000Z"));
}

#[tokio::test]
async fn a_patch_changes_nothing_of_what_a_node_is() {
    let api = api().await;
    for (body, path) in [
        (r#"{"label":"L","output":{}}"#, "/output"),
        (r#"{"label":"L","result":null}"#, "/result"),
        (r#"{"config":{},"nodeType":"a:b"}"#, "/nodeType"),
        (r#"{"isExecuting":false}"#, "/isExecuting"),
        (r#"{"id":"n3"}"#, "/id"),
        (r#"{"data":{}}"#, "/data"),
        (r#"{"parentId":"x","label":"L"}"#, "/parentId"),
        (r#"{"config":[]}"#, "/config"),
        (r#"{"params":1}"#, "/params"),
        (r#"{"label":1}"#, "/label"),
        (r#"{"position":{"x":1}}"#, "/position"),
        (r#"{"position":{"x":1,"y":"2"}}"#, "/position"),
        (r#"{"label":"L","baseUpdatedAt":"now"}"#, "/baseUpdatedAt"),
    ] {
        let refused = patch(&api, body).await;
        refused.check_refusal(400, "invalid_field");
        assert_eq!(refused.body["path"], path, "{body}");
        assert!(refused.body["error"]["type"].is_string());
    }
    for body in ["{}", r#"{"label":null}"#, r#"{"baseUpdatedAt":"2026-05-02T09:00:00.000Z"}"#] {
        patch(&api, body).await.check_refusal(400, "missing_fields");
    }
    let large = format!(r#"{{"config":{{"text":"{}"}}}}"#, "x".repeat(256 * 1024));
    patch(&api, &large).await.check_refusal(413, "body_too_large");
    assert!(api.fake.script().patches.is_empty());
}

#[tokio::test]
async fn a_patch_that_comes_too_late_says_both_times() {
    let api = api().await;
    for (body, own, base) in [
        (r#"{"label":"L","baseUpdatedAt":"2026-05-02T09:00:00Z"}"#, "2026-05-02T09:00:00.000Z", "2026-05-02T09:00:00Z"),
        (r#"{"label":"L"}"#, "2026-05-02T09:59:59.999Z", "2026-05-02T09:59:59.999Z"),
    ] {
        api.fake.script().failures.insert("patch_node", stale(own));
        let refused = patch(&api, body).await;
        refused.check_refusal(409, "stale_write");
        assert_eq!(refused.body["error"]["type"], "conflict_error");
        assert_eq!(refused.body["currentUpdatedAt"], "2026-05-02T10:00:00.000Z");
        assert_eq!(refused.body["yourBaseUpdatedAt"], base, "{body}");
    }
}

#[tokio::test]
async fn a_copy_is_a_workflow_of_its_own() {
    let api = api().await;
    let copied = answer(
        api.json(Method::POST, "/api/v1/workflows/wf_1/duplicate", r#"{"name":"N"}"#).header("Idempotency-Key", "k"),
    )
    .await;
    assert_eq!((copied.status, copied.header("location")), (201, "/api/v1/workflows/wf_2"), "{}", copied.text);
    copied.check_envelope();
    assert_eq!((&copied.body["data"]["id"], &copied.body["data"]["name"]), (&json!("wf_2"), &json!("Copy")));
    assert_eq!(copied.body["data"]["url"], json!(api.url("/workflows/wf_2")));
    let asked = api.fake.script().copies.pop().unwrap();
    assert_eq!((&*asked.workflow_id, &*asked.name, &*asked.subject), ("wf_1", "N", "ada"));
    assert_eq!(asked.idempotency.unwrap().route, "POST /api/v1/workflows/{id}/duplicate");
    api.fake.script().replayed = true;
    let again = api.post("/api/v1/workflows/wf_1/duplicate", "{}").await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (201, "true"));
    let name = "x".repeat(501);
    let long = api.post("/api/v1/workflows/wf_1/duplicate", &json!({ "name": name }).to_string()).await;
    long.check_refusal(400, "invalid_field");
}

#[tokio::test]
async fn a_layout_says_where_nodes_are() {
    let api = api().await;
    api.fake.script().layout = Layout {
        positions: vec![NodePosition { node_id: "a".to_owned(), x: 0.0, y: 7.5 }],
        moved: 1,
        bounds: Some(Bounds { x: 0.0, y: 7.5, width: 280.0, height: 140.0 }),
        ..Layout::default()
    };
    let path = "/api/v1/workflows/wf_1/layout";
    let laid_out = api.post(path, r#"{"gapX":10,"scope":["a"]}"#).await;
    assert_eq!(laid_out.status, 200, "{}", laid_out.text);
    laid_out.check_envelope();
    assert_eq!(laid_out.body["data"]["positions"], json!({"a": {"x": 0.0, "y": 7.5}}));
    assert_eq!((&laid_out.body["moved"], &laid_out.body["bounds"]["width"]), (&json!(1), &json!(280.0)));
    for body in ["{}", r#"{"scope":"all","other":1}"#, r#"{"scope":null}"#, r#"{"scope":[]}"#] {
        assert_eq!(api.post(path, body).await.status, 200, "{body}");
    }
    let asked: Vec<_> =
        api.fake.script().layouts.drain(..).map(|it| (it.gap_x, it.gap_y, it.is_scoped, it.scope)).collect();
    let all = || (None, None, false, Vec::new());
    let scoped = |gap, ids: &[&str]| (gap, None, true, ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
    assert_eq!(asked, [scoped(Some(10.0), &["a"]), all(), all(), all(), scoped(None, &[])]);
    for (body, place) in [
        (r#"{"scope":"some"}"#, "/scope"),
        (r#"{"scope":[1]}"#, "/scope"),
        (r#"{"scope":{}}"#, "/scope"),
        (r#"{"gapX":-1}"#, "/gapX"),
        (r#"{"gapY":1e9}"#, "/gapY"),
        (r#"{"gapY":"1"}"#, "/gapY"),
    ] {
        let refused = api.post(path, body).await;
        refused.check_refusal(400, "invalid_field");
        assert_eq!(refused.body["path"], place, "{body}");
    }
}
