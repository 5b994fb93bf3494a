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
const SCOPES: [&str; 10] = [
    "workflows:read",
    "workflows:write",
    "workflows:execute",
    "executions:read",
    "usage:read",
    "apps:execute",
    "reviews:decide",
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
    NodeType,
    Agent,
    /// There is none: this cluster needs no tokens.
    JoinToken,
    /// Only echoed.
    Echoed,
}

use Id::{Agent, Echoed, JoinToken, Key, NodeType, Nothing, Run, Tenant, Waiting, Workflow};
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
    ("GET", "/api/v1/workflows/executions", Tenants, Nothing, 200),
    ("GET", "/api/v1/workflows/executions/{id}/events", Tenants, Run, 200),
    ("GET", "/api/v1/workflows/executions/{id}/trace", Tenants, Run, 200),
    ("POST", "/api/v1/workflows/executions/{id}/cancel", Tenants, Waiting, 200),
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
        Self { id, key, workflow, run, heard: RefCell::default() }
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
            Workflow => text(&created(cluster, key, "/api/v1/workflows", &workflow_of(self.id)).await["id"]),
            Key => text(&created(cluster, key, "/api/v1/keys", &json!({ "scopes": ["workflows:read"] })).await["id"]),
            Waiting => {
                let nowhere = json!({ "agent": { "labels": { "nobody": "has-it" } } });
                let graph = Graph::default()
                    .node("in", "input:text", json!({ "text": Self::canary(self.id, "input") }))
                    .node_with("picky", "debug:echo", json!({}), nowhere)
                    .edge("in.text", "picky.in");
                let saved = created(cluster, key, "/api/v1/workflows", &graph.named("waits")).await;
                let path = format!("/api/v1/workflows/{}/execute", text(&saved["id"]));
                text(&created(cluster, key, &path, &json!({})).await["executionId"])
            }
        }
    }
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
        Run | Waiting => "exec_01KZZZZZZZ0000000000000000",
        Key => "key_01KZZZZZZZ0000000000000000",
        Tenant => "nobody",
        NodeType => "debug:nothing",
        Agent => "agt_01KZZZZZZZ0000000000000000",
        JoinToken => "jtk_01KZZZZZZZ0000000000000000",
        Nothing | Echoed => "anything",
    }
}

async fn created(cluster: &Cluster, shown: Shown<'_>, path: &str, body: &Value) -> Value {
    let answer = ask(cluster, shown, "POST", path, body).await;
    assert!(answer.is_success(), "POST {path}: {answer}");
    answer.json()
}

async fn ask(cluster: &Cluster, shown: Shown<'_>, method: &str, path: &str, body: &Value) -> Answer {
    let (client, method) = (cluster.client(), method.parse::<Method>().unwrap());
    let request = match shown {
        Shown::Key(key) => client.anonymous(method, path).bearer_auth(key),
        Shown::Operators => client.request(method, path),
        Shown::Nothing => client.anonymous(method, path),
    };
    let request = request.header("accept", "application/json");
    send(if body.is_null() { request } else { request.json(body) }).await.unwrap()
}

fn path(route: Route, id: &str) -> String {
    let path = route.path.replace("{id}", id).replace("{type}", id);
    if path.ends_with("/events") { format!("{path}?follow=false") } else { path }
}

/// What a tenant sends there, in its own words.
fn body(route: Route, number: usize, id: &str) -> Value {
    match (route.method, route.path) {
        ("GET" | "DELETE", _) => Value::Null,
        (_, "/api/v1/workflows") => workflow_of(id),
        (_, "/api/v1/workflows/lint") => Graph::default().parts(),
        (_, "/api/v1/keys" | "/api/v1/tenants/{id}/keys") => json!({ "scopes": ["workflows:read"] }),
        (_, "/api/v1/tenants") => json!({ "id": format!("new-{number}") }),
        (_, "/api/v1/tenants/{id}") => json!({ "name": Side::canary(id, "tenant") }),
        ("PUT", _) => json!({ "name": Side::canary(id, "name") }),
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
        let (its, body) = (acme.fresh(&cluster, id).await, body(route, number, acme.id));
        let others = self::body(route, number, rival.id);
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
        let nobodys = rival.ask(&cluster, route.method, &path(route, unknown(id)), &others).await;
        match (who, id) {
            (Operators, _) => assert_eq!((other.status, nobodys.status), (403, 403), "{route:?}: {other}"),
            (Tenants, Workflow | Run | Waiting | Key) => {
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
        for secret in ["-acme", &acme.workflow, &acme.run] {
            assert!(asked.contains(secret) || !said.contains(secret), "{asked} tells of {secret}: {said}");
        }
    }
    // The search would find them: their owner hears them all.
    let heard = acme.heard.borrow();
    let own: String = heard.iter().map(|(_, answer)| String::from_utf8_lossy(&answer.body)).collect();
    for place in ["name", "label", "input", "default", "description", "tag", "subject"] {
        assert!(own.contains(&Side::canary("acme", place)), "nobody ever hears of {place}");
    }
    assert!(own.contains(&acme.workflow) && own.contains(&acme.run));
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
}

/// Logs name ids, and never what people put in.
fn nothing_is_written_down(cluster: &Cluster) {
    for log in ["coordinator.log", "gateway-0.log", "agent-0.log"] {
        let said = std::fs::read_to_string(cluster.folder().join(log)).unwrap();
        assert!(!said.contains("canary-"), "{log} holds what a tenant has said");
    }
}
