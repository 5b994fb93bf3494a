//! What runs wait for, over REST and on the command line: each kind of waiting says itself in data and in a sentence. And the
//! watchdog finds a run that nothing would wake, in memory and on disk alone.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::process::command;
use cluster_tests::cluster::runs::text;
use cluster_tests::cluster::{AgentShape, Cluster, Part, Shape};
use cluster_tests::wait;
use heddle_test_postgres::Server;
use serde_json::{Value, json};
use tempfile::TempDir;

const RUN_TIME_MAX: Duration = Duration::from_secs(60);
/// The watchdog looks every ten seconds.
const WATCHDOG_TIME_MAX: Duration = Duration::from_secs(60);
/// What makes the coordinator forget the timers of nodes that wait.
const PLANTED: (&str, &str) = ("HEDDLE_PLANTED_FAULT", "TimerNotSet");

fn path(execution: &str) -> String {
    format!("/api/v1/workflows/executions/{execution}/explain")
}

async fn explain(cluster: &Cluster, execution: &str) -> Value {
    cluster.client().get_json(&path(execution)).await
}

/// The explanation, when it says this of these nodes: node and kind. A child is named by its parent before it is there.
async fn explained(cluster: &Cluster, execution: &str, wanted: &[(&str, &str)]) -> Value {
    wait::until("an explanation that names each node", RUN_TIME_MAX, || async {
        let answer = cluster.client().get(&path(execution)).await;
        if answer.status == 404 {
            return Err(answer.to_string());
        }
        assert!(answer.is_success(), "{answer}");
        let explained = answer.json();
        let kinds: BTreeMap<String, String> =
            nodes(&explained).map(|node| (text(&node["nodeId"]), text(&node["waitsFor"]["kind"]))).collect();
        let is_said = |(node, kind): &(&str, &str)| kinds.get(*node).is_some_and(|said| said == kind);
        if wanted.iter().all(is_said) { Ok(explained) } else { Err(format!("{kinds:?}")) }
    })
    .await
}

fn nodes(explained: &Value) -> impl Iterator<Item = &Value> {
    explained["nodes"].as_array().into_iter().flatten()
}

fn node<'a>(explained: &'a Value, id: &str) -> &'a Value {
    nodes(explained).find(|node| node["nodeId"] == id).unwrap_or(&Value::Null)
}

fn sentence(explained: &Value, id: &str) -> String {
    text(&node(explained, id)["sentence"])
}

/// A value that people are asked about.
fn asking() -> Graph {
    Graph::default()
        .node("in", "input:text", json!({ "text": "thread" }))
        .node("asked", "logic:review", json!({}))
        .edge("in.text", "asked.value")
}

/// A run that asks for it.
async fn asks(cluster: &Cluster) -> String {
    let workflow = cluster.client().save("asking", &asking()).await;
    let run = cluster.client().run(&workflow, "asking").await;
    explained(cluster, &run, &[("asked", "review")]).await;
    run
}

/// What the command line says of a run.
fn told(cluster: &mut Cluster, arguments: &[&str]) -> (bool, String) {
    let key = std::fs::read_to_string(cluster.folder().join("coordinator/key")).unwrap();
    let mut command = command();
    let output = command.args(arguments).env("HEDDLE_URL", cluster.origin(0)).env("HEDDLE_KEY", key.trim()).output();
    let output = output.unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Makes it so that a type of nodes was seen in a version, too.
fn seen_in_version(file: &std::path::Path, node_type: &str, version: u32) -> usize {
    let connection = rusqlite::Connection::open(file).unwrap();
    let sql = "SELECT manifest FROM node_type WHERE id = ?1";
    let manifest: Vec<u8> = connection.query_row(sql, [node_type], |row| row.get(0)).unwrap();
    let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
    manifest["version"] = version.into();
    let sql =
        "INSERT INTO node_type (digest, id, version, seen_at, manifest) VALUES (zeroblob(32), ?1, ?2, 1000000, ?3)";
    connection.execute(sql, rusqlite::params![node_type, version, manifest.to_string().into_bytes()]).unwrap()
}

fn on(labels: &str) -> Value {
    let (name, value) = labels.split_once('=').unwrap();
    json!({ "agent": { "labels": { name: value } } })
}

/// A policy with these keys, on agents with this label.
fn with(mut policy: Value, labels: &str) -> Value {
    policy["agent"] = on(labels)["agent"].clone();
    policy
}

fn gate(effect: &str) -> Value {
    json!({ "file": "done", "begun": "begun", "until": "gate", "effect": effect })
}

/// A run that waits for everything at once, on agents of which each has a label of its own.
fn everything() -> Graph {
    let keyed = || with(json!({ "concurrencyKey": "the one" }), "of=keyed");
    let retry = with(json!({ "retry": { "maxAttempts": 3, "initialMs": 60_000, "jitter": 0.0 } }), "of=keyed");
    Graph::default()
        .node("in", "input:text", json!({ "text": "thread" }))
        .node_with("busy", "debug:effect", gate("pure"), on("of=one"))
        .node_with("queued", "debug:echo", json!({}), on("of=one"))
        .edge("busy.out", "behind.in")
        .edge("in.text", "behind.in")
        .node("behind", "debug:echo", json!({}))
        .node_with("drained", "debug:echo", json!({ "value": 1 }), on("of=drained"))
        .node_with("labelled", "debug:echo", json!({ "value": 1 }), on("of=nobody"))
        .node_with("placed", "debug:effect", gate("pure"), keyed())
        .node_with("placeless", "debug:echo", json!({}), keyed())
        .edge("held.out", "placeless.in")
        .node_with("held", "debug:echo", json!({ "value": 1 }), on("of=keyed"))
        .node_with("again", "debug:fail", json!({ "times": 2 }), retry)
        .node("timer", "logic:wait", json!({ "forMs": 3_600_000 }))
        .edge("in.text", "timer.value")
        .node("asked", "logic:review", json!({ "assignees": ["ann", "bea"] }))
        .edge("in.text", "asked.value")
        .node_with("unknown", "debug:effect", gate("blind"), with(json!({ "onUnknown": "park" }), "of=blind"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_waiting_says_itself() {
    let agent = |slots, labels| AgentShape { slots, labels };
    let agents = vec![agent(1, "of=one"), agent(4, "of=keyed"), agent(1, "of=drained"), agent(1, "of=blind")];
    let mut cluster = Cluster::of(Shape { gateways: 1, agents }).await;
    let drained = cluster.agent_id(Part::Agent(2));
    let answer = cluster.client().post(&format!("/api/v1/agents/{drained}/drain"), &json!({}), "drain").await;
    assert!(answer.is_success(), "{answer}");
    let graph = everything();
    let workflow = cluster.client().save("everything", &graph).await;
    let run = cluster.client().run(&workflow, "everything").await;
    explained(&cluster, &run, &[("busy", "attempt"), ("unknown", "attempt"), ("placed", "attempt")]).await;
    // What is at one agent's only slot keeps others waiting, and who dies beside a blind effect leaves a question.
    wait::until("the effect that nobody will know of", RUN_TIME_MAX, || async {
        let begun = cluster.effects("begun").iter().any(|line| line.contains(" unknown "));
        if begun { Ok(()) } else { Err("it has not begun".to_owned()) }
    })
    .await;
    cluster.restart(Part::Agent(3));
    wait::until("the agent that came back", RUN_TIME_MAX, || async {
        let agents = node(&explain(&cluster, &run).await, "labelled")["waitsFor"]["need"]["agents"].as_u64();
        if agents == Some(4) { Ok(()) } else { Err(format!("{agents:?} agents")) }
    })
    .await;
    let waiting = [
        ("busy", "attempt"),
        ("behind", "inputs"),
        ("drained", "agent"),
        ("labelled", "agent"),
        ("placed", "attempt"),
        ("placeless", "concurrency"),
        ("again", "retry"),
        ("timer", "timer"),
        ("asked", "review"),
        ("unknown", "outcome"),
    ];
    let said = explained(&cluster, &run, &waiting).await;

    let one = cluster.agent_id(Part::Agent(0));
    assert_eq!(sentence(&said, "busy"), format!("\"busy\" is at work on agent {one}, attempt 1."));
    assert_eq!(node(&said, "busy")["waitsFor"]["agentId"], one.as_str());
    assert_eq!(sentence(&said, "behind"), "\"behind\" waits for what \"busy\" will give.");
    assert_eq!(node(&said, "behind")["waitsFor"]["nodeIds"], json!(["busy"]));
    // Four agents run the type: one would do and is drained, three lack the label.
    let why = "4 agents run debug:echo, 1 is drained, 3 lack the label of=drained";
    let expected = format!("\"drained\" needs an agent that runs debug:echo with of=drained: {why}.");
    assert_eq!(sentence(&said, "drained"), expected);
    let need = &node(&said, "drained")["waitsFor"]["need"];
    assert_eq!((&need["agents"], &need["fit"], &need["nodeType"]), (&json!(4), &json!(0), &json!("debug:echo")));
    assert_eq!(need["unfit"][0], json!({ "agentId": drained, "lacks": "drained" }), "who lacks the least is first");
    assert_eq!(need["labels"], json!({ "of": "drained" }));
    assert!(sentence(&said, "labelled").ends_with("4 agents run debug:echo, all lack the label of=nobody."));
    let place = "\"placeless\" waits for a place of the concurrency key \"the one\": 1 of 1 are taken.";
    assert_eq!(sentence(&said, "placeless"), place);
    let concurrency = json!({ "key": "the one", "limit": 1, "taken": 1 });
    assert_eq!(node(&said, "placeless")["waitsFor"]["need"]["concurrency"], concurrency);
    let again = &node(&said, "again")["waitsFor"];
    assert_eq!((&again["failed"], &again["attemptsMax"]), (&json!(1), &json!(3)), "{again}");
    assert_eq!(again["error"]["code"], "debug_fail");
    assert!(sentence(&said, "again").contains(": 1 of 3 tries failed (debug_fail: debug:fail was asked to fail"));
    assert!(sentence(&said, "timer").starts_with("\"timer\" waits until its time comes, in "));
    let asked = &node(&said, "asked")["waitsFor"];
    assert_eq!(asked["assignees"], json!(["ann", "bea"]), "{asked}");
    let review =
        format!("\"asked\" waits for ann or bea to review what came to it (review {}).", text(&asked["reviewId"]));
    assert_eq!(sentence(&said, "asked"), review);
    assert!(sentence(&said, "unknown").contains("nobody knows whether it acted"), "{}", sentence(&said, "unknown"));
    assert_eq!((&said["status"], &said["orphaned"]), (&json!("RUNNING"), &json!(false)), "{said}");
    for node in nodes(&said) {
        assert!(node["since"].is_string(), "since when: {node}");
    }
    slots(&cluster, &run).await;

    // The run says the same of what lies outside of it.
    let shown = cluster.client().execution(&run).await;
    // What is behind an agent's only slot may be sent ahead, and comes back after a moment.
    for waits in shown["waitingOn"].as_array().unwrap().iter().filter(|waits| waits["nodeId"] != "queued") {
        let explained = node(&said, waits["nodeId"].as_str().unwrap());
        let kind = &explained["waitsFor"]["kind"];
        let is_same = *kind == waits["kind"] && explained["since"] == waits["since"];
        assert!(is_same || explained.is_null(), "{waits} is {explained}");
    }
    let outside = ["drained", "labelled", "placeless", "again", "timer", "asked", "unknown"];
    let named: Vec<String> = shown["waitingOn"].as_array().unwrap().iter().map(|it| text(&it["nodeId"])).collect();
    assert!(outside.iter().all(|node| named.iter().any(|named| named == node)), "{named:?}");

    let (is_fine, printed) = told(&mut cluster, &["executions", "explain", &run]);
    assert!(is_fine && printed.contains("WAITS FOR") && printed.contains(place), "{printed}");
    let (_, as_json) = told(&mut cluster, &["executions", "explain", &run, "--json"]);
    let as_json: Value = serde_json::from_str(&as_json).unwrap();
    assert_eq!((&as_json["executionId"], &as_json["kinds"]["timer"]), (&json!(run), &json!(1)), "{as_json}");

    let cancelled = cluster.client().post(&format!("/api/v1/workflows/executions/{run}/cancel"), &json!({}), "c").await;
    assert!(cancelled.is_success(), "{cancelled}");
    let ended = explain(&cluster, &run).await;
    assert_eq!((&ended["status"], &ended["nodes"]), (&json!("CANCELLED"), &json!([])), "{ended}");
    assert!(text(&ended["headline"]).starts_with("The run was cancelled"), "{ended}");

    // The command line prints all that REST says, once.
    for (verb, path) in [("get", ""), ("explain", "/explain")] {
        let (_, printed) = told(&mut cluster, &["executions", verb, &run, "--json"]);
        let mut printed: Value = serde_json::from_str(&printed).unwrap();
        let mut said = cluster.client().get_json(&format!("/api/v1/workflows/executions/{run}{path}")).await;
        for side in [&mut printed, &mut said] {
            side.as_object_mut().unwrap().retain(|key, _| key != "data" && key != "at");
        }
        assert_eq!(printed, said, "{verb}");
    }
}

/// A node that waits for the slot that another has says how many are busy, and a run of another graph that waits with it.
async fn slots(cluster: &Cluster, first: &str) {
    let queued = Graph::default()
        .node("in", "input:text", json!({ "text": "thread" }))
        .node_with("queued", "debug:echo", json!({}), on("of=one"))
        .edge("in.text", "queued.in");
    let workflow = cluster.client().save("queued", &queued).await;
    let run = cluster.client().run(&workflow, "queued").await;
    let said = wait::until("two nodes in one line", RUN_TIME_MAX, || async {
        let said = explain(cluster, &run).await;
        let need = &node(&said, "queued")["waitsFor"]["need"];
        if need["waiting"].as_u64() >= Some(2) { Ok(said) } else { Err(said.to_string()) }
    })
    .await;
    let need = &node(&said, "queued")["waitsFor"]["need"];
    assert_eq!((&need["fit"], &need["slots"], &need["busy"]), (&json!(1), &json!(1), &json!(1)), "{said}");
    let sentence = sentence(&said, "queued");
    let begin = "\"queued\" waits for a slot: all 1 on 1 agent that could run it are busy, and up to ";
    assert!(sentence.starts_with(begin), "{sentence}");
    assert_eq!(node(&explain(cluster, first).await, "queued")["waitsFor"]["kind"], "slot");
}

async fn change(cluster: &Cluster, path: &str, body: Value) -> Value {
    let answer = cluster.client().post(&format!("/api/v1{path}"), &body, path).await;
    assert!(answer.is_success(), "{answer}");
    answer.json()
}

/// A run whose node asks people, and one that invokes it.
async fn invoking(cluster: &Cluster, name: &str, graph: Graph) -> String {
    let child = cluster.client().save(&format!("{name} child"), &asking()).await;
    let workflow =
        cluster.client().save(name, &graph.node("child", "blueprint:invoke", json!({ "workflowId": child }))).await;
    cluster.client().run(&workflow, name).await
}

/// What a run says of itself that one of its nodes waits for.
fn waiting_on<'a>(run: &'a Value, id: &str) -> &'a Value {
    let mut all = run["waitingOn"].as_array().into_iter().flatten();
    all.find(|waiting| waiting["nodeId"] == id).unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_from_outside_of_the_cluster_says_itself() {
    let mut cluster = Cluster::start(1, 2).await;
    let paused = change(&cluster, "/nodes/debug:echo/pause", json!({ "reason": "too dear" })).await;
    let by = text(&paused["paused"]["by"]);
    let graph = Graph::default()
        .node("told", "logic:signal", json!({ "name": "go", "timeoutMs": 3_600_000 }))
        .node("called", "logic:wait_webhook", json!({}))
        .node("held", "debug:echo", json!({ "value": 1 }));
    let run = invoking(&cluster, "outside", graph).await;
    let kinds = [("told", "signal"), ("called", "webhook"), ("child", "child"), ("held", "paused")];
    let said = explained(&cluster, &run, &kinds).await;
    let shown = cluster.client().execution(&run).await;
    for (id, kind) in kinds {
        assert_eq!(
            (&waiting_on(&shown, id)["kind"], &said["kinds"][kind]),
            (&json!(kind), &json!(1)),
            "{said} {shown}"
        );
        let since = &node(&said, id)["since"];
        assert!(since.is_string() && waiting_on(&shown, id)["since"] == *since, "since when: {said} {shown}");
    }

    let (told_by, waits) = (node(&said, "told"), waiting_on(&shown, "told"));
    assert_eq!((&told_by["waitsFor"]["signal"], &waits["signal"]), (&json!("go"), &json!("go")), "{said} {shown}");
    assert!(
        told_by["waitsFor"]["dueAt"].is_string() && told_by["waitsFor"]["dueAt"] == waits["dueAt"],
        "{said} {shown}"
    );
    let begin = "\"told\" waits for the signal \"go\" (heddle executions signal); its time is over in ";
    assert!(sentence(&said, "told").starts_with(begin), "{said}");

    let called = "\"called\" waits until its address is called.";
    assert_eq!(sentence(&said, "called"), called);
    assert_eq!(node(&said, "called")["waitsFor"], json!({ "kind": "webhook" }), "its address is a secret of the run's");
    assert!(text(&waiting_on(&shown, "called")["url"]).contains("/api/v1/hooks/"), "{shown}");

    let child = text(&waiting_on(&shown, "child")["childExecutionId"]);
    assert_eq!(node(&said, "child")["waitsFor"], json!({ "kind": "child", "childExecutionId": child }), "{said}");
    let invoked = format!("\"child\" waits for the run that it has invoked (heddle executions explain {child}).");
    assert_eq!(sentence(&said, "child"), invoked);
    explained(&cluster, &child, &[("asked", "review")]).await;

    let of_type = json!({ "nodeType": "debug:echo", "by": by, "reason": "too dear" });
    assert_eq!(node(&said, "held")["waitsFor"], json!({ "kind": "paused", "paused": of_type }), "{said}");
    assert_eq!(waiting_on(&shown, "held")["need"], format!("debug:echo is paused by {by}: too dear"), "{shown}");
    let held = format!("waits until debug:echo goes on, which was paused by {by}: too dear (heddle nodes unpause).");
    assert_eq!(sentence(&said, "held"), format!("\"held\" {held}"));

    let headline = "The run goes on: 1 node waits for another run, 1 node waits until its type goes on, 1 node waits for a \
                    signal, 1 node waits until its address is called.";
    assert_eq!(said["headline"], headline);
    let (is_fine, printed) = told(&mut cluster, &["executions", "explain", &run]);
    let all_said = [headline, begin, called, &invoked, &held].iter().all(|words| printed.contains(words));
    assert!(is_fine && all_said, "{printed}");

    // And of a run that is paused as a whole, whatever its nodes wait for.
    change(&cluster, &format!("/workflows/executions/{run}/pause"), json!({ "reason": "look first" })).await;
    let said = explain(&cluster, &run).await;
    let headline = format!(
        "The run is paused by {by}: look first. Nothing of it begins until it goes on (heddle executions unpause)."
    );
    assert_eq!((&said["headline"], &said["orphaned"]), (&json!(headline), &json!(false)), "{said}");
    assert_eq!(sentence(&said, "called"), called, "its nodes say what they wait for besides");
    let shown = cluster.client().execution(&run).await;
    let whole = &shown["waitingOn"][0];
    assert_eq!(
        (&whole["kind"], &whole["need"]),
        (&json!("paused"), &json!(format!("paused by {by}: look first"))),
        "{shown}"
    );
    let (is_fine, printed) = told(&mut cluster, &["executions", "explain", &run]);
    assert!(is_fine && printed.contains(&headline), "{printed}");
}

/// A node that was checked against a newer version of its type than any agent has.
#[tokio::test(flavor = "multi_thread")]
async fn agents_that_are_too_old_are_said_to_be() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("heddle.db");
    let mut cluster = Cluster::on(Shape::new(1, 1, 1), &format!("sqlite:{}", file.display())).await;
    cluster.kill(Part::Coordinator);
    let seen = seen_in_version(&file, "debug:echo", 7);
    assert_eq!(seen, 1, "the manifest of an agent that has gone");
    cluster.start_part(Part::Coordinator, None);
    cluster.serves().await;
    let workflow =
        cluster.client().save("newer", &Graph::default().node("n", "debug:echo", json!({ "value": 1 }))).await;
    let run = cluster.client().run(&workflow, "newer").await;
    explained(&cluster, &run, &[("n", "agent")]).await;
    let why = "\"n\" needs an agent that runs debug:echo in version 7 or newer: 1 agent runs debug:echo, it is older.";
    let said = wait::until("the agent to be there", RUN_TIME_MAX, || async {
        let said = explain(&cluster, &run).await;
        if sentence(&said, "n") == why { Ok(said) } else { Err(said.to_string()) }
    })
    .await;
    let need = &node(&said, "n")["waitsFor"]["need"];
    let lacks = json!([{ "agentId": cluster.agent_id(Part::Agent(0)), "lacks": "version", "detail": "1" }]);
    assert_eq!((&need["version"], &need["fit"], &need["unfit"]), (&json!(7), &json!(0), &lacks), "{said}");
    let shown = cluster.client().execution(&run).await;
    assert_eq!(waiting_on(&shown, "n")["need"], "an agent that runs debug:echo in version 7 or newer", "{shown}");
    let (is_fine, printed) = told(&mut cluster, &["executions", "explain", &run]);
    assert!(is_fine && printed.contains(why), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_run_says_how_and_what_to_do() {
    let mut cluster = Cluster::start(1, 2).await;
    let client = cluster.client();
    let failing = Graph::default().node_with(
        "boom",
        "debug:fail",
        json!({ "times": 9 }),
        json!({ "retry": { "maxAttempts": 2, "initialMs": 1 } }),
    );
    let workflow = client.save("failing", &failing).await;
    let run = client.run(&workflow, "failing").await;
    client.ended(&run, RUN_TIME_MAX).await;
    let said = explain(&cluster, &run).await;
    let begin = "The run failed at \"boom\" after 2 attempts with debug_fail: debug:fail was asked to fail 9 times";
    assert!(text(&said["headline"]).starts_with(begin), "{said}");
    let ending = &said["ending"];
    assert_eq!((&ending["nodeId"], &ending["attempts"]), (&json!("boom"), &json!(2)), "{said}");
    assert_eq!((&ending["code"], &ending["class"]), (&json!("debug_fail"), &json!("retryable")), "{said}");
    assert_eq!(ending["next"], "Resume the run: what is done is not done again.");
    assert_eq!(node(&said, "boom")["state"], "FAILED");
    let (is_fine, printed) = told(&mut cluster, &["executions", "explain", &run]);
    let next = format!("next: Resume the run: what is done is not done again. (heddle executions resume {run})");
    assert!(is_fine && printed.contains(&next), "{printed}");

    let client = cluster.client();
    let fine = client.save("fine", &Graph::default().node("n", "debug:noop", json!({}))).await;
    let run = client.run(&fine, "fine").await;
    client.ended(&run, RUN_TIME_MAX).await;
    let said = explain(&cluster, &run).await;
    assert_eq!((&said["headline"], &said["nodes"]), (&json!("The run has completed."), &json!([])), "{said}");
    let nobody = "/api/v1/workflows/executions/exec_00000000000000000000000000/explain";
    let unknown = client.get(nobody).await;
    assert!(!unknown.is_success(), "{unknown}");
}

/// Waits until the watchdog has found one run, and holds that all say so who should.
async fn found(cluster: &mut Cluster, run: &str, lost: &str) {
    wait::until("the watchdog's finding", WATCHDOG_TIME_MAX, || async {
        let orphans = cluster.counter("orphanedRuns").await;
        if orphans == 1 { Ok(()) } else { Err(format!("{orphans} orphans")) }
    })
    .await;
    let said = explain(cluster, run).await;
    assert_eq!(said["orphaned"], true, "{said}");
    let headline = text(&said["headline"]);
    assert!(headline.starts_with("The run is stuck: ") && headline.contains(lost), "{headline}");
    let log = cluster.process(Part::Coordinator).said();
    let line = log.lines().find(|line| line.contains("nothing would wake a run")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("ERROR") && line.contains(run) && line.contains(lost), "{line}");
    let (is_fine, printed) = told(cluster, &["doctor"]);
    assert!(!is_fine && printed.contains("1 is stuck"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_finds_what_nothing_would_wake_in_memory() {
    let variables = vec![(PLANTED.0.to_owned(), PLANTED.1.to_owned())];
    let mut cluster = Cluster::start_with(1, 1, variables).await;
    let waiting = Graph::default()
        .node("in", "input:text", json!({ "text": "thread" }))
        .node("timer", "logic:wait", json!({ "forMs": 1 }))
        .edge("in.text", "timer.value");
    let workflow = cluster.client().save("waiting", &waiting).await;
    let run = cluster.client().run(&workflow, "waiting").await;
    found(&mut cluster, &run, "nothing would wake the node \"timer\"").await;
    let said = explain(&cluster, &run).await;
    assert_eq!(node(&said, "timer")["waitsFor"]["kind"], "nothing", "{said}");
    // As it is told to: whoever cancels the run has it off the list.
    let path = format!("/api/v1/workflows/executions/{run}/cancel");
    assert!(cluster.client().post(&path, &json!({}), "cancel").await.is_success());
    wait::until("no orphan any more", WATCHDOG_TIME_MAX, || async {
        let orphans = cluster.counter("orphanedRuns").await;
        if orphans == 0 { Ok(()) } else { Err(format!("{orphans} orphans")) }
    })
    .await;
}

/// A run that waits for people on disk alone, and whose review's row is lost.
async fn lost_on_disk(database: &str, lose: impl FnOnce()) {
    let mut cluster = Cluster::on(Shape::new(1, 1, 1), database).await;
    let run = asks(&cluster).await;
    cluster.kill(Part::Coordinator);
    lose();
    cluster.start_part(Part::Coordinator, None);
    cluster.serves().await;
    let said = explained(&cluster, &run, &[("asked", "review")]).await;
    assert_eq!(said["orphaned"], false, "nobody has looked: {said}");
    found(&mut cluster, &run, "it waits on disk").await;
}

const LOSE: &str = "DELETE FROM review";

/// Changes rows of a database, of which a coordinator that is there may know nothing.
fn alter(file: &std::path::Path, sql: &str, run: &str) -> usize {
    let run: heddle_core::id::RunId = run.parse().unwrap();
    let connection = rusqlite::Connection::open(file).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    connection.execute(sql, [run.to_bytes()]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_finds_a_run_that_is_at_work_in_nobodys_memory() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("heddle.db");
    let mut cluster = Cluster::on(Shape::new(1, 1, 1), &format!("sqlite:{}", file.display())).await;
    let run = asks(&cluster).await;
    // What waits for people is loaded by nobody.
    cluster.kill(Part::Coordinator);
    cluster.start_part(Part::Coordinator, None);
    cluster.serves().await;
    assert_eq!(alter(&file, "UPDATE run SET phase = 1 WHERE id = ?1", &run), 1);
    found(&mut cluster, &run, "its row says that it is at work, and it is in nobody's memory").await;
}

/// The engine needs no more than the heads of events; a person who asks for the bodies is not told to try again.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_history_is_damaged_says_so() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("heddle.db");
    let mut cluster = Cluster::on(Shape::new(1, 1, 1), &format!("sqlite:{}", file.display())).await;
    let run = asks(&cluster).await;
    cluster.kill(Part::Coordinator);
    assert_eq!(alter(&file, "UPDATE event SET crc = crc + 1 WHERE run = ?1 AND seq = 1", &run), 1);
    cluster.start_part(Part::Coordinator, None);
    cluster.serves().await;
    for path in ["", "/poll", "/nodes/asked"] {
        let answer = cluster.client().get(&format!("/api/v1/workflows/executions/{run}{path}")).await;
        assert_eq!((answer.status, &answer.json()["code"]), (500, &json!("history_corrupt")), "{path}: {answer}");
    }
}

/// Its end never comes, so whoever waits for it is told, and what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_cannot_be_read_is_said_and_found() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("heddle.db");
    let mut cluster = Cluster::on(Shape::new(1, 1, 1), &format!("sqlite:{}", file.display())).await;
    let run = invoking(&cluster, "invoking", Graph::default()).await;
    let said = explained(&cluster, &run, &[("child", "child")]).await;
    let child = text(&node(&said, "child")["waitsFor"]["childExecutionId"]);
    explained(&cluster, &child, &[("asked", "review")]).await;
    cluster.kill(Part::Coordinator);
    assert!(alter(&file, "UPDATE event SET crc = ~crc WHERE run = ?1", &child) > 0);
    assert_eq!(alter(&file, "UPDATE run SET phase = 1 WHERE id = ?1", &child), 1);
    cluster.start_part(Part::Coordinator, None);
    cluster.serves().await;
    let said = explained(&cluster, &run, &[("child", "child")]).await;
    let unreadable = json!({ "kind": "child", "childExecutionId": child, "childUnreadable": true });
    assert_eq!(node(&said, "child")["waitsFor"], unreadable, "{said}");
    let why = format!(
        "\"child\" waits for {child}, which it has invoked, and which was set aside because it cannot be read: this node fails \
         within a minute. Resume the run then: it invokes another, and what is done is not done again."
    );
    assert_eq!(sentence(&said, "child"), why);
    let (is_fine, printed) = told(&mut cluster, &["executions", "explain", &run]);
    assert!(is_fine && printed.contains(&why), "{printed}");
    // It is as it was said.
    let over = cluster.client().ended(&run, WATCHDOG_TIME_MAX).await;
    let message = text(&over["error"]["message"]);
    assert!(over["error"]["code"] == "child_failed" && message.contains(&format!("{child} was set aside")), "{over}");
    let again = change(&cluster, &format!("/workflows/executions/{run}/resume"), json!({})).await;
    let again = text(&again["executionId"]);
    let said = explained(&cluster, &again, &[("child", "child")]).await;
    let another = text(&node(&said, "child")["waitsFor"]["childExecutionId"]);
    assert!(another != child && node(&said, "child")["waitsFor"].get("childUnreadable").is_none(), "{said}");
    explained(&cluster, &another, &[("asked", "review")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_finds_what_nothing_would_wake_on_sqlite() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("heddle.db");
    let lose = || assert_eq!(rusqlite::Connection::open(&file).unwrap().execute(LOSE, []).unwrap(), 1);
    lost_on_disk(&format!("sqlite:{}", file.display()), lose).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_finds_what_nothing_would_wake_on_postgres() {
    let Some(server) = Server::start() else { return };
    let database = server.database();
    lost_on_disk(&database, || drop(server.query(&database, LOSE))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_nobody_knows_is_not_planted() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let database = format!("sqlite:{}", folder.path().join("heddle.db").display());
    let mut command = command();
    command.args(["coordinator", "--listen", "127.0.0.1:0", "--database", &database, "--data-dir"]).arg(data.path());
    let output = command.env(PLANTED.0, "NoSuchFault").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("there is no fault \"NoSuchFault\""), "{said}");
}
