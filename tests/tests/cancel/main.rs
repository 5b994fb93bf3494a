//! A cancel at every marked place of every part: the process dies there around it, and afterwards each run has one end, nothing
//! of it starts after that, and it stays so. Jobs that it had begun at a provider are cancelled there.

#![allow(clippy::panic, clippy::unwrap_used)]

mod owed;
mod set_aside;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cluster_tests::cluster::client::Client;
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::history::BOOKKEEPING;
use cluster_tests::cluster::runs::text;
use cluster_tests::cluster::{Cluster, Part, Setting, Shape};
use cluster_tests::sandbox::Sandbox;
use cluster_tests::wait;
use futures::future::join_all;
use heddle_crash_point::{CRASH_POINTS, CrashPoint};
use serde_json::{Value, json};

/// How long a run may take to begin, or to end after its cancel.
const RUN_TIME_MAX: Duration = Duration::from_secs(60);
/// How long cancels may go on until the place is passed.
const HIT_TIME_MAX: Duration = Duration::from_secs(30);
/// Runs that are cancelled as soon as they are there.
const AT_ONCE: usize = 4;
/// Nobody makes this file: what waits for it works until it is stopped.
const NEVER: &str = "never";
/// Places that no run passes, and those around the order to cancel a job, which [`owed`] has.
const BESIDE: [&str; 3] = ["alerts.", "retention.", "jobs."];
/// How long a job takes at its provider: longer than the suite.
const JOB_MS: u64 = 600_000;
/// The kind whose runs have a job.
const JOB: usize = 3;
/// Ends of a run.
const ENDS: [&str; 3] = ["run.completed", "run.failed", "run.cancelled"];

/// Whose process passes the place.
fn part_of(point: &str) -> Part {
    match point.split_once('.') {
        Some(("gateway", _)) => Part::Gateway(0),
        Some(("agent", _)) => Part::Agent(0),
        _ => Part::Coordinator,
    }
}

/// Work of an effect class, which goes on until it is stopped.
fn work(effect: &str) -> Graph {
    let config = json!({ "file": "cancelled", "begun": "begun", "until": NEVER, "effect": effect });
    Graph::default().node("work", "debug:effect", config)
}

/// Work whose job a provider has.
fn job() -> Graph {
    Graph::default().node("work", "debug:job", json!({ "ms": JOB_MS }))
}

/// Two agents with a provider of their own.
async fn set_up() -> (Sandbox, Cluster) {
    let sandbox = Sandbox::start().await;
    let arguments = sandbox.arguments([Part::Agent(0), Part::Agent(1)]);
    let cluster = Cluster::set_up(Shape::new(1, 2, 8), Setting { arguments, ..Setting::default() }).await;
    (sandbox, cluster)
}

/// What became of the job of a run, as its history says; nothing until then.
async fn job_ended(client: &Client, run: &str) -> Vec<Value> {
    let events = client.events(run).await;
    let ended = events.into_iter().filter(|event| text(&event["type"]).starts_with("attempt.provider_"));
    ended.collect()
}

/// Until the job of a run that is over is known to have ended; it ends once, and none of its jobs goes on at the provider or is
/// charged.
async fn without_job(client: &Client, sandbox: &Sandbox, run: &str) {
    wait::until("the end of the job", RUN_TIME_MAX, || async {
        let ended = job_ended(client, run).await;
        if ended.is_empty() { Err(format!("{run} says nothing of its job")) } else { Ok(()) }
    })
    .await;
    let ended = job_ended(client, run).await;
    let results: Vec<String> = ended.iter().map(|event| text(&event["result"])).collect();
    assert!(matches!(&results[..], [result] if result == "cancelled" || result == "over"), "{run}: {ended:?}");
    let jobs: Vec<_> = sandbox.jobs().await.into_iter().filter(|job| job.key.starts_with(run)).collect();
    assert!(!jobs.is_empty(), "{run} had a job");
    assert!(jobs.iter().all(|job| job.state == "cancelled" && !job.charged), "{run}: {jobs:?}");
}

/// Until the handle of a run's job is durable.
async fn has_job(client: &Client, run: &str) {
    wait::until("the job", RUN_TIME_MAX, || async {
        let events = client.events(run).await;
        if events.iter().any(|event| event["type"] == "attempt.handle") {
            Ok(())
        } else {
            Err(format!("{run} has no job"))
        }
    })
    .await;
}

/// What is cancelled: work of each class, and each way to wait.
fn kinds() -> Vec<(&'static str, Graph)> {
    let mut kinds: Vec<(&str, Graph)> =
        ["pure", "keyed", "blind"].into_iter().map(|effect| (effect, work(effect))).collect();
    kinds.push(("pollable", job()));
    kinds.push(("wait", waits(600_000)));
    let review = Graph::default()
        .node("value", "input:text", json!({ "text": "as it is" }))
        .node("check", "logic:review", json!({}))
        .edge("value.text", "check.value");
    kinds.push(("review", review));
    let item = json!({ "file": "cancelled", "begun": "begun", "until": NEVER });
    kinds.push(("map", Graph::effects_map(20, 2, item)));
    kinds
}

fn waits(millis: u64) -> Graph {
    Graph::default().node("wait", "logic:wait", json!({ "forMs": millis }))
}

/// Cancels a run, again and again until somebody answers; whether the run is over by that.
async fn cancel(client: &Client, run: &str) -> bool {
    let answer = client.post(&format!("/api/v1/workflows/executions/{run}/cancel"), &json!({}), run).await;
    let is_over = answer.status == 409 && answer.json()["code"] == "execution_over";
    assert!(answer.is_success() || is_over, "{run}: {answer}");
    answer.is_success()
}

/// Runs that come and are cancelled while the part may die, one after the other, among them those of a batch. A few are cancelled
/// at once, before an agent may be there for them; of the others each has its work first, until the place is passed.
async fn come_and_go(client: &Client, short: &str, point: &str, is_over: &AtomicBool) -> Vec<String> {
    let mut runs = Vec::new();
    for number in 0.. {
        if number >= AT_ONCE && is_over.load(Ordering::Relaxed) {
            break;
        }
        let run = client.run(short, &format!("short {point} {number}")).await;
        if number >= AT_ONCE {
            client.ended(&run, RUN_TIME_MAX).await;
        }
        cancel(client, &run).await;
        runs.push(run);
        if number == 0 {
            let values = json!({ "iteratorConfigs": [{ "nodeId": "text", "values": ["a", "b"] }] });
            let path = format!("/api/v1/workflows/{short}/execute");
            let batch = client.post(&path, &values, &format!("{point} batch")).await;
            assert!(batch.is_success(), "{batch}");
            let id = text(&batch.json()["batchId"]);
            let stopped = client.post(&format!("/api/v1/batches/{id}/cancel"), &json!({}), &id).await;
            assert!(stopped.is_success() || stopped.status == 409, "{stopped}");
        }
    }
    runs
}

/// Everything of one place: the runs that were cancelled, and whether the place was passed.
async fn at(cluster: &mut Cluster, point: &CrashPoint, workflows: &[String], short: &str) -> (Vec<String>, bool) {
    let begun = cluster.effects("begun").len();
    let mut runs = Vec::new();
    for (number, workflow) in workflows.iter().enumerate() {
        runs.push(cluster.client().run(workflow, &format!("{} {number}", point.name)).await);
    }
    let known = runs.clone();
    if point.name == "timers.due" {
        // It is due when the coordinator is there again, and cancelled after that.
        let due = cluster.client().save("due", &waits(2_500)).await;
        runs.push(cluster.client().run(&due, "due").await);
    }
    has_job(cluster.client(), &runs[JOB]).await;
    // Work of three classes, and two items.
    wait::until("the work to begin", RUN_TIME_MAX, || async {
        let more = cluster.effects("begun").len() - begun;
        if more >= 5 { Ok(()) } else { Err(format!("{more} of 5 have begun")) }
    })
    .await;
    let part = part_of(point.name);
    cluster.kill(part);
    cluster.start_part(part, Some(&format!("{}:1", point.name)));
    let said = format!("crash point {} hit 1:", point.name);
    let client = cluster.client().clone();
    let asked = client.clone();
    let (name, short) = (point.name.to_owned(), short.to_owned());
    let is_over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_over);
    let asking = tokio::spawn(async move {
        let cancels = join_all(known.iter().map(|run| cancel(&asked, run)));
        let (_, fresh) = tokio::join!(cancels, come_and_go(&asked, &short, &name, &told));
        fresh
    });
    let crashed = wait::try_until(HIT_TIME_MAX, || {
        let process = cluster.process(part);
        let is_hit = process.crashed() && process.said().contains(&said);
        async move { if is_hit { Ok(()) } else { Err(String::new()) } }
    });
    let is_hit = crashed.await.is_ok();
    is_over.store(true, Ordering::Relaxed);
    cluster.kill(part);
    cluster.start_part(part, None);
    cluster.serves().await;
    runs.extend(asking.await.unwrap());
    for run in &runs {
        cancel(&client, run).await;
    }
    (runs, is_hit)
}

/// What is wrong with the history of a run that was cancelled.
async fn problems(client: &Client, run: &str) -> Vec<String> {
    let ended = client.ended(run, RUN_TIME_MAX).await;
    let events = client.events(run).await;
    let names: Vec<String> = events.iter().map(|event| text(&event["type"])).collect();
    let ends: Vec<usize> = (0..names.len()).filter(|at| ENDS.contains(&names[*at].as_str())).collect();
    let [end] = ends[..] else { return vec![format!("{run} has {} ends: {names:?}", ends.len())] };
    let late = names[end + 1..].iter().filter(|name| !BOOKKEEPING.contains(&name.as_str()));
    let mut found: Vec<String> = late.map(|name| format!("{run}: {name} after its end")).collect();
    let is_given = |event: &&Value| event.to_string().contains("\"assigned\":[{");
    found.extend(events[end..].iter().filter(is_given).map(|event| format!("{run}: starts something: {event}")));
    if format!("run.{}", text(&ended["status"]).to_lowercase()) != names[end] {
        found.push(format!("{run} is {} after {}", ended["status"], names[end]));
    }
    found
}

/// Until no agent has anything of these runs any more.
async fn idle(client: &Client) {
    wait::until("agents without work", RUN_TIME_MAX, || async {
        let agents = client.get_json("/api/v1/agents").await;
        let busy = agents.as_array().unwrap().iter().any(|agent| agent["busy"] != 0);
        if busy { Err(agents.to_string()) } else { Ok(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_right_at_every_marked_place() {
    let (sandbox, mut cluster) = set_up().await;
    let mut workflows = Vec::new();
    for (name, graph) in kinds() {
        workflows.push(cluster.client().save(name, &graph).await);
    }
    let short = Graph::default()
        .node("text", "input:text", json!({ "text": "short" }))
        .node("work", "debug:effect", json!({ "file": "short", "ms": 20 }))
        .edge("text.text", "work.in");
    let short = cluster.client().save("short", &short).await;
    let (mut all, mut missed, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    let passed = CRASH_POINTS.iter().filter(|point| !BESIDE.iter().any(|part| point.name.starts_with(part)));
    let mut places = 0;
    for point in passed {
        places += 1;
        let (runs, is_hit) = at(&mut cluster, point, &workflows, &short).await;
        if !is_hit {
            missed.push(point.name);
        }
        for run in &runs {
            wrong.extend(problems(cluster.client(), run).await);
        }
        without_job(cluster.client(), &sandbox, &runs[JOB]).await;
        idle(cluster.client()).await;
        println!("crash point {:28} {} runs cancelled around it", point.name, runs.len());
        all.extend(runs);
    }
    let before = statuses(cluster.client(), &all).await;
    cluster.restart(Part::Coordinator);
    cluster.serves().await;
    assert_eq!(statuses(cluster.client(), &all).await, before, "a status stays");
    println!("{} runs cancelled at {places} places", all.len());
    let jobs = sandbox.jobs().await;
    assert!(jobs.len() >= places && jobs.iter().all(|job| job.state == "cancelled" && !job.charged), "{jobs:?}");
    assert!(wrong.is_empty(), "{} problems:\n{}", wrong.len(), wrong.join("\n"));
    assert!(missed.is_empty(), "never reached: {missed:?}");
    assert_eq!(cluster.effects("cancelled"), Vec::<String>::new(), "what was cancelled has not worked to its end");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_agent_cancels_the_job_of_one_that_is_gone_for_good() {
    let (sandbox, mut cluster) = set_up().await;
    let client = cluster.client().clone();
    let workflow = client.save("job", &job()).await;
    cluster.kill(Part::Agent(1));
    let run = client.run(&workflow, "job").await;
    has_job(&client, &run).await;
    cluster.kill(Part::Agent(0));
    cancel(&client, &run).await;
    client.ended(&run, RUN_TIME_MAX).await;
    assert!(sandbox.jobs().await.iter().all(|job| job.state == "running"), "nobody is there who could cancel it");
    wait::until("an explanation that names the job", RUN_TIME_MAX, || async {
        let explained = client.get_json(&format!("/api/v1/workflows/executions/{run}/explain")).await;
        let sentence = explained["nodes"][0]["sentence"].as_str().unwrap_or_default();
        if sentence.contains("is still to be cancelled") { Ok(()) } else { Err(explained.to_string()) }
    })
    .await;
    // Whoever looks at the run sees that something may still be charged for it.
    let explained = client.get_json(&format!("/api/v1/workflows/executions/{run}/explain")).await;
    let headline = text(&explained["headline"]);
    assert!(
        headline.ends_with("1 job at a provider is still to be cancelled, and may cost something until then."),
        "{headline}"
    );
    let poll = client.get_json(&format!("/api/v1/workflows/executions/{run}/poll")).await;
    assert_eq!((&client.execution(&run).await["jobsToCancel"], &poll["jobsToCancel"]), (&json!(1), &json!(1)));
    cluster.start_part(Part::Agent(1), None);
    without_job(&client, &sandbox, &run).await;
    assert_eq!(client.execution(&run).await["jobsToCancel"], Value::Null);
    let found = problems(&client, &run).await;
    assert!(found.is_empty(), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_try_after_a_job_that_is_cancelled_begins_another() {
    let (sandbox, cluster) = set_up().await;
    let client = cluster.client().clone();
    let policy = json!({ "timeoutMs": 1_500, "retry": { "maxAttempts": 2, "initialMs": 100 } });
    let slow = Graph::default().node_with("work", "debug:job", json!({ "ms": JOB_MS }), policy);
    let workflow = client.save("slow", &slow).await;
    let run = client.run(&workflow, "slow").await;
    let ended = client.ended(&run, RUN_TIME_MAX).await;
    assert_eq!(ended["status"], "FAILED", "{ended}");
    wait::until("the end of both jobs", RUN_TIME_MAX, || async {
        let ended = job_ended(&client, &run).await;
        if ended.len() == 2 { Ok(()) } else { Err(format!("{ended:?}")) }
    })
    .await;
    let jobs = sandbox.jobs().await;
    let keys: Vec<&str> = jobs.iter().map(|job| job.key.strip_prefix(&run).unwrap()).collect();
    assert_eq!(keys, [":work:0", ":work:0:j1"]);
    assert!(jobs.iter().all(|job| job.state == "cancelled"), "{jobs:?}");
}

async fn statuses(client: &Client, runs: &[String]) -> Vec<Value> {
    join_all(runs.iter().map(|run| async move { client.execution(run).await["status"].clone() })).await
}
