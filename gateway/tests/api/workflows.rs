use heddle_proto::control::{Diagnosis, Failure, GraphJson, Violation, Workflow};
use reqwest::Method;
use serde_json::{Value, json};

use crate::setup::{Api, answer};

const NODES: &str = "[ {\"id\":\"n1\",  \"measured\":{\"w\":1.0},\"z\":1e2,\"a\":\"\\u00e9\\/\"} ]";
const EDGES: &str = "[\n]";

fn stored() -> Workflow {
    Workflow {
        id: "wf_1".to_owned(),
        name: "Poster maker".to_owned(),
        tags: vec!["poster".to_owned()],
        is_active: true,
        version: 3,
        created_at_ms: 0,
        updated_at_ms: 1_777_712_400_007,
        execution_count: 7,
        graph: Some(GraphJson { nodes: NODES.into(), edges: EDGES.into(), ..GraphJson::default() }),
        ..Workflow::default()
    }
}

async fn api() -> Api {
    let api = Api::start().await;
    api.fake.script().workflow = stored();
    api
}

fn problem() -> Violation {
    Violation {
        rule: "bad-target-handle".to_owned(),
        message: "no such port".to_owned(),
        fix: "Did you mean \"in-image_url\"?".to_owned(),
        node_id: "n2".to_owned(),
        edge_id: "e1".to_owned(),
        path: String::new(),
    }
}

#[tokio::test]
async fn the_list_is_a_bare_array() {
    let api = api().await;
    let list = api.get("/api/v1/workflows?isActive=true&mediaId=x").await;
    let expected = json!([{
        "id": "wf_1", "name": "Poster maker", "description": null, "webhookId": null, "webhookUrl": null,
        "isActive": true, "isPublished": false, "executionCount": 7, "lastExecutedAt": null, "tags": ["poster"],
        "version": 3, "createdAt": "1970-01-01T00:00:00.000Z", "updatedAt": "2026-05-02T09:00:00.007Z",
    }]);
    assert_eq!((list.status, &list.body), (200, &expected));
    assert_eq!(list.header("link"), "</api/v1/workflows?cursor=7-wf_1&isActive=true>; rel=\"next\"");
    let next = api.get("/api/v1/workflows?cursor=7-wf_1&limit=9999").await;
    assert!(next.status == 200 && next.headers.get("link").is_none());
    let asked: Vec<_> =
        api.fake.script().workflow_lists.iter().map(|list| (list.is_active, list.limit, list.cursor.clone())).collect();
    assert_eq!(asked, [(Some(true), 1_000, String::new()), (None, 1_000, "7-wf_1".to_owned())]);
}

#[tokio::test]
async fn graphs_keep_their_bytes() {
    let api = api().await;
    let read = api.get("/api/v1/workflows/wf_1").await;
    assert!(read.text.contains(&format!("\"nodes\":{NODES},\"edges\":{EDGES}")), "{}", read.text);
    assert_eq!(read.body["linkPermission"], "PRIVATE");
    assert_eq!(read.body["updatedAt"], "2026-05-02T09:00:00.007Z");
    assert_eq!(read.body.get("data"), None);

    let body = format!("{{ \"name\":\"x\", \"nodes\": {NODES} , \"edges\":{EDGES}, \"unknown\":[{{}}] }}");
    assert_eq!(api.post("/api/v1/workflows", &body).await.status, 200);
    let graph = api.fake.script().saves.pop().unwrap().graph.unwrap();
    assert_eq!((&*graph.nodes, &*graph.edges), (NODES.as_bytes(), EDGES.as_bytes()));
}

#[tokio::test]
async fn creating_answers_for_all_clients() {
    let api = api().await;
    {
        let mut script = api.fake.script();
        script.created = true;
        script.diagnosis = Diagnosis {
            ok: true,
            warnings: vec![problem()],
            migrations: vec!["renamed".to_owned()],
            ..Diagnosis::default()
        };
    }
    let body =
        format!(r#"{{"name":"x","description":null,"tags":["a"],"isActive":false,"nodes":{NODES},"edges":{EDGES}}}"#);
    let request = api.json(Method::POST, "/api/v1/workflows?strict=false", &body).header("Idempotency-Key", "once");
    let created = answer(request).await;
    assert_eq!(created.status, 201, "{}", created.text);
    created.check_envelope();
    assert_eq!(created.header("location"), "/api/v1/workflows/wf_1");
    assert_eq!(created.body["data"]["id"], "wf_1");
    assert_eq!(created.body["meta"], json!({"migrations": ["renamed"], "warnings": ["no such port"]}));
    assert_eq!(created.body["diagnostics"]["counts"], json!({"error": 0, "warning": 1, "info": 1}));
    assert!(created.text.contains(r#""code":"graph.bad-target-handle""#), "{}", created.text);
    assert!(!created.headers.contains_key("idempotent-replayed"));

    let save = api.fake.script().saves.pop().unwrap();
    assert_eq!((save.tenant.as_str(), save.subject.as_str(), save.id.as_str()), ("ten_a", "ada", ""));
    assert_eq!((save.name.as_deref(), save.description.as_deref()), (Some("x"), Some("")));
    assert_eq!((save.tags_given, save.tags.as_slice(), save.is_active), (true, &["a".to_owned()][..], Some(false)));
    assert!(!save.strict && !save.must_exist);
    let idempotency = save.idempotency.unwrap();
    assert_eq!((idempotency.key.as_str(), idempotency.route.as_str()), ("once", "POST /api/v1/workflows"));
    assert_eq!(idempotency.body_hash.len(), 32);

    api.fake.script().replayed = true;
    let replayed = api.post("/api/v1/workflows", &body).await;
    assert_eq!((replayed.status, replayed.header("idempotent-replayed")), (201, "true"));
}

#[tokio::test]
async fn what_is_missing_is_said_in_known_words() {
    let api = api().await;
    for body in ["{}", r#"{"name":"x"}"#, r#"{"nodes":[{}],"edges":[]}"#, r#"{"name":null,"nodes":[{}],"edges":[]}"#] {
        let refusal = api.post("/api/v1/workflows", body).await;
        refusal.check_refusal(400, "missing_fields");
        assert_eq!(refusal.body["error"], "Missing required fields: name, nodes, edges");
    }
    let empty = api.post("/api/v1/workflows", r#"{"name":"x","nodes":[ ],"edges":[]}"#).await;
    empty.check_refusal(400, "empty_graph");
    for (body, path) in [
        (r#"{"name":1,"nodes":[{}],"edges":[]}"#, "/name"),
        (r#"{"name":"x","nodes":{},"edges":[]}"#, "/nodes"),
        (r#"{"name":"x","nodes":[{}],"edges":"none"}"#, "/edges"),
        (r#"{"name":"x","nodes":[{}],"edges":[],"tags":"a"}"#, "/tags"),
        (r#"{"name":"x","nodes":[{}],"edges":[],"isActive":"yes"}"#, "/isActive"),
        (r#"{"name":"x","nodes":[{}],"edges":[],"baseUpdatedAt":"now"}"#, "/baseUpdatedAt"),
        (r#"{"name":"x","nodes":[{}],"edges":[],"baseUpdatedAt":""}"#, "/baseUpdatedAt"),
    ] {
        let refusal = api.post("/api/v1/workflows", body).await;
        refusal.check_refusal(400, "invalid_field");
        assert_eq!(refusal.body["path"], path);
    }
    assert!(api.fake.script().saves.is_empty());
}

#[tokio::test]
async fn replacing_names_one_workflow() {
    let api = api().await;
    let body = r#"{"name":"y","baseUpdatedAt":"2026-05-02T09:00:00.007Z","userId":"u","dims":{}}"#;
    let replaced = answer(api.json(Method::PUT, "/api/v1/workflows/wf_1", body)).await;
    assert_eq!(replaced.status, 200);
    replaced.check_envelope();
    let save = api.fake.script().saves.pop().unwrap();
    assert_eq!((save.id.as_str(), save.must_exist, save.strict), ("wf_1", true, true));
    assert_eq!((save.graph, save.tags_given, save.description), (None, false, None));
    assert_eq!(save.base_updated_at, "2026-05-02T09:00:00.007Z");

    for value in ["\"VIEW\"", "\"PRIVATE\"", "\"open\"", "false", "[]", "{}", "1"] {
        let body = format!(r#"{{"linkPermission":{value}}}"#);
        let refusal = answer(api.json(Method::PUT, "/api/v1/workflows/wf_1", &body)).await;
        refusal.check_refusal(400, "invalid_field");
        assert_eq!(refusal.body["path"], "/linkPermission", "{value}");
    }
    for (value, status, code) in [
        ("\"open\"", 400, "invalid_field"),
        ("\"view\"", 400, "invalid_field"),
        ("true", 400, "invalid_field"),
        ("[]", 400, "invalid_field"),
        ("\"VIEW\"", 422, "not_supported_yet"),
        ("\"EDIT\"", 422, "not_supported_yet"),
    ] {
        let body = format!(r#"{{"name":"x","nodes":[{{"id":"a"}}],"edges":[],"linkPermission":{value}}}"#);
        let refusal = api.post("/api/v1/workflows", &body).await;
        refusal.check_refusal(status, code);
        assert_eq!(refusal.body["path"], "/linkPermission", "{value}");
    }
    assert!(api.fake.script().saves.is_empty());
    for value in ["null", "\"PRIVATE\""] {
        let body = format!(r#"{{"name":"x","nodes":[{{"id":"a"}}],"edges":[],"linkPermission":{value}}}"#);
        assert_eq!(api.post("/api/v1/workflows", &body).await.status, 200, "{value}");
    }
    let refusal = answer(api.json(Method::PUT, "/api/v1/workflows/wf_1", r#"{"linkPermission":"VIEW"}"#)).await;
    refusal.check_refusal(400, "invalid_field");

    let failure = Failure {
        code: "stale_write".to_owned(),
        http_status: 409,
        message: "changed since".to_owned(),
        current_updated_at: "2026-05-02T10:00:00.000Z".to_owned(),
        ..Failure::default()
    };
    api.fake.script().failures.insert("save_workflow", failure);
    let stale = answer(api.json(Method::PUT, "/api/v1/workflows/wf_1", body)).await;
    stale.check_refusal(409, "stale_write");
    assert_eq!(stale.body["error"]["type"], "conflict_error");
    assert_eq!(stale.body["currentUpdatedAt"], "2026-05-02T10:00:00.000Z");
    assert_eq!(stale.body["yourBaseUpdatedAt"], "2026-05-02T09:00:00.007Z");
}

#[tokio::test]
async fn an_invalid_graph_comes_with_all_its_problems() {
    let api = api().await;
    let failure = Failure {
        code: "invalid_graph".to_owned(),
        http_status: 422,
        message: "1 problem".to_owned(),
        diagnosis: Some(Diagnosis { violations: vec![problem()], ..Diagnosis::default() }),
        ..Failure::default()
    };
    api.fake.script().failures.insert("save_workflow", failure);
    let refusal = api.post("/api/v1/workflows", r#"{"name":"x","nodes":[{}],"edges":[]}"#).await;
    refusal.check_refusal(422, "invalid_graph");
    let expected = json!([{"rule": "bad-target-handle", "message": "no such port",
        "fix": "Did you mean \"in-image_url\"?", "nodeId": "n2", "edgeId": "e1"}]);
    assert_eq!(refusal.body["violations"], expected);
    assert_eq!((&refusal.body["warnings"], &refusal.body["migrations"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn lint_answers_with_or_without_envelope() {
    let api = api().await;
    api.fake.script().diagnosis = Diagnosis { ok: false, violations: vec![problem()], ..Diagnosis::default() };
    let body = format!(r#"{{"id":"wf_1","nodes":{NODES},"edges":{EDGES}}}"#);
    let linted = api.post("/api/v1/workflows/lint", &body).await;
    assert_eq!(linted.status, 200);
    linted.check_envelope();
    assert_eq!(
        (&linted.body["ok"], &linted.body["violations"][0]["rule"]),
        (&json!(false), &json!("bad-target-handle"))
    );
    assert_eq!(&*api.fake.script().lints.pop().unwrap().graph.unwrap().nodes, NODES.as_bytes());
    let refusal = api.post("/api/v1/workflows/lint", "{}").await;
    refusal.check_refusal(400, "missing_fields");
    assert!(refusal.body["error"].is_object());
}

#[tokio::test]
async fn deleting_says_so() {
    let api = api().await;
    let deleted = answer(api.request(Method::DELETE, "/api/v1/workflows/wf_1")).await;
    assert_eq!((deleted.status, &deleted.body["success"]), (200, &Value::Bool(true)));
    deleted.check_envelope();
}
