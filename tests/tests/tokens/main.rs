//! A model's words on their way: from the provider's chunk through agent, coordinator and gateway to whoever watches the run.
//! Of many streams at once no word is lost or doubled, and no part of the cluster keeps them. How long a word takes is printed.

#![allow(clippy::panic, clippy::unwrap_used)]

mod provider;

use std::sync::Arc;
use std::time::Duration;

use cluster_tests::cluster::Cluster;
use cluster_tests::cluster::client::Client;
use cluster_tests::cluster::figures::Times;
use cluster_tests::cluster::graph::Graph;
use futures::StreamExt;
use provider::{Pace, Provider};
use reqwest::{Method, Response};
use serde_json::{Value, json};

const STREAMS: usize = 500;
/// One word every half second from each, a thousand words a second together.
const MANY: Pace = Pace { words: 30, apart: Duration::from_millis(500) };
/// As a quick model speaks.
const ONE: Pace = Pace { words: 300, apart: Duration::from_millis(20) };
const START_TIME_MAX: Duration = Duration::from_secs(60);
const STREAM_TIME_MAX: Duration = Duration::from_secs(120);
/// What a part may take for [`STREAMS`] streams beside what it took before, in bytes.
const MEMORY_MAX: u64 = 96 * 1024 * 1024;

/// The same for other figures: `TOKENS_APART_MS` between two words of a stream.
fn paced(usual: Pace) -> Pace {
    let apart = std::env::var("TOKENS_APART_MS").ok().map(|ms| Duration::from_millis(ms.parse().unwrap()));
    Pace { apart: apart.unwrap_or(usual.apart), ..usual }
}

async fn set_up(slots: u32, pace: Pace) -> (Cluster, Provider, String) {
    let (cluster, provider) = (Cluster::start(1, slots).await, Provider::start(pace).await);
    cluster.keep_secret(0, "model", &provider.host, "a key");
    let config = json!({ "model": "m", "credential": "model", "baseUrl": format!("http://{}", provider.host) });
    let policy = json!({ "retry": { "maxAttempts": 1 } });
    let graph = Graph::default()
        .node("input", "input:text", json!({ "text": "say something" }))
        .node_with("ask", "llm:openai_compatible", config, policy)
        .edge("input.text", "ask.prompt");
    let workflow = cluster.client().save("words", &graph).await;
    (cluster, provider, workflow)
}

/// A run's events, from now on.
async fn watch(client: &Client, execution: &str) -> Response {
    let request = client.request(Method::GET, &format!("/api/v1/workflows/executions/{execution}/events"));
    let answer = request.header("accept", "text/event-stream").timeout(STREAM_TIME_MAX).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{execution}");
    answer
}

/// Reads a run's events to the end and gives how long each word took. Every word comes once and in order, and the result has
/// them all.
async fn hear(answer: Response, provider: &Provider, words: u64) -> Vec<Duration> {
    let execution = answer.url().path().to_owned();
    let (mut body, mut held, mut times) = (answer.bytes_stream(), String::new(), Vec::new());
    let mut result = None;
    while let Some(piece) = body.next().await {
        held.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
        while let Some((event, rest)) = held.split_once("\n\n") {
            let data: String = event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
            let data: Value = serde_json::from_str(&data).unwrap_or_default();
            match event.lines().find_map(|line| line.strip_prefix("event: ")) {
                Some("node.delta") => {
                    assert!(result.is_none(), "{execution}: a word after the result");
                    for word in data["text"].as_str().unwrap().split_whitespace() {
                        let (number, time) = provider.heard(word);
                        assert_eq!(number, times.len() as u64, "{execution}: a word is lost or doubled");
                        times.push(time);
                    }
                }
                Some("node.completed") if data["nodeId"] == "ask" => {
                    let text = data["outputs"]["text"].as_str().unwrap().to_owned();
                    let numbers = text.split_whitespace().map(|word| provider.heard(word).0);
                    assert!(numbers.eq(0..words), "{execution}: {text}");
                    result = Some(text);
                }
                Some("node.failed" | "run.failed") => panic!("{execution}: {data}"),
                _ => {}
            }
            held = rest.to_owned();
        }
    }
    assert!(result.is_some(), "{execution} has no result");
    assert_eq!(times.len() as u64, words, "{execution}: words are lost");
    times
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stream_is_heard_word_by_word() {
    let pace = paced(ONE);
    let (cluster, mut provider, workflow) = set_up(1, pace).await;
    let execution = cluster.client().run(&workflow, "one").await;
    provider.asked(1, START_TIME_MAX).await;
    let mut times = Times::default();
    let answer = watch(cluster.client(), &execution).await;
    provider.speak();
    hear(answer, &provider, pace.words).await.into_iter().for_each(|time| times.add(time));
    print(1, pace, &times);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_streams_no_word_is_lost_and_nothing_piles_up() {
    let pace = paced(MANY);
    let (mut cluster, mut provider, workflow) = set_up(STREAMS as u32, pace).await;
    let client = cluster.client().clone();
    let parts = cluster.parts();
    let before: Vec<u64> = parts.iter().map(|part| cluster.process(*part).begin_peak()).collect();
    let mut executions = Vec::new();
    for number in 0..STREAMS {
        executions.push(client.run(&workflow, &format!("stream {number}")).await);
    }
    provider.asked(STREAMS as u64, START_TIME_MAX).await;
    let answers: Vec<Response> =
        futures::future::join_all(executions.iter().map(|execution| watch(&client, execution))).await;
    let provider = Arc::new(provider);
    let hearers: Vec<_> = answers
        .into_iter()
        .map(|answer| {
            let provider = Arc::clone(&provider);
            tokio::spawn(async move { hear(answer, &provider, pace.words).await })
        })
        .collect();
    provider.speak();
    let mut times = Times::default();
    for hearer in hearers {
        hearer.await.unwrap().into_iter().for_each(|time| times.add(time));
    }
    print(STREAMS, pace, &times);
    for (part, before) in parts.into_iter().zip(before) {
        let taken = cluster.process(part).peak().saturating_sub(before);
        println!("{part:?} took {} MiB more than {} MiB", taken >> 20, before >> 20);
        assert!(taken < MEMORY_MAX, "{part:?} took {taken} bytes for {STREAMS} streams");
    }
}

fn print(streams: usize, pace: Pace, times: &Times) {
    let ms = |percent| times.percentile(percent).as_secs_f64() * 1e3;
    let (p50, p99, most) = (ms(50), ms(99), ms(100));
    println!(
        "from the provider's chunk to who watches: {streams} streams, a word every {:?} from each, {} words: p50 {p50:.2} ms, \
         p99 {p99:.2} ms, at most {most:.2} ms",
        pace.apart,
        streams as u64 * pace.words
    );
}
