//! A crash in one item of a long map redoes no other: what a witness outside of the cluster has seen of each.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::items::{Effect, Place, attempts, lost};
use cluster_tests::cluster::random::number;
use cluster_tests::cluster::{AgentShape, Cluster, Part, Setting, Shape, history};
use cluster_tests::wait;
use heddle_test_postgres::Server;
use serde_json::json;

use super::numbers;

/// Items of the map, unless `SCOPE_ITEMS` says otherwise: 100,000 are the most that there may be.
const ITEMS: u64 = 10_000;
/// How long the whole map may take, on a machine that has much else to do.
const RUN_TIME_MAX: Duration = Duration::from_secs(600);
const SLOTS: u32 = 8;
/// Items open at a time.
const WINDOW: usize = 64;
/// What a coordinator that reads a run back may take more than one that has nothing to read, in bytes: the run itself, and
/// what reading it takes. All items' values and events together are more.
const LOAD_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What the agents have written: when an item's work began, and when it was done; the same of the one item that is held.
const BEGUN: &str = "long.begun";
const DONE: &str = "long.done";
const HELD_BEGUN: &str = "held.begun";
const HELD_DONE: &str = "held.done";
/// The held item goes on when this file is there.
const GATE: &str = "gate";

/// Whose agent runs the held item.
const HOLDER: Part = Part::Agent(1);

fn items() -> u64 {
    number("SCOPE_ITEMS").unwrap_or(ITEMS)
}

/// The number of the item in which the crash comes, from 0: of 100,000 the 70,001st.
fn held() -> u64 {
    items() * 7 / 10
}

/// A map whose every item works and gives itself; one of them works on until it is let go.
fn graph() -> Graph {
    let work = json!({ "file": DONE, "begun": BEGUN, "ms": 2 });
    let hold = json!({ "file": HELD_DONE, "begun": HELD_BEGUN, "until": GATE });
    Graph::default()
        .node("list", "debug:list", json!({ "count": items() }))
        .node("m", "logic:map", json!({ "concurrency": WINDOW }))
        .node("work", "debug:effect", work)
        .inside("m")
        .node("is-held", "logic:if", json!({ "condition": format!("value == {}", held()) }))
        .inside("m")
        .node_with("hold", "debug:effect", hold, json!({ "agent": { "labels": { "holder": "yes" } } }))
        .inside("m")
        .node("same", "logic:merge", json!({}))
        .inside("m")
        .node("out", "output:preview", json!({}))
        .edge("list.out", "m.items")
        .edge("m.item", "work.item")
        .edge("m.item", "is-held.value")
        .edge("is-held.true", "hold.item")
        .edge("m.item", "same.branches")
        .edge("same.value", "m.result")
        .edge("m.results", "out.value")
}

async fn cluster(database: Option<String>) -> Cluster {
    let agent = |labels| AgentShape { slots: SLOTS, labels };
    let shape = Shape { gateways: 1, agents: vec![agent(""), agent("holder=yes")] };
    Cluster::set_up(shape, Setting { database, ..Setting::default() }).await
}

/// Starts the run and waits until the item is under way that is held.
async fn begin(cluster: &Cluster) -> String {
    let workflow = cluster.client().save("a long map", &graph()).await;
    let execution = cluster.client().run(&workflow, "a long map").await;
    let since = Instant::now();
    wait::until("the item that is held", RUN_TIME_MAX, || async {
        if cluster.effects(HELD_BEGUN).is_empty() { Err("it has not begun".to_owned()) } else { Ok(()) }
    })
    .await;
    println!("item {} began after {:.1} s", held(), since.elapsed().as_secs_f64());
    execution
}

fn let_go(cluster: &Cluster) {
    std::fs::write(cluster.folder().join("effects").join(GATE), "").unwrap();
}

fn place_of(node: &str, item: u64) -> Place {
    (node.to_owned(), item.to_string())
}

/// The places that some attempt has done more than once, or several attempts have.
fn several(effects: &[Effect]) -> BTreeSet<Place> {
    attempts(effects).into_iter().filter(|(_, attempts)| attempts.len() > 1).map(|(place, _)| place).collect()
}

/// Waits until the run is over: it gives every item in its order, its history has each output once, and every item has
/// worked. Gives the history.
async fn finished(cluster: &Cluster, execution: &str) -> Vec<serde_json::Value> {
    let since = Instant::now();
    let ended = cluster.client().ended(execution, RUN_TIME_MAX).await;
    assert_eq!(ended["status"], "COMPLETED", "{}", ended["error"]);
    assert!(ended["finalOutput"]["output"]["value"] == numbers(items() as usize), "the results are others");
    println!("the rest took {:.1} s", since.elapsed().as_secs_f64());
    let events = cluster.client().events(execution).await;
    assert_eq!(history::problems_of_items(&ended, &events), Vec::<String>::new());
    let wanted: BTreeSet<Place> = (0..items()).map(|item| place_of("work", item)).collect();
    for file in [BEGUN, DONE] {
        let seen: BTreeSet<Place> = attempts(&cluster.witnessed(file)).into_keys().collect();
        assert!(seen == wanted, "{file}: {:?}", seen.symmetric_difference(&wanted).take(5).collect::<Vec<_>>());
    }
    assert_eq!(cluster.witnessed(HELD_DONE).len(), 1, "the held item is done by the attempt that was let go");
    events
}

/// A killed coordinator takes nobody's work away: no item begins again, and the one that was under way ends as if nothing
/// had happened.
async fn coordinator_killed(mut cluster: Cluster) {
    let idle = cluster.process(Part::Coordinator).begin_peak();
    let execution = begin(&cluster).await;
    let working = cluster.process(Part::Coordinator).peak();
    cluster.kill(Part::Coordinator);
    let done = cluster.witnessed(DONE).len();
    assert!(cluster.effects(HELD_DONE).is_empty(), "the crash is while the item is under way");
    let since = Instant::now();
    cluster.start_part(Part::Coordinator, None);
    cluster.serves().await;
    let (served, loaded) = (since.elapsed(), cluster.process(Part::Coordinator).peak());
    // More than was open: the run has been read, and goes on.
    wait::until("items that open after the kill", RUN_TIME_MAX, || async {
        let done_now = cluster.witnessed(DONE).len();
        if done_now > done + WINDOW { Ok(()) } else { Err(format!("{done_now} are done, {done} were")) }
    })
    .await;
    let went_on = since.elapsed();
    let_go(&cluster);
    finished(&cluster, &execution).await;
    for file in [BEGUN, DONE, HELD_BEGUN] {
        assert_eq!(several(&cluster.witnessed(file)), BTreeSet::new(), "{file}: work that was done again");
    }
    let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
    println!(
        "long map: {} items, the coordinator killed in item {} when {done} were done; it served again after {:.2} s, \
         and opened items after {:.2} s, with {:.0} MiB at most (idle {:.0}, at work {:.0}, to the end {:.0}); every item worked once",
        items(),
        held(),
        served.as_secs_f64(),
        went_on.as_secs_f64(),
        mib(loaded),
        mib(idle),
        mib(working),
        mib(cluster.process(Part::Coordinator).peak()),
    );
    assert!(loaded < idle + LOAD_BYTES_MAX, "reading the run took {} bytes", loaded - idle);
}

/// A killed agent costs what it had: what the history says was lost with it, and nothing else begins again.
async fn agent_killed(mut cluster: Cluster) {
    let execution = begin(&cluster).await;
    let killed = cluster.agent_id(HOLDER);
    cluster.kill(HOLDER);
    let_go(&cluster);
    cluster.start_part(HOLDER, None);
    let events = finished(&cluster, &execution).await;
    let lost = lost(&events);
    assert!(lost.values().all(|agent| *agent == killed), "somebody else's work was lost: {lost:?}");
    let lost: BTreeSet<Place> = lost.into_keys().map(|(place, _)| place).collect();
    assert!(lost.contains(&place_of("hold", held())), "{lost:?}");
    // One node of each open item, and of the held item two.
    assert!(lost.len() <= WINDOW + 1, "{lost:?}");

    let (begun, done) = (cluster.witnessed(BEGUN), cluster.witnessed(DONE));
    let of_held = |node: &str| attempts(&cluster.witnessed(HELD_BEGUN)).get(&place_of(node, held())).cloned();
    assert_eq!(of_held("hold"), Some(vec![1, 2]), "the held item began once more");
    for (file, effects) in [(BEGUN, &begun), (DONE, &done)] {
        let again = several(effects);
        assert!(again.is_subset(&lost), "{file}: again, though not lost: {:?}", again.difference(&lost));
        let often: Vec<_> = attempts(effects).into_iter().filter(|(_, attempts)| attempts.len() > 2).collect();
        assert!(often.is_empty(), "{file}: more often than twice: {often:?}");
    }
    // Cut off in its work: what the agent had begun and not done. It had no more slots than that.
    let firsts = |effects: &[Effect]| -> BTreeSet<Place> {
        effects.iter().filter(|effect| effect.attempt == 1).map(|effect| effect.place.clone()).collect()
    };
    let cut_off = firsts(&begun).difference(&firsts(&done)).count() + 1;
    assert!(cut_off <= SLOTS as usize, "{cut_off} items were at work at one agent");
    println!(
        "long map: {} items, an agent killed in item {}: {} attempts were lost with it, of which {cut_off} were at work and {} \
         had just done it; those alone were tried again",
        items(),
        held(),
        lost.len(),
        several(&done).len(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_is_killed_in_an_item_redoes_none() {
    coordinator_killed(cluster(None).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_is_killed_in_an_item_redoes_none_on_postgres() {
    let Some(server) = Server::start() else { return };
    coordinator_killed(cluster(Some(server.database())).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_in_an_item_takes_only_its_own_with_it() {
    agent_killed(cluster(None).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_in_an_item_takes_only_its_own_with_it_on_postgres() {
    let Some(server) = Server::start() else { return };
    agent_killed(cluster(Some(server.database())).await).await;
}
