use heddle_proto::control::{Agent, AgentList, NodeTypeEntry, NodeTypeList, Run, RunList, RunStatus};
use serde_json::json;

use crate::setup::Api;

async fn api() -> Api {
    let api = Api::start().await;
    let run = Run { id: "exec_1".to_owned(), status: RunStatus::Failed.into(), ..Run::default() };
    api.fake.script().run_list = RunList { runs: vec![run], next_cursor: "a/b=".to_owned() };
    api
}

#[tokio::test]
async fn history_is_a_bare_array_with_a_link() {
    let api = api().await;
    let path = "/api/v1/workflows/wf_1/executions?status=failed&from=2026-05-02T09:00:00Z&limit=500";
    let page = api.get(path).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert_eq!((&page.body[0]["id"], &page.body[0]["status"]), (&json!("exec_1"), &json!("FAILED")));
    let link = "</api/v1/workflows/wf_1/executions?cursor=a%2Fb%3D&status=failed&from=2026-05-02T09%3A00%3A00Z&limit=500>; \
                rel=\"next\"";
    assert_eq!(page.header("link"), link);
    let list = api.fake.script().lists.pop().unwrap();
    assert_eq!((list.workflow_id.as_str(), list.limit, list.with_nodes), ("wf_1", 200, true));
    assert_eq!((list.status(), list.from_ms, list.to_ms), (RunStatus::Failed, Some(1_777_712_400_000), None));

    api.fake.script().run_list.next_cursor.clear();
    let last = api.get("/api/v1/workflows/wf_1/executions?cursor=a%2Fb%3D").await;
    assert!(!last.headers.contains_key("link"));
    let list = api.fake.script().lists.pop().unwrap();
    assert_eq!((list.cursor.as_str(), list.limit), ("a/b=", 50));
}

#[tokio::test]
async fn runs_of_all_workflows_come_without_their_nodes() {
    let api = api().await;
    let page = api.get("/api/v1/workflows/executions?workflowId=wf_2").await;
    assert!(page.body.is_array());
    assert!(page.header("link").starts_with("</api/v1/workflows/executions?cursor="));
    let list = api.fake.script().lists.pop().unwrap();
    assert_eq!((list.workflow_id.as_str(), list.with_nodes, list.status()), ("wf_2", false, RunStatus::Unspecified));
    api.get("/api/v1/workflows/executions?nodes=true").await;
    assert!(api.fake.script().lists.pop().unwrap().with_nodes);
}

#[tokio::test]
async fn the_catalogue_stands_at_top_level() {
    let api = api().await;
    let manifest = r#"{"id":"llm:chat","version":2,"title":"Chat","inputs":[{"id":"prompt","type":"TEXT","required":true}],
        "outputs":[{"id":"text","type":"TEXT","list":true}],"configSchema":{"type": "object"},"effect":"blind"}"#;
    let entry = NodeTypeEntry { manifest_json: manifest.into(), available: true, pause: None };
    api.fake.script().node_types = NodeTypeList { types: vec![entry] };
    let expected = json!({
        "nodeType": "llm:chat", "label": "Chat", "description": "", "category": "llm", "version": 2,
        "inputs": [{"id": "prompt", "label": "prompt", "type": "TEXT", "isPort": true, "list": false, "required": true}],
        "outputs": [{"id": "text", "label": "text", "type": "TEXT", "isPort": true, "list": true, "required": false}],
        "configSchema": {"type": "object"}, "effect": "blind", "cancelsJobs": false, "available": true,
    });
    assert_eq!(api.get("/api/v1/nodes").await.body, json!({"nodes": [expected]}));
    let one = api.get("/api/v1/nodes/llm:chat").await;
    one.check_envelope();
    assert_eq!(one.body["data"], expected);
    api.get("/api/v1/nodes/llm:other").await.check_refusal(404, "node_type_not_found");
    let cancels = manifest.replace(r#""effect":"blind""#, r#""effect":"pollable","cancelsJobs":true"#);
    api.fake.script().node_types.types[0].manifest_json = cancels.into();
    let one = api.get("/api/v1/nodes/llm:chat").await.body;
    assert_eq!((&one["effect"], &one["cancelsJobs"]), (&json!("pollable"), &json!(true)));
}

#[tokio::test]
async fn agents_are_listed() {
    let api = api().await;
    let agent = Agent {
        id: "agt_1".to_owned(),
        state: "connected".to_owned(),
        labels: [("gpu".to_owned(), "a100".to_owned())].into(),
        slots: 4,
        node_types: vec!["llm:chat".to_owned()],
        ..Agent::default()
    };
    api.fake.script().agents = AgentList { agents: vec![agent] };
    let list = api.get("/api/v1/agents").await;
    let expected = json!([{"id": "agt_1", "state": "connected", "version": "", "hostname": "", "labels": {"gpu": "a100"},
        "slots": 4, "busy": 0, "connectedAt": "1970-01-01T00:00:00.000Z", "nodeTypes": ["llm:chat"]}]);
    assert_eq!(list.body, expected);
}
