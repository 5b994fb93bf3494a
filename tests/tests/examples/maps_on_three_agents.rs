//! Maps on three agents of which one is killed (SIGKILL) while each of its slots asks a model. The ledger of the sandbox tells what
//! was asked: no item's call is missing, and none came twice but those that were under way at the dead agent.
//!
//! A completion is `blind`: nobody but the provider knows what became of one whose agent died. It costs money and not truth, so
//! its node asks again, once for each death; with `"onUnknown": "fail"` in its policy it does not, and its item fails instead.
//! What is `pure` in a body asks nobody.

use std::collections::BTreeMap;

use cluster_tests::cluster::runs::text;
use cluster_tests::cluster::{Cluster, Part, Setting};
use cluster_tests::sandbox::Sandbox;
use cluster_tests::wait;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::example;
use super::sandbox::{scripts, without_sandbox};
use super::three_agents::{AGENTS, Course, RUN_TIME_MAX, Results, SLOTS, alone, cluster, of, words};

/// How long a model says nothing: an agent is dead long before.
const SILENCE_MS: u64 = 10_000;
const PROMPTS: usize = 500;
/// Prompts of `batch-500` that are answered late, one for each slot: when all of them are asked, nothing else is under way.
const LATE: std::ops::Range<usize> = 240..240 + AGENTS.len() * SLOTS;

/// A sandbox, and three agents that ask it.
async fn asking() -> (Sandbox, Cluster) {
    let sandbox = Sandbox::start().await;
    let arguments = sandbox.arguments(AGENTS);
    let cluster = cluster(Setting { arguments, ..Setting::default() }).await;
    (sandbox, cluster)
}

/// Waits until there is a call with each of these words that has no answer yet.
async fn under_way(sandbox: &Sandbox, words: &[String]) {
    wait::until("calls without an answer", RUN_TIME_MAX, || async {
        let calls = sandbox.calls().await;
        let is_late = |prompt: &str| words.iter().any(|word| prompt.contains(word));
        let open = calls.iter().filter(|call| call.status.is_none() && is_late(&call.prompt)).count();
        if open == words.len() { Ok(()) } else { Err(format!("{open} of {} calls", calls.len())) }
    })
    .await;
}

/// What the calls of a credential were answered with, by prompt and in their order; nothing where the caller went away.
async fn answered(sandbox: &Sandbox, credential: &str) -> BTreeMap<String, Vec<Option<u64>>> {
    let mut answered: BTreeMap<String, Vec<Option<u64>>> = BTreeMap::new();
    for call in sandbox.calls().await.into_iter().filter(|call| call.credential == credential) {
        answered.entry(call.prompt).or_default().push(call.status);
    }
    answered
}

/// What only the prompt with this index says.
fn words_of(index: usize) -> String {
    format!("No. {index}:")
}

/// A run of `batch-500` that cost an agent its life.
struct Batch {
    results: Results,
    /// What came out of the example alone.
    expected: Results,
    /// What the calls for each prompt were answered with.
    answered: BTreeMap<String, Vec<Option<u64>>>,
    /// Attempts that were lost.
    lost: usize,
}

/// Runs `batch-500` by these words on three agents. While all of them ask for late answers one is killed, and started again.
async fn batch_with_a_death(words: Vec<String>) -> Batch {
    let (sandbox, mut cluster) = asking().await;
    let mut scripts = scripts("batch-500");
    let late = |index| json!({ "contains": words_of(index), "steps": [{ "delayMs": SILENCE_MS }] });
    scripts["openai"]["rules"].as_array_mut().unwrap().extend(LATE.map(late));
    sandbox.follow(&scripts).await;
    let mut course = Course::new(&mut cluster, without_sandbox(words), alone(&batch_words()));
    let (run, results) = course.begin().await;
    under_way(&sandbox, &LATE.map(words_of).collect::<Vec<_>>()).await;
    course.cluster.restart(Part::Agent(1));
    let (results, expected) = (results.await.unwrap(), course.expected);
    let lost = of(&cluster.client().events(&run).await, "attempt.lost", "ask").count();
    Batch { results, expected, answered: answered(&sandbox, "openai").await, lost }
}

/// The prompts of `batch-500`, and what its script answers to each.
fn prompts() -> Vec<(String, Vec<Option<u64>>)> {
    let text = std::fs::read_to_string(example("batch-500/inputs/prompts.txt")).unwrap();
    let statuses = |index| match index {
        _ if index % 100 == 13 => vec![Some(400)],
        _ if index % 50 == 7 => vec![Some(429), Some(200)],
        _ if index % 50 == 32 => vec![Some(503), Some(200)],
        _ => vec![Some(200)],
    };
    text.lines().enumerate().map(|(index, prompt)| (prompt.to_owned(), statuses(index))).collect()
}

/// What `batch-500` prints, without `--json`.
fn batch_words() -> Vec<String> {
    words("batch-500").into_iter().filter(|word| word != "--json").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_500_prompts_only_those_at_a_dead_agent_are_asked_again() {
    let batch = batch_with_a_death(batch_words()).await;
    assert!(batch.results == batch.expected, "{} instead of {}", batch.results.printed, batch.expected.printed);
    let mut again = 0;
    for (index, (prompt, expected)) in prompts().into_iter().enumerate() {
        let answered = &batch.answered[&prompt];
        if LATE.contains(&index) && answered[0].is_none() {
            assert_eq!(answered[1..], expected, "{prompt}");
            again += 1;
        } else {
            assert_eq!(*answered, expected, "{prompt}");
        }
    }
    assert_eq!((again, batch.lost, batch.answered.len()), (SLOTS, SLOTS, PROMPTS));
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_that_must_not_be_asked_twice_fail_alone_when_their_agent_dies() {
    let folder = TempDir::new().unwrap();
    let mut workflow: Value =
        serde_json::from_slice(&std::fs::read(example("batch-500/workflow.json")).unwrap()).unwrap();
    let nodes = workflow["nodes"].as_array_mut().unwrap();
    nodes.iter_mut().find(|node| node["id"] == "ask").unwrap()["data"]["policy"]["onUnknown"] = "fail".into();
    let file = folder.path().join("workflow.json");
    std::fs::write(&file, workflow.to_string()).unwrap();
    let mut words = batch_words();
    words[0] = file.display().to_string();
    let batch = batch_with_a_death(words).await;
    let left: Vec<usize> = LATE.filter(|index| batch.answered[&prompts()[*index].0] == [None]).collect();
    for (index, (prompt, expected)) in prompts().into_iter().enumerate().filter(|(index, _)| !left.contains(index)) {
        assert_eq!(batch.answered[&prompt], expected, "{index}");
    }
    assert_eq!((left.len(), batch.lost, batch.answered.len()), (SLOTS, SLOTS, PROMPTS));
    let (mut answers, mut failed) = (batch.expected.list("answers"), batch.results.list("failed"));
    left.iter().for_each(|index| answers[*index] = Value::Null);
    assert_eq!(batch.results.list("answers"), answers);
    let lost: Vec<Value> = failed.extract_if(.., |error| error["class"] == "unknown_outcome").collect();
    assert_eq!(lost.iter().map(|error| error["index"].clone()).collect::<Value>(), json!(left), "{lost:?}");
    assert_eq!(failed, batch.expected.list("failed"), "what fails anyway");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_parts_of_a_text_only_those_at_a_dead_agent_are_summarised_again() {
    let (sandbox, mut cluster) = asking().await;
    let mut scripts = scripts("map-reduce");
    let mut openings = Vec::new();
    for rule in scripts["openai"]["rules"].as_array_mut().unwrap() {
        openings.push(text(&rule["contains"]));
        let mut late = rule["steps"][0].clone();
        late["delayMs"] = SILENCE_MS.into();
        rule["steps"].as_array_mut().unwrap().insert(0, late);
    }
    sandbox.follow(&scripts).await;
    let (words, parts) = (words("map-reduce"), openings.len());
    let mut course = Course::new(&mut cluster, without_sandbox(words.clone()), alone(&words));
    let (run, results) = course.begin().await;
    under_way(&sandbox, &openings).await;
    // Who has the last of them, and how many it has.
    let events = course.cluster.client().events(&run).await;
    let assigned = events.iter().flat_map(|event| event["assigned"].as_array().into_iter().flatten());
    let agents: Vec<&Value> = assigned.filter(|one| one["nodeId"] == "summary").map(|one| &one["agentId"]).collect();
    let had = agents.iter().filter(|agent| **agent == agents[parts - 1]).count();
    let holder =
        AGENTS.into_iter().find(|agent| course.cluster.agent_id(*agent) == agents[parts - 1].as_str().unwrap());
    course.cluster.kill(holder.unwrap());
    let (results, expected) = (results.await.unwrap(), course.expected);
    assert!(results == expected, "{} instead of {}", results.printed, expected.printed);
    let summaries = answered(&sandbox, "openai").await;
    let again = summaries.values().filter(|answered| answered[..] == [None, Some(200)]).count();
    let once = summaries.values().filter(|answered| answered[..] == [Some(200)]).count();
    assert_eq!((again, once, summaries.len()), (had, parts - had, parts), "{summaries:?}");
    let turns = answered(&sandbox, "editor").await;
    assert!(turns.len() == parts && turns.values().all(|answered| answered[..] == [Some(200)]), "{turns:?}");
    assert_eq!(of(&cluster.client().events(&run).await, "attempt.lost", "summary").count(), had);
}
