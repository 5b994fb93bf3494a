//! The storm: runs that wait for timers, signals and calls, all within a minute, while every part is killed again and again
//! (SIGKILL). Each wait ends once. How late timers were is printed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use cluster_tests::cluster::figures::Times;
use cluster_tests::cluster::items::{Effect, lost};
use cluster_tests::cluster::random::{Random, number, seed};
use cluster_tests::cluster::{Part, Shape};
use jiff::Timestamp;
use tokio::task::JoinSet;

use super::*;

/// Runs of the storm, unless `WAITING_RUNS` says otherwise.
const RUNS: u64 = 300;
/// Kills while it lasts, unless `WAITING_KILLS` says otherwise.
const KILLS: u64 = 6;
/// In seconds: over which timers are spread, and signals and calls.
const SPREAD: u64 = 60;
/// Clients that start runs, send what they wait for, and read how they ended.
const CLIENTS: usize = 12;
const STORM_TIME_MAX: Duration = Duration::from_secs(1_800);

/// What a run waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Timer,
    Signal,
    Hook,
}

impl Kind {
    fn of(number: usize) -> Self {
        [Self::Timer, Self::Signal, Self::Hook][number % 3]
    }

    fn graph(self, number: usize) -> Graph {
        match self {
            // One more second for each of them, so that there are as many graphs as seconds.
            Self::Timer => timer(json!({ "forMs": (1 + number as u64 / 3 % SPREAD) * 1_000 })),
            Self::Signal => signal(json!({ "name": "go" })),
            Self::Hook => hook(json!({})),
        }
    }

    /// The event that ends the wait.
    fn event(self) -> &'static str {
        match self {
            Self::Timer => "timer.fired",
            Self::Signal => "signal.received",
            Self::Hook => "webhook.called",
        }
    }
}

/// A run of the storm.
#[derive(Debug, Clone)]
struct Waiter {
    number: usize,
    kind: Kind,
    execution: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wait_of_a_storm_ends_once() {
    let mut random = Random::from_seed(seed("waiting"));
    let (runs, kills) = (number("WAITING_RUNS").unwrap_or(RUNS) as usize, number("WAITING_KILLS").unwrap_or(KILLS));
    let mut cluster = Cluster::of(Shape::new(2, 2, 8)).await;
    let waiters = all_start(&cluster, runs).await;
    let ends = all_end(&cluster, &waiters, &mut random);
    let outages = kill(&mut cluster, kills, &mut random).await;
    assert_eq!(joined(ends).await.len(), waiters.iter().filter(|waiter| waiter.kind != Kind::Timer).count());
    let read = joined(all_read(&cluster, &waiters)).await;
    let mut effects: BTreeMap<String, Vec<Effect>> = BTreeMap::new();
    for effect in cluster.witnessed(AFTER) {
        effects.entry(effect.execution.clone()).or_default().push(effect);
    }
    let (mut problems, mut late) = (Vec::new(), Times::default());
    for (waiter, execution, events) in &read {
        let done = effects.get(&waiter.execution).map(Vec::as_slice).unwrap_or_default();
        problems.extend(found(waiter, execution, events, done));
        if waiter.kind == Kind::Timer {
            late.add(lateness(events, &outages));
        }
    }
    assert!(problems.is_empty(), "{} problems: {:#?}", problems.len(), &problems[..problems.len().min(20)]);
    assert_eq!(read.len(), runs);
    println!("waiting: {runs} runs, {kills} kills, {} of the coordinator", outages.len());
    println!("waiting: timers were late by, while a coordinator was up: {late}");
}

/// What the tasks of a set give, all of them.
async fn joined<T: 'static>(mut tasks: JoinSet<Vec<T>>) -> Vec<T> {
    let mut all = Vec::new();
    while let Some(share) = tasks.join_next().await {
        all.extend(share.unwrap());
    }
    all
}

/// Starts as many runs.
async fn all_start(cluster: &Cluster, runs: usize) -> Vec<Waiter> {
    let client = cluster.client();
    let workflow = client.save("storm", &Kind::Timer.graph(0)).await;
    let mut tasks = JoinSet::new();
    for share in 0..CLIENTS {
        let (client, path) = (client.clone(), format!("/api/v1/workflows/{workflow}/execute"));
        tasks.spawn(async move {
            let mut waiters = Vec::new();
            for number in (share..runs).step_by(CLIENTS) {
                let kind = Kind::of(number);
                let answer = client.post(&path, &kind.graph(number).parts(), &format!("storm {number}")).await;
                assert_eq!(answer.status, 201, "{answer}");
                waiters.push(Waiter { number, kind, execution: text(&answer.json()["executionId"]) });
            }
            waiters
        });
    }
    joined(tasks).await
}

/// Sends every run what it waits for, at a time of chance.
fn all_end(cluster: &Cluster, waiters: &[Waiter], random: &mut Random) -> JoinSet<Vec<()>> {
    let mut shares = vec![Vec::new(); CLIENTS];
    for waiter in waiters.iter().filter(|waiter| waiter.kind != Kind::Timer) {
        let at = Duration::from_millis(random.below(SPREAD as usize * 1_000) as u64);
        shares[waiter.number / 3 % CLIENTS].push((at, waiter.clone()));
    }
    let since = Instant::now();
    let mut tasks = JoinSet::new();
    for mut share in shares {
        share.sort_by_key(|(at, _)| *at);
        let client = cluster.client().clone();
        tasks.spawn(async move {
            let mut sent = Vec::new();
            for (at, waiter) in share {
                wait::pace(at.saturating_sub(since.elapsed())).await;
                end(&client, &waiter).await;
                sent.push(());
            }
            sent
        });
    }
    tasks
}

async fn end(client: &Client, waiter: &Waiter) {
    let Waiter { number, execution, .. } = waiter;
    let (said, key) = (json!({ "number": number }), format!("storm {number} goes on"));
    let answer = match waiter.kind {
        Kind::Hook => call_until_answered(client, &address(client, execution).await, &said, &key).await,
        _ => send_signal(client, execution, "go", &said, &key).await,
    };
    assert_eq!(answer.status, 202, "{execution}: {answer}");
}

/// Kills parts of chance at regular times; gives from when until when there was no coordinator that served.
async fn kill(cluster: &mut Cluster, kills: u64, random: &mut Random) -> Vec<(Timestamp, Timestamp)> {
    let (mut outages, since) = (Vec::new(), Instant::now());
    for number in 0..kills {
        wait::pace((Duration::from_secs(SPREAD) * number as u32 / kills as u32).saturating_sub(since.elapsed())).await;
        let parts = cluster.parts();
        // The one that all waits depend on comes first, and every third time.
        let part = if number % 3 == 0 { Part::Coordinator } else { parts[random.below(parts.len())] };
        let from = Timestamp::now();
        cluster.restart(part);
        if part == Part::Coordinator {
            cluster.serves().await;
            outages.push((from, Timestamp::now()));
        }
    }
    cluster.heal().await;
    outages
}

/// Each run at its end, with its events.
fn all_read(cluster: &Cluster, waiters: &[Waiter]) -> JoinSet<Vec<(Waiter, Value, Vec<Value>)>> {
    let mut tasks = JoinSet::new();
    for share in 0..CLIENTS {
        let client = cluster.client().clone();
        let share: Vec<Waiter> = waiters.iter().skip(share).step_by(CLIENTS).cloned().collect();
        tasks.spawn(async move {
            let mut read = Vec::new();
            for waiter in share {
                let ended = client.ended(&waiter.execution, STORM_TIME_MAX).await;
                let events = client.events(&waiter.execution).await;
                read.push((waiter, ended, events));
            }
            read
        });
    }
    tasks
}

/// Everything that is wrong with a run.
fn found(waiter: &Waiter, execution: &Value, events: &[Value], effects: &[Effect]) -> Vec<String> {
    let Waiter { number, kind, execution: id } = waiter;
    let mut problems = Vec::new();
    if execution["status"] != "COMPLETED" {
        problems.push(format!("{id}: {kind:?} did not complete: {}", execution["error"]));
    }
    let fired = events.iter().filter(|event| event["type"] == kind.event()).count();
    if fired != 1 {
        problems.push(format!("{id}: {} {fired} times", kind.event()));
    }
    if *kind != Kind::Timer {
        let given = (shown(execution, "out"), shown(execution, "late"));
        if given != (json!({ "number": number }), json!(false)) {
            problems.push(format!("{id}: {kind:?} gave {given:?}"));
        }
    }
    // An attempt whose agent was killed may have done its work, and another one did it again.
    let lost: BTreeSet<u64> = lost(events).into_keys().map(|(_, attempt)| attempt).collect();
    let done: Vec<u64> = effects.iter().map(|effect| effect.attempt).collect();
    let kept = done.iter().filter(|attempt| !lost.contains(attempt)).count();
    if kept != 1 || done.iter().collect::<BTreeSet<_>>().len() != done.len() {
        problems.push(format!("{id}: done by the attempts {done:?}, of which {lost:?} were lost"));
    }
    problems
}

/// How long after its instant a timer fired, without the time in which no coordinator could.
fn lateness(events: &[Value], outages: &[(Timestamp, Timestamp)]) -> Duration {
    let at = |event: &Value| text(&event["at"]).parse::<Timestamp>().unwrap();
    let due = events.iter().find_map(|event| {
        let decided = event["decided"].as_array()?;
        let waits = decided.iter().find(|decided| decided["nodeId"] == "w" && decided["state"] == "WAITING")?;
        Some(at(event) + Duration::from_millis(waits["dueInMs"].as_u64()?))
    });
    let due = due.unwrap();
    let fired = at(events.iter().find(|event| event["type"] == "timer.fired").unwrap());
    let up = outages.iter().filter(|(from, until)| *from <= due && due < *until).map(|(_, until)| *until);
    let due = up.fold(due, Timestamp::max);
    Duration::try_from(fired.duration_since(due)).unwrap_or_default()
}

#[test]
fn what_no_coordinator_could_do_is_not_late() {
    let at = |second: i64| Timestamp::from_second(second).unwrap();
    let events = |fired: i64| {
        [
            json!({ "type": "run.started", "at": at(100).to_string(),
                "decided": [{ "nodeId": "w", "state": "WAITING", "dueInMs": 10_000 }] }),
            json!({ "type": "timer.fired", "nodeId": "w", "at": at(fired).to_string() }),
        ]
    };
    let outages = [(at(90), at(99)), (at(108), at(114)), (at(120), at(130))];
    for (fired, late) in [(115, 1), (114, 0), (121, 7)] {
        assert_eq!(lateness(&events(fired), &outages), Duration::from_secs(late), "{fired}");
    }
    assert_eq!(lateness(&events(112), &[]), Duration::from_secs(2));
}
