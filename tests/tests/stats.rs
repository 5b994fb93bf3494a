//! Figures of runs and alerts, over REST against real processes: what is told is what one reckons by hand from the runs
//! themselves, and what is bad opens one incident, whoever dies meanwhile.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use cluster_tests::cluster::client::{Answer, Client, send};
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::random::{Random, seed};
use cluster_tests::cluster::runs::text;
use cluster_tests::cluster::{Cluster, Part};
use cluster_tests::wait;
use reqwest::Method;
use serde_json::{Value, json};

/// How long a run, or an alert, may take to come about.
const DEADLINE: Duration = Duration::from_secs(90);
/// Runs that are drawn.
const RUNS: usize = 200;
/// Of them so many are stopped.
const CANCELLED: usize = 12;
/// And so many go on.
const RUNNING: usize = 3;

fn completes(ms: usize) -> Graph {
    let graph = Graph::default().node("topic", "input:text", json!({ "text": "tides" }));
    graph.node("work", "debug:sleep", json!({ "ms": ms })).edge("topic.text", "work.in")
}

fn fails(class: &str) -> Graph {
    let graph = Graph::default().node("topic", "input:text", json!({ "text": "tides" }));
    let policy = json!({ "retry": { "maxAttempts": 1 } });
    graph.node_with("work", "debug:fail", json!({ "times": 9, "class": class }), policy).edge("topic.text", "work.in")
}

fn stops() -> Graph {
    let graph = Graph::default().node("topic", "input:text", json!({ "text": "tides" }));
    let config = json!({ "status": "failed", "message": "enough" });
    graph.node("end", "logic:stop", config).edge("topic.text", "end.value")
}

/// Never over by itself.
fn waits() -> Graph {
    let graph = Graph::default().node("topic", "input:text", json!({ "text": "tides" }));
    let nowhere = json!({ "agent": { "labels": { "nobody": "has-it" } } });
    graph.node_with("work", "debug:noop", json!({}), nowhere).edge("topic.text", "work.in")
}

async fn ask(client: &Client, method: Method, path: &str, body: &Value) -> Answer {
    send(client.request(method, path).json(body)).await.unwrap()
}

/// Saves another graph under a workflow.
async fn change(client: &Client, workflow: &str, graph: &Graph) {
    let answer = ask(client, Method::PUT, &format!("/api/v1/workflows/{workflow}"), &graph.named("drawn")).await;
    assert!(answer.is_success(), "{answer}");
}

/// Runs a workflow so many times, and waits until all are over.
async fn run_many(client: &Client, workflow: &str, name: &str, count: usize) -> Vec<String> {
    let starts = (0..count).map(|number| {
        let key = format!("{workflow} {name} {number}");
        async move { client.run(workflow, &key).await }
    });
    let runs = futures::future::join_all(starts).await;
    for run in &runs {
        client.ended(run, DEADLINE).await;
    }
    runs
}

/// All runs of a workflow, or of all, as lists show them.
async fn listed(client: &Client, workflow: Option<&str>) -> Vec<Value> {
    let mut path = match workflow {
        Some(id) => format!("/api/v1/workflows/executions?workflowId={id}&limit=200"),
        None => "/api/v1/workflows/executions?limit=200".to_owned(),
    };
    let mut runs = Vec::new();
    loop {
        let page = client.get(&path).await;
        assert!(page.is_success(), "{page}");
        runs.extend(page.json().as_array().unwrap().clone());
        let link = page.headers.get("link").and_then(|link| link.to_str().ok());
        match link.and_then(|link| link.strip_prefix('<')?.split_once('>')) {
            Some((next, _)) => path = next.to_owned(),
            None => return runs,
        }
    }
}

/// The end of a run; times of one form sort as their texts do.
fn end(run: &Value) -> Option<String> {
    run["endTime"].as_str().map(str::to_owned)
}

fn millis(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// What the answer must say of the runs that ended from `from` up to `to`, in the plainest way.
fn reckoned(runs: &[Value], from: &str, to: &str) -> Value {
    let ended: Vec<&Value> =
        runs.iter().filter(|run| end(run).is_some_and(|end| end.as_str() >= from && end.as_str() < to)).collect();
    let of = |status: &str| ended.iter().filter(|run| run["status"] == status).count();
    let (completed, failed, cancelled) = (of("COMPLETED"), of("FAILED"), of("CANCELLED"));
    let took = |run: &Value| millis(&end(run).unwrap()) - millis(&text(&run["startTime"]));
    let mut durations: Vec<i64> =
        ended.iter().filter(|run| run["status"] != "CANCELLED").map(|run| took(run)).collect();
    durations.sort_unstable();
    let percentile = |percent: usize| durations[(durations.len() * percent).div_ceil(100).max(1) - 1];
    let duration = match durations.last() {
        Some(max) => json!({ "p50": percentile(50), "p95": percentile(95), "max": max }),
        None => Value::Null,
    };
    // By code and class: the end and the id of each run.
    type Group = (String, Option<String>);
    let mut errors: BTreeMap<Group, Vec<(String, String)>> = BTreeMap::new();
    for run in ended.iter().filter(|run| run["status"] == "FAILED") {
        let class = run["error"]["class"].as_str().map(str::to_owned);
        errors.entry((text(&run["error"]["code"]), class)).or_default().push((end(run).unwrap(), text(&run["id"])));
    }
    let errors = errors.into_iter().map(|((code, class), runs)| {
        let last = runs.iter().max().unwrap();
        json!({ "code": code, "class": class, "count": runs.len(), "lastAt": last.0, "exampleExecutionId": last.1 })
    });
    let mut errors: Vec<Value> = errors.collect();
    errors.sort_by_key(ToString::to_string);
    let rate = (completed + failed > 0).then(|| completed as f64 / (completed + failed) as f64);
    json!({
        "runs": { "total": ended.len(), "completed": completed, "failed": failed, "cancelled": cancelled },
        "running": runs.iter().filter(|run| end(run).is_none()).count(),
        "successRate": rate, "durationMs": duration, "cost": 0, "errors": errors, "otherErrors": 0, "complete": true,
    })
}

/// The same of an answer; its buckets must add up.
fn told(stats: &Value) -> Value {
    let buckets = stats["buckets"].as_array().unwrap();
    for name in ["total", "completed", "failed", "cancelled"] {
        let sum: u64 = buckets.iter().map(|bucket| bucket[name].as_u64().unwrap()).sum();
        assert_eq!(json!(sum), stats["runs"][name], "{name}: {stats}");
    }
    assert_eq!((&buckets[0]["from"], &buckets[buckets.len() - 1]["to"]), (&stats["from"], &stats["to"]), "{stats}");
    assert!(buckets.windows(2).all(|pair| pair[0]["to"] == pair[1]["from"]), "{stats}");
    let counts = stats["errors"].as_array().unwrap();
    assert!(counts.is_sorted_by(|one, next| one["count"].as_u64() >= next["count"].as_u64()), "{stats}");
    let mut told = json!({});
    for name in ["runs", "running", "successRate", "durationMs", "cost", "errors", "otherErrors", "complete"] {
        told[name] = stats[name].clone();
    }
    told["errors"].as_array_mut().unwrap().sort_by_key(ToString::to_string);
    told
}

fn of_workflow(workflow: &str, from: &str, to: &str) -> String {
    format!("/api/v1/workflows/{workflow}/stats?from={from}&to={to}")
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_those_of_the_runs_themselves() {
    let mut cluster = Cluster::start(2, 8).await;
    let client = cluster.client().clone();
    let mut random = Random::from_seed(seed("stats"));
    let workflow = client.save("drawn", &completes(0)).await;
    let mut left = RUNS - CANCELLED - RUNNING;
    for number in 0.. {
        // One of each at least, and as the seed will after that.
        let graph = match if number < 2 { number } else { random.below(5) } {
            0 => fails(["auth", "invalid_request", "content_policy"][random.below(3)]),
            1 => stops(),
            _ => completes(random.below(120)),
        };
        change(&client, &workflow, &graph).await;
        let count = (1 + random.below(30)).min(left);
        run_many(&client, &workflow, &format!("drawn {number}"), count).await;
        left -= count;
        if left == 0 {
            break;
        }
    }
    change(&client, &workflow, &waits()).await;
    for number in 0..CANCELLED + RUNNING {
        let run = client.run(&workflow, &format!("waits {number}")).await;
        if number < CANCELLED {
            let path = format!("/api/v1/workflows/executions/{run}/cancel");
            assert!(client.post(&path, &json!({}), &format!("cancel {number}")).await.is_success());
        }
    }
    let other = client.save("other", &completes(1)).await;
    run_many(&client, &other, "other", 7).await;
    let rival = rival(&mut cluster).await;
    let rivals = rival.save("drawn", &completes(1)).await;
    run_many(&rival, &rivals, "rival", 5).await;

    let runs = listed(&client, Some(&workflow)).await;
    assert_eq!(runs.len(), RUNS);
    let (begin, never) = ("2020-01-01T00:00:00.000Z", "2021-01-01T00:00:00.000Z");
    let mut ends: Vec<String> = runs.iter().filter_map(end).collect();
    ends.sort();
    let (first, last) = (ends[0].clone(), ends[ends.len() - 1].clone());
    let usual = client.get_json(&format!("/api/v1/workflows/{workflow}/stats")).await;
    assert_eq!(told(&usual), reckoned(&runs, &text(&usual["from"]), &text(&usual["to"])));
    assert_eq!(usual["runs"]["total"], RUNS - RUNNING, "{usual}");
    assert_eq!(usual["runs"]["cancelled"], CANCELLED, "{usual}");
    assert!(usual["errors"].as_array().unwrap().len() > 1, "{usual}");
    // An instant belongs to what begins with it.
    for _ in 0..40 {
        let mut pair = [&ends[random.below(ends.len())], &ends[random.below(ends.len())]];
        pair.sort();
        let [from, to] = pair;
        if from < to {
            let stats = client.get_json(&of_workflow(&workflow, from, to)).await;
            assert_eq!(told(&stats), reckoned(&runs, from, to), "{from} to {to}");
        }
    }
    let before = client.get_json(&of_workflow(&workflow, &first, &last)).await;
    assert!(before["runs"]["total"].as_u64().unwrap() < (RUNS - RUNNING) as u64, "the last one ended later: {before}");
    let nothing = client.get_json(&of_workflow(&workflow, begin, never)).await;
    assert_eq!(told(&nothing), reckoned(&runs, begin, never));
    assert_eq!(nothing["successRate"], Value::Null);

    // Of all workflows, and of nobody else's.
    let everything = listed(&client, None).await;
    let all = client.get_json("/api/v1/stats").await;
    assert_eq!(told(&all), reckoned(&everything, &text(&all["from"]), &text(&all["to"])));
    assert_eq!(all["workflowId"], Value::Null);
    assert_eq!(rival.get_json("/api/v1/stats").await["runs"]["total"], 5);
    let foreign = rival.get(&format!("/api/v1/workflows/{workflow}/stats")).await;
    assert_eq!((foreign.status, &foreign.json()["code"]), (404, &json!("workflow_not_found")));

    // A workflow that has gone has none, but what it did stays.
    assert!(ask(&client, Method::DELETE, &format!("/api/v1/workflows/{other}"), &json!({})).await.is_success());
    assert_eq!(client.get(&format!("/api/v1/workflows/{other}/stats")).await.status, 404);
    let after = client.get_json("/api/v1/stats").await;
    assert_eq!(after["runs"], all["runs"]);
    for (query, status, code) in [
        ("from=yesterday", 400, "invalid_parameter"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 400, "invalid_span"),
        ("from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", 400, "invalid_span"),
        ("from=2020-01-01T00:00:00Z", 400, "invalid_span"),
    ] {
        let refused = client.get(&format!("/api/v1/workflows/{workflow}/stats?{query}")).await;
        assert_eq!((refused.status, &refused.json()["code"]), (status, &json!(code)), "{query}: {refused}");
    }
}

/// A client of another tenant on the same cluster.
async fn rival(cluster: &mut Cluster) -> Client {
    let client = cluster.client().clone();
    assert!(ask(&client, Method::POST, "/api/v1/tenants", &json!({ "id": "rival" })).await.is_success());
    let wanted = json!({ "scopes": ["workflows:read", "workflows:write", "workflows:execute", "executions:read"] });
    let made = ask(&client, Method::POST, "/api/v1/tenants/rival/keys", &wanted).await.json();
    let log = cluster.folder().join("rival.jsonl");
    Client::new(&cluster.origin(0), &text(&made["key"]), &log)
}

async fn incidents(client: &Client, workflow: &str) -> Vec<Value> {
    let list = client.get_json(&format!("/api/v1/alerts/incidents?workflowId={workflow}")).await;
    list.as_array().unwrap().clone()
}

/// Waits until a workflow has so many incidents, the youngest first, of which the youngest stands so.
async fn until_incidents(client: &Client, workflow: &str, count: usize, state: &str) -> Vec<Value> {
    wait::until(&format!("{count} incidents, the last one {state}"), DEADLINE, || async {
        let found = incidents(client, workflow).await;
        assert!(found.len() <= count, "too many: {found:?}");
        if found.len() == count && found[0]["state"] == state { Ok(found) } else { Err(format!("{found:?}")) }
    })
    .await
}

async fn create(client: &Client, workflow: &str, rule: &Value) -> Value {
    let answer = ask(client, Method::POST, &format!("/api/v1/workflows/{workflow}/alerts"), rule).await;
    assert_eq!(answer.status, 201, "{answer}");
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_opens_once_closes_and_opens_again() {
    let mut cluster = Cluster::start(1, 8).await;
    let client = cluster.client().clone();
    let failing = client.save("drawn", &fails("auth")).await;
    let rule =
        json!({ "kind": "error_rate", "windowMs": 10_000, "threshold": 0.5, "minRuns": 3, "closeAfterMs": 1_000 });
    let alert = create(&client, &failing, &rule).await;
    // Who asks once more for the same is told of the same.
    let path = format!("/api/v1/workflows/{failing}/alerts");
    for is_replay in [false, true] {
        let keyed = client.post(&path, &rule, "keyed").await;
        let replayed = keyed.headers.get("idempotent-replayed").map(|value| value.as_bytes());
        assert_eq!((keyed.status, replayed), (201, is_replay.then_some(&b"true"[..])), "{keyed}");
        let id = text(&keyed.json()["id"]);
        assert!(id != text(&alert["id"]), "{keyed}");
        if is_replay {
            assert_eq!(client.get_json(&path).await.as_array().unwrap().len(), 2);
            assert_eq!(ask(&client, Method::DELETE, &format!("{path}/{id}"), &Value::Null).await.status, 200);
        }
    }
    let other = client.post(&path, &json!({ "kind": "no_success_for", "ms": 60_000 }), "keyed").await;
    assert_eq!((other.status, &other.json()["code"]), (422, &json!("idempotency_mismatch")), "{other}");
    let slow = client.save("slow", &completes(300)).await;
    let rule = json!({ "kind": "duration_p95", "windowMs": 60_000, "thresholdMs": 250, "minRuns": 2 });
    let slow_alert = create(&client, &slow, &rule).await;
    let silent = client.save("silent", &completes(1)).await;
    let rule = json!({ "kind": "no_success_for", "ms": 10_000, "closeAfterMs": 0 });
    create(&client, &silent, &rule).await;

    let bad = run_many(&client, &failing, "first", 3).await;
    let first = until_incidents(&client, &failing, 1, "open").await.remove(0);
    let data = &first["event"]["data"];
    assert_eq!((&first["event"]["type"], &data["alertId"]), (&json!("workflow.alert"), &alert["id"]), "{first}");
    assert_eq!(data["measured"], json!({ "runs": 3, "failed": 3, "errorRate": 1.0 }), "{first}");
    let examples = data["exampleExecutionIds"].as_array().unwrap();
    assert!(examples.len() == 3 && examples.iter().all(|run| bad.contains(&text(run))), "{first}");
    let listed = client.get_json(&format!("/api/v1/workflows/{failing}/alerts")).await;
    assert_eq!(listed[0]["incidentId"], first["id"]);
    // With the window all is well again; what is bad then is another incident.
    let closed = until_incidents(&client, &failing, 1, "closed").await.remove(0);
    assert_eq!((&closed["id"], &closed["event"]), (&first["id"], &first["event"]));
    assert!(text(&closed["closedAt"]) > text(&closed["openedAt"]));
    run_many(&client, &failing, "second", 3).await;
    let both = until_incidents(&client, &failing, 2, "open").await;
    assert_ne!(both[0]["event"]["id"], both[1]["event"]["id"]);

    run_many(&client, &slow, "slow", 2).await;
    let found = until_incidents(&client, &slow, 1, "open").await.remove(0);
    assert!(found["event"]["data"]["measured"]["p95Ms"].as_u64().unwrap() >= 300, "{found}");
    until_incidents(&client, &silent, 1, "open").await;
    let loud = run_many(&client, &silent, "loud", 1).await.remove(0);
    until_incidents(&client, &silent, 1, "closed").await;

    // Since when there was no success is told, however long the rule has been there.
    let ended_at = client.execution(&loud).await["endTime"].clone();
    let again = until_incidents(&client, &silent, 2, "open").await.remove(0);
    let measured = &again["event"]["data"]["measured"];
    assert_eq!(measured["since"], ended_at, "{again}");

    // Who deletes a rule, or its workflow, closes what is open.
    let path = format!("/api/v1/workflows/{slow}/alerts/{}", text(&slow_alert["id"]));
    assert!(ask(&client, Method::DELETE, &path, &json!({})).await.is_success());
    assert_eq!(incidents(&client, &slow).await[0]["state"], "closed");
    assert_eq!(client.get(&path).await.json()["code"], "alert_not_found");
    assert!(ask(&client, Method::DELETE, &format!("/api/v1/workflows/{failing}"), &json!({})).await.is_success());
    let after = incidents(&client, &failing).await;
    assert!(after.iter().all(|incident| incident["state"] == "closed"), "{after:?}");
    let page = client.get("/api/v1/alerts/incidents?limit=1&state=closed").await;
    assert!(page.json().as_array().unwrap().len() == 1 && page.headers.contains_key("link"), "{page}");
    let said = cluster.process(Part::Coordinator).said();
    let warned = said.lines().filter(|line| line.contains("WARN") && line.contains("an alert is open")).count();
    assert!(warned >= 4, "{warned} of four or more were told");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_is_opened_once_whenever_the_coordinator_dies() {
    let mut cluster = Cluster::start(1, 8).await;
    let client = cluster.client().clone();
    for (number, point) in ["alerts.measured", "alerts.opened"].into_iter().enumerate() {
        let workflow = client.save(&format!("fails {number}"), &fails("auth")).await;
        run_many(&client, &workflow, "bad", 2).await;
        cluster.kill(Part::Coordinator);
        cluster.start_part(Part::Coordinator, Some(&format!("{point}:1")));
        cluster.serves().await;
        let rule = json!({ "kind": "error_rate", "windowMs": 600_000, "threshold": 0.5, "minRuns": 2 });
        // It may die before it has answered.
        let path = format!("/api/v1/workflows/{workflow}/alerts");
        let _answer = send(client.request(Method::POST, &path).json(&rule)).await;
        let process = cluster.process(Part::Coordinator);
        wait::until(&format!("death at {point}"), DEADLINE, || {
            let has_crashed = process.crashed();
            async move { if has_crashed { Ok(()) } else { Err("it lives".to_owned()) } }
        })
        .await;
        cluster.start_part(Part::Coordinator, None);
        cluster.serves().await;
        assert_eq!(client.get_json(&path).await.as_array().unwrap().len(), 1);
        let first = until_incidents(&client, &workflow, 1, "open").await;
        for round in 0..2 {
            cluster.restart(Part::Coordinator);
            cluster.serves().await;
            // A rule that is made now is looked at after the other one.
            let later = client.save(&format!("later {number} {round}"), &fails("auth")).await;
            run_many(&client, &later, &format!("later {point}"), 2).await;
            create(&client, &later, &rule).await;
            until_incidents(&client, &later, 1, "open").await;
            assert_eq!(until_incidents(&client, &workflow, 1, "open").await, first, "{point}");
            assert!(ask(&client, Method::DELETE, &format!("/api/v1/workflows/{later}"), &json!({})).await.is_success());
        }
    }
}
