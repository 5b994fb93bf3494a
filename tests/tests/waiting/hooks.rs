//! Hooks: called once, twice, at the same moment, with a wrong form, too late, and at addresses that nobody has made.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_is_called_once() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    // What hangs on the address runs while the node waits.
    let graph = hook(json!({})).node("told", "output:preview", json!({})).edge("w.url", "told.value");
    let execution = start(client, "once", &graph).await;
    let address = address(client, &execution).await;
    let told = wait::until("the address at work", RUN_TIME_MAX, || async {
        let run = client.execution(&execution).await;
        let told = shown(&run, "told");
        if told.is_string() { Ok(told) } else { Err(run.to_string()) }
    })
    .await;
    assert_eq!(path(&told), address, "the node gives what the run waits for");
    let done = json!({ "tracking": ["1Z", 7] });
    let first = call(client, &address, &done).await;
    assert_eq!((first.status, first.json()), (202, json!({ "accepted": true })), "{first}");
    let second = call(client, &address, &done).await;
    let is_refused = matches!(&refusal(&second), (409, code) if code == "hook_used");
    // The run may be over already.
    assert!(is_refused || refusal(&second) == refused(410, "hook_expired"), "{second}");
    let ended = completed(client, &execution).await;
    assert_eq!((shown(&ended, "out"), shown(&ended, "late")), (done, json!(false)));
    assert_eq!((effects(&cluster, &execution), events_of(client, &execution, "webhook.called").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_hook_says_so_while_its_run_goes_on() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let graph = hook(json!({})).node("then", "logic:signal", json!({ "name": "then" })).edge("w.body", "then.value");
    let execution = start(client, "used", &graph).await;
    let address = address(client, &execution).await;
    let first = call_until_answered(client, &address, &json!(1), "one").await;
    assert_eq!(first.status, 202, "{first}");
    let again = call_until_answered(client, &address, &json!(1), "one").await;
    assert_eq!((again.status, again.json()), (202, json!({ "accepted": true })), "the same call: {again}");
    assert_eq!(refusal(&call(client, &address, &json!(1)).await), refused(409, "hook_used"));
    let other = call_until_answered(client, &address, &json!(2), "one").await;
    assert_eq!(refusal(&other), refused(422, "idempotency_mismatch"), "{other}");
    waiting(client, &execution, "signal", 1).await;
    assert!(signalled(client, &execution, "then", &Value::Null).await);
    let ended = completed(client, &execution).await;
    assert_eq!((shown(&ended, "out"), effects(&cluster, &execution)), (json!(1), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_calls_at_the_same_moment_one_counts() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let graph = hook(json!({})).node("then", "logic:signal", json!({ "name": "then" })).edge("w.body", "then.value");
    let execution = start(client, "moment", &graph).await;
    let address = address(client, &execution).await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..12 {
        let (client, address) = (client.clone(), address.clone());
        calls.spawn(async move { (number, call(&client, &address, &json!(number)).await) });
    }
    let mut taken = Vec::new();
    while let Some(answered) = calls.join_next().await {
        let (number, answer) = answered.unwrap();
        match answer.status {
            202 => taken.push(number),
            _ => assert_eq!(refusal(&answer), refused(409, "hook_used"), "{answer}"),
        }
    }
    assert_eq!(taken.len(), 1, "{taken:?}");
    waiting(client, &execution, "signal", 1).await;
    assert!(signalled(client, &execution, "then", &Value::Null).await);
    let ended = completed(client, &execution).await;
    assert_eq!(shown(&ended, "out"), json!(taken[0]));
    assert_eq!((effects(&cluster, &execution), events_of(client, &execution, "webhook.called").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_made_is_no_hook() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let execution = start(client, "forged", &hook(json!({}))).await;
    let address = address(client, &execution).await;
    let (folder, token) = address.rsplit_once('/').unwrap();
    // Each letter of a token is changed in turn, and pieces of it are left out.
    let mut forged: Vec<String> = (0..token.len())
        .map(|place| {
            let other = if token.as_bytes()[place] == b'A' { "B" } else { "A" };
            format!("{}{other}{}", &token[..place], &token[place + 1..])
        })
        .collect();
    forged.extend([token[1..].to_owned(), token[..token.len() - 4].to_owned(), format!("{token}AAAA"), "x".to_owned()]);
    let mut refusals = 0;
    for forged in forged {
        let answer = call(client, &format!("{folder}/{forged}"), &json!("forged")).await;
        assert_eq!(refusal(&answer), refused(404, "hook_not_found"), "{forged}: {answer}");
        refusals += 1;
    }
    assert!(refusals > 40);
    assert_eq!(call(client, &address, &json!("true")).await.status, 202, "it waits on");
    let ended = completed(client, &execution).await;
    assert_eq!(shown(&ended, "out"), json!("true"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_does_not_fit_leaves_the_hook_as_it_is() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let schema = json!({ "type": "object", "properties": { "state": { "enum": ["done", "failed"] } } });
    let execution = start(client, "form", &hook(json!({ "schema": schema }))).await;
    let address = address(client, &execution).await;
    for (body, place) in [(json!({ "state": "soon" }), "/state"), (json!(7), "")] {
        let answer = call(client, &address, &body).await;
        assert_eq!(refusal(&answer), refused(422, "invalid_body"), "{answer}");
        assert_eq!(answer.json()["path"].as_str().unwrap_or_default(), place, "{answer}");
    }
    let large = call(client, &address, &json!("x".repeat(64 * 1024))).await;
    assert_eq!(refusal(&large), refused(413, "body_too_large"), "{large}");
    let broken = send(client.anonymous(Method::POST, &address).body("{")).await.unwrap();
    assert_eq!(refusal(&broken), refused(400, "invalid_json"), "{broken}");
    let put = send(client.anonymous(Method::PUT, &address).json(&json!({ "state": "done" }))).await.unwrap();
    assert_eq!(put.status, 202, "{put}");
    let ended = completed(client, &execution).await;
    assert_eq!(shown(&ended, "out"), json!({ "state": "done" }));
}

/// A schema that looks twice at each level, by itself.
fn endless() -> Value {
    json!({ "type": "object", "anyOf": [
        { "properties": { "a": { "$ref": "#" } }, "required": ["a"] },
        { "properties": { "a": { "$ref": "#" } }, "required": ["a", "z"] },
    ]})
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_makes_a_check_that_does_not_end() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    for (node_type, config) in [
        ("logic:wait_webhook", json!({ "schema": endless() })),
        ("logic:signal", json!({ "name": "go", "schema": endless() })),
        ("logic:review", json!({ "schema": endless() })),
    ] {
        let graph = Graph::default().node("w", node_type, config).named("endless");
        let saved = client.post("/api/v1/workflows", &graph, node_type).await;
        assert!(saved.status == 422 && saved.to_string().contains("itself"), "{node_type}: {saved}");
    }
    let choices: Vec<Value> = (0..3_000).map(|number| json!({ "const": number })).collect();
    let schema = json!({ "items": { "anyOf": choices } });
    let execution = start(client, "many looks", &hook(json!({ "schema": schema }))).await;
    let address = address(client, &execution).await;
    let answer = call(client, &address, &json!(vec![5_000; 10_000])).await;
    assert_eq!(refusal(&answer), refused(422, "invalid_body"), "{answer}");
    assert_eq!(call(client, &address, &json!([1, 2])).await.status, 202);
    completed(client, &execution).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_of_each_item_is_shown_while_it_waits() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let graph = Graph::default()
        .node("list", "debug:list", json!({ "count": 12 }))
        .node("m", "logic:map", json!({ "concurrency": 12 }))
        .node("w", "logic:wait_webhook", json!({}))
        .inside("m")
        .node("out", "output:preview", json!({}))
        .edge("list.out", "m.items")
        .edge("m.item", "w.value")
        .edge("w.body", "m.result")
        .edge("m.results", "out.value");
    let execution = start(client, "items", &graph).await;
    let named = wait::until("all items", RUN_TIME_MAX, || async {
        let named = waiting(client, &execution, "webhook", 10).await;
        if named[9]["more"] == 2 { Ok(named) } else { Err(named[9].to_string()) }
    })
    .await;
    let at = |index: u32| format!("/api/v1/workflows/executions/{execution}/nodes/w?index={index}");
    let first = client.get_json(&at(0)).await;
    assert_eq!(path(&first["output"]["url"]), path(&named[0]["url"]), "{first}");
    // Only ten are named.
    for index in 0..12 {
        let one = client.get_json(&at(index)).await;
        let address = path(&one["output"]["url"]);
        assert_eq!(call(client, &address, &json!(index)).await.status, 202, "{one}");
    }
    completed(client, &execution).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_takes_a_call_that_comes_too_late() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    // Its time is over while its run goes on.
    let graph = hook(json!({ "timeoutMs": 1_500 }));
    let graph = graph.node("then", "logic:signal", json!({ "name": "then" })).edge("w.timed_out", "then.value");
    let execution = start(client, "late", &graph).await;
    let late = address(client, &execution).await;
    waiting(client, &execution, "signal", 1).await;
    let answer = call(client, &late, &json!(1)).await;
    assert_eq!(refusal(&answer), refused(410, "hook_expired"), "{answer}");
    assert!(signalled(client, &execution, "then", &Value::Null).await);
    let ended = completed(client, &execution).await;
    assert_eq!((shown(&ended, "out"), shown(&ended, "late")), (Value::Null, json!(true)));
    // And here it is the run.
    let execution = start(client, "cancelled", &hook(json!({}))).await;
    let cancelled = address(client, &execution).await;
    let run = client.execution(&execution).await;
    let shown = node(&run, "w");
    assert_eq!(path(&shown["output"]["url"]), cancelled, "its node shows it, too: {shown}");
    client.post(&format!("/api/v1/workflows/executions/{execution}/cancel"), &json!({}), "cancel").await;
    assert_eq!(client.ended(&execution, RUN_TIME_MAX).await["status"], "CANCELLED");
    let answer = call(client, &cancelled, &json!(1)).await;
    assert_eq!(refusal(&answer), refused(410, "hook_expired"), "{answer}");
    assert_eq!(events_of(client, &execution, "webhook.called").await, 0);
}
