//! `llm:openai_compatible` asks a server that others have written, through a cluster. The server breaks off, refuses and limits
//! on demand, and says at the end how well it was asked.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cluster_tests::cluster::client::send;
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::{Cluster, START_TIME_MAX, free_address};
use cluster_tests::python::Packages;
use cluster_tests::wait;
use reqwest::Method;
use serde_json::{Value, json};

use super::PACKAGES;

const RUN_TIME_MAX: Duration = Duration::from_secs(60);
const TIDES: &str = "The tide comes in twice a day, and goes out as often.";
const SECRET: &str = "key-of-the-server";

/// The server, which is killed when this value is dropped.
struct Server {
    child: Child,
    origin: String,
}

impl Server {
    /// A server that waits so long between two pieces of a stream.
    async fn start(pause_ms: u64) -> Option<Self> {
        let packages = Packages::installed("openai", &PACKAGES)?;
        let address = free_address();
        let (host, port) = address.split_once(':').unwrap();
        let mut server = Command::new(packages.program("llmock"));
        server.args(["serve", "--host", host, "--port", port, "--log-level", "warning"]);
        server.args(["--stream-chunk-delay-ms", &pause_ms.to_string()]);
        let child = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { child, origin: format!("http://{address}") };
        wait::until("a server of models", START_TIME_MAX, || async {
            let health = send(reqwest::Client::new().get(format!("{}/health", server.origin))).await?;
            if health.is_success() { Ok(()) } else { Err(health.to_string()) }
        })
        .await;
        Some(server)
    }

    /// What the next calls meet.
    async fn plan(&self, behaviors: Value) {
        let url = format!("{}/_llmock/scenario", self.origin);
        let planned = send(reqwest::Client::new().post(url).json(&json!({ "behaviors": behaviors }))).await.unwrap();
        assert_eq!(planned.status, 201, "{planned}");
    }

    async fn said(&self, what: &str) -> Value {
        send(reqwest::Client::new().get(format!("{}/_llmock/{what}", self.origin))).await.unwrap().json()
    }

    /// The statuses of all calls since this was asked last. Whatever it finds in the client's conduct fails the test.
    async fn judged(&self) -> Vec<u64> {
        let (requests, verdict) = (self.said("requests").await, self.said("verdict").await);
        let reset = reqwest::Client::new().post(format!("{}/_llmock/reset", self.origin));
        assert!(send(reset).await.unwrap().is_success());
        let findings = verdict["findings"].as_array().unwrap().iter();
        // It cannot tell who left at a broken piece if it had sent all by then. That the text is whole shows it.
        let findings: Vec<_> = findings.filter(|finding| finding["code"] != "malformed_chunk_ignored").collect();
        assert!(findings.is_empty(), "{findings:?}: {requests}");
        requests["requests"].as_array().unwrap().iter().map(|call| call["status"].as_u64().unwrap()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// A cluster whose agent has a credential for the server.
struct Bench {
    server: Server,
    cluster: Cluster,
}

/// What became of a run of one node.
struct Ran {
    outputs: Value,
    error: Value,
    /// What was shown of the text of its last attempt, and in how many pieces.
    shown: (String, u64),
}

impl Bench {
    async fn start(pause_ms: u64) -> Option<Self> {
        let server = Server::start(pause_ms).await?;
        let cluster = Cluster::start(1, 4).await;
        let host = server.origin.trim_start_matches("http://");
        cluster.keep_secret(0, "models", host, SECRET);
        Some(Self { server, cluster })
    }

    async fn ask(&self, name: &str, more: Value) -> Ran {
        let mut config = json!({
            "model": "gpt-4o", "credential": "models", "baseUrl": format!("{}/v1", self.server.origin),
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let policy = json!({ "retry": { "maxAttempts": 3 } });
        let graph = Graph::default()
            .node("question", "input:text", json!({ "text": "When is high tide?" }))
            .node_with("ask", "llm:openai_compatible", config, policy)
            .edge("question.text", "ask.prompt");
        let client = self.cluster.client();
        let workflow = client.save(name, &graph).await;
        let execution = client.run(&workflow, name).await;
        let path = format!("/api/v1/workflows/executions/{execution}/events");
        let watched = client.request(Method::GET, &path).header("accept", "text/event-stream");
        let watched = send(watched.timeout(RUN_TIME_MAX)).await.unwrap();
        let run = client.ended(&execution, RUN_TIME_MAX).await;
        let node = run["nodeRuns"].as_array().unwrap().iter().find(|shown| shown["nodeId"] == "ask").unwrap();
        assert!(!run.to_string().contains(SECRET), "{run}");
        Ran {
            outputs: node["output"].clone(),
            error: node["error"].clone(),
            shown: shown(&String::from_utf8_lossy(&watched.body)),
        }
    }
}

/// The text that a stream of events shows of the last attempt, and the number of its pieces; several may come in one event.
fn shown(events: &str) -> (String, u64) {
    let (mut text, mut next, mut attempt) = (String::new(), 0, Value::Null);
    for event in events.split("\n\n").filter(|event| event.lines().any(|line| line == "event: node.delta")) {
        let data: String = event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        let data: Value = serde_json::from_str(&data).unwrap();
        if data["attempt"] != attempt {
            (text, next, attempt) = (String::new(), 0, data["attempt"].clone());
        }
        assert_eq!(data["from"], next, "a gap or a double: {data}");
        text.push_str(data["text"].as_str().unwrap());
        next = data["to"].as_u64().unwrap() + 1;
    }
    (text, next)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_type_and_a_server_of_others_understand_each_other() {
    // Slowly enough that words are heard before the result, which is all that is shown once it is there.
    let Some(bench) = Bench::start(50).await else { return };
    let server = &bench.server;
    server.plan(json!([{ "type": "reply", "text": TIDES }, { "type": "slow_first_token", "seconds": 1 }])).await;
    let ran = bench.ask("stream", json!({})).await;
    assert_eq!(ran.outputs["text"], TIDES, "{}", ran.error);
    assert_eq!(ran.shown, (TIDES.to_owned(), TIDES.split(' ').count() as u64));
    let usage = &ran.outputs["usage"];
    assert_eq!((&usage["model"], &usage["finishReason"]), (&json!("gpt-4o"), &json!("stop")));
    assert!(usage["inputTokens"].as_u64() > Some(0) && usage["outputTokens"].as_u64() > Some(0), "{usage}");

    server.plan(json!([{ "type": "reply", "text": TIDES }])).await;
    let ran = bench.ask("whole", json!({ "stream": false })).await;
    assert_eq!((&ran.outputs["text"], ran.shown.1), (&json!(TIDES), 0));
    assert_eq!(ran.outputs["usage"], *usage, "whole or in pieces, it takes as much");

    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["heights", "kind"],
        "properties": { "heights": { "type": "array", "items": { "type": "integer" } }, "kind": { "enum": ["spring", "neap"] } },
    });
    for stream in [true, false] {
        let name = format!("json {stream}");
        let ran = bench.ask(&name, json!({ "jsonSchema": schema, "stream": stream })).await;
        let made = &ran.outputs["json"];
        assert!(made["heights"].is_array() && made["kind"] == "spring", "{} {}", ran.outputs, ran.error);
    }

    let parameters =
        json!({ "type": "object", "properties": { "place": { "type": "string" } }, "required": ["place"] });
    let look = json!({ "type": "function", "function": { "name": "look", "parameters": parameters } });
    for stream in [true, false] {
        let call = json!([{ "name": "look", "arguments": { "place": "the harbour" } }]);
        server.plan(json!([{ "type": "reply", "tool_calls": call }])).await;
        let ran = bench.ask(&format!("tools {stream}"), json!({ "tools": [look], "stream": stream })).await;
        let [call] = &ran.outputs["toolCalls"].as_array().unwrap()[..] else { panic!("{}", ran.outputs) };
        let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
        assert_eq!((&call["function"]["name"], arguments), (&json!("look"), json!({ "place": "the harbour" })));
        assert_eq!(ran.outputs["usage"]["finishReason"], "tool_calls");
    }
    assert_eq!(server.judged().await, [200; 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_limits_or_breaks_off_is_asked_as_it_asks_for() {
    let Some(bench) = Bench::start(0).await else { return };
    let server = &bench.server;
    let reply = json!({ "type": "reply", "text": TIDES, "times": null });

    // It comes again when it was asked to.
    server.plan(json!([{ "type": "fail", "status": 429, "retry_after": 1.5, "times": 2 }, reply])).await;
    let ran = bench.ask("limited", json!({})).await;
    assert_eq!(ran.outputs["text"], TIDES, "{}", ran.error);
    assert_eq!(server.judged().await, [429, 429, 200]);

    // What will fail the same way is not tried again.
    for (status, code) in [
        (400, "server_refuses"),
        (401, "server_refuses_credential"),
        (403, "server_refuses_credential"),
        (404, "server_refuses"),
        (422, "server_refuses"),
    ] {
        server.plan(json!([{ "type": "fail", "status": status, "message": format!("no to {SECRET}") }])).await;
        let ran = bench.ask(&format!("refused {status}"), json!({})).await;
        assert_eq!(ran.error["code"], code, "{}", ran.error);
        assert_eq!(server.judged().await, [status]);
    }

    // A completion that was lost is asked for again, and no half of one is taken for a whole.
    for status in [500, 502, 503, 504] {
        server.plan(json!([{ "type": "fail", "status": status }, reply])).await;
        let ran = bench.ask(&format!("failed {status}"), json!({})).await;
        assert_eq!(ran.outputs["text"], TIDES, "{}", ran.error);
        assert_eq!(server.judged().await, [status, 200]);
    }
    for kind in ["disconnect", "truncate", "malformed"] {
        server.plan(json!([{ "type": "stream_fault", "kind": kind, "after_chunks": 3 }, reply])).await;
        let ran = bench.ask(kind, json!({})).await;
        assert_eq!(ran.outputs["text"], TIDES, "{kind}: {}", ran.error);
        assert_eq!(server.judged().await, [200, 200], "{kind}");
    }
    server
        .plan(json!([{ "type": "stream_fault", "kind": "stall", "after_chunks": 3, "stall_seconds": 60 }, reply]))
        .await;
    let ran = bench.ask("stall", json!({ "timeoutMs": 1_500 })).await;
    assert_eq!(ran.outputs["text"], TIDES, "{}", ran.error);
    assert_eq!(server.judged().await, [200, 200]);
}
