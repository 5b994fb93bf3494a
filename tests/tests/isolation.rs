//! Two tenants on one cluster: neither sees an id, a byte or a count of the other. Every route that the gateway has is
//! asked for with every kind of key, and what comes back is searched for strings that only the other tenant knows.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use cluster_tests::cluster::client::{Answer, send};
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::runs::text;
use cluster_tests::cluster::{Cluster, Part};
use cluster_tests::wait;
use heddle_gateway::Route;
use reqwest::Method;
use serde_json::{Value, json};

/// How long the suite waits for what should be there at once.
const DEADLINE: Duration = Duration::from_secs(30);
/// Everything that a key of any tenant may be allowed.
const SCOPES: [&str; 11] = [
    "workflows:read",
    "workflows:write",
    "workflows:execute",
    "executions:read",
    "usage:read",
    "apps:execute",
    "reviews:decide",
    "reviews:decide:own",
    "schedules:write",
    "secrets:write",
    "admin",
];

/// Who may use a route.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Anyone,
    Tenants,
    Operators,
}

/// What the variable segment of a route names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Id {
    Nothing,
    Workflow,
    Run,
    /// A run that is not over.
    Waiting,
    Key,
    Tenant,
    /// A file, by its digest.
    File,
    /// An entry of the list of files.
    Upload,
    NodeType,
    Agent,
    /// There is none: this cluster needs no tokens.
    JoinToken,
    /// Only echoed.
    Echoed,
    /// Of runs that wait.
    Batch,
    /// That is open.
    Review,
    /// A rule, with the workflow that it watches over.
    Alert,
    /// A run that waits for a signal.
    Listening,
}

use Id::{
    Agent, Alert, Batch, Echoed, File, JoinToken, Key, Listening, NodeType, Nothing, Review, Run, Tenant, Upload,
    Waiting, Workflow,
};
use Who::{Anyone, Operators, Tenants};

/// A row for every route, with the status that its owner gets.
const MATRIX: &[(&str, &str, Who, Id, u16)] = &[
    ("GET", "/api/v1/workflows", Tenants, Nothing, 200),
    ("POST", "/api/v1/workflows", Tenants, Nothing, 201),
    ("GET", "/api/v1/workflows/{id}", Tenants, Workflow, 200),
    ("PUT", "/api/v1/workflows/{id}", Tenants, Workflow, 200),
    ("DELETE", "/api/v1/workflows/{id}", Tenants, Workflow, 200),
    ("POST", "/api/v1/workflows/{id}/execute", Tenants, Workflow, 201),
    ("GET", "/api/v1/workflows/{id}/run", Tenants, Workflow, 200),
    ("POST", "/api/v1/workflows/{id}/run", Tenants, Workflow, 202),
    ("GET", "/api/v1/workflows/{id}/executions", Tenants, Workflow, 200),
    ("GET", "/api/v1/workflows/executions/{id}", Tenants, Run, 200),
    ("GET", "/api/v1/workflows/executions/{id}/poll", Tenants, Run, 200),
    ("POST", "/api/v1/workflows/lint", Tenants, Nothing, 200),
    ("GET", "/api/v1/workflows/{id}/versions", Tenants, Workflow, 200),
    ("GET", "/api/v1/workflows/{id}/versions/{version}", Tenants, Workflow, 200),
    ("POST", "/api/v1/workflows/{id}/versions/{version}/restore", Tenants, Workflow, 200),
    ("GET", "/api/v1/workflows/{id}/diff", Tenants, Workflow, 200),
    ("PATCH", "/api/v1/workflows/{id}/nodes/{nodeId}", Tenants, Workflow, 200),
    ("POST", "/api/v1/workflows/{id}/duplicate", Tenants, Workflow, 201),
    ("POST", "/api/v1/workflows/{id}/layout", Tenants, Workflow, 200),
    ("GET", "/api/v1/workflows/executions", Tenants, Nothing, 200),
    ("GET", "/api/v1/workflows/executions/{id}/events", Tenants, Run, 200),
    ("GET", "/api/v1/workflows/executions/{id}/nodes/{nodeId}", Tenants, Run, 200),
    ("GET", "/api/v1/workflows/executions/{id}/nodes/{nodeId}/stream", Tenants, Run, 200),
    ("GET", "/api/v1/workflows/executions/{id}/trace", Tenants, Run, 200),
    ("GET", "/api/v1/workflows/executions/{id}/explain", Tenants, Run, 200),
    ("POST", "/api/v1/workflows/executions/{id}/cancel", Tenants, Waiting, 200),
    ("POST", "/api/v1/workflows/executions/{id}/resume", Tenants, Run, 201),
    ("POST", "/api/v1/workflows/executions/{id}/rerun", Tenants, Run, 201),
    ("GET", "/api/v1/workflows/executions/{id}/lineage", Tenants, Run, 200),
    ("GET", "/api/v1/workflows/executions/{id}/export", Tenants, Run, 200),
    ("GET", "/api/v1/workflows/executions/{id}/children", Tenants, Run, 200),
    ("GET", "/api/v1/batches/{id}", Tenants, Batch, 200),
    ("POST", "/api/v1/batches/{id}/cancel", Tenants, Batch, 200),
    ("GET", "/api/v1/reviews", Tenants, Nothing, 200),
    ("GET", "/api/v1/reviews/{id}", Tenants, Review, 200),
    ("POST", "/api/v1/reviews/{id}/decision", Tenants, Review, 200),
    ("GET", "/api/v1/artifacts/{id}", Tenants, File, 200),
    ("GET", "/api/v1/media", Tenants, Nothing, 200),
    ("DELETE", "/api/v1/media/{id}", Tenants, Upload, 204),
    ("POST", "/api/v1/media/upload", Tenants, Nothing, 201),
    ("POST", "/api/v1/media/upload-url", Tenants, Nothing, 200),
    ("POST", "/api/v1/media/upload-url/complete", Tenants, Upload, 200),
    // These two take no key, but an address that was signed for one.
    ("PUT", "/api/v1/media/uploads/{id}", Anyone, Upload, 403),
    ("GET", "/api/download", Anyone, Nothing, 403),
    ("GET", "/api/v1/nodes", Tenants, Nothing, 200),
    ("GET", "/api/v1/nodes/{type}", Tenants, NodeType, 200),
    ("GET", "/api/v1/agents", Operators, Nothing, 200),
    ("GET", "/api/v1/agents/tokens", Operators, Nothing, 200),
    ("POST", "/api/v1/agents/tokens", Operators, Nothing, 409),
    ("DELETE", "/api/v1/agents/tokens/{id}", Operators, JoinToken, 404),
    ("POST", "/api/v1/agents/{id}/drain", Operators, Agent, 200),
    ("POST", "/api/v1/agents/{id}/resume", Operators, Agent, 200),
    ("GET", "/api/v1/keys", Tenants, Nothing, 200),
    ("POST", "/api/v1/keys", Tenants, Nothing, 201),
    ("DELETE", "/api/v1/keys/{id}", Tenants, Key, 200),
    ("POST", "/api/v1/keys/{id}/rotate", Tenants, Key, 201),
    ("GET", "/api/v1/tenants", Operators, Nothing, 200),
    ("POST", "/api/v1/tenants", Operators, Nothing, 201),
    ("GET", "/api/v1/tenants/{id}", Operators, Tenant, 200),
    ("PATCH", "/api/v1/tenants/{id}", Operators, Tenant, 200),
    ("GET", "/api/v1/tenants/{id}/keys", Operators, Tenant, 200),
    ("POST", "/api/v1/tenants/{id}/keys", Operators, Tenant, 201),
    ("GET", "/api/v1/stats", Tenants, Nothing, 200),
    ("GET", "/api/v1/workflows/{id}/stats", Tenants, Workflow, 200),
    ("GET", "/api/v1/workflows/{id}/alerts", Tenants, Workflow, 200),
    ("POST", "/api/v1/workflows/{id}/alerts", Tenants, Workflow, 201),
    ("GET", "/api/v1/workflows/{id}/alerts/{alertId}", Tenants, Alert, 200),
    ("PUT", "/api/v1/workflows/{id}/alerts/{alertId}", Tenants, Alert, 200),
    ("DELETE", "/api/v1/workflows/{id}/alerts/{alertId}", Tenants, Alert, 200),
    ("GET", "/api/v1/alerts/incidents", Tenants, Nothing, 200),
    ("POST", "/api/v1/workflows/executions/{id}/pause", Tenants, Waiting, 200),
    ("POST", "/api/v1/workflows/executions/{id}/unpause", Tenants, Waiting, 200),
    ("POST", "/api/v1/nodes/{type}/pause", Operators, NodeType, 200),
    ("POST", "/api/v1/nodes/{type}/unpause", Operators, NodeType, 200),
    ("POST", "/api/v1/workflows/executions/{id}/signals/{name}", Tenants, Listening, 202),
    // The token is the key, and this is none.
    ("POST", "/api/v1/hooks/{token}", Anyone, Nothing, 404),
    ("PUT", "/api/v1/hooks/{token}", Anyone, Nothing, 404),
    ("GET", "/healthz", Anyone, Nothing, 200),
    ("GET", "/readyz", Anyone, Nothing, 200),
    ("GET", "/api/v1/openapi.json", Anyone, Nothing, 200),
    ("GET", "/docs", Anyone, Nothing, 200),
    ("GET", "/docs/errors", Anyone, Nothing, 200),
    ("GET", "/llms.txt", Anyone, Nothing, 200),
    ("GET", "/workflows/{id}", Anyone, Echoed, 200),
];

/// The rows, each found in the gateway's own table; none is missing.
fn rows() -> Vec<(Route, Who, Id, u16)> {
    let named: BTreeSet<Route> = MATRIX.iter().map(|(method, path, ..)| Route { method, path }).collect();
    let routes: BTreeSet<Route> = heddle_gateway::routes().into_iter().collect();
    let (missing, gone): (Vec<_>, Vec<_>) = (routes.difference(&named).collect(), named.difference(&routes).collect());
    assert!(missing.is_empty() && gone.is_empty(), "routes without a row: {missing:?}; rows without a route: {gone:?}");
    MATRIX.iter().map(|(method, path, who, id, own)| (Route { method, path }, *who, *id, *own)).collect()
}

/// What a request shows for a key.
#[derive(Clone, Copy)]
enum Shown<'a> {
    Key(&'a str),
    /// The cluster's first one.
    Operators,
    Nothing,
}

/// One of the two tenants.
struct Side {
    id: &'static str,
    key: String,
    workflow: String,
    run: String,
    /// The digest of a file that it has brought.
    file: String,
    /// Everything that was answered to its keys, with what was asked.
    heard: RefCell<Vec<(String, Answer)>>,
}

impl Side {
    /// Strings that nobody else may see; they are in names, labels, inputs and outputs.
    fn canary(id: &str, place: &str) -> String {
        format!("canary-{place}-{id}")
    }

    async fn new(cluster: &Cluster, id: &'static str) -> Self {
        let tenant = json!({ "id": id, "name": Self::canary(id, "tenant") });
        created(cluster, Shown::Operators, "/api/v1/tenants", &tenant).await;
        let wanted = json!({ "scopes": SCOPES, "subject": Self::canary(id, "subject") });
        let made = created(cluster, Shown::Operators, &format!("/api/v1/tenants/{id}/keys"), &wanted).await;
        let key = text(&made["key"]);
        let workflow = created(cluster, Shown::Key(&key), "/api/v1/workflows", &workflow_of(id)).await;
        let workflow = text(&workflow["id"]);
        let path = format!("/api/v1/workflows/{workflow}/execute");
        let inputs = json!({ "inputs": { "in": Self::canary(id, "input") } });
        let run = text(&created(cluster, Shown::Key(&key), &path, &inputs).await["executionId"]);
        let poll = format!("/api/v1/workflows/executions/{run}/poll");
        wait::until("the end of the first run", DEADLINE, || async {
            let answer = ask(cluster, Shown::Key(&key), "GET", &poll, &Value::Null).await;
            if answer.json()["status"] == "COMPLETED" { Ok(()) } else { Err(answer.to_string()) }
        })
        .await;
        let file = text(&uploaded(cluster, Shown::Key(&key), id).await["digest"]);
        Self { id, key, workflow, run, file, heard: RefCell::default() }
    }

    async fn ask(&self, cluster: &Cluster, method: &str, path: &str, body: &Value) -> Answer {
        let answer = ask(cluster, Shown::Key(&self.key), method, path, body).await;
        self.heard.borrow_mut().push((format!("{method} {path}"), answer.clone()));
        answer
    }

    /// Something of this tenant's that a route can name.
    async fn fresh(&self, cluster: &Cluster, id: Id) -> String {
        let key = Shown::Key(&self.key);
        match id {
            Nothing | Echoed => "anything".into(),
            NodeType => "debug:echo".into(),
            Tenant => self.id.into(),
            Agent => cluster.agent_id(Part::Agent(0)),
            JoinToken => unknown(JoinToken).into(),
            Run => self.run.clone(),
            File => self.file.clone(),
            Upload => text(&uploaded(cluster, key, self.id).await["mediaId"]),
            Workflow => text(&created(cluster, key, "/api/v1/workflows", &workflow_of(self.id)).await["id"]),
            Key => text(&created(cluster, key, "/api/v1/keys", &json!({ "scopes": ["workflows:read"] })).await["id"]),
            Review => {
                let asked = json!({ "title": Self::canary(self.id, "title") });
                let graph = Graph::default()
                    .node("in", "input:text", json!({ "text": Self::canary(self.id, "input") }))
                    .node("check", "logic:review", asked)
                    .edge("in.text", "check.value");
                let saved = created(cluster, key, "/api/v1/workflows", &graph.named("asks")).await;
                let path = format!("/api/v1/workflows/{}/execute", text(&saved["id"]));
                let run = text(&created(cluster, key, &path, &json!({})).await["executionId"]);
                let inbox = format!("/api/v1/reviews?executionId={run}");
                wait::until("an open review", DEADLINE, || async {
                    let answer = ask(cluster, key, "GET", &inbox, &Value::Null).await;
                    answer.json()[0]["id"].as_str().map(str::to_owned).ok_or_else(|| answer.to_string())
                })
                .await
            }
            Alert => {
                let workflow = text(&created(cluster, key, "/api/v1/workflows", &workflow_of(self.id)).await["id"]);
                let alert = created(cluster, key, &format!("/api/v1/workflows/{workflow}/alerts"), &rule()).await;
                format!("{workflow}/alerts/{}", text(&alert["id"]))
            }
            Listening => {
                let graph = Graph::default().node("listen", "logic:signal", json!({ "name": "go" }));
                let saved = created(cluster, key, "/api/v1/workflows", &graph.named("listens")).await;
                let path = format!("/api/v1/workflows/{}/execute", text(&saved["id"]));
                text(&created(cluster, key, &path, &json!({})).await["executionId"])
            }
            Waiting | Batch => {
                let nowhere = json!({ "agent": { "labels": { "nobody": "has-it" } } });
                let graph = Graph::default()
                    .node("in", "input:text", json!({ "text": Self::canary(self.id, "input") }))
                    .node_with("picky", "debug:echo", json!({}), nowhere)
                    .edge("in.text", "picky.in");
                let saved = created(cluster, key, "/api/v1/workflows", &graph.named("waits")).await;
                let path = format!("/api/v1/workflows/{}/execute", text(&saved["id"]));
                let values = [Self::canary(self.id, "input")];
                let (asked, named) = match id {
                    Batch => (json!({ "iteratorConfigs": [{ "nodeId": "in", "values": values }] }), "batchId"),
                    _ => (json!({}), "executionId"),
                };
                text(&created(cluster, key, &path, &asked).await[named])
            }
        }
    }
}

fn rule() -> Value {
    json!({ "kind": "no_success_for", "ms": 86_400_000 })
}

fn workflow_of(id: &str) -> Value {
    let graph = Graph::default()
        .node("in", "input:text", json!({ "text": Side::canary(id, "default") }))
        .node(&Side::canary(id, "label"), "debug:echo", json!({}))
        .edge("in.text", &format!("{}.in", Side::canary(id, "label")));
    let mut body = graph.named(&Side::canary(id, "name"));
    body["description"] = Side::canary(id, "description").into();
    body["tags"] = json!([Side::canary(id, "tag")]);
    body
}

/// An id that looks like any other and names nothing.
fn unknown(id: Id) -> &'static str {
    match id {
        Workflow => "wf_01KZZZZZZZ0000000000000000",
        Run | Waiting | Listening => "exec_01KZZZZZZZ0000000000000000",
        Key => "key_01KZZZZZZZ0000000000000000",
        Tenant => "nobody",
        File => "0000000000000000000000000000000000000000000000000000000000000000",
        Upload => "media_01KZZZZZZZ0000000000000000",
        NodeType => "debug:nothing",
        Agent => "agt_01KZZZZZZZ0000000000000000",
        JoinToken => "jtk_01KZZZZZZZ0000000000000000",
        Batch => "00000000-0000-4000-8000-000000000000",
        Review => "rev_01KZZZZZZZ0000000000000000",
        Alert => "wf_01KZZZZZZZ0000000000000000/alerts/alr_01KZZZZZZZ0000000000000000",
        Nothing | Echoed => "anything",
    }
}

/// A file with the tenant's own words in it; it is the same one each time.
async fn uploaded(cluster: &Cluster, shown: Shown<'_>, id: &str) -> Value {
    let answer = upload(cluster, shown, &Side::canary(id, "file")).await;
    assert_eq!(answer.status, 201, "{answer}");
    answer.json()["data"].clone()
}

async fn upload(cluster: &Cluster, shown: Shown<'_>, words: &str) -> Answer {
    let form = format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{words}.txt\"\r\n\
         Content-Type: text/plain\r\n\r\n{words}\r\n--b--\r\n"
    );
    let request = request(cluster, shown, "POST", "/api/v1/media/upload");
    send(request.header("content-type", "multipart/form-data; boundary=b").body(form)).await.unwrap()
}

async fn created(cluster: &Cluster, shown: Shown<'_>, path: &str, body: &Value) -> Value {
    let answer = ask(cluster, shown, "POST", path, body).await;
    assert!(answer.is_success(), "POST {path}: {answer}");
    answer.json()
}

async fn ask(cluster: &Cluster, shown: Shown<'_>, method: &str, path: &str, body: &Value) -> Answer {
    if let (true, Some(words)) = (path == "/api/v1/media/upload", body["file"].as_str()) {
        return upload(cluster, shown, words).await;
    }
    let request = request(cluster, shown, method, path);
    send(if body.is_null() { request } else { request.json(body) }).await.unwrap()
}

fn request(cluster: &Cluster, shown: Shown<'_>, method: &str, path: &str) -> reqwest::RequestBuilder {
    let (client, method) = (cluster.client(), method.parse::<Method>().unwrap());
    let request = match shown {
        Shown::Key(key) => client.anonymous(method, path).bearer_auth(key),
        Shown::Operators => client.request(method, path),
        Shown::Nothing => client.anonymous(method, path),
    };
    request.header("accept", "application/json")
}

fn path(route: Route, id: &str) -> String {
    let path = route
        .path
        .replace("{id}/alerts/{alertId}", id)
        .replace("{id}", id)
        .replace("{type}", id)
        .replace("{nodeId}", "in")
        .replace("{name}", "go")
        .replace("{token}", id)
        .replace("{version}", "1");
    match route.path {
        "/api/v1/workflows/{id}/diff" => format!("{path}?from=1&to=1"),
        "/api/v1/workflows/executions/{id}/events" => format!("{path}?follow=false"),
        "/api/v1/workflows/executions/{id}/nodes/{nodeId}/stream" => format!("{path}?follow=false"),
        // Signed by nobody: whoever asks is told so.
        "/api/v1/media/uploads/{id}" => {
            format!("{path}?tenant=acme&bytes=2&type=text/plain&name=x&expires=9999999999&signature=x")
        }
        "/api/download" => {
            let file = unknown(File);
            let signed = "tenant%3Dacme%26type%3Dtext/plain%26expires%3D9999999999%26signature%3Dx";
            format!("{path}?url=http://127.0.0.1/api/v1/artifacts/{file}%3F{signed}")
        }
        _ => path,
    }
}

/// What a tenant sends there, in its own words; `named` is what the route is about.
fn body(route: Route, number: usize, id: &str, named: &str) -> Value {
    match (route.method, route.path) {
        (_, "/api/v1/media/upload") => json!({ "file": Side::canary(id, "file") }),
        (_, "/api/v1/media/upload-url") => json!({ "bytes": 9, "filename": Side::canary(id, "file") }),
        (_, "/api/v1/media/upload-url/complete") => json!({ "mediaId": named }),
        ("GET" | "DELETE", _) => Value::Null,
        (_, "/api/v1/workflows") => workflow_of(id),
        (_, "/api/v1/workflows/lint") => Graph::default().parts(),
        (_, "/api/v1/keys" | "/api/v1/tenants/{id}/keys") => json!({ "scopes": ["workflows:read"] }),
        (_, "/api/v1/tenants") => json!({ "id": format!("new-{number}") }),
        (_, "/api/v1/reviews/{id}/decision") => {
            json!({ "decision": "approve", "data": Side::canary(id, "edit"), "comment": Side::canary(id, "comment") })
        }
        (_, "/api/v1/tenants/{id}") => json!({ "name": Side::canary(id, "tenant") }),
        ("PATCH", "/api/v1/workflows/{id}/nodes/{nodeId}") => json!({ "label": Side::canary(id, "label") }),
        (_, "/api/v1/workflows/{id}/alerts" | "/api/v1/workflows/{id}/alerts/{alertId}") => rule(),
        ("PUT", _) => json!({ "name": Side::canary(id, "name") }),
        (_, "/api/v1/workflows/executions/{id}/resume") => {
            json!({ "fromNodeId": "in", "inputs": { "in": Side::canary(id, "input") } })
        }
        _ => json!({}),
    }
}

/// What an answer says when it is not about one id rather than another.
fn without(answer: &Answer, id: &str) -> (u16, Vec<String>, Value) {
    let mut headers: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
    headers.sort();
    let body = String::from_utf8_lossy(&answer.body).replace(id, "ID");
    let mut body: Value = serde_json::from_str(&body).unwrap_or(Value::String(body));
    if let Value::Object(fields) = &mut body {
        fields.remove("requestId");
    }
    (answer.status, headers, body)
}

#[tokio::test]
async fn every_route_answers_who_may_ask_and_nobody_else() {
    let cluster = Cluster::start(1, 4).await;
    let (acme, rival) = (Side::new(&cluster, "acme").await, Side::new(&cluster, "rival").await);
    let (revoked, expired) = (ended_key(&cluster, &acme, true).await, ended_key(&cluster, &acme, false).await);
    for (number, (route, who, id, own)) in rows().into_iter().enumerate() {
        let its = acme.fresh(&cluster, id).await;
        let (body, others) = (body(route, number, acme.id, &its), self::body(route, number, rival.id, &its));
        let place = path(route, &its);
        for (shown, code) in [
            (Shown::Nothing, "missing_authorization"),
            (Shown::Key(&revoked), "invalid_api_key"),
            (Shown::Key(&expired), "api_key_expired"),
        ] {
            let refused = ask(&cluster, shown, route.method, &place, &body).await;
            let expected = if who == Anyone { own } else { 401 };
            assert_eq!(refused.status, expected, "{route:?}: {refused}");
            assert!(who == Anyone || refused.json()["code"] == code, "{route:?}: {refused}");
        }
        let other = rival.ask(&cluster, route.method, &place, &others).await;
        let nobodys = self::body(route, number, rival.id, unknown(id));
        let nobodys = rival.ask(&cluster, route.method, &path(route, unknown(id)), &nobodys).await;
        match (who, id) {
            (Operators, _) => assert_eq!((other.status, nobodys.status), (403, 403), "{route:?}: {other}"),
            (Tenants, Workflow | Run | Waiting | Listening | Batch | Key | File | Upload | Review | Alert) => {
                assert_eq!(without(&other, &its), without(&nobodys, unknown(id)), "{route:?}");
                assert_eq!(other.status, 404, "{route:?}: {other}");
            }
            _ => assert_eq!(other.status, own, "{route:?}: {other}"),
        }
        let answer = match who {
            Operators => ask(&cluster, Shown::Operators, route.method, &place, &body).await,
            _ => acme.ask(&cluster, route.method, &place, &body).await,
        };
        assert_eq!(answer.status, own, "{route:?}: its owner is answered {answer}");
    }
    nothing_is_heard_of_the_other(&acme, &rival);
    nothing_is_written_down(&cluster);
}

/// A key of a tenant that does not work any more, because it was revoked or because its time has come.
async fn ended_key(cluster: &Cluster, side: &Side, is_revoked: bool) -> String {
    let made = created(cluster, Shown::Key(&side.key), "/api/v1/keys", &json!({ "scopes": SCOPES })).await;
    let (key, path) = (text(&made["key"]), format!("/api/v1/keys/{}", text(&made["id"])));
    match is_revoked {
        true => assert!(side.ask(cluster, "DELETE", &path, &Value::Null).await.is_success()),
        false => {
            let at_once = json!({ "overlapSeconds": 0 });
            assert!(side.ask(cluster, "POST", &format!("{path}/rotate"), &at_once).await.is_success());
        }
    }
    wait::until("the end of a key", DEADLINE, || async {
        let answer = ask(cluster, Shown::Key(&key), "GET", "/api/v1/workflows", &Value::Null).await;
        if answer.status == 401 { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    key
}

/// What the tenant has heard holds none of the other's words and ids, but for ids that it has sent itself.
fn nothing_is_heard_of_the_other(acme: &Side, rival: &Side) {
    for (asked, answer) in rival.heard.borrow().iter() {
        let said = format!("{:?} {}", answer.headers, String::from_utf8_lossy(&answer.body));
        for secret in ["-acme", &acme.workflow, &acme.run, &acme.file] {
            assert!(asked.contains(secret) || !said.contains(secret), "{asked} tells of {secret}: {said}");
        }
    }
    // The search would find them: their owner hears them all.
    let heard = acme.heard.borrow();
    let own: String = heard.iter().map(|(_, answer)| String::from_utf8_lossy(&answer.body)).collect();
    for place in ["name", "label", "input", "default", "description", "tag", "subject", "file"] {
        assert!(own.contains(&Side::canary("acme", place)), "nobody ever hears of {place}");
    }
    assert!(own.contains(&acme.workflow) && own.contains(&acme.run) && own.contains(&acme.file));
}

#[tokio::test]
async fn the_same_words_of_two_tenants_are_two_things() {
    let cluster = Cluster::start(1, 2).await;
    let (acme, rival) = (Side::new(&cluster, "acme").await, Side::new(&cluster, "rival").await);
    // The same id: each has a workflow of its own, and neither learns of the other's.
    let with_id = |id: &str| {
        let mut body = workflow_of("rival");
        (body["id"], body["name"]) = (id.into(), "of the rival".into());
        body
    };
    let taken = rival.ask(&cluster, "POST", "/api/v1/workflows", &with_id(&acme.workflow)).await;
    let fresh = rival.ask(&cluster, "POST", "/api/v1/workflows", &with_id(unknown(Workflow))).await;
    assert_eq!((taken.status, fresh.status), (201, 201), "{taken}");
    let place = format!("/api/v1/workflows/{}", acme.workflow);
    let name = |answer: Answer| text(&answer.json()["name"]);
    assert_eq!(name(acme.ask(&cluster, "GET", &place, &Value::Null).await), Side::canary("acme", "name"));
    assert_eq!(name(rival.ask(&cluster, "GET", &place, &Value::Null).await), "of the rival");
    assert!(rival.ask(&cluster, "DELETE", &place, &Value::Null).await.is_success());
    assert_eq!(name(acme.ask(&cluster, "GET", &place, &Value::Null).await), Side::canary("acme", "name"));

    // The same Idempotency-Key: two runs, and no word that the key was used before.
    let mut runs = BTreeSet::new();
    for side in [&acme, &rival] {
        let place = format!("/api/v1/workflows/{}/execute", side.workflow);
        for is_replay in [false, true] {
            let request = cluster.client().anonymous(Method::POST, &place).bearer_auth(&side.key);
            let request = request.header("idempotency-key", "the same for both").json(&json!({}));
            let answer = send(request).await.unwrap();
            assert_eq!(answer.status, 201, "{answer}");
            assert_eq!(answer.headers.contains_key("idempotent-replayed"), is_replay, "{answer}");
            runs.insert(text(&answer.json()["executionId"]));
        }
    }
    assert_eq!(runs.len(), 2, "{runs:?}");

    // The same bytes: whoever has brought them has them, and nobody else.
    let words = "the same words";
    let brought = upload(&cluster, Shown::Key(&acme.key), words).await.json()["data"].clone();
    let place = format!("/api/v1/artifacts/{}", text(&brought["digest"]));
    assert_eq!(rival.ask(&cluster, "GET", &place, &Value::Null).await.status, 404);
    let described = json!({ "inputs": { "in": { "digest": brought["digest"], "mediaType": "text/plain" } } });
    let graph = Graph::default().node("in", "input:json", json!({}));
    let takes = created(&cluster, Shown::Key(&rival.key), "/api/v1/workflows", &graph.named("takes")).await;
    let run = format!("/api/v1/workflows/{}/execute", text(&takes["id"]));
    let refused = rival.ask(&cluster, "POST", &run, &described).await;
    assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("artifact_not_found")), "{refused}");
    let again = upload(&cluster, Shown::Key(&rival.key), words).await.json()["data"].clone();
    assert_eq!(again["digest"], brought["digest"]);
    let gone = format!("/api/v1/media/{}", text(&brought["mediaId"]));
    assert_eq!(rival.ask(&cluster, "DELETE", &gone, &Value::Null).await.status, 404);
    assert_eq!(acme.ask(&cluster, "DELETE", &gone, &Value::Null).await.status, 204);
    assert_eq!(rival.ask(&cluster, "GET", &place, &Value::Null).await.body, words.as_bytes());
    assert_eq!(rival.ask(&cluster, "POST", &run, &described).await.status, 201);
}

/// Logs name ids, and never what people put in.
fn nothing_is_written_down(cluster: &Cluster) {
    for log in ["coordinator.log", "gateway-0.log", "agent-0.log"] {
        let said = std::fs::read_to_string(cluster.folder().join(log)).unwrap();
        assert!(!said.contains("canary-"), "{log} holds what a tenant has said");
    }
}
