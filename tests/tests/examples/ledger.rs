//! What each example asks of its providers: every call in the sandbox's ledger, none too many and none too few.

use cluster_tests::cluster::{Cluster, Part, Setting, Shape};
use tempfile::TempDir;

use super::sandbox::{Call, Sandbox, scripts, without_sandbox};
use super::{example, heddle, said, shown};

/// A run of an example on a cluster whose one agent asks a sandbox.
struct Asked {
    printed: String,
    calls: Vec<Call>,
}

impl Asked {
    /// Runs an example as its README shows it, with these words replaced.
    async fn run(name: &str, replaced: (&str, &str)) -> Self {
        let sandbox = Sandbox::start().await;
        let arguments = sandbox.arguments([Part::Agent(0)]);
        let mut cluster = Cluster::set_up(Shape::new(1, 1, 8), Setting { arguments, ..Setting::default() }).await;
        sandbox.follow(&scripts(name)).await;
        let key = std::fs::read_to_string(cluster.folder().join("coordinator/key")).unwrap();
        let words = without_sandbox(shown(name)).into_iter().map(|word| word.replace(replaced.0, replaced.1));
        let (data, origin) = (TempDir::new().unwrap(), cluster.origin(0));
        let mut run = heddle(data.path());
        run.arg("run").args(words).args(["--server", &origin, "--key", key.trim()]);
        let printed = tokio::task::spawn_blocking(move || said(&run.output().unwrap())).await.unwrap();
        Self { printed, calls: sandbox.calls().await }
    }

    /// The prompts of a credential's calls, in their order.
    fn prompts(&self, credential: &str) -> Vec<&str> {
        self.calls.iter().filter(|call| call.credential == credential).map(|call| &call.prompt[..]).collect()
    }
}

fn file(path: &str) -> String {
    std::fs::read_to_string(example(path)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_ends_with_the_line_that_is_good_enough() {
    let asked = Asked::run("generate-score-loop", ("", "")).await;
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
    let asked = Asked::run("generate-score-loop", ("topic=tides", "topic=fog")).await;
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
