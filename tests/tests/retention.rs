//! Runs whose time is over, on real processes and on both databases: what goes, what stays, and what clients are told, whatever is
//! killed on the way. Runs are made old in the database.

#![allow(clippy::panic, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cluster_tests::cluster::client::Client;
use cluster_tests::cluster::graph::Graph;
use cluster_tests::cluster::process::command;
use cluster_tests::cluster::runs::text;
use cluster_tests::cluster::{Cluster, Part, Setting, Shape};
use cluster_tests::wait;
use heddle_test_postgres::Server;
use serde_json::{Value, json};

/// How long a run may take.
const RUN_TIME_MAX: Duration = Duration::from_secs(60);
/// How long retention may take for what is old here.
const REMOVED_TIME_MAX: Duration = Duration::from_secs(60);
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Items of the run that takes several pages.
const ITEMS: usize = 1_200;
/// Items of the run that is exported: more events than a page of them has, and nodes that one answer shows.
const SHOWN_ITEMS: usize = 600;
/// A text that is kept as an artifact.
const LARGE: usize = 100_000;

/// Where the rows are.
enum Rows {
    Sqlite(PathBuf),
    Postgres(&'static Server, String),
}

impl Rows {
    /// One on each kind of database that is here.
    fn all() -> Vec<Self> {
        let mut all = vec![Self::Sqlite(PathBuf::new())];
        if let Some(server) = heddle_test_postgres::shared() {
            all.push(Self::Postgres(server, server.database()));
        }
        all
    }

    async fn cluster(&mut self, variables: Vec<(String, String)>) -> Cluster {
        let database = match self {
            Self::Sqlite(_) => None,
            Self::Postgres(_, database) => Some(database.clone()),
        };
        let cluster = Cluster::set_up(Shape::new(1, 1, 8), Setting { database, variables, ..Setting::default() }).await;
        if let Self::Sqlite(file) = self {
            *file = cluster.folder().join("heddle.db");
        }
        cluster
    }

    fn execute(&self, statement: &str) {
        match self {
            Self::Sqlite(file) => {
                let connection = rusqlite::Connection::open(file).unwrap();
                connection.busy_timeout(Duration::from_secs(10)).unwrap();
                connection.execute_batch(statement).unwrap();
            }
            Self::Postgres(server, database) => drop(server.query(database, statement)),
        }
    }

    fn count(&self, table: &str, condition: &str) -> u64 {
        let statement = format!("SELECT count(*) FROM {table} WHERE {condition}");
        match self {
            Self::Sqlite(file) => {
                let connection = rusqlite::Connection::open(file).unwrap();
                connection.busy_timeout(Duration::from_secs(10)).unwrap();
                connection.query_row(&statement, [], |row| row.get::<_, i64>(0)).unwrap() as u64
            }
            Self::Postgres(server, database) => server.query(database, &statement).trim().parse().unwrap(),
        }
    }

    /// All closed runs, and batches that are over, ended so many days earlier than they did.
    fn age(&self, days: i64) {
        let by = days * DAY_MS;
        self.execute(&format!("UPDATE run SET ended_at = ended_at - {by} WHERE phase = 4"));
        self.execute(&format!("UPDATE batch SET ended_at = ended_at - {by} WHERE ended_at IS NOT NULL"));
    }

    /// Waits until so many tombstones are here, and nothing is left of their runs.
    async fn removed(&self, stones: u64) {
        wait::until("removed runs", REMOVED_TIME_MAX, || async {
            let (all, rest) = (self.count("tombstone", "true"), self.count("tombstone", "rest = 1"));
            if (all, rest) == (stones, 0) { Ok(()) } else { Err(format!("{all} tombstones, {rest} with a rest")) }
        })
        .await;
    }

    /// Holds that no row is of a run that is not there.
    fn nothing_is_left(&self) {
        for (table, column) in [("event", "run"), ("snapshot", "run"), ("review", "run"), ("lineage", "run")] {
            let orphan = format!("NOT EXISTS (SELECT 1 FROM run WHERE run.id = {table}.{column})");
            assert_eq!(self.count(table, &orphan), 0, "rows of {table} are of no run");
        }
        let orphan = "NOT EXISTS (SELECT 1 FROM run WHERE run.id = artifact_reference.run)
                      AND NOT EXISTS (SELECT 1 FROM batch WHERE batch.id = artifact_reference.run)";
        assert_eq!(self.count("artifact_reference", orphan), 0, "references are of no run");
    }
}

fn greeting(text: &str) -> Graph {
    Graph::default()
        .node("topic", "input:text", json!({ "text": text }))
        .node("echo", "debug:echo", json!({}))
        .node("out", "output:preview", json!({}))
        .edge("topic.text", "echo.in")
        .edge("echo.out", "out.value")
}

/// A map with a failure after it.
fn failing_map(items: usize) -> Graph {
    Graph::default()
        .node("list", "debug:list", json!({ "count": items }))
        .node("map", "logic:map", json!({ "concurrency": 16 }))
        .node("body", "debug:noop", json!({}))
        .inside("map")
        .node("fail", "debug:fail", json!({ "times": 9, "class": "invalid_request" }))
        .edge("list.out", "map.items")
        .edge("map.item", "body.in")
        .edge("body.out", "map.result")
        .edge("map.results", "fail.in")
}

/// Saves a graph with a policy of the workflow.
async fn save(client: &Client, name: &str, graph: &Graph, policy: Value) -> String {
    let mut document = graph.named(name);
    document["policy"] = policy;
    let answer = client.post("/api/v1/workflows", &document, &format!("save {name}")).await;
    assert!(answer.is_success(), "{answer}");
    text(&answer.json()["id"])
}

async fn ended(client: &Client, workflow: &str, key: &str) -> String {
    let run = client.run(workflow, key).await;
    client.ended(&run, RUN_TIME_MAX).await;
    run
}

/// Starts the coordinator anew: the first thing it does is to look for old runs.
async fn look(cluster: &mut Cluster) {
    cluster.restart(Part::Coordinator);
    cluster.serves().await;
}

fn path(run: &str) -> String {
    format!("/api/v1/workflows/executions/{run}")
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_kept_as_long_as_their_workflow_or_the_server_says() {
    for mut rows in Rows::all() {
        let mut cluster = rows.cluster(vec![("HEDDLE_KEEP_RUNS_DAYS".into(), "10".into())]).await;
        let client = cluster.client().clone();
        let usual = save(&client, "usual", &greeting("a"), Value::Null).await;
        let short = save(&client, "short", &greeting("b"), json!({ "keepRunsDays": 2 })).await;
        let long = save(&client, "long", &greeting("c"), json!({ "keepRunsDays": 90 })).await;
        let [usual, short, long] = [
            ended(&client, &usual, "usual").await,
            ended(&client, &short, "short").await,
            ended(&client, &long, "long").await,
        ];
        rows.age(3);
        look(&mut cluster).await;
        rows.removed(1).await;
        for (run, status) in [(&usual, 200), (&short, 410), (&long, 200)] {
            assert_eq!(client.get(&path(run)).await.status, status, "{run}");
        }
        rows.age(8);
        look(&mut cluster).await;
        rows.removed(2).await;
        for (run, status) in [(&usual, 410), (&short, 410), (&long, 200)] {
            assert_eq!(client.get(&path(run)).await.status, status, "{run}");
        }
        rows.nothing_is_left();
        let too_long = json!({ "keepRunsDays": 4_000 });
        let mut document = greeting("d").named("too long");
        document["policy"] = too_long;
        let refused = client.post("/api/v1/workflows", &document, "too long").await;
        assert_eq!(refused.status, 422, "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_run_is_gone_and_its_tombstone_says_what_it_was() {
    for mut rows in Rows::all() {
        let mut cluster = rows.cluster(Vec::new()).await;
        let client = cluster.client().clone();
        let workflow = client.save("failing", &failing_map(3)).await;
        let run = ended(&client, &workflow, "old").await;
        let events = client.events(&run).await.len();
        rows.age(31);
        let young = ended(&client, &workflow, "young").await;
        look(&mut cluster).await;
        rows.removed(1).await;
        rows.nothing_is_left();
        for rest in ["", "/poll", "/events", "/trace", "/lineage", "/nodes/map"] {
            let gone = client.get(&format!("{}{rest}", path(&run))).await;
            assert_eq!(gone.status, 410, "{rest}: {gone}");
            let gone = gone.json();
            assert_eq!(gone["code"], "run_expired", "{rest}: {gone}");
            let removed = &gone["removed"];
            assert_eq!((&removed["id"], &removed["workflowId"]), (&json!(run), &json!(workflow)), "{gone}");
            assert_eq!(removed["status"], "FAILED", "{gone}");
            assert_eq!(removed["events"], events, "{gone}");
            assert_eq!(text(&removed["headHash"]).len(), 64, "{gone}");
        }
        for way in ["cancel", "resume", "rerun"] {
            let refused = client.post(&format!("{}/{way}", path(&run)), &json!({}), &format!("{way} late")).await;
            assert_eq!((refused.status, &refused.json()["code"]), (410, &json!("run_expired")), "{way}: {refused}");
        }
        let listed = client.get_json("/api/v1/workflows/executions").await;
        let listed: Vec<String> = listed.as_array().unwrap().iter().map(|run| text(&run["id"])).collect();
        assert_eq!(listed, [young]);
        // A run that never was is another thing.
        assert_eq!(client.get(&path("exec_01KZZZZZZZ0000000000000000")).await.status, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_in_use_stays_and_its_family_outlives_it() {
    for mut rows in Rows::all() {
        let mut cluster = rows.cluster(Vec::new()).await;
        let client = cluster.client().clone();
        let waits = Graph::default()
            .node("topic", "input:text", json!({ "text": "x" }))
            .node("check", "logic:review", json!({}))
            .edge("topic.text", "check.value");
        let waiting = client.run(&client.save("waiting", &waits).await, "waiting").await;
        let workflow = client.save("parent", &failing_map(3)).await;
        let parent = ended(&client, &workflow, "parent").await;
        let resumed = client.post(&format!("{}/resume", path(&parent)), &json!({}), "resume").await;
        assert!(resumed.is_success(), "{resumed}");
        let child = text(&resumed.json()["executionId"]);
        client.ended(&child, RUN_TIME_MAX).await;
        // All that has ended is old now; then the parent alone is.
        rows.age(31);
        let literal = match &rows {
            Rows::Sqlite(_) => format!("x'{}'", id_in_hex(&child)),
            Rows::Postgres(..) => format!("'\\x{}'", id_in_hex(&child)),
        };
        rows.execute(&format!("UPDATE run SET ended_at = ended_at + {} WHERE id = {literal}", 31 * DAY_MS));
        look(&mut cluster).await;
        rows.removed(1).await;
        assert_eq!(client.get(&path(&parent)).await.status, 410);
        let child_now = client.execution(&child).await;
        assert_eq!(child_now["parentExecutionId"], json!(parent), "{child_now}");
        let family = client.get_json(&format!("{}/lineage", path(&child))).await;
        assert!(family.to_string().contains(&child), "{family}");
        let rerun = client.post(&format!("{}/rerun", path(&child)), &json!({}), "rerun").await;
        assert!(rerun.is_success(), "its own history is enough: {rerun}");
        assert_eq!(client.execution(&waiting).await["status"], "RUNNING");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_goes_with_its_runs_and_not_before_it_has_ended() {
    for mut rows in Rows::all() {
        let mut cluster = rows.cluster(Vec::new()).await;
        let client = cluster.client().clone();
        let workflow = client.save("batch", &greeting("none")).await;
        let values = json!([{ "nodeId": "topic", "values": ["a", "b", "c"] }]);
        let body = json!({ "iteratorConfigs": values });
        let started = client.post(&format!("/api/v1/workflows/{workflow}/execute"), &body, "batch").await;
        let batch = text(&started.json()["batchId"]);
        let of_batch = format!("/api/v1/batches/{batch}");
        wait::until("the batch's end", RUN_TIME_MAX, || async {
            let batch = client.get_json(&of_batch).await;
            if batch["status"] == "RUNNING" { Err(batch.to_string()) } else { Ok(()) }
        })
        .await;
        // Its runs alone are old.
        rows.execute(&format!("UPDATE run SET ended_at = ended_at - {} WHERE phase = 4", 31 * DAY_MS));
        let other = ended(&client, &client.save("other", &greeting("other")).await, "other").await;
        rows.execute(&format!("UPDATE run SET ended_at = ended_at - {} WHERE batch IS NULL", 31 * DAY_MS));
        look(&mut cluster).await;
        rows.removed(1).await;
        assert_eq!(client.get(&path(&other)).await.status, 410);
        assert_eq!(client.get_json(&of_batch).await["counts"]["completed"], 3);
        rows.execute(&format!("UPDATE batch SET ended_at = ended_at - {}", 31 * DAY_MS));
        look(&mut cluster).await;
        rows.removed(4).await;
        assert_eq!(client.get(&of_batch).await.status, 404);
        assert_eq!(rows.count("batch", "true"), 0);
        rows.nothing_is_left();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_of_a_removed_run_need_nobody() {
    for mut rows in Rows::all() {
        let mut cluster = rows.cluster(Vec::new()).await;
        let client = cluster.client().clone();
        let large = Graph::default()
            .node("large", "debug:bytes", json!({ "count": LARGE }))
            .node("out", "output:preview", json!({}))
            .edge("large.out", "out.value");
        ended(&client, &client.save("large", &large).await, "large").await;
        let referred = rows.count("artifact_reference", "true");
        assert!(referred > 0, "the run has no artifact");
        rows.age(31);
        look(&mut cluster).await;
        rows.removed(1).await;
        assert_eq!(rows.count("artifact_reference", "true"), 0);
        // What is left to do is collection's, which waits for another day.
        assert!(rows.count("artifact", "true") > 0);
    }
}

/// What a child gave and its node only describes stays for whoever has taken that over.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_resumed_run_describes_stays_with_it() {
    for mut rows in Rows::all() {
        let mut cluster = rows.cluster(Vec::new()).await;
        let client = cluster.client().clone();
        let large = Graph::default()
            .node("large", "debug:bytes", json!({ "count": LARGE }))
            .node("file", "output:preview", json!({}))
            .edge("large.out", "file.value");
        let large = client.save("large", &large).await;
        let graph = Graph::default()
            .node("child", "blueprint:invoke", json!({ "workflowId": large }))
            .node("fail", "debug:fail", json!({ "times": 9, "class": "invalid_request" }))
            .edge("child.outputs", "fail.in");
        let earlier = ended(&client, &client.save("earlier", &graph).await, "earlier").await;
        let resume = async |run: &str| {
            let resumed = client.post(&format!("{}/resume", path(run)), &json!({}), run).await;
            assert!(resumed.is_success(), "{resumed}");
            let later = text(&resumed.json()["executionId"]);
            client.ended(&later, RUN_TIME_MAX).await;
            later
        };
        // Also of a run that has taken it over itself.
        let between = resume(&earlier).await;
        let later = resume(&between).await;
        let literal = match &rows {
            Rows::Sqlite(_) => format!("x'{}'", id_in_hex(&later)),
            Rows::Postgres(..) => format!("'\\x{}'", id_in_hex(&later)),
        };
        rows.age(31);
        rows.execute(&format!("UPDATE run SET ended_at = ended_at + {} WHERE id = {literal}", 31 * DAY_MS));
        // A child goes after the run that has invoked it.
        for stones in [2, 3] {
            look(&mut cluster).await;
            rows.removed(stones).await;
        }
        assert_eq!(rows.count("run", "true"), 1);
        let shown = client.execution(&later).await.to_string();
        let digest = shown.split("\\\"digest\\\":\\\"").nth(1).or_else(|| shown.split("\"digest\":\"").nth(1));
        assert!(digest.is_some(), "it shows the file: {shown}");
        assert_eq!(rows.count("artifact_reference", &format!("run = {literal}")), 1, "and has it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_leaves_nothing_half_removed() {
    for mut rows in Rows::all() {
        let mut cluster = rows.cluster(Vec::new()).await;
        let client = cluster.client().clone();
        let workflow = client.save("long", &failing_map(ITEMS)).await;
        let run = ended(&client, &workflow, "long").await;
        rows.age(31);
        // Twice in the middle of the same run.
        for hit in 1..=2 {
            cluster.kill(Part::Coordinator);
            cluster.start_part(Part::Coordinator, Some("retention.page:1"));
            wait::until("a crash", REMOVED_TIME_MAX, || {
                let process = cluster.process(Part::Coordinator);
                let is_hit = process.crashed() && process.said().contains("crash point retention.page hit 1:");
                async move { if is_hit { Ok(()) } else { Err(format!("no crash number {hit}")) } }
            })
            .await;
            assert_eq!(rows.count("run", "phase = 4"), 0, "nobody sees it any more");
            assert_eq!(rows.count("tombstone", "rest = 1"), 1);
            assert!(rows.count("event", "true") > 0);
        }
        look(&mut cluster).await;
        assert_eq!(client.get(&path(&run)).await.status, 410);
        rows.removed(1).await;
        assert_eq!(rows.count("event", "true"), 0);
        rows.nothing_is_left();
    }
}

/// What `heddle replay` says of a file: its standard output, and whether it likes it; else its sentence.
fn replay(file: &Path, options: &[&str]) -> Result<String, String> {
    let output = command().arg("replay").arg(file).args(options).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked"), "{said}");
    if output.status.success() { Ok(String::from_utf8(output.stdout).unwrap()) } else { Err(said) }
}

fn json_of(file: &Path, options: &[&str]) -> Value {
    let shown = replay(file, &[options, &["--json"]].concat()).unwrap();
    serde_json::from_str(&shown).unwrap_or_else(|error| panic!("{error}: {shown}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_run_is_shown_as_it_stood() {
    for mut rows in Rows::all() {
        let mut cluster = rows.cluster(Vec::new()).await;
        let client = cluster.client().clone();
        let run = ended(&client, &client.save("failing", &failing_map(SHOWN_ITEMS)).await, "failing").await;
        let (shown, trace) = (client.execution(&run).await, client.get_json(&format!("{}/trace", path(&run))).await);
        let events = client.events(&run).await;
        let export = client.get(&format!("{}/export", path(&run))).await;
        assert!(export.is_success(), "{export}");
        assert_eq!(export.headers["content-type"], "application/x-ndjson");
        let file = cluster.folder().join("run.jsonl");
        std::fs::write(&file, &export.body).unwrap();
        let again = json_of(&file, &[]);
        for member in ["id", "workflowId", "status", "error", "startTime", "endTime", "nodeRuns", "nodesTotal"] {
            assert_eq!(again[member], shown[member], "{member}");
        }
        assert_eq!(json_of(&file, &["--trace"])["nodes"], trace["nodes"]);
        let told = replay(&file, &["--events", "--json"]).unwrap();
        assert_eq!(told.lines().count(), events.len());
        let early = json_of(&file, &["--at", "2"]);
        assert_eq!((&early["status"], &early["endTime"]), (&json!("RUNNING"), &Value::Null), "{early}");
        let late = replay(&file, &["--at", &(events.len() + 1).to_string()]).unwrap_err();
        assert!(late.contains(&format!("has {} events", events.len())), "{late}");

        // The tombstone knows the file.
        let text = String::from_utf8(export.body.to_vec()).unwrap();
        let end: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        rows.age(31);
        look(&mut cluster).await;
        rows.removed(1).await;
        let gone = client.get(&format!("{}/export", path(&run))).await;
        assert_eq!(gone.status, 410, "{gone}");
        assert_eq!(gone.json()["removed"]["headHash"], end["end"]["headHash"]);
        assert_eq!(gone.json()["removed"]["events"], end["end"]["events"]);
        assert_eq!(json_of(&file, &[])["status"], "FAILED", "the file outlives its run");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_refused_with_its_place() {
    let mut rows = Rows::Sqlite(PathBuf::new());
    let cluster = rows.cluster(Vec::new()).await;
    let client = cluster.client();
    let run = ended(client, &client.save("small", &greeting("tides")).await, "small").await;
    let export = client.get(&format!("{}/export", path(&run))).await;
    let text = String::from_utf8(export.body.to_vec()).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let file = cluster.folder().join("damaged.jsonl");
    let refused = |content: String, sentence: &str| {
        std::fs::write(&file, content).unwrap();
        let said = replay(&file, &[]).unwrap_err();
        assert!(said.contains(sentence), "{sentence}: {said}");
    };
    let without = |place: usize| [&lines[..place], &lines[place + 1..]].concat().concat();
    let changed = |place: usize, from: &str, to: &str| {
        assert!(lines[place].contains(from), "{}", lines[place]);
        let line = lines[place].replacen(from, to, 1);
        [&lines[..place], &[line.as_str()], &lines[place + 1..]].concat().concat()
    };
    let last = lines.len() - 1;
    refused(without(2), "line 3 has event 3 where event 2 should be");
    refused(without(last), "it was cut off");
    refused(text[..text.len() - 20].to_owned(), "it was cut off");
    refused(changed(1, "\"kind\":1", "\"kind\":3"), "line 2 is damaged: event 1");
    refused(changed(1, "\"seq\":1", "\"seq\":x"), "line 2 is damaged (its JSON)");
    refused(changed(1, "\"type\":\"", "\"type\":\"x"), "line 2 shows something else than the event in it");
    refused(changed(1, "\"data\":{", "\"data\":{\"by\":\"x\","), "line 2 shows something else than the event in it");
    refused(changed(0, "\"subject\":\"", "\"subject\":\"x"), "the hash over the file is not the one");
    refused(changed(0, "debug:echo", "debug:noop"), "the graph of the export cannot be used");
    refused(changed(0, "\"heddleExport\":1", "\"heddleExport\":9"), "the export has form 9");
    refused("{}\n".to_owned(), "this is no exported run");
    refused(String::new(), "this is no exported run");
}

/// The bytes of an id, which is written in the digits of Crockford's base 32.
fn id_in_hex(id: &str) -> String {
    const DIGITS: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let digits = id.rsplit('_').next().unwrap().chars().map(|digit| DIGITS.find(digit).unwrap() as u128);
    format!("{:032x}", digits.fold(0, |bits: u128, digit| bits << 5 | digit))
}
