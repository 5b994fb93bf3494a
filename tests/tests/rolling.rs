//! Every process is replaced in turn while clients work, with maps under way: nobody notices.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::items::{Effect, Place, attempts};
use cluster_tests::cluster::random::{Random, seed};
use cluster_tests::cluster::runs::text;
use cluster_tests::cluster::{Cluster, Part, Shape};
use cluster_tests::wait;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// What is replaced, and what goes on meanwhile.
struct Course {
    /// Clients that run workflows at the same time.
    clients: usize,
    /// Clients that run maps at the same time.
    maps: usize,
    /// Clients that save and read at the same time, one request after the other.
    readers: usize,
    /// How long a process is away.
    away: Duration,
    /// How often each process is replaced.
    rounds: usize,
    /// How long the clients work between two replacements.
    settled: Duration,
}

/// How long the balancer keeps a connection that is not used: less than a stopping gateway does.
const IDLE_MAX: Duration = Duration::from_millis(500);
/// How long one request may take: longer than any restart.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// The file that the nodes write to, a line for each attempt.
const EFFECTS: &str = "rolling";
/// Nodes of the workflow that write to it.
const NODES: usize = 5;
/// Items of the map whose node writes to it: a run of it is longer than a process takes to be replaced.
const ITEMS: usize = 60;

/// A run that has ended well, and what it is a run of.
type Run = (String, Work);

/// A client behind a balancer: a gateway that takes no connection is not asked, and nothing is asked twice.
#[derive(Clone)]
struct Balanced {
    http: reqwest::Client,
    origins: Arc<[String]>,
    key: Arc<str>,
}

impl Balanced {
    /// Asks any gateway.
    ///
    /// # Errors
    /// What a user would see as a failure: no answer, or one that is no success.
    async fn ask(
        &self,
        random: &mut Random,
        request: impl Fn(&reqwest::Client, &str) -> RequestBuilder,
    ) -> Result<Value, String> {
        let first = random.below(self.origins.len());
        let since = Instant::now();
        for origin in (0..).map(|turn| &self.origins[(first + turn) % self.origins.len()]) {
            let answer = match request(&self.http, origin).bearer_auth(&self.key).send().await {
                Err(error) if error.is_connect() && since.elapsed() < REQUEST_TIME_MAX => {
                    wait::pace(Duration::from_millis(10)).await;
                    continue;
                }
                Err(error) => return Err(format!("{origin}: {error:?}")),
                Ok(answer) => answer,
            };
            let (status, url) = (answer.status(), answer.url().clone());
            let body = answer.text().await.map_err(|error| format!("{url}: {error:?}"))?;
            if !status.is_success() {
                return Err(format!("{url}: {status} {body}"));
            }
            return serde_json::from_str(&body).map_err(|error| format!("{url}: {error}: {body}"));
        }
        Err("there is no gateway".to_owned())
    }

    /// Runs the workflow once, and gives the run's id.
    async fn run(&self, random: &mut Random, workflow: &str) -> Result<String, String> {
        let path = format!("/api/v1/workflows/{workflow}/execute");
        let started =
            self.ask(random, |http, origin| http.request(Method::POST, format!("{origin}{path}")).json(&json!({})));
        let id = text(&started.await?["executionId"]);
        loop {
            let path = format!("/api/v1/workflows/executions/{id}/poll?wait=5");
            let poll = self.ask(random, |http, origin| http.get(format!("{origin}{path}"))).await?;
            match poll["status"].as_str() {
                Some("RUNNING") => {}
                Some("COMPLETED") => return Ok(id),
                _ => return Err(format!("{id}: {poll}")),
            }
        }
    }
}

fn graph() -> Graph {
    let mut graph = Graph::default().node("input", "input:text", json!({ "text": "thread" }));
    let mut last = "input.text".to_owned();
    for number in 0..NODES {
        let id = format!("n{number}");
        graph = graph.node(&id, "debug:effect", json!({ "file": EFFECTS, "ms": 40 * number }));
        graph = graph.edge(&last, &format!("{id}.in"));
        last = format!("{id}.out");
    }
    graph
}

/// A few items at a time, so that there is one under way in every moment.
fn map() -> Graph {
    Graph::effects_map(ITEMS, 2, json!({ "file": EFFECTS, "ms": 50 }))
}

/// A workflow that is run again and again, and what works in each of its runs.
#[derive(Clone)]
struct Work {
    workflow: String,
    places: Arc<[Place]>,
    is_map: bool,
}

async fn work(client: Balanced, mut random: Random, work: Work, stop: Arc<AtomicBool>) -> (Vec<Run>, Vec<String>) {
    let (mut runs, mut failures) = (Vec::new(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        match client.run(&mut random, &work.workflow).await {
            Ok(run) => runs.push((run, work.clone())),
            Err(failure) => failures.push(failure),
        }
    }
    (runs, failures)
}

/// Saves, reads and lists as fast as it can; gives what failed.
async fn read(
    client: Balanced,
    mut random: Random,
    workflow: String,
    stop: Arc<AtomicBool>,
) -> (Vec<Run>, Vec<String>) {
    let mut failures = Vec::new();
    let mut requests = 0;
    while !stop.load(Ordering::Relaxed) {
        let (method, path, body) = match random.below(5) {
            0 => (Method::POST, "/api/v1/workflows".to_owned(), graph().named("another")),
            1 => (Method::GET, format!("/api/v1/workflows/{workflow}/executions?limit=5"), Value::Null),
            2 => (Method::GET, "/api/v1/nodes".to_owned(), Value::Null),
            _ => (Method::GET, format!("/api/v1/workflows/{workflow}"), Value::Null),
        };
        let request = |http: &reqwest::Client, origin: &str| {
            let request = http.request(method.clone(), format!("{origin}{path}"));
            if body.is_null() { request } else { request.json(&body) }
        };
        failures.extend(client.ask(&mut random, request).await.err());
        requests += 1;
    }
    println!("a reader made {requests} requests");
    (Vec::new(), failures)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_process_is_replaced_and_no_request_fails() {
    // About as long as a new container takes.
    let away = Duration::from_secs(1);
    let course = Course { clients: 6, maps: 2, readers: 4, away, rounds: 2, settled: Duration::from_millis(700) };
    replace(course, |_| true).await;
}

/// Many stops under many requests: each is a moment in which a call may fall between two coordinators.
#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_is_replaced_again_and_again_and_no_request_fails() {
    let (away, settled) = (Duration::from_millis(50), Duration::from_millis(300));
    let course = Course { clients: 24, maps: 2, readers: 12, away, rounds: 15, settled };
    replace(course, |part| part == Part::Coordinator).await;
}

/// Replaces parts while clients work.
async fn replace(course: Course, is_replaced: impl Fn(Part) -> bool) {
    let mut random = Random::from_seed(seed("rolling"));
    let mut cluster = Cluster::of(Shape::new(2, 3, 4)).await;
    let workflow = cluster.client().save("rolling", &graph()).await;
    let key = std::fs::read_to_string(cluster.folder().join("coordinator").join("key")).unwrap();
    let client = Balanced {
        http: reqwest::Client::builder().timeout(REQUEST_TIME_MAX).pool_idle_timeout(IDLE_MAX).build().unwrap(),
        origins: [cluster.origin(0), cluster.origin(1)].into(),
        key: key.trim().into(),
    };
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    let maps = cluster.client().save("rolling map", &map()).await;
    let place = |node: String, index: String| (node, index);
    let chain = Work {
        workflow: workflow.clone(),
        places: (0..NODES).map(|number| place(format!("n{number}"), String::new())).collect(),
        is_map: false,
    };
    let maps = Work {
        workflow: maps,
        places: (0..ITEMS).map(|item| place("work".to_owned(), item.to_string())).collect(),
        is_map: true,
    };
    for work in std::iter::repeat_n(&chain, course.clients).chain(std::iter::repeat_n(&maps, course.maps)) {
        clients.spawn(self::work(client.clone(), random.fork(), work.clone(), Arc::clone(&stop)));
    }
    for _ in 0..course.readers {
        clients.spawn(read(client.clone(), random.fork(), workflow.clone(), Arc::clone(&stop)));
    }
    let mut problems = Vec::new();
    let mut stopped_for = BTreeMap::new();
    for _ in 0..course.rounds {
        for part in cluster.parts().into_iter().filter(|part| is_replaced(*part)) {
            wait::pace(course.settled).await;
            let since = Instant::now();
            let ended = cluster.replace(part, course.away).await;
            if !ended.success() {
                problems.push(format!("{part:?} ended with {ended}"));
            }
            stopped_for.insert(format!("{part:?}"), since.elapsed().as_millis());
            cluster.serves().await;
        }
    }
    wait::pace(course.settled).await;
    stop.store(true, Ordering::Relaxed);
    let mut runs = Vec::new();
    for (done, failures) in clients.join_all().await {
        runs.extend(done);
        problems.extend(failures);
    }
    let maps = runs.iter().filter(|(_, work)| work.is_map).count();
    println!(
        "replaced {} times each, {} runs, {maps} of them maps, last stops in ms: {stopped_for:?}",
        course.rounds,
        runs.len()
    );
    problems.extend(repeated(&cluster, &runs));
    let wanted: Value = (0..ITEMS).map(|item| json!([null, item])).collect();
    for (run, _) in runs.iter().filter(|(_, work)| work.is_map) {
        let ended = cluster.client().execution(run).await;
        if ended["finalOutput"]["output"]["value"] != wanted {
            problems.push(format!("{run} gives {}", ended["finalOutput"]));
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    assert!(runs.len() > course.clients && maps > 0, "the clients hardly worked");
}

/// Every node of every run, and of every item, worked once: whoever was asked to leave finished what it had, or gave back what
/// it had not begun.
fn repeated(cluster: &Cluster, runs: &[Run]) -> Vec<String> {
    let mut done: BTreeMap<String, Vec<Effect>> = BTreeMap::new();
    for effect in cluster.witnessed(EFFECTS) {
        done.entry(effect.execution.clone()).or_default().push(effect);
    }
    let done: BTreeMap<String, _> = done.into_iter().map(|(run, effects)| (run, attempts(&effects))).collect();
    let mut problems = Vec::new();
    for (run, places) in &done {
        let several = places.iter().filter(|(_, attempts)| attempts.len() > 1);
        problems.extend(several.map(|(place, attempts)| format!("{run}: {place:?} worked in attempts {attempts:?}")));
    }
    for (run, work) in runs {
        let is_done = |place: &&Place| done.get(run).is_some_and(|places| places.contains_key(*place));
        let count = work.places.iter().filter(is_done).count();
        if count != work.places.len() {
            problems.push(format!("{run}: {count} of {} nodes worked", work.places.len()));
        }
    }
    problems
}
