//! Agents that die, freeze and wake; a coordinator that restarts under them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cluster_tests::cluster::figures::Times;
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::{Cluster, Part, history};
use cluster_tests::wait;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// How long a run may take that is not disturbed for long.
const RUN_TIME_MAX: Duration = Duration::from_secs(60);

/// Independent effects of `ms` each, one more that follows them all, and one output.
fn effects(count: usize, file: &str, ms: u64) -> Graph {
    let effect = |file: &str, ms| json!({ "file": file, "begun": format!("{file}.begun"), "ms": ms });
    let mut graph = Graph::default().node("input", "input:text", json!({ "text": "thread" }));
    graph = graph.node("join", "debug:effect", effect(&format!("{file}.join"), 0));
    graph = graph.node("output", "output:preview", json!({}));
    for number in 0..count {
        let id = format!("effect{number}");
        graph = graph.node(&id, "debug:effect", effect(file, ms));
        graph = graph.edge("input.text", &format!("{id}.in")).edge(&format!("{id}.out"), "join.in");
    }
    graph.edge("join.out", "output.value")
}

async fn check(cluster: &Cluster, graph: &Graph, execution: &str) -> Value {
    let ended = cluster.client().ended(execution, RUN_TIME_MAX).await;
    let events = cluster.client().events(execution).await;
    let problems = history::problems(graph, &ended, &events);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert_eq!(ended["status"], "COMPLETED", "{}", ended["error"]);
    ended
}

/// The agent at the first effect of a run.
async fn holder(cluster: &Cluster, execution: &str) -> Part {
    cluster.holder(execution, RUN_TIME_MAX, |node| node == "effect0").await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_restart_runs_nothing_twice() {
    const RESTARTS: usize = 12;
    let mut cluster = Cluster::start(2, 8).await;
    let graph = effects(12, "restarts", 300);
    let workflow = cluster.client().save("restarts", &graph).await;
    let mut executions = Vec::new();
    for number in 0..RESTARTS {
        let execution = cluster.client().run(&workflow, &format!("restart {number}")).await;
        // What has begun may not begin again. On a busy machine the effects may even be over when the kill comes.
        wait::until("all effects to begin", RUN_TIME_MAX, || async {
            let begun = cluster.effects("restarts.begun").len();
            if begun == 12 * (number + 1) { Ok(()) } else { Err(format!("{begun} have begun")) }
        })
        .await;
        cluster.restart(Part::Coordinator);
        cluster.serves().await;
        executions.push(execution);
    }
    for execution in &executions {
        let ended = check(&cluster, &graph, execution).await;
        let events = cluster.client().events(execution).await;
        let lost: Vec<&Value> = events.iter().filter(|event| event["type"] == "attempt.lost").collect();
        let nodes = ended["nodeRuns"].as_array().unwrap();
        let effects = nodes.iter().filter(|node| node["nodeId"].as_str().is_some_and(|id| id.starts_with("effect")));
        // What waited in an agent behind the effects of the run before may have gone back: it had not begun.
        let back = events.iter().filter(|event| event["type"] == "attempt.handed_back");
        let back: Vec<&Value> = back.filter_map(|event| event["attempts"].as_array()).flatten().collect();
        let begun_once = effects.filter(|node| {
            let unbegun = back.iter().filter(|attempt| attempt["nodeId"] == node["nodeId"]).count();
            node["attempts"] == 1 + unbegun
        });
        assert_eq!(begun_once.count(), 12, "an effect that had begun was tried again, after {lost:?}: {ended}");
        // What follows them may have been given to an agent at the very moment of the kill: committed, and never sent. That
        // attempt is lost, since its agent does not hold it, and it never ran.
        let unsent = lost.iter().filter(|event| event["nodeId"] == "join" && event["cause"] == "NotHeld").count();
        assert_eq!(lost.len(), unsent, "{lost:?}");
    }
    for (file, count) in [("restarts", 12 * RESTARTS), ("restarts.join", RESTARTS)] {
        for file in [format!("{file}.begun"), file.to_owned()] {
            let lines = cluster.effects(&file);
            let nodes: BTreeSet<&str> = lines.iter().filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
            assert_eq!((nodes.len(), lines.len()), (count, count), "{file}: {lines:?}");
        }
    }
    println!(
        "restarts: {RESTARTS} of the coordinator, with 12 effects begun at each: every effect began and ended once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_a_dead_agent_starts_elsewhere() {
    const DEATHS: usize = 24;
    let mut cluster = Cluster::start(2, 4).await;
    let graph = effects(1, "deaths", 150);
    let workflow = cluster.client().save("deaths", &graph).await;
    let mut times = Times::default();
    for number in 0..DEATHS {
        let execution = cluster.client().run(&workflow, &format!("death {number}")).await;
        let part = holder(&cluster, &execution).await;
        let holder = cluster.agent_id(part);
        cluster.kill(part);
        let killed_at = Instant::now();
        wait::until("a second attempt", RUN_TIME_MAX, || async {
            let events = cluster.client().events(&execution).await;
            let assigned = events.iter().filter_map(|event| event["assigned"].as_array()).flatten();
            let again = assigned.filter(|assignment| assignment["nodeId"] == "effect0" && assignment["attempt"] == 2);
            if again.count() == 1 { Ok(()) } else { Err(format!("{events:?}")) }
        })
        .await;
        // Just after the start every agent has five seconds to come back.
        if number > 0 {
            times.add(killed_at.elapsed());
        }
        let ended = check(&cluster, &graph, &execution).await;
        let again = ended["nodeRuns"].as_array().unwrap().iter().find(|node| node["nodeId"] == "effect0").unwrap();
        assert_ne!(again["agent"], holder, "the dead agent did it: {ended}");
        cluster.start_part(part, None);
        cluster.serves().await;
    }
    // A figure, not a condition: it should stay below a second on a machine that is not busy otherwise.
    println!("agent killed -> its pure work given to another: {times}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_frozen_agent_brings_back_is_refused() {
    let mut cluster = Cluster::start(2, 4).await;
    let graph = effects(1, "frozen", 1_500);
    let workflow = cluster.client().save("frozen", &graph).await;
    let execution = cluster.client().run(&workflow, "frozen").await;
    let part = holder(&cluster, &execution).await;
    let holder = cluster.agent_id(part);
    cluster.process(part).signal(Signal::SIGSTOP);
    let frozen_at = Instant::now();
    let before = check(&cluster, &graph, &execution).await;
    let other = before["nodeRuns"].as_array().unwrap().iter().find(|node| node["nodeId"] == "effect0").unwrap();
    assert_ne!(other["agent"], holder);
    println!("frozen agent: its work was done by another {:.1} s later", frozen_at.elapsed().as_secs_f64());
    let events = cluster.client().events(&execution).await.len();
    cluster.process(part).signal(Signal::SIGCONT);
    // It wakes in the middle of its work, and may be told to stop before it has done it. Either way nothing of it counts.
    cluster.serves().await;
    let next = cluster.client().run(&workflow, "after the thaw").await;
    check(&cluster, &graph, &next).await;
    let after = cluster.client().execution(&execution).await;
    assert_eq!(after, before, "a run changed after its end");
    assert_eq!(cluster.client().events(&execution).await.len(), events);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_result_is_refused_and_counted() {
    let mut cluster = Cluster::start(2, 4).await;
    // The result is on its way into a stream that nobody reads any more: the agent stops between its work and its word.
    let graph = effects(1, "late", 50);
    let workflow = cluster.client().save("late", &graph).await;
    cluster.kill(Part::Agent(1));
    cluster.kill(Part::Agent(0));
    cluster.start_part(Part::Agent(0), Some("agent.before-result:1:stop"));
    cluster.serves().await;
    let execution = cluster.client().run(&workflow, "late").await;
    wait::until("the work of the first agent", RUN_TIME_MAX, || async {
        let lines = cluster.effects("late");
        if lines.len() == 1 { Ok(()) } else { Err(format!("{lines:?}")) }
    })
    .await;
    cluster.start_part(Part::Agent(1), None);
    let before = check(&cluster, &graph, &execution).await;
    assert_eq!(cluster.effects("late").len(), 2, "the effect is at least once, and both attempts had it");
    assert_eq!(cluster.counter("zombieResults").await, 0);
    cluster.process(Part::Agent(0)).signal(Signal::SIGCONT);
    wait::until("the refusal of the late result", RUN_TIME_MAX, || async {
        let refused = cluster.counter("zombieResults").await;
        if refused == 1 { Ok(()) } else { Err(format!("{refused} were refused")) }
    })
    .await;
    assert_eq!(cluster.client().execution(&execution).await, before, "a run changed after its end");
    println!("late result: refused and counted");
}
