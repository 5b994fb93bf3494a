//! Streams of runs and of their nodes: whoever is cut off goes on where they were, without a gap or a double, whatever was
//! killed; whoever comes back too late is told what is missing; and whoever does not read holds up nobody.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod reader;

use std::process::Stdio;
use std::time::Duration;

use cluster_tests::cluster::client::Client;
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::{Cluster, Part, Setting, Shape, free_address};
use cluster_tests::wait;
use reader::{Heard, Reader, history, in_pieces, last_id, pieces};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

const RUN_TIME_MAX: Duration = Duration::from_secs(90);
/// Bytes of the pieces that are kept of each attempt, at least.
const WINDOW_BYTES: usize = 256 * 1024;

/// Readers that stay connected.
const STAYING: usize = 12;

/// Nodes that show so many pieces each, of so many bytes, one in so many milliseconds.
fn speaking(nodes: usize, pieces: usize, ms: u64, bytes: usize) -> Graph {
    let mut graph = Graph::default().node("input", "input:text", json!({ "text": "thread" }));
    for number in 0..nodes {
        let id = format!("stream{number}");
        let config = json!({ "count": pieces, "ms": ms, "bytes": bytes });
        graph = graph.node(&id, "debug:stream", config).edge("input.text", &format!("{id}.in"));
    }
    graph
}

/// All that such a node shows.
fn whole(pieces: usize, bytes: usize) -> String {
    (0..pieces).map(|number| format!("{number:.<0$} ", bytes.saturating_sub(1))).collect()
}

fn events_of(execution: &str) -> String {
    format!("/api/v1/workflows/executions/{execution}/events?ids=all")
}

fn node_of(execution: &str, node: &str) -> String {
    format!("/api/v1/workflows/executions/{execution}/nodes/{node}/stream")
}

fn is_delta(heard: &Heard) -> bool {
    heard.kind == "node.delta"
}

/// Waits until a node is further than this.
async fn progressed(client: &Client, execution: &str, node: &str, than: f64) {
    let path = format!("/api/v1/workflows/executions/{execution}/poll");
    wait::until("a stream at work", RUN_TIME_MAX, || async {
        let run = client.get_json(&path).await;
        let shown = run["nodeStates"].as_array().into_iter().flatten().find(|shown| shown["nodeId"] == node);
        let progress = shown.and_then(|node| node["progress"].as_f64()).unwrap_or_default();
        if progress > than { Ok(()) } else { Err(run["nodeStates"].to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_cut_off_anywhere_hears_everything_once_and_all_agree() {
    let cluster = Cluster::start(1, 8).await;
    let client = cluster.client();
    let workflow = client.save("several", &speaking(4, 150, 5, 0)).await;
    let execution = client.run(&workflow, "several").await;
    let path = events_of(&execution);
    let plain_path = path.trim_end_matches("?ids=all");
    let (mut at_once, mut plain) =
        (Reader::open(client, &path, None).await, Reader::open(client, plain_path, None).await);
    let (at_once, plain, often, seldom) = tokio::join!(
        at_once.read_to_end(),
        plain.read_to_end(),
        in_pieces(client, &path, 3),
        in_pieces(client, &path, 17)
    );
    let after = Reader::open(client, &path, None).await.read_to_end().await;
    for heard in [&at_once, &plain, &often, &seldom, &after] {
        assert_eq!(history(heard), history(&after), "readers do not agree");
    }
    for node in ["stream0", "stream1", "stream2", "stream3"] {
        for heard in [&at_once, &plain, &often, &seldom] {
            let pieces = pieces(heard, node);
            assert_eq!((pieces.texts[&1].as_str(), &pieces.gaps[..]), (whole(150, 0).as_str(), &[][..]));
        }
    }
    assert!(at_once.iter().all(|heard| heard.id.is_some()), "every event can be gone on behind");
    let is_numbered = |heard: &Heard| heard.id == heard.data["seq"].as_u64().map(|seq| seq.to_string());
    assert!(plain.iter().all(is_numbered), "unless it is asked for, only the history has ids");
    assert!(!after.iter().any(is_delta), "pieces are in no history");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_is_told_and_so_is_what_has_left_it() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let (count, bytes) = (600, 1024);
    let workflow = client.save("window", &speaking(1, count, 4, bytes)).await;
    let execution = client.run(&workflow, "window").await;
    let path = events_of(&execution);
    let mut reader = Reader::open(client, &path, None).await;
    let mut before = reader.until(is_delta).await;
    assert!(reader.raw.contains(": of each attempt the youngest 256 KiB of pieces are kept"), "{}", reader.raw);
    let mut alone = Reader::open(client, &node_of(&execution, "stream0"), None).await;
    let mut alone_before = alone.until(is_delta).await;
    drop((reader, alone));
    progressed(client, &execution, "stream0", 0.9).await;
    // They were away for too long: both are told what they have missed, to the number.
    before.extend(Reader::open(client, &path, last_id(&before).as_deref()).await.read_to_end().await);
    let node = node_of(&execution, "stream0");
    alone_before.extend(Reader::open(client, &node, last_id(&alone_before).as_deref()).await.read_to_end().await);
    for heard in [before, alone_before] {
        let next = heard.iter().find(|heard| is_delta(heard)).unwrap().data["to"].as_u64().unwrap() + 1;
        let told = heard.iter().find(|heard| heard.kind == "node.gap").expect("no gap was told");
        assert_eq!(told.data["from"], next, "{told:?}");
        let pieces = pieces(&heard, "stream0");
        assert!(pieces.gaps.len() == 1 && pieces.texts[&1].len() >= WINDOW_BYTES - bytes, "{:?}", pieces.gaps);
        let result = heard.iter().find(|heard| heard.kind == "node.completed" && heard.data["nodeId"] == "stream0");
        assert!(result.is_some(), "the result follows all the same");
    }
    let run = client.get_json(&format!("/api/v1/workflows/executions/{execution}")).await;
    assert_eq!(run["status"], "COMPLETED", "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_late_hears_what_is_kept() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let workflow = client.save("late", &speaking(1, 400, 4, 1024)).await;
    let execution = client.run(&workflow, "late").await;
    progressed(client, &execution, "stream0", 0.8).await;
    let late = Reader::open(client, &events_of(&execution), None).await.read_to_end().await;
    let heard = pieces(&late, "stream0");
    let [(1, 0, gone)] = heard.gaps[..] else { panic!("{:?}", heard.gaps) };
    let text = whole(400, 1024);
    assert_eq!(heard.texts[&1], text[(gone as usize + 1) * 1024..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_behind_the_end_of_a_history_is_none() {
    let cluster = Cluster::start(1, 4).await;
    let client = cluster.client();
    let workflow = client.save("short", &speaking(1, 2, 1, 8)).await;
    let run = client.run(&workflow, "short").await;
    client.ended(&run, RUN_TIME_MAX).await;
    let last = client.events(&run).await.len();
    let (stream, node) = (events_of(&run), node_of(&run, "stream0"));
    for path in [stream.clone(), node, format!("/api/v1/workflows/executions/{run}/events?follow=false")] {
        for place in [(last + 1).to_string(), "99".to_owned()] {
            let request = client.request(reqwest::Method::GET, &path).header("last-event-id", &place);
            let refused = cluster_tests::cluster::client::send(request).await.unwrap();
            assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("invalid_last_event_id")), "{path}");
        }
    }
    // What was told last is a place, though nothing comes behind it.
    let heard = Reader::open(client, &stream, Some(&last.to_string())).await.read_to_end().await;
    assert!(heard.is_empty(), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_can_be_followed_to_its_result() {
    let cluster = Cluster::start(1, 8).await;
    let client = cluster.client();
    let workflow = client.save("one", &speaking(3, 120, 5, 0)).await;
    let execution = client.run(&workflow, "one").await;
    let path = node_of(&execution, "stream1");
    let mut at_once = Reader::open(client, &path, None).await;
    let (at_once, often) = tokio::join!(at_once.read_to_end(), in_pieces(client, &path, 5));
    let result = Reader::open(client, &path, None).await.read_to_end().await;
    for heard in [&at_once, &often] {
        assert_eq!(pieces(heard, "stream1").texts[&1], whole(120, 0));
        let durable = heard.iter().filter(|heard| heard.data.get("seq").is_some()).map(|heard| &heard.text);
        let durable: Vec<_> = durable.collect();
        let all: Vec<_> = result.iter().map(|heard| &heard.text).collect();
        assert_eq!(durable, all, "what is durable is told to all alike");
        assert!(heard.iter().all(|heard| !heard.text.contains("stream2")), "another node's matter");
    }
    let last = result.last().unwrap();
    assert_eq!((last.kind.as_str(), &last.data["outputs"]["out"]), ("node.completed", &json!(whole(120, 0))));
    for (node, status) in [("nobody", 404), ("stream1?index=0", 400), ("stream1?after=x", 400)] {
        let path = node_of(&execution, node);
        let path = match node.split_once('?') {
            Some((node, query)) => format!("{}?{query}", node_of(&execution, node)),
            None => path,
        };
        assert_eq!(client.get(&path).await.status, status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_when_a_node_has_its_result_gets_it_at_once_from_wherever_they_come() {
    let cluster = Cluster::start(1, 8).await;
    let client = cluster.client();
    // The wait keeps the run from its end.
    let graph = speaking(1, 3, 1, 0)
        .node("list", "debug:list", json!({ "count": 2 }))
        .node("map", "logic:map", json!({ "result": "say" }))
        .edge("list.out", "map.items")
        .node("say", "debug:echo", json!({}))
        .inside("map")
        .edge("map.item", "say.in")
        .node("wait", "logic:wait", json!({ "forMs": 3_600_000 }))
        .edge("map.results", "wait.value");
    let workflow = client.save("result", &graph).await;
    let execution = client.run(&workflow, "result").await;
    let run = format!("/api/v1/workflows/executions/{execution}");
    wait::until("all but the wait", RUN_TIME_MAX, || async {
        let run = client.get_json(&run).await;
        let shown = |node: &str| run["nodeRuns"].as_array()?.iter().find(|shown| shown["nodeId"] == node);
        let is = |node: &str, state: &str| shown(node).is_some_and(|shown| shown["state"] == state);
        let is_there = is("stream0", "COMPLETED") && is("map", "COMPLETED") && is("wait", "WAITING");
        if is_there { Ok(()) } else { Err(run["nodeRuns"].to_string()) }
    })
    .await;
    let seq = client.events(&execution).await.len();
    let heard = Reader::open(client, &events_of(&execution), None).await.until(|heard| heard.data["seq"] == seq).await;
    let (place, seq) = (last_id(&heard).unwrap(), seq.to_string());
    for (node, query) in [("input", ""), ("stream0", ""), ("map", ""), ("say", "?index=1")] {
        let path = format!("{}{query}", node_of(&execution, node));
        let read = async |place: Option<&str>| {
            let mut reader = Reader::open(client, &path, place).await;
            tokio::time::timeout(RUN_TIME_MAX, reader.read_to_end()).await.expect("no end though the result is there")
        };
        let from_the_start = read(None).await;
        let result = from_the_start.last().unwrap_or_else(|| panic!("nothing was told of {node}"));
        assert!(result.data["outputs"].is_object(), "{result:?}");
        for place in [&place, &seq] {
            let late = read(Some(place)).await;
            assert_eq!(late.iter().map(|heard| &heard.text).collect::<Vec<_>>(), [&result.text], "{node} {place:?}");
            // Who has been told it is not told it again.
            assert_eq!(read(late[0].id.as_deref()).await, [], "{node} {place:?}");
        }
    }
    // What has no result yet goes on.
    let mut waiting = Reader::open(client, &node_of(&execution, "wait"), Some(&seq)).await;
    client.post(&format!("{run}/cancel"), &json!({}), "cancel").await;
    let rest = waiting.read_to_end().await;
    assert_eq!(rest.iter().map(|heard| heard.kind.as_str()).collect::<Vec<_>>(), ["run.cancelled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_of_a_map_has_a_stream_of_its_own() {
    let cluster = Cluster::start(1, 8).await;
    let client = cluster.client();
    let graph = Graph::default()
        .node("list", "debug:list", json!({ "count": 3 }))
        .node("map", "logic:map", json!({ "concurrency": 3, "result": "say" }))
        .edge("list.out", "map.items")
        .node("say", "debug:stream", json!({ "count": 60, "ms": 5 }))
        .inside("map")
        .edge("map.item", "say.in");
    let workflow = client.save("items", &graph).await;
    let execution = client.run(&workflow, "items").await;
    let whole_run = Reader::open(client, &events_of(&execution), None).await.read_to_end().await;
    assert!(whole_run.iter().any(is_delta), "items speak");
    let path = format!("{}?index=1", node_of(&execution, "say"));
    let again = client.run(&workflow, "items again").await;
    let live = format!("{}?index=1", node_of(&again, "say"));
    let item = in_pieces(client, &live, 4).await;
    assert_eq!(pieces(&item, "say").texts[&1], whole(60, 0));
    assert!(item.iter().all(|heard| heard.data["index"] == json!([1])), "{item:?}");
    let over = Reader::open(client, &path, None).await.read_to_end().await;
    assert_eq!(over.last().map(|heard| heard.kind.as_str()), Some("node.completed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_attempt_is_told_apart_from_the_one_whose_agent_was_killed() {
    let mut cluster = Cluster::start(2, 2).await;
    let client = cluster.client().clone();
    let workflow = client.save("killed", &speaking(1, 200, 8, 0)).await;
    let execution = client.run(&workflow, "killed").await;
    let (events, node) = (events_of(&execution), node_of(&execution, "stream0"));
    let (mut whole_run, mut alone) =
        (Reader::open(&client, &events, None).await, Reader::open(&client, &node, None).await);
    let is_far = |heard: &Heard| is_delta(heard) && heard.data["to"].as_u64() > Some(20);
    let (mut early, mut early_alone) = (whole_run.until(is_far).await, alone.until(is_far).await);
    let (_, agent) = cluster.holder(&execution, RUN_TIME_MAX, |node| node == "stream0").await;
    cluster.kill(agent);
    let (rest, rest_alone) = tokio::join!(whole_run.read_to_end(), alone.read_to_end());
    early.extend(rest);
    early_alone.extend(rest_alone);
    for heard in [early, early_alone] {
        let lost = heard.iter().position(|heard| heard.kind == "attempt.lost").expect("the loss is told");
        let is_of = |heard: &Heard, attempt: u64| is_delta(heard) && heard.data["attempt"] == attempt;
        assert!(
            heard[..lost].iter().any(|heard| is_of(heard, 1)) && !heard[lost..].iter().any(|heard| is_of(heard, 1))
        );
        let pieces = pieces(&heard, "stream0");
        assert_eq!((pieces.texts[&2].as_str(), &pieces.gaps[..]), (whole(200, 0).as_str(), &[][..]));
        assert!(whole(200, 0).starts_with(&pieces.texts[&1]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_gateways_and_of_the_coordinator_lose_nothing_of_the_history_and_nothing_silently() {
    let mut cluster = Cluster::of(Shape::new(2, 1, 8)).await;
    let client = cluster.client().clone();
    let workflow = client.save("kills", &speaking(3, 400, 10, 0)).await;
    let execution = client.run(&workflow, "kills").await;
    let path = events_of(&execution);
    // One stays connected, one is cut off by its gateway's end.
    let other = cluster.origin(1);
    let key = std::fs::read_to_string(cluster.folder().join("coordinator/key")).unwrap();
    let other = Client::new(&other, key.trim(), &cluster.folder().join("other.jsonl"));
    let mut stays = Reader::open(&other, &path, None).await;
    let mut cut = Reader::open(&client, &path, None).await;
    let is_far = |heard: &Heard| is_delta(heard) && heard.data["to"].as_u64() > Some(20);
    let mut heard = cut.until(is_far).await;
    let mut all = stays.until(is_far).await;
    cluster.kill(Part::Gateway(0));
    heard.extend(cut.until(|_| false).await);
    cluster.start_part(Part::Gateway(0), None);
    cluster.serves().await;
    let mut back = Reader::open(&client, &path, last_id(&heard).as_deref()).await;
    heard.extend(back.until(is_far).await);
    cluster.restart(Part::Coordinator);
    cluster.serves().await;
    let rest = tokio::join!(back.read_to_end(), stays.read_to_end());
    heard.extend(rest.0);
    all.extend(rest.1);
    let after = Reader::open(&client, &path, None).await.read_to_end().await;
    for heard in [&heard, &all] {
        assert_eq!(history(heard), history(&after), "readers do not agree");
        for node in ["stream0", "stream1", "stream2"] {
            // What was said while no coordinator listened is a gap, which is told.
            let pieces = pieces(heard, node);
            let (mut expected, mut next) = (String::new(), 0);
            let text = |from: u64, to: u64| (from..to).map(|number| format!("{number} ")).collect::<String>();
            for (_, from, to) in &pieces.gaps {
                expected += &text(next, *from);
                next = to + 1;
            }
            expected += &text(next, 400);
            assert_eq!(pieces.texts[&1], expected, "{:?}", pieces.gaps);
            assert!(pieces.gaps.len() <= 2, "{:?}", pieces.gaps);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_is_told_where_to_go_on_and_holds_nothing() {
    let metrics = free_address();
    let arguments = ["--stream-stall", "1s", "--metrics", &metrics].map(str::to_owned).to_vec();
    let setting = Setting { arguments: vec![(Part::Gateway(0), arguments)], ..Setting::default() };
    let mut cluster = Cluster::set_up(Shape::new(1, 1, 8), setting).await;
    let client = cluster.client().clone();
    let mut graph = Graph::default().node("input", "input:text", json!({ "text": "thread" }));
    // More than the kernel takes for a client that does not read.
    for number in 0..200 {
        let id = format!("bytes{number}");
        graph = graph.node(&id, "debug:bytes", json!({ "count": 60_000 })).edge("input.text", &format!("{id}.in"));
    }
    let workflow = client.save("slow", &graph).await;
    let execution = client.run(&workflow, "slow").await;
    let path = events_of(&execution);
    let whole = Reader::open(&client, &path, None).await.read_to_end().await;
    let parts = cluster.parts();
    let before: Vec<u64> = parts.iter().map(|part| cluster.process(*part).begin_peak()).collect();

    let origin = cluster.origin(0);
    let address = origin.trim_start_matches("http://").parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let key = std::fs::read_to_string(cluster.folder().join("coordinator/key")).unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nAccept: text/event-stream\r\n\r\n",
        key.trim()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let is_closed = "heddle_gateway_followers_closed_total{reason=\"slow\"} 1";
    wait::until("the end of a client that does not read", RUN_TIME_MAX, || async {
        let page = reqwest::get(format!("http://{metrics}/metrics")).await.map_err(|error| error.to_string())?;
        let page = page.text().await.map_err(|error| error.to_string())?;
        match page.contains(is_closed) && page.contains("heddle_gateway_followers 0") {
            true => Ok(()),
            false => Err(page),
        }
    })
    .await;
    for (part, before) in parts.into_iter().zip(before) {
        let taken = cluster.process(part).peak().saturating_sub(before);
        assert!(taken < 16 << 20, "{part:?} took {taken} bytes for a client that does not read");
    }
    // It reads again, and finds where to go on.
    let mut bytes = Vec::new();
    tokio::time::timeout(RUN_TIME_MAX, async {
        let mut piece = vec![0; 64 * 1024];
        while !String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4_096)..]).contains("event: stream.closed") {
            let count = stream.read(&mut piece).await.unwrap();
            assert!(count > 0, "cut off without a word");
            bytes.extend_from_slice(&piece[..count]);
        }
    })
    .await
    .expect("no last word");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let closed = text.rsplit_once("event: stream.closed").unwrap().1;
    let data: Value =
        serde_json::from_str(closed.lines().find_map(|line| line.strip_prefix("data: ")).unwrap()).unwrap();
    assert_eq!(data["reason"], "slow");
    let resume = data["resume"].as_str().unwrap();
    let had = text.lines().filter_map(|line| line.strip_prefix("id: ")).count();
    let rest = Reader::open(&client, &path, Some(resume)).await.read_to_end().await;
    assert_eq!(had + rest.len(), whole.len(), "a gap or a double");
    assert_eq!(history(&rest)[..], history(&whole)[had..], "the rest is another");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_follow_a_run_share_a_stream_whether_they_stop_or_are_cut_off() {
    let metrics = free_address();
    let arguments = ["--metrics", &metrics].map(str::to_owned).to_vec();
    let setting = Setting { arguments: vec![(Part::Gateway(0), arguments)], ..Setting::default() };
    let cluster = Cluster::set_up(Shape::new(1, 1, 8), setting).await;
    let client = cluster.client();
    let (pieces_each, bytes) = (350, 256);
    let workflow = client.save("shared", &speaking(2, pieces_each, 16, bytes)).await;
    let execution = client.run(&workflow, "shared").await;
    let path = events_of(&execution);
    // It takes nothing before the run is over.
    let mut stopped = Reader::open(client, &path, None).await;
    let mut stay = Vec::new();
    for _ in 0..STAYING {
        stay.push(Reader::open(client, &path, None).await);
    }
    let staying =
        async { futures::future::join_all(stay.iter_mut().map(|reader| async { reader.read_to_end().await })).await };
    let shared = wait::until("readers that share one stream", RUN_TIME_MAX, || async {
        let page = reqwest::get(format!("http://{metrics}/metrics")).await.map_err(|error| error.to_string())?;
        let page = page.text().await.map_err(|error| error.to_string())?;
        let is_shared = page.contains(&format!("heddle_gateway_followers {}.0\n", STAYING + 1));
        if is_shared && page.contains("heddle_gateway_feeds 1.0\n") { Ok(()) } else { Err(page) }
    });
    // Those who come and go do so when that was seen.
    let cut = async {
        shared.await;
        futures::future::join_all([20, 33, 46].map(|count| in_pieces(client, &path, count))).await
    };
    let (staying, cut) = tokio::join!(staying, cut);
    let after = Reader::open(client, &path, None).await.read_to_end().await;
    let late = stopped.read_to_end().await;
    for heard in staying.iter().chain(&cut).chain([&late]) {
        assert_eq!(history(heard), history(&after), "readers do not agree");
        for node in ["stream0", "stream1"] {
            let pieces = pieces(heard, node);
            assert_eq!((pieces.texts[&1].as_str(), &pieces.gaps[..]), (whole(pieces_each, bytes).as_str(), &[][..]));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_goes_on_after_a_cut() {
    let mut cluster = Cluster::start(1, 4).await;
    let client = cluster.client().clone();
    let workflow = client.save("watched", &speaking(2, 300, 10, 0)).await;
    let execution = client.run(&workflow, "watched").await;
    let key = std::fs::read_to_string(cluster.folder().join("coordinator/key")).unwrap();
    let origin = cluster.origin(0);
    let mut command = tokio::process::Command::from(cluster_tests::cluster::process::command());
    command.args(["executions", "events", &execution, "--follow", "--json", "--server", &origin, "--key", key.trim()]);
    let said = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let said = tokio::spawn(said.wait_with_output());
    progressed(&client, &execution, "stream0", 0.2).await;
    cluster.restart(Part::Gateway(0));
    cluster.serves().await;
    let said = said.await.unwrap().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{errors}");
    let read = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        let kind = event["type"].as_str().unwrap().to_owned();
        Heard { id: None, kind, data: event["data"].clone(), text: event["data"].to_string() }
    };
    let heard: Vec<Heard> = text.lines().map(read).collect();
    history(&heard);
    for node in ["stream0", "stream1"] {
        let pieces = pieces(&heard, node);
        assert_eq!((pieces.texts[&1].as_str(), &pieces.gaps[..]), (whole(300, 0).as_str(), &[][..]));
    }
}
