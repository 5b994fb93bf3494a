//! Everything is killed (SIGKILL) while runs wait for everything, and started again.

use std::time::Instant;

use cluster_tests::cluster::Shape;
use heddle_test_postgres::Server;

use super::*;

/// How long what waits for time waits: longer than a start of the cluster takes, mostly.
const WHILE: Duration = Duration::from_secs(8);
const ITEMS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn waits_outlive_all_processes() {
    outlive(Cluster::start(2, 4).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_outlive_all_processes_on_postgres() {
    let Some(server) = Server::start() else { return };
    outlive(Cluster::on(Shape::new(1, 2, 4), &server.database()).await).await;
}

fn map_of_hooks() -> Graph {
    Graph::default()
        .node("list", "debug:list", json!({ "count": ITEMS }))
        .node("m", "logic:map", json!({ "concurrency": ITEMS }))
        .node("w", "logic:wait_webhook", json!({}))
        .inside("m")
        .node("out", "output:preview", json!({}))
        .edge("list.out", "m.items")
        .edge("m.item", "w.value")
        .edge("w.body", "m.result")
        .edge("m.results", "out.value")
}

async fn outlive(mut cluster: Cluster) {
    let millis = WHILE.as_millis() as u64;
    let client = cluster.client().clone();
    let since = Instant::now();
    let timed = start(&client, "timer", &timer(json!({ "forMs": millis }))).await;
    let too_late = start(&client, "timeout", &signal(json!({ "name": "never", "timeoutMs": millis }))).await;
    let missed = start(&client, "missed", &hook(json!({ "timeoutMs": millis }))).await;
    let told = start(&client, "signal", &signal(json!({ "name": "go", "timeoutMs": 3_600_000 }))).await;
    let kept = Graph::default()
        .node("gate", "logic:wait_webhook", json!({}))
        .node("a", "logic:signal", json!({ "name": "early" }))
        .node("out", "output:preview", json!({}))
        .edge("gate.body", "a.value")
        .edge("a.body", "out.value");
    let kept = start(&client, "kept", &kept).await;
    let called = start(&client, "hooks", &map_of_hooks()).await;
    let missed_at = address(&client, &missed).await;
    let gate = address(&client, &kept).await;
    let hooks: Vec<(u64, String)> = waiting(&client, &called, "webhook", ITEMS)
        .await
        .iter()
        .map(|waiting| (waiting["index"][0].as_u64().unwrap(), path(&waiting["url"])))
        .collect();
    waiting(&client, &told, "signal", 1).await;
    waiting(&client, &too_late, "signal", 1).await;
    assert!(!signalled(&client, &kept, "early", &json!("before the kill")).await);
    for part in cluster.parts() {
        cluster.kill(part);
    }
    cluster.heal().await;

    assert!(signalled(&client, &told, "go", &json!("on")).await, "it still waits");
    for (index, address) in hooks.iter().rev() {
        let answer = call_until_answered(&client, address, &json!(index * 10), &format!("item {index}")).await;
        assert_eq!(answer.status, 202, "the same address as before: {answer}");
    }
    assert_eq!(call_until_answered(&client, &gate, &Value::Null, "gate").await.status, 202);
    let ended = completed(&client, &told).await;
    assert_eq!((shown(&ended, "out"), effects(&cluster, &told)), (json!("on"), 1));
    let ended = completed(&client, &kept).await;
    assert_eq!(shown(&ended, "out"), json!("before the kill"), "what was kept is there");
    let ended = completed(&client, &called).await;
    assert_eq!(shown(&ended, "out"), json!([0, 10, 20, 30, 40]), "each item has its own");
    for (execution, name) in [(&too_late, "timeout"), (&missed, "missed")] {
        let ended = completed(&client, execution).await;
        assert_eq!((shown(&ended, "out"), shown(&ended, "late")), (Value::Null, json!(true)), "{name}");
        assert_eq!(effects(&cluster, execution), 0, "{name}");
    }
    completed(&client, &timed).await;
    assert!(since.elapsed() >= WHILE, "nothing ends before its time");
    assert_eq!((effects(&cluster, &timed), events_of(&client, &timed, "timer.fired").await), (1, 1));
    let answer = call(&client, &missed_at, &json!(1)).await;
    assert_eq!(refusal(&answer), refused(410, "hook_expired"), "{answer}");
}
