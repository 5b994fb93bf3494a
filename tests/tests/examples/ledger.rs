//! What each example asks of its providers: every call in the sandbox's ledger, none too many and none too few.

use std::collections::BTreeMap;

use cluster_tests::cluster::{Cluster, Part, Setting, Shape};
use cluster_tests::sandbox::{Call, Sandbox};
use serde_json::Value;
use tempfile::TempDir;

use super::sandbox::{scripts, without_sandbox};
use super::{example, heddle, said, shown};

/// A run of an example on a cluster whose one agent asks a sandbox.
struct Asked {
    cluster: Cluster,
    printed: String,
    calls: Vec<Call>,
}

impl Asked {
    /// Runs an example as its README shows it.
    async fn run(name: &str) -> Self {
        Self::with(name, shown(name)).await
    }

    /// Runs an example with these words.
    async fn with(name: &str, words: Vec<String>) -> Self {
        let sandbox = Sandbox::start().await;
        let arguments = sandbox.arguments([Part::Agent(0)]);
        let mut cluster = Cluster::set_up(Shape::new(1, 1, 8), Setting { arguments, ..Setting::default() }).await;
        sandbox.follow(&scripts(name)).await;
        let key = std::fs::read_to_string(cluster.folder().join("coordinator/key")).unwrap();
        let (data, origin) = (TempDir::new().unwrap(), cluster.origin(0));
        let mut run = heddle(data.path());
        run.arg("run").args(without_sandbox(words)).args(["--server", &origin, "--key", key.trim()]);
        let printed = tokio::task::spawn_blocking(move || said(&run.output().unwrap())).await.unwrap();
        Self { cluster, printed, calls: sandbox.calls().await }
    }

    /// The prompts of a credential's calls, in their order.
    fn prompts(&self, credential: &str) -> Vec<&str> {
        self.calls.iter().filter(|call| call.credential == credential).map(|call| &call.prompt[..]).collect()
    }

    /// What each prompt's calls were answered with, in their order.
    fn statuses(&self) -> BTreeMap<&str, Vec<u64>> {
        let mut statuses: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        self.calls.iter().for_each(|call| statuses.entry(&call.prompt).or_default().push(call.status.unwrap()));
        statuses
    }
}

fn file(path: &str) -> String {
    std::fs::read_to_string(example(path)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_ends_with_the_line_that_is_good_enough() {
    let asked = Asked::run("generate-score-loop").await;
    assert_eq!(asked.printed, file("generate-score-loop/expected/tides.txt"));
    let last = |score: &str| format!("The last one scored {score} of 10.");
    let (second, third) = (last("3"), last("6"));
    assert_eq!(
        asked.prompts("writer"),
        [
            "Round 1: write one line about tides.",
            &format!("Round 2: write one line about tides. {second}"),
            &format!("Round 3: write one line about tides. {third}"),
        ]
    );
    assert_eq!(
        asked.prompts("critic"),
        [
            "Score this line from 0 to 10: Tides come and tides go.",
            "Score this line from 0 to 10: Twice a day the sea remembers the moon.",
            "Score this line from 0 to 10: The moon pulls, and the harbour breathes.",
        ]
    );
    let order: Vec<&str> = asked.calls.iter().map(|call| &call.credential[..]).collect();
    assert_eq!(order, ["writer", "critic"].repeat(3), "one round after the other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_never_gets_there_keeps_its_best_line_and_not_its_last() {
    let words = shown("generate-score-loop").into_iter().map(|word| word.replace("tides", "fog"));
    let asked = Asked::with("generate-score-loop", words.collect()).await;
    let expected = file("generate-score-loop/expected/fog.txt");
    assert_eq!(asked.printed, expected);
    let scored = asked.prompts("critic");
    let lines: Vec<&str> = scored.iter().map(|prompt| prompt.split_once(": ").unwrap().1).collect();
    assert_eq!((asked.prompts("writer").len(), lines.len(), asked.calls.len()), (5, 5, 10), "no round beyond the last");
    assert!(expected.contains(lines[1]) && !expected.contains(lines[4]), "{lines:?}");
    // The score of each round goes into the next.
    let told: Vec<&str> = asked
        .prompts("writer")
        .into_iter()
        .filter_map(|prompt| prompt.split_once("scored "))
        .map(|told| told.1)
        .collect();
    assert_eq!(told, ["4 of 10.", "7 of 10.", "2 of 10.", "6.5 of 10."]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_prompts_that_were_refused_for_the_moment_are_asked_again() {
    let asked = Asked::run("batch-500").await;
    let statuses = asked.statuses();
    let prompts = file("batch-500/inputs/prompts.txt");
    assert_eq!((prompts.lines().count(), statuses.len()), (500, 500));
    for (index, prompt) in prompts.lines().enumerate() {
        let expected: &[u64] = match index {
            // For good: asking again would help nobody.
            _ if index % 100 == 13 => &[400],
            _ if index % 50 == 7 => &[429, 200],
            _ if index % 50 == 32 => &[503, 200],
            _ => &[200],
        };
        assert_eq!(statuses[prompt], expected, "{prompt}");
    }
    assert_eq!(asked.calls.len(), 520);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_is_summarised_once_and_taken_up_in_its_turn() {
    let asked = Asked::run("map-reduce").await;
    assert_eq!(asked.printed, file("map-reduce/expected.txt"));
    let text = file("map-reduce/inputs/text.txt");
    let mut expected: Vec<String> =
        text.split("\n\n").map(|part| format!("Summarise in one sentence: {}", part.trim())).collect();
    let mut parts = asked.prompts("openai");
    // They are asked beside each other, so that their order is anybody's.
    expected.sort();
    parts.sort_unstable();
    assert_eq!(parts, expected);
    let whole = file("map-reduce/expected.txt");
    let sentences: Vec<&str> = whole.trim().split_inclusive('.').map(str::trim).collect();
    let turns = sentences.iter().enumerate().map(|(turn, sentence)| match turn {
        0 => format!("Go on with: {sentence}"),
        _ => format!("What has been said: {}\nGo on with: {sentence}", sentences[..turn].join(" ")),
    });
    assert_eq!(asked.prompts("editor"), turns.collect::<Vec<_>>());
    assert_eq!(asked.calls.len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_way_that_is_taken_asks_a_model() {
    for (name, calls) in [("refund", 2), ("praise", 1), ("other", 1)] {
        let words =
            shown("classify-and-branch").into_iter().map(|word| word.replace("refund.txt", &format!("{name}.txt")));
        let asked = Asked::with("classify-and-branch", words.collect()).await;
        let message = file(&format!("classify-and-branch/inputs/{name}.txt"));
        let answer = format!("Answer in two sentences that the refund is on its way: {message}");
        assert_eq!(asked.prompts("openai"), [&message[..], &answer][..calls], "{name}");
        assert_eq!(asked.calls.len(), calls);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_sheet_asks_nobody() {
    let mut words = shown("contact-sheet");
    let (place, out) = (words.iter().position(|word| word == "--out").unwrap() + 1, TempDir::new().unwrap());
    words[place] = out.path().display().to_string();
    let asked = Asked::with("contact-sheet", words).await;
    assert!(out.path().join("sheet-image.png").exists(), "{}", asked.printed);
    assert!(asked.calls.is_empty(), "{:?}", asked.calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_its_headline_and_tags_are_a_call_each() {
    let asked = Asked::run("summarise").await;
    assert_eq!(asked.printed, file("summarise/expected.txt"));
    let prompts = asked.prompts("openai");
    let article = file("summarise/inputs/article.txt");
    let first = [format!("Summarise in three sentences: {article}"), format!("List five tags for: {article}")];
    assert!(first.iter().all(|prompt| prompts.contains(&&prompt[..])), "{prompts:?}");
    let summary = asked.printed.lines().nth(2).unwrap();
    assert!(prompts.contains(&&format!("Write one headline for: {summary}")[..]), "{prompts:?}");
    assert_eq!((prompts.len(), asked.calls.len()), (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_provider_is_asked_as_often_as_its_policy_says() {
    let asked = Asked::run("fallback-providers").await;
    assert_eq!(asked.printed, file("fallback-providers/expected.txt"));
    let of = |credential: &str| asked.calls.iter().filter(|call| call.credential == credential).collect::<Vec<_>>();
    let (first, second) = (of("status-503"), of("mistral"));
    assert_eq!((first.len(), second.len(), of("status-401").len(), asked.calls.len()), (2, 1, 1, 4));
    assert!(first.iter().all(|call| call.status == Some(503)) && second[0].status == Some(200), "{:?}", asked.calls);
    assert_eq!(second[0].model, "mistral-small-latest");
    assert_eq!(second[0].messages, first[0].messages, "the same inputs");
    // People see who gave the result, and what failed beside it.
    let client = asked.cluster.client();
    let runs = client.get_json("/api/v1/workflows/executions").await;
    let id = runs[0]["id"].as_str().unwrap();
    let shown = client.get_json(&format!("/api/v1/workflows/executions/{id}")).await;
    let node = |id: &str| shown["nodeRuns"].as_array().unwrap().iter().find(|node| node["nodeId"] == id).unwrap();
    assert_eq!((&shown["status"], &shown["error"]), (&"COMPLETED".into(), &Value::Null), "{shown}");
    let (answer, picky) = (node("answer"), node("picky"));
    assert_eq!((&answer["provider"], &answer["attempts"]), (&"llm:openai_compatible".into(), &3.into()), "{shown}");
    assert_eq!((&picky["state"], &picky["error"]["class"]), (&"FAILED".into(), &"auth".into()), "{shown}");
    assert_eq!(picky["output"]["error"]["nodeId"], "picky", "{shown}");
    let trace = client.get_json(&format!("/api/v1/workflows/executions/{id}/trace")).await;
    let spans = trace["nodes"].as_array().unwrap().iter().find(|node| node["nodeId"] == "answer").unwrap();
    let providers: Vec<&Value> = spans["attempts"].as_array().unwrap().iter().map(|span| &span["provider"]).collect();
    assert_eq!(providers, [&Value::Null, &Value::Null, &"llm:openai_compatible".into()], "{trace}");
}
