//! Every marked place of the commit protocol ends its process, at several hits, while runs come in.

use std::time::Duration;

use cluster_tests::cluster::random::{Random, seed};
use cluster_tests::cluster::{Cluster, Part, Shape};
use cluster_tests::wait;
use heddle_crash_point::{CRASH_POINTS, CrashPoint};
use heddle_test_postgres::Server;

use super::kills::{Load, check, over};

/// Which hit of a place ends the process.
const HITS: [u32; 3] = [1, 2, 7];
/// How long the load may take to get there.
const HIT_TIME_MAX: Duration = Duration::from_secs(30);
/// Places that no run passes: the suites `stats`, `retention` and `cancel` end the process there.
const BESIDE: [&str; 3] = ["alerts.", "retention.", "jobs."];
/// A place that a commit on PostgreSQL, which is one statement, passes only when it writes its runs one by one.
const ONE_BY_ONE: &str = "journal.in-transaction";
/// Makes it do so: a batch that is not written under a savepoint has an error in its data, and so every batch is written
/// again run by run. Whoever holds a savepoint and has written under it holds two transactions' locks.
const REFUSE_WHOLE: &str = "
    CREATE FUNCTION refuse_whole() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF (SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND pid = pg_backend_pid()) < 2 THEN
            RAISE EXCEPTION 'one by one';
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER refuse_whole AFTER INSERT ON event FOR EACH ROW EXECUTE FUNCTION refuse_whole()";
const TAKE_WHOLE: &str = "DROP TRIGGER refuse_whole ON event; DROP FUNCTION refuse_whole()";

/// Whose process passes the place.
fn part_of(point: &str) -> Part {
    match point.split_once('.') {
        Some(("gateway", _)) => Part::Gateway(0),
        Some(("agent", _)) => Part::Agent(0),
        _ => Part::Coordinator,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_marked_place_is_survived() {
    sweep(Cluster::start(2, 4).await, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_marked_place_is_survived_on_postgres() {
    let Some(server) = Server::start() else { return };
    let database = server.database();
    let cluster = Cluster::on(Shape::new(1, 2, 4), &database).await;
    let whole = |is_whole| server.query(&database, if is_whole { TAKE_WHOLE } else { REFUSE_WHOLE });
    sweep(cluster, |is_whole| drop(whole(is_whole))).await;
}

/// Crashes at every place; `whole` says whether batches are to be written whole or run by run.
///
/// A run meets the crashes of one place only: its load is over before the next one begins. An agent that is to crash is asked
/// to end before it is started armed, so that a place ends it as often as it has hits. A node that was beside so many deaths
/// of agents is a suspect at most; one that was beside those of several places would be rightly taken for what ends them.
async fn sweep(mut cluster: Cluster, whole: impl Fn(bool)) {
    let mut random = Random::from_seed(seed("crash points"));
    let (mut missed, mut runs) = (Vec::new(), Vec::new());
    let passed = CRASH_POINTS.iter().filter(|point| !BESIDE.iter().any(|part| point.name.starts_with(part)));
    for point in passed {
        let is_one_by_one = point.name == ONE_BY_ONE;
        if is_one_by_one {
            whole(false);
        }
        let load = Load::start(cluster.client(), point.name, &mut random);
        let mut hits = Vec::new();
        for hit in HITS {
            if crash(&mut cluster, point, hit).await {
                hits.push(hit);
            } else {
                missed.push(format!("{}:{hit}", point.name));
            }
        }
        if is_one_by_one {
            whole(true);
        }
        let acknowledged = load.stop().await;
        over(cluster.client(), &acknowledged).await;
        println!("crash point {:28} survived at hits {hits:?}", point.name);
        runs.extend(acknowledged);
    }
    println!("crash points: {} places, {} runs acknowledged", CRASH_POINTS.len() - 1, runs.len());
    check(&mut cluster, &runs).await;
    assert!(missed.is_empty(), "never reached: {missed:?}");
}

/// Starts a part armed, and again once it has crashed; says whether it has.
async fn crash(cluster: &mut Cluster, point: &CrashPoint, hit: u32) -> bool {
    let part = part_of(point.name);
    match part {
        Part::Agent(_) => drop(cluster.stop(part).await),
        Part::Coordinator | Part::Gateway(_) => cluster.kill(part),
    }
    cluster.start_part(part, Some(&format!("{}:{hit}", point.name)));
    let crash = format!("crash point {} hit {hit}:", point.name);
    let crashed = wait::try_until(HIT_TIME_MAX, || {
        let process = cluster.process(part);
        let is_hit = process.crashed() && process.said().contains(&crash);
        async move { if is_hit { Ok(()) } else { Err(String::new()) } }
    });
    let is_hit = crashed.await.is_ok();
    cluster.kill(part);
    cluster.start_part(part, None);
    cluster.serves().await;
    is_hit
}
