//! Traces against real processes: one trace from the request to the attempts, with the right parents, at a collector that
//! refuses the first export of each service; and the same, without any collector, from the history.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use cluster_tests::cluster::client::send;
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::runs::text;
use cluster_tests::cluster::{Cluster, Part, heddle};
use cluster_tests::collector::{Collector, Received, strangers};
use cluster_tests::wait;
use reqwest::Method;
use serde_json::{Value, json};

/// Nodes that wait for each other's neighbours on one slot each: both agents get some.
const NODES: usize = 6;
const RUN_TIME_MAX: Duration = Duration::from_secs(30);
const TOLD_MAX: Duration = Duration::from_secs(30);
const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn wide() -> Graph {
    let graph = Graph::default().node("input", "input:text", json!({ "text": "thread" }));
    (0..NODES).fold(graph, |graph, number| {
        let id = format!("n{number}");
        let config = json!({ "file": "telemetry", "ms": 50 });
        graph.node(&id, "debug:effect", config).edge("input.text", &format!("{id}.in"))
    })
}

/// Runs the graph under the caller's trace. Gives the run's id and the traceparent of the answer.
async fn run(cluster: &Cluster, caller: Option<&str>) -> (String, String) {
    let workflow = cluster.client().save("wide", &wide()).await;
    let request = cluster.client().request(Method::POST, &format!("/api/v1/workflows/{workflow}/execute"));
    let request = caller.into_iter().fold(request, |request, caller| request.header("traceparent", caller));
    let answer = send(request.json(&json!({}))).await.unwrap();
    assert_eq!(answer.status, 201, "{answer}");
    let traceparent = answer.headers["traceparent"].to_str().unwrap().to_owned();
    let run = text(&answer.json()["executionId"]);
    let ended = cluster.client().ended(&run, RUN_TIME_MAX).await;
    assert_eq!(ended["status"], "COMPLETED", "{}", ended["error"]);
    (run, traceparent)
}

async fn trace_of(cluster: &Cluster, run: &str) -> Value {
    cluster.client().get_json(&format!("/api/v1/workflows/executions/{run}/trace")).await
}

fn named<'a>(spans: &'a [Received], service: &str, start: &str) -> Vec<&'a Received> {
    spans.iter().filter(|span| span.service == service && span.name.starts_with(start)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_goes_from_the_request_to_the_attempts() {
    let (collector, address) = Collector::start().await;
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), format!("http://{address}"));
    let mut cluster = Cluster::start_with(2, 1, vec![endpoint]).await;
    let (execution, answered) = run(&cluster, Some(CALLER)).await;
    assert_eq!(&answered[3..35], TRACE);

    // The input, each node and each attempt, the run, and the request that began it.
    let spans = wait::until("all spans of the run", TOLD_MAX, || async {
        let all = collector.spans().into_iter().filter(|span| span.trace == TRACE);
        let spans: Vec<Received> = all.collect();
        if spans.len() >= 2 * NODES + 3 { Ok(spans) } else { Err(format!("{} spans", spans.len())) }
    })
    .await;
    assert_eq!(spans.len(), 2 * NODES + 3, "no span is told twice: {spans:#?}");
    let refused: BTreeSet<String> = collector.refused().into_iter().collect();
    let services = ["heddle-agent", "heddle-coordinator", "heddle-gateway"].map(str::to_owned);
    assert_eq!(refused, BTreeSet::from(services), "each service was refused once, and tried again");

    let [request] = named(&spans, "heddle-gateway", "POST /api/v1/workflows/{id}/execute")[..] else {
        panic!("{spans:#?}")
    };
    assert_eq!(request.parent, "00f067aa0ba902b7", "the caller's span");
    assert_eq!(request.id, answered[36..52], "the answer names it");
    let [of_run] = named(&spans, "heddle-coordinator", "heddle.run")[..] else { panic!("{spans:#?}") };
    assert_eq!(of_run.parent, request.id);
    assert_eq!(of_run.attribute("heddle.execution.id"), execution);
    let attempts = named(&spans, "heddle-agent", "attempt ");
    assert_eq!(attempts.len(), NODES);
    assert_eq!(strangers(&spans), Vec::<String>::new());

    // The history says the same, and so does the text.
    let told = trace_of(&cluster, &execution).await;
    assert_eq!((&told["traceId"], &told["spanId"]), (&json!(TRACE), &json!(of_run.id)));
    let attempt_of = |id: &Value| attempts.iter().find(|attempt| *id == attempt.id.as_str()).unwrap();
    let listed: Vec<&Value> =
        told["nodes"].as_array().unwrap().iter().flat_map(|node| node["attempts"].as_array().unwrap()).collect();
    // What waited too long in an agent went back unbegun: it has no span.
    let listed: Vec<&Value> = listed.into_iter().filter(|attempt| attempt["outcome"] != "HANDED_BACK").collect();
    assert_eq!(listed.len(), NODES);
    for attempt in listed {
        assert_eq!(attempt["agentId"], attempt_of(&attempt["spanId"]).attribute("heddle.agent.id"));
    }
    let shown = waterfall(&mut cluster, &execution);
    for number in 0..2 {
        assert!(shown.contains(&format!("agent {}", cluster.agent_id(Part::Agent(number)))), "{shown}");
    }
    println!("{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_a_caller_has_a_trace_of_its_own_and_needs_no_collector() {
    let cluster = Cluster::start(1, 2).await;
    let (execution, answered) = run(&cluster, Some("00-nonsense")).await;
    let told = trace_of(&cluster, &execution).await;
    assert_eq!(told["traceId"], answered[3..35], "the answer names the run's own trace");
    assert_eq!((&told["parentSpanId"], &told["status"]), (&Value::Null, &json!("COMPLETED")));
    let otlp = format!("/api/v1/workflows/executions/{execution}/trace?format=otlp&nodesLimit=3");
    let otlp = cluster.client().get_json(&otlp).await;
    let spans = otlp["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone();
    assert!(spans.iter().all(|span| span["traceId"] == told["traceId"]), "{otlp}");
    assert_eq!(spans[0]["spanId"], told["spanId"]);
    let nodes = spans.iter().filter(|span| text(&span["name"]).starts_with("node ")).count();
    assert_eq!((nodes, &told["nodesTotal"]), (3, &json!(NODES + 1)), "one page of the nodes");
}

fn waterfall(cluster: &mut Cluster, execution: &str) -> String {
    let key = std::fs::read_to_string(cluster.folder().join("coordinator").join("key")).unwrap();
    let origin = cluster.origin(0);
    let mut command = Command::new(heddle());
    command.args(["executions", "trace", execution]).env("HEDDLE_URL", origin).env("HEDDLE_KEY", key.trim());
    let output = command.env("COLUMNS", "100").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
