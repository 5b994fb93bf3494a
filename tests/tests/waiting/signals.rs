//! Signals: early, late, in maps, of a wrong form, too many, and after the end.

use super::*;

/// How many signals that nobody has taken a run keeps.
const KEPT_MAX: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_takes_the_signal_of_its_name_once() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let execution = start(client, "late", &signal(json!({ "name": "order.paid" }))).await;
    let wait = waiting(client, &execution, "signal", 1).await.remove(0);
    assert_eq!((&wait["nodeId"], &wait["signal"], wait.get("url")), (&json!("w"), &json!("order.paid"), None));
    let paid = json!({ "amount": 12.5, "lines": [] });
    let sent = send_signal(client, &execution, "order.paid", &paid, "once").await;
    assert_eq!((sent.status, &sent.json()["delivered"]), (202, &json!(true)), "{sent}");
    // The same request again is the same signal, and answered as it was.
    let again = send_signal(client, &execution, "order.paid", &paid, "once").await;
    assert_eq!((again.status, &again.json()), (202, &sent.json()), "{again}");
    assert_eq!(again.headers.get("idempotent-replayed").map(|value| value.as_bytes()), Some(&b"true"[..]));
    let ended = completed(client, &execution).await;
    assert_eq!((shown(&ended, "out"), shown(&ended, "late")), (paid, json!(false)));
    assert_eq!((effects(&cluster, &execution), events_of(client, &execution, "signal.received").await), (1, 1));
    let after = send_signal(client, &execution, "order.paid", &json!(1), "after the end").await;
    assert_eq!(refusal(&after), refused(409, "execution_over"), "{after}");
    let nowhere = send_signal(client, "exec_00000000000000000000000000", "order.paid", &json!(1), "nowhere").await;
    assert_eq!(refusal(&nowhere), refused(404, "execution_not_found"), "{nowhere}");
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_that_come_early_are_kept_in_their_order() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    // The second and third node wait when the one before has had its signal.
    let graph = Graph::default()
        .node("gate", "logic:signal", json!({ "name": "open" }))
        .node("a", "logic:signal", json!({ "name": "next" }))
        .node("b", "logic:signal", json!({ "name": "next" }))
        .node("first", "output:preview", json!({}))
        .node("second", "output:preview", json!({}))
        .edge("gate.body", "a.value")
        .edge("a.body", "b.value")
        .edge("a.body", "first.value")
        .edge("b.body", "second.value");
    let execution = start(client, "early", &graph).await;
    waiting(client, &execution, "signal", 1).await;
    for number in 1..=3 {
        assert!(!signalled(client, &execution, "next", &json!(number)).await, "nobody waits for it yet");
    }
    assert!(signalled(client, &execution, "open", &Value::Null).await);
    let ended = completed(client, &execution).await;
    assert_eq!((shown(&ended, "first"), shown(&ended, "second")), (json!(1), json!(2)), "in their order");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_item_of_a_map_takes_one() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let graph = Graph::default()
        .node("list", "debug:list", json!({ "count": 12 }))
        .node("m", "logic:map", json!({ "concurrency": 12 }))
        .node("w", "logic:signal", json!({ "name": "go" }))
        .inside("m")
        .node("work", "debug:effect", json!({ "file": AFTER }))
        .inside("m")
        .node("out", "output:preview", json!({}))
        .edge("list.out", "m.items")
        .edge("m.item", "w.value")
        .edge("w.body", "work.item")
        .edge("w.body", "m.result")
        .edge("m.results", "out.value");
    let execution = start(client, "items", &graph).await;
    let named = waiting(client, &execution, "signal", 10).await;
    assert_eq!((&named[0]["index"], &named[9]["more"]), (&json!([0]), &json!(2)), "{named:?}");
    wait::until("all items", RUN_TIME_MAX, || async {
        let last = waiting(client, &execution, "signal", 10).await.pop().unwrap();
        if last["more"] == 2 { Ok(()) } else { Err(last.to_string()) }
    })
    .await;
    for number in 0..12 {
        assert!(signalled(client, &execution, "go", &json!(number)).await, "{number}");
    }
    let ended = completed(client, &execution).await;
    let mut taken: Vec<u64> = shown(&ended, "out").as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).collect();
    taken.sort_unstable();
    assert_eq!(taken, (0..12).collect::<Vec<_>>(), "each went to one item");
    assert_eq!(effects(&cluster, &execution), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_changes_nothing() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let schema = json!({ "type": "object", "required": ["amount"], "properties": { "amount": { "minimum": 1 } } });
    let execution = start(client, "form", &signal(json!({ "name": "paid", "schema": schema }))).await;
    waiting(client, &execution, "signal", 1).await;
    for (body, path) in [(json!({ "amount": 0 }), "/amount"), (json!({}), ""), (json!("paid"), "")] {
        let sent = send_signal(client, &execution, "paid", &body, &format!("form {body}")).await;
        assert_eq!(refusal(&sent), refused(422, "invalid_body"), "{body}: {sent}");
        assert_eq!(sent.json()["path"].as_str().unwrap_or_default(), path, "{sent}");
    }
    let large = send_signal(client, &execution, "paid", &json!("x".repeat(64 * 1024)), "large").await;
    assert_eq!(refusal(&large), refused(413, "body_too_large"), "{large}");
    let name = send_signal(client, &execution, "paid%21", &json!(1), "name").await;
    assert_eq!(refusal(&name), refused(422, "invalid_signal_name"), "{name}");
    assert_eq!(waiting(client, &execution, "signal", 1).await.len(), 1, "it waits on");
    assert!(signalled(client, &execution, "paid", &json!({ "amount": 2 })).await);
    let ended = completed(client, &execution).await;
    assert_eq!(shown(&ended, "out"), json!({ "amount": 2 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_keeps_so_many_and_no_more() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let graph = signal(json!({ "name": "never" })).node("gate", "logic:wait", json!({ "forMs": 3_600_000 }));
    let graph = graph.node("b", "logic:signal", json!({ "name": "many" })).edge("gate.value", "b.value");
    let execution = start(client, "many", &graph).await;
    waiting(client, &execution, "signal", 1).await;
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..8 {
        let (client, execution) = (client.clone(), execution.clone());
        tasks.spawn(async move {
            let mut kept = 0;
            for number in (worker..KEPT_MAX + 80).step_by(8) {
                let sent = send_signal(&client, &execution, "many", &json!(number), &format!("many {number}")).await;
                match sent.status {
                    202 => kept += usize::from(sent.json()["delivered"] == false),
                    _ => assert_eq!(refusal(&sent), refused(429, "too_many_signals"), "{sent}"),
                }
            }
            kept
        });
    }
    let mut kept = 0;
    while let Some(ended) = tasks.join_next().await {
        kept += ended.unwrap();
    }
    assert_eq!(kept, KEPT_MAX, "as many as are kept, whoever sends beside whom");
    let told = client.events(&execution).await;
    assert_eq!(told.iter().filter(|event| event["type"] == "signal.received").count(), KEPT_MAX);
    let more = send_signal(client, &execution, "many", &json!("more"), "more").await;
    assert_eq!(refusal(&more), refused(429, "too_many_signals"), "{more}");
    // For whom somebody waits there is room.
    assert!(signalled(client, &execution, "never", &json!(1)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_signal_the_time_ends_the_wait() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    for (name, graph) in [
        ("signal", signal(json!({ "name": "paid", "timeoutMs": 700 }))),
        ("webhook", hook(json!({ "timeoutMs": 700 }))),
    ] {
        let execution = start(client, name, &graph).await;
        let ended = completed(client, &execution).await;
        assert_eq!((shown(&ended, "out"), shown(&ended, "late")), (Value::Null, json!(true)), "{name}");
        assert_eq!((&node(&ended, "after")["state"], effects(&cluster, &execution)), (&json!("SKIPPED"), 0), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_given_up_takes_nothing() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let graph = Graph::default()
        .node("quick", "logic:signal", json!({ "name": "quick" }))
        .node("slow", "logic:signal", json!({ "name": "slow" }))
        .node("race", "logic:race", json!({}))
        .node("then", "logic:signal", json!({ "name": "then" }))
        .node("out", "output:preview", json!({}))
        .edge("quick.body", "race.branches")
        .edge("slow.body", "race.branches")
        .edge("race.value", "then.value")
        .edge("race.value", "out.value");
    let execution = start(client, "race", &graph).await;
    waiting(client, &execution, "signal", 2).await;
    assert!(signalled(client, &execution, "quick", &json!("first")).await);
    wait::until("the race's end", RUN_TIME_MAX, || async {
        let named = waiting(client, &execution, "signal", 1).await.remove(0);
        if named["signal"] == "then" { Ok(()) } else { Err(named.to_string()) }
    })
    .await;
    assert!(!signalled(client, &execution, "slow", &json!("second")).await, "nobody waits for it any more");
    assert!(signalled(client, &execution, "then", &json!(1)).await);
    let ended = completed(client, &execution).await;
    assert_eq!(shown(&ended, "out"), json!("first"));
    // And a cancelled run takes nothing at all.
    let execution = start(client, "cancelled", &signal(json!({ "name": "paid" }))).await;
    waiting(client, &execution, "signal", 1).await;
    client.post(&format!("/api/v1/workflows/executions/{execution}/cancel"), &json!({}), "cancel").await;
    assert_eq!(client.ended(&execution, RUN_TIME_MAX).await["status"], "CANCELLED");
    let after = send_signal(client, &execution, "paid", &json!(1), "after the cancel").await;
    assert_eq!(refusal(&after), refused(409, "execution_over"), "{after}");
}
