//! Hundreds of reviews of one run, or a thousand, decided twice each by twenty clients while the coordinator is killed (SIGKILL): one decision
//! is applied, and who comes second hears of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cluster_tests::cluster::client::Client;
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::items::attempts;
use cluster_tests::cluster::random::{Random, number, seed};
use cluster_tests::cluster::runs::text;
use cluster_tests::cluster::{Cluster, Part, Shape, history};
use cluster_tests::wait;
use heddle_test_postgres::Server;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{RUN_TIME_MAX, SCOPES, decide, open, opened, person, review, start};

/// Reviews of the run, unless `REVIEWS` says otherwise: 1,000 may be open at a time.
const REVIEWS: u64 = 200;
const CLIENTS: usize = 20;
/// The coordinator is killed when so many of all answers have come, in percent.
const KILLS: [usize; 2] = [25, 75];
/// How long all answers may take, kills included.
const ANSWERS_TIME_MAX: Duration = Duration::from_secs(500);
/// What was done before a review, and after it.
const BEFORE: &str = "before";
const AFTER: &str = "after";

fn reviews() -> usize {
    number("REVIEWS").unwrap_or(REVIEWS) as usize
}

/// A map that asks for each of its items, all at once.
fn graph() -> Graph {
    let effect = |file: &str| json!({ "file": file });
    Graph::default()
        .node("list", "debug:list", json!({ "count": reviews() }))
        .node("m", "logic:map", json!({ "concurrency": reviews() }))
        .node("before", "debug:effect", effect(BEFORE))
        .inside("m")
        .node("check", "logic:review", json!({}))
        .inside("m")
        .node("after", "debug:effect", effect(AFTER))
        .inside("m")
        .node("same", "debug:echo", json!({}))
        .inside("m")
        .node("out", "output:preview", json!({}))
        .edge("list.out", "m.items")
        .edge("m.item", "before.item")
        .edge("before.out", "check.value")
        .edge("check.approved", "after.item")
        .edge("check.approved", "same.in")
        .edge("same.out", "m.result")
        .edge("m.results", "out.value")
}

/// What a client was answered.
struct Heard {
    review: String,
    by: String,
    status: u16,
    body: Value,
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_reviews_is_decided_once_whatever_is_killed() {
    decided_once(Cluster::start(2, 8).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_reviews_is_decided_once_whatever_is_killed_on_postgres() {
    let Some(server) = Server::start() else { return };
    decided_once(Cluster::on(Shape::new(1, 2, 8), &server.database()).await).await;
}

async fn decided_once(mut cluster: Cluster) {
    let mut random = Random::from_seed(seed("reviews"));
    let mut people = Vec::new();
    for number in 0..CLIENTS {
        people.push((format!("person-{number}"), person(&mut cluster, &format!("person-{number}"), &SCOPES).await));
    }
    let execution = start(cluster.client(), "thousand", &graph()).await;
    let count = reviews();
    let asked = opened(cluster.client(), &execution, count).await;
    let indices: BTreeMap<String, usize> =
        asked.iter().map(|review| (text(&review["id"]), review["index"][0].as_u64().unwrap() as usize)).collect();
    let heard = all_decide(&mut cluster, &people, &indices, &mut random).await;
    let (first, second): (Vec<&Heard>, Vec<&Heard>) = heard.iter().partition(|heard| heard.status == 200);
    assert_eq!((first.len(), second.len()), (count, count), "each is decided once and refused once");
    let winners: BTreeMap<&str, &str> = first.iter().map(|heard| (&heard.review[..], &heard.by[..])).collect();
    assert_eq!(winners.len(), count);
    for loser in second {
        let winner = winners[&loser.review[..]];
        let said = (&loser.body["code"], &loser.body["decided"]["by"], &loser.body["decided"]["decision"]);
        assert_eq!(said, (&json!("review_decided"), &json!(winner), &json!("approve")), "{}", loser.body);
        assert_ne!(loser.by, winner);
    }
    let ended = cluster.client().ended(&execution, RUN_TIME_MAX).await;
    assert_eq!(ended["status"], "COMPLETED", "{}", ended["error"]);
    let edits: BTreeMap<usize, String> =
        indices.iter().map(|(review, index)| (*index, edit(winners[&review[..]], *index))).collect();
    assert_eq!(super::output(&ended, "out")["value"], json!(edits.into_values().collect::<Vec<_>>()));
    for (file, node) in [(BEFORE, "before"), (AFTER, "after")] {
        // Attempts that an agent handed back, or that were on their way at a kill, have numbers, too.
        let done = attempts(&cluster.witnessed(file)).into_iter();
        let done: BTreeMap<_, _> = done.map(|(body, numbers)| (body, numbers.len())).collect();
        let expected = (0..count).map(|index| ((node.to_owned(), index.to_string()), 1)).collect();
        assert_eq!(done, expected, "each body ran once");
    }
    let events = cluster.client().events(&execution).await;
    assert_eq!(history::problems_of_items(&ended, &events), Vec::<String>::new());
    assert!(opened(cluster.client(), &execution, 0).await.is_empty());
    let one = indices.keys().next().unwrap();
    let one = review(cluster.client(), one).await;
    assert_eq!((&one["state"], one["history"].as_array().map(Vec::len)), (&json!("decided"), Some(1)), "{one}");
}

/// What a person makes of an item.
fn edit(by: &str, index: usize) -> String {
    format!("item {index} by {by}")
}

/// Two people decide each review, in an order of chance, while the coordinator is killed.
async fn all_decide(
    cluster: &mut Cluster,
    people: &[(String, Client)],
    indices: &BTreeMap<String, usize>,
    random: &mut Random,
) -> Vec<Heard> {
    let mut shares: Vec<Vec<(String, usize)>> = vec![Vec::new(); CLIENTS];
    for (review, index) in indices {
        let one = random.below(CLIENTS);
        let other = (one + 1 + random.below(CLIENTS - 1)) % CLIENTS;
        for client in [one, other] {
            let place = random.below(shares[client].len() + 1);
            shares[client].insert(place, (review.clone(), *index));
        }
    }
    let answers = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for ((by, client), share) in people.iter().cloned().zip(shares) {
        let answers = Arc::clone(&answers);
        tasks.spawn(async move {
            let mut heard = Vec::new();
            for (review, index) in share {
                let decision = json!({ "decision": "approve", "data": edit(&by, index) });
                let answer = decide(&client, &review, &decision, &format!("{by} {review}")).await;
                answers.fetch_add(1, Ordering::Relaxed);
                assert!(matches!(answer.status, 200 | 409), "{answer}");
                heard.push(Heard { review, by: by.clone(), status: answer.status, body: answer.json() });
            }
            heard
        });
    }
    for percent in KILLS {
        let kill_at = 2 * indices.len() * percent / 100;
        wait::until("answers", ANSWERS_TIME_MAX, || async {
            let come = answers.load(Ordering::Relaxed);
            if come >= kill_at { Ok(()) } else { Err(format!("{come} of {kill_at}")) }
        })
        .await;
        cluster.restart(Part::Coordinator);
    }
    let mut heard = Vec::new();
    while let Some(share) = tasks.join_next().await {
        heard.extend(share.unwrap());
    }
    heard
}

/// The row of a review is there before the event that tells of it is at hand; a while before, if its partition has much to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_review_can_be_read_as_soon_as_it_is_listed() {
    const RUNS: usize = 15;
    const MAPS: usize = 32;
    let cluster = Cluster::start(1, 64).await;
    let client = cluster.client().clone();
    let map = client.save("map", &Graph::effects_map(10_000, 64, json!({ "file": "map" }))).await;
    for number in 0..MAPS {
        client.run(&map, &format!("map {number}")).await;
    }
    let asking = super::large::long(&"words ".repeat(200), json!({}));
    let workflow = client.save("asking", &asking).await;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (client, workflow) = (client.clone(), workflow.clone());
        clients.spawn(async move {
            for round in 0..RUNS {
                let run = client.run(&workflow, &format!("asking {number} {round}")).await;
                let since = Instant::now();
                let review = loop {
                    match open(&client, &run).await.first() {
                        Some(review) => break text(&review["id"]),
                        None => assert!(since.elapsed() < RUN_TIME_MAX, "{run} asks nobody"),
                    }
                };
                super::review(&client, &review).await;
            }
        });
    }
    clients.join_all().await;
}
