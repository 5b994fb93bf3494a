//! Every part is killed at random moments, and at every marked place, while runs come in; then all is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cluster_tests::cluster::client::Client;
use cluster_tests::cluster::containers::Contained;
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::items::Effect;
use cluster_tests::cluster::random::{Random, number, seed};
use cluster_tests::cluster::runs::text;
use cluster_tests::cluster::{Cluster, Part, Shape, history, workload};
use cluster_tests::wait;
use heddle_test_postgres::Server;
use serde_json::json;
use tokio::task::JoinSet;

/// Clients that submit at the same time, by what their workflows are made of.
const CLIENTS: [Kind; 5] = [Kind::Contained, Kind::Plain, Kind::Contained, Kind::Plain, Kind::Waiting];
/// The suite on PostgreSQL takes this part of the time.
const PART_ON_POSTGRES: u32 = 5;
/// How long a run may take once all is healed.
const HEALED_RUN_TIME_MAX: Duration = Duration::from_secs(120);

/// A run that was acknowledged.
pub(super) struct Acknowledged {
    pub(super) graph: Graph,
    /// What has to come of it, if its graph has containers.
    pub(super) contained: Option<Arc<Contained>>,
    /// Its workflow, if all of that one's runs were acknowledged.
    pub(super) workflow: Option<String>,
    pub(super) execution: String,
    pub(super) cancelled: bool,
}

/// Clients that submit runs until they are told to stop.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Vec<Acknowledged>>,
}

impl Load {
    /// Clients whose requests no other load has made: `name` is in all their keys.
    pub(super) fn start(client: &Client, name: &str, random: &mut Random) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for (number, kind) in CLIENTS.into_iter().enumerate() {
            let name = format!("{name} client {number}");
            clients.spawn(submit(client.clone(), name, kind, random.fork(), Arc::clone(&stop)));
        }
        Self { stop, clients }
    }

    pub(super) async fn stop(self) -> Vec<Acknowledged> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await.into_iter().flatten().collect()
    }
}

/// What a client's workflows are made of.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Nodes that run once.
    Plain,
    /// Maps, loops and the like: one of these is always under way.
    Contained,
    /// A wait long enough that each look for what falls due finds one, however slow the machine is.
    Waiting,
}

async fn submit(
    client: Client,
    of: String,
    kind: Kind,
    mut random: Random,
    stop: Arc<AtomicBool>,
) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let name = format!("{of} workflow {}", acknowledged.len());
        let contained = match kind {
            Kind::Plain | Kind::Waiting => None,
            Kind::Contained => Some(Arc::new(Contained::draw(&mut random))),
        };
        let graph = match (&contained, kind) {
            (Some(contained), _) => contained.graph.clone(),
            (None, Kind::Waiting) => workload::waiting(),
            (None, _) => workload::graph(&mut random),
        };
        let workflow = client.save(&name, &graph).await;
        let run = |execution: String| Acknowledged {
            graph: graph.clone(),
            contained: contained.clone(),
            workflow: Some(workflow.clone()),
            execution,
            cancelled: false,
        };
        acknowledged.extend(batch(&client, &workflow, &name).await.into_iter().map(run));
        for round in 0..3 {
            let execution = client.run(&workflow, &format!("{name} round {round}")).await;
            let mut cancelled = random.percent(5);
            if cancelled {
                let path = format!("/api/v1/workflows/executions/{execution}/cancel");
                let answer = client.post(&path, &json!({}), &format!("cancel {execution}")).await;
                // While the request was made again and again, the run may have come to its end.
                let is_over = answer.status == 409 && answer.json()["code"] == "execution_over";
                assert!(answer.is_success() || is_over, "{answer}");
                cancelled = !is_over;
            }
            acknowledged.push(Acknowledged { cancelled, ..run(execution) });
            wait::pace(random.gap(Duration::from_millis(150))).await;
        }
    }
    acknowledged
}

/// Two runs of one batch, by their ids: what starts them crosses from slot to slot.
async fn batch(client: &Client, workflow: &str, name: &str) -> Vec<String> {
    let path = format!("/api/v1/workflows/{workflow}/execute");
    let body = json!({ "iteratorConfigs": [{ "nodeId": "input", "values": ["one", "two"] }] });
    let answer = client.post(&path, &body, &format!("{name} batch")).await;
    assert_eq!(answer.status, 201, "{answer}");
    answer.json()["executionRuns"].as_array().unwrap().iter().map(|run| text(&run["id"])).collect()
}

/// Waits until these runs are over, however they have ended.
pub(super) async fn over(client: &Client, runs: &[Acknowledged]) {
    for run in runs {
        client.ended(&run.execution, HEALED_RUN_TIME_MAX).await;
    }
}

/// Every acknowledged run is there, has ended well, and its history is whole; then nothing changes any more.
pub(super) async fn check(cluster: &mut Cluster, runs: &[Acknowledged]) {
    // The watchdog looks every few seconds in all that time: whatever is killed, something wakes each run.
    let said = cluster.process(Part::Coordinator).said();
    let alarms = said.lines().filter(|line| line.contains("nothing would wake a run"));
    let mut problems: Vec<String> = alarms.map(str::to_owned).collect();
    let mut ended = Vec::new();
    over(cluster.client(), runs).await;
    let effects = cluster.witnessed(workload::EFFECTS);
    for run in runs {
        let execution = cluster.client().ended(&run.execution, HEALED_RUN_TIME_MAX).await;
        let status = execution["status"].as_str().unwrap();
        if status != "COMPLETED" && !(run.cancelled && status == "CANCELLED") {
            problems.push(format!("{} is {status}: {}", run.execution, execution["error"]));
        }
        let events = cluster.client().events(&run.execution).await;
        match &run.contained {
            None => problems.extend(history::problems(&run.graph, &execution, &events)),
            Some(contained) => {
                problems.extend(history::problems_of_items(&execution, &events));
                if status == "COMPLETED" {
                    problems.extend(contained.problems(&execution, &events, &effects));
                }
            }
        }
        ended.push(execution);
    }
    problems.extend(doubled(&effects, runs));
    problems.extend(unheard_of(cluster.client(), runs).await);
    cluster.restart(cluster_tests::cluster::Part::Coordinator);
    cluster.serves().await;
    for (run, before) in runs.iter().zip(&ended) {
        let after = cluster.client().execution(&run.execution).await;
        if after != *before && run.cancelled.then(|| after["status"] == before["status"]) != Some(true) {
            problems.push(format!("{} has changed after its end: {before} is now {after}", run.execution));
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

/// A token goes to one boot of one agent: no attempt has its effect twice, and no completed node has it never.
fn doubled(effects: &[Effect], runs: &[Acknowledged]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut problems: Vec<String> = effects
        .iter()
        .filter(|effect| !seen.insert(*effect))
        .map(|effect| format!("double-effect: {effect:?}"))
        .collect();
    let nodes: BTreeSet<(&str, &str)> =
        effects.iter().map(|effect| (effect.execution.as_str(), effect.place.0.as_str())).collect();
    for run in runs.iter().filter(|run| !run.cancelled && run.contained.is_none()) {
        let lost = run.graph.of_type("debug:effect").filter(|node| !nodes.contains(&(run.execution.as_str(), *node)));
        problems.extend(lost.map(|node| format!("lost-effect: {} {node}", run.execution)));
    }
    problems
}

/// Every run that was asked for is there once: those of batches, too, which start by themselves.
async fn unheard_of(client: &Client, runs: &[Acknowledged]) -> Vec<String> {
    let mut known: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for run in runs {
        if let Some(workflow) = &run.workflow {
            known.entry(workflow).or_default().push(&run.execution);
        }
    }
    let mut problems = Vec::new();
    for (workflow, mut known) in known {
        let mut there = client.runs_of(workflow).await;
        there.sort_unstable();
        known.sort_unstable();
        if there != known {
            problems.push(format!("other-runs: {workflow} has {there:?}, and was asked for {known:?}"));
        }
    }
    problems
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_whatever_is_killed() {
    let time = Duration::from_secs(number("FAULT_SECONDS").unwrap_or(60));
    kill(Cluster::start(2, 4).await, time).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_on_postgres_either() {
    let Some(server) = Server::start() else { return };
    let cluster = Cluster::on(Shape::new(1, 2, 4), &server.database()).await;
    kill(cluster, Duration::from_secs(number("FAULT_SECONDS").unwrap_or(60)) / PART_ON_POSTGRES).await;
}

/// Kills parts for so long, and until there were as many kills as `FAULT_KILLS` says.
async fn kill(mut cluster: Cluster, time: Duration) {
    let mut random = Random::from_seed(seed("kills"));
    let kills_wanted = number("FAULT_KILLS").unwrap_or(0) as usize;
    let load = Load::start(cluster.client(), "kills", &mut random);
    let since = Instant::now();
    let mut kills = [0_usize; 3];
    while since.elapsed() < time || kills.iter().sum::<usize>() < kills_wanted {
        wait::pace(random.gap(Duration::from_millis(700))).await;
        let parts = cluster.parts();
        let index = random.below(parts.len());
        cluster.kill(parts[index]);
        kills[index.min(2)] += 1;
        if random.percent(50) {
            wait::pace(random.gap(Duration::from_millis(300))).await;
        }
        cluster.start_part(parts[index], None);
    }
    cluster.heal().await;
    let runs = load.stop().await;
    let (requests, unknown) = cluster.client().totals();
    let [coordinator, gateway, agents] = kills;
    println!(
        "kills: {coordinator} of the coordinator, {gateway} of the gateway, {agents} of agents in {:.0} s; {} runs \
         acknowledged, {} of them with maps, {requests} requests, {unknown} of unknown outcome",
        since.elapsed().as_secs_f64(),
        runs.len(),
        runs.iter().filter(|run| run.contained.is_some()).count(),
    );
    check(&mut cluster, &runs).await;
}
