//! Clocks that jump an hour, either way, under all parts at once (libfaketime), while timers, leases, retries and hooks are under
//! way: nothing ends early, twice or never.

use std::time::Instant;

use cluster_tests::cluster::clocks::{Clocks, TRUE};
use cluster_tests::cluster::{Part, Setting, Shape};
use heddle_test_postgres::Server;

use super::*;

/// How long what is under way takes: a jump comes in between.
const WHILE: Duration = Duration::from_secs(4);
/// A time that is not over before a test is.
const LONG_MS: u64 = 600_000;
/// How far the clock of the coordinator jumps, and those of gateways and agents, in seconds: far more than anything here waits for.
const JUMPS: [(&str, &str); 2] = [("+3600", "-3600"), ("-3600", "+3600")];
const PARTS: [Part; 4] = [Part::Coordinator, Part::Gateway(0), Part::Agent(0), Part::Agent(1)];

fn setting(clocks: &Clocks, database: Option<String>) -> Setting {
    let of = |part: Part| clocks.variables(&part.name()).into_iter().map(move |(name, value)| (part, name, value));
    let of_parts = PARTS.into_iter().flat_map(of).collect();
    Setting { database, of_parts, ..Setting::default() }
}

/// What is under way when clocks jump.
struct UnderWay {
    since: Instant,
    timer: String,
    instant: String,
    timeout: String,
    sleeps: String,
    retries: String,
    hook: (String, String),
    signal: String,
}

impl UnderWay {
    async fn start(client: &Client, name: &str) -> Self {
        let (since, millis) = (Instant::now(), WHILE.as_millis() as u64);
        let begin = async |kind: &str, graph: Graph| start(client, &format!("{name} {kind}"), &graph).await;
        let until = (jiff::Timestamp::now() + WHILE).to_string();
        let sleeps = Graph::default().node("n", "debug:sleep", json!({ "ms": millis })).node(
            "after",
            "debug:effect",
            json!({ "file": AFTER }),
        );
        let fails = json!({ "times": 2, "class": "retryable" });
        let retry = json!({ "retry": { "maxAttempts": 4, "initialMs": 2_000, "factor": 1, "jitter": 0 } });
        let hook = begin("hook", super::hook(json!({ "timeoutMs": LONG_MS }))).await;
        let address = address(client, &hook).await;
        Self {
            since,
            timer: begin("timer", timer(json!({ "forMs": millis }))).await,
            instant: begin("instant", timer(json!({ "until": until }))).await,
            timeout: begin("timeout", super::signal(json!({ "name": "never", "timeoutMs": millis }))).await,
            sleeps: begin("sleeps", sleeps.edge("n.out", "after.item")).await,
            retries: begin("retries", Graph::default().node_with("n", "debug:fail", fails, retry)).await,
            hook: (hook, address),
            signal: begin("signal", super::signal(json!({ "name": "go", "timeoutMs": LONG_MS }))).await,
        }
    }

    /// All of it has ended as if no clock had moved.
    async fn ended(self, cluster: &Cluster, name: &str) {
        let client = cluster.client();
        for execution in [&self.timer, &self.instant, &self.sleeps] {
            completed(client, execution).await;
            assert!(self.since.elapsed() >= WHILE - Duration::from_millis(50), "{name}: {execution} ended too early");
            assert_eq!(effects(cluster, execution), 1, "{name}: {execution}");
        }
        let ended = completed(client, &self.timeout).await;
        assert_eq!((shown(&ended, "late"), effects(cluster, &self.timeout)), (json!(true), 0), "{name}");
        for (execution, attempts) in [(&self.retries, 3), (&self.sleeps, 1)] {
            let ended = completed(client, execution).await;
            assert_eq!(node(&ended, "n")["attempts"], attempts, "{name}: {execution}");
            assert_eq!(events_of(client, execution, "attempt.lost").await, 0, "{name}: no lease has ended");
        }
        // Their time is far from over, whatever clocks say; and what was signed is good.
        let (hook, address) = &self.hook;
        let called = call_until_answered(client, address, &json!(1), &format!("{name} {hook}")).await;
        assert_eq!(called.status, 202, "{name}: {called}");
        assert!(signalled(client, &self.signal, "go", &json!(1)).await, "{name}");
        for execution in [hook, &self.signal] {
            let ended = completed(client, execution).await;
            assert_eq!((shown(&ended, "out"), shown(&ended, "late")), (json!(1), json!(false)), "{name}");
            assert_eq!(effects(cluster, execution), 1, "{name}");
        }
        for execution in [&self.timer, &self.instant] {
            assert_eq!(events_of(client, execution, "timer.fired").await, 1, "{name}");
        }
    }
}

async fn jumps(mut cluster: Cluster, clocks: Clocks, restarts: bool) {
    for (coordinator, others) in JUMPS {
        let name = format!("coordinator {coordinator}, others {others}");
        let under_way = UnderWay::start(cluster.client(), &name).await;
        jump(&mut cluster, &clocks, (coordinator, others), restarts).await;
        under_way.ended(&cluster, &name).await;
        // And home again, which is a jump as well.
        let name = format!("{name}, and home");
        let under_way = UnderWay::start(cluster.client(), &name).await;
        jump(&mut cluster, &clocks, (TRUE, TRUE), restarts).await;
        under_way.ended(&cluster, &name).await;
    }
}

async fn jump(cluster: &mut Cluster, clocks: &Clocks, (coordinator, others): (&str, &str), restarts: bool) {
    clocks.set(&Part::Coordinator.name(), coordinator);
    PARTS.into_iter().skip(1).for_each(|part| clocks.set(&part.name(), others));
    if restarts {
        cluster.restart(Part::Coordinator);
        cluster.serves().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_depends_on_clocks_that_jump() {
    let Some(clocks) = Clocks::here() else { return };
    let cluster = Cluster::set_up(Shape::new(1, 2, 8), setting(&clocks, None)).await;
    jumps(cluster, clocks, false).await;
}

/// Twice an hour back, and never corrected: what waits ends after the time that it had left.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_late_by_what_the_clock_was_set_back_while_the_coordinator_was_down() {
    let Some(clocks) = Clocks::here() else { return };
    let mut cluster = Cluster::set_up(Shape::new(1, 2, 8), setting(&clocks, None)).await;
    for back in ["-3600", "-7200"] {
        let under_way = UnderWay::start(cluster.client(), back).await;
        let form = json!({ "timeoutMs": WHILE.as_millis() as u64, "onTimeout": "approve" });
        let review = Graph::default()
            .node("in", "input:text", json!({ "text": "asked" }))
            .node("w", "logic:review", form)
            .node("late", "output:preview", json!({}))
            .edge("in.text", "w.value")
            .edge("w.approved", "late.value");
        let review = start(cluster.client(), &format!("{back} review"), &review).await;
        jump(&mut cluster, &clocks, (back, TRUE), true).await;
        under_way.ended(&cluster, back).await;
        assert_eq!(shown(&completed(cluster.client(), &review).await, "late"), "asked", "{back}");
    }
}

/// There the database's clock counts, whichever machine the coordinator is started on.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_depends_on_clocks_that_have_jumped_while_their_process_was_away_on_postgres() {
    let Some(clocks) = Clocks::here() else { return };
    let Some(server) = Server::start() else { return };
    let cluster = Cluster::set_up(Shape::new(1, 2, 8), setting(&clocks, Some(server.database()))).await;
    jumps(cluster, clocks, true).await;
}
